"""How old the last good snapshot is, and when that is too old. Pure; shared with the host side."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

#: A first snapshot may take this long to succeed before its absence is a failure.
GRACE = timedelta(minutes=10)
#: A snapshot from later than this was taken by a clock that was wrong.
FUTURE = timedelta(minutes=5)
ALLOWED = "a whole number and a unit of s, m, h, d or w, such as 26h or 90m"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_age(text: str) -> timedelta | None:
    """`90s`, `30m`, `26h`, `2d`, `1w`; None for anything else."""
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip())
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match and int(match[1]) else None


def shown(span: timedelta) -> str:
    """`30 min`, for people."""
    seconds = int(span.total_seconds())
    if seconds < 180:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 180 else f"{minutes // 60} h"


def judge_age(age: timedelta, allowed: timedelta) -> tuple[bool, str]:
    """Whether a last good snapshot of this age will do, and one line that says so."""
    age = max(age, timedelta())
    line = f"last good snapshot {shown(age)} ago"
    return (True, line) if age <= allowed else (False, f"{line}, allowed {shown(allowed)}")


def judge(
    *, now: datetime, last_good: datetime | None, max_age: timedelta, waiting_since: datetime | None, error: str
) -> tuple[bool, str]:
    """Whether the backups are healthy, and one short line why.

    `waiting_since` is when the first snapshot was first tried with a database there; None while there is none.
    """
    suffix = f": {error}" if error else ""
    if last_good is not None:
        good, line = judge_age(now - last_good, max_age)
        return good, line if good else line + suffix
    if waiting_since is None:
        return True, "no database yet"
    if now - waiting_since <= GRACE:
        return True, f"waiting for the first snapshot{suffix}"
    return False, f"no snapshot since {shown(now - waiting_since)}{suffix}"
