"""The fault table: what goes wrong in a release, and what came of it, under traffic. The rows are in `fault_rows`.

Each row starts with a release that serves, makes the wanted one a bad one in one way, runs `deploy`, and then `deploy`
of a good one. What is measured is told; what must be is checked beside it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests import standin
from tests.engine.stack import Project, Result
from tests.events import Event, Events
from tests.kill import CONFIG, leftovers, planned, quick
from tests.traffic import Traffic

#: Seconds within which an exit of the candidate must be known. A machine that is busy for a moment can make it later:
#: then the row is played again, so many times at most. What waits for something else is late each time.
AT_ONCE, TIMES = 1.0, 3
#: Seconds that the app has to stop.
GRACE = 3
#: How a command ended, and its progress, each line with the time when it was printed.
Ran = tuple[Result, list[tuple[float, str]]]


@dataclass
class Row:
    """What was measured; `problems` are what of it is not right. `known`: seconds from when the engine tells of the
    candidate's exit until it was acted upon."""

    name: str
    during: Sequence[str] = ()
    after: str = ""
    code: str = ""
    left: Sequence[str] = ()
    following: str = ""
    failed: int = 0
    lost: int = 0
    known: float | None = None
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    HEADER = (
        "| row | version served during and after | exit code | containers left | failed requests, lost writes "
        "| next run |\n|---|---|---|---|---|---|"
    )

    def must(self, condition: object, text: str) -> None:
        if not condition:
            self.problems.append(text)

    def __str__(self) -> str:
        served = f"{', '.join(self.during) or 'none'}; {self.after or 'none'}"
        name = self.name if self.known is None else f"{self.name} (known after {self.known:.2f} s)"
        lost = f"{self.failed}, {self.lost}"
        cells = (name, served, self.code, ", ".join(self.left) or "none", lost, self.following)
        return f"| {' | '.join(cells)} |"


def run(project: Project, *arguments: str) -> Ran:
    """The command to its end."""
    lines: list[tuple[float, str]] = []
    began = time.monotonic()
    process = project.start("--json", *arguments)

    def read() -> None:
        lines.extend((time.time(), line) for line in process.stderr or ())

    reader = threading.Thread(target=read)
    reader.start()
    assert process.stdout is not None
    stdout = process.stdout.read()
    process.stdout.close()
    code = process.wait(300)
    reader.join()
    assert process.stderr is not None
    process.stderr.close()
    return Result(code, stdout, "".join(line for _, line in lines), time.monotonic() - began), lines


def _deploy(stage: Stage) -> Ran:
    return run(stage.project, "deploy")


@dataclass(frozen=True)
class Fault:
    """`spoil` makes the wanted release a bad one. `says` must stand in the error. `code` and `served` ("old" or "new")
    must come of it. `new_seen`: the bad one may answer for a while. `exits`: its end must be known at once.
    `before` makes the release that serves, where it is to be a special one."""

    name: str
    spoil: Callable[[Stage], object]
    says: tuple[str, ...] = ()
    code: int = 3
    served: str = "old"
    new_seen: bool = False
    exits: bool = False
    before: Callable[[Stage], object] = lambda _: None
    run: Callable[[Stage], Ran] = _deploy
    check: Callable[[Stage, Result, Row], None] = lambda *_: None


class Stage:
    """A project on which rows are played one after the other; each release has the next number."""

    def __init__(self, project: Project) -> None:
        self.project: Project = project
        quick(project)
        self.config = project.root / CONFIG
        self.good = self.config.read_text().replace('stop_grace_period = "40s"', f'stop_grace_period = "{GRACE}s"')
        self.number = 1
        self.events: Events
        self.second = Result(0, "", "", 0.0)
        self.deploy_good()

    def deploy_good(self) -> Result:
        """Releases the next number, with the settings as they should be."""
        self.config.write_text(self.good)
        self.number += 1
        standin.change(self.project.root, self.number)
        return self.project.run("--json", "deploy", check=False)

    def settings(self, *changes: tuple[str, str]) -> None:
        """Changes pieces of the settings, each of which must be there once."""
        text = self.config.read_text()
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the settings"
            text = text.replace(old, new)
        self.config.write_text(text)

    def command(self, script: str) -> None:
        """The app's command is a shell's script."""
        self.settings((standin.COMMAND, f"command = {words('sh', '-c', script)}\n"))

    def serves(self) -> str:
        try:
            answer = self.project.ask(standin.NUMBER_PATH)
        except OSError:
            return ""
        return answer.body.decode() if answer.status == 200 else f"status {answer.status}"

    @property
    def names(self) -> set[str]:
        return {str(container.name) for container in self.project.containers()}

    def row(self, fault: Fault) -> Row:
        """One row; the last of those that were played where an exit was known too late."""
        for left in reversed(range(TIMES)):
            row = self.play(fault)
            if row.problems or row.known is None or row.known < AT_ONCE:
                break
            row.must(left, f"the exit was known after {row.known:.2f} s, and not in {AT_ONCE:g} s the times before")
        return row

    def play(self, fault: Fault) -> Row:
        """One row, once; whether an exit was known in time is not judged."""
        project, row = self.project, Row(fault.name)
        fault.before(self)
        old, before = str(self.number), self.names
        with (
            Events(project) as self.events,
            Traffic(project.port, standin.NUMBER_PATH) as traffic,
            contextlib.ExitStack() as undo,
        ):
            time.sleep(0.3)
            self.number += 1
            new = str(self.number)
            standin.change(project.root, self.number)
            made: Any = fault.spoil(self)
            if made is not None:
                undo.enter_context(made)
            began = time.time()
            result, lines = fault.run(self)
            time.sleep(0.2)
            row.during = sorted(traffic.seen)
            row.after, row.code, row.seconds = self.serves(), str(result.code), result.seconds
            row.left = sorted(self.names - before) if result.code else leftovers(project)
            row.must(result.code == fault.code, f"exit code {result.code}, not {fault.code}: {result}")
            row.must(row.after == (old if fault.served == "old" else new), f"{row.after} serves afterwards")
            row.must(set(row.during) <= ({old, new} if fault.new_seen else {old}), f"served meanwhile: {row.during}")
            row.must(not row.left, f"left: {row.left}")
            row.must(result.code == 0 or self.names == before, f"of {before} there are {self.names}")
            row.must(project.lock() is None, "the lock is still there")
            row.must("Traceback" not in result.stderr, result.stderr)
            for text in fault.says:
                row.must(text in result.stdout, f"{text!r} is not in {result.stdout} {result.stderr}")
            if fault.exits:
                row.known = _known(self.events.since(began), lines)
                row.must(row.known < float("inf"), "the exit was never known")
            fault.check(self, result, row)
            undo.close()
            row.following = self.following(row)
        row.failed, row.lost = len(traffic.failed), len(traffic.lost())
        row.must(not row.failed, f"requests failed: {'; '.join(map(str, traffic.failed[:5]))}")
        row.must(row.lost == 0, f"{row.lost} acknowledged writes lost")
        return row

    def following(self, row: Row) -> str:
        """The next run, of a good release: in a word, and checked."""
        result = self.deploy_good()
        steps, left = (planned(self.project), leftovers(self.project)) if result.code == 0 else ([], [])
        good = result.code == 0 and self.serves() == str(self.number) and not steps and not left
        row.must(good, f"the next run: {result}, {self.serves()} serves; {steps}; {left}")
        return "converges" if good else f"exit code {result.code}"


def words(*words: str) -> str:
    """As a list of the settings."""
    return "[" + ", ".join("'" + word + "'" if "'" not in word else '"""' + word + '"""' for word in words) + "]"


def _known(events: Sequence[Event], lines: Sequence[tuple[float, str]]) -> float:
    """Seconds from when the engine tells of the candidate's end (a busy one tells all late) until that is said."""
    ends = [event.heard for event in events if event.action == "die" and event.service == "app" and not event.oneoff]
    said = [at for at, line in lines if line.startswith("       app exited with code")]
    return max(0.0, said[0] - ends[0]) if ends and said else float("inf")


@contextlib.contextmanager
def listener() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])
