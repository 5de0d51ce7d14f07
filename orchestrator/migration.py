"""Before a migration: is there anything to migrate, and then a snapshot first."""

from __future__ import annotations

from orchestrator import agent_run
from orchestrator.engine import Engine
from orchestrator.errors import OrchestratorError
from orchestrator.report import Reporter
from orchestrator.steps import SnapshotBeforeMigration

#: What `migrate_check` answers.
NOTHING_TO_DO, PENDING = 0, 3
CHECK_TIMEOUT = 120.0


def snapshot_before(step: SnapshotBeforeMigration, engine: Engine, report: Reporter) -> None:
    """Takes a snapshot if there is something to migrate; `report.facts` gets `migrated` and `snapshot`."""
    if step.check is not None and not _pending(step, engine):
        return
    report.facts["migrated"] = True
    name = step.snapshot_container
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


def _pending(step: SnapshotBeforeMigration, engine: Engine) -> bool:
    with agent_run.container(step.target, step.check or {}, engine) as name:
        engine.start_container(name)
        code = engine.wait(name, CHECK_TIMEOUT)
        if code not in (NOTHING_TO_DO, PENDING):
            raise OrchestratorError(
                f"the check whether there is something to migrate ended with code {code}.",
                hint="migrate_check must end with 0 (nothing to do) or 3 (something to do).",
                detail=tuple(engine.logs(name)[-10:]),
            )
        return code == PENDING
