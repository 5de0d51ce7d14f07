"""What the scheduler does after a success, after failures, and with no database; its process and its health check."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.agent import alarm, notes, store
from orchestrator.agent.copies import Copies
from orchestrator.agent.retention import Retain
from orchestrator.agent.schedule import Scheduler
from orchestrator.agent.schedule_config import Config, retry_delay

from .conftest import ROOT, Place, agent_command, make_database


class Scripted(Scheduler):
    def __init__(self, place: Place, folder: Path, *, retain: int = 2) -> None:
        keep = Retain(last=retain, daily=0, weekly=0, monthly=0)
        super().__init__(Config("0 3 * * *", keep, timedelta(hours=26), folder / "health"), place.data, place.backups)
        self.answers: list[dict[str, Any]] = []
        self.place = place

    def child(self, verb: str, *more: str, given: str | None = None, limit: float = 0) -> dict[str, Any]:
        assert (verb, given) == ("snapshot", None)
        if self.answers:
            return self.answers.pop(0)
        return {"event": "done", **self.place.take("schedule").to_dict()}

    def verdict(self) -> str:
        self.beat()
        return self.config.health_file.read_text().split(" ", 2)[2].strip()

    def pause(self) -> float:
        return round(self.not_before - time.monotonic())


def failed(code: str) -> dict[str, Any]:
    return {"event": "error", "message": "It did not work.", "hint": "", "code": code}


def test_old_ones_go_after_a_success_only(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_database(place.data / "links.db")
    ids = [place.take(str(number)).snapshot for number in range(4)]
    scheduler = Scripted(place, tmp_path)
    scheduler.answers = [failed("damaged")]
    scheduler.attempt()
    assert {entry.snapshot for entry in store.entries(place.backups)} == set(ids)
    scheduler.attempt()
    assert len(store.entries(place.backups)) == 2
    assert "old snapshot removed" in capsys.readouterr().err


def test_a_failure_is_tried_again_ever_more_slowly(place: Place, tmp_path: Path) -> None:
    make_database(place.data / "links.db")
    scheduler = Scripted(place, tmp_path)
    scheduler.answers = [failed("full"), failed("full"), {}]
    pauses = []
    for _ in range(3):
        scheduler.attempt()
        pauses.append(scheduler.pause())
    assert pauses == [60, 120, 240]
    assert scheduler.verdict().startswith("ok waiting for the first snapshot: the snapshot ended")
    scheduler.attempt()
    assert scheduler.failures == 0
    assert scheduler.verdict().startswith("ok last good snapshot ")


def test_an_app_that_has_not_begun_is_no_failure(place: Place, tmp_path: Path) -> None:
    scheduler = Scripted(place, tmp_path)
    scheduler.attempt()
    assert (scheduler.pause(), scheduler.verdict()) == (2, "ok no database yet")
    make_database(place.data / "links.db")
    scheduler.answers = [failed("empty")]
    scheduler.attempt()
    assert (scheduler.failures, scheduler.pause()) == (0, 10)


def test_a_database_that_lost_its_tables_is_a_failure(place: Place, tmp_path: Path) -> None:
    make_database(place.data / "links.db")
    place.take()
    scheduler = Scripted(place, tmp_path)
    scheduler.answers = [failed("empty")]
    scheduler.attempt()
    assert (scheduler.failures, scheduler.error) == (1, "It did not work.")


def test_failures_in_a_row_outlive_a_restart(place: Place, tmp_path: Path) -> None:
    make_database(place.data / "links.db")
    scheduler = Scripted(place, tmp_path)
    scheduler.answers = [failed("full"), failed("full")]
    scheduler.attempt()
    scheduler.attempt()
    again = Scripted(place, tmp_path)
    assert (again.failures, again.error) == (2, "It did not work.")
    again.attempt()
    assert Scripted(place, tmp_path).failures == 0
    (place.backups / notes.FILE).write_text('{"failures": "many"}')
    assert Scripted(place, tmp_path).failures == 0, "notes that cannot be read are begun anew"


def test_a_snapshot_from_the_future_does_not_end_the_schedule(place: Place, tmp_path: Path) -> None:
    make_database(place.data / "links.db")
    scheduler = Scripted(place, tmp_path)
    (taken,) = (place.take(), scheduler.entries())[1]
    later = datetime.now(UTC) + timedelta(days=900)
    scheduler._listed = (scheduler._listed[0], (replace(taken, created=later),))
    assert scheduler.last_good() is None


class Told(Scripted):
    """What the webhook would be told; `up`: whether it takes it."""

    def __init__(self, place: Place, folder: Path) -> None:
        super().__init__(place, folder)
        self.config = replace(self.config, webhook=True, project="shop")
        self.told: list[str] = []
        self.up = True

    def child(self, verb: str, *more: str, given: str | None = None, limit: float = 0) -> dict[str, Any]:
        if verb == "snapshot":
            return super().child(verb, *more)
        document = json.loads(given or "")
        if not self.up:
            return failed("failed")
        self.told.append(f"{document['event']}: {document['text']}")
        return {"event": "done"}


def test_trouble_and_its_end_are_told_once_each_even_over_a_restart(place: Place, tmp_path: Path) -> None:
    make_database(place.data / "links.db")
    scheduler = Told(place, tmp_path)
    scheduler.tell()
    scheduler.answers = [failed("full")] * 2
    for _ in range(2):
        scheduler.attempt()
        scheduler.tell()
    again = Told(place, tmp_path)
    again.tell()
    assert (scheduler.told, again.told) == (["failure: shop: a snapshot failed: It did not work."], [])
    again.attempt()
    again.tell()
    again.tell()
    (told,) = again.told
    assert told.startswith("recovery: shop: snapshots are good again: last good snapshot ")


def test_a_snapshot_by_hand_ends_the_trouble(place: Place, tmp_path: Path) -> None:
    make_database(place.data / "links.db")
    scheduler = Told(place, tmp_path)
    scheduler.answers = [failed("full")]
    scheduler.attempt()
    scheduler.tell()
    scheduler.notes = replace(scheduler.notes, attempted=int(time.time()) - 2)
    place.take()
    scheduler.tell()
    assert [line.partition(":")[0] for line in scheduler.told] == ["failure", "recovery"]


def test_a_webhook_that_fails_is_asked_again_later_and_hurts_nothing(place: Place, tmp_path: Path) -> None:
    make_database(place.data / "links.db")
    scheduler = Told(place, tmp_path)
    scheduler.up = False
    scheduler.answers = [failed("full")]
    scheduler.attempt()
    scheduler.tell()
    scheduler.up = True
    scheduler.tell()
    assert scheduler.told == [], "not at once"
    scheduler.notes = replace(scheduler.notes, tried=int(time.time()) - alarm.RETRY)
    scheduler.tell()
    assert len(scheduler.told) == 1
    scheduler.attempt()
    assert scheduler.failures == 0


def test_copies_that_fail_are_told_and_their_end_too_even_over_a_restart(place: Place, tmp_path: Path) -> None:
    make_database(place.data / "links.db")
    place.take()

    def started(*remotes: str) -> Told:
        made = Told(place, tmp_path)
        made.config = replace(made.config, remotes=remotes)
        made.copies = Copies(
            remotes=bool(remotes),
            delay=retry_delay,
            failures=made.notes.copy_failures,
            error=made.notes.copy_error,
        )
        return made

    def ended(scheduler: Told, event: dict[str, Any]) -> None:
        scheduler.copies.ended(event)
        scheduler.note_copies()
        scheduler.tell()

    scheduler = started("shed:x")
    for told in (0, 0, 1, 1):
        ended(scheduler, failed("failed"))
        assert len(scheduler.told) == told, "a remote may be away for a moment"
    assert scheduler.told == ["uncopied: shop: a copy off the host failed 3 times: It did not work."]
    again = started("shed:x")
    again.tell()
    assert again.told == [], "neither told again nor over, since nothing was copied"
    ended(again, {"event": "done"})
    assert [line.partition(":")[0] for line in again.told] == ["recovery"]
    ended(again, failed("failed"))
    without = started()
    without.tell()
    assert without.notes.copy_failures == 0, "the remote is not in the settings any more"


class Service:
    """The schedule as a process, and its health check."""

    def __init__(self, place: Place, folder: Path, **environment: str) -> None:
        self.health_file = folder / "health"
        self.environment = {**os.environ, "BACKUP_HEALTH_FILE": str(self.health_file), **environment}
        self.process = subprocess.Popen(
            agent_command("schedule", *place.arguments), cwd=ROOT, env=self.environment, stderr=subprocess.DEVNULL
        )

    def health(self) -> tuple[int, str]:
        script = ROOT / "orchestrator" / "agent" / "health.sh"
        done = subprocess.run(["sh", script], env=self.environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.strip()

    def until(self, text: str) -> tuple[int, str]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            code, line = self.health()
            if text in line:
                return code, line
            time.sleep(0.1)
        raise AssertionError(self.health())

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=8)


def test_the_schedule_takes_the_first_snapshot_and_ends_at_once(place: Place, tmp_path: Path) -> None:
    make_database(place.data / "links.db")
    service = Service(place, tmp_path)
    try:
        assert service.until("last good snapshot")[0] == 0
        verb = subprocess.run(agent_command("health"), cwd=ROOT, env=service.environment, check=False)
        assert verb.returncode == 0
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 1
    finally:
        service.process.kill()
        service.process.wait()
    assert service.health() == (1, "the scheduler is not running")
    assert [entry.error for entry in store.entries(place.backups)] == [""]


def test_the_schedule_waits_for_a_database(place: Place, tmp_path: Path) -> None:
    service = Service(place, tmp_path)
    try:
        assert service.until("no database yet")[0] == 0
        make_database(place.data / "links.db")
        assert service.until("last good snapshot")[0] == 0
    finally:
        assert service.stop() == 0


def test_the_schedule_stops_in_the_middle_of_a_snapshot(large: Place, tmp_path: Path) -> None:
    service = Service(large, tmp_path)
    deadline = time.monotonic() + 10
    while not any(name.startswith(".scratch") for name in large.left()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert service.stop() == 0
    assert not [name for name in large.left() if name.endswith(".part")]


def test_health_does_not_believe_an_old_verdict(tmp_path: Path) -> None:
    file = tmp_path / "health"
    script = ROOT / "orchestrator" / "agent" / "health.sh"

    def check(content: str | None) -> tuple[int, str]:
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_text(content)
        environment = {**os.environ, "BACKUP_HEALTH_FILE": str(file)}
        done = subprocess.run(["sh", script], env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.strip()

    now = int(time.clock_gettime(time.CLOCK_BOOTTIME))
    assert check(None) == (1, "the scheduler has not started")
    assert check(f"{os.getpid()} {now + 60} ok all is well\n") == (0, "all is well")
    assert check(f"{os.getpid()} {now + 60} bad too old\n") == (1, "too old")
    code, line = check(f"{os.getpid()} {now - 30} ok all is well\n")
    assert code == 1
    assert "hangs" in line
