"""What a person sees and answers on a terminal, a real one; and that pipes get the plain text."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from tests.engine.conftest import MakeProject
from tests.engine.stack import Project, finished
from tests.terminal import Terminal, terminal

pytestmark = pytest.mark.engine


def on_terminal(
    project: Project, *arguments: str, rows: int = 40, **environment: str
) -> AbstractContextManager[Terminal]:
    command = [sys.executable, "-m", "orchestrator", *arguments]
    return terminal(command, cwd=project.root, env=project.env | environment, rows=rows)


@pytest.fixture(scope="module")
def stack(make_project: MakeProject) -> Iterator[Project]:
    """One that was deployed on a terminal."""
    project = make_project()
    with on_terminal(project, "deploy") as screen:
        code = screen.end(300)
        drawn, plain = screen.text, screen.plain()
    assert code == 0, plain
    assert f"serves at {project.url}/" in plain
    # The live display: a spinner and the seconds of what goes on, several at the same time; then a line for each.
    assert any(sign in drawn for sign in "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
    assert "\x1b[?25l" in drawn, "the cursor is hidden"
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l"), "and comes back"
    assert "s  wait healthy" in plain
    yield project
    project.run("down", "--volumes", "--yes")


def test_status_is_a_table_in_colour(stack: Project) -> None:
    with on_terminal(stack, "status") as screen:
        assert screen.end() == 0
        drawn, plain = screen.text, screen.plain()
    assert "\x1b[32mrunning" in drawn
    assert "\x1b[32mhealthy" in drawn
    assert " MB / " in plain
    assert "no drift" in plain
    with on_terminal(stack, "status", NO_COLOR="1") as screen:
        assert screen.end() == 0
        assert "\x1b[3" not in screen.text
    with on_terminal(stack, "releases", TERM="dumb") as screen:
        assert screen.end() == 0
        assert "\x1b" not in screen.text


def test_watch_draws_again_and_ends_with_ctrl_c(stack: Project) -> None:
    with on_terminal(stack, "status", "--watch", rows=12) as screen:
        first = screen.until("lines more: make the window larger")
        assert first.startswith("\x1b[H")
        assert "\x1b[2J" not in first, "it does not flicker"
        again = screen.until("lines more", 10)
        assert "\x1b[H" in again
        screen.type("\x03")
        assert screen.end() == 0
        assert "error" not in screen.plain()
    process = stack.start("status", "--watch")
    assert process.stdout
    lines = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGINT)
    result = finished(process, 20)
    assert (result.code, result.stderr) == (0, "")
    assert lines[0] == f"project   {stack.name}\n"


def request(stack: Project, path: str) -> str:
    """The id that a request was given."""
    stack.ask(path)
    for line in reversed(stack.run("logs", "proxy", "--since", "1m").stdout.splitlines()):
        found = json.loads(line.partition("|")[2]) if "{" in line else {}
        if found.get("uri") == path:
            return str(found["request_id"])
    raise AssertionError(f"no request for {path}")


def test_logs_follow_shows_services_and_requests(stack: Project) -> None:
    with on_terminal(stack, "logs", "-f", "-n", "1") as screen:
        stack.ask("/.detail/nosuch?marker=1")
        seen = screen.until("/.detail/nosuch?marker=1 404")
        assert "\x1b[35mproxy  |" in seen + screen.text
        screen.type("\x03")
        assert screen.end() == 0
        assert "error:" not in screen.plain()


def test_logs_by_level_request_and_time(stack: Project) -> None:
    stack.add("known")
    missing, known = request(stack, "/.detail/nosuch?x"), request(stack, "/.detail/known?y")
    warnings = stack.run("logs", "proxy", "--level", "warning").stdout
    assert missing in warnings
    assert known not in warnings
    lines = stack.run("logs", "--request", known[:16]).stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"app", "proxy"}
    assert all(known in line for line in lines)
    assert known in stack.run("logs", "--since", "1h", "--request", known).stdout
    assert stack.run("logs", "--until", "1h").stdout == ""
    assert stack.run("logs", "--since", "2099-01-01").stdout == ""
    # In a pipe, each line is as it was written.
    assert json.loads(lines[0].partition("|")[2])["request_id"] == known
    wrong = stack.run("logs", "--since", "soon", check=False)
    assert (wrong.code, wrong.stdout) == (2, "")


def test_nothing_is_destroyed_unasked(stack: Project) -> None:
    before = stack.footprint()
    snapshot = stack.json("backup")["snapshot"]
    for arguments, question in (
        (("down", "--volumes"), f"Delete the volumes of {stack.name}: its data and all its snapshots? [y/N]"),
        (("restore", snapshot), f"Replace the data of {stack.name} by "),
    ):
        with on_terminal(stack, *arguments) as screen:
            screen.until(question)
            screen.type("\n")
            assert screen.end() == 2
            assert "nothing was done" in screen.plain()
        refused = stack.run(*arguments, check=False)
        assert refused.code == 2
        assert "hint: say so with --yes" in refused.stderr
    assert stack.footprint() == before
