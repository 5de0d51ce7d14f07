"""Signing in on a real stack, through the proxy: the first user, sessions, tokens, and what is refused."""

from __future__ import annotations

import urllib.parse

import pytest

from tests.engine.conftest import MakeProject
from tests.engine.stack import Answer, Project

pytestmark = pytest.mark.engine

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
LINK = {"name": "wiki", "url": "https://example.com/"}


@pytest.fixture(scope="module")
def stack(make_project: MakeProject) -> Project:
    """A deployed stack where people sign in; the port is open to all, and nobody is warned of that."""
    made = make_project()
    made.more |= {"AUTH": "password", "READ": "closed", "HTTP_BIND": "0.0.0.0"}  # noqa: S104 - what is tested
    assert made.json("deploy")["warnings"] == []
    return made


def _sign_in(project: Project, name: str, password: str) -> Answer:
    return project.ask(
        "/.sign-in", method="POST", headers=FORM, text=urllib.parse.urlencode({"name": name, "password": password})
    )


def test_the_first_user_signs_in_and_makes_a_token(stack: Project) -> None:
    assert stack.ask("/health").status == 200
    assert stack.ask("/.api/links").status == 401
    assert stack.ask("/wiki").headers["Location"] == "/.sign-in?next=/wiki"
    made = stack.run("exec", "app", "flask", "user", "add", "ada", "--role", "admin", "--generate").stdout
    password = made.split("Password: ")[1].strip()
    answer = _sign_in(stack, "ada", password)
    assert answer.status == 303
    cookie = {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}
    # Asked often enough to meet each worker.
    assert {stack.ask("/.api/me", headers=cookie).status for _ in range(8)} == {200}
    made_token = stack.ask("/.api/tokens", method="POST", body={"label": "ci", "scopes": ["write"]}, headers=cookie)
    bearer = {"Authorization": f"Bearer {made_token.json['token']}"}
    assert stack.ask("/.api/links", method="POST", body=LINK, headers=bearer).status == 201
    assert stack.ask("/.api/links", method="POST", body=LINK).status == 401
    key = stack.run("exec", "app", "stat", "-c", "%a %u", "/data/session.key").stdout
    assert key.split() == ["600", "10001"]
    logged = stack.run("logs", "app").stdout
    assert password not in logged
    assert made_token.json["token"] not in logged


def test_too_many_attempts_are_refused_by_the_service_and_before_it(stack: Project) -> None:
    answers = [_sign_in(stack, "eve", "wrong") for _ in range(16)]
    assert [answer.status for answer in answers[:7]] == [401] * 5 + [429] * 2
    told, limited = answers[6], answers[-1]
    assert b"try again in" in told.body
    assert 0 < int(told.headers["Retry-After"]) <= 300
    assert limited.status == 429
    assert b"Too many requests" in limited.body
    assert limited.headers["Retry-After"] == "10"
    asked = stack.ask("/.sign-in", method="POST", headers=FORM | {"Accept": "application/json"}, text="name=eve")
    assert (asked.status, asked.json["error"]) == (429, "too many requests")
    # Others are not kept from what they do.
    assert stack.ask("/.sign-in").status == 200


ASK = """
import sys, urllib.error, urllib.request
address, trusted = sys.argv[1:]
claims = {"X-Forwarded-User": "ada", "X-Forwarded-For": trusted, "X-Real-IP": trusted, "Forwarded": "for=" + trusted}
try:
    print(urllib.request.urlopen(urllib.request.Request(address, headers=claims)).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_a_name_is_believed_from_the_trusted_address_alone(stack: Project) -> None:
    # A proxy on this host comes to ours by the bridge's gateway.
    (edge,) = (name for name in stack.networks() if name.endswith("_edge"))
    gateway = stack.client.api.inspect_network(edge)["IPAM"]["Config"][0]["Gateway"]
    stack.more |= {"AUTH": "proxy", "ADMINS": "ada", "PROXY_TRUSTED": gateway}
    stack.run("deploy")
    told = stack.ask("/.api/me", headers={"X-Forwarded-User": "Ada", "X-Forwarded-For": "6.6.6.6"})
    assert told.json == {"name": "ada", "role": "admin", "scopes": ["read", "write", "admin"]}
    assert stack.ask("/.api/me", headers={"X_Forwarded_User": "ada"}).status == 401
    # Another address, which claims to be the trusted one in each way there is.
    address = f"http://{stack.one('proxy').name}:8080/.api/me"
    code, said = stack.one("app").exec_run(["python", "-c", ASK, address, gateway])
    assert (code, said) == (0, b"401\n")
