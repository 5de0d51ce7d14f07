"""Keeps the files of a volume as they are, where no snapshot can be proven: a damaged database, or none at all."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.agent import store
from orchestrator.agent.archive import ArchiveWriter
from orchestrator.agent.database import SQLITE_VERSION
from orchestrator.agent.events import Progress
from orchestrator.agent.manifest import (
    MANIFEST_MEMBER,
    Files,
    Manifest,
    Owner,
    Snapshot,
    format_time,
    snapshot_id,
)
from orchestrator.agent.source import walk


def take_raw(
    source: Path, backups: Path, *, release: str, reason: str, warning: str, wait: float, progress: Progress
) -> Snapshot:
    """Every file, logs of databases too, byte by byte. Right only while nobody writes. Raises AgentError or OSError."""
    with store.locked(backups, wait=wait, purpose="keeping damaged data"), store.scratch(backups) as scratch:
        started, created = time.monotonic(), datetime.now(UTC).replace(microsecond=0)
        items = [item for item in walk(source) if item is not None]
        size = sum(item.info.st_size for item in items if not item.is_dir)
        store.check_space(backups, size)
        root = source.stat()
        with ExitStack() as stack:
            sums = stack.enter_context((scratch / "sums").open("w+b"))
            writer = ArchiveWriter(scratch / "archive", sums, progress.advance)
            stack.callback(writer.abandon)
            progress.begin("archive", size)
            count = 0
            for item in items:
                if item.is_dir:
                    writer.add_folder(item.path, item.info)
                    continue
                descriptor = os.open(source / item.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                with os.fdopen(descriptor, "rb", buffering=0) as file:
                    writer.add_file(item.path, file, item.info.st_size, item.info)
                count += 1
            manifest = Manifest(
                created=format_time(created),
                release=release,
                reason=reason,
                sqlite=SQLITE_VERSION,
                root=Owner(mode=f"{root.st_mode & 0o7777:04o}", uid=root.st_uid, gid=root.st_gid),
                databases=(),
                files=Files(count=count, bytes=size, sha256=writer.add_sums()),
                warnings=(f"not proven, the files as they were: {warning}",),
                seconds=round(time.monotonic() - started, 3),
                raw=True,
            )
            writer.add_text(MANIFEST_MEMBER, json.dumps(manifest.to_dict(), indent=1) + "\n")
            written, sha256 = writer.finish()
        progress.end()
        snapshot = Snapshot(snapshot=snapshot_id(created, sha256), bytes=written, sha256=sha256, manifest=manifest)
        store.commit(backups, scratch / "archive", snapshot)
        return snapshot
