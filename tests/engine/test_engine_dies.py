"""The engine is killed, between deployments and in the middle of one; it is restarted; its disk is full. An engine of
the test's own, in a network namespace of its own, so that nothing else on this machine notices. The tests take turns on
it, in their order: it takes as long to make as all of them."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

import pytest

from tests import faults_apart
from tests.cannot import cannot
from tests.engine.conftest import MakeProject
from tests.engine.own_engine import OwnEngine, ask, possible, running
from tests.engine.stack import SERVICES, Project, finished, until
from tests.engine.test_release_faults import right

pytestmark = pytest.mark.engine

HEALTHY = dict.fromkeys(SERVICES, "running healthy")


@pytest.fixture(scope="module")
def apart(make_project: MakeProject) -> Iterator[faults_apart.Apart]:
    """Deployed on the own engine, with images built on the usual one: this one reaches no network."""
    if not possible():
        cannot("only root can start a second engine")
    with contextlib.ExitStack() as stack:
        yield faults_apart.Apart(make_project(), stack.enter_context(running(faults_apart.DISK)), stack)


@pytest.fixture
def own_engine(apart: faults_apart.Apart) -> OwnEngine:
    return apart.engine


@pytest.fixture
def project(apart: faults_apart.Apart) -> Project:
    return apart.project


def test_after_a_power_cut_everything_comes_back_by_itself(own_engine: OwnEngine, project: Project) -> None:
    assert project.health() == HEALTHY
    assert ask(project, "POST", "/.api/links", {"name": "before", "url": "https://example.com/"}) == 201
    project.client.close()  # its kept connections; it makes new ones
    own_engine.cut_power()
    for verb in ("deploy", "status", "backup"):
        result = project.run(verb, check=False)
        assert result.code == 5
        assert f"no Docker engine answers at {own_engine.url}" in result.stderr
        assert "Traceback" not in result.stderr
    own_engine.start()
    # Nobody but the engine does it, by the restart policy.
    until(lambda: project.health() == HEALTHY, 60, "everything is healthy again", 0.5)
    assert ask(project, "GET", "/.api/links/before") == 200
    assert project.json("plan") == {"steps": []}


def test_an_engine_that_dies_in_the_middle(own_engine: OwnEngine, project: Project) -> None:
    config = project.root / "config" / "production.toml"
    good = config.read_text()
    never = 'command = ["/bin/sh", "-c", "test -e /tmp/never"]'
    project.edit("config/production.toml", 'path = "/health"', never)
    process = project.start("deploy", "--no-build")
    until(lambda: len(project.containers("app", running=True)) == 2, 60, "the candidate runs", 0.1)
    time.sleep(0.5)
    began = time.monotonic()
    project.client.close()  # its kept connections; it makes new ones
    own_engine.end(signal.SIGKILL)
    result = finished(process, 60, began)
    assert result.code == 5, result
    assert "the engine went away" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.seconds < 30
    own_engine.start()
    config.write_text(good)
    again = project.run("--json", "deploy", "--no-build")
    assert again.json["result"] == "changed", again
    until(lambda: project.health() == HEALTHY, 60, "everything is healthy again", 0.5)
    assert len(project.containers()) == 3
    assert project.lock() is None
    assert ask(project, "GET", "/.api/links/before") == 200
    assert project.json("plan") == {"steps": []}


def test_engine_restarted_in_the_middle(apart: faults_apart.Apart) -> None:
    right(apart.restarted())


def test_disk_full_in_the_build(apart: faults_apart.Apart) -> None:
    right(apart.disk_full())
