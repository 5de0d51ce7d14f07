"""What every verb that touches the engine works with."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.engine import Engine
from orchestrator.model import Stack
from orchestrator.report import Reporter
from orchestrator.settings import Settings


@dataclass(frozen=True)
class Session:
    """The settings, the stack they make, the engine it is on, and where progress goes."""

    settings: Settings
    stack: Stack
    engine: Engine
    report: Reporter
