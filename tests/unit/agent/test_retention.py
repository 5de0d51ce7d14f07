"""Which snapshots are kept: by what the rules say, and whatever the history was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.agent.freshness import FUTURE
from orchestrator.agent.manifest import FAILED, PASSED, Entry, Rehearsed, format_time, snapshot_id
from orchestrator.agent.retention import RAW_SPAN, Retain, reasons, removable

from .test_pure import NOON, SHA, SNAPSHOT

FAR = NOON + timedelta(days=4000)
ALL = Retain()
RAW = replace(SNAPSHOT, manifest=replace(SNAPSHOT.manifest, raw=True, databases=()))


def entry(
    moment: datetime | int, *, verified: bool = False, error: str = "", raw: bool = False, rehearsed: str = ""
) -> Entry:
    """A snapshot of this moment, or of this many days after NOON; `rehearsed` is how that ended, a day later."""
    created = NOON + timedelta(days=moment) if isinstance(moment, int) else moment
    at = format_time(created + timedelta(days=1))
    how = Rehearsed(at=at, result=rehearsed, release="r", image="i", own_release=True) if rehearsed else None
    detail = replace(RAW if raw else SNAPSHOT, verified=format_time(created) if verified else None, rehearsed=how)
    return Entry(snapshot=snapshot_id(created, SHA), detail=detail, created=created, error=error)


def last(count: int) -> Retain:
    return Retain(last=count, daily=0, weekly=0, monthly=0)


def test_the_newest_good_ones_are_kept() -> None:
    entries = [entry(day) for day in range(5)]
    assert removable(entries, last(3), FAR) == (entries[0].snapshot, entries[1].snapshot)
    assert removable(entries, last(9), FAR) == ()


def test_the_newest_of_each_period_is_kept() -> None:
    def at(text: str) -> Entry:
        return entry(datetime.fromisoformat(text).replace(tzinfo=UTC))

    # 2026-01-04 is a Sunday, the end of its ISO week; 2025-12-29 is in the first week of 2026.
    times = "2025-11-30T03:00 2025-12-28T03:00 2025-12-29T03:00 2026-01-04T23:59 2026-01-05T00:00 2026-01-05T03:00"
    old, december, first, sunday, midnight, newest = map(at, times.split())
    entries = [old, december, first, sunday, midnight, newest]
    kept = reasons(entries, Retain(last=1, daily=2, weekly=3, monthly=3), FAR)
    assert kept == {
        newest.snapshot: ("last", "day", "week", "month"),
        sunday.snapshot: ("day", "week"),
        december.snapshot: ("week",),
        first.snapshot: ("month",),
        old.snapshot: ("month",),
    }
    assert removable(entries, Retain(last=1, daily=2, weekly=3, monthly=3), FAR) == (midnight.snapshot,)


def test_a_time_without_snapshots_uses_nothing_up() -> None:
    entries = [entry(day) for day in (-700, -699, 0)]
    assert len(reasons(entries, Retain(last=1, daily=3, weekly=0, monthly=0), FAR)) == 3


def test_broken_ones_neither_count_nor_go() -> None:
    good, broken = [entry(0), entry(1)], [entry(day, error="torn") for day in range(2, 9)]
    assert removable([*broken, *good], last(2), FAR) == ()
    assert removable([*broken, *good], last(1), FAR) == (good[0].snapshot,)


def test_the_last_verified_never_goes() -> None:
    old, proven, recent = entry(0, verified=True), entry(1, verified=True), [entry(day) for day in range(2, 6)]
    assert removable([old, proven, *recent], last(4), FAR) == (old.snapshot,)
    assert reasons([old, proven, *recent], last(4), FAR)[proven.snapshot] == ("verified",)


def test_what_was_rehearsed_last_stays_with_its_evidence() -> None:
    older, passed, failed = entry(0, rehearsed=PASSED), entry(1, rehearsed=PASSED), entry(2, rehearsed=FAILED)
    recent = [entry(day) for day in range(3, 6)]
    everything = [older, passed, failed, *recent]
    assert removable(everything, last(3), FAR) == (older.snapshot,)
    kept = reasons(everything, last(3), FAR)
    assert kept[passed.snapshot] == kept[failed.snapshot] == ("rehearsed",)
    again = entry(6, rehearsed=PASSED)
    assert removable([*everything, again], last(1), FAR) == tuple(one.snapshot for one in everything)


def test_raw_ones_do_not_count_and_go_when_the_rules_reach_back_no_further() -> None:
    raw = entry(0, raw=True)
    assert removable([raw], last(1), FAR) == ()
    month = RAW_SPAN.days
    assert removable([raw, entry(1), entry(month)], last(1), FAR) == (entry(1).snapshot,), "for a month at least"
    assert removable([raw, entry(month + 1)], last(1), FAR) == (raw.snapshot,)
    older = entry(-1)
    assert removable([older, raw, entry(month + 1)], last(2), FAR) == (), "a good one from before it is kept"
    proven = entry(-1, verified=True)
    assert removable([proven, raw, entry(month + 1)], last(1), FAR) == (raw.snapshot,), "the floor reaches for ever"


def test_one_from_the_future_takes_no_place_and_stays() -> None:
    future = entry(NOON + FUTURE + timedelta(seconds=1))
    assert removable([future, entry(0), entry(-1)], last(1), NOON) == (entry(-1).snapshot,)
    assert future.snapshot not in reasons([future, entry(0)], ALL, NOON)


def histories() -> Iterator[tuple[list[Entry], Retain]]:
    """Histories with bursts, gaps, broken, raw and verified ones, and rules for them."""
    for seed in range(300):
        chance = random.Random(seed)  # noqa: S311 - the same histories each time
        moment, entries = NOON, []
        for _ in range(chance.randrange(1, 60)):
            moment += timedelta(seconds=chance.choice([1, 3600, 86400, 86400, 86400, 40 * 86400]))
            kind = chance.random()
            entries.append(
                entry(
                    moment,
                    verified=kind < 0.1,
                    error="torn" if 0.1 < kind < 0.2 else "",
                    raw=0.2 < kind < 0.3,
                    rehearsed=PASSED if kind > 0.95 else FAILED if kind > 0.9 else "",
                )
            )
        chance.shuffle(entries)
        numbers = [chance.randrange(0, 9) for _ in range(3)]
        yield entries, Retain(chance.randrange(1, 9), *numbers)


def test_whatever_the_history() -> None:
    removed = 0
    for entries, retain in histories():
        gone = set(removable(entries, retain, FAR))
        left = [one for one in entries if one.snapshot not in gone]
        good = sorted((one for one in entries if one.good), key=lambda one: one.created)
        kept = {one.snapshot for one in left}
        assert {one.snapshot for one in good[-retain.last :]} <= kept, "the newest"
        proven = [one for one in good if one.detail and one.detail.verified]
        assert {one.snapshot for one in proven[-1:]} <= kept, "the last verified one"
        assert {one.snapshot for one in entries if one.error} <= kept, "what is broken is a person's to remove"
        assert removable(left, retain, FAR) == (), "once more changes nothing"
        assert reasons(left, retain, FAR) == reasons(entries, retain, FAR)
        assert len([one for one in left if one.good]) <= sum(
            (retain.last, retain.daily, retain.weekly, retain.monthly, 1, 2)
        )
        generous = Retain(retain.last + 1, retain.daily + 2, retain.weekly + 1, retain.monthly + 3)
        assert set(reasons(entries, retain, FAR)) <= set(reasons(entries, generous, FAR)), "higher numbers keep more"
        removed += len(gone)
    assert removed > 1000, "the histories are such that something goes"


def test_three_years_of_nights() -> None:
    there: list[Entry] = []
    for day in range(3 * 365):
        there.append(entry(day, verified=day % 200 == 0))
        gone = removable(there, ALL, there[-1].created)
        there = [one for one in there if one.snapshot not in gone]
        assert len(there) <= 7 + 7 + 4 + 6 + 1
    ages = [(there[-1].created - one.created).days for one in there]
    assert ages[-7:] == [6, 5, 4, 3, 2, 1, 0]
    assert max(ages) >= 140, "months back"
    assert sum(age > 31 for age in ages) >= 4


@pytest.mark.parametrize(
    "text", ["", "14", "last", "last=0", "daily=7", "last=1 hourly=3", "last=-1", "last=1,daily=2"]
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError):
        Retain.of(text)


def test_rules_are_read_as_they_are_written() -> None:
    assert Retain.of("last=3") == last(3)
    assert Retain.of(str(Retain(1, 2, 3, 4))) == Retain(1, 2, 3, 4)
