"""Names of releases, and which container has the traffic."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from orchestrator import proxy
from orchestrator.apply import apply
from orchestrator.perform import perform
from orchestrator.plan import plan_down, reconcile
from orchestrator.release import container_name, live_container, release_id
from orchestrator.services import next_number, wait_timeout
from orchestrator.state import Observed
from orchestrator.steps import CreateContainer, Image, Migrate, RecordRelease, RemoveImage
from tests.unit.memory_engine import MemoryEngine
from tests.unit.stacks import (
    APP,
    CHECK,
    IMAGES,
    LIVE,
    NEW_APP,
    NEW_CONFIG,
    NOW,
    RELEASE,
    STACK,
    THIRD_CONFIG,
    deployed,
    going_back,
    later,
    planned,
    quiet,
    with_releases,
    with_service,
)


@pytest.mark.parametrize(
    ("image", "text"),
    [("sha256:3f9c2ab01234", "20261124T101502-3f9c2ab"), ("", "20261124T101502-unbuilt")],
)
def test_release_id(image: str, text: str) -> None:
    assert release_id(NOW, image) == text
    assert release_id(NOW.astimezone(timezone(timedelta(hours=2))), image) == text, "in UTC wherever it is made"


def test_container_name_is_a_dns_name() -> None:
    assert container_name(STACK, RELEASE) == LIVE
    assert container_name(STACK, RELEASE).islower()


def test_live_is_what_the_file_names_if_it_runs() -> None:
    seen = deployed().observe("shop")
    (one,) = seen.of("app")
    newer = replace(one, name="newer", created="2027")

    def live(upstream: str, *containers: object) -> str:
        found = live_container(STACK, Observed(containers=containers, proxy=proxy.Volume(upstream)))  # type: ignore[arg-type]
        return found.name if found else ""

    file = proxy.upstream_file([LIVE], 8000)
    assert live(file, one, newer) == LIVE
    assert live(proxy.upstream_file(["newer"], 8000), one, newer) == "newer"
    assert live(proxy.upstream_file(["app"], 8000), one, newer) == "newer", "the alias"
    assert live("", one) == LIVE
    assert live(file, replace(one, state="exited"), newer) == "newer"
    assert live(file, replace(one, state="exited")) == ""
    assert live(file, replace(one, oneoff=True)) == ""
    assert live(file) == ""


def test_wait_timeout_is_longer_than_the_engines_own_verdict() -> None:
    assert wait_timeout(APP) == 30 + 4 * (1 + 3) + 5
    assert wait_timeout(replace(APP, healthcheck=None)) == 30
    assert wait_timeout(replace(APP, healthcheck=replace(CHECK, start_period=300.0))) > 300


def test_next_number() -> None:
    (one,) = deployed().observe("shop").of("proxy")
    assert next_number(()) == 1
    assert next_number((one, replace(one, number=7))) == 8


BIGGER = with_service("app", memory=512 * 1024**2)


def test_names_of_replicas() -> None:
    assert [container_name(STACK, RELEASE, number) for number in (1, 2, 16)] == [LIVE, f"{LIVE}-2", f"{LIVE}-16"]


def test_a_release_of_replicas_is_of_one_release() -> None:
    """More replicas of what runs are of its release; a changed app is a release of as many."""
    target = deployed(with_service("app", replicas=2))
    plan = planned(target, with_service("app", BIGGER, replicas=3), now=later())
    made = [step.target for step in plan if isinstance(step, CreateContainer)]
    new = "shop-app-20261124t101602-aaaaaaa"
    assert made == [new, f"{new}-2", f"{new}-3"]
    apply(plan, target, quiet())
    assert proxy.upstream_hosts(target.observe("shop").upstream) == (new, f"{new}-2", f"{new}-3")
    assert {c.release for c in target.observe("shop").of("app")} == {"20261124T101602-aaaaaaa"}
    assert sorted(c.number for c in target.observe("shop").of("app")) == [3, 4, 5]


def test_a_lost_replica_comes_back_under_its_name() -> None:
    target = deployed(with_service("app", replicas=3))
    target.remove_container(f"{LIVE}-2")
    plan = planned(target, with_service("app", replicas=3), now=later())
    assert [step.target for step in plan if isinstance(step, CreateContainer)] == [f"{LIVE}-2"]
    assert plan.record is None, "no new release"


def test_a_release_in_the_same_second_has_another_id() -> None:
    plan = planned(deployed(), BIGGER, now=NOW)
    assert (plan.release, plan.previous) == ("20261124T101503-aaaaaaa", RELEASE)


def series(target: MemoryEngine, count: int) -> list[str]:
    """One release after the other, each of an image of its own; their ids."""
    made = []
    for number in range(1, count + 1):
        image = Image(f"shop-app:v{number}", f"sha256:{number:x}{'0' * 11}")
        plan = planned(target, KEEP, IMAGES | {"app": image}, now=later(number))
        apply(plan, target, quiet())
        made.append(plan.release)
    return made


KEEP = with_releases(keep=3)


def app_images(target: MemoryEngine) -> list[str]:
    return sorted(reference for reference in target.images if reference.startswith("shop-app:"))


def test_images_are_kept_for_as_many_releases_as_said() -> None:
    target = deployed(KEEP)
    target.images["shop-app:latest"] = "sha256:latest"
    target.images["other-app:1"] = "sha256:other"
    names = series(target, 5)
    assert app_images(target) == ["shop-app:latest", "shop-app:v3", "shop-app:v4", "shop-app:v5"]
    assert "other-app:1" in target.images
    assert [record.release for record in target.observe("shop").records] == [RELEASE, *names]


def test_what_a_rollback_went_to_counts_as_new() -> None:
    target = deployed(KEEP)
    first, *_ = series(target, 3)
    apply(going_back(target, KEEP, first)(target, later(10)), target, quiet())
    plan = planned(target, KEEP, IMAGES | {"app": NEW_APP}, now=later(11))
    apply(plan, target, quiet())
    assert plan.previous == first
    assert app_images(target) == ["shop-app:ddd", "shop-app:v1", "shop-app:v3"]


def test_images_that_the_plan_takes_or_a_proxy_runs_the_configuration_of_are_kept() -> None:
    """Neither is in a container, nor the newest, with an older commit checked out."""
    target = deployed()
    apply(planned(target, images=IMAGES | {"proxy": NEW_CONFIG}, now=later()), target, quiet())
    target.images["shop-proxy:old"] = "sha256:old"
    plan = planned(target, BIGGER, IMAGES | {"proxy": THIRD_CONFIG}, now=later(2))
    assert [step.target for step in plan if isinstance(step, RemoveImage)] == ["shop-proxy:old"]
    apply(plan, target, quiet())
    assert target.images[THIRD_CONFIG.reference] == THIRD_CONFIG.id


def test_no_image_goes_while_the_history_can_not_be_read() -> None:
    """After `down`: no container, so nothing to read the records through."""
    target = deployed(KEEP)
    names = series(target, 2)
    for step in plan_down(KEEP, target.observe("shop"), volumes=False):
        perform(step, target, quiet())
    plan = planned(target, KEEP, IMAGES | {"app": NEW_APP}, now=later(5))
    assert not [step for step in plan if isinstance(step, RemoveImage)]
    apply(plan, target, quiet())
    assert going_back(target, KEEP)(target, later(6)).release == names[-1], "and there is something to go back to"


def test_an_image_that_was_just_built_stays_for_whoever_waits_for_the_lock() -> None:
    target = deployed()
    target.images |= {"shop-app:young": "sha256:young", "shop-app:old": "sha256:old"}
    target.built = {"sha256:young": NOW, "sha256:old": NOW - timedelta(days=2)}
    plan = planned(target, BIGGER, now=later())
    assert [step.target for step in plan if isinstance(step, RemoveImage)] == ["shop-app:old"]


@pytest.mark.parametrize(("schema", "migrates"), [("s1", False), ("s2", True), ("", True)])
def test_the_same_files_of_a_migration_are_not_asked_about(schema: str, *, migrates: bool) -> None:
    seen = deployed().observe("shop")
    labelled = tuple(replace(c, schema="s1") if c.service == "app" else c for c in seen.containers)
    images = IMAGES | {"app": replace(NEW_APP, schema=schema)}
    plan = reconcile(STACK, replace(seen, containers=labelled), images, later())
    assert any(isinstance(step, Migrate) for step in plan) == migrates


def test_previous_is_what_served_before() -> None:
    target = deployed()
    assert planned(target, now=later()).previous == ""
    apply(planned(target, BIGGER, now=later()), target, quiet())
    assert planned(target, BIGGER, now=later(2)).previous == RELEASE, "also of a plan without steps"
    (step,) = (s for s in planned(target, now=later(3)) if isinstance(s, RecordRelease))
    assert step.record.previous == "20261124T101602-aaaaaaa"


def test_now_is_needed_in_utc() -> None:
    assert release_id(datetime.fromisoformat("2026-11-24T01:00:00+03:00"), "").startswith("20261123T220000")
