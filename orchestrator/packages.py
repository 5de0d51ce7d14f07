"""Packages of the distribution, and commands that need root: how they are run, and what they said when they failed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import OrchestratorError

Say = Callable[[str], None]
Ask = Callable[[str], bool]

LOCKED = ("Could not get lock", "Unable to acquire the dpkg frontend lock", "Unable to lock")


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit status, and what it wrote on stdout and stderr together."""

    status: int
    output: str


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    keep: tuple[int, ...] = (),
    waiting: Callable[[], None] = lambda: None,
    every: float = 10.0,
) -> Outcome:
    """Run a command to its end, calling `waiting` each `every` seconds; `keep` are descriptors that it inherits.

    The output goes through a file and not a pipe: a service that the command starts may hold a pipe open for ever.
    A missing program is status 127.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=env, pass_fds=keep
            )
        except OSError as error:
            return Outcome(127, f"{command[0]}: {error.strerror}")
        with process:
            while True:
                try:
                    process.wait(timeout=every)
                    break
                except subprocess.TimeoutExpired:
                    waiting()
        output.seek(0)
        return Outcome(process.returncode, output.read().decode(errors="replace"))


def last_lines(text: str, count: int = 12) -> tuple[str, ...]:
    """The last lines of an output that are not empty."""
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-count:]


def privilege() -> tuple[str, ...] | None:
    """What to put before a command that needs root: nothing as root, `sudo -n` where that works, else None."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return ()
    if shutil.which("sudo") and run(["sudo", "-n", "true"]).status == 0:
        return ("sudo", "-n")
    return None


def terminal() -> Ask | None:
    """A yes-or-no question on the terminal, or None where nobody sits at one."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> bool:
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return ask


def by_hand(packages: Sequence[str]) -> str:
    """The command a person types to install these packages with apt."""
    return f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {' '.join(packages)}"


def install(
    packages: Sequence[str], *, root: tuple[str, ...], say: Say, patience: float = 180.0, pause: float = 2.0
) -> None:
    """Install packages with apt; `root` is what `privilege` gave.

    Waits up to `patience` seconds for another package manager's lock. Raises OrchestratorError with apt's last lines.
    """
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    names = " ".join(packages)
    deadline = time.monotonic() + patience
    say("apt-get update")
    # One unreachable source of many fails the update and not the install: only the install decides.
    update = _unlocked([*apt, "update"], deadline, pause, say)
    say(f"apt-get install {names}")
    done = _unlocked([*apt, "install", "-y", "--no-install-recommends", *packages], deadline, pause, say)
    if done.status == 0:
        return
    hint = f"See to what apt says and run it again, or by hand: {by_hand(packages)}"
    if any(mark in done.output for mark in LOCKED):
        hint = "Another package manager is at work; wait until it has finished and run it again."
    detail = last_lines(done.output)
    if update.status != 0:
        detail = last_lines(update.output, 6) + detail
    raise OrchestratorError(f"apt-get could not install {names} (status {done.status})", hint=hint, detail=detail)


def _unlocked(command: Sequence[str], deadline: float, pause: float, say: Say) -> Outcome:
    told = False
    while True:
        outcome = run(command, waiting=lambda: say("still at it"))
        held = next((line for line in outcome.output.splitlines() if any(mark in line for mark in LOCKED)), "")
        if outcome.status == 0 or not held or time.monotonic() >= deadline:
            return outcome
        if not told:
            say(f"waiting for another package manager: {held.strip()}")
            told = True
        time.sleep(pause)
