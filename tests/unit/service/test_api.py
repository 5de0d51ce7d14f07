"""The JSON API, with good and bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

Add = Callable[[str, str], Any]
URL = "https://example.com/"


def test_a_link_lives_and_dies(client: FlaskClient) -> None:
    created = client.post("/.api/links", json={"name": "My-Wiki", "url": URL})
    assert created.status_code == 201
    assert created.headers["Location"] == "/.api/links/My-Wiki"
    assert created.json is not None
    assert created.json == {
        "name": "My-Wiki",
        "url": URL,
        "owner": "",
        "description": "",
        "tags": [],
        "expires": None,
        "aliases": [],
        "created": created.json["created"],
        "updated": created.json["created"],
        "clicks": 0,
        "visited": None,
    }
    assert created.json["created"].endswith("Z")

    assert client.get("/.api/links/mywiki").json == created.json
    changed = client.patch("/.api/links/MYWIKI", json={"url": "https://example.org/"})
    assert changed.status_code == 200
    assert client.get(created.headers["Location"]).json == changed.json
    assert changed.json is not None
    assert (changed.json["name"], changed.json["url"]) == ("My-Wiki", "https://example.org/")

    assert client.delete("/.api/links/my-wiki").status_code == 204
    for answer in (
        client.get("/.api/links/mywiki"),
        client.delete("/.api/links/mywiki"),
        client.patch("/.api/links/mywiki", json={"url": URL}),
    ):
        assert answer.status_code == 404
        assert answer.mimetype == "application/problem+json"


def test_a_name_is_taken_in_any_spelling(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    answer = client.post("/.api/links", json={"name": "WI-KI", "url": "https://example.org/"})
    assert answer.status_code == 409
    assert answer.json is not None
    assert answer.json["link"]["url"] == URL


def test_names_beyond_ascii(client: FlaskClient, add: Add) -> None:
    add("вікі", URL)
    assert client.get("/.api/links/%D0%B2%D1%96%D0%BA%D1%96").status_code == 200
    assert client.get("/ВІКІ").headers["Location"] == URL


def test_list_pages_through_everything_once(client: FlaskClient, add: Add) -> None:
    names = [f"n{number:02}" for number in range(7)]
    for name in reversed(names):
        add(name, URL)
    seen: list[str] = []
    query: dict[str, str] = {"limit": "3"}
    while True:
        body = client.get("/.api/links", query_string=query).json
        assert body is not None
        seen += [link["name"] for link in body["links"]]
        if body["next"] is None:
            break
        query["cursor"] = body["next"]
    assert seen == names


def test_an_empty_list(client: FlaskClient) -> None:
    assert client.get("/.api/links").json == {"links": [], "next": None, "more": False}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=-1", "limit=", "limit=²", "cursor=" + "a" * 300]
)
def test_bad_list_queries(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/.api/links?{query}")
    assert answer.status_code == 400
    assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"name=a", "application/x-www-form-urlencoded", 415),
        (b"{}", "", 415),
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 50_000, "application/json", 400),
        (b'{"name": ' + b"1" * 5000 + b"}", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b'"a"', "application/json", 400),
        (b"{}", "application/json", 422),
        (b'{"name": "a"}', "application/json", 422),
        (b'{"name": 1, "url": []}', "application/json", 422),
        (b'{"name": "a", "url": "https://e.com", "clicks": 5}', "application/json", 422),
        (b'{"name": "a", "url": "https://e.com", "\\ud800": 1}', "application/json", 422),
        (b'{"name": "\\ud800", "url": "https://e.com"}', "application/json", 422),
        (b'{"name": "a\\u0000", "url": "https://e.com"}', "application/json", 422),
        (b'{"name": "a", "url": "https://e.com/\\ud800"}', "application/json", 422),
        (b'{"name": "a", "url": "' + b"a" * 70_000 + b'"}', "application/json", 413),
    ],
)
def test_bad_bodies(client: FlaskClient, body: bytes, content_type: str, status: int) -> None:
    answer = client.post("/.api/links", data=body, content_type=content_type)
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    assert answer.json is not None
    assert answer.json["status"] == status
    assert answer.json["detail"]
    assert client.get("/.api/links").json == {"links": [], "next": None, "more": False}


def test_a_problem_names_each_field(client: FlaskClient) -> None:
    answer = client.post("/.api/links", json={"name": "-", "url": "ftp://x"})
    assert answer.json is not None
    assert {entry["field"] for entry in answer.json["errors"]} == {"name", "url"}


def test_a_renamed_link_is_found_by_both_names(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    assert client.patch("/.api/links/wiki", json={"name": "other"}).status_code == 200
    assert client.get("/.api/links/wiki").json == client.get("/.api/links/other").json
    taken = client.post("/.api/links", json={"name": "Wiki", "url": URL})
    assert taken.status_code == 409
    add("third", URL)
    assert client.patch("/.api/links/third", json={"name": "wi-ki"}).status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/.api/links", 405), ("POST", "/.api/links/a", 405), ("GET", "/.api/nothing", 404), ("GET", "/.api", 404)],
)
def test_wrong_paths_and_methods(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    assert ("Allow" in answer.headers) == (status == 405)
