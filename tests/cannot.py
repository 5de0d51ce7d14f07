"""What a test does that cannot be run here."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def cannot(reason: str) -> NoReturn:
    """Skipped for a person, an error where CI is set: there a missing part must not pass for a green run."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
