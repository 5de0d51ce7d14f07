"""Restores that end by SIGKILL before any of their changes to the disk, and what the next command makes of that.

    python -m tests.bench.snapshots.killed FOLDER [EVERY]     prints what came of it as JSON

A process of its own, with one thread, because it forks: a child that is warm dies in a hundredth of the time that one
takes to start.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from orchestrator.agent import restore, store
from orchestrator.agent.snapshot import take
from orchestrator.agent.source import RESTORE_FOLDER
from tests.bench.snapshots.bounds import Bound
from tests.bench.snapshots.processes import ROOT, say

#: What Python tells of before it does it; syncs are counted apart.
CHANGES = frozenset({"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.chown", "os.utime"})
BEFORE = "no journal"


class Deaths:
    """In a child: counts what changes the disk, and dies before change number `last`."""

    def __init__(self, last: int) -> None:
        self.last, self.count = last, 0

    def watch(self) -> None:
        sys.addaudithook(self._heard)
        for name in ("fsync", "fdatasync"):
            setattr(os, name, self._counted(getattr(os, name)))

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            self._one()

    def _counted(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            self._one()
            real(descriptor)

        return call

    def _one(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def dead_at(number: int, action: Callable[[], object]) -> int:
    """Runs it in a child that dies before its change of that number; how many there were, 0 where it died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            deaths = Deaths(number)
            deaths.watch()
            action()
            os.write(writing, str(deaths.count).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    told = os.read(reading, 20)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return int(told or 0)


def content(root: Path) -> dict[str, object]:
    """What a volume holds: databases by their rows."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_dir() or name.startswith(RESTORE_FOLDER) or name.endswith(("-wal", "-shm")):
            continue
        found[name] = _rows(path) if name.endswith(".db") else path.read_bytes()
    return found


def _rows(path: Path) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(path))
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT n, text FROM t ORDER BY n").fetchall()
    finally:
        connection.close()


@dataclass
class Tally:
    """Of one scenario, by the phase of the restore in which it was killed: kills, and how many ended old and new."""

    name: str
    kills: Counter[str] = field(default_factory=Counter)
    old: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class Stage:
    """A volume that has changed since its snapshot, by a process that was itself killed: its last writes are in the
    log alone."""

    def __init__(self, folder: Path) -> None:
        self.template, self.work = folder / "template", folder / "work"
        self.data, self.backups, self.out = (self.work / name for name in ("data", "backups", "out"))
        self.chance = random.Random(4)  # noqa: S311
        self._make()
        self.old = content(self.data)
        self.fresh()

    def _make(self) -> None:
        data, backups = self.template / "data", self.template / "backups"
        for made in (data / "uploads", backups):
            made.mkdir(parents=True)
        _write(data, "PRAGMA journal_mode=WAL; CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)", range(1, 11))
        (data / "uploads" / "a").write_text("first")
        (data / "key").write_text("secret")
        self.new = content(data)
        self.snapshot = take(data, backups, release="r1", reason="bench", wait=0).snapshot
        _write(data, "DELETE FROM t WHERE n < 4", range(11, 31), crash=True)
        (data / "uploads" / "b").write_text("later")
        (data / "key").write_text("another")
        self.fresh()

    def fresh(self) -> None:
        if self.work.exists():
            shutil.rmtree(self.work)
        shutil.copytree(self.template, self.work)

    def forth(self) -> None:
        restore.prepare(self.data, self.backups, self.snapshot, wait=0)
        restore.switch(self.data, self.backups, release="r2", wait=0)

    def restored(self) -> None:
        self.forth()
        restore.finish(self.data)

    def undone(self) -> None:
        self.forth()
        restore.undo(self.data)

    def phase(self) -> str:
        journal = restore.Place(self.data).journal()
        return journal.phase if journal else BEFORE

    def saved(self) -> bool:
        """Whether a snapshot of what was there before the restore brings all of it back."""
        for entry in store.entries(self.backups):
            if entry.good and entry.detail is not None and entry.detail.manifest.reason == "before-restore":
                if self.out.exists():
                    shutil.rmtree(self.out)
                self.out.mkdir()
                restore.prepare(self.out, self.backups, entry.snapshot, wait=0)
                restore.switch(self.out, self.backups, release="r1", wait=0)
                restore.finish(self.out)
                return content(self.out) == self.old
        return False

    def judge(self, tally: Tally, number: int, phase: str) -> None:
        """After the repair: complete old or complete new, and nothing written is lost; then a restore must work."""
        tally.kills[phase] += 1
        found = content(self.data)
        if found == self.old:
            tally.old[phase] += 1
        elif found == self.new and self.saved():
            tally.new[phase] += 1
        else:
            tally.problems.append(f"{tally.name}, killed before change {number} ({phase}): neither old nor new")
        self.restored()
        if content(self.data) != self.new or (found == self.old and not self.saved()):
            tally.problems.append(f"{tally.name}, killed before change {number} ({phase}): no restore afterwards")
        left = [path.name for path in self.backups.iterdir() if path.name.endswith(".part")]
        if left or (self.data / RESTORE_FOLDER).exists():
            tally.problems.append(f"{tally.name}, killed before change {number} ({phase}): left {left}")

    def play(self, name: str, action: Callable[[], object], *, every: int, twice: bool = False) -> Tally:
        tally = Tally(name)
        count = dead_at(0, action)
        for number in range(1, count + 1, every):
            self.fresh()
            if dead_at(number, action):
                continue  # Two snapshots within a second may be the same one, which takes fewer steps.
            phase = self.phase()
            if twice:
                dead_at(self.chance.randint(1, 12), lambda: restore.recover(self.data))
            restore.recover(self.data)
            self.judge(tally, number, phase)
        return tally


def _write(data: Path, first: str, numbers: Sequence[int], *, crash: bool = False) -> None:
    child = os.fork()
    if child == 0:
        try:
            connection = apsw.Connection(str(data / "links.db"))
            connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
            connection.execute(first).fetchall()
            connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * n * 20) for n in numbers])
            if not crash:
                connection.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def tallies(folder: Path, every: int) -> list[Tally]:
    stage = Stage(folder)
    return [
        stage.play("a restore", stage.restored, every=every),
        stage.play("a restore that is taken back", stage.undone, every=every),
        stage.play("a restore, and its repair killed too", stage.restored, every=every, twice=True),
    ]


def killed(folder: Path, every: int = 1) -> tuple[list[Bound], str]:
    """A kill before every `every`th change of each scenario, and the table of what came of it by phases."""
    say("restores killed")
    command = [sys.executable, "-m", "tests.bench.snapshots.killed", str(folder), str(every)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    rows, lines = [], ["| | killed in phase | kills | complete old | complete new |", "|---|---|---|---|---|"]
    for tally in json.loads(done.stdout):
        for problem in tally["problems"]:
            say(f"  {problem}")
        kills = sum(tally["kills"].values())
        right = kills - len(tally["problems"])
        figure = f"{tally['name']}, killed before every change to the disk: complete, repaired, no write lost"
        rows.append(Bound(figure, f"{right} of {kills}", "all", right == kills > 0))
        for phase, number in tally["kills"].items():
            old, new = (tally[key].get(phase, 0) for key in ("old", "new"))
            lines.append(f"| {tally['name']} | {phase} | {number} | {old} | {new} |")
    return rows, "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    every = int(arguments[1]) if len(arguments) > 1 else 1
    json.dump([vars(tally) for tally in tallies(Path(arguments[0]), every)], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
