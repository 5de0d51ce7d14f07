"""The first configuration of somebody's own app: what is found, asked, written and refused."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from orchestrator import settings
from orchestrator.compose import DEVELOPMENT, files, render
from orchestrator.detect import look
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.init import beside, init
from orchestrator.model import Bind
from orchestrator.stack import build_stack
from tests.unit.stacks import ROOT

CODE = """\
import os, sqlite3
from flask import Flask
DATABASE = os.environ.get("GUESTS_DATABASE", "guests.db")
server: Flask = Flask(__name__)
@server.route("/healthz")
def health(): return "ok"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of ours, with its configuration alone."""
    made = tmp_path / "deploy"
    shutil.copytree(ROOT / "config", made / "config")
    return made


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "Guest Book"
    (folder / "web" / "static").mkdir(parents=True)
    (folder / "web" / "main.py").write_text(CODE)
    (folder / "guests.db").write_text("")
    (folder / "requirements.txt").write_text("flask\n")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "other.py").write_text("app = Flask(__name__)")
    return folder


def written(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "config/production.toml").read_text())


def test_what_a_folder_tells(shop: Path) -> None:
    found = look(shop)
    assert (found.module, found.health, found.variable) == ("web.main:server", "/healthz", "GUESTS_DATABASE")
    assert (found.databases, found.port, found.dockerfile) == (("guests.db",), None, False)
    (shop / "Dockerfile").write_text("FROM x\nexpose 5000/tcp\n")
    (shop / "app.py").write_text("def create_app(): ...\n")
    assert (look(shop).port, look(shop).module, look(shop).dockerfile) == (5000, "app:create_app()", True)


def test_with_the_suggestions_alone(root: Path, shop: Path) -> None:
    result = init(root, shop, {}, None, environ={})
    app = written(root)["services"]["app"]
    assert (app["build"], app["port"], app["volumes"]) == ("../Guest Book", 8000, {"data": "/data"})
    assert app["environment"] == {"GUESTS_DATABASE": "/data/guests.db"}
    assert result["written"][-2:] == ["../Guest Book/Dockerfile", "../Guest Book/.dockerignore"]
    assert "web.main:server" in (shop / "Dockerfile").read_text()
    assert result["todo"] == []
    assert (root / "config/production.toml.before-init").read_bytes() == (ROOT / "config/production.toml").read_bytes()
    # All of it is right: both environments, and a compose file.
    production = settings.load(root, "production", {})
    assert production.host.COMPOSE_PROJECT_NAME == "guest-book"
    development = build_stack(settings.load(root, "development", {}))
    assert development.project == "guest-book-development"
    # The Dockerfile is ours, so it is known where the app's code is in the image.
    assert development.service("app").binds == (Bind(str(shop), "/app"),)
    assert "WORKDIR /app" in (shop / "Dockerfile").read_text()
    assert development.service("app").command[:4] == ("flask", "--app", "web.main:server", "run")
    assert not development.proxied
    assert "../Guest Book:/app:ro" in files(root, {})[DEVELOPMENT]
    text = render(build_stack(settings.for_compose(root, "production")))
    assert "context: ../Guest Book" in text
    assert "static_files" not in text
    assert "data:/data:ro" in text


def test_answers(root: Path, shop: Path) -> None:
    questions: list[str] = []
    answers = {"project": "book", "port": ["no", "70000", "5000"], "migrate": "flask 'db up'", "static": "/srv/static"}

    def ask(question: str, suggestion: str) -> str:
        questions.append(question)
        word = next((name for name in answers if name in question.lower()), "")
        said = answers.get("static" if "Nginx" in question else "migrate" if "schema" in question else word, suggestion)
        return said.pop(0) if isinstance(said, list) else str(said)

    (shop / "Dockerfile").write_text("FROM x\nRUN mkdir /elsewhere\n")
    result = init(
        root, shop, {"health": "/up", "data": "/var/lib/book"}, ask, environ={"COMPOSE_PROJECT_NAME": "golinks"}
    )
    document = written(root)
    app = document["services"]["app"]
    assert (document["project"], app["port"], app["migrate"]) == ("book", 5000, ["flask", "db up"])
    assert app["volumes"] == {"data": "/var/lib/book", "static_files": "/srv/static"}
    assert "127.0.0.1:5000/up" in app["health"]["command"][2]
    assert sum(question.startswith("It must be a port") for question in questions) == 2
    assert not any("gunicorn" in question for question in questions), "there is a Dockerfile"
    assert (shop / "Dockerfile").read_text().startswith("FROM x"), "and it is left alone"
    development = build_stack(settings.load(root, "development", {}))
    assert (development.service("app").binds, development.proxied) == ((), True), "nobody knows where to mount"
    owner, variable = result["todo"]
    assert "RUN install -d -o 10001 -g 10001 /var/lib/book" in owner
    assert "COMPOSE_PROJECT_NAME is golinks" in variable


def test_a_ready_image(root: Path) -> None:
    init(root, None, {"image": "registry.example/shop:2", "project": "shop"}, None, environ={})
    app = written(root)["services"]["app"]
    assert (app["image"], "build" in app) == ("registry.example/shop:2", False)


def test_nothing_is_overwritten(root: Path, shop: Path) -> None:
    init(root, shop, {}, None, environ={})
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="describes an app of your own already"):
        init(root, shop, {"port": "9000"}, None, environ={})
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "given",
    [
        {"port": "0"},
        {"project": "No"},
        {"data": "/"},
        {"data": 'x"'},
        {"command": "a 'b"},
        {"migrate": "a\nb"},
        {"module": "x;y"},
    ],
)
def test_a_wrong_answer_writes_nothing(given: dict[str, str], root: Path, shop: Path) -> None:
    with pytest.raises(UsageError):
        init(root, shop, given, None, environ={})
    assert (root / "config/production.toml").read_bytes() == (ROOT / "config/production.toml").read_bytes()
    assert not (shop / "Dockerfile").exists()


@pytest.mark.parametrize(("folder", "given"), [(None, {}), ("shop", {"image": "x"}), ("nosuch", {})])
def test_a_folder_or_an_image(folder: str | None, given: dict[str, str], root: Path, shop: Path) -> None:
    path = None if folder is None else shop if folder == "shop" else shop / "nosuch"
    with pytest.raises(UsageError):
        init(root, path, given, None, environ={})


def test_a_folder_that_cannot_be_written_to(root: Path, shop: Path) -> None:
    (shop / "Dockerfile.part").mkdir()
    with pytest.raises(OrchestratorError, match="could not be written"):
        init(root, shop, {}, None, environ={})
    assert (root / "config/production.toml").read_bytes() == (ROOT / "config/production.toml").read_bytes()
    assert list(root.rglob("*.before-init")) == []


def test_a_long_name_leaves_its_development_one_that_is_allowed() -> None:
    assert beside("shop") == "shop-development"
    long = "a-guest-book-of-many-guests-20"
    for name in (long, long[:19]):
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,29}", beside(name))
        assert beside(name) != name
