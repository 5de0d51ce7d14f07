"""A disk that is full at one point of a backup or a restore: an error, nothing half listed, everything as it was.

The disk is a small file system of its own, which holds the volume and its snapshots as an engine's disk does. What
fills it is another program, at the very moment: the agent asks for room before it begins, so a disk that was full
before is told at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from orchestrator.agent import database, restore, store
from orchestrator.agent.errors import explain
from orchestrator.agent.events import Progress
from orchestrator.agent.snapshot import take
from orchestrator.agent.source import RESTORE_FOLDER
from tests.bench import torture
from tests.bench.snapshots.bounds import Bound
from tests.bench.snapshots.processes import say

#: Megabytes: more than the agent wants to have left, and little enough to be full in a moment.
DISK, DATABASE = 64, 3
#: Pages in a step of the copy, so that even this database takes several.
PAGES = 100


class NotMounted(Exception):
    """This user may not mount a file system."""


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """An ext4 of its own, else a tmpfs; raises NotMounted."""
    place, image = folder / "disk", folder / "disk.img"
    place.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(DISK << 20)
    ways = (
        ["mount", "-o", "loop", str(image), str(place)],
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(place)],
    )
    # No blocks are kept for root: who runs the tests may be it.
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], capture_output=True, check=False)
    if not any(subprocess.run(way, capture_output=True, check=False).returncode == 0 for way in ways):
        raise NotMounted
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        image.unlink()


class Filler:
    """What takes all that is left of a disk."""

    def __init__(self, disk: Path) -> None:
        self.path = disk / "filler"

    def fill(self) -> None:
        with self.path.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 512):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
            with contextlib.suppress(OSError):
                os.fsync(file.fileno())

    def empty(self) -> None:
        self.path.unlink(missing_ok=True)


class Watched(Progress):
    """Calls once when a phase has got so far, between 0 and 1; `skip`: not the first phases of that name."""

    def __init__(self, phase: str, part: float, call: Callable[[], None]) -> None:
        super().__init__(None)
        self._wanted, self._part, self._call = phase, part, call
        self._called = False

    def _send(self) -> None:
        pass

    def begin(self, phase: str, total: int) -> None:
        super().begin(phase, total)
        self._look()

    def advance(self, count: int) -> None:
        super().advance(count)
        self._look()

    def _look(self) -> None:
        if not self._called and self._phase == self._wanted and self._bytes >= self._part * self._total:
            self._called = True
            self._call()


@dataclass
class Stage:
    """A disk with a volume that has changed since its snapshot."""

    disk: Path
    filler: Filler = field(init=False)
    rows: list[str] = field(default_factory=list)
    bad: int = 0

    def __post_init__(self) -> None:
        self.filler = Filler(self.disk)
        self.data, self.backups = self.disk / "data", self.disk / "backups"
        self.data.mkdir()
        self.backups.mkdir()
        torture.fill(str(self.data / "links.db"), DATABASE)
        (self.data / "upload").write_bytes(os.urandom(300_000))
        self.snapshot = take(self.data, self.backups, release="r1", reason="bench", wait=0).snapshot
        torture.write(str(self.data / "links.db"), rate=1000, seconds=0.1, acknowledge=lambda *_: None)
        self.before = self.content()

    def content(self) -> dict[str, bytes]:
        files = (path for path in self.data.rglob("*") if path.is_file())
        found = {str(path.relative_to(self.data)): path.read_bytes() for path in files}
        return {name: text for name, text in found.items() if not name.startswith(RESTORE_FOLDER)}

    def listed(self) -> set[str]:
        return {path.name for path in self.backups.iterdir() if path.name != store.LOCK}

    def take(self, progress: Progress) -> None:
        take(self.data, self.backups, release="r1", reason="full", wait=0, progress=progress)

    def prepare(self, progress: Progress) -> None:
        restore.prepare(self.data, self.backups, self.snapshot, wait=0, progress=progress)

    def switch(self, progress: Progress) -> None:
        restore.switch(self.data, self.backups, release="r1", wait=0, progress=progress)

    def play(
        self,
        point: str,
        action: Callable[[Progress], None],
        *,
        at: tuple[str, float] = ("", 2),
        call: tuple[object, str, int] | None = None,
        first: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """The disk is full when a phase has got so far, or at the nth call of a function; before all with neither."""
        listed = self.listed()
        first(Progress(None))
        problems: list[str] = []
        told = "nothing"
        with contextlib.ExitStack() as stack:
            if call is not None:
                stack.enter_context(self._full_at(*call))
            elif not at[0]:
                self.filler.fill()
            try:
                action(Watched(*at, self.filler.fill))
                problems.append("no error")
            except Exception as error:
                explained = explain(error)
                told = explained.message
                if explained.code != "full":
                    problems.append(f"not told as a full disk: {error!r}")
        if not self.filler.path.exists():
            problems.append("the disk was never full")
        # What every command does first, and what the orchestrator does after a failed step: with the disk still full.
        try:
            restore.recover(self.data)
        except Exception as error:
            problems.append(f"the way back: {error!r}")
        if self.content() != self.before:
            problems.append("the volume is not as it was")
        more = {name for name in self.listed() - listed if not self._whole(name)}
        if more or (self.data / RESTORE_FOLDER).exists():
            problems.append(f"left over: {sorted(more)}")
        self.filler.empty()
        problems += self._afterwards(listed)
        self.bad += bool(problems)
        self.rows.append(f"| {point} | {told} | {'; '.join(problems) or 'as it was'} |")

    def _whole(self, name: str) -> bool:
        """A safety snapshot that was complete before the disk was full may stay."""
        return any(entry.good and name.startswith(entry.snapshot) for entry in store.entries(self.backups))

    def _afterwards(self, listed: set[str]) -> list[str]:
        """With room again, both work; and all is put back for the next point."""
        try:
            restore.recover(self.data)
            self.take(Progress(None))
            self.prepare(Progress(None))
            self.switch(Progress(None))
            restore.undo(self.data)
        except Exception as error:
            return [f"afterwards: {error!r}"]
        finally:
            for name in self.listed() - listed:
                path = self.backups / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return [] if self.content() == self.before else ["afterwards the volume is not as it was"]

    @contextlib.contextmanager
    def _full_at(self, owner: object, name: str, number: int) -> Iterator[None]:
        real, count = getattr(owner, name), 0

        def call(*arguments: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                self.filler.fill()
            return real(*arguments)

        with mock.patch.object(owner, name, call):
            yield


def full(folder: Path) -> tuple[list[Bound], str]:
    """Every point, and the table of what was told and what became of it."""
    say("full disks")
    try:
        with mock.patch.object(database, "PAGES", PAGES), small_disk(folder) as disk:
            stage = Stage(disk)
            _backup(stage)
            _restore(stage)
    except NotMounted:
        return [Bound("disk full", "not measured: nothing may be mounted here", "all", False)], ""
    count = len(stage.rows)
    figure = "points of backup and restore with a full disk: an error, nothing half listed, the volume as it was"
    return [Bound(figure, f"{count - stage.bad} of {count}", "all", stage.bad == 0)], "\n".join(
        ["| the disk is full | told | volume and snapshots |", "|---|---|---|", *stage.rows]
    )


def _backup(stage: Stage) -> None:
    stage.play("before a backup", stage.take)
    stage.play("at the start of the copy", stage.take, at=("copy", 0))
    stage.play("in the middle of the copy", stage.take, at=("copy", 0.5))
    stage.play("at the start of the archive", stage.take, at=("archive", 0))
    stage.play("in the middle of the archive", stage.take, at=("archive", 0.5))
    stage.play("when the archive is whole but for its manifest", stage.take, at=("archive", 1))
    stage.play("when the manifest beside it is written", stage.take, call=(store, "_write_synced", 1))


def _restore(stage: Stage) -> None:
    note = restore.Place
    stage.play("before a restore", stage.prepare)
    stage.play("in the middle of unpacking", stage.prepare, at=("archive", 0.5))
    stage.play("when the unpacked is noted", stage.prepare, call=(note, "note", 1))
    for point, at in (
        ("in the middle of the safety snapshot's copy", ("copy", 0.5)),
        ("in the middle of its archive", ("archive", 0.5)),
    ):
        stage.play(point, stage.switch, at=at, first=stage.prepare)
    stage.play("when its manifest is written", stage.switch, call=(store, "_write_synced", 1), first=stage.prepare)
    for number, point in enumerate(("saved", "to move", "moved aside", "in place"), 1):
        stage.play(f"when it notes: {point}", stage.switch, call=(note, "note", number), first=stage.prepare)
