"""A stack without a proxy: the app has the port itself, so a release stops the one before; safe all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator import create_args, maintenance, mounted, releases
from orchestrator.apply import apply
from orchestrator.deploy import rollback
from orchestrator.errors import EngineError, OrchestratorError, RolledBack, UsageError
from orchestrator.model import Bind, Port, Stack
from orchestrator.plan import plan_down
from orchestrator.release import UNRELEASED_MAX_AGE
from orchestrator.session import Session
from orchestrator.settings import load
from orchestrator.steps import Image, RemoveImage
from tests.unit.memory_engine import Killed, MemoryEngine, Script
from tests.unit.scenarios import Failure
from tests.unit.stacks import APP, BACKUP, IMAGES, NEW_APP, NOW, ROOT, STACK, deployed, engine, later, planned, quiet
from tests.unit.stacks import with_service as with_

PORT = Port("127.0.0.1", "8080", 8000)
PUBLISHED = replace(APP, networks=("internal", "edge"), ports=(PORT,), binds=(Bind("/src/code", "/code"),), migrate=())
DIRECT = replace(STACK, services=(PUBLISHED, replace(BACKUP, replicas=0)))
EDITED = with_("app", DIRECT, environment={"LOG_LEVEL": "debug"})


def direct(stack: Stack = DIRECT) -> MemoryEngine:
    made = engine()
    apply(planned(made, stack), made, quiet())
    return made


def serving(target: MemoryEngine) -> list[str]:
    """The running containers that have the port."""
    return [c.name for c in target.containers.values() if c.state == "running" and "8080" in c.ports]


def test_a_first_deployment_makes_the_app_alone() -> None:
    target = direct()
    (container,) = target.containers.values()
    assert (container.service, serving(target)) == ("app", [container.name])
    assert str(planned(target, DIRECT, now=later())) == ""
    assert target.volumes.keys() >= {"shop_data", "shop_backups"}
    mounts = container.body["HostConfig"]["Mounts"]
    assert {"Type": "bind", "Source": "/src/code", "Target": "/code", "ReadOnly": True} in mounts


def test_a_release_takes_the_place_of_the_one_before_and_says_that_it_interrupts() -> None:
    target = direct()
    (old,) = serving(target)
    plan = planned(target, EDITED, now=later())
    lines = str(plan).splitlines()
    (stop,) = (line for line in lines if line.startswith("stop"))
    assert stop.startswith(f"stop container {old}")
    assert stop.endswith("interrupts for a moment)")
    doing = [line.split(" container")[0].split(" shop")[0] for line in lines]
    assert doing == ["create", "stop", "start", "wait healthy", "remove"]
    apply(plan, target, quiet())
    (new,) = serving(target)
    assert new != old
    assert len(target.containers) == 1


def test_one_that_is_not_healthy_brings_the_old_one_back() -> None:
    target = direct()
    before = target.picture()["containers"]
    plan = planned(target, EDITED, now=later())
    target.scripts["shop-app-20261124t101602-aaaaaaa"] = Script(health="unhealthy")
    with pytest.raises(RolledBack):
        apply(plan, target, quiet())
    assert target.picture()["containers"] == before


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("start", ["direct", "with a proxy", "nothing"])
def test_killed_or_failed_at_any_call_the_next_run_goes_on(start: str, *, after: bool) -> None:
    make = {"direct": direct, "with a proxy": deployed, "nothing": engine}[start]
    target = make()
    plan = planned(target, EDITED, now=later())
    begun = len(target.calls)
    apply(plan, target, quiet())
    for at in range(1, len(target.calls) - begun + 1):
        for error in (Killed(), EngineError("refused.")):
            target = make()
            held = serving(target)
            plan = planned(target, EDITED, now=later())
            Failure(target, at, after=after, error=error)
            refused = False
            try:
                apply(plan, target, quiet())
            except Killed:
                pass
            except OrchestratorError as caught:
                refused = not caught.in_place
            target.fails = lambda *_: None
            if refused and not after:
                assert serving(target) == held, "undone"
            left = planned(target, EDITED, now=later(5))
            apply(left, target, quiet())
            assert str(planned(target, EDITED, now=later(6))) == "", f"{at} {error!r}\n{left}"
            assert len(serving(target)) == len(target.containers) == 1


def test_to_a_proxy_and_back() -> None:
    """What has the port gives it up before anybody else starts."""
    target = direct()
    apply(planned(target, STACK, now=later()), target, quiet())
    assert target.serving()
    assert {c.service for c in target.containers.values()} == {"app", "proxy", "backup"}
    apply(planned(target, DIRECT, now=later(2)), target, quiet())
    assert [c.service for c in target.containers.values()] == ["app"]
    assert serving(target)
    assert str(planned(target, DIRECT, now=later(3))) == ""


def test_down() -> None:
    target = direct()
    apply(plan_down(DIRECT, target.observe("shop"), volumes=True), target, quiet())
    assert (target.containers, target.networks, target.volumes) == ({}, {}, {})


def test_images_that_nothing_uses_go_after_a_day() -> None:
    target = direct()
    target.images["shop-app:old"] = "sha256:000000000000"
    target.built["sha256:000000000000"] = NOW

    def pruned(age: timedelta, image: Image = NEW_APP) -> list[str]:
        plan = planned(target, DIRECT, IMAGES | {"app": image}, now=NOW + age)
        return [step.target for step in plan if isinstance(step, RemoveImage)]

    assert pruned(UNRELEASED_MAX_AGE / 2) == []
    assert "shop-app:old" in pruned(2 * UNRELEASED_MAX_AGE)
    assert not {"shop-app:aaa", "shop-app:ddd", "shop-backup:ccc"} & set(pruned(2 * UNRELEASED_MAX_AGE))


def session(target: MemoryEngine, stack: Stack = DIRECT) -> Session:
    return Session(load(ROOT, "development", {}), stack, target, quiet())


def test_verbs_that_need_a_proxy_say_so() -> None:
    made = session(direct())
    with pytest.raises(UsageError, match="shop has no proxy"):
        rollback(made)
    with pytest.raises(UsageError, match="shop has no proxy"):
        releases.releases(made)
    with pytest.raises(UsageError, match="shop has no proxy"):
        maintenance.maintenance(made, "on")


def test_a_remote_engine_sees_no_folder_of_ours(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    stack = with_("app", DIRECT, binds=(Bind(str(tmp_path), "/code"),))
    here = MemoryEngine()
    mounted.require(stack, here)
    for host in ("ssh://me@server", "tcp://127.0.0.1:2376"):
        with pytest.raises(UsageError, match=f"which the engine at {host} does not see"):
            mounted.require(stack, MemoryEngine(host=host))
        mounted.require(STACK, MemoryEngine(host=host))
    (tmp_path / "open.py").write_text("")
    (tmp_path / "own.py").write_text("")
    (tmp_path / "own.py").chmod(0o600)
    with pytest.raises(UsageError, match=r"runs as 10001:10001, which may not read .*own\.py") as caught:
        mounted.require(stack, here)
    assert "chmod -R go+rX" in caught.value.hint
    (tmp_path / "own.py").chmod(0o644)
    mounted.require(stack, here)
    with pytest.raises(UsageError, match="there is no such file or folder"):
        mounted.require(with_("app", DIRECT, binds=(Bind(str(tmp_path / "x"), "/x"),)), here)


def test_what_is_mounted_is_part_of_what_a_container_is() -> None:
    assert create_args.config_hash(PUBLISHED) != create_args.config_hash(replace(PUBLISHED, binds=()))
    assert "binds" not in create_args.fingerprint(APP), "containers of earlier versions stay as they are"
    back, _ = create_args.restored(create_args.fingerprint(PUBLISHED), APP, "i")
    assert (back.binds, back.ports) == (PUBLISHED.binds, PUBLISHED.ports)
    back, _ = create_args.restored(create_args.fingerprint(APP), PUBLISHED, "i")
    assert back.binds == ()
