"""Signing in, in a real browser, where nothing is shown to strangers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE, serving
from tests.unit.stacks import ROOT


@pytest.fixture(scope="module")
def password(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(address, the password of olena)."""
    folder = tmp_path_factory.mktemp("people")
    settings = {"AUTH": "password", "READ": "closed"}
    with serving(folder, **settings) as address:
        environment = {**os.environ, **settings, "DATABASE_PATH": str(folder / "links.db")}
        command = [sys.executable, "-m", "flask", "--app", "service:create_app", "user", "add", "olena", "--generate"]
        made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        found = re.search(r"Password: (\S+)", made.stdout)
        assert found, made.stdout
        yield address, found[1]


@pytest.mark.parametrize("scripts", [True, False], ids=["script", "no-script"])
def test_a_person_signs_in_and_out(browser: Browser, password: tuple[str, str], scripts: bool) -> None:
    address, secret = password
    context = browser.new_context(base_url=address, locale="en", java_script_enabled=scripts)
    context.set_default_timeout(PATIENCE)
    page: Page = context.new_page()
    # Whoever asked for something goes on to that.
    page.goto("/.help")
    expect(page).to_have_url(re.compile(r"/\.sign-in\?next="))
    page.get_by_label("Name").fill("olena")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("olena")
    expect(page.get_by_label("Password")).to_have_value("")
    page.get_by_label("Password").fill(secret)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/\.help$"))

    page.get_by_role("link", name="olena").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    if scripts:
        for violation in Axe().run(page).response["violations"]:
            assert violation["impact"] not in ("serious", "critical"), violation
    # A link is its maker's.
    page.goto("/")
    page.get_by_label("Short name").fill(f"mine-{scripts}")
    page.get_by_label("Leads to").fill("https://example.com/")
    page.get_by_role("button", name="Create").click()
    page.goto(f"/.detail/mine-{scripts}")
    expect(page.get_by_role("link", name="olena")).to_have_count(2)

    page.get_by_role("button", name="Sign out").click()
    page.goto(f"/.detail/mine-{scripts}")
    expect(page).to_have_url(re.compile(r"/\.sign-in\?next="))
    context.close()


def test_the_page_to_sign_in_is_accessible_and_fits(
    browser: Browser, password: tuple[str, str], screenshots: Path
) -> None:
    dressed: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 1400), ("dark", 360))
    for scheme, width in dressed:
        context = browser.new_context(
            base_url=password[0], locale="uk", color_scheme=scheme, viewport={"width": width, "height": 800}
        )
        page = context.new_page()
        page.goto("/.sign-in")
        page.screenshot(path=screenshots / f"sign-in-{width}-{scheme}.png", full_page=True)
        expect(page.get_by_role("button", name="Увійти")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for violation in Axe().run(page).response["violations"]:
            assert violation["impact"] not in ("serious", "critical"), violation
        context.close()
