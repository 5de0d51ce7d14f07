"""What goes wrong in a release: rows of the fault table, against one oracle (see `tests.faults`). Those on an engine of
their own are in `test_engine_dies.py`; `python -m tests.bench faults` plays all, also what other tests show too."""

from __future__ import annotations

import pytest

from tests.engine.conftest import MakeProject
from tests.fault_rows import FAULTS
from tests.faults import Fault, Row, Stage

pytestmark = pytest.mark.engine

#: What other tests show, too: test_release.py by its migrations and hooks, test_bad_input.py by services that exit,
#: never get healthy or find no port; or the row before it.
ELSEWHERE = ("failing migration", "failing hook after", "exits after 1.5 s", "missing binary", "never healthy")
ROWS = [fault for fault in FAULTS if fault.name not in ELSEWHERE]


@pytest.fixture(scope="module")
def stage(make_project: MakeProject) -> Stage:
    return Stage(make_project())


def right(row: Row) -> None:
    assert not row.problems, "\n".join([Row.HEADER, str(row), *row.problems])


@pytest.mark.parametrize("fault", ROWS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault(fault: Fault, stage: Stage) -> None:
    right(stage.row(fault))
