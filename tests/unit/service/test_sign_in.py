"""Passwords, sessions, their key, and what there are too many of."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.security import check_password_hash

from service import create_app, db, passwords, people, sessions, throttle
from service.access import address_of
from service.models import Attempt
from service.sign_in import duration, local_path
from tests.unit.service.people_app import PASSWORD, application, cheap_passwords, signed_in, with_people

WRONG = "wrong wrong wrong"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    cheap_passwords(monkeypatch)
    yield
    db.close()


def _name(client: FlaskClient) -> str | None:
    answer = client.get("/.api/me")
    return str(answer.json["name"]) if answer.status_code == 200 and answer.json else None


def _try(client: FlaskClient, name: str, password: str = WRONG, address: str = "6.6.6.6") -> int:
    data = {"name": name, "password": password}
    return client.post("/.sign-in", data=data, environ_base={"REMOTE_ADDR": address}).status_code


def test_in_and_out(environment: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    app = with_people(environment)
    client = app.test_client()
    assert "Sign in" in client.get("/").text
    assert client.get("/.sign-in").status_code == 200
    answer = client.post("/.sign-in", data={"name": " ADA ", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("golinks=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie
    assert _name(client) == "ada"
    assert "Sign out" in client.get("/").text
    assert client.get("/.sign-in?next=/.tokens").headers["Location"] == "/.tokens"
    assert client.get("/.sign-out").status_code in (404, 405)
    assert _name(client) == "ada"
    assert client.post("/.sign-out").status_code == 303
    assert _name(client) is None
    # Not even where everything is logged.
    logged = capfd.readouterr().err
    assert "signed in from" in logged
    assert PASSWORD not in logged
    assert "scrypt" not in logged


@pytest.mark.parametrize("headers", [{"X-Scheme": "https"}, {"Origin": "https://localhost"}])
def test_by_https_the_cookie_is_bound_to_it(environment: dict[str, str], headers: dict[str, str]) -> None:
    app = with_people(environment)
    scheme = {"wsgi.url_scheme": headers.pop("X-Scheme", "http")}
    client = app.test_client()
    data = {"name": "ed", "password": PASSWORD}
    cookie = client.post("/.sign-in", data=data, headers=headers, environ_overrides=scheme).headers["Set-Cookie"]
    assert cookie.startswith("__Host-golinks=")
    assert "Secure" in cookie
    assert "Domain" not in cookie
    value = cookie.split(";")[0].split("=", 1)[1]
    plain = {"Cookie": f"golinks={value}"}
    fresh = app.test_client(use_cookies=False)
    assert fresh.get("/.api/me", headers={"Cookie": f"__Host-golinks={value}"}).status_code == 200
    # One that a neighbouring host has set does not count by https.
    assert fresh.get("/.api/me", headers=plain, environ_overrides={"wsgi.url_scheme": "https"}).status_code == 401


def test_a_session_ends_with_what_it_stands_for(environment: dict[str, str]) -> None:
    app = with_people(environment)
    ada, ed, eve, rita = (signed_in(app, name) for name in ("ada", "ed", "eve", "rita"))
    people.set_password("ada", PASSWORD)
    people.set_disabled("ed", True)
    people.remove("eve")
    people.add("eve", "admin", PASSWORD)
    people.set_role("rita", "editor")
    assert [_name(client) for client in (ada, ed, eve, rita)] == [None, None, None, "rita"]
    people.set_disabled("ed", False)
    assert _name(ed) is None
    assert rita.post("/.api/links", json={"name": "a", "url": "https://example.com"}).status_code == 201


def test_a_session_lasts_its_days_and_no_longer(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    app = with_people(environment, SESSION_DAYS="2")
    client = signed_in(app, "ed")
    now = time.time()
    for days, name in ((1.9, "ed"), (2.1, None)):
        # Nothing that is asked meanwhile makes it longer.
        monkeypatch.setattr(time, "time", lambda days=days: now + days * 86400)
        assert _name(client) == name


def test_a_forged_cookie_is_nobodys(environment: dict[str, str]) -> None:
    app = with_people(environment)
    for value in ("x", "e30.e30.e30", "eyJwZXJzb24iOiJhZGEifQ.Z0000A.AAAAAAAAAAAAAAAAAAAAAAAAAAA", "." * 4000):
        client = app.test_client()
        client.set_cookie("golinks", value)
        assert _name(client) is None
        assert client.get("/").status_code == 200


def test_all_workers_and_restarts_know_it(environment: dict[str, str]) -> None:
    first = with_people(environment)
    cookie = signed_in(first, "ed").get_cookie("golinks")
    assert cookie is not None
    second = create_app(environment | {"AUTH": "password"})
    db.ensure_open()
    client = second.test_client()
    client.set_cookie("golinks", cookie.value)
    assert _name(client) == "ed"


def test_the_key_is_made_once(environment: dict[str, str], database_path: Path) -> None:
    application(environment)
    path = database_path.parent / sessions.KEY_FILE
    found: list[bytes] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        found.append(sessions.key())

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in path.parent.iterdir() if "key" in p.name) == [sessions.KEY_FILE]


def test_a_damaged_key_is_told_of(environment: dict[str, str], database_path: Path) -> None:
    application(environment)
    path = database_path.parent / sessions.KEY_FILE
    for text in ("", "zz", "ab"):
        path.write_text(text)
        with pytest.raises(db.StorageError, match="damaged"):
            sessions.key()


def test_a_key_that_cannot_be_kept_is_told_of(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    application(environment)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(db.StorageError, match="No space left"):
        sessions.key()
    monkeypatch.undo()
    assert len(sessions.key()) == sessions.KEY_BYTES
    assert [p.name for p in db.folder().iterdir() if p.name.endswith(".part")] == []


def test_wrong_names_and_wrong_passwords_look_the_same(environment: dict[str, str]) -> None:
    app = with_people(environment)
    people.set_disabled("rita", True)
    client = app.test_client()
    wrong = [
        client.post("/.sign-in", data={"name": name, "password": password})
        for name, password in (("ed", "wrong wrong wrong"), ("nobody", PASSWORD), ("rita", PASSWORD), ("a b", PASSWORD))
    ]
    assert {answer.status_code for answer in wrong} == {401}
    names = ("ed", "nobody", "rita", "a b")
    assert len({answer.text.replace(f'"{name}"', "") for answer, name in zip(wrong, names, strict=True)}) == 1
    assert "The name or the password is wrong." in wrong[0].text
    assert PASSWORD not in wrong[1].text


def test_unknown_names_take_as_long(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def check(kept: str, given: str) -> bool:
        hashed.append(kept)
        return check_password_hash(kept, given)

    monkeypatch.setattr(passwords, "check_password_hash", check)
    client = with_people(environment).test_client()
    for name in ("ed", "nobody"):
        assert _try(client, name) == 401
    methods = {kept.split("$")[0] for kept in hashed}
    assert len(hashed) == 2
    assert methods == {passwords.METHOD}


def test_a_name_is_throttled_whether_it_exists_or_not(environment: dict[str, str]) -> None:
    app = with_people(environment)
    client = app.test_client()
    for name in ("ed", "nobody"):
        seen = [_try(client, name, address=f"6.6.{len(name)}.{n}") for n in range(7)]
        assert seen == [401] * 5 + [429] * 2
    # Nor does the right password help meanwhile; nor are others kept out.
    assert _try(client, "ed", PASSWORD, "7.7.7.7") == 429
    assert _try(client, "eve", PASSWORD, "7.7.7.7") == 303
    answer = client.post("/.sign-in", data={"name": "ed", "password": PASSWORD})
    assert 0 < int(answer.headers["Retry-After"]) <= 15
    assert "try again in" in answer.text
    people.set_password("ed", PASSWORD)
    throttle.forget("ed")
    assert _try(app.test_client(), "ed", PASSWORD) == 303


def test_an_address_is_throttled(environment: dict[str, str]) -> None:
    client = with_people(environment).test_client()
    seen = [_try(client, f"name{n}", address="2001:db8::1") for n in range(31)]
    assert seen == [401] * 30 + [429]
    assert _try(client, "ed", PASSWORD, "2001:db8::2") == 429  # the same network
    assert _try(client, "ed", PASSWORD, "2001:db8:1::1") == 303


def test_success_counts_as_none(environment: dict[str, str]) -> None:
    application(environment)
    address = address_of("6.6.6.6")
    for _ in range(40):
        assert throttle.begin("ed", address, 1000) == 0
        throttle.succeeded("ed", address)
    assert [row.failures for row in Attempt.select()] == [0]


def test_the_pause_grows_to_a_limit_and_is_forgotten(environment: dict[str, str]) -> None:
    application(environment)
    assert [throttle.pause(n, 5) for n in (1, 4, 5, 6, 7, 8, 9, 10, 500)] == [0, 0, 15, 30, 60, 120, 240, 300, 300]
    address = address_of("6.6.6.6")
    for _ in range(5):
        assert throttle.begin("ed", address, 1000) == 0
    assert throttle.begin("ed", address, 1000) == 15
    assert throttle.begin("ed", address, 1010) == 5
    assert throttle.begin("ed", address, 1015) == 0
    assert throttle.begin("ed", address, 1016) == 29
    assert throttle.begin("ed", address, 0) == throttle.LONGEST_WAIT  # the clock was set back
    assert throttle.begin("ed", address, 1016 + throttle.FORGET) == 0
    assert {row.failures for row in Attempt.select()} == {1}


def test_only_so_much_is_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    # 128 * N * r bytes each, and one at a time in a worker.
    _, n, r, _ = passwords.METHOD.split(":")
    assert 128 * int(n) * int(r) == 16 * 2**20
    monkeypatch.setattr(passwords, "PATIENCE", 0.01)
    with passwords._one_at_a_time(), pytest.raises(passwords.BusyError):
        passwords.is_right(WRONG, None)
    monkeypatch.setattr(passwords, "PATIENCE", 60)
    with passwords._one_at_a_time(), ThreadPoolExecutor() as pool:
        waiting = pool.submit(passwords.is_right, WRONG, None)
        while passwords._places._value:
            time.sleep(0.001)
        # The third is not kept waiting: its thread has other things to answer.
        with pytest.raises(passwords.BusyError):
            passwords.is_right(WRONG, None)
        passwords._gate.release()
        assert not waiting.result()
        passwords._gate.acquire()
    kept = passwords.stored(PASSWORD)
    assert kept.startswith("scrypt:16384:8:5$")
    assert passwords.is_right(PASSWORD, kept)
    assert not passwords.is_right(PASSWORD + "x", kept)
    with passwords._one_at_a_time():
        assert not passwords.is_right("short", kept)


def test_a_password_is_the_same_however_it_is_typed() -> None:
    kept = passwords.stored("pa\u0308ssword pässword")
    assert passwords.is_right("pässword pa\u0308ssword", kept)
    assert not passwords.is_right("\udcff" * 10, kept)
    assert passwords.problem("short")
    assert passwords.problem("x" * 201)


def test_too_many_at_once_are_told_to_wait(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    client = with_people(environment).test_client()
    monkeypatch.setattr(passwords, "PATIENCE", 0.01)
    with passwords._one_at_a_time():
        answer = client.post("/.sign-in", data={"name": "ed", "password": PASSWORD})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    "text",
    ["", "wiki", "//evil.example", "/\\evil.example", "\\/evil.example", "https://evil.example", "/\t/evil.example",
     "/\n//evil", "javascript:alert(1)", "/a\x00", "/" + "x" * 2048, "/.sign-out", "/.sign-in?next=/", "/\u2028/x"],
)  # fmt: skip
def test_it_leads_nowhere_else(text: str) -> None:
    assert local_path(text) == "/"


def test_it_leads_on(environment: dict[str, str]) -> None:
    app = with_people(environment)
    data = {"name": "ed", "password": PASSWORD, "next": "/.tokens"}
    assert app.test_client().post("/.sign-in", data=data).headers["Location"] == "/.tokens"
    page = app.test_client().post("/.sign-in", data=data | {"next": '/wiki/"x?q=1&r=2'})
    assert page.status_code == 200
    assert 'content="0;url=/wiki/&#34;x?q=1&amp;r=2"' in page.text
    assert duration(15) == "15 seconds"
    assert duration(121) == "3 minutes"


def test_the_first_one_is_told_how(environment: dict[str, str]) -> None:
    client = application(environment, AUTH="password").test_client()
    assert "flask user add" in client.get("/.sign-in").text
    people.add("ada", "admin", PASSWORD)
    assert "flask user add" not in client.get("/.sign-in").text
