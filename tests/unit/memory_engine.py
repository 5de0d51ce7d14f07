"""An engine in memory: the real one's methods on dictionaries, for tests of order, failure and undo.

It refuses what the real one refuses (a name or port that is taken, a network in use), its containers come to the health
or end that a Script says, and any call can be made to fail, before or after it had its effect. `tests.unit.contract`
holds what it must have in common with the real engine.
"""

from __future__ import annotations

import hashlib
import io
import json
import socket
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from orchestrator import labels, proxy
from orchestrator.engine import Engine
from orchestrator.errors import EngineError, OrchestratorError
from orchestrator.state import Observed, parse_container, parse_network, parse_volume, scratch_volumes
from orchestrator.steps import Image

NEVER = "0001-01-01T00:00:00Z"
#: What the snapshot agent says at its end, unless a test has it say something else.
SNAPSHOT = "20261124T101500-abcdef0"
SNAPSHOT_DONE = json.dumps({"event": "done", "snapshot": SNAPSHOT, "bytes": 1000, "sha256": "0" * 64, "databases": []})
#: What stands on the proxy's upstream volume before anything else does: the image's own file.
DEFAULT_UPSTREAM = proxy.upstream_file(["app"], 8000)


class Killed(BaseException):
    """The orchestrator's process ends here, as by SIGKILL: nothing of it catches this."""


@dataclass(frozen=True)
class Script:
    """What a container comes to once it has been started."""

    health: str = "healthy"
    exits: int | None = None
    out: tuple[str, ...] = ()
    err: tuple[str, ...] = ()
    probe: str = ""
    oom: bool = False


@dataclass
class Container:
    """One container. `loaded` is the upstream file that a running proxy has read; `reading`: it is about to. `config`
    is the folder of the volume whose configuration it runs ("": its image's own)."""

    id: str
    name: str
    body: Mapping[str, Any]
    image_id: str
    created: str
    networks: dict[str, tuple[str, ...]]
    state: str = "created"
    health: str = "none"
    exit_code: int = 0
    started: str = NEVER
    files: dict[str, bytes] = field(default_factory=dict)
    loaded: str = ""
    reading: bool = False
    config: str = ""
    publishes: bool = False

    @property
    def labels(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.body.get("Labels") or {}
        return found

    @property
    def service(self) -> str:
        return self.labels.get(labels.SERVICE, "")

    @property
    def ports(self) -> set[str]:
        bindings = self.body.get("HostConfig", {}).get("PortBindings") or {}
        return {b["HostPort"] for values in bindings.values() for b in values} if self.publishes else set()


class MemoryEngine(Engine):
    """`scripts` are looked up by container name, probe, command, image and service, in this order."""

    def __init__(self, images: Mapping[str, str] | None = None, *, host: str = "unix:///memory") -> None:
        self.host = host
        self.images = dict(images or {})
        self.fixed: dict[str, str] = {}
        #: How the commands with a terminal ended, by their exec's id.
        self.ended: list[int] = []
        #: When images were built, by id; long ago where it is not said.
        self.built: dict[str, datetime] = {}
        #: The files that containers of an image begin with, by the image's id and path.
        self.image_files: dict[str, dict[str, bytes]] = {}
        self.containers: dict[str, Container] = {}
        self.networks: dict[str, Mapping[str, Any]] = {}
        self.volumes: dict[str, dict[str, bytes]] = {}
        self.volume_labels: dict[str, Mapping[str, str]] = {}
        self.scripts: dict[str, Script] = {}
        self.now = datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC)
        self.calls: list[str] = []
        #: Asked before and after each call: (its number, what it is, whether it has had its effect).
        self.fails: Callable[[int, str, bool], BaseException | None] = lambda *_: None
        #: Told of the state after each call.
        self.watch: Callable[[str], None] = lambda _: None
        self.facts: dict[str, Any] = {"DockerRootDir": "/"}
        self.builds: list[dict[str, Any]] = []
        self.build_messages: list[dict[str, Any]] = []
        self.pull_messages: list[dict[str, Any]] = []
        self.pulled: dict[str, str] = {}
        self.commands: dict[tuple[str, ...], tuple[int, str]] = {}
        self._serial = 0
        self._lock = threading.Lock()

    def twin(self) -> MemoryEngine:
        return self

    def copy(self) -> MemoryEngine:
        """Another engine in the same state, with no call made yet and none that fails."""
        other = MemoryEngine(self.images)
        other.fixed, other.image_files = dict(self.fixed), dict(self.image_files)
        other.containers = {
            key: replace(c, files=dict(c.files), networks=dict(c.networks)) for key, c in self.containers.items()
        }
        other.networks = dict(self.networks)
        other.volumes = {name: dict(files) for name, files in self.volumes.items()}
        other.volume_labels = dict(self.volume_labels)
        other.now, other._serial = self.now, self._serial
        return other

    # What tests look at

    def _all(self) -> list[Container]:
        """The containers at this moment: steps that run at the same time may add one while they are looked at."""
        return list(self.containers.values())

    def named(self, name: str) -> Container:
        """A container by name or id; EngineError as the real engine says it."""
        for container in self._all():
            if name in (container.name, container.id):
                return container
        raise EngineError(f"could not look at container {name}: No such container: {name}")

    def picture(self) -> dict[str, Any]:
        """Everything that undo must bring back. Empty volumes are left out: they stay, since they may hold data; and so
        are configurations on the volume, which are read by nobody until the mark names them."""
        self._settle()
        containers = {
            c.name: (c.id, c.state == "running", c.loaded, c.config, c.publishes, sorted(c.networks))
            for c in self._all()
        }
        files = {
            name: {path: text for path, text in sorted(files.items()) if not path.startswith("config-")}
            for name, files in self.volumes.items()
            if files
        }
        return {"containers": containers, "networks": sorted(self.networks), "files": files}

    def serving(self) -> str:
        """The healthy app container that a running proxy with the port sends requests to now, the first in the order of
        its file; "" if a request would fail."""
        for container in self._all():
            if container.service == "proxy" and container.state == "running" and container.ports:
                return self._answering(container)
        return ""

    def _answering(self, container: Container) -> str:
        for host in proxy.upstream_hosts(container.loaded):
            for app in self._all():
                known = app.name == host or host in app.networks.get(next(iter(app.networks), ""), ())
                near = not app.networks or app.networks.keys() & container.networks.keys()
                if known and near and app.state == "running" and app.health in ("healthy", "none"):
                    return app.name
        return ""

    @contextmanager
    def _call(self, doing: str) -> Iterator[None]:
        with self._lock:
            self.calls.append(doing)
            number = len(self.calls)
            self.now += timedelta(milliseconds=137)
            if not doing.startswith("start_container"):
                self._settle()
        self._fail(number, doing, had_effect=False)
        yield
        self._fail(number, doing, had_effect=True)
        self.watch(doing)

    def _fail(self, number: int, doing: str, *, had_effect: bool) -> None:
        if error := self.fails(number, doing, had_effect):
            if isinstance(error, Killed):
                # A process that is gone calls nothing any more, whatever its `finally` blocks would have done.
                self.fails = lambda *_: Killed()
            raise error

    def _id(self) -> str:
        self._serial += 1
        return hashlib.sha256(str(self._serial).encode()).hexdigest()

    def _time(self) -> str:
        return f"{self.now:%Y-%m-%dT%H:%M:%S}.{self.now.microsecond * 1000:09d}Z"

    def _script(self, container: Container) -> Script:
        command = " ".join(container.body.get("Cmd") or ())
        probe = " ".join((container.body.get("Healthcheck") or {}).get("Test", ())[1:])
        for key in (container.name, probe, command, container.body["Image"], container.service):
            if key in self.scripts:
                return self.scripts[key]
        return Script(exits=0, out=(SNAPSHOT_DONE,)) if command.startswith("snapshot") else Script()

    def _mounted(self, container: Container, path: str) -> tuple[dict[str, bytes], str]:
        """The files that hold `path`, and its name there; "" is the folder that holds all of them."""
        for mount in container.body.get("HostConfig", {}).get("Mounts") or []:
            if f"{path}/".startswith(mount["Target"].rstrip("/") + "/"):
                return self.volumes[mount["Source"]], path.removeprefix(mount["Target"]).strip("/")
        return container.files, path

    # What is there

    def observe(self, project: str) -> Observed:
        with self._call("observe"):
            mine = [c for c in self._all() if c.labels.get(labels.PROJECT) == project]
            files: dict[str, bytes] = {}
            for container in sorted(mine, key=lambda c: c.state == "running"):
                if container.service == "proxy" and container.labels.get(labels.ONEOFF) != "True":
                    files, _ = self._mounted(container, proxy.PATH)
            volume, records = parse_volume(files)
            return Observed(
                containers=tuple(parse_container(self._document(c)) for c in mine),
                networks=tuple(
                    parse_network(d) for d in self.networks.values() if d["Labels"].get(labels.PROJECT) == project
                ),
                volumes=frozenset(name for name in self.volumes if f"{project}_" in name),
                images={tag: image for tag, image in self.images.items() if tag.startswith(f"{project}-")},
                built=dict(self.built),
                proxy=volume,
                records=records,
                scratch=scratch_volumes(
                    [{"Name": name, "Labels": self.volume_labels.get(name)} for name in self.volumes], project
                ),
            )

    def image(self, reference: str) -> Image:
        with self._call(f"image {reference}"):
            image_id = self.images.get(reference, reference if reference in self.images.values() else "")
            return Image(reference, image_id, self.fixed.get(image_id, ""))

    def image_document(self, reference: str) -> dict[str, Any]:
        with self._call(f"image_document {reference}"):
            image_id = self.images.get(reference, reference)
            return {"Id": image_id, "RootFS": {"Layers": [image_id]}, "Config": {}}

    def layers(self, image: str) -> dict[str, int]:
        with self._call(f"layers {image}"):
            return {"base": 1000, image: 100}

    def disk_usage(self) -> dict[str, Any]:
        with self._call("disk_usage"):
            return {
                "Containers": [{"Id": c.id, "SizeRw": 10} for c in self._all()],
                "Volumes": [{"Name": name, "UsageData": {"Size": 5}} for name in self.volumes],
            }

    def inspect(self, container: str) -> dict[str, Any]:
        with self._call(f"inspect {container}"):
            return self._document(self.named(container))

    def _document(self, container: Container) -> dict[str, Any]:
        state: dict[str, Any] = {
            "Status": container.state,
            "ExitCode": container.exit_code,
            "OOMKilled": container.state == "exited" and self._script(container).oom,
            "StartedAt": container.started,
        }
        if container.health != "none":
            probe = self._script(container).probe
            state["Health"] = {"Status": container.health, "Log": [{"Output": probe}] if probe else []}
        body = container.body
        config = {key: body[key] for key in ("Image", "Labels", "Env", "Cmd", "User") if key in body}
        networks: dict[str, Any] = {name: {"Aliases": list(aliases)} for name, aliases in container.networks.items()}
        return {
            "Id": container.id,
            "Name": f"/{container.name}",
            "Created": container.created,
            "Image": container.image_id,
            "RestartCount": 0,
            "Config": config,
            "State": state,
            "HostConfig": dict(body.get("HostConfig", {})),
            "NetworkSettings": {"Networks": networks or {"none": {}}},
        }

    def info(self) -> dict[str, Any]:
        with self._call("info"):
            return dict(self.facts)

    def version(self) -> dict[str, Any]:
        with self._call("version"):
            return {"Version": "20.10.24", "ApiVersion": "1.41"}

    def stats(self, container: str) -> dict[str, Any]:
        with self._call(f"stats {container}"):
            return {"memory_stats": {"usage": 3000, "limit": 9000, "stats": {"inactive_file": 1000}}}

    def mounting(self, volume: str) -> list[str]:
        with self._call(f"mounting {volume}"):
            return sorted(
                c.name
                for c in self._all()
                if c.state == "running"
                and any(m["Source"] == volume for m in c.body.get("HostConfig", {}).get("Mounts") or [])
            )

    def publishing(self, port: str) -> list[dict[str, Any]]:
        with self._call(f"publishing {port}"):
            return [
                {"Names": [f"/{c.name}"], "Labels": dict(c.labels)}
                for c in self._all()
                if c.state == "running" and port in c.ports
            ]

    # Steps

    def create_network(self, body: Mapping[str, Any]) -> None:
        with self._call(f"create_network {body['Name']}"):
            if body["Name"] in self.networks:
                raise EngineError(f"could not create network: network with name {body['Name']} already exists")
            self.networks[body["Name"]] = {"Id": self._id(), **body}

    def remove_network(self, name: str) -> None:
        with self._call(f"remove_network {name}"):
            used = [c.name for c in self._all() if c.state == "running" and name in c.networks]
            if used:
                raise EngineError(f"could not remove network {name}: it has active endpoints")
            self.networks.pop(name, None)

    def create_volume(self, body: Mapping[str, Any]) -> None:
        with self._call(f"create_volume {body['Name']}"):
            if body["Name"] not in self.volumes:
                self.volumes[body["Name"]] = {}
                self.volume_labels[body["Name"]] = dict(body["Labels"])

    def remove_volume(self, name: str) -> None:
        with self._call(f"remove_volume {name}"):
            mounts = [m for c in self._all() for m in c.body.get("HostConfig", {}).get("Mounts") or []]
            if any(mount["Source"] == name for mount in mounts):
                raise EngineError(f"could not remove volume {name}: volume is in use")
            self.volumes.pop(name, None)
            self.volume_labels.pop(name, None)

    def create_container(
        self, name: str, body: Mapping[str, Any], more_networks: tuple[str, ...] = (), alias: str = ""
    ) -> None:
        with self._call(f"create_container {name}"):
            if any(c.name == name for c in self._all()):
                raise EngineError(f'could not create container {name}: Conflict. "/{name}" is already in use')
            image_id = self.images.get(body["Image"], body["Image"])
            if image_id not in self.images.values():
                raise EngineError(f"could not create container {name}: No such image: {body['Image']}")
            endpoints = body.get("NetworkingConfig", {}).get("EndpointsConfig", {})
            networks = {key: tuple(value["Aliases"]) for key, value in endpoints.items()}
            networks |= dict.fromkeys(more_networks, (alias,))
            for network in networks.keys() - self.networks.keys():
                raise EngineError(f"could not create container {name}: network {network} not found")
            # As the real one, a container has its image's labels too.
            marks = {labels.FIXED: self.fixed[image_id]} if self.fixed.get(image_id) else {}
            body = {**body, "Labels": marks | dict(body.get("Labels") or {})}
            made = Container(self._id(), name, body, image_id, self._time(), networks)
            made.files = dict(self.image_files.get(image_id, {}))
            for mount in body.get("HostConfig", {}).get("Mounts") or []:
                if mount.get("Type") == "bind":
                    continue
                volume = self.volumes.setdefault(mount["Source"], {})
                if mount["Target"] == proxy.FOLDER and not volume:
                    volume[proxy.FILE] = DEFAULT_UPSTREAM.encode()
            self.containers[made.id] = made

    def start_container(self, name: str) -> None:
        with self._call(f"start_container {name}"):
            container = self.named(name)
            if container.state == "running":
                return
            for network in container.networks.keys() - self.networks.keys():
                raise EngineError(f"could not start container {name}: network {network} not found")
            container.publishes = self._outside(container)
            for other in self._all():
                if other is not container and other.state == "running" and other.ports & container.ports:
                    raise EngineError(f"could not start container {name}: Bind failed: port is already allocated")
            container.state, container.exit_code, container.started = "running", 0, self._time()
            test = (container.body.get("Healthcheck") or {}).get("Test") or ["NONE"]
            container.health = "none" if test[0] == "NONE" else "starting"
            if container.service == "proxy":
                container.reading, container.loaded = True, ""

    def start_fed(self, container: str, pieces: Iterable[bytes]) -> None:
        for _ in pieces:
            pass
        self.start_container(container)

    def _settle(self) -> None:
        """Proxies that have been started read their file: a moment later, as the image's entrypoint is patient with an
        app that starts beside it. It gives up a file that does not work."""
        for container in self._all():
            if container.reading:
                files, at = self._mounted(container, proxy.PATH)
                if not self._resolves(files[at].decode(), container) and self._resolves(DEFAULT_UPSTREAM, container):
                    files[at] = DEFAULT_UPSTREAM.encode()
                mark = files.get(proxy.CONFIG_MARK, b"").decode().split()
                container.config = mark[1] if mark and container.id.startswith(mark[0]) else ""
                container.loaded, container.reading = files[at].decode(), False

    def _resolves(self, upstream: str, asking: Container) -> bool:
        """Whether the engine's DNS knows all hosts of the file on a network of the proxy that asks."""
        known: set[str] = set()
        for other in self._all():
            for network in other.networks.keys() & asking.networks.keys() if other.state == "running" else ():
                known |= {other.name, *other.networks[network]}
        return known.issuperset(proxy.upstream_hosts(upstream))

    def set_cpu_shares(self, name: str, shares: int) -> None:
        with self._call(f"set_cpu_shares {name}"):
            container = self.named(name)
            container.body = dict(container.body) | {
                "HostConfig": dict(container.body.get("HostConfig", {})) | {"CpuShares": shares}
            }

    def stop_container(self, name: str, grace: float) -> None:
        with self._call(f"stop_container {name}"):
            if any(name in (c.name, c.id) for c in self._all()):
                container = self.named(name)
                if container.state == "running":
                    # The engine, too, calls what has stopped unhealthy.
                    container.state, container.health = "exited", "none" if container.health == "none" else "unhealthy"

    def remove_container(self, name: str) -> None:
        with self._call(f"remove_container {name}"):
            self.containers = {i: c for i, c in self.containers.items() if name not in (c.name, c.id)}

    def _outside(self, container: Container) -> bool:
        """Whether the container's ports are published when it starts: not on internal networks alone."""
        if not container.networks:
            return "NetworkMode" not in container.body.get("HostConfig", {})
        return any(not self.networks[name]["Internal"] for name in container.networks)

    def connect_network(self, name: str, network: str, alias: str) -> None:
        with self._call(f"connect_network {name} {network}"):
            container = self.named(name)
            if network not in self.networks:
                raise EngineError(f"could not connect {name} to {network}: network {network} not found")
            before = dict(container.networks)
            container.networks.setdefault(network, (alias,))
            if container.state != "running":
                return
            container.publishes = container.publishes or self._outside(container)
            for other in self._all():
                if other is not container and other.state == "running" and other.ports & container.ports:
                    container.networks, container.publishes = before, False
                    raise EngineError(f"could not connect {name} to {network}: port is already allocated")

    def disconnect_network(self, name: str, network: str) -> None:
        with self._call(f"disconnect_network {name} {network}"):
            container = self.named(name)
            container.networks.pop(network, None)
            # As the real one: the port stays with a container that has left its network, while it is on another.
            container.publishes = container.publishes and bool(container.networks)

    def write_files(self, container: str, folder: str, files: Mapping[str, bytes]) -> None:
        with self._call(f"write_files {container} {folder} {' '.join(files)}"):
            for name, content in files.items():
                where, at = self._mounted(self.named(container), f"{folder.rstrip('/')}/{name}")
                where[at] = content

    def read_folder(self, container: str, path: str) -> dict[str, bytes]:
        with self._call(f"read_folder {container} {path}"):
            if all(container not in (c.name, c.id) for c in self._all()):
                return {}
            found = self.named(container)
            files, at = self._mounted(found, path)
            if at in files:
                return {"": files[at]}
            below = f"{at}/" if at else ""
            return {name.removeprefix(below): text for name, text in files.items() if name.startswith(below)}

    def archive(self, container: str, path: str) -> Iterator[bytes]:
        with self._call(f"archive {container} {path}"):
            files, at = self._mounted(self.named(container), path)
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as made:
                info = tarfile.TarInfo(path.rpartition("/")[2])
                info.size = len(files[at])
                made.addfile(info, io.BytesIO(files[at]))
            data = buffer.getvalue()
            for start in range(0, len(data), 1000):
                yield data[start : start + 1000]

    def run_in(self, container: str, command: Iterable[str]) -> tuple[int, str]:  # noqa: PLR0911 - a table of commands
        words = tuple(command)
        with self._call(f"run_in {container} {' '.join(words)}"):
            running = self.named(container)
            if running.state != "running":
                raise EngineError(f"could not run {words[0]} in {container}: container is not running")
            if words in self.commands:
                return self.commands[words]
            if words[:2] in self.commands:
                return self.commands[words[:2]]
            files, at = self._mounted(running, proxy.PATH)
            if words[:2] == proxy.switch("")[:2]:
                text = words[2] or files.get(at, b"").decode()
                if not self._resolves(text, running):
                    return 1, f"nginx: [emerg] host not found in upstream {' '.join(proxy.upstream_hosts(text))}\n"
                before, files[at], running.loaded = (files[at], running.loaded), text.encode(), text
                probe = self.commands.get(
                    ("/usr/local/bin/probe", words[3]), (0 if self._answering(running) else 1, "")
                )
                if words[4] and probe[0]:
                    files[at], running.loaded = before
                    return 1, f"{words[4]} is not answered with 200 through the proxy: {probe[1]}"
            elif words[:2] == proxy.use_config("", "", "")[:2]:
                return self._use_config(running, files, *words[2:])
            elif words[0].endswith("probe") and running.service != "proxy":
                return (0, "") if running.health in ("healthy", "none") else (1, "503 Service Unavailable\n")
            elif words[0].endswith("probe") and not self._answering(running):
                return 1, "502 Bad Gateway\n"
            elif words[0] == "rm":
                for path in words[2:]:
                    files.pop(path.removeprefix(f"{proxy.FOLDER}/"), None)
            return 0, ""

    def _use_config(
        self, running: Container, files: dict[str, bytes], folder: str, image: str, config_image: str
    ) -> tuple[int, str]:
        """As config/nginx/use does it, and the entrypoint at the next start."""
        if folder and not any(name.startswith(f"{folder}/") for name in files):
            return 1, f"nginx: [emerg] open() {folder}/nginx.conf failed\n"
        if b"broken" in files.get(f"{folder}/nginx.conf", b""):
            return 1, "nginx: [emerg] unexpected end of file\n"
        kept = {folder, running.config}
        files.pop(proxy.CONFIG_MARK, None)
        if folder:
            files[proxy.CONFIG_MARK] = f"{running.id[:12]} {folder} {image} {config_image}".encode()
        for name in [name for name in files if name.startswith("config-") and name.partition("/")[0] not in kept]:
            del files[name]
        running.config, running.loaded = folder, files.get(proxy.FILE, b"").decode()
        return 0, ""

    takes_input = True

    def stream_in(
        self, container: str, command: Iterable[str], out: IO[bytes], err: IO[bytes], given: int | None = None
    ) -> int:
        code, text = self.run_in(container, command)
        out.write(text.encode())
        return code

    @contextmanager
    def open_terminal(self, container: str, command: Iterable[str]) -> Iterator[tuple[str, socket.socket, bytes]]:
        code, text = self.run_in(container, command)
        near, far = socket.socketpair()
        with far:
            far.sendall(text.encode())
        self.ended.append(code)
        with near:
            yield str(len(self.ended) - 1), near, b""

    def resize_terminal(self, exec_id: str, rows: int, columns: int) -> None:
        with self._call(f"resize_terminal {exec_id} {rows} {columns}"):
            assert int(exec_id) < len(self.ended)

    def exit_code(self, exec_id: str) -> int:
        with self._call(f"exit_code {exec_id}"):
            return self.ended[int(exec_id)]

    # Watching

    def logs(self, container: str, tail: int = 20) -> list[str]:
        with self._call(f"logs {container}"):
            if all(container not in (c.name, c.id) for c in self._all()):
                return []
            found = self.named(container)
            script = self._script(found)
            return [] if found.started == NEVER else [*script.out, *script.err][-tail:]

    def follow(
        self,
        container: str,
        *,
        tail: int | None,
        follow: bool,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[bytes]:
        with self._call(f"follow {container}"):
            for at, line in enumerate(self._script(self.named(container)).out[-tail if tail else 0 :]):
                written = datetime(2026, 11, 24, 10, 0, at, tzinfo=UTC)
                if (since is None or since <= written) and (until is None or written <= until):
                    yield f"2026-11-24T10:00:{at:02d}.000000000Z {line}\n".encode()

    def output(self, container: str) -> Iterator[bytes]:
        with self._call(f"output {container}"):
            for line in self._script(self.named(container)).out:
                yield f"{line}\n".encode()

    def events(self, container: str, since: str, seconds: float) -> Iterator[tuple[str, str]]:
        with self._call(f"events {container}"):
            found = self.named(container)
            script = self._script(found)
            yield "start", ""
            if script.oom:
                yield "oom", ""
            if script.exits is not None:
                found.state, found.exit_code = "exited", script.exits
                yield "die", str(script.exits)
            elif found.health != "none":
                found.health = script.health
                if script.health != "starting":
                    yield f"health_status: {script.health}", ""

    def wait(self, container: str, timeout: float) -> int:
        with self._call(f"wait {container}"):
            found = self.named(container)
            if found.state == "running":
                code = self._script(found).exits
                if code is None and found.labels.get(labels.ONEOFF) != "True":
                    raise OrchestratorError(f"{container} did not end within {timeout:.0f} s.")
                found.state, found.exit_code = "exited", code or 0
            return found.exit_code

    # Images

    def build(
        self, context: bytes, *, tag: str, target: str, args: Mapping[str, str], marks: Mapping[str, str] = {}
    ) -> Iterator[dict[str, Any]]:
        with self._call(f"build {tag}"):
            self.builds.append({"context": context, "tag": tag, "target": target, "args": dict(args)})
            yield from self.build_messages
            self.images[tag] = f"sha256:{self._id()}"
            self.fixed[self.images[tag]] = marks.get(labels.FIXED, "")

    def remove_image(self, reference: str) -> None:
        with self._call(f"remove_image {reference}"):
            image = self.images.pop(reference, "")
            used = [c.name for c in self._all() if c.image_id == image]
            if used and image not in self.images.values():
                self.images[reference] = image
                raise EngineError(f"could not remove image {reference}: container {used[0]} is using it")

    def tag(self, image: str, repository: str, tag: str) -> None:
        with self._call(f"tag {repository}:{tag}"):
            self.images[f"{repository}:{tag}"] = self.images[image]

    def pull(self, reference: str) -> Iterator[dict[str, Any]]:
        with self._call(f"pull {reference}"):
            yield from self.pull_messages
            if reference in self.pulled:
                self.images[reference] = self.pulled[reference]

    def import_image(self, tar: Any, repository: str, tag: str, changes: list[str]) -> None:
        with self._call(f"import_image {repository}:{tag}"):
            self.images[f"{repository}:{tag}"] = f"sha256:{self._id()}"
