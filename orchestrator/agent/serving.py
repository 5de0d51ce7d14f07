"""Which release serves, and on which engine: what the manifest of a snapshot says of where its data is from.

The agent knows no Docker. A container bears what was so when it was made in its environment; what is so since, the
orchestrator notes on the backups volume, for one container: one that another tool has made later has its own word.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "serving.json"
#: As many digits of a container's id as its host name has.
SHORT = 12


@dataclass(frozen=True, slots=True)
class Serving:
    """`engine` is Docker's version; each "" where it is not known."""

    release: str = ""
    engine: str = ""

    def note(self, container: str) -> str:
        """What FILE holds for the container of this id."""
        return json.dumps({"container": container, "release": self.release, "engine": self.engine})


def read(backups: Path, environ: Mapping[str, str] = os.environ, host: str = "") -> Serving:
    """The note, if it is for this container (`host` is its host name), else what the environment says."""
    host = host or socket.gethostname()
    try:
        note = json.loads((backups / FILE).read_text(encoding="utf-8"))
        container, found = str(note["container"]), Serving(str(note["release"]), str(note["engine"]))
    except (OSError, ValueError, KeyError, TypeError):
        container, found = "", Serving()
    if len(host) >= SHORT and container.startswith(host):
        return found
    return Serving(environ.get("RELEASE", ""), environ.get("ENGINE", ""))
