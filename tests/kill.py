"""Kills the orchestrator after each of its calls of the engine, and looks whether the next `deploy` puts all right.

A scenario is one command that goes from a start state to another; it is run once to its end to count its calls, and
then once for each of them, killed right after that call. Then plain `deploy` must bring what the settings want, and
nothing else may be left. Where a release serves at the start, traffic goes on from before the first kill to the end.
"""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import docker
import docker.errors

from orchestrator import deploy
from orchestrator.engine import connect
from orchestrator.report import Reporter
from orchestrator.session import Session
from orchestrator.settings import load
from orchestrator.stack import build_stack
from tests import standin
from tests.engine.stack import PROJECT, SERVICE, SERVICES, Project, Result, copy_checkout, finished, removed
from tests.events import Events
from tests.killed import SAID
from tests.peers import bases
from tests.traffic import Failure, Traffic

CONFIG = "config/production.toml"
#: What the proxy itself answers, in its configuration.
MARK = "/.proxy/mark"


@dataclass(frozen=True)
class Scenario:
    """`write(project, turn)` makes the project's files what is wanted in this turn: the states of even and odd turns
    are different, so that each run starts where the one before has ended. `command` goes there; `serves`: a release
    does before, and must meanwhile. `goes`: the service is meant to go away. `back`: the command goes to another state
    than the files say. `moves`: the port goes from one proxy to another, so that for a moment nobody has it."""

    name: str
    command: tuple[str, ...]
    write: Callable[[Project, int], None]
    serves: bool = True
    goes: bool = False
    back: bool = False
    moves: bool = False
    setup: Callable[[Project], None] = lambda _: None


def quick(project: Project) -> None:
    """Short waits, one worker: the steps are the same, and there are many runs."""
    path = project.root / CONFIG
    text = path.read_text()
    # Of the app alone, which is waited for in each run: a check is a process, and costs as much as all that serves.
    app, rest = text.split("[services.proxy]")
    app, rest = app.replace('interval = "1s"', 'interval = "200ms"'), rest.replace('interval = "2s"', 'interval = "1s"')
    path.write_text(f"{app}[services.proxy]{rest}".replace('drain_timeout = "30s"', 'drain_timeout = "2s"'))
    project.more["WEB_CONCURRENCY"] = "1"
    standin.slow(project.root)


def _same(project: Project, turn: int) -> None:
    standin.change(project.root, 1)


def _image(project: Project, turn: int) -> None:
    standin.change(project.root, 1 + turn % 2)


def _settings(project: Project, turn: int) -> None:
    path = project.root / CONFIG
    base = path.with_suffix(".base")
    if not base.exists():
        base.write_text(path.read_text())
    text = base.read_text()
    for line, new in (
        ("[services.app.environment]\n", f'[services.app.environment]\nMARK = "{turn % 2}"\n'),
        ('memory = "128m"\n', f'memory = "{120 + turn % 2}m"\n'),
    ):
        assert text.count(line) == 1, line
        text = text.replace(line, new)
    path.write_text(text)


def _nginx(project: Project, turn: int) -> None:
    path = project.root / "config" / "nginx" / "nginx.conf"
    base = project.root / "nginx.conf.base"
    if not base.exists():
        base.write_text(path.read_text())
    line = "        location = /.proxy/health {\n"
    text = base.read_text()
    assert text.count(line) == 1
    mark = f'        location = {MARK} {{\n            return 200 "{turn % 2}";\n        }}\n\n'
    path.write_text(text.replace(line, mark + line))


def _its_own_nginx(project: Project) -> None:
    """The proxy is of an image whose configuration is neither of the two, so that both ways are the same steps."""
    project.run("deploy")


def _two_releases(project: Project) -> None:
    standin.change(project.root, 2)
    project.run("deploy")


SCENARIOS = (
    Scenario("first deploy", ("deploy",), _same, serves=False),
    Scenario("release", ("deploy",), _image),
    Scenario("release with a migration", ("deploy",), _image, setup=lambda project: standin.migrating(project.root)),
    Scenario("rollback", ("rollback",), _same, back=True, setup=_two_releases),
    Scenario("configuration change, the port moves", ("deploy",), _settings, moves=True),
    Scenario("Nginx's configuration changes", ("deploy",), _nginx, setup=_its_own_nginx),
    Scenario("down", ("down", "--yes"), _same, goes=True),
)


@dataclass
class Outcome:
    """What came of one scenario. `problems` has a text for each killed run after which not all was right, `left` one
    for each thing that was left over; `interrupted` are the failures while no proxy had the port."""

    name: str
    calls: int = 0
    killed: list[int] = field(default_factory=list)
    converged: int = 0
    problems: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    sent: int = 0
    failed: list[str] = field(default_factory=list)
    interrupted: int = 0
    acknowledged: int = 0
    lost: int = 0
    watched: bool = True
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        everywhere = self.converged == len(self.killed) > 0
        return everywhere and not (self.problems or self.left or self.failed or self.lost)

    def row(self) -> str:
        failed = f"{len(self.failed)} of {self.sent}" if self.watched else "none served"
        if self.interrupted:
            failed += f" (and {self.interrupted} while the port moved)"
        lost = f"{self.lost} of {self.acknowledged}" if self.acknowledged else "-"
        cells = (self.name, self.calls, len(self.killed), self.converged, failed, lost, len(self.left))
        return f"| {' | '.join(map(str, cells))} |"

    def evidence(self) -> list[str]:
        return [f"{self.name}: {text}" for text in (*self.problems, *self.left, *self.failed)]


HEADER = (
    "| scenario | engine calls | killed after each | converged | failed requests | acknowledged writes lost "
    "| containers/networks/locks left |\n|---|---|---|---|---|---|---|"
)


def killed(project: Project, number: int, command: Sequence[str]) -> Result:
    """Runs the command, which kills itself after the call of this number; with 0 never."""
    process = project.start(*command, module=("tests.killed", str(number)))
    return finished(process, 120)


def leftovers(project: Project) -> list[str]:
    """What is there besides one container for each service, the two networks and no lock."""
    found = []
    api = project.client.api
    mine = api.containers(all=True, filters={"label": f"{PROJECT}={project.name}"})
    names: dict[str, list[str]] = {name: [] for name in SERVICES}
    for summary in mine:
        names.setdefault(summary["Labels"].get(SERVICE, "?"), []).append(summary["Names"][0].lstrip("/"))
    for service, containers in names.items():
        if service not in SERVICES or len(containers) != 1:
            found.append(f"{service}: {', '.join(containers) or 'no container'}")
    # By name, too: what is created without a label (the lock, a helper) has the project's name in its own.
    listed = {summary["Names"][0].lstrip("/") for summary in api.containers(all=True, filters={"name": project.name})}
    found += [f"container {name}" for name in sorted(listed - {name for some in names.values() for name in some})]
    wanted = {f"{project.name}_edge", f"{project.name}_internal"}
    found += [f"network {name}" for name in sorted(project.networks() ^ wanted)]
    return found


def planned(project: Project) -> list[str]:
    """The steps that `deploy` would take now."""
    settings = load(project.root, "production", project.env)
    engine = connect(settings.engine_environment)
    with contextlib.closing(engine.api):
        steps = deploy.plan(Session(settings, build_stack(settings), engine, Reporter(io.StringIO())))["steps"]
    return [f"{step['step']} {step['target']} ({step['cause']})" for step in steps]


def wanted(project: Project) -> tuple[str, str]:
    """What must be answered at the stand-in's path and at the proxy's, as the files are now."""
    number = (project.root / "service" / "standin_number.py").read_text() if _numbered(project) else "NUMBER = 0"
    mark = next(
        (line.split('"')[1] for line in (project.root / CONFIG).read_text().splitlines() if line.startswith("MARK = ")),
        "",
    )
    nginx = (project.root / "config" / "nginx" / "nginx.conf").read_text()
    own = nginx.partition(f"location = {MARK}")[2].partition('return 200 "')[2].partition('"')[0]
    return f"{number.rpartition('NUMBER = ')[2].strip()} {mark}".strip(), own


def _numbered(project: Project) -> bool:
    return (project.root / "service" / "standin_number.py").exists()


def wrong(project: Project, result: Result) -> list[str]:
    """What of the converging deployment was not right."""
    if result.code != 0:
        return [f"deploy ended with {result.code}: {result.stdout[-1500:]} {result.stderr[-1500:]}"]
    found = []
    health = project.ask("/health")
    if health.status != 200 or health.json["release"] != result.json["release"]:
        found.append(f"/health says {health.status} {health.body[:100]!r}, deploy {result.json['release']}")
    content, mark = wanted(project)
    if (told := project.ask(standin.NUMBER_PATH).body.decode()) != content:
        found.append(f"{told!r} is served, {content!r} is wanted")
    if mark and (told := project.ask(MARK).body.decode()) != mark:
        found.append(f"the proxy's configuration is {told!r}, {mark!r} is wanted")
    if steps := planned(project):
        found.append(f"deploy left to do: {'; '.join(steps)}")
    return found


class Runs:
    """One scenario on a project of its own, and what comes of it."""

    def __init__(self, scenario: Scenario, project: Project, say: Callable[[str], None]) -> None:
        self.scenario, self.project, self.say = scenario, project, say
        self.outcome = Outcome(scenario.name, watched=scenario.serves and not scenario.goes)
        self.turn = 0

    def prepare(self) -> None:
        """Images and start state; and the undisturbed run, for the number of calls."""
        scenario, project = self.scenario, self.project
        quick(project)
        scenario.setup(project)
        for turn in (0, 1):
            scenario.write(project, turn)
            project.run("deploy")
        self.turn = 1
        self.start()
        result = killed(project, 0, scenario.command)
        assert result.code == 0, result
        self.outcome.calls = int(result.stderr.rpartition(SAID)[2].split()[0])
        if scenario.back or scenario.goes:
            project.run("deploy")

    def start(self) -> None:
        """The state that the command starts from, and the files for where it goes."""
        if not self.scenario.serves:
            self.project.clear()
        self.turn += 1
        self.scenario.write(self.project, self.turn)

    def one(self, number: int, traffic: Traffic | None, events: Events | None) -> None:
        """Killed after this call, and `deploy`."""
        outcome, project = self.outcome, self.project
        self.start()
        began, failures = time.time(), len(traffic.failed) if traffic else 0
        run = killed(project, number, self.scenario.command)
        if run.code == 0 and number > 1:
            self.say(f"{outcome.name}: after call {number}: had fewer calls this time")
        elif run.code != -signal.SIGKILL:
            outcome.problems.append(f"after call {number}: not killed but ended with {run.code}: {run.stderr[-1000:]}")
        else:
            outcome.killed.append(number)
        result = project.run("--json", "deploy", check=False)
        problems, left = wrong(project, result), leftovers(project)
        outcome.problems += [f"after call {number}: {text}" for text in problems]
        outcome.left += [f"after call {number}: {text} left" for text in left]
        if run.code == -signal.SIGKILL and not problems and not left:
            outcome.converged += 1
        if traffic and outcome.watched:
            self.sort(number, traffic.failed[failures:], events, began)
        if problems or left:
            self.say("\n".join(f"{outcome.name}: after call {number}: {text}" for text in (*problems, *left)))
            project.clear()
            project.run("deploy")

    def sort(self, number: int, failures: Sequence[Failure], events: Events | None, began: float) -> None:
        """Failed requests, those apart that no proxy could get."""
        windows = events.moves(began) if events and failures else ()
        for failure in failures:
            if failure.unreachable and failure.within(windows):
                self.outcome.interrupted += 1
            else:
                self.outcome.failed.append(f"after call {number}: {failure}")
                self.say(f"{self.outcome.name}: after call {number}: {failure}")

    def numbers(self, every: int) -> Iterator[int]:
        """All of them; where a run has more calls than the counted one, those, too."""
        yield from range(1 + every // 2, self.outcome.calls + 1, every)
        number = self.outcome.calls
        while every == 1 and (not self.outcome.killed or self.outcome.killed[-1] == number):
            number += 1
            yield number

    def __call__(self, every: int) -> Outcome:
        began, outcome = time.monotonic(), self.outcome
        self.prepare()
        self.say(f"{outcome.name}: {outcome.calls} calls")
        with contextlib.ExitStack() as stack:
            traffic = stack.enter_context(Traffic(self.project.port)) if self.scenario.serves else None
            events = stack.enter_context(Events(self.project)) if self.scenario.moves else None
            for number in self.numbers(every):
                self.one(number, traffic, events)
        if traffic:
            outcome.sent = traffic.sent
            outcome.acknowledged, outcome.lost = len(traffic.acknowledged), len(traffic.lost())
        outcome.seconds = time.monotonic() - began
        self.say(f"{outcome.name}: killed {len(outcome.killed)} times, {outcome.seconds:.0f} s")
        return outcome


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(scenario: Scenario, root: Path, every: int = 1) -> Outcome:
    """The scenario in a checkout of its own, killed after each `every`-th call."""
    with (
        contextlib.closing(docker.from_env(timeout=300)) as client,
        removed(Project(client, bases(client), root)) as own,
    ):
        return Runs(scenario, own, say)(every)


def measured(every: int = 1, jobs: int = 2, only: str = "") -> tuple[str, bool]:
    """The table of all scenarios (or those with `only` in their names), `jobs` at a time; and whether all was right."""
    scenarios = [scenario for scenario in SCENARIOS if only in scenario.name]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        # Copied before the first one runs: all are the same checkout.
        roots = [copy_checkout(Path(folder) / str(number)) for number in range(len(scenarios))]
        outcomes = list(pool.map(run, scenarios, roots, [every] * len(scenarios)))
    for outcome in outcomes:
        say("\n".join(outcome.evidence()))
    total = sum(len(outcome.killed) for outcome in outcomes)
    return "\n".join([HEADER, *(o.row() for o in outcomes), "", f"Killed {total} times."]), all(
        o.right for o in outcomes
    )
