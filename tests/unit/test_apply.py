"""Applying plans to the engine in memory: the order, the waiting, and that a failure at any call is undone."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

import pytest

from orchestrator import proxy
from orchestrator.apply import CLEAN_UP, apply, inverse
from orchestrator.errors import EngineError, Interrupted, NoEngine, OrchestratorError, RolledBack
from orchestrator.model import Stack
from orchestrator.perform import perform, wait_healthy
from orchestrator.plan import plan_down
from orchestrator.report import Reporter
from orchestrator.steps import BuildImage, CreateContainer, Image, Plan, StartContainer, Step
from tests.unit.memory_engine import Killed, MemoryEngine, Script
from tests.unit.stacks import (
    APP,
    CHECK_COMMAND,
    IMAGES,
    LIVE,
    NEW_APP,
    NEW_CONFIG,
    NEW_PROXY,
    PENDING,
    STACK,
    THIRD_CONFIG,
    deployed,
    engine,
    going_back,
    later,
    planned,
    quiet,
    with_releases,
    with_service,
)

EDITED = with_service("app", environment=dict(APP.environment) | {"LOG_LEVEL": "debug"})
BIGGER_PROXY = with_service("proxy", memory=1024**3)
TWO = with_service("app", replicas=2)
HOOKS = with_releases(EDITED, before=(("true",), ("true", "again")), after=(("true",),))
CANDIDATE = "shop-app-20261124t101602-aaaaaaa"

Make = Callable[[], MemoryEngine]
Plans = Callable[[MemoryEngine], Plan]


def to(stack: Stack = STACK, minutes: int = 1, **images: Image) -> Plans:
    """Plans a deployment of a stack, some of its images changed."""
    return lambda target: planned(target, stack, IMAGES | images, now=later(minutes))


def after(plans: Plans, make: Make = deployed) -> Make:
    """Makes an engine on which a plan has been applied."""

    @cache
    def made() -> MemoryEngine:
        target = make()
        apply(plans(target), target, quiet())
        return target

    return lambda: made().copy()


def migrating() -> MemoryEngine:
    target = deployed()
    target.scripts[CHECK_COMMAND] = PENDING
    return target


BACK = to(minutes=9)


@dataclass(frozen=True)
class Scenario:
    """An engine, a plan for it, and the plan of whoever takes its settings back."""

    make: Make
    plans: Plans
    back: Plans = BACK
    serves: bool = True
    moves_the_port: bool = False
    app_containers: int = 1


release, new_image = to(EDITED), to(app=NEW_APP)
proxy_replacement = to(BIGGER_PROXY)
SCENARIOS = {
    "first deploy": Scenario(engine, to(minutes=0), serves=False),
    "release": Scenario(deployed, release),
    "new image": Scenario(deployed, new_image),
    "migration": Scenario(migrating, new_image),
    "hooks": Scenario(deployed, to(HOOKS)),
    "two replicas": Scenario(
        after(to(TWO)), to(with_service("app", EDITED, replicas=2), 5), to(TWO, 9), app_containers=2
    ),
    "rollback": Scenario(
        after(new_image), lambda target: going_back(after(new_image)())(target, later(5)), to(minutes=9, app=NEW_APP)
    ),
    "configuration": Scenario(deployed, to(proxy=NEW_CONFIG)),
    "another configuration": Scenario(
        after(to(proxy=NEW_CONFIG)), to(minutes=5, proxy=THIRD_CONFIG), to(minutes=9, proxy=NEW_CONFIG)
    ),
    "own configuration": Scenario(after(to(proxy=NEW_CONFIG)), to(minutes=5), to(minutes=9, proxy=NEW_CONFIG)),
    "proxy replacement": Scenario(deployed, proxy_replacement, moves_the_port=True),
    "everything": Scenario(
        migrating, to(with_service("proxy", HOOKS, memory=1024**3), app=NEW_APP, proxy=NEW_PROXY), moves_the_port=True
    ),
}
WITHOUT_A_BREAK = [name for name, s in SCENARIOS.items() if s.serves and not s.moves_the_port]


def calls_of(scenario: Scenario, *, main: bool = False) -> list[str]:
    """The engine's calls of an undisturbed run, from the first step on; with `main`, up to where clean-up begins."""
    target = scenario.make()
    plan = scenario.plans(target)
    if main:
        steps = tuple(plan)
        while isinstance(steps[-1], CLEAN_UP):
            steps = steps[:-1]
        plan = replace(plan, steps=steps)
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
        assert ("a defect of the orchestrator" in told.message) == isinstance(error, ValueError)
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
        # A creation that the engine refuses has no effect; and a defect of ours is looked for where it is undone.
        refused = after and isinstance(error, EngineError) and call.startswith("create_")
        if not refused and not (isinstance(error, ValueError) and at > main):
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


#: The calls that hand over the port: the only moment at which nobody answers.
MOVING = ("disconnect_network", "connect_network")


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
    assert caught.value.hint == "everything is as it was, but for new volumes."
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
    target.scripts |= {CHECK_COMMAND: PENDING, job: Script(exits=1, err=("no such column: x",))}
    before = target.picture()
    with pytest.raises(RolledBack, match="the migration failed with code 1") as caught:
        apply(new_image(target), target, quiet())
    assert caught.value.detail == ("no such column: x",)
    assert target.picture() == before
    assert "start_container shop-app-20261124t101602-ddddddd" not in target.calls


def test_nginx_that_refuses_the_file_gets_the_old_one_back() -> None:
    target = deployed()
    target.commands[proxy.switch("")[:2]] = (1, "nginx: [emerg] unexpected end of file\n")
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
        perform(step, target, quiet())
    assert not target.containers
    assert not target.networks
    assert sorted(target.volumes) == ["shop_backups", "shop_data", "shop_upstream"]
    for step in plan_down(stack, target.observe("shop"), volumes=True):
        perform(step, target, quiet())
    assert not target.volumes


def test_builds_are_no_steps_of_apply() -> None:
    with pytest.raises(TypeError, match="no such step"):
        perform(BuildImage("x", ""), engine(), quiet())


def test_a_defect_of_ours_is_undone_and_told_as_one() -> None:
    target = engine()
    plan = planned(target)
    Failure(target, 3, after=False, error=ValueError("no such key"))
    with pytest.raises(OrchestratorError, match="a defect of the orchestrator: ValueError") as caught:
        apply(plan, target, quiet())
    assert isinstance(caught.value.__cause__, ValueError), "for --verbose"
    assert "--verbose shows where" in caught.value.hint
    assert not target.containers
    assert not target.networks


def test_inverse_of_a_stop_is_a_start() -> None:
    steps: list[Step] = list(to(with_service("backup", pids=9))(deployed()))
    assert [type(step) for step in steps[:1]] == [CreateContainer]
    assert inverse(steps[1], steps[:3]) == (StartContainer("shop-backup-1", ""),)
    assert inverse(steps[1], steps) == (), "what has been removed can't be started again"


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


# What is no failure


def test_what_can_not_be_cleaned_up_is_a_warning_and_the_rest_goes_on() -> None:
    target, report = deployed(), quiet()
    plan = release(target)
    target.fails = lambda _, call, __: EngineError("it is busy.") if call == f"stop_container {LIVE}" else None
    apply(plan, target, report)
    assert report.warnings == ["it is busy; the next `deploy` tries again"]
    assert LIVE not in [c.name for c in target.containers.values()], "the removal behind it went on"
    assert target.serving() == CANDIDATE


@pytest.mark.parametrize("doing", ["run_in shop-proxy-1 /etc/nginx/use drained", f"stop_container {LIVE}"])
def test_ctrl_c_in_the_clean_up_leaves_what_is_new_in_place(doing: str) -> None:
    target = deployed()
    plan = release(target)
    target.fails = lambda _, call, after: KeyboardInterrupt() if call.startswith(doing) and not after else None
    with pytest.raises(Interrupted, match="interrupted") as caught:
        apply(plan, target, quiet())
    assert caught.value.in_place
    assert "`deploy` removes what is left of the old" in caught.value.hint
    assert target.serving() == CANDIDATE
    assert LIVE in [c.name for c in target.containers.values()]


def test_requests_that_outlast_the_drain_are_told_of() -> None:
    target, report = deployed(), quiet()
    target.commands[proxy.drained(1)[:2]] = (1, "")
    apply(to(with_releases(EDITED, drain_timeout=7.0))(target), target, report)
    asked = [call.split()[-1] for call in target.calls if " drained " in call]
    assert asked == ["5", "2"]
    assert report.warnings == ["requests were still in flight after 7 s; what is left when the grace ends is cut off"]


@pytest.mark.parametrize(("when", "told"), [("before", "ended with code 1"), ("after", "ended with code 1")])
def test_a_hook_that_fails_brings_the_old_release_back(when: str, told: str) -> None:
    target = deployed()
    before = target.picture()
    with pytest.raises(RolledBack, match=f"the hook false {told}"):
        apply(to(with_releases(EDITED, **{when: (("false",),)}))(target), target, quiet())
    assert target.picture() == before
    assert any("use upstream" in call for call in target.calls) == (when == "after")


def test_app_that_is_healthy_and_not_reached_through_the_proxy_is_rolled_back() -> None:
    target = deployed()
    before = target.picture()
    target.commands[("/usr/local/bin/probe", "8080")] = (1, "502 Bad Gateway\n")
    with pytest.raises(RolledBack, match="the new release does not answer through the proxy") as caught:
        apply(release(target), target, quiet())
    assert caught.value.detail == ("/health is not answered with 200 through the proxy: 502 Bad Gateway",)
    assert target.picture() == before


def test_configuration_that_nginx_refuses_changes_nothing() -> None:
    target = deployed()
    target.image_files[NEW_CONFIG.id] = {"/etc/nginx/nginx.conf": b"broken"}
    before = target.picture()
    with pytest.raises(RolledBack, match="Nginx refuses the new configuration"):
        apply(to(proxy=NEW_CONFIG)(target), target, quiet())
    assert target.picture() == before
