"""A release: an image and its settings at one time. Plans how it takes the place of the one that serves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator import create_args, history, labels, proxy
from orchestrator.diff import short
from orchestrator.model import ServiceSpec, Stack
from orchestrator.proxy_plan import proof
from orchestrator.services import (
    INTERRUPTS,
    Sorted,
    create,
    next_number,
    remove_steps,
    revive,
    stop_steps,
    wait_timeout,
)
from orchestrator.state import Observed, ObservedContainer
from orchestrator.steps import (
    CreateContainer,
    Drain,
    Image,
    JoinNetwork,
    Migrate,
    Part,
    RemoveContainer,
    RemoveImage,
    RunHook,
    StartContainer,
    Step,
    SwitchTraffic,
    WaitExit,
    WaitHealthy,
    WriteUpstream,
)

#: An image that no release was made of is removed when it is older.
UNRELEASED_MAX_AGE = timedelta(days=1)
NEVER = datetime.min.replace(tzinfo=UTC)


def release_id(now: datetime, image_id: str, taken: Iterable[str] = ()) -> str:
    """`20261124T101502-3f9c2ab`: UTC, and the image's digest; a second later where that one is taken."""
    known = set(taken)
    while (name := f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{short(image_id) or 'unbuilt'}") in known:
        now += timedelta(seconds=1)
    return name


def container_name(stack: Stack, release: str, number: int = 1) -> str:
    """Of a release's replica. Lower case, since it is also a DNS name."""
    return f"{stack.project}-{stack.upstream}-{release.lower()}" + (f"-{number}" if number > 1 else "")


def live_containers(stack: Stack, observed: Observed) -> tuple[ObservedContainer, ...]:
    """The running app containers that the proxy sends requests to; Compose's are found by the service's alias."""
    hosts = proxy.upstream_hosts(observed.upstream)
    running = [c for c in observed.of(stack.upstream) if c.running]
    named = tuple(c for c in running if c.name in hosts)
    # Else the file names the alias, or a container that another tool has removed: then Nginx falls back to the alias.
    return named or tuple(running[-1:])


def live_container(stack: Stack, observed: Observed) -> ObservedContainer | None:
    """The first of `live_containers`."""
    return next(iter(live_containers(stack, observed)), None)


@dataclass(frozen=True)
class Migration:
    """The run of the migration, ended before the candidates start."""

    prepare: tuple[Step, ...] = ()
    start: tuple[Step, ...] = ()
    wait: tuple[Step, ...] = ()


@dataclass(frozen=True)
class AppPlan:
    """The app's share. `serving`: a release serves now, so traffic moves only to candidates that are proven. `fresh`:
    this plan makes a release, which `record` notes when it has been proven."""

    part: Part
    migration: Migration
    write: tuple[Step, ...]
    switch: tuple[Step, ...]
    drain: tuple[Step, ...]
    hooks_before: tuple[Step, ...]
    hooks_after: tuple[Step, ...]
    prune: tuple[Step, ...]
    release: str
    previous: str
    serving: bool
    proxy_serves: bool
    fresh: bool
    record: history.Record = field(default_factory=lambda: history.Record("", "", ""))


def _migration(
    stack: Stack, spec: ServiceSpec, image: Image, release: str, *, has_data: bool, agent: str, previous: str
) -> Migration:
    name = f"{container_name(stack, release)}-migrate"

    def job(command: tuple[str, ...]) -> dict[str, Any]:
        role = labels.ROLE_STEP
        return create_args.oneoff_body(stack, spec, image=image.reference, command=command, role=role, release=release)

    cause = "the database must have the schema of the new image"
    if not has_data:
        # Nothing can be lost, and all else may start at the same time.
        wait = (WaitExit(name, ""), RemoveContainer(name, "has done its work"))
        return Migration((CreateContainer(name, cause, body=job(spec.migrate)),), (StartContainer(name, ""),), wait)
    snapshot = create_args.oneoff_body(
        stack,
        stack.service("backup"),
        image=agent,
        # Of the release that the data is of: the one it could be restored with.
        command=("snapshot", "--reason", "before-migration", "--release", previous),
        role=labels.ROLE_STEP,
    )
    check = job(spec.migrate_check) if spec.migrate_check else None
    return Migration(wait=(Migrate(name, cause, check=check, snapshot=snapshot, job=job(spec.migrate)),))


def _hooks(
    stack: Stack, commands: tuple[tuple[str, ...], ...], when: str, release: str, previous: str
) -> tuple[Step, ...]:
    told = {
        "RELEASE": release,
        "PREVIOUS_RELEASE": previous,
        "PROJECT": stack.project,
        "ENVIRONMENT": stack.environment,
        "URL": stack.url,
    }
    timeout = stack.releases.hook_timeout
    return tuple(
        RunHook(" ".join(words), f"{when} the release", command=words, timeout=timeout, environment=told)
        for words in commands
    )


def _replicas(
    stack: Stack, image: Image, found: Sorted, observed: Observed, release: str, *, gives_way: bool
) -> tuple[list[Part], list[str]]:
    """Each container of the release that is wanted, kept or made, with its steps; and their names."""
    spec = stack.service(stack.upstream)
    parts = [revive(stack, spec, container) for container in found.keep]
    names = [container.name for container in found.keep]
    taken = {container.name for container in observed.containers}
    number = next_number(observed.of(spec.name))
    while len(names) < spec.replicas:
        at = next(n for n in range(1, 1000) if container_name(stack, release, n) not in taken)
        name = container_name(stack, release, at)
        taken.add(name)
        names.append(name)
        made = create(
            stack, spec, image, name=name, number=number, release=release, cause=found.cause, gives_way=gives_way
        )
        number += 1
        wait = (WaitHealthy(name, "", timeout=wait_timeout(spec)),)
        parts.append(Part(prepare=(made,), start=(StartContainer(name, ""),), wait=wait))
    return parts, names


def _traffic(
    stack: Stack, observed: Observed, names: list[str], proxy_container: str, *, stops: bool, restarts: bool
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Two ways to send requests to the containers named: for a proxy that starts, and for one that serves. `stops`:
    others stop afterwards; `restarts`: some of these start."""
    upstream = proxy.upstream_file(sorted(names), stack.upstream_port)
    port, path = proof(stack)
    switch = SwitchTraffic(proxy_container, "", port=port, path=path, drain=stack.releases.drain_timeout)
    if observed.upstream != upstream:
        hosts = proxy.upstream_hosts(observed.upstream)
        cause = f"from {' and '.join(hosts)} to {' and '.join(names)}" if hosts else f"to {' and '.join(names)}"
        before = observed.upstream
        write = WriteUpstream(proxy_container, f"traffic goes {cause}", content=upstream, previous=before)
        return (write,), (replace(switch, cause=cause, content=upstream, previous=before),)
    if stops or restarts:
        # Of a run that was killed between the file and the reload; and a container that starts gets a new address.
        why = "it may not have read its upstream file yet" if stops else "the address may be another one"
        return (), (replace(switch, cause=why),)
    return (), ()


def plan_app(
    stack: Stack,
    observed: Observed,
    image: Image,
    found: Sorted,
    proxy_container: str,
    *,
    proxy_serves: bool,
    now: datetime,
    agent: str,
    wanted: frozenset[str],
    again: str = "",
) -> AppPlan:
    """Steps that bring the wanted release of the app into service.

    `proxy_container` is told of the new upstream: the proxy that serves (`proxy_serves`), else the one that this plan
    makes or starts. `agent` is the image that takes snapshots, `wanted` the ids of the images of all services. `again`
    is the release that a rollback goes back to: it keeps its id, and the schema stays.
    """
    spec = stack.service(stack.upstream)
    live = live_containers(stack, observed)
    same_schema = any(c.image_id == image.id or (image.schema and image.schema == c.schema) for c in live)
    migrates = bool(spec.migrate) and not again and not same_schema
    if migrates and any(c.state == "created" for c in found.keep):
        # Its run was killed before it was started, so perhaps before the database had its schema.
        found = Sorted((), (*found.others, *found.keep), "the run that made it did not end")
    known = {c.release for c in observed.of(spec.name)} | {record.release for record in observed.records}
    release = found.keep[0].release if found.keep else again or release_id(now, image.id, known)
    previous = _previous(observed, live, release)
    parts, names = _replicas(stack, image, found, observed, release, gives_way=bool(live) and proxy_serves)
    prepare = tuple(step for part in parts for step in part.prepare)
    migration = Migration()
    if migrates and not found.keep:
        # A volume that is there may hold data, whether or not something serves now.
        has_data = any(stack.volume(mount.volume).name in observed.volumes for mount in spec.mounts)
        migration = _migration(stack, spec, image, release, has_data=has_data, agent=agent, previous=previous)
        prepare = (*migration.prepare, *prepare)
    left = "another one is right" if found.keep else "is replaced"
    serving = bool(live) and live[0].release != release and (proxy_serves or not stack.proxied)
    last = next(reversed(history.good(observed.records)), "")
    # One whose run was killed before it was proven is as good as new.
    fresh = not found.keep or (stack.proxied and release != last)
    stops = any(c.running for c in found.others)
    restarts = any(isinstance(step, StartContainer | JoinNetwork) for part in parts for step in part.start)
    write: tuple[Step, ...] = ()
    switch: tuple[Step, ...] = ()
    if stack.proxied:
        write, switch = _traffic(stack, observed, names, proxy_container, stops=stops, restarts=restarts)
    # What has the port itself stops first.
    first = tuple(c for c in found.others if not stack.proxied or (c.spec or {}).get("ports"))
    afterwards = tuple(c for c in found.others if c not in first)
    drain = Drain(proxy_container, "", timeout=stack.releases.drain_timeout)
    return AppPlan(
        migration=migration,
        part=Part(
            prepare,
            stop_steps(spec, first, left + INTERRUPTS) + tuple(step for part in parts for step in part.start),
            tuple(step for part in parts for step in part.wait),
            stop_steps(spec, afterwards, left) + remove_steps(found.others, left),
        ),
        write=write,
        switch=switch,
        drain=(drain,) if switch and proxy_serves and stops else (),
        hooks_before=_hooks(stack, stack.releases.before, "before", release, previous) if fresh else (),
        hooks_after=_hooks(stack, stack.releases.after, "after", release, previous) if fresh else (),
        prune=_prune(stack, observed, wanted, now) if fresh else (),
        release=release,
        previous=previous,
        serving=serving,
        proxy_serves=proxy_serves,
        fresh=fresh,
        record=history.Record(
            release=release,
            created=now.astimezone(UTC).isoformat(timespec="seconds"),
            result=history.DEPLOYED,
            image=image.reference,
            image_id=image.id,
            previous=previous,
            action="rollback" if again else "deploy",
            spec=create_args.fingerprint(spec),
        ),
    )


def _previous(observed: Observed, live: tuple[ObservedContainer, ...], release: str) -> str:
    """The release that `release` takes, or has taken, the place of; "" if there was none."""
    if live and live[0].release != release:
        return live[0].release
    served = history.good(observed.records)
    last = next(reversed(served), "")
    return served[last].previous if last == release else last


def _prune(stack: Stack, observed: Observed, wanted: frozenset[str], now: datetime) -> tuple[Step, ...]:
    """Images of the stack that no rollback needs and nothing runs, nor their configuration. `wanted` are what this plan
    takes. One that was never released may be just built, by somebody who waits for the lock: it stays for a while.
    Without a proxy there is no history to be read (after `down`), which is not to say that there is none; but for a
    stack that has none."""
    if not observed.records and stack.proxied:
        return ()
    used = {container.image_id for container in observed.containers} | set(observed.proxy.config[1:])
    latest = {i for reference, i in observed.images.items() if reference.endswith(":latest")}
    kept = history.kept_images(observed.records, stack.releases.keep - 1) | used | latest | wanted
    released = {record.image_id for record in observed.records}
    repositories = {spec.image for spec in stack.services if spec.is_built}
    cause = f"not among the last {stack.releases.keep} releases"
    return tuple(
        RemoveImage(reference, cause)
        for reference, image_id in sorted(observed.images.items())
        if reference.rpartition(":")[0] in repositories
        and image_id not in kept
        and (image_id in released or now - observed.built.get(image_id, NEVER) > UNRELEASED_MAX_AGE)
    )
