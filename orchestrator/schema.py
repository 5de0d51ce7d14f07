"""What may stand in the settings: the tables, the types and limits of their keys, and what each key is, as the README
lists it. How a table is held against them: checked.py."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from orchestrator.agent import bech32
from orchestrator.model import SNAPSHOTS, SOURCE


class Duration(float):
    """Seconds, written as `"1m30s"`."""


class Size(int):
    """Bytes, written as `"256m"`."""


def duration(text: object) -> Duration:
    """`"1m30s"` as seconds; ValueError for anything else."""
    if isinstance(text, str) and re.fullmatch(r"(?=.)(\d+h)?(\d+m)?(\d+(\.\d+)?s)?(\d+ms)?", text):
        units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
        return Duration(sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)(ms|h|m|s)", text)))
    raise ValueError('must be a duration such as "30s" or "1m30s"')


def size(text: object) -> Size:
    """`"256m"` as bytes; ValueError for anything else."""
    if isinstance(text, str) and (match := re.fullmatch(r"(\d+)([kmgt])b?", text.lower())):
        return Size(int(match[1]) * 1024 ** (" kmgt".index(match[2])))
    raise ValueError('must be a size such as "256m" or "1g"')


def _means(description: str, pattern: str | None = None) -> Meta:
    """What a key is, as the README lists it."""
    return Meta(description=description, pattern=pattern)


Text = Annotated[str, Meta()]
Project = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,29}$")]
PortText = Annotated[str, Meta(pattern=r"^([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])$")]
Address = Annotated[
    str, Meta(pattern=r"^(((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}|::1?|[0-9a-f:]+:[0-9a-f]*)$")
]
ImageName = Annotated[str, Meta(pattern=r"^[a-z0-9][\w./:@-]*$")]
#: A volume's key, or a path of the checkout as Compose tells one from the other: by its first characters.
VolumeKey = Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9_]*|\.{1,2}/[^:]*)$")]
#: rclone's way to say a folder: the name of a remote, then a path there.
RemotePath = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,29}:[\w./@+=-]*$")]
AgeKey = Annotated[str, Meta(pattern=r"^age1[02-9ac-hj-np-z]{58}$")]
VolumePath = Annotated[str, Meta(pattern=r"^/[^:]+(:ro)?$")]
Restart = Literal["no", "always", "on-failure", "unless-stopped"]


class Health(Struct, frozen=True, kw_only=True):
    """A container's health check: an HTTP `path` on the service's port, or a `command`."""

    path: Annotated[
        Annotated[str, Meta(pattern=r"^/\S*$")] | None, _means("asked on the service's port; 200 is healthy")
    ] = None
    command: Annotated[list[str] | None, _means("run in the container instead of `path`; exit 0 is healthy")] = None
    interval: Annotated[Duration, _means("time between two probes, and before the first")]
    timeout: Annotated[Duration, _means("a probe that takes longer has failed")]
    start_period: Annotated[Duration, _means("failures this long after the start do not count")]
    retries: Annotated[int, Meta(ge=1, le=100), _means("failures in a row that make it unhealthy")] = 3

    def __post_init__(self) -> None:
        if (self.path is None) == (self.command is None):
            raise ValueError("needs either `path` or `command`")


class Service(Struct, frozen=True, kw_only=True):
    """One service: a build `target` of the Dockerfile, a folder to `build`, or a ready `image`."""

    target: Annotated[str | None, _means("stage of the Dockerfile that it is built from")] = None
    image: Annotated[ImageName | None, _means("a ready image instead of `target`")] = None
    build: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        _means("a folder with a Dockerfile of its own instead of `target`, such as `../shop`; for the app"),
    ] = None
    user: Annotated[str, _means("numeric user and group, not root", r"^[1-9]\d*:\d+$")]
    port: Annotated[Annotated[int, Meta(ge=1, le=65535)] | None, _means("the port that it listens on")] = None
    command: Annotated[list[str], _means("instead of the image's own command")] = []
    replicas: Annotated[
        int,
        Meta(ge=0, le=16),
        _means(
            "containers of it at the same time; more than one of `app` alone. 0, but not in production: without `proxy`"
            " the app is published itself, on this machine alone; without `backup` only the verbs take snapshots"
        ),
    ] = 1
    migrate: Annotated[list[str], _means("run once before a new image of it starts")] = []
    migrate_check: Annotated[
        list[str],
        _means(
            "says whether `migrate` has anything to do: exit 0 no, 3 yes; without it, each new image is taken to have. "
            "A snapshot is taken before a migration"
        ),
    ] = []
    migrate_files: Annotated[
        list[str],
        _means(
            "files and folders that its migration is made of; while those of the release that serves are the same, "
            "nothing is asked"
        ),
    ] = []
    environment: Annotated[dict[str, str], _means("its environment; `${NAME:-default}` works")] = {}
    open_to_all: Annotated[
        str,
        _means(
            "what in its environment lets everybody do everything, as `NAME=value`; with it, `deploy` warns when the "
            "proxy is published beyond this machine",
            r"^([A-Za-z_][A-Za-z0-9_]*=\S+)?$",
        ),
    ] = ""
    volumes: Annotated[
        dict[VolumeKey, VolumePath],
        _means(
            'volumes and where they are mounted; `":ro"` behind the path: read-only. `"./code" = "/app:ro"`, but not '
            "in production: a folder of the checkout, for the app, instead of what its image has there"
        ),
    ] = {}
    memory: Annotated[Size, _means("memory limit, without swap")]
    cpus: Annotated[float, Meta(gt=0, le=1024), _means("processor limit, in cores")]
    pids: Annotated[int, Meta(ge=8, le=1_000_000), _means("limit of processes and threads")]
    restart: Annotated[Restart, _means("`no`, `always`, `on-failure` or `unless-stopped`")] = "unless-stopped"
    stop_grace_period: Annotated[Duration, _means("time between the request to stop and the kill")]
    health: Health

    def __post_init__(self) -> None:
        if [self.target, self.image, self.build].count(None) != 2:
            raise ValueError("needs one of `target`, `build` and `image`")
        if self.health.path is not None and self.port is None:
            raise ValueError("needs `port`, since `health.path` is asked there")
        for source in binds(self):
            if not self.volumes[source].endswith(":ro"):
                raise ValueError(f'`volumes` must have {source} read-only: "{self.volumes[source]}:ro"')


def binds(service: Service) -> list[str]:
    """The paths of the checkout that a service has mounted."""
    return [key for key in service.volumes if key.startswith(".")]


class Services(Struct, frozen=True, kw_only=True):
    app: Service
    proxy: Service
    backup: Service

    def __post_init__(self) -> None:
        if self.proxy.replicas > 1 or self.backup.replicas > 1:
            raise ValueError("only `app` may have more than one of `replicas`")
        if not self.app.replicas:
            raise ValueError("`app` must have at least one of `replicas`")
        if not self.proxy.replicas and (self.app.replicas > 1 or self.app.port is None):
            raise ValueError(
                "without a `proxy`, `app` needs its `port` and has one of `replicas`, since it is published"
            )
        if binds(self.proxy) or binds(self.backup):
            raise ValueError("only `app` may have folders of the checkout among its `volumes`")
        at = {path.removesuffix(":ro"): key for key, path in self.backup.volumes.items()}
        if SNAPSHOTS not in at or at.get(SOURCE) not in self.app.volumes:
            raise ValueError(
                f"`backup` must have a volume of the app at {SOURCE}, and one for snapshots at {SNAPSHOTS}"
            )
        if any(path.startswith(f"{SOURCE}/") for path in at):
            raise ValueError(f"`backup` must have nothing else mounted inside of {SOURCE}: it could not be restored")


Hook = Annotated[list[str], Meta(min_length=1)]


class Release(Struct, frozen=True, kw_only=True):
    """How a release takes the place of the one before, and how many are kept."""

    drain_timeout: Annotated[
        Duration, _means("time that requests in flight have to finish before the old release is told to stop")
    ] = Duration(30.0)
    keep: Annotated[int, Meta(ge=2, le=1000), _means("releases whose images are kept, for `rollback`")] = 5
    before: Annotated[
        list[Hook], _means("commands, run here before a release; one that fails stops it, with nothing changed")
    ] = []
    after: Annotated[
        list[Hook], _means("commands, run here when traffic has moved; one that fails brings the old release back")
    ] = []
    hook_timeout: Annotated[Duration, _means("a command that takes longer has failed")] = Duration(300.0)


class Retain(Struct, frozen=True, kw_only=True):
    """How many snapshots are kept; the last one that was verified always is."""

    last: Annotated[int, Meta(ge=1, le=10_000), _means("snapshots kept: the newest ones")] = 7
    daily: Annotated[int, Meta(ge=0, le=10_000), _means("and the newest of each of so many days")] = 7
    weekly: Annotated[int, Meta(ge=0, le=10_000), _means("and of each of so many weeks")] = 4
    monthly: Annotated[int, Meta(ge=0, le=10_000), _means("and of each of so many months")] = 6


class Replicate(Struct, frozen=True, kw_only=True):
    """Continuous replication of the databases by Litestream, beside the snapshots; off without `to`."""

    to: Annotated[
        str,
        _means(
            "where Litestream replicates the databases to, such as `s3://bucket/path`; empty: nowhere",
            r"^([a-z0-9]+://\S+)?$",
        ),
    ] = ""
    retention: Annotated[str, _means("how far `restore --at` can go back", r"^[1-9]\d*[smh]$")] = "168h"
    precise: Annotated[
        str, _means("how far back it can to the second; before that in steps of 30 s to 1 h", r"^[1-9]\d*[smh]$")
    ] = "24h"


class Backup(Struct, frozen=True, kw_only=True):
    """When snapshots are taken, how many are kept, and how old the newest may be."""

    schedule: Annotated[str, _means("cron expression of five fields, UTC", r"^\S+( \S+){4}$")]
    max_age: Annotated[
        str, _means("a last good snapshot older than this makes the backup service unhealthy", r"^[1-9]\d{0,5}[smhdw]$")
    ]
    retain: Retain = Retain()
    replicate: Replicate = Replicate()
    remotes: Annotated[
        list[RemotePath],
        _means(
            'where checked copies of all snapshots go, as rclone names it: `["offsite:bucket/golinks"]`; each is '
            "configured by `RCLONE_CONFIG_<NAME>_...` in `[services.backup.environment]`"
        ),
    ] = []
    encrypt_to: Annotated[
        list[AgeKey], _means("public age keys; with any, copies on remotes are encrypted so that only these read them")
    ] = []

    def __post_init__(self) -> None:
        if self.encrypt_to and not self.remotes:
            raise ValueError("`encrypt_to` says how copies on `remotes` are encrypted, and there are none")
        if len(set(self.remotes)) < len(self.remotes):
            raise ValueError("`remotes` names one of them twice")
        for key in self.encrypt_to:
            try:
                bech32.decode(key, "age")
            except ValueError as error:
                raise ValueError(f"`encrypt_to` holds {key}: {error}") from None


class Host(Struct, frozen=True, kw_only=True):
    """What this host is. Each is an environment variable, a line of `.env`, or its default from the TOML file."""

    COMPOSE_PROJECT_NAME: Annotated[Project, _means("the project: prefix of every container, network and volume")]
    HTTP_BIND: Annotated[Address, _means("the address that the proxy is published on")] = "127.0.0.1"
    HTTP_PORT: Annotated[PortText, _means("the port that the proxy is published on")] = "8080"
    PYTHON_IMAGE: Annotated[ImageName, _means("base of the app and backup images")] = "python:3.13-alpine"
    NGINX_IMAGE: Annotated[ImageName, _means("base of the proxy image")] = "nginx:alpine"
    BUILD_CA_FILE: Annotated[str, _means("a PEM file that the build trusts besides; the images do not keep it")] = ""
    BUILD_MIN_FREE: Annotated[str, _means("disk that must be free before a build", r"^\d+[kmgt]$")] = "1g"
    BACKUP_WEBHOOK_URL: Annotated[
        str,
        _means(
            "where trouble with snapshots is told, by POST; treated as a secret",
            r"^(https?://[!-.0-?A-~]+(/[!-~]*)?)?$",
        ),
    ] = ""


class File(Struct, frozen=True, kw_only=True):
    """One TOML file, after what it extends has been put below it."""

    project: Project
    host: dict[str, Any] = {}
    services: Services
    release: Release = Release()
    backup: Backup

    def __post_init__(self) -> None:
        names = {remote.partition(":")[0] for remote in self.backup.remotes}
        for variable in sorted(f"RCLONE_CONFIG_{name.upper()}_TYPE" for name in names):
            if variable not in self.services.backup.environment:
                raise ValueError(f"`backup.remotes` needs {variable} in `services.backup.environment`")
