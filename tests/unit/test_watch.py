"""watch: who is started again, when, and that it leaves alone what others do."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from orchestrator import lock, watch
from orchestrator.errors import EngineError, NoEngine
from orchestrator.report import Reporter
from orchestrator.session import Session
from orchestrator.watch import Memory, Trouble
from tests.unit.memory_engine import MemoryEngine, Script
from tests.unit.stacks import LIVE, STACK, deployed

PROXY, BACKUP = "shop-proxy-1", "shop-backup-1"


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("orchestrator.watch.time.monotonic", lambda: made.now)
    return made


class Watched:
    """A deployed stack in memory, somebody who watches it, and what they said."""

    def __init__(self) -> None:
        self.engine = deployed()
        self.memory, self.said = Memory(), io.StringIO()
        self.session = Session(None, STACK, self.engine, Reporter(self.said))  # type: ignore[arg-type]
        self.look()

    def look(self) -> list[str]:
        """Looks once; the calls that changed something, without those of the lock."""
        before = len(self.engine.calls)
        watch._look(self.session, self.memory)
        changing = ("start_container", "stop_container", "run_in", "create_container")
        calls = [call for call in self.engine.calls[before:] if call.startswith(changing)]
        return [call for call in calls if lock.name_of("shop") not in call]

    def sick(self, name: str) -> None:
        self.engine.named(name).health = "unhealthy"


@pytest.fixture
def watched(clock: Clock) -> Watched:
    return Watched()


def test_nothing_to_do_is_nothing_done(watched: Watched) -> None:
    assert watched.look() == []
    assert watched.said.getvalue() == ""
    assert watched.engine.picture() == deployed().picture()


def test_an_unhealthy_app_is_started_again_and_the_proxy_told(watched: Watched) -> None:
    watched.sick(LIVE)
    calls = watched.look()
    assert [call.split()[0] for call in calls] == ["stop_container", "start_container", "run_in"]
    assert LIVE in calls[0]
    assert PROXY in calls[2]
    assert watched.engine.named(LIVE).health == "healthy"
    assert "it is unhealthy" in watched.said.getvalue()
    assert watched.look() == []
    assert not [name for name in watched.engine.containers if "lock" in name]


def test_an_unhealthy_proxy_is_started_again_and_asked(watched: Watched) -> None:
    watched.sick(PROXY)
    assert [call.split()[0] for call in watched.look()] == ["stop_container", "start_container", "run_in"]
    assert watched.engine.named(PROXY).health == "healthy"


def test_a_backup_that_is_too_old_is_no_reason(watched: Watched) -> None:
    watched.sick(BACKUP)
    assert watched.look() == []


def test_what_somebody_stopped_stays_stopped(watched: Watched) -> None:
    watched.engine.stop_container(LIVE, 1)
    assert watched.look() == []


def test_the_engine_has_started_the_app_again(watched: Watched) -> None:
    watched.engine.stop_container(LIVE, 1)
    assert watched.look() == []
    watched.engine.start_container(LIVE)
    assert watched.look() == [], "it does not answer yet"
    watched.engine.named(LIVE).health = "healthy"
    calls = watched.look()
    assert [call.split()[0] for call in calls] == ["run_in"]
    assert "another one" in watched.said.getvalue()
    assert watched.look() == []


def test_a_release_has_told_the_proxy_itself(watched: Watched) -> None:
    observed = watched.engine.observe("shop")
    newer = tuple(replace(c, started="2027-01-01T00:00:00Z", name="other") for c in observed.containers)
    assert watch.moved(STACK, replace(observed, containers=newer), watched.memory.started) == ()
    # One that the engine had restarted before anybody looked.
    restarted = tuple(replace(c, restarts=1) for c in observed.containers)
    assert [c.name for c in watch.moved(STACK, replace(observed, containers=restarted), {})] == [LIVE]


def test_each_attempt_waits_longer(watched: Watched, clock: Clock) -> None:
    attempts = []
    for _ in range(4000):
        watched.sick(LIVE)
        if watched.look():
            attempts.append(clock.now)
        clock.now += watch.INTERVAL
    waits = [round(after - before) for before, after in pairwise(attempts)]
    assert waits[:7] == [10, 20, 40, 80, 160, 320, 600]
    assert set(waits[7:]) == {600}


def test_trouble_that_is_over_is_forgotten(watched: Watched, clock: Clock) -> None:
    watched.memory.troubles = {LIVE: Trouble(5, clock.now)}
    clock.now += watch.CALM + 1
    watched.look()
    assert watched.memory.troubles == {}


def test_one_that_stays_sick_is_told_with_its_last_words(watched: Watched) -> None:
    watched.engine.scripts["shop-app:aaa"] = Script(exits=1, out=("no room",))
    watched.sick(LIVE)
    watched.look()
    assert "exited with code 1" in watched.said.getvalue()
    assert "no room" in watched.said.getvalue()
    assert not [name for name in watched.engine.containers if "lock" in name]


def test_a_deployment_is_left_alone(watched: Watched) -> None:
    watched.sick(LIVE)
    with lock.held("shop", "shop-app:aaa", watched.engine, print):
        assert watched.look() == []
        assert watched.look() == []
    assert watched.said.getvalue().count("is under way") == 1
    assert watched.look() != []


@pytest.mark.parametrize("error", [NoEngine("the engine went away."), EngineError("could not look")])
def test_an_engine_that_is_gone_is_waited_for(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def gone(self: MemoryEngine, project: str) -> Callable[..., object]:
        raise error

    with monkeypatch.context() as context:
        context.setattr(MemoryEngine, "observe", gone)
        watched.look()
        watched.look()
    assert watched.said.getvalue().count(str(error).rstrip(".")) == 1
    watched.sick(LIVE)
    assert watched.look() != []
