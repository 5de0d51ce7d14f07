"""The schema's steps, and the command that applies them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from peewee import Database, OperationalError

from service import db, migrations
from service.migrate import main, migrate
from service.migrations import MigrationError, Step

ROOT = Path(__file__).parents[3]
STEPS = [step.name for step in migrations.known_steps()]


@pytest.fixture
def opened(database_path: Path) -> Database:
    """An empty open database."""
    database = db.configure(f"sqlite:///{database_path}")
    db.create()
    return database


def _ask(database: Database, sql: str) -> Any:
    cursor: Any = database.execute_sql(sql)  # type: ignore[no-untyped-call]
    return cursor.fetchone()[0]


def _create_table(database: Database, name: str) -> None:
    database.execute_sql(f"CREATE TABLE {name} (id INTEGER)")  # type: ignore[no-untyped-call]


def _create(table: str) -> Step:
    def apply(database: Database) -> None:
        _create_table(database, table)

    return Step({"one": 1, "two": 2}[table], f"000x_{table}", apply)


def test_fresh_then_repeated(database_path: Path) -> None:
    newest = len(migrations.known_steps())
    first = migrate(f"sqlite:///{database_path}")
    assert (first.before, first.after, len(first.applied)) == (0, newest, newest)
    again = migrate(f"sqlite:///{database_path}")
    assert (again.before, again.after, again.applied) == (newest, newest, ())
    assert [path.name for path in database_path.parent.iterdir()] == ["links.db"]


def test_the_database_is_set_up(opened: Database) -> None:
    pragmas = {name: _ask(opened, f"PRAGMA {name}") for name in ("journal_mode", "foreign_keys")}
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1}
    assert _ask(opened, "PRAGMA synchronous") == 2
    assert _ask(opened, "PRAGMA busy_timeout") == 5000
    db.close()


def test_a_failing_step_leaves_no_trace(opened: Database) -> None:
    def fail(database: Database) -> None:
        _create_table(database, "half")
        raise OperationalError("no more")

    with pytest.raises(MigrationError, match=r"0002_bad failed.*no more"):
        migrations.run([_create("one"), Step(2, "0002_bad", fail)])
    assert migrations.stored_version() == 1
    assert set(opened.get_tables()) == {"one", "schema_version"}
    assert len(migrations.run([_create("one"), _create("two")])) == 1
    db.close()


def test_a_newer_schema_is_fine(opened: Database) -> None:
    migrations.run([_create("one"), _create("two")])
    assert migrations.run([_create("one")]) == []
    assert migrations.stored_version() == 2
    db.close()


def test_two_processes_at_once(database_path: Path) -> None:
    environment = {**os.environ, "DATABASE_PATH": str(database_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "service.migrate"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=30)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    lines = [json.loads(line) for output in outputs for line in output.splitlines()]
    assert sorted(line["step"] for line in lines if line["event"] == "applied") == STEPS
    assert all(line["after"] == len(STEPS) for line in lines if line["event"] == "migrated")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DATABASE_PATH", "{tmp}/none/links.db", "does not exist"),
        ("DATABASE_PATH", "{tmp}", "can't be opened"),
        ("DATABASE_URL", "sqlite://", "must name a file"),
        ("DATABASE_URL", "sqlite:///:memory:", "must name a file"),
        ("DATABASE_URL", "nosuch://user:secret@host/name", "not understood"),
        ("DATABASE_URL", "links.db", "must look like"),
    ],
)
def test_a_failure_is_one_line(
    variable: str,
    value: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("DATABASE_URL", "DATABASE_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value.format(tmp=tmp_path))
    assert main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert "secret" not in captured.err


def test_a_file_that_is_no_database(database_path: Path) -> None:
    database_path.write_bytes(b"not a database, certainly" * 100)
    with pytest.raises(db.StorageError, match="not a database"):
        migrate(f"sqlite:///{database_path}")


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command with a database and arguments; its exit code, and what it said."""

    def run(path: Path, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.delenv("DATABASE_URL", raising=False)
        monkeypatch.setenv("DATABASE_PATH", str(path))
        code = main(arguments)
        return code, *capsys.readouterr()

    return run


def test_check_before_and_after(check: Any, database_path: Path) -> None:
    code, out, _ = check(database_path, "--check")
    assert (code, json.loads(out)) == (3, {"event": "checked", "pending": STEPS})
    assert not database_path.exists(), "nothing is changed"
    assert check(database_path)[0] == 0
    code, out, _ = check(database_path, "--check")
    assert (code, json.loads(out)) == (0, {"event": "checked", "pending": []})


def test_check_of_a_schema_with_one_step_to_go(check: Any, opened: Database, database_path: Path) -> None:
    migrations.run([])
    db.close()
    before = database_path.read_bytes()
    assert check(database_path, "--check")[0] == 3
    assert database_path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database, certainly" * 100, None], ids=["garbage", "folder"])
def test_check_of_what_can_not_be_read(check: Any, database_path: Path, content: bytes | None) -> None:
    if content is None:
        database_path.mkdir()
    else:
        database_path.write_bytes(content)
    code, out, err = check(database_path, "--check")
    assert (code, out) == (1, "")
    assert err.startswith("migrate: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--chekc"], ["--check", "now"], ["extra"]])
def test_wrong_arguments(check: Any, database_path: Path, arguments: list[str]) -> None:
    assert check(database_path, *arguments) == (2, "", "usage: python -m service.migrate [--check]\n")
    assert not database_path.exists()


def test_visits_of_before_and_of_the_release_before(opened: Database) -> None:
    """They are kept where they are moved, and what the release before this one goes on counting is added."""
    steps = migrations.known_steps()
    link = "INSERT INTO link (key, name, url, created, updated, clicks, visited) VALUES ({0}, {0}, 'u', 0, 0, {1}, {1})"

    def run(sql: str) -> None:
        opened.execute_sql(sql)  # type: ignore[no-untyped-call]

    migrations.run(steps[:3])
    run(link.format("'a'", 5))
    migrations.run(steps)
    run("UPDATE visit SET clicks = clicks + 1, visited = 9 WHERE link = 1")
    # As it counts a visit, and as it imports a link, undeletes and deletes one.
    run("UPDATE link SET clicks = clicks + 2, visited = CASE WHEN visited < 7 THEN 7 ELSE visited END WHERE id = 1")
    run(link.format("'b'", 3))
    assert opened.execute_sql("SELECT * FROM visit").fetchall() == [(1, 8, 9), (2, 3, 3)]  # type: ignore[no-untyped-call]
    run("DELETE FROM link WHERE id = 1")
    assert opened.execute_sql("SELECT * FROM visit").fetchall() == [(2, 3, 3)]  # type: ignore[no-untyped-call]
    db.close()
