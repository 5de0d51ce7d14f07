"""The Docker engine: one method for each operation on containers, networks and volumes, errors translated."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import requests
from docker.errors import APIError, DockerException, NotFound
from docker.tls import TLSConfig

from orchestrator import labels, proxy
from orchestrator.address import Address
from orchestrator.engine.client import Api, translated
from orchestrator.engine.images import Images
from orchestrator.engine.inside import Inside
from orchestrator.engine.ssh import Tunnel
from orchestrator.errors import NoEngine
from orchestrator.host import engine_address
from orchestrator.state import Observed, parse_container, parse_network, parse_volume, scratch_volumes
from orchestrator.unreachable import unreachable

#: Seconds that one engine call may take; a stop may take its grace period besides.
TIMEOUT = 60


def connect(environ: Mapping[str, str]) -> Engine:
    """The engine that was chosen (see address.py), or the local one; NoEngine says why it can't be reached and what to
    do."""
    address = engine_address(environ)
    if not address.url.startswith("ssh://"):
        return Engine(_open(address, address.url), address, address.url)
    tunnel = Tunnel(address)
    url = f"unix://{tunnel.socket}"
    try:
        return Engine(_open(address, url), address, url)
    except NoEngine as error:
        raise unreachable(address, f"{tunnel.said()}\n{error.__cause__}") from error


def _open(address: Address, url: str, version: str = "auto") -> Api:
    """A connection to the engine of that address, which is reached at `url`; the API's `version`, where it is known
    already, saves asking."""
    try:
        files = address.tls
        tls = TLSConfig(client_cert=files.client, ca_cert=files.ca, verify=files.verify) if files else False
        return Api(base_url=url, version=version, timeout=TIMEOUT, tls=tls)
    except (DockerException, requests.exceptions.RequestException, OSError, ValueError) as error:
        raise unreachable(address, str(error)) from error


class Engine(Images, Inside):
    """One engine. Every method is one operation; a name is a container's, network's or volume's."""

    def twin(self) -> Engine:
        """Another connection to the same engine, for what goes on while this one waits."""
        return Engine(_open(self.address, self.url, self.api.api_version), self.address, self.url)

    # What is there

    def observe(self, project: str) -> Observed:
        """Everything the engine has of a project."""
        mine = {"label": f"{labels.PROJECT}={project}"}
        with translated("look at the project"):
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
            scratch=scratch_volumes(listed, project),
        )

    def inspect(self, container: str) -> dict[str, Any]:
        with translated(f"look at container {container}"):
            document: dict[str, Any] = self.api.inspect_container(container)
            return document

    def info(self) -> dict[str, Any]:
        with translated("ask the engine about itself"):
            return dict(self.api.info())

    def version(self) -> dict[str, Any]:
        with translated("ask the engine about itself"):
            return dict(self.api.version())

    def stats(self, container: str) -> dict[str, Any]:
        """One sample of resource use; the engine takes it at once, so the CPU figure covers the container's life."""
        with translated(f"measure container {container}"):
            return dict(self.api.stats(container, stream=False, one_shot=True))

    def mounting(self, volume: str) -> list[str]:
        """The names of the running containers that have a volume mounted, whoever they belong to."""
        with translated(f"look who uses volume {volume}"):
            return sorted(s["Names"][0].removeprefix("/") for s in self.api.containers(filters={"volume": volume}))

    def publishing(self, port: str) -> list[dict[str, Any]]:
        """Summaries of the running containers that publish a host port."""
        with translated("look for the port's owner"):
            return list(self.api.containers(filters={"publish": port}))

    # Steps

    def create_network(self, body: Mapping[str, Any]) -> None:
        with translated(f"create network {body['Name']}"):
            self.api.create_network(
                body["Name"],
                driver=body["Driver"],
                internal=body["Internal"],
                labels=dict(body["Labels"]),
                check_duplicate=True,
            )

    def remove_network(self, name: str) -> None:
        with translated(f"remove network {name}"), suppress(NotFound):
            self.api.remove_network(name)

    def create_volume(self, body: Mapping[str, Any]) -> None:
        with translated(f"create volume {body['Name']}"):
            self.api.create_volume(body["Name"], driver=body["Driver"], labels=dict(body["Labels"]))

    def remove_volume(self, name: str) -> None:
        with translated(f"remove volume {name}"), suppress(NotFound):
            self.api.remove_volume(name)

    def create_container(
        self, name: str, body: Mapping[str, Any], more_networks: tuple[str, ...] = (), alias: str = ""
    ) -> None:
        """Creates it, joined to all its networks; it is removed again when a network can't be joined."""
        with translated(f"create container {name}"):
            self.api.create_container_from_config(dict(body), name)  # type: ignore[no-untyped-call]
            try:
                for network in more_networks:
                    self.api.connect_container_to_network(name, network, aliases=[alias])
            except BaseException:
                self.api.remove_container(name, v=False, force=True)
                raise

    def start_container(self, name: str) -> None:
        with translated(f"start container {name}"):
            self.api.start(name)

    def set_cpu_shares(self, name: str, shares: int) -> None:
        """A container's weight against others where processors are scarce; 1024 is the engine's own."""
        with translated(f"set the processor weight of {name}"):
            self.api.update_container(name, cpu_shares=shares)

    def stop_container(self, name: str, grace: float) -> None:
        """Stopping what is gone or stopped already is done."""
        with translated(f"stop container {name}"), suppress(NotFound):
            self.api.stop(name, timeout=round(grace))

    def connect_network(self, name: str, network: str, alias: str) -> None:
        """Joins a container to a network, and publishes its ports if they are that network's; being on it is done."""
        with translated(f"connect {name} to {network}"):
            try:
                self.api.connect_container_to_network(name, network, aliases=[alias])
            except APIError as error:
                if "already exists in network" not in str(error):
                    raise

    def disconnect_network(self, name: str, network: str) -> None:
        """Takes a container off a network, and with it the ports published there; not being on it is done."""
        with translated(f"disconnect {name} from {network}"):
            try:
                self.api.disconnect_container_from_network(name, network)
            except APIError as error:
                if "is not connected" not in str(error) and not isinstance(error, NotFound):
                    raise

    def remove_container(self, name: str) -> None:
        """Removes it with force, and never its named volumes; removing what is gone is done."""
        with translated(f"remove container {name}"):
            try:
                self.api.remove_container(name, v=True, force=True)
            except NotFound:
                return
            except APIError as error:
                if "already in progress" not in str(error):
                    raise
