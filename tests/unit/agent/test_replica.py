"""Replication by Litestream: what it is told, how it is kept running, how far behind it is, and going back to a moment.

With the real program, as far as it is there: the requirements bring it."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.agent import restore
from orchestrator.agent.errors import AgentError
from orchestrator.agent.events import Progress
from orchestrator.agent.point import parse_moment, prepare_at, target
from orchestrator.agent.replica import Replication, Replicator, configuration, replicable, told_lag
from orchestrator.agent.source import REPLICA_FOLDER

from .conftest import Place, make_database

LITESTREAM = str(Path(sys.executable).with_name("litestream"))
NOW = datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC)


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_environment_says_what_is_replicated() -> None:
    assert Replication.of({}) is None
    assert Replication.of({"BACKUP_REPLICATE_TO": ""}) is None
    found = Replication.of({"BACKUP_REPLICATE_TO": "s3://bucket/path/", "BACKUP_REPLICATE_RETENTION": "48h"})
    assert found == Replication("s3://bucket/path", "48h", "24h")
    assert found is not None
    assert found.url("a/links.db") == "s3://bucket/path/a/links.db"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("TO", "bucket/path", "must be a URL"),
        ("TO", "ftp://host/path", "must be a URL"),
        ("TO", "s3://", "must be a URL"),
        ("RETENTION", "2 days", "RETENTION is '2 days'"),
        ("PRECISE", "0h", "PRECISE is '0h'"),
    ],
)
def test_what_cannot_be_replicated_is_a_usage_error(key: str, value: str, said: str) -> None:
    with pytest.raises(AgentError, match=said) as caught:
        Replication.of({"BACKUP_REPLICATE_TO": "s3://bucket", f"BACKUP_REPLICATE_{key}": value})
    assert caught.value.code == "usage"


def test_only_databases_in_wal_mode_are_replicated(place: Place) -> None:
    make_database(place.data / "links.db")
    (place.data / "sub").mkdir()
    make_database(place.data / "sub" / "more.db")
    with closing(sqlite3.connect(place.data / "old.db")) as old:
        old.execute("CREATE TABLE t (x)")
    (place.data / "note.txt").write_text("text")
    assert replicable(place.data) == ("links.db", "sub/more.db")
    document = configuration(Replication("file:///r", "48h", "2h"), place.data, replicable(place.data), Path("/s"))
    assert document["l0-retention"] == "2h"
    assert document["snapshot"]["retention"] == "48h"
    assert [one["replica"]["url"] for one in document["dbs"]] == ["file:///r/links.db", "file:///r/sub/more.db"]


def test_a_moment_is_utc_and_not_to_come() -> None:
    assert parse_moment("2026-11-24T09:30:00Z", NOW) == NOW - timedelta(minutes=30)
    assert parse_moment("2026-11-24 09:30", NOW) == NOW - timedelta(minutes=30)
    assert parse_moment("2026-11-24T11:30:00+02:00", NOW) == NOW - timedelta(minutes=30)
    for text, said in (("yesterday", "is not a time"), ("2026-11-24T10:00:01Z", "still to come")):
        with pytest.raises(AgentError, match=said):
            parse_moment(text, NOW)


def test_after_the_last_change_the_newest_state_is_meant() -> None:
    changes = [{"timestamp": f"2026-11-24T09:{minute}:00Z"} for minute in ("10", "30", "20")]
    times = {minute: NOW.replace(hour=9, minute=minute) for minute in (5, 10, 15, 20, 30, 45)}
    assert target([], NOW) is None
    assert target(changes, times[5]) is None
    between, after = target(changes, times[15]), target(changes, times[45])
    assert between is not None
    assert (between.newest, between.state_of) == (False, times[10])
    assert after is not None
    assert (after.newest, after.state_of) == (True, times[30])


def test_a_replica_that_is_far_behind_is_told() -> None:
    assert told_lag(None)[0]
    assert told_lag(3.2) == (True, "replica 3 s behind")
    assert told_lag(301.0) == (False, "replica 301 s behind, allowed 300 s")


class Running:
    """A volume with a writer's connection, and Litestream beside it."""

    def __init__(self, place: Place, to: Path) -> None:
        self.place = place
        self.replication = Replication(f"file://{to}", "48h", "24h")
        self.replicator = Replicator(
            self.replication,
            place.data,
            program=LITESTREAM,
            config=to.with_name("litestream.json"),
            listen=to.with_name("litestream.sock"),
        )
        self.writer = sqlite3.connect(place.data / "links.db", isolation_level=None)

    def add(self) -> datetime:
        """One row more; a moment at which the replica has it: it takes in a second's writes at a time."""
        self.writer.execute("INSERT INTO t DEFAULT VALUES")
        time.sleep(0.01)
        written = datetime.now(UTC)
        until(lambda: self.behind_of(written))
        time.sleep(0.01)
        return datetime.now(UTC)

    def behind_of(self, moment: datetime) -> bool:
        self.replicator.tend()
        lag = self.replicator.lag(now := datetime.now(UTC))
        return lag is not None and now - timedelta(seconds=lag) > moment

    def count(self, path: Path) -> int:
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])

    def prepare(self, moment: datetime) -> dict[str, object]:
        return prepare_at(
            self.place.data,
            self.place.backups,
            moment,
            self.replication,
            wait=1,
            progress=Progress(None),
            program=LITESTREAM,
        )


@pytest.fixture
def running(place: Place, tmp_path: Path) -> Iterator[Running]:
    make_database(place.data / "links.db", rows=5)
    to = tmp_path / "replica"
    to.mkdir()
    made = Running(place, to)
    yield made
    made.writer.close()
    made.replicator.stop()


def test_back_to_moments_before_and_after_a_restore(running: Running) -> None:
    place = running.place
    (place.data / "early.txt").write_text("early")
    first = running.add()
    place.take()
    (place.data / "late.txt").write_text("late")
    (place.data / "early.txt").unlink()
    time.sleep(1)
    second = running.add()
    running.add()
    running.replicator.stop()
    running.writer.close()
    told = running.prepare(second)
    assert told["databases"] == ["links.db"]
    assert told["rows"] == 7
    assert running.count(place.data / "links.db") == 8, "nothing of the live files has changed"
    switched = restore.switch(place.data, place.backups, release="", wait=1)
    assert switched["safety_snapshot"]
    restore.finish(place.data)
    assert running.count(place.data / "links.db") == 7
    assert (place.data / "early.txt").read_text() == "early", "from the snapshot before"
    assert (place.data / "late.txt").read_text() == "late", "there now"
    assert not (place.data / REPLICA_FOLDER).exists(), "the new data's replication begins anew"
    # The same replica goes on, and knows the time before and after.
    running.writer = sqlite3.connect(place.data / "links.db", isolation_level=None)
    running.replicator.paths = ()
    third = running.add()
    running.replicator.stop()
    running.writer.close()
    for moment, rows in ((first, 6), (second, 7), (third, 8)):
        assert running.prepare(moment)["rows"] == rows


def test_a_time_before_the_replica_is_told_and_leaves_nothing(running: Running) -> None:
    running.add()
    with pytest.raises(AgentError, match=r"The replica of links.db begins at .*, after 2026-01-01"):
        running.prepare(datetime(2026, 1, 1, tzinfo=UTC))
    assert not (running.place.data / ".restore").exists()


def test_a_litestream_that_ends_is_started_again(running: Running) -> None:
    running.add()
    child = running.replicator.child
    assert child is not None
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    running.add()
    assert running.replicator.child is not child


def test_a_replica_out_of_reach_falls_behind_and_catches_up(running: Running) -> None:
    running.add()
    to = Path(running.replication.to.removeprefix("file://"))
    to.rename(to.with_name("away"))
    to.write_text("in the way")
    running.writer.execute("INSERT INTO t DEFAULT VALUES")
    until(lambda: (running.replicator.lag(datetime.now(UTC)) or 0) > 3)
    to.unlink()
    to.with_name("away").rename(to)
    running.add()
    assert told_lag(running.replicator.lag(datetime.now(UTC)))[0]


def test_without_litestream_it_says_so(place: Place) -> None:
    make_database(place.data / "links.db")
    place.take()
    with pytest.raises(AgentError, match="not in this image"):
        prepare_at(
            place.data,
            place.backups,
            datetime.now(UTC) + timedelta(seconds=1),
            Replication("file:///nowhere", "48h", "24h"),
            wait=1,
            progress=Progress(None),
            program="/no/litestream",
        )
    assert not (place.data / ".restore").exists()
