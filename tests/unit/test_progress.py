"""Bytes and time left, as the live line tells them."""

from __future__ import annotations

import io
from typing import Any

import pytest

from orchestrator import agent_run, backups, progress
from orchestrator.report import Reporter, size
from tests.unit.stacks import deployed
from tests.unit.test_backups import DATA, DONE, agent


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [
        (50, 100, 0.9, None),
        (50, 100, 1.0, 1.0),
        (25, 100, 2.0, 6.0),
        (0, 100, 9.0, None),
        (100, 100, 9.0, None),
        (120, 100, 9.0, None),
        (5, 0, 9.0, None),
    ],
)
def test_time_left(done: int, total: int, seconds: float, expected: float | None) -> None:
    assert progress.left(done, total, seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (8.4, "8 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (7200, "2 h"), (36000, "10 h")],
)
def test_time_in_words(seconds: float, text: str) -> None:
    assert progress.shown(seconds) == f"{text} left"


def test_each_phase_has_its_own_rate() -> None:
    now = [0.0]
    told = progress.Progress(lambda: now[0])
    assert told.line("copy", 0, 4_000_000) == "copy 0 B of 4.0 MB"
    now[0] = 0.5
    assert told.line("copy", 1_000_000, 4_000_000) == "copy 1.0 MB of 4.0 MB"
    now[0] = 2.0
    assert told.line("copy", 1_000_000, 4_000_000) == "copy 1.0 MB of 4.0 MB, 6 s left"
    assert told.line("check", 0, 4_000_000) == "check 0 B of 4.0 MB"
    now[0] = 4.0
    assert told.line("check", 2_000_000, 4_000_000) == "check 2.0 MB of 4.0 MB, 2 s left"
    assert told.line("check", 0, 100) == "check 0 B of 100 B", "the next of the same name"
    now[0] = 4.5
    assert told.line("check", 50, 100) == "check 50 B of 100 B"
    assert told.line("check", 99, 0) == "check 99 B"


class Heard(Reporter):
    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.lines: list[str] = []

    def doing(self, text: str) -> None:
        self.lines.append(text)


def test_the_agent_and_the_copy_to_the_host_are_told(tmp_path: Any) -> None:
    step = {"event": "progress", "phase": "copy", "bytes": 1, "total": 2}
    session = agent(deployed(), step, {"event": "progress", "phase": "archive", "bytes": 2, "total": 2}, DONE)
    heard = Heard()
    object.__setattr__(session, "report", heard)
    backups.backup(session, tmp_path)
    assert heard.lines[:2] == ["copy 1 B of 2 B", "archive 2 B of 2 B"]
    assert heard.lines[-1] == f"copy to the host {size(len(DATA))} of {size(len(DATA))}"


def test_the_engines_version_is_told_to_the_agent() -> None:
    body = agent_run.with_engine({"Env": ["A=1"]}, deployed())
    assert body == {"Env": ["A=1", "ENGINE=20.10.24"]}
