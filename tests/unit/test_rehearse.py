"""Rehearsing a restore: with which release, on which volumes, and that nothing is left of it however it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from orchestrator import labels, rehearse, restore, status
from orchestrator.apply import apply
from orchestrator.errors import EngineError, Locked, NoEngine, OrchestratorError, UsageError
from orchestrator.model import Mount, Stack, Volume
from orchestrator.plan import plan_down
from orchestrator.restore import Wanted
from orchestrator.session import Session
from orchestrator.state import Observed
from orchestrator.status import last_rehearsal, last_snapshot
from tests.unit.memory_engine import Killed, MemoryEngine, Script
from tests.unit.scenarios import Failure, after, new_image
from tests.unit.stacks import (
    APP,
    IMAGES,
    NEW_APP,
    RELEASE,
    STACK,
    by_compose,
    deployed,
    engine,
    later,
    planned,
    quiet,
    with_service,
)

SNAPSHOT = "20261124T110000-aaaaaaa"
PASSED = {
    "at": "2026-11-24T11:05:00Z",
    "result": "passed",
    "release": RELEASE,
    "image": "sha256:aaaaaaaaaaaa",
    "own_release": True,
    "restore_seconds": 1.5,
    "boot_seconds": 0.5,
    "reason": "",
}
JUDGED = {"event": "done", "ok": True, "snapshot": SNAPSHOT, "databases": [], "rehearsal": PASSED, "differences": []}
ENTRY = {"snapshot": SNAPSHOT, "created": "2026-11-24T11:00:00Z", "release": RELEASE, "raw": False}
#: The app with a volume more, as the service has one for its static files.
SHOP = with_service("app", mounts=(*APP.mounts, Mount("static", "/static")))
SHOP = replace(SHOP, volumes=(*SHOP.volumes, Volume("static", "shop_static"), Volume("sqlite_data", "shop_data")))


def says(*messages: dict[str, Any], code: int = 0) -> Script:
    return Script(exits=code, out=tuple(json.dumps(message) for message in messages))


def failing(message: str, code: str) -> Script:
    return says({"event": "error", "message": message, "hint": "", "code": code}, code=1)


def ready(made: MemoryEngine | None = None, stack: Stack = SHOP, **entry: Any) -> tuple[MemoryEngine, Session]:
    """An engine on which the stack is deployed, with one snapshot, where every rehearsal passes."""
    target = made or deployed(stack)
    target.scripts["list"] = says({"event": "done", "snapshots": [ENTRY | entry]})
    target.scripts["shop-rehearsal-restore"] = says({"event": "done", "seconds": 1.5, "warnings": ["an owner"]})
    target.scripts["shop-rehearsal-judge"] = says(JUDGED)
    return target, Session(None, stack, target, quiet())  # type: ignore[arg-type]


def bodies(target: MemoryEngine) -> dict[str, dict[str, Any]]:
    """Fills itself with the bodies of the rehearsal's containers, by their part, while one runs."""
    seen: dict[str, dict[str, Any]] = {}

    def look(_: str) -> None:
        for container in target.containers.values():
            if container.labels.get(labels.ROLE) == labels.ROLE_REHEARSAL:
                seen[container.name.removeprefix("shop-rehearsal-")] = dict(container.body)

    target.watch = look
    return seen


def evidence(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body["Cmd"][-1])
    return found


def test_it_passes() -> None:
    target, session = ready()
    seen, before = bodies(target), target.picture()
    result = rehearse.rehearse(session, Wanted("latest"))
    assert (result["ok"], result["snapshot"], result["rehearsal"]) == (True, SNAPSHOT, PASSED)
    assert result["warnings"] == ["an owner"]
    assert target.picture() == before
    assert list(seen) == ["restore", "migrate", "app", "judge"]
    told = evidence(seen["judge"])
    assert told.pop("boot_seconds") >= 0
    assert told == {"release": RELEASE, "image": IMAGES["app"].id, "own_release": True, "restore_seconds": 1.5}
    assert seen["restore"]["Cmd"] == ["rehearse", "restore", SNAPSHOT]


def test_nothing_of_the_stack_is_within_reach() -> None:
    target, session = ready()
    seen, made = bodies(target), set[str]()
    kept = set(target.volumes)
    look = target.watch

    def watch(call: str) -> None:
        look(call)
        made.update(set(target.volumes) - kept)

    target.watch = watch
    rehearse.rehearse(session, Wanted("latest"))
    for part, body in seen.items():
        host = body["HostConfig"]
        assert (host["NetworkMode"], host["PortBindings"], host["RestartPolicy"]) == ("none", {}, {"Name": "no"})
        assert "NetworkingConfig" not in body
        assert host["CpuShares"] < 1024
        assert host["ReadonlyRootfs"]
        assert body["Labels"][labels.ONEOFF] == "True"
        mounted = {mount["Target"]: mount["Source"] for mount in host["Mounts"]}
        real = {mounted.pop("/backups")} if part in ("restore", "judge") else set()
        assert real <= {"shop_backups"}, "the snapshots alone, and for the agent alone"
        assert set(mounted.values()) <= made
        assert not any(mount["ReadOnly"] for mount in host["Mounts"])
    assert len(made) == 2, "one for the data, one for the static files"
    assert all(name.startswith("shop_rehearsal_") for name in made)
    app = seen["app"]
    assert app["Healthcheck"]["Test"] == ["CMD", *APP.healthcheck.test] if APP.healthcheck else False
    assert f"RELEASE={RELEASE}" in app["Env"]
    assert app["HostConfig"]["Memory"] == APP.memory
    assert "Cmd" not in app
    assert set(target.volumes) == kept


@pytest.mark.parametrize(
    ("part", "script", "told"),
    [
        ("app", Script(exits=1, err=("no such table: link",)), "app exited with code 1"),
        ("app", Script(health="unhealthy", probe="503"), "app did not become healthy"),
        ("migrate", Script(exits=2, err=("boom",)), "the migration of the data failed with code 2"),
        ("restore", failing("Snapshot x is not good: torn.", "damaged"), "Snapshot x is not good: torn"),
        ("restore", Script(exits=137), "the backup agent ended with code 137"),
    ],
)
def test_it_does_not_pass(part: str, script: Script, told: str) -> None:
    target, session = ready()
    seen, before = bodies(target), target.picture()
    target.scripts[f"shop-rehearsal-{part}"] = script
    noted = PASSED | {"result": "failed", "reason": told}
    target.scripts["shop-rehearsal-judge"] = says(JUDGED | {"ok": False, "rehearsal": noted})
    with pytest.raises(OrchestratorError, match=f"{SNAPSHOT} did not pass its rehearsal with .*{told}") as caught:
        rehearse.rehearse(session, Wanted("latest"))
    assert caught.value.exit_code == 1
    assert caught.value.outcome["rehearsal"] == noted
    assert caught.value.outcome["ok"] is False
    assert evidence(seen["judge"])["reason"].startswith(told)
    if script.err:
        assert script.err[0] in "\n".join(caught.value.detail)
    assert target.picture() == before


def test_healthy_and_then_not() -> None:
    target, session = ready()
    assert APP.healthcheck
    target.commands[APP.healthcheck.test] = (1, "503 later")
    with pytest.raises(OrchestratorError, match="was healthy, but is not any more") as caught:
        rehearse.rehearse(session, Wanted("latest"))
    assert "503 later" in caught.value.detail


def test_lost_rows_are_named() -> None:
    target, session = ready()
    noted = PASSED | {"result": "failed", "reason": "few"}
    rows = ["links.db: table t has 1 of 3 rows"]
    target.scripts["shop-rehearsal-judge"] = says(JUDGED | {"ok": False, "rehearsal": noted, "differences": rows})
    before = target.picture()
    with pytest.raises(OrchestratorError, match="the data is not what the snapshot holds") as caught:
        rehearse.rehearse(session, Wanted("latest"))
    assert caught.value.detail == tuple(rows)
    assert caught.value.outcome["rehearsal"] == noted
    assert target.picture() == before


@pytest.mark.parametrize("code", ["busy", "full"])
def test_what_says_nothing_about_the_snapshot_is_not_noted(code: str) -> None:
    target, session = ready()
    seen = bodies(target)
    target.scripts["shop-rehearsal-restore"] = failing("not now.", code)
    with pytest.raises(OrchestratorError, match=r"^not now\.$"):
        rehearse.rehearse(session, Wanted("latest"))
    assert list(seen) == ["restore"]


def test_a_failure_that_can_not_be_noted_is_told_all_the_same() -> None:
    target, session = ready()
    target.scripts["shop-rehearsal-app"] = Script(exits=1)
    target.scripts["shop-rehearsal-judge"] = failing("there is no snapshot.", "missing")
    with pytest.raises(OrchestratorError, match="app exited with code 1") as caught:
        rehearse.rehearse(session, Wanted("latest"))
    assert session.report.warnings[-1] == "that it failed could not be noted: there is no snapshot."
    assert caught.value.outcome["rehearsal"]["result"] == "failed"


def test_damaged_data_is_not_rehearsed() -> None:
    target, session = ready(raw=True)
    with pytest.raises(UsageError, match="holds damaged data as it was"):
        rehearse.rehearse(session, Wanted(SNAPSHOT))
    assert not any("rehearsal" in call for call in target.calls)


def calls() -> list[tuple[int, str]]:
    """What is called of the engine, numbered, from when the lock is held."""
    target, session = ready()
    before = len(target.calls)
    rehearse.rehearse(session, Wanted("latest"))
    made = list(enumerate(target.calls[before:], 1))
    held = next(n for n, call in made if call.startswith("inspect shop-deploy-lock"))
    return [(n, call) for n, call in made if n > held]


@pytest.mark.parametrize("had_effect", [False, True])
@pytest.mark.parametrize("error", [EngineError("refused"), KeyboardInterrupt()], ids=["refused", "interrupted"])
def test_whatever_fails_nothing_is_left(error: BaseException, *, had_effect: bool) -> None:
    known = calls()
    end = next(n for n, call in known if call.startswith("remove_container shop-rehearsal-judge"))
    for at, call in known:
        if at > end:
            break  # what fails while it is taken away is told, and left to the next run
        target, session = ready()
        before = target.picture()
        failure = Failure(target, at, after=had_effect, error=error)
        with suppress(OrchestratorError, KeyboardInterrupt):
            rehearse.rehearse(session, Wanted("latest"))
        assert failure.happened or call.startswith("events"), "which is left in its middle"
        assert target.picture() == before, call


def test_killed_anywhere_the_next_deployment_leaves_nothing_of_it() -> None:
    for at, call in calls():
        target, session = ready()
        before = target.picture()
        failure = Failure(target, at, after=True, error=Killed())
        with suppress(Killed):
            rehearse.rehearse(session, Wanted("latest"))
        assert failure.happened or call.startswith("events"), "which is left in its middle"
        target.fails = lambda *_: None
        target.containers = {key: c for key, c in target.containers.items() if c.name != "shop-deploy-lock"}
        report = quiet()
        apply(planned(target, SHOP, now=later()), target, report)
        assert report.warnings == []
        assert target.picture() == before, call
        assert not planned(target, SHOP, now=later(2))
        assert not target.observe("shop").scratch


def remains(target: MemoryEngine) -> None:
    """What a killed rehearsal leaves at its worst."""
    _, session = ready(target)
    at = next(n for n, call in calls() if call.startswith("start_container shop-rehearsal-app"))
    Failure(target, at, after=True, error=Killed())
    with pytest.raises(Killed):
        rehearse.rehearse(session, Wanted("latest"))
    target.fails = lambda *_: None
    target.remove_container("shop-deploy-lock")


def test_the_next_rehearsal_takes_away_what_is_left() -> None:
    target = deployed(SHOP)
    before = target.picture()
    remains(target)
    assert len(target.observe("shop").scratch) == 2
    _, session = ready(target)
    assert rehearse.rehearse(session, Wanted("latest"))["ok"]
    assert target.picture() == before


@pytest.mark.parametrize("volumes", [False, True])
def test_down_takes_it_away_and_the_data_only_when_told(*, volumes: bool) -> None:
    target = deployed(SHOP)
    data = set(target.volumes)
    remains(target)
    for step in plan_down(SHOP, target.observe("shop"), volumes=volumes):
        apply(replace(planned(target, SHOP), steps=(step,)), target, quiet())
    assert set(target.containers) == set()
    assert set(target.volumes) == (set() if volumes else data)


def test_volumes_of_the_stack_are_never_taken_for_remains() -> None:
    """Whatever they are called: the label alone says so."""
    stack = replace(STACK, volumes=(*STACK.volumes, Volume("rehearsal_x", "shop_rehearsal_x")))
    target = deployed(stack)
    assert "shop_rehearsal_x" in target.volumes
    assert not planned(target, stack, now=later())
    assert "shop_rehearsal_x" not in str(plan_down(stack, target.observe("shop"), volumes=False))
    marks = {labels.PROJECT: "workshop", labels.ROLE: labels.ROLE_REHEARSAL}
    target.create_volume({"Name": "workshop_rehearsal_1_data", "Labels": marks})
    assert target.observe("shop").scratch == frozenset(), "another project's, whose name ends as ours"


def test_while_one_is_under_way_others_are_told_so() -> None:
    target, session = ready()
    errors: list[str] = []

    def watch(call: str) -> None:
        if call.startswith("start_container shop-rehearsal-app"):
            target.watch = lambda _: None
            with pytest.raises(Locked) as caught:
                rehearse.rehearse(session, Wanted("latest"))
            errors.append(caught.value.message)
            with pytest.raises(Locked) as caught:
                restore.restore(session, Wanted("latest"), lambda _: None)
            errors.append(caught.value.message)

    target.watch = watch
    assert rehearse.rehearse(session, Wanted("latest"))["ok"]
    assert len(errors) == 2
    assert all("a rehearsal of shop is under way" in error for error in errors)


def present(*images: str) -> Callable[[str], bool]:
    return lambda image: image in images


def chosen(target: MemoryEngine, *images: str, **entry: Any) -> rehearse.Booted:
    return rehearse.release_of(STACK, target.observe("shop"), ENTRY | entry, present(*images))


NEW = "20261124T101602-ddddddd"


@pytest.mark.parametrize(
    ("entry", "release"),
    [
        ({"release": RELEASE}, RELEASE),
        ({"release": NEW}, NEW),
        ({"release": "", "created": "2026-11-24T10:15:30Z"}, RELEASE),
        ({"release": "", "created": "2026-11-24T10:16:02Z"}, NEW),
    ],
    ids=["by its word", "the one that serves", "by its time", "by its time, just then"],
)
def test_the_release_it_came_from(entry: dict[str, Any], release: str) -> None:
    found = chosen(after(new_image)(), IMAGES["app"].id, NEW_APP.id, **entry)
    assert (found.release, found.own, found.serves, found.warning) == (release, True, release == NEW, "")
    assert found.image == (NEW_APP.id if release == NEW else IMAGES["app"].id)
    assert found.spec.environment["SECRET_KEY"] == "hunter2", "today's secret, since the history has none"


def test_an_older_releases_settings_and_no_migration() -> None:
    target = deployed()
    apply(planned(target, with_service("app", pids=99), IMAGES | {"app": NEW_APP}, now=later()), target, quiet())
    found = chosen(target, IMAGES["app"].id, NEW_APP.id)
    assert (found.spec.pids, found.spec.image) == (128, IMAGES["app"].id)
    _, session = ready(target, SHOP)
    seen = bodies(target)
    rehearse.rehearse(session, Wanted("latest"))
    assert list(seen) == ["restore", "app", "judge"], "today's migration is not this release's"
    assert seen["app"]["Image"] == IMAGES["app"].id


@pytest.mark.parametrize(
    ("entry", "images", "why"),
    [
        ({}, (NEW_APP.id,), f"the image of release {RELEASE}, which snapshot {SNAPSHOT} came from, is gone"),
        ({"release": "lost"}, (NEW_APP.id,), "release lost, which snapshot .* came from, is not in the history"),
        ({"release": "", "created": "2020-01-01T00:00:00Z"}, (), "which release snapshot .* came from is not known"),
    ],
)
def test_otherwise_the_one_that_serves_with_a_warning(entry: dict[str, Any], images: tuple[str, ...], why: str) -> None:
    found = chosen(after(new_image)(), *images, **entry)
    assert (found.release, found.image, found.own, found.serves) == (NEW, NEW_APP.id, False, True)
    with pytest.raises(OrchestratorError, match=why):
        raise OrchestratorError(found.warning)


def test_the_warning_is_in_the_result_and_in_the_evidence() -> None:
    target, session = ready(release="lost")
    seen = bodies(target)
    result = rehearse.rehearse(session, Wanted("latest"))
    assert "rehearsed with the release that serves" in result["warnings"][0]
    assert evidence(seen["judge"])["own_release"] is False


def test_nothing_that_it_could_be_rehearsed_with() -> None:
    with pytest.raises(OrchestratorError, match="no release serves that it could be rehearsed with") as caught:
        rehearse.release_of(STACK, Observed(), ENTRY, present())
    assert "`verify` without --rehearse" in caught.value.hint


def test_what_compose_has_started() -> None:
    target = engine()
    by_compose(target)
    found = chosen(target, release="")
    assert (found.release, found.own, found.spec.pids) == ("", False, APP.pids)
    assert found.image == IMAGES["app"].id


def test_changed_secrets_are_named() -> None:
    _, session = ready(stack=with_service("app", SHOP, environment={"SECRET_KEY": "new"}), made=deployed(SHOP))
    assert "secret values are today's: SECRET_KEY" in rehearse.rehearse(session, Wanted("latest"))["warnings"]


def test_the_engine_goes_away() -> None:
    target, session = ready()
    at = next(n for n, call in calls() if call.startswith("start_container shop-rehearsal-app"))
    start = at + len(target.calls)
    target.fails = lambda number, *_: NoEngine("the engine went away.") if number >= start else None
    with pytest.raises(NoEngine):
        rehearse.rehearse(session, Wanted("latest"))
    assert any("takes away what the rehearsal has left" in warning for warning in session.report.warnings)


def test_status_shows_the_last_one_whatever_it_is_of() -> None:
    newer = {"snapshot": "b", "created": "2026-11-24T12:00:00Z", "bytes": 1, "rehearsed": None}
    older = newer | {"snapshot": "a", "rehearsed": PASSED}
    broken = {"snapshot": "c", "created": "2026-11-24T12:00:00Z", "error": "torn"}
    oldest = newer | {"snapshot": "0", "rehearsed": PASSED | {"at": "2026-11-24T11:04:59Z"}}
    found = last_rehearsal([broken, newer, oldest, older])
    assert found is not None
    assert found.pop("age_seconds") is not None
    assert found == {"snapshot": "a"} | PASSED
    last = last_snapshot([broken, newer, older])
    assert last is not None
    assert last["snapshot"] == "b"
    assert (last_snapshot([]), last_snapshot([broken]), last_rehearsal([broken, newer])) == (None, None, None)


@pytest.mark.parametrize(
    ("rehearsed", "cell", "line"),
    [
        (None, "-", "never; `verify latest --rehearse` does it"),
        (PASSED, "passed 2026-11-24", "a, 3 h ago: restored in 1.5 s, booted in 0.5 s"),
        (
            PASSED | {"own_release": False},
            "passed 2026-11-24",
            "a, 3 h ago: restored in 1.5 s, booted in 0.5 s, not the release it came from",
        ),
        (
            PASSED | {"result": "failed", "restore_seconds": None, "boot_seconds": None, "reason": "torn."},
            "failed 2026-11-24",
            "a, 3 h ago: FAILED, torn.",
        ),
    ],
    ids=["never", "passed", "another release", "failed"],
)
def test_as_people_read_it(rehearsed: dict[str, Any] | None, cell: str, line: str) -> None:
    assert rehearse.short(rehearsed) == cell
    assert status._rehearsed(rehearsed and {"snapshot": "a", "age_seconds": 3 * 3600} | rehearsed) == line


def test_as_verify_tells_it() -> None:
    assert rehearse.text(PASSED) == f"rehearsed: restored in 1.5 s, release {RELEASE} healthy on it after 0.5 s"
