"""Restoring on a real engine: what comes back, what is kept, what happens when it fails or is killed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.engine.conftest import MakeProject
from tests.engine.stack import SERVICES, Project, finished, until
from tests.engine.test_release import inside

pytestmark = pytest.mark.engine

HEALTHY = dict.fromkeys(SERVICES, "running healthy")
#: Overwrites the middle of the database, under the running app.
TEAR = "import os; f = os.open('/data/links.db', os.O_WRONLY); os.pwrite(f, os.urandom(8000), 4096); os.fsync(f)"


@pytest.fixture(scope="module")
def stack(make_project: MakeProject) -> Iterator[Project]:
    made = make_project()
    made.run("deploy")
    yield made


@pytest.fixture
def changed(stack: Project) -> tuple[str, str]:
    """(a snapshot, the name of a link that was added after it); `kept-...` was there before."""
    mark = str(time.monotonic_ns())
    stack.add(f"kept-{mark}")
    snapshot = stack.json("backup")["snapshot"]
    stack.add(f"later-{mark}")
    return snapshot, mark


def settled(stack: Project) -> None:
    """Nothing is left of a restore, and everything serves."""
    until(lambda: stack.health() == HEALTHY, 30, "everything is healthy")
    assert len(stack.containers()) == 3
    assert stack.lock() is None
    assert stack.json("maintenance")["maintenance"] == "off"
    assert ".restore" not in inside(stack, "app", "ls", "-a", "/data").split()
    assert stack.json("plan") == {"steps": []}


def test_there_and_back_again(stack: Project, changed: tuple[str, str]) -> None:
    snapshot, mark = changed
    assert stack.json("verify", snapshot)["ok"] is True
    refused = stack.run("restore", snapshot, check=False)
    assert refused.code == 2
    assert "--yes" in refused.stderr
    assert stack.has(f"later-{mark}")
    passing = stack.client.containers.run(
        str(stack.one("app").attrs["Image"]),
        ["sleep", "60"],
        detach=True,
        auto_remove=True,
        init=True,
        network_mode="none",
        volumes={f"{stack.name}_sqlite_data": {"bind": "/data"}},
    )
    labels = stack.client.volumes.get(f"{stack.name}_sqlite_data").attrs["Labels"]
    process = stack.start("--json", "restore", snapshot, "--yes")
    seen: set[int] = set()
    while process.poll() is None:
        answer = stack.ask("/")
        seen.add(answer.status)
        if answer.status == 503:
            assert answer.headers["Retry-After"] == "60"
        time.sleep(0.02)
    result = finished(process, 60)
    assert result.code == 0, result.stderr
    assert seen == {200, 503}, "closed with a page meanwhile, and never an error"
    document = result.json
    assert document["restored"] == snapshot
    assert stack.client.volumes.get(f"{stack.name}_sqlite_data").attrs["Labels"] == labels != {}
    (warning,) = document["warnings"]
    assert f"{passing.name} was stopped for the restore and does not run again" in warning, "it is gone"
    assert stack.has(f"kept-{mark}")
    assert not stack.has(f"later-{mark}")
    settled(stack)
    listed = {entry["snapshot"]: entry for entry in stack.json("backups")["snapshots"]}
    assert listed[document["safety_snapshot"]]["reason"] == "before-restore"
    assert document["undo"] == f"restore {document['safety_snapshot']}"
    stack.run(*document["undo"].split(), "--yes")
    assert stack.has(f"later-{mark}")
    settled(stack)


def test_a_damaged_database_is_kept_as_it_is(stack: Project, changed: tuple[str, str]) -> None:
    snapshot, mark = changed
    inside(stack, "app", "python", "-c", TEAR)
    stack.one("app").restart()  # what it has read is not what is there any more
    failed = stack.run("backup", check=False)
    assert failed.code == 1
    assert "damaged" in failed.stderr
    document = stack.json("restore", "latest", "--yes")
    assert document["restored"] == snapshot, "the newest good one"
    answer = stack.ask(f"/.api/links/kept-{mark}")
    assert answer.status == 200, (answer, stack.one("app").logs(tail=20))
    settled(stack)
    kept = next(e for e in stack.json("backups")["snapshots"] if e["snapshot"] == document["safety_snapshot"])
    assert kept["raw"] is True


def test_what_the_app_cannot_live_with_is_taken_back(stack: Project, changed: tuple[str, str]) -> None:
    snapshot, mark = changed
    config = stack.root / "config" / "production.toml"
    text = config.read_text()
    config.write_text(text.replace('"service.migrate"]', '"service.migrate", "--nonsense"]'))
    try:
        failed = stack.run("restore", snapshot, "--yes", check=False)
    finally:
        config.write_text(text)
    assert failed.code == 3
    assert "the migration of the restored data failed" in failed.stderr
    assert "the data is what it was" in failed.stderr
    assert stack.has(f"later-{mark}")
    settled(stack)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_is_taken_back(stack: Project, changed: tuple[str, str], number: signal.Signals) -> None:
    snapshot, mark = changed
    process = stack.start("restore", snapshot, "--yes")
    until(lambda: not stack.containers("app", running=True), 60, "the app is stopped", 0.05)
    process.send_signal(number)
    result = finished(process, 60)
    assert result.code == 3, result
    assert stack.has(f"later-{mark}")
    settled(stack)


@pytest.mark.parametrize("delay", [0.0, 0.7, 1.5])
def test_killed_it_is_put_right_by_the_next_deployment(stack: Project, changed: tuple[str, str], delay: float) -> None:
    snapshot, mark = changed
    process = stack.start("restore", snapshot, "--yes")

    def begun() -> bool:
        return any(str(c.name).endswith("-restore") for c in stack.containers())

    until(begun, 60, "the restore has begun", 0.02)
    time.sleep(delay)
    process.kill()
    finished(process, 60)
    result = stack.run("deploy")
    assert "a restore was killed" in result.stderr
    settled(stack)
    assert stack.has(f"kept-{mark}")
    # Complete old, or complete new with what was there in a snapshot.
    if not stack.has(f"later-{mark}"):
        assert stack.json("backups")["snapshots"][0]["reason"] == "before-restore"


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [("20200101T000000-0000000", 2, "is no snapshot"), ("20", 2, "is the beginning of")],
)
def test_no_such_snapshot(stack: Project, changed: tuple[str, str], wanted: str, code: int, message: str) -> None:
    for verb in (("verify", wanted), ("restore", wanted, "--yes")):
        result = stack.run(*verb, check=False)
        assert result.code == code
        assert message in result.stderr
    assert stack.has(f"later-{changed[1]}")
