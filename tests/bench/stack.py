"""First deploy, no-op deploy and status beside Compose v1 and v2, on the same images; and what the images weigh.

Every figure of a round is taken in turn with its peers', so that a machine that slows down slows all of them; the ratio
is the median of the rounds' ratios.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import docker

from tests.engine.stack import Project, copy_checkout, removed
from tests.peers import bases, compose_v1, compose_v2

Run = Callable[[], float]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Contender:
    """One tool with a project of its own: what it does first, again, and when asked how it is."""

    def __init__(self, project: Project, command: Sequence[str] | None) -> None:
        self.project, self.command = project, command

    def up(self) -> float:
        if self.command is None:
            return self.project.run("deploy").seconds
        return self.project.compose(self.command, "up", "-d").seconds

    def state(self) -> float:
        if self.command is None:
            return self.project.run("status").seconds
        return self.project.compose(self.command, "ps").seconds

    def down(self) -> None:
        if self.command is None:
            self.project.run("down", "--volumes", "--yes")
        else:
            self.project.compose(self.command, "down", "-v", "--remove-orphans")


def rounds(count: int, runs: Mapping[str, Run], after: Callable[[], None] = lambda: None) -> dict[str, list[float]]:
    """Each run's seconds, round by round."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(count):
        for name, run in runs.items():
            found[name].append(run())
        after()
        _say(f"  round {number + 1}: " + ", ".join(f"{name} {times[-1]:.2f} s" for name, times in found.items()))
    return found


def row(title: str, found: Mapping[str, Sequence[float]]) -> str:
    ours, *peers = found.values()
    cells = [f"{statistics.median(times):.2f} s" for times in found.values()]
    ratios = [f"{statistics.median(a / b for a, b in zip(ours, peer, strict=True)):.2f}" for peer in peers]
    return f"| {title} | {' | '.join(cells)} | {' | '.join(ratios)} |"


@contextlib.contextmanager
def _contenders(client: docker.DockerClient, folder: Path) -> Iterator[dict[str, Contender]]:
    found = bases(client)
    with contextlib.ExitStack() as stack:
        made = {}
        for name, command in (("ours", None), ("v2", compose_v2()), ("v1", compose_v1())):
            root = copy_checkout(folder / name)
            made[name] = Contender(stack.enter_context(removed(Project(client, found, root))), command)
        yield made


def _rebuild(project: Project) -> float:
    """Seconds that the app's image takes to build after one changed file of the service."""
    (project.root / "service" / "changed.py").write_text(f"# {time.time()}\n")
    steps = project.json("deploy")["steps"]
    return float(next(step["seconds"] for step in steps if step["step"] == "build-image"))


def measured(count: int) -> str:
    """The tables, as Markdown."""
    client = docker.from_env(timeout=300)
    with tempfile.TemporaryDirectory() as folder, _contenders(client, Path(folder)) as tools:
        ours = tools["ours"]
        _say("building the images")
        for tool in tools.values():
            tool.project.run("deploy")  # its images, which Compose then takes as they are
            tool.project.run("down", "--volumes", "--yes")
        lines = [
            "| | orchestrator | Compose v2 | Compose v1 | ratio to v2 | ratio to v1 |",
            "|---|---|---|---|---|---|",
        ]
        _say("first deploy, images built")

        def all_down() -> None:
            for tool in tools.values():
                tool.down()

        lines.append(row("first deploy, images built", rounds(count, {n: t.up for n, t in tools.items()}, all_down)))
        for tool in tools.values():
            tool.up()
        _say("nothing to do")
        lines.append(row("deploy with nothing to do", rounds(count, {n: t.up for n, t in tools.items()})))
        _say("status")
        lines.append(row("`status` / `ps`", rounds(count, {n: t.state for n, t in tools.items()})))
        rebuilt = statistics.median(_rebuild(ours.project) for _ in range(3))
        return "\n".join(
            [*lines, "", *_sizes(client, ours.project), "", f"Rebuild after one changed service file: {rebuilt:.1f} s."]
        )


def _sizes(client: docker.DockerClient, project: Project) -> list[str]:
    base = {"app": "PYTHON_IMAGE", "backup": "PYTHON_IMAGE", "proxy": "NGINX_IMAGE"}
    lines = ["| image | its base | adds | in all |", "|---|---|---|---|"]
    for name, variable in base.items():
        below = client.images.get(project.bases[variable]).attrs["Size"] / 1e6
        whole = client.images.get(f"{project.name}-{name}").attrs["Size"] / 1e6
        lines.append(f"| {name} | {below:.1f} MB | {whole - below:.1f} MB | {whole:.1f} MB |")
    return lines
