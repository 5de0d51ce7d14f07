"""The migration of a database that may hold data: is there anything to do, a snapshot first, then once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator import agent_run
from orchestrator.engine import Engine
from orchestrator.errors import OrchestratorError
from orchestrator.report import Reporter
from orchestrator.steps import Migrate

#: What `migrate_check` answers.
NOTHING_TO_DO, PENDING = 0, 3
CHECK_TIMEOUT = 120.0


def migrate(step: Migrate, engine: Engine, report: Reporter) -> None:
    """Does it; `report.facts` gets `migrated` and `snapshot`. Where it fails, the database is as the migration left it:
    ours keeps nothing of a step that failed."""
    if step.check is not None:
        code, log = _run(f"{step.target}-check", step.check, CHECK_TIMEOUT, engine)
        if code == NOTHING_TO_DO:
            return
        if code != PENDING:
            raise OrchestratorError(
                f"the check whether there is something to migrate ended with code {code}.",
                hint="migrate_check must end with 0 (nothing to do) or 3 (something to do).",
                detail=log,
            )
    _snapshot(step, engine, report)
    code, log = _run(step.target, step.job, step.timeout, engine)
    if code != 0:
        raise OrchestratorError(f"the migration failed with code {code}.", detail=log)
    report.facts["migrated"] = True


def _run(name: str, body: Mapping[str, Any], timeout: float, engine: Engine) -> tuple[int, tuple[str, ...]]:
    """A command's exit code, and its last log lines if that is not 0."""
    with agent_run.container(name, body, engine):
        engine.start_container(name)
        code = engine.wait(name, timeout)
        return code, tuple(engine.logs(name)[-10:]) if code else ()


def _snapshot(step: Migrate, engine: Engine, report: Reporter) -> None:
    name = f"{step.target}-snapshot"
    with agent_run.container(name, step.snapshot, engine):
        try:
            report.facts["snapshot"] = agent_run.result(name, engine, report)["snapshot"]
        except agent_run.AgentFailedError as error:
            if error.code == "empty":
                return  # a volume without a database: nothing can be lost
            raise OrchestratorError(
                f"no snapshot could be taken before the migration: {error.message}", hint=error.hint
            ) from error
    report.say(f"snapshot {report.facts['snapshot']} was taken before the migration")
