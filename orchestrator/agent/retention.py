"""Which snapshots may go. Pure; the standard library only.

Every rule keeps the newest good snapshot of each of the last so many days, weeks or months that have one, so a time
without snapshots uses nothing up. What a rule keeps it also kept the day before: running this again removes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestrator.agent.freshness import FUTURE
from orchestrator.agent.manifest import PASSED, Entry

#: Files that could not be proven are kept for this long at least: someone may still want to save what is in them.
RAW_SPAN = timedelta(days=31)
LIMIT = 10_000
_PART = re.compile(r"(last|daily|weekly|monthly)=([0-9]{1,5})")
VERIFIED, REHEARSED = "verified", "rehearsed"
#: What no rule removes.
FLOOR = frozenset({VERIFIED, REHEARSED})


@dataclass(frozen=True, slots=True)
class Retain:
    """How many are kept: the `last` ones, and the newest of each of so many UTC days, ISO weeks and months."""

    last: int = 7
    daily: int = 7
    weekly: int = 4
    monthly: int = 6

    @classmethod
    def of(cls, text: str) -> Retain:
        """`last=7 daily=7 weekly=4 monthly=6`; what is not named is 0. ValueError for anything else."""
        found: dict[str, int] = {"last": 0, "daily": 0, "weekly": 0, "monthly": 0}
        for word in text.split():
            match = _PART.fullmatch(word)
            if match is None or int(match[2]) > LIMIT:
                raise ValueError(word)
            found[match[1]] = int(match[2])
        if found["last"] < 1:
            raise ValueError(text)
        return cls(**found)

    def __str__(self) -> str:
        return f"last={self.last} daily={self.daily} weekly={self.weekly} monthly={self.monthly}"

    def rules(self) -> tuple[tuple[str, int, Callable[[Entry], Any]], ...]:
        """Each rule's name, how many periods it keeps, and the period of a snapshot, whose `created` is UTC."""
        return (
            ("last", self.last, lambda entry: entry.snapshot),
            ("day", self.daily, lambda entry: entry.created.date()),
            ("week", self.weekly, lambda entry: entry.created.isocalendar()[:2]),
            ("month", self.monthly, lambda entry: (entry.created.year, entry.created.month)),
        )


def is_past(entry: Entry, now: datetime) -> bool:
    """Whether its time may be right."""
    return entry.created <= now + FUTURE


def reasons(entries: Iterable[Entry], retain: Retain, now: datetime) -> dict[str, tuple[str, ...]]:
    """Why each good snapshot that is kept is kept: of `last`, `day`, `week`, `month`, and what no rule removes:
    `verified`, the newest that was proven again, and `rehearsed`, the one that was rehearsed last, and the one that
    passed last, since the evidence goes with them.

    One that is broken, raw, or from the future neither counts nor is named here.
    """
    good = [entry for entry in entries if entry.good and is_past(entry, now)]
    good.sort(key=lambda entry: (entry.created, entry.snapshot), reverse=True)
    found: dict[str, tuple[str, ...]] = {}
    for name, count, period in retain.rules():
        seen: set[Any] = set()
        for entry in good:
            if len(seen) >= count:
                break
            if period(entry) not in seen:
                seen.add(period(entry))
                found[entry.snapshot] = (*found.get(entry.snapshot, ()), name)
    proven = next((entry.snapshot for entry in good if entry.detail is not None and entry.detail.verified), None)
    if proven is not None:
        found[proven] = (*found.get(proven, ()), VERIFIED)
    for snapshot in _rehearsed_last(good):
        found[snapshot] = (*found.get(snapshot, ()), REHEARSED)
    return found


def _rehearsed_last(good: Iterable[Entry]) -> set[str]:
    """The one that was rehearsed last, and the one that passed last."""
    rehearsed = [(e.detail.rehearsed, e.snapshot) for e in good if e.detail is not None and e.detail.rehearsed]
    passed = [one for one in rehearsed if one[0].result == PASSED]
    return {max(those, key=lambda one: (one[0].at, one[1]))[1] for those in (rehearsed, passed) if those}


def removable(entries: Iterable[Entry], retain: Retain, now: datetime) -> tuple[str, ...]:
    """Ids that may go, oldest first: the good ones that no rule keeps, and raw ones that the rules no longer reach
    back to, once they are older than RAW_SPAN.

    A broken entry never goes: it may be all that is left of something, so a person decides.
    """
    entries = tuple(entries)
    kept = reasons(entries, retain, now)
    by_rule = [e.created for e in entries if set(kept.get(e.snapshot, ())) - FLOOR]
    # Measured from the newest good one, so that without new snapshots nothing ever grows too old.
    raw_before = min(*by_rule, max(by_rule) - RAW_SPAN) if by_rule else None
    gone = []
    for entry in sorted(entries, key=lambda entry: (entry.created, entry.snapshot)):
        if entry.good:
            gone += [entry.snapshot] if entry.snapshot not in kept and is_past(entry, now) else []
        elif entry.raw and raw_before is not None and entry.created < raw_before:
            gone.append(entry.snapshot)
    return tuple(gone)
