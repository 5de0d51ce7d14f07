"""What a stack is, as plain values. Names follow the Compose specification; sizes are bytes, durations seconds.

Text that a host decides (a port, an image, an environment value) may hold Compose's `${NAME:-default}` when the stack
is built for `docker-compose.yml`; built for an engine it never does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: Where the agent has the volume that it backs up, and its snapshots.
SOURCE, SNAPSHOTS = "/data", "/backups"

RestartPolicy = Literal["no", "always", "on-failure", "unless-stopped"]

#: An environment variable with such a name is never shown. Of rclone's nearly every one may be a secret.
SECRET_NAME = re.compile(
    r"^(.*\.)?RCLONE_|SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|PRIVATE|WEBHOOK|(^|[_.])KEY($|_)|DATABASE_URL",
    re.IGNORECASE,
)


def masked(name: str, value: object) -> str:
    """`value` as text that may be printed."""
    return "********" if SECRET_NAME.search(name) and value not in ("", None) else str(value)


@dataclass(frozen=True)
class Healthcheck:
    """`test` is a command run in the container; exit 0 is healthy."""

    test: tuple[str, ...]
    interval: float
    timeout: float
    start_period: float
    retries: int


@dataclass(frozen=True)
class Mount:
    """A named volume (by its key in the stack) at an absolute path."""

    volume: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Bind:
    """A folder or file of the checkout at an absolute path, read-only. `source` is absolute, or relative to the
    checkout when the stack is built for a Compose file."""

    source: str
    target: str


@dataclass(frozen=True)
class Port:
    """`published` on the host's address `bind` leads to `target` in the container."""

    bind: str
    published: str
    target: int


@dataclass(frozen=True)
class Network:
    key: str
    name: str
    internal: bool


@dataclass(frozen=True)
class Volume:
    key: str
    name: str


@dataclass(frozen=True)
class ServiceSpec:
    """One service. `target` is its build target in the Dockerfile; None when `image` is somebody else's, or built from
    a `folder` with a Dockerfile of its own, relative to the repository.

    No networks means none at all, not the engine's default. `migrate` is the command that brings the database to the
    image's schema, or empty; `migrate_check` tells by its exit code whether that has anything to do (0 no, 3 yes),
    and `migrate_files` are what it is made of. No `replicas` of the backup service: its image takes snapshots, but no
    container waits to do so.
    """

    name: str
    image: str
    user: str
    target: str | None = None
    folder: str = ""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    binds: tuple[Bind, ...] = ()
    networks: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    depends_on: tuple[str, ...] = ()
    restart: RestartPolicy = "unless-stopped"
    stop_grace_period: float = 10.0
    memory: int = 0
    cpus: float = 0.0
    pids: int = 0
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    healthcheck: Healthcheck | None = None
    log_max_size: str = "10m"
    log_max_file: int = 3
    migrate: tuple[str, ...] = ()
    migrate_check: tuple[str, ...] = ()
    migrate_files: tuple[str, ...] = ()
    replicas: int = 1

    @property
    def is_built(self) -> bool:
        """Whether its image is made here."""
        return self.target is not None or bool(self.folder)


@dataclass(frozen=True)
class Releases:
    """How a release replaces another: `keep` images, commands run on this machine `before` and `after`."""

    drain_timeout: float = 30.0
    keep: int = 5
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    hook_timeout: float = 300.0


@dataclass(frozen=True)
class Build:
    """How images are built. `args` are the Dockerfile's build arguments, `context` the folder's name in the file."""

    args: Mapping[str, str]


@dataclass(frozen=True)
class Stack:
    """Everything that `deploy` makes. `upstream` names the service that the proxy sends requests to; it is published
    itself where there is no proxy."""

    project: str
    environment: str
    services: tuple[ServiceSpec, ...]
    networks: tuple[Network, ...]
    volumes: tuple[Volume, ...]
    build: Build
    upstream: str
    upstream_port: int
    url: str
    releases: Releases = Releases()
    #: Where copies of the snapshots are, as rclone names it.
    remotes: tuple[str, ...] = ()

    def service(self, name: str) -> ServiceSpec:
        """The service of that name; KeyError if there is none."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    def volume(self, key: str) -> Volume:
        """The volume of that key; KeyError if there is none."""
        for volume in self.volumes:
            if volume.key == key:
                return volume
        raise KeyError(key)

    @property
    def proxied(self) -> bool:
        """Whether there is a proxy. Without one, a release takes the place of the one before, and has no history."""
        return any(service.name == "proxy" for service in self.services)

    @property
    def front(self) -> str:
        """The service that is published."""
        return "proxy" if self.proxied else self.upstream

    @property
    def data_volume(self) -> Volume:
        """The volume that is backed up and restored: what the backup service has at SOURCE (settings see to it)."""
        found = next(mount for mount in self.service("backup").mounts if mount.target == SOURCE)
        return self.volume(found.volume)
