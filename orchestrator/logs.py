"""logs and exec: what the containers say, and a command inside one."""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TextIO

from orchestrator import log_lines, style
from orchestrator.arguments import LEVELS
from orchestrator.engine import Engine
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.model import Stack
from orchestrator.release import live_container
from orchestrator.session import Session
from orchestrator.state import Observed, ObservedContainer

#: Lines of each container, where nothing else is said.
TAIL = 200


def containers(session: Session, observed: Observed, service: str | None) -> tuple[ObservedContainer, ...]:
    """The containers of one service, or of all; UsageError names the services there are."""
    names = [spec.name for spec in session.stack.services if spec.replicas]
    if service is not None and service not in names:
        raise UsageError(f"there is no service {service!r}.", hint=f"one of: {', '.join(names)}.")
    found = tuple(c for name in names if service in (None, name) for c in observed.of(name))
    if not found:
        raise OrchestratorError(f"{service or 'the stack'} has no container here.", hint="run `deploy` first.")
    return found


def lines(pieces: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    """(timestamp, text) of each line that the engine's log stream holds."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            stamp, _, text = line.decode(errors="replace").partition(" ")
            yield stamp, text
    if rest:
        stamp, _, text = rest.decode(errors="replace").partition(" ")
        yield stamp, text


@dataclass(frozen=True)
class Wanted:
    """Which lines: the last `tail` of each container (None: all), of this level (a place in LEVELS) and above, of this
    request, written since and until these moments."""

    tail: int | None = TAIL
    minimum: int | None = None
    request: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def filtered(self) -> bool:
        return self.minimum is not None or bool(self.request)


def wanted(
    *, tail: int | None, level: str | None, request: str, since: str | None, until: str | None, now: datetime
) -> Wanted:
    """The options of `logs`; without `--tail`, a filter or a time asks for all there is. Raises UsageError."""
    begin = log_lines.moment(since, "--since", now) if since else None
    end = log_lines.moment(until, "--until", now) if until else None
    if begin and end and begin >= end:
        raise UsageError(f"--since {since} is not before --until {until}.", hint="exchange them.")
    minimum = LEVELS.index(level) if level else None
    asked = minimum is not None or request or begin or end
    return Wanted(tail or (None if asked else TAIL), minimum, request, begin, end)


class _Printer:
    """Writes lines with their service before them: as they are, or on a terminal as people read them."""

    def __init__(self, stack: Stack, found: tuple[ObservedContainer, ...], out: TextIO) -> None:
        width = max(len(container.service) for container in found)
        self.out = out
        self.for_people = style.is_terminal(out)
        colours = itertools.cycle(style.SERVICES)
        self.prefix = {spec.name: style.paint(f"{spec.name:<{width}} |", next(colours), out) for spec in stack.services}
        self._lock = threading.Lock()

    def __call__(self, service: str, stamp: str, text: str) -> None:
        if self.for_people:
            text = log_lines.readable(stamp, text, lambda part, colour: style.paint(part, colour, self.out))
        with self._lock:
            for line in text.split("\n"):
                print(self.prefix[service], line, file=self.out)
            self.out.flush()


def _lines(container: ObservedContainer, engine: Engine, want: Wanted, *, follow: bool) -> Iterator[tuple[str, str]]:
    """(timestamp, text) of a container's lines that are wanted, in their order."""
    # The engine counts before it looks at the time, and knows no filter; of lines to come, there are no last ones.
    counted = want.tail if (want.filtered or want.until) and not follow else None
    pieces = engine.follow(
        container.name, tail=None if counted else want.tail, follow=follow, since=want.since, until=want.until
    )
    passes = log_lines.Filter(want.minimum, want.request)
    found = ((stamp, text) for stamp, text in lines(pieces) if passes(text))
    return iter(deque(found, counted)) if counted else found


def logs(session: Session, service: str | None, want: Wanted, *, follow: bool, out: TextIO = sys.stdout) -> None:
    """Prints the logs of one service or all, each line with its service; in order of time, or as they come."""
    found = containers(session, session.engine.observe(session.stack.project), service)
    show = _Printer(session.stack, found, out)
    if not follow:

        def named(container: ObservedContainer) -> Iterator[tuple[str, str, str]]:
            for stamp, text in _lines(container, session.engine, want, follow=False):
                yield stamp, container.service, text

        # Each container's lines come in their order already, so nothing is held in memory to sort it.
        for stamp, name, text in heapq.merge(*map(named, found), key=lambda entry: entry[0]):
            show(name, stamp, text)
        return
    failures: list[OrchestratorError] = []
    closed = threading.Event()

    def pump(container: ObservedContainer) -> None:
        try:
            # A connection each: the engine's answer to a follow never ends.
            for stamp, text in _lines(container, session.engine.twin(), want, follow=True):
                show(container.service, stamp, text)
        except OrchestratorError as error:
            failures.append(error)
        except BrokenPipeError:
            closed.set()  # whoever read has had enough (`| head`): the quiet containers need not speak first

    threads = [threading.Thread(target=pump, args=(container,), daemon=True) for container in found]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not closed.is_set():
        closed.wait(0.05)
    if closed.is_set():
        raise BrokenPipeError
    if failures:
        raise failures[0]


def execute(session: Session, service: str, command: list[str]) -> int:
    """Runs a command in a service's running container, on a terminal interactively; its exit code.

    What comes through a pipe or from a file is its input.
    """
    observed = session.engine.observe(session.stack.project)
    found = [c for c in containers(session, observed, service) if c.running]
    live = live_container(session.stack, observed)
    if not found:
        raise OrchestratorError(f"{service} is not running.", hint="see `status` and `logs`.")
    chosen = live if live in found and live else found[-1]
    if sys.stdin.isatty() and sys.stdout.isatty():
        from orchestrator import terminal

        return terminal.attach(session.engine, chosen.name, command)
    given = _input() if session.engine.takes_input else None
    return session.engine.stream_in(chosen.name, command, sys.stdout.buffer, sys.stderr.buffer, given)


def _input() -> int | None:
    """The descriptor of our input, unless that is a terminal, or there is none."""
    try:
        return None if sys.stdin.isatty() else sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or not a file
        return None
