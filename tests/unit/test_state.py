"""Inspect documents recorded from Docker 20.10.24, as Observed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import labels
from orchestrator.state import Limits, Observed, last_probe, parse_container, parse_network

RECORDED = Path(__file__).parent / "recorded"


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def test_running_and_healthy() -> None:
    found = parse_container(document("running-healthy"))
    assert found.name == "ut-shop-backup-2"
    assert (found.service, found.number, found.role, found.oneoff) == ("backup", 2, labels.ROLE_SERVICE, False)
    assert (found.state, found.health, found.running, found.healthy) == ("running", "healthy", True, True)
    assert found.image == "golinks-base-python:debian-12"
    assert found.image_id.startswith("sha256:")
    assert found.release == "20261124T101502-aaaaaaa"
    assert found.limits == Limits(256 * 1024**2, 500_000_000, 64, "unless-stopped", frozenset())
    assert found.spec is not None
    assert found.spec["environment"] == {"A": "1"}
    assert found.started > found.created > "2026-"


def test_exited_after_being_unhealthy() -> None:
    recorded = document("exited-unhealthy")
    found = parse_container(recorded)
    assert (found.state, found.exit_code, found.running, found.healthy) == ("exited", 3, False, False)
    assert found.health == "unhealthy"
    assert found.limits.networks == {"bridge"}
    assert last_probe(recorded) == "no"


def test_created_and_without_a_network() -> None:
    found = parse_container(document("created-none-network"))
    assert (found.state, found.health, found.running, found.restarts) == ("created", "none", False, 0)
    assert found.limits == Limits(0, 0, 0, "no", frozenset())
    assert (found.service, found.number, found.release, found.spec) == ("", 0, "", None)
    assert found.started == "0001-01-01T00:00:00Z"


def test_never_started_lock() -> None:
    found = parse_container(document("never-started"))
    assert (found.state, found.role, found.oneoff) == ("created", "", False)
    assert last_probe(document("never-started")) == ""


def test_made_by_compose_v1() -> None:
    found = parse_container(document("compose-v1"))
    assert (found.name, found.service, found.number, found.oneoff) == ("utcompose_app_1", "app", 1, False)
    assert (found.role, found.release, found.spec) == ("", "", None), "nothing of ours"
    assert found.healthy, "without a health check it is, as long as it runs"
    assert found.limits == Limits(64 * 1024**2, 500_000_000, 32, "unless-stopped", frozenset({"utcompose_default"}))


def test_network() -> None:
    found = parse_network(document("network-internal"))
    assert (found.name, found.key, found.internal) == ("ut-inner", "inner", True)
    assert parse_network({"Id": "1", "Name": "bridge", "Labels": None}).key == ""


@pytest.mark.parametrize("label", ["", "{", "[]", "3", '"text"'])
def test_broken_spec_label_is_none(label: str) -> None:
    recorded = document("running-healthy")
    recorded["Config"]["Labels"][labels.SPEC] = label
    assert parse_container(recorded).spec is None


def test_no_labels_at_all() -> None:
    recorded = document("running-healthy")
    recorded["Config"]["Labels"] = None
    assert parse_container(recorded).service == ""


def test_compose_labels_of_what_we_make_are_all_there() -> None:
    """Decision 2: what Compose's commands need to see a container."""
    names = set(document("running-healthy")["Config"]["Labels"])
    needed = set(document("compose-v1")["Config"]["Labels"])
    assert needed <= names
    assert {"com.docker.compose.image", labels.SPEC} <= names


def test_of_and_oneoffs() -> None:
    one = parse_container(document("running-healthy"))
    older = replace(one, name="older", created="2026-01-01T00:00:00Z")
    job = replace(one, name="job", oneoff=True)
    observed = Observed(containers=(one, older, job))
    assert [c.name for c in observed.of("backup")] == ["older", "ut-shop-backup-2"]
    assert observed.oneoffs == (job,)
    assert observed.of("app") == ()
