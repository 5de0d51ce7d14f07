"""The warning of what everybody may reach."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from orchestrator import deploy, exposure
from orchestrator.report import Reporter
from orchestrator.session import Session
from orchestrator.settings import load
from orchestrator.stack import build_stack
from tests.unit.memory_engine import MemoryEngine
from tests.unit.stacks import ROOT


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.1.2.3", "::1"])
def test_nobody_is_warned_of_what_only_this_machine_reaches(bind: str) -> None:
    assert exposure.warnings(load(ROOT, "production", {"HTTP_BIND": bind})) == []


EVERYWHERE = "0.0.0.0"  # noqa: S104 - read, not bound


@pytest.mark.parametrize("bind", [EVERYWHERE, "192.168.1.5", "::"])
def test_open_to_all_and_published(bind: str) -> None:
    (warning,) = exposure.warnings(load(ROOT, "production", {"HTTP_BIND": bind, "HTTP_PORT": "8222"}))
    assert f"{bind}:8222" in warning
    assert "may do everything in app (AUTH=open)" in warning


@pytest.mark.parametrize("auth", ["password", "proxy"])
def test_where_people_sign_in_nobody_is_warned(auth: str) -> None:
    assert exposure.warnings(load(ROOT, "production", {"HTTP_BIND": EVERYWHERE, "AUTH": auth})) == []


def test_it_is_the_setting_that_says_what_is_open(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    text = (ROOT / "config/production.toml").read_text()
    config = tmp_path / "config/production.toml"
    config.write_text(text.replace('open_to_all = "AUTH=open"\n', ""))
    assert exposure.warnings(load(tmp_path, "production", {"HTTP_BIND": EVERYWHERE})) == []
    config.write_text(text.replace("AUTH=open", "LOG_LEVEL=info"))
    assert "LOG_LEVEL=info" in exposure.warnings(load(tmp_path, "production", {"HTTP_BIND": EVERYWHERE}))[0]


def test_plan_tells_of_it() -> None:
    engine = MemoryEngine()
    for environ, expected in (({"HTTP_BIND": EVERYWHERE}, 1), ({}, 0)):
        settings = load(ROOT, "production", environ)
        made = Session(settings, build_stack(settings), engine, Reporter(io.StringIO()))
        assert len(deploy.plan(made).get("warnings", [])) == expected
