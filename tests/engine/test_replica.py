"""Replication beside the stack, and going back to a moment, on a real engine."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest

from tests.engine.stack import SERVICES, Project, until

pytestmark = pytest.mark.engine

HEALTHY = dict.fromkeys(SERVICES, "running healthy")


def behind(project: Project) -> str:
    """What the backup service's own check says."""
    state = project.one("backup").attrs["State"]["Health"]
    return str(state["Log"][-1]["Output"]).strip() if state["Log"] else ""


def moment_after_a_write(project: Project, name: str) -> str:
    """Adds a link, and waits until the replica surely has it."""
    project.add(name)
    time.sleep(2.5)
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def test_back_to_a_second_and_forth_again(project: Project) -> None:
    path = project.root / "config" / "production.toml"
    path.write_text(path.read_text() + '\n[backup.replicate]\nto = "file:///backups/replica"\n')
    project.run("deploy")
    until(lambda: "replica" in behind(project) and "behind" in behind(project), 30, "it replicates")
    moment = moment_after_a_write(project, "kept")
    time.sleep(1)
    project.add("later")
    snapshot = project.json("backup")
    assert [one["integrity"] for one in snapshot["databases"]] == ["ok"], "a snapshot beside it"
    refused = project.run("restore", "--at", "2020-01-01T00:00:00Z", "--yes", check=False)
    assert refused.code == 1
    assert "begins at" in refused.stderr
    document = project.json("restore", "--at", moment, "--yes")
    assert project.has("kept")
    assert not project.has("later")
    assert document["state_of"] <= moment
    until(lambda: project.health() == HEALTHY, 30, "everything is healthy")
    project.run(*document["undo"].split(), "--yes")
    assert project.has("later")
    until(lambda: project.health() == HEALTHY, 30, "everything is healthy")
    assert project.json("plan") == {"steps": []}
    # The same replica after two restores: it goes on.
    moment = moment_after_a_write(project, "third")
    project.add("fourth")
    project.run("restore", "--at", moment, "--yes")
    assert project.has("third")
    assert project.has("later")
    assert not project.has("fourth")
    log = project.one("backup").logs().decode()
    assert not [line for line in log.splitlines() if line.startswith("{") and json.loads(line).get("level") == "ERROR"]
