"""Whose disk the engine's is, and what is free there."""

from __future__ import annotations

from pathlib import Path

from orchestrator import disk


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
