"""Health, logs, settings, and a database that is busy, gone or replaced."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest
from flask import Flask
from flask.testing import FlaskClient
from loguru import logger

from service import create_app, db, log, migrations, server
from service.migrate import migrate
from service.settings import SettingsError, read_settings

URL = "https://example.com/"


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_healthy(client: FlaskClient) -> None:
    assert client.get("/health").json == {"status": "ok", "release": "r1", "schema": len(migrations.known_steps())}
    assert client.get("/livez").json == {"status": "ok"}


def test_no_database_is_unhealthy_and_not_made(environment: dict[str, str], database_path: Path) -> None:
    client = create_app(environment).test_client()
    answer = client.get("/health")
    assert (answer.status_code, answer.json) == (503, {"status": "unavailable"})
    assert client.get("/livez").status_code == 200
    assert client.get("/").status_code == 503
    assert not database_path.exists()


def test_an_old_schema_is_unhealthy(client: FlaskClient, writer: apsw.Connection) -> None:
    writer.execute("DELETE FROM schema_version")
    assert client.get("/health").status_code == 503


def test_a_newer_schema_is_healthy(client: FlaskClient, writer: apsw.Connection) -> None:
    writer.execute("INSERT INTO schema_version VALUES (99, '0099_later', 0)")
    assert client.get("/health").json == {"status": "ok", "release": "r1", "schema": 99}


def test_a_busy_database(
    app: Flask, writer: apsw.Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(db.database.obj, "_timeout", 0.1)
    client = app.test_client()
    writer.execute("BEGIN IMMEDIATE")
    answer = client.post("/.api/links", json={"name": "a", "url": URL})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "locked" not in answer.text
    assert any("busy" in line["message"] for line in _lines(capsys))
    # Reading needs no lock.
    assert client.get("/").status_code == 200
    assert client.get("/health").status_code == 200
    assert client.post("/", data={"name": "a", "url": URL}).status_code == 503
    writer.execute("ROLLBACK")
    assert client.post("/.api/links", json={"name": "a", "url": URL}).status_code == 201


def test_a_replaced_database_is_noticed(client: FlaskClient, database_path: Path, tmp_path: Path) -> None:
    client.post("/.api/links", json={"name": "a", "url": URL})
    other = tmp_path / "other.db"
    migrate(f"sqlite:///{other}")
    db.configure(f"sqlite:///{database_path}")
    assert client.get("/a").status_code == 302
    for suffix in ("-wal", "-shm"):
        database_path.with_name(database_path.name + suffix).rename(tmp_path / f"aside{suffix}")
    other.rename(database_path)
    assert client.get("/.detail/a").status_code == 404, "Flask notices at once"
    time.sleep(db.LOOKS_AGAIN)
    assert client.get("/a").status_code == 404
    assert client.get("/health").status_code == 200


def test_a_failing_database_tells_nothing(client: FlaskClient, writer: apsw.Connection) -> None:
    writer.execute("DROP TABLE link")
    answer = client.get("/")
    assert answer.status_code == 503
    assert "no such table" not in answer.text
    assert client.get("/.api/links").mimetype == "application/problem+json"


def test_each_request_is_one_line_with_its_id(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.get("/nope", headers={"X-Request-ID": "0123456789abcdef"})
    (line,) = [line for line in _lines(capsys) if line["message"] == "request"]
    assert line["request_id"] == "0123456789abcdef"
    assert (line["level"], line["method"], line["path"], line["status"]) == ("info", "GET", "/nope", 404)
    assert line["duration_ms"] >= 0


@pytest.mark.parametrize("given", ["", "x" * 65, 'a"b', "a b", "é"])
def test_an_unusable_id_is_replaced(client: FlaskClient, capsys: pytest.CaptureFixture[str], given: str) -> None:
    client.get("/livez", headers={"X-Request-ID": given})
    (line,) = _lines(capsys)
    assert len(line["request_id"]) == 32
    assert line["level"] == "debug"


def test_a_crash_is_a_page_and_a_line(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    def crash() -> str:
        raise ValueError("secret detail")

    app.add_url_rule("/.crash", view_func=crash)
    answer = app.test_client().get("/.crash", headers={"X-Request-ID": "abcdef"})
    assert answer.status_code == 500
    assert "abcdef" in answer.text
    assert "secret detail" not in answer.text
    failure, request = _lines(capsys)
    assert failure["request_id"] == request["request_id"] == "abcdef"
    assert failure["error"] == "ValueError: secret detail"
    assert request["status"] == 500


def test_lines_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info")
    logger.bind(path="я" * 5000).info("\u0000\n\ud800" * 2000)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert len(err.encode()) <= log.MAX_LINE
    json.loads(err)


def test_libraries_log_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    log.configure("warning")
    logging.getLogger("some.library").warning("%s {braces}", "with")
    logging.getLogger("some.library").info("unheard")
    (line,) = _lines(capsys)
    assert (line["message"], line["logger"], line["level"]) == ("with {braces}", "some.library", "warning")


def test_settings_report_everything_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"LOG_LEVEL": "loud", "WEB_CONCURRENCY": "0", "WEB_THREADS": "x", "DATABASE_URL": "secret"})
    for name in ("LOG_LEVEL", "WEB_CONCURRENCY", "WEB_THREADS", "DATABASE_URL"):
        assert name in str(caught.value)
    assert "secret" not in str(caught.value)


def test_settings_have_defaults() -> None:
    settings = read_settings({"STATIC_ROOT": "", "LOG_LEVEL": "INFO"})
    assert (settings.workers, settings.threads, settings.static_root) == (2, 4, None)
    assert settings.database == "sqlite:///links.db"
    with pytest.raises(SettingsError, match="not both"):
        read_settings({"DATABASE_URL": "sqlite:////a", "DATABASE_PATH": "/a"})


def test_the_server_hooks(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    static = tmp_path / "static"
    for name, value in {**environment, "STATIC_ROOT": str(static)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        server.on_starting(None)
    static.mkdir()
    server.on_starting(None)
    assert {path.suffix for path in static.iterdir()} == {".css", ".js", ".svg"}
    assert db.database.obj.is_closed()
    server.post_fork(None, None)
    server.post_worker_init(SimpleNamespace(wsgi=create_app()))
    assert "request" not in capfd.readouterr().err, "the warm-up is nobody's request"
    assert Path(f"{environment['DATABASE_PATH']}-wal").exists()
    server.worker_exit(None, None)
    assert not Path(f"{environment['DATABASE_PATH']}-wal").exists()


def test_importing_the_service_needs_no_server() -> None:
    assert "service" in sys.modules
    import subprocess

    code = "import service.migrate, sys; sys.exit(any(m in sys.modules for m in ('flask', 'gunicorn')))"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_no_request_leaves_a_transaction_open(client: FlaskClient) -> None:
    """The connection lives on, and an unfinished read would pin an old state of the database for whoever is next."""
    gc.disable()
    try:
        for number in range(3):
            client.post("/.api/links", json={"name": f"n{number}", "url": URL})
        client.post("/.api/links", json={"name": "n0", "url": URL})
        for path in ("/", "/n0", "/nope", "/.api/links?limit=1", "/.api/links/n1", "/.edit/n1", "/health"):
            client.get(path)
            assert db.database.obj.connection().txn_state() == apsw.SQLITE_TXN_NONE, path
    finally:
        gc.enable()
