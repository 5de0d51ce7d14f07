"""Whatever the engine is found in, one plan is enough."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import pytest

from orchestrator import labels
from orchestrator.apply import apply
from orchestrator.errors import OrchestratorError
from orchestrator.model import Stack
from orchestrator.steps import Plan
from tests.unit.memory_engine import Killed, MemoryEngine
from tests.unit.stacks import (
    APP,
    CHECK_COMMAND,
    IMAGES,
    NEW_APP,
    NEW_CONFIG,
    NEW_PROXY,
    NOW,
    PENDING,
    STACK,
    by_compose,
    deployed,
    engine,
    foreign,
    going_back,
    planned,
    quiet,
)
from tests.unit.stacks import with_service as with_

EDITED = with_("app", environment=dict(APP.environment) | {"LOG_LEVEL": "debug"})


def stop_something(target: MemoryEngine, chance: random.Random) -> None:
    if target.containers:
        container = chance.choice(list(target.containers.values()))
        container.state, container.health = "exited", "none"


def make_unhealthy(target: MemoryEngine, chance: random.Random) -> None:
    running = [c for c in target.containers.values() if c.state == "running" and c.health != "none"]
    if running:
        chance.choice(running).health = chance.choice(["unhealthy", "starting"])


def remove_something(target: MemoryEngine, chance: random.Random) -> None:
    if target.containers:
        del target.containers[chance.choice(list(target.containers))]


def remove_network(target: MemoryEngine, chance: random.Random) -> None:
    names = [name for name in target.networks if not any(name in c.networks for c in target.containers.values())]
    if names:
        del target.networks[chance.choice(names)]


def remove_volume(target: MemoryEngine, chance: random.Random) -> None:
    names = [n for n in target.volumes if all(n not in str(c.body) for c in target.containers.values())]
    if names:
        del target.volumes[chance.choice(names)]


def add_orphan(target: MemoryEngine, chance: random.Random) -> None:
    name = f"orphan-{len(target.calls)}"
    role = chance.choice(["", labels.ROLE_STEP])
    foreign(target, name, chance.choice(["worker", "app"]) if role else "worker", role=role, oneoff=bool(role))


def leave_a_rehearsal(target: MemoryEngine, _: random.Random) -> None:
    name = f"shop_rehearsal_{len(target.calls)}"
    marks = {labels.PROJECT: "shop", labels.ROLE: labels.ROLE_REHEARSAL}
    target.create_volume({"Name": name, "Labels": marks})
    foreign(target, name, "app", role=labels.ROLE_REHEARSAL, oneoff=True)
    container = target.named(name)
    container.body = {**container.body, "HostConfig": {"Mounts": [{"Source": name, "Target": "/data"}]}}


def leave_a_network(target: MemoryEngine, chance: random.Random) -> None:
    containers = [c for c in target.containers.values() if c.networks]
    if containers:
        container = chance.choice(containers)
        target.disconnect_network(container.name, chance.choice(list(container.networks)))


DISTURBANCES: tuple[Callable[[MemoryEngine, random.Random], None], ...] = (
    stop_something,
    make_unhealthy,
    remove_something,
    remove_network,
    remove_volume,
    add_orphan,
    leave_a_network,
    leave_a_rehearsal,
)
STACKS = (
    STACK,
    EDITED,
    with_("proxy", memory=1024**3),
    with_("backup", EDITED, pids=99),
    with_("app", replicas=2),
    with_("app", EDITED, replicas=3),
)
CHOICES = {"app": (IMAGES["app"], NEW_APP), "proxy": (IMAGES["proxy"], IMAGES["proxy"], NEW_CONFIG, NEW_PROXY)}


def some_plan(chance: random.Random) -> tuple[Stack, Callable[[MemoryEngine, datetime], Plan]]:
    """A deployment of any of the stacks, or a rollback where there is something to go back to."""
    stack = chance.choice(STACKS)
    images = IMAGES | {name: chance.choice(several) for name, several in CHOICES.items()}
    wants_back = chance.random() < 0.25
    chosen: list[Callable[[MemoryEngine, datetime], Plan]] = []

    def make(target: MemoryEngine, now: datetime) -> Plan:
        seen = target.observe("shop")
        if not chosen and wants_back and seen.of("proxy") and seen.of("backup"):
            with suppress(OrchestratorError):
                chosen.append(going_back(target, stack))
        if not chosen:
            chosen.append(lambda target, now: planned(target, stack, images, now=now))
        return chosen[0](target, now)

    return stack, make


@pytest.mark.parametrize("seed", range(160))
def test_one_plan_is_enough_from_any_state(seed: int) -> None:
    """Runs that are killed anywhere, edits, hands that stop and remove: the next plan leaves nothing to do."""
    chance = random.Random(seed)  # noqa: S311 - the same states in every run are wanted
    target = deployed() if chance.random() < 0.7 else engine()
    if chance.random() < 0.2:
        target = engine()
        by_compose(target)
    if chance.random() < 0.5:
        target.scripts[CHECK_COMMAND] = PENDING
    now = NOW
    for _ in range(chance.randrange(1, 5)):
        now += timedelta(minutes=1)
        _, make = some_plan(chance)
        end, after = len(target.calls) + chance.randrange(1, 40), chance.random() < 0.5

        def kill(number: int, _: str, had_effect: bool, *, end: int = end, after: bool = after) -> Killed | None:
            return Killed() if number == end and had_effect == after else None

        target.fails = kill
        with suppress(Killed):
            apply(make(target, now), target, quiet())
        target.fails = lambda *_: None
        for disturb in chance.sample(DISTURBANCES, chance.randrange(0, 3)):
            disturb(target, chance)
    stack, make = some_plan(chance)
    plan = make(target, now + timedelta(minutes=1))
    report = quiet()
    apply(plan, target, report)
    assert report.warnings == [], f"after\n{plan}"
    left = make(target, now + timedelta(minutes=2))
    assert str(left) == "", f"after\n{plan}"
    assert target.serving(), f"after\n{plan}"
    assert not target.observe("shop").scratch, f"after\n{plan}"
    services = [c.service for c in target.containers.values()]
    assert set(services) == {"app", "proxy", "backup"}, f"after\n{plan}"
    assert services.count("app") == stack.service("app").replicas, f"after\n{plan}"
