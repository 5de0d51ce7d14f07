"""The proxy's share of a plan: its configuration is changed by reload, and where it must be replaced, the new one is
proven before it takes the port from the old one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator import create_args, labels
from orchestrator.diff import short
from orchestrator.drift import reasons
from orchestrator.model import ServiceSpec, Stack
from orchestrator.services import (
    INTERRUPTS,
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
    SwitchTraffic,
    UseProxyConfig,
    WaitHealthy,
)


@dataclass(frozen=True)
class ProxyPlan:
    """The proxy's share. `tell` is the container that has the traffic until then, to be told of a new upstream; `last`
    the one that has it afterwards. They are the same where nothing is replaced. `serves`: `tell` runs and is on all of
    its networks, so that it can be told while it serves."""

    part: Part
    tell: str
    last: str
    serves: bool


def _telling(stack: Stack, spec: ServiceSpec, observed: Observed, part: Part, last: str) -> ProxyPlan:
    """Of two that run, the one with the port serves, however old it is."""
    best = _best(stack, spec, observed)
    if best is None or not best.running:
        return ProxyPlan(part, last, last, serves=False)
    return ProxyPlan(part, best.name, last, serves=_missing(stack, spec, best) == 0)


def _best(stack: Stack, spec: ServiceSpec, observed: Observed) -> ObservedContainer | None:
    """The proxy that serves, or comes next to it."""
    by_use = sorted(
        observed.of(spec.name), key=lambda c: (c.running, _published(stack, spec, c), -_missing(stack, spec, c))
    )
    return by_use[-1] if by_use else None


def _missing(stack: Stack, spec: ServiceSpec, container: ObservedContainer) -> int:
    """How many of its networks it is not on."""
    return len(set(create_args.network_names(stack, spec)) - container.limits.networks)


def revive_proxy(stack: Stack, spec: ServiceSpec, observed: Observed) -> ProxyPlan:
    """For a rollback, which leaves the proxy as it is, but for one that does not run."""
    keep = _best(stack, spec, observed)
    if keep is None:
        return ProxyPlan(Part(), "", "", serves=False)
    part = revive(stack, spec, keep)
    if _missing(stack, spec, keep):
        part = Part(start=(*part.start, *_proven(stack, spec, keep, part)))
    return _telling(stack, spec, observed, part, keep.name)


def _proven(stack: Stack, spec: ServiceSpec, keep: ObservedContainer, part: Part) -> tuple[Step, ...]:
    """Steps for one that was off its networks, where traffic may have moved meanwhile."""
    wait = part.wait or (WaitHealthy(keep.name, "", timeout=wait_timeout(spec)),)
    drain = stack.releases.drain_timeout
    return (*wait, SwitchTraffic(keep.name, "it may not have read its upstream file yet", drain=drain))


def running_config(observed: Observed, container: ObservedContainer) -> str:
    """The id of the image whose configuration a proxy runs."""
    config = observed.proxy.config
    return config[1] if config and container.id.startswith(config[0]) else container.image_id


def image_for(observed: Observed, container: ObservedContainer, image: Image) -> Image:
    """`image`, or the container's own where all that is different is a configuration which it runs already, or can."""
    if image.id and image.id == running_config(observed, container):
        return replace(image, id=container.image_id)
    if image.id and image.fixed and image.fixed == container.fixed and container.healthy:
        return replace(image, id=container.image_id)
    return image


def plan_proxy(stack: Stack, spec: ServiceSpec, image: Image, observed: Observed, fresh: frozenset[str]) -> ProxyPlan:
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
        name = f"{stack.project}-{spec.name}-{next_number(containers)}"
        return _telling(stack, spec, observed, _replaced(stack, spec, image, containers, fresh, name), name)
    keep = right[-1]
    others = tuple(c for c in containers if c is not keep)
    return _telling(stack, spec, observed, _kept(stack, spec, image, observed, keep, others), keep.name)


def _kept(
    stack: Stack,
    spec: ServiceSpec,
    image: Image,
    observed: Observed,
    keep: ObservedContainer,
    others: tuple[ObservedContainer, ...],
) -> Part:
    moves = _moves(stack, spec, others, keep.name, "another one is right")
    configured = _reconfigured(stack, spec, observed, keep, image)
    if not _missing(stack, spec, keep) or (_published(stack, spec, keep) and not keep.running):
        # It gets the port when it starts, so the others stop before.
        part = replace_in_place(stack, spec, image, Sorted((keep,), others, ""))
        # One that starts must have started.
        return replace(part, start=part.start + part.wait + configured, wait=()) if configured else part
    # A run that was killed had proven `keep`, or was about to, and had not given it the port.
    part = revive(stack, spec, keep)
    left = "another one is right"
    finish = stop_steps(spec, others, left) + remove_steps(others, left)
    port = create_args.network_names(stack, spec)[-1]
    start = tuple(step for step in part.start if not (moves and isinstance(step, JoinNetwork) and step.network == port))
    return Part(start=(*start, *_proven(stack, spec, keep, part), *configured, *moves), finish=finish)


def _published(stack: Stack, spec: ServiceSpec, container: ObservedContainer) -> bool:
    """Whether it is on the network that its port is published on."""
    return create_args.network_names(stack, spec)[-1] in container.limits.networks


def _moves(
    stack: Stack, spec: ServiceSpec, others: tuple[ObservedContainer, ...], name: str, cause: str
) -> tuple[Step, ...]:
    """Steps that take the port from whichever of the others may have it: one that runs and is on any network; first
    from one that surely has, since it can't be given before."""
    others = tuple(sorted(others, key=lambda c: not _published(stack, spec, c)))
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
    name: str,
) -> Part:
    live = next((c for c in reversed(containers) if c.running), containers[-1] if containers else None)
    causes = reasons(stack, spec, image, live) if live else ("there is none",)
    cause = "; ".join(causes) or "its network has to be made anew"
    moves = _moves(stack, spec, containers, name, "is replaced")
    if not moves or fresh:
        return replace_in_place(stack, spec, image, Sorted((), containers, cause))
    number = next_number(containers)
    made = create(stack, spec, image, name=name, number=number, release="", cause=cause)
    return Part(
        prepare=(replace(made, more_networks=()),),
        start=(StartContainer(name, ""), WaitHealthy(name, "", timeout=wait_timeout(spec)), *moves),
        finish=stop_steps(spec, containers, "is replaced") + remove_steps(containers, "is replaced"),
    )


def _reconfigured(
    stack: Stack, spec: ServiceSpec, observed: Observed, container: ObservedContainer, image: Image
) -> tuple[Step, ...]:
    """Steps that put another image's configuration into effect in a container that is right otherwise."""
    runs = running_config(observed, container)
    if not image.id or runs == image.id or image.fixed != container.fixed:
        return ()
    cause = f"configuration: {short(runs)} -> {short(image.id)}"
    use = UseProxyConfig(container.name, cause, container_image=container.image_id, image_id=image.id, previous=runs)
    if image.id == container.image_id:
        return (use,)  # its own
    marks = {
        labels.PROJECT: stack.project,
        labels.SERVICE: spec.name,
        labels.ONEOFF: "True",
        labels.ROLE: labels.ROLE_STEP,
    }
    body = {"Image": image.reference, "Labels": marks, "HostConfig": {"NetworkMode": "none"}}
    return (CopyProxyConfig(container.name, cause, body=body, image_id=image.id), use)


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
