"""One model, two outputs: the Compose document and the Engine API's, and what the first looks like."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import compose, create_args
from orchestrator.model import Bind, Stack
from orchestrator.settings import for_compose
from orchestrator.stack import build_stack
from tests.unit.stacks import CHECK, ROOT, STACK, with_service


def composed(stack: Stack) -> Any:
    return yaml.safe_load(compose.render(stack))["services"]["app"]


def created(stack: Stack) -> dict[str, Any]:
    return create_args.container_body(stack, stack.service("app"), image="i", image_id="id", release="r", number=1)


def test_both_say_the_same() -> None:
    """The fields whose forms differ, side by side."""
    service, body = composed(STACK), created(STACK)
    host, health = body["HostConfig"], body["Healthcheck"]
    assert (service["mem_limit"], host["Memory"], host["MemorySwap"]) == ("256m", 256 * 1024**2, 256 * 1024**2)
    assert service["memswap_limit"] == service["mem_limit"], "no swap"
    assert (service["cpus"], host["NanoCpus"]) == (1.0, 1_000_000_000)
    assert (service["pids_limit"], host["PidsLimit"]) == (128, 128)
    assert (service["stop_grace_period"], body["StopTimeout"]) == ("40s", 40)
    assert (service["healthcheck"]["start_period"], health["StartPeriod"]) == ("30s", 30_000_000_000)
    assert (service["healthcheck"]["interval"], health["Interval"]) == ("1s", 1_000_000_000)
    assert service["healthcheck"]["test"] == health["Test"] == ["CMD", "/usr/local/bin/probe", "8000", "/health"]
    assert service["read_only"] is host["ReadonlyRootfs"] is True
    assert service["cap_drop"] == host["CapDrop"] == ["ALL"]
    assert service["security_opt"] == host["SecurityOpt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"] == host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert (service["volumes"], host["Mounts"][0]["Source"]) == (["data:/data"], "shop_data")
    mounted = with_service("app", binds=(Bind("code", "/code"), Bind("../more", "/more")))
    assert composed(mounted)["volumes"][1:] == ["./code:/code:ro", "../more:/more:ro"]
    assert created(mounted)["HostConfig"]["Mounts"][1] == {
        "Type": "bind",
        "Source": "code",
        "Target": "/code",
        "ReadOnly": True,
    }
    assert service["tmpfs"] == ["/tmp:size=64m"]


def test_without_a_health_check_the_image_s_own_is_off() -> None:
    changed = with_service("app", healthcheck=None)
    assert composed(changed)["healthcheck"] == {"disable": True}
    assert created(changed)["Healthcheck"] == {"Test": ["NONE"]}


def test_no_network_is_none_and_not_the_default() -> None:
    document = compose.document(STACK)["services"]["backup"]
    assert document["network_mode"] == "none"
    assert "networks" not in document


def test_the_first_network_is_the_first_for_compose_too() -> None:
    proxy = compose.document(STACK)["services"]["proxy"]
    assert proxy["networks"] == {"internal": {"priority": 1}, "edge": {}}
    assert composed(STACK)["networks"] == ["internal"]


def test_rendered_file_suits_both_versions_of_compose() -> None:
    text = compose.render(build_stack(for_compose(ROOT, "production")))
    document = yaml.safe_load(text)
    assert set(document) == {"services", "networks", "volumes"}, "v1 knows no `name`, v2 wants no `version`"
    assert "start_interval" not in text
    assert set(document["services"]) == {"app", "proxy", "backup"}
    assert document["services"]["proxy"]["depends_on"] == {"app": {"condition": "service_healthy"}}
    assert document["services"]["app"]["image"] == "${COMPOSE_PROJECT_NAME:-golinks}-app"
    assert document["services"]["proxy"]["ports"] == ["${HTTP_BIND:-127.0.0.1}:${HTTP_PORT:-8080}:8080"]
    assert document["networks"] == {"internal": {"internal": True}, "edge": {}}


def test_what_is_written_is_what_is_read() -> None:
    for stack in (STACK, build_stack(for_compose(ROOT, "production"))):
        assert yaml.safe_load(compose.render(stack)) == compose.document(stack)


@pytest.mark.parametrize(
    "value",
    ["yes", "null", "~", "1", "1.5", "1e3", "0o17", "0x1F", "a: b", "# x", "", " x", "- a", "{a}", "*", "ї", "1_0"],
)
def test_text_stays_text(value: str) -> None:
    """Also for YAML 1.2, which takes a plain `1e3` and `0o17` for numbers."""
    text = compose.render(with_service("app", environment={"VALUE": value}))
    assert yaml.safe_load(text)["services"]["app"]["environment"]["VALUE"] == value
    (line,) = (line for line in text.splitlines() if line.strip().startswith("VALUE:"))
    assert line.strip()[7] in "\"'" or value in ("*", "ї")
    assert line.strip() != "VALUE: *"


def test_a_dollar_that_is_no_variable_stays_one() -> None:
    changed = with_service("app", command=("sh", "-c", "echo $HOME"), healthcheck=replace(CHECK, test=("sh", "$X")))
    assert composed(changed)["command"] == ["sh", "-c", "echo $$HOME"]
    assert composed(changed)["healthcheck"]["test"] == ["CMD", "sh", "$$X"]
    assert created(changed)["Cmd"] == ["sh", "-c", "echo $HOME"]


@pytest.mark.parametrize(("count", "text"), [(256 * 1024**2, "256m"), (1024**3, "1024m"), (512 * 1024, "524288")])
def test_memory(count: int, text: str) -> None:
    assert compose.memory(count) == text


@pytest.mark.parametrize(("value", "text"), [(40.0, "40s"), (1.5, "1.5s"), (0.25, "0.25s")])
def test_seconds(value: float, text: str) -> None:
    assert compose.seconds(value) == text


def test_a_webhook_set_when_the_file_is_written_gets_its_network() -> None:
    stack = build_stack(for_compose(ROOT, "production", {"BACKUP_WEBHOOK_URL": "https://example.com/s3cret"}))
    document = compose.document(stack)
    assert document["networks"]["outbound"] == {}
    backup = document["services"]["backup"]
    assert backup["networks"] == ["outbound"]
    assert "network_mode" not in backup
    assert backup["environment"]["BACKUP_WEBHOOK_URL"].startswith("${BACKUP_WEBHOOK_URL:?")
    assert "s3cret" not in compose.render(stack)


def in_development() -> tuple[Stack, Stack]:
    made = (build_stack(for_compose(ROOT, environment)) for environment in ("production", "development"))
    return next(made), next(made)


def test_the_second_file_has_what_is_different_in_development() -> None:
    base, other = in_development()
    changes = compose.override(base, other)
    assert changes["services"]["proxy"] == changes["services"]["backup"] == {"profiles": ["production"]}
    app, wanted = changes["services"]["app"], compose.document(other)["services"]["app"]
    assert app["ports"] == ["127.0.0.1:${HTTP_PORT:-8081}:8000"], "whatever HTTP_BIND says"
    assert app["volumes"] == ["./service:/opt/app/service:ro"]
    assert app["command"] == wanted["command"]
    # As Compose merges: tables and lists grow, the rest is replaced.
    below = compose.document(base)["services"]["app"]
    merged: dict[str, Any] = dict(below)
    for key, value in app.items():
        before = below.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            merged[key] = {**before, **value}
        elif isinstance(value, list) and isinstance(before, list) and key != "command":
            merged[key] = [*before, *value]
        else:
            merged[key] = value
    assert merged == wanted


def test_nothing_of_production_is_named_by_both_files() -> None:
    """`down -v` with both must not find production's volumes."""
    base, other = in_development()
    changes, document = compose.override(base, other), compose.document(base)
    for kind in ("volumes", "networks"):
        assert changes[kind].keys() == document[kind].keys()
        names = [entry["name"] for entry in changes[kind].values()]
        assert all(name.startswith("${COMPOSE_PROJECT_NAME:-golinks}-development_") for name in names)
    assert changes["services"]["app"]["image"] == "${COMPOSE_PROJECT_NAME:-golinks}-development-app"


def test_both_files_are_written(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    shutil.copy(ROOT / "config/production.toml", tmp_path / "config")
    texts = compose.files(tmp_path, {})
    assert list(texts) == [compose.FILE], "no development, no file for it"
    shutil.copy(ROOT / "config/development.toml", tmp_path / "config")
    texts = compose.files(tmp_path, {})
    assert compose.stale(tmp_path, texts) == [compose.FILE, compose.DEVELOPMENT]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert compose.stale(tmp_path, texts) == []
    (tmp_path / compose.DEVELOPMENT).write_text("# older\n")
    assert compose.stale(tmp_path, texts) == [compose.DEVELOPMENT]
