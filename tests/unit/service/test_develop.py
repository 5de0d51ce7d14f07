"""The starter for development, apart from what only a running one shows: tests/engine/test_development.py."""

from __future__ import annotations

import logging

import pytest
from werkzeug.test import Client

from service import develop


def test_code_that_cannot_be_loaded_is_raised_for_the_debugger() -> None:
    client = Client(develop.failing(SyntaxError("half a line")))
    with pytest.raises(SyntaxError, match="half a line"):
        client.get("/")
    with pytest.raises(SyntaxError, match="half a line"):
        client.get("/health/")


def test_whoever_looks_after_the_container_is_told_in_one_line() -> None:
    answer = Client(develop.failing(SyntaxError("half a line"))).get("/health")
    assert (answer.status_code, answer.text) == (503, "SyntaxError: half a line")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (" * Running on http://127.0.0.1:8000", False),
        ("Press CTRL+C to quit", False),
        (" * Debugger PIN: %s", True),
        (" * Detected change in 'x.py', reloading", True),
    ],
)
def test_addresses_of_the_container_are_not_told(line: str, *, kept: bool) -> None:
    assert develop.told(logging.LogRecord("werkzeug", logging.INFO, "", 0, line, (), None)) == kept
