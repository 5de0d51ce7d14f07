"""The engine in memory is like the real one: the same methods, and the contract they share."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from orchestrator.engine import Engine
from tests.unit.contract import EXIT_3, TERMINAL, TESTS, Contract
from tests.unit.memory_engine import MemoryEngine, Script

#: These only call other methods, so they are the real engine's.
INHERITED = ("image_id", "read_file")
PUBLIC = [name for name, _ in inspect.getmembers(Engine, callable) if not name.startswith("_")]


@pytest.mark.parametrize("name", PUBLIC)
def test_same_methods_with_the_same_parameters(name: str) -> None:
    assert (name in vars(MemoryEngine)) != (name in INHERITED), "inherited, it would ask for a real engine"
    real, mine = inspect.signature(getattr(Engine, name)), inspect.signature(getattr(MemoryEngine, name))
    assert real.parameters == mine.parameters
    assert real.return_annotation == mine.return_annotation or name == "twin"


@pytest.mark.parametrize("check", TESTS.values(), ids=TESTS)
def test_contract(check: Callable[[Contract], None]) -> None:
    engine = MemoryEngine({"image:1": "sha256:1"})
    engine.scripts[" ".join(EXIT_3)] = Script(exits=3, out=("out",), err=("err",))
    engine.commands[TERMINAL] = (4, "said\n")
    engine.scripts["false"] = Script(health="unhealthy")
    check(Contract(engine, "image:1", "shop"))
    assert not engine.containers
    assert not engine.networks
    assert not engine.volumes


def test_a_call_can_fail_before_and_after_its_effect() -> None:
    for after in (False, True):
        engine = MemoryEngine({"image:1": "sha256:1"})

        def fails(_: int, __: str, had_effect: bool, after: bool = after) -> BaseException | None:
            return KeyError() if had_effect == after else None

        engine.fails = fails
        with pytest.raises(KeyError):
            engine.create_container("x", {"Image": "image:1"})
        assert len(engine.containers) == int(after)
        assert engine.calls == ["create_container x"]
