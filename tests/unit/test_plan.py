"""Stack + Observed -> the plan, as the text a person reads; and that an applied plan leaves nothing to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator import create_args, labels, proxy
from orchestrator.apply import apply
from orchestrator.errors import OrchestratorError
from orchestrator.plan import plan_down, reconcile
from orchestrator.steps import Image
from tests.unit.memory_engine import Killed, MemoryEngine, Script
from tests.unit.stacks import (
    APP,
    IMAGES,
    LIVE,
    NEW_APP,
    NOW,
    RELEASE,
    STACK,
    by_compose,
    deployed,
    engine,
    foreign,
    going_back,
    later,
    planned,
    quiet,
    with_releases,
)
from tests.unit.stacks import with_service as with_

EDITED = with_("app", environment=dict(APP.environment) | {"LOG_LEVEL": "debug"})
CANDIDATE = "shop-app-20261124t101602-aaaaaaa"


def lines(text: str) -> str:
    """The expected plan, without the indentation it has in a test."""
    return "\n".join(line.strip() for line in text.strip().splitlines() if line.strip())


def drop(target: MemoryEngine, service: str) -> None:
    """Somebody removes a service's containers by hand."""
    target.containers = {key: c for key, c in target.containers.items() if c.service != service}


def test_first_deploy() -> None:
    plan = planned(engine())
    assert str(plan) == lines(f"""
        create network shop_internal (there is none)
        create network shop_edge (there is none)
        create volume shop_data (there is none)
        create volume shop_upstream (there is none)
        create volume shop_backups (there is none)
        create container {LIVE}-migrate (the database must have the schema of the new image)
        create container {LIVE} (there is none)
        create container shop-proxy-1 (there is none)
        create container shop-backup-1 (there is none)
        start container {LIVE}-migrate
        start container shop-backup-1
        write upstream shop-proxy-1 (traffic goes to {LIVE})
        wait exit {LIVE}-migrate
        remove container {LIVE}-migrate (has done its work)
        start container {LIVE}
        start container shop-proxy-1
        wait healthy {LIVE}
        wait healthy shop-proxy-1
        ask through shop-proxy-1
        record release shop-proxy-1
        wait healthy shop-backup-1
    """)
    assert (plan.release, plan.previous, plan.serving) == (RELEASE, "", False)


def test_nothing_to_do() -> None:
    plan = planned(deployed(), now=later())
    assert str(plan) == ""
    assert not plan
    assert (plan.release, plan.serving) == (RELEASE, True)


def test_edited_memory_of_the_backup_service_changes_nothing_else() -> None:
    plan = planned(deployed(), with_("backup", memory=512 * 1024**2), now=later())
    assert str(plan) == lines("""
        create container shop-backup-2 (memory: 256m -> 512m)
        stop container shop-backup-1 (is replaced)
        start container shop-backup-2
        wait healthy shop-backup-2
        remove container shop-backup-1 (is replaced)
    """)
    assert [getattr(step, "grace", 20.0) for step in plan] == [20.0] * 5
    assert (plan.release, plan.record) == (RELEASE, None)


def test_a_new_proxy_is_proven_before_it_gets_the_port() -> None:
    plan = planned(deployed(), with_("proxy", memory=256 * 1024**2), now=later())
    assert str(plan) == lines("""
        create container shop-proxy-2 (memory: 128m -> 256m)
        start container shop-proxy-2
        wait healthy shop-proxy-2
        hand the port to shop-proxy-2 (shop-proxy-1: is replaced; interrupts for a moment)
        ask through shop-proxy-2
        stop container shop-proxy-1 (is replaced)
        remove container shop-proxy-1 (is replaced)
    """)
    assert (plan.release, plan.record) == (RELEASE, None)


def test_hooks_stand_around_a_release_and_nothing_else() -> None:
    hooks = {"before": (("true", "a"),), "after": (("true", "b"),)}
    text = str(planned(deployed(), with_releases(EDITED, **hooks), now=later())).splitlines()
    assert text[0] == "run hook true a (before the release)"
    at = text.index("run hook true b (after the release)")
    assert text[at - 1].startswith("switch traffic shop-proxy-1 ")
    assert text[at + 1] == "record release shop-proxy-1"
    assert "hook" not in str(planned(deployed(), with_releases(with_("proxy", memory=1024**3), **hooks)))


def test_replicas() -> None:
    two = with_("app", replicas=2)
    assert str(planned(deployed(), two, now=later())) == lines(f"""
        create container {LIVE}-2 (another replica)
        start container {LIVE}-2
        wait healthy {LIVE}-2
        switch traffic shop-proxy-1 (from {LIVE} to {LIVE} and {LIVE}-2)
    """)
    assert str(planned(deployed(two), now=later())) == lines(f"""
        switch traffic shop-proxy-1 (from {LIVE} and {LIVE}-2 to {LIVE}-2)
        drain shop-proxy-1
        stop container {LIVE} (another one is right)
        remove container {LIVE} (another one is right)
    """)
    assert not planned(deployed(two), two, now=later())


def test_rollback_is_the_same_plan_with_the_older_image_and_no_migration() -> None:
    target = deployed()
    apply(planned(target, images=IMAGES | {"app": NEW_APP}, now=later()), target, quiet())
    new = "shop-app-20261124t101602-ddddddd"
    plan = going_back(target)(target, later(5))
    assert str(plan) == lines(f"""
        create container {LIVE} (image: ddddddd -> aaaaaaa)
        start container {LIVE}
        wait healthy {LIVE}
        switch traffic shop-proxy-1 (from {new} to {LIVE})
        record release shop-proxy-1
        drain shop-proxy-1
        stop container {new} (is replaced)
        remove container {new} (is replaced)
    """)
    assert (plan.release, plan.previous) == (RELEASE, "20261124T101602-ddddddd")
    assert plan.record and plan.record.action == "rollback"


def test_edited_variable_of_the_app_is_a_release_behind_the_old_one() -> None:
    plan = planned(deployed(), EDITED, now=later())
    assert str(plan) == lines(f"""
        create container {CANDIDATE} (environment.LOG_LEVEL: info -> debug)
        start container {CANDIDATE}
        wait healthy {CANDIDATE}
        switch traffic shop-proxy-1 (from {LIVE} to {CANDIDATE})
        record release shop-proxy-1
        drain shop-proxy-1
        stop container {LIVE} (is replaced)
        remove container {LIVE} (is replaced)
    """)
    assert (plan.release, plan.previous, plan.serving) == ("20261124T101602-aaaaaaa", RELEASE, True)


def test_new_image_is_migrated_to_first() -> None:
    plan = planned(deployed(), images=IMAGES | {"app": NEW_APP}, now=later())
    name = "shop-app-20261124t101602-ddddddd"
    assert str(plan) == lines(f"""
        create container {name} (image: aaaaaaa -> ddddddd)
        migrate {name}-migrate (the database must have the schema of the new image)
        start container {name}
        wait healthy {name}
        switch traffic shop-proxy-1 (from {LIVE} to {name})
        record release shop-proxy-1
        drain shop-proxy-1
        stop container {LIVE} (is replaced)
        remove container {LIVE} (is replaced)
    """)


def test_image_whose_migration_is_made_of_the_same_files_is_not_migrated_to() -> None:
    target, same = deployed(), replace(NEW_APP, schema="s1")
    target.named(LIVE).body["Labels"][labels.SCHEMA] = "s1"
    assert "migrate" not in str(planned(target, images=IMAGES | {"app": same}, now=later()))
    other = replace(NEW_APP, schema="s2")
    assert "migrate" in str(planned(target, images=IMAGES | {"app": other}, now=later()))
    target.named(LIVE).state = "exited"
    assert "migrate" in str(planned(target, images=IMAGES | {"app": same}, now=later())), "nothing says what is there"


def test_image_that_is_still_to_be_built() -> None:
    plan = planned(deployed(), images=IMAGES | {"app": Image("shop-app:eee", "")}, now=later())
    assert "create container shop-app-20261124t101602-unbuilt (image: aaaaaaa -> to be built)" in str(plan).splitlines()


def test_everything_at_once_moves_traffic_before_anything_interrupts() -> None:
    stack = with_("proxy", EDITED, memory=1024**3)
    text = str(planned(deployed(), stack, now=later())).splitlines()
    moved = text.index("hand the port to shop-proxy-2 (shop-proxy-1: is replaced; interrupts for a moment)")
    assert text.index(f"switch traffic shop-proxy-1 (from {LIVE} to {CANDIDATE})") < moved
    assert text.index("drain shop-proxy-1") < moved, "without its networks no request of it would end"
    assert text[moved + 1 :] == [
        "ask through shop-proxy-2",
        "record release shop-proxy-2",
        f"stop container {LIVE} (is replaced)",
        f"remove container {LIVE} (is replaced)",
        "stop container shop-proxy-1 (is replaced)",
        "remove container shop-proxy-1 (is replaced)",
    ]


#: What follows the start of a service that was down; an app that starts gets an address that Nginx does not know.
PROVEN = {
    "app": "switch traffic shop-proxy-1 (the address may be another one)",
    "proxy": "ask through shop-proxy-1",
    "backup": "",
}


@pytest.mark.parametrize("service", PROVEN)
def test_stopped_container_is_started(service: str) -> None:
    target = deployed()
    (container,) = (c for c in target.containers.values() if c.service == service)
    container.state, container.exit_code, container.health = "exited", 137, "none"
    assert str(planned(target, now=later())) == lines(f"""
        start container {container.name} (it is exited with code 137)
        wait healthy {container.name}
        {PROVEN[service]}
    """)


@pytest.mark.parametrize("service", PROVEN)
def test_unhealthy_container_is_started_anew(service: str) -> None:
    target = deployed()
    (container,) = (c for c in target.containers.values() if c.service == service)
    container.health = "unhealthy"
    assert str(planned(target, now=later())) == lines(f"""
        stop container {container.name} (it is unhealthy)
        start container {container.name} (it is unhealthy)
        wait healthy {container.name}
        {PROVEN[service]}
    """)


def test_starting_container_is_waited_for() -> None:
    target = deployed()
    target.named(LIVE).health = "starting"
    assert str(planned(target, now=later())) == f"wait healthy {LIVE} (it is still starting)"


#: The call that moves traffic.
SWITCH = "run_in shop-proxy-1 /etc/nginx/use upstream"


def killed_at(target: MemoryEngine, doing: str, *args: Any, effect: bool = False, **more: Any) -> None:
    """A run that dies just before a call of the engine, or just after it had its effect."""
    target.fails = lambda _, call, after: Killed() if call.startswith(doing) and after == effect else None
    with pytest.raises(Killed):
        apply(planned(target, *args, **more), target, quiet())
    target.fails = lambda *_: None


def test_candidate_of_a_killed_run_goes_on_to_the_switch() -> None:
    target = deployed()
    killed_at(target, SWITCH, EDITED, now=later())
    assert str(planned(target, EDITED, now=later(5))) == lines(f"""
        switch traffic shop-proxy-1 (from {LIVE} to {CANDIDATE})
        record release shop-proxy-1
        drain shop-proxy-1
        stop container {LIVE} (another one is right)
        remove container {LIVE} (another one is right)
    """)


def test_run_killed_after_the_switch_reloads_and_cleans_up() -> None:
    target = deployed()
    killed_at(target, f"stop_container {LIVE}", EDITED, now=later())
    plan = planned(target, EDITED, now=later(5))
    assert str(plan) == lines(f"""
        switch traffic shop-proxy-1 (it may not have read its upstream file yet)
        drain shop-proxy-1
        stop container {LIVE} (another one is right)
        remove container {LIVE} (another one is right)
    """)
    assert plan.release == "20261124T101602-aaaaaaa"


def test_run_killed_between_file_and_reload_still_reloads() -> None:
    """The file says one thing and Nginx does another: the release it names has no traffic yet."""
    target = deployed()
    killed_at(target, SWITCH, EDITED, effect=True, now=later())
    target.named("shop-proxy-1").loaded = proxy.upstream_file([LIVE], 8000)
    apply(planned(target, EDITED, now=later(5)), target, quiet())
    assert target.serving() == CANDIDATE


def test_candidate_whose_settings_were_taken_back_goes() -> None:
    target = deployed()
    killed_at(target, SWITCH, EDITED, now=later())
    plan = planned(target, now=later(5))
    assert str(plan) == lines(f"""
        switch traffic shop-proxy-1 (it may not have read its upstream file yet)
        drain shop-proxy-1
        stop container {CANDIDATE} (another one is right)
        remove container {CANDIDATE} (another one is right)
    """)
    assert plan.release == RELEASE


def test_of_two_right_containers_the_one_with_traffic_stays() -> None:
    target = deployed()
    body = create_args.container_body(
        STACK, APP, image=IMAGES["app"].reference, image_id=IMAGES["app"].id, release="later", number=2
    )
    target.create_container("shop-app-later", body)
    target.start_container("shop-app-later")
    target.named("shop-app-later").health = "healthy"
    assert str(planned(target, now=later())) == lines("""
        switch traffic shop-proxy-1 (it may not have read its upstream file yet)
        drain shop-proxy-1
        stop container shop-app-later (another one is right)
        remove container shop-app-later (another one is right)
    """)


def test_of_two_right_proxies_the_running_one_stays() -> None:
    target = deployed()
    spec = STACK.service("proxy")
    body = create_args.container_body(STACK, spec, image="shop-proxy:bbb", image_id="", release="", number=2)
    target.create_container("shop-proxy-2", body, ("shop_edge",), "proxy")
    assert str(planned(target, now=later())) == "remove container shop-proxy-2 (another one is right)"


def test_migration_that_was_cut_off_is_run_again() -> None:
    """The candidate of a run that was killed while migrating must not start on a database it does not know."""
    target = deployed()
    killed_at(target, "wait ", images=IMAGES | {"app": NEW_APP}, now=later())
    text = str(planned(target, images=IMAGES | {"app": NEW_APP}, now=later(5))).splitlines()
    old, new = "shop-app-20261124t101602-ddddddd", "shop-app-20261124t102002-ddddddd"
    migrate = f"migrate {new}-migrate (the database must have the schema of the new image)"
    left = f"remove container {old}-migrate-check (left over by a run that was killed)"
    assert text.index(left) < text.index(migrate) < text.index(f"start container {new}")
    assert f"start container {old}" not in "\n".join(text).replace("-migrate", "")


def test_orphans_go() -> None:
    target = deployed()
    foreign(target, "shop-worker-1", "worker")
    body = {"Name": "shop_old", "Labels": {labels.PROJECT: "shop", labels.NETWORK_KEY: "old"}, "Internal": False}
    target.create_network(body)
    assert str(planned(target, now=later())) == lines("""
        stop container shop-worker-1 (orphan: the stack has no such service)
        remove container shop-worker-1 (orphan: the stack has no such service)
        remove network shop_old (orphan: the stack has no such network)
    """)


def test_left_over_migration_goes_first() -> None:
    target = deployed()
    foreign(target, "shop-app-old-migrate", "app", role=labels.ROLE_STEP, oneoff=True)
    assert str(planned(target, now=later())) == lines("""
        stop container shop-app-old-migrate (left over by a run that was killed)
        remove container shop-app-old-migrate (left over by a run that was killed)
    """)


@pytest.mark.parametrize(
    ("minutes", "state", "goes"),
    [(1, "running", False), (30, "exited", False), (90, "running", False), (90, "exited", True), (90, "created", True)],
)
def test_agents_one_off_goes_when_it_is_old_and_does_not_run(minutes: int, state: str, *, goes: bool) -> None:
    target = deployed()
    foreign(target, "shop-backup-run-1", "backup", role=labels.ROLE_AGENT, oneoff=True)
    container = target.named("shop-backup-run-1")
    container.state = state
    now = datetime.fromisoformat(container.created[:19] + "+00:00") + timedelta(minutes=minutes)
    assert bool(planned(target, now=now)) == goes


def test_one_off_of_another_tool_is_left_alone() -> None:
    target = deployed()
    foreign(target, "shop-app-run-77", "app", oneoff=True)
    target.named("shop-app-run-77").state = "exited"
    assert not planned(target, now=NOW + timedelta(days=30))


def test_missing_volume_is_made() -> None:
    target = deployed()
    del target.volumes["shop_backups"]
    assert str(planned(target, now=later())) == "create volume shop_backups (there is none)"


def test_network_of_the_wrong_kind_is_told() -> None:
    target = deployed()
    target.networks["shop_internal"] = dict(target.networks["shop_internal"]) | {"Internal": False}
    with pytest.raises(OrchestratorError, match="network shop_internal exists, but reaches the outside") as caught:
        planned(target)
    assert "docker network rm shop_internal" in caught.value.hint


def test_removed_network_replaces_what_was_on_it() -> None:
    target = deployed()
    del target.networks["shop_internal"]
    text = str(planned(target, now=later())).splitlines()
    assert text[0] == "create network shop_internal (there is none)"
    assert f"create container {CANDIDATE} (its network has to be made anew)" in text
    assert "create container shop-proxy-2 (its network has to be made anew)" in text
    assert "backup" not in "\n".join(text)


def test_what_compose_made_is_taken_over() -> None:
    target = engine()
    by_compose(target)
    plan = planned(target)
    assert str(plan) == lines(f"""
        create container {LIVE} (made by another tool)
        start container {LIVE}
        wait healthy {LIVE}
        switch traffic shop_proxy_1 (from app to {LIVE})
        create container shop-proxy-2 (made by another tool)
        create container shop-backup-2 (made by another tool)
        stop container shop_backup_1 (is replaced)
        start container shop-backup-2
        drain shop_proxy_1
        start container shop-proxy-2
        wait healthy shop-proxy-2
        hand the port to shop-proxy-2 (shop_proxy_1: is replaced; interrupts for a moment)
        ask through shop-proxy-2
        record release shop-proxy-2
        wait healthy shop-backup-2
        stop container shop_app_1 (is replaced)
        remove container shop_app_1 (is replaced)
        stop container shop_proxy_1 (is replaced)
        remove container shop_proxy_1 (is replaced)
        remove container shop_backup_1 (is replaced)
    """)
    assert plan.serving


def test_proxy_gone() -> None:
    target = deployed()
    drop(target, "proxy")
    assert str(planned(target, now=later())) == lines(f"""
        create container shop-proxy-1 (there is none)
        write upstream shop-proxy-1 (traffic goes to {LIVE})
        start container shop-proxy-1
        wait healthy shop-proxy-1
        ask through shop-proxy-1
        record release shop-proxy-1
    """)


def test_app_gone() -> None:
    target = deployed()
    drop(target, "app")
    text = str(planned(target, now=later())).splitlines()
    assert text[-3:] == [
        f"wait healthy {CANDIDATE}",
        f"switch traffic shop-proxy-1 (from {LIVE} to {CANDIDATE})",
        "record release shop-proxy-1",
    ]


def test_changed_from_outside() -> None:
    target = deployed()
    backup = target.named("shop-backup-1")
    backup.body = dict(backup.body) | {"HostConfig": backup.body["HostConfig"] | {"Memory": 64 * 1024**2}}
    assert "create container shop-backup-2 (memory: 64m -> 256m (changed from outside))" in str(planned(target))


def test_down_keeps_the_data() -> None:
    target = deployed()
    plan = plan_down(STACK, target.observe("shop"), volumes=False)
    assert str(plan) == lines(f"""
        stop container shop-proxy-1 (down)
        remove container shop-proxy-1 (down)
        stop container {LIVE} (down)
        remove container {LIVE} (down)
        stop container shop-backup-1 (down)
        remove container shop-backup-1 (down)
        remove network shop_internal (down)
        remove network shop_edge (down)
    """)
    assert [getattr(step, "grace", None) for step in plan if hasattr(step, "grace")] == [40.0, 40.0, 20.0]


def test_down_with_volumes_takes_only_the_stacks_own() -> None:
    target = deployed()
    target.volumes["shop_mine"] = {}
    target.volumes["othershop_data"] = {}
    plan = plan_down(STACK, target.observe("shop"), volumes=True)
    assert str(plan).splitlines()[-3:] == [
        "remove volume shop_data (down --volumes)",
        "remove volume shop_upstream (down --volumes)",
        "remove volume shop_backups (down --volumes)",
    ]
    assert not plan_down(STACK, engine().observe("shop"), volumes=True)


def test_the_plan_does_not_depend_on_the_order_of_the_engines_lists() -> None:
    target = deployed()
    killed_at(target, SWITCH, EDITED, now=later())
    seen = target.observe("shop")
    turned = replace(seen, containers=tuple(reversed(seen.containers)), networks=tuple(reversed(seen.networks)))
    assert str(reconcile(EDITED, seen, IMAGES, NOW)) == str(reconcile(EDITED, turned, IMAGES, NOW))


def test_now_is_the_clock_unless_told() -> None:
    assert planned(engine(), now=NOW).release == RELEASE
    made = reconcile(STACK, engine().observe("shop"), IMAGES).release
    assert abs(datetime.strptime(made[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(
        seconds=5
    )


def test_script_is_used() -> None:
    """The engine in memory really lets a container be unhealthy; else the tests above would prove little."""
    target = engine()
    target.scripts["app"] = Script(health="unhealthy")
    with pytest.raises(OrchestratorError, match="app did not become healthy"):
        apply(planned(target), target, quiet())
