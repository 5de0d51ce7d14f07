"""Proves a copy in a thread of its own, beside the reading of the same file: a snapshot takes as long as the longer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from orchestrator.agent.database import Facts, check_database
from orchestrator.agent.events import INTERVAL


class _GivenUpError(Exception):
    """Nobody wants to know any more."""


@contextmanager
def proving(copy: Path, name: str, advance: Callable[[int], None]) -> Iterator[Callable[[], Facts]]:
    """Runs check_database while the block does something else; what the block gets waits for the result, or raises what
    the check raised, and calls `advance(0)` meanwhile. A block that fails does not wait: the check is given up.
    """
    over = threading.Event()

    def breathe(_count: int) -> None:
        if over.is_set():
            raise _GivenUpError

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(check_database, copy, name, breathe)

        def result() -> Facts:
            while not wait([running], INTERVAL).done:
                advance(0)
            return running.result()

        try:
            yield result
        finally:
            over.set()
