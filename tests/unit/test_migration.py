"""Before a migration: the question whether there is one, and the snapshot; and how the agent's container is run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator import agent_run, migration
from orchestrator.agent_run import AgentFailedError
from orchestrator.errors import EngineError, OrchestratorError
from orchestrator.report import Reporter
from orchestrator.steps import Migrate
from tests.unit.memory_engine import SNAPSHOT, MemoryEngine, Script
from tests.unit.stacks import (
    CHECK_COMMAND,
    IMAGES,
    NEW_APP,
    PENDING,
    RELEASE,
    deployed,
    later,
    planned,
    quiet,
    with_service,
)

NAME = "shop-app-20261124t101602-ddddddd-migrate"


def steps(target: MemoryEngine, **changes: Any) -> list[Migrate]:
    plan = planned(target, with_service("app", **changes), IMAGES | {"app": NEW_APP}, now=later())
    return [step for step in plan if isinstance(step, Migrate)]


def run(target: MemoryEngine, **changes: Any) -> Reporter:
    report = quiet()
    (step,) = steps(target, **changes)
    migration.migrate(step, target, report)
    return report


def agent(*messages: dict[str, Any], code: int = 0) -> Script:
    return Script(exits=code, out=tuple(json.dumps(message) for message in messages))


def test_nothing_to_migrate_takes_no_snapshot() -> None:
    target = deployed()
    assert run(target).facts == {}
    created = [call for call in target.calls if call.startswith("create_container") and NAME in call]
    assert created == [f"create_container {NAME}-check"], "neither a snapshot nor the migration"
    assert len(target.containers) == 3


def test_a_snapshot_first() -> None:
    target = deployed()
    target.scripts[CHECK_COMMAND] = PENDING
    bodies: list[Any] = []
    target.watch = lambda _: bodies.extend(c.body for c in target.containers.values() if c.name.endswith("-snapshot"))
    assert run(target).facts == {"migrated": True, "snapshot": SNAPSHOT}
    assert bodies[0]["Cmd"] == ["snapshot", "--reason", "before-migration", "--release", RELEASE]
    assert bodies[0]["Image"] == IMAGES["backup"].reference
    assert bodies[0]["HostConfig"]["NetworkMode"] == "none"
    assert len(target.containers) == 3


def test_without_a_check_there_always_is_something() -> None:
    target = deployed()
    assert run(target, migrate_check=()).facts["snapshot"] == SNAPSHOT
    assert not [call for call in target.calls if f"create_container {NAME}-check" in call]


def test_no_migration_no_question() -> None:
    assert steps(deployed(), migrate=()) == []


def test_a_volume_without_a_database_has_nothing_to_lose() -> None:
    target = deployed()
    target.scripts |= {
        CHECK_COMMAND: PENDING,
        f"{NAME}-snapshot": agent({"event": "error", "message": "", "code": "empty"}),
    }
    assert run(target).facts == {"migrated": True}


@pytest.mark.parametrize(
    ("scripts", "told", "detail"),
    [
        ({CHECK_COMMAND: Script(exits=1, err=("no such table",))}, "ended with code 1", ("no such table",)),
        (
            {
                CHECK_COMMAND: PENDING,
                f"{NAME}-snapshot": agent({"event": "error", "message": "disk full", "hint": "make room"}, code=1),
            },
            "no snapshot could be taken before the migration: disk full",
            (),
        ),
        ({CHECK_COMMAND: PENDING, f"{NAME}-snapshot": Script(exits=137)}, "the backup agent ended with code 137", ()),
        (
            {CHECK_COMMAND: PENDING, NAME: Script(exits=1, err=("no such column",))},
            "the migration failed with code 1",
            ("no such column",),
        ),
    ],
    ids=["check", "snapshot", "killed agent", "migration"],
)
def test_failures_leave_no_container(scripts: dict[str, Script], told: str, detail: tuple[str, ...]) -> None:
    target = deployed()
    target.scripts |= scripts
    with pytest.raises(OrchestratorError, match=told) as caught:
        run(target)
    assert caught.value.detail == detail
    assert len(target.containers) == 3


# The agent's container


def body() -> dict[str, Any]:
    return {"Image": IMAGES["backup"].reference, "Cmd": ["snapshot"], "Labels": {}}


def test_the_last_word_counts() -> None:
    target, report = deployed(), quiet()
    target.scripts["x"] = agent({"event": "progress", "bytes": 1}, {"event": "done", "snapshot": "s"})
    with agent_run.container("x", body(), target):
        assert agent_run.result("x", target, report) == {"event": "done", "snapshot": "s"}


@pytest.mark.parametrize(
    "script", [Script(exits=0), agent({"event": "progress"}), agent({"event": "done"}, code=1)], ids=range(3)
)
def test_an_agent_that_does_not_say_done_has_failed(script: Script) -> None:
    target = deployed()
    target.scripts["x"] = script
    with agent_run.container("x", body(), target), pytest.raises(OrchestratorError, match="the backup agent ended"):
        agent_run.result("x", target, quiet())


@pytest.mark.parametrize(("code", "exit_code"), [("empty", 1), ("usage", 2)])
def test_the_agents_error_is_ours(code: str, exit_code: int) -> None:
    target = deployed()
    target.scripts["x"] = agent({"event": "error", "message": "m", "hint": "h", "code": code}, code=1)
    with agent_run.container("x", body(), target), pytest.raises(AgentFailedError, match="m") as caught:
        agent_run.result("x", target, quiet())
    assert (caught.value.hint, caught.value.code, caught.value.exit_code) == ("h", code, exit_code)


def test_the_container_goes_even_if_it_can_not_be_stopped() -> None:
    target = deployed()
    target.fails = lambda _, call, after: EngineError("busy") if call == "stop_container x" and not after else None
    with pytest.raises(EngineError, match="busy"), agent_run.container("x", body(), target):
        pass
    assert len(target.containers) == 3
