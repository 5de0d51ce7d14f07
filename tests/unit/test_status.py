"""How old the last good snapshot is, as `status` finds it and as it judges it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator import status
from orchestrator.errors import UsageError
from orchestrator.session import Session
from tests.unit.memory_engine import MemoryEngine, Script
from tests.unit.stacks import STACK, deployed, engine, quiet

HOUR = timedelta(hours=1)


def entry(age: timedelta, **more: Any) -> dict[str, Any]:
    created = (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"snapshot": created, "created": created, "bytes": 1, "raw": False, **more}


def last(target: MemoryEngine, *entries: dict[str, Any]) -> dict[str, Any] | None:
    """What is found where the agent lists these, newest first."""
    said = json.dumps({"event": "done", "snapshots": entries})
    target.scripts["list"] = Script(exits=0, out=(said,))
    session = Session(None, STACK, target, quiet())  # type: ignore[arg-type]
    return status.last_snapshot(status.snapshots(session, target.observe("shop")))


def stopped() -> MemoryEngine:
    target = deployed()
    target.stop_container("shop-backup-1", 1)
    return target


def test_a_stopped_backup_service_hides_nothing() -> None:
    target = stopped()
    found = last(target, entry(3 * HOUR))
    assert found is not None
    assert 3 * 3600 <= found["age_seconds"] < 3 * 3600 + 10
    made = next(call for call in target.calls if call.startswith("create_container shop-backup-run-"))
    assert f"remove_container {made.split()[1]}" in target.calls


def test_the_container_that_lists_does_not_have_the_data() -> None:
    """A restore stops whatever has it mounted."""
    target = stopped()
    bodies: list[Any] = []
    target.watch = lambda _: bodies.extend(c.body for c in target.containers.values() if "-run-" in c.name)
    last(target)
    assert [mount["Target"] for mount in bodies[0]["HostConfig"]["Mounts"]] == ["/backups"]


def test_only_a_good_one_counts() -> None:
    listed = (entry(-2 * HOUR), entry(HOUR, raw=True), entry(2 * HOUR, error="torn"), entry(5 * HOUR), entry(9 * HOUR))
    found = last(stopped(), *listed)
    assert found is not None
    assert found["snapshot"] == listed[3]["snapshot"], "none of the future, raw or broken"
    assert last(stopped(), *listed[:3]) is None
    assert last(engine(), entry(HOUR)) is None, "nothing of the project is there to ask"


@pytest.mark.parametrize(
    ("age", "deployed", "ok", "told"),
    [
        (3600, True, True, "last good snapshot 60 min ago"),
        (26 * 3600, True, True, "last good snapshot 26 h ago"),
        (26 * 3600 + 1, True, False, "last good snapshot 26 h ago, allowed 26 h"),
        (None, True, False, "there is no good snapshot, allowed age 26 h"),
        (60, False, False, "nothing is deployed"),
    ],
)
def test_verdict(age: int | None, deployed: bool, ok: bool, told: str) -> None:
    snapshot = None if age is None else {"age_seconds": age}
    assert status.judged(snapshot, 26 * HOUR, deployed=deployed) == {"ok": ok, "message": told}
    assert status.judged(snapshot, None, deployed=deployed) == {"ok": True, "message": ""}


def test_an_age_is_a_number_and_a_unit() -> None:
    assert status.allowed_age("26h") == 26 * HOUR
    assert status.allowed_age(None) is None
    for wrong in ("", "26", "soon", "0h", "1.5h", "-1h"):
        with pytest.raises(UsageError) as caught:
            status.allowed_age(wrong)
        assert caught.value.message == f"--max-age {wrong}: this is not an age."
        assert "such as 26h or 90m" in caught.value.hint


def test_the_newest_copy_on_each_remote() -> None:
    listed = [
        entry(HOUR, remotes=[]),
        entry(2 * HOUR, remotes=["a:x"], error="torn"),
        entry(3 * HOUR, remotes=["a:x"]),
        entry(4 * HOUR, remotes=["a:x", "b:y"]),
    ]
    first, second, third = status.copied(listed, ("a:x", "b:y", "c:z"))
    assert (first["remote"], first["snapshot"]) == ("a:x", listed[2]["snapshot"])
    assert 3 * 3600 <= first["age_seconds"] < 3 * 3600 + 10
    assert second["snapshot"] == listed[3]["snapshot"]
    assert third == {"remote": "c:z", "snapshot": None}
    assert status.copied(listed, ()) == []
