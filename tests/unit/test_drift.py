"""Why a container is not what is wanted, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator import create_args
from orchestrator.diff import differences, flatten, human, short
from orchestrator.drift import reasons
from orchestrator.model import Mount, ServiceSpec
from orchestrator.state import ObservedContainer
from tests.unit.stacks import APP, IMAGES, LIVE, NEW_APP, STACK, deployed, with_service


def live() -> ObservedContainer:
    (found,) = deployed().observe("shop").of("app")
    assert found.name == LIVE
    return found


def why(container: ObservedContainer, **changes: Any) -> tuple[str, ...]:
    stack = with_service("app", **changes)
    return reasons(stack, stack.service("app"), IMAGES["app"], container)


def test_nothing() -> None:
    assert why(live()) == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"memory": 128 * 1024**2}, ("memory: 256m -> 128m",)),
        ({"memory": 256 * 1024**2 + 1024}, ("memory: 256m -> 268436480 bytes",)),
        ({"cpus": 0.5, "pids": 64}, ("cpus: 1 -> 0.5", "pids: 128 -> 64")),
        ({"command": ("run", "it")}, ("command: none -> run it",)),
        ({"stop_grace_period": 10.0}, ("stop_grace_period: 40 -> 10",)),
        (
            {"mounts": (Mount("data", "/data", read_only=True),)},
            ("mounts: target=/data,volume=data -> read_only=True,target=/data,volume=data",),
        ),
        ({"environment": {"LOG_LEVEL": "info"}}, ("environment.SECRET_KEY: ******** -> none",)),
        (
            {"environment": {"LOG_LEVEL": "info", "SECRET_KEY": "other"}},
            ("environment.SECRET_KEY: ******** -> ********",),
        ),
        (
            {"environment": {}},
            ("environment.LOG_LEVEL: info -> none", "environment.SECRET_KEY: ******** -> none"),
        ),
        ({"healthcheck": replace(APP.healthcheck, retries=5)}, ("healthcheck.retries: 3 -> 5",)),  # type: ignore[type-var]
        ({"migrate": ("x",), "migrate_check": (), "image": "y", "depends_on": ("z",), "replicas": 3}, ()),
    ],
)
def test_changed_settings(changes: dict[str, Any], told: tuple[str, ...]) -> None:
    assert why(live(), **changes) == told


def test_image() -> None:
    assert reasons(STACK, APP, NEW_APP, live()) == ("image: aaaaaaa -> ddddddd",)
    assert reasons(STACK, APP, replace(NEW_APP, id=""), live()) == ("image: aaaaaaa -> to be built",)
    both = with_service("app", pids=9)
    assert reasons(both, both.service("app"), NEW_APP, live()) == ("image: aaaaaaa -> ddddddd", "pids: 128 -> 9")


def test_of_another_tool() -> None:
    assert why(replace(live(), spec=None)) == ("made by another tool",)


def test_settings_that_this_program_does_not_know() -> None:
    assert why(replace(live(), spec={**(live().spec or {}), "unknown": None})) == ("settings changed",)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"memory": 64 * 1024**2}, "memory: 64m -> 256m (changed from outside)"),
        ({"nano_cpus": 500_000_000}, "cpus: 0.5 -> 1 (changed from outside)"),
        ({"pids": 0}, "pids: 0 -> 128 (changed from outside)"),
        ({"restart": "no"}, "restart: no -> unless-stopped (changed from outside)"),
        (
            {"networks": frozenset({"shop_internal", "bridge"})},
            "networks: bridge, shop_internal (changed from outside)",
        ),
    ],
)
def test_changed_from_outside(changes: dict[str, Any], told: str) -> None:
    container = live()
    assert why(replace(container, limits=replace(container.limits, **changes))) == (told,)


def test_a_network_that_it_has_left_is_joined_again_and_no_reason_to_replace_it() -> None:
    container = live()
    assert why(replace(container, limits=replace(container.limits, networks=frozenset()))) == ()


def test_secrets_are_never_told() -> None:
    container = live()
    spec = ServiceSpec(name="app", image="i", user="1:1", environment={"API_KEY": "hunter9"})
    told = differences(container.spec or {}, create_args.fingerprint(spec))
    assert "hunter" not in str(told)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), ("", "none"), ([], "none"), (1.0, "1"), (["a", 1], "a 1"), ({"a": None, "b": 1}, "b=1"), (0, "0")],
)
def test_human(value: Any, text: str) -> None:
    assert human("x", value) == text


def test_flatten() -> None:
    assert dict(flatten({"a": {"b": 1, "c": []}, "d": {}})) == {"a.b": 1, "a.c": []}
    assert short("sha256:0123456789abcdef") == "0123456"
    assert short("") == ""
