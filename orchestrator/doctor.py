"""doctor: looks at the machine and the stack, and says for each finding what to do."""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator import compose, disk, exposure, ports, status
from orchestrator.agent.freshness import parse_age
from orchestrator.deploy import due
from orchestrator.engine import Engine, connect
from orchestrator.errors import OrchestratorError
from orchestrator.report import Reporter, size, table
from orchestrator.schema import size as parse_size
from orchestrator.session import Session
from orchestrator.settings import Settings, load
from orchestrator.stack import build_stack
from orchestrator.state import Observed

Check = tuple[str, bool, str, str]
"""What was looked at, whether it is well, what was found, and what to do if it is not."""


def doctor(root: Path, environment: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """`ok` and `checks`: [{`check`, `ok`, `found`, `hint`}]. A check that can't be made since an earlier one failed is
    left out."""
    found = list(_checks(root, environment, environ))
    rows = [dict(zip(("check", "ok", "found", "hint"), check, strict=True)) for check in found]
    return {"ok": all(row["ok"] for row in rows), "checks": rows}


def text(result: dict[str, Any]) -> str:
    rows = [
        ["ok" if row["ok"] else "WRONG", row["check"], row["found"] + (f" -> {row['hint']}" if row["hint"] else "")]
        for row in result["checks"]
    ]
    return table(["", "CHECK", "FOUND"], rows)


def _checks(root: Path, environment: str, environ: Mapping[str, str]) -> Iterator[Check]:
    yield "python", sys.version_info >= (3, 11), sys.version.split()[0], ""
    try:
        settings = load(root, environment, environ)
    except OrchestratorError as error:
        yield "settings", False, "; ".join(error.detail), error.hint
        return
    yield "settings", True, f"config/{environment}.toml, .env and the environment are right", ""
    if settings.warnings:
        yield "variables", False, "; ".join(settings.warnings), "correct the name, or remove the line."
    found = exposure.warnings(settings)
    beyond = "set HTTP_BIND=127.0.0.1, or let people sign in." if found else ""
    yield "exposure", not found, "; ".join(found) or "nobody gets in who must not, by these settings", beyond
    yield _attempt("compose files", lambda: _compose_files(root, environ))
    try:
        engine = connect(settings.engine_environment)
        version, info = engine.version(), engine.info()
    except OrchestratorError as error:
        yield "engine", False, error.message, error.hint
        return
    yield "engine", True, f"{version['Version']} at {engine.host}, API {version['ApiVersion']}", limits_hint(info)
    yield "disk", *_disk(settings, engine, info)
    stack = build_stack(settings)
    for name in ("PYTHON_IMAGE", "NGINX_IMAGE"):
        image = str(getattr(settings.host, name))
        has = bool(engine.image_id(image))
        yield name, has, f"{image} is {'there' if has else 'not on the engine'}", "" if has else "run `setup`."
    observed = engine.observe(stack.project)
    yield _port(settings, engine, observed, stack.front)
    for container in (c for spec in stack.services for c in observed.of(spec.name)):
        well = container.healthy or container.health == "starting"
        hint = "" if well else f"see `logs {container.service}`; `deploy` puts it right."
        yield container.service, well, f"{container.name} is {container.state}, {container.health}", hint
    session = Session(settings, stack, engine, Reporter(io.StringIO()))
    yield from _copies(session, observed)
    steps = due(session, observed)
    yield "drift", not steps, f"{len(steps)} steps to what the settings want", "see `plan`." if steps else ""


def limits_hint(info: Mapping[str, Any]) -> str:
    """What to do where the engine takes limits and does not keep them, as one without root does that may not use
    control groups; "" where it keeps all of ours."""
    kept = {"memory": "MemoryLimit", "cpus": "CpuCfsQuota", "pids": "PidsLimit"}
    missing = [limit for limit, name in kept.items() if info.get(name) is False]
    if not missing:
        return ""
    return f"it does not keep limits of {', '.join(missing)}: boot its machine with cgroup v2 and systemd."


def _copies(session: Session, observed: Observed) -> Iterator[Check]:
    """For each remote, whether the newest snapshot there is young enough."""
    remotes = session.stack.remotes
    allowed = parse_age(session.settings.backup.max_age)
    listed = status.snapshots(session, observed) if remotes else []
    for one in status.copied(listed, remotes):
        if one["snapshot"] is None:
            yield f"copies on {one['remote']}", False, "none", "`backup` copies, or says what is wrong."
            continue
        age = timedelta(seconds=one["age_seconds"])
        well = allowed is None or age <= allowed
        found = f"the newest is of snapshot {one['snapshot']}, {status.age(one['age_seconds'])} ago"
        yield f"copies on {one['remote']}", well, found, "" if well else "`backup` copies, or says what is wrong."


def _attempt(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except OrchestratorError as error:
        return name, False, error.message, error.hint


def _compose_files(root: Path, environ: Mapping[str, str]) -> Check:
    texts = compose.files(root, environ)
    old = compose.stale(root, texts)
    found = f"not current: {', '.join(old)}" if old else f"current: {', '.join(texts)}"
    return "compose files", not old, found, "run `compose`." if old else ""


def _disk(settings: Settings, engine: Engine, info: Mapping[str, Any]) -> tuple[bool, str, str]:
    found = disk.free(info, local=engine.is_local)
    if found is None:
        return True, "on another host, or out of this user's sight", ""
    (free, folder), wanted = found, int(str(parse_size(settings.host.BUILD_MIN_FREE)))
    return free >= wanted, f"{size(free)} free in {folder}", "" if free >= wanted else "`docker system prune`."


def _port(settings: Settings, engine: Engine, observed: Observed, front: str) -> Check:
    address, port = settings.host.HTTP_BIND, settings.host.HTTP_PORT
    if any(container.running for container in observed.of(front)):
        return "port", True, f"{address}:{port} is the {front}'s", ""
    for summary in engine.publishing(port):
        return "port", False, f"{port} is held by container {summary['Names'][0][1:]}", "set HTTP_PORT to a free one."
    if not engine.is_local:
        return "port", True, "on another host", ""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, int(port)))
        except OSError as error:
            holder = ports.process_listening(int(port)) or str(error)
            return "port", False, f"{address}:{port} is in use: {holder}", "set HTTP_PORT to a free one."
    return "port", True, f"{address}:{port} is free", ""
