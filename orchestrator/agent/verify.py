"""Proves a committed snapshot by reading all of it again: checksums, then each database unpacked and checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.agent import store
from orchestrator.agent.archive import CHUNK, DAMAGE, Readable, open_archive, sum_line
from orchestrator.agent.database import check_database, remove_copy
from orchestrator.agent.errors import AgentError
from orchestrator.agent.events import Progress
from orchestrator.agent.manifest import (
    DATA_PREFIX,
    MANIFEST_MEMBER,
    SUMS_MEMBER,
    Database,
    ManifestError,
    Snapshot,
    format_time,
)
from orchestrator.agent.manifest_parse import parse_manifest
from orchestrator.agent.syncing import syncing


def verify(backups: Path, snapshot: str, *, wait: float, progress: Progress | None = None) -> dict[str, Any]:
    """Returns the fields of the `done` event and notes the time in the sidecar. Raises AgentError (code damaged)."""
    progress = progress or Progress(None)
    started = time.monotonic()
    with store.locked(backups, wait=wait, purpose=f"verify {snapshot}"):
        told = store.load(backups, snapshot)
        store.check_space(backups, sum(database.bytes for database in told.manifest.databases))
        with store.scratch(backups) as scratch:
            _prove(backups, told, scratch, None, progress)
        told = replace(told, verified=format_time(datetime.now(UTC)))
        store.rewrite(backups, told)
    return {**proven(told), "seconds": round(time.monotonic() - started, 3)}


def proven(told: Snapshot) -> dict[str, Any]:
    """What is said of a snapshot that has just been proven."""
    return {
        "ok": True,
        "snapshot": told.snapshot,
        "bytes": told.bytes,
        "sha256": told.sha256,
        "release": told.manifest.release,
        "verified": told.verified,
        "databases": [
            {"path": one.path, "integrity": "ok", "rows": sum(one.tables.values())} for one in told.manifest.databases
        ],
        "files": told.manifest.files.count,
    }


def unpack(backups: Path, told: Snapshot, target: Path, progress: Progress) -> list[str]:
    """Proves a snapshot while it is unpacked into an empty folder, every file on the disk; returns warnings.

    Raises AgentError (code damaged), with the folder in whatever state.
    """
    with store.scratch(backups) as scratch:
        reading = _prove(backups, told, scratch, target, progress)
    for folder, mode in reversed(reading.folders):
        folder.chmod(mode)
        store.sync_folder(folder)
    return reading.warnings


def _prove(backups: Path, told: Snapshot, scratch: Path, into: Path | None, progress: Progress) -> _Reading:
    path = store.archive_path(backups, told.snapshot)
    _check_archive(path, told, progress)
    size = sum(database.bytes for database in told.manifest.databases)
    progress.begin("archive", size + told.manifest.files.bytes)
    reading = _Reading(told, scratch, progress.advance, into)
    try:
        with path.open("rb") as file:
            reading.run(file)
    except DAMAGE as error:
        raise _bad(told, f"the archive cannot be unpacked ({error})") from error
    progress.end()
    progress.begin("check", size)
    for index, database in enumerate(told.manifest.databases):
        copy = scratch / f"{index}.db" if into is None else into / database.path
        _check_database(told, database, copy, progress.advance)
        if into is None:
            remove_copy(copy)
    progress.end()
    return reading


def _bad(told: Snapshot, reason: str) -> AgentError:
    return AgentError(
        f"Snapshot {told.snapshot} is not good: {reason}.", hint="Use another snapshot; take a new one.", code="damaged"
    )


def _check_archive(path: Path, told: Snapshot, progress: Progress) -> None:
    """The whole file's sha256 first: nothing is unpacked from an archive that changed since it was written."""
    progress.begin("check", told.bytes)
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while data := file.read(CHUNK):
            digest.update(data)
            progress.advance(len(data))
    progress.end()
    if digest.hexdigest() != told.sha256:
        raise _bad(told, "the sha256 of its archive is not the one it was written with")


def _check_database(told: Snapshot, database: Database, path: Path, advance: Callable[[int], None]) -> None:
    facts = check_database(path, database.path, advance)
    found = {
        "rows": facts.tables,
        "user_version": facts.user_version,
        "application_id": facts.application_id,
        "journal mode": facts.journal_mode,
        "foreign key violations": facts.foreign_key_violations,
    }
    expected = {
        "rows": database.tables,
        "user_version": database.user_version,
        "application_id": database.application_id,
        "journal mode": database.journal_mode,
        "foreign key violations": database.foreign_key_violations,
    }
    different = [name for name in found if found[name] != expected[name]]
    if different:
        raise _bad(told, f"{database.path} differs from its manifest in {', '.join(different)}")


@dataclass
class _Reading:
    """One pass over the archive. Hashes every part, and holds the sums and the manifest inside against what was read
    and what is told beside the archive. Unpacks the databases under names of our own, or everything into `into` under
    its own name, with owner and mode."""

    told: Snapshot
    scratch: Path
    advance: Callable[[int], None]
    into: Path | None = None
    folders: list[tuple[Path, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    count: int = 0
    bytes: int = 0
    sums_ok: bool = False
    manifest_ok: bool = False

    def run(self, file: BinaryIO) -> None:
        index = {DATA_PREFIX + one.path: (number, one) for number, one in enumerate(self.told.manifest.databases)}
        with (self.scratch / "sums").open("w+b") as sums, open_archive(file) as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    if self.into is not None and member.isdir():
                        self._make_folder(member)
                    continue
                if self.manifest_ok:
                    raise _bad(self.told, "its archive goes on after the manifest")
                if member.name == SUMS_MEMBER:
                    self._compare_sums(sums, content)
                elif member.name == MANIFEST_MEMBER:
                    self._compare_manifest(content, member)
                elif member.name in index:
                    number, database = index[member.name]
                    target = self._target(member) or self.scratch / f"{number}.db"
                    # Databases come before the folders that they are in.
                    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    sha256 = self._hash(content, target)
                    self._own(member)
                    if sha256 != database.sha256 or member.size != database.bytes:
                        raise _bad(
                            self.told, f"{database.path} in its archive does not have the sha256 of the manifest"
                        )
                    self.seen.add(member.name)
                    sums.write(sum_line(sha256, member.name))
                else:
                    sums.write(sum_line(self._hash(content, self._target(member)), member.name))
                    self._own(member)
                    self.count, self.bytes = self.count + 1, self.bytes + member.size
        missing = [one.path for name, (_, one) in index.items() if name not in self.seen]
        if missing:
            raise _bad(self.told, f"its archive lacks {', '.join(missing)}")
        if not self.manifest_ok or not self.sums_ok:
            raise _bad(self.told, "its archive ends without sums or manifest")
        if (self.count, self.bytes) != (self.told.manifest.files.count, self.told.manifest.files.bytes):
            raise _bad(self.told, "its archive does not hold the files that the manifest counts")

    def _target(self, member: tarfile.TarInfo) -> Path | None:
        """Where a member goes; never outside of `into`."""
        if self.into is None:
            return None
        path = member.name.removeprefix(DATA_PREFIX)
        if path == member.name or any(part in {"", ".", ".."} for part in path.split("/")):
            raise _bad(self.told, f"its archive holds {member.name!r}, which is not inside the volume")
        return self.into / path

    def _make_folder(self, member: tarfile.TarInfo) -> None:
        if member.name.rstrip("/") == DATA_PREFIX.rstrip("/"):
            return
        path = self._target(member)
        if path is not None:
            path.mkdir(mode=0o700, exist_ok=True)
            # Its own mode at the end: it may be one that lets nothing be written.
            self.folders.append((path, member.mode & 0o7777))
            self._own(member)

    def _own(self, member: tarfile.TarInfo) -> None:
        path = self._target(member)
        if path is None:
            return
        if member.isreg():
            path.chmod(member.mode & 0o7777)
            os.utime(path, (member.mtime, member.mtime))
        info = path.stat()
        if (info.st_uid, info.st_gid) != (member.uid, member.gid):
            try:
                os.chown(path, member.uid, member.gid)
            except PermissionError:
                self.warnings.append(f"{path.name} belonged to {member.uid}:{member.gid}, now to {info.st_uid}")

    def _hash(self, content: Readable, copy: Path | None) -> str:
        """The content's sha256; with `copy`, it is written there and on the disk."""
        digest = hashlib.sha256()
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(copy.open("xb")) if copy is not None else None
            syncer = stack.enter_context(syncing(file.fileno())) if file is not None else None
            while data := content.read(CHUNK):
                digest.update(data)
                self.advance(len(data))
                if file is not None and syncer is not None:
                    file.write(data)
                    syncer.wrote(len(data))
            if file is not None and syncer is not None:
                file.flush()
                syncer.finish()
        return digest.hexdigest()

    def _compare_sums(self, sums: BinaryIO, content: Readable) -> None:
        sums.flush()
        size = sums.tell()
        sums.seek(0)
        digest, read = hashlib.sha256(), 0
        while data := content.read(CHUNK):
            digest.update(data)
            read += len(data)
            if sums.read(len(data)) != data:
                raise _bad(self.told, f"a file in its archive does not have the sha256 that {SUMS_MEMBER} has for it")
        if read != size or digest.hexdigest() != self.told.manifest.files.sha256:
            raise _bad(self.told, f"{SUMS_MEMBER} in its archive is not the one of the manifest")
        self.sums_ok = True

    def _compare_manifest(self, content: Readable, member: tarfile.TarInfo) -> None:
        try:
            inside = parse_manifest(json.loads(content.read(member.size)))
        except (ManifestError, ValueError) as error:
            raise _bad(self.told, f"the manifest in its archive cannot be read ({error})") from error
        if inside != self.told.manifest:
            raise _bad(self.told, "the manifest beside its archive differs from the one inside")
        self.manifest_ok = True
