"""The schedule's settings, and when it says that a snapshot is due. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cronsim import CronSim, CronSimError

from orchestrator.agent.errors import AgentError
from orchestrator.agent.freshness import ALLOWED, parse_age
from orchestrator.agent.replica import Replication
from orchestrator.agent.retention import Retain

FIRST_RETRY = 60.0
LAST_RETRY = 3600.0
HEALTH_FILE = "/tmp/backup-health"  # noqa: S108 - a tmpfs of the container's own


@dataclass(frozen=True, slots=True)
class Config:
    cron: str
    retain: Retain
    max_age: timedelta
    health_file: Path
    project: str = ""
    webhook: bool = False
    replication: Replication | None = None
    remotes: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Config:
        """BACKUP_SCHEDULE, BACKUP_RETAIN, BACKUP_MAX_AGE, BACKUP_PROJECT, BACKUP_WEBHOOK_URL; an empty one is its
        default. Raises AgentError (usage)."""
        cron = environment.get("BACKUP_SCHEDULE") or "0 3 * * *"
        try:
            retain = Retain.of(environment.get("BACKUP_RETAIN") or str(Retain()))
        except ValueError:
            wanted = "numbers such as 'last=7 daily=7 weekly=4 monthly=6', last at least 1"
            raise _usage("BACKUP_RETAIN", environment["BACKUP_RETAIN"], wanted) from None
        try:
            next_time(cron, datetime.now(UTC))
        except (CronSimError, StopIteration):
            raise _usage("BACKUP_SCHEDULE", cron, "a cron expression in UTC such as '0 3 * * *'") from None
        max_age = parse_age(environment.get("BACKUP_MAX_AGE") or "26h")
        if max_age is None:
            raise _usage("BACKUP_MAX_AGE", environment["BACKUP_MAX_AGE"], ALLOWED)
        return cls(
            cron,
            retain,
            max_age,
            Path(environment.get("BACKUP_HEALTH_FILE") or HEALTH_FILE),
            project=environment.get("BACKUP_PROJECT", ""),
            webhook=bool(environment.get("BACKUP_WEBHOOK_URL")),
            replication=Replication.of(environment),
            remotes=_remotes(environment),
        )


def _remotes(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Their names, for what is told of them; that they are right is for who copies to say."""
    try:
        return tuple(map(str, json.loads(environment.get("BACKUP_REMOTES") or "[]")))
    except (ValueError, TypeError):
        return (environment["BACKUP_REMOTES"],)


def _usage(key: str, value: str, allowed: str) -> AgentError:
    return AgentError(f"{key} is {value!r}, but must be {allowed}.", code="usage")


def next_time(cron: str, after: datetime) -> datetime:
    """The first time the expression names after `after`, in UTC."""
    return next(CronSim(cron, after.astimezone(UTC)))


def due_time(cron: str, *, last_good: datetime | None, now: datetime) -> datetime:
    """When the next snapshot is due: at once without one; else the first scheduled time after the last good one, so a
    time that was slept through is made up for. A last one from the future (a clock set back) counts as now."""
    return now if last_good is None else next_time(cron, min(last_good, now))


def retry_delay(failures: int) -> float:
    """Seconds after the n-th failure in a row: one minute, doubled each time, one hour at most."""
    return float(min(FIRST_RETRY * 2 ** min(max(failures - 1, 0), 16), LAST_RETRY))
