"""Settings -> Stack: the one place that says what runs. `docker-compose.yml` and the engine get the same."""

from __future__ import annotations

import json
import os
from dataclasses import replace

from msgspec.structs import asdict

from orchestrator.model import (
    SOURCE,
    Bind,
    Build,
    Healthcheck,
    Mount,
    Network,
    Port,
    Releases,
    ServiceSpec,
    Stack,
    Volume,
)
from orchestrator.schema import Health, Service, binds
from orchestrator.settings import Settings

#: The app's only network has no way out; the proxy is on both. The backup service has none, or a way out of its own.
INTERNAL, EDGE, OUTBOUND = "internal", "edge", "outbound"
TMPFS_OPTIONS = "size=64m,mode=1777,noexec,nosuid,nodev"


def _healthcheck(health: Health, port: int | None) -> Healthcheck:
    test = tuple(health.command) if health.command else ("/usr/local/bin/probe", str(port), str(health.path))
    return Healthcheck(
        test=test,
        interval=health.interval,
        timeout=health.timeout,
        start_period=health.start_period,
        retries=health.retries,
    )


def _mounts(service: Service) -> tuple[Mount, ...]:
    return tuple(
        Mount(volume=key, target=path.removesuffix(":ro"), read_only=path.endswith(":ro"))
        for key, path in service.volumes.items()
        if key not in binds(service)
    )


def _binds(settings: Settings, service: Service) -> tuple[Bind, ...]:
    return tuple(
        Bind(os.path.normpath(settings.root / source), service.volumes[source].removesuffix(":ro"))
        for source in binds(service)
    )


def _spec(settings: Settings, name: str, service: Service, **more: object) -> ServiceSpec:
    project = settings.host.COMPOSE_PROJECT_NAME
    fields = {
        "name": name,
        "image": service.image or f"{project}-{name}",
        "target": service.target,
        "folder": service.build or "",
        "user": service.user,
        "command": tuple(service.command),
        "environment": dict(service.environment),
        "mounts": _mounts(service),
        "binds": _binds(settings, service),
        "restart": service.restart,
        "stop_grace_period": service.stop_grace_period,
        "memory": service.memory,
        "cpus": service.cpus,
        "pids": service.pids,
        "tmpfs": {"/tmp": TMPFS_OPTIONS},  # noqa: S108 - a path inside the container
        "healthcheck": _healthcheck(service.health, service.port),
        "migrate": tuple(service.migrate),
        "migrate_check": tuple(service.migrate_check),
        "migrate_files": tuple(service.migrate_files),
        "replicas": service.replicas,
    }
    return ServiceSpec(**(fields | more))  # type: ignore[arg-type]


def build_stack(settings: Settings) -> Stack:
    """The whole stack of one environment."""
    host, services = settings.host, settings.services
    project = host.COMPOSE_PROJECT_NAME
    app_port, proxy_port = services.app.port or 8000, services.proxy.port or 8080
    app = _spec(settings, "app", services.app, networks=(INTERNAL,))
    front: tuple[ServiceSpec, ...] = ()
    if services.proxy.replicas:
        ports = (Port(host.HTTP_BIND, host.HTTP_PORT, proxy_port),)
        proxy = _spec(settings, "proxy", services.proxy, networks=(INTERNAL, EDGE), ports=ports, depends_on=("app",))
        front = (proxy,)
    else:
        app = replace(app, networks=(INTERNAL, EDGE), ports=(Port(host.HTTP_BIND, host.HTTP_PORT, app_port),))
    schedule = {
        "BACKUP_SCHEDULE": settings.backup.schedule,
        "BACKUP_RETAIN": " ".join(f"{rule}={count}" for rule, count in asdict(settings.backup.retain).items()),
        "BACKUP_MAX_AGE": settings.backup.max_age,
        "BACKUP_PROJECT": project,
        "BACKUP_WEBHOOK_URL": host.BACKUP_WEBHOOK_URL,
    }
    backup_settings = settings.backup
    replicate = backup_settings.replicate
    if replicate.to:
        schedule |= {
            "BACKUP_REPLICATE_TO": replicate.to,
            "BACKUP_REPLICATE_RETENTION": replicate.retention,
            "BACKUP_REPLICATE_PRECISE": replicate.precise,
        }
    if backup_settings.remotes:
        schedule["BACKUP_REMOTES"] = json.dumps(backup_settings.remotes)
    if backup_settings.encrypt_to:
        schedule["BACKUP_ENCRYPT_TO"] = json.dumps(backup_settings.encrypt_to)
    outbound = (OUTBOUND,) if _reaches_out(settings) else ()
    backup = _spec(
        settings,
        "backup",
        services.backup,
        environment=schedule | dict(services.backup.environment),
        networks=outbound,
    )
    if replicate.to:
        # Litestream has tables of its own in the databases, and takes their checkpoints over.
        backup = replace(
            backup, mounts=tuple(replace(m, read_only=m.read_only and m.target != SOURCE) for m in backup.mounts)
        )
    keys = dict.fromkeys(mount.volume for service in (app, *front, backup) for mount in service.mounts)
    return Stack(
        project=project,
        environment=settings.environment,
        services=(app, *front, backup),
        networks=(
            Network(INTERNAL, f"{project}_{INTERNAL}", internal=True),
            Network(EDGE, f"{project}_{EDGE}", internal=False),
            *(Network(key, f"{project}_{key}", internal=False) for key in outbound),
        ),
        volumes=tuple(Volume(key, f"{project}_{key}") for key in keys),
        build=Build(
            args={"PYTHON_IMAGE": host.PYTHON_IMAGE, "NGINX_IMAGE": host.NGINX_IMAGE}
            | ({"BACKUP_EXTRAS": " ".join(extras)} if (extras := _extras(settings)) else {})
        ),
        upstream="app",
        upstream_port=app_port,
        url=f"http://{_shown(host.HTTP_BIND)}:{host.HTTP_PORT}/",
        releases=Releases(
            drain_timeout=settings.release.drain_timeout,
            keep=settings.release.keep,
            before=tuple(map(tuple, settings.release.before)),
            after=tuple(map(tuple, settings.release.after)),
            hook_timeout=settings.release.hook_timeout,
        ),
        remotes=tuple(settings.backup.remotes),
    )


def _reaches_out(settings: Settings) -> bool:
    """Whether the backup service needs a network: to tell of trouble, or to bring copies elsewhere."""
    # In a compose file, a variable that may stay empty is taken to be: a file cannot decide on a network later.
    webhook = settings.host.BACKUP_WEBHOOK_URL not in ("", "${BACKUP_WEBHOOK_URL:-}")
    replica = settings.backup.replicate.to
    return webhook or bool(settings.backup.remotes) or (bool(replica) and not replica.startswith("file:"))


def _extras(settings: Settings) -> tuple[str, ...]:
    """What the backup image holds besides, each a file orchestrator/agent/NAME.requirements.txt: only what is used."""
    used = {"rclone": settings.backup.remotes, "litestream": settings.backup.replicate.to}
    return tuple(name for name, needed in used.items() if needed)


def _shown(bind: str) -> str:
    """The address a person on this host types for a published one."""
    if bind in ("0.0.0.0", "::"):  # noqa: S104 - read, not bound
        return "localhost"
    return f"[{bind}]" if ":" in bind and not bind.startswith("$") else bind
