"""Applying plans to the engine in memory: the order, the waiting, and that a failure at any call is undone."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from orchestrator import proxy
from orchestrator.apply import apply, inverse
from orchestrator.errors import EngineError, Interrupted, NoEngine, OrchestratorError, RolledBack
from orchestrator.model import Stack
from orchestrator.perform import perform, wait_healthy
from orchestrator.plan import plan_down
from orchestrator.report import Reporter
from orchestrator.steps import BuildImage, CreateContainer, Image, Plan, StartContainer, Step
from tests.unit.memory_engine import Killed, MemoryEngine, Script
from tests.unit.stacks import APP, IMAGES, LIVE, NEW_APP, STACK, deployed, engine, later, planned, quiet, with_service

EDITED = with_service("app", environment=dict(APP.environment) | {"LOG_LEVEL": "debug"})
BIGGER_PROXY = with_service("proxy", memory=1024**3)
CANDIDATE = "shop-app-20261124t101602-aaaaaaa"


def release(target: MemoryEngine) -> Plan:
    return planned(target, EDITED, now=later())


def new_image(target: MemoryEngine) -> Plan:
    return planned(target, images=IMAGES | {"app": NEW_APP}, now=later())


def proxy_replacement(target: MemoryEngine) -> Plan:
    return planned(target, BIGGER_PROXY, now=later())


def everything(target: MemoryEngine) -> Plan:
    return planned(target, with_service("proxy", EDITED, memory=1024**3), IMAGES | {"app": NEW_APP}, now=later())


Make = Callable[[], MemoryEngine]
Plans = Callable[[MemoryEngine], Plan]
SCENARIOS: dict[str, tuple[Make, Plans]] = {
    "first deploy": (engine, planned),
    "release": (deployed, release),
    "new image": (deployed, new_image),
    "proxy replacement": (deployed, proxy_replacement),
    "everything": (deployed, everything),
}


def calls_of(make: Make, plans: Plans) -> list[str]:
    """The engine's calls of an undisturbed run, from the first step on."""
    target = make()
    plan = plans(target)
    before = len(target.calls)
    apply(plan, target, quiet())
    return target.calls[before:]


class Failure:
    """Lets one call of the engine fail: the one `at` (counted from now), before or after it has its effect."""

    def __init__(self, target: MemoryEngine, at: int, *, after: bool, error: BaseException) -> None:
        self.at, self.after, self.error = at + len(target.calls), after, error
        self.happened = False
        target.fails = self

    def __call__(self, number: int, call: str, after: bool) -> BaseException | None:
        self.happened |= (number, after) == (self.at, self.after)
        return self.error if (number, after) == (self.at, self.after) else None


def past_the_return(calls: list[str], at: int) -> bool:
    """Whether the call that fails is the removal of something that stood before the plan, or comes after one."""
    made = {call.split()[1] for call in calls if call.startswith("create_container")}
    removed = [i for i, call in enumerate(calls, 1) if call.startswith("remove_") and call.split()[1] not in made]
    return bool(removed) and at >= removed[0]


def check_failure(name: str, at: int, calls: list[str], error: BaseException, *, after: bool) -> None:
    make, plans = SCENARIOS[name]
    target = make()
    before, plan = target.picture(), plans(target)
    failure = Failure(target, at, after=after, error=error)
    try:
        apply(plan, target, quiet())
    except OrchestratorError as caught:
        told = caught
    else:
        assert not failure.happened
        return  # nobody read a stream to its end, so its end could not fail
    if past_the_return(calls, at):
        assert "is in place" in told.hint
        assert type(told) is (Interrupted if isinstance(error, KeyboardInterrupt) else type(error))
        assert target.serving() in ("shop-app-20261124t101602-ddddddd", CANDIDATE, LIVE)
    else:
        now = target.picture()
        assert (now["containers"], now["networks"]) == (before["containers"], before["networks"])
        assert now["files"] == before["files"] or name == "first deploy"
        assert "could not be undone" not in told.hint
        if name != "first deploy":
            assert type(told) is RolledBack
        else:
            assert type(told) is (Interrupted if isinstance(error, KeyboardInterrupt) else type(error))
    assert bool(target.serving()) == (name != "first deploy")
    # And the next run goes on from there.
    target.fails = lambda *_: None
    apply(plans(target), target, quiet())
    assert str(plans(target)) == ""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "error", [NoEngine("gone."), EngineError("refused."), KeyboardInterrupt()], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("name", SCENARIOS)
def test_failure_at_any_call_leaves_everything_as_it_was(name: str, error: BaseException, *, after: bool) -> None:
    calls = calls_of(*SCENARIOS[name])
    for at, call in enumerate(calls, 1):
        # A creation that the engine refuses has no effect.
        if not (after and isinstance(error, EngineError) and call.startswith("create_")):
            check_failure(name, at, calls, error, after=after)


@pytest.mark.parametrize("name", ["release", "new image"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [OrchestratorError("x"), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_a_release_never_leaves_requests_without_an_answer(name: str, after: bool, error: BaseException) -> None:
    """Whatever fails, undo included: between any two calls a healthy app has the traffic."""
    make, plans = SCENARIOS[name]
    for at in range(1, len(calls_of(make, plans)) + 1):
        target = make()
        plan = plans(target)
        failure = Failure(target, at, after=after, error=error)
        outages: list[str] = []

        def watch(call: str, target: MemoryEngine = target, outages: list[str] = outages) -> None:
            if not target.serving():
                outages.append(call)

        target.watch = watch
        try:
            apply(plan, target, quiet())
        except OrchestratorError:
            assert failure.happened
        assert outages == [], f"call {at}"


@pytest.mark.parametrize("name", ["release", "new image"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("again", ["same settings", "old settings"])
def test_a_killed_release_and_the_run_after_it_serve_at_every_moment(name: str, again: str, *, after: bool) -> None:
    make, plans = SCENARIOS[name]
    for at in range(1, len(calls_of(make, plans)) + 1):
        target = make()
        plan = plans(target)
        Failure(target, at, after=after, error=Killed())
        with suppress(Killed):
            apply(plan, target, quiet())
        assert target.serving(), f"killed at call {at}"
        target.fails = lambda *_: None
        outages: list[str] = []

        def watch(call: str, target: MemoryEngine = target, outages: list[str] = outages) -> None:
            if not target.serving():
                outages.append(call)

        target.watch = watch
        stack = EDITED if (name, again) == ("release", "same settings") else STACK
        images = IMAGES | {"app": NEW_APP} if (name, again) == ("new image", "same settings") else IMAGES
        following = planned(target, stack, images, now=later(9))
        apply(following, target, quiet())
        assert outages == [], f"killed at call {at}, then:\n{following}"
        assert len(target.containers) == 3


def test_an_undisturbed_release_serves_at_every_moment() -> None:
    target = deployed()
    plan = release(target)
    served: list[str] = []
    target.watch = lambda _: served.append(target.serving())
    apply(plan, target, quiet())
    assert set(served) == {LIVE, CANDIDATE}
    assert served == sorted(served), "one change from the old to the new"


def test_what_another_has_made_under_the_name_is_not_removed() -> None:
    """A container of that name which is no part of the project: refused, and left alone."""
    target = engine()
    target.create_container("shop-backup-1", {"Image": "shop-app:aaa"})
    with pytest.raises(EngineError, match="already in use") as caught:
        apply(planned(target), target, quiet())
    assert [c.name for c in target.containers.values()] == ["shop-backup-1"]
    assert caught.value.hint == "everything is as it was."
    target.create_network({"Name": "shop_edge", "Labels": {}, "Internal": False})
    with pytest.raises(EngineError, match="already exists"):
        apply(planned(target), target, quiet())
    assert list(target.networks) == ["shop_edge"]


def test_undo_that_fails_is_told() -> None:
    target = deployed()
    plan = release(target)
    at = len(target.calls) + 3

    def fails(number: int, call: str, after: bool) -> BaseException | None:
        if after or number < at:
            return None
        return EngineError("disk is full") if number == at else NoEngine(f"gone: {call}")

    target.fails = fails
    with pytest.raises(OrchestratorError) as caught:
        apply(plan, target, quiet())
    assert type(caught.value) is OrchestratorError
    assert caught.value.message == "disk is full"
    assert "could not be undone" in caught.value.hint
    assert caught.value.detail == (f"gone: stop_container {CANDIDATE}", f"gone: remove_container {CANDIDATE}")


def test_rolled_back_says_what_serves() -> None:
    target = deployed()
    target.scripts[CANDIDATE] = Script(exits=3, out=("Traceback", "boom"))
    with pytest.raises(RolledBack) as caught:
        apply(release(target), target, quiet())
    assert caught.value.message == "app exited with code 3."
    assert caught.value.detail == ("its last log lines:", "  Traceback", "  boom")
    assert "20261124T101502-aaaaaaa serves on." in caught.value.hint
    assert target.serving() == LIVE


@pytest.mark.parametrize(
    ("script", "message", "detail"),
    [
        (Script(exits=0), "app exited with code 0.", ("it wrote no log.",)),
        (Script(exits=137), "app exited with code 137 (killed, perhaps for memory).", ("it wrote no log.",)),
        (Script(oom=True), "app exited with code 137 (killed, perhaps for memory).", ("it wrote no log.",)),
        (
            Script(health="unhealthy", probe="503 no schema\n", out=("warming up",)),
            "app did not become healthy.",
            ("its probe says: 503 no schema", "its last log lines:", "  warming up"),
        ),
        (
            Script(health="starting"),
            "app did not become healthy.",
            ("its probe has not answered once.", "it wrote no log."),
        ),
    ],
)
def test_what_a_candidate_that_fails_is_told_with(script: Script, message: str, detail: tuple[str, ...]) -> None:
    target = engine()
    target.scripts[LIVE] = script
    with pytest.raises(OrchestratorError) as caught:
        apply(planned(target), target, quiet())
    assert (caught.value.message, caught.value.detail) == (message, detail)
    assert not target.containers
    assert not target.networks


def test_container_that_has_ended_already_is_not_waited_for() -> None:
    target = deployed()
    target.named(LIVE).state = "exited"
    target.named(LIVE).exit_code = 2
    with pytest.raises(OrchestratorError, match="app exited with code 2"):
        wait_healthy(LIVE, 60, target)
    assert not [call for call in target.calls[-2:] if call.startswith("events")]


def test_failed_migration_stops_before_the_candidate_starts() -> None:
    target = deployed()
    job = "shop-app-20261124t101602-ddddddd-migrate"
    target.scripts[job] = Script(exits=1, err=("no such column: x",))
    before = target.picture()
    with pytest.raises(RolledBack, match=f"{job} failed with code 1") as caught:
        apply(new_image(target), target, quiet())
    assert caught.value.detail == ("its last log lines:", "  no such column: x")
    assert target.picture() == before
    assert "start_container shop-app-20261124t101602-ddddddd" not in target.calls


def test_nginx_that_refuses_the_file_gets_the_old_one_back() -> None:
    target = deployed()
    target.commands[proxy.TEST] = (1, "nginx: [emerg] unexpected end of file\n")
    before = target.picture()
    with pytest.raises(OrchestratorError, match="Nginx refuses the new configuration") as caught:
        apply(release(target), target, quiet())
    assert caught.value.detail[0] == "nginx: [emerg] unexpected end of file"
    assert target.picture()["files"] == before["files"]
    assert target.serving() == LIVE


def test_taken_port_says_by_whom() -> None:
    target = engine()
    body = {"Image": "shop-app:aaa", "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}
    target.create_container("other-web-1", body | {"Labels": {"com.docker.compose.project": "other"}})
    target.start_container("other-web-1")
    with pytest.raises(OrchestratorError) as caught:
        apply(planned(target), target, quiet())
    assert caught.value.message == "port 8080 is in use by container other-web-1 of project other."
    assert "HTTP_PORT" in caught.value.hint
    assert [c.name for c in target.containers.values()] == ["other-web-1"]


def test_sigterm_is_undone_as_ctrl_c() -> None:
    target = engine()
    before = signal.getsignal(signal.SIGTERM)
    target.watch = lambda call: os.kill(os.getpid(), signal.SIGTERM) if call == f"start_container {LIVE}" else None
    with pytest.raises(Interrupted):
        apply(planned(target), target, quiet())
    assert not target.containers
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_does_not_disturb_the_undo() -> None:
    target = engine()
    plan = planned(target)
    Failure(target, 9, after=True, error=KeyboardInterrupt())
    target.watch = lambda call: os.kill(os.getpid(), signal.SIGINT) if call.startswith("remove_") else None
    with pytest.raises(Interrupted):
        apply(plan, target, quiet())
    assert not target.containers
    assert not target.networks
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_each_step_is_reported_with_its_time() -> None:
    target, out = deployed(), io.StringIO()
    report = Reporter(out)
    plan = proxy_replacement(target)
    apply(plan, target, report)
    assert list(report.seconds) == [str(step) for step in plan]
    assert "s  stop container shop-proxy-1 (is replaced)\n" in out.getvalue()


@pytest.mark.parametrize(
    ("make", "stack"), [(deployed, STACK), (lambda: deployed(EDITED), EDITED)], ids=["plain", "edited"]
)
def test_down_leaves_nothing_but_the_data(make: Make, stack: Stack) -> None:
    target = make()
    for step in plan_down(stack, target.observe("shop"), volumes=False):
        perform(step, target)
    assert not target.containers
    assert not target.networks
    assert sorted(target.volumes) == ["shop_backups", "shop_data", "shop_upstream"]
    for step in plan_down(stack, target.observe("shop"), volumes=True):
        perform(step, target)
    assert not target.volumes


def test_builds_are_no_steps_of_apply() -> None:
    with pytest.raises(TypeError, match="no such step"):
        perform(BuildImage("x", ""), engine())


def test_unknown_errors_are_not_swallowed() -> None:
    target = engine()
    plan = planned(target)
    Failure(target, 3, after=False, error=ValueError("a defect of ours"))
    with pytest.raises(ValueError, match="a defect of ours"):
        apply(plan, target, quiet())


def test_inverse_of_a_stop_is_a_start() -> None:
    steps: list[Step] = list(proxy_replacement(deployed()))
    assert [type(step) for step in steps[:1]] == [CreateContainer]
    assert inverse(steps[1], steps[:3]) == (StartContainer("shop-proxy-1", ""),)
    assert inverse(steps[1], steps) == (), "what has been removed can't be started again"


def test_scenarios_are_what_they_say() -> None:
    """Guards the parametrised tests above: a plan that lost its steps would test nothing."""
    lengths = {name: len(calls_of(*scenario)) for name, scenario in SCENARIOS.items()}
    assert lengths["release"] > 8
    assert lengths["proxy replacement"] > 5
    assert lengths["everything"] > lengths["new image"] > lengths["release"]
    assert replace(NEW_APP, id="") == Image(NEW_APP.reference, "")
