"""Commits at a steady rate and says what was acknowledged: the oracle for snapshots of a database in use.

    python torture.py write DATABASE [--rate 200] [--seconds 60]    prints each n once its commit has returned
    python torture.py check DATABASE --upto N                       exits 1 unless every n from 1 to N is there

One file with the standard library only (apsw where it is installed), so that it also runs inside a container as it is.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

try:
    import apsw
except ImportError:
    apsw = None  # type: ignore[assignment]

SCHEMA = "CREATE TABLE IF NOT EXISTS acks (n INTEGER PRIMARY KEY, at REAL NOT NULL)"


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


def write(path: str, *, rate: float, seconds: float, acknowledge: Callable[[int], None]) -> dict[str, float]:
    """Commits `rate` rows a second for `seconds`, the next numbers after those that are there.

    Calls `acknowledge(n)` after each commit. Returns how many, and the worst and 99th percentile commit in ms.
    """
    connection = connect(path)
    connection.execute(SCHEMA).fetchall()
    n = connection.execute("SELECT coalesce(max(n), 0) FROM acks").fetchall()[0][0]
    took: list[float] = []
    start = time.monotonic()
    while (due := start + len(took) / rate) < start + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        n += 1
        before = time.monotonic()
        connection.execute("INSERT INTO acks VALUES (?, ?)", (n, time.time())).fetchall()
        took.append((time.monotonic() - before) * 1000)
        acknowledge(n)
        if time.monotonic() - start > seconds:
            break
    connection.close()
    took.sort()
    return {"commits": len(took), "p99_ms": round(took[int(len(took) * 0.99)], 2), "worst_ms": round(took[-1], 2)}


def missing(path: str, upto: int) -> int:
    """How many of 1..upto are not in the database; it is opened read-only."""
    uri = f"file:{path}?mode=ro&immutable=1"
    if apsw is not None:
        connection: Any = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    else:
        import sqlite3

        connection = sqlite3.connect(uri, uri=True)
    found = connection.execute("SELECT count(*) FROM acks WHERE n BETWEEN 1 AND ?", (upto,)).fetchall()[0][0]
    connection.close()
    return upto - int(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("write", "check"))
    parser.add_argument("database")
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--upto", type=int, default=0)
    options = parser.parse_args()
    if options.verb == "check":
        lost = missing(options.database, options.upto)
        print(f"{lost} of {options.upto} acknowledged commits are missing")
        return 1 if lost else 0
    summary = write(
        options.database, rate=options.rate, seconds=options.seconds, acknowledge=lambda n: print(n, flush=True)
    )
    print(summary, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
