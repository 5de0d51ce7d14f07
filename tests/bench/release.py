"""Releases under load, in turn with the peers' on the same images: failed requests, lost writes, latency, and the time
until a release has the traffic beside the time that its app takes to boot."""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import docker

from tests.bench.boot import boot
from tests.bench.contenders import Compose, Contender, Ours, Rollout, Version, built
from tests.engine.stack import Project, copy_checkout, removed
from tests.load import Load, Window, lost
from tests.peers import bases, compose_v2

#: Seconds before and after each release.
PAUSE = 2.0
#: The app that takes long to boot: seconds that its start takes longer, and how often it is released.
LONG_BOOT, LONG_BOOTS = 5.0, 3


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Turn:
    """What became of one contender's traffic. `windows`: from a release's start to its end; `after`: the seconds after
    it; `apart`: what else took the machine's time."""

    load: Load
    windows: list[Window] = field(default_factory=list)
    after: list[Window] = field(default_factory=list)
    apart: list[Window] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def outside(self) -> float:
        """p99 in seconds of what was under way while nothing happened."""
        return self.load.p99([*self.windows, *self.after, *self.apart], inside=False)


@contextlib.contextmanager
def _noted(windows: list[Window]) -> Iterator[None]:
    began = time.monotonic()
    yield
    windows.append((began, time.monotonic()))


def turn(
    name: str,
    port: int,
    prepares: Sequence[Callable[[], None]],
    release: Callable[[], None],
    between: Callable[[], None] = lambda: None,
) -> Turn:
    """One release for each of `prepares`, which makes it ready outside the clock; `between` runs after each."""
    with Load(port) as load:
        made = Turn(load)
        for number, prepare in enumerate(prepares):
            with _noted(made.apart):
                prepare()
            time.sleep(PAUSE)
            with _noted(made.windows):
                release()
            with _noted(made.after):
                time.sleep(PAUSE)
            with _noted(made.apart):
                between()
            began, ended = made.windows[-1]
            _say(f"  {name}: release {number + 1} in {ended - began:.2f} s")
    made.lost = lost(port, load.acknowledged)
    _say(f"  {name}: {load}")
    for text in load.failed[:5]:
        _say(f"    {text}")
    return made


def _prepares(contender: Contender, versions: Sequence[Version]) -> list[Callable[[], None]]:
    return [lambda version=version: contender.prepare(version) for version in versions]  # type: ignore[misc]


@dataclass
class Timing:
    """Seconds to traffic on the new release, and of the app's own boot, release by release."""

    turn: Turn
    switches: Sequence[float]
    boots: Sequence[float]

    def row(self, title: str) -> str:
        more = [switch - boot for switch, boot in zip(self.switches, self.boots, strict=True)]
        seconds = (statistics.median(self.switches), statistics.median(self.boots), statistics.median(more), max(more))
        cells = [str(len(more)), *(f"{value:.2f} s" for value in seconds)]
        return f"| {title} | {' | '.join(cells)} | {len(self.turn.load.failed)} | {len(self.turn.lost)} |"


def _timed(name: str, ours: Ours, prepares: Sequence[Callable[[], None]], release: Callable[[], None]) -> Timing:
    boots: list[float] = []
    done = len(ours.switches)
    made = turn(name, ours.project.port, prepares, release, lambda: boots.append(boot(ours.client, ours.project)))
    return Timing(made, ours.switches[done:], boots)


def _table(turns: Sequence[Turn]) -> list[str]:
    def row(title: str, cell: Callable[[Turn], str]) -> str:
        return f"| {title} | {' | '.join(cell(made) for made in turns)} |"

    def p99(title: str, seconds: Callable[[Turn], float]) -> str:
        return row(f"p99 {title}", lambda made: f"{seconds(made) * 1000:.0f} ms")

    return [
        "| | orchestrator | Compose v2 `up -d` | docker-rollout's way |",
        "|---|---|---|---|",
        row("releases", lambda made: str(len(made.windows))),
        row("requests", lambda made: str(made.load.sent)),
        row("failed", lambda made: str(len(made.load.failed))),
        row("idle keep-alive connections closed", lambda made: str(made.load.idle_closed)),
        row("acknowledged writes lost", lambda made: f"{len(made.lost)} of {len(made.load.acknowledged)}"),
        p99("while nothing happens", lambda made: made.outside),
        p99("during a release", lambda made: made.load.p99(made.windows)),
        p99(f"in the {PAUSE:.0f} s after it", lambda made: made.load.p99(made.after)),
        row("ratio of the first two", lambda made: f"{made.load.p99(made.windows) / made.outside:.2f}"),
        row("the command takes", lambda made: f"{statistics.median(t1 - t0 for t0, t1 in made.windows):.2f} s"),
    ]


def _ours(
    ours: Ours, quick: Sequence[Version], long: Sequence[Version], rollbacks: int
) -> tuple[Turn, list[tuple[str, Timing]]]:
    ours.prepare(quick[0])
    ours.start()
    deploys = _timed("deploy", ours, _prepares(ours, quick[1:]), ours.release)
    timings = [("`deploy`", deploys)]
    if rollbacks:
        # `deploy` brings back what the rollback before took away.
        back = _timed("rollback", ours, [ours.start] * rollbacks, ours.rollback)
        timings.append(("`rollback`", back))
    slow = _timed(f"deploy, {LONG_BOOT:.0f} s to boot", ours, _prepares(ours, long), ours.release)
    timings.append((f"`deploy`, app takes {LONG_BOOT:.0f} s more to boot", slow))
    return deploys.turn, timings


def measured(releases: int, *, rollbacks: int = 0) -> str:
    """The tables, as Markdown; with a row for `rollback` when it is asked for."""
    command = compose_v2()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        client = stack.enter_context(contextlib.closing(docker.from_env(timeout=300)))
        found = bases(client)

        def project(name: str) -> Project:
            return stack.enter_context(removed(Project(client, found, copy_checkout(Path(folder) / name))))

        ours = Ours(client, project("ours"))
        _say("building the images")
        quick = [built(client, ours.project, number) for number in range(releases + 1)]
        long = [built(client, ours.project, releases + 1 + number, LONG_BOOT) for number in range(LONG_BOOTS)]
        own, timings = _ours(ours, quick, long, rollbacks)
        ours.project.run("down", "--yes")
        turns = [own]
        for kind, name in ((Compose, "compose"), (Rollout, "rollout")):
            peer = kind(client, project(name), command)
            peer.prepare(quick[0])
            peer.start()
            turns.append(turn(name, peer.project.port, _prepares(peer, quick[1:]), peer.release))
            peer.project.compose(peer.command, "down")
    return "\n".join(
        [
            *_table(turns),
            "",
            "| | times | to traffic | the app's own boot | difference | at most | failed | lost |",
            "|---|---|---|---|---|---|---|---|",
            *(timing.row(title) for title, timing in timings),
        ]
    )
