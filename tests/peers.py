"""What is got for the tests and benchmarks: base images, both versions of Compose, other engines, and Litestream."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import docker
import docker.errors

from orchestrator import apt_sources
from orchestrator import bases as base_images
from orchestrator.engine import connect

COMPOSE_V2 = "usr/libexec/docker/cli-plugins/docker-compose"
LITESTREAM = Path(__file__).parent / "bench" / "snapshots" / "litestream.requirements.txt"


def bases(client: docker.DockerClient) -> Mapping[str, str]:
    """The base images as build arguments: those of the environment, else ones made on this machine, else pulled ones;
    where no registry answers they are made now."""
    roles: Mapping[str, tuple[base_images.Role, str]] = {
        "PYTHON_IMAGE": ("python", "python:3.13-alpine"),
        "NGINX_IMAGE": ("nginx", "nginx:alpine"),
    }
    return {variable: os.environ.get(variable) or _base(client, *role) for variable, role in roles.items()}


def _base(client: docker.DockerClient, role: base_images.Role, default: str) -> str:
    tag = base_images.base_tag(role, base_images.host_distribution())
    for image in (tag, default):
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.images.get(image)
            return image
    with contextlib.suppress(docker.errors.APIError):
        client.images.pull(default)
        return default
    with base_images.make_base(role, print, install=bool(os.environ.get("CI"))) as base:
        repository, _, version = base.tag.rpartition(":")
        connect(os.environ).import_image(base.tar, repository, version, list(base.changes))
    return tag


def compose_v1() -> list[str]:
    """The command of Compose v1.29; OSError if it is not to be had."""
    command = shutil.which("docker-compose")
    if command is None:
        raise OSError("no docker-compose: `apt-get install docker-compose` of Debian 12")
    return _checked(command, "1.")


def compose_v2() -> list[str]:
    """The command of Compose v2, of Debian 13's package; OSError if it is not to be had."""
    cache = unpacked("compose-v2", "trixie", ("docker-compose",))
    return _checked(str(cache / COMPOSE_V2), "2.")


def litestream() -> str:
    """The path of Litestream's program: got once from its pinned wheel, in a folder of its own; OSError if it is not to
    be had."""
    program = _cache("litestream") / "bin" / "litestream"
    if not program.is_file():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        command = [*pip, "--require-hashes", "-r", str(LITESTREAM), "--target", str(program.parent.parent)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            raise OSError(f"Litestream is not to be had: {error.stderr}") from error
    return str(program)


def _cache(name: str) -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "golinks-tests" / name


def _checked(command: str, version: str) -> list[str]:
    said = subprocess.run([command, "version", "--short"], capture_output=True, text=True, check=True).stdout
    if not said.startswith(version):
        raise OSError(f"{command} is {said.strip()}, not version {version}x")
    return [command]


def unpacked(name: str, suite: str, packages: Sequence[str]) -> Path:
    """A folder with packages of a suite of Debian's: got once, unpacked and not installed; OSError if they are not to
    be had."""
    cache = _cache(name)
    if not cache.is_dir():
        try:
            with tempfile.TemporaryDirectory() as folder:
                _get(Path(folder), cache, suite, packages)
        except subprocess.CalledProcessError as error:
            raise OSError(f"{name} is not to be had: {error} {error.stderr}") from error
    return cache


def _get(folder: Path, cache: Path, suite: str, packages: Sequence[str]) -> None:
    """The host's own mirror, asked for another release; nothing of the machine's configuration is changed."""
    here = base_images.host_distribution().codename
    mirrors = [line for line in apt_sources.mirrors(apt_sources.read_sources(), here) if "security" not in line]
    if not mirrors or here != "bookworm":
        raise OSError(f"Debian 12's apt is needed for it, not {here} with {len(mirrors)} mirrors")
    (folder / "sources.list").write_text(mirrors[0].replace(f" {here} ", f" {suite} ") + "\n")
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    options = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        # apt's own user may not write to a folder of pytest's.
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    wanted = [f"{package}:{machine}" for package in packages]
    for command in ([*apt, "update"], [*apt, "download", *wanted]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    part = cache.with_name(f"{cache.name}.{os.getpid()}")
    part.mkdir(parents=True)
    for archive in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(archive), str(part)], check=True, capture_output=True, text=True)
    if cache.exists():
        shutil.rmtree(part)
    else:
        part.rename(cache)
