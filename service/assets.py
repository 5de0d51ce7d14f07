"""Static files under content-hashed names: published additively, so pages of two releases each find theirs."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

SOURCE = Path(__file__).parent / "static"


class PublishError(Exception):
    """The static files can't be written where the proxy reads them; the message says where and why."""


@dataclass(frozen=True)
class Assets:
    """`hashed` maps a file's name to its published one; `content` maps that to the bytes."""

    hashed: Mapping[str, str]
    content: Mapping[str, bytes]


def load(source: Path = SOURCE) -> Assets:
    """Read all files of `source` (no folders: there are a handful)."""
    hashed: dict[str, str] = {}
    content: dict[str, bytes] = {}
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            body = path.read_bytes()
            hashed[path.name] = hashed_name(path.name, body)
            content[hashed[path.name]] = body
    return Assets(hashed, content)


def hashed_name(name: str, body: bytes) -> str:
    """`app.css` -> `app.0123456789ab.css`."""
    pure = PurePath(name)
    return f"{pure.stem}.{hashlib.sha256(body).hexdigest()[:12]}{pure.suffix}"


def publish(assets: Assets, root: Path) -> list[str]:
    """Write what `root` lacks, each file whole or not at all; returns the names written. Raises PublishError."""
    written: list[str] = []
    try:
        for name, body in assets.content.items():
            target = root / name
            # Compared and not only looked for: a file cut short by a power loss mends itself at the next start.
            if target.is_file() and target.read_bytes() == body:
                continue
            _write_whole(target, body)
            written.append(name)
    except OSError as error:
        raise PublishError(f"static files can't be published to {root}: {error.strerror}") from error
    return written


def _write_whole(target: Path, body: bytes) -> None:
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        # The proxy reads as another user, whatever the umask here.
        part.chmod(0o644)
        part.replace(target)
    except OSError:
        part.unlink(missing_ok=True)
        raise
