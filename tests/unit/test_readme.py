"""The README says what is there: commands that parse and are run by tests, messages that are told, links."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest

from orchestrator import arguments
from tests import readme
from tests.readme_proofs import ELSEWHERE, NOT_RUN, TROUBLES, TYPED

TEXT = readme.read()
COMMANDS = readme.commands(TEXT)
SHOWN = [command for command, _ in readme.sessions(TEXT)]
ALL = [readme.README, *readme.TRANSLATIONS]


def ours(command: str) -> list[list[str]]:
    """The words after each `python -m orchestrator` of a line of shell."""
    found: list[list[str]] = []
    words: list[str] | None = None
    before = ""
    splitter = shlex.shlex(command, posix=True, punctuation_chars=True)
    splitter.whitespace_split = True
    for word in splitter:
        if (before, word) == ("-m", "orchestrator"):
            found.append(words := [])
        elif set(word) <= set("();<>|&"):
            words = None
        elif words is not None:
            words.append(word)
        before = word
    return found


def mentioned() -> list[str]:
    """The commands in running text, but for those that show the form of all."""
    whole = [code for path in ALL for code in readme.code(path.read_text(encoding="utf-8"))]
    return [code for code in whole if "-m orchestrator " in code and "VERB" not in code]


def test_every_command_line_of_ours_parses() -> None:
    lines = [line for command in (*COMMANDS, *SHOWN, *mentioned()) for line in ours(command)]
    assert len(lines) > 40
    for line in lines:
        assert arguments.parser().parse_args(line).verb, line


def test_every_command_is_run_by_a_test_or_says_why_not() -> None:
    known = [*TYPED, *ELSEWHERE, *NOT_RUN]
    assert len(known) == len(set(known)), "a command has one place"
    assert set(COMMANDS) == set(known)
    assert len(set(NOT_RUN.values())) <= 4


def test_the_tour_shows_what_each_of_its_commands_prints() -> None:
    verbs = {line[0] for command in SHOWN for line in ours(command)}
    assert verbs >= {"deploy", "plan", "rollback", "releases", "backup", "verify", "restore", "status", "down"}
    printed = [command for command, output in readme.sessions(TEXT) if output]
    assert [command for command in SHOWN if ours(command)] == [command for command in printed if ours(command)]


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((readme.ROOT / path).read_text(encoding="utf-8"))


def function(named: str) -> ast.FunctionDef:
    """A test by its id."""
    path, _, name = named.partition("::")
    (found,) = (node for node in tree(path).body if isinstance(node, ast.FunctionDef) and node.name == name)
    return found


@pytest.mark.parametrize("named", sorted({*ELSEWHERE.values(), *TROUBLES.values()}))
def test_the_named_tests_are_there(named: str) -> None:
    assert function(named) if "::" in named else os.access(readme.ROOT / named, os.X_OK)


def templates(node: ast.AST) -> list[str]:
    """All texts of a piece of code; what is put into them when it runs is a NUL."""
    inside = {id(part) for joined in ast.walk(node) if isinstance(joined, ast.JoinedStr) for part in joined.values}
    found = []
    for part in ast.walk(node):
        if isinstance(part, ast.JoinedStr):
            found.append("".join(str(v.value) if isinstance(v, ast.Constant) else "\0" for v in part.values))
        elif isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in inside:
            found.append(part.value)
    return found


@cache
def told() -> tuple[str, ...]:
    """Every text in the orchestrator's code."""
    paths = sorted((readme.ROOT / "orchestrator").rglob("*.py"))
    return tuple(text for path in paths for text in templates(tree(str(path.relative_to(readme.ROOT)))))


def pieces(symptom: str) -> list[str]:
    return [piece.strip(" :,") for piece in symptom.split("...") if piece.strip(" :,")]


@pytest.mark.parametrize("symptom", TROUBLES)
def test_a_trouble_is_told_in_these_words_and_brought_about(symptom: str) -> None:
    wanted = re.compile(".*".join(map(re.escape, pieces(symptom))), re.DOTALL)
    assert any(wanted.search(text) for text in told()), "the code does not say this"
    looked_for = templates(function(TROUBLES[symptom]))
    longest = [piece for piece in pieces(symptom) if len(piece) >= 9]
    assert any(piece in text for piece in longest for text in looked_for), "its test does not look for this"


def test_the_table_of_troubles() -> None:
    rows = readme.rows(readme.section(TEXT, "When something is wrong"))
    assert [readme.code(row[0])[0] for row in rows] == list(TROUBLES)
    assert all(len(row) == 3 and all(row) for row in rows)


def slug(heading: str) -> str:
    """The address of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_links_inside_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    there = {slug(title) for _, title in readme.headings(text)}
    assert len(there) == len(readme.headings(text)), "two headings have the same address"
    links = re.findall(r"\]\(([^)\s]+)\)", readme.prose(text))
    assert {link[1:] for link in links if link.startswith("#")} <= there
    assert all((readme.ROOT / link).exists() for link in links if not link.startswith(("#", "https://")))


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_files_and_modules_that_are_named_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tops = "orchestrator|service|tests|config"
    files = {code for code in readme.code(text) if re.fullmatch(rf"({tops})/[\w./-]*", code)}
    assert files
    assert [name for name in sorted(files) if not (readme.ROOT / name).exists()] == []
    modules = set(re.findall(rf"-m ((?:{tops})(?:\.\w+)*)", text))
    assert [name for name in sorted(modules) if importlib.util.find_spec(name) is None] == []


def test_each_requirement_has_its_file_and_its_test() -> None:
    rows = readme.rows(readme.section(TEXT, "What the brief asks for"))
    assert [row[0] for row in rows] == [str(number) for number in range(1, 16)]
    for number, _, where, shown in rows:
        codes = readme.code(f"{where} | {shown}")
        named = [readme.ROOT / code for code in codes if "/" in code or "." in code]
        assert all(path.exists() or any(path.parent.glob(path.name)) for path in named), number
        assert any(path.name.startswith("test_") for path in named) or number == "15", number


def test_a_translation_has_the_same_parts() -> None:
    levels = [level for level, _ in readme.headings(TEXT)]
    for path in readme.TRANSLATIONS:
        text = path.read_text(encoding="utf-8")
        assert [level for level, _ in readme.headings(text)] == levels, path.name
        assert readme.commands(text) == COMMANDS, path.name
        assert readme.sessions(text) == readme.sessions(TEXT), path.name


def test_the_hook_is_one_that_git_runs(tmp_path: Path) -> None:
    (command,) = (command for command in COMMANDS if "hooks/pre-commit" in command)
    (tmp_path / ".git" / "hooks").mkdir(parents=True)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$@"\nexit 7\n')
    python.chmod(0o755)
    subprocess.run(["bash", "-euc", command], cwd=tmp_path, check=True)
    done = subprocess.run(
        [tmp_path / ".git/hooks/pre-commit"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (7, "-m tests.check\n")


def test_reading_finds_what_there_is() -> None:
    """Guards the tests above against a reader that finds nothing."""
    text = (
        "# A\n```sh\na b \\\n  c  # why\n# only a comment\n```\n## B\n- x:\n\n  ```sh\n  d '# e'\n  ```\n"
        "```console\n$ one\n1\n# 2\n$ two\n```\n| h |\n|---|\n| `x y` | z |\n"
    )
    assert readme.headings(text) == [(1, "A"), (2, "B")]
    assert readme.commands(text) == ["a b c", "d '# e'"]
    assert readme.sessions(text) == [("one", "1\n# 2\n"), ("two", "")]
    assert readme.rows(text) == [["`x y`", "z"]]
    assert readme.code(text) == ["x y"]
    line = "A=1 python3 -m orchestrator -e development plan 2>&1 | python -m orchestrator logs 'a b' && c"
    assert ours(line) == [["-e", "development", "plan", "2"], ["logs", "a b"]]
    joined = ast.parse('f"port {x} is" " in use"\n"plain"')
    assert templates(joined) == ["port \0 is in use", "plain"]
