"""Rehearses a restore on a volume of its own: by the steps of a real one, then what an app has made of it is judged.

Between the two the orchestrator boots the app on the volume; what it found out comes back as evidence, and is noted in
the file beside the archive.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.agent import restore, store
from orchestrator.agent.database import count_rows
from orchestrator.agent.errors import AgentError
from orchestrator.agent.events import Progress
from orchestrator.agent.manifest import (
    FAILED,
    PASSED,
    Database,
    ManifestError,
    Rehearsed,
    Snapshot,
    format_time,
)
from orchestrator.agent.manifest_parse import parse_rehearsed
from orchestrator.agent.verify import proven

#: Differences that are named; a reason is one sentence for people.
NAMED, LONGEST = 5, 500


def bring(
    volume: Path, backups: Path, snapshot: str, *, wait: float, progress: Progress | None = None
) -> dict[str, Any]:
    """Restores the snapshot to an empty volume: proven, switched and finished as a real restore is. `seconds` is how
    long that took. Raises AgentError."""
    found = next((path.name for path in volume.iterdir() if path.name not in restore.NOT_OURS), None)
    if found is not None:
        # Never on data: a real restore would keep it as a snapshot and put this one in its place.
        raise AgentError(f"The volume of a rehearsal must be empty, but holds {found!r}.", code="usage")
    started = time.monotonic()
    prepared = restore.prepare(volume, backups, snapshot, wait=wait, progress=progress)
    restore.switch(volume, backups, release="", wait=wait, progress=progress)
    restore.finish(volume)
    seconds = round(time.monotonic() - started, 3)
    return {"snapshot": snapshot, "warnings": prepared["warnings"], "seconds": seconds}


def judge(
    volume: Path, backups: Path, snapshot: str, evidence: str, *, wait: float, progress: Progress | None = None
) -> dict[str, Any]:
    """Holds the rows that are on the volume now against the snapshot's, unless `evidence` (JSON: Rehearsed without
    `at` and `result`) gives a reason why it has failed already; notes how it ended. One that has passed counts as
    verified, too. `ok` and `differences` say how it ended. Raises AgentError."""
    told = store.load(backups, snapshot)
    given = _parse(evidence)
    differences: list[str] = []
    if not given.reason:
        differences = compare(volume, told.manifest.databases, progress or Progress(None))
        given = replace(given, reason=_listed(differences))
    rehearsed = replace(given, result=FAILED if given.reason else PASSED, reason=given.reason[:LONGEST])
    with store.locked(backups, wait=wait, purpose=f"the rehearsal of {snapshot}"):
        told = replace(store.load(backups, snapshot), rehearsed=rehearsed)
        if not given.reason:
            told = replace(told, verified=rehearsed.at)
        store.rewrite(backups, told)
    return {**_said(told), "rehearsal": asdict(rehearsed), "differences": differences}


def compare(volume: Path, databases: Iterable[Database], progress: Progress) -> list[str]:
    """How each database on the volume falls short of what its manifest says. More rows are none: an app may write as
    soon as it runs."""
    progress.begin("count", 0)
    differences = []
    for database in databases:
        path = volume / database.path
        if path.is_symlink() or not path.is_file():
            differences.append(f"{database.path} is not there any more")
            continue
        try:
            found = count_rows(path, database.path, progress.advance)
        except AgentError as error:
            differences.append(error.message)
            continue
        differences += [f"{database.path}: {text}" for text in fewer(database.tables, found)]
    progress.end()
    return differences


def fewer(expected: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """The tables that are missing or have lost rows, as people read it."""
    texts = []
    for table, rows in expected.items():
        if table not in found:
            texts.append(f"table {table} with {rows} rows is not there any more")
        elif found[table] < rows:
            texts.append(f"table {table} has {found[table]} of {rows} rows")
    return texts


def _listed(differences: list[str]) -> str:
    more = len(differences) - NAMED
    return "; ".join(differences[:NAMED]) + (f"; and {more} more" if more > 0 else "")


def _parse(evidence: str) -> Rehearsed:
    try:
        now = {"at": format_time(datetime.now(UTC)), "result": FAILED}
        return parse_rehearsed({**json.loads(evidence), **now})
    except (ManifestError, ValueError, TypeError, RecursionError) as error:
        raise AgentError(f"--evidence is not what it should be ({error}).", code="usage") from error


def _said(told: Snapshot) -> dict[str, Any]:
    passed = told.rehearsed is not None and told.rehearsed.result == PASSED
    return proven(told) if passed else {"ok": False, "snapshot": told.snapshot}
