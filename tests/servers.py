"""Remotes for the tests: an S3-compatible server (rclone's own) and an sshd, each a process of the test's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RCLONE = str(Path(sys.executable).with_name("rclone"))
ACCESS, SECRET = "AKIAEXAMPLEONE", "a-secret-that-nobody-sees"
BUCKET = "snapshots"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], host: str, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server until the block ends; it answers at its address when the block begins."""
    with log.open("ab") as out, subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL) as server:
        try:
            end = time.monotonic() + 20
            while not _answers(host, port):
                assert server.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.05)
            yield server
        finally:
            server.kill()


def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


@dataclass(frozen=True)
class S3:
    """`folder` holds the buckets."""

    process: subprocess.Popen[bytes]
    folder: Path
    url: str

    def names(self, path: str) -> list[str]:
        # What begins with a dot is the server's own, of a request that it did not survive.
        return sorted(one.name for one in (self.folder / BUCKET / path).glob("[!.]*"))


@contextlib.contextmanager
def s3(host: str, folder: Path, port: int = 0) -> Iterator[S3]:
    """Keeps its objects below `folder`, one bucket."""
    port = port or free_port()
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    command = [RCLONE, "serve", "s3", "--config", os.devnull, "--auth-key", f"{ACCESS},{SECRET}"]
    command += ["--addr", f"{host}:{port}", str(folder)]
    with running(command, host, port, folder.parent / "s3.log") as process:
        yield S3(process, folder, f"http://{host}:{port}")


def s3_variables(name: str, url: str) -> dict[str, str]:
    """rclone's variables of the remote `name`."""
    values = {"TYPE": "s3", "PROVIDER": "Rclone", "ENDPOINT": url, "ACCESS_KEY_ID": ACCESS, "SECRET_ACCESS_KEY": SECRET}
    return {f"RCLONE_CONFIG_{name}_{key}": value for key, value in values.items()}


@contextlib.contextmanager
def webdav(host: str, folder: Path) -> Iterator[str]:
    """Serves the folder; the address."""
    port = free_port()
    command = [RCLONE, "serve", "webdav", "--config", os.devnull, "--user", ACCESS, "--pass", SECRET]
    command += ["--addr", f"{host}:{port}", str(folder)]
    with running(command, host, port, folder.parent / "webdav.log"):
        yield f"http://{host}:{port}"


def webdav_variables(name: str, url: str, password: str = SECRET) -> dict[str, str]:
    """rclone's variables of the remote `name`; it wants the password in a form of its own."""
    done = subprocess.run([RCLONE, "obscure", "-"], input=password, capture_output=True, text=True, check=True)
    values = {"TYPE": "webdav", "URL": url, "VENDOR": "other", "USER": ACCESS, "PASS": done.stdout.strip()}
    return {f"RCLONE_CONFIG_{name}_{key}": value for key, value in values.items()}


@dataclass(frozen=True)
class Sshd:
    """`key` may log in, `stranger` may not; `known` is its line of known_hosts."""

    host: str
    port: int
    key: str
    stranger: str
    known: str


def can_serve_ssh() -> bool:
    return os.getuid() == 0 and _program() is not None


def _program() -> str | None:
    return shutil.which("sshd", path="/usr/sbin:/usr/bin")


@contextlib.contextmanager
def sshd(host: str, folder: Path) -> Iterator[Sshd]:
    """Debian's, with a host key and a port of its own; root may log in with the key."""
    for name in ("host", "ours", "theirs"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True, capture_output=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    options = {
        "ListenAddress": f"{host}:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "ours.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "prohibit-password",
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    known = " ".join((folder / "host.pub").read_text().split()[:2])
    command = [str(_program()), "-D", "-e", "-f", str(folder / "sshd_config")]
    with running(command, host, port, folder / "sshd.log"):
        yield Sshd(host, port, _pem(folder / "ours"), _pem(folder / "theirs"), f"[{host}]:{port} {known}")


def _pem(path: Path) -> str:
    """A key as rclone takes it in a variable: one line."""
    return path.read_text().strip().replace("\n", "\\n")


def sftp_variables(name: str, server: Sshd) -> dict[str, str]:
    values = {"TYPE": "sftp", "HOST": server.host, "PORT": str(server.port), "USER": "root", "KEY_PEM": server.key}
    return {f"RCLONE_CONFIG_{name}_{key}": value for key, value in values.items()}
