"""Names of releases, and which container has the traffic."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from orchestrator import proxy
from orchestrator.release import container_name, live_container, release_id
from orchestrator.services import next_number, wait_timeout
from orchestrator.state import Observed
from tests.unit.stacks import APP, CHECK, LIVE, NOW, RELEASE, STACK, deployed


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


def test_now_is_needed_in_utc() -> None:
    assert release_id(datetime.fromisoformat("2026-11-24T01:00:00+03:00"), "").startswith("20261123T220000")
