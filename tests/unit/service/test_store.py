"""Changes of links and the history that they make."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import apsw
import pytest
from flask import Flask

from service import changes, db, store
from service.fields import Fields, check_fields, check_some
from service.links import InvalidLinkError
from service.models import Alias, Change, Daily, Link, Miss, Tag, Visit
from service.store import LinkExistsError, NoSuchChangeError

URL = "https://example.com/"


@pytest.fixture(autouse=True)
def _opened(app: Flask) -> Iterator[None]:
    db.ensure_open()
    yield
    db.close()


def make(name: str, **more: Any) -> Link:
    return store.create(Fields(name, URL, **more), "ann")


def actions(link: Link) -> list[str]:
    return [line.action for line in changes.of_link(link.id)]


class Refused(Exception):
    pass


def refuse(link: Link) -> None:
    raise Refused(link.name)


def test_a_renamed_link_keeps_its_old_names() -> None:
    link = make("Old-Name")
    store.change("oldname", {"name": "new"}, "ben")
    store.change("new", {"name": "newest"}, "ben")
    for name in ("OLDNAME", "old-name", "new", "newest"):
        found = store.find(name)
        assert found is not None
        assert (found.id, found.name) == (link.id, "newest")
    assert store.aliases(link) == ["new", "Old-Name"]
    assert actions(link) == ["rename", "rename", "create"]
    # Back to a name that it had: no longer an alias.
    store.change("newest", {"name": "Old-Name"}, "ben")
    assert store.aliases(link) == ["new", "newest"]
    with pytest.raises(LinkExistsError) as caught:
        make("NEWEST")
    assert caught.value.link.id == link.id


def test_another_spelling_of_the_same_name_is_no_alias() -> None:
    link = make("wiki")
    changed = store.change("wiki", {"name": "Wi-Ki"}, "ben")
    assert changed is not None
    assert (changed.name, store.aliases(link)) == ("Wi-Ki", [])


def test_nothing_changed_is_no_history() -> None:
    link = make("wiki", tags=("a",))
    before = store.etag(link)
    changed = store.change("wiki", {"url": URL, "tags": ("a",)}, "ben")
    assert changed is not None
    assert store.etag(changed) == before
    assert actions(link) == ["create"]


def test_a_version_is_what_people_said_and_no_visit() -> None:
    link = make("wiki")
    before = store.etag(link)
    Visit.update(clicks=5, visited=9).where(Visit.link == link.id).execute()
    seen = store.find("wiki")
    assert seen is not None
    assert store.etag(seen) == before
    changed = store.change("wiki", {"description": "ours"}, "ben")
    assert changed is not None
    assert store.etag(changed) != before
    # Visits counted between reading and saving stay.
    assert Link.get_by_id(link.id).clicks == 5


def test_deleted_and_brought_back() -> None:
    link = make("wiki", tags=("a", "b"), owner="ann", expires=99)
    store.change("wiki", {"name": "docs"}, "ann")
    Visit.update(clicks=7, visited=8).where(Visit.link == link.id).execute()
    Daily.create(link=link.id, day=20000, clicks=7)
    assert store.delete("docs", "ben") is not None
    assert store.find("wiki") is store.find("docs") is None
    assert Tag.select().count() == Alias.select().count() == 0
    (gone,) = changes.deleted()
    assert (gone.link, gone.key, gone.author) == (link.id, "docs", "ben")
    assert changes.last_of("docs") == gone

    other = make("other")
    assert other.id > link.id, "an id is never given twice"
    back = store.revert(gone.id, "cay")
    assert back is not None
    assert (back.id, back.clicks, back.visited, back.tags, back.expires) == (link.id, 7, 8, "a b", 99)
    assert store.find("wiki") is not None
    assert changes.deleted() == []
    assert changes.last_of("docs") is None
    assert actions(link) == ["undelete", "delete", "rename", "create"]
    assert [tag.name for tag in Tag.select().order_by(Tag.name)] == ["a", "b"]


def test_an_id_is_not_given_again_after_the_last_one_went() -> None:
    link = make("wiki")
    store.delete("wiki", "ann")
    assert make("wiki").id > link.id
    assert changes.deleted() != [], "the first one can still be brought back, under another name"
    with pytest.raises(LinkExistsError):
        store.revert(changes.deleted()[0].id, "ann")


def test_undo() -> None:
    link = make("wiki")
    store.change("wiki", {"url": "https://example.org/", "tags": ("x",)}, "ben")
    store.change("wiki", {"name": "docs"}, "ben")
    edit = changes.of_link(link.id)[1]
    assert changes.differences(edit) == [("url", URL, "https://example.org/"), ("tags", [], ["x"])]
    back = store.revert(edit.id, "ann")
    assert back is not None
    assert (back.name, back.url, back.tags) == ("wiki", URL, "")
    assert actions(link)[0] == "undo"
    # Undoing the creation deletes, and undoing that brings it back.
    assert store.revert(changes.of_link(link.id)[-1].id, "ann") is None
    assert store.find("wiki") is None
    assert store.revert(changes.deleted()[0].id, "ann") is not None
    with pytest.raises(NoSuchChangeError):
        store.revert(999, "ann")


def test_a_guard_is_asked_before_anything_is_changed() -> None:
    link = make("wiki")
    attempts: tuple[Callable[[], object], ...] = (
        lambda: store.change("wiki", {"url": "https://example.org/"}, "ben", refuse),
        lambda: store.delete("wiki", "ben", refuse),
        lambda: store.revert(changes.of_link(link.id)[0].id, "ben", refuse),
    )
    for attempt in attempts:
        with pytest.raises(Refused):
            attempt()
    store.delete("wiki", "ann")
    with pytest.raises(Refused):
        store.revert(changes.deleted()[0].id, "ben", refuse)
    assert store.find("wiki") is None
    assert Change.select().count() == 2


def test_several_at_once_or_none() -> None:
    first, second = make("one"), make("two")
    done = store.bulk(["one", "ONE", "two"], lambda _link: {"tags": ("x",)}, "ann")
    assert [link.id for link in done] == [first.id, second.id]
    with pytest.raises(LookupError) as caught:
        store.bulk(["one", "three"], lambda _link: {"owner": "ben"}, "ann")
    assert caught.value.args == ("three",)
    assert Link.get_by_id(first.id).owner == ""
    with pytest.raises(LinkExistsError):
        store.bulk(["one", "two"], lambda _link: {"name": "same"}, "ann")
    assert actions(first) == ["edit", "create"]
    store.bulk(["one", "two"], lambda _link: None, "ann")
    assert Link.select().count() == 0
    assert len(changes.deleted()) == 2


def test_a_name_that_was_asked_for_is_answered() -> None:
    for key in ("wiki", "docs"):
        Miss.create(key=key, name=key, asked=3, first=1, last=2)
    make("Wiki")
    store.change("wiki", {"name": "docs"}, "ann")
    assert Miss.select().count() == 0


def test_an_alias_is_removed() -> None:
    link = make("wiki")
    store.change("wiki", {"name": "docs"}, "ann")
    assert store.forget_alias("WIKI", "ann")
    assert store.find("wiki") is None
    assert not store.forget_alias("wiki", "ann")
    (line, *_) = changes.of_link(link.id)
    assert changes.differences(line) == [("aliases", ["wiki"], [])]


def test_what_the_release_before_writes_is_found(app: Flask) -> None:
    """It knows neither the new columns nor the tables."""
    db.database.obj.execute_sql(
        "INSERT INTO link (key, name, url, created, updated) VALUES ('wiki', 'wiki', 'https://example.com/', 1, 1)"
    )
    link = store.find("wiki")
    assert link is not None
    store.change("wiki", {"tags": ("x",)}, "ann")
    db.database.obj.execute_sql("DELETE FROM link")
    assert Tag.select().count() == 0
    assert make("wiki").id > link.id


@pytest.mark.parametrize(
    ("field", "value", "cleaned"),
    [
        ("owner", " ann  lee\n", "ann lee"),
        ("owner", None, ""),
        ("description", "Де  що?", "Де що?"),
        ("tags", "b, A #c\tb", ("a", "b", "c")),
        ("tags", ["Ops"], ("ops",)),
        ("tags", None, ()),
        ("expires", "2026-01-31", 1769903999),
        ("expires", "2026-01-31T12:00:00+02:00", 1769853600),
        ("expires", "2026-01-31T12:00", 1769860800),
        ("expires", "", None),
    ],
)
def test_fields_are_cleaned(field: str, value: object, cleaned: object) -> None:
    assert check_some({field: value}) == {field: cleaned}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("owner", 1),
        ("owner", "a" * 101),
        ("owner", "\ud800"),
        ("description", "a\x00b"),
        ("description", "a" * 1001),
        ("tags", 1),
        ("tags", [1]),
        ("tags", {"a": 1}),
        ("tags", ["a b"]),
        ("tags", "-"),
        ("tags", "a" * 51),
        ("tags", " ".join(f"t{number}" for number in range(21))),
        ("expires", 5),
        ("expires", "tomorrow"),
        ("expires", "2026-02-30"),
        ("expires", "1970-01-01T00:00:00Z"),
        ("expires", "1900-01-01"),
        ("expires", "0001-01-01T00:00:00+14:00"),
        ("expires", "2026-01-31T12:00:00+99:00"),
    ],
)
def test_fields_that_are_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidLinkError) as caught:
        check_some({field: value})
    assert set(caught.value.errors) == {field}


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(InvalidLinkError) as caught:
        check_fields({"tags": "-", "expires": "x"})
    assert set(caught.value.errors) == {"name", "url", "tags", "expires"}


def test_history_can_be_read_by_people() -> None:
    make("вікі")
    after = str(Change.get().after)
    assert json.loads(after)["name"] == "вікі"
    assert "вікі" in after


def test_threads_write_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits for the other without asking SQLite for its lock; for so long, and not for ever."""
    order: list[str] = []
    begun = threading.Event()

    def write() -> None:
        db.ensure_open()
        begun.set()
        try:
            make("second")
            order.append("second")
        except apsw.BusyError as error:
            order.append("busy")
            assert db.is_busy(error)
        finally:
            db.close()

    def beside(seconds: float) -> None:
        monkeypatch.setattr(db, "BUSY_TIMEOUT", seconds)
        begun.clear()
        thread = threading.Thread(target=write)
        with db.write():
            # Within its own turn a thread has it again.
            make(f"first-{seconds}")
            thread.start()
            assert begun.wait(30)
            if seconds < 1:
                thread.join(30)
            order.append("first")
        thread.join(30)

    beside(0.05)
    beside(30.0)
    assert order == ["busy", "first", "first", "second"]
