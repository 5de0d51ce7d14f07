"""Rehearsing a restore on a real engine: evidence when it passes, the reason when not, and never a trace of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.conftest import MakeProject
from tests.engine.stack import Project, finished, until
from tests.engine.test_release import inside

pytestmark = pytest.mark.engine

#: Takes from the database what the app's health check asks for, under the running app, and gives it back.
SPOIL, MEND = (
    f"import apsw; apsw.Connection('/data/links.db').execute('ALTER TABLE {one} RENAME TO {other}').fetchall()"
    for one, other in (("schema_version", "elsewhere"), ("elsewhere", "schema_version"))
)


@pytest.fixture(scope="module")
def stack(make_project: MakeProject) -> Iterator[Project]:
    """With some links."""
    made = make_project()
    made.run("deploy")
    for number in range(5):
        made.add(f"link-{number}")
    yield made


@pytest.fixture(scope="module")
def snapshot(stack: Project) -> str:
    """Of the first release."""
    return str(stack.json("backup")["snapshot"])


def remains(stack: Project) -> tuple[list[str], set[str]]:
    """What there is of a rehearsal: containers and volumes."""
    containers = [str(c.name) for c in stack.containers() if "-rehearsal-" in str(c.name)]
    return containers, {name for name in stack.volumes() if "_rehearsal_" in name}


def listed(stack: Project, snapshot: str) -> dict[str, Any]:
    return next(entry for entry in stack.json("backups")["snapshots"] if entry["snapshot"] == snapshot)


def test_a_restore_is_rehearsed_beside_the_running_stack(stack: Project, snapshot: str) -> None:
    before = stack.footprint()
    result = stack.json("verify", snapshot, "--rehearse")
    assert stack.footprint() == before, "the same containers, started when they were; no volume more"
    assert (result["ok"], result["snapshot"], result["warnings"]) == (True, snapshot, [])
    (database,) = result["databases"]
    assert database["rows"] >= 5
    rehearsal = result["rehearsal"]
    status = stack.json("status")
    assert (rehearsal["result"], rehearsal["release"], rehearsal["own_release"]) == ("passed", status["release"], True)
    assert rehearsal["image"] == stack.one("app").attrs["Image"]
    assert 0 < rehearsal["restore_seconds"] < 60
    assert 0 < rehearsal["boot_seconds"] < 60
    entry = listed(stack, snapshot)
    assert (entry["rehearsed"], entry["verified"]) == (rehearsal, rehearsal["at"])
    assert status["last_rehearsal"].pop("age_seconds") < 60
    assert status["last_rehearsal"] == {"snapshot": snapshot} | rehearsal


def test_an_older_release_and_what_it_cannot_live_with(stack: Project, snapshot: str) -> None:
    inside(stack, "app", "python", "-c", SPOIL)
    try:
        bad = stack.json("backup")["snapshot"]
    finally:
        inside(stack, "app", "python", "-c", MEND)
    # Another image of the app, so that the first one's must have been kept.
    (stack.root / "service" / "static" / "more.css").write_text("/* more */\n")
    deployed = stack.json("deploy")
    first = deployed["previous"]
    assert deployed["release"] != first
    before = stack.footprint()
    rehearsal = stack.json("verify", snapshot, "--rehearse")["rehearsal"]
    assert (rehearsal["release"], rehearsal["own_release"]) == (first, True)
    failed = stack.run("--json", "verify", bad, "--rehearse", check=False)
    assert failed.code == 1
    assert f"snapshot {bad} did not pass its rehearsal with release {first}: app exited with code 1" in failed.stderr
    assert "can't start: step 0001_links failed" in failed.stderr, "its last log lines"
    assert failed.json["ok"] is False
    assert stack.footprint() == before
    assert remains(stack) == ([], set())
    entry = listed(stack, bad)
    assert entry["rehearsed"] == failed.json["rehearsal"]
    assert (entry["rehearsed"]["result"], entry["verified"]) == ("failed", None)
    assert "app exited with code 1" in entry["rehearsed"]["reason"]


def test_killed_the_next_deployment_leaves_nothing_of_it(stack: Project, snapshot: str) -> None:
    before = stack.footprint()
    process = stack.start("verify", snapshot, "--rehearse")
    until(lambda: any("-rehearsal-app" in name for name in remains(stack)[0]), 60, "the app boots", 0.05)
    process.send_signal(signal.SIGSTOP)  # else it might end before all is asked
    assert stack.json("status")["drift"] == [], "it takes away itself what it has made"
    second = stack.run("verify", snapshot, "--rehearse", check=False)
    assert second.code == 4
    assert f"a rehearsal of {stack.name} is under way" in second.stderr
    process.kill()
    finished(process, 60)
    containers, volumes = remains(stack)
    assert containers
    assert volumes
    stack.run("deploy")
    assert remains(stack) == ([], set())
    assert stack.footprint() == before


def test_terminated_it_leaves_nothing(stack: Project, snapshot: str) -> None:
    before = stack.footprint()
    process = stack.start("verify", snapshot, "--rehearse")
    until(lambda: remains(stack)[0], 60, "it is under way", 0.05)
    process.send_signal(signal.SIGTERM)
    result = finished(process, 60)
    assert result.code == 1, result
    assert "Traceback" not in result.stderr
    assert stack.footprint() == before


def test_killed_down_takes_it_away_and_leaves_the_data(stack: Project, snapshot: str) -> None:
    data = stack.volumes()
    process = stack.start("verify", snapshot, "--rehearse")
    until(lambda: remains(stack)[0], 60, "it is under way", 0.05)
    process.kill()
    finished(process, 60)
    stack.run("down")
    assert stack.containers() == []
    assert stack.volumes() == data
