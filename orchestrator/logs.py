"""logs and exec: what the containers say, and a command inside one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.release import live_container
from orchestrator.session import Session
from orchestrator.state import Observed, ObservedContainer


def containers(session: Session, observed: Observed, service: str | None) -> tuple[ObservedContainer, ...]:
    """The containers of one service, or of all; UsageError names the services there are."""
    names = [spec.name for spec in session.stack.services]
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


def logs(session: Session, service: str | None, *, tail: int, follow: bool, out: TextIO = sys.stdout) -> None:
    """Prints the logs of one service or all, each line with its service; in order of time, or as they come."""
    found = containers(session, session.engine.observe(session.stack.project), service)
    width = max(len(container.service) for container in found)
    if not follow:
        merged = [
            (stamp, container.service, text)
            for container in found
            for stamp, text in lines(session.engine.follow(container.name, tail=tail, follow=False))
        ]
        for _, name, text in sorted(merged, key=lambda entry: entry[0]):
            print(f"{name:<{width}} | {text}", file=out)
        return
    failures: list[OrchestratorError] = []
    closed = threading.Event()

    def pump(container: ObservedContainer) -> None:
        try:
            # A connection each: the engine's answer to a follow never ends.
            for _, text in lines(session.engine.twin().follow(container.name, tail=tail, follow=True)):
                print(f"{container.service:<{width}} | {text}", file=out, flush=True)
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
    """Runs a command in a service's running container, on a terminal interactively; its exit code."""
    observed = session.engine.observe(session.stack.project)
    found = [c for c in containers(session, observed, service) if c.running]
    live = live_container(session.stack, observed)
    if not found:
        raise OrchestratorError(f"{service} is not running.", hint="see `status` and `logs`.")
    chosen = live if live in found and live else found[-1]
    if sys.stdin.isatty() and sys.stdout.isatty():
        from orchestrator import terminal

        return terminal.attach(session.engine, chosen.name, command)
    return session.engine.stream_in(chosen.name, command, sys.stdout.buffer, sys.stderr.buffer)
