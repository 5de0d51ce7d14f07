"""Events on stdout, one JSON object a line, and log lines on stderr, in the same form."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

INTERVAL = 0.5


def emit(event: str, **fields: Any) -> None:
    """One line on stdout. ASCII only, so odd file names cannot break a reader."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def log(level: str, message: str, **fields: Any) -> None:
    """One line on stderr."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    sys.stderr.write(json.dumps({"time": moment, "level": level, "message": message, **fields}) + "\n")
    sys.stderr.flush()


class Progress:
    """Bytes done of each phase, told at most twice a second and at both ends of a phase."""

    def __init__(self, tell: Callable[..., None] | None = emit) -> None:
        self._tell = tell
        self._phase = ""
        self._bytes = self._total = 0
        self._last = 0.0

    def begin(self, phase: str, total: int) -> None:
        self._phase, self._bytes, self._total = phase, 0, total
        self._send()

    def advance(self, count: int) -> None:
        self._bytes += count
        if time.monotonic() - self._last >= INTERVAL:
            self._send()

    def reach(self, count: int) -> None:
        """What somebody else counts: bytes since the phase began."""
        self.advance(max(0, count - self._bytes))

    def end(self) -> None:
        self._total = max(self._total, self._bytes)
        self._bytes = self._total
        self._send()

    def _send(self) -> None:
        self._last = time.monotonic()
        if self._tell is not None:
            self._tell("progress", phase=self._phase, bytes=min(self._bytes, self._total), total=self._total)
