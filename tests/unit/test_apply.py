"""Applying plans to the engine in memory: the order, the waiting, what is told; test_failures.py fails at any call."""

from __future__ import annotations

import io
import os
import signal

import pytest

from orchestrator import proxy
from orchestrator.apply import apply, inverse
from orchestrator.create_args import GIVES_WAY
from orchestrator.errors import EngineError, Interrupted, NoEngine, OrchestratorError, RolledBack
from orchestrator.model import Stack
from orchestrator.perform import perform, wait_healthy
from orchestrator.plan import plan_down
from orchestrator.report import Reporter
from orchestrator.steps import BuildImage, CreateContainer, StartContainer, Step
from tests.unit.memory_engine import Script
from tests.unit.scenarios import CANDIDATE, EDITED, Failure, Make, to
from tests.unit.stacks import (
    CHECK_COMMAND,
    LIVE,
    NEW_APP,
    NEW_CONFIG,
    PENDING,
    STACK,
    deployed,
    engine,
    planned,
    quiet,
    with_releases,
    with_service,
)

BIGGER_PROXY = with_service("proxy", memory=1024**3)
release, new_image = to(EDITED), to(app=NEW_APP)
proxy_replacement = to(BIGGER_PROXY)


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


@pytest.mark.parametrize("gives_way", [True, False])
def test_one_that_gives_way_and_takes_long_gets_its_full_share_of_the_processors(gives_way: bool) -> None:
    target = deployed()
    target.named(LIVE).health = "starting"
    target.scripts[LIVE] = Script(health="starting")
    if gives_way:
        target.set_cpu_shares(LIVE, GIVES_WAY)
    target.calls.clear()
    with pytest.raises(OrchestratorError, match="did not become healthy"):
        wait_healthy(LIVE, 60, target)
    waits = [call for call in target.calls if call.split()[0] in ("events", "set_cpu_shares")]
    # Any other has it: one that is as Compose makes it stays so.
    assert waits == [f"events {LIVE}", *[f"set_cpu_shares {LIVE}"] * gives_way, f"events {LIVE}"]


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
