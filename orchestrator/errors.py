"""What can go wrong, as a person reads it: one sentence, a hint what to do next, an exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FAILED = 1
USAGE = 2
ROLLED_BACK = 3
LOCKED = 4
NO_ENGINE = 5


class OrchestratorError(Exception):
    """A failure that is told to a person without a traceback.

    `message` is one sentence. `hint` says what to do next, or is empty. `detail` holds lines of evidence (the last
    lines of a log, a probe's output) in the order they were written. `exit_code` is the process's. `outcome` is what
    the verb's JSON holds besides the error. `in_place`: what was wanted is there, only the old is not gone yet.
    """

    exit_code = FAILED
    outcome: Mapping[str, Any]
    in_place = False

    def __init__(self, message: str, *, hint: str = "", detail: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail
        self.outcome = {}


class UsageError(OrchestratorError):
    """The command line or the settings are wrong; nothing was done."""

    exit_code = USAGE


class RolledBack(OrchestratorError):
    """The new release was not good; the previous one serves."""

    exit_code = ROLLED_BACK


class Locked(OrchestratorError):
    """Another deployment of the same project is under way."""

    exit_code = LOCKED


class NoEngine(OrchestratorError):
    """No Docker engine answers, or it refuses us."""

    exit_code = NO_ENGINE


class EngineError(OrchestratorError):
    """The engine refused an operation; the message is the engine's own."""


class Interrupted(OrchestratorError):
    """Ctrl-C or SIGTERM; what was begun has been undone."""
