"""Completion, in the shells themselves: what a person sees after Tab."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import completion, status
from orchestrator.arguments import LEVELS
from tests.cannot import cannot
from tests.terminal import Terminal, terminal
from tests.unit.stacks import ROOT, deployed
from tests.unit.test_logs import session_of

#: How each shell begins without anybody's own settings, and reads the script.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "bind 'set bell-style none'; source ./script"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source ./script"),
    "fish": (["fish", "--no-config", "-i"], "source ./script"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place with the scripts, and a python that answers what is looked up."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("python", "python3"):
        fake = tmp_path / "bin" / name
        fake.write_text(
            "#!/bin/sh\n"
            'case "$4" in\nsnapshots) echo latest; echo 20261124T101502Z;;\nreleases) echo 20261124T-abc;;\nesac\n'
        )
        fake.chmod(0o755)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    path = f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(folder), "PS1": "ready> ", "VIRTUAL_ENV": ""}


def words(folder: Path, line: str) -> set[str]:
    """What bash offers for a line."""
    (folder / "script").write_text(completion.script("bash"))
    ask = (
        'source ./script; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _orchestrator_python; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask, "bash", *line.split(" ")],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("sta", {"status"}),
        ("status --w", {"--watch"}),
        ("logs ", {"app", "proxy", "backup"}),
        ("logs -f p", {"proxy"}),
        ("logs app --level ", set(LEVELS)),
        ("-e ", {"production", "development"}),
        ("-e development --json maint", {"maintenance"}),
        ("maintenance ", {"on", "off"}),
        ("restore l", {"latest"}),
        ("verify --rehearse ", {"latest", "20261124T101502Z"}),
        ("rollback ", {"20261124T-abc"}),
        ("backup --to b", {"bin"}),
        ("exec b", {"backup"}),
    ],
)
def test_what_bash_offers(typed: str, offered: set[str], folder: Path) -> None:
    assert words(folder, f"python3 -m orchestrator {typed}") == offered
    assert words(folder, f".venv/bin/python -m orchestrator {typed}") == offered


def test_other_uses_of_python_are_left_alone(folder: Path) -> None:
    assert words(folder, "python3 -m pytest sta") == set()
    assert words(folder, "python3 sta") == set()


def test_nothing_is_looked_up_where_it_would_make_a_virtual_environment(folder: Path) -> None:
    (folder / ".venv").rmdir()
    assert words(folder, "python3 -m orchestrator rollback ") == set()


def shell(name: str, folder: Path, then: Callable[[Terminal], None]) -> None:
    if shutil.which(name) is None:
        cannot(f"{name} is not installed")
    (folder / "script").write_text(completion.script(name))
    command, begin = SHELLS[name]
    with terminal(command, cwd=folder, env=environment(folder), columns=200) as screen:
        screen.type(f"{begin}; echo be''gun\n")
        screen.until("begun")
        then(screen)


@pytest.mark.parametrize("name", SHELLS)
def test_tab_in_the_shell_itself(name: str, folder: Path) -> None:
    def use(screen: Terminal) -> None:
        for typed, completed in (
            ("python3 -m orchestrator maint", "maintenance"),
            ("python -m orchestrator status --wat", "--watch"),
            ("python -m orchestrator logs -f prox", "proxy"),
            ("python3 -m orchestrator rollback 2026", "20261124T-abc"),
            ("python3 -m orchestrator -e dev", "development"),
        ):
            screen.type(f"{typed}\t")
            screen.until(completed)
            screen.type("\x15")  # the line is given up

    shell(name, folder, use)


def test_words_are_looked_up_newest_first() -> None:
    target = deployed()
    listed = json.dumps({"snapshots": [{"snapshot": "20261124T101502Z"}]})
    target.commands[(*status.AGENT, "list")] = (0, listed)
    session = session_of(target)
    assert completion.words(session, "releases") == ["20261124T101502-aaaaaaa"]
    assert completion.words(session, "snapshots") == ["latest", "20261124T101502Z"]


@pytest.mark.parametrize("name", SHELLS)
def test_the_verb_prints_a_script_alone(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "completion", name], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("# Completion of `python -m orchestrator`")
    assert done.stderr == ""
