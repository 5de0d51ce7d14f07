"""Proves a committed snapshot by reading all of it again: checksums, then each database unpacked and checked."""

from __future__ import annotations

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
from orchestrator.agent.archive import CHUNK, DAMAGE, SYNC_EVERY, Readable, open_archive, sum_line
from orchestrator.agent.database import check_database
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
    parse_manifest,
)


def verify(backups: Path, snapshot: str, *, wait: float, progress: Progress | None = None) -> dict[str, Any]:
    """Returns the fields of the `done` event and notes the time in the sidecar. Raises AgentError (code damaged)."""
    progress = progress or Progress(None)
    started = time.monotonic()
    with store.locked(backups, wait=wait, purpose=f"verify {snapshot}"):
        told = store.load(backups, snapshot)
        path = store.archive_path(backups, snapshot)
        _check_archive(path, told, progress)
        size = sum(database.bytes for database in told.manifest.databases)
        store.check_space(backups, size)
        with store.scratch(backups) as scratch:
            progress.begin("archive", size + told.manifest.files.bytes)
            try:
                with path.open("rb") as file:
                    _Reading(told, scratch, progress.advance).run(file)
            except DAMAGE as error:
                raise _bad(told, f"the archive cannot be unpacked ({error})") from error
            progress.end()
            progress.begin("check", size)
            for index, database in enumerate(told.manifest.databases):
                _check_database(told, database, scratch / f"{index}.db", progress.advance)
            progress.end()
        verified = format_time(datetime.now(UTC))
        store.rewrite(backups, replace(told, verified=verified))
    return {
        "ok": True,
        "snapshot": snapshot,
        "bytes": told.bytes,
        "sha256": told.sha256,
        "release": told.manifest.release,
        "verified": verified,
        "databases": [
            {"path": one.path, "integrity": "ok", "rows": sum(one.tables.values())} for one in told.manifest.databases
        ],
        "files": told.manifest.files.count,
        "seconds": round(time.monotonic() - started, 3),
    }


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
    path.unlink()


@dataclass
class _Reading:
    """One pass over the archive. Hashes every part, unpacks the databases under names of our own, and holds the sums
    and the manifest inside against what was read and what is told beside the archive."""

    told: Snapshot
    scratch: Path
    advance: Callable[[int], None]
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
                    continue
                if self.manifest_ok:
                    raise _bad(self.told, "its archive goes on after the manifest")
                if member.name == SUMS_MEMBER:
                    self._compare_sums(sums, content)
                elif member.name == MANIFEST_MEMBER:
                    self._compare_manifest(content, member)
                elif member.name in index:
                    number, database = index[member.name]
                    with (self.scratch / f"{number}.db").open("xb") as copy:
                        sha256 = self._hash(content, copy)
                    if sha256 != database.sha256 or member.size != database.bytes:
                        raise _bad(
                            self.told, f"{database.path} in its archive does not have the sha256 of the manifest"
                        )
                    self.seen.add(member.name)
                    sums.write(sum_line(sha256, member.name))
                else:
                    sums.write(sum_line(self._hash(content, None), member.name))
                    self.count, self.bytes = self.count + 1, self.bytes + member.size
        missing = [one.path for name, (_, one) in index.items() if name not in self.seen]
        if missing:
            raise _bad(self.told, f"its archive lacks {', '.join(missing)}")
        if not self.manifest_ok or not self.sums_ok:
            raise _bad(self.told, "its archive ends without sums or manifest")
        if (self.count, self.bytes) != (self.told.manifest.files.count, self.told.manifest.files.bytes):
            raise _bad(self.told, "its archive does not hold the files that the manifest counts")

    def _hash(self, content: Readable, copy: BinaryIO | None) -> str:
        digest, unsynced = hashlib.sha256(), 0
        while data := content.read(CHUNK):
            digest.update(data)
            self.advance(len(data))
            if copy is not None:
                copy.write(data)
                unsynced += len(data)
                if unsynced >= SYNC_EVERY:
                    copy.flush()
                    os.fdatasync(copy.fileno())
                    unsynced = 0
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
