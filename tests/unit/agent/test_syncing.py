"""Syncing beside the writing: in amounts, all of it in the end, and no error of the disk is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from orchestrator.agent.syncing import SYNC_EVERY, syncing


def test_in_amounts_and_all_of_it_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: seen.append("amount"))
    monkeypatch.setattr(os, "fsync", lambda _: seen.append("end"))
    with (tmp_path / "x").open("wb") as file, syncing(file.fileno()) as syncer:
        for _ in range(5):
            syncer.wrote(SYNC_EVERY // 2)
        syncer.finish()
    assert seen == ["amount", "amount", "end"]


@pytest.mark.parametrize("late", [False, True], ids=["with the next amount", "at the end"])
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with (tmp_path / "x").open("wb") as file, syncing(file.fileno()) as syncer:
        syncer.wrote(SYNC_EVERY)
        with pytest.raises(OSError, match="No space"):
            syncer.finish() if late else syncer.wrote(SYNC_EVERY)


def test_given_up_it_lets_the_file_go(tmp_path: Path) -> None:
    with pytest.raises(KeyError), (tmp_path / "x").open("wb") as file, syncing(file.fileno()) as syncer:
        file.write(bytes(SYNC_EVERY))
        syncer.wrote(SYNC_EVERY)
        raise KeyError
    assert (tmp_path / "x").stat().st_size == SYNC_EVERY
