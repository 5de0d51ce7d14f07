"""The orchestrator is killed after its engine calls; the next `deploy` puts everything right, and nobody notices.

After each `RELEASE`th call of a release, and each `OTHERS`th of the other scenarios: a sample of what `python -m
tests.bench kill` does, which is all of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import docker
import pytest

from tests import kill
from tests.engine.stack import Project, copy_checkout, removed

pytestmark = pytest.mark.engine

RELEASE, OTHERS = 16, 43


@pytest.mark.parametrize("scenario", kill.SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_killed(
    scenario: kill.Scenario,
    client: docker.DockerClient,
    bases: Mapping[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    every = RELEASE if scenario.name == "release" else OTHERS
    with removed(Project(client, bases, copy_checkout(tmp_path))) as project:
        outcome = kill.Runs(scenario, project, kill.say)(every)
    with capsys.disabled():
        print(f"\n{scenario.name}: of {outcome.calls} calls killed after {', '.join(map(str, outcome.killed))}")
    assert outcome.right, "\n".join([kill.HEADER, outcome.row(), *outcome.evidence()])
    assert len(outcome.killed) >= outcome.calls // every - 1
