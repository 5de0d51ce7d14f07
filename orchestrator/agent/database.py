"""Copies one SQLite database while it is in use, and proves a copy. The only module that talks to SQLite."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

import apsw

from orchestrator.agent.errors import AgentError, StoppedError
from orchestrator.agent.source import Access, beside, choose_access, read_header
from orchestrator.agent.syncing import Syncer, syncing

PAGES = 1024
FREE_EVERY = 32 * 1024 * 1024
CHUNK = 1024 * 1024
BUSY_MS = 10_000
ATTEMPTS = 5
# Two writes within one tick of the kernel's clock bear the same time: what is this young proves nothing. Seconds.
TICK = 0.05
OPCODES = 200_000
# For a check, which comes back to pages: a fifth of its time less than with SQLite's own 2 MB. In KiB, below 0.
CHECK_CACHE = -16 * 1024
# For a copy, which never does: a fifth less of its time, for what is kept is only turned over. In pages.
COPY_CACHE = 10

SQLITE_VERSION = apsw.sqlite_lib_version()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a check found out about a database. `tables` are ordinary ones, also those behind a virtual table."""

    user_version: int
    application_id: int
    journal_mode: str
    page_size: int
    foreign_key_violations: int | None
    tables: dict[str, int]


class _ChangedError(Exception):
    """Somebody wrote during a copy that is only right when nobody does."""


class _ReplayNeededError(Exception):
    """A log must be replayed before the database can be read, and that is a write."""


def copy_database(path: Path, target: Path, advance: Callable[[int], None]) -> Access:
    """Copies the database at `path` into the new file `target` as it was at one moment not before the call.

    Returns how it was read. Never writes to the source or its folder, never checkpoints. Raises AgentError.
    """
    replay = False
    for _ in range(ATTEMPTS):
        header = read_header(path)
        access = choose_access(
            wal_mode=header.wal_mode, has_wal=beside(path, "-wal").exists(), has_shm=beside(path, "-shm").exists()
        )
        access = "aside" if replay else access
        try:
            if access == "aside":
                _copy_aside(path, target, advance)
            elif access == "immutable":
                with _unchanged(path, "-wal"):
                    _copy_pinned(path, target, advance, immutable=True, gently=True)
            else:
                _copy_pinned(path, target, advance, immutable=False, gently=header.wal_mode)
        except _ChangedError:
            replay = False
        except _ReplayNeededError:
            replay = True
        else:
            return access
        for leftover in (target, *(beside(target, suffix) for suffix in ("-wal", "-shm", "-journal"))):
            leftover.unlink(missing_ok=True)
        time.sleep(4 * TICK)
    raise AgentError(
        f"{path.name} is being written by a program that keeps others out (locking_mode=EXCLUSIVE, or it starts and "
        "stops all the time).",
        hint="Let the app use the normal locking mode, or take the snapshot while it is stopped.",
    )


def _uri(path: Path, query: str) -> str:
    # Percent signs carry any byte a file name can have, also those that are not UTF-8.
    return f"file:{quote_from_bytes(os.fsencode(path.absolute()))}?{query}"


def _connect(path: Path, *, immutable: bool) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(_uri(path, "mode=ro&immutable=1" if immutable else "mode=ro"), flags=flags)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(BUSY_MS)
    return connection


def _copy_pinned(path: Path, target: Path, advance: Callable[[int], None], *, immutable: bool, gently: bool) -> None:
    """The read transaction comes first: it pins one state, where a backup alone starts anew after each commit.

    `gently` syncs the copy in small amounts, so that the service's commits do not wait behind a flood of dirty pages.
    A database in rollback-journal mode is copied without: there the pin keeps writers waiting, so haste is gentler.
    """
    try:
        source = _connect(path, immutable=immutable)
    except apsw.CantOpenError as error:
        raise _explain_open(path, error) from error
    with closing(source):
        try:
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except (apsw.ReadOnlyError, apsw.CantOpenError):
            raise _ReplayNeededError from None
        except (apsw.BusyError, apsw.LockedError):
            raise AgentError(
                f"{path.name} stayed locked by another program for {BUSY_MS // 1000} seconds.",
                hint="A long write transaction, or locking_mode=EXCLUSIVE, keeps readers out.",
                code="busy",
            ) from None
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise _damaged(path.name, str(error)) from error
        page_size = _pragma(source, "page_size")
        with closing(apsw.Connection(str(target))) as copy:
            # Nobody else reads the copy and a failed one is thrown away: no journal, and syncs by our own measure.
            copy.pragma("journal_mode", "off")
            copy.pragma("synchronous", "off")
            for one in (source, copy):
                one.pragma("cache_size", COPY_CACHE)
            with target.open("r+b") as file, syncing(file.fileno()) as syncer:
                _step(copy, source, page_size, advance, syncer if gently else None)
                syncer.finish()


def _step(
    copy: apsw.Connection,
    source: apsw.Connection,
    page_size: int,
    advance: Callable[[int], None],
    syncer: Syncer | None,
) -> None:
    with copy.backup("main", source, "main") as backup:
        left = 0
        done = False
        while not done:
            done = backup.step(PAGES)
            copied = ((left or backup.page_count) - backup.remaining) * page_size
            left = backup.remaining
            advance(copied)
            if syncer is not None:
                syncer.wrote(copied)


def _fingerprint(path: Path) -> tuple[int, int, int, int] | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


@contextmanager
def _unchanged(path: Path, *suffixes: str) -> Iterator[None]:
    """Raises _ChangedError when the file or one of those beside it changed, came or went while the block ran."""
    paths = [path, *(beside(path, suffix) for suffix in suffixes)]
    before = [_fingerprint(one) for one in paths]
    now = time.time()
    if any(one is not None and 0 <= now - one[3] / 1e9 < TICK for one in before):
        raise _ChangedError
    try:
        yield
    except FileNotFoundError:
        raise _ChangedError from None
    except StoppedError:
        raise
    except (apsw.CorruptError, AgentError):
        # Half a change looks like damage; only without one it is.
        if [_fingerprint(one) for one in paths] != before:
            raise _ChangedError from None
        raise
    if [_fingerprint(one) for one in paths] != before:
        raise _ChangedError


def _copy_aside(path: Path, target: Path, advance: Callable[[int], None]) -> None:
    """Copies the database with its log as plain files, and lets SQLite replay the log on the copy.

    Right only when nobody writes: a plain copy of a live database is torn. A crashed app does not, and `_unchanged`
    proves it. The copied log keeps the name SQLite looks for.
    """
    suffixes = ("-wal", "-journal")
    with _unchanged(path, *suffixes):
        _copy_plain(path, target, advance)
        for suffix in suffixes:
            if beside(path, suffix).exists():
                _copy_plain(beside(path, suffix), beside(target, suffix), advance)
        try:
            with closing(apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)) as copy:
                copy.execute("SELECT count(*) FROM sqlite_schema").fetchall()
                copy.pragma("wal_checkpoint", "TRUNCATE")
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise _damaged(path.name, str(error)) from error
    with target.open("r+b") as file:
        os.fsync(file.fileno())


def _copy_plain(path: Path, target: Path, advance: Callable[[int], None]) -> None:
    with (
        path.open("rb", buffering=0) as source,
        target.open("xb") as copy,
        syncing(copy.fileno()) as syncer,
    ):
        while data := source.read(CHUNK):
            copy.write(data)
            advance(len(data))
            syncer.wrote(len(data))


@contextmanager
def _breathing(connection: apsw.Connection, advance: Callable[[int], None]) -> Iterator[None]:
    """Lets a signal in, and the progress out, while one long statement runs."""

    def breathe() -> bool:
        advance(0)
        return False

    connection.set_progress_handler(breathe, OPCODES)
    yield


def remove_copy(path: Path) -> None:
    """Removes a copy a little at a time: a file system that tells the disk what is free makes the commits of others
    wait for as long as it takes to tell of all of it."""
    with path.open("r+b") as file:
        for size in range(path.stat().st_size, 0, -FREE_EVERY):
            file.truncate(size)
            os.fdatasync(file.fileno())
    path.unlink()


def check_database(path: Path, name: str, advance: Callable[[int], None]) -> Facts:
    """Proves a copy that nobody writes to: integrity_check in full (quick_check passes torn copies), foreign keys,
    at least one table, rows counted. Raises AgentError (code damaged or empty); `name` is what it is called there.

    Foreign keys that point nowhere are counted, not refused: SQLite does not enforce them unless asked, and data an
    app lives with is data its owner wants back. `foreign_key_violations` is None where SQLite cannot tell.
    """
    with closing(_connect(path, immutable=True)) as connection, _breathing(connection, advance):
        try:
            connection.pragma("cache_size", CHECK_CACHE)
            return _check(connection, path, name)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise _damaged(name, str(error)) from error
        finally:
            advance(path.stat().st_size)


def _check(connection: apsw.Connection, path: Path, name: str) -> Facts:
    with closing(connection.execute("PRAGMA integrity_check(5)")) as rows:
        findings = [str(row[0]) for row in rows]
    if findings != ["ok"]:
        raise _damaged(name, findings[0] if findings else "integrity_check said nothing")
    tables = _tables(connection)
    if not tables:
        raise AgentError(
            f"{name} has no tables.",
            hint="Either the app has not made its tables yet, or the database lost everything.",
            code="empty",
        )
    violations: int | None
    try:
        violations = sum(1 for _ in connection.execute("PRAGMA foreign_key_check"))
    except apsw.SQLError:
        violations = None
    # An immutable connection holds no locks, so a second descriptor does no harm here.
    return Facts(
        user_version=_pragma(connection, "user_version"),
        application_id=_pragma(connection, "application_id"),
        journal_mode="wal" if read_header(path).wal_mode else "delete",
        page_size=_pragma(connection, "page_size"),
        foreign_key_violations=violations,
        tables=tables,
    )


def count_rows(path: Path, name: str, advance: Callable[[int], None]) -> dict[str, int]:
    """The rows of each table of a database that is ours alone: its log, if any, is replayed. Raises AgentError."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
    try:
        with closing(apsw.Connection(_uri(path, "mode=rw"), flags=flags)) as own, _breathing(own, advance):
            return _tables(own)
    except (apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError) as error:
        raise _damaged(name, str(error)) from error


def _tables(connection: apsw.Connection) -> dict[str, int]:
    tables: dict[str, int] = {}
    # A virtual table has no pages of its own (rootpage 0), and its module may not be here; its content is in others.
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND substr(name, 1, 7) <> 'sqlite_'"
    for (table,) in connection.execute(query + " ORDER BY name").fetchall():
        quoted = '"' + str(table).replace('"', '""') + '"'
        tables[str(table)] = _count(connection, quoted)
    return tables


def _pragma(connection: apsw.Connection, name: str) -> int:
    return int(str(connection.pragma(name)))


def _count(connection: apsw.Connection, quoted: str) -> int:
    return int(str(connection.execute(f"SELECT count(*) FROM {quoted}").fetchall()[0][0]))  # noqa: S608 - quoted


def _damaged(name: str, finding: str) -> AgentError:
    return AgentError(
        f"{name} is damaged: {' '.join(finding.split())}.",
        hint="The earlier snapshots are kept; verify the last one and think of restoring it.",
        code="damaged",
    )


def _explain_open(path: Path, error: Exception) -> AgentError:
    return AgentError(
        f"{path.name} cannot be opened by user {os.getuid()}: {error}.",
        hint="Run the backup service as the owner of the data.",
    )
