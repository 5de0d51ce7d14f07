"""Stacks and engines that the tests begin from, with values of their own: no setting of ours decides a test."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator import create_args, history, labels
from orchestrator.apply import apply
from orchestrator.model import Build, Healthcheck, Mount, Network, Port, ServiceSpec, Stack, Volume
from orchestrator.plan import reconcile
from orchestrator.release import live_container
from orchestrator.report import Reporter
from orchestrator.steps import Image, Plan
from tests.unit.memory_engine import MemoryEngine, Script

ROOT = Path(__file__).resolve().parent.parent.parent
NOW = datetime(2026, 11, 24, 10, 15, 2, tzinfo=UTC)
CHECK = Healthcheck(("/probe",), interval=1.0, timeout=3.0, start_period=30.0, retries=3)

APP = ServiceSpec(
    name="app",
    image="shop-app",
    target="app",
    user="10001:10001",
    environment={"LOG_LEVEL": "info", "SECRET_KEY": "hunter2"},
    mounts=(Mount("data", "/data"),),
    networks=("internal",),
    memory=256 * 1024**2,
    cpus=1.0,
    pids=128,
    stop_grace_period=40.0,
    tmpfs={"/tmp": "size=64m"},
    healthcheck=replace(CHECK, test=("/usr/local/bin/probe", "8000", "/health")),
    migrate=("python", "-m", "service.migrate"),
    migrate_check=("python", "-m", "service.migrate", "--check"),
)
PROXY = ServiceSpec(
    name="proxy",
    image="shop-proxy",
    target="proxy",
    user="10002:10002",
    mounts=(Mount("upstream", "/etc/nginx/upstream"),),
    networks=("internal", "edge"),
    ports=(Port("127.0.0.1", "8080", 8080),),
    depends_on=("app",),
    memory=128 * 1024**2,
    cpus=1.0,
    pids=64,
    stop_grace_period=40.0,
    healthcheck=CHECK,
)
BACKUP = ServiceSpec(
    name="backup",
    image="shop-backup",
    target="backup",
    user="10001:10001",
    environment={"BACKUP_RETAIN": "14"},
    mounts=(Mount("data", "/data", read_only=True), Mount("backups", "/backups")),
    memory=256 * 1024**2,
    cpus=0.5,
    pids=64,
    stop_grace_period=20.0,
    healthcheck=CHECK,
)
STACK = Stack(
    project="shop",
    environment="production",
    services=(APP, PROXY, BACKUP),
    networks=(Network("internal", "shop_internal", internal=True), Network("edge", "shop_edge", internal=False)),
    volumes=(Volume("data", "shop_data"), Volume("upstream", "shop_upstream"), Volume("backups", "shop_backups")),
    build=Build(args={"PYTHON_IMAGE": "python:3.13-alpine", "NGINX_IMAGE": "nginx:alpine"}),
    upstream="app",
    upstream_port=8000,
    url="http://127.0.0.1:8080/",
)
IMAGES = {
    "app": Image("shop-app:aaa", "sha256:aaaaaaaaaaaa"),
    "proxy": Image("shop-proxy:bbb", "sha256:bbbbbbbbbbbb", "fixed1"),
    "backup": Image("shop-backup:ccc", "sha256:cccccccccccc"),
}
NEW_APP = Image("shop-app:ddd", "sha256:dddddddddddd")
#: Another configuration of the same proxy, and another proxy.
NEW_CONFIG = Image("shop-proxy:eee", "sha256:eeeeeeeeeeee", "fixed1")
THIRD_CONFIG = Image("shop-proxy:999", "sha256:999999999999", "fixed1")
NEW_PROXY = Image("shop-proxy:fff", "sha256:ffffffffffff", "fixed2")
#: What `migrate_check` is scripted by, and what says that there is something to migrate.
CHECK_COMMAND, PENDING = " ".join(APP.migrate_check), Script(exits=3)
RELEASE = "20261124T101502-aaaaaaa"
LIVE = "shop-app-20261124t101502-aaaaaaa"


def with_releases(stack: Stack = STACK, **changes: Any) -> Stack:
    """The stack with settings of its releases changed."""
    return replace(stack, releases=replace(stack.releases, **changes))


def with_service(name: str, stack: Stack = STACK, **changes: Any) -> Stack:
    """The stack with fields of one service changed."""
    services = tuple(replace(spec, **changes) if spec.name == name else spec for spec in stack.services)
    return replace(stack, services=services)


def engine() -> MemoryEngine:
    """An engine that has the images of a first deployment, and nothing else."""
    known = [*IMAGES.values(), NEW_APP, NEW_CONFIG, THIRD_CONFIG, NEW_PROXY]
    made = MemoryEngine({image.reference: image.id for image in IMAGES.values()})
    made.fixed = {image.id: image.fixed for image in known if image.fixed}
    made.image_files = {image.id: {"/etc/nginx/nginx.conf": image.id.encode()} for image in known if image.fixed}
    return made


def quiet() -> Reporter:
    return Reporter(io.StringIO())


def planned(
    target: MemoryEngine,
    stack: Stack = STACK,
    images: Mapping[str, Image] = IMAGES,
    *,
    now: datetime = NOW,
    again: str = "",
) -> Plan:
    """The plan of a deployment whose images have been built, or of a rollback."""
    target.images |= {image.reference: image.id for image in images.values() if image.id}
    return reconcile(stack, target.observe(stack.project), images, now, again=again)


def going_back(
    target: MemoryEngine, stack: Stack = STACK, wanted: str = ""
) -> Callable[[MemoryEngine, datetime], Plan]:
    """What plans a rollback, as deploy.py does it; OrchestratorError where there is nothing to go back to."""
    observed = target.observe(stack.project)
    live = live_container(stack, observed)
    record = history.target(observed.records, live.release if live else "", wanted, frozenset(target.images.values()))
    spec, _ = create_args.restored(record.spec, stack.service("app"), record.image)
    older = replace(stack, services=tuple(spec if s.name == "app" else s for s in stack.services))
    images = {s.name: Image(s.image, "") for s in stack.services} | {"app": Image(record.image, record.image_id)}
    return lambda target, now: planned(target, older, images, now=now, again=record.release)


def deployed(stack: Stack = STACK, images: Mapping[str, Image] = IMAGES, *, now: datetime = NOW) -> MemoryEngine:
    """An engine on which the stack has been deployed."""
    if (stack, images, now) == (STACK, IMAGES, NOW):
        return _deployed().copy()
    made = engine()
    apply(planned(made, stack, images, now=now), made, quiet())
    return made


@cache
def _deployed() -> MemoryEngine:
    made = engine()
    apply(planned(made), made, quiet())
    return made


def later(minutes: int = 1) -> datetime:
    return NOW + timedelta(minutes=minutes)


def foreign(target: MemoryEngine, name: str, service: str, *, role: str = "", oneoff: bool = False) -> None:
    """A running container of the project that another run or tool has made."""
    mark = {labels.PROJECT: "shop", labels.SERVICE: service, labels.ONEOFF: str(oneoff), labels.NUMBER: "1"}
    target.create_container(name, {"Image": "shop-backup:ccc", "Labels": mark | ({labels.ROLE: role} if role else {})})
    target.start_container(name)


def by_compose(target: MemoryEngine) -> None:
    """The stack as Compose v1 makes it: its labels and names, none of ours."""
    for network in STACK.networks:
        target.create_network(create_args.network_body(STACK, network))
    for volume in STACK.volumes:
        target.create_volume(create_args.volume_body(STACK, volume))
    for spec in STACK.services:
        body = create_args.container_body(
            STACK, spec, image=IMAGES[spec.name].reference, image_id="", release="", number=1
        )
        kept = {key: value for key, value in body["Labels"].items() if not key.startswith("orchestrator.")}
        name = f"shop_{spec.name}_1"
        target.create_container(
            name, body | {"Labels": kept}, create_args.network_names(STACK, spec)[1:], alias=spec.name
        )
        target.start_container(name)
        target.named(name).health = "healthy"
