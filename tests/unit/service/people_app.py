"""An application where people sign in, and browsers of theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service import create_app, db, passwords, people
from service.migrate import migrate

PASSWORD = "correct horse battery"
Make = Callable[..., Flask]


def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ways, quick."""
    monkeypatch.setattr(passwords, "METHOD", "scrypt:256:8:1")
    monkeypatch.setattr(passwords, "NOBODY", f"scrypt:256:8:1$salt${'0' * 128}")


def application(environment: dict[str, str], **more: str) -> Flask:
    """One with these settings on a migrated database."""
    migrate(f"sqlite:///{environment['DATABASE_PATH']}")
    app = create_app(environment | more)
    db.ensure_open()
    return app


def with_people(environment: dict[str, str], **more: str) -> Flask:
    """One with AUTH=password, and a reader, two editors and an admin."""
    app = application(environment, AUTH="password", **more)
    for name, role in (("rita", "reader"), ("ed", "editor"), ("eve", "editor"), ("ada", "admin")):
        people.add(name, role, PASSWORD)
    return app


def signed_in(app: Flask, name: str, **more: Any) -> FlaskClient:
    """A browser with a session of that person."""
    client = app.test_client()
    answer = client.post("/.sign-in", data={"name": name, "password": PASSWORD}, **more)
    assert answer.status_code == 303, answer.text
    return client


def token_of(name: str, *scopes: str, expires: int | None = None) -> dict[str, str]:
    """The header of a new token."""
    _, secret = people.add_token(name, "a program", frozenset(scopes), expires)
    return {"Authorization": f"Bearer {secret}"}
