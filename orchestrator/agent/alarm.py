"""When trouble with the snapshots is told, and when that it is over. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.agent.manifest import format_time
from orchestrator.agent.notes import Notes

FAILURE, STALE, UNCOPIED, RECOVERY = "failure", "stale", "uncopied", "recovery"
#: Failures in a row until a copy off the host is trouble: a remote may be away for the minutes that they take.
COPY_TRIES = 3
#: In seconds: while trouble lasts it is told again this often, and a webhook that did not take it is asked again.
AGAIN = 24 * 3600
RETRY = 600


def trouble(notes: Notes, *, last_good: datetime | None, healthy: bool) -> str:
    """`failure`: the last attempt failed and nobody has taken a good snapshot since; `stale`: the last good one is too
    old; `uncopied`: the copies off the host fail; "" for none."""
    since = notes.attempted or 0
    if notes.failures and (last_good is None or last_good.timestamp() <= since):
        return FAILURE
    if not healthy:
        return STALE
    return UNCOPIED if notes.copy_failures >= COPY_TRIES else ""


def due(notes: Notes, trouble: str, now: int) -> str:
    """The event to tell now, "" for none: trouble at once and then once a day, its end once."""
    if _within(notes.tried, RETRY, now):
        return ""
    if trouble:
        return "" if _within(notes.told, AGAIN, now) else trouble
    return RECOVERY if notes.told is not None else ""


def _within(moment: int | None, seconds: int, now: int) -> bool:
    """Whether it was less than so long ago; one in the future was written by a clock that was wrong."""
    return moment is not None and 0 <= now - moment < seconds


def document(
    event: str, *, project: str, line: str, error: str, failures: int, last_good: datetime | None, now: datetime
) -> dict[str, Any]:
    """What is sent. `text` is what chat programs show; `line` is the health check's."""
    told = {
        FAILURE: f"a snapshot failed: {error or 'for an unknown reason'}",
        STALE: f"snapshots are missing: {line}",
        UNCOPIED: f"a copy off the host failed {failures} times: {error or 'for an unknown reason'}",
        RECOVERY: f"snapshots are good again: {line}",
    }[event]
    return {
        "event": event,
        "project": project,
        "message": told,
        "text": f"{project}: {told}",
        "last_good": None if last_good is None else format_time(last_good),
        "failures": failures,
        "time": format_time(now.astimezone(UTC)),
    }
