"""deploy, plan and down as a whole, on the engine in memory: the result's JSON for each end."""

from __future__ import annotations

import io
import shutil
from datetime import datetime, tzinfo
from itertools import count
from pathlib import Path

import pytest

from orchestrator import deploy as verbs
from orchestrator import lock
from orchestrator.deploy import Session
from orchestrator.errors import Locked, OrchestratorError, RolledBack
from orchestrator.report import Reporter
from orchestrator.settings import load
from orchestrator.stack import build_stack
from tests.unit.memory_engine import MemoryEngine, Script
from tests.unit.stacks import ROOT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("service", "config", "orchestrator"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plan is made a minute after the last one: names of releases hold the second."""
    minutes = count()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls(2026, 11, 24, 12, next(minutes), tzinfo=tz)

    monkeypatch.setattr("orchestrator.plan.datetime", Clock)


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine({"python:3.13-alpine": "sha256:p", "nginx:alpine": "sha256:n"})


def session(root: Path, engine: MemoryEngine, **environ: str) -> Session:
    settings = load(root, "production", environ)
    return Session(settings, build_stack(settings), engine, Reporter(io.StringIO()))


def test_first_deploy_then_nothing_then_a_change(root: Path, engine: MemoryEngine) -> None:
    planned = [step["step"] for step in verbs.plan(session(root, engine))["steps"]]
    assert planned[:4] == ["build-image", "build-image", "build-image", "create-network"]
    first = verbs.deploy(session(root, engine))
    assert (first["result"], first["previous"], first["url"]) == ("changed", "", "http://127.0.0.1:8080/")
    assert [step["step"] for step in first["steps"]] == planned, "the plan is what is done"
    assert all(step["seconds"] >= 0 for step in first["steps"]), "each with its time, the builds too"
    assert engine.serving()
    assert not [c for c in engine.containers.values() if c.name.endswith("-lock")]
    second = verbs.deploy(session(root, engine))
    assert (second["result"], second["release"], second["steps"]) == ("unchanged", first["release"], [])
    assert verbs.plan(session(root, engine)) == {"steps": []}
    changed = verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    assert (changed["result"], changed["previous"]) == ("changed", first["release"])
    assert changed["warnings"] == []


def test_nothing_is_taken_when_there_is_nothing_to_do(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    engine.calls.clear()
    verbs.deploy(session(root, engine))
    assert not [call for call in engine.calls if call.split()[0] not in ("observe", "image")]


def test_rolled_back(root: Path, engine: MemoryEngine) -> None:
    first = verbs.deploy(session(root, engine))
    engine.scripts["app"] = Script(exits=1)
    with pytest.raises(RolledBack, match="app exited with code 1") as caught:
        verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    outcome = caught.value.outcome
    assert (outcome["result"], outcome["release"]) == ("rolled_back", first["release"])
    assert outcome["seconds"] >= 0
    assert engine.serving()


def test_failed_first_deploy(root: Path, engine: MemoryEngine) -> None:
    engine.scripts["app"] = Script(exits=1)
    with pytest.raises(OrchestratorError, match="failed with code 1") as caught:
        verbs.deploy(session(root, engine))
    assert (caught.value.outcome["result"], caught.value.outcome["release"]) == ("failed", "")
    assert caught.value.exit_code == 1
    assert not engine.containers


def test_failed_build_changes_nothing(root: Path, engine: MemoryEngine) -> None:
    engine.build_messages = [{"error": "boom"}]
    with pytest.raises(OrchestratorError, match="could not be built: boom") as caught:
        verbs.deploy(session(root, engine))
    assert caught.value.outcome["result"] == "failed"
    assert not engine.containers
    assert not engine.networks
    assert not engine.volumes


def test_locked(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    with lock.held("golinks", "golinks-app:latest", engine, lambda _: None):
        assert verbs.deploy(session(root, engine))["result"] == "unchanged", "looking needs no lock"
        with pytest.raises(Locked) as caught:
            verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
        assert caught.value.outcome["result"] == "failed"
        with pytest.raises(Locked):
            verbs.down(session(root, engine), volumes=False)


def test_without_a_build(root: Path, engine: MemoryEngine) -> None:
    with pytest.raises(OrchestratorError, match="no image of the current files for app"):
        verbs.deploy(session(root, engine), no_build=True)
    assert not engine.builds


def test_down(root: Path, engine: MemoryEngine) -> None:
    assert verbs.down(session(root, engine), volumes=True) == {"result": "unchanged", "steps": []}
    verbs.deploy(session(root, engine))
    assert verbs.down(session(root, engine), volumes=False)["result"] == "changed"
    assert not engine.containers
    assert len(engine.volumes) == 4
    gone = verbs.down(session(root, engine), volumes=True)
    assert [step["step"] for step in gone["steps"]] == ["remove-volume"] * 4
    assert not engine.volumes


def test_warnings_are_repeated_in_the_result(root: Path, engine: MemoryEngine) -> None:
    (root / ".env").write_text("HTTP_PROT=1\n")
    assert verbs.deploy(session(root, engine))["warnings"] == [".env:1: HTTP_PROT is not used by anything"]
