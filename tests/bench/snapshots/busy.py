"""A snapshot of a large database in use, beside `cp`, `sqlite3 .backup` and Litestream; and what its size costs."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.agent.database import check_database
from orchestrator.agent.errors import AgentError, explain
from tests.bench import torture
from tests.bench.snapshots.bounds import Bound
from tests.bench.snapshots.processes import AgentRun, Run, Window, Writer, agent, fill, p99, run, say, worst
from tests.peers import litestream

RATE = 200
#: What the issue allows: times `cp` + fsync, ms over the idle worst, bytes.
COPY, WHOLE, WAIT, MEMORY = 3.0, 5.0, 50.0, 100e6
#: How much more the largest size may cost for each MB than the 500 MB do.
LINEAR = 1.5
#: Snapshots of each size but the last: a median, because a short one is easily disturbed.
TIMES = 3
MB = 1e6


@dataclass
class Contender:
    """One way to copy, and what became of it. `good`: how many of its copies were what they should be."""

    name: str
    runs: list[Run] = field(default_factory=list)
    good: int = 0
    reason: str = ""

    @property
    def windows(self) -> list[Window]:
        return [one.window for one in self.runs]

    @property
    def seconds(self) -> float:
        return statistics.median(one.seconds for one in self.runs)

    def judge(self, reason: str) -> None:
        self.good += not reason
        self.reason = self.reason or reason

    def row(self, writer: Writer) -> str:
        waited = writer.waited(self.windows)
        finished = sum(one.code == 0 for one in self.runs)
        told = f"{self.good} of {len(self.runs)}" + (f": {self.reason}" if self.reason else "")
        wall = f"{self.seconds:.1f} s" if finished else f"over {self.seconds:.0f} s"
        written = statistics.median(one.written for one in self.runs) / MB
        cells = [self.name, f"{finished} of {len(self.runs)}", told, wall]
        cells += [f"{p99(waited):.1f} ms", f"{worst(waited):.0f} ms", f"{written:.0f} MB"]
        return f"| {' | '.join(cells)} |"


HEAD = ("| | finished | right | wall | the writer's p99 | its worst | bytes written |\n|---|---|---|---|---|---|---|",)


def wrong(copy: Path, upto: int) -> str:
    """Why a copy is not the database as it was after one commit not before number `upto`; "" where it is."""
    try:
        check_database(copy, "the copy", lambda _: None)
        lost = torture.missing(str(copy), upto)
        if lost:
            return f"{lost} acknowledged commits are missing"
        return "parts of several commits" if torture.mixed(str(copy)) else ""
    except AgentError as error:
        return "corrupt" if error.code == "damaged" else error.message
    except Exception as error:
        return explain(error).message


def _cp(database: Path, copy: Path) -> Run:
    """`cp` and fsync: the least that a copy on the disk costs."""
    made = run(["cp", str(database), str(copy)])
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    made.window = (made.window[0], time.monotonic())
    return made


@dataclass
class Busy:
    """All that one database in use was put through. `ours` is one `snapshot` a round: copied, proven, compressed."""

    writer: Writer
    idle: list[Window] = field(default_factory=list)
    cp: Contender = field(default_factory=lambda: Contender("`cp` + fsync"))
    ours: Contender = field(default_factory=lambda: Contender("orchestrator: copied, proven, compressed"))
    verifies: list[AgentRun] = field(default_factory=list)
    backup: Contender = field(default_factory=lambda: Contender("`sqlite3 .backup`"))
    litestream: Contender = field(default_factory=lambda: Contender("`litestream replicate -once`"))

    @property
    def snapshots(self) -> list[AgentRun]:
        return [one for one in self.ours.runs if isinstance(one, AgentRun)]

    def rows(self) -> list[Bound]:
        idle, during = worst(self.writer.waited(self.idle)), worst(self.writer.waited(self.ours.windows))
        copies = [one.phases["copy"] for one in self.snapshots]
        restarts = sum(one.restarts for one in self.snapshots)
        floor = [one.seconds for one in self.cp.runs]
        copy = statistics.median(a / b for a, b in zip(copies, floor, strict=True))
        whole = statistics.median(a.seconds / b for a, b in zip(self.snapshots, floor, strict=True))
        verify = statistics.median(one.seconds for one in self.verifies)
        return [
            Bound("copies that began anew", str(restarts), "0", restarts == 0),
            Bound("copy phase / `cp` + fsync", f"{copy:.2f}", f"at most {COPY:.0f}", copy <= COPY),
            Bound(
                "whole snapshot (copied, proven, compressed) / `cp` + fsync",
                f"{whole:.2f}",
                f"at most {WHOLE:.0f}",
                whole <= WHOLE,
            ),
            Bound(
                f"the writer's worst commit, idle {idle:.0f} ms",
                f"{during:.0f} ms",
                f"at most {WAIT:.0f} ms more",
                during - idle <= WAIT,
            ),
            Bound(
                "snapshots that hold all that was acknowledged before",
                f"{self.ours.good} of {len(self.ours.runs)}",
                "all",
                self.ours.good == len(self.ours.runs),
            ),
            Bound("`verify`, apart from that", f"{verify:.1f} s", "-", True),
        ]


def busy(folder: Path, megabytes: float, rounds: int, *, idle: float, patience: float) -> tuple[list[Bound], str]:
    """The figures of a database of that size under `RATE` commits/s, and all ways to copy it in one table.

    `idle`: seconds with nothing beside the writer, before each round; `patience`: how long a peer is waited for.
    """
    source, backups, copy = folder / "data", folder / "backups", folder / "copy.db"
    for made in (source, backups):
        made.mkdir(parents=True)
    database = source / "links.db"
    say(f"a database of {megabytes:.0f} MB, {RATE} commits/s")
    fill(database, megabytes)
    with Writer(database, RATE) as writer:
        found = Busy(writer)
        for _ in range(rounds):
            began = time.monotonic()
            time.sleep(idle)
            found.idle.append((began, time.monotonic()))
            upto = writer.acknowledged
            found.cp.runs.append(_cp(database, copy))
            found.cp.judge(wrong(copy, upto))
            copy.unlink()
            _ours(found, source, backups, folder / "out")
        _peers(found, database, folder, patience)
        table = [found.cp, found.ours, found.backup, found.litestream]
        return found.rows(), "\n".join([*HEAD, *(one.row(writer) for one in table if one.runs)])


def _ours(found: Busy, source: Path, backups: Path, out: Path) -> None:
    upto = found.writer.acknowledged
    taken = agent("snapshot", "--source", source, "--backups", backups)
    found.ours.runs.append(taken)
    say(f"  snapshot in {taken.seconds:.1f} s")
    name = taken.done["snapshot"]
    found.verifies.append(agent("verify", name, "--backups", backups))
    out.mkdir()
    agent("restore", "prepare", name, "--source", out, "--backups", backups)
    agent("restore", "switch", "--source", out, "--backups", backups)
    agent("restore", "finish", "--source", out, "--backups", backups)
    found.ours.judge(wrong(out / "links.db", upto))
    shutil.rmtree(out)
    _emptied(backups)


def _peers(found: Busy, database: Path, folder: Path, patience: float) -> None:
    copy = folder / "copy.db"
    say("  sqlite3 .backup")
    upto = found.writer.acknowledged
    found.backup.runs.append(run(["sqlite3", str(database), f".backup {copy}"], patience=patience))
    found.backup.judge(wrong(copy, upto) if found.backup.runs[0].code == 0 else f"not finished in {patience:.0f} s")
    _removed(copy)
    try:
        command = litestream()
    except OSError as error:
        say(f"  no Litestream: {error}")
        return
    say("  litestream")
    replica = folder / "replica"
    upto = found.writer.acknowledged
    made = run([command, "replicate", "-once", str(database), f"file://{replica}"], patience=patience)
    found.litestream.runs.append(made)
    reason = f"not finished in {patience:.0f} s"
    if made.code == 0:
        restored = run([command, "restore", "-o", str(copy), f"file://{replica}"])
        reason = wrong(copy, upto) if restored.code == 0 else f"its restore ended with {restored.code}"
    found.litestream.judge(reason)
    _removed(copy)
    shutil.rmtree(replica, ignore_errors=True)
    shutil.rmtree(database.with_name(f".{database.name}-litestream"), ignore_errors=True)


def _removed(copy: Path) -> None:
    for path in copy.parent.glob(f"{copy.name}*"):
        path.unlink()


def _emptied(backups: Path) -> None:
    for path in backups.iterdir():
        path.unlink()


def sizes(folder: Path, megabytes: Sequence[float], before: Callable[[], None] = os.sync) -> tuple[list[Bound], str]:
    """What a snapshot costs at each size, the last being the largest, each under the same writes."""
    lines = ["| database | `cp` + fsync | snapshot | for each MB | memory |", "|---|---|---|---|---|"]
    costs: dict[float, float] = {}
    memory = 0
    for size in megabytes:
        place = folder / f"{size:.0f}"
        source, backups = place / "data", place / "backups"
        for made in (source, backups):
            made.mkdir(parents=True)
        say(f"a database of {size:.0f} MB")
        fill(source / "links.db", size)
        with Writer(source / "links.db", RATE):
            before()
            floor = _cp(source / "links.db", place / "copy.db")
            (place / "copy.db").unlink()
            taken = []
            for _ in range(TIMES if size < max(megabytes) else 1):
                taken.append(agent("snapshot", "--source", source, "--backups", backups))
                _emptied(backups)
        seconds, most = statistics.median(one.seconds for one in taken), max(one.memory for one in taken)
        costs[size] = seconds / size
        memory = max(memory, most)
        cells = [f"{size:.0f} MB", f"{floor.seconds:.2f} s", f"{seconds:.1f} s"]
        cells += [f"{costs[size] * 1000:.1f} ms", f"{most / MB:.0f} MB"]
        lines.append(f"| {' | '.join(cells)} |")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(place)
    first, last = list(megabytes)[-2:]
    ratio = costs[last] / costs[first]
    return [
        Bound(
            f"agent's memory, up to {last:.0f} MB",
            f"{memory / MB:.0f} MB",
            f"at most {MEMORY / MB:.0f} MB",
            memory <= MEMORY,
        ),
        Bound(
            f"cost of each MB at {last:.0f} MB / at {first:.0f} MB",
            f"{ratio:.2f}",
            f"at most {LINEAR}",
            ratio <= LINEAR,
        ),
    ], "\n".join(lines)
