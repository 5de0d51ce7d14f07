"""Progress for people, on standard error: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from orchestrator.style import harmless, has_colour, is_terminal, paint

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

#: Elsewhere than on a terminal, a step that takes longer than this is announced when it begins, in seconds' time.
SLOW = ("wait", "build", "pull", "stop", "drain", "migrate", "run hook", "undo: wait", "undo: drain")


@dataclass
class _Running:
    """A step that goes on, and what it is at just now."""

    text: str
    began: float
    thread: int
    detail: str = ""


class _Display:
    """What the live display shows: a line for each step that goes on, with the seconds that it has taken."""

    def __init__(self, running: list[_Running]) -> None:
        from rich.spinner import Spinner

        self._running, self._spinner = running, Spinner("dots")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        now, at = time.monotonic(), console.get_time()
        for step in tuple(self._running):
            line = Text(f"{now - step.began:5.1f}s ", "dim").append(f"{self._spinner.render(at)} {step.text}", "none")
            if step.detail:
                line.append(f": {harmless(step.detail)}", "dim")
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line


class Reporter:
    """Prints each step with its time; keeps them for the report. `verbose` prints the quick ones as they begin, too."""

    def __init__(self, stream: TextIO | None = None, *, verbose: bool = False) -> None:
        self.stream = stream or sys.stderr
        self.verbose = verbose
        self.warnings: list[str] = []
        #: What steps found out that the outcome tells: `snapshot`, `migrated`, `interrupted_seconds`.
        self.facts: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.live = is_terminal(self.stream)
        self._display: Live | None = None
        self._running: list[_Running] = []
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """One line."""
        self._print(f"  {text}")

    def warn(self, text: str) -> None:
        """A line that the result repeats."""
        self.warnings.append(text)
        self._print(f"  warning: {text}", "yellow")

    def doing(self, text: str) -> None:
        """What the step of this thread is at now: shown on a terminal, nothing elsewhere."""
        mine = [step for step in self._running if step.thread == threading.get_ident()] or self._running
        if mine:
            mine[-1].detail = text

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Times one step and prints how it ended; several may go on at the same time."""
        step = _Running(text, time.monotonic(), threading.get_ident())
        self._begin(step)
        outcome = ": failed"
        try:
            yield
            outcome = ""
        finally:
            taken = time.monotonic() - step.began
            self.seconds[text] = round(taken, 3)
            self._end(step, f"{taken:5.1f}s  {text}{outcome}", "red" if outcome else "")

    def _draw(self) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self.stream, highlight=False)
        self._display = Live(_Display(self._running), console=console, refresh_per_second=8, transient=True)
        self._display.start()

    def _begin(self, step: _Running) -> None:
        with self._lock:
            self._running.append(step)
            if not self.live:
                if self.verbose or step.text.startswith(SLOW):
                    self._print(f"        {step.text} ...")
            elif self._display is None:
                self._draw()

    def _end(self, step: _Running, line: str, colour: str) -> None:
        with self._lock:
            self._running.remove(step)
            self._print(line, colour)
            if self._display is not None and not self._running:
                self._display.stop()
                self._display = None

    def _print(self, text: str, colour: str = "") -> None:
        if self._display is not None:
            from rich.text import Text

            self._display.console.print(Text(text, colour))
        else:
            print(paint(text, colour, self.stream), file=self.stream, flush=True)


def table(columns: list[str], rows: Sequence[Sequence[str | tuple[str, str]]]) -> str:
    """A table for people, as text; without lines where it does not go to a terminal. A cell may be a text and its
    colour."""
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = is_terminal(sys.stdout)
    made = Table(*columns, box=box.SIMPLE_HEAD if drawn else None, pad_edge=False, show_edge=False)
    for row in rows:
        made.add_row(*(Text(cell) if isinstance(cell, str) else Text(*cell) for cell in row))
    buffer = io.StringIO()
    console = Console(
        file=buffer, width=None if drawn else 200, force_terminal=drawn, no_color=not has_colour(sys.stdout)
    )
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
