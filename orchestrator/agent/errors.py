"""What the agent tells when it fails: one sentence, a hint, a code that a program can tell apart."""

from __future__ import annotations

import errno

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Old snapshots go after a new success only, so on a full disk a person has to choose what goes.
ROOM = "Free some space, for instance with `exec backup sh -c 'rm /backups/ID.*'` for a snapshot that nobody needs"


class AgentError(Exception):
    """A failure told as one `error` event and exit code 1.

    `code` is one of: failed, usage, busy (another run holds the lock), empty (no database with tables is there),
    damaged (the source or an archive is not what it should be), full (no space), stopped, missing (no such snapshot).
    """

    def __init__(self, message: str, *, hint: str = "", code: str = "failed") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


class StoppedError(AgentError):
    """SIGTERM or SIGINT came; what was begun is removed on the way out."""

    def __init__(self, name: str) -> None:
        super().__init__(f"StoppedError by {name}; nothing was kept.", code="stopped")


def explain(error: BaseException) -> AgentError:
    """Any exception as an AgentError with one sentence; SQLite's are known by their class name, so apsw stays lazy."""
    if isinstance(error, AgentError):
        return error
    text = " ".join(str(error).split()) or type(error).__name__
    full = isinstance(error, OSError) and error.errno in FULL_ERRNOS
    if full or type(error).__name__ == "FullError":
        return AgentError(
            "There is no space left on the disk; what was begun is removed again.",
            hint=f"{ROOM}, then try again.",
            code="full",
        )
    module = type(error).__module__
    if module.startswith("apsw"):
        return AgentError(f"SQLite failed ({type(error).__name__}): {text}.")
    if isinstance(error, OSError):
        where = f" ({error.filename!s})" if error.filename else ""
        return AgentError(f"The system refused a file operation: {error.strerror or text}{where}.")
    if isinstance(error, MemoryError):
        return AgentError("There is not enough memory.", hint="Raise the backup service's memory limit.")
    return AgentError(f"Unexpected {type(error).__name__}: {text}.")
