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
from orchestrator import maintenance as maintenance_verb
from orchestrator import releases as releases_verb
from orchestrator.errors import EngineError, Interrupted, Locked, OrchestratorError, RolledBack, UsageError
from orchestrator.history import Record
from orchestrator.report import Reporter
from orchestrator.session import Session
from orchestrator.settings import load
from orchestrator.stack import build_stack
from tests.unit.memory_engine import SNAPSHOT, Killed, MemoryEngine, Script
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
    assert {call.split()[0] for call in engine.calls} <= {"observe", "image", "inspect", "version", "read_folder"}


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


# The history, and going back in it

CHECK = "python -m service.migrate --check"


def records(engine: MemoryEngine) -> tuple[Record, ...]:
    return engine.observe("golinks").records


def change(root: Path, text: str) -> None:
    """Another app: its image is built anew."""
    (root / "service/new.py").write_text(f"# {text}\n")


def fail_at(engine: MemoryEngine, call: str, error: BaseException) -> None:
    engine.fails = lambda _, doing, after: error if doing.startswith(call) and not after else None


def test_a_deployment_is_noted_with_who_did_it(root: Path, engine: MemoryEngine) -> None:
    first = verbs.deploy(session(root, engine))
    second = verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    owner = lock.owner()
    one, two = records(engine)
    assert (one.release, one.result, one.previous) == (first["release"], "deployed", "")
    assert (two.release, two.result, two.previous) == (second["release"], "deployed", first["release"])
    assert {(r.user, r.host, r.action) for r in (one, two)} == {(owner["user"], owner["host"], "deploy")}


def test_a_release_that_was_rolled_back_is_noted_as_such(root: Path, engine: MemoryEngine) -> None:
    first = verbs.deploy(session(root, engine))
    engine.scripts["app"] = Script(exits=1)
    with pytest.raises(RolledBack):
        verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    *_, noted = records(engine)
    assert (noted.result, noted.reason, noted.previous) == ("rolled_back", "app exited with code 1.", first["release"])
    assert noted.release != first["release"]
    assert noted.user == lock.owner()["user"]
    engine.scripts.clear()
    assert verbs.deploy(session(root, engine))["result"] == "unchanged"


def test_a_release_that_failed_where_nothing_served_is_noted_as_such(root: Path, engine: MemoryEngine) -> None:
    first = verbs.deploy(session(root, engine))
    engine.containers = {key: c for key, c in engine.containers.items() if c.service != "app"}
    engine.scripts["app"] = Script(exits=1)
    with pytest.raises(OrchestratorError) as caught:
        verbs.deploy(session(root, engine))
    assert caught.value.outcome["result"] == "failed"
    assert [record.result for record in records(engine)] == ["deployed", "failed"]
    assert records(engine)[1].previous == first["release"]


def test_a_failure_that_can_not_be_noted_is_told_as_itself(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    engine.scripts["app"] = Script(exits=1)
    fail_at(engine, "write_files golinks-proxy-1", EngineError("the disk is full."))
    with pytest.raises(RolledBack, match="app exited with code 1"):
        verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    assert len(records(engine)) == 1


def killed_before_the_switch(root: Path, engine: MemoryEngine) -> None:
    """A deployment that leaves a candidate behind, and whose lock has gone."""
    fail_at(engine, "run_in golinks-proxy-1 /etc/nginx/use upstream", Killed())
    with pytest.raises(Killed):
        verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    engine.fails = lambda *_: None
    engine.remove_container("golinks-deploy-lock")


def test_a_run_that_was_killed_is_noted_by_the_next_that_does_not_finish_it(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    killed_before_the_switch(root, engine)
    (candidate,) = (c.release for c in engine.observe("golinks").of("app") if c.release != records(engine)[0].release)
    verbs.deploy(session(root, engine, LOG_LEVEL="error"))
    assert {record.release: record.result for record in records(engine)}[candidate] == "interrupted"
    assert sorted(record.result for record in records(engine)) == ["deployed", "deployed", "interrupted"]


def test_a_killed_run_that_the_next_one_finishes_is_no_interrupted_one(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    killed_before_the_switch(root, engine)
    assert verbs.deploy(session(root, engine, LOG_LEVEL="debug"))["result"] == "changed"
    assert [record.result for record in records(engine)] == ["deployed", "deployed"]


def test_a_migration_is_noted_with_its_snapshot(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    engine.scripts[CHECK] = Script(exits=3)
    change(root, "more")
    outcome = verbs.deploy(session(root, engine))
    assert (outcome["migrated"], outcome["snapshot"]) == (True, SNAPSHOT)
    assert [(record.migrated, record.snapshot) for record in records(engine)] == [(False, ""), (True, SNAPSHOT)]


def test_a_failure_after_a_migration_names_the_snapshot(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    engine.scripts |= {CHECK: Script(exits=3), "python -m service.migrate": Script(exits=1)}
    change(root, "more")
    with pytest.raises(RolledBack) as caught:
        verbs.deploy(session(root, engine))
    assert f"the snapshot {SNAPSHOT} was taken before the migration" in caught.value.detail[-1]
    assert (records(engine)[-1].result, records(engine)[-1].snapshot) == ("rolled_back", SNAPSHOT)


def test_ctrl_c_in_the_clean_up_is_a_changed_stack(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    fail_at(engine, "run_in golinks-proxy-1 /etc/nginx/use drained", KeyboardInterrupt())
    with pytest.raises(Interrupted) as caught:
        verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    assert (caught.value.outcome["result"], records(engine)[-1].result) == ("changed", "deployed")


def test_rollback_and_back_again(root: Path, engine: MemoryEngine) -> None:
    first = verbs.deploy(session(root, engine))
    change(root, "more")
    second = verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    builds = len(engine.builds)
    outcome = verbs.rollback(session(root, engine, LOG_LEVEL="debug"))
    assert (outcome["result"], outcome["release"], outcome["previous"]) == (
        "changed",
        first["release"],
        second["release"],
    )
    assert "build-image" not in [step["step"] for step in outcome["steps"]]
    assert len(engine.builds) == builds
    (app,) = (c for c in engine.containers.values() if c.service == "app")
    assert "LOG_LEVEL=info" in app.body["Env"], "its settings, too"
    assert (records(engine)[-1].action, records(engine)[-1].user) == ("rollback", lock.owner()["user"])
    with pytest.raises(OrchestratorError, match="no earlier good release"):
        verbs.rollback(session(root, engine))
    assert verbs.rollback(session(root, engine), second["release"])["release"] == second["release"]
    assert verbs.rollback(session(root, engine), first["release"][:15])["release"] == first["release"]
    again = verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    assert again["result"] == "changed", "the settings are what they were before the rollback"


def test_rollback_warns_of_what_it_does_not_take_back(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    engine.scripts[CHECK] = Script(exits=3)
    change(root, "more")
    second = verbs.deploy(session(root, engine))
    outcome = verbs.rollback(session(root, engine, DATABASE_URL="sqlite:////data/other.db"))
    assert outcome["warnings"] == [
        "secret values are today's: DATABASE_URL",
        f"the schema has moved since: {second['release']} migrated it; snapshot {SNAPSHOT} was taken before. "
        "The data stays as it is",
    ]


def test_rollback_over_a_migration_is_asked_before(root: Path, engine: MemoryEngine) -> None:
    first = verbs.deploy(session(root, engine))
    engine.scripts[CHECK] = Script(exits=3)
    change(root, "more")
    second = verbs.deploy(session(root, engine))
    asked: list[str] = []

    def no(question: str) -> None:
        asked.append(question)
        raise UsageError("nothing was done.")

    calls = len(engine.calls)
    with pytest.raises(UsageError):
        verbs.rollback(session(root, engine), "", no)
    assert asked == [f"Go back to {first['release']}, which was made for the older schema?"]
    assert not [call for call in engine.calls[calls:] if call.startswith(("create", "start", "stop", "remove"))]
    del engine.scripts[CHECK]
    change(root, "even more")
    third = verbs.deploy(session(root, engine))
    assert verbs.rollback(session(root, engine), "", no)["release"] == second["release"], "the schema is the same"
    assert third["release"] != second["release"]


def test_rollback_by_the_images_id_where_its_name_is_another_ones_now(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    change(root, "more")
    verbs.deploy(session(root, engine))
    old = records(engine)[0]
    engine.images["kept:1"] = engine.images.pop(old.image)
    outcome = verbs.rollback(session(root, engine))
    assert outcome["release"] == old.release
    (app,) = (c for c in engine.containers.values() if c.service == "app")
    assert (app.image_id, app.body["Image"]) == (old.image_id, old.image_id)


def test_rollback_that_fails_leaves_the_newer_one(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    second = verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    engine.scripts["app"] = Script(exits=1)
    with pytest.raises(RolledBack) as caught:
        verbs.rollback(session(root, engine))
    assert caught.value.outcome["release"] == second["release"]
    assert (records(engine)[-1].action, records(engine)[-1].result) == ("rollback", "rolled_back")


def test_no_rollback(root: Path, engine: MemoryEngine) -> None:
    with pytest.raises(OrchestratorError, match="no release serves, so there is nothing to go back from"):
        verbs.rollback(session(root, engine))
    verbs.deploy(session(root, engine))
    with pytest.raises(OrchestratorError, match="no earlier good release"):
        verbs.rollback(session(root, engine))
    with pytest.raises(UsageError, match="nonsense is no release of this project"):
        verbs.rollback(session(root, engine), "nonsense")


# releases and maintenance


def test_list_of_releases(root: Path, engine: MemoryEngine) -> None:
    assert releases_verb.releases(session(root, engine)) == {"releases": []}
    assert releases_verb.text({"releases": []}) == "no releases yet"
    first = verbs.deploy(session(root, engine))
    verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    engine.scripts["app"] = Script(exits=1)
    with pytest.raises(RolledBack):
        verbs.deploy(session(root, engine, LOG_LEVEL="error", DATABASE_URL="sqlite:////data/x.db"))
    engine.scripts.clear()
    verbs.rollback(session(root, engine))
    del engine.images[records(engine)[0].image]
    found = releases_verb.releases(session(root, engine))
    assert [(e["result"], e["action"], e["live"]) for e in found["releases"]] == [
        ("deployed", "rollback", True),
        ("rolled_back", "deploy", False),
        ("deployed", "deploy", False),
        ("deployed", "deploy", False),
    ], "newest first; the same release's earlier times are over"
    changes = [e["changes"] for e in found["releases"]]
    assert changes == [
        ["environment.LOG_LEVEL: debug -> info"],
        ["environment.DATABASE_URL: ******** -> ********", "environment.LOG_LEVEL: debug -> error"],
        ["environment.LOG_LEVEL: info -> debug"],
        [],
    ]
    text = releases_verb.text(found)
    rows = text.splitlines()
    assert rows[1].startswith(f"* {first['release']}  2026-11-24 ")
    assert "rolled back to" in rows[1]
    assert "failed, rolled back" in rows[2]
    assert "app exited with code 1." in rows[2]
    assert f"{lock.owner()['user']}@{lock.owner()['host']}" in rows[1]
    assert rows[-1] == "* serves now"
    assert ".db" not in text


def test_releases_says_whose_image_is_gone(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    change(root, "more")
    verbs.deploy(session(root, engine))
    engine.images = {name: image for name, image in engine.images.items() if image != records(engine)[0].image_id}
    found = releases_verb.releases(session(root, engine))
    assert [entry["image_present"] for entry in found["releases"]] == [True, False]
    assert releases_verb.text(found).count(" (gone)") == 1


def test_maintenance(root: Path, engine: MemoryEngine) -> None:
    with pytest.raises(OrchestratorError, match="no proxy runs here"):
        maintenance_verb.maintenance(session(root, engine), "on")
    assert maintenance_verb.maintenance(session(root, engine), None)["maintenance"] == "off"
    verbs.deploy(session(root, engine))
    on = maintenance_verb.maintenance(session(root, engine), "on")
    assert on["maintenance"] == "on"
    assert on["since"]
    assert maintenance_verb.maintenance(session(root, engine), "on") == on, "since the first time"
    verbs.deploy(session(root, engine, LOG_LEVEL="debug"))
    told = maintenance_verb.maintenance(session(root, engine), None)
    assert told == on, "a deployment leaves it as it is"
    assert maintenance_verb.text(told).startswith(f"maintenance is on since {on['since']}: ")
    off = maintenance_verb.maintenance(session(root, engine), "off")
    assert (off["maintenance"], off["since"]) == ("off", "")
    assert "is open" in maintenance_verb.text(off)
    assert maintenance_verb.maintenance(session(root, engine), "off") == off, "twice is once"


def test_maintenance_that_can_not_be_ended_is_told(root: Path, engine: MemoryEngine) -> None:
    verbs.deploy(session(root, engine))
    engine.commands[("rm", "-f")] = (1, "rm: read-only file system\n")
    with pytest.raises(OrchestratorError, match=r"could not be ended: rm: read-only file system\."):
        maintenance_verb.maintenance(session(root, engine), "off")
