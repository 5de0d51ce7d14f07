"""The disk that an engine keeps its images on, where this machine can see it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def free(info: Mapping[str, Any], *, local: bool) -> tuple[int, Path] | None:
    """The bytes that are free, and the folder; None where it is out of our sight. `info` is the engine's word of
    itself, `local` whether it listens here: Docker Desktop does, and runs in a machine of its own."""
    folder = Path(str(info.get("DockerRootDir") or "/nowhere"))
    try:
        return (shutil.disk_usage(folder).free, folder) if local else None
    except OSError:
        return None
