"""The orchestrator is killed after its engine calls; the next `deploy` puts everything right, and nobody notices.

After each `EVERY`th call of a first deploy and of a release: a sample of what `python -m tests.bench kill`
does, which is all calls of all scenarios; `tests/unit/test_failures.py` does the same on an engine in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import docker
import pytest

from tests import kill
from tests.engine.stack import Project, copy_checkout, removed

pytestmark = pytest.mark.engine

EVERY = 16
SCENARIOS = [scenario for scenario in kill.SCENARIOS if scenario.name in ("first deploy", "release")]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_killed(
    scenario: kill.Scenario,
    client: docker.DockerClient,
    bases: Mapping[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with removed(Project(client, bases, copy_checkout(tmp_path))) as project:
        outcome = kill.Runs(scenario, project, kill.say)(EVERY)
    with capsys.disabled():
        print(f"\n{scenario.name}: of {outcome.calls} calls killed after {', '.join(map(str, outcome.killed))}")
    assert outcome.right, "\n".join([kill.HEADER, outcome.row(), *outcome.evidence()])
    assert len(outcome.killed) >= outcome.calls // EVERY - 1
