"""Brings a snapshot back to its volume, so that at any moment all is old or all is new, or a later run makes it so.

`prepare` unpacks and proves it beside the live files; `switch`, when nobody has the volume mounted any more, saves what
is there now and changes the files by renames alone; `finish` lets go of the old ones, `undo` brings them back. A
journal says how far it got; `recover` ends what a killed run left.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.agent import store
from orchestrator.agent.errors import AgentError
from orchestrator.agent.events import Progress
from orchestrator.agent.raw import take_raw
from orchestrator.agent.snapshot import take
from orchestrator.agent.source import JOURNAL, REPLICA_FOLDER, RESTORE_FOLDER
from orchestrator.agent.verify import unpack

#: In order. Up to SAVED nothing of the volume has changed; from DONE on there is no way back.
PREPARED, SAVED, MOVING, PLACING, PLACED, DONE = "prepared", "saved", "moving", "placing", "placed", "done"
#: Of the way back: what was placed goes away, then what was moved comes back.
CLEARING, RETURNING = "clearing", "returning"
#: Bytes kept free for the way back and the end: their notes and folders need some, also where another program has
#: filled the disk meanwhile.
SPARE = 256 * 1024
#: What a file system keeps at its root for itself.
NOT_OURS = frozenset({RESTORE_FOLDER, "lost+found"})


@dataclass(frozen=True)
class Journal:
    """`safety` is the snapshot of what was there before; "" where there was nothing, or before it was taken."""

    snapshot: str
    phase: str
    safety: str = ""
    raw: bool = False


class Place:
    """The folder of a restore on its volume."""

    def __init__(self, source: Path) -> None:
        self.root = source
        self.folder = source / RESTORE_FOLDER
        self.new, self.old, self.rejected = (self.folder / name for name in ("new", "old", "rejected"))
        self.spare = self.folder / "spare"

    def journal(self) -> Journal | None:
        """How far a restore got; None when there is none under way."""
        try:
            document = json.loads((self.folder / JOURNAL).read_text(encoding="ascii"))
            return Journal(**document)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise AgentError(
                f"The journal of a restore cannot be read ({error}).",
                hint=f"Look at {RESTORE_FOLDER}/old and {RESTORE_FOLDER}/new on the volume before anything else.",
                code="damaged",
            ) from error

    def note(self, journal: Journal) -> Journal:
        """On the disk before it returns."""
        part = self.folder / f"{JOURNAL}.part"
        with part.open("w", encoding="ascii") as file:
            json.dump(asdict(journal), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.folder / JOURNAL)
        store.sync_folder(self.folder)
        return journal

    def keep_spare(self) -> None:
        with self.spare.open("wb") as file:
            file.write(os.urandom(SPARE))
            file.flush()
            os.fsync(file.fileno())

    def use_spare(self) -> None:
        self.spare.unlink(missing_ok=True)

    def clear(self) -> None:
        """The journal last: without it what is left here means nothing."""
        for folder in (self.new, self.old, self.rejected, self.folder):
            if folder.exists():
                shutil.rmtree(folder)
        store.sync_folder(self.root)

    def move(self, origin: Path, target: Path) -> None:
        """Everything in a folder by renames; what was moved by an earlier, killed run is simply not there any more."""
        target.mkdir(mode=0o700, exist_ok=True)
        for path in sorted(origin.iterdir()):
            if origin != self.root or path.name not in NOT_OURS:
                path.rename(target / path.name)
        for folder in (origin, target):
            store.sync_folder(folder)


@contextmanager
def preparing(place: Place, backups: Path, what: str, *, wait: float) -> Iterator[None]:
    """For whoever fills `place.new`, and then begins the journal: an empty folder beside the live files, gone again
    after any error. Raises AgentError (busy) where a restore is under way."""
    if (journal := place.journal()) is not None and journal.phase != PREPARED:
        raise AgentError(
            f"A restore of {journal.snapshot} was begun and did not end ({journal.phase}).",
            hint="Let `recover` end it first.",
            code="busy",
        )
    with store.locked(backups, wait=wait, purpose=f"restore of {what}"):
        place.clear()
        place.folder.mkdir(mode=0o700)
        place.new.mkdir(mode=0o700)
        try:
            yield
        except BaseException:
            place.clear()
            raise


def prepare(
    source: Path, backups: Path, snapshot: str, *, wait: float, progress: Progress | None = None
) -> dict[str, Any]:
    """Unpacks the snapshot beside the live files and proves it; changes nothing else. Raises AgentError."""
    place = Place(source.absolute())
    with preparing(place, backups, f"snapshot {snapshot}", wait=wait):
        told = store.load(backups, snapshot)
        manifest = told.manifest
        store.check_space(place.root, sum(one.bytes for one in manifest.databases) + manifest.files.bytes)
        warnings = unpack(backups, told, place.new, progress or Progress(None))
        place.keep_spare()
        place.note(Journal(snapshot, PREPARED, raw=manifest.raw))
    return {
        "snapshot": snapshot,
        "created": manifest.created,
        "release": manifest.release,
        "databases": [database.path for database in manifest.databases],
        "rows": sum(sum(database.tables.values()) for database in manifest.databases),
        "files": manifest.files.count,
        "warnings": warnings,
    }


def switch(
    source: Path, backups: Path, *, release: str, wait: float, progress: Progress | None = None
) -> dict[str, Any]:
    """Saves what is there, then puts the prepared files in its place. Nobody may be writing to the volume."""
    place = Place(source.absolute())
    journal = _under_way(place)
    if journal.phase == PREPARED:
        safety = _save(place.root, backups, release, wait, progress or Progress(None))
        journal = place.note(replace(journal, phase=SAVED, safety=safety))
    if journal.phase == SAVED:
        journal = place.note(replace(journal, phase=MOVING))
    if journal.phase == MOVING:
        place.move(place.root, place.old)
        journal = place.note(replace(journal, phase=PLACING))
    if journal.phase == PLACING:
        place.move(place.new, place.root)
        journal = place.note(replace(journal, phase=PLACED))
    if journal.phase != PLACED:
        raise AgentError(f"The restore of {journal.snapshot} is on its way back ({journal.phase}).", code="busy")
    return {"snapshot": journal.snapshot, "safety_snapshot": journal.safety}


def _under_way(place: Place) -> Journal:
    journal = place.journal()
    if journal is None:
        raise AgentError("No restore is under way on this volume.", code="missing")
    return journal


def _save(root: Path, backups: Path, release: str, wait: float, progress: Progress) -> str:
    """The id of a snapshot of what is there now: proven if it can be, else raw; "" where there is nothing."""
    if not any(path.name not in NOT_OURS | {REPLICA_FOLDER} for path in root.iterdir()):
        return ""
    try:
        taken = take(root, backups, release=release, reason="before-restore", wait=wait, progress=progress)
    except AgentError as error:
        if error.code not in ("damaged", "empty"):
            raise
        taken = take_raw(
            root, backups, release=release, reason="before-restore", warning=error.message, wait=wait, progress=progress
        )
    return taken.snapshot


def undo(source: Path) -> dict[str, Any]:
    """Everything as it was before `switch`, whatever was reached."""
    place = Place(source.absolute())
    journal = _under_way(place)
    if journal.phase == DONE:
        raise AgentError(
            f"The restore of {journal.snapshot} has ended.", hint=f"Restore {journal.safety} instead.", code="usage"
        )
    place.use_spare()
    if journal.phase == MOVING:
        journal = place.note(replace(journal, phase=RETURNING))
    if journal.phase in (PLACING, PLACED):
        journal = place.note(replace(journal, phase=CLEARING))
    if journal.phase == CLEARING:
        place.move(place.root, place.rejected)
        journal = place.note(replace(journal, phase=RETURNING))
    if journal.phase == RETURNING and place.old.exists():
        place.move(place.old, place.root)
    place.clear()
    return {"snapshot": journal.snapshot, "safety_snapshot": journal.safety, "result": "undone"}


def finish(source: Path) -> dict[str, Any]:
    """Lets go of the old files: they are in the safety snapshot."""
    place = Place(source.absolute())
    journal = _under_way(place)
    if journal.phase not in (PLACED, DONE):
        raise AgentError(f"The restore of {journal.snapshot} has not got that far ({journal.phase}).", code="usage")
    place.use_spare()
    place.note(replace(journal, phase=DONE))
    place.clear()
    return {"snapshot": journal.snapshot, "safety_snapshot": journal.safety, "result": "restored"}


def recover(source: Path) -> dict[str, Any]:
    """Ends what a killed run left: forward once its success was noted, else back. `result` is "restored", "undone" or
    "nothing"."""
    place = Place(source.absolute())
    journal = place.journal()
    if journal is None:
        if place.folder.exists():
            place.clear()
        return {"snapshot": "", "safety_snapshot": "", "result": "nothing"}
    ended: Callable[[Path], dict[str, Any]] = finish if journal.phase == DONE else undo
    return ended(source)
