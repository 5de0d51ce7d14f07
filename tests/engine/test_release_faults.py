"""What goes wrong in a release: every row of the fault table, against one oracle (see `tests.faults`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests import faults_apart
from tests.cannot import cannot
from tests.engine.conftest import MakeProject
from tests.engine.own_engine import possible, running
from tests.engine.stack import Project
from tests.fault_rows import FAULTS
from tests.faults import Fault, Row, Stage

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stage(make_project: MakeProject) -> Stage:
    return Stage(make_project())


@pytest.fixture(scope="module")
def apart(make_project: MakeProject) -> Iterator[faults_apart.Apart]:
    if not possible():
        cannot("only root can start a second engine")
    with contextlib.ExitStack() as stack:
        yield faults_apart.Apart(make_project(), stack.enter_context(running(faults_apart.DISK)), stack)


def right(row: Row) -> None:
    assert not row.problems, "\n".join([Row.HEADER, str(row), *row.problems])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault(fault: Fault, stage: Stage) -> None:
    right(stage.play(fault))


def test_first_deploy_that_exits(project: Project) -> None:
    right(faults_apart.first_exits(project))


def test_first_deploy_on_a_taken_port(project: Project) -> None:
    right(faults_apart.port_taken(project))


def test_engine_restarted_in_the_middle(apart: faults_apart.Apart) -> None:
    right(apart.restarted())


def test_disk_full_in_the_build(apart: faults_apart.Apart) -> None:
    right(apart.disk_full())
