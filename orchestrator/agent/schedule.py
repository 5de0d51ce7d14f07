"""The backup service's main process: a snapshot when one is due, removal of old ones after a success, a heartbeat.

It never imports SQLite or zstd: each snapshot is a child process, so between them next to no memory is held, and a
crash or the memory limit hits the child alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cronsim import CronSim, CronSimError

from orchestrator.agent import store
from orchestrator.agent.copies import Copies
from orchestrator.agent.errors import AgentError, StoppedError, explain
from orchestrator.agent.events import log
from orchestrator.agent.manifest import Entry, prunable
from orchestrator.agent.replica import Replication, Replicator, told_lag
from orchestrator.agent.source import has_database

BEAT = 10.0
# What health.sh adds back when it tells how long the silence lasts.
HEARTBEAT_VALID = 60
GRACE = timedelta(minutes=10)
FIRST_RETRY = 60.0
LAST_RETRY = 3600.0
NONE_RETRY = 2.0
EMPTY_RETRY = 10.0
LOCK_WAIT = 600
HEALTH_FILE = "/tmp/backup-health"  # noqa: S108 - a tmpfs of the container's own
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Config:
    cron: str
    retain: int
    max_age: timedelta
    health_file: Path
    replication: Replication | None = None
    remotes: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Config:
        """BACKUP_SCHEDULE, BACKUP_RETAIN, BACKUP_MAX_AGE; an empty one is its default. Raises AgentError (usage)."""
        cron = environment.get("BACKUP_SCHEDULE") or "0 3 * * *"
        retain = environment.get("BACKUP_RETAIN") or "14"
        if re.fullmatch(r"[0-9]{1,6}", retain) is None or int(retain) < 1:
            raise _usage("BACKUP_RETAIN", retain, "a whole number, 1 or more")
        try:
            next_time(cron, datetime.now(UTC))
        except (CronSimError, StopIteration):
            raise _usage("BACKUP_SCHEDULE", cron, "a cron expression in UTC such as '0 3 * * *'") from None
        max_age = parse_duration(environment.get("BACKUP_MAX_AGE") or "26h")
        if max_age is None:
            raise _usage("BACKUP_MAX_AGE", environment["BACKUP_MAX_AGE"], "a duration such as 26h or 90m")
        health_file = Path(environment.get("BACKUP_HEALTH_FILE") or HEALTH_FILE)
        remotes = bool(environment.get("BACKUP_REMOTES"))
        return cls(cron, int(retain), max_age, health_file, Replication.of(environment), remotes)


def _usage(key: str, value: str, allowed: str) -> AgentError:
    return AgentError(f"{key} is {value!r}, but must be {allowed}.", code="usage")


def parse_duration(text: str) -> timedelta | None:
    """`90s`, `30m`, `26h`, `2d`, `1w`; None for anything else."""
    match = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip())
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match and int(match[1]) else None


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


def judge(
    *, now: datetime, last_good: datetime | None, max_age: timedelta, waiting_since: datetime | None, error: str
) -> tuple[bool, str]:
    """Whether the backups are healthy, and one short line why.

    `waiting_since` is when the first snapshot was first tried with a database there; None while there is none.
    """
    suffix = f": {error}" if error else ""
    if last_good is not None:
        age = max(now - last_good, timedelta())
        if age <= max_age:
            return True, f"last good snapshot {_age(age)} ago"
        return False, f"last good snapshot {_age(age)} ago, allowed {_age(max_age)}{suffix}"
    if waiting_since is None:
        return True, "no database yet"
    if now - waiting_since <= GRACE:
        return True, f"waiting for the first snapshot{suffix}"
    return False, f"no snapshot since {_age(now - waiting_since)}{suffix}"


def _age(span: timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    return f"{minutes} min" if minutes < 180 else f"{minutes // 60} h"


class Scheduler:
    """The loop. Ends only by StoppedError, which the signal handler raises."""

    def __init__(self, config: Config, source: Path, backups: Path) -> None:
        self.config, self.source, self.backups = config, source, backups
        self.failures = 0
        self.error = ""
        self.waiting_since: datetime | None = None
        self.not_before = 0.0
        self.copies = Copies(remotes=config.remotes, delay=retry_delay)
        self._listed: tuple[int, tuple[Entry, ...]] = (-1, ())
        self.replicator = Replicator(config.replication, source) if config.replication else None

    def run(self) -> None:
        log("info", "the schedule starts", schedule=self.config.cron, retain=self.config.retain)
        try:
            self._loop()
        finally:
            if self.replicator:
                self.replicator.stop()

    def _loop(self) -> None:
        while True:
            now = datetime.now(UTC)
            due = due_time(self.config.cron, last_good=self.last_good(), now=now)
            wait = max((due - now).total_seconds(), self.not_before - time.monotonic())
            if wait <= 0:
                self.attempt()
            elif self.copies.due():
                self.copies.ended(self.child("copy"))
            else:
                self.beat()
                time.sleep(min(wait, BEAT))

    def entries(self) -> tuple[Entry, ...]:
        """Read again only when the folder changed."""
        stamp = self.backups.stat().st_mtime_ns
        if stamp != self._listed[0]:
            self._listed = (stamp, store.entries(self.backups))
        return self._listed[1]

    def last_good(self) -> datetime | None:
        try:
            return next((entry.created for entry in self.entries() if entry.good), None)
        except OSError as error:
            self.error = explain(error).message
            return None

    def attempt(self) -> None:
        if self.last_good() is None and not self.has_database():
            self.wait_for_database("there is no database on the volume yet", NONE_RETRY)
            return
        # Before the attempt, so that one which hangs is not taken for a volume without a database.
        self.waiting_since = self.waiting_since or datetime.now(UTC)
        result = self.snapshot()
        if result.get("event") == "done":
            self.failures, self.error, self.not_before = 0, "", 0.0
            log("info", "snapshot taken", snapshot=result["snapshot"], bytes=result["bytes"], seconds=result["seconds"])
            self.copies.want()
            self.prune()
            return
        error, code = str(result.get("message", "the snapshot ended without a word")), result.get("code")
        if code == "empty" and self.last_good() is None:
            self.wait_for_database(error, EMPTY_RETRY)
            return
        self.error = error
        self.failures += 1
        delay = retry_delay(self.failures)
        self.not_before = time.monotonic() + delay
        log("error", self.error, hint=result.get("hint", ""), code=code, retry_in=delay)

    def has_database(self) -> bool:
        try:
            return has_database(self.source)
        except (AgentError, OSError):
            return True  # The snapshot will tell what is wrong.

    def wait_for_database(self, reason: str, delay: float) -> None:
        """No failure: the app has not begun."""
        if reason != self.error:
            log("info", "waiting for a database with tables", reason=reason)
        self.failures, self.error, self.waiting_since = 0, reason, None
        self.not_before = time.monotonic() + delay

    def snapshot(self) -> dict[str, Any]:
        return self.child("snapshot", "--reason", "schedule", "--source", str(self.source))

    def child(self, verb: str, *more: str) -> dict[str, Any]:
        """One child process; returns its last event."""
        command = [sys.executable, "-m", "orchestrator.agent", verb, "--quiet", *more]
        command += ["--backups", str(self.backups), "--wait", str(LOCK_WAIT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            try:
                while True:
                    self.beat()
                    try:
                        output, _ = child.communicate(timeout=BEAT)
                        break
                    except subprocess.TimeoutExpired:
                        continue
            except BaseException:
                end(child)
                raise
        lines = output.splitlines()
        try:
            event: dict[str, Any] = json.loads(lines[-1])
        except (IndexError, ValueError):
            event = {}
        if event.get("event") in {"done", "error"}:
            return event
        return {"event": "error", "message": f"The {verb}'s process ended with status {child.returncode}."}

    def prune(self) -> None:
        """After a success only; a failure here is told and does no harm."""
        try:
            with store.locked(self.backups, wait=LOCK_WAIT, purpose="removal of old snapshots"):
                for snapshot in prunable(store.entries(self.backups), retain=self.config.retain):
                    store.remove(self.backups, snapshot)
                    log("info", "old snapshot removed", snapshot=snapshot)
        except StoppedError:
            raise
        except (AgentError, OSError) as error:
            log("warning", "old snapshots could not be removed", reason=explain(error).message)

    def beat(self) -> None:
        """Leaves the verdict for health.sh, valid for a minute of uptime."""
        good, line = judge(
            now=datetime.now(UTC),
            last_good=self.last_good(),
            max_age=self.config.max_age,
            waiting_since=self.waiting_since,
            error=self.error,
        )
        if good and (wrong := self.copies.judge(datetime.now(UTC), self.config.max_age)):
            good, line = False, wrong
        if self.replicator:
            self.replicator.tend()
            keeps_up, told = told_lag(self.replicator.lag(datetime.now(UTC)))
            good, line = good and keeps_up, f"{line}; {told}"
        until = int(time.clock_gettime(time.CLOCK_BOOTTIME)) + HEARTBEAT_VALID
        text = f"{os.getpid()} {until} {'ok' if good else 'bad'} {' '.join(line.split())}\n"
        part = self.config.health_file.with_name(self.config.health_file.name + ".part")
        part.write_text(text)
        part.rename(self.config.health_file)


def end(child: subprocess.Popen[str]) -> None:
    """Asks the child to clean up and go; kills it when it does not within five seconds."""
    child.terminate()
    try:
        child.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
