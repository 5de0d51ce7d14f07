"""A volume, a folder of snapshots, the agent as a process of its own, and databases to put on the volume."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import apsw
import pytest

from orchestrator.agent import store
from orchestrator.agent.manifest import Snapshot
from orchestrator.agent.snapshot import take
from tests.cannot import cannot

ROOT = Path(__file__).parents[3]
TORTURE = ROOT / "tests" / "bench" / "torture.py"


@dataclass
class Result:
    code: int
    events: list[dict[str, Any]]
    stderr: str

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]


def agent_command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "orchestrator.agent", *map(str, arguments)]


def run_agent(*arguments: str | Path, given: str = "{}", **environment: str) -> Result:
    done = subprocess.run(
        agent_command(*arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Result(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)


@dataclass
class Place:
    """One volume and its folder of snapshots."""

    data: Path
    backups: Path
    arguments: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.arguments = ["--source", str(self.data), "--backups", str(self.backups)]

    def take(self, reason: str = "manual") -> Snapshot:
        return take(self.data, self.backups, release="r1", reason=reason, wait=0)

    def left(self) -> set[str]:
        """What is in the folder of snapshots besides the lock."""
        return {path.name for path in self.backups.iterdir()} - {store.LOCK}

    def archive(self, snapshot: Snapshot) -> Path:
        return store.archive_path(self.backups, snapshot.snapshot)

    def sidecar(self, snapshot: Snapshot) -> Path:
        return store.sidecar_path(self.backups, snapshot.snapshot)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name in ("data", "backups"):
        (tmp_path / name).mkdir()
    return Place(tmp_path / "data", tmp_path / "backups")


def make_database(path: Path, *, rows: int = 10, wal: bool = True, size: int = 100) -> None:
    """A database with a table t, cleanly closed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"file:{quote_from_bytes(os.fsencode(path))}"
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(name, flags=flags)
    connection.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}").fetchall()
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text BLOB)").fetchall()
    with connection:
        connection.executemany("INSERT INTO t VALUES (?, randomblob(?))", [(n, size) for n in range(1, rows + 1)])
    connection.close()


@pytest.fixture
def large(place: Place) -> Place:
    make_database(place.data / "links.db", rows=8000, size=4000)  # 32 MB
    return place


def crash(path: Path, *, keep_shm: bool = True) -> None:
    """A process that commits one row to t and dies without closing: the row is in the -wal alone."""
    program = (
        "import apsw, os, sys; c = apsw.Connection(sys.argv[1]); c.execute('PRAGMA wal_autocheckpoint=0').fetchall();"
        "c.execute('INSERT INTO t VALUES (1000000, 1)').fetchall(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    if not keep_shm:
        path.with_name(path.name + "-shm").unlink()


def fingerprint(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Size, time of change and content's hash of each file but the -shm, which readers may use for their locks."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns, hash(path.read_bytes()))
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 6 MB; skips where mounting is not allowed."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        cannot("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
