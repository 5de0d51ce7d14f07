"""Which engine was chosen: by DOCKER_HOST, DOCKER_CONTEXT or the current context of Docker's configuration, in this
order, as the `docker` command does it. Standard library only, and of a given environment: docker-py's own reading of
contexts knows neither DOCKER_CONTEXT nor an environment other than the process's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import NoEngine


@dataclass(frozen=True)
class Tls:
    """`folder` holds ca.pem, and cert.pem and key.pem where the engine wants to know us. `verify`: whether the engine's
    certificate must be one of that authority, for this host."""

    folder: Path
    verify: bool

    @property
    def ca(self) -> str | None:
        return self._file("ca.pem")

    @property
    def client(self) -> tuple[str, str] | None:
        cert, key = self._file("cert.pem"), self._file("key.pem")
        return (cert, key) if cert and key else None

    def _file(self, name: str) -> str | None:
        path = self.folder / name
        return str(path) if path.is_file() else None


@dataclass(frozen=True)
class Address:
    """Where an engine is, and by what it was chosen: `DOCKER_HOST`, `the context NAME`, or "" if it was found."""

    url: str
    chosen_by: str = ""
    tls: Tls | None = None

    @property
    def shown(self) -> str:
        return f"{self.url} ({self.chosen_by})" if self.chosen_by else self.url


def chosen(environ: Mapping[str, str]) -> Address | None:
    """The engine that somebody has chosen; None if nobody has. Raises NoEngine for a context that can't be used."""
    if url := environ.get("DOCKER_HOST"):
        return Address(url, "DOCKER_HOST", _tls_of(environ))
    folder = _config_folder(environ)
    if folder is None:
        return None
    name = environ.get("DOCKER_CONTEXT") or str(_read(folder / "config.json").get("currentContext") or "")
    return _context(name, folder) if name not in ("", "default") else None


def _tls_of(environ: Mapping[str, str]) -> Tls | None:
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not (verify or environ.get("DOCKER_TLS") or environ.get("DOCKER_CERT_PATH")):
        return None
    folder = Path(environ.get("DOCKER_CERT_PATH") or _config_folder(environ) or ".")
    if not folder.is_dir():
        raise NoEngine(
            f"there is no folder {folder}, where the engine's certificates should be.",
            hint="DOCKER_CERT_PATH names the folder that holds ca.pem, cert.pem and key.pem.",
        )
    return Tls(folder, verify)


def _config_folder(environ: Mapping[str, str]) -> Path | None:
    if folder := environ.get("DOCKER_CONFIG"):
        return Path(folder)
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home) / ".docker" if home else None


def _context(name: str, folder: Path) -> Address:
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = _read(folder / "contexts" / "meta" / key / "meta.json")
    endpoint = (meta.get("Endpoints") or {}).get("docker") or {}
    if not endpoint.get("Host"):
        raise NoEngine(
            f"there is no Docker context {name!r} with an engine.",
            hint="`docker context ls` lists those there are; `docker context use` or DOCKER_CONTEXT chooses one.",
        )
    certificates = folder / "contexts" / "tls" / key / "docker"
    skip = bool(endpoint.get("SkipTLSVerify"))
    tls = Tls(certificates, not skip) if certificates.is_dir() or skip else None
    return Address(str(endpoint["Host"]), f"the context {name}", tls)


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is no such file. Going on with another engine than the one meant would be worse
    than to end here."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise NoEngine(
            f"{path}, which may say where the engine is, can't be read ({error}).",
            hint="correct it, or say it with DOCKER_HOST.",
        ) from error
    return found if isinstance(found, dict) else {}
