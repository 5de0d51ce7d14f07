"""Bringing a snapshot back: complete old or complete new after a kill at any moment, and what was there is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import apsw
import pytest

from orchestrator.agent import restore, store
from orchestrator.agent.errors import AgentError
from orchestrator.agent.source import RESTORE_FOLDER
from orchestrator.agent.verify import verify

from .conftest import Place, make_database, run_agent


class KilledError(BaseException):
    """The agent's process ends here."""


@contextmanager
def killed_at(number: int) -> Iterator[list[int]]:
    """Every rename and every sync of a folder counts; before the one of that number (0: none), all ends."""
    count = [0]

    def counted(real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            count[0] += 1
            if count[0] == number:
                raise KilledError
            return real(*arguments)

        return call

    with (
        mock.patch.object(Path, "rename", counted(Path.rename)),
        mock.patch.object(Path, "replace", counted(Path.replace)),
        mock.patch.object(store, "sync_folder", counted(store.sync_folder)),
    ):
        yield count


def rows(path: Path) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(str(connection.execute("SELECT count(*) FROM t").fetchall()[0][0]))
    finally:
        connection.close()


def picture(root: Path) -> dict[str, bytes]:
    """Every file on the volume, but for what a restore keeps for itself."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): p.read_bytes() for p in files if p.relative_to(root).parts[0] != RESTORE_FOLDER}


def content(root: Path) -> dict[str, object]:
    """The same with databases by what is in them: a snapshot's copy is no byte-by-byte one."""
    return {name: rows(root / name) if name.endswith(".db") else text for name, text in picture(root).items()}


@pytest.fixture
def changed(place: Place) -> tuple[str, dict[str, object], dict[str, bytes]]:
    """A volume that has changed since its snapshot: the snapshot, what it held, and what is there now."""
    make_database(place.data / "links.db", rows=10)
    (place.data / "uploads").mkdir(mode=0o750)
    make_database(place.data / "uploads" / "deeper" / "index.db", rows=3)
    (place.data / "uploads" / "a.txt").write_text("first")
    (place.data / "key").write_text("secret")
    (place.data / "key").chmod(0o600)
    taken = place.take()
    before = content(place.data)
    (place.data / "links.db").unlink()
    make_database(place.data / "links.db", rows=25)
    (place.data / "uploads" / "b.txt").write_text("later")
    (place.data / "key").write_text("another")
    return taken.snapshot, before, picture(place.data)


def whole(place: Place, snapshot: str) -> dict[str, Any]:
    restore.prepare(place.data, place.backups, snapshot, wait=0)
    return restore.switch(place.data, place.backups, release="r2", wait=0)


def test_it_is_as_it_was(place: Place, changed: tuple[str, dict[str, object], dict[str, bytes]]) -> None:
    snapshot, before, now = changed
    told = restore.prepare(place.data, place.backups, snapshot, wait=0)
    assert (told["rows"], told["files"], told["warnings"]) == (13, 2, [])
    assert picture(place.data) == now, "nothing has changed yet"
    done = restore.switch(place.data, place.backups, release="r2", wait=0)
    assert content(place.data) == before
    assert (place.data / "key").stat().st_mode & 0o777 == 0o600
    assert (place.data / "uploads").stat().st_mode & 0o777 == 0o750
    assert restore.finish(place.data)["result"] == "restored"
    assert not (place.data / RESTORE_FOLDER).exists()
    assert rows(place.data / "links.db") == 10

    # And back again, by the snapshot that was taken of what was there.
    safety = done["safety_snapshot"]
    assert verify(place.backups, safety, wait=0)["ok"]
    whole(place, safety)
    restore.finish(place.data)
    assert rows(place.data / "links.db") == 25
    assert (place.data / "uploads" / "b.txt").read_text() == "later"


def test_undone(place: Place, changed: tuple[str, dict[str, object], dict[str, bytes]]) -> None:
    snapshot, _, now = changed
    whole(place, snapshot)
    assert restore.undo(place.data)["result"] == "undone"
    assert picture(place.data) == now
    assert not (place.data / RESTORE_FOLDER).exists()
    with pytest.raises(AgentError, match="No restore is under way"):
        restore.undo(place.data)


def test_killed_at_every_step(place: Place, changed: tuple[str, dict[str, object], dict[str, bytes]]) -> None:
    """During the restore, the way back, or the end: what `recover` leaves is complete."""
    snapshot, before, now = changed
    with killed_at(0) as steps:
        whole(place, snapshot)
        forth = steps[0]
        restore.undo(place.data)
    assert forth > 15
    assert steps[0] > forth + 5
    for number in range(1, steps[0] + 1):
        # Two snapshots within one second may be the same one, which takes fewer steps.
        with suppress(KilledError), killed_at(number):
            whole(place, snapshot)
            restore.undo(place.data)
        with killed_at(0) as again:
            assert restore.recover(place.data)["result"] in ("undone", "nothing")
        assert picture(place.data) == now, f"killed before step {number}"
        assert not (place.data / RESTORE_FOLDER).exists()
        assert again[0] < 40
    # Killed twice: in the recovery, too.
    for number in range(1, 12):
        with suppress(KilledError), killed_at(forth):
            whole(place, snapshot)
        with suppress(KilledError), killed_at(number):
            restore.recover(place.data)
        restore.recover(place.data)
        assert picture(place.data) == now
    for number in range(1, 10):
        whole(place, snapshot)
        with suppress(KilledError), killed_at(number):
            restore.finish(place.data)
        result = restore.recover(place.data)["result"]
        assert content(place.data) == before if result in ("restored", "nothing") else picture(place.data) == now
        assert not (place.data / RESTORE_FOLDER).exists()


def test_a_damaged_database_is_kept_raw(place: Place) -> None:
    path = place.data / "links.db"
    make_database(path, rows=500, size=2000)
    taken = place.take()
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(4096 * 20))
    torn = picture(place.data)
    done = whole(place, taken.snapshot)
    restore.finish(place.data)
    assert rows(path) == 500
    kept = store.load(place.backups, done["safety_snapshot"])
    assert kept.manifest.raw
    assert "not proven" in kept.manifest.warnings[0]
    entry = next(one for one in store.entries(place.backups) if one.snapshot == kept.snapshot)
    assert not entry.good, "it never counts as a snapshot"
    whole(place, kept.snapshot)
    restore.finish(place.data)
    assert picture(place.data) == torn, "byte by byte"


def test_stale_logs_do_not_come_back(place: Place) -> None:
    """A -wal that is left beside a restored file would be replayed over it."""
    path = place.data / "links.db"
    make_database(path, rows=10)
    taken = place.take()
    holder = apsw.Connection(str(path))
    holder.execute("PRAGMA journal_mode=WAL")
    holder.execute("DELETE FROM t")
    assert Path(f"{path}-wal").exists()
    whole(place, taken.snapshot)
    holder.close()
    assert not Path(f"{path}-wal").exists()
    restore.finish(place.data)
    assert rows(path) == 10


def test_onto_an_empty_volume(place: Place) -> None:
    make_database(place.data / "links.db", rows=10)
    taken = place.take()
    (place.data / "links.db").unlink()
    assert whole(place, taken.snapshot)["safety_snapshot"] == ""
    restore.finish(place.data)
    assert rows(place.data / "links.db") == 10


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_archive_changes_nothing(place: Place, damage: str) -> None:
    make_database(place.data / "links.db", rows=100)
    taken = place.take()
    archive = place.archive(taken)
    content = bytearray(archive.read_bytes())
    content = content[:-10] if damage == "cut" else content[:200] + bytes([content[200] ^ 1]) + content[201:]
    archive.write_bytes(content)
    now = picture(place.data)
    with pytest.raises(AgentError) as caught:
        restore.prepare(place.data, place.backups, taken.snapshot, wait=0)
    assert caught.value.code == "damaged"
    assert picture(place.data) == now
    assert not (place.data / RESTORE_FOLDER).exists()


def test_one_at_a_time(place: Place, changed: tuple[str, dict[str, object], dict[str, bytes]]) -> None:
    snapshot, _, _ = changed
    whole(place, snapshot)
    with pytest.raises(AgentError, match="was begun and did not end") as caught:
        restore.prepare(place.data, place.backups, snapshot, wait=0)
    assert caught.value.code == "busy"
    restore.undo(place.data)
    assert restore.recover(place.data)["result"] == "nothing"


def test_a_restore_under_way_is_no_part_of_a_snapshot(
    place: Place, changed: tuple[str, dict[str, object], dict[str, bytes]]
) -> None:
    snapshot, _, _ = changed
    restore.prepare(place.data, place.backups, snapshot, wait=0)
    taken = place.take()
    assert [database.path for database in taken.manifest.databases] == ["links.db", "uploads/deeper/index.db"]
    assert taken.manifest.files.count == 3


def test_by_its_command_line(place: Place, changed: tuple[str, dict[str, object], dict[str, bytes]]) -> None:
    snapshot, before, _ = changed
    for step in ("prepare", "switch", "finish"):
        result = run_agent("restore", step, snapshot, *place.arguments)
        assert result.code == 0, result.stderr
        assert result.last["event"] == "done"
    assert content(place.data) == before
    assert run_agent("restore", "recover", *place.arguments).last["result"] == "nothing"
    missing = run_agent("restore", "prepare", "20200101T000000-0000000", *place.arguments)
    assert (missing.code, missing.last["code"]) == (1, "missing")


def test_databases_in_folders_come_back_with_them(place: Place) -> None:
    """An archive holds the databases before the folders that they are in."""
    names = ("orders/shop.sqlite3", "people/2026/main.dat")
    for count, name in enumerate(names, 5):
        make_database(place.data / name, rows=count)
    (place.data / "people").chmod(0o710)
    (place.data / "people" / "2026").chmod(0o500)
    try:
        taken = place.take()
    finally:
        (place.data / "people" / "2026").chmod(0o700)
    make_database(place.data / "other.db")
    (place.data / names[0]).unlink()
    restore.prepare(place.data, place.backups, taken.snapshot, wait=0)
    restore.switch(place.data, place.backups, release="r1", wait=0)
    restore.finish(place.data)
    assert [rows(place.data / name) for name in names] == [5, 6]
    assert not (place.data / "other.db").exists()
    modes = {name: oct((place.data / name).stat().st_mode & 0o777) for name in ("people", "people/2026")}
    assert modes == {"people": "0o710", "people/2026": "0o500"}


@pytest.mark.parametrize("phase", [restore.MOVING, restore.PLACING, restore.PLACED])
def test_the_way_back_on_a_full_disk(
    place: Place, small_disk: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    """Another program fills the disk once the restore has begun to move files."""
    monkeypatch.setattr(store, "RESERVE", 0)
    place = Place(small_disk, place.backups)
    make_database(place.data / "links.db", rows=10)
    taken = place.take()
    (place.data / "key").write_text("later")
    now = picture(place.data)
    restore.prepare(place.data, place.backups, taken.snapshot, wait=0)
    real = restore.Place.note

    def note(here: restore.Place, journal: restore.Journal) -> restore.Journal:
        if journal.phase == phase:
            with suppress(OSError), (small_disk / RESTORE_FOLDER / "filler").open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        return real(here, journal)

    monkeypatch.setattr(restore.Place, "note", note)
    with pytest.raises(OSError, match="No space left"):
        restore.switch(place.data, place.backups, release="r2", wait=0)
    assert restore.recover(place.data)["result"] == "undone"
    assert picture(place.data) == now
