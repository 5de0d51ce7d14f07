"""Visits under a real gunicorn: stopped, killed, and with a database that is busy."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from tests.servers import free_port

ROOT = Path(__file__).parents[3]
WAIT = 30.0  # seconds; on a machine that is busy with other things


@dataclass
class Running:
    """gunicorn with the project's own configuration and one link, `a`."""

    process: subprocess.Popen[bytes]
    port: int
    database: Path
    #: When each 302 arrived, by the monotonic clock.
    followed: list[float] = field(default_factory=list)

    def ask(self, path: str = "/a") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def load(self, stop: threading.Event) -> None:
        """Follows the link until told to stop, over new connections; one that the end cuts is no visit."""
        while not stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask() == 302:
                    self.followed.append(time.monotonic())

    def counted(self) -> tuple[int, int]:
        """(clicks of the link, clicks of its days)"""
        with contextlib.closing(apsw.Connection(str(self.database))) as connection:
            (found,) = connection.execute("SELECT clicks, (SELECT TOTAL(clicks) FROM daily) FROM visit")
        return int(found[0]), int(found[1])

    def until_counted(self, number: int) -> None:
        end = time.monotonic() + WAIT
        while self.counted() != (number, number):
            assert time.monotonic() < end, f"{self.counted()} and not {number}"
            time.sleep(0.05)


@pytest.fixture
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    """Answers when the test begins; with two workers, or as many as the test wants."""
    port, database = free_port(), tmp_path / "links.db"
    environment = {**os.environ, "DATABASE_PATH": str(database), "PORT": str(port), "LOG_LEVEL": "error"}
    environment["WEB_CONCURRENCY"] = str(getattr(request, "param", 2))
    command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "service:create_app()"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        made = Running(process, port, database)
        end = time.monotonic() + WAIT
        while True:
            with contextlib.suppress(OSError):
                if made.ask("/health") == 200:
                    break
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        with contextlib.closing(apsw.Connection(str(database))) as connection:
            connection.setbusytimeout(5000)
            connection.execute(
                "INSERT INTO link (key, name, url, created, updated) VALUES ('a', 'a', 'https://e.com', 0, 0)"
            )
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def load(running: Running) -> Iterator[None]:
    """Four clients."""
    stop = threading.Event()
    clients = [threading.Thread(target=running.load, args=(stop,)) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        stop.set()
        for client in clients:
            client.join()


def test_a_stop_under_load_loses_no_click(running: Running) -> None:
    with load(running):
        time.sleep(0.6)
        assert running.counted()[0] < len(running.followed) + 8
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(WAIT) == 0
    assert len(running.followed) > 20
    # A client that was cut after its visit was counted may have no answer: never the other way around.
    clicks, of_days = running.counted()
    assert len(running.followed) <= clicks == of_days <= len(running.followed) + 4
    assert not running.database.with_name("links.db-wal").exists()


@pytest.mark.parametrize("running", [1], indirect=True)
def test_a_kill_loses_a_second_at_most(running: Running) -> None:
    with load(running):
        before, writes = running.counted(), [time.monotonic()]
        while len(writes) < 7:
            assert time.monotonic() < writes[-1] + WAIT
            time.sleep(0.01)
            if (now := running.counted()) != before:
                before = now
                writes.append(time.monotonic())
        # Shortly before it writes again, when most is lost.
        time.sleep(0.6)
        os.killpg(running.process.pid, signal.SIGKILL)
        killed = time.monotonic()
        running.process.wait()
    assert running.counted()[0] >= sum(at < killed - 1.0 for at in running.followed) > 0
    # A machine that is late for once is no part of the promise.
    assert statistics.median(later - earlier for earlier, later in itertools.pairwise(writes)) < 1.0


def test_a_database_that_is_busy_gets_all_of_it_later(running: Running) -> None:
    with contextlib.closing(apsw.Connection(str(running.database))) as other:
        other.setbusytimeout(5000)
        other.execute("BEGIN IMMEDIATE")
        for _ in range(30):
            assert running.ask() == 302
        time.sleep(1.5)
        assert running.counted() == (0, 0)
        other.execute("COMMIT")
        running.until_counted(30)
        # At the end, too.
        other.execute("BEGIN IMMEDIATE")
        for _ in range(10):
            assert running.ask() == 302
        running.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        other.execute("COMMIT")
    assert running.process.wait(WAIT) == 0
    assert running.counted() == (40, 40)
