"""The API where two change the same, and what became of links."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from service import db, store
from service.api import links as api_links
from service.api import shapes
from service.fields import Fields
from service.models import Daily, Miss, Visit

Add = Callable[[str, str], Any]
URL = "https://example.com/"
EVERYTHING = {
    "name": "wiki",
    "url": URL,
    "owner": "ann",
    "description": "What we know",
    "tags": ["docs", "team"],
    "expires": "2030-01-31T12:00:00Z",
}


def body(answer: Any) -> Any:
    assert answer.json is not None, answer.text
    return answer.json


def history(client: FlaskClient, name: str) -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = body(client.get(f"/.api/links/{name}/history"))["changes"]
    return changes


def test_every_field_is_kept_and_the_same_again_changes_nothing(client: FlaskClient) -> None:
    made = client.post("/.api/links", json=EVERYTHING)
    assert made.status_code == 201
    assert {name: body(made)[name] for name in EVERYTHING} == EVERYTHING
    again = client.post("/.api/links", json=EVERYTHING)
    assert (again.status_code, again.json) == (200, made.json)
    assert again.headers["ETag"] == made.headers["ETag"]
    assert len(history(client, "wiki")) == 1
    others: list[dict[str, Any]] = [{"description": "Else"}, {"name": "WIKI"}, {"tags": []}]
    for other in others:
        assert client.post("/.api/links", json={**EVERYTHING, **other}).status_code == 409


def test_two_editors_cant_overwrite_each_other(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    seen = client.get("/.api/links/wiki").headers["ETag"]
    first = client.patch("/.api/links/wiki", json={"description": "first"}, headers={"If-Match": seen})
    assert first.status_code == 200
    second = client.patch("/.api/links/wiki", json={"description": "second"}, headers={"If-Match": seen})
    assert second.status_code == 412
    assert second.mimetype == "application/problem+json"
    assert body(second)["link"] == first.json
    assert second.headers["ETag"] == first.headers["ETag"] == client.get("/.api/links/wiki").headers["ETag"]
    assert client.delete("/.api/links/wiki", headers={"If-Match": seen}).status_code == 412
    assert client.delete("/.api/links/wiki", headers={"If-Match": first.headers["ETag"]}).status_code == 204


@pytest.mark.parametrize(("sent", "status"), [("*", 200), ("", 412), ('"x"', 412), ('W/"x"', 412), ('"x", *', 412)])
def test_forms_of_if_match(client: FlaskClient, add: Add, sent: str, status: int) -> None:
    add("wiki", URL)
    answer = client.patch("/.api/links/wiki", json={"url": URL}, headers={"If-Match": sent})
    assert answer.status_code == status


def test_a_visit_is_no_other_version(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    before = client.get("/.api/links/wiki").headers["ETag"]
    Visit.update(clicks=5, visited=int(time.time())).execute()
    assert client.get("/.api/links/wiki").headers["ETag"] == before


def test_undo_undelete_and_aliases(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    client.patch("/.api/links/wiki", json={"name": "manual", "expires": "2030-01-01"})
    renamed = history(client, "wiki")[0]
    assert (renamed["action"], renamed["author"]) == ("rename", "")
    assert {each["field"]: each["after"] for each in renamed["differences"]} == {
        "name": "manual",
        "expires": "2030-01-01T23:59:59Z",
        "aliases": ["wiki"],
    }
    back = client.post("/.api/links/manual/undo", json={"change": renamed["change"]})
    assert (back.status_code, body(back)["name"]) == (200, "wiki")
    assert body(back)["aliases"] == ["manual"]
    assert client.delete("/.api/links/wiki/aliases/manual").status_code == 204
    assert client.delete("/.api/links/wiki/aliases/manual").status_code == 404
    assert client.get("/.api/links/manual").status_code == 404

    assert client.delete("/.api/links/wiki").status_code == 204
    gone = body(client.get("/.api/deleted"))["deleted"]
    assert [each["link"]["name"] for each in gone] == ["wiki"]
    add("wiki", "https://other.example/")
    taken = client.post("/.api/undelete", json={"change": gone[0]["change"]})
    assert (taken.status_code, body(taken)["link"]["url"]) == (409, "https://other.example/")
    client.patch("/.api/links/wiki", json={"name": "elsewhere"})
    client.delete("/.api/links/elsewhere/aliases/wiki")
    assert body(client.post("/.api/undelete", json={"change": gone[0]["change"]}))["url"] == URL
    assert client.post("/.api/undelete", json={"change": gone[0]["change"]}).status_code == 404
    assert body(client.get("/.api/deleted")) == {"deleted": [], "next": None}


def test_undo_is_of_this_links_changes_alone(client: FlaskClient, add: Add) -> None:
    add("one", URL)
    add("two", URL)
    client.patch("/.api/links/two", json={"url": "https://other.example/"})
    change = history(client, "two")[0]["change"]
    assert client.post("/.api/links/one/undo", json={"change": change}).status_code == 404
    for wrong in (0, -1, True, "1", None, 2**53, 2**80, 1.5):
        assert client.post("/.api/links/one/undo", json={"change": wrong}).status_code == 422
        assert client.post("/.api/undelete", json={"change": wrong}).status_code == 422
    made = history(client, "one")[0]["change"]
    assert client.post("/.api/links/one/undo", json={"change": made}).status_code == 204
    assert client.get("/.api/links/one").status_code == 404


def test_lists_of_changes_are_paged(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    for number in range(6):
        client.patch("/.api/links/wiki", json={"description": str(number)})
    seen: list[int] = []
    cursor = ""
    while True:
        page = body(client.get(f"/.api/links/wiki/history?limit=3{cursor}"))
        seen += [each["change"] for each in page["changes"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 7


def test_bulk_is_all_or_nothing(client: FlaskClient, add: Add) -> None:
    for name in ("one", "two", "three"):
        add(name, URL)
    done = client.post("/.api/bulk", json={"names": ["one", "TWO"], "change": {"owner": "ann"}, "add_tags": ["x", "y"]})
    assert body(done) == {"changed": ["one", "two"], "deleted": []}
    client.post("/.api/bulk", json={"names": ["two"], "remove_tags": ["x"]})
    assert [body(client.get(f"/.api/links/{name}"))["tags"] for name in ("one", "two")] == [["x", "y"], ["y"]]
    failed = client.post("/.api/bulk", json={"names": ["one", "four"], "delete": True})
    assert failed.status_code == 404
    assert "four" in body(failed)["detail"]
    assert client.get("/.api/links/one").status_code == 200
    too_many = client.post("/.api/bulk", json={"names": ["three", "one"], "add_tags": [f"t{n}" for n in range(19)]})
    assert too_many.status_code == 422
    assert body(client.get("/.api/links/three"))["tags"] == []
    assert body(client.post("/.api/bulk", json={"names": ["one", "two"], "delete": True}))["deleted"] == ["one", "two"]


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"names": []},
        {"names": "one"},
        {"names": [1]},
        {"names": ["one"] * 501},
        {"names": ["one"], "delete": 1},
        {"names": ["one"], "delete": True, "add_tags": ["a"]},
        {"names": ["one"], "change": []},
        {"names": ["one"], "change": {"name": "two"}},
        {"names": ["one"], "change": {"url": "x"}},
        {"names": ["one"], "else": 1},
    ],
)
def test_bad_bulk(client: FlaskClient, sent: Any) -> None:
    assert client.post("/.api/bulk", json=sent).status_code == 422


def test_reports(client: FlaskClient, app: Flask, add: Add) -> None:
    add("wiki", URL)
    client.patch("/.api/links/wiki", json={"tags": ["a", "b"]})
    db.ensure_open()
    link = store.find("wiki")
    assert link is not None
    today = int(time.time()) // 86_400
    for day, clicks in ((today, 3), (today - 2, 4), (today - 9, 5)):
        Daily.create(link=link.id, day=day, clicks=clicks)
    for name, asked, last in (("wkii", 2, 100), ("other", 1, 200)):
        Miss.create(key=name, name=name, asked=asked, first=50, last=last)

    report = body(client.get("/.api/links/wiki/clicks?days=3"))
    assert [day["clicks"] for day in report["days"]] == [4, 0, 3]
    assert report["total"] == 7
    assert body(client.get("/.api/missing?limit=1")) == {
        "missing": [
            {"name": "wkii", "asked": 2, "first": "1970-01-01T00:00:50Z", "last": "1970-01-01T00:01:40Z"},
        ],
        "more": True,
    }
    assert [miss["name"] for miss in body(client.get("/.api/missing?sort=last"))["missing"]] == ["other", "wkii"]
    assert client.delete("/.api/missing/WK-II").status_code == 204
    assert client.delete("/.api/missing/wkii").status_code == 404
    assert body(client.get("/.api/tags?limit=1")) == {"tags": [{"name": "a", "links": 1}], "more": True}


def test_lists_are_found_filtered_and_sorted(client: FlaskClient) -> None:
    for name, tag, owner in (("a", "x", "ann"), ("b", "x", ""), ("c", "y", "ann")):
        client.post("/.api/links", json={"name": name, "url": URL, "tags": [tag], "owner": owner})

    def names(query: str) -> list[str]:
        return [link["name"] for link in body(client.get(f"/.api/links?{query}"))["links"]]

    assert names("tag=x&order=desc") == ["b", "a"]
    assert names("owner=ann") == ["a", "c"]
    assert names("owner=") == ["b"]
    assert names("q=example&tag=y") == ["c"]
    assert names("sort=created&limit=2") == ["a", "b"]


def test_a_search_may_hold_anything(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    for text in ("wi%00ki", "%00", "exa%00%00mple", '"', "' OR 1", "*", "(", "%F0%9F%98%80"):
        assert client.get(f"/.api/links?q={text}").status_code == 200
    assert len(body(client.get("/.api/links?q=%00wiki%00"))["links"]) == 1


@pytest.mark.parametrize("query", ["q=a&q=b", "wanted=1", "sort=url", "order=up", "q=" + "a" * 201, "cursor=%00"])
def test_what_is_not_understood_is_refused(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/.api/links?{query}")
    assert answer.status_code == 400
    assert answer.mimetype == "application/problem+json"


def test_no_list_grows_beyond_its_bound(client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_links, "MAX_ANSWER", 3000)
    monkeypatch.setattr("service.api.history.MAX_ANSWER", 3000)
    db.ensure_open()
    for number in range(9):
        store.create(Fields(f"n{number}", URL, description="d" * 900), "")
        store.change("n0", {"description": str(number) * 900}, "")
    page = body(client.get("/.api/links?limit=9"))
    assert 1 <= len(page["links"]) <= 3
    following = body(client.get(f"/.api/links?limit=9&cursor={page['next']}"))
    assert following["links"][0]["name"] == f"n{len(page['links'])}"
    assert len(body(client.get("/.api/links?q=example&limit=9"))["links"]) <= 3
    changes = body(client.get("/.api/links/n0/history"))
    assert 1 <= len(changes["changes"]) <= 3
    assert changes["next"] is not None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/.api/", 404),
        ("GET", "/.api/nothing", 404),
        ("POST", "/.api/nothing", 404),
        ("PUT", "/.api/links", 405),
        ("GET", "/.api/bulk", 405),
        ("DELETE", "/.api/links", 405),
    ],
)
def test_unknown_addresses_and_methods_are_problems(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    if status == 405:
        assert method not in answer.headers["Allow"]


def test_a_database_that_is_busy_is_503(client: FlaskClient, add: Add, writer: Any, monkeypatch: Any) -> None:
    add("wiki", URL)
    db.ensure_open()
    db.database.obj.connection().set_busy_timeout(50)
    writer.execute("BEGIN IMMEDIATE")
    for answer in (
        client.patch("/.api/links/wiki", json={"url": "https://other.example/"}),
        client.post("/.api/import", data=b'{"Short":"a","Long":"https://b.example"}', content_type="text/plain"),
    ):
        assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    writer.execute("ROLLBACK")


def test_metrics_are_prometheus_text(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    add("other", URL)
    client.patch("/.api/links/wiki", json={"name": "manual"})
    answer = client.get("/.metrics")
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    found = {sample.name: sample for family in text_string_to_metric_families(answer.text) for sample in family.samples}
    assert found["golinks_links"].value == 2
    assert found["golinks_aliases"].value == 1
    assert found["golinks_changes_total"].value == 3
    assert {sample.labels["release"] for sample in found.values()} == {"r1"}


def test_a_time_before_the_year_1000_has_four_digits() -> None:
    assert shapes.when(-50_000_000_000) == "0385-07-25T07:06:40Z"


HERE = "http://localhost/"


def test_an_import_makes_no_circle(client: FlaskClient) -> None:
    client.post("/.api/links", json={"name": "there", "url": f"{HERE}first"})
    lines = [{"Short": name, "Long": url} for name, url in (("first", f"{HERE}second"), ("second", f"{HERE}there"))]
    body = "".join(json.dumps(line) + "\n" for line in [*lines, {"Short": "good", "Long": "https://example.com/"}])
    for query, status in (("?dry_run=1", 200), ("", 422)):
        answer = client.post(f"/.api/import{query}", data=body, content_type="application/x-ndjson")
        assert answer.status_code == status
        assert answer.json is not None
        report = answer.json
        assert [entry["line"] for entry in report["errors"]] == [1, 2]
        assert "circle" in report["errors"][0]["reason"]
    assert client.get("/.api/links/good").status_code == 404


def test_undo_and_undelete_make_no_circle(client: FlaskClient) -> None:
    client.post("/.api/links", json={"name": "one", "url": f"{HERE}two"})
    client.patch("/.api/links/one", json={"url": "https://example.com/"})
    client.post("/.api/links", json={"name": "two", "url": f"{HERE}one"})
    history = client.get("/.api/links/one/history").json
    assert history is not None
    answer = client.post("/.api/links/one/undo", json={"change": history["changes"][0]["change"]})
    assert answer.status_code == 422
    assert "circle" in answer.text
    unchanged = client.get("/.api/links/one").json
    assert unchanged is not None
    assert unchanged["url"] == "https://example.com/"

    client.delete("/.api/links/two")
    client.patch("/.api/links/one", json={"url": f"{HERE}two"})
    gone = client.get("/.api/deleted").json
    assert gone is not None
    answer = client.post("/.api/undelete", json={"change": gone["deleted"][0]["change"]})
    assert answer.status_code == 422
    assert client.get("/.api/links/two").status_code == 404
