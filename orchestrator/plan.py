"""reconcile(stack, observed) -> Plan. Pure: printing the plan is the dry run.

A plan without steps means that there is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from orchestrator import create_args, labels
from orchestrator.errors import OrchestratorError
from orchestrator.model import Stack
from orchestrator.release import AppPlan, live_container, plan_app
from orchestrator.services import remove_steps, replace_in_place, sort_containers, stop_steps
from orchestrator.state import Observed, ObservedContainer
from orchestrator.steps import (
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    Image,
    Part,
    Plan,
    ReloadProxy,
    RemoveNetwork,
    RemoveVolume,
    Step,
    WriteUpstream,
)

#: A one-off container that has not begun to run by this age belongs to nobody any more.
ONEOFF_MAX_AGE = timedelta(hours=1)


def _networks(stack: Stack, observed: Observed) -> tuple[tuple[Step, ...], frozenset[str]]:
    """Steps for the networks that are missing, and their names."""
    existing = {network.name: network for network in observed.networks}
    steps: list[Step] = []
    for network in stack.networks:
        if network.name not in existing:
            body = create_args.network_body(stack, network)
            steps.append(CreateNetwork(network.name, "there is none", body=body))
        elif existing[network.name].internal != network.internal:
            wrong = "reaches the outside" if network.internal else "does not reach the outside"
            raise OrchestratorError(
                f"network {network.name} exists, but {wrong}.",
                hint=f"make it anew: `down` (data is kept), `docker network rm {network.name}`, then `deploy`.",
            )
    return tuple(steps), frozenset(step.target for step in steps)


def _volumes(stack: Stack, observed: Observed) -> tuple[Step, ...]:
    return tuple(
        CreateVolume(volume.name, "there is none", body=create_args.volume_body(stack, volume))
        for volume in stack.volumes
        if volume.name not in observed.volumes
    )


def _left_over(container: ObservedContainer, now: datetime) -> bool:
    """Whether a one-off container was left by a run that was killed. Whoever plans holds the project's lock, so a
    migration is nobody's; a snapshot may be under way without the lock."""
    if container.role == labels.ROLE_MIGRATE:
        return True
    age = now - datetime.fromisoformat(container.created[:19] + "+00:00")
    return container.role == labels.ROLE_AGENT and not container.running and age > ONEOFF_MAX_AGE


def _left_overs(observed: Observed, now: datetime, role: str) -> tuple[Step, ...]:
    left = tuple(c for c in observed.oneoffs if c.role == role and _left_over(c, now))
    cause = "left over by a run that was killed"
    return stop_steps(None, left, cause) + remove_steps(left, cause)


def _orphans(stack: Stack, observed: Observed, now: datetime) -> tuple[Step, ...]:
    names = {service.name for service in stack.services}
    orphans = tuple(c for c in observed.containers if not c.oneoff and c.service not in names)
    cause = "orphan: the stack has no such service"
    steps = stop_steps(None, orphans, cause) + remove_steps(orphans, cause)
    steps += _left_overs(observed, now, labels.ROLE_AGENT)
    wanted = {network.name for network in stack.networks}
    return steps + tuple(
        RemoveNetwork(network.name, "orphan: the stack has no such network")
        for network in observed.networks
        if network.name not in wanted
    )


def _in_order(app: AppPlan, proxy: Part, backup: Part) -> tuple[Step, ...]:
    if app.serving:
        # Traffic moves first, through the proxy that serves; only then may anything interrupt.
        steps = app.part.prepare + app.migration.start + app.migration.wait
        steps += app.part.start + app.part.wait + app.switch
        steps += proxy.prepare + backup.prepare + backup.start + proxy.start + proxy.wait + backup.wait
    else:
        # Nothing serves, so everything starts side by side and is waited for at the end.
        write = tuple(step for step in app.switch if isinstance(step, WriteUpstream))
        reload = tuple(step for step in app.switch if isinstance(step, ReloadProxy))
        steps = app.part.prepare + proxy.prepare + backup.prepare + app.migration.start + backup.start
        if proxy.start:
            # It reads the file when it starts.
            steps += write + app.migration.wait + app.part.start + proxy.start + app.part.wait + proxy.wait
        else:
            steps += app.migration.wait + app.part.start + app.part.wait + write + reload + proxy.wait
        steps += backup.wait
    return steps + app.part.finish + proxy.finish + backup.finish


def reconcile(stack: Stack, observed: Observed, images: Mapping[str, Image], now: datetime | None = None) -> Plan:
    """The steps from what is to what is wanted. `images` maps each service to its image on this engine."""
    now = now or datetime.now(UTC)
    network_steps, fresh = _networks(stack, observed)
    live = live_container(stack, observed)
    prefer = live.name if live and live.healthy else ""
    sorted_by_service = {
        spec.name: sort_containers(stack, spec, images[spec.name], observed.of(spec.name), fresh, prefer)
        for spec in stack.services
    }
    parts = {
        spec.name: replace_in_place(stack, spec, images[spec.name], sorted_by_service[spec.name])
        for spec in stack.services
        if spec.name != stack.upstream
    }
    proxy_container = _proxy_container(observed, parts["proxy"])
    app = plan_app(stack, observed, images["app"], sorted_by_service["app"], proxy_container, now=now)
    steps = _left_overs(observed, now, labels.ROLE_MIGRATE) + network_steps + _volumes(stack, observed)
    steps += _in_order(app, parts["proxy"], parts["backup"]) + _orphans(stack, observed, now)
    serving = live is not None and any(c.running for c in observed.of("proxy"))
    return Plan(steps, release=app.release, previous=app.previous, serving=serving)


def _proxy_container(observed: Observed, part: Part) -> str:
    """The proxy to tell of a new upstream: the one that serves, else the one that this plan makes or starts."""
    running = [container.name for container in observed.of("proxy") if container.running]
    if running:
        return running[-1]
    created = [step.target for step in part.prepare if isinstance(step, CreateContainer)]
    existing = [container.name for container in observed.of("proxy")]
    return (created or existing)[-1]


def plan_down(stack: Stack, observed: Observed, *, volumes: bool) -> Plan:
    """Steps that take the stack away; its data only with `volumes`."""
    cause = "down"
    order = {"proxy": 0, "app": 1}
    containers = tuple(sorted(observed.containers, key=lambda c: (order.get(c.service, 2), c.name)))
    steps: tuple[Step, ...] = ()
    for container in containers:
        spec = next((service for service in stack.services if service.name == container.service), None)
        steps += stop_steps(spec, (container,), cause) + remove_steps((container,), cause)
    steps += tuple(RemoveNetwork(network.name, cause) for network in observed.networks)
    if volumes:
        names = [volume.name for volume in stack.volumes if volume.name in observed.volumes]
        steps += tuple(RemoveVolume(name, "down --volumes") for name in names)
    return Plan(steps)
