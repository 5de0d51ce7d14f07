"""The writer, and what is measured beside it, each as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from tests.bench.snapshots.counted import SAID

ROOT = Path(__file__).parents[3]
TORTURE = Path(__file__).parents[1] / "torture.py"

#: From and to, by the monotonic clock, which all processes of a machine share.
Window = tuple[float, float]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fill(database: Path, megabytes: float) -> None:
    """A database of about that many MB, nothing of it still to be written to the disk."""
    command = [sys.executable, str(TORTURE), "fill", str(database), "--megabytes", str(megabytes)]
    subprocess.run(command, check=True)
    os.sync()


class Writer:
    """Commits at a steady rate to a database while the `with` block runs, and notes each commit."""

    def __init__(self, database: Path, rate: float = 200) -> None:
        self.command = [sys.executable, str(TORTURE), "write", str(database), "--timed"]
        self.command += ["--rate", str(rate), "--seconds", "100000"]
        #: (began, took) of each commit, in seconds.
        self.commits: list[tuple[float, float]] = []
        #: The last commit that was acknowledged; none after it was begun before it had been.
        self.acknowledged = 0
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Writer:
        self._process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._thread.start()
        deadline = time.monotonic() + 30
        while self.acknowledged == 0:
            assert time.monotonic() < deadline, "the writer writes nothing"
            assert self._process.poll() is None, "the writer ended"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        cast("IO[str]", self._process.stdout).close()

    def _read(self) -> None:
        for line in cast("IO[str]", self._process.stdout):
            if line.endswith("\n"):
                number, began, took = line.split()
                self.commits.append((float(began), float(took)))
                self.acknowledged = int(number)

    def waited(self, windows: Sequence[Window]) -> list[float]:
        """How long the commits that overlap one of the windows took, in ms, the shortest first."""
        found = [took for at, took in self.commits if any(at < end and at + took > start for start, end in windows)]
        return sorted(took * 1000 for took in found)


def worst(times: Sequence[float]) -> float:
    return times[-1] if times else float("nan")


def p99(times: Sequence[float]) -> float:
    return times[int(len(times) * 0.99)] if times else float("nan")


@dataclass
class Run:
    """What one process did. `written` is what it gave to the disk, in bytes; `code` is None when it was stopped because
    its time was over."""

    window: Window
    code: int | None
    written: int

    @property
    def seconds(self) -> float:
        return self.window[1] - self.window[0]


def run(command: Sequence[str], *, patience: float = 600, **options: Any) -> Run:
    """Runs a command to its end, or stops it after `patience` seconds."""
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options) as process:
        with _stopped_after(process, patience) as over:
            status, usage = _ended(process)
        code = None if over.is_set() else os.waitstatus_to_exitcode(status)
        return Run((began, time.monotonic()), code, usage.ru_oublock * 512)


def _ended(process: subprocess.Popen[Any]) -> tuple[int, Any]:
    """(status, what it used): of this process alone, which the sums over all children do not tell."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return status, usage


@contextlib.contextmanager
def _stopped_after(process: subprocess.Popen[Any], seconds: float) -> Iterator[threading.Event]:
    over = threading.Event()

    def stop() -> None:
        over.set()
        os.kill(process.pid, signal.SIGKILL)

    alarm = threading.Timer(seconds, stop)
    alarm.start()
    try:
        yield over
    finally:
        alarm.cancel()


@dataclass
class AgentRun(Run):
    """A verb of the agent: what it told at its end, how long each phase took, how often the copy began anew, and its
    resident set at its largest, in bytes."""

    done: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    restarts: int = 0
    memory: int = 0


def agent(*arguments: str | Path) -> AgentRun:
    """Runs the agent as the backup service does, told apart by its phases."""
    command = [sys.executable, "-m", "tests.bench.snapshots.counted", *map(str, arguments)]
    began = time.monotonic()
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        events, seen = [], []
        for line in cast("IO[str]", process.stdout):
            events.append(json.loads(line))
            seen.append(time.monotonic())
        told = cast("IO[str]", process.stderr).read()
        status, usage = _ended(process)
    ended = time.monotonic()
    assert status == 0, f"the agent failed: {events[-1:]} {told}"
    (figures,) = (json.loads(line.removeprefix(SAID)) for line in told.splitlines() if line.startswith(SAID))
    window, written = (began, ended), usage.ru_oublock * 512
    return AgentRun(window, 0, written, done=events[-1], phases=_phases(events, seen), **figures)


def _phases(events: Sequence[dict[str, Any]], seen: Sequence[float]) -> dict[str, float]:
    """Seconds from each phase's first event to its last."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for event, at in zip(events, seen, strict=True):
        if event["event"] == "progress":
            first.setdefault(event["phase"], at)
            last[event["phase"]] = at
    return {phase: last[phase] - first[phase] for phase in first}
