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
class AppPlan:
    """The app's share. `serving`: a release serves now, so traffic moves only to a candidate that is proven."""

    part: Part
    switch: tuple[Step, ...]
    name: str
    release: str
    previous: str
    serving: bool


def _migrate(stack: Stack, spec: ServiceSpec, image: Image, release: str) -> tuple[CreateContainer, tuple[Step, ...]]:
    name = f"{container_name(stack, release)}-migrate"
    body = create_args.oneoff_body(
        stack, spec, image=image.reference, command=spec.migrate, role=labels.ROLE_MIGRATE, release=release
    )
    cause = "the database must have the schema of the new image"
    done = (WaitExit(name, ""), RemoveContainer(name, "has done its work"))
    return CreateContainer(name, cause, body=body), done


def plan_app(
    stack: Stack, observed: Observed, image: Image, found: Sorted, proxy_container: str, *, now: datetime
) -> AppPlan:
    """Steps that bring the wanted release of the app into service.

    `proxy_container` is the running proxy, or the one that this plan makes; it is told of the new upstream.
    """
    spec = stack.service(stack.upstream)
    live = live_container(stack, observed)
    previous = live.release if live else ""
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
        if spec.migrate and (live is None or live.image_id != image.id):
            job, done = _migrate(stack, spec, image, release)
            prepare = (job, StartContainer(job.target, ""), *prepare)
            start = (*done, *start)
    left = "is replaced" if found.keep is None else "another one is right"
    return AppPlan(
        part=Part(prepare, start, wait, stop_steps(spec, found.others, left) + remove_steps(found.others, left)),
        switch=_switch(stack, observed, name, proxy_container),
        name=name,
        release=release,
        previous="" if previous == release else previous,
        serving=live is not None and live is not found.keep and any(c.running for c in observed.of("proxy")),
    )


def _switch(stack: Stack, observed: Observed, name: str, proxy_container: str) -> tuple[Step, ...]:
    wanted = proxy.upstream_file(name, stack.upstream_port)
    if observed.upstream == wanted:
        return ()
    host = proxy.upstream_host(observed.upstream)
    cause = f"traffic goes from {host} to {name}" if host else f"traffic goes to {name}"
    write = WriteUpstream(proxy_container, cause, content=wanted, previous=observed.upstream)
    return (write, ReloadProxy(proxy_container, ""))
