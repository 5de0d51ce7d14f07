"""What is changed by the pages: conflicts, undo, several links at once; and what they show of it."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from flask.testing import FlaskClient

from service import db, store
from service.models import Alias, Daily, Link, Miss, Visit
from service.views import chart

Add = Callable[[str, str], Any]
URL = "https://example.com/x"
OTHER = "https://example.org/y"


def _version(text: str) -> str:
    found = re.search(r'name="version" value="([^"]+)"', text)
    assert found
    return found[1].replace("&#34;", '"')


def _undo(text: str) -> str:
    found = re.search(r'action="(/\.undo/[0-9-]+)"', text)
    assert found
    return found[1]


def _link(name: str) -> Link:
    link = store.find(name)
    assert link is not None
    return link


def test_all_fields_are_stored_and_shown(client: FlaskClient) -> None:
    fields = {"description": "All <b>of</b> it", "tags": "docs, team", "owner": "olena", "expires": "2030-01-31"}
    client.post("/", data={"name": "wiki", "url": URL, **fields})
    for path in ("/", "/.detail/wiki"):
        text = client.get(path).text
        assert "All &lt;b&gt;of&lt;/b&gt; it" in text
        assert "#docs" in text
        assert "31 Jan 2030" in text
        assert 'href="/?owner=olena"' in text
    form = client.get("/.edit/wiki").text
    for value in ("docs team", "olena", "2030-01-31"):
        assert f'value="{value}"' in form


def test_an_expiry_to_the_second_survives_an_edit(client: FlaskClient) -> None:
    client.post("/", data={"name": "wiki", "url": URL, "expires": "2030-01-31T12:00:00Z"})
    text = client.get("/.edit/wiki").text
    assert 'value="2030-01-31T12:00:00Z"' in text
    client.post("/.edit/wiki", data={"url": OTHER, "expires": "2030-01-31T12:00:00Z", "version": _version(text)})
    assert _link("wiki").expires == 1896091200


def test_two_editors_do_not_overwrite_each_other(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    seen = _version(client.get("/.edit/wiki").text)
    client.patch("/.api/links/wiki", json={"url": OTHER, "description": "theirs"})
    mine = {"name": "wiki", "url": "https://example.net/mine", "description": "", "version": seen}
    refused = client.post("/.edit/wiki", data=mine)
    assert refused.status_code == 409
    assert _link("wiki").url == OTHER
    assert 'value="https://example.net/mine"' in refused.text
    assert f"<q>{OTHER}</q>" in refused.text
    assert "<q>theirs</q>" in refused.text
    again = client.post("/.edit/wiki", data={**mine, "version": _version(refused.text)})
    assert again.status_code == 303
    assert _link("wiki").url == "https://example.net/mine"


def test_a_visit_is_no_conflict(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    seen = _version(client.get("/.edit/wiki").text)
    Visit.update(clicks=5, visited=1).execute()
    assert client.post("/.edit/wiki", data={"url": OTHER, "version": seen}).status_code == 303


def test_renaming_keeps_the_old_name_until_it_is_removed(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    add("taken", URL)
    assert client.post("/.edit/wiki", data={"name": "taken"}).status_code == 409
    answer = client.post("/.edit/wiki", data={"name": "handbook"})
    assert answer.headers["Location"].startswith("/.detail/handbook?done=")
    assert client.get("/wiki").status_code == 302
    text = client.get("/.detail/wiki").text
    assert 'action="/.forget/wiki"' in text
    assert "Renamed" in text
    assert client.post("/.forget/wiki", follow_redirects=True).status_code == 200
    assert client.get("/wiki").status_code == 404
    assert client.post("/.forget/wiki").status_code == 404
    assert client.post("/.forget/handbook").status_code == 404


def test_what_was_deleted_comes_back_right_from_the_notice(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    Alias.create(key="w", name="w", link=1)
    Visit.update(clicks=7).execute()
    text = client.post("/.delete/wiki", follow_redirects=True).text
    assert "Bring it back" in text
    assert "wiki" in client.get("/.deleted").text
    back = client.post(_undo(text), follow_redirects=True)
    assert back.request.path == "/.detail/wiki"
    assert "is back" in back.text
    assert _link("w").clicks == 7
    assert "Nothing is gone" in client.get("/.deleted").text


def test_a_name_that_was_deleted_says_when_and_by_whom(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    store.delete("wiki", "maria")
    text = client.get("/wiki").text
    assert "It was deleted on" in text
    assert "by maria" in text
    assert client.post(_undo(text)).status_code == 303
    assert client.get("/wiki").status_code == 302


def test_undelete_of_a_name_that_is_taken_changes_nothing(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    text = client.post("/.delete/wiki", follow_redirects=True).text
    add("wiki", OTHER)
    refused = client.post(_undo(text))
    assert refused.status_code == 409
    assert "another name first" in refused.text
    assert _link("wiki").url == OTHER


def test_there_is_nothing_to_undo(client: FlaskClient) -> None:
    for change in ("9", "x", "1-", "0", "5-3", "9" * 30):
        assert client.post(f"/.undo/{change}").status_code in (404, 409)


def test_history_undoes_field_by_field(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    client.post("/.edit/wiki", data={"url": OTHER, "description": "new"})
    text = client.get("/.detail/wiki").text
    assert f"<del>{URL}</del>" in text
    assert f"<ins>{OTHER}</ins>" in text
    client.post(_undo(text))
    assert (_link("wiki").url, _link("wiki").description) == (URL, "")
    assert "Undone" in client.get("/.detail/wiki").text


def test_history_has_pages(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    for number in range(25):
        store.change("wiki", {"description": str(number)}, "olena")
    text = client.get("/.detail/wiki").text
    assert "<ins>4</ins>" not in text
    found = re.search(r'href="([^"]+\?before=\d+)" rel="next"', text)
    assert found
    assert "<ins>4</ins>" in client.get(found[1]).text


def test_several_links_are_changed_together_and_back(client: FlaskClient, add: Add) -> None:
    for name in "abc":
        add(name, URL)
    text = client.post(
        "/.bulk", data={"names": ["a", "b"], "do": "tag", "value": "team #ops"}, follow_redirects=True
    ).text
    assert "2 links were changed" in text
    assert [_link(name).tags for name in "abc"] == ["ops team", "ops team", ""]
    client.post("/.bulk", data={"names": ["a"], "do": "untag", "value": "ops"})
    # One of them has another change since: it would be lost.
    assert client.post(_undo(text)).status_code == 409
    client.post("/.bulk", data={"names": ["a", "c"], "do": "owner", "value": "olena"})
    client.post("/.bulk", data={"names": ["a", "c"], "do": "expires", "value": "2030-01-31"})
    assert [_link(name).owner for name in "abc"] == ["olena", "", "olena"]
    assert _link("c").expires == 1896134399
    gone = client.post("/.bulk", data={"names": ["a", "b", "c"], "do": "delete"}, follow_redirects=True).text
    assert "3 links were deleted" in gone
    assert Link.select().count() == 0
    client.post(_undo(gone))
    assert Link.select().count() == 3


WRONG = [
    ({"do": "tag", "value": "x"}, 400),
    ({"names": ["a", "none"], "do": "delete"}, 404),
    ({"names": ["a"], "do": "tag", "value": "!"}, 422),
    ({"names": ["a"], "do": "expires", "value": "soon"}, 422),
    ({"names": ["a"], "do": "tag", "value": " ".join(f"t{n}" for n in range(21))}, 422),
    ({"names": ["a"], "do": "nothing"}, 400),
    ({"names": ["a"] * 201, "do": "delete"}, 400),
]


def test_a_wrong_bulk_edit_changes_nothing(client: FlaskClient, add: Add) -> None:
    add("a", URL)
    before = store.etag(_link("a"))
    for form, status in WRONG:
        assert client.post("/.bulk", data=form).status_code == status, form
    assert store.etag(_link("a")) == before


def test_a_bulk_edit_that_changes_nothing_says_nothing(client: FlaskClient, add: Add) -> None:
    add("a", URL)
    answer = client.post("/.bulk", data={"names": ["a"], "do": "untag", "value": "none"})
    assert answer.headers["Location"] == "/"


def test_the_list_is_searched_filtered_and_sorted(client: FlaskClient, add: Add) -> None:
    for name, clicks in (("alpha", 3), ("beta", 9), ("gamma", 5)):
        add(name, URL)
        Visit.update(clicks=clicks).where(Visit.link == Link.get(Link.key == name)).execute()
    store.change("beta", {"tags": ("team",), "owner": "olena"}, "")

    def names(query: str) -> list[str]:
        return re.findall(r'class="short" href="/(\w+)"', client.get(f"/?{query}").text)

    assert names("sort=clicks&order=down") == ["beta", "gamma", "alpha"]
    assert names("tag=team") == ["beta"]
    assert names("owner=") == ["alpha", "gamma"]
    assert names("q=lph") == ["alpha"]
    assert names("part=list&q=gam") == ["gamma"]
    assert "<html" not in client.get("/?part=list").text
    assert client.get("/?sort=url").status_code == 400
    assert client.get("/?after=x").status_code == 400
    assert 'aria-sort="descending"' in client.get("/?sort=clicks&order=down").text
    assert 'href="/?sort=clicks"' in client.get("/?sort=clicks&order=down").text


def test_golinks_addresses(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    assert 'href="/wiki"' in client.get("/.all").text
    assert 'href="/wiki"' in client.get("/.search?q=wiki").text
    assert client.get("/wiki+").headers["Location"] == "/.detail/wiki"
    assert client.get("/.detail/WI-KI").status_code == 200
    assert client.get("/.detail/none").status_code == 404
    as_json = {"Accept": "application/json"}
    assert f'"{URL}"' in client.get("/.detail/wiki", headers=as_json, follow_redirects=True).text
    assert client.get("/.all", headers=as_json).headers["Location"] == "/.api/links"


def test_the_search_goes_to_the_very_name(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    for text, place in (("wiki", "/wiki"), ("WIKI ", "/wiki"), ("wiki/a%3Fb", "/wiki/a%3Fb")):
        assert client.get(f"/.search?go=1&q={text}").headers["Location"] == place
        assert f'content="0;url={place}"' in client.get(f"/.search?go=form&q={text}").text
    for text in ("wik", "//example.com", "", "wiki page"):
        assert client.get("/.search", query_string={"go": "1", "q": text}).status_code == 200


def test_a_link_that_has_expired(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    Link.update(expires=int(time.time()) - 10).execute()
    gone = client.get("/wiki")
    assert gone.status_code == 410
    assert client.get("/wiki", headers={"Accept": "application/json"}).status_code == 410
    assert client.get("/.detail/wiki").status_code == 200


def test_names_like_the_missing_one(client: FlaskClient, add: Add) -> None:
    add("calendar", URL)
    add("other", URL)
    text = client.get("/calender").text
    assert 'href="/calendar"' in text
    assert 'href="/other"' not in text


def test_names_that_are_missing(client: FlaskClient) -> None:
    db.ensure_open()
    for number, name in enumerate(("seldom", "often")):
        Miss.create(key=name, name=name, asked=1 + 4 * number, first=1, last=100 - number)
    text = client.get("/.missing").text
    assert text.index("often") < text.index("seldom")
    assert "asked for 5 times" in text
    assert 'href="/?name=often"' in text
    newest = client.get("/.missing?sort=last").text
    assert newest.index("seldom") < newest.index("often")
    form = client.get("/?name=often").text
    assert 'value="often"' in form
    assert re.search(r'id="url"[^>]* autofocus', form)


def test_the_bookmarklet_fills_the_form(client: FlaskClient) -> None:
    help_page = client.get("/.help").text
    assert "javascript:location.href=&#34;http://localhost/&#34;" in help_page
    form = client.get("/", query_string={"url": URL, "description": 'The "x"'}).text
    assert f'value="{URL}"' in form
    assert 'value="The &#34;x&#34;"' in form


def test_opensearch(client: FlaskClient) -> None:
    answer = client.get("/.opensearch")
    assert answer.mimetype == "application/opensearchdescription+xml"
    assert 'template="http://localhost/.search?go=1&amp;q={searchTerms}"' in answer.text
    assert 'href="/.opensearch"' in client.get("/").text


def test_the_chart_is_told_in_numbers_too(client: FlaskClient, add: Add) -> None:
    add("wiki", URL)
    today = int(time.time()) // 86400
    Daily.create(link=1, day=today, clicks=1234)
    Daily.create(link=1, day=today - 89, clicks=7)
    Daily.create(link=1, day=today - 90, clicks=9)
    text = client.get("/.detail/wiki").text
    assert text.count("<rect") == 2
    assert "<td>1,234</td>" in text
    assert "1,241 in the last 90 days" in text


def test_the_drawing() -> None:
    first = date(2026, 11, 1)
    drawn = chart.draw([(first + timedelta(days=n), {28: 1, 29: 10}.get(n, 0)) for n in range(30)])
    assert (drawn.top, drawn.total, len(drawn.bars)) == (10, 11, 30)
    assert (drawn.bars[-1].y, drawn.bars[-1].height) == (0, chart.HEIGHT)
    assert all(bar.height == 0 for bar in drawn.bars[:-2])
    assert [chart.round_up(n) for n in (0, 1, 3, 6, 11, 99, 401)] == [1, 1, 4, 10, 20, 100, 500]


def test_reading_only_shows_no_forms(app: Any, environment: dict[str, str], add: Add) -> None:
    from service import create_app

    add("wiki", URL)
    client = create_app({**environment, "READ_ONLY": "true"}).test_client()
    for path in ("/", "/.detail/wiki", "/nope", "/.deleted"):
        forms = re.findall(r'action="([^"]+)"', client.get(path).text)
        assert set(forms) <= {"/.search", "/.language"}, path
    assert client.post("/", data={"name": "a", "url": URL}).status_code == 403
    assert client.get("/.edit/wiki").status_code == 403
    assert client.post("/.bulk", data={"names": ["wiki"], "do": "delete"}).status_code == 403
    assert client.get("/wiki").status_code == 302


LINE = '{"Short":"%s","Long":"https://example.com/","Created":"2024-01-01T00:00:00Z","Owner":""}\n'


def test_an_import_shows_first_what_it_would_do(client: FlaskClient, add: Add) -> None:
    add("there", URL)
    lines = LINE % "one" + LINE % "there"
    checked = client.post("/.import", data={"file": (io.BytesIO(lines.encode()), "links.jsonl")})
    assert "exists already" in checked.text
    assert 'value="import"' in checked.text
    assert store.find("one") is None
    done = client.post("/.import", data={"text": lines, "step": "import"})
    assert "1 link is new" in done.text
    assert _link("one").url == "https://example.com/"
    client.post(_undo(done.text))
    assert store.find("one") is None
    client.post("/.import", data={"text": lines, "existing": "replace", "step": "import"})
    assert _link("there").url == "https://example.com/"


def test_an_import_with_a_mistake_is_none(client: FlaskClient) -> None:
    lines = LINE % "one" + "no\n"
    checked = client.post("/.import", data={"text": lines})
    assert "is not JSON" in checked.text
    assert 'value="import"' not in checked.text
    assert "1 line is wrong" in checked.text
    assert "&#34;one&#34;" in checked.text
    assert client.post("/.import", data={"text": lines, "step": "import"}).status_code == 409
    assert store.find("one") is None
    assert client.post("/.import", data={"text": " "}).status_code == 422
    assert client.get("/.import").status_code == 200
    assert client.post("/.import", data={"text": "x" * 1_100_000}).status_code == 413
    assert client.post("/.import", data={"text": (LINE % "a" + "\n" * 100_000)}).status_code == 200
