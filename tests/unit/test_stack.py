"""Settings -> Stack."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestrator.model import Mount, Port, Stack, Volume
from orchestrator.settings import load
from orchestrator.stack import build_stack
from tests.unit.stacks import ROOT, STACK


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path


def built(root: Path, **environ: str) -> Stack:
    return build_stack(load(root, "production", environ))


def test_services_networks_and_volumes(root: Path) -> None:
    stack = built(root)
    assert [service.name for service in stack.services] == ["app", "proxy", "backup"]
    assert {network.name: network.internal for network in stack.networks} == {
        "golinks_internal": True,
        "golinks_edge": False,
    }
    assert {volume.name for volume in stack.volumes} == {
        "golinks_sqlite_data",
        "golinks_static_files",
        "golinks_proxy_upstream",
        "golinks_backups",
    }
    app, proxy, backup = stack.services
    assert app.networks == ("internal",), "the app has no way out"
    assert (proxy.networks, backup.networks) == (("internal", "edge"), ())
    assert (app.ports, backup.ports) == ((), ())
    assert proxy.ports == (Port("127.0.0.1", "8080", 8080),)
    assert proxy.depends_on == ("app",)
    assert Mount("sqlite_data", "/data", read_only=True) in backup.mounts
    assert Mount("sqlite_data", "/data") in app.mounts
    assert (stack.upstream, stack.upstream_port) == ("app", 8000)


def test_every_service_is_hardened_checked_and_limited(root: Path) -> None:
    for service in built(root).services:
        assert service.healthcheck is not None
        assert service.user.partition(":")[0] not in ("0", "root")
        assert min(service.memory, service.pids, service.cpus) > 0
        assert "noexec" in service.tmpfs["/tmp"]
        assert service.restart == "unless-stopped"


def test_health_by_path_or_command(root: Path) -> None:
    app, _, backup = built(root).services
    assert app.healthcheck and app.healthcheck.test == ("/usr/local/bin/probe", "8000", "/health")
    assert backup.healthcheck and backup.healthcheck.test[0] == "/bin/sh"


def test_project_names_everything(root: Path) -> None:
    stack = built(root, COMPOSE_PROJECT_NAME="shop", HTTP_PORT="9000")
    assert {service.image for service in stack.services} == {"shop-app", "shop-proxy", "shop-backup"}
    assert all(network.name.startswith("shop_") for network in stack.networks)
    assert all(volume.name.startswith("shop_") for volume in stack.volumes)
    assert stack.url == "http://127.0.0.1:9000/"


@pytest.mark.parametrize(
    ("bind", "url"),
    [("0.0.0.0", "http://localhost:8080/"), ("::", "http://localhost:8080/"), ("::1", "http://[::1]:8080/")],  # noqa: S104 - written, not bound
)
def test_url_is_what_a_person_types(root: Path, bind: str, url: str) -> None:
    assert built(root, HTTP_BIND=bind).url == url


def test_ready_image_and_backup_schedule(root: Path) -> None:
    path = root / "config/production.toml"
    path.write_text(
        path.read_text().replace('target = "app"', 'image = "ghcr.io/x/y:1"').replace("last = 7", "last = 3")
    )
    app, _, backup = built(root).services
    assert (app.image, app.target) == ("ghcr.io/x/y:1", None)
    assert backup.environment["BACKUP_RETAIN"] == "last=3 daily=7 weekly=4 monthly=6"


def test_the_data_is_whatever_volume_the_backup_service_has(root: Path) -> None:
    path = root / "config/production.toml"
    path.write_text(path.read_text().replace("sqlite_data", "store"))
    stack = built(root)
    assert stack.data_volume == Volume("store", "golinks_store")
    assert STACK.data_volume == Volume("data", "shop_data")


def test_lookup() -> None:
    assert STACK.service("app").name == "app"
    assert STACK.volume("data").name == "shop_data"
    with pytest.raises(KeyError):
        STACK.service("web")
    with pytest.raises(KeyError):
        STACK.volume("web")
