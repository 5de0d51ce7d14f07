"""Engines elsewhere: by ssh, by TLS, by Docker's contexts; and what is told where one can't be reached."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cannot import cannot
from tests.engine.conftest import MakeProject
from tests.engine.stack import SERVICES, Project, Result, until
from tests.engine.tls_engine import TlsEngine, tls_engine
from tests.servers import can_serve_ssh, free_port, sshd
from tests.terminal import terminal

pytestmark = pytest.mark.engine

#: A container of the engine's own choosing may not have these: the client's paths mean nothing to the engine.
BINDS = ("Binds", "VolumesFrom", "Devices")


@dataclass
class Ssh:
    """The system's ssh with a configuration of the test's: `shop` is an alias of a host with an engine."""

    folder: Path
    port: int

    def environment(self, url: str = "ssh://shop") -> dict[str, str]:
        return {"DOCKER_HOST": url, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def configure(self, **changes: str) -> None:
        options = {
            "HostName": "127.0.0.1",
            "Port": str(self.port),
            "User": "root",
            "IdentityFile": str(self.folder / "ours"),
            "UserKnownHostsFile": str(self.folder / "known"),
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
        }
        lines = ["Host shop", *(f"  {name} {value}" for name, value in (options | changes).items())]
        (self.folder / "config").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    if not can_serve_ssh():
        cannot("an sshd of the test's own needs root and openssh-server")
    folder = tmp_path_factory.mktemp("ssh")
    (folder / "bin").mkdir()
    program = folder / "bin" / "ssh"
    # ssh reads the configuration of the user's true home, whatever HOME says.
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder / "config"} "$@"\n')
    program.chmod(0o755)
    with sshd("127.0.0.1", folder) as running:
        (folder / "known").write_text(running.known + "\n")
        yield Ssh(folder, running.port)


@pytest.fixture
def ssh(server: Ssh) -> Ssh:
    server.configure()
    return server


def connections(ssh: Ssh) -> list[str]:
    """The ssh processes of ours that are still there."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"-F {ssh.folder / 'config'}" in line]


@pytest.fixture(scope="module")
def bare(make_project: MakeProject) -> Project:
    """A project of which nothing is there."""
    return make_project()


@pytest.fixture(scope="module")
def remote(server: Ssh, make_project: MakeProject) -> Project:
    """A stack that was deployed over ssh."""
    server.configure()
    project = make_project()
    project.more = server.environment()
    assert project.json("deploy")["result"] == "changed"
    return project


def test_all_of_it_over_ssh(remote: Project, ssh: Ssh) -> None:
    assert remote.health() == dict.fromkeys(SERVICES, "running healthy")
    remote.add("far")
    assert remote.json("deploy")["result"] == "unchanged"
    assert remote.json("backup")["databases"][0]["integrity"] == "ok"
    assert "/.api/links" in remote.run("logs", "proxy").stdout
    done = remote.run("exec", "app", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err\n")
    # DEVNULL is an input, too, and its end reaches the command.
    assert remote.run("exec", "app", "cat", seconds=30).stdout == ""
    assert remote.json("doctor")["ok"], remote.run("doctor", check=False).stdout
    for container in remote.containers():
        settings = container.attrs["HostConfig"]
        assert not any(settings.get(name) for name in BINDS), container.name
        assert {mount["Type"] for mount in container.attrs["Mounts"]} <= {"volume"}
    assert connections(ssh) == [], "each command has ended its own"


def test_a_terminal_and_ctrl_c_over_ssh(remote: Project, ssh: Ssh) -> None:
    command = [sys.executable, "-m", "orchestrator"]
    with terminal([*command, "exec", "app", "sh"], cwd=remote.root, env=remote.env) as screen:
        screen.until("$ ")  # what is typed before is thrown away
        screen.type("echo far$((20 + 3))\n")
        screen.until("far23")
        screen.type("exit 5\n")
        assert screen.end() == 5
    with terminal([*command, "logs", "-f", "-n", "1"], cwd=remote.root, env=remote.env) as screen:
        screen.until("proxy ")
        screen.type("\x03")
        assert screen.end() == 0
    assert connections(ssh) == []


def test_a_killed_command_leaves_no_ssh(remote: Project, ssh: Ssh) -> None:
    process = remote.start("logs", "-f")
    assert process.stdout
    process.stdout.readline()
    assert connections(ssh)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: not connections(ssh), 20, "ssh ends with us")


def told(result: Result, *said: str) -> None:
    assert result.code == 5, result
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    for text in said:
        assert text in result.stderr, result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith(("error:", "hint:"))]) == 2


@pytest.mark.parametrize(
    ("changes", "url", "said"),
    [
        ({"IdentityFile": "FOLDER/theirs"}, "ssh://shop", "shop does not let this user in by ssh"),
        ({"UserKnownHostsFile": "/dev/null"}, "ssh://shop", "the host key of shop is not the one that ssh knows"),
        ({"Port": "9"}, "ssh://shop", "shop can't be reached by ssh"),
        ({"HostName": "nosuch.invalid"}, "ssh://shop", "there is no host shop"),
        ({}, "ssh://shop/run/nosuch.sock", "no Docker engine answers this user on shop"),
        ({}, "ssh://root:secret@shop", "an address of ssh has no password in it"),
        ({}, "ssh://-oProxyCommand=touch", "is no address of ssh"),
        ({}, "ssh://shop:ssh", "is no address of ssh"),
    ],
)
def test_what_is_wrong_with_ssh(changes: dict[str, str], url: str, said: str, ssh: Ssh, bare: Project) -> None:
    ssh.configure(**{name: value.replace("FOLDER", str(ssh.folder)) for name, value in changes.items()})
    began = time.monotonic()
    result = bare.run("releases", env=ssh.environment(url), check=False)
    told(result, said, "hint: ")
    assert "secret" not in result.stderr
    assert time.monotonic() - began < 15
    assert connections(ssh) == []


@pytest.fixture(scope="module")
def secure() -> Iterator[TlsEngine]:
    if os.getuid() != 0 or not shutil.which("dockerd") or not shutil.which("openssl"):
        cannot("an engine of the test's own needs root, dockerd and openssl")
    with tls_engine() as engine:
        yield engine


def test_tls(secure: TlsEngine, bare: Project) -> None:
    good = secure.environment()
    assert bare.json("releases", env=good) == {"releases": []}
    assert bare.run("status", env=good).stdout.count("absent") == 3
    assert bare.run("releases", env=good | {"DOCKER_TLS_VERIFY": ""}).code == 0


@pytest.mark.parametrize(
    ("folder", "changes", "said"),
    [
        ("stranger", {}, "shows is not trusted"),
        ("unknown", {}, "does not accept our certificate"),
        ("nobody", {}, "does not accept our certificate"),
        ("mixed", {}, "are not a certificate and its key"),
        ("nosuch", {}, "there is no folder"),
        ("good", {"DOCKER_TLS_VERIFY": "", "DOCKER_CERT_PATH": ""}, "wants TLS"),
        ("good", {"DOCKER_HOST": "tcp://127.0.0.1:FREE"}, "no Docker engine answers at tcp://127.0.0.1:"),
        ("good", {"DOCKER_HOST": "tcp://127.0.0.2:PORT"}, "no Docker engine answers at tcp://127.0.0.2:"),
        ("good", {"DOCKER_HOST": "tcp://nosuch.invalid:2376"}, "there is no host nosuch.invalid"),
        ("good", {"DOCKER_HOST": "tcp://localhost:PORT"}, "shows is not trusted"),
    ],
)
def test_what_is_wrong_with_tls(
    folder: str, changes: dict[str, str], said: str, secure: TlsEngine, bare: Project
) -> None:
    environment = secure.environment(folder) | {
        name: value.replace("PORT", str(secure.port)).replace("FREE", str(free_port()))
        for name, value in changes.items()
    }
    told(bare.run("plan", env=environment, check=False), said, "hint: ")


def test_contexts_as_the_docker_command_makes_them(secure: TlsEngine, ssh: Ssh, bare: Project, tmp_path: Path) -> None:
    here = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": "", "PATH": ssh.environment()["PATH"]}

    def docker(*words: str) -> str:
        command = ["docker", *words]
        return subprocess.run(command, env=os.environ | here, capture_output=True, text=True, check=True).stdout.strip()

    def engine(**more: str) -> str:
        checks = bare.run("--json", "doctor", env=here | more, check=False).json["checks"]
        return str(next(row["found"] for row in checks if row["check"] == "engine"))

    tls = f"tcp://127.0.0.1:{secure.port}"
    files = ",".join(f"{name}={secure.folder / 'good' / name}.pem" for name in ("ca", "cert", "key"))
    docker("context", "create", "far", "--docker", f"host={tls},{files}")
    docker("context", "create", "shell", "--docker", "host=ssh://shop")
    docker("context", "use", "far")
    assert f" at {tls}," in engine()
    assert " at ssh://shop," in engine(DOCKER_CONTEXT="shell")
    told(bare.run("plan", env=here | {"DOCKER_CONTEXT": "gone"}, check=False), "no Docker context 'gone'")
    (tmp_path / "config.json").write_text("{")
    told(bare.run("plan", env=here, check=False), "config.json, which may say where the engine is")
