"""Snapshots that come from elsewhere: an archive, encrypted or not, is proven to be whole and becomes an ordinary
snapshot of this volume. Its manifest is its own last member, so nothing but the archive is needed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from orchestrator.agent import age, store
from orchestrator.agent.archive import CHUNK, DAMAGE, open_archive
from orchestrator.agent.errors import AgentError
from orchestrator.agent.events import Progress
from orchestrator.agent.manifest import (
    MANIFEST_MEMBER,
    Manifest,
    ManifestError,
    Snapshot,
    parse_time,
    snapshot_id,
)
from orchestrator.agent.manifest_parse import parse_manifest

#: Where archives lie that come or go: whoever holds the lock below it clears it, so a killed run's are gone then. Apart
#: from the snapshots' own lock, since a slow network must not keep the next snapshot waiting.
FOLDER = ".transfer"
MANIFEST_LIMIT = 64 * 1024 * 1024
LOCK_WAIT = 600.0


@contextmanager
def transfer(backups: Path, *, wait: float, purpose: str) -> Iterator[Path]:
    """An empty folder beside the snapshots, for one run at a time; gone afterwards."""
    with store.exclusive(backups, store.TRANSFER_LOCK, wait=wait, purpose=purpose):
        folder = backups / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def receive(
    backups: Path, source: BinaryIO, size: int, identities: Sequence[bytes], *, wait: float, progress: Progress
) -> Snapshot:
    """An archive of `size` bytes, read from `source`, as a snapshot. Raises AgentError (damaged, usage, full)."""
    with transfer(backups, wait=wait, purpose="an archive that is given") as folder:
        store.check_space(backups, 2 * size)
        progress.begin("receive", size)
        left = size
        with (folder / "given").open("xb") as file:
            while left and (data := source.read(min(CHUNK, left))):
                file.write(data)
                progress.advance(len(data))
                left -= len(data)
        if left:
            raise AgentError(f"The archive ends {left} bytes too early.", hint="Try again.", code="damaged")
        return adopt(backups, folder, folder / "given", identities, progress)


def adopt(
    backups: Path, folder: Path, given: Path, identities: Sequence[bytes], progress: Progress, *, expected: str = ""
) -> Snapshot:
    """Decrypts `given` where it is encrypted, takes its manifest out, and commits it under its own id; the same data
    that is there already is done. With `expected` it must be that id."""
    archive = _plain(folder, given, identities, progress)
    digest, size = _hash(archive, progress)
    manifest = _manifest(archive, progress)
    created = parse_time(manifest.created)
    made = Snapshot(snapshot=snapshot_id(created, digest), bytes=size, sha256=digest, manifest=manifest)
    if expected not in ("", made.snapshot):
        raise AgentError(f"What lies there as {expected} is {made.snapshot}.", code="damaged")
    with store.locked(backups, wait=LOCK_WAIT, purpose="keeping an archive from elsewhere"):
        store.commit(backups, archive, made)
    return made


def _plain(folder: Path, given: Path, identities: Sequence[bytes], progress: Progress) -> Path:
    with given.open("rb") as source:
        if not source.peek(20).startswith(b"age-encryption.org/"):
            return given
        if not identities:
            raise AgentError("The snapshot is encrypted.", hint="Give the file of its key: --key FILE.", code="usage")
        target = folder / "plain"
        progress.begin("decrypt", given.stat().st_size)
        with target.open("xb") as file:
            age.decrypt(source, file, identities, progress.advance)
        progress.end()
    given.unlink()
    return target


def _hash(path: Path, progress: Progress) -> tuple[str, int]:
    digest, size = hashlib.sha256(), path.stat().st_size
    progress.begin("check", size)
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
            progress.advance(len(data))
        store.sync(file)
    progress.end()
    return digest.hexdigest(), size


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], None]) -> None:
        self._file, self._advance = file, advance

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._advance(len(data))
        return data


def _manifest(path: Path, progress: Progress) -> Manifest:
    """The manifest, the archive's last member; the rest is proven when the snapshot is verified or restored."""
    found: Manifest | None = None
    progress.begin("archive", path.stat().st_size)
    try:
        with path.open("rb") as file, open_archive(_Counted(file, progress.advance)) as tar:  # type: ignore[arg-type]
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]
                content = tar.extractfile(member) if member.name == MANIFEST_MEMBER else None
                if content is not None:
                    if member.size > MANIFEST_LIMIT:
                        raise ManifestError("it is too large")
                    found = parse_manifest(json.loads(content.read(member.size)))
    except (*DAMAGE, ValueError, RecursionError) as error:
        raise AgentError(
            f"The archive cannot be read: {' '.join(str(error).split())}.",
            hint="It must be a whole SNAPSHOT.tar.zst or .tar.zst.age, as `backup` makes it.",
            code="damaged",
        ) from error
    progress.end()
    if found is None:
        raise AgentError("The archive holds no manifest: it is no snapshot, or not all of one.", code="damaged")
    return found
