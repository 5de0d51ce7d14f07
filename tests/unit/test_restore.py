"""Which snapshot is meant, and what a restore asks for before it changes anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import labels, lock, restore
from orchestrator.errors import UsageError
from orchestrator.plan import rehearsal_left, without_rehearsal
from orchestrator.session import Session
from tests.unit.memory_engine import MemoryEngine, Script
from tests.unit.stacks import STACK, deployed, foreign, quiet

ROOT = Path(__file__).parents[2]


def listed(*entries: dict[str, Any]) -> tuple[MemoryEngine, Session]:
    """An engine whose agent lists these snapshots, newest first."""
    target = deployed()
    target.scripts["list"] = Script(exits=0, out=(json.dumps({"event": "done", "snapshots": entries}),))
    return target, Session(None, STACK, target, quiet())  # type: ignore[arg-type]


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"snapshot": name, "created": "2026-11-24T10:00:00Z", "raw": False, **more}


SNAPSHOTS = (
    entry("20261124T120000-aaaaaaa", raw=True),
    entry("20261124T110000-bbbbbbb", error="its archive is missing"),
    entry("20261124T100000-ccccccc"),
    entry("20261123T100000-ddddddd"),
)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("latest", "20261124T100000-ccccccc"),
        ("20261123", "20261123T100000-ddddddd"),
        ("20261124T120000-aaaaaaa", "20261124T120000-aaaaaaa"),
    ],
    ids=["latest proven", "beginning", "raw by its name"],
)
def test_chosen(wanted: str, found: str) -> None:
    target, session = listed(*SNAPSHOTS)
    assert restore.chosen(session, target.observe("shop"), wanted)["snapshot"] == found
    assert len(target.containers) == 3, "the agent's container is gone"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("2026", "2026 is the beginning of 3 snapshots"),
        ("x", "x is no snapshot"),
        ("20261124T11", "20261124T110000-bbbbbbb is not usable: its archive is missing"),
    ],
)
def test_not_chosen(wanted: str, told: str) -> None:
    target, session = listed(*SNAPSHOTS)
    with pytest.raises(UsageError, match=told):
        restore.chosen(session, target.observe("shop"), wanted)


def test_latest_of_none() -> None:
    target, session = listed(SNAPSHOTS[0])
    with pytest.raises(UsageError, match="there is no good snapshot"):
        restore.chosen(session, target.observe("shop"), "latest")


def test_refused_it_changes_nothing() -> None:
    target, session = listed(*SNAPSHOTS)
    before = target.picture()

    def refuse(question: str) -> None:
        assert "20261124T100000-ccccccc" in question
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        restore.restore(session, restore.Wanted("latest"), refuse)
    assert target.picture() == before
    assert not [call for call in target.calls if "lock" in call]


def test_nothing_to_recover() -> None:
    target, session = listed()
    calls = len(target.calls)
    restore.recover(session, target.observe("shop"))
    assert len(target.calls) == calls + 1, "it only looked"


def test_what_was_stopped_runs_again_but_for_what_is_gone_or_was_only_passing() -> None:
    target, session = listed()
    foreign(target, "shop-backup-run-1", "backup", role=labels.ROLE_AGENT, oneoff=True)
    for name in ("shop-backup-1", "shop-backup-run-1"):
        target.stop_container(name, 1)
    run = restore._Restore(session, target.observe("shop"), "a snapshot", ())
    run.stopped = ["gone", "shop-backup-run-1", "shop-backup-1"]
    run.open()
    assert target.named("shop-backup-1").state == "running"
    assert target.named("shop-backup-run-1").state == "exited", "its caller takes it away"
    (warning,) = session.report.warnings
    assert warning.startswith("gone was stopped for the restore and does not run again")


def test_what_the_lock_is_held_for() -> None:
    target, session = listed()
    assert lock.held_for("shop", target) == ""
    with lock.held("shop", "shop-backup:ccc", target, session.report.say, lock.REHEARSAL):
        assert lock.held_for("shop", target) == lock.REHEARSAL
    foreign(target, "shop-rehearsal-app", "app", role=labels.ROLE_REHEARSAL, oneoff=True)
    observed = target.observe("shop")
    assert rehearsal_left(observed)
    assert not rehearsal_left(without_rehearsal(observed))
    assert len(without_rehearsal(observed).containers) == 3
