"""Snapshots off the host, end to end: copied by the verb and the schedule, and brought back on a bare new host.

The servers are real, on the address of the engine's bridge; what they may do wrong is played in
tests/unit/agent/test_remotes.py.
"""

from __future__ import annotations

import contextlib
import ipaddress
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pyrage
import pytest

from tests import servers
from tests.cannot import cannot
from tests.engine.conftest import MakeProject
from tests.engine.stack import Project, until

pytestmark = pytest.mark.engine

ENVIRONMENT = """
[services.backup.environment]
RCLONE_CONFIG_OFFSITE_TYPE = "s3"
RCLONE_CONFIG_OFFSITE_PROVIDER = "Rclone"
RCLONE_CONFIG_OFFSITE_ENDPOINT = "${OFFSITE_ENDPOINT:?where it is}"
RCLONE_CONFIG_OFFSITE_ACCESS_KEY_ID = "${OFFSITE_ACCESS:?who we are}"
RCLONE_CONFIG_OFFSITE_SECRET_ACCESS_KEY = "${OFFSITE_SECRET:?the secret}"
RCLONE_CONFIG_SHED_TYPE = "sftp"
RCLONE_CONFIG_SHED_HOST = "${SHED_HOST:?where it is}"
RCLONE_CONFIG_SHED_PORT = "${SHED_PORT:-22}"
RCLONE_CONFIG_SHED_USER = "root"
RCLONE_CONFIG_SHED_KEY_PEM = "${SHED_KEY:?the key}"
BACKUP_KNOWN_HOSTS = "${SHED_KNOWN:-}"
RCLONE_BWLIMIT = "${LIMIT:-off}"

[services.backup.health]"""


@dataclass
class Outside:
    """Both servers, and the key that copies are encrypted for, also in a file."""

    s3: servers.S3
    shed: Path
    env: dict[str, str]
    public: str
    secret: str
    key: Path

    def copies(self) -> dict[str, list[str]]:
        shed = self.shed / "golinks"
        return {"offsite": self.s3.names("golinks"), "shed": sorted(p.name for p in shed.glob("*"))}


@pytest.fixture(scope="module")
def outside(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    if not servers.can_serve_ssh():
        cannot("needs root and sshd (Debian's openssh-server)")
    folder = tmp_path_factory.mktemp("outside")
    (folder / "shed").mkdir()
    subnet = client.api.inspect_network("bridge")["IPAM"]["Config"][0]["Subnet"]
    host = str(next(ipaddress.ip_network(subnet).hosts()))
    key = pyrage.x25519.Identity.generate()
    (folder / "key").write_text(f"# made for a test\n{key}\n")
    with contextlib.ExitStack() as stack:
        sshd = stack.enter_context(servers.sshd(host, folder))
        s3 = stack.enter_context(servers.s3(host, folder / "s3"))
        env = {
            "OFFSITE_ENDPOINT": s3.url,
            "OFFSITE_ACCESS": servers.ACCESS,
            "OFFSITE_SECRET": servers.SECRET,
            "SHED_HOST": sshd.host,
            "SHED_PORT": str(sshd.port),
            "SHED_KEY": sshd.key,
            "SHED_KNOWN": sshd.known,
        }
        yield Outside(s3, folder / "shed", env, str(key.to_public()), str(key), folder / "key")


def configured(project: Project, outside: Outside) -> Project:
    remotes = f'remotes = ["offsite:{servers.BUCKET}/golinks", "shed:{outside.shed}/golinks"]'
    own = f'[backup]\n{remotes}\nencrypt_to = ["{outside.public}"]\n'
    project.edit("config/production.toml", "[backup]\n", own)
    project.edit("config/production.toml", "\n[services.backup.health]", ENVIRONMENT)
    project.more.update(outside.env)
    return project


@pytest.fixture(scope="module")
def stack(make_project: MakeProject, outside: Outside) -> Project:
    """Deployed, with some data that does not compress; its first scheduled snapshot is on both remotes."""
    made = configured(make_project(), outside)
    made.run("deploy")
    made.add("kept")
    until(lambda: all(outside.copies().values()), 60, "the scheduled snapshot is copied", 0.3)
    made.one("app").exec_run(["sh", "-c", "head -c 1000000 /dev/urandom > /data/upload.bin"])
    return made


def told(project: Project, *arguments: str, code: int = 1, env: dict[str, str] | None = None) -> str:
    """What a command says that fails with `code`, without any secret."""
    result = project.run(*arguments, check=False, env=env)
    assert result.code == code, result
    assert "Traceback" not in result.stderr
    assert servers.SECRET not in result.stderr + result.stdout
    return result.stderr


def snapshots(project: Project, *more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.json("backups", *more)["snapshots"]
    assert not [entry for entry in found if entry.get("error")], found
    return found


def kept(project: Project) -> list[str]:
    """What is in the backups volume besides snapshots."""
    listed = project.one("backup").exec_run(["ls", "-A", "/backups"]).output
    assert isinstance(listed, bytes)
    names = listed.decode().split()
    own = ("metrics.prom", "schedule.notes")
    return [name for name in names if not name.endswith((".json", ".tar.zst", ".lock")) and name not in own]


def test_copies_come_back_on_a_bare_host(
    stack: Project, outside: Outside, make_project: MakeProject, tmp_path: Path
) -> None:
    report = stack.json("backup", "--to", str(tmp_path))
    name = report["snapshot"]
    copied = {(one["snapshot"], one["remote"].partition(":")[0]) for one in report["copied"]}
    assert copied >= {(name, "offsite"), (name, "shed")}
    for names in outside.copies().values():
        assert {f"{name}.json", f"{name}.tar.zst.age"} <= set(names)
        assert all(other.endswith((".json", ".tar.zst.age")) for other in names)
    assert [entry["encrypted"] for entry in snapshots(stack, "--from", "shed")][:1] == [True]
    assert len(snapshots(stack)[0]["remotes"]) == 2

    bare = configured(make_project(), outside)
    bare.run("deploy")
    assert not bare.has("kept")
    until(lambda: snapshots(bare), 60, "it has a snapshot of its own", 0.5)
    assert "holds snapshots of another volume" in told(bare, "backup"), "empty data must not become the newest"
    assert snapshots(bare, "--from", "offsite")[0]["snapshot"] == name
    assert "is encrypted" in told(bare, "restore", "latest", "--from", "offsite", "--yes", code=2)
    stranger = tmp_path / "stranger"
    stranger.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    assert "does not open" in told(bare, "verify", name, "--from", "shed", "--key", str(stranger), code=2)
    restored = bare.json("restore", "latest", "--from", "offsite", "--key", str(outside.key), "--yes")
    assert restored["restored"] == name
    assert bare.has("kept")
    # With one of them restored, it is the one that goes on.
    assert bare.json("backup")["copied"]
    # A file of this machine, plain or encrypted; the same data is the same snapshot.
    assert bare.json("verify", report["file"])["snapshot"] == name
    sealed = outside.s3.folder / servers.BUCKET / "golinks" / f"{name}.tar.zst.age"
    assert bare.json("verify", str(sealed), "--key", str(outside.key))["snapshot"] == name
    torn = tmp_path / "torn.tar.zst"
    torn.write_bytes(Path(report["file"]).read_bytes()[:-1000])
    assert "archive cannot be read" in told(bare, "verify", str(torn))
    assert kept(bare) == []
    assert outside.secret.encode() not in bare.one("backup").logs()


def test_a_file_is_restored(stack: Project, tmp_path: Path) -> None:
    """To a stack whose volume has it no more."""
    report = stack.json("backup", "--to", str(tmp_path))
    stack.one("backup").exec_run(["sh", "-c", f"rm /backups/{report['snapshot']}*"])
    stack.add("later")
    assert stack.json("restore", report["file"], "--yes")["restored"] == report["snapshot"]
    assert not stack.has("later")
    assert stack.has("kept")


def test_what_fails_is_said_and_made_up_for(stack: Project, outside: Outside) -> None:
    """Wrong credentials, then an agent that is killed while it copies: the next run makes up for both."""
    remote = f"offsite:{servers.BUCKET}/golinks"
    said = told(stack, "backup", env={"OFFSITE_SECRET": "not-the-secret"})
    assert "was taken and is good, but is not on every remote" in said
    assert f"{remote} refuses the credentials" in said
    refused = snapshots(stack)[0]
    assert [one.partition(":")[0] for one in refused["remotes"]] == ["shed"]
    process = stack.start("backup", env={"LIMIT": "300k"})

    def copying() -> list[Any]:
        # The one that takes the snapshot goes while it is looked at.
        with contextlib.suppress(docker.errors.APIError):
            found = [c for c in stack.containers("backup", running=True) if "-run-" in str(c.name)]
            return [c for c in found if b"copy to offsite" in c.logs(stderr=False)]
        return []

    caught: list[Any] = []

    def kill_it() -> bool:
        # Found and killed in one go; it may be gone in between.
        with contextlib.suppress(docker.errors.APIError):
            for container in copying():
                container.kill(signal.SIGKILL)
                caught.append(container)
        return bool(caught)

    until(kill_it, 60, "it copies", 0.05)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "was taken and is good" in said
    killed = snapshots(stack)[0]
    there = {entry["snapshot"] for entry in snapshots(stack, "--from", "offsite")}
    assert there.isdisjoint({refused["snapshot"], killed["snapshot"]})
    copied = {one["snapshot"] for one in stack.json("backup")["copied"] if one["remote"] == remote}
    assert copied >= {refused["snapshot"], killed["snapshot"]}
    names = outside.copies()
    assert names["offsite"] == names["shed"]
    assert all(name.endswith((".json", ".tar.zst.age")) for name in names["offsite"])
    assert kept(stack) == []


def test_no_secret_shows(stack: Project) -> None:
    for verb in (("releases",), ("status",), ("plan",), ("logs", "backup")):
        result = stack.run(*verb)
        assert servers.SECRET not in result.stdout + result.stderr
    planned = stack.run("plan", env={"OFFSITE_SECRET": "another-secret"})
    assert "********" in planned.stdout
    assert "another-secret" not in planned.stdout + planned.stderr
