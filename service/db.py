"""The database connection. The only module that may assume SQLite; everything else speaks peewee."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
from peewee import Database, DatabaseProxy, Model, PeeweeException
from playhouse import db_url  # type: ignore[import-untyped]
from playhouse.apsw_ext import APSWDatabase  # type: ignore[import-untyped]

BUSY_TIMEOUT = 5.0  # seconds a statement waits for another process's write
LOOKS_AGAIN = 0.1  # seconds that a redirect takes its file for the one at the path; asking costs as much as its query
# peewee wraps what a statement raises when it starts, and not what it raises while its rows are read.
DATABASE_ERRORS = (PeeweeException, apsw.Error)

# Two statements, and not one with UNION, which costs every redirect as much as both.
FIND_TARGET = "SELECT id, url, expires FROM link WHERE key = ?"
FIND_RENAMED = "SELECT link.id, link.url, link.expires FROM alias JOIN link ON link.id = alias.link WHERE alias.key = ?"

# What counts the visits. For SQLite one statement for all of the rows: with one for each, a thread that writes a
# thousand of them waits as often for the others that do Python, and holds the write lock meanwhile.
ADD_VISIT = (
    "UPDATE visit SET clicks = clicks + ?, visited = CASE WHEN visited < ? THEN ? ELSE visited END WHERE link = ?"
)
ADD_VISITS = (
    "UPDATE visit SET clicks = clicks + value, visited = MAX(visited, ?) "
    "FROM json_each(?) WHERE link = CAST(key AS INTEGER)"
)
ADD_DAILY = "INSERT INTO daily (day, link, clicks) VALUES (?, ?, ?)"
ADD_DAILIES = "INSERT INTO daily (day, link, clicks) SELECT ?, CAST(key AS INTEGER), value FROM json_each(?) WHERE true"
ON_SAME_DAY = " ON CONFLICT (day, link) DO UPDATE SET clicks = daily.clicks + excluded.clicks"

# A thread of this process at a time; again by the same thread, for a transaction may be inside another one.
_turn = threading.RLock()

# What the models are bound to; `configure` says which database it stands for.
database: DatabaseProxy = DatabaseProxy()


class StorageError(Exception):
    """The database can't be used as configured; the message says what to change and holds no secret."""


class SqliteFile(APSWDatabase):  # type: ignore[misc]
    """A SQLite file through apsw, whose wheel carries a SQLite without the WAL-reset bug, whatever the base ships.

    One connection a thread, kept open: with the last connection SQLite deletes the -wal, and a snapshot taken through
    a read-only mount needs one to read a live database. A connection whose file is no longer the one at the path (a
    restore has put another there) is opened again.
    """

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            # FULL: a commit acknowledged to somebody survives a power cut too; writes are rare enough to pay for it.
            pragmas={"foreign_keys": 1, "synchronous": "FULL"},
            timeout=BUSY_TIMEOUT,
            # A deferred transaction that reads first can't wait for a writer when it comes to write: it fails at once.
            lock_type="IMMEDIATE",
            autoconnect=False,
            # Without CREATE: a database that is gone is an error, not an empty database.
            flags=apsw.SQLITE_OPEN_READWRITE,
        )
        self._opened = threading.local()

    def _connect(self) -> Any:
        connection = super()._connect()
        self._opened.file, self._opened.seen = self._file_now(), time.monotonic()
        return connection

    def _file_now(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.database)  # noqa: PTH116 - each request asks; Path would double the cost
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def is_stale(self) -> bool:
        """True when this thread's connection holds another file than the one at the path."""
        return not self.is_closed() and getattr(self._opened, "file", None) != self._file_now()

    def first(self, sql: str, values: tuple[Any, ...]) -> Any:
        """The first row of a query or None, by this thread's connection and its prepared statement, without peewee's
        layers.

        For reading alone: for LOOKS_AGAIN it may still be the file that was at the path before.
        """
        connection, now = self._state.conn, time.monotonic()
        if connection is None or now - self._opened.seen > LOOKS_AGAIN:
            ensure_open()
            connection, self._opened.seen = self._state.conn, now
        cursor = connection.execute(sql, values)
        row = next(cursor, None)
        # Not read to its end: each step into SQLite hands the interpreter to another thread.
        cursor.close()
        return row

    def create(self) -> None:
        """Make the file where there is none, and put it into WAL mode, which it then keeps."""
        folder = Path(self.database).parent
        if not folder.is_dir():
            raise StorageError(f"the folder of the database does not exist: {folder}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StorageError(f"no permission to write in the folder of the database: {folder}")
        self.connect_params["flags"] |= apsw.SQLITE_OPEN_CREATE
        try:
            self.connect()
        finally:
            self.connect_params["flags"] &= ~apsw.SQLITE_OPEN_CREATE
        deadline = time.monotonic() + BUSY_TIMEOUT
        while (mode := self._switch_to_wal()) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if mode != "wal":
            raise StorageError(f"the database can't be put into WAL mode (it stays {mode or 'locked'}): {folder}")

    def _switch_to_wal(self) -> str | None:
        """The journal mode now, or None while another process is at it: this one lock SQLite doesn't wait for."""
        try:
            return str(self.pragma("journal_mode", "wal"))
        except PeeweeException as error:
            if is_busy(error):
                return None
            raise


def configure(url: str) -> Database:
    """Bind the models to the database at `url`; opens nothing. Raises StorageError."""
    if url.startswith("sqlite:"):
        path = db_url.parse(url)["database"] if url.startswith("sqlite:///") else ""
        if not path or path == ":memory:":
            raise StorageError("DATABASE_URL must name a file: sqlite:////absolute/path or sqlite:///relative/path")
        chosen: Database = SqliteFile(path)
    else:
        try:
            chosen = db_url.connect(url, autoconnect=False)
        except (RuntimeError, ValueError):
            # Their messages repeat the URL, which may hold a password.
            raise StorageError("DATABASE_URL is not understood: unknown scheme or no database name") from None
    database.initialize(chosen)
    return chosen


def folder() -> Path:
    """Where the database's file is, for what is kept beside it. Raises StorageError for a database without a file."""
    chosen = database.obj
    if isinstance(chosen, SqliteFile):
        return Path(chosen.database).absolute().parent
    raise StorageError("AUTH=password keeps the key of its sessions beside the database's file, and there is none")


def create() -> None:
    """Connect this thread, making the database where that is ours to do. Raises StorageError or a database error."""
    close()
    chosen = database.obj
    if isinstance(chosen, SqliteFile):
        chosen.create()
    else:
        chosen.connect()


def ensure_open() -> None:
    """Connect this thread, or keep its connection when it is still good. Raises a database error."""
    chosen = database.obj
    if isinstance(chosen, SqliteFile) and chosen.is_stale():
        chosen.close()
    chosen.connect(reuse_if_open=True)


def close() -> None:
    """Close this thread's connection, if any."""
    if not database.obj.is_closed():
        database.obj.close()


def discard() -> None:
    """Close this thread's connection after a failure, forgetting it when even that fails."""
    try:
        close()
    except DATABASE_ERRORS:
        dispose()


def dispose() -> None:
    """Forget this thread's connection without closing it: after a fork it belongs to the parent."""
    database.obj.dispose()


def find_target(key: str) -> tuple[int, str, int | None] | None:
    """(id, url, expires) of the link that has this folded name or had it, or None. Raises a database error."""
    found: tuple[int, str, int | None] | None = _first(FIND_TARGET, key) or _first(FIND_RENAMED, key)
    return found


def _first(sql: str, key: str) -> Any:
    chosen = database.obj
    if isinstance(chosen, SqliteFile):
        return chosen.first(sql, (key,))
    ensure_open()
    return chosen.execute_sql(sql.replace("?", chosen.param), (key,)).fetchone()


def has_triggers() -> bool:
    """True where the migrations have made triggers."""
    return isinstance(database.obj, SqliteFile)


def count_visits(at: int, counted: Mapping[int, int]) -> None:
    """Add visits, whose last was then, by link; not of links that are gone meanwhile. Raises a database error."""
    if isinstance(database.obj, SqliteFile):
        database.obj.cursor().execute(ADD_VISITS, (at, json.dumps(counted)))
    else:
        run_many(ADD_VISIT, [(count, at, at, link) for link, count in counted.items()])


def count_daily(day: int, counted: Mapping[int, int]) -> None:
    """Add visits of one day, by link. Raises a database error."""
    if isinstance(database.obj, SqliteFile):
        database.obj.cursor().execute(ADD_DAILIES + ON_SAME_DAY, (day, json.dumps(counted)))
    else:
        run_many(ADD_DAILY + ON_SAME_DAY, [(day, link, count) for link, count in counted.items()])


def run_many(sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement for each row of values, prepared once; in it `?` stands for a value. Raises a database error."""
    database.obj.cursor().executemany(sql.replace("?", database.obj.param), rows)


@contextmanager
def write() -> Iterator[None]:
    """A transaction that holds the write lock from its start. Commits, or rolls back on any exception.

    The threads of a process wait for each other first: SQLite only asks again and again whether its lock is free, and
    of many who do so one may have no luck for long.
    """
    if not _turn.acquire(timeout=BUSY_TIMEOUT):
        raise apsw.BusyError("another thread was writing for the whole timeout")
    try:
        with database.atomic():
            yield
    finally:
        _turn.release()


def insert_rows(model: type[Model], columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many rows as they are, of the table's columns in this order: several times as quick as peewee's way."""
    chosen = database.obj
    left, right = chosen.quote
    names = ", ".join(f"{left}{column}{right}" for column in columns)
    table = f"{left}{model._meta.table_name}{right}"
    marks = ", ".join("?" * len(columns))
    sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - own words
    run_many(sql, rows)


def is_busy(error: BaseException) -> bool:
    """True when `error` only says that somebody else was writing for the whole timeout."""
    return isinstance(getattr(error, "orig", error), apsw.BusyError)
