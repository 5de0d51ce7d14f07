"""Continuous replication by Litestream: its configuration, its process beside the schedule, and how far behind it is.

Opt-in. Litestream keeps a read transaction open, checkpoints by itself and adds two small tables of its own to each
database, so it needs the volume writable. Databases that are not in WAL mode are left alone: it would change that.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from orchestrator.agent.errors import AgentError
from orchestrator.agent.events import log
from orchestrator.agent.source import REPLICA_FOLDER, read_header, walk

PROGRAM = "litestream"
#: Both on a tmpfs of the container's own. No secret is in the configuration: Litestream has those from its environment.
CONFIG = Path("/tmp/litestream.json")  # noqa: S108
SOCKET = Path("/tmp/litestream.sock")  # noqa: S108
#: Seconds: between two looks for databases that are new, and between two starts of a Litestream that ends by itself.
LOOK_AGAIN = 300.0
FIRST_RESTART, LAST_RESTART = 1.0, 60.0
#: Seconds behind that make the backup service unhealthy.
MAX_LAG = 300.0
SCHEMES = ("file", "s3", "gs", "abs", "sftp", "webdav", "webdavs", "nats", "oss")


@dataclass(frozen=True, slots=True)
class Replication:
    """Where to (a URL that Litestream knows), how far one can go back, and how far to the second: what is older is kept
    in steps of 30 s, 5 min and 1 h."""

    to: str
    retention: str
    precise: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Replication | None:
        """BACKUP_REPLICATE_TO, _RETENTION and _PRECISE; None where nothing is replicated. Raises AgentError (usage)."""
        to = environment.get("BACKUP_REPLICATE_TO", "").rstrip("/")
        if not to:
            return None
        if to.partition("://")[0] not in SCHEMES or not to.partition("://")[2]:
            raise AgentError(
                "BACKUP_REPLICATE_TO must be a URL that Litestream knows.",
                hint=f"Such as s3://bucket/path; schemes: {', '.join(SCHEMES)}.",
                code="usage",
            )
        spans = {}
        for key, default in (("RETENTION", "168h"), ("PRECISE", "24h")):
            spans[key] = environment.get(f"BACKUP_REPLICATE_{key}") or default
            if re.fullmatch(r"[1-9][0-9]{0,5}[smh]", spans[key]) is None:
                raise AgentError(
                    f"BACKUP_REPLICATE_{key} is {spans[key]!r}, but must be a time such as 24h.", code="usage"
                )
        return cls(to, spans["RETENTION"], spans["PRECISE"])

    def url(self, path: str) -> str:
        """Where the replica of one database is."""
        return f"{self.to}/{path}"


def replicable(source: Path) -> tuple[str, ...]:
    """The volume's databases in WAL mode, by their path on it."""
    found = []
    for item in walk(source):
        if item is not None and not item.is_dir:
            try:
                header = read_header(source / item.path)
            except OSError:
                continue
            if header.wal_mode:
                found.append(item.path)
    return tuple(sorted(found))


def configuration(replication: Replication, source: Path, paths: Iterable[str], listen: Path) -> dict[str, Any]:
    """Litestream's, for these databases. https://litestream.io/reference/config/"""
    return {
        "logging": {"type": "json", "level": "warn", "stderr": True},
        "socket": {"enabled": True, "path": str(listen)},
        "snapshot": {"interval": "24h", "retention": replication.retention},
        "l0-retention": replication.precise,
        "shutdown-sync-timeout": "10s",
        "dbs": [
            {
                "path": str(source / path),
                "meta-path": str(source / REPLICA_FOLDER / path),
                "replica": {"url": replication.url(path), "sync-interval": "1s"},
            }
            for path in paths
        ],
    }


def told_lag(lag: float | None) -> tuple[bool, str]:
    """Whether the replica keeps up, and one short line; `lag` as Replicator.lag gives it."""
    if lag is None:
        return True, "nothing to replicate yet"
    return lag <= MAX_LAG, f"replica {lag:.0f} s behind" + ("" if lag <= MAX_LAG else f", allowed {MAX_LAG:.0f} s")


class _Local(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=2)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def synced(listen: Path) -> dict[str, datetime]:
    """When each database's replica was last known to have everything; empty while Litestream does not answer."""
    connection = _Local(listen)
    try:
        connection.request("GET", "/list")
        document = json.loads(connection.getresponse().read())
        return {
            one["path"]: datetime.fromisoformat(one["last_sync_at"])
            for one in document["databases"]
            if one.get("last_sync_at")
        }
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return {}
    finally:
        connection.close()


class Replicator:
    """Litestream as a child of the schedule: started when there is something to replicate, again when it ends."""

    def __init__(
        self,
        replication: Replication,
        source: Path,
        *,
        program: str = PROGRAM,
        config: Path = CONFIG,
        listen: Path = SOCKET,
    ) -> None:
        self.replication, self.source, self.program = replication, source, program
        self.config, self.listen = config, listen
        self.child: subprocess.Popen[bytes] | None = None
        self.paths: tuple[str, ...] = ()
        self.since = datetime.now(UTC)
        self.failures = 0
        self._look_at = self._start_at = 0.0

    def tend(self) -> None:
        """To be called every few seconds."""
        now = time.monotonic()
        if self.child is not None and self.child.poll() is not None:
            self._again(now, f"it ended with code {self.child.returncode}")
        if self.child is None or now >= self._look_at:
            self._look_at = now + LOOK_AGAIN
            paths = replicable(self.source)
            if paths != self.paths:
                self.stop()
                self.paths = paths
        if self.child is None and self.paths and now >= self._start_at:
            self._start()

    def _start(self) -> None:
        document = configuration(self.replication, self.source, self.paths, self.listen)
        self.config.write_text(json.dumps(document))
        self.listen.unlink(missing_ok=True)
        # It shares the container's memory limit with the snapshots.
        environment = {"GOMEMLIMIT": "96MiB", **os.environ}
        command = [self.program, "replicate", "-no-expand-env", "-config", str(self.config)]
        try:
            self.child = subprocess.Popen(command, env=environment)
        except OSError as error:
            # Snapshots go on without it; that the replica is behind is told.
            self._again(time.monotonic(), str(error))
            return
        log("info", "replication starts", databases=list(self.paths))

    def _again(self, now: float, why: str) -> None:
        self.failures += 1
        pause = min(FIRST_RESTART * 2 ** min(self.failures - 1, 16), LAST_RESTART)
        log("error", "litestream does not run", reason=why, again_in=pause)
        self.child, self._start_at = None, now + pause

    def lag(self, now: datetime) -> float | None:
        """Seconds of writes that only this host has, at most; None while there is nothing to replicate."""
        if not self.paths:
            return None
        times = synced(self.listen) if self.child is not None else {}
        if len(times) == len(self.paths):
            self.failures = 0
            self.since = min(times.values())
        return max((now - self.since).total_seconds(), 0.0)

    def stop(self) -> None:
        """Lets Litestream send the last of it, and ends it."""
        if self.child is None:
            return
        self.child.terminate()
        try:
            self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child = None
