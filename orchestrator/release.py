"""A release: an image and its settings at one time. Plans how it takes the place of the one that serves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator import create_args, labels, proxy
from orchestrator.drift import short
from orchestrator.model import ServiceSpec, Stack
from orchestrator.services import Sorted, create, next_number, remove_steps, revive, stop_steps, wait_timeout
from orchestrator.state import Observed, ObservedContainer
from orchestrator.steps import (
    CreateContainer,
    Image,
    Part,
    ReloadProxy,
    RemoveContainer,
    StartContainer,
    Step,
    WaitExit,
    WaitHealthy,
    WriteUpstream,
)


def release_id(now: datetime, image_id: str) -> str:
    """`20261124T101502-3f9c2ab`: UTC, and the image's digest."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{short(image_id) or 'unbuilt'}"


def container_name(stack: Stack, release: str) -> str:
    """Lower case, since it is also a DNS name."""
    return f"{stack.project}-{stack.upstream}-{release.lower()}"


def live_container(stack: Stack, observed: Observed) -> ObservedContainer | None:
    """The app container that the proxy sends requests to, if it runs; Compose's is found by the service's alias."""
    host = proxy.upstream_host(observed.upstream)
    running = [c for c in observed.of(stack.upstream) if c.running]
    named = [c for c in running if c.name == host]
    if named:
        return named[-1]
    # The file names the alias, or a container that another tool has removed: then Nginx falls back to the alias.
    return running[-1] if running else None


@dataclass(frozen=True)
class Migration:
    """The run of the migration between its container's creation and the start of the app."""

    start: tuple[Step, ...] = ()
    wait: tuple[Step, ...] = ()


@dataclass(frozen=True)
class AppPlan:
    """The app's share. `serving`: a release serves now, so traffic moves only to a candidate that is proven."""

    part: Part
    migration: Migration
    switch: tuple[Step, ...]
    name: str
    release: str
    previous: str
    serving: bool


def _migrate(stack: Stack, spec: ServiceSpec, image: Image, release: str) -> tuple[CreateContainer, Migration]:
    name = f"{container_name(stack, release)}-migrate"
    body = create_args.oneoff_body(
        stack, spec, image=image.reference, command=spec.migrate, role=labels.ROLE_MIGRATE, release=release
    )
    cause = "the database must have the schema of the new image"
    return CreateContainer(name, cause, body=body), Migration(
        start=(StartContainer(name, ""),),
        wait=(WaitExit(name, ""), RemoveContainer(name, "has done its work")),
    )


def plan_app(
    stack: Stack, observed: Observed, image: Image, found: Sorted, proxy_container: str, *, now: datetime
) -> AppPlan:
    """Steps that bring the wanted release of the app into service.

    `proxy_container` is the running proxy, or the one that this plan makes; it is told of the new upstream.
    """
    spec = stack.service(stack.upstream)
    live = live_container(stack, observed)
    previous = live.release if live else ""
    migration = Migration()
    migrates = bool(spec.migrate) and (live is None or live.image_id != image.id)
    if migrates and found.keep and found.keep.state == "created":
        # Its run was killed before it was started, so perhaps before the database had its schema.
        found = Sorted(None, (*found.others, found.keep), "the run that made it did not end")
    if found.keep:
        part = revive(spec, found.keep)
        name, release = found.keep.name, found.keep.release
        prepare, start, wait = part.prepare, part.start, part.wait
    else:
        release = release_id(now, image.id)
        name = container_name(stack, release)
        number = next_number(found.others)
        prepare = (create(stack, spec, image, name=name, number=number, release=release, cause=found.cause),)
        start = (StartContainer(name, ""),)
        wait = (WaitHealthy(name, "", timeout=wait_timeout(spec)),)
        if migrates:
            job, migration = _migrate(stack, spec, image, release)
            prepare = (job, *prepare)
    left = "is replaced" if found.keep is None else "another one is right"
    return AppPlan(
        migration=migration,
        part=Part(prepare, start, wait, stop_steps(spec, found.others, left) + remove_steps(found.others, left)),
        switch=_switch(stack, observed, name, proxy_container, stops=any(c.running for c in found.others)),
        name=name,
        release=release,
        previous="" if previous == release else previous,
        serving=live is not None and live is not found.keep and any(c.running for c in observed.of("proxy")),
    )


def _switch(stack: Stack, observed: Observed, name: str, proxy_container: str, *, stops: bool) -> tuple[Step, ...]:
    wanted = proxy.upstream_file(name, stack.upstream_port)
    if observed.upstream == wanted:
        # A run that was killed between the file and the reload left Nginx with the one that is to be stopped.
        return (ReloadProxy(proxy_container, "it may not have read its upstream file yet"),) if stops else ()
    host = proxy.upstream_host(observed.upstream)
    cause = f"traffic goes from {host} to {name}" if host else f"traffic goes to {name}"
    write = WriteUpstream(proxy_container, cause, content=wanted, previous=observed.upstream)
    return (write, ReloadProxy(proxy_container, ""))
