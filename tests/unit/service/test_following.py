"""Following links: the layer in front of Flask and Flask itself say the same, and visits are counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import apsw
import pytest
from flask import Flask
from flask.testing import FlaskClient

from service import clicks, create_app, db, following, redirect, store
from service.clicks import Counter
from service.fields import Fields
from service.models import Daily, Day, Link, Miss

Add = Callable[[str, str], Any]
URL = "https://e.com/x?k=1"


@pytest.fixture(autouse=True)
def counter(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """One of the test's own, and the database open in this thread."""
    db.ensure_open()
    made = Counter()
    for module in (redirect, following):
        monkeypatch.setattr(module, "counter", made)
    return made


@pytest.fixture(params=["in front of Flask", "Flask"])
def both(app: Flask, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """The layer, and Flask without it."""
    if request.param == "Flask":
        assert isinstance(app.wsgi_app, redirect.Redirects)
        app.wsgi_app = app.wsgi_app.app  # type: ignore[method-assign,assignment]
    yield app.test_client()


def location(client: FlaskClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 302, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.headers["Location"]


def test_both_lead_to_the_same(both: FlaskClient, counter: Counter) -> None:
    for name, url in (("My-Wiki", URL), ("t", "https://e.com/{{.Path}}?a=1"), ("вікі", "https://приклад.укр/ш")):
        store.create(Fields(name, url), "")
    for path, expected in {
        "/my-wiki": URL,
        "/MYWIKI/": URL,
        "/mywiki?": URL,
        "/mywiki/a//b%2Fc?q=1": "https://e.com/x/a//b%2Fc?k=1&q=1",
        "/my-wiki.": URL,
        "/t/a%20b?q=2": "https://e.com/a%20b?a=1&q=2",
        "/%D0%B2%D1%96%D0%BA%D1%96": "https://xn--80aikifvh.xn--j1amh/%D1%88",
    }.items():
        assert location(both, path) == expected, path
    assert both.head("/mywiki").status_code == 302
    assert both.post("/mywiki").status_code == 405
    counter.write()
    assert {link.name: link.clicks for link in Link.select()} == {"My-Wiki": 5, "t": 1, "вікі": 1}
    assert abs(Link.get(Link.name == "t").visited - time.time()) < 5
    assert Daily.get().day == clicks.today()


def test_the_layer_answers_what_is_plain(app: Flask, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves the rest to Flask."""
    for name, url in (
        ("a", URL),
        ("t", "https://e.com/{{.Path}}"),
        ("u", "https://e.com/{{.User}}"),
        ("own", "http://go/a"),
    ):
        add(name, url)
    asked: list[str] = []

    def flask(environ: Any, start_response: Any) -> Any:
        asked.append(environ["RAW_URI"])
        start_response("204 No Content", [])
        return ()

    monkeypatch.setattr(app.wsgi_app, "app", flask)
    client = app.test_client()
    for path in ("/a", "/A/b?c", "/t/x"):
        assert client.get(path).status_code == 302
    left = ["/", "/nope", "/a+", "/.all", "/static/a", "/u", "/health", "/a%2F", "/t/%00"]
    for path in left:
        assert client.get(path).status_code == 204, path
    assert client.get("/own", headers={"Host": "go:80"}).status_code == 204
    assert client.post("/a").status_code == 204
    assert asked == [*left, "/own", "/a"]


def test_a_renamed_link(both: FlaskClient, counter: Counter) -> None:
    store.create(Fields("old", URL), "")
    store.change("old", {"name": "new"}, "")
    assert location(both, "/old") == location(both, "/new") == URL
    counter.write()
    assert Link.get().clicks == 2


def test_an_expired_link(both: FlaskClient, counter: Counter) -> None:
    store.create(Fields("later", URL, expires=int(time.time()) + 1000), "")
    store.create(Fields("past", URL, expires=86400), "")
    assert location(both, "/later") == URL
    answer = both.get("/past", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.mimetype) == (410, "application/problem+json")
    assert "It could be followed until 2 Jan 1970" in both.get("/past").text
    assert "2 January 1970" in answer.text
    counter.write()
    assert Link.get(Link.name == "past").clicks == 0


def test_targets_that_lead_nowhere(both: FlaskClient, counter: Counter) -> None:
    store.create(Fields("t", "https://{{.Path}}/"), "")
    store.create(Fields("u", "https://e.com/{{.User}}"), "")
    assert location(both, "/t/e.com") == "https://e.com/"
    for path in ("/t", "/t/evil.example%2F", "/t/e.com%00"):
        answer = both.get(path)
        assert (answer.status_code, "Location" in answer.headers, "target of this link" in answer.text) == (
            400,
            False,
            True,
        )
    answer = both.get("/u")
    assert (answer.status_code, "Location" in answer.headers) == (401, False)
    assert both.get("/t/%0D%0ASet-Cookie:a").status_code == 404
    counter.write()
    assert sum(link.clicks for link in Link.select()) == 1


def test_misses(both: FlaskClient, counter: Counter) -> None:
    for path in ("/No-Such", "/nosuch?x", "/.well-known/x", "/a%20b", "/no%00", "/favicon.ico"):
        assert both.get(path).status_code == 404
    assert both.head("/nosuch").status_code == 404
    counter.write()
    (found,) = Miss.select()
    assert (found.key, found.name, found.asked) == ("nosuch", "nosuch", 2)
    # Meanwhile it was made, and before what was counted is written.
    counter.miss("no-such")
    store.create(Fields("nosuch", URL), "")
    counter.write()
    assert Miss.select().count() == 0


def test_changes_show_at_once(both: FlaskClient, writer: apsw.Connection) -> None:
    store.create(Fields("a", URL), "")
    assert location(both, "/a") == URL
    writer.execute("UPDATE link SET url = 'https://other.example/' WHERE key = 'a'")
    assert location(both, "/a") == "https://other.example/"
    writer.execute("DELETE FROM link")
    assert both.get("/a").status_code == 404


def test_reading_closed_is_left_to_flask(environment: dict[str, str], app: Flask) -> None:
    closed = {**environment, "AUTH": "password", "READ": "closed"}
    assert not isinstance(create_app(closed).wsgi_app, redirect.Redirects)


def test_the_database_fails(both: FlaskClient, writer: apsw.Connection, counter: Counter) -> None:
    store.create(Fields("a", URL), "")
    writer.execute("ALTER TABLE link RENAME TO gone")
    assert both.get("/a").status_code == 503
    assert not counter.pending


def test_no_click_is_lost_or_counted_twice(
    app: Flask, counter: Counter, writer: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.database.obj, "_timeout", 0.05)
    link = store.create(Fields("a", URL), "")
    db.close()  # the next connection waits as short as that
    writer.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        counter.click(link.id)
        counter.miss("b")
        with pytest.raises(db.DATABASE_ERRORS):
            counter.write()
    writer.execute("ROLLBACK")
    counter.write()
    assert (Link.get().clicks, Miss.get().asked) == (3, 3)
    # In the middle of it.
    counter.click(link.id)
    counter.miss("b")
    writer.execute("CREATE TRIGGER no BEFORE UPDATE ON miss BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(db.DATABASE_ERRORS):
        counter.write()
    counter.click(link.id)
    writer.execute("DROP TRIGGER no")
    counter.write()
    assert (Link.get().clicks, Miss.get().asked, Daily.get().clicks) == (5, 4, 5)
    assert not counter.pending


def test_misses_are_bounded(app: Flask, counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clicks, "MAX_MISSES", 5)
    for number in range(20):
        counter.miss(f"often{number % 3}")
        counter.miss(f"n{number}")
    counter.write()
    assert Miss.select().count() == 5
    for number in range(4):
        counter.miss(f"m{number}")
        counter.write()
    assert [miss.name for miss in Miss.select().where(Miss.asked > 2).order_by(Miss.name)] == [
        "often0",
        "often1",
        "often2",
    ]
    assert Miss.select().count() == 5


def test_clicks_by_day(app: Flask) -> None:
    link = store.create(Fields("a", URL), "")
    end = clicks.today()
    Daily.insert_many([(end - 2, link.id, 5), (end, link.id, 7), (end - 40, link.id, 100), (end, 99, 1)]).execute()
    # The release before this one counts in a table of its own.
    Day.insert_many([(link.id, end - 1, 3), (link.id, end, 1)]).execute()
    found = clicks.by_day(link.id, 4)
    assert [count for _, count in found] == [0, 5, 3, 8]
    assert found[0][0].isoformat() == time.strftime("%Y-%m-%d", time.gmtime((end - 3) * 86400))
    assert [count for _, count in clicks.by_day(link.id, 2, end - 39)] == [100, 0]
