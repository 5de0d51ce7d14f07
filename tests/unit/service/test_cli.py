"""The commands for people and tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import Result
from flask import Flask

from service import create_app, db, passwords, people
from tests.unit.service.people_app import PASSWORD, application, cheap_passwords


@pytest.fixture
def people_app(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    cheap_passwords(monkeypatch)
    yield application(environment, AUTH="password", LOG_LEVEL="warning")
    db.close()


def _run(app: Flask, *arguments: str, given: str = "") -> Result:
    db.close()
    result = app.test_cli_runner().invoke(args=list(arguments), input=given)
    db.ensure_open()
    return result


def test_a_user_from_first_to_last(people_app: Flask) -> None:
    made = _run(people_app, "user", "add", "Ada", "--role", "admin", given=f"{PASSWORD}\n")
    assert (made.exit_code, made.stdout) == (0, "ada can sign in now, as admin.\n")
    assert passwords.is_right(PASSWORD, people.get("ada").password)
    assert _run(people_app, "user", "add", "ADA", given=PASSWORD).exit_code == 1
    assert _run(people_app, "user", "list").stdout.startswith("ada\tadmin\tsince 20")
    generated = _run(people_app, "user", "password", "ada", "--generate").stdout
    assert passwords.is_right(generated.split("Password: ")[1].strip(), people.get("ada").password)
    for command in (("role", "ada", "reader"), ("disable", "ada"), ("enable", "ada"), ("remove", "ada")):
        assert _run(people_app, "user", *command).exit_code == 0
        if command[0] == "disable":
            assert "disabled" in _run(people_app, "user", "list").stdout
    assert people.everybody() == []
    for command in (
        ("role", "ada", "reader"),
        ("disable", "ada"),
        ("remove", "ada"),
        ("password", "ada", "--generate"),
    ):
        missing = _run(people_app, "user", *command)
        assert (missing.exit_code, missing.stderr) == (1, "Error: There is no user 'ada'.\n")


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("ada", "", "--generate"),
        ("ada", "short\n", "at least 10"),
        ("a b", PASSWORD, "no spaces"),
        ("", PASSWORD, "no spaces"),
    ],
)
def test_what_cannot_be_is_one_line(people_app: Flask, name: str, given: str, words: str) -> None:
    result = _run(people_app, "user", "add", name, given=given)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert people.everybody() == []


def test_tokens(people_app: Flask) -> None:
    assert _run(people_app, "token", "add", "ada", "--label", "ci").exit_code == 1
    people.add("ada", "admin", PASSWORD)
    made = _run(people_app, "token", "add", "Ada", "--label", "ci", "--scopes", "read", "--expires", "2199-12-31")
    assert made.exit_code == 0
    bearer = {"Authorization": f"Bearer {made.stdout.strip()}"}
    assert people_app.test_client().get("/.api/me", headers=bearer).json == {
        "name": "ada",
        "role": "admin",
        "scopes": ["read"],
    }
    listed = _run(people_app, "token", "list").stdout
    assert listed.startswith("1\tada\tci\tread\tto 2199-12-31\tused ")
    assert made.stdout.strip() not in listed
    assert _run(people_app, "token", "add", "ada", "--label", "ci", "--scopes", "all").exit_code == 1
    assert _run(people_app, "token", "add", "ada", "--label", "ci", "--expires", "2001-01-01").exit_code == 1
    assert _run(people_app, "token", "list", "eve").stdout == ""
    assert _run(people_app, "token", "revoke", "1").exit_code == 0
    assert _run(people_app, "token", "revoke", "1").exit_code == 1
    token = ("token", "add", "ada", "--label", "again")
    assert _run(people_app, *token).exit_code == 0
    people.remove("ada")
    assert people.tokens() == []


def test_without_the_tables_it_says_what_to_do(environment: dict[str, str]) -> None:
    app = create_app(environment)
    db.create()
    result = _run(app, "user", "list")
    db.close()
    assert result.exit_code == 1
    assert "not up to date" in result.stderr
