"""The API where people have names: whose links who may change, and who did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service import db
from tests.unit.service.people_app import cheap_passwords, signed_in, with_people

URL = "https://example.com/"
Clients = dict[str, FlaskClient]


@pytest.fixture
def app(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    cheap_passwords(monkeypatch)
    yield with_people(environment)
    db.close()


@pytest.fixture
def clients(app: Flask) -> Clients:
    return {name: signed_in(app, name) for name in ("rita", "ed", "eve", "ada")} | {"": app.test_client()}


def body(answer: Any) -> Any:
    assert answer.json is not None, answer.text
    return answer.json


def test_a_link_is_of_who_made_it_and_changed_by_them_or_an_admin(clients: Clients) -> None:
    made = clients["ed"].post("/.api/links", json={"name": "wiki", "url": URL})
    assert (made.status_code, body(made)["owner"]) == (201, "ed")
    assert clients["ed"].post("/.api/links", json={"name": "wiki", "url": URL}).status_code == 200
    assert clients["eve"].post("/.api/links", json={"name": "wiki", "url": URL}).status_code == 409
    change = {"description": "Else"}
    statuses = {name: client.patch("/.api/links/wiki", json=change).status_code for name, client in clients.items()}
    assert statuses == {"rita": 403, "ed": 200, "eve": 403, "ada": 200, "": 401}
    first = body(clients[""].get("/.api/links/wiki/history"))["changes"][0]
    assert (first["author"], first["action"]) == ("ed", "edit")
    for method, path, sent in (
        ("DELETE", "/.api/links/wiki", None),
        ("POST", "/.api/links/wiki/undo", {"change": first["change"]}),
        ("POST", "/.api/bulk", {"names": ["wiki"], "delete": True}),
    ):
        answer = clients["eve"].open(path, method=method, json=sent)
        assert (answer.status_code, answer.mimetype) == (403, "application/problem+json")
    assert clients["ed"].delete("/.api/links/wiki").status_code == 204
    gone = body(clients["eve"].get("/.api/deleted"))["deleted"][0]["change"]
    assert clients["eve"].post("/.api/undelete", json={"change": gone}).status_code == 403
    assert clients["ed"].get("/.api/links/wiki").status_code == 404
    assert clients["ada"].post("/.api/undelete", json={"change": gone}).status_code == 200


def test_an_import_says_whose_links_are_only_for_an_admin(clients: Clients) -> None:
    def send(name: str, query: str, *names: str) -> Any:
        lines = "".join(f'{{"Short":"{each}","Long":"{URL}{name}","Owner":"eve"}}\n' for each in names)
        return clients[name].post(f"/.api/import{query}", data=lines, content_type="application/x-ndjson")

    assert send("ed", "", "one").status_code == 200
    assert send("ada", "", "two").status_code == 200
    owners = [link["owner"] for link in body(clients[""].get("/.api/links"))["links"]]
    assert owners == ["ed", "eve"]
    refused = send("ed", "?existing=replace", "one", "two")
    assert refused.status_code == 422
    assert [(each["line"], each["reason"]) for each in body(refused)["errors"]] == [(2, "belongs to eve")]
    assert send("rita", "?dry_run=1", "three").status_code == 403
    assert send("", "?dry_run=1", "three").status_code == 401
