"""What a snapshot is called and what its manifest says. Pure; the standard library only.

A snapshot is two files: `<id>.tar.zst`, whose last member is `manifest.json`, and `<id>.json` beside it: the same
manifest plus what can only be known afterwards (the archive's size and sha256). The second is written last: a
snapshot exists when it does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

FORMAT = 1
ARCHIVE_SUFFIX = ".tar.zst"
SIDECAR_SUFFIX = ".json"
PART_SUFFIX = ".part"
DATA_PREFIX = "data/"
SUMS_MEMBER = "SHA256SUMS"
MANIFEST_MEMBER = "manifest.json"
_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{7}")
_CREATED = "%Y-%m-%dT%H:%M:%SZ"
# Only in the file beside the archive: what is not known while the archive is still being written.
SIDECAR_KEYS = frozenset({"snapshot", "bytes", "sha256", "verified", "rehearsed", "remotes"})
#: How a rehearsal ended.
PASSED, FAILED = "passed", "failed"


class ManifestError(ValueError):
    """A manifest that is not one; the text says which key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """`mode` is octal text such as "0640", so a person can read it."""

    mode: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database as it is in the archive. `path` is relative to the volume; `tables` maps a name to its rows.

    `read` says how it was read: live (beside its writers), immutable (cleanly stopped), aside (crashed: copied with
    its log first). `journal_mode` is "wal" or "delete" (SQLite stores only that much). `foreign_key_violations` counts
    rows that point nowhere; None where SQLite cannot tell.
    """

    path: str
    bytes: int
    sha256: str
    integrity: str
    foreign_key_violations: int | None
    user_version: int
    application_id: int
    journal_mode: str
    page_size: int
    tables: dict[str, int]
    mode: str
    uid: int
    gid: int
    read: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The volume's other regular files. `sha256` is that of SHA256SUMS, which has a line for every part."""

    count: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the archive holds. `created` is when the first database was pinned; `root` is the volume's own folder.
    `engine` is Docker's version, where it was known. `raw`: the files as they were, of a volume whose databases could
    not be proven."""

    created: str
    release: str
    reason: str
    sqlite: str
    engine: str = ""
    root: Owner
    databases: tuple[Database, ...]
    files: Files
    warnings: tuple[str, ...] = ()
    seconds: float
    format: int = FORMAT
    raw: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, in the order of the fields."""
        document = asdict(self)
        return {**document, "databases": list(document["databases"]), "warnings": list(document["warnings"])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """The last rehearsal of a restore: when, how it ended (PASSED or FAILED), and why it failed.

    `release` is the one that was booted, `image` that image's id; `own_release` says whether it is the one that the
    snapshot came from. Seconds are None for what was not reached.
    """

    at: str
    result: str
    release: str
    image: str
    own_release: bool
    restore_seconds: float | None = None
    boot_seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A committed snapshot: its id, its archive's size and sha256, when it was last verified, its last rehearsal.

    `remotes` are those that hold a checked copy: `{"offsite:bucket": {"at": time, "checked": true}}`."""

    snapshot: str
    bytes: int
    sha256: str
    manifest: Manifest
    verified: str | None = None
    rehearsed: Rehearsed | None = None
    remotes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The document of `<id>.json`."""
        head = {"snapshot": self.snapshot, "bytes": self.bytes, "sha256": self.sha256, "verified": self.verified}
        rehearsed = asdict(self.rehearsed) if self.rehearsed else None
        remotes = {"remotes": {name: dict(copy) for name, copy in self.remotes.items()}} if self.remotes else {}
        return {**head, "rehearsed": rehearsed, **remotes, **self.manifest.to_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a listing: a good snapshot, or the name of a broken one and what is wrong with it."""

    snapshot: str
    detail: Snapshot | None = None
    error: str = ""
    created: datetime = field(default=datetime.min.replace(tzinfo=UTC))

    @property
    def good(self) -> bool:
        """Whether it is a proven snapshot."""
        return not self.error and self.detail is not None and not self.detail.manifest.raw

    @property
    def raw(self) -> bool:
        """Whether it is whole, but of files that could not be proven."""
        return not self.error and self.detail is not None and self.detail.manifest.raw

    def to_dict(self) -> dict[str, Any]:
        if self.detail is None:
            created = self.created.strftime(_CREATED) if self.created.year > 1 else None
            return {"snapshot": self.snapshot, "created": created, "error": self.error}
        manifest = self.detail.manifest
        document: dict[str, Any] = {
            "snapshot": self.snapshot,
            "created": manifest.created,
            "bytes": self.detail.bytes,
            "sha256": self.detail.sha256,
            "release": manifest.release,
            "reason": manifest.reason,
            "verified": self.detail.verified,
            "rehearsed": asdict(self.detail.rehearsed) if self.detail.rehearsed else None,
            "seconds": manifest.seconds,
            "databases": [database.path for database in manifest.databases],
            "files": manifest.files.count,
            "raw": manifest.raw,
            "remotes": sorted(self.detail.remotes),
        }
        return {**document, "error": self.error} if self.error else document


def snapshot_id(created: datetime, sha256: str) -> str:
    """`20261124T101502-3f9c2ab`: UTC and the first 7 hex digits of the archive's sha256."""
    return f"{created.astimezone(UTC):%Y%m%dT%H%M%S}-{sha256[:7]}"


def is_snapshot_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def created_of(snapshot: str) -> datetime | None:
    """The time in an id; None when the text is not an id or not a time."""
    if not is_snapshot_id(snapshot):
        return None
    try:
        return datetime.strptime(snapshot[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_CREATED)


def parse_time(text: str) -> datetime:
    """The inverse of format_time; raises ManifestError."""
    try:
        return datetime.strptime(text, _CREATED).replace(tzinfo=UTC)
    except ValueError:
        raise ManifestError(f"not a time: {text!r}") from None
