"""Each part of `python -m tests.bench snapshots` in a tiny size, so that a break of what it shows is seen at once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from orchestrator.agent import database
from tests.bench.snapshots import bounds, busy, damage, full, killed, many, sealed
from tests.bench.snapshots.measure import MEMORY
from tests.bench.snapshots.processes import AgentRun, Writer, agent, fill
from tests.cannot import cannot


def test_a_bound_that_is_not_met_is_shown() -> None:
    rows = [bounds.Bound("a", "1", "at most 2", True), bounds.Bound("b", "3", "at most 2", False)]
    assert bounds.table(rows).splitlines()[2:] == ["| a | 1 | at most 2 | yes |", "| b | 3 | at most 2 | **no** |"]
    assert not bounds.all_met(rows)
    assert bounds.all_met(rows[:1])


def test_a_copy_that_begins_anew_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the pin each commit of another process starts SQLite's backup anew: the count can be other than 0."""
    monkeypatch.setattr(database, "PAGES", 50)
    fill(tmp_path / "links.db", 2)
    back: list[int] = []
    with Writer(tmp_path / "links.db") as writer:

        def advance(count: int) -> None:
            before = writer.acknowledged
            while writer.acknowledged == before and len(back) < 3:
                time.sleep(0.001)
            back.extend([count] if count < 0 else [])

        database.copy_database(tmp_path / "links.db", tmp_path / "pinned.db", advance)
        assert back == []
        source = database._connect(tmp_path / "links.db", immutable=False)
        copy = apsw.Connection(str(tmp_path / "copy.db"))
        database._step(copy, source, 4096, advance, None)
        copy.close()
        source.close()
    assert len(back) >= 3


def test_what_the_agent_is_asked_for(tmp_path: Path) -> None:
    for name in ("data", "backups"):
        (tmp_path / name).mkdir()
    fill(tmp_path / "data" / "links.db", 2)
    taken = agent("snapshot", "--source", tmp_path / "data", "--backups", tmp_path / "backups")
    assert isinstance(taken, AgentRun)
    assert taken.restarts == 0
    assert {"copy", "archive"} <= set(taken.phases)
    assert 10e6 < taken.memory < 100e6
    assert taken.done["databases"]


def test_many_snapshots_restore(tmp_path: Path) -> None:
    assert many.some(tmp_path, 5) == []


def test_a_wrong_copy_is_found(tmp_path: Path) -> None:
    fill(tmp_path / "links.db", 1)
    assert busy.wrong(tmp_path / "links.db", 0) == ""
    assert busy.wrong(tmp_path / "links.db", 1) == "1 acknowledged commits are missing"
    with (tmp_path / "links.db").open("r+b") as file:
        file.truncate(400_000)
    assert busy.wrong(tmp_path / "links.db", 0) == "corrupt"


def test_damage_is_refused(tmp_path: Path) -> None:
    rows, table = damage.damages(tmp_path, 0.05)
    assert bounds.all_met(rows), rows
    assert table.count("\n") > 6


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where syncs cost nothing."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def test_a_kill_at_any_moment(memory: Path) -> None:
    rows, table = killed.killed(memory, 12)
    assert bounds.all_met(rows), rows
    assert "| a restore | " in table


def test_a_full_disk_at_any_point(memory: Path) -> None:
    rows, table = full.full(memory)
    if not table:
        cannot("needs the right to mount")
    assert bounds.all_met(rows), table


def test_an_archive_is_encrypted_and_the_same_again(tmp_path: Path) -> None:
    (row,) = sealed.sealed(tmp_path, 1)
    assert row.met
    assert list(tmp_path.iterdir()) == []
