"""What of the checkout a service has mounted: whether the engine can, and the service may read it."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from orchestrator.engine import Engine
from orchestrator.errors import UsageError
from orchestrator.model import Stack


def require(stack: Stack, engine: Engine) -> None:
    """Raises UsageError, before anything is done, where a container could not see what it is to have mounted."""
    for spec in stack.services:
        for bind in spec.binds:
            if not engine.is_local:
                raise UsageError(
                    f"{spec.name} is to have {bind.source} mounted, which the engine at {engine.host} does not see.",
                    hint="take this machine's engine (DOCKER_HOST, DOCKER_CONTEXT), or deploy production there.",
                )
            path = Path(bind.source)
            if not path.exists():
                raise UsageError(
                    f"{spec.name} is to have {path} mounted, and there is no such file or folder.",
                    hint=f"correct `services.{spec.name}.volumes`.",
                )
            if unreadable := next(_unreadable(path, *map(int, spec.user.split(":"))), None):
                raise UsageError(
                    f"{spec.name} runs as {spec.user}, which may not read {unreadable}.",
                    hint=f"let everybody read it: chmod -R go+rX {path}",
                )


def _unreadable(path: Path, user: int, group: int) -> Iterator[Path]:
    """What below `path` the user may not read."""
    found = path.stat()
    shift = 6 if found.st_uid == user else 3 if found.st_gid == group else 0
    wanted = 0o5 if stat.S_ISDIR(found.st_mode) else 0o4
    if (found.st_mode >> shift) & wanted != wanted:
        yield path
    elif stat.S_ISDIR(found.st_mode):
        for entry in sorted(path.iterdir()):
            if not entry.is_symlink():
                yield from _unreadable(entry, user, group)
