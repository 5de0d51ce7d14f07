"""`backup` and `restore` on an engine whose disk another program fills up, before them and in the middle: an error, no
partial archive listed, the source as it was and the stack serving.

The engine is of the benchmark's own, on a small disk. What is written is watched from outside, so that the disk is full
when so many bytes of a copy, an archive or an unpacked snapshot are there.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import docker

from tests.bench.snapshots.bounds import Bound
from tests.bench.snapshots.processes import say
from tests.engine.own_engine import OwnEngine, ask, moved, possible, running
from tests.engine.stack import SERVICES, Project, Result, copy_checkout, finished, removed, until
from tests.peers import bases

#: The engine's disk; megabytes of what does not compress in a second database; what is left free before a verb.
DISK, DATABASE, FREE = "2400m", 120, 640
MB = 1 << 20
HEALTHY = dict.fromkeys(SERVICES, "running healthy")
GROW = """
import os, sys, apsw
connection = apsw.Connection("/data/uploads.db")
connection.execute("create table upload (content blob)")
for _ in range(int(sys.argv[1])):
    connection.execute("insert into upload values (?)", (os.urandom(1 << 20),))
connection.close()
"""


@dataclass(frozen=True)
class Point:
    """When the disk is full: once so many bytes are in that folder of a volume; None: before the verb."""

    verb: str
    when: str
    volume: str = ""
    folder: str = ""
    size: int | None = None


POINTS = (
    Point("backup", "before it"),
    Point("backup", "at the start of the copy", "backups", ".scratch-*", 1),
    Point("backup", "in the middle of the copy", "backups", ".scratch-*", DATABASE * MB // 2),
    Point("backup", "at the start of the archive", "backups", ".scratch-*", DATABASE * MB + 2 * MB),
    Point("backup", "in the middle of the archive", "backups", ".scratch-*", DATABASE * MB * 3 // 2),
    Point("restore", "before it"),
    Point("restore", "at the start of unpacking", "sqlite_data", ".restore", 1),
    Point("restore", "in the middle of unpacking", "sqlite_data", ".restore", DATABASE * MB // 2),
    Point("restore", "at the start of the safety snapshot", "backups", ".scratch-*", 1),
    Point("restore", "in the middle of its copy", "backups", ".scratch-*", DATABASE * MB // 2),
    Point("restore", "in the middle of its archive", "backups", ".scratch-*", DATABASE * MB * 3 // 2),
)


@dataclass
class Stage:
    """A stack on that engine, with a snapshot and a link that is newer."""

    project: Project
    engine: OwnEngine
    rows: list[str] = field(default_factory=list)
    bad: int = 0

    def __post_init__(self) -> None:
        self.project.run("exec", "app", "python", "-c", GROW, str(DATABASE))
        self.snapshot = str(self.project.json("backup")["snapshot"])
        assert ask(self.project, "POST", "/.api/links", {"name": "newer", "url": "https://example.com/"}) == 201
        self.filler = self.engine.data / "filler"

    def volume(self, name: str) -> Path:
        return self.engine.data / "volumes" / f"{self.project.name}_{name}" / "_data"

    def fill(self, leave: int = 0) -> None:
        """Takes what is left of the disk but for `leave` bytes, at once: blocks are reserved, nothing is written."""
        with self.filler.open("ab") as file:
            for size in (64 * MB, MB, 65536, 4096):
                with contextlib.suppress(OSError):
                    while shutil.disk_usage(self.engine.data).free >= leave + size:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)

    def listed(self) -> list[str]:
        found = self.project.json("backups")["snapshots"]
        return sorted(entry["snapshot"] for entry in found if not entry.get("error"))

    def play(self, point: Point) -> None:
        before, problems = self.listed(), []
        words = [point.verb] if point.verb == "backup" else [point.verb, self.snapshot, "--yes"]
        self.fill(FREE * MB)
        if point.size is None:
            self.fill()
        process = self.project.start("--json", *words)
        if point.size is not None and not self._grown(point, lambda: process.poll() is None):
            problems.append("it was over before")
        self.fill()
        result = finished(process, 120)
        # A restore that has begun to replace the data is taken back, which is 3.
        if result.code not in ((1,) if point.verb == "backup" else (1, 3)) or "Traceback" in result.stderr:
            problems.append(f"exit code {result.code}: {result.stderr[-300:]}")
        told = (
            " ".join(str(result.json[key]).rstrip(".") + "." for key in ("error", "hint"))
            if result.stdout
            else "nothing"
        )
        if "space left" not in told and "disk is full" not in told:
            problems.append(f"not told as a full disk: {result.stderr[-300:]}")
        serves = self.project.health().get("app") == "running healthy"
        self.filler.unlink()
        problems += self._afterwards(before, result)
        self.bad += bool(problems)
        told = re.sub(r"/var/\S+", "...", told.replace(self.project.name, "golinks")).strip()
        served = "served on" if serves else "down until there was room and a `deploy`"
        self.rows.append(f"| `{point.verb}`, {point.when} | {told} | {'; '.join(problems) or f'as it was; {served}'} |")
        say(self.rows[-1])

    def _grown(self, point: Point, goes_on: Callable[[], bool]) -> bool:
        root = self.volume(point.volume)
        while goes_on():
            size = 0
            for path in root.glob(f"{point.folder}/**/*"):
                with contextlib.suppress(OSError):
                    size += path.stat().st_blocks * 512
            if size >= (point.size or 0):
                return True
            time.sleep(0.001)
        return False

    def _afterwards(self, before: list[str], result: Result) -> Iterator[str]:
        """With room again: all is as it was, and works."""
        again = self.project.run("deploy", "--no-build", check=False)
        if again.code != 0:
            yield f"the next deploy ended with {again.code}: {again.stderr[-300:]}"
            return
        until(lambda: self.project.health() == HEALTHY, 60, "all healthy")
        if ask(self.project, "GET", "/.api/links/newer") != 200:
            yield "an acknowledged link is gone"
        # A safety snapshot that was whole before the disk was full may stay; it must be good.
        more = sorted(set(self.listed()) - set(before))
        if any(self.project.run("verify", name, check=False).code for name in more):
            yield "a partial archive is listed"
        if not set(before) <= set(self.listed()):
            yield "a snapshot is gone"
        if left := [path.name for path in self.volume("backups").glob(".scratch-*")]:
            yield f"left over: {left}"
        if self.project.run("backup", check=False).code != 0:
            yield "no backup afterwards"


def full_verbs(folder: Path) -> tuple[list[Bound], str]:
    """Every point, and the table of what was told and what became of it."""
    if not possible():
        return [Bound("disk full, by the verbs", "not measured: only root can start an engine", "all", False)], ""
    say("full disks, by the verbs on an engine")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(contextlib.closing(docker.from_env(timeout=300)))
        usual = stack.enter_context(removed(Project(client, bases(client), copy_checkout(folder / "checkout"))))
        engine = stack.enter_context(running(DISK, in_memory=False))
        stage = Stage(stack.enter_context(moved(usual, engine)), engine)
        for point in POINTS:
            stage.play(point)
    count = len(stage.rows)
    figure = (
        "points of `backup` and `restore` on an engine with a full disk: an error, nothing half listed, all as it was"
    )
    return [Bound(figure, f"{count - stage.bad} of {count}", "all", stage.bad == 0)], "\n".join(
        ["| the engine's disk is full | told | stack, volume and snapshots |", "|---|---|---|", *stage.rows]
    )
