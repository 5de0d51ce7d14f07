"""How often links are followed, and names asked for that are none: counted in memory, written about each second.

One transaction a second for all of a worker's visits, so that following a link writes nothing. At a worker's end what
is left is written, too; only a process that is killed loses its last second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime

from loguru import logger

from service import db
from service.links import fold
from service.models import Daily, Day

#: (link, day): [clicks, the last one's time]
Clicks = dict[tuple[int, int], list[int]]

EVERY = 0.75  # seconds between two writes; what a write takes comes on top, and all of it is to stay below a second
PATIENCE = 10.0  # seconds that a worker's end waits for a database that is busy
DAY = 86400
MAX_MISSES = 10_000  # names, in memory and in the table

# What is written; `?` stands for a value. Plain SQL that SQLite and PostgreSQL read.
# Not for a name that has become a link meanwhile.
ADD_TO_MISSES = (
    "INSERT INTO miss (key, name, asked, first, last) SELECT ?, ?, ?, ?, ? "
    "WHERE NOT EXISTS (SELECT 1 FROM link WHERE key = ?) AND NOT EXISTS (SELECT 1 FROM alias WHERE key = ?) "
    "ON CONFLICT (key) DO UPDATE SET asked = miss.asked + excluded.asked, name = excluded.name, last = excluded.last"
)
# The names asked for least, and longest ago, make room.
FORGET_MISSES = (
    "DELETE FROM miss WHERE key IN (SELECT key FROM miss ORDER BY asked, last "
    "LIMIT (SELECT CASE WHEN COUNT(*) > ? THEN COUNT(*) - ? ELSE 0 END FROM miss))"
)


@dataclass
class _Missed:
    """`first` and `last` are times, in seconds since 1970."""

    name: str
    asked: int
    first: int
    last: int


class Counter:
    """What one process has counted and not yet written. For all its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._clicks: Clicks = {}
        self._misses: dict[str, _Missed] = {}

    def click(self, link: int) -> None:
        """The link with this id was followed."""
        at = int(time.time())
        with self._lock:
            found = self._clicks.setdefault((link, at // DAY), [0, at])
            found[0] += 1
            found[1] = at

    def miss(self, name: str) -> None:
        """A valid name was asked for, and no link has it."""
        at, key = int(time.time()), fold(name)
        with self._lock:
            found = self._misses.get(key)
            if found is None and len(self._misses) < MAX_MISSES:
                found = self._misses[key] = _Missed(name, 0, at, at)
            if found is not None:
                found.name, found.asked, found.last = name, found.asked + 1, at

    @property
    def pending(self) -> bool:
        """True when there is something to write."""
        return bool(self._clicks or self._misses)

    def write(self) -> None:
        """Write all of it in one transaction. Raises a database error; nothing is lost then, nor counted twice."""
        with self._writing:
            if not self.pending:
                return
            db.ensure_open()
            with self._taken_back_on_failure() as (clicks, misses), db.write():
                # The write lock is ours from here on.
                with self._lock:
                    clicks.update(self._clicks)
                    misses.update(self._misses)
                    self._clicks, self._misses = {}, {}
                _write_clicks(clicks)
                _write_misses(misses)

    @contextmanager
    def _taken_back_on_failure(self) -> Iterator[tuple[Clicks, dict[str, _Missed]]]:
        clicks: Clicks = {}
        misses: dict[str, _Missed] = {}
        try:
            yield clicks, misses
        except BaseException:
            with self._lock:
                for key, (count, at) in clicks.items():
                    found = self._clicks.setdefault(key, [0, at])
                    found[0] += count
                for name, missed in misses.items():
                    later = self._misses.setdefault(name, missed)
                    if later is not missed:
                        later.asked, later.first = later.asked + missed.asked, missed.first
            raise


#: Of this process.
counter = Counter()


def _write_clicks(clicks: Clicks) -> None:
    # In the order of the tables, whose rows beside each other are written together.
    by_time: dict[int, dict[int, int]] = {}
    by_day: dict[int, dict[int, int]] = {}
    for (link, day), (count, at) in sorted(clicks.items()):
        of_time, of_day = by_time.setdefault(at, {}), by_day.setdefault(day, {})
        of_time[link] = of_time.get(link, 0) + count
        of_day[link] = count
    for at, counted in by_time.items():
        db.count_visits(at, counted)
    for day, counted in by_day.items():
        db.count_daily(day, counted)


def _write_misses(misses: dict[str, _Missed]) -> None:
    if misses:
        rows = [(key, m.name, m.asked, m.first, m.last, key, key) for key, m in sorted(misses.items())]
        db.run_many(ADD_TO_MISSES, rows)
        db.run_many(FORGET_MISSES, [(MAX_MISSES, MAX_MISSES)])


class Writer:
    """The thread that writes what `counter` has, in a worker, after the fork."""

    def __init__(self, chosen: Counter) -> None:
        self.counter = chosen
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clicks", daemon=True)
        self._failing = False

    def start(self) -> None:
        """Begin; the thread has a connection of its own."""
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            self._write()
        db.discard()

    def _write(self) -> bool:
        """False when the database did not take it; it is tried again then."""
        try:
            self.counter.write()
        except Exception as error:  # whatever it is, the next second may be better, and this thread must live on
            if not self._failing:
                logger.warning("visits can't be written, they are kept and tried again: {}", error)
            self._failing = True
            if not db.is_busy(error):
                db.discard()
            return False
        if self._failing:
            logger.info("visits are written again")
        self._failing = False
        return True

    def finish(self) -> None:
        """End the thread and write the rest, waiting PATIENCE for a busy database. May be called again."""
        self._ended.set()
        deadline = time.monotonic() + PATIENCE
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        while not self._write() and time.monotonic() < deadline:
            time.sleep(0.2)


# What was counted.


def today() -> int:
    """The day as `Day.day` has it: counted from 1970-01-01, UTC."""
    return int(time.time()) // DAY


def by_day(link: int, days: int, last: int | None = None) -> list[tuple[date, int]]:
    """(day, clicks) of the link's `days` days up to `last` (today), the oldest first, days without clicks as 0."""
    end = today() if last is None else last
    wanted = range(end - days + 1, end + 1)
    found = dict.fromkeys(wanted, 0)
    for table in (Day, Daily):
        # Each day by itself, for the day comes first in the one table, and the link in the other.
        for row in table.select(table.day, table.clicks).where((table.link == link) & table.day.in_(wanted)):
            found[row.day] += row.clicks
    return [(datetime.fromtimestamp(day * DAY, UTC).date(), count) for day, count in found.items()]
