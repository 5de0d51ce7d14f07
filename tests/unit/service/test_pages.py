"""The pages, the redirects and who may change anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

Add = Callable[[str, str], Any]
URL = "https://example.com/x"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/wiki", URL),
        ("/WI-KI", URL),
        ("/wiki/", URL),
        ("/wiki).", URL),
        ("/wiki/a/b", f"{URL}/a/b"),
        ("/wiki//a", f"{URL}//a"),
        ("/wiki/a%2Fb?q=%26", f"{URL}/a%2Fb?q=%26"),
        ("/wiki?q=1", f"{URL}?q=1"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_redirects(client: FlaskClient, add: Add, method: str, path: str, target: str) -> None:
    add("wiki", URL)
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.headers["Location"]) == (302, target)


@pytest.mark.parametrize(
    "path", ["/nope", "/nope/rest", "/-", "/%ff", "/%00", "/a%0d%0aX:y", "/static", "/.nothing", "/a%2Fb"]
)
def test_misses_show_a_page(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.mimetype == "text/html"
    assert client.get(path, headers={"Accept": "application/json"}).mimetype == "application/problem+json"


def test_a_miss_fills_the_form(client: FlaskClient) -> None:
    missed = client.get("/New-One/rest").text
    assert 'value="New-One"' in missed
    assert 'role="search"' not in missed
    assert "<script>" not in client.get("/%3Cscript%3E").text


def test_the_form_creates_changes_and_deletes(client: FlaskClient) -> None:
    created = client.post("/", data={"name": "wiki", "url": URL}, follow_redirects=True)
    assert created.status_code == 200
    assert "now leads to" in created.text
    assert 'href="/.edit/wiki"' in created.text
    assert URL in client.get("/.edit/wiki").text
    changed = client.post("/.edit/wiki", data={"url": "https://example.org/"}, follow_redirects=True)
    assert changed.request.path == "/.detail/wiki"
    assert "was changed" in changed.text
    assert "https://example.org/" in changed.text
    assert client.get("/.delete/wiki").status_code == 200
    assert client.get("/wiki").status_code == 302
    deleted = client.post("/.delete/wiki", follow_redirects=True)
    assert "was deleted" in deleted.text
    assert client.get("/wiki").status_code == 404


def test_the_form_says_what_is_wrong_and_keeps_the_input(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    wrong = client.post("/", data={"name": "a b", "url": "ftp://x"})
    assert wrong.status_code == 422
    assert 'value="a b"' in wrong.text
    assert 'value="ftp://x"' in wrong.text
    assert wrong.text.count('aria-invalid="true"') == 2
    taken = client.post("/", data={"name": "WIKI", "url": "https://example.org/"})
    assert taken.status_code == 409
    assert "exists already" in taken.text
    assert client.post("/", data={}).status_code == 422
    assert client.post("/.edit/wiki", data={"url": "x"}).status_code == 422
    assert client.post("/.edit/none", data={"url": "x"}).status_code == 404
    assert client.post("/.edit/none", data={"url": URL}).status_code == 404
    assert client.post("/.delete/none").status_code == 404
    assert client.get("/.edit/none").status_code == 404


def test_a_made_up_result_is_not_shown(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    for query in ("done=2", "done=0", "done=1-2000", "done=2-1", "done=<b>call 555</b>", "done=", "done=9" * 99):
        assert 'class="note good"' not in client.get(f"/?{query}").text
    assert 'class="note good"' in client.get("/?done=1").text
    client.delete("/.api/links/wiki")
    assert 'class="note good"' not in client.get("/?done=1").text


def test_the_list_has_pages(client: FlaskClient, add: Add) -> None:
    for number in range(51):
        add(f"n{number:03}", URL)
    first = client.get("/").text
    assert 'rel="next"' in first
    assert "/n050" not in first
    found = re.search(r'href="(/\?after=[^"]+)" rel="next"', first)
    assert found
    last = client.get(found[1]).text
    assert "/n050" in last
    assert 'rel="next"' not in last


SAME = {"Sec-Fetch-Site": "same-origin"}
OTHER = {"Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        (SAME, True),
        ({"Sec-Fetch-Site": "none"}, True),
        (OTHER, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({**OTHER, "Origin": "http://localhost"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "https://LOCALHOST"}, True),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost:81"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "http://["}, False),
        ({"Referer": "http://localhost/page"}, True),
        ({"Referer": "http://evil.example/localhost"}, False),
    ],
)
def test_another_site_changes_nothing(client: FlaskClient, headers: dict[str, str], allowed: bool) -> None:
    answer = client.post("/", data={"name": "wiki", "url": URL}, headers=headers)
    assert answer.status_code == (303 if allowed else 403)
    assert client.get("/wiki").status_code == (302 if allowed else 404)
    if not allowed:
        assert client.post("/.api/links", json={"name": "a", "url": URL}, headers=headers).status_code == 403
        assert client.delete("/.api/links/a", headers=headers).status_code == 403
        assert client.get("/", headers=headers).status_code == 200


def test_headers(client: FlaskClient) -> None:
    for path in ("/", "/nope", "/.api/links", "/health"):
        answer = client.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_large_form_is_refused(client: FlaskClient) -> None:
    assert client.post("/", data={"name": "a", "url": "x" * 70_000}).status_code == 413


def test_pages_hold_nothing_inline(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    for path in ("/", "/nope", "/.edit/wiki", "/.edit/none", "/.detail/wiki", "/.help", "/.deleted", "/.missing"):
        text = client.get(path).text
        assert re.findall(r"<script[^>]*>", text) == [f'<script src="{_script(text)}" defer>']
        assert not re.search(r"<[^>]+\son\w+=", text)
        assert "style=" not in text
        assert "<style" not in text


def _script(text: str) -> str:
    found = re.search(r'src="(/static/app\.[0-9a-f]+\.js)"', text)
    assert found
    return found[1]
