"""Export and import: what goes out comes in unchanged, and nothing half-done."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service import changes, db, importing, store, transfer
from service.fields import Fields
from service.importing import ImportRefusedError, Report, Rules, import_lines
from service.migrate import migrate
from service.models import Alias, Change, Link, Miss, Tag, Visit

URL = "https://example.com/"
# As golink writes it: these members, this order, & < > escaped, times in UTC.
GOLINK = (
    b'{"Short":"Docs","Long":"https://docs.example.com/?a=1\\u0026b=2","Created":"2022-06-02T01:02:03Z",'
    b'"LastEdit":"2023-06-02T01:02:03Z","Owner":"foo@example.com"}\n'
    b'{"Short":"my-meet","Long":"https://meet.example.com/","Created":"2022-06-02T01:02:03Z",'
    b'"LastEdit":"2022-06-02T01:02:03Z","Owner":""}\n'
    b'{"Short":"search","Long":"https://s.example.com/{{if .Path}}?q={{QueryEscape .Path}}\\u0026d={{.Now.Format '
    b'\\"01-02-2006\\"}}{{end}}","Created":"2022-06-02T01:02:03Z","LastEdit":"2022-06-02T01:02:03Z","Owner":"a@b.example"}\n'
)


@pytest.fixture(autouse=True)
def _opened(app: Flask) -> Iterator[None]:
    db.ensure_open()
    yield
    db.close()


def run(lines: bytes, **rules: Any) -> Report:
    return import_lines(io.BytesIO(lines), Rules("ann", **rules))


def refused(lines: bytes, **rules: Any) -> list[dict[str, Any]]:
    before = everything()
    with pytest.raises(ImportRefusedError) as caught:
        run(lines, **rules)
    assert everything() == before
    return caught.value.report.errors


def everything() -> bytes:
    return b"".join(transfer.export()) + str(Change.select().count()).encode()


def line(name: str, **more: Any) -> bytes:
    return json.dumps({"Short": name, "Long": URL, **more}).encode() + b"\n"


def fill() -> None:
    store.create(Fields("plain", URL), "ann")
    full = Fields("Full-One", URL + "?a=1&b=<2>\u2028", "ann", "Слова, & more", ("a", "б"), 2_000_000_000)
    store.create(Fields("old", URL), "ann")
    Link.update(url="https://example.com/?a=1&b=<2>").where(Link.key == "old").execute()
    store.change("old", {"name": "new"}, "ann")
    store.create(Fields(full.name, URL + "?a=1&b=<2>", full.owner, full.description, full.tags, full.expires), "ann")
    Visit.update(clicks=5, visited=1_700_000_000).where(Visit.link == Link.get(Link.key == "fullone")).execute()


def test_an_export_is_imported_unchanged(tmp_path: Path) -> None:
    fill()
    exported = b"".join(transfer.export())
    assert [json.loads(each)["Short"] for each in exported.splitlines()] == ["Full-One", "new", "plain"]
    full = json.loads(exported.splitlines()[0])
    assert full["Tags"] == ["a", "б"]
    assert (full["Clicks"], full["LastVisit"]) == (5, "2023-11-14T22:13:20Z")
    assert json.loads(exported.splitlines()[1])["Aliases"] == ["old"]
    db.close()

    other = f"sqlite:///{tmp_path / 'other.db'}"
    migrate(other)
    db.configure(other)
    db.ensure_open()
    report = run(exported)
    assert (report.created, report.failed) == (3, 0)
    assert b"".join(transfer.export()) == exported
    assert store.find("old").name == "new"  # type: ignore[union-attr]
    assert {(tag.name, tag.link.name) for tag in Tag.select()} == {("a", "Full-One"), ("б", "Full-One")}


def test_golinks_own_export_goes_in_and_out_verbatim() -> None:
    assert run(GOLINK).created == 3
    assert b"".join(transfer.export()) == GOLINK


def test_times_of_golink() -> None:
    run(line("a", Created="2022-06-02T01:02:03.000000004Z", LastEdit="2022-06-02T03:02:03.9+02:00"))
    run(line("b", Created="0001-01-01T00:00:00Z"))
    first, second = (store.find(name) for name in "ab")
    assert first is not None
    assert second is not None
    assert first.created == first.updated == 1_654_131_723
    assert second.created > 1_700_000_000


def test_links_that_are_there_are_skipped_or_replaced() -> None:
    link = store.create(Fields("wiki", URL, "bob"), "bob")
    lines = line("WIKI", Long="https://other.example/", Owner="bob", Aliases=["encyclopedia"]) + line("new")
    report = run(lines)
    assert (report.created, report.skipped) == (1, 1)
    assert store.find("wiki") == link

    report = run(lines, existing="replace")
    assert (report.replaced, report.skipped, report.created) == (1, 1, 0)
    changed = store.find("encyclopedia")
    assert changed is not None
    assert (changed.id, changed.name, changed.url) == (link.id, "WIKI", "https://other.example/")
    assert [each.action for each in changes.of_link(link.id)] == ["import", "create"]
    assert run(lines, existing="replace").skipped == 2


def test_only_who_may_replaces() -> None:
    store.create(Fields("wiki", URL, "bob"), "bob")
    store.create(Fields("mine", URL, "ann"), "ann")
    lines = line("new") + line("wiki", Long="https://other.example/") + line("mine", Long="https://other.example/")
    errors = refused(lines, existing="replace", may_replace=lambda owner: owner == "ann")
    assert [(error["line"], error["reason"]) for error in errors] == [(2, "belongs to bob")]


def test_lines_are_whose_who_imports() -> None:
    run(line("a", Owner="bob"), owner="ann")
    run(line("b", Owner="bob"))
    assert [link.owner for link in Link.select().order_by(Link.key)] == ["ann", "bob"]


def test_a_name_that_was_asked_for_is_answered() -> None:
    for name in ("a", "b", "c"):
        Miss.create(key=name, name=name, asked=1, first=1, last=1)
    run(line("a", Aliases=["b"]))
    assert [miss.key for miss in Miss.select()] == ["c"]


@pytest.mark.parametrize(
    ("lines", "number", "reason"),
    [
        (b"{", 1, "not JSON"),
        (b"\n\n[]\n", 3, "not a JSON object"),
        (line("a") + line("A"), 2, "line 2"),
        (line("a") + line("b", Aliases=["a"]), 2, "line 2"),
        (line("a", Aliases=["b"]) + line("b"), 2, "line 2"),
        (line("a", Aliases=["wiki"]), 1, "leads to wiki already"),
        (line("a", Aliases=["wi-ki-old"]), 1, "leads to wiki already"),
        (line("health"), 1, "reserved"),
        (line("a", Long="javascript:alert(1)"), 1, "Long: must begin"),
        (line("a", Nonsense=1), 1, "Nonsense: is not known"),
        (line("a", Created="yesterday"), 1, "Created: must be a time"),
        (line("a", Created="1066-01-01T00:00:00Z"), 1, "Created: must be a time"),
        (line("a", Clicks=-1), 1, "Clicks"),
        (line("a", Clicks=True), 1, "Clicks"),
        (line("a", Clicks=2**70), 1, "Clicks"),
        (line("a", Tags=[1]), 1, "Tags"),
        (line("a", Aliases="b"), 1, "Aliases"),
        (line("a", Aliases=[None]), 1, "Aliases"),
        (line("a", Expires="soon"), 1, "Expires"),
        (b'{"Short":"\\ud800","Long":"https://example.com"}', 1, "Short"),
        (b"\xff\xfe", 1, "not JSON"),
        (b"[" * 60_000, 1, "not JSON"),
        (b'{"Short":"' + b"a" * 70_000 + b'"}\n' + line("ok"), 1, "more than 65536 bytes"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_nothing_is_done(lines: bytes, number: int, reason: str) -> None:
    store.create(Fields("wikiold", URL), "ann")
    store.change("wikiold", {"name": "wiki"}, "ann")
    errors = refused(line("good-one") + lines, existing="replace")
    assert errors[0]["line"] == number + 1
    assert reason in errors[0]["reason"]


def test_mistakes_are_bounded_and_counted() -> None:
    with pytest.raises(ImportRefusedError) as caught:
        run(b"x\n" * 250)
    report = caught.value.report
    assert (len(report.errors), report.failed) == (100, 250)


def test_a_dry_run_says_it_all_and_does_nothing() -> None:
    store.create(Fields("wiki", URL), "ann")
    before = everything()
    report = run(line("new") + line("wiki") + b"x\n", dry_run=True)
    assert [(each["line"], each["action"]) for each in report.as_json()["lines"]] == [
        (1, "create"),
        (2, "skip"),
        (3, "error"),
    ]
    assert everything() == before


def test_too_many_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_LINKS", 3)
    assert refused(b"".join(line(name) for name in "abcdef"))[0]["line"] == 4


def test_killed_or_failing_in_the_middle_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second block fails: the first is taken back."""
    monkeypatch.setattr(importing, "BLOCK", 2)
    real, calls = store.insert_all, []

    def failing(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError
        real(*arguments)

    monkeypatch.setattr(store, "insert_all", failing)
    before = everything()
    with pytest.raises(RuntimeError):
        run(b"".join(line(name) for name in "abcdef"))
    assert len(calls) == 2
    assert everything() == before


def test_parsing_does_not_hold_the_database(writer: Any) -> None:
    class Watching(io.BytesIO):
        def readline(self, *arguments: Any) -> bytes:
            # Another process writes while lines are read.
            writer.execute("UPDATE visit SET clicks = clicks + 1")
            return super().readline(*arguments)

    writer.set_busy_timeout(100)
    store.create(Fields("wiki", URL), "ann")
    import_lines(Watching(line("a") + line("b")), Rules("ann"))
    assert Link.select().count() == 3


def test_many_links_are_imported_in_blocks() -> None:
    lines = b"".join(line(f"n{number:04}", Aliases=[f"m{number:04}"], Tags=["t"]) for number in range(1200))
    assert run(lines).created == 1200
    assert (Link.select().count(), Alias.select().count(), Tag.select().count()) == (1200, 1200, 1200)
    assert len({change.link for change in Change.select()}) == 1200


def test_over_http(client: FlaskClient, add: Callable[[str, str], Any]) -> None:
    add("wiki", URL)
    ask = client.post("/.api/import?dry_run=1", data=GOLINK, content_type="application/x-ndjson")
    assert ask.status_code == 200
    assert ask.json is not None
    assert (ask.json["created"], ask.json["dry_run"]) == (3, True)
    done = client.post("/.api/import", data=GOLINK, content_type="text/plain")
    assert (done.status_code, done.json and done.json["created"]) == (200, 3)
    bad = client.post("/.api/import", data=b"x\n", content_type="application/x-ndjson")
    assert bad.status_code == 422
    assert bad.json is not None
    assert bad.json["errors"] == [{"line": 1, "name": "", "reason": "line: is not JSON"}]
    assert client.post("/.api/import", data=b"", content_type="image/png").status_code == 415
    for path in ("/.export", "/.api/export"):
        exported = client.get(path)
        assert exported.mimetype == "application/x-ndjson"
        assert len(exported.data.splitlines()) == 4


def test_more_than_other_bodies_may_have_but_bounded(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b"".join(line(f"n{number}", Description="a" * 900) for number in range(200))
    assert len(lines) > 100_000
    assert client.post("/.api/import", data=lines, content_type="text/plain").status_code == 200
    monkeypatch.setattr(importing, "MAX_BYTES", 100_000)
    answer = client.post("/.api/import", data=lines, content_type="text/plain")
    assert answer.status_code == 413
    assert answer.mimetype == "application/problem+json"
