"""What people do with the pages, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

URL = "https://example.com/"
SIZES = {"narrow": (360, 760), "wide": (1400, 900)}


def add(context: BrowserContext, name: str, **more: object) -> None:
    """Make a link through the API."""
    answer = context.request.post("/.api/links", data={"name": name, "url": f"{URL}{name}", **more})
    assert answer.status == 201, answer.text()


def test_create_and_copy(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Short name").fill("first")
    page.get_by_label("Leads to").fill("example.com")
    page.get_by_role("button", name="Create").click()
    # The first field that is wrong has the focus, and says what is wrong with it.
    wrong = page.get_by_label("Leads to")
    expect(wrong).to_be_focused()
    expect(wrong).to_have_value("example.com")
    expect(wrong).to_have_accessible_description(re.compile("must begin with http"))
    wrong.fill(URL)
    page.get_by_text("Description, tags, owner, last day").click()
    page.get_by_label("Tags").fill("one two")
    page.keyboard.press("Enter")
    notice = page.get_by_role("status").filter(has_text="now leads to example.com")
    notice.get_by_role("button", name="Copy").click()
    expect(notice.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.evaluate("location.origin") + "/first"


def test_copy_where_there_is_no_clipboard(page: Page, context: BrowserContext) -> None:
    add(context, "plain")
    # As on plain http, where a team's short host usually is.
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.goto("/.detail/plain")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied")).to_be_visible()


def test_search_and_go_by_keyboard_alone(page: Page, context: BrowserContext) -> None:
    for name in ("keyboard-one", "keyboard-two", "other"):
        add(context, name)
    page.goto("/.detail/other")
    page.keyboard.press("/")
    page.wait_for_url("**/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_focused()
    page.keyboard.type("keyboard")
    expect(page.get_by_role("heading", name="2 found")).to_be_visible()
    expect(page.locator("#said")).to_have_text("2 found")
    expect(page).to_have_url(re.compile(r"/\?q=keyboard$"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("tr.at .short")).to_have_text("keyboard-two")
    page.keyboard.press("Escape")
    expect(search).to_have_value("")
    expect(page.get_by_role("heading", name="Links", exact=True)).to_be_visible()
    page.keyboard.type("keyboard-t")
    expect(page.get_by_role("heading", name="1 found")).to_be_visible()
    page.keyboard.press("ArrowDown")
    # It is on its way there; nothing outside answers a test.
    with page.expect_request(f"{URL}keyboard-two"):
        page.keyboard.press("Enter")
    second = context.new_page()
    second.goto("/")
    second.get_by_role("searchbox").fill("other")
    with second.expect_request(f"{URL}other"):
        second.keyboard.press("Enter")


def test_the_slash_is_typed_where_one_types(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Leads to").focus()
    page.keyboard.type("https://a/b")
    expect(page.get_by_label("Leads to")).to_have_value("https://a/b")


def test_an_older_answer_never_replaces_a_newer(page: Page, context: BrowserContext) -> None:
    add(context, "slowly")
    page.goto("/")
    held: list[Route] = []
    page.route("**/?q=slo&part=list", lambda route: held.append(route))  # noqa: PLW0108 - it must be a function
    page.get_by_role("searchbox").press_sequentially("slo")
    page.wait_for_timeout(400)
    page.get_by_role("searchbox").press_sequentially("wly")
    expect(page.get_by_role("heading", name="1 found")).to_be_visible()
    assert held
    assert page.url.endswith("q=slowly")


def test_edit_rename_and_undo(page: Page, context: BrowserContext) -> None:
    add(context, "before", tags=["old"])
    page.goto("/.detail/before")
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("Short name").fill("afterwards")
    page.get_by_label("Tags").fill("new")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/.detail/afterwards?done=*")
    expect(page.get_by_role("button", name="Remove the name before")).to_be_visible()
    expect(page.locator("del", has_text="old")).to_be_visible()
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    page.wait_for_url("**/.detail/before?done=*")
    expect(page.get_by_role("link", name="#old")).to_be_visible()


def test_a_conflict_shows_both(page: Page, context: BrowserContext) -> None:
    add(context, "shared")
    page.goto("/.edit/shared")
    context.request.patch("/.api/links/shared", data={"description": "theirs"})
    page.get_by_label("Description").fill("mine")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Somebody has changed this link")
    expect(page.get_by_label("Description")).to_have_value("mine")
    expect(page.get_by_label("Description")).to_be_focused()
    expect(page.get_by_label("Description")).to_have_accessible_description(re.compile("Now: .*theirs"))
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".description")).to_have_text("mine")


def test_delete_and_bring_back(page: Page, context: BrowserContext) -> None:
    add(context, "gone")
    page.goto("/.detail/gone")
    page.get_by_role("link", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete gone").click()
    expect(page.get_by_role("status").filter(has_text="gone was deleted")).to_be_visible()
    page.goto("/gone")
    expect(page.get_by_text("It was deleted on")).to_be_visible()
    expect(page.get_by_label("Leads to")).to_be_focused()
    page.goto("/.deleted")
    page.get_by_role("button", name="Bring gone back").click()
    page.wait_for_url("**/.detail/gone?done=*")


def test_several_at_once(page: Page, context: BrowserContext) -> None:
    for name in ("bulk-one", "bulk-two"):
        add(context, name, tags=["bulk"])
    page.goto("/?tag=bulk")
    expect(page.get_by_role("button", name="Do it")).to_be_hidden()
    page.get_by_label("Choose all").check()
    expect(page.get_by_text("Chosen: 2")).to_be_visible()
    page.get_by_label("Choose bulk-two").uncheck()
    expect(page.get_by_text("Chosen: 1")).to_be_visible()
    page.get_by_label("Choose bulk-two").check()
    page.get_by_label("What to do with them").select_option("Set the last day")
    page.get_by_label("Tags, owner or day").fill("2031-05-06")
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_text("2 links were changed.")).to_be_visible()
    page.goto("/?tag=bulk")
    expect(page.get_by_text("until 6 May 2031")).to_have_count(2)
    page.get_by_label("Choose all").check()
    page.get_by_label("What to do with them").select_option("Delete")
    expect(page.get_by_label("Tags, owner or day")).to_be_hidden()
    page.get_by_role("button", name="Do it").click()
    page.get_by_role("button", name="Undo").click()
    page.goto("/?tag=bulk")
    expect(page.locator("tbody tr")).to_have_count(2)


def test_import(page: Page, context: BrowserContext) -> None:
    page.goto("/.import")
    page.get_by_label("Or lines").fill('{"Short":"brought-in","Long":"https://example.com/"}\n{"Short":"?"}')
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("alert")).to_contain_text("1 line is wrong")
    page.get_by_label("Or lines").fill('{"Short":"brought-in","Long":"https://example.com/"}')
    page.get_by_role("button", name="Check").click()
    page.get_by_role("button", name="Import these").click()
    expect(page.get_by_text("1 link is new")).to_be_visible()
    assert context.request.get("/.api/links/brought-in").status == 200


def test_without_javascript(browser: Browser, site: str, context: BrowserContext) -> None:
    add(context, "still-there")
    with browser.new_context(base_url=site, locale="en", java_script_enabled=False) as plain:
        page = plain.new_page()
        page.goto("/")
        expect(page.get_by_role("button", name="Copy")).to_have_count(0)
        page.get_by_role("searchbox").fill("ll-the")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="1 found")).to_be_visible()
        page.get_by_label("Choose still-there").check()
        page.get_by_label("Tags, owner or day").fill("quiet")
        page.get_by_role("button", name="Do it").click()
        expect(page.get_by_text("was changed")).to_be_visible()
        page.get_by_role("link", name="Clicks").click()
        expect(page.get_by_role("columnheader", name="Clicks")).to_have_attribute("aria-sort", "descending")
        page.get_by_role("link", name="Edit still-there").click()
        page.get_by_label("Leads to").fill("nowhere")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_label("Leads to")).to_be_focused()
        page.goto("/")
        page.get_by_role("searchbox").fill("still-there")
        # Nothing outside answers a test, so that this is the last thing this page does.
        with page.expect_request(f"{URL}still-there"):
            page.get_by_role("button", name="Go", exact=True).click()


def test_the_language_is_remembered(page: Page) -> None:
    page.goto("/.help")
    page.get_by_role("button", name="Українська").click()
    expect(page.get_by_role("heading", name="Довідка")).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("button", name="Створити")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "uk"


PAGES = {
    "list": "/",
    "found": "/?q=looks",
    "detail": "/.detail/looks-good",
    "edit": "/.edit/looks-good",
    "delete": "/.delete/looks-good",
    "missing-names": "/.missing",
    "deleted": "/.deleted",
    "import": "/.import",
    "help": "/.help",
    "miss": "/looks-god",
    "expired": "/looks-over",
    "error": "/.detail/none",
}


@pytest.mark.parametrize(
    ("size", "scheme"), [("narrow", "light"), ("narrow", "dark"), ("wide", "light"), ("wide", "dark")]
)
def test_every_page_is_accessible_and_fits(
    browser: Browser, site: str, screenshots: Path, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    dressed = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
    with browser.new_context(base_url=site, locale="en", **dressed) as context:  # type: ignore[arg-type]
        if context.request.get("/.api/links/looks-good").status == 404:
            _dress(context)
        page = context.new_page()
        for name, path in PAGES.items():
            page.goto(path)
            page.screenshot(path=screenshots / f"{name}-{size}-{scheme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"{name} is too wide"
            # One layout in light, the other in dark: contrast and structure don't depend on each other.
            if (size, scheme) in (("narrow", "dark"), ("wide", "light")):
                found = Axe().run(page).response["violations"]
                serious = [each for each in found if each["impact"] in ("serious", "critical")]
                assert not serious, f"{name}: {[(each['id'], each['nodes'][0]['html']) for each in serious]}"


def _dress(context: BrowserContext) -> None:
    more = {"description": "What it is about, in some words", "tags": ["team", "docs"], "owner": "olena"}
    add(context, "looks-good", **more)
    context.request.patch("/.api/links/looks-good", data={"name": "looks-better"})
    context.request.patch("/.api/links/looks-better", data={"name": "looks-good", "expires": "2031-01-01"})
    add(context, "looks-over", expires="2020-01-01")
    add(context, "a-long-name-" * 6)
    add(context, "looks-gone")
    context.request.delete("/.api/links/looks-gone")
