"""What every unit test has: the engine in memory changes nothing while a test waits, so nothing is waited for long."""

from __future__ import annotations

import pytest

from orchestrator import perform


@pytest.fixture(autouse=True)
def _same_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "PROOF", 0.01)
    monkeypatch.setattr(perform, "TRY_AGAIN", 0.005)
    monkeypatch.setattr(perform, "PORT_ANSWERS", 0.01)
