"""One deployment at a time: free, held, left by the dead, and two that want it at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest

from orchestrator import labels, lock
from orchestrator.errors import EngineError, Locked, NoEngine, RolledBack
from tests.unit.memory_engine import MemoryEngine

NAME = "shop-deploy-lock"


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    monkeypatch.setattr(lock, "DEAD_AFTER", 0.1)


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine({"i": "sha256:i"})


def silent(_: str) -> None:
    """Nobody listens."""


def take(engine: MemoryEngine, say: Callable[[str], None] = silent) -> None:
    with lock.held("shop", "i", engine, say):
        assert NAME in [c.name for c in engine.containers.values()]


def held_by(engine: MemoryEngine, holder: Mapping[str, str] | str) -> None:
    text = holder if isinstance(holder, str) else json.dumps(dict(holder))
    engine.create_container(NAME, {"Image": "i", "Labels": {labels.OWNER: text}})


def ended_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_free(engine: MemoryEngine) -> None:
    take(engine)
    assert not engine.containers
    take(engine)


def test_left_by_a_dead_process_of_this_host_where_nothing_is_to_do(engine: MemoryEngine) -> None:
    said: list[str] = []
    lock.remove_dead("shop", engine, said.append)
    assert said == []
    held_by(engine, lock.owner() | {"pid": str(ended_process()), "since": "2026-11-24T10:00:00+00:00"})
    lock.remove_dead("shop", engine, said.append)
    assert not engine.containers
    assert said == ["the deployment that held the lock since 2026-11-24T10:00:00+00:00 has died; its lock is removed"]


@pytest.mark.parametrize("holder", [{}, {"identity": "another host"}, {"pid": "none"}])
def test_not_known_to_be_dead_keeps_its_lock_where_nothing_is_to_do(
    engine: MemoryEngine, holder: dict[str, str]
) -> None:
    held_by(engine, lock.owner() | holder)
    lock.remove_dead("shop", engine, silent)
    assert engine.containers


def test_freed_after_an_error(engine: MemoryEngine) -> None:
    with pytest.raises(ValueError, match="x"), lock.held("shop", "i", engine, silent):
        raise ValueError("x")
    assert not engine.containers


def test_lock_that_can_not_be_removed_does_not_hide_how_it_ended(engine: MemoryEngine) -> None:
    engine.fails = lambda _, call, after: NoEngine("gone.") if call.startswith("remove") and not after else None
    said: list[str] = []
    with pytest.raises(RolledBack, match="x"), lock.held("shop", "i", engine, said.append):
        raise RolledBack("x")
    assert said == ["the lock could not be removed (gone); the next deployment takes it over"]


def test_held_by_a_living_process_of_this_host(engine: MemoryEngine) -> None:
    held_by(engine, lock.owner() | {"user": "ann", "since": "2026-11-24T10:00:00+00:00"})
    with pytest.raises(Locked) as caught:
        take(engine)
    assert "shop is under way: ann on" in caught.value.message
    assert f"(process {os.getpid()}), since 2026-11-24T10:00:00+00:00" in caught.value.message
    assert caught.value.exit_code == 4
    assert engine.named(NAME)


def test_other_projects_do_not_matter(engine: MemoryEngine) -> None:
    with lock.held("other", "i", engine, silent):
        take(engine)


@pytest.mark.parametrize("change", [{"pid": None}, {"started": "1"}])
def test_dead_owner_of_this_host_is_known_at_once(engine: MemoryEngine, change: dict[str, str | None]) -> None:
    """Also where its process id has been given to another process."""
    holder = lock.owner() | {key: value or str(ended_process()) for key, value in change.items()}
    held_by(engine, holder)
    said: list[str] = []
    take(engine, said.append)
    assert [line for line in said if "has died; taking over" in line]
    assert not [call for call in engine.calls if call.startswith("read_folder")], "no waiting for a counter"
    assert not engine.containers


@pytest.mark.parametrize("holder", [{"host": "laptop", "identity": "laptop/1"}, "not JSON", "3"])
def test_owner_elsewhere_whose_counter_stands_still(engine: MemoryEngine, holder: dict[str, str] | str) -> None:
    held_by(engine, holder)
    said: list[str] = []
    take(engine, said.append)
    assert "looking whether it lives" in said[0]
    assert "taking over" in said[1]


def test_owner_elsewhere_whose_counter_moves(engine: MemoryEngine) -> None:
    held_by(engine, {"host": "laptop", "identity": "laptop/1", "pid": "7", "user": "bob"})
    stop = threading.Event()

    def beat() -> None:
        count = 0
        while not stop.wait(0.01):
            count += 1
            engine.named(NAME).files["/heartbeat"] = str(count).encode()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(Locked, match=r"bob on laptop \(process 7\)"):
            take(engine)
    finally:
        stop.set()
        thread.join()
    assert engine.named(NAME)


def test_the_holder_raises_the_counter(engine: MemoryEngine) -> None:
    with lock.held("shop", "i", engine, silent):
        seen: set[bytes] = set()
        until = time.monotonic() + 5
        while len(seen) < 3 and time.monotonic() < until:
            seen.add(engine.named(NAME).files.get("/heartbeat", b""))
            time.sleep(0.005)
    assert len(seen) >= 3


def test_counter_goes_on_after_the_engine_was_away(engine: MemoryEngine) -> None:
    away = [NoEngine("restarting"), NoEngine("restarting")]
    engine.fails = lambda _, call, after: away.pop() if away and call.startswith("write_files") and not after else None
    with lock.held("shop", "i", engine, silent):
        until = time.monotonic() + 5
        while not engine.named(NAME).files and time.monotonic() < until:
            time.sleep(0.005)
        assert not away
        assert engine.named(NAME).files


def both_at_once(engine: MemoryEngine) -> int:
    """How many of two takers were inside at the same time, at most."""
    inside, most = 0, 0
    guard, barrier = threading.Lock(), threading.Barrier(2)

    def one() -> None:
        nonlocal inside, most
        barrier.wait()
        with suppress(Locked), lock.held("shop", "i", engine, silent):
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return most


def test_two_at_once(engine: MemoryEngine) -> None:
    """However they interleave, also when both find a dead owner first: one has it, the other is told so."""
    for dead in (False, True):
        for _ in range(10):
            if dead:
                held_by(engine, lock.owner() | {"pid": str(2**22 + 1)})
            assert both_at_once(engine) == 1
            assert not engine.containers


def test_removal_by_id_never_removes_a_successors(engine: MemoryEngine) -> None:
    """Ours was taken for dead (a laptop that slept) and somebody else took over."""
    with lock.held("shop", "i", engine, silent):
        engine.remove_container(NAME)
        held_by(engine, {"host": "laptop"})
        theirs = engine.named(NAME).id
    assert engine.named(NAME).id == theirs


def test_lock_that_is_freed_just_then_is_taken(engine: MemoryEngine) -> None:
    held_by(engine, lock.owner())

    first = [True]

    def fails(_: int, call: str, after: bool) -> BaseException | None:
        if call == f"inspect {NAME}" and not after and first and first.pop():
            engine.containers.clear()
        return None

    engine.fails = fails
    with lock.held("shop", "i", engine, silent):
        pass


def test_other_refusals_are_told(engine: MemoryEngine) -> None:
    with pytest.raises(EngineError, match="No such image"), lock.held("shop", "none", engine, silent):
        pass


def test_owner_says_who_we_are() -> None:
    us = lock.owner()
    assert us["pid"] == str(os.getpid())
    assert us["started"].isdigit()
    assert lock.process_started(os.getpid()) == us["started"]
    assert lock.process_started(2**22 + 1) == ""
    assert not lock.certainly_dead(us)
    assert lock.certainly_dead(us | {"started": "1"})
    assert not lock.certainly_dead(us | {"started": "", "pid": "1"}), "without /proc only the counter can tell"
    assert not lock.certainly_dead({})
