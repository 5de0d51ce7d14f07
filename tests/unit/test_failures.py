"""Every kind of plan fails and is killed at every call of the engine: it is undone, it serves, the next run goes on."""

from __future__ import annotations

from contextlib import suppress

import pytest

from orchestrator.apply import apply
from orchestrator.errors import EngineError, Interrupted, NoEngine, OrchestratorError, RolledBack
from tests.unit.memory_engine import Killed, MemoryEngine
from tests.unit.scenarios import MOVING, SCENARIOS, WITHOUT_A_BREAK, Failure, Scenario, calls_of
from tests.unit.stacks import (
    deployed,
    quiet,
)


def check_failure(scenario: Scenario, at: int, *, main: int, after: bool, error: BaseException) -> None:
    target, report = scenario.make(), quiet()
    before, plan = target.picture(), scenario.plans(target)
    failure = Failure(target, at, after=after, error=error)
    told: OrchestratorError | None = None
    try:
        apply(plan, target, report)
    except OrchestratorError as caught:
        told = caught
    kind = {KeyboardInterrupt: Interrupted, ValueError: OrchestratorError}.get(type(error), type(error))
    if told is None:
        # Something of the old is still there; or nobody read a stream to its end, so its end could not fail.
        assert report.warnings if failure.happened else not failure.happened
        assert at > main or not failure.happened
        assert isinstance(error, EngineError) or not failure.happened
    elif at > main:
        assert told.in_place
        assert "is in place" in told.hint
        assert type(told) is kind
    else:
        now = target.picture()
        assert (now["containers"], now["networks"]) == (before["containers"], before["networks"])
        assert now["files"] == before["files"] or not scenario.serves
        assert "could not be undone" not in told.hint
        assert type(told) is (RolledBack if scenario.serves else kind)
    assert not told or ("a defect of the orchestrator" in told.message) == isinstance(error, ValueError)
    assert bool(target.serving()) == (scenario.serves or told is None)
    # And the next run goes on from there.
    target.fails = lambda *_: None
    apply(scenario.plans(target), target, quiet())
    assert str(scenario.plans(target)) == ""
    assert len(target.containers) == 2 + scenario.app_containers
    assert target.serving()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "error",
    [NoEngine("gone."), EngineError("refused."), KeyboardInterrupt(), ValueError("ours")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("name", SCENARIOS)
def test_failure_at_any_call_leaves_everything_as_it_was(name: str, error: BaseException, *, after: bool) -> None:
    scenario = SCENARIOS[name]
    main = len(calls_of(scenario, main=True))
    for at, call in enumerate(calls_of(scenario), 1):
        # A creation that the engine refuses has no effect; a weight that it refuses is not needed.
        harmless = ("set_cpu_shares", "create_") if after else ("set_cpu_shares",)
        if not (isinstance(error, EngineError) and call.startswith(harmless)):
            check_failure(scenario, at, main=main, after=after, error=error)


def outages_of(target: MemoryEngine) -> list[str]:
    """The calls from now on after which nobody answers."""
    outages: list[str] = []

    def watch(call: str) -> None:
        if not target.serving():
            outages.append(call)

    target.watch = watch
    return outages


@pytest.mark.parametrize("name", WITHOUT_A_BREAK)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", [OrchestratorError("x"), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_a_release_never_leaves_requests_without_an_answer(name: str, after: bool, error: BaseException) -> None:
    """Whatever fails, undo included: between any two calls a healthy app has the traffic."""
    scenario = SCENARIOS[name]
    for at in range(1, len(calls_of(scenario)) + 1):
        target = scenario.make()
        plan = scenario.plans(target)
        failure = Failure(target, at, after=after, error=error)
        outages = outages_of(target)
        try:
            apply(plan, target, quiet())
        except OrchestratorError:
            assert failure.happened
        assert outages == [], f"call {at}"


@pytest.mark.parametrize("name", [name for name, scenario in SCENARIOS.items() if scenario.serves])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("again", ["same settings", "old settings"])
def test_a_killed_release_and_the_run_after_it_serve_at_every_moment(name: str, again: str, *, after: bool) -> None:
    scenario = SCENARIOS[name]
    for at, call in enumerate(calls_of(scenario), 1):
        target = scenario.make()
        plan = scenario.plans(target)
        Failure(target, at, after=after, error=Killed())
        with suppress(Killed):
            apply(plan, target, quiet())
        moving = call.startswith(MOVING)
        assert target.serving() or moving, f"killed at call {at}"
        target.fails = lambda *_: None
        outages = outages_of(target)
        plans = scenario.plans if again == "same settings" else scenario.back
        following = plans(target)
        apply(following, target, quiet())
        left = [] if moving else [call for call in outages if not call.startswith(MOVING)]
        assert left == [], f"killed at call {at}, then:\n{following}"
        assert scenario.moves_the_port or moving or outages == []
        assert len(target.containers) == 2 + scenario.app_containers
        assert target.serving()
        assert str(plans(target)) == "", f"killed at call {at}, after:\n{following}"


def test_scenarios_are_what_they_say() -> None:
    """Guards the parametrised tests above: a plan that lost its steps would test nothing."""
    calls = {name: "\n".join(calls_of(scenario)) for name, scenario in SCENARIOS.items()}
    lengths = {name: text.count("\n") for name, text in calls.items()}
    assert lengths["release"] > 8
    assert lengths["proxy replacement"] > 5
    assert lengths["everything"] > lengths["migration"] > lengths["new image"] > lengths["release"]
    assert "-migrate-snapshot" in calls["migration"]
    assert "-migrate-snapshot" not in calls["new image"]
    assert "use config config-eeeeeeeeeeee" in calls["configuration"]
    assert "use config  " in calls["own configuration"]
    assert "create_container" not in calls["own configuration"]
    assert all(("disconnect_network" in calls[name]) == s.moves_the_port for name, s in SCENARIOS.items())
    assert [str(step) for step in SCENARIOS["hooks"].plans(deployed())][:2] == [
        "run hook true (before the release)",
        "run hook true again (before the release)",
    ]
