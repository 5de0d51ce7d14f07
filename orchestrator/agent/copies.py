"""When the backup service copies to the remotes: after each snapshot, at its start, and again after a failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from orchestrator.agent.events import log


class Copies:
    """What is still to be copied, and since when that has failed. `delay` gives the seconds after the n-th failure;
    `failures` and `error` are what is remembered of before the start."""

    def __init__(self, *, remotes: bool, delay: Callable[[int], float], failures: int = 0, error: str = "") -> None:
        self.remotes, self.delay = remotes, delay
        self.wanted = remotes
        self.failures, self.error = (failures, error) if remotes else (0, "")
        self.failing_since: datetime | None = None
        self.not_before = 0.0

    def want(self) -> None:
        """There is a new snapshot."""
        self.wanted, self.not_before = self.remotes, 0.0

    def due(self) -> bool:
        return self.wanted and monotonic() >= self.not_before

    def ended(self, event: Mapping[str, Any]) -> None:
        """Takes the last word of a run that copied."""
        if event.get("event") == "done":
            self.wanted, self.failures, self.error, self.failing_since = False, 0, "", None
            for one in event.get("copied", ()):
                log("info", "snapshot copied", snapshot=one["snapshot"], remote=one["remote"])
            return
        self.failures += 1
        self.failing_since = self.failing_since or datetime.now(UTC)
        self.error = str(event.get("message", "the copying ended without a word"))
        self.not_before = monotonic() + self.delay(self.failures)
        log("error", self.error, hint=event.get("hint", ""), retry_in=self.delay(self.failures))

    def judge(self, now: datetime, max_age: timedelta) -> str:
        """What is wrong, or "": copies that have failed for longer than a snapshot may be old."""
        if self.failing_since is None or now - self.failing_since <= max_age:
            return ""
        hours = int((now - self.failing_since).total_seconds()) // 3600
        return f"no copy on every remote for {hours} h: {self.error}"
