"""The Docker engine, and the only import of `docker`: one method for each step, errors translated."""

from __future__ import annotations

import io
import math
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import requests
import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import kwargs_from_env
from docker.utils.build import exclude_paths

from orchestrator import labels, proxy
from orchestrator.errors import EngineError, NoEngine, OrchestratorError
from orchestrator.host import engine_url, unreachable
from orchestrator.state import Observed, parse_container, parse_network, parse_volume, unix_time
from orchestrator.steps import Image
from orchestrator.tars import members, tar_of

#: Seconds that one engine call may take; a stop may take its grace period besides.
TIMEOUT = 60


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Turns docker-py's errors into ours: `doing` is what was tried, such as "start container x"."""
    try:
        yield
    except APIError as error:
        explanation = str(error.explanation or error).strip().rstrip(".")
        raise EngineError(f"could not {doing}: {explanation}") from error
    except (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        # urllib3's own errors are those of a stream that docker-py reads past requests.
        raise NoEngine(
            f"the engine went away (could not {doing}).",
            hint="see `docker version`, then run the command again; it goes on from what is there.",
            detail=(str(error),),
        ) from error


def connect(environ: Mapping[str, str], version: str = "auto") -> Engine:
    """The engine that DOCKER_HOST names, or the local one; NoEngine says why it can't be reached and what to do.

    `version` is the API's, where it is known already; it saves asking.
    """
    host = engine_url(environ)
    try:
        kwargs = kwargs_from_env(environment=dict(environ) | {"DOCKER_HOST": host})
        api = APIClient(version=version, timeout=TIMEOUT, use_ssh_client=host.startswith("ssh://"), **kwargs)
    except (DockerException, requests.exceptions.RequestException, OSError) as error:
        raise unreachable(host, str(error)) from error
    return Engine(api, host, environ)


def context_files(root: Path) -> frozenset[str]:
    """The paths below `root` that `.dockerignore` lets into a build, by docker-py's own reading of that file."""
    try:
        lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return frozenset(exclude_paths(str(root), patterns))


class Engine:
    """One engine. Every method is one operation; a name is a container's, network's or volume's."""

    def __init__(self, api: APIClient, host: str, environ: Mapping[str, str]) -> None:
        self.api = api
        self.host = host
        self.environ = environ

    def twin(self) -> Engine:
        """Another connection to the same engine, for what goes on while this one waits."""
        return connect(self.environ, self.api.api_version)

    @property
    def is_local(self) -> bool:
        return self.host.startswith("unix://")

    # What is there

    def observe(self, project: str) -> Observed:
        """Everything the engine has of a project."""
        mine = {"label": f"{labels.PROJECT}={project}"}
        with _translated("look at the project"):
            containers = []
            for summary in self.api.containers(all=True, filters=mine):
                try:
                    containers.append(parse_container(self.api.inspect_container(summary["Id"])))
                except NotFound:
                    continue  # removed since it was listed
            networks = tuple(parse_network(document) for document in self.api.networks(filters=mine))
            listed = self.api.volumes(filters={"name": f"{project}_"})["Volumes"] or []
            images = self.api.images(filters={"reference": f"{project}-*"})
        proxies = [c for c in containers if c.service == "proxy" and not c.oneoff]
        reader = max(proxies, key=lambda c: c.running, default=None)
        volume, records = parse_volume(self.read_folder(reader.name, proxy.FOLDER) if reader else {})
        return Observed(
            containers=tuple(containers),
            networks=networks,
            volumes=frozenset(volume["Name"] for volume in listed),
            images={tag: str(image["Id"]) for image in images for tag in image["RepoTags"] or ()},
            built={str(image["Id"]): datetime.fromtimestamp(image["Created"], UTC) for image in images},
            proxy=volume,
            records=records,
        )

    def image(self, reference: str) -> Image:
        """The image of a reference or id; without an id of its own if the engine has none."""
        with _translated(f"look at image {reference}"):
            try:
                document = self.api.inspect_image(reference)  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return Image(reference, "")
        marks = (document.get("Config") or {}).get("Labels") or {}
        return Image(reference, str(document["Id"]), marks.get(labels.FIXED, ""), marks.get(labels.SCHEMA, ""))

    def image_id(self, reference: str) -> str:
        """The image's id, or "" if the engine has none of that reference."""
        return self.image(reference).id

    def layers(self, image: str) -> dict[str, int]:
        """Bytes of each step that an image was made in, by what tells that step from all others; none if it is gone."""
        with _translated(f"look at image {image}"):
            try:
                steps = self.api.history(image)  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return {}
            return {f"{step['Created']} {step['CreatedBy']}": int(step["Size"]) for step in steps}

    def disk_usage(self) -> dict[str, Any]:
        """What the engine holds on disk, the sizes of volumes included; it measures, which takes a while."""
        with _translated("measure the disk"):
            document: dict[str, Any] = self.api.df()
            return document

    def inspect(self, container: str) -> dict[str, Any]:
        with _translated(f"look at container {container}"):
            document: dict[str, Any] = self.api.inspect_container(container)
            return document

    def info(self) -> dict[str, Any]:
        with _translated("ask the engine about itself"):
            return dict(self.api.info())

    def version(self) -> dict[str, Any]:
        with _translated("ask the engine about itself"):
            return dict(self.api.version())

    def stats(self, container: str) -> dict[str, Any]:
        """One sample of resource use; the engine takes it at once, so the CPU figure covers the container's life."""
        with _translated(f"measure container {container}"):
            return dict(self.api.stats(container, stream=False, one_shot=True))

    def mounting(self, volume: str) -> list[str]:
        """The names of the running containers that have a volume mounted, whoever they belong to."""
        with _translated(f"look who uses volume {volume}"):
            return sorted(s["Names"][0].removeprefix("/") for s in self.api.containers(filters={"volume": volume}))

    def publishing(self, port: str) -> list[dict[str, Any]]:
        """Summaries of the running containers that publish a host port."""
        with _translated("look for the port's owner"):
            return list(self.api.containers(filters={"publish": port}))

    # Steps

    def create_network(self, body: Mapping[str, Any]) -> None:
        with _translated(f"create network {body['Name']}"):
            self.api.create_network(
                body["Name"],
                driver=body["Driver"],
                internal=body["Internal"],
                labels=dict(body["Labels"]),
                check_duplicate=True,
            )

    def remove_network(self, name: str) -> None:
        with _translated(f"remove network {name}"), suppress(NotFound):
            self.api.remove_network(name)

    def create_volume(self, body: Mapping[str, Any]) -> None:
        with _translated(f"create volume {body['Name']}"):
            self.api.create_volume(body["Name"], driver=body["Driver"], labels=dict(body["Labels"]))

    def remove_volume(self, name: str) -> None:
        with _translated(f"remove volume {name}"), suppress(NotFound):
            self.api.remove_volume(name)

    def create_container(
        self, name: str, body: Mapping[str, Any], more_networks: tuple[str, ...] = (), alias: str = ""
    ) -> None:
        """Creates it, joined to all its networks; it is removed again when a network can't be joined."""
        with _translated(f"create container {name}"):
            self.api.create_container_from_config(dict(body), name)  # type: ignore[no-untyped-call]
            try:
                for network in more_networks:
                    self.api.connect_container_to_network(name, network, aliases=[alias])
            except BaseException:
                self.api.remove_container(name, v=False, force=True)
                raise

    def start_container(self, name: str) -> None:
        with _translated(f"start container {name}"):
            self.api.start(name)

    def set_cpu_shares(self, name: str, shares: int) -> None:
        """A container's weight against others where processors are scarce; 1024 is the engine's own."""
        with _translated(f"set the processor weight of {name}"):
            self.api.update_container(name, cpu_shares=shares)

    def stop_container(self, name: str, grace: float) -> None:
        """Stopping what is gone or stopped already is done."""
        with _translated(f"stop container {name}"), suppress(NotFound):
            self.api.stop(name, timeout=round(grace))

    def connect_network(self, name: str, network: str, alias: str) -> None:
        """Joins a container to a network, and publishes its ports if they are that network's; being on it is done."""
        with _translated(f"connect {name} to {network}"):
            try:
                self.api.connect_container_to_network(name, network, aliases=[alias])
            except APIError as error:
                if "already exists in network" not in str(error):
                    raise

    def disconnect_network(self, name: str, network: str) -> None:
        """Takes a container off a network, and with it the ports published there; not being on it is done."""
        with _translated(f"disconnect {name} from {network}"):
            try:
                self.api.disconnect_container_from_network(name, network)
            except APIError as error:
                if "is not connected" not in str(error) and not isinstance(error, NotFound):
                    raise

    def remove_container(self, name: str) -> None:
        """Removes it with force, and never its named volumes; removing what is gone is done."""
        with _translated(f"remove container {name}"):
            try:
                self.api.remove_container(name, v=True, force=True)
            except NotFound:
                return
            except APIError as error:
                if "already in progress" not in str(error):
                    raise

    def write_files(self, container: str, folder: str, files: Mapping[str, bytes]) -> None:
        """Files below a folder of one of the container's volumes, owned by its user; the container need not run."""
        with _translated(f"write {', '.join(files)} in {container}"):
            user = str(self.api.inspect_container(container)["Config"].get("User"))
            self.api.put_archive(container, folder, tar_of(files, user if user[:1].isdigit() else "0"))

    def read_file(self, container: str, path: str) -> str:
        """The text of a small file in a container, or "" when there is none."""
        return self.read_folder(container, path).get("", b"").decode()

    def read_folder(self, container: str, path: str) -> dict[str, bytes]:
        """The small files below a path in a container, by their path below it; none when it is not there."""
        with _translated(f"read {path} in {container}"):
            try:
                chunks, _ = self.api.get_archive(container, path)
            except NotFound:
                return {}
            return dict(members(b"".join(chunks)))

    def archive(self, container: str, path: str) -> Iterator[bytes]:
        """A tar stream of `path`, in pieces; for files of any size."""
        with _translated(f"copy {path} out of {container}"):
            chunks, _ = self.api.get_archive(container, path, chunk_size=1024 * 1024)
            yield from chunks

    def run_in(self, container: str, command: Iterable[str]) -> tuple[int, str]:
        """Runs a command in a running container: its exit code, and what it printed."""
        command = list(command)
        with _translated(f"run {' '.join(command)} in {container}"):
            made = self.api.exec_create(container, command)
            output = self.api.exec_start(made["Id"])
            return self.exit_code(made["Id"]), output.decode(errors="replace")

    def stream_in(self, container: str, command: Iterable[str], out: IO[bytes], err: IO[bytes]) -> int:
        """Runs a command in a running container and hands its output on as it comes; its exit code."""
        command = list(command)
        with _translated(f"run {' '.join(command)} in {container}"):
            made = self.api.exec_create(container, command)
            for stdout, stderr in self.api.exec_start(made["Id"], stream=True, demux=True):
                for piece, stream in ((stdout, out), (stderr, err)):
                    if piece:
                        stream.write(piece)
                        stream.flush()
            return self.exit_code(made["Id"])

    def open_terminal(self, container: str, command: Iterable[str]) -> tuple[str, socket.socket]:
        """Starts a command with a terminal of its own: the exec's id and the connection to it."""
        with _translated(f"run a command in {container}"):
            made = self.api.exec_create(container, list(command), stdin=True, tty=True)
            connection: Any = self.api.exec_start(made["Id"], tty=True, socket=True)
            # docker-py wraps a local socket in a file object; a remote one comes as it is.
            return str(made["Id"]), getattr(connection, "_sock", connection)

    def resize_terminal(self, exec_id: str, rows: int, columns: int) -> None:
        with _translated("resize the terminal"):
            self.api.exec_resize(exec_id, height=rows, width=columns)

    def exit_code(self, exec_id: str) -> int:
        with _translated("ask how the command ended"):
            return int(self.api.exec_inspect(exec_id)["ExitCode"] or 0)

    # Watching

    def logs(self, container: str, tail: int = 20) -> list[str]:
        """The last lines that a container wrote, oldest first; none if it is gone."""
        with _translated(f"read the log of {container}"):
            try:
                text: bytes = self.api.logs(container, tail=tail)
            except (NotFound, APIError):
                return []
            return text.decode(errors="replace").splitlines()

    def follow(self, container: str, *, tail: int, follow: bool) -> Iterator[bytes]:
        """A container's log with timestamps, in pieces that end where the engine's do."""
        with _translated(f"read the log of {container}"):
            yield from self.api.logs(container, stream=True, follow=follow, tail=tail, timestamps=True)

    def output(self, container: str) -> Iterator[bytes]:
        """What a container writes to its standard output from its start to its end."""
        with _translated(f"read the output of {container}"):
            yield from self.api.logs(container, stream=True, follow=True, stderr=False)

    def events(self, container: str, since: str, seconds: float) -> Iterator[tuple[str, str]]:
        """The container's events, (what happened, exit code or ""), in the `seconds` from `since` on.

        Both ends are on the engine's clock, and past events are replayed, so nothing is missed between a start and
        this call. A health event is named `health_status: healthy`.
        """
        whole, fraction = unix_time(since)
        with _translated(f"watch container {container}"):
            # The API takes fractions of a second, which docker-py's signature does not say.
            start: Any = f"{whole}.{fraction}"
            mine: dict[str, Any] = {"container": container, "type": "container"}
            until = whole + math.ceil(seconds)
            stream: Iterable[dict[str, Any]] = self.api.events(since=start, until=until, filters=mine, decode=True)
            for event in stream:
                action = str(event.get("Action") or event.get("status") or "")
                yield action, str(event.get("Actor", {}).get("Attributes", {}).get("exitCode", ""))

    def wait(self, container: str, timeout: float) -> int:
        """The exit code of a container when it has ended; OrchestratorError after `timeout` seconds."""
        with _translated(f"wait for {container}"):
            try:
                return int(self.api.wait(container, timeout=math.ceil(timeout))["StatusCode"])
            except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError) as error:
                # The answer's head comes at once, so its body is what is waited for: requests' other error.
                if "timed out" not in str(error):
                    raise
                raise OrchestratorError(f"{container} did not end within {timeout:.0f} s.") from error

    # Images

    def build(
        self, context: bytes, *, tag: str, target: str, args: Mapping[str, str], marks: Mapping[str, str] = {}
    ) -> Iterator[dict[str, Any]]:
        """Builds with the classic builder from a tar, with `marks` as labels; yields the engine's messages."""
        with _translated(f"build {tag}"):
            yield from self.api.build(
                fileobj=io.BytesIO(context),
                custom_context=True,
                tag=tag,
                target=target,
                buildargs=dict(args),
                labels=dict(marks) or None,
                rm=True,
                forcerm=True,
                decode=True,
            )

    def tag(self, image: str, repository: str, tag: str) -> None:
        with _translated(f"tag {repository}:{tag}"):
            self.api.tag(image, repository, tag=tag, force=True)

    def remove_image(self, reference: str) -> None:
        """Removes a tag, and the image with its last one; what is gone is done."""
        with _translated(f"remove image {reference}"), suppress(NotFound):
            self.api.remove_image(reference)

    def pull(self, reference: str) -> Iterator[dict[str, Any]]:
        """Pulls an image; yields the engine's progress messages."""
        with _translated(f"pull {reference}"):
            yield from self.api.pull(reference, stream=True, decode=True)

    def import_image(self, tar: Any, repository: str, tag: str, changes: list[str]) -> None:
        """Makes an image of one layer from an open root file system tar."""
        with _translated(f"import {repository}:{tag}"):
            self.api.import_image_from_data(tar, repository=repository, tag=tag, changes=changes)
