"""Takes one snapshot: copy every database, prove and archive the copies, archive the other files, commit."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import BinaryIO

from orchestrator.agent import store
from orchestrator.agent.archive import ArchiveWriter
from orchestrator.agent.database import Facts, copy_database, remove_copy
from orchestrator.agent.errors import AgentError
from orchestrator.agent.events import Progress
from orchestrator.agent.manifest import (
    Database,
    Files,
    Snapshot,
)
from orchestrator.agent.proving import proving
from orchestrator.agent.seal import Begun, seal, writing
from orchestrator.agent.source import (
    Access,
    Found,
    Survey,
    check_filesystem,
    check_settled,
    is_sidecar,
    read_header,
    survey,
    walk,
)

NAMED = 10
SLOW_LOCK = 1.0


def take(
    source: Path, backups: Path, *, release: str, reason: str, wait: float, progress: Progress | None = None
) -> Snapshot:
    """Takes a snapshot of `source` into `backups` and returns it once it is committed and on the disk.

    Raises AgentError, OSError or one of SQLite's errors; then nothing of it is left in `backups`.
    """
    for folder in (source, backups):
        if not folder.is_dir():
            raise AgentError(f"{folder} is not a folder.", hint="Is the volume mounted there?", code="usage")
    return _Run(source.absolute(), backups.absolute(), progress or Progress(None)).take(release, reason, wait)


class _Run:
    def __init__(self, source: Path, backups: Path, progress: Progress) -> None:
        self.source, self.backups, self.progress = source, backups, progress
        self.warnings: list[str] = []

    def take(self, release: str, reason: str, wait: float) -> Snapshot:
        with store.locked(self.backups, wait=wait, purpose=f"a snapshot ({reason})"):
            check_filesystem(self.source)
            check_settled(self.source)
            there = survey(self.source)
            if not there.databases:
                raise AgentError(
                    "There is no SQLite database on the volume.",
                    hint="The app makes it at its first start; is the right volume mounted?",
                    code="empty",
                )
            size = sum(found.bytes for found in there.databases)
            # The copies and an archive that did not shrink are there at the same time.
            store.check_space(self.backups, 2 * size + there.other_bytes)
            if there.skipped:
                self.warnings.append(f"{there.skipped} symbolic links or special files were left out")
            with store.scratch(self.backups) as scratch:
                return self._take(scratch, there, size, release, reason)

    def _take(self, scratch: Path, there: Survey, size: int, release: str, reason: str) -> Snapshot:
        begun = Begun(self.source, release, reason)
        self.progress.begin("copy", size)
        ways = [self._copy(found, scratch / f"{index}.db") for index, found in enumerate(there.databases)]
        self.progress.end()
        with writing(scratch, self.progress.advance) as writer:
            databases, files = self._fill(writer, scratch, there, ways)
            warnings = tuple(self.warnings)
            made = seal(writer, scratch, self.backups, begun, databases=databases, files=files, warnings=warnings)
        self.progress.end()
        return made

    def _copy(self, found: Found, target: Path) -> Access:
        started = time.monotonic()
        access = copy_database(self.source / found.path, target, self.progress.advance)
        seconds = time.monotonic() - started
        if access == "live" and seconds > SLOW_LOCK and not read_header(target).wal_mode:
            self.warnings.append(f"{found.path} is not in WAL mode: its writers had to wait {seconds:.1f} s")
        return access

    def _warn_about(self, path: str, facts: Facts) -> None:
        if facts.foreign_key_violations is None:
            self.warnings.append(f"{path}: SQLite cannot check its foreign keys (a parent key is missing)")
        elif facts.foreign_key_violations:
            self.warnings.append(f"{path} has {facts.foreign_key_violations} rows whose foreign keys point nowhere")

    def _fill(
        self, writer: ArchiveWriter, scratch: Path, there: Survey, ways: list[Access]
    ) -> tuple[tuple[Database, ...], Files]:
        copies = [scratch / f"{index}.db" for index in range(len(ways))]
        self.progress.begin("archive", sum(copy.stat().st_size for copy in copies) + there.other_bytes)
        databases = []
        for found, copy, way in zip(there.databases, copies, ways, strict=True):
            with copy.open("rb", buffering=0) as file, proving(copy, found.path, self.progress.advance) as proven:
                size = copy.stat().st_size
                sha256, short = writer.add_file(found.path, file, size, found.info)
                fact = proven()
            self._warn_about(found.path, fact)
            if short:
                raise AgentError(f"The copy of {found.path} shrank while it was archived.", code="damaged")
            remove_copy(copy)
            databases.append(_describe(found, fact, way, size, sha256))
        # Uploads after the databases: a row that names a file then finds it.
        count, size = self._add_others(writer, {found.path for found in there.databases})
        return tuple(databases), Files(count=count, bytes=size, sha256=writer.add_sums())

    def _add_others(self, writer: ArchiveWriter, done: set[str]) -> tuple[int, int]:
        count = total = 0
        changed: list[str] = []
        for item in walk(self.source):
            if item is None or item.path in done:
                continue
            if item.is_dir:
                writer.add_folder(item.path, item.info)
                continue
            path = self.source / item.path
            try:
                if is_sidecar(path):
                    continue
                if read_header(path).sqlite:
                    self.warnings.append(f"{item.path} appeared during the snapshot; the next one has it")
                    continue
                with _open_plain(path) as file:
                    before = os.fstat(file.fileno())
                    _, short = writer.add_file(item.path, file, before.st_size, before)
                    after = os.fstat(file.fileno())
            except FileNotFoundError:
                continue
            count, total = count + 1, total + before.st_size
            if short or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                changed.append(item.path) if len(changed) < NAMED else None
        if changed:
            self.warnings.append(f"written to while they were archived: {', '.join(map(ascii, changed))}")
        return count, total


def _open_plain(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)


def _describe(found: Found, facts: Facts, way: Access, size: int, sha256: str) -> Database:
    return Database(
        path=found.path,
        bytes=size,
        sha256=sha256,
        integrity="ok",
        foreign_key_violations=facts.foreign_key_violations,
        user_version=facts.user_version,
        application_id=facts.application_id,
        journal_mode=facts.journal_mode,
        page_size=facts.page_size,
        tables=facts.tables,
        mode=f"{found.info.st_mode & 0o7777:04o}",
        uid=found.info.st_uid,
        gid=found.info.st_gid,
        read=way,
    )
