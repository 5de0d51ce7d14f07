"""From somebody's Flask and SQLite repository to a deployed one, by the commands of the README's guide."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests import readme
from tests.engine.stack import SERVICES, Project, until

pytestmark = pytest.mark.engine

#: With a layout of its own, sqlite3 directly, a table made at the start, no health path, static files by Flask.
GUESTBOOK = """\
import os, sqlite3
from flask import Flask, request

DATABASE = os.environ.get("GUESTBOOK_DB", "guests.sqlite3")
VERSION = "one"
app = Flask(__name__)


def connect():
    connection = sqlite3.connect(DATABASE, timeout=5)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS guest (name TEXT NOT NULL)")
    return connection


@app.get("/")
def guests():
    with connect() as connection:
        return {"version": VERSION, "guests": [name for (name,) in connection.execute("SELECT name FROM guest")]}


@app.post("/sign")
def sign():
    with connect() as connection:
        connection.execute("INSERT INTO guest VALUES (?)", [request.get_json()["name"]])
    return {}, 201
"""


def test_the_guide(project: Project) -> None:
    shop = project.root.parent / f"guestbook-{project.name}"
    (shop / "guestbook" / "static").mkdir(parents=True)
    code = shop / "guestbook" / "__init__.py"
    code.write_text(GUESTBOOK)
    (shop / "guestbook" / "static" / "mark.txt").write_text("from the app")
    (shop / "requirements.txt").write_text("Flask==3.1.3\n")
    with sqlite3.connect(shop / "guests.sqlite3") as existing:
        existing.execute("CREATE TABLE guest (name TEXT NOT NULL)")
        existing.execute("INSERT INTO guest VALUES ('from before')")
    existing.close()

    def run(command: str) -> str:
        """A command of the guide, as somebody types it."""
        own = {"../guestbook": str(shop), "guestbook-app": f"{project.name}-app"}
        for word, here in own.items():
            command = command.replace(word, here)
        command = re.sub(r"python3? -m", "python -m", command)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=project.root,
            env=project.env | {"PATH": f"{Path(sys.executable).parent}:{project.env['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    init, deploy, copy, again, restart, plan, release, back, snapshot, listed = readme.commands(
        readme.section(readme.read(), "Your own app")
    )
    assert run(init + " --yes").startswith("wrote config/production.toml")
    run(deploy)
    assert project.health() == dict.fromkeys(SERVICES, "running healthy")
    assert project.ask("/").json == {"version": "one", "guests": []}
    assert project.ask("/static/mark.txt").body == b"from the app"
    for command in (copy, again, restart):
        run(command)
    until(lambda: project.ask("/").status == 200, 30, "it is back")
    assert project.ask("/").json["guests"] == ["from before"]
    assert project.post_json("/sign", {"name": "Олена"}).status == 201

    code.write_text(GUESTBOOK.replace('VERSION = "one"', 'VERSION = "two"'))
    assert "build image" in run(plan)
    assert "serves at" in run(release)
    assert project.ask("/").json == {"version": "two", "guests": ["from before", "Олена"]}
    run(back)
    assert project.ask("/").json["version"] == "one"
    assert "snapshot" in run(snapshot)
    assert "before" not in run(listed)
    assert project.json("verify", "latest")["databases"][0]["rows"] == 2
