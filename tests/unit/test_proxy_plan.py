"""The proxy's share of a plan: reload, hand-over, and going on after a run that was killed in between."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.apply import apply
from orchestrator.proxy_plan import proof, running_config
from orchestrator.steps import MovePort
from tests.unit.memory_engine import Killed, MemoryEngine
from tests.unit.stacks import (
    CHECK,
    IMAGES,
    NEW_CONFIG,
    NEW_PROXY,
    STACK,
    THIRD_CONFIG,
    deployed,
    later,
    planned,
    quiet,
    with_service,
)

BIGGER = with_service("proxy", memory=256 * 1024**2)
CONFIGURED: dict[str, Any] = {"images": IMAGES | {"proxy": NEW_CONFIG}}


def lines(target: MemoryEngine, *args: Any, minutes: int = 5, **more: Any) -> list[str]:
    return str(planned(target, *args, now=later(minutes), **more)).splitlines()


def run(target: MemoryEngine, *args: Any, killed: str = "", effect: bool = False, **more: Any) -> MemoryEngine:
    """Applies a deployment, killed at a call if one is named."""
    if killed:
        target.fails = lambda _, call, after: Killed() if call.startswith(killed) and after == effect else None
    plan = planned(target, *args, now=later(), **more)
    if killed:
        with pytest.raises(Killed):
            apply(plan, target, quiet())
    else:
        apply(plan, target, quiet())
    target.fails = lambda *_: None
    return target


def test_configuration_alone_is_reloaded() -> None:
    assert lines(deployed(), **CONFIGURED) == [
        "copy configuration shop-proxy-1 (configuration: bbbbbbb -> eeeeeee)",
        "use configuration shop-proxy-1 (configuration: bbbbbbb -> eeeeeee)",
        "ask through shop-proxy-1",
    ]
    target = run(deployed(), **CONFIGURED)
    assert lines(target, **CONFIGURED) == []
    seen = target.observe("shop")
    (container,) = seen.of("proxy")
    assert (container.image_id, running_config(seen, container)) == (IMAGES["proxy"].id, NEW_CONFIG.id)
    assert target.volumes["shop_upstream"]["config-eeeeeeeeeeee/nginx.conf"] == NEW_CONFIG.id.encode()


def test_another_configuration_and_the_images_own_again() -> None:
    target = run(deployed(), **CONFIGURED)
    assert lines(target, images=IMAGES | {"proxy": THIRD_CONFIG})[1] == (
        "use configuration shop-proxy-1 (configuration: eeeeeee -> 9999999)"
    )
    assert lines(target) == [
        "use configuration shop-proxy-1 (configuration: eeeeeee -> bbbbbbb)",
        "ask through shop-proxy-1",
    ]
    run(target)
    assert lines(target) == []
    assert "config" not in target.volumes["shop_upstream"]


def test_a_proxy_that_is_not_well_gets_a_new_configuration_by_being_replaced() -> None:
    target = deployed()
    target.named("shop-proxy-1").health = "unhealthy"
    assert lines(target, **CONFIGURED)[0] == "create container shop-proxy-2 (image: bbbbbbb -> eeeeeee)"


def test_own_configuration_of_one_that_is_down_is_used_when_it_runs() -> None:
    target = run(deployed(), **CONFIGURED)
    container = target.named("shop-proxy-1")
    container.state, container.health = "exited", "none"
    text = lines(target)
    assert text.index("wait healthy shop-proxy-1") < text.index(
        "use configuration shop-proxy-1 (configuration: eeeeeee -> bbbbbbb)"
    )
    run(target)
    assert lines(target) == []


@pytest.mark.parametrize(
    ("stack", "image", "cause"),
    [
        (BIGGER, IMAGES["proxy"], "memory: 128m -> 256m"),
        (STACK, NEW_PROXY, "image: bbbbbbb -> fffffff"),
        (BIGGER, NEW_CONFIG, "image: bbbbbbb -> eeeeeee; memory: 128m -> 256m"),
    ],
    ids=["settings", "image", "configuration and settings"],
)
def test_anything_else_replaces_it_and_moves_the_port(stack: Any, image: Any, cause: str) -> None:
    images = IMAGES | {"proxy": image}
    plan = planned(deployed(), stack, images, now=later())
    assert str(plan).splitlines() == [
        f"create container shop-proxy-2 ({cause})",
        "start container shop-proxy-2",
        "wait healthy shop-proxy-2",
        "hand the port to shop-proxy-2 (shop-proxy-1: is replaced; interrupts for a moment)",
        "ask through shop-proxy-2",
        "stop container shop-proxy-1 (is replaced)",
        "remove container shop-proxy-1 (is replaced)",
    ]
    (move,) = (step for step in plan if isinstance(step, MovePort))
    assert (move.source, move.networks, move.alias) == ("shop-proxy-1", ("shop_internal", "shop_edge"), "proxy")
    target = run(deployed(), stack, images=images)
    assert target.named("shop-proxy-2").ports == {"8080"}
    assert lines(target, stack, images=images) == []


def test_a_replaced_proxy_begins_with_its_own_configuration() -> None:
    """Whatever the one before had been told to run instead, the image being the same."""
    target = run(run(deployed(), **CONFIGURED), BIGGER)
    assert target.named("shop-proxy-2").config == ""
    assert lines(target, BIGGER) == []


def test_killed_before_the_port_moved_goes_on_with_the_new_one() -> None:
    target = run(deployed(), BIGGER, killed="disconnect_network")
    assert lines(target, BIGGER) == [
        "wait healthy shop-proxy-2",
        "switch traffic shop-proxy-2 (it may not have read its upstream file yet)",
        "hand the port to shop-proxy-2 (shop-proxy-1: another one is right; interrupts for a moment)",
        "ask through shop-proxy-2",
        "stop container shop-proxy-1 (another one is right)",
        "remove container shop-proxy-1 (another one is right)",
    ]


def test_killed_before_the_port_moved_and_settings_taken_back() -> None:
    target = run(deployed(), BIGGER, killed="disconnect_network")
    assert lines(target) == [
        "stop container shop-proxy-2 (another one is right)",
        "ask through shop-proxy-1",
        "remove container shop-proxy-2 (another one is right)",
    ]


def test_killed_after_the_port_moved_only_cleans_up() -> None:
    target = run(deployed(), BIGGER, killed="stop_container shop-proxy-1")
    assert lines(target, BIGGER) == [
        "stop container shop-proxy-1 (another one is right)",
        "ask through shop-proxy-2",
        "remove container shop-proxy-1 (another one is right)",
    ]


@pytest.mark.parametrize("call", ["disconnect_network shop-proxy-1 shop_internal", "connect_network shop-proxy-2"])
def test_killed_while_the_port_moves(call: str) -> None:
    """Nobody has it; the new one gets it."""
    target = run(deployed(), BIGGER, killed=call, effect=call.startswith("dis"))
    assert not target.serving()
    run(target, BIGGER)
    assert target.named("shop-proxy-2").ports == {"8080"}
    assert [c.name for c in target.containers.values() if c.service == "proxy"] == ["shop-proxy-2"]
    assert target.serving()


def test_of_two_that_run_the_one_with_the_port_is_told() -> None:
    """The newer one is without it: a release told to that one alone would cut everybody off."""
    target = run(deployed(), BIGGER, killed="disconnect_network")
    changed = with_service("app", pids=99)
    switched = [line for line in lines(target, changed) if line.startswith("switch")]
    assert [line.split()[2] for line in switched] == ["shop-proxy-1"]
    served: list[str] = []
    target.watch = lambda _: served.append(target.serving())
    run(target, changed)
    assert "" not in served


def test_a_proxy_off_its_networks_does_not_serve() -> None:
    target = deployed()
    for name in ("shop_internal", "shop_edge"):
        target.disconnect_network("shop-proxy-1", name)
    plan = planned(target, now=later())
    assert str(plan).splitlines() == [
        "join network shop_internal: shop-proxy-1 (it is not on it)",
        "join network shop_edge: shop-proxy-1 (it is not on it)",
        "wait healthy shop-proxy-1",
        "switch traffic shop-proxy-1 (it may not have read its upstream file yet)",
        "ask through shop-proxy-1",
    ]
    assert not plan.serving
    apply(plan, target, quiet())
    assert target.serving()


def test_proof_only_where_the_app_is_asked_by_a_path() -> None:
    (step,) = proof(STACK, "p")
    assert (step.target, getattr(step, "port", 0), getattr(step, "path", "")) == ("p", 8080, "/health")
    assert proof(with_service("app", healthcheck=CHECK), "p") == ()
    assert proof(with_service("app", healthcheck=None), "p") == ()
