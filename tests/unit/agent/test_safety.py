"""What goes wrong: damage, full disks, kills, two at once, signals; and what cannot be proven."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from orchestrator.agent import store
from orchestrator.agent.errors import AgentError, explain
from orchestrator.agent.manifest import Snapshot
from orchestrator.agent.verify import verify

from .conftest import ROOT, Place, agent_command, crash, make_database, run_agent


@pytest.fixture
def snapshot(place: Place) -> Snapshot:
    make_database(place.data / "links.db", rows=200)
    (place.data / "upload").write_bytes(os.urandom(5000))
    return place.take()


def refused(place: Place, snapshot: Snapshot) -> str:
    with pytest.raises(AgentError) as caught:
        verify(place.backups, snapshot.snapshot, wait=0)
    assert caught.value.code == "damaged"
    assert not [name for name in place.left() if name.endswith(".part")]
    return caught.value.message


def test_any_flipped_bit_is_refused(place: Place, snapshot: Snapshot) -> None:
    path = place.archive(snapshot)
    good = path.read_bytes()
    chance = random.Random(1)  # noqa: S311
    for _ in range(40):
        bad = bytearray(good)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        path.write_bytes(bad)
        assert "is not good: the sha256" in refused(place, snapshot)
    path.write_bytes(good)
    assert verify(place.backups, snapshot.snapshot, wait=0)["ok"]


def test_any_truncation_is_refused(place: Place, snapshot: Snapshot) -> None:
    path = place.archive(snapshot)
    size = path.stat().st_size
    for left in (size - 1, size // 2, 1, 0):
        os.truncate(path, left)
        assert f"{left} bytes instead of {size}" in refused(place, snapshot)


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(sha256="0" * 64),
        lambda d: d.update(sha256=d["sha256"][:-1] + "x"),
        lambda d: d.update(sha256=d["sha256"][:10] + "0" * 54),
        lambda d: d.update(bytes=d["bytes"] + 1),
        lambda d: d.update(created="2020-01-01T00:00:00Z"),
        lambda d: d.update(release="another"),
        lambda d: d.update(seconds=99),
        lambda d: d["databases"][0].update(sha256="0" * 64),
        lambda d: d["databases"][0].update(path="other.db"),
        lambda d: d["databases"][0]["tables"].update(t=1),
        lambda d: d["databases"][0].update(user_version=1),
        lambda d: d["files"].update(count=0),
        lambda d: d["files"].update(sha256="0" * 64),
        lambda d: d.pop("files"),
    ],
)
def test_a_changed_sidecar_is_refused(
    place: Place, snapshot: Snapshot, change: Callable[[dict[str, Any]], None]
) -> None:
    _edit(place.sidecar(snapshot), change)
    assert snapshot.snapshot in refused(place, snapshot)


def test_verify_notes_when(place: Place, snapshot: Snapshot) -> None:
    result = run_agent("verify", snapshot.snapshot, "--backups", place.backups)
    assert (result.code, result.last["ok"]) == (0, True)
    listed = run_agent("list", "--backups", place.backups).last["snapshots"]
    assert listed[0]["verified"] == result.last["verified"]
    assert verify(place.backups, snapshot.snapshot, wait=0)["ok"]


def test_an_unknown_snapshot(place: Place) -> None:
    for name in ("20260101T000000-abcdef0", "../../etc/passwd"):
        result = run_agent("verify", name, "--backups", place.backups)
        assert (result.code, result.last["code"]) == (1, "missing")


def test_a_listing_hides_nothing(place: Place, snapshot: Snapshot) -> None:
    for number, broken in enumerate(("{", '{"a": 1}', "[" * 99999, "null")):
        (place.backups / f"2020010{number + 1}T000000-abcdef0.json").write_text(broken)
    shutil.copy(place.sidecar(snapshot), place.backups / "20200105T000000-abcdef0.json")
    (place.backups / "20200106T000000-abcdef0.tar.zst").touch()
    listed = run_agent("list", "--backups", place.backups)
    assert listed.code == 0
    entries = listed.last["snapshots"]
    assert [entry["snapshot"] for entry in entries] == sorted((e["snapshot"] for e in entries), reverse=True)
    assert [bool(entry.get("error")) for entry in entries] == [False] + [True] * 6
    place.archive(snapshot).unlink()
    assert "missing" in run_agent("list", "--backups", place.backups).last["snapshots"][0]["error"]


def test_a_disk_full_at_any_point_leaves_nothing(
    place: Place, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RESERVE", 0)
    make_database(place.data / "links.db", rows=800, size=2000)  # 1.7 MB, and as much in the archive
    place = Place(place.data, small_disk)
    filler = small_disk / "filler"
    outcomes = set()
    monkeypatch.setattr(store, "check_space", lambda *_: None)
    for room in (0, 4, 100, 400, 1000, 1500, 1800, 2000, 2400, 3000, 3400, 3600, 5000):
        with filler.open("wb") as file:
            file.write(bytes(6 * 1024 * 1024 - room * 1024 - 8192))
        try:
            place.take()
            outcomes.add("done")
            (entry,) = store.entries(small_disk)
            assert not entry.error
            store.remove(small_disk, entry.snapshot)
        except Exception as error:
            assert explain(error).code == "full", repr(error)
            outcomes.add("full")
            assert place.left() == {"filler"}
        filler.unlink()
    assert outcomes == {"done", "full"}


def test_too_little_space_is_told_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    make_database(place.data / "links.db")
    monkeypatch.setattr(store, "RESERVE", 1 << 60)
    with pytest.raises(AgentError, match="There is not enough space for this") as caught:
        place.take()
    assert caught.value.code == "full"


def test_a_file_size_limit_is_told(place: Place) -> None:
    make_database(place.data / "links.db", rows=800, size=2000)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    done = subprocess.run(
        agent_command("snapshot", "--quiet", *place.arguments),
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)["event"]) == (1, "error")
    assert place.left() == set()


def start(place: Place) -> subprocess.Popen[str]:
    return subprocess.Popen(
        agent_command("snapshot", *place.arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def wait_for(child: subprocess.Popen[str], phase: str) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if f'"phase": "{phase}"' in line:
            return


@pytest.mark.parametrize("phase", ["copy", "archive"])
def test_a_kill_leaves_nothing_for_the_next_run(large: Place, phase: str) -> None:
    child = start(large)
    wait_for(child, phase)
    child.kill()
    child.communicate()
    assert run_agent("list", "--backups", large.backups).last["snapshots"] == []
    assert any(name.endswith(".part") for name in large.left())
    snapshot = large.take()
    assert large.left() == {f"{snapshot.snapshot}.json", f"{snapshot.snapshot}.tar.zst"}


def test_a_kill_between_the_two_renames(place: Place, snapshot: Snapshot) -> None:
    place.sidecar(snapshot).rename(place.backups / f"{snapshot.snapshot}.json.part")
    kept = place.take("again")
    assert place.left() == {f"{kept.snapshot}.json", f"{kept.snapshot}.tar.zst"}


def test_a_killed_rewrite_of_the_sidecar_costs_nothing(place: Place, snapshot: Snapshot) -> None:
    (place.backups / f"{snapshot.snapshot}.json.part").write_text("{")
    assert verify(place.backups, snapshot.snapshot, wait=0)["ok"]


@pytest.mark.parametrize("phase", ["copy", "archive"])
def test_sigterm_cleans_up(large: Place, phase: str) -> None:
    child = start(large)
    wait_for(child, phase)
    child.terminate()
    output, _ = child.communicate(timeout=10)
    assert child.returncode == 1
    assert json.loads(output.splitlines()[-1])["code"] == "stopped"
    assert large.left() == set()


def test_two_at_once(place: Place) -> None:
    make_database(place.data / "links.db")
    with store.locked(place.backups, wait=0, purpose="a test"):
        result = run_agent("snapshot", *place.arguments, "--wait", "0.2")
        assert (result.code, result.last["code"]) == (1, "busy")
        assert f"a test (process {os.getpid()}" in result.last["message"]
        child = start(place)
        time.sleep(0.3)
    output, _ = child.communicate(timeout=20)
    assert json.loads(output.splitlines()[-1])["event"] == "done"


def test_removal(place: Place, snapshot: Snapshot) -> None:
    store.remove(place.backups, snapshot.snapshot)
    assert place.left() == set()


def test_nothing_is_overwritten(place: Place, snapshot: Snapshot, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("x")
    store.commit(place.backups, other, snapshot)  # the very same: there already
    assert other.exists()
    with pytest.raises(AgentError, match="already"):
        store.commit(place.backups, other, replace(snapshot, bytes=1))
    assert verify(place.backups, snapshot.snapshot, wait=0)["ok"]


def test_usage_errors(place: Place, tmp_path: Path) -> None:
    result = run_agent("schedule", *place.arguments, BACKUP_SCHEDULE="daily")
    assert (result.code, result.last["code"]) == (2, "usage")
    result = run_agent("snapshot", "--source", tmp_path / "nowhere", "--backups", place.backups)
    assert (result.code, result.last["code"]) == (2, "usage")


def test_the_scheduler_and_the_shared_module_stay_light() -> None:
    def loaded(module: str) -> set[str]:
        program = f"import sys, {module}; print(' '.join(sys.modules))"
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    heavy = {"apsw", "backports.zstd", "compression.zstd", "docker", "tarfile"}
    assert not heavy & loaded("orchestrator.agent.schedule")
    assert not (heavy | {"cronsim", "subprocess", "json"}) & loaded("orchestrator.agent.manifest")


def test_no_database_is_an_error(place: Place) -> None:
    (place.data / "notes.txt").write_text("x")
    result = run_agent("snapshot", *place.arguments)
    assert (result.code, result.last["event"], result.last["code"]) == (1, "error", "empty")
    assert place.left() == set()


@pytest.mark.parametrize(
    ("content", "code"),
    [("zero bytes", "empty"), ("no tables", "empty"), ("damaged", "damaged"), ("damaged header", "damaged")],
)
def test_what_cannot_be_proven_is_refused(place: Place, content: str, code: str) -> None:
    make_database(place.data / "good.db")
    path = place.data / "links.db"
    make_database(path, rows=500)
    if content == "zero bytes":
        path.write_bytes(b"")
    elif content == "no tables":
        connection = apsw.Connection(str(path))
        connection.execute("DROP TABLE t").fetchall()
        connection.close()
    else:
        with path.open("r+b") as file:
            file.seek(16 if content == "damaged header" else 8192)
            file.write(b"\xff" * (2 if content == "damaged header" else 4096))
    with pytest.raises(AgentError, match=r"links\.db") as caught:
        place.take()
    assert caught.value.code == code
    assert place.left() == set()


def test_a_log_beside_something_that_is_no_database_is_refused(place: Place) -> None:
    make_database(place.data / "links.db")
    crash(place.data / "links.db")
    (place.data / "links.db").write_bytes(os.urandom(4096))
    with pytest.raises(AgentError, match="damaged or encrypted"):
        place.take()
