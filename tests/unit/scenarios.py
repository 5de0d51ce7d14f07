"""What is applied, failed and killed in the tests: a plan of each kind, on an engine where there is something to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from orchestrator.apply import CLEAN_UP, apply
from orchestrator.model import Stack
from orchestrator.steps import Image, Plan
from tests.unit.memory_engine import MemoryEngine
from tests.unit.stacks import (
    APP,
    CHECK_COMMAND,
    IMAGES,
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


#: The calls that hand over the port: the only moment at which nobody answers.
MOVING = ("disconnect_network", "connect_network")
