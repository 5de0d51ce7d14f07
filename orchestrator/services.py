"""The steps for one service's containers: keep what is right, replace what is not, remove what is left over."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator import create_args
from orchestrator.drift import reasons
from orchestrator.model import ServiceSpec, Stack
from orchestrator.state import ObservedContainer
from orchestrator.steps import (
    CreateContainer,
    Image,
    Part,
    RemoveContainer,
    StartContainer,
    Step,
    StopContainer,
    WaitHealthy,
)


@dataclass(frozen=True)
class Sorted:
    """A service's containers: the one to `keep` (None if none is right), the `others`, and why they are not kept."""

    keep: ObservedContainer | None
    others: tuple[ObservedContainer, ...]
    cause: str


def wait_timeout(spec: ServiceSpec) -> float:
    """Seconds after which a container that is not healthy never will be: the engine's own verdict plus a margin."""
    check = spec.healthcheck
    if check is None:
        return 30.0
    return check.start_period + (check.retries + 1) * (check.interval + check.timeout) + 5.0


def sort_containers(
    stack: Stack,
    spec: ServiceSpec,
    image: Image,
    containers: tuple[ObservedContainer, ...],
    fresh_networks: frozenset[str],
    prefer: str = "",
) -> Sorted:
    """Keeps the newest right container, the one named `prefer` before any other, a running one before a stopped one."""
    causes: dict[str, tuple[str, ...]] = {}
    for container in containers:
        found = reasons(stack, spec, image, container)
        if not found and container.limits.networks & fresh_networks:
            found = ("its network has to be made anew",)
        causes[container.name] = found
    right = [container for container in containers if not causes[container.name]]
    right.sort(key=lambda c: (c.name == prefer, c.running, c.created))
    keep = right[-1] if right else None
    others = tuple(container for container in containers if container is not keep)
    live = next((c for c in reversed(containers) if c.running), containers[-1] if containers else None)
    cause = "; ".join(causes[live.name]) if live else "there is none"
    return Sorted(keep, others, cause)


def create(
    stack: Stack, spec: ServiceSpec, image: Image, *, name: str, number: int, release: str, cause: str
) -> CreateContainer:
    body = create_args.container_body(
        stack, spec, image=image.reference, image_id=image.id, release=release, number=number
    )
    more = create_args.network_names(stack, spec)[1:]
    return CreateContainer(name, cause, body=body, more_networks=more, alias=spec.name)


def revive(spec: ServiceSpec, container: ObservedContainer) -> Part:
    """What a container that is right needs to serve again; nothing when it is healthy."""
    timeout = wait_timeout(spec)
    if not container.running:
        cause = f"it is {container.state}" + (f" with code {container.exit_code}" if container.exit_code else "")
        start: tuple[Step, ...] = (StartContainer(container.name, cause),)
        return Part(start=start, wait=(WaitHealthy(container.name, "", timeout=timeout),))
    if container.health == "unhealthy":
        # The engine never restarts an unhealthy container (moby#28400).
        stop = StopContainer(container.name, "it is unhealthy", grace=spec.stop_grace_period)
        start = (stop, StartContainer(container.name, "it is unhealthy"))
        return Part(start=start, wait=(WaitHealthy(container.name, "", timeout=timeout),))
    if container.health == "starting":
        return Part(wait=(WaitHealthy(container.name, "it is still starting", timeout=timeout),))
    return Part()


def stop_steps(spec: ServiceSpec | None, containers: tuple[ObservedContainer, ...], cause: str) -> tuple[Step, ...]:
    grace = spec.stop_grace_period if spec else 10.0
    return tuple(StopContainer(c.name, cause, grace=grace) for c in containers if c.state in ("running", "restarting"))


def remove_steps(containers: tuple[ObservedContainer, ...], cause: str) -> tuple[Step, ...]:
    return tuple(RemoveContainer(c.name, cause) for c in containers)


def next_number(containers: tuple[ObservedContainer, ...]) -> int:
    return max((container.number for container in containers), default=0) + 1


def replace_in_place(stack: Stack, spec: ServiceSpec, image: Image, found: Sorted) -> Part:
    """For a service that can't run twice (a published port, a schedule): the old one stops, the new one starts.

    The new container exists before the old one stops, and the old one is removed only after the new one is healthy,
    so that a failure at any step can be undone.
    """
    if found.keep:
        part = revive(spec, found.keep)
        left = "another one is right"
        return Part(
            prepare=part.prepare,
            start=stop_steps(spec, found.others, left) + part.start,
            wait=part.wait,
            finish=remove_steps(found.others, left),
        )
    number = next_number(found.others)
    name = f"{stack.project}-{spec.name}-{number}"
    return Part(
        prepare=(create(stack, spec, image, name=name, number=number, release="", cause=found.cause),),
        start=(*stop_steps(spec, found.others, "is replaced"), StartContainer(name, "")),
        wait=(WaitHealthy(name, "", timeout=wait_timeout(spec)),),
        finish=remove_steps(found.others, "is replaced"),
    )
