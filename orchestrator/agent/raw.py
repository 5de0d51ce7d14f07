"""Keeps the files of a volume as they are, where no snapshot can be proven: a damaged database, or none at all."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.agent import store
from orchestrator.agent.events import Progress
from orchestrator.agent.manifest import Files, Snapshot
from orchestrator.agent.seal import Begun, seal, writing
from orchestrator.agent.source import walk


def take_raw(
    source: Path, backups: Path, *, release: str, reason: str, warning: str, wait: float, progress: Progress
) -> Snapshot:
    """Every file, logs of databases too, byte by byte. Right only while nobody writes. Raises AgentError or OSError."""
    with store.locked(backups, wait=wait, purpose="keeping damaged data"), store.scratch(backups) as scratch:
        begun = Begun(source, release, reason)
        items = [item for item in walk(source) if item is not None]
        size = sum(item.info.st_size for item in items if not item.is_dir)
        store.check_space(backups, size)
        progress.begin("archive", size)
        count = 0
        with writing(scratch, progress.advance) as writer:
            for item in items:
                if item.is_dir:
                    writer.add_folder(item.path, item.info)
                    continue
                descriptor = os.open(source / item.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                with os.fdopen(descriptor, "rb", buffering=0) as file:
                    writer.add_file(item.path, file, item.info.st_size, item.info)
                count += 1
            files = Files(count=count, bytes=size, sha256=writer.add_sums())
            told = f"not proven, the files as they were: {warning}"
            made = seal(writer, scratch, backups, begun, databases=(), files=files, warnings=(told,), raw=True)
        progress.end()
        return made
