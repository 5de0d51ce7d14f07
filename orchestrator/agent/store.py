"""The folder of snapshots: its lock, its scratch, the commit, the listing, the removal, and what a killed run left."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from orchestrator.agent.errors import ROOM, AgentError
from orchestrator.agent.manifest import (
    ARCHIVE_SUFFIX,
    PART_SUFFIX,
    SIDECAR_SUFFIX,
    Entry,
    ManifestError,
    Snapshot,
    created_of,
    format_time,
    is_snapshot_id,
)
from orchestrator.agent.manifest_parse import parse_snapshot

LOCK = ".lock"
#: Held by whoever copies to or from elsewhere, for as long as the network takes.
TRANSFER_LOCK = ".transfer.lock"
RESERVE = 32 * 1024 * 1024
_COMMITTING = SIDECAR_SUFFIX + PART_SUFFIX


def archive_path(folder: Path, snapshot: str) -> Path:
    return folder / (snapshot + ARCHIVE_SUFFIX)


def sidecar_path(folder: Path, snapshot: str) -> Path:
    return folder / (snapshot + SIDECAR_SUFFIX)


@contextmanager
def locked(folder: Path, *, wait: float, purpose: str) -> Iterator[None]:
    """The folder's exclusive lock; waits up to `wait` seconds, then raises AgentError (busy) that names the holder.

    Whoever gets it finds the folder without a killed run's remains.
    """
    with exclusive(folder, LOCK, wait=wait, purpose=purpose):
        clean(folder)
        yield


@contextmanager
def exclusive(folder: Path, name: str, *, wait: float, purpose: str) -> Iterator[None]:
    """One of the folder's locks. It is the kernel's and dies with its owner; the text in it only says who that is."""
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise _busy(descriptor) from None
                time.sleep(0.1)
        owner = {"purpose": purpose, "pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _busy(descriptor: int) -> AgentError:
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
        who = f"{owner['purpose']} (process {owner['pid']} in {owner['host']}, since {owner['since']})"
    except (ValueError, KeyError, TypeError):
        who = "another run"
    return AgentError(
        f"The backups are in use by {who}.", hint="Wait until it has finished, or give a longer --wait.", code="busy"
    )


def _now() -> str:
    return format_time(datetime.now(UTC))


def clean(folder: Path) -> None:
    """Removes what a killed run left; only while holding the lock.

    `<id>.json.part` marks a commit or a removal that was not finished: unless `<id>.json` stands, its archive goes too.
    """
    for path in list(folder.iterdir()):
        if not path.name.endswith(PART_SUFFIX):
            continue
        snapshot = path.name.removesuffix(_COMMITTING)
        if is_snapshot_id(snapshot) and not sidecar_path(folder, snapshot).exists():
            archive_path(folder, snapshot).unlink(missing_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder beside the snapshots, so that a finished archive is only renamed; gone afterwards, whatever happens."""
    path = Path(tempfile.mkdtemp(prefix=".scratch-", suffix=PART_SUFFIX, dir=folder))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def check_space(folder: Path, needed: int) -> None:
    """Raises AgentError (full) unless `needed` bytes and a reserve are free: the live data may share the disk."""
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if free < needed + RESERVE:
        raise AgentError(
            f"There is not enough space for this: it may need {_mib(needed + RESERVE)}, and {_mib(free)} are free.",
            hint=f"{ROOM}.",
            code="full",
        )


def _mib(count: int) -> str:
    return f"{count / 1048576:.0f} MiB"


def commit(folder: Path, archive: Path, snapshot: Snapshot) -> None:
    """Makes a closed and synced archive a snapshot. Nothing is overwritten; after a failure nothing is left."""
    target, sidecar = archive_path(folder, snapshot.snapshot), sidecar_path(folder, snapshot.snapshot)
    if sidecar.exists() and same(_entry(folder, snapshot.snapshot), snapshot):
        return  # the same data twice within a second, or back from a remote: the same snapshot
    if target.exists() or sidecar.exists():
        raise AgentError(f"There is a snapshot {snapshot.snapshot} already.")
    mark = folder / (snapshot.snapshot + _COMMITTING)
    try:
        _write_synced(mark, snapshot)
        archive.rename(target)
        sync_folder(folder)
        mark.rename(sidecar)
        sync_folder(folder)
    except BaseException:
        sidecar.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
        mark.unlink(missing_ok=True)
        raise


def same(entry: Entry, snapshot: Snapshot) -> bool:
    """Whether a good entry is of the same data; what was learned later of either does not count."""
    detail = entry.detail
    if entry.error or detail is None:
        return False
    return (detail.bytes, detail.sha256, detail.manifest) == (snapshot.bytes, snapshot.sha256, snapshot.manifest)


def rewrite(folder: Path, snapshot: Snapshot) -> None:
    """Replaces a snapshot's sidecar in one step, to add what was learned later."""
    mark = folder / (snapshot.snapshot + _COMMITTING)
    try:
        _write_synced(mark, snapshot)
        mark.rename(sidecar_path(folder, snapshot.snapshot))
    except BaseException:
        mark.unlink(missing_ok=True)
        raise
    sync_folder(folder)


def remove(folder: Path, snapshot: str) -> None:
    """Removes a snapshot, the mark of the commit first: killed halfway, the next run ends the removal."""
    mark = folder / (snapshot + _COMMITTING)
    sidecar_path(folder, snapshot).rename(mark)
    sync_folder(folder)
    archive_path(folder, snapshot).unlink(missing_ok=True)
    mark.unlink()
    sync_folder(folder)


def _write_synced(path: Path, snapshot: Snapshot) -> None:
    with path.open("x", encoding="ascii") as file:
        json.dump(snapshot.to_dict(), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def digest(path: Path) -> str:
    """A file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(file: BinaryIO) -> None:
    """What was written to the file is on the disk."""
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(folder: Path, snapshot: str) -> Snapshot:
    """One committed snapshot; raises AgentError (code missing or damaged)."""
    if not is_snapshot_id(snapshot) or not (
        sidecar_path(folder, snapshot).exists() or archive_path(folder, snapshot).exists()
    ):
        raise AgentError(
            f"There is no snapshot {snapshot!r}.", hint="`backups` lists those that are there.", code="missing"
        )
    entry = _entry(folder, snapshot)
    if entry.detail is None or entry.error:
        raise AgentError(f"Snapshot {snapshot} is not usable: {entry.error}.", code="damaged")
    return entry.detail


def entries(folder: Path) -> tuple[Entry, ...]:
    """All snapshots, newest first, the broken ones with their error."""
    names = set()
    for path in folder.iterdir():
        for suffix in (SIDECAR_SUFFIX, ARCHIVE_SUFFIX):
            name = path.name.removesuffix(suffix)
            if name != path.name and is_snapshot_id(name):
                names.add(name)
    return tuple(_entry(folder, name) for name in sorted(names, reverse=True))


def _entry(folder: Path, name: str) -> Entry:
    created = created_of(name) or datetime.min.replace(tzinfo=UTC)
    try:
        detail = parse_snapshot(json.loads(sidecar_path(folder, name).read_bytes()))
    except FileNotFoundError:
        return Entry(snapshot=name, created=created, error="its manifest is missing: it was never finished")
    except (OSError, ManifestError, ValueError, RecursionError) as error:
        return Entry(snapshot=name, created=created, error=f"its manifest cannot be read ({error})")
    if detail.snapshot != name:
        return Entry(snapshot=name, created=created, error="its manifest belongs to another snapshot")
    try:
        size = archive_path(folder, name).stat().st_size
    except OSError:
        return Entry(snapshot=name, detail=detail, created=created, error="its archive is missing")
    wrong = "" if size == detail.bytes else f"its archive has {size} bytes instead of {detail.bytes}"
    return Entry(snapshot=name, detail=detail, created=created, error=wrong)
