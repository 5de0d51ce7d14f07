"""The archive: a tar in GNU's format, compressed with zstd, hashed while it is written. Streams; never seeks."""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

from orchestrator.agent.manifest import DATA_PREFIX, SUMS_MEMBER
from orchestrator.agent.syncing import Syncer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK = 1024 * 1024
# A third of the processor time of zstd's own default, which the service needs more than a sixth of the bytes at most.
LEVEL = 1
# What a compressing thread works on at once. zstd's own choice is 8 MB, with several of them in memory.
JOB = 1024 * 1024


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Compressor:
    """What tarfile writes to: compresses, hashes, writes, and syncs in small amounts, so that no flood of dirty pages
    makes the service's own commits wait."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        # One worker: compression runs beside reading and hashing, and leaves a core to the service.
        parameters = zstd.CompressionParameter
        options: dict[int, int] = {
            parameters.compression_level: LEVEL,
            parameters.checksum_flag: 1,
            parameters.nb_workers: 1,
            parameters.job_size: JOB,
        }
        self._zstd = zstd.ZstdCompressor(options=options)
        self._hash = hashlib.sha256()
        self._given = self.bytes = 0
        self._syncer = Syncer(self._file.fileno())

    def write(self, data: bytes) -> int:
        self._given += len(data)
        self._put(self._zstd.compress(data))
        return len(data)

    def tell(self) -> int:
        return self._given

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)
        self._syncer.wrote(len(data))

    def finish(self) -> str:
        """The last bytes reach the disk here, so this is where a full disk may show. Returns the archive's sha256."""
        self._put(self._zstd.flush(zstd.ZstdCompressor.FLUSH_FRAME))
        self._file.flush()
        self._syncer.finish()
        self._syncer.close()
        self._file.close()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """Closes without caring what becomes of the buffered bytes; the file is about to be removed."""
        self._syncer.close()
        try:
            self._file.close()
        except OSError:
            self._file.detach().close()


class _Measured:
    """Exactly `size` bytes of a file that may change meanwhile: cut when it grew, filled with zeros when it shrank."""

    def __init__(self, file: Readable, size: int, advance: Callable[[int], None]) -> None:
        self._file, self._left, self._advance = file, size, advance
        self.hash = hashlib.sha256()
        self.short = False

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        if len(data) < wanted:
            self.short = True
            data += bytes(wanted - len(data))
        self._left -= len(data)
        self.hash.update(data)
        self._advance(len(data))
        return data


def sum_line(sha256: str, member: str) -> bytes:
    """One line as sha256sum writes it, so `sha256sum -c SHA256SUMS` checks an unpacked archive."""
    raw = os.fsencode(member)
    escaped = raw.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != raw else b"") + sha256.encode() + b"  " + escaped + b"\n"


class ArchiveWriter:
    """Writes one archive. `finish` ends it; `abandon` gives it up. Each part's sha256 is kept in a file."""

    def __init__(self, path: Path, sums: BinaryIO, advance: Callable[[int], None]) -> None:
        self._out = _Compressor(path)
        self._sums, self._advance = sums, advance
        self._sums_hash = hashlib.sha256()
        self._tar = tarfile.TarFile(
            fileobj=cast("IO[bytes]", self._out),
            mode="w",
            format=tarfile.GNU_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
            copybufsize=CHUNK,
        )

    def add_folder(self, path: str, info: os.stat_result) -> None:
        self._add(_info(DATA_PREFIX + path, info, tarfile.DIRTYPE), None)

    def add_file(self, path: str, file: Readable, size: int, info: os.stat_result) -> tuple[str, bool]:
        """Returns the part's sha256, and whether the file held fewer than `size` bytes when it was read."""
        member = _info(DATA_PREFIX + path, info, tarfile.REGTYPE)
        member.size = size
        measured = _Measured(file, size, self._advance)
        self._add(member, measured)
        line = sum_line(measured.hash.hexdigest(), member.name)
        self._sums.write(line)
        self._sums_hash.update(line)
        return measured.hash.hexdigest(), measured.short

    def add_sums(self) -> str:
        """Adds SHA256SUMS; returns its own sha256."""
        self._sums.flush()
        size = self._sums.tell()
        self._sums.seek(0)
        self.add_own(SUMS_MEMBER, self._sums, size)
        return self._sums_hash.hexdigest()

    def add_own(self, name: str, file: Readable, size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._add(member, file)

    def add_text(self, name: str, text: str) -> None:
        data = text.encode()
        self.add_own(name, BytesIO(data), len(data))

    def _add(self, member: tarfile.TarInfo, file: object) -> None:
        self._tar.addfile(member, cast("IO[bytes] | None", file))
        # tarfile remembers every member; a volume may hold a million files.
        self._tar.members = []  # type: ignore[attr-defined]

    def finish(self) -> tuple[int, str]:
        """Returns the archive's size and sha256; it is on the disk then."""
        self._tar.close()
        sha256 = self._out.finish()
        return self._out.bytes, sha256

    def abandon(self) -> None:
        self._out.abandon()


def _info(name: str, info: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name.rstrip("/") if kind == tarfile.DIRTYPE else name)
    member.type = kind
    member.mode, member.uid, member.gid = info.st_mode & 0o7777, info.st_uid, info.st_gid
    member.mtime = int(info.st_mtime)
    return member


def open_archive(file: BinaryIO) -> tarfile.TarFile:
    """An archive for reading from its start to its end, member by member."""
    plain = zstd.ZstdFile(file, "r")
    return tarfile.open(
        fileobj=cast("IO[bytes]", plain), mode="r|", bufsize=CHUNK, encoding="utf-8", errors="surrogateescape"
    )


DAMAGE = (tarfile.TarError, zstd.ZstdError, EOFError)
