"""The list and the search, on few links; how quick they are on many is a benchmark's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from service import db, search, store
from service.fields import Fields
from service.models import Visit
from service.search import BadCursorError, Query, list_links


@pytest.fixture(autouse=True)
def _opened(app: Flask) -> Iterator[None]:
    db.ensure_open()
    yield
    db.close()


def make(name: str, url: str = "https://example.com/", clicks: int = 0, **more: Any) -> None:
    link = store.create(Fields(name, url, **more), "")
    Visit.update(clicks=clicks, visited=clicks).where(Visit.link == link.id).execute()


def names(**query: Any) -> list[str]:
    return [link.name for link in list_links(Query(**query)).links]


def walk(**query: Any) -> list[str]:
    """All pages of two."""
    seen: list[str] = []
    cursor = ""
    while True:
        page = list_links(Query(limit=2, cursor=cursor, **query))
        seen += [link.name for link in page.links]
        if page.following is None:
            return seen
        cursor = page.following


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", search.SORTS)
def test_every_order_is_walked_once(sort: str, descending: bool) -> None:
    for name, clicks in (("b", 3), ("d", 0), ("a", 3), ("e", 0), ("c", 9)):
        make(name, clicks=clicks)
    seen = walk(sort=sort, descending=descending)
    assert sorted(seen) == ["a", "b", "c", "d", "e"]
    if sort == "name":
        assert seen == sorted(seen, reverse=descending)
    elif sort == "clicks":
        assert seen == (["c", "a", "b", "e", "d"] if descending else ["d", "e", "b", "a", "c"])


def test_a_link_that_comes_meanwhile_is_not_seen_twice() -> None:
    for name in "bdf":
        make(name)
    first = list_links(Query(limit=2))
    make("a")
    make("e")
    assert first.following
    assert names(cursor=first.following) == ["e", "f"]


def test_filters() -> None:
    make("one", tags=("ops", "x"), owner="ann")
    make("two", tags=("ops",), owner="ben")
    make("three", owner="ann")
    assert names(tag="OPS") == ["one", "two"]
    assert names(owner="ann") == ["one", "three"]
    assert names(owner="ann", tag="ops") == ["one"]
    assert names(owner="") == []
    assert names(tag="op") == []
    assert names(text="o", tag="x") == ["one"]
    assert search.tags() == [("ops", 2), ("x", 1)]


def test_the_best_match_is_first() -> None:
    make("team-wiki", clicks=5)
    make("wiki-old", clicks=1)
    make("wiki")
    make("handbook", "https://example.com/wiki", clicks=50)
    make("other", clicks=99)
    assert names(text="Wi-Ki") == ["wiki", "wiki-old", "team-wiki"]
    assert names(text="wiki") == ["wiki", "wiki-old", "team-wiki", "handbook"]
    assert names(text="wiki", sort="clicks", descending=True) == ["handbook", "team-wiki", "wiki-old", "wiki"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("book", ["handbook"]),  # inside of a name
        ("xample.org", ["docs"]),  # of a target
        ("розклад", ["docs"]),  # of a description
        ("РОЗКЛ", ["docs"]),
        ("ops", ["docs"]),  # a tag
        ("op", ["docs"]),  # the beginning of a tag
        ("ann", ["handbook"]),  # an owner
        ("ha", ["handbook"]),  # the beginning of a name
        ("an", []),
        ("book example", ["handbook"]),  # all of the words
        ("book розклад", []),
        ("example d", ["docs", "handbook"]),
        ("h", ["handbook"]),
        ("  ", ["docs", "handbook"]),
        ('"', []),
        ('book" OR "docs', []),
        ("book*", []),
        ("NEAR(book)", []),
        ("key:book", []),
        ("%", []),
        ("__", []),
        ("-", []),
        ("🙂", []),
        ("\x00", []),
        ("a" * 5000, []),
    ],
)
def test_what_is_found(text: str, found: list[str]) -> None:
    make("handbook", "https://example.com/", owner="ann")
    make("docs", "https://example.org/", description="Розклад", tags=("ops",))
    assert sorted(names(text=text)) == found


def test_text_follows_changes() -> None:
    make("handbook")
    store.change("handbook", {"name": "guide", "description": "everything"}, "")
    assert names(text="andboo") == []
    assert names(text="verythin") == ["guide"]
    store.delete("guide", "")
    assert names(text="guide") == []


def test_more_than_is_given() -> None:
    for number in range(5):
        make(f"wiki{number}")
    page = list_links(Query(text="wiki", limit=3))
    assert (len(page.links), page.following, page.more) == (3, None, True)
    assert list_links(Query(text="wiki", limit=5)).more is False


@pytest.mark.parametrize(
    "cursor", ["x", "!", "W10", "WzFd", "W251bGwsMV0", "WzEsMV0", "WyJhIiwidCJd", "é" * 9, "W" * 999]
)
def test_cursors_of_others(cursor: str) -> None:
    with pytest.raises(BadCursorError):
        list_links(Query(cursor=cursor))


def test_cursor_of_another_order() -> None:
    for name in "abc":
        make(name)
    following = list_links(Query(limit=1)).following
    assert following
    with pytest.raises(BadCursorError):
        list_links(Query(limit=1, sort="clicks", cursor=following))
