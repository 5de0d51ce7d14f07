"""Settings -> Stack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.context import recipe
from orchestrator.create_args import oneoff_body
from orchestrator.engine import context_files
from orchestrator.errors import UsageError
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


def test_remotes_bring_a_way_out_rclone_and_nothing_else(root: Path) -> None:
    before = built(root)
    path = root / "config/production.toml"
    remotes = '[backup]\nremotes = ["offsite:bucket/golinks"]\n'
    variables = '[services.backup.environment]\nRCLONE_CONFIG_OFFSITE_TYPE = "s3"\n\n[services.backup.health]'
    text = path.read_text().replace("[backup]\n", remotes).replace("[services.backup.health]", variables)
    path.write_text(text)
    stack = built(root)
    assert stack.remotes == ("offsite:bucket/golinks",)
    assert stack.service("backup").networks == ("outbound",)
    assert {n.name: n.internal for n in stack.networks}["golinks_outbound"] is False
    assert [service.networks for service in stack.services[:2]] == [service.networks for service in before.services[:2]]
    assert stack.build.args["BACKUP_EXTRAS"] == "rclone"
    assert "BACKUP_EXTRAS" not in before.build.args
    assert not [key for key in before.service("backup").environment if "REMOTE" in key or "ENCRYPT" in key]
    assert json.loads(stack.service("backup").environment["BACKUP_REMOTES"]) == ["offsite:bucket/golinks"]
    # The image is another one; the app's and the proxy's are the same.
    recipes = [
        {
            name: recipe(ROOT, name, one.build.args, context_files(ROOT), {}).digest
            for name in ("app", "proxy", "backup")
        }
        for one in (before, stack)
    ]
    assert [name for name in recipes[0] if recipes[0][name] != recipes[1][name]] == ["backup"]
    # Only a container that talks to a remote knows its secrets, or has a network.
    body = oneoff_body(stack, stack.service("backup"), image="i", command=("list",), role="agent")
    assert body["HostConfig"]["NetworkMode"] == "none"
    assert "OpenStdin" not in body
    given = oneoff_body(
        stack, stack.service("backup"), image="i", command=("x",), role="agent", network="golinks_outbound", stdin=True
    )
    assert (given["HostConfig"]["NetworkMode"], given["OpenStdin"], given["StdinOnce"]) == (
        "golinks_outbound",
        True,
        True,
    )


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('remotes = ["Offsite:x"]', "must be a list of rclone paths"),
        ('remotes = [":s3,secret=x:bucket"]', "must be a list of rclone paths"),
        ('remotes = ["offsite:x"]', "needs RCLONE_CONFIG_OFFSITE_TYPE"),
        ('remotes = ["offsite:x", "offsite:x"]', "names one of them twice"),
        ('encrypt_to = ["age1x"]', "must be a list of public age keys"),
        (f'remotes = ["offsite:x"]\nencrypt_to = ["age1{"q" * 58}"]', "its checksum is wrong"),
        (f'encrypt_to = ["age1{"q" * 58}"]', "there are none"),
    ],
)
def test_wrong_remotes_are_told(root: Path, lines: str, told: str) -> None:
    path = root / "config/production.toml"
    path.write_text(path.read_text().replace("[backup]\n", f"[backup]\n{lines}\n"))
    with pytest.raises(UsageError) as caught:
        built(root)
    assert told in "\n".join(caught.value.detail)


def test_lookup() -> None:
    assert STACK.service("app").name == "app"
    assert STACK.volume("data").name == "shop_data"
    with pytest.raises(KeyError):
        STACK.service("web")
    with pytest.raises(KeyError):
        STACK.volume("web")


def test_a_replica_needs_the_data_writable_and_litestream(root: Path) -> None:
    path = root / "config/production.toml"
    plain = path.read_text()
    for to, networks in (("file:///backups/replica", ()), ("s3://bucket/golinks", ("outbound",))):
        path.write_text(plain + f'\n[backup.replicate]\nto = "{to}"\n')
        stack = built(root)
        backup = stack.service("backup")
        assert {mount.target: mount.read_only for mount in backup.mounts} == {"/data": False, "/backups": False}
        assert backup.environment["BACKUP_REPLICATE_TO"] == to
        assert backup.networks == networks
        assert stack.build.args["BACKUP_EXTRAS"] == "litestream"
