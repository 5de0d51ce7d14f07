"""What the files that make the images must agree about with each other and with the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from orchestrator.proxy import upstream_file
from service.importing import MAX_BYTES
from service.web import MAX_BODY

ROOT = Path(__file__).parents[2]
NGINX = ROOT / "config/nginx"
SCRIPTS = ("config/probe", "config/nginx/entrypoint", "config/nginx/use")


def test_the_images_own_upstream_file_is_what_the_orchestrator_would_write() -> None:
    # Equal to the last byte, so that a stack just started has no drift.
    assert (NGINX / "upstream/upstream.conf").read_text() == upstream_file(["app"], 8000)


def test_the_proxy_closes_idle_connections_before_the_app_does() -> None:
    nginx = re.search(r"keepalive_timeout\s+(\d+)s", (NGINX / "upstream/upstream.conf").read_text())
    gunicorn = re.search(r"^keepalive = (\d+)$", (ROOT / "config/gunicorn.conf.py").read_text(), re.MULTILINE)
    assert gunicorn
    # Nginx's default is 60 seconds.
    assert int(gunicorn[1]) > (int(nginx[1]) if nginx else 60)


def test_the_proxy_lets_through_what_the_service_takes() -> None:
    limit = re.search(r"client_max_body_size (\d+)m;", (NGINX / "nginx.conf").read_text())
    assert limit
    assert int(limit[1]) * 1024 * 1024 >= MAX_BODY


def test_and_its_imports() -> None:
    block = (NGINX / "nginx.conf").read_text().split('location ~ "^/\\.(api/)?import$"')[1]
    limit = re.search(r"client_max_body_size (\d+)m;", block)
    assert limit
    assert int(limit[1]) * 1024 * 1024 >= MAX_BYTES


def test_headers_are_added_in_one_place() -> None:
    # An add_header in a server or location would drop all those of the http block.
    for path in NGINX.rglob("*.conf"):
        if path.name != "headers.conf":
            assert "add_header" not in path.read_text(), path.name


def test_every_python_stage_has_one_base_and_no_package_manager() -> None:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"^FROM (\$\{\w+\})", text, re.MULTILINE)) == {"${PYTHON_IMAGE}", "${NGINX_IMAGE}"}
    for word in ("apt-get", "apk ", "adduser", "useradd", "--mount", "--chmod", "--link", "<<EOF"):
        assert word not in text


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert path.read_text().startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0
