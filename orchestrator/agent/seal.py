"""The end of every snapshot, proven or raw: the manifest as the archive's last member, then the commit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.agent import serving, store
from orchestrator.agent.archive import ArchiveWriter
from orchestrator.agent.database import SQLITE_VERSION
from orchestrator.agent.manifest import (
    MANIFEST_MEMBER,
    Database,
    Files,
    Manifest,
    Owner,
    Snapshot,
    format_time,
    snapshot_id,
)

ARCHIVE = "archive"


class Begun:
    """What is known of a snapshot of the volume `source` when it begins; now is its time."""

    def __init__(self, source: Path, release: str, reason: str) -> None:
        self.release, self.reason = release, reason
        self.started, self.created = time.monotonic(), datetime.now(UTC).replace(microsecond=0)
        root = source.stat()
        self.root = Owner(mode=f"{root.st_mode & 0o7777:04o}", uid=root.st_uid, gid=root.st_gid)


@contextmanager
def writing(scratch: Path, advance: Callable[[int], None]) -> Iterator[ArchiveWriter]:
    """An archive in the scratch folder; given up unless it is sealed."""
    with ExitStack() as stack:
        sums = stack.enter_context((scratch / "sums").open("w+b"))
        writer = ArchiveWriter(scratch / ARCHIVE, sums, advance)
        stack.callback(writer.abandon)
        yield writer


def seal(
    writer: ArchiveWriter,
    scratch: Path,
    backups: Path,
    begun: Begun,
    *,
    databases: tuple[Database, ...],
    files: Files,
    warnings: tuple[str, ...],
    raw: bool = False,
) -> Snapshot:
    """Ends the archive and commits it: on the disk, and listed, when this returns."""
    manifest = Manifest(
        created=format_time(begun.created),
        release=begun.release,
        reason=begun.reason,
        sqlite=SQLITE_VERSION,
        engine=serving.read(backups).engine,
        root=begun.root,
        databases=databases,
        files=files,
        warnings=warnings,
        seconds=round(time.monotonic() - begun.started, 3),
        raw=raw,
    )
    writer.add_text(MANIFEST_MEMBER, json.dumps(manifest.to_dict(), indent=1) + "\n")
    written, sha256 = writer.finish()
    snapshot = Snapshot(snapshot=snapshot_id(begun.created, sha256), bytes=written, sha256=sha256, manifest=manifest)
    store.commit(backups, scratch / ARCHIVE, snapshot)
    return snapshot
