"""A database in a file of its own for each test, and the application on it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache
from loguru import logger

from service import create_app, db
from service.migrate import migrate


@pytest.fixture(scope="session", autouse=True)
def _templates_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each application compiles all templates when it is made, which takes half a second."""
    compiled = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "jinja_options", {**Flask.jinja_options, "bytecode_cache": compiled})
        yield


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """The service takes over the root logger, which other tests want back."""
    handlers, level = logging.root.handlers, logging.root.level
    yield
    logger.remove()
    logging.captureWarnings(False)
    logging.root.handlers = handlers
    logging.root.setLevel(level)


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    """Where the test's database is, or will be."""
    return tmp_path / "links.db"


@pytest.fixture
def environment(database_path: Path) -> dict[str, str]:
    """What the application is configured with."""
    return {"DATABASE_PATH": str(database_path), "RELEASE": "r1", "LOG_LEVEL": "debug"}


@pytest.fixture
def app(environment: dict[str, str]) -> Iterator[Flask]:
    """The application on a migrated database."""
    migrate(f"sqlite:///{environment['DATABASE_PATH']}")
    yield create_app(environment)
    db.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Flask's test client."""
    return app.test_client()


@pytest.fixture
def add(client: FlaskClient) -> Callable[[str, str], Any]:
    """Create a link through the API."""

    def post(name: str, url: str) -> Any:
        answer = client.post("/.api/links", json={"name": name, "url": url})
        assert answer.status_code == 201, answer.text
        return answer.json

    return post


@pytest.fixture
def writer(database_path: Path) -> Iterator[apsw.Connection]:
    """Another process's connection, more or less."""
    connection = apsw.Connection(str(database_path))
    yield connection
    connection.close()
