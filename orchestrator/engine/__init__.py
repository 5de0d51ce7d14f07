"""The Docker engine. This package is the only one that imports Docker's SDK."""

from __future__ import annotations

from orchestrator.engine.engine import Engine, connect
from orchestrator.engine.images import context_files

__all__ = ("Engine", "connect", "context_files")
