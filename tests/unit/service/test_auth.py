"""Who is asking, and what they may: each way of signing in, each rule, every route."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import Unauthorized

from service import auth, create_app, db, people
from service.links import MAX_NAME
from service.models import Token
from tests.unit.service.people_app import application, cheap_passwords, signed_in, token_of, with_people

URL = "https://example.com/"
LINK = {"name": "wiki", "url": URL}
# For whoever asks: no link is changed by them.
SIGN_IN = {"sign_in.page", "sign_in.sign_in", "sign_in.sign_out", "views.language"}
ALWAYS = SIGN_IN | {"health.health", "health.livez", "static_file"}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    cheap_passwords(monkeypatch)
    yield
    db.close()


def _requests(app: Flask) -> list[tuple[str, str, str]]:
    """(method, path, endpoint) for every route, with something in the place of each variable."""
    found = []
    for rule in app.url_map.iter_rules():
        values = dict.fromkeys(rule.arguments, 1 if "int:" in rule.rule else "wiki")
        path = app.url_map.bind("localhost").build(rule.endpoint, values, method=sorted(rule.methods or ())[0])
        found += [(method, path, rule.endpoint) for method in sorted(rule.methods or ())]
    return found


def _changes(app: Flask) -> list[tuple[str, str, str]]:
    return [request for request in _requests(app) if request[0] not in ("GET", "HEAD", "OPTIONS")]


JSON = {"Accept": "application/json"}


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_no_route_changes_anything_for_another_site(environment: dict[str, str], headers: dict[str, str]) -> None:
    app = with_people(environment)
    client = signed_in(app, "ada")
    assert len(_changes(app)) >= 10
    for method, path, _ in _changes(app):
        for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"):
            answer = client.open(path, method=method, headers=headers, content_type=kind)
            assert answer.status_code == 403, (method, path, kind)
            assert "another site" in answer.text


def test_every_change_needs_somebody(environment: dict[str, str]) -> None:
    app = with_people(environment)
    client = app.test_client()
    for method, path, endpoint in _changes(app):
        if endpoint not in SIGN_IN:
            answer = client.open(path, method=method, headers=JSON)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_reader_changes_nothing(environment: dict[str, str]) -> None:
    app = with_people(environment)
    client = signed_in(app, "rita")
    for method, path, endpoint in _changes(app):
        own = path.startswith(("/.tokens", "/.api/tokens"))  # which everybody may have
        if endpoint not in SIGN_IN and not own:
            assert client.open(path, method=method, headers=JSON).status_code == 403, (method, path)


@pytest.mark.parametrize("mode", ["open", "password"])
def test_read_only_refuses_every_change(environment: dict[str, str], mode: str) -> None:
    app = (
        with_people(environment, READ_ONLY="true") if mode == "password" else application(environment, READ_ONLY="true")
    )
    client = signed_in(app, "ada") if mode == "password" else app.test_client()
    for method, path, endpoint in _changes(app):
        if endpoint not in SIGN_IN:
            answer = client.open(path, method=method, headers=JSON)
            assert answer.status_code == 403, (method, path)
            assert "nothing was changed" in answer.text
    assert client.get("/").status_code == 200


def test_closed_shows_nothing_to_strangers(environment: dict[str, str]) -> None:
    app = with_people(environment, READ="closed")
    client = app.test_client()
    for method, path, endpoint in _requests(app):
        if method == "GET" and endpoint not in ALWAYS:
            page = client.get(path)
            where = (303, f"/.sign-in?next={path}") if not path.startswith("/.api") else (401, None)
            assert (page.status_code, page.headers.get("Location")) == where
            assert client.get(path, headers=JSON).status_code == 401
    for path in ("/health", "/livez", "/.sign-in"):
        assert client.get(path).status_code == 200
    assert (
        client.get("/no/such%2Fpage?a=1&b=2").headers["Location"] == "/.sign-in?next=/no/such%252Fpage%3Fa%3D1%26b%3D2"
    )
    reader = signed_in(app, "rita")
    assert reader.get("/").status_code == 200
    assert reader.get("/.api/links").status_code == 200


def test_open_lets_everybody_do_everything(environment: dict[str, str]) -> None:
    client = application(environment).test_client()
    assert client.post("/.api/links", json=LINK, headers={"Authorization": "Bearer nonsense"}).status_code == 201
    assert client.get("/.api/me").json == {"name": "", "role": "admin", "scopes": ["read", "write", "admin"]}
    for path in ("/.tokens", "/.sign-in", "/.api/tokens"):
        assert client.get(path).status_code == 404
    assert "Set-Cookie" not in client.get("/").headers


def test_tokens_may_what_their_scopes_and_their_owner_may(environment: dict[str, str]) -> None:
    client = with_people(environment, READ="closed").test_client()
    read, write = token_of("ed", "read"), token_of("ed", "read", "write")
    assert client.get("/.api/links", headers=read).status_code == 200
    refused = client.post("/.api/links", json=LINK, headers=read)
    assert refused.status_code == 403
    assert "This token" in refused.text
    assert client.post("/.api/links", json=LINK, headers=write).status_code == 201
    # A browser never sends one by itself, so where it was sent from does not matter.
    assert client.delete("/.api/links/wiki", headers=write | {"Origin": "https://x.example"}).status_code == 204
    assert client.get("/.api/links", headers=token_of("ed", "write")).status_code == 403
    assert client.get("/.api/me", headers=write).json == {"name": "ed", "role": "editor", "scopes": ["read", "write"]}
    assert client.post("/.api/links", json=LINK, headers=token_of("rita", "read", "write")).status_code == 403


def test_tokens_that_are_none(environment: dict[str, str]) -> None:
    app = with_people(environment)
    client = app.test_client()
    gone, old, disabled = (
        token_of("ed", "read"),
        token_of("ed", "read", expires=int(time.time()) + 60),
        token_of("eve", "read"),
    )
    people.revoke(1)
    Token.update(expires=int(time.time())).where(Token.id == 2).execute()
    people.set_disabled("eve", True)
    wrong = [gone, old, disabled, *({"Authorization": f"Bearer {text}"} for text in ("", "golinks_x", "x" * 9000, "é"))]
    for headers in wrong:
        answer = client.get("/.api/me", headers=headers)
        assert answer.status_code == 401
        assert "error=invalid_token" in answer.headers["WWW-Authenticate"]
    # Nor does the session help that came along.
    assert signed_in(app, "ed").get("/.api/me", headers=gone).status_code == 401


def test_strangers_read_where_all_may(environment: dict[str, str]) -> None:
    app = with_people(environment)
    assert app.test_client().get("/.api/links").status_code == 200
    assert app.test_client().get("/.api/links", headers={"Authorization": "Bearer none"}).status_code == 401
    with app.test_request_context():
        assert auth.require("read").name == ""
        with pytest.raises(Unauthorized):
            auth.require("write")
        with pytest.raises(Unauthorized):
            auth.signed_in()


def test_a_tokens_use_is_noted_once_an_hour(environment: dict[str, str]) -> None:
    client = with_people(environment).test_client()
    headers = token_of("ed", "read")
    seen = []
    for used in (None, int(time.time()) - 10, int(time.time()) - 4000):
        Token.update(used=used).execute()
        assert client.get("/.api/me", headers=headers).status_code == 200
        seen.append(people.tokens()[0].used)
    assert seen[0] == pytest.approx(time.time(), abs=5)
    assert seen[1] == pytest.approx(time.time() - 10, abs=5)
    assert seen[2] == pytest.approx(time.time(), abs=5)


def test_the_api_of_tokens(environment: dict[str, str]) -> None:
    app = with_people(environment)
    client, other = signed_in(app, "ed"), signed_in(app, "eve")
    made: Any = client.post("/.api/tokens", json={"label": "ci", "scopes": ["write", "read"], "expires": "2199-12-31"})
    assert made.status_code == 201
    assert made.json["scopes"] == ["read", "write"]
    assert made.json["expires"] == "2199-12-31T23:59:59Z"
    secret = made.json["token"]
    assert secret not in client.get("/.api/tokens").text
    bearer = {"Authorization": f"Bearer {secret}"}
    assert "ed" in app.test_client().get("/.api/me", headers=bearer).text
    # A token that leaked makes no other, which would outlive it.
    assert (
        app.test_client().post("/.api/tokens", json={"label": "x", "scopes": ["read"]}, headers=bearer).status_code
        == 403
    )
    for body in (
        {"label": "x", "scopes": ["admin"]},
        {"label": "x", "scopes": ["all"]},
        {"label": "x", "scopes": []},
        {"label": "", "scopes": ["read"]},
        {"label": "x" * 101, "scopes": ["read"]},
        {"label": "a\nb", "scopes": ["read"]},
        {"label": 1, "scopes": ["read"]},
        {"label": "x", "scopes": "read"},
        {"label": "x", "scopes": [1]},
        {"label": "x", "scopes": ["read"], "expires": "2001-01-01"},
        {"label": "x", "scopes": ["read"], "expires": "soon"},
        {"label": "x", "scopes": ["read"], "expires": 5},
        {"label": "x", "scopes": ["read"], "owner": "ada"},
    ):
        assert client.post("/.api/tokens", json=body).status_code == 422, body
    # As everywhere in the API.
    assert client.post("/.api/tokens", json=["read"]).status_code == 400
    assert client.post("/.api/tokens", data=b"{", content_type="application/json").status_code == 400
    assert client.post("/.api/tokens", data=b"label=x").status_code == 415
    number = made.json["id"]
    assert other.get("/.api/tokens").json == {"tokens": []}
    assert other.delete(f"/.api/tokens/{number}").status_code == 404
    assert client.delete(f"/.api/tokens/{number}").status_code == 204
    assert client.delete(f"/.api/tokens/{number}").status_code == 404
    assert app.test_client().get("/.api/me", headers=bearer).status_code == 401


def test_the_page_of_tokens(environment: dict[str, str]) -> None:
    app = with_people(environment)
    client = signed_in(app, "ed")
    assert 'value="admin"' not in client.get("/.tokens").text
    made = client.post("/.tokens", data={"label": "<b>ci", "scopes": ["read"], "expires": ""})
    assert made.status_code == 201
    assert people.TOKEN_PREFIX in made.text
    assert "&lt;b&gt;ci" in made.text
    assert people.TOKEN_PREFIX + "…" in client.get("/.tokens").text
    assert 'class="secret"' not in client.get("/.tokens").text
    wrong = client.post("/.tokens", data={"label": "keep me", "expires": "never"})
    assert wrong.status_code == 422
    assert 'value="keep me"' in wrong.text
    assert signed_in(app, "eve").post("/.tokens/1/revoke").status_code == 404
    assert client.post("/.tokens/1/revoke").status_code == 303
    assert people.tokens() == []
    assert app.test_client().get("/.tokens").headers["Location"] == "/.sign-in?next=/.tokens"


def test_one_person_has_not_any_number_of_tokens(environment: dict[str, str]) -> None:
    with_people(environment)
    for _ in range(people.MAX_TOKENS):
        token_of("ed", "read")
    with pytest.raises(people.PeopleError, match="revoke one"):
        token_of("ed", "read")
    token_of("eve", "read")


RULES: tuple[tuple[dict[str, str], str, str, bool], ...] = (
    ({}, "ed", "ed", True),
    ({}, "ed", "eve", False),
    ({}, "ed", "Ed", True),
    ({}, "ed", "Eve", False),
    ({}, "ed", "", True),
    ({}, "ed", "left-long-ago", True),
    ({}, "ada", "eve", True),
    ({}, "rita", "rita", False),
    ({"EDIT": "anyone"}, "ed", "eve", True),
    ({"EDIT": "anyone"}, "rita", "eve", False),
    ({"READ_ONLY": "true"}, "ed", "ed", False),
)


def test_who_may_edit(environment: dict[str, str]) -> None:
    with_people(environment)
    made: dict[str, Flask] = {}
    for more, name, owner, may in RULES:
        app = made.get(str(more)) or create_app(environment | {"AUTH": "password"} | more)
        made[str(more)] = app
        db.ensure_open()
        with app.test_request_context():
            role = people.get(name).role
            assert auth.may_edit(auth.Person(name, role), owner) is may, (more, name, owner)
            assert not auth.may_edit(None, "")
            assert not auth.may_edit(auth.Person(name, role, frozenset({"read"}), 1), owner)


def test_links_of_the_disabled_are_for_all(environment: dict[str, str]) -> None:
    app = with_people(environment)
    people.set_disabled("eve", True)
    with app.test_request_context():
        assert auth.may_edit(auth.Person("ed", "editor"), "eve")


PROXY = {"AUTH": "proxy", "PROXY_TRUSTED": "172.30.0.5", "ADMINS": "Ada", "FORWARDED_ALLOW_IPS": "10.0.0.0/8"}


def _by_proxy(app: Flask, peer: str, header: str | None = "Ed", told: str | None = None, **more: str) -> Any:
    client: FlaskClient = app.test_client()
    headers = {"X-Forwarded-User": header} if header is not None else {}
    headers |= {"X-Forwarded-For": told} if told is not None else {}
    return client.get("/.api/me", headers=headers | more, environ_base={"REMOTE_ADDR": peer})


PEERS = (
    ("172.30.0.5", None, 200),  # the proxy itself, with nobody between
    ("10.1.0.2", "172.30.0.5", 200),  # our own proxy says that it was the one
    ("10.1.0.2", "::ffff:172.30.0.5", 200),
    ("10.1.0.2", "6.6.6.6, 172.30.0.5", 200),
    ("10.1.0.2", "172.30.0.5, 6.6.6.6", 401),  # what a client wrote stands before
    ("10.1.0.2", "6.6.6.6", 401),
    ("10.1.0.2", "nonsense", 401),
    ("10.1.0.2", "", 401),
    ("10.1.0.2", None, 401),
    ("6.6.6.6", None, 401),
    ("6.6.6.6", "172.30.0.5", 401),  # nobody of ours says so
    ("", "172.30.0.5", 401),
)


def test_only_the_trusted_proxy_names_people(environment: dict[str, str]) -> None:
    app = application(environment, **PROXY)
    for peer, told, status in PEERS:
        answer = _by_proxy(app, peer, told=told)
        assert answer.status_code == status, (peer, told)
        if status == 200:
            assert answer.json == {"name": "ed", "role": "editor", "scopes": ["read", "write"]}


NAMES = (
    ("ADA", "ada"),
    ("ed@example.com", "ed@example.com"),
    ("Їжак".encode().decode("latin-1"), "їжак"),
    ("ed,ada", None),
    ("", None),
    ("ed ada", None),
    ("\xff", None),
    ("x" * (MAX_NAME + 1), None),
)


def test_names_that_the_proxy_gives(environment: dict[str, str]) -> None:
    app = application(environment, **PROXY)
    for header, name in NAMES:
        answer = _by_proxy(app, "172.30.0.5", header)
        assert (answer.json["name"] if answer.status_code == 200 else None) == name
        if name == "ada":
            assert answer.json["role"] == "admin"


def test_tokens_where_a_proxy_names_people(environment: dict[str, str]) -> None:
    app = application(environment, **PROXY)
    headers = token_of("ed", "read")
    assert _by_proxy(app, "6.6.6.6", "Ada", **headers).json["name"] == "ed"
    assert app.test_client().get("/.sign-in").status_code == 404
    page = app.test_client().post("/", data=LINK)
    assert page.status_code == 401
    assert page.mimetype == "text/html"
