"""Copies of the snapshots on remotes: what is missing there is copied and checked, what is too old there goes, and what
is there can be listed and fetched.

On a remote, a snapshot is `<id>.tar.zst`, or `<id>.tar.zst.age` where it is encrypted, and `<id>.json`, written last:
only with it does the copy exist. Beside an encrypted archive it says when, how large and which files, but no table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.agent import age, store
from orchestrator.agent.errors import AgentError, StoppedError, explain
from orchestrator.agent.events import Progress, log
from orchestrator.agent.incoming import LOCK_WAIT, adopt, transfer
from orchestrator.agent.manifest import (
    ARCHIVE_SUFFIX,
    SIDECAR_SUFFIX,
    Entry,
    ManifestError,
    Snapshot,
    created_of,
    format_time,
    is_snapshot_id,
    parse_time,
)
from orchestrator.agent.manifest_parse import parse_snapshot
from orchestrator.agent.rclone import Remote
from orchestrator.agent.retention import Retain, removable

AGE_SUFFIX = ".age"
#: How many a run copies at most, the newest first: a new remote is filled in several runs.
CATCH_UP = 20
_PART = re.compile(r"([0-9]{8}T[0-9]{6}-[0-9a-f]{7})\.(?:tar\.zst(?:\.age)?|json)(?:\.[0-9a-f]+)?(?:\.partial)?")


@dataclass(frozen=True, slots=True)
class Config:
    """`remotes` are rclone's paths, `recipients` public age keys; with any, all that goes out is encrypted."""

    remotes: tuple[str, ...]
    recipients: tuple[bytes, ...]
    retain: Retain

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Config:
        """BACKUP_REMOTES and BACKUP_ENCRYPT_TO, each a JSON list, and BACKUP_RETAIN. Raises AgentError (usage)."""
        try:
            remotes = tuple(map(str, json.loads(environment.get("BACKUP_REMOTES") or "[]")))
            keys = tuple(map(age.recipient, json.loads(environment.get("BACKUP_ENCRYPT_TO") or "[]")))
            told = environment.get("BACKUP_RETAIN")
            return cls(remotes, keys, Retain.of(told) if told else Retain())
        except (ValueError, TypeError) as error:
            raise AgentError(f"The settings of the remotes are wrong: {error}.", code="usage") from error


@dataclass(frozen=True, slots=True)
class Copy:
    """One snapshot on a remote. `file` is its archive's name there; `bytes` and `sha256` are that file's."""

    entry: Entry
    file: str
    bytes: int
    sha256: str
    document: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {**self.entry.to_dict(), "encrypted": self.file.endswith(AGE_SUFFIX)}


def read_copy(name: str, text: bytes, files: Mapping[str, int]) -> Copy:
    """A sidecar `<id>.json` from a remote, beside the files there (name to bytes); a broken one says what is wrong."""
    snapshot = name.removesuffix(SIDECAR_SUFFIX)
    created = created_of(snapshot) or datetime.min.replace(tzinfo=UTC)
    try:
        document = json.loads(text)
        detail = parse_snapshot(document)
        sealed = document.get("encrypted")
        size, sha256 = (sealed["bytes"], sealed["sha256"]) if sealed else (detail.bytes, detail.sha256)
        file = snapshot + ARCHIVE_SUFFIX + (AGE_SUFFIX if sealed else "")
        if detail.snapshot != snapshot or not isinstance(size, int) or not isinstance(sha256, str):
            raise ManifestError("it belongs to another snapshot")
    except (ManifestError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Copy(
            Entry(snapshot=snapshot, created=created, error=f"its manifest cannot be read ({error})"), "", 0, "", {}
        )
    there = files.get(file)
    wrong = "" if there == size else "its archive is missing" if there is None else f"its archive has {there} bytes"
    return Copy(Entry(snapshot=snapshot, detail=detail, created=created, error=wrong), file, size, sha256, document)


def listed(remote: Remote) -> tuple[tuple[Copy, ...], tuple[str, ...]]:
    """The snapshots there, newest first, and the names of files that belong to none of them."""
    files = remote.files()
    names = {name for name in files if is_snapshot_id(name.removesuffix(SIDECAR_SUFFIX)) and name.endswith(".json")}
    texts = remote.read_small(f"*{SIDECAR_SUFFIX}") if names else {}
    copies = tuple(read_copy(name, texts.get(name, b""), files) for name in sorted(names, reverse=True))
    known = names | {copy.file for copy in copies}
    return copies, tuple(name for name in files if name not in known and _PART.fullmatch(name))


def excess(entries: Iterable[Entry], config: Config) -> tuple[str, ...]:
    """Which snapshots of a remote are too many: the rule of the volume itself, for each remote."""
    return removable(entries, config.retain, datetime.now(UTC))


def foreign(local: Iterable[Entry], there: Iterable[Entry]) -> bool:
    """Whether a remote's folder is somebody else's: it has snapshots, and shares none with this volume. A new host has
    an empty database at first; its snapshots must not become the newest beside those that it is to be restored from."""
    ids = {entry.snapshot for entry in there}
    return bool(ids) and ids.isdisjoint(entry.snapshot for entry in local)


def missing(local: Sequence[Entry], there: Sequence[Entry], config: Config) -> tuple[str, ...]:
    """Ids that a remote lacks, newest first, without those that would have to go there at once."""
    good = {entry.snapshot for entry in there if not entry.error}
    wanted = [entry for entry in local if entry.detail is not None and not entry.error and entry.snapshot not in good]
    gone = set(excess([*there, *wanted], config))
    return tuple(sorted((e.snapshot for e in wanted if e.snapshot not in gone), reverse=True)[:CATCH_UP])


def told(document: Mapping[str, Any], detail: Snapshot) -> dict[str, Any]:
    """A remote's sidecar with what was learned here since of the same snapshot, where that is newer: when it was
    proven, how it was rehearsed. Beside an encrypted copy without the reason, which may name tables."""
    known = detail.to_dict()
    if document.get("encrypted") and known["rehearsed"]:
        known["rehearsed"]["reason"] = ""
    newer = dict(document)
    if str(known["verified"] or "") > str(document.get("verified") or ""):
        newer["verified"] = known["verified"]
    if known["rehearsed"] and known["rehearsed"]["at"] > str((document.get("rehearsed") or {}).get("at", "")):
        newer["rehearsed"] = known["rehearsed"]
    return newer


def tell(backups: Path, remote: Remote, snapshot: str) -> dict[str, Any]:
    """Says on a remote what was learned here of its copy. Raises AgentError."""
    detail = store.load(backups, snapshot)
    found = next((copy for copy in listed(remote)[0] if copy.entry.snapshot == snapshot and not copy.entry.error), None)
    if found is None:
        raise AgentError(f"Snapshot {snapshot} is not on {remote.name} any more.", code="missing")
    return {"told": _tell(remote, found, detail)}


def _tell(remote: Remote, copy: Copy, detail: Snapshot) -> bool:
    """Whether there was anything to say."""
    newer = told(copy.document, detail)
    if newer == copy.document:
        return False
    remote.put_text(json.dumps(newer, indent=1) + "\n", copy.entry.snapshot + SIDECAR_SUFFIX)
    return True


def copy_all(backups: Path, config: Config, *, wait: float, progress: Progress) -> dict[str, Any]:
    """Brings every remote up to date. Raises AgentError that names the remotes that failed, after all were tried."""
    failed: dict[str, AgentError] = {}
    copied: list[dict[str, Any]] = []
    removed: list[dict[str, Any]] = []
    with transfer(backups, wait=wait, purpose="copying to the remotes") as folder:
        for name in config.remotes:
            run = _Run(backups, folder, Remote(name), config, progress)
            try:
                run.copy()
            except StoppedError:
                raise
            except (AgentError, OSError) as error:
                failed[name] = explain(error)
            copied += [{"snapshot": one, "remote": name} for one in run.copied]
            removed += [{"snapshot": one, "remote": name} for one in run.removed]
    if failed:
        first = next(iter(failed.values()))
        raise AgentError(" ".join(error.message for error in failed.values()), hint=first.hint, code=first.code)
    return {"copied": copied, "removed": removed}


class _Run:
    """One remote's turn."""

    def __init__(self, backups: Path, folder: Path, remote: Remote, config: Config, progress: Progress) -> None:
        self.backups, self.folder, self.remote = backups, folder, remote
        self.config, self.progress = config, progress
        self.copied: dict[str, Snapshot] = {}
        self.removed: list[str] = []

    def copy(self) -> None:
        local = store.entries(self.backups)
        there, strays = listed(self.remote)
        if foreign(local, [copy.entry for copy in there]):
            raise AgentError(
                f"{self.remote.name} holds snapshots of another volume, and none of this one.",
                hint="Bring one here first (`restore latest --from` that remote), or give this one another folder.",
            )
        here = {entry.snapshot: entry.detail for entry in local if entry.detail is not None and not entry.error}
        for copy in there:
            self._note(copy.entry)
            if not copy.entry.error and (known := here.get(copy.entry.snapshot)):
                _tell(self.remote, copy, known)
        for snapshot in missing(local, [copy.entry for copy in there], self.config):
            try:
                detail = store.load(self.backups, snapshot)
            except AgentError:
                continue  # removed since it was listed
            self._copy(detail)
            self.copied[snapshot] = detail
        self._tidy(strays, {entry.snapshot for entry in local})
        self._prune(there)

    def _copy(self, snapshot: Snapshot) -> None:
        source, name = store.archive_path(self.backups, snapshot.snapshot), self._name(snapshot.snapshot)
        sha256, size = snapshot.sha256, snapshot.bytes
        shown = replace(snapshot, remotes={})
        more: dict[str, Any] = {}
        if self.config.recipients:
            source = self._encrypted(source)
            sha256, size = store.digest(source), source.stat().st_size
            more = {"encrypted": {"bytes": size, "sha256": sha256}}
            manifest = snapshot.manifest
            hidden = tuple(replace(database, tables={}) for database in manifest.databases)
            shown = replace(shown, manifest=replace(manifest, databases=hidden, warnings=()))
            if shown.rehearsed:
                shown = replace(shown, rehearsed=replace(shown.rehearsed, reason=""))
        self.progress.begin(f"copy to {self.remote.name}", size)
        self.remote.put(source, name, self.progress)
        self.progress.end()
        self.progress.begin(f"check {self.remote.name}", size)
        found = self.remote.sha256(name)
        self.progress.end()
        if found != sha256:
            raise AgentError(
                f"{self.remote.name} does not hold what was copied there ({name} has another sha256).",
                hint="Look at that server's disk; the next run copies it again.",
                code="damaged",
            )
        self.remote.put_text(
            json.dumps({**shown.to_dict(), **more}, indent=1) + "\n", snapshot.snapshot + SIDECAR_SUFFIX
        )
        if source.parent == self.folder:
            source.unlink()
        self._note(Entry(snapshot=snapshot.snapshot, detail=snapshot))

    def _encrypted(self, archive: Path) -> Path:
        size, target = archive.stat().st_size, self.folder / "encrypted"
        target.unlink(missing_ok=True)
        store.check_space(self.backups, age.encrypted_size(size, len(self.config.recipients)))
        self.progress.begin("encrypt", size)
        with archive.open("rb") as source, target.open("xb") as file:
            age.encrypt(source, file, self.config.recipients, self.progress.advance)
        self.progress.end()
        return target

    def _note(self, entry: Entry) -> None:
        """Says in the snapshot's own sidecar that a checked copy is there; where the snapshot is here at all."""
        if entry.error or not store.sidecar_path(self.backups, entry.snapshot).exists():
            return
        if self.remote.name in store.load(self.backups, entry.snapshot).remotes:
            return
        with store.locked(self.backups, wait=LOCK_WAIT, purpose="noting a copy"):
            try:
                now = store.load(self.backups, entry.snapshot)
            except AgentError:
                return
            there = {self.remote.name: {"at": format_time(datetime.now(UTC)), "checked": True}}
            store.rewrite(self.backups, replace(now, remotes={**now.remotes, **there}))

    def _tidy(self, strays: Iterable[str], ours: set[str]) -> None:
        """Takes away what killed runs of this host left there; a stray of somebody else's may be under way."""
        made = {name for snapshot in self.copied for name in (self._name(snapshot), snapshot + SIDECAR_SUFFIX)}
        for name in strays:
            match = _PART.fullmatch(name)
            if match and match[1] in ours and name not in made:
                self.remote.remove(name)

    def _name(self, snapshot: str) -> str:
        """An archive's name there."""
        return snapshot + ARCHIVE_SUFFIX + (AGE_SUFFIX if self.config.recipients else "")

    def _prune(self, there: Sequence[Copy]) -> None:
        """After a success only. The sidecar first: without it the copy does not exist, whatever happens then."""
        files = {copy.entry.snapshot: copy.file for copy in there}
        now = [copy.entry for copy in there if copy.entry.snapshot not in self.copied]
        now += [
            Entry(snapshot=one, detail=detail, created=parse_time(detail.manifest.created))
            for one, detail in self.copied.items()
        ]
        for snapshot in excess(now, self.config):
            self.remote.remove(snapshot + SIDECAR_SUFFIX)
            self.remote.remove(files.get(snapshot) or self._name(snapshot))
            self.removed.append(snapshot)
            log("info", "old snapshot removed", snapshot=snapshot, remote=self.remote.name)


def fetch(
    backups: Path, remote: Remote, snapshot: str, identities: Sequence[bytes], *, wait: float, progress: Progress
) -> Snapshot:
    """A remote's snapshot as one of this volume, checked and decrypted; at once where it is here already."""
    if is_snapshot_id(snapshot) and store.sidecar_path(backups, snapshot).exists():
        return store.load(backups, snapshot)
    copies, _ = listed(remote)
    found = next((copy for copy in copies if copy.entry.snapshot == snapshot), None)
    if found is None or found.entry.error:
        why = found.entry.error if found else "it is not there"
        raise AgentError(f"Snapshot {snapshot} of {remote.name} is not usable: {why}.", code="missing")
    encrypted = found.file.endswith(AGE_SUFFIX)
    if encrypted and not identities:
        raise AgentError(
            f"Snapshot {snapshot} of {remote.name} is encrypted.",
            hint="Give the file of its key: --key FILE.",
            code="usage",
        )
    with transfer(backups, wait=wait, purpose=f"fetching {snapshot}") as folder:
        store.check_space(backups, found.bytes * (2 if encrypted else 1))
        progress.begin(f"fetch from {remote.name}", found.bytes)
        remote.get(found.file, folder / "given", progress)
        progress.end()
        if store.digest(folder / "given") != found.sha256:
            raise AgentError(
                f"{snapshot} of {remote.name} is damaged (its sha256).", hint="Use another one.", code="damaged"
            )
        made = adopt(backups, folder, folder / "given", identities, progress, expected=snapshot)
        _Run(backups, folder, remote, Config((), (), Retain()), progress)._note(Entry(snapshot=snapshot, detail=made))
        return made
