"""The README's commands, as somebody types them: the tour, with what it prints, and the others on one stack."""

from __future__ import annotations

import sys

import pytest

from tests import readme
from tests.engine.conftest import MakeProject
from tests.engine.stack import Project, until
from tests.readme_proofs import ELSEWHERE, TYPED
from tests.terminal import terminal
from tests.tour import environment, masked, played, run, typed

pytestmark = pytest.mark.engine

#: They go on until Ctrl-C.
ENDLESS = ("python -m orchestrator logs -f", "python -m orchestrator status --watch", "docker stats")


@pytest.fixture(scope="module")
def checkout(make_project: MakeProject) -> Project:
    """The one of all of it: the images are built once."""
    return make_project()


def test_the_tour(checkout: Project) -> None:
    """Each command prints what is shown, but for times, ids and sizes."""
    for command, output in readme.sessions(readme.read()):
        assert masked(played(command, checkout)) == masked(output), command


@pytest.fixture(scope="module")
def stack(checkout: Project) -> Project:
    """It is deployed, has a snapshot and no links."""
    checkout.run("deploy")
    checkout.ask("/.api/links/wiki", method="DELETE")
    until(lambda: checkout.json("backups")["snapshots"], 60, "the first snapshot is there", 0.5)
    return checkout


def test_a_password_is_asked_for_and_tokens_have_a_last_day(stack: Project) -> None:
    add, token, tokens = (command for command in ELSEWHERE if " flask " in command)
    words = add.removeprefix("python ").split()
    with terminal([sys.executable, *words], cwd=stack.root, env=stack.env) as screen:
        for question in ("Password: ", "Repeat for confirmation: "):
            screen.until(question, 90)
            screen.type("correct horse battery\n")
        screen.until("ada can sign in now, as admin", 90)
        assert screen.end() == 0
    code, output = run(token.replace("2027", "2099"), stack)
    assert code == 0, output
    assert "golinks_" in output
    assert "2099-01-31" in run(tokens, stack)[1]


@pytest.mark.parametrize("command", [command for command in TYPED if command.startswith(ENDLESS)])
def test_a_command_that_goes_on(command: str, stack: Project) -> None:
    stack.ask("/.api/links/nosuch")
    words = ["bash", "-c", f"exec {typed(command, stack)}"]
    with terminal(words, cwd=stack.root, env=environment(stack)) as screen:
        screen.until(TYPED[command], 60)
        screen.type("\x03")
        assert screen.end() == 0 or command.startswith("docker")


@pytest.mark.parametrize("command", [command for command in TYPED if not command.startswith(ENDLESS)])
def test_a_command_as_it_stands_there(command: str, stack: Project) -> None:
    code, output = run(command.replace("go.old", f"127.0.0.1:{stack.port}"), stack)
    assert code == 0, output
    assert TYPED[command] in output
