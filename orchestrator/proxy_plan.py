"""The proxy's share of a plan: its configuration is changed by reload, and where it must be replaced, the new one is
proven before it takes the port from the old one."""

from __future__ import annotations

from dataclasses import replace

from orchestrator import create_args
from orchestrator.diff import short
from orchestrator.drift import reasons
from orchestrator.model import ServiceSpec, Stack
from orchestrator.services import (
    Sorted,
    create,
    next_number,
    remove_steps,
    replace_in_place,
    revive,
    stop_steps,
    wait_timeout,
)
from orchestrator.state import Observed, ObservedContainer
from orchestrator.steps import (
    AskProxy,
    CopyProxyConfig,
    Image,
    JoinNetwork,
    MovePort,
    Part,
    StartContainer,
    Step,
    UseProxyConfig,
    WaitHealthy,
)

#: What the plan says of the only step that clients notice.
INTERRUPTS = "; interrupts for a moment"


def running_config(observed: Observed, container: ObservedContainer) -> str:
    """The id of the image whose configuration a proxy runs."""
    config = observed.proxy.config
    return config[1] if config and config[0] == container.image_id else container.image_id


def image_for(observed: Observed, container: ObservedContainer, image: Image) -> Image:
    """`image`, or the container's own where all that is different is a configuration which it runs already, or can."""
    if image.id and image.id == running_config(observed, container):
        return replace(image, id=container.image_id)
    if image.id and image.fixed and image.fixed == container.fixed and container.healthy:
        return replace(image, id=container.image_id)
    return image


def plan_proxy(stack: Stack, spec: ServiceSpec, image: Image, observed: Observed, fresh: frozenset[str]) -> Part:
    """`fresh` networks do not exist yet."""
    containers = observed.of(spec.name)
    right = [
        c
        for c in containers
        if not reasons(stack, spec, image_for(observed, c, image), c) and not c.limits.networks & fresh
    ]
    # With the port before without it, since another one may be on the way to it.
    right.sort(key=lambda c: (c.running, c.image_id == image.id, _published(stack, spec, c), c.created))
    if not right:
        return _replaced(stack, spec, image, containers, fresh)
    keep = right[-1]
    others = tuple(c for c in containers if c is not keep)
    moves = _moves(stack, spec, others, keep.name, "another one is right")
    if _published(stack, spec, keep) or not moves:
        part = replace_in_place(stack, spec, image, Sorted((keep,), others, ""))
        return replace(part, start=part.start + _reconfigured(observed, keep, image))
    # A run that was killed had proven `keep`, or was about to, and had not given it the port.
    part = revive(stack, spec, keep)
    start = tuple(step for step in part.start if not isinstance(step, JoinNetwork))
    wait = part.wait or (WaitHealthy(keep.name, "", timeout=wait_timeout(spec)),)
    left = "another one is right"
    return Part(start=start + wait + moves, finish=stop_steps(spec, others, left) + remove_steps(others, left))


def _published(stack: Stack, spec: ServiceSpec, container: ObservedContainer) -> bool:
    """Whether it is on the network that its port is published on."""
    return create_args.network_names(stack, spec)[-1] in container.limits.networks


def _moves(
    stack: Stack, spec: ServiceSpec, others: tuple[ObservedContainer, ...], name: str, cause: str
) -> tuple[Step, ...]:
    """Steps that take the port from whichever of the others may have it: one that runs and is on any network."""
    networks = create_args.network_names(stack, spec)
    return tuple(
        MovePort(name, f"{c.name}: {cause}{INTERRUPTS}", source=c.name, networks=networks, alias=spec.name)
        for c in others
        if c.running and c.limits.networks
    )


def _replaced(
    stack: Stack,
    spec: ServiceSpec,
    image: Image,
    containers: tuple[ObservedContainer, ...],
    fresh: frozenset[str],
) -> Part:
    live = next((c for c in reversed(containers) if c.running), containers[-1] if containers else None)
    causes = reasons(stack, spec, image, live) if live else ("there is none",)
    cause = "; ".join(causes) or "its network has to be made anew"
    number = next_number(containers)
    name = f"{stack.project}-{spec.name}-{number}"
    moves = _moves(stack, spec, containers, name, "is replaced")
    if not moves or fresh:
        return replace_in_place(stack, spec, image, Sorted((), containers, cause))
    made = create(stack, spec, image, name=name, number=number, release="", cause=cause)
    return Part(
        prepare=(replace(made, more_networks=()),),
        start=(StartContainer(name, ""), WaitHealthy(name, "", timeout=wait_timeout(spec)), *moves),
        finish=stop_steps(spec, containers, "is replaced") + remove_steps(containers, "is replaced"),
    )


def _reconfigured(observed: Observed, container: ObservedContainer, image: Image) -> tuple[Step, ...]:
    """Steps that put another image's configuration into effect in a container that is right otherwise."""
    runs = running_config(observed, container)
    if not image.id or runs == image.id or image.fixed != container.fixed:
        return ()
    cause = f"configuration: {short(runs)} -> {short(image.id)}"
    use = UseProxyConfig(container.name, cause, container_image=container.image_id, image_id=image.id, previous=runs)
    if image.id == container.image_id:
        return (use,)  # its own
    return (CopyProxyConfig(container.name, cause, image=image.reference, image_id=image.id), use)


def proof(stack: Stack) -> tuple[int, str]:
    """The proxy's port and the path that is asked for through it to prove the app; "" where a command asks the app."""
    check = stack.service(stack.upstream).healthcheck
    by_path = check is not None and len(check.test) == 3 and check.test[2].startswith("/")
    port = next((p.target for p in stack.service("proxy").ports), 8080)
    return port, check.test[2] if check and by_path else ""


def ask(stack: Stack, container: str) -> tuple[Step, ...]:
    """A request for the app through a proxy that this plan has started or changed."""
    port, path = proof(stack)
    return (AskProxy(container, "", port=port, path=path),) if path else ()
