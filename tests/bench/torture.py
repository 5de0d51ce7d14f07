"""Commits at a steady rate and says what was acknowledged: the oracle for snapshots of a database in use.

    python torture.py fill DATABASE [--megabytes 500]               a table of that size; `write` then updates it, too
    python torture.py write DATABASE [--rate 200] [--seconds 60]    prints each n once its commit has returned
                            [--timed]                               and with it when it began (monotonic) and took, in s
    python torture.py check DATABASE --upto N                       exits 1 unless every n from 1 to N is there

One file with the standard library only (apsw where it is installed), so that it also runs inside a container as it is.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from typing import Any

try:
    import apsw
except ImportError:
    apsw = None  # type: ignore[assignment]

SCHEMA = "CREATE TABLE IF NOT EXISTS acks (n INTEGER PRIMARY KEY, at REAL NOT NULL)"
#: Rows of about 1 kB of text that shrinks to its half. `n` is the commit that wrote the row last; the index makes each
#: commit touch pages far from each other, so that a plain copy made meanwhile tears.
FILLER = "CREATE TABLE filler (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, mark INTEGER NOT NULL, text TEXT NOT NULL)"
INDEX = "CREATE INDEX filler_mark ON filler (mark)"
FILL = """WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < ?)
    INSERT INTO filler SELECT id, 0, random(), hex(randomblob(450)) FROM ids"""
ROW_BYTES = 970


def connect(path: str) -> Any:
    """A connection that commits each statement by itself and waits up to 5 s for locks; WAL, synchronous=FULL."""
    if apsw is not None:
        connection: Any = apsw.Connection(path)
    else:
        import sqlite3

        connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def fill(path: str, megabytes: float) -> None:
    """A database of about that many MB, in WAL mode and cleanly closed."""
    connection = connect(path)
    connection.execute("PRAGMA synchronous=OFF").fetchall()
    for statement, values in ((FILLER, ()), (FILL, (int(megabytes * 1e6 / ROW_BYTES),)), (INDEX, ()), (SCHEMA, ())):
        connection.execute(statement, values).fetchall()
    connection.close()


def write(
    path: str, *, rate: float, seconds: float, acknowledge: Callable[[int, float, float], None]
) -> dict[str, float]:
    """Commits `rate` rows a second for `seconds`, the next numbers after those that are there.

    Each commit also changes a row of the filler, where there is one. Calls `acknowledge(n, began, took)` after each;
    began is of the monotonic clock, both in seconds. Returns how many, and the worst and 99th percentile commit in ms.
    """
    connection = connect(path)
    connection.execute(SCHEMA).fetchall()
    n = connection.execute("SELECT coalesce(max(n), 0) FROM acks").fetchall()[0][0]
    there = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'filler'").fetchall()[0][0]
    rows = connection.execute("SELECT max(id) FROM filler").fetchall()[0][0] if there else 0
    chance = random.Random(n)  # noqa: S311 - to be the same each time
    took: list[float] = []
    start = time.monotonic()
    while (due := start + len(took) / rate) < start + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        n += 1
        before = time.monotonic()
        if rows:
            connection.execute("BEGIN IMMEDIATE").fetchall()
            values = (n, chance.getrandbits(62), chance.randint(1, rows))
            connection.execute("UPDATE filler SET n = ?, mark = ? WHERE id = ?", values).fetchall()
        connection.execute("INSERT INTO acks VALUES (?, ?)", (n, time.time())).fetchall()
        if rows:
            connection.execute("COMMIT").fetchall()
        took.append((time.monotonic() - before) * 1000)
        acknowledge(n, before, took[-1] / 1000)
        if time.monotonic() - start > seconds:
            break
    connection.close()
    took.sort()
    return {"commits": len(took), "p99_ms": round(took[int(len(took) * 0.99)], 2), "worst_ms": round(took[-1], 2)}


def missing(path: str, upto: int) -> int:
    """How many of 1..upto are not in the database; it is opened read-only."""
    connection = _opened(path)
    found = connection.execute("SELECT count(*) FROM acks WHERE n BETWEEN 1 AND ?", (upto,)).fetchall()[0][0]
    connection.close()
    return upto - int(found)


def mixed(path: str) -> bool:
    """Whether a filled database is not as it was after any one commit: each changes a row in both of its tables."""
    connection = _opened(path)
    last = connection.execute("SELECT max(n) FROM acks").fetchall()[0][0] or 0
    changed = connection.execute("SELECT max(n) FROM filler").fetchall()[0][0] or 0
    connection.close()
    return bool(last != changed)


def _opened(path: str) -> Any:
    uri = f"file:{path}?mode=ro&immutable=1"
    if apsw is not None:
        return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    import sqlite3

    return sqlite3.connect(uri, uri=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("fill", "write", "check"))
    parser.add_argument("database")
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--megabytes", type=float, default=500)
    parser.add_argument("--timed", action="store_true")
    parser.add_argument("--upto", type=int, default=0)
    options = parser.parse_args()
    if options.verb == "fill":
        fill(options.database, options.megabytes)
        return 0
    if options.verb == "check":
        lost = missing(options.database, options.upto)
        print(f"{lost} of {options.upto} acknowledged commits are missing")
        return 1 if lost else 0

    def acknowledge(n: int, began: float, took: float) -> None:
        print(f"{n} {began:.6f} {took:.6f}" if options.timed else n, flush=True)

    summary = write(options.database, rate=options.rate, seconds=options.seconds, acknowledge=acknowledge)
    print(summary, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
