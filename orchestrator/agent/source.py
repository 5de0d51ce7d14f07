"""The volume that is backed up: what is on it, whether it may be read safely, and how each database is to be read."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.agent.errors import AgentError

MAGIC = b"SQLite format 3\x00"
WAL_MAGICS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
#: At the volume's root while a restore is under way; never part of a snapshot.
RESTORE_FOLDER = ".restore"
JOURNAL = "journal.json"
#: What Litestream keeps on the volume for itself; never part of a snapshot.
REPLICA_FOLDER = ".litestream"
SIDECARS = ("-wal", "-shm", "-journal")
# A zero-byte file passes integrity_check. Under a name like these it is a database that lost everything.
DATABASE_SUFFIXES = (".db", ".db3", ".sqlite", ".sqlite3")
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "virtiofs", "vboxsf", "prl_fs"}
    | {"afs", "ceph", "glusterfs", "lustre", "ocfs2", "gfs2", "beegfs", "orangefs", "fuse"}
)

Access = Literal["live", "immutable", "aside"]


@dataclass(frozen=True, slots=True)
class Item:
    """A folder or regular file on the volume; `path` is relative to its root, "" is the root."""

    path: str
    info: os.stat_result

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.info.st_mode)


@dataclass(frozen=True, slots=True)
class Found:
    """A database on the volume. `bytes` counts its log too: a copy can't become larger."""

    path: str
    info: os.stat_result
    bytes: int


@dataclass(frozen=True, slots=True)
class Survey:
    databases: tuple[Found, ...]
    other_bytes: int
    other_count: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes say; `sqlite` is false for any other file."""

    sqlite: bool
    wal_mode: bool


def choose_access(*, wal_mode: bool, has_wal: bool, has_shm: bool) -> Access:
    """How to read a database without writing a byte beside it.

    - live: an ordinary read-only connection. A WAL database needs its -shm for that, and the -shm is there while
      anyone has it open.
    - immutable: WAL mode but no -wal: the last connection was closed cleanly, all is in the main file. An ordinary
      connection would have to create -wal and -shm: impossible on a read-only mount, a write to the source on another.
    - aside: a -wal without -shm (a crash, and the -shm lost): the log must be replayed, so both are copied first.
    Immutable and aside trust that nobody writes meanwhile; whoever uses them proves that afterwards.
    """
    if not wal_mode or (has_wal and has_shm):
        return "live"
    return "aside" if has_wal else "immutable"


def read_header(path: Path) -> Header:
    """Only while this process has no connection to that file: closing a second descriptor drops SQLite's locks."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        head = os.read(descriptor, 20)
    finally:
        os.close(descriptor)
    return Header(sqlite=head[:16] == MAGIC, wal_mode=head[:16] == MAGIC and head[18:20] == b"\x02\x02")


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def walk(root: Path) -> Iterator[Item | None]:
    """Every folder and regular file under root, the root first; None for each thing that is neither (symlinks too).

    What vanishes meanwhile is left out. Lists one folder at a time, so memory does not grow with the volume.
    """
    yield Item("", root.stat())
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            listing = os.scandir(root / folder)
        except FileNotFoundError:
            continue
        except PermissionError:
            if folder == "lost+found":
                continue
            raise AgentError(
                f"The folder {folder or '.'} on the volume may not be read by user {os.getuid()}.",
                hint="Run the backup service as the owner of the data.",
            ) from None
        with listing:
            for entry in listing:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if path in (RESTORE_FOLDER, REPLICA_FOLDER):
                    continue
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(info.st_mode):
                    folders.append(path)
                    yield Item(path, info)
                elif stat.S_ISREG(info.st_mode):
                    yield Item(path, info)
                else:
                    yield None


def survey(root: Path) -> Survey:
    """Finds the databases by their header, adds up the rest. Raises AgentError for one that is unreadable or empty."""
    databases: list[Found] = []
    other_bytes = other_count = skipped = 0
    for item in walk(root):
        if item is None:
            skipped += 1
        elif not item.is_dir:
            if _is_database(root / item.path, item):
                databases.append(Found(item.path, item.info, item.info.st_size + _log_bytes(root / item.path)))
            elif not is_sidecar(root / item.path):
                other_bytes += item.info.st_size
                other_count += 1
    databases.sort(key=lambda found: found.path)
    return Survey(tuple(databases), other_bytes, other_count, skipped)


def has_database(root: Path) -> bool:
    """Whether anything with a database's header is there yet; stops at the first."""
    for item in walk(root):
        if item is not None and not item.is_dir:
            try:
                if read_header(root / item.path).sqlite:
                    return True
            except OSError:
                continue
    return False


def is_sidecar(path: Path) -> bool:
    """Whether this is the -wal, -shm or -journal of a database beside it. The name alone proves nothing."""
    for suffix in SIDECARS:
        if path.name.endswith(suffix) and len(path.name) > len(suffix):
            try:
                return read_header(path.with_name(path.name[: -len(suffix)])).sqlite
            except OSError:
                return False
    return False


def _is_database(path: Path, item: Item) -> bool:
    try:
        if read_header(path).sqlite:
            return True
        if item.info.st_size == 0 and path.name.lower().endswith(DATABASE_SUFFIXES):
            raise AgentError(
                f"{item.path} is an empty file, not a database.",
                hint="If no database should be there, remove the file; otherwise restore the last good snapshot.",
                code="empty",
            )
        log = beside(path, "-wal")
        if log.is_file() and _first_bytes(log) in WAL_MAGICS:
            raise AgentError(
                f"{item.path} has a SQLite log beside it but is no SQLite database: damaged or encrypted.",
                hint="A copy of it could not be proven; the earlier snapshots are kept.",
                code="damaged",
            )
    except FileNotFoundError:
        pass
    except PermissionError:
        raise AgentError(
            f"{item.path} may not be read by user {os.getuid()}.",
            hint="Run the backup service as the owner of the data.",
        ) from None
    return False


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _log_bytes(path: Path) -> int:
    total = 0
    for suffix in ("-wal", "-journal"):
        try:
            total += beside(path, suffix).lstat().st_size
        except FileNotFoundError:
            continue
    return total


def check_settled(root: Path) -> None:
    """Raises AgentError (busy) while a restore has moved files and has not put all of them where they belong."""
    try:
        phase = json.loads((root / RESTORE_FOLDER / JOURNAL).read_text(encoding="ascii"))["phase"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if phase in ("moving", "placing", "clearing", "returning"):
        raise AgentError(
            "A restore of this volume was begun and did not end.",
            hint="Run `deploy` or `restore`, which put it right.",
            code="busy",
        )


def filesystem_type(mountinfo: str, path: str) -> str:
    """The type of the file system that holds an absolute path, from the text of /proc/self/mountinfo, or ""."""
    best, found = -1, ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5 or not right:
            continue
        point = fields[4].encode().decode("unicode_escape").rstrip("/")
        # The last mount on a point hides those before it, hence >=.
        if (path == point or path.startswith(point + "/")) and len(point) >= best:
            best, found = len(point), right.split(" ", 1)[0]
    return found


def refused_filesystem(kind: str) -> bool:
    """Locks and shared memory of SQLite do not work over these; WAL databases on them are corrupted within a minute."""
    return kind in NETWORK_FILESYSTEMS or (kind.startswith("fuse.") and kind != "fuse.fuse-overlayfs")


def check_filesystem(root: Path) -> None:
    """Raises AgentError when the volume is on a network or virtiofs file system."""
    try:
        kind = filesystem_type(Path("/proc/self/mountinfo").read_text(errors="replace"), str(root.resolve()))
    except OSError:
        return
    if refused_filesystem(kind):
        raise AgentError(
            f"The data is on a {kind} file system, where a SQLite database cannot be read safely while it is in use.",
            hint="Keep the database on a local volume of the engine.",
        )
