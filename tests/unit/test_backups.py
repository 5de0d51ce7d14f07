"""Snapshots from the orchestrator's side: the agent's container, its words, and the copy on the host."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator import backups, labels
from orchestrator.agent_run import _messages
from orchestrator.backups import _Stream
from orchestrator.errors import NoEngine, OrchestratorError, UsageError
from orchestrator.report import Reporter
from orchestrator.session import Session
from orchestrator.settings import load
from tests.unit.memory_engine import MemoryEngine, Script
from tests.unit.stacks import RELEASE, ROOT, STACK, deployed, engine

DATA = b"archive" * 1000
NAME = "20261124T101502Z"
DONE = {
    "event": "done",
    "snapshot": NAME,
    "bytes": len(DATA),
    "sha256": hashlib.sha256(DATA).hexdigest(),
    "databases": [{"path": "links.db", "integrity": "ok"}],
    "seconds": 0.1,
    "warnings": ["the disk is slow"],
}


def agent(target: MemoryEngine, *messages: Any, code: int = 0) -> Session:
    """A session whose agents say these lines and end."""
    out = tuple(message if isinstance(message, str) else json.dumps(message) for message in messages)
    for words in ("list", f"snapshot --reason manual --release {RELEASE}", "snapshot --reason manual --release "):
        target.scripts[words] = Script(exits=code, out=out)
    target.volumes["shop_backups"] = {f"{NAME}.tar.zst": DATA}
    return Session(load(ROOT, "production", {}), STACK, target, Reporter(io.StringIO()))


def test_snapshot() -> None:
    target = deployed()
    session = agent(target, {"event": "progress", "phase": "copy", "bytes": 1, "total": 2}, "noise", DONE)
    found = backups.backup(session, None)
    assert found == {key: DONE[key] for key in ("snapshot", "bytes", "sha256", "databases", "seconds", "warnings")}
    made = next(call for call in target.calls if call.startswith("create_container shop-backup-run-"))
    assert f"remove_container {made.split()[1]}" in target.calls
    assert len(target.containers) == 3


def test_the_agents_container() -> None:
    target = deployed()
    bodies: list[Any] = []
    target.watch = lambda _: bodies.extend(c.body for c in target.containers.values() if "-run-" in c.name)
    backups.backup(agent(target, DONE), None)
    body = bodies[0]
    assert body["Labels"][labels.ROLE] == labels.ROLE_AGENT
    assert body["HostConfig"]["NetworkMode"] == "none"
    assert body["Cmd"] == ["snapshot", "--reason", "manual", "--release", RELEASE]
    assert {m["Target"]: m["ReadOnly"] for m in body["HostConfig"]["Mounts"]} == {"/data": True, "/backups": False}


def test_copy_on_the_host(tmp_path: Path) -> None:
    found = backups.backup(agent(deployed(), DONE), tmp_path)
    assert found["file"] == str(tmp_path / f"{NAME}.tar.zst")
    assert Path(found["file"]).read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}.tar.zst"]


def test_copy_that_is_not_what_the_agent_wrote(tmp_path: Path) -> None:
    session = agent(deployed(), DONE | {"sha256": "0" * 64})
    with pytest.raises(OrchestratorError, match="is not what the agent wrote"):
        backups.backup(session, tmp_path)
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OrchestratorError, match=f"the snapshot {NAME} was taken, but not copied .*No space") as caught:
        backups.backup(agent(deployed(), DONE), tmp_path)
    assert "kept in the backups volume" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [NoEngine("gone"), KeyboardInterrupt()], ids=lambda error: type(error).__name__)
def test_interrupted_copy_leaves_no_file_and_no_container(tmp_path: Path, error: BaseException) -> None:
    target = deployed()
    session = agent(target, DONE)
    target.fails = lambda _, call, after: error if call.startswith("archive") and not after else None
    old = tmp_path / f"{NAME}.tar.zst"
    old.write_bytes(b"an older copy")
    with pytest.raises(type(error)):
        backups.backup(session, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert len(target.containers) == 3


def test_folder_is_looked_at_before_any_work(tmp_path: Path) -> None:
    target = deployed()
    session = agent(target, DONE)
    before = len(target.calls)
    with pytest.raises(UsageError, match="there is no such folder") as caught:
        backups.backup(session, tmp_path / "no")
    assert "mkdir -p" in caught.value.hint
    assert len(target.calls) == before


def test_agents_error_is_ours() -> None:
    session = agent(deployed(), {"event": "error", "message": "no database in /data.", "hint": "deploy first."}, code=1)
    with pytest.raises(OrchestratorError, match="no database in /data") as caught:
        backups.backup(session, None)
    assert caught.value.hint == "deploy first."


@pytest.mark.parametrize(("said", "code"), [([], 0), ([DONE], 137), (["Traceback", "boom"], 1)])
def test_agent_that_does_not_end_well(said: list[Any], code: int) -> None:
    target = deployed()
    with pytest.raises(OrchestratorError, match=f"the backup agent ended with code {code}"):
        backups.backup(agent(target, *said, code=code), None)
    assert len(target.containers) == 3


def test_list() -> None:
    session = agent(deployed(), {"event": "done", "snapshots": [{"snapshot": "b"}, {"snapshot": "a"}]})
    assert backups.backups(session) == {"snapshots": [{"snapshot": "b"}, {"snapshot": "a"}]}


def test_nothing_to_back_up() -> None:
    with pytest.raises(OrchestratorError, match="there is nothing of project shop"):
        backups.backups(agent(engine(), DONE))


def test_data_without_containers_is_listed_with_the_newest_image() -> None:
    target = engine()
    target.volumes["shop_data"] = {}
    target.images["shop-backup:latest"] = "sha256:latest"
    session = agent(target, {"event": "done", "snapshots": []})
    assert backups.backups(session) == {"snapshots": []}


def test_messages_are_lines_however_they_arrive() -> None:
    pieces = [b'{"a"', b': 1}\n{"b": 2}\nnot json\n[1]\n', b'"text"\n{"c":', b" 3}\n", b'{"cut off', b""]
    assert list(_messages(iter(pieces))) == [{"a": 1}, {"b": 2}, {"c": 3}]


@pytest.mark.parametrize("count", [1, 3, 7, 100])
def test_stream(count: int) -> None:
    data = bytes(range(256))
    stream = _Stream(iter([data[:5], data[5:6], data[6:200], data[200:]]))
    found = b""
    while piece := stream.read(count):
        assert len(piece) == min(count, 256 - len(found))
        found += piece
    assert found == data
    assert _Stream(iter([b"a", b"b"])).read() == b"ab"
