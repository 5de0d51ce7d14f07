"""The command line: what it teaches, what it takes, and how each end is told."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import arguments, bootstrap, cli, command, errors
from tests.unit.stacks import ROOT

VERBS = (
    "setup",
    "deploy",
    "plan",
    "releases",
    "rollback",
    "status",
    "backup",
    "backups",
    "maintenance",
    "logs",
    "exec",
    "down",
    "doctor",
    "compose",
    "completion",
)
Capture = pytest.CaptureFixture[str]


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def exits(argv: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_alone_it_teaches(capsys: Capture) -> None:
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    assert "python3 -m orchestrator deploy --setup" in text
    assert all(f"\n    {verb}" in text for verb in VERBS)
    assert "exit codes: 0 done" in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: Capture) -> None:
    assert exits([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: python -m orchestrator {verb}" in text
    assert "--json" in text


def test_no_verb_is_without_help() -> None:
    (action,) = (a for a in arguments.parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert set(action.choices) == set(cli.VERBS)
    for name, made in action.choices.items():
        assert made.description, name
        for option in made._actions:
            assert option.help, f"{name} {option.option_strings or option.dest}"


def test_help_imports_nothing_slow() -> None:
    code = (
        "import sys; from orchestrator import cli\n"
        "try:\n    cli.main(['deploy', '--help'])\nexcept SystemExit: pass\n"
        "cli.main([])\n"
        "print(sorted({'docker', 'msgspec', 'pydantic', 'requests', 'rich', 'yaml', 'dotenv'} & sys.modules.keys()))"
    )
    assert python(code).splitlines()[-1] == "[]"


def parsed(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """What a verb is called with."""
    seen: list[argparse.Namespace] = []

    def run(options: argparse.Namespace) -> int:
        seen.append(options)
        return 0

    monkeypatch.setitem(cli.VERBS, "plan", run)
    monkeypatch.setitem(cli.VERBS, "exec", run)
    assert cli.main(argv) == 0
    return seen[0]


@pytest.mark.parametrize(
    "argv",
    [
        ["--json", "--verbose", "--yes", "-e", "development", "plan"],
        ["plan", "--json", "--verbose", "--yes", "-e", "development"],
        ["--json", "--yes", "plan", "--verbose", "--environment", "development"],
    ],
)
def test_global_options_before_and_after_the_verb(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    options = parsed(argv, monkeypatch)
    assert (options.json, options.verbose, options.yes, options.environment) == (True, True, True, "development")


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    options = parsed(["plan"], monkeypatch)
    assert (options.json, options.verbose, options.yes, options.environment) == (False, False, False, "production")


def test_words_after_exec_are_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    options = parsed(["exec", "app", "ls", "--json", "-e", "x", "--help"], monkeypatch)
    assert options.command == ["ls", "--json", "-e", "x", "--help"]
    assert not options.json


ERRORS: list[tuple[BaseException, int]] = [
    (errors.OrchestratorError("m"), 1),
    (errors.EngineError("m"), 1),
    (errors.UsageError("m"), 2),
    (errors.RolledBack("m"), 3),
    (errors.Locked("m"), 4),
    (errors.NoEngine("m"), 5),
    (errors.Interrupted("m"), 1),
    (KeyboardInterrupt(), 1),
]


def raising(error: BaseException) -> Callable[[Any], int]:
    def run(_: Any) -> int:
        raise error

    return run


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("as_json", [False, True])
def test_each_error_has_its_exit_code_and_no_traceback(
    error: BaseException, code: int, as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(cli.VERBS, "plan", raising(error))
    assert cli.main(["plan", *(["--json"] if as_json else [])]) == code
    out, err = capsys.readouterr()
    assert "error: " in err
    assert "Traceback" not in err
    if as_json:
        assert json.loads(out)["result"] == "failed"
    else:
        assert out == ""


def test_verbose_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setitem(cli.VERBS, "plan", raising(errors.OrchestratorError("m")))
    assert cli.main(["plan", "--verbose"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_error_as_a_document(capsys: Capture) -> None:
    error = errors.RolledBack("it exited.", hint="look.", detail=("last line",))
    error.outcome = {"result": "rolled_back", "release": "r1", "steps": []}
    assert bootstrap.tell(error, json=True) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "result": "rolled_back",
        "release": "r1",
        "steps": [],
        "error": "it exited.",
        "hint": "look.",
        "detail": ["last line"],
    }
    assert err == "  | last line\nerror: it exited.\nhint: look.\n"


def test_result_is_exactly_one_document(capsys: Capture) -> None:
    assert cli.main(["compose", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "files": ["docker-compose.yml", "config/docker-compose.development.yml"],
        "written": [],
    }


def test_a_compose_file_that_is_not_current(monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    assert cli.main(["compose", "--check"]) == 1
    assert "docker-compose.yml is not what the settings give" in capsys.readouterr().err
    assert cli.main(["compose"]) == 0
    assert cli.main(["compose", "--check"]) == 0


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["plan", "--no-such-option"],
        ["-e", "staging", "plan"],
        ["logs", "-n", "0"],
        ["logs", "--json"],
        ["logs", "--level", "loud"],
        ["logs", "--since", "soon"],
        ["logs", "--since", "1m", "--until", "1h"],
        ["completion"],
        ["completion", "powershell"],
        ["status", "--watch", "--json"],
        ["exec", "app"],
        ["exec"],
        ["plan", "extra"],
        ["rollback", "one", "two"],
        ["maintenance", "perhaps"],
    ],
)
def test_a_wrong_command_line_is_exit_2(argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("orchestrator.command.session", lambda _: None)
    try:
        code = cli.main(argv)
    except SystemExit as end:
        code = int(str(end.code))
    assert code == 2
    assert "error: " in capsys.readouterr().err


def test_deleting_the_data_needs_consent(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    class Session:
        class stack:  # noqa: N801 - stands for an attribute
            project = "shop"

    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("orchestrator.command.session", lambda _: Session)
    monkeypatch.setattr("orchestrator.packages.terminal", lambda: None)
    assert cli.main(["down", "--volumes"]) == 2
    assert "say so with --yes" in capsys.readouterr().err
    monkeypatch.setattr("orchestrator.packages.terminal", lambda: no)
    assert cli.main(["down", "--volumes"]) != 0
    assert asked == ["Delete the volumes of shop: its data and all its snapshots?"]


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    code = (
        "import sys; from orchestrator import cli\n"
        "def run(options): raise BrokenPipeError\n"
        "cli.VERBS['plan'] = run\n"
        "sys.exit(cli.main(['plan']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
