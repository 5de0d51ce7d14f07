"""The distribution's Chromium, and the service under gunicorn on a database of its own: one of each for all tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.cannot import cannot
from tests.unit.stacks import ROOT

START = 60  # seconds that the server has to start, on a machine that does other things, too
PATIENCE = 30_000  # milliseconds that a page has for anything


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service, without a slash at its end."""
    with serving(tmp_path_factory.mktemp("site")) as address:
        yield address


@contextlib.contextmanager
def serving(folder: Path, **settings: str) -> Iterator[str]:
    """The address of a service with these settings and a database in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "-b", f"127.0.0.1:{port}"]
    environment = {**os.environ, "DATABASE_PATH": str(folder / "links.db"), "PORT": str(port), "WEB_CONCURRENCY": "1"}
    environment |= settings
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*command, "service:create_app()"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield _answers(f"http://127.0.0.1:{port}", server, folder / "log")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(START)


def _answers(address: str, server: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return address
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the service does not answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """The folder that they are kept in, for whoever wants to look: SCREENSHOTS, or one that git ignores."""
    folder = Path(os.environ.get("SCREENSHOTS") or ROOT / ".screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    path = shutil.which("chromium")
    if path is None:
        cannot("there is no chromium; Debian has it in a package of that name")
    # As root, which tests may run as, there is no sandbox; nothing but our own pages is opened.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=options)
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser, site: str) -> Iterator[BrowserContext]:
    """A person's browser: English, with an empty memory."""
    opened = browser.new_context(base_url=site, locale="en", permissions=["clipboard-read", "clipboard-write"])
    opened.set_default_timeout(PATIENCE)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """One tab; what a page complains about fails the test."""
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    yield opened
    assert not complaints
