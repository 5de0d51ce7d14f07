"""reconcile(stack, observed) -> Plan. Pure: printing the plan is the dry run.

A plan without steps means that there is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestrator import create_args, history, labels
from orchestrator.errors import OrchestratorError
from orchestrator.model import ServiceSpec, Stack
from orchestrator.proxy_plan import ProxyPlan, ask, plan_proxy, revive_proxy
from orchestrator.release import AppPlan, live_containers, plan_app
from orchestrator.services import remove_steps, replace_in_place, revive, sort_containers, stop_steps
from orchestrator.state import Observed, ObservedContainer, moment
from orchestrator.steps import (
    CreateNetwork,
    CreateVolume,
    Image,
    Part,
    Plan,
    RecordRelease,
    RemoveNetwork,
    RemoveVolume,
    Step,
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
    if container.role == labels.ROLE_STEP:
        return True
    age = now - moment(container.created)
    return container.role == labels.ROLE_AGENT and not container.running and age > ONEOFF_MAX_AGE


def _left_overs(observed: Observed, now: datetime, role: str) -> tuple[Step, ...]:
    left = tuple(c for c in observed.oneoffs if c.role == role and _left_over(c, now))
    cause = "left over by a run that was killed"
    return stop_steps(None, left, cause) + remove_steps(left, cause)


def rehearsal_left(observed: Observed) -> tuple[Step, ...]:
    """Steps that take away all that a rehearsal has made. For whoever holds the lock: then none is under way."""
    cause = "of a rehearsal that has not ended"
    left = tuple(c for c in observed.oneoffs if c.role == labels.ROLE_REHEARSAL)
    steps = stop_steps(None, left, cause) + remove_steps(left, cause)
    return steps + tuple(RemoveVolume(name, cause) for name in sorted(observed.scratch))


def without_rehearsal(observed: Observed) -> Observed:
    """What there is beside a rehearsal that is under way, which takes away itself what it has made."""
    kept = tuple(c for c in observed.containers if c.role != labels.ROLE_REHEARSAL)
    return replace(observed, containers=kept, scratch=frozenset())


def _unwanted(stack: Stack, observed: Observed) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Steps that stop, and that remove, the containers of services that the stack does not have."""
    names = {service.name for service in stack.services if service.replicas}
    orphans = tuple(c for c in observed.containers if not c.oneoff and c.service not in names)
    cause = "orphan: the stack has no such service"
    return stop_steps(None, orphans, cause), remove_steps(orphans, cause)


def _orphans(stack: Stack, observed: Observed, now: datetime, unwanted: tuple[Step, ...]) -> tuple[Step, ...]:
    steps = unwanted
    steps += _left_overs(observed, now, labels.ROLE_AGENT) + rehearsal_left(observed)
    wanted = {network.name for network in stack.networks}
    return steps + tuple(
        RemoveNetwork(network.name, "orphan: the stack has no such network")
        for network in observed.networks
        if network.name not in wanted
    )


def _in_order(
    stack: Stack, app: AppPlan, proxies: ProxyPlan, backup: Part, record: tuple[Step, ...]
) -> tuple[Step, ...]:
    proxy, proven = proxies.part, app.hooks_after + record
    prove = ask(stack, proxies.last) if proxy.start else ()
    # Where another proxy takes over, the one that drains is without a network, or has ended, at the end.
    early, late = (app.drain, ()) if proxies.tell != proxies.last else ((), app.drain)
    steps = app.hooks_before
    if app.serving:
        # Traffic moves first, through the proxy that serves; only then may anything interrupt.
        steps += app.part.prepare + app.migration.start + app.migration.wait
        steps += app.part.start + app.part.wait + app.switch
        steps += proxy.prepare + backup.prepare + backup.start + early + proxy.start + proxy.wait
    else:
        # Nothing serves, so everything starts side by side and is waited for at the end.
        steps += app.part.prepare + proxy.prepare + backup.prepare
        steps += app.migration.start + backup.start
        if proxy.start and not app.proxy_serves:
            # It reads the file when it starts.
            steps += app.write + app.migration.wait + app.part.start + proxy.start + app.part.wait + proxy.wait
        else:
            steps += app.migration.wait + app.part.start + app.part.wait + app.switch + early
            steps += proxy.start + proxy.wait
    steps += prove + proven + backup.wait
    return steps + late + app.part.finish + proxy.finish + backup.finish


def _in_place(app: AppPlan, backup: Part, unwanted: tuple[Step, ...]) -> tuple[Step, ...]:
    """Without a proxy: the new one has the port of the old one, so it starts when that has stopped. So does what may
    have had the port until now, a proxy that is `unwanted`."""
    steps = app.hooks_before + app.part.prepare + backup.prepare
    steps += app.migration.start + app.migration.wait + backup.start
    steps += unwanted + app.part.start + app.part.wait + app.hooks_after
    return steps + backup.wait + app.part.finish + backup.finish


def reconcile(
    stack: Stack, observed: Observed, images: Mapping[str, Image], now: datetime | None = None, *, again: str = ""
) -> Plan:
    """The steps from what is to what is wanted. `images` maps each service to its image on this engine.

    `again` is the release that a rollback goes back to, whose image and settings `images` and `stack` hold; then the
    other services are left as they are.
    """
    now = now or datetime.now(UTC)
    network_steps, fresh = _networks(stack, observed)
    live = live_containers(stack, observed)
    prefer = frozenset(container.name for container in live if container.healthy)
    app_spec, backup_spec = stack.service(stack.upstream), stack.service("backup")
    found = sort_containers(stack, app_spec, images[app_spec.name], observed.of(app_spec.name), fresh, prefer)
    if not stack.proxied:
        proxy = ProxyPlan(Part(), "", "", serves=False)
    elif again:
        proxy = revive_proxy(stack, stack.service("proxy"), observed)
    else:
        proxy = plan_proxy(stack, stack.service("proxy"), images["proxy"], observed, fresh)
    agent = images["backup"].reference
    wanted = frozenset(image.id for image in images.values())
    image = images[app_spec.name]
    app = plan_app(
        stack,
        observed,
        image,
        found,
        proxy.tell,
        proxy_serves=proxy.serves,
        now=now,
        agent=agent,
        wanted=wanted,
        again=again,
    )
    if not backup_spec.replicas:
        backup = Part()
    elif again:
        backup = _revived(stack, backup_spec, observed)
    else:
        backup_found = sort_containers(stack, backup_spec, images["backup"], observed.of("backup"), fresh)
        backup = replace_in_place(stack, backup_spec, images["backup"], backup_found, app.release)
    record: tuple[Step, ...] = ()
    if app.fresh and stack.proxied:
        superfluous = history.superfluous([*observed.proxy.records, app.record.file])
        record = (RecordRelease(proxy.last, "", record=app.record, superfluous=superfluous),)
    steps = _left_overs(observed, now, labels.ROLE_STEP) + network_steps + _volumes(stack, observed)
    stops, removes = _unwanted(stack, observed)
    if stack.proxied:
        steps += _in_order(stack, app, proxy, backup, record)
        removes = stops + removes
    else:
        steps += _in_place(app, backup, stops)
    steps += _orphans(stack, observed, now, removes) + app.prune
    serving = bool(live) and (proxy.serves or not stack.proxied)
    noted = app.record if record else None
    return Plan(steps, release=app.release, previous=app.previous, serving=serving, record=noted)


def _revived(stack: Stack, spec: ServiceSpec, observed: Observed) -> Part:
    """A service that a rollback leaves as it is, but for one that does not run."""
    containers = observed.of(spec.name)
    running = [container for container in containers if container.running]
    return revive(stack, spec, (running or containers)[-1]) if containers else Part()


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
    steps += tuple(RemoveVolume(name, "of a rehearsal that has not ended") for name in sorted(observed.scratch))
    if volumes:
        names = [volume.name for volume in stack.volumes if volume.name in observed.volumes]
        steps += tuple(RemoveVolume(name, "down --volumes") for name in names)
    return Plan(steps)
