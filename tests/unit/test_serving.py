"""The backup service is told which release serves: when it is made, and on its volume whenever that changes."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator import deploy as verbs
from orchestrator.errors import EngineError
from tests.unit.memory_engine import MemoryEngine
from tests.unit.test_deploy import clock, engine, root, session

__all__ = ("clock", "engine", "root")
BACKUP = "golinks-backup-1"


def noted(engine: MemoryEngine) -> dict[str, str]:
    note: dict[str, str] = json.loads(engine.volumes["golinks_backups"]["serving.json"])
    return note


def test_the_backup_service_is_told_the_release(root: Path, engine: MemoryEngine) -> None:
    first = verbs.deploy(session(root, engine))["release"]
    made = engine.named(BACKUP)
    assert {f"RELEASE={first}", "ENGINE=20.10.24"} <= set(made.body["Env"])
    assert noted(engine) == {"container": made.id, "release": first, "engine": "20.10.24"}
    second = verbs.deploy(session(root, engine, LOG_LEVEL="debug"))["release"]
    assert second != first
    assert engine.named(BACKUP).id == made.id, "a release is no reason for another"
    assert noted(engine)["release"] == second
    verbs.rollback(session(root, engine))
    assert noted(engine)["release"] == first


def test_what_a_killed_run_has_not_noted_the_next_one_does(root: Path, engine: MemoryEngine) -> None:
    first = verbs.deploy(session(root, engine))["release"]
    engine.volumes["golinks_backups"].clear()
    again = verbs.deploy(session(root, engine))
    assert (again["result"], noted(engine)["release"]) == ("unchanged", first)


def test_a_note_that_cannot_be_written_fails_no_release(root: Path, engine: MemoryEngine) -> None:
    def refuse(_: int, doing: str, had_effect: bool) -> BaseException | None:
        return EngineError("full") if "serving.json" in doing and not had_effect else None

    engine.fails = refuse
    assert verbs.deploy(session(root, engine))["result"] == "changed"
    assert "serving.json" not in engine.volumes["golinks_backups"]
