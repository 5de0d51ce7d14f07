"""The Steps that plans are made of: each is one engine operation on one target, with the cause for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Image:
    """An image by its reference, and its id ("" while it is still to be built)."""

    reference: str
    id: str


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
    """SIGTERM (or the image's stop signal), then after `grace` seconds SIGKILL."""

    doing = "stop container"
    grace: float = 10.0


@dataclass(frozen=True)
class RemoveContainer(Step):
    doing = "remove container"


@dataclass(frozen=True)
class WriteUpstream(Step):
    """Puts `content` where the proxy container `target` reads its upstream from; `previous` is what stood there."""

    doing = "switch upstream"
    content: str = field(default="", repr=False)
    previous: str = field(default="", repr=False)


@dataclass(frozen=True)
class ReloadProxy(Step):
    """Tests the proxy's configuration and reloads it; requests in flight are finished by the old workers."""

    doing = "reload proxy"


@dataclass(frozen=True)
class Plan:
    """Steps in order. `release` is the live release when the plan has been applied, `previous` the one before.

    `serving`: a release serves already, so a failure leaves it serving.
    """

    steps: tuple[Step, ...]
    release: str = ""
    previous: str = ""
    serving: bool = False

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
