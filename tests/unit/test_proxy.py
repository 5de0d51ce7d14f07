"""The proxy's volume: the upstream file, which configuration runs, and the commands that change them."""

from __future__ import annotations

import pytest

from orchestrator import proxy
from tests.unit.stacks import ROOT


def test_written_and_read() -> None:
    text = proxy.upstream_file(["shop-app-1", "shop-app-2"], 8000)
    assert text == (
        "upstream app {\n    server shop-app-1:8000 max_fails=0;\n    server shop-app-2:8000 max_fails=0;\n"
        "    keepalive 32;\n}\n"
    )
    assert proxy.upstream_hosts(text) == ("shop-app-1", "shop-app-2")


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", ()),
        ("upstream app {\n    keepalive 32;\n}\n", ()),
        ("upstream app {\n    # server old:1;\n    server app_1.net:8000;\n}\n", ("app_1.net",)),
        ("server app;\n", ()),
        ("\tserver  10.0.0.1:80 max_fails=0 ;", ("10.0.0.1",)),
    ],
)
def test_hosts(text: str, hosts: tuple[str, ...]) -> None:
    assert proxy.upstream_hosts(text) == hosts


def test_the_images_own_file_is_one_of_ours() -> None:
    """So that a first release finds `app`, and Compose's stack is a live one."""
    text = (ROOT / "config/nginx/upstream/upstream.conf").read_text()
    assert text == proxy.upstream_file(["app"], 8000)


def test_the_volume() -> None:
    files = {
        "upstream.conf": b"up",
        "maintenance": b"2026-11-24\n",
        "config": b"0123456789ab config-eee sha256:bbb sha256:eee\n",
        "config-eee/nginx.conf": b"events {}",
        "releases/1.json": b"{}",
        "releases/2.json": b"\xff",
    }
    assert proxy.parse_volume(files, "releases") == proxy.Volume(
        upstream="up",
        maintenance="2026-11-24\n",
        config=("0123456789ab", "sha256:eee"),
        records={"1.json": "{}", "2.json": "\ufffd"},
    )
    assert proxy.parse_volume({}, "releases") == proxy.Volume()


@pytest.mark.parametrize("mark", [b"", b"one two three", b"a b c d e"])
def test_a_broken_mark_is_none(mark: bytes) -> None:
    assert proxy.parse_volume({"config": mark}, "releases").config == ()


def test_commands_are_those_of_the_script() -> None:
    script = (ROOT / "config/nginx/use").read_text()
    made = (proxy.switch("text", 8080, "/health"), proxy.use_config("config-1", "i", "c"), proxy.drained(5))
    assert [command[1:] for command in made] == [
        ("upstream", "text", "8080", "/health"),
        ("config", "config-1", "i", "c"),
        ("drained", "5"),
    ]
    assert {command[0] for command in made} == {"/etc/nginx/use"}
    assert all(f"\n    {command[1]})\n" in script for command in made)


def test_folder_of_a_configuration() -> None:
    assert proxy.config_folder("sha256:0123456789abcdef") == "config-0123456789ab"
