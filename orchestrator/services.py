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
    JoinNetwork,
    Part,
    RemoveContainer,
    StartContainer,
    Step,
    StopContainer,
    WaitHealthy,
)

#: What the plan says of a step that clients notice.
INTERRUPTS = "; interrupts for a moment"


@dataclass(frozen=True)
class Sorted:
    """A service's containers: those to `keep` (none if none is right), the `others`, and why they are not kept."""

    keep: tuple[ObservedContainer, ...]
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
    fresh_networks: frozenset[str] = frozenset(),
    prefer: frozenset[str] = frozenset(),
) -> Sorted:
    """Keeps as many right containers as there are replicas, all of one release: that of those named in `prefer` before
    any other, then the newest; running ones before stopped ones."""
    causes: dict[str, tuple[str, ...]] = {}
    for container in containers:
        found = reasons(stack, spec, image, container)
        if not found and container.limits.networks & fresh_networks:
            found = ("its network has to be made anew",)
        causes[container.name] = found
    right = [container for container in containers if not causes[container.name]]
    right.sort(key=lambda c: (c.name in prefer, c.running, c.created), reverse=True)
    keep = tuple(c for c in right if c.release == right[0].release)[: spec.replicas]
    others = tuple(container for container in containers if container not in keep)
    live = next((c for c in reversed(containers) if c.running), containers[-1] if containers else None)
    cause = "; ".join(causes[live.name]) if live else "there is none"
    return Sorted(keep, others, cause or "another replica")


def create(
    stack: Stack,
    spec: ServiceSpec,
    image: Image,
    *,
    name: str,
    number: int,
    release: str,
    cause: str,
    gives_way: bool = False,
) -> CreateContainer:
    """`gives_way`: another release serves while this one starts; a switch of traffic ends it."""
    body = create_args.container_body(
        stack, spec, image=image.reference, image_id=image.id, release=release, number=number
    )
    if gives_way:
        body["HostConfig"]["CpuShares"] = create_args.GIVES_WAY
    more = create_args.network_names(stack, spec)[1:]
    return CreateContainer(name, cause, body=body, more_networks=more, alias=spec.name)


def revive(stack: Stack, spec: ServiceSpec, container: ObservedContainer) -> Part:
    """What a container that is right needs to serve again; nothing when it is healthy."""
    timeout = wait_timeout(spec)
    left = [name for name in create_args.network_names(stack, spec) if name not in container.limits.networks]
    join: tuple[Step, ...] = tuple(
        JoinNetwork(container.name, "it is not on it", network=name, alias=spec.name) for name in left
    )
    if not container.running:
        cause = f"it is {container.state}" + (f" with code {container.exit_code}" if container.exit_code else "")
        if container.state == "paused":
            # A start does not end a pause.
            join += (StopContainer(container.name, "it is paused", grace=spec.stop_grace_period),)
        start: tuple[Step, ...] = (StartContainer(container.name, cause),)
        return Part(start=join + start, wait=(WaitHealthy(container.name, "", timeout=timeout),))
    if container.health == "unhealthy":
        # The engine never restarts an unhealthy container (moby#28400).
        stop = StopContainer(container.name, "it is unhealthy", grace=spec.stop_grace_period)
        start = (stop, StartContainer(container.name, "it is unhealthy"))
        return Part(start=join + start, wait=(WaitHealthy(container.name, "", timeout=timeout),))
    if container.health == "starting":
        return Part(start=join, wait=(WaitHealthy(container.name, "it is still starting", timeout=timeout),))
    return Part(start=join)


def stop_steps(spec: ServiceSpec | None, containers: tuple[ObservedContainer, ...], cause: str) -> tuple[Step, ...]:
    """Each has the grace that it was made with: the wanted settings may say another one."""
    grace = spec.stop_grace_period if spec else 10.0
    stopped = ("running", "restarting", "paused")
    return tuple(
        StopContainer(c.name, cause, grace=float((c.spec or {}).get("stop_grace_period", grace)), gives_way=True)
        for c in containers
        if c.state in stopped
    )


def remove_steps(containers: tuple[ObservedContainer, ...], cause: str) -> tuple[Step, ...]:
    return tuple(RemoveContainer(c.name, cause) for c in containers)


def next_number(containers: tuple[ObservedContainer, ...]) -> int:
    return max((container.number for container in containers), default=0) + 1


def replace_in_place(stack: Stack, spec: ServiceSpec, image: Image, found: Sorted, serving: str = "") -> Part:
    """For a service that can't run twice (a schedule): the old one stops, the new one starts.

    The new container exists before the old one stops, and the old one is removed only after the new one is healthy,
    so that a failure at any step can be undone. A new one is told the release that is `serving` then; a later release
    is no reason for another.
    """
    if found.keep:
        part = revive(stack, spec, found.keep[0])
        left = "another one is right"
        return Part(
            prepare=part.prepare,
            start=stop_steps(spec, found.others, left) + part.start,
            wait=part.wait,
            finish=remove_steps(found.others, left),
        )
    number = next_number(found.others)
    name = f"{stack.project}-{spec.name}-{number}"
    made = create(stack, spec, image, name=name, number=number, release="", cause=found.cause)
    if serving:
        made.body["Env"].append(f"RELEASE={serving}")
    return Part(
        prepare=(made,),
        start=(*stop_steps(spec, found.others, "is replaced"), StartContainer(name, "")),
        wait=(WaitHealthy(name, "", timeout=wait_timeout(spec)),),
        finish=remove_steps(found.others, "is replaced"),
    )
