"""Small tars in memory: how files go into and come out of containers."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath


def tar_of(files: Mapping[str, bytes], user: str) -> bytes:
    """A tar of world-readable files, and the folders they are in, owned by a numeric `uid:gid`."""
    uid, _, gid = user.partition(":")
    folders = sorted({str(parent) for name in files for parent in PurePosixPath(name).parents} - {"."})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (*((folder, None) for folder in folders), *files.items()):
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.mtime = int(uid), int(gid or uid), int(time.time())
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                info.size, info.mode = len(content), 0o644
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def members(tar: bytes) -> Iterator[tuple[str, bytes]]:
    """The regular files of a tar that the engine made of one path: the name below that path, the content."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            if source := archive.extractfile(member) if member.isfile() else None:
                yield member.name.partition("/")[2], source.read()
