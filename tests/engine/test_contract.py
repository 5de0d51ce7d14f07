"""The contract that the engine in memory keeps, on the real engine."""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import pytest

from orchestrator.engine import connect
from tests.unit.contract import TESTS, Contract

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def contract(bases: Mapping[str, str]) -> Iterator[Contract]:
    """On a project of its own; each check removes what it makes."""
    engine = connect(os.environ)
    with closing(engine.api):
        yield Contract(engine, bases["PYTHON_IMAGE"], f"ut-{secrets.token_hex(3)}")


@pytest.mark.parametrize("check", TESTS.values(), ids=TESTS)
def test_contract(contract: Contract, check: Callable[[Contract], None]) -> None:
    check(contract)
    gc.collect()  # a connection that was left open warns here, and not in some later test
    left = contract.engine.observe(contract.project)
    assert (left.containers, left.networks) == ((), ())
