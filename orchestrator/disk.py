"""The disk that an engine keeps its images on, where this machine can see it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.report import size

#: Bytes; with less, what goes wrong goes wrong for that.
NEARLY_FULL = 50_000_000


def free(info: Mapping[str, Any], *, local: bool) -> tuple[int, Path] | None:
    """The bytes that are free, and the folder; None where it is out of our sight. `info` is the engine's word of
    itself, `local` whether it listens here: Docker Desktop does, and runs in a machine of its own."""
    folder = Path(str(info.get("DockerRootDir") or "/nowhere"))
    try:
        return (shutil.disk_usage(folder).free, folder) if local else None
    except OSError:
        return None


def hint(info: Mapping[str, Any], output: str, *, local: bool) -> str:
    """What to do where the disk is full, "" otherwise. Not every program says so in its output: venv swallows it, and
    the engine drops what it can't write to a container's log."""
    found = free(info, local=local)
    if (found is None or found[0] >= NEARLY_FULL) and "no space left" not in output.lower():
        return ""
    where = f" in {found[1]}, where {size(found[0])} are free" if found else ""
    return f"the engine's disk is full{where}: `docker system prune` removes what nothing uses."
