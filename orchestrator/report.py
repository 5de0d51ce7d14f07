"""Progress for people, on standard error: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.status import Status

#: Elsewhere than on a terminal, a step that takes longer than this is announced when it begins, in seconds' time.
SLOW = ("wait", "build", "pull", "stop", "drain", "migrate", "run hook", "undo: wait", "undo: drain")


class Reporter:
    """Prints each step with its time; keeps them for the report. `verbose` prints the quick ones as they begin, too."""

    def __init__(self, stream: TextIO | None = None, *, verbose: bool = False) -> None:
        self.stream = stream or sys.stderr
        self.verbose = verbose
        self.warnings: list[str] = []
        #: What steps found out that the outcome tells: `snapshot`, `migrated`, `interrupted_seconds`.
        self.facts: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.live = self.stream.isatty()
        self._status: Status | None = None
        self._running: list[str] = []
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """One line."""
        self._print(f"  {text}")

    def warn(self, text: str) -> None:
        """A line that the result repeats."""
        self.warnings.append(text)
        self._print(f"  warning: {text}")

    def doing(self, text: str) -> None:
        """What is going on now: the live line on a terminal, nothing elsewhere."""
        if self._status is not None:
            self._status.update(_escaped(text))

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Times one step and prints how it ended; several may go on at the same time."""
        began = time.monotonic()
        self._begin(text)
        outcome = ": failed"
        try:
            yield
            outcome = ""
        finally:
            taken = time.monotonic() - began
            self.seconds[text] = round(taken, 3)
            self._end(text, f"{taken:5.1f}s  {text}{outcome}")

    def _begin(self, text: str) -> None:
        with self._lock:
            self._running.append(text)
            if not self.live:
                if self.verbose or text.startswith(SLOW):
                    self._print(f"        {text} ...")
                return
            if self._status is None:
                from rich.console import Console

                self._status = Console(file=self.stream).status("")
                self._status.start()
            self.doing(text)

    def _end(self, text: str, line: str) -> None:
        with self._lock:
            self._running.remove(text)
            self._print(line)
            if self._status is None:
                return
            if self._running:
                self.doing(self._running[-1])
            else:
                self._status.stop()
                self._status = None

    def _print(self, text: str) -> None:
        if self._status is not None:
            self._status.console.print(_escaped(text), highlight=False)
        else:
            print(text, file=self.stream, flush=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A table for people, as text; without lines where it does not go to a terminal."""
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table

    made = Table(*columns, box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, show_edge=False)
    for row in rows:
        made.add_row(*(_escaped(cell) for cell in row))
    buffer = io.StringIO()
    console = Console(file=buffer, width=None if sys.stdout.isatty() else 200, force_terminal=sys.stdout.isatty())
    console.print(made)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def size(count: float) -> str:
    """Bytes with a unit: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def document(value: dict[str, Any]) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)
