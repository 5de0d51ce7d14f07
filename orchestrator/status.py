"""status: what runs, how it is, and whether it is what the settings want."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator import agent_run, restore
from orchestrator.agent.freshness import ALLOWED, FUTURE, judge_age, parse_age, shown
from orchestrator.deploy import due, told
from orchestrator.engine import Engine
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.release import live_container
from orchestrator.report import size, table
from orchestrator.session import Session
from orchestrator.state import Observed, ObservedContainer, moment
from orchestrator.style import is_terminal, paint

#: How the agent is called in its image.
AGENT = ("python", "-m", "orchestrator.agent")
#: The part of its memory limit above which a service is about to be killed.
FULL = 0.9
UNFINISHED = "was begun and has not ended; if it was killed, `deploy` puts it right"


def allowed_age(text: str | None) -> timedelta | None:
    """The value of `--max-age`, None if it was not given. Raises UsageError."""
    age = parse_age(text) if text is not None else None
    if text is not None and age is None:
        raise UsageError(f"--max-age {text}: this is not an age.", hint=f"it must be {ALLOWED}.")
    return age


def status(session: Session, max_age: timedelta | None = None) -> dict[str, Any]:
    """The state of the stack. `drift` is what `deploy` would do; `snapshot_age` says whether the last good snapshot is
    younger than `max_age`, if that is asked."""
    stack, engine = session.stack, session.engine
    observed = engine.observe(stack.project)
    todo = due(session, observed)
    live = live_container(stack, observed)
    # The agent's answer is fetched while the engine measures.
    with ThreadPoolExecutor(max_workers=2) as pool:
        listed = pool.submit(snapshots, replace(session, engine=session.engine.twin()), observed)
        disk = pool.submit(disk_use, session.engine.twin(), observed)
        use = _resources(session, observed)
    containers = [c for spec in stack.services for c in observed.of(spec.name)]
    present = {container.service for container in containers}
    absent = [
        {"name": spec.name, "container": "", "state": "absent", "health": "none", "release": "", "restarts": 0}
        for spec in stack.services
        if spec.replicas and spec.name not in present
    ]
    last = last_snapshot(listed.result())
    return {
        "project": stack.project,
        "release": live.release if live else "",
        "url": stack.url,
        "services": [_row(container) | use.get(container.name, {}) for container in containers] + absent,
        "drift": [told(step) for step in todo],
        "last_snapshot": last,
        "snapshot_age": judged(last, max_age, deployed=bool(containers)),
        "last_rehearsal": last_rehearsal(listed.result()),
        "remotes": copied(listed.result(), stack.remotes),
        "disk": disk.result(),
        "maintenance": observed.proxy.maintenance.strip(),
        "restore_unfinished": restore.unfinished(observed),
    }


def disk_use(engine: Engine, observed: Observed) -> dict[str, int]:
    """Bytes that the stack holds on disk: `images` (what they share counts once), `containers` (what they have written
    outside of volumes), `volumes`, and each volume by its name."""
    layers: dict[str, int] = {}
    for image in {*observed.images.values(), *(container.image_id for container in observed.containers)}:
        layers |= engine.layers(image)
    usage = engine.disk_usage()
    mine = {container.id for container in observed.containers}
    written = sum(int(c.get("SizeRw") or 0) for c in usage.get("Containers") or [] if c["Id"] in mine)
    volumes = {
        volume["Name"]: max(0, int((volume.get("UsageData") or {}).get("Size", 0)))
        for volume in usage.get("Volumes") or []
        if volume["Name"] in observed.volumes
    }
    return {"images": sum(layers.values()), "containers": written, "volumes": sum(volumes.values())} | volumes


def healthy(state: dict[str, Any]) -> bool:
    """Whether every service runs and none is unhealthy."""
    return all(s["state"] == "running" and s["health"] in ("healthy", "none") for s in state["services"])


def _row(container: ObservedContainer) -> dict[str, Any]:
    return {
        "name": container.service,
        "container": container.name,
        "state": container.state,
        "health": container.health,
        "release": container.release,
        "restarts": container.restarts,
        "started": container.started if container.running else "",
    }


def _resources(session: Session, observed: Observed) -> dict[str, dict[str, Any]]:
    """Memory in bytes and CPU in percent of one core, averaged since the start; nothing for one that stops meanwhile.

    The engine answers up to a second later, at its collector's next turn: so all containers are asked at once. A
    figure of the moment would take it two turns.
    """
    running = [container for container in observed.containers if container.running and not container.oneoff]

    def measure(container: ObservedContainer) -> dict[str, Any]:
        try:
            return _use(session.engine.twin().stats(container.name), container)
        except OrchestratorError:
            return {}

    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip((c.name for c in running), pool.map(measure, running), strict=True))


def _use(sample: dict[str, Any], container: ObservedContainer) -> dict[str, Any]:
    memory = sample.get("memory_stats", {})
    # Pages of files are the kernel's to take back: not the container's need (as `docker stats` counts).
    cache = memory.get("stats", {}).get("inactive_file", memory.get("stats", {}).get("total_inactive_file", 0))
    cpu = int(sample.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage", 0)) / 1e9
    up = max(1.0, (datetime.now(UTC) - moment(container.started)).total_seconds())
    return {
        "memory": max(0, int(memory.get("usage", 0)) - int(cache)),
        "memory_limit": int(memory.get("limit", 0)),
        "cpu_percent": round(cpu / up * 100, 1),
    }


def snapshots(session: Session, observed: Observed) -> list[dict[str, Any]]:
    """The snapshots, newest first; none if there is nobody to ask. The running backup service lists them, or else a
    container of its image, so that one that has stopped hides nothing."""
    try:
        for container in observed.of("backup"):
            if container.running:
                code, output = session.engine.run_in(container.name, (*AGENT, "list"))
                if code == 0:
                    return list(json.loads(output.splitlines()[-1])["snapshots"])
        with agent_run.once(session, observed, ("list",)) as agent:
            return list(agent_run.result(agent, session.engine, session.report)["snapshots"])
    except OrchestratorError:
        return []


def last_snapshot(listed: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest good one."""
    now = datetime.now(UTC)
    for entry in listed:
        past = (now - moment(entry["created"])).total_seconds() if entry.get("created") else -math.inf
        # One from the future was made by a clock that was wrong, and says nothing about today.
        if not entry.get("error") and not entry.get("raw") and past >= -FUTURE.total_seconds():
            return {key: entry[key] for key in ("snapshot", "created", "bytes")} | {"age_seconds": max(0, round(past))}
    return None


def last_rehearsal(listed: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Of the snapshots that are still there, the one that was rehearsed last, and how that went."""
    last = max((e for e in listed if e.get("rehearsed")), key=lambda e: str(e["rehearsed"]["at"]), default=None)
    return last and {"snapshot": last["snapshot"], **last["rehearsed"]} | _age_of(last["rehearsed"]["at"])


def copied(listed: list[dict[str, Any]], remotes: Sequence[str]) -> list[dict[str, Any]]:
    """For each remote, the newest good snapshot that a checked copy of is known to be there; `snapshot` is None where
    there is none."""
    found = []
    for remote in remotes:
        last = last_snapshot([entry for entry in listed if remote in entry.get("remotes", ())])
        found.append({"remote": remote} | (last or {"snapshot": None}))
    return found


def _age_of(iso: str) -> dict[str, int]:
    return {"age_seconds": round((datetime.now(UTC) - moment(iso)).total_seconds())}


def judged(snapshot: dict[str, Any] | None, max_age: timedelta | None, *, deployed: bool) -> dict[str, Any]:
    """Whether the last good snapshot is young enough (always, if that is not asked), and one line that says so."""
    if max_age is None:
        return {"ok": True, "message": ""}
    if not deployed:
        return {"ok": False, "message": "nothing is deployed"}
    if snapshot is None:
        return {"ok": False, "message": f"there is no good snapshot, allowed age {shown(max_age)}"}
    ok, line = judge_age(timedelta(seconds=snapshot["age_seconds"]), max_age)
    return {"ok": ok, "message": line}


def age(seconds: float) -> str:
    """`3 h`, for people."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def _since(iso: str) -> str:
    if not iso:
        return "-"
    return age((datetime.now(UTC) - moment(iso)).total_seconds())


def _named(snapshot: Mapping[str, Any]) -> str:
    return f"{snapshot['snapshot']}, {age(snapshot['age_seconds'])} ago" if snapshot["snapshot"] else "none yet"


def _rehearsed(last: dict[str, Any] | None) -> str:
    if last is None:
        return "never; `verify latest --rehearse` does it"
    when = f"{last['snapshot']}, {age(last['age_seconds'])} ago"
    if last["result"] != "passed":
        return f"{when}: FAILED, {last['reason']}"
    own = "" if last["own_release"] else ", not the release it came from"
    return f"{when}: restored in {last['restore_seconds']:.1f} s, booted in {last['boot_seconds']:.1f} s{own}"


def _good(word: str, good: tuple[str, ...], waiting: tuple[str, ...] = ()) -> tuple[str, str]:
    """A word with its colour."""
    return word, "green" if word in good else "yellow" if word in waiting else "red"


def _row_of(service: dict[str, Any]) -> list[str | tuple[str, str]]:
    """A service as the table shows it; what is wrong stands out."""
    memory: str | tuple[str, str] = "-"
    if "memory" in service:
        memory = f"{size(service['memory'])} / {size(service['memory_limit'])}"
        if service["memory"] > FULL * service["memory_limit"]:
            memory = (memory, "red")
    return [
        service["name"],
        _good(service["state"], ("running",), ("created", "restarting", "paused")),
        (service["health"], "")
        if service["health"] == "none"
        else _good(service["health"], ("healthy",), ("starting",)),
        _since(service.get("started", "")),
        (str(service["restarts"]), "yellow" if service["restarts"] else ""),
        memory,
        f"{service['cpu_percent']} %" if "cpu_percent" in service else "-",
        service["container"] or "-",
    ]


def text(state: dict[str, Any]) -> str:
    """The status as people read it."""
    columns = ["SERVICE", "STATE", "HEALTH", "UP", "RESTARTS", "MEMORY", "CPU", "CONTAINER"]
    snapshot, disk, fresh = state["last_snapshot"], state["disk"], state["snapshot_age"]
    last = _named(snapshot) if snapshot else "none yet"
    failed = state["last_rehearsal"] and state["last_rehearsal"]["result"] != "passed"

    def bad(line: str) -> str:
        return paint(line, "red", sys.stdout)

    lines = [
        f"project   {state['project']}",
        f"release   {state['release'] or 'none'}",
        f"url       {state['url']}",
        f"snapshot  {last}",
        *([f"age       {fresh['message']}"] if fresh["message"] and fresh["ok"] else []),
        *([bad(f"NOT OK    {fresh['message']}")] if not fresh["ok"] else []),
        (bad if failed else str)(f"rehearsed {_rehearsed(state['last_rehearsal'])}"),
        *(f"copied    {one['remote']}: {_named(one)}" for one in state["remotes"]),
        "disk      " + ", ".join(f"{size(disk[kind])} {kind}" for kind in ("images", "volumes", "containers")),
        *([bad(f"CLOSED    maintenance since {state['maintenance']}")] if state["maintenance"] else []),
        *([bad(f"RESTORE   {UNFINISHED}")] if state["restore_unfinished"] else []),
        "",
        table(columns, [_row_of(service) for service in state["services"]]),
        "",
    ]
    if state["drift"]:
        lines.append(paint("differs from the settings; `deploy` would:", "yellow", sys.stdout))
        lines += [
            f"  {s['step'].replace('-', ' ')} {s['target']}" + (f" ({s['cause']})" if s["cause"] else "")
            for s in state["drift"]
        ]
    else:
        lines.append(paint("no drift: everything is as the settings want it.", "green", sys.stdout))
    return "\n".join(lines)


def watch(session: Session, every: float = 2.0) -> None:
    """The status again and again, drawn over the one before on a terminal, until KeyboardInterrupt."""
    drawn = is_terminal(sys.stdout)
    while True:
        lines = text(status(session)).splitlines()
        if drawn:
            # Over the old text, line by line: a screen that is cleared first flickers.
            rows = shutil.get_terminal_size().lines - 1
            if len(lines) > rows:
                lines = [*lines[: rows - 1], f"... {len(lines) - rows + 1} lines more: make the window larger"]
            print("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", end="", flush=True)
        else:
            print("\n".join([*lines, ""]), flush=True)
        time.sleep(every)
