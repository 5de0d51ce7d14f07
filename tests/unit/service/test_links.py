"""Names, targets and where they lead."""

from __future__ import annotations

import pytest

from service.fields import Fields, check_fields
from service.links import InvalidLinkError, fold, is_name, resolve, spellings, take_apart


@pytest.mark.parametrize("name", ["wiki", "Wiki-2", "a.b_c", "9", "_x", "вікі", "a" * 100])
def test_names(name: str) -> None:
    assert is_name(name)
    assert check_fields({"name": f" {name} ", "url": "https://example.com"}).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "-a",
        ".a",
        "a b",
        "a/b",
        "a\n",
        "a\0",
        "a+",
        "a" * 101,
        "Health",
        "li-vez",
        "static",
        "FAVICON.ico",
        "\ud800",
    ],
)
def test_no_names(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("value", [None, 1, True, [], {}, "", "-a", "health", "a b"])
def test_a_wrong_name_says_why(value: object) -> None:
    with pytest.raises(InvalidLinkError) as caught:
        check_fields({"name": value, "url": "https://example.com/"})
    assert list(caught.value.errors) == ["name"]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://example.com:8080/a?b=c#d",
        "HTTPS://Example.COM/",
        "https://[::1]/x",
        "https://приклад.укр/шлях",
        "https://localhost/%20",
    ],
)
def test_targets(url: str) -> None:
    assert check_fields({"name": "a", "url": url}) == Fields("a", url)


@pytest.mark.parametrize(
    "url",
    [
        None,
        7,
        {},
        "",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://",
        "https:///path",
        "https://:80/",
        "https://example.com:port/",
        "https://example.com:99999/",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "https://@example.com/",
        "https://example.com/a b",
        "https://example.com/\r\nSet-Cookie: a=b",
        "https://example.com/\t",
        "https://example.com/\u202e",
        "https://example.com\\@evil.example/",
        "https://[::1/",
        "https://example.com/{{.Nothing}}",
        "https://example.com/\ud800",
        "https://" + "a" * 70 + "é.example/",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_no_targets(url: object) -> None:
    with pytest.raises(InvalidLinkError) as caught:
        check_fields({"name": "a", "url": url if not isinstance(url, str) or not url.endswith("\t") else url + "x"})
    assert list(caught.value.errors) == ["url"]


def test_all_errors_at_once() -> None:
    with pytest.raises(InvalidLinkError) as caught:
        check_fields({"name": "", "url": ""})
    assert set(caught.value.errors) == {"name", "url"}


def test_folding() -> None:
    assert fold("My-Team") == fold("myteam") == "myteam"
    # The same letter composed and decomposed.
    assert fold("й") == fold("й")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/a", ("a", "", "")),
        ("/a/", ("a", "", "")),
        ("/a/b/c?d=e&f", ("a", "b/c", "d=e&f")),
        ("/a//b", ("a", "/b", "")),
        ("/a/b%2Fc", ("a", "b%2Fc", "")),
        ("/%D0%B2", ("в", "", "")),
        ("/a%2Fb", ("a/b", "", "")),
        ("//a", ("", "a", "")),
        ("/a?b?c/d", ("a", "", "b?c/d")),
        ("http://host/a/b?c", ("a", "b", "c")),
        ("/a/http://b", ("a", "http://b", "")),
        ("/\u00d0\u00b2/\u00d0\u00b2", ("в", "%D0%B2", "")),
        ("/ґ/ґ", ("ґ", "%D2%91", "")),
        ('/a/"<>?b="', ("a", "%22%3C%3E", "b=%22")),
        ("/a/b#c", ("a", "b%23c", "")),
        ("/%ff", ("\ufffd", "", "")),
    ],
)
def test_take_apart(raw: str, expected: tuple[str, str, str]) -> None:
    asked = take_apart(raw)
    assert (asked.name, asked.rest, asked.query) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("wiki", ["wiki"]), ("wiki).", ["wiki"]), ("wiki.", ["wiki.", "wiki"]), ("", []), ("...", []), ("static", [])],
)
def test_spellings(name: str, expected: list[str]) -> None:
    assert spellings(name) == expected


@pytest.mark.parametrize(
    ("url", "rest", "query", "expected"),
    [
        ("https://e.com", "", "", "https://e.com"),
        ("https://e.com/?", "", "", "https://e.com/?"),
        ("https://e.com", "a", "", "https://e.com/a"),
        ("https://e.com/", "a/b", "", "https://e.com/a/b"),
        ("https://e.com/x", "a", "", "https://e.com/x/a"),
        ("https://e.com/x/", "a/", "", "https://e.com/x/a/"),
        ("https://e.com/x", "/a", "", "https://e.com/x//a"),
        ("https://e.com/x", "a%2Fb", "", "https://e.com/x/a%2Fb"),
        ("https://e.com/x?k=1", "", "q=2&k=3", "https://e.com/x?k=1&q=2&k=3"),
        ("https://e.com/x?k=1#top", "a", "q=%20+", "https://e.com/x/a?k=1&q=%20+#top"),
        ("https://e.com/#/board", "42", "q=1", "https://e.com/?q=1#/board/42"),
        ("https://e.com", "/evil.example", "", "https://e.com//evil.example"),
        ("https://приклад.укр/ш", "", "", "https://xn--80aikifvh.xn--j1amh/%D1%88"),
    ],
)
def test_resolve(url: str, rest: str, query: str, expected: str) -> None:
    assert resolve(url, rest, query) == expected
