"""Prepares the volume as it was at one moment: its databases out of Litestream's replica, its other files as they are
now, with those added that the last snapshot before has and that are gone since."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.agent import store
from orchestrator.agent.database import check_database
from orchestrator.agent.errors import AgentError
from orchestrator.agent.events import Progress
from orchestrator.agent.manifest import Entry, Snapshot
from orchestrator.agent.replica import PROGRAM, Replication
from orchestrator.agent.restore import PREPARED, Journal, Place, preparing
from orchestrator.agent.source import REPLICA_FOLDER, is_sidecar, read_header, walk
from orchestrator.agent.verify import unpack

#: Seconds that Litestream may take to list a replica, and to bring one back.
LIST_TIMEOUT, RESTORE_TIMEOUT = 120, 24 * 3600


def parse_moment(text: str, now: datetime) -> datetime:
    """An ISO 8601 time, UTC unless it says otherwise. Raises AgentError (usage); also for one that is still to come."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise AgentError(
            f"{text!r} is not a time.", hint="Write it as 2026-11-24T10:15:02Z (UTC).", code="usage"
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment > now:
        raise AgentError(f"{_stamp(moment)} is still to come: it is {_stamp(now)}.", code="usage")
    return moment


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


@dataclass(frozen=True, slots=True)
class Target:
    """`newest`: nothing has changed since, as far as is known; `state_of`: when the state that comes back is of."""

    newest: bool
    state_of: datetime


def target(changes: Iterable[Mapping[str, Any]], moment: datetime) -> Target | None:
    """`changes` is Litestream's listing of a replica; None when it begins after `moment`, or is empty.

    The listing's times are cut to the second.
    """
    times = sorted(datetime.fromisoformat(str(change["timestamp"])) for change in changes)
    before = [time for time in times if time <= moment]
    return Target(newest=len(before) == len(times), state_of=before[-1]) if before else None


def base_of(entries: Iterable[Entry], moment: datetime) -> Snapshot | None:
    """The last proven snapshot that is not after `moment`."""
    return next((e.detail for e in entries if e.good and e.detail is not None and e.created <= moment), None)


def prepare_at(
    source: Path,
    backups: Path,
    moment: datetime,
    replication: Replication,
    *,
    wait: float,
    progress: Progress,
    program: str = PROGRAM,
) -> dict[str, Any]:
    """Like restore.prepare, of a moment. Raises AgentError: code missing where the replica does not reach that far."""
    place = Place(source.absolute())
    name = f"the state of {_stamp(moment)}"
    with preparing(place, backups, name, wait=wait):
        base = base_of(store.entries(backups), moment)
        warnings: list[str] = []
        if base is not None:
            total = sum(one.bytes for one in base.manifest.databases) + base.manifest.files.bytes
            store.check_space(place.root, 2 * total)
            warnings += unpack(backups, base, place.new, progress)
        else:
            warnings.append("there is no snapshot before that time: only what is replicated or still there comes back")
        names = _names(place.root, base)
        if not names:
            raise AgentError(
                "Nothing says which databases were replicated.",
                hint="Bring a snapshot to this host first: `backups --from`.",
                code="missing",
            )
        states = [_bring(place, path, moment, replication, program, progress, warnings) for path in names]
        done = [state for state in states if state is not None]
        if not done:
            raise AgentError(
                "No database of this volume has a replica.", hint="See BACKUP_REPLICATE_TO.", code="missing"
            )
        _keep_files(place)
        place.keep_spare()
        place.note(Journal(name, PREPARED))
    return {
        "snapshot": name,
        "created": _stamp(moment),
        "release": base.manifest.release if base else "",
        "databases": [path for path, _, _ in done],
        "rows": sum(rows for _, rows, _ in done),
        "state_of": _stamp(max(state for _, _, state in done)),
        "base": base.snapshot if base else "",
        "warnings": warnings,
    }


def _names(root: Path, base: Snapshot | None) -> list[str]:
    """The databases that are or were on the volume. Litestream's own folder names them too, where all else is gone."""
    names = {database.path for database in base.manifest.databases} if base else set()
    local = root / REPLICA_FOLDER
    names |= {str(path.parent.relative_to(local)) for path in local.rglob("ltx") if path.is_dir()}
    return sorted(names)


def _bring(
    place: Place,
    path: str,
    moment: datetime,
    replication: Replication,
    program: str,
    progress: Progress,
    warnings: list[str],
) -> tuple[str, int, datetime] | None:
    """One database as it was: (path, rows, when that state began). None without a replica; the base's file stays."""
    url = replication.url(path)
    changes = _litestream(program, "ltx", "-level", "all", "-json", url, timeout=LIST_TIMEOUT)
    found = target(json.loads(changes or "[]") or [], moment)
    if found is None:
        if changes.strip() not in ("", "[]", "null"):
            times = sorted(str(change["timestamp"]) for change in json.loads(changes))
            raise AgentError(
                f"The replica of {path} begins at {times[0]}, after {_stamp(moment)}.",
                hint="Restore a snapshot instead; see `backups`.",
                code="missing",
            )
        warnings.append(f"{path} has no replica: it is as in the snapshot")
        return None
    final, part = place.new / path, place.folder / "point.db"
    part.unlink(missing_ok=True)
    progress.begin("replica", 0)
    command = ("restore", "-o", str(part))
    try:
        _litestream(program, *command, "-timestamp", _stamp(moment), url, timeout=RESTORE_TIMEOUT)
    except AgentError as error:
        # Litestream knows no moment after the last change, though nothing has changed since.
        if not found.newest or "timestamp does not exist" not in error.message:
            raise
        _litestream(program, *command, url, timeout=RESTORE_TIMEOUT)
    progress.end()
    progress.begin("check", part.stat().st_size)
    facts = check_database(part, path, progress.advance)
    progress.end()
    like = next((one for one in (final, place.root / path) if one.exists()), None)
    if like is not None:
        info = like.stat()
        part.chmod(info.st_mode & 0o7777)
        if (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
            shutil.chown(part, info.st_uid, info.st_gid)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    final.parent.mkdir(parents=True, exist_ok=True)
    part.replace(final)
    store.sync_folder(final.parent)
    return path, sum(facts.tables.values()), found.state_of


def _litestream(program: str, *arguments: str, timeout: float) -> str:
    """What it prints; AgentError with its own last word."""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise AgentError("Litestream is not in this image.", hint="Set backup.replicate.to, and deploy.") from None
    except subprocess.TimeoutExpired:
        raise AgentError("The replica did not answer in time.", hint="Look whether it can be reached.") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or f"code {done.returncode}").splitlines()
        raise AgentError(f"Litestream: {lines[-1].removeprefix('Error: ')}.", hint="Look at the replica's address.")
    return done.stdout


def _keep_files(place: Place) -> None:
    """The other files that are there now and that the base does not have; a copy, since the app writes to its own."""
    for item in walk(place.root):
        if item is None or not item.path:
            continue
        here, there = place.root / item.path, place.new / item.path
        if there.exists():
            continue
        if item.is_dir:
            there.mkdir(mode=0o700)
            shutil.copystat(here, there)
        elif not is_sidecar(here) and not read_header(here).sqlite:
            store.check_space(place.root, item.info.st_size)
            shutil.copy2(here, there)
            with there.open("rb") as file:
                os.fsync(file.fileno())
    for folder in [place.new, *(path for path in place.new.rglob("*") if path.is_dir())]:
        store.sync_folder(folder)
