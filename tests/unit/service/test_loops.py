"""Links that lead to links: where they never lead out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.hosts import own_host, split_hosts
from service.links import fold, resolve
from service.loops import LoopError, follow, leads_here, problem

HOSTS = frozenset({"go", "go.example.com:8080"})
Add = Callable[[str, str], Any]


def lookup(links: Mapping[str, str]) -> Callable[[str], tuple[str, str] | None]:
    folded = {fold(name): (name, url) for name, url in links.items()}
    return lambda name: folded.get(fold(name))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://go/a", True),
        ("HTTP://GO:80/a", True),
        ("https://go", True),
        ("https://go?x", True),
        ("http://go.example.com:8080/#/a", True),
        ("http://go.example.com/a", False),
        ("http://gone/a", False),
        ("http://e.com/http://go/a", False),
        ("mailto:a@go", False),
    ],
)
def test_own_hosts(address: str, expected: bool) -> None:
    assert leads_here(address, HOSTS) is expected


def test_the_setting() -> None:
    assert split_hosts(" Go, go.example.com:8080 go:443,") == {"go", "go.example.com:8080"}
    assert own_host("GO:443") == "go"
    for wrong in ("http://go", "go/x", "a@go", "go:port", "go:99999", ":80"):
        with pytest.raises(ValueError, match=r".+"):
            split_hosts(wrong)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://go/a", "leads in a circle: a → a"),
        ("http://go/A-", "leads in a circle: a → a"),
        ("http://go/b", "leads in a circle: a → b → c → a"),
        ("http://go/a/x", "leads in a circle: a → a"),
        ("http://go/d", "leads in a circle: d → d"),
        ("http://go/{{if .Path}}x{{else}}a{{end}}", "leads in a circle: a → a"),
        ("http://go/l0", "leads through more than 10 links: a → l0 → "),
        ("http://go/", None),
        ("http://go/none", None),
        ("http://go/.detail/a", None),
        ("http://go/out", None),
        ("http://elsewhere/a", None),
        ("http://{{.Path}}/a", None),
    ],
)
def test_what_is_saved(url: str, told: str | None) -> None:
    links = {
        "b": "http://go/C",
        "c": "https://go/a?x=1",
        "d": "http://go/d",
        "out": "https://e.com/",
        "a": "https://e.com",
    }
    links |= {f"l{number}": f"http://go/l{number + 1}" for number in range(12)}
    found = problem(["a"], url, HOSTS, lookup(links))
    assert found == told if told is None or not told.endswith("→ ") else str(found).startswith(told)


def test_a_rest_that_gets_shorter_ends() -> None:
    links = lookup({"g": "http://go/"})
    follow("g", "g/g/x", resolve("http://go/", "g/g/x", ""), HOSTS, links)
    with pytest.raises(LoopError):
        follow("g", "g/" * 12, resolve("http://go/", "g/" * 12, ""), HOSTS, links)


def test_refused_at_save_and_seen_at_the_redirect(client: FlaskClient, add: Add) -> None:
    add("b", "http://localhost/c")
    add("c", "https://e.com/")
    answer = client.post("/.api/links", json={"name": "a", "url": "http://localhost/a"})
    assert (answer.status_code, "a → a" in answer.text) == (422, True)
    answer = client.patch("/.api/links/c", json={"url": "http://localhost/b"})
    assert (answer.status_code, "c → b → c" in answer.text) == (422, True)
    # Renamed, its old name still leads to it.
    answer = client.patch("/.api/links/c", json={"name": "new", "url": "http://localhost/c"})
    assert answer.status_code == 422
    assert "in a circle" in client.post("/.edit/c", data={"url": "http://localhost/b"}).text
    assert client.get("/b").headers["Location"] == "http://localhost/c"
    # Made under another host, it shows when it is followed.
    add("x", "http://other/y")
    add("y", "http://other/x")
    host = {"Host": "other"}
    answer = client.get("/x", headers={**host, "Accept": "application/json"})
    assert (answer.status_code, answer.mimetype) == (508, "application/problem+json")
    assert "x → y → x" in answer.get_json()["detail"]
    assert "x → y → x" in client.get("/x", headers=host).text
    assert client.get("/x").status_code == 302
