"""From a saved change to the answer that has it, in development: code, a template, a static file."""

from __future__ import annotations

import http.client
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import docker

from tests.engine.stack import Project, copy_checkout, removed
from tests.peers import bases

#: Seconds that a change may take to be served.
BOUND = 2.0
VIEW = "service/health.py"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _code(project: Project, mark: str) -> Callable[[], bool]:
    path = project.root / VIEW
    path.write_text(
        re.sub(r'\{"status": "ok"[^}]*\}', f'{{"status": "ok", "mark": "{mark}"}}', path.read_text(), count=1)
    )
    return lambda: mark.encode() in project.ask("/livez").body


def _template(project: Project, mark: str) -> Callable[[], bool]:
    path = project.root / "service/templates/base.html"
    path.write_text(re.sub(r"(<!-- mark \w+ -->)?</body>", f"<!-- mark {mark} --></body>", path.read_text()))
    return lambda: mark.encode() in project.ask("/").body


def _static(project: Project, mark: str) -> Callable[[], bool]:
    with (project.root / "service/static/app.css").open("a") as file:
        file.write(f"/* {mark} */\n")

    def served() -> bool:
        found = re.search(rb"/static/app\.[0-9a-f]+\.css", project.ask("/").body)
        return found is not None and mark.encode() in project.ask(found[0].decode()).body

    return served


CHANGES = {"code, so it starts again": _code, "a template": _template, "a static file": _static}


def _seconds(project: Project, change: Callable[[Project, str], Callable[[], bool]], mark: str) -> float:
    served = change(project, mark)
    began = time.monotonic()
    while True:
        try:
            if served():
                return time.monotonic() - began
        except (OSError, http.client.HTTPException):
            pass  # it starts again
        time.sleep(0.01)


def measured(rounds: int) -> tuple[str, bool]:
    """The table, as Markdown, and whether every change was served in time."""
    client = docker.from_env(timeout=300)
    found: dict[str, list[float]] = {name: [] for name in CHANGES}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        made = Project(client, bases(client), copy_checkout(Path(folder)))
        made.more["COMPOSE_PROJECT_NAME"] = made.name
        made.name = f"{made.name}-development"
        with removed(made) as project:
            _say("deploying")
            project.run("-e", "development", "deploy")
            for number in range(rounds):
                for name, change in CHANGES.items():
                    # Not always at the same moment of the reloader's.
                    time.sleep(1 + (number * 0.37) % 1)
                    found[name].append(_seconds(project, change, f"m{number}x{time.monotonic_ns()}"))
                _say(f"  round {number + 1}: " + ", ".join(f"{times[-1]:.2f} s" for times in found.values()))
    right = all(seconds <= BOUND for times in found.values() for seconds in times)
    lines = ["| changed | times | to the answer that has it | at most | bound | met |", "|---|---|---|---|---|---|"]
    for name, times in found.items():
        met = "yes" if max(times) <= BOUND else "**no**"
        lines.append(
            f"| {name} | {len(times)} | {statistics.median(times):.2f} s | {max(times):.2f} s | {BOUND:g} s | {met} |"
        )
    return "\n".join(lines), right
