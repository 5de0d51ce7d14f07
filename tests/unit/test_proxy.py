"""The upstream file."""

from __future__ import annotations

import pytest

from orchestrator import proxy
from tests.unit.stacks import ROOT


def test_written_and_read() -> None:
    text = proxy.upstream_file("shop-app-20261124t101502-aaaaaaa", 8000)
    assert text == (
        "upstream app {\n    server shop-app-20261124t101502-aaaaaaa:8000 max_fails=0;\n    keepalive 32;\n}\n"
    )
    assert proxy.upstream_host(text) == "shop-app-20261124t101502-aaaaaaa"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("", ""),
        ("upstream app {\n    keepalive 32;\n}\n", ""),
        ("upstream app {\n    # server old:1;\n    server app_1.net:8000;\n}\n", "app_1.net"),
        ("server app;\n", ""),
        ("\tserver  10.0.0.1:80 max_fails=0 ;", "10.0.0.1"),
    ],
)
def test_host(text: str, host: str) -> None:
    assert proxy.upstream_host(text) == host


def test_the_images_own_file_is_one_of_ours() -> None:
    """So that a first release finds `app`, and Compose's stack is a live one."""
    text = (ROOT / "config/nginx/upstream/upstream.conf").read_text()
    assert text == proxy.upstream_file("app", 8000)


def test_workers() -> None:
    assert proxy.workers("/proc/12/cmdline\n/proc/7/cmdline\ngrep: /proc/9/cmdline: No such file\n") == {"12", "7"}
    assert proxy.workers("") == frozenset()
