"""Whose disk the engine's is, and what is free there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.errors import APIError

from orchestrator import disk
from orchestrator.engine.images import Images
from orchestrator.errors import EngineError


def test_a_local_engine_s_disk_is_seen(tmp_path: Path) -> None:
    found = disk.free({"DockerRootDir": str(tmp_path)}, local=True)
    assert found is not None
    assert found[0] > 0
    assert found[1] == tmp_path


def test_another_machine_s_is_not(tmp_path: Path) -> None:
    """Neither a remote engine's nor that of Docker Desktop, whose folder is not one of this machine's."""
    assert disk.free({"DockerRootDir": str(tmp_path)}, local=False) is None
    assert disk.free({"DockerRootDir": str(tmp_path / "none")}, local=True) is None
    assert disk.free({}, local=True) is None


@pytest.mark.parametrize(
    "said",
    [
        "a disk usage operation is already running",
        "NotFound: snapshot 73f88e14-view-596015456-UgCV does not exist: not found",
    ],
)
def test_what_passes_is_asked_again(said: str) -> None:
    answers: list[Any] = [APIError(said), APIError(said), {"Images": []}]

    def df() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    engine = SimpleNamespace(api=SimpleNamespace(df=df))
    assert Images.disk_usage(cast("Any", engine)) == {"Images": []}
    answers.append(APIError("permission denied"))
    with pytest.raises(EngineError, match="could not measure the disk: permission denied"):
        Images.disk_usage(cast("Any", engine))


def test_a_full_disk_is_told_also_where_nobody_has_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"DockerRootDir": str(tmp_path)}
    assert disk.hint(here, "error: 1", local=True) == ""
    assert disk.hint({}, "No space left on device", local=False).startswith("the engine's disk is full: ")
    monkeypatch.setattr(disk, "free", lambda *_, **__: (1000, tmp_path))
    assert f"is full in {tmp_path}, where 1.0 kB are free: `docker system prune`" in disk.hint(here, "", local=True)
