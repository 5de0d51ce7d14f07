"""A rehearsal's agent: it restores to an empty volume only, judges what an app has made of it, and notes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from orchestrator.agent import rehearsal, store
from orchestrator.agent.errors import AgentError
from orchestrator.agent.events import Progress
from orchestrator.agent.manifest import ManifestError, Snapshot
from orchestrator.agent.manifest_parse import parse_snapshot

from .conftest import Place, crash, fingerprint, make_database, run_agent

EVIDENCE = {"release": "r1", "image": "sha256:1", "own_release": True, "restore_seconds": 1, "boot_seconds": 2.5}


@pytest.fixture
def snapshot(place: Place) -> Snapshot:
    """Of two databases and a file."""
    make_database(place.data / "links.db")
    make_database(place.data / "more" / "other.db", rows=3, wal=False)
    (place.data / "upload").write_text("a file")
    return place.take()


@pytest.fixture
def volume(place: Place, tmp_path: Path, snapshot: Snapshot) -> Path:
    """Where the snapshot has been restored for a rehearsal."""
    made = tmp_path / "scratch"
    made.mkdir()
    rehearsal.bring(made, place.backups, snapshot.snapshot, wait=0)
    return made


def judged(place: Place, volume: Path, snapshot: Snapshot, **more: Any) -> dict[str, Any]:
    return rehearsal.judge(volume, place.backups, snapshot.snapshot, json.dumps(EVIDENCE | more), wait=0)


def noted(place: Place, snapshot: Snapshot) -> Snapshot:
    return store.load(place.backups, snapshot.snapshot)


def change(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    for statement in statements:
        connection.execute(statement).fetchall()
    connection.close()


def test_what_is_restored_is_what_there_was(volume: Path, snapshot: Snapshot) -> None:
    assert rehearsal.compare(volume, snapshot.manifest.databases, Progress(None)) == []
    assert (volume / "upload").read_text() == "a file"
    assert {path.name for path in volume.iterdir()} == {"links.db", "more", "upload"}


def test_it_passes_and_counts_as_verified(place: Place, volume: Path, snapshot: Snapshot) -> None:
    said = judged(place, volume, snapshot)
    assert (said["ok"], said["differences"]) == (True, [])
    assert {database["path"]: database["rows"] for database in said["databases"]} == {
        "links.db": 10,
        "more/other.db": 3,
    }
    told = noted(place, snapshot)
    assert told.rehearsed is not None
    assert said["rehearsal"] == {
        "at": told.verified,
        "result": "passed",
        "release": "r1",
        "image": "sha256:1",
        "own_release": True,
        "restore_seconds": 1.0,
        "boot_seconds": 2.5,
        "reason": "",
    }
    (entry,) = run_agent("list", "--backups", place.backups).last["snapshots"]
    assert entry["rehearsed"] == said["rehearsal"]
    assert run_agent("verify", snapshot.snapshot, "--backups", place.backups).code == 0
    assert noted(place, snapshot).rehearsed == told.rehearsed, "verify keeps what is noted"


def lose_rows(volume: Path) -> None:
    change(volume / "links.db", "DELETE FROM t WHERE n > 7")


def lose_a_table(volume: Path) -> None:
    change(volume / "more" / "other.db", "DROP TABLE t", "CREATE TABLE u (n)")


def lose_a_database(volume: Path) -> None:
    (volume / "links.db").unlink()


def put_a_link_there(volume: Path) -> None:
    (volume / "links.db").rename(volume / "elsewhere.db")
    (volume / "links.db").symlink_to(volume / "elsewhere.db")


def damage(volume: Path) -> None:
    (volume / "links.db").write_bytes(b"no database" * 100)


@pytest.mark.parametrize(
    ("spoil", "difference"),
    [
        (damage, "links.db is damaged: file is not a database."),
        (lose_rows, "links.db: table t has 7 of 10 rows"),
        (lose_a_table, "more/other.db: table t with 3 rows is not there any more"),
        (lose_a_database, "links.db is not there any more"),
        (put_a_link_there, "links.db is not there any more"),
    ],
)
def test_what_the_app_has_lost_fails(
    place: Place, volume: Path, snapshot: Snapshot, spoil: Callable[[Path], None], difference: str
) -> None:
    spoil(volume)
    said = judged(place, volume, snapshot)
    assert said["ok"] is False
    assert said["differences"] == [difference]
    told = noted(place, snapshot)
    assert told.rehearsed is not None
    assert (told.rehearsed.result, told.rehearsed.reason) == ("failed", difference)
    assert told.verified is None


def test_what_the_app_has_added_is_no_difference(place: Place, volume: Path, snapshot: Snapshot) -> None:
    crash(volume / "links.db")  # its last row is in the log alone
    change(volume / "more" / "other.db", "INSERT INTO t VALUES (77, 'x')", "CREATE TABLE migrated (n)")
    assert judged(place, volume, snapshot)["ok"] is True


def test_rows_in_a_log_alone_are_counted(place: Place, volume: Path, snapshot: Snapshot) -> None:
    crash(volume / "links.db", keep_shm=False)
    grown = replace(snapshot.manifest.databases[0], tables={"t": 11})
    assert rehearsal.compare(volume, [grown], Progress(None)) == []
    assert rehearsal.compare(volume, [replace(grown, tables={"t": 12})], Progress(None)) == [
        "links.db: table t has 11 of 12 rows"
    ]


def test_a_reason_is_noted_and_nothing_counted(place: Place, tmp_path: Path, snapshot: Snapshot) -> None:
    before = run_agent("verify", snapshot.snapshot, "--backups", place.backups).last["verified"]
    said = judged(place, tmp_path / "no-volume", snapshot, reason="app exited with code 1. " * 100)
    assert (said["ok"], said["rehearsal"]["result"]) == (False, "failed")
    told = noted(place, snapshot)
    assert told.rehearsed is not None
    assert len(told.rehearsed.reason) == 500
    assert told.verified == before, "neither taken away nor made younger"


@pytest.mark.parametrize("name", ["links.db", ".hidden", "folder/"])
def test_a_volume_that_holds_anything_is_left_alone(place: Place, snapshot: Snapshot, name: str) -> None:
    volume = place.backups.parent / "used"
    volume.mkdir()
    (volume / name).mkdir() if name.endswith("/") else (volume / name).write_text("data")
    before = fingerprint(volume), place.left()
    with pytest.raises(AgentError, match="must be empty"):
        rehearsal.bring(volume, place.backups, snapshot.snapshot, wait=0)
    assert (fingerprint(volume), place.left()) == before


def test_a_volume_that_is_a_file_systems_root_is_empty(place: Place, snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    assert rehearsal.bring(tmp_path / "disk", place.backups, snapshot.snapshot, wait=0)["seconds"] > 0


def test_no_space_leaves_nothing(place: Place, small_disk: Path, snapshot: Snapshot) -> None:
    with pytest.raises(AgentError) as caught:
        rehearsal.bring(small_disk, place.backups, snapshot.snapshot, wait=0)
    assert caught.value.code == "full"
    assert list(small_disk.iterdir()) == []


def test_a_damaged_archive_is_refused(place: Place, snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    data = bytearray(place.archive(snapshot).read_bytes())
    data[len(data) // 2] ^= 1
    place.archive(snapshot).write_bytes(data)
    with pytest.raises(AgentError) as caught:
        rehearsal.bring(tmp_path / "scratch", place.backups, snapshot.snapshot, wait=0)
    assert caught.value.code == "damaged"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_snapshot_that_went_meanwhile(place: Place, volume: Path, snapshot: Snapshot) -> None:
    store.remove(place.backups, snapshot.snapshot)
    with pytest.raises(AgentError) as caught:
        judged(place, volume, snapshot)
    assert caught.value.code == "missing"


@pytest.mark.parametrize("evidence", ["", "{", "[]", "null", "3", "{}", '{"release": 1, "image": "x"}', "[" * 99999])
def test_evidence_that_is_none(place: Place, volume: Path, snapshot: Snapshot, evidence: str) -> None:
    with pytest.raises(AgentError, match="--evidence is not what it should be") as caught:
        rehearsal.judge(volume, place.backups, snapshot.snapshot, evidence, wait=0)
    assert caught.value.code == "usage"
    assert noted(place, snapshot).rehearsed is None


def test_by_the_command_line(place: Place, snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    where = ("--source", tmp_path / "scratch", "--backups", place.backups)
    restored = run_agent("rehearse", "restore", snapshot.snapshot, *where)
    assert restored.code == 0
    assert restored.last["seconds"] > 0
    said = run_agent("rehearse", "judge", snapshot.snapshot, *where, "--evidence", json.dumps(EVIDENCE))
    assert (said.code, said.last["ok"]) == (0, True)
    assert any(event.get("phase") == "count" for event in said.events)


def test_a_sidecar_of_before_is_read(place: Place, snapshot: Snapshot) -> None:
    document = json.loads(place.sidecar(snapshot).read_text())
    del document["rehearsed"]
    assert parse_snapshot(document) == snapshot


@pytest.mark.parametrize(
    "changes",
    [{"at": "today"}, {"result": "well"}, {"release": None}, {"restore_seconds": "1"}, {"boot_seconds": -1}],
)
def test_a_changed_note_is_refused(place: Place, volume: Path, snapshot: Snapshot, changes: dict[str, Any]) -> None:
    judged(place, volume, snapshot)
    document = json.loads(place.sidecar(snapshot).read_text())
    assert parse_snapshot(document).rehearsed is not None
    document["rehearsed"] |= changes
    with pytest.raises(ManifestError):
        parse_snapshot(document)


def test_differences_are_named_up_to_a_few() -> None:
    many = [f"d{number}" for number in range(7)]
    assert rehearsal._listed(many) == "d0; d1; d2; d3; d4; and 2 more"
    assert rehearsal._listed(many[:5]) == "d0; d1; d2; d3; d4"
    assert rehearsal._listed([]) == ""
