"""The backup service's main process: a snapshot when one is due, removal of old ones after a success, a heartbeat.

It never imports SQLite or zstd: each snapshot is a child process, so between them next to no memory is held, and a
crash or the memory limit hits the child alone.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.agent import alarm, child, metrics, store
from orchestrator.agent import notes as memory
from orchestrator.agent.copies import Copies
from orchestrator.agent.errors import AgentError, StoppedError, explain
from orchestrator.agent.events import log
from orchestrator.agent.freshness import judge
from orchestrator.agent.manifest import Entry
from orchestrator.agent.replica import Replicator, told_lag
from orchestrator.agent.retention import is_past, removable
from orchestrator.agent.schedule_config import Config, due_time, retry_delay
from orchestrator.agent.source import has_database

BEAT = 10.0
# What health.sh adds back when it tells how long the silence lasts.
HEARTBEAT_VALID = 60
NONE_RETRY = 2.0
EMPTY_RETRY = 10.0
LOCK_WAIT = 600
# More than all tries of webhook.py: a name server may hold one up for longer than its own limit.
NOTIFY_LIMIT = 60.0


class Scheduler:
    """The loop. Ends only by StoppedError, which the signal handler raises."""

    def __init__(self, config: Config, source: Path, backups: Path) -> None:
        self.config, self.source, self.backups = config, source, backups
        self.notes = memory.load(backups)
        self.error = self.notes.error
        self.waiting_since: datetime | None = None
        self.not_before = 0.0
        self.copies = Copies(
            remotes=bool(config.remotes),
            delay=retry_delay,
            failures=self.notes.copy_failures,
            error=self.notes.copy_error,
        )
        self._listed: tuple[int, tuple[Entry, ...]] = (-1, ())
        self._metrics = ""
        self.replicator = Replicator(config.replication, source) if config.replication else None
        self.lag: float | None = None

    @property
    def failures(self) -> int:
        """In a row."""
        return self.notes.failures

    def run(self) -> None:
        log("info", "the schedule starts", schedule=self.config.cron, retain=str(self.config.retain))
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
                self.note_copies()
            else:
                self.beat()
                self.tell()
                time.sleep(min(wait, BEAT))

    def entries(self) -> tuple[Entry, ...]:
        """Read again only when the folder changed."""
        stamp = self.backups.stat().st_mtime_ns
        if stamp != self._listed[0]:
            self._listed = (stamp, store.entries(self.backups))
        return self._listed[1]

    def last_good(self) -> datetime | None:
        """Never one from the future: it would end the schedule until then."""
        now = datetime.now(UTC)
        try:
            return next((entry.created for entry in self.entries() if entry.good and is_past(entry, now)), None)
        except OSError as error:
            self.error = explain(error).message
            return None

    def attempt(self) -> None:
        if self.last_good() is None and not self.has_database():
            self.wait_for_database("there is no database on the volume yet", NONE_RETRY)
            return
        # Before the attempt, so that one which hangs is not taken for a volume without a database.
        self.waiting_since = self.waiting_since or datetime.now(UTC)
        result = self.child("snapshot", "--reason", "schedule", "--source", str(self.source))
        if result.get("event") == "done":
            self.error, self.not_before = "", 0.0
            self.note(0)
            log("info", "snapshot taken", snapshot=result["snapshot"], bytes=result["bytes"], seconds=result["seconds"])
            self.copies.want()
            self.prune()
            return
        error, code = str(result.get("message", "the snapshot ended without a word")), result.get("code")
        if code == "empty" and self.last_good() is None:
            self.wait_for_database(error, EMPTY_RETRY)
            return
        self.error = error
        self.note(self.failures + 1)
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
        self.error, self.waiting_since = reason, None
        self.not_before = time.monotonic() + delay
        if self.failures:
            self.note(0)

    def note(self, failures: int) -> None:
        """How an attempt ended, for the metrics and the webhook, over a restart too."""
        error = self.error if failures else ""
        self.notes = replace(self.notes, attempted=int(time.time()), failures=failures, error=error)
        memory.save(self.backups, self.notes)

    def note_copies(self) -> None:
        """The same of the copies."""
        now = replace(self.notes, copy_failures=self.copies.failures, copy_error=self.copies.error)
        if now != self.notes:
            self.notes = now
            memory.save(self.backups, now)

    def tell(self) -> None:
        """Metrics and webhook; whatever fails here, snapshots go on."""
        try:
            entries, now = self.entries(), datetime.now(UTC)
            text = metrics.render(
                entries,
                self.notes,
                project=self.config.project,
                max_age=self.config.max_age,
                now=now,
                lag=self.lag,
                remotes=self.config.remotes,
            )
            if text != self._metrics:
                memory.write(self.backups / metrics.FILE, text, mode=0o644)
                self._metrics = text
            if self.config.webhook:
                self.notify(now)
        except OSError as error:
            log("warning", "the state of the snapshots could not be told", reason=explain(error).message)

    def notify(self, now: datetime) -> None:
        """Tells the webhook, if there is something to tell. A failure is told when it was delivered."""
        last_good, seconds = self.last_good(), int(now.timestamp())
        healthy, line = self.judged()
        self.note_copies()  # Without remotes, since a new start, there is no trouble with them any more.
        trouble = alarm.trouble(self.notes, last_good=last_good, healthy=healthy)
        uncopied = trouble == alarm.UNCOPIED
        event = alarm.due(self.notes, trouble, seconds)
        if not event:
            return
        document = alarm.document(
            event,
            project=self.config.project,
            line=line,
            error=self.copies.error if uncopied else self.error,
            failures=self.copies.failures if uncopied else self.failures,
            last_good=last_good,
            now=now,
        )
        result = self.child("notify", given=json.dumps(document), limit=NOTIFY_LIMIT)
        if result.get("event") == "done":
            self.notes = replace(self.notes, told=seconds if trouble else None, tried=None)
            log("info", "the webhook was told", event=event)
        else:
            self.notes = replace(self.notes, tried=seconds)
            log("warning", "the webhook could not be told", event=event, reason=result.get("message"))
        memory.save(self.backups, self.notes)

    def child(self, verb: str, *more: str, given: str | None = None, limit: float = float("inf")) -> dict[str, Any]:
        """The last event of one child process, which beats go on beside."""
        words = (verb, "--quiet", *more, "--backups", str(self.backups), "--wait", str(LOCK_WAIT))
        return child.run(words, self.beat, BEAT, given=given, limit=limit)

    def prune(self) -> None:
        """After a success only; a failure here is told and does no harm."""
        try:
            with store.locked(self.backups, wait=LOCK_WAIT, purpose="removal of old snapshots"):
                there = store.entries(self.backups)
                for snapshot in removable(there, self.config.retain, datetime.now(UTC)):
                    store.remove(self.backups, snapshot)
                    log("info", "old snapshot removed", snapshot=snapshot)
        except StoppedError:
            raise
        except (AgentError, OSError) as error:
            log("warning", "old snapshots could not be removed", reason=explain(error).message)

    def judged(self) -> tuple[bool, str]:
        """Whether the backups are healthy, and why."""
        good, line = judge(
            now=datetime.now(UTC),
            last_good=self.last_good(),
            max_age=self.config.max_age,
            waiting_since=self.waiting_since,
            error=self.error,
        )
        if good and (wrong := self.copies.judge(datetime.now(UTC), self.config.max_age)):
            good, line = False, wrong
        return good, line

    def beat(self) -> None:
        """Leaves the verdict for health.sh, valid for a minute of uptime."""
        good, line = self.judged()
        if self.replicator:
            self.replicator.tend()
            self.lag = self.replicator.lag(datetime.now(UTC))
            keeps_up, told = told_lag(self.lag)
            good, line = good and keeps_up, f"{line}; {told}"
        until = int(time.clock_gettime(time.CLOCK_BOOTTIME)) + HEARTBEAT_VALID
        text = f"{os.getpid()} {until} {'ok' if good else 'bad'} {' '.join(line.split())}\n"
        part = self.config.health_file.with_name(self.config.health_file.name + ".part")
        part.write_text(text)
        part.rename(self.config.health_file)
