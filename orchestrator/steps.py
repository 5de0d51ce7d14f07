"""The Steps that plans are made of: each is one engine operation on one target, with the cause for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from orchestrator.history import Record


@dataclass(frozen=True)
class Image:
    """An image by its reference, and its id ("" while it is still to be built). `fixed`, `schema`: see labels."""

    reference: str
    id: str
    fixed: str = ""
    schema: str = ""


@dataclass(frozen=True)
class Step:
    """`target` is the name of what is changed. `doing` completes the sentence that a person reads: "create app".

    Steps of one kind that follow one another are taken at the same time where that kind is `alongside`.
    """

    doing: ClassVar[str]
    alongside: ClassVar[bool] = False
    target: str
    cause: str

    def __str__(self) -> str:
        return f"{self.doing} {self.target} ({self.cause})" if self.cause else f"{self.doing} {self.target}"

    @property
    def name(self) -> str:
        """The step's name in JSON, such as `create-container`."""
        return self.doing.replace(" ", "-")


@dataclass(frozen=True)
class BuildImage(Step):
    doing = "build image"
    build_target: str = ""
    folder: str = ""
    marks: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class CreateNetwork(Step):
    doing = "create network"
    alongside = True
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class RemoveNetwork(Step):
    doing = "remove network"


@dataclass(frozen=True)
class CreateVolume(Step):
    doing = "create volume"
    alongside = True
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class RemoveVolume(Step):
    doing = "remove volume"


@dataclass(frozen=True)
class CreateContainer(Step):
    """`more_networks` are joined after the first one, which the body names, each with the service's alias."""

    doing = "create container"
    alongside = True
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    more_networks: tuple[str, ...] = ()
    alias: str = ""


@dataclass(frozen=True)
class StartContainer(Step):
    doing = "start container"
    alongside = True


@dataclass(frozen=True)
class WaitHealthy(Step):
    """Waits until the container's health check passes; fails at once when it exits."""

    doing = "wait healthy"
    timeout: float = 60.0


@dataclass(frozen=True)
class WaitExit(Step):
    """Waits until a one-off container has ended with exit code 0."""

    doing = "wait exit"
    timeout: float = 600.0


@dataclass(frozen=True)
class StopContainer(Step):
    """SIGTERM (or the image's stop signal), after `grace` seconds SIGKILL. `gives_way`: what serves comes first."""

    doing = "stop container"
    grace: float = 10.0
    gives_way: bool = False


@dataclass(frozen=True)
class RemoveContainer(Step):
    doing = "remove container"


@dataclass(frozen=True)
class RunHook(Step):
    """Runs a command of the settings on this machine; `target` is the command as a person reads it."""

    doing = "run hook"
    command: tuple[str, ...] = ()
    timeout: float = 300.0
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Migrate(Step):
    """Brings a database that may hold data to the schema of the new image, once: asks whether there is something to
    do, and only then takes a snapshot and runs the migration, each in a container of its own (the bodies `check`,
    `snapshot` and `job`) whose name begins with `target`. Without a `check` there always is something to do."""

    doing = "migrate"
    check: Mapping[str, Any] | None = field(default=None, repr=False)
    snapshot: Mapping[str, Any] = field(default_factory=dict, repr=False)
    job: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timeout: float = 600.0

    @property
    def containers(self) -> tuple[str, str, str]:
        """The names of its containers: of the check, the snapshot and the migration."""
        return f"{self.target}-check", f"{self.target}-snapshot", self.target


@dataclass(frozen=True)
class WriteUpstream(Step):
    """Puts `content` where the proxy container `target` will read its upstream from when it starts; `previous` is what
    stood there."""

    doing = "write upstream"
    content: str = field(default="", repr=False)
    previous: str = field(default="", repr=False)


@dataclass(frozen=True)
class SwitchTraffic(Step):
    """Puts `content` (if empty: the file that is there) into effect in the running proxy `target`: tested, reloaded,
    and the app's `path` (if any) asked for through it, all in one command that puts `previous` back when one of them
    fails. Requests in flight are finished by Nginx's old workers, for `drain` seconds at most where this is undone."""

    doing = "switch traffic"
    content: str = field(default="", repr=False)
    previous: str = field(default="", repr=False)
    port: int = 8080
    path: str = ""
    drain: float = 30.0


@dataclass(frozen=True)
class CopyProxyConfig(Step):
    """Copies the configuration in image `image_id` to the volume of the proxy `target`, where nothing reads it yet;
    through a container of it, `body`, that is never started."""

    doing = "copy configuration"
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    image_id: str = ""

    @property
    def helper(self) -> str:
        """The container's name."""
        return f"{self.target}-config"


@dataclass(frozen=True)
class UseProxyConfig(Step):
    """Makes the proxy `target`, a container of image `container_image`, run the configuration of `image_id`; tested,
    reloaded. `previous` is the image whose configuration it ran."""

    doing = "use configuration"
    container_image: str = ""
    image_id: str = ""
    previous: str = ""


@dataclass(frozen=True)
class MovePort(Step):
    """The proxy `source` leaves `networks`, and with the last of them the published port; `target` joins them. The only
    step that interrupts: from the one to the other nobody listens. The last network is the one that a port is published
    on, the first to be left: until the others are left, too, the engine publishes it there."""

    doing = "hand the port to"
    source: str = ""
    networks: tuple[str, ...] = ()
    alias: str = ""


@dataclass(frozen=True)
class JoinNetwork(Step):
    """Connects the container to a network that it should be on."""

    doing = "join network"
    network: str = ""
    alias: str = ""

    def __str__(self) -> str:
        return f"{self.doing} {self.network}: {self.target} ({self.cause})"


@dataclass(frozen=True)
class AskProxy(Step):
    """One request for the app's `path` through the proxy `target`, which must be answered with 200."""

    doing = "ask through"
    port: int = 8080
    path: str = "/"


@dataclass(frozen=True)
class Drain(Step):
    """Waits until the proxy `target` has no request in flight to where it sent them before the last reload, `timeout`
    seconds at most."""

    doing = "drain"
    timeout: float = 30.0


@dataclass(frozen=True)
class RecordRelease(Step):
    """Notes on the volume of the proxy `target` that the release serves. `superfluous` records go."""

    doing = "record release"
    record: Record = field(default_factory=lambda: Record("", "", ""), repr=False)
    superfluous: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForgetRelease(Step):
    """Takes a record off the volume of the proxy `target`."""

    doing = "forget release"
    file: str = ""


@dataclass(frozen=True)
class RemoveImage(Step):
    doing = "remove image"


@dataclass(frozen=True)
class Plan:
    """Steps in order. `release` is the live release when the plan has been applied, `previous` the one before.

    `serving`: a release serves already, so a failure leaves it serving. `record` is what the history gets of a release
    that this plan makes.
    """

    steps: tuple[Step, ...]
    release: str = ""
    previous: str = ""
    serving: bool = False
    record: Record | None = None

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __str__(self) -> str:
        return "\n".join(str(step) for step in self.steps)


@dataclass(frozen=True)
class Part:
    """One service's share of a plan, in the four phases that services may go through side by side.

    `prepare` changes nothing that serves; `start` may; `wait` proves it; `finish` removes what is no longer needed,
    and so comes after everything is proven.
    """

    prepare: tuple[Step, ...] = ()
    start: tuple[Step, ...] = ()
    wait: tuple[Step, ...] = ()
    finish: tuple[Step, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.prepare or self.start or self.wait or self.finish)
