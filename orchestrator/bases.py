"""Base images from the distribution's own packages, for a machine whose engine can pull none.

`mmdebstrap` unpacks a minimal Debian or Ubuntu with Python or Nginx into a tar in about 25 seconds. Everything that
decides is pure (`parse_os_release`, `base_command`); `make_base` runs the command and hands out the tar.
This module knows no Docker: the engine module imports the stream.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from orchestrator import apt_sources
from orchestrator.errors import OrchestratorError

Role = Literal["python", "nginx"]
Say = Callable[[str], None]

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PACKAGES: Mapping[Role, str] = {"python": "python3,python3-venv", "nginx": "nginx"}
CHANGES = ("ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
ELSE_HINT = (
    "Set PYTHON_IMAGE and NGINX_IMAGE to images the engine has or can pull, or give the engine a registry mirror."
)

# The service needs Python 3.11; these releases' own is older.
TOO_OLD = frozenset({"stretch", "buster", "bullseye", "bionic", "focal", "jammy", "kinetic"})

NEVER_UNPACKED = tuple(f"/usr/share/{name}/*" for name in ("man", "doc", "locale", "info", "i18n", "lintian", "bug"))

# Needed while packages are configured and by nothing that runs in the images: apt's state (with a mirror's
# credentials, if it has any), Perl, character sets of other centuries, Python's own tests and help texts.
USELESS = {
    "python": ("usr/lib/python3*/test", "usr/lib/python3*/lib2to3", "usr/lib/python3*/pydoc_data"),
    "nginx": ("usr/share/nginx/html", "var/www"),
}
USELESS_ANYWHERE = (
    "etc/apt/sources.list*",
    "etc/apt/auth.conf*",
    "etc/apt/trusted.gpg*",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "var/lib/apt",
    "var/cache/*",
    "var/log/*",
    "var/backups/*",
    "usr/bin/perl*",
    "usr/lib/*/perl*",
    "usr/lib/*/libperl*",
    "usr/share/perl*",
    "usr/lib/*/gconv",
    "usr/share/bash-completion",
)

PROGRESS = {
    "running apt-get update": "asking the mirror for its packages",
    "downloading packages": "downloading packages",
    "extracting archives": "unpacking",
    "installing essential": "installing the system's essentials",
    "installing remaining": "installing {packages}",
    "creating tarball": "packing",
}
STOP_SECONDS = 20
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Distribution:
    """`name` is "debian" or "ubuntu", `version` its number ("12", "24.04"), `codename` what its mirrors call it."""

    name: str
    version: str
    codename: str


@dataclass(frozen=True)
class Base:
    """A root file system to import: `tar` is open at its start, `changes` are Dockerfile lines for the import."""

    tag: str
    tar: IO[bytes]
    changes: tuple[str, ...]


def parse_os_release(text: str) -> Distribution:
    """Read the text of /etc/os-release; raise OrchestratorError if no base can be made from this distribution."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            fields[key.strip()] = "".join(shlex.split(value))
    family = {fields.get("ID", ""), *fields.get("ID_LIKE", "").split()}
    name = next((known for known in ("ubuntu", "debian") if known in family), "")
    # A derivative has a codename of its own, and says here whose mirror it uses.
    codename = fields.get("UBUNTU_CODENAME") or fields.get("DEBIAN_CODENAME") or fields.get("VERSION_CODENAME", "")
    called = fields.get("PRETTY_NAME") or fields.get("ID") or "this distribution"
    if not name or not codename:
        raise OrchestratorError(
            f"Base images can be made on Debian and Ubuntu only, and this machine runs {called}.", hint=ELSE_HINT
        )
    if codename in TOO_OLD:
        raise OrchestratorError(
            f"{called} has a Python older than 3.11, so no base can be made from its packages.", hint=ELSE_HINT
        )
    version = fields.get("VERSION_ID", "") if fields.get("ID") == name else codename
    return Distribution(name, version or codename, codename)


def base_tag(role: Role, distribution: Distribution) -> str:
    """The image's name: one for each role and release of the distribution."""
    return f"golinks-base-{role}:{distribution.name}-{distribution.version}"


def base_command(
    role: Role, distribution: Distribution, *, mirrors: Iterable[str] = (), apt_options: Iterable[str] = ()
) -> list[str]:
    """The mmdebstrap command that writes the base's root file system as a tar to standard output."""
    useless = (*USELESS_ANYWHERE, *USELESS[role])
    hooks = [
        f'mkdir -p "$1/etc/ssl/certs" && if [ -e {CA_BUNDLE} ]; then cp -L {CA_BUNDLE} "$1{CA_BUNDLE}"; fi',
        "rm -rf " + " ".join(f'"$1"/{path}' for path in useless),
    ]
    if role == "python":
        hooks.append('ln -sf python3 "$1/usr/bin/python"')
    else:
        hooks.append('mkdir -p "$1/var/log/nginx"')
    return [
        "mmdebstrap",
        "--variant=essential",
        "--format=tar",
        "--skip=cleanup/apt",  # a hook has removed all of apt's state, which that step wants to work with
        f"--include={PACKAGES[role]}",
        *(f"--aptopt={option}" for option in apt_options),
        *(f"--dpkgopt=path-exclude={path}" for path in NEVER_UNPACKED),
        *(f"--customize-hook={hook}" for hook in hooks),
        distribution.codename,
        "-",
        *mirrors,
    ]


def host_distribution() -> Distribution:
    """What this machine runs; raise OrchestratorError where no base can be made."""
    if not sys.platform.startswith("linux"):
        raise OrchestratorError(
            "No registry gave the base images, and they can be made on Debian and Ubuntu only.", hint=ELSE_HINT
        )
    for path in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        if path.is_file() and shutil.which("apt-get"):
            return parse_os_release(path.read_text(encoding="utf-8"))
    raise OrchestratorError(
        "Base images can be made on Debian and Ubuntu only, and this machine has no apt.", hint=ELSE_HINT
    )


def _as_root() -> list[str] | None:
    """The prefix that runs a command as root without asking anybody, or None."""
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None


def _install_mmdebstrap(say: Say, root: list[str] | None) -> None:
    if root is None:
        raise OrchestratorError(
            "mmdebstrap, which makes base images, is missing, and installing it needs root.",
            hint="Run: sudo apt-get install mmdebstrap. Or: " + ELSE_HINT,
        )
    say("installing mmdebstrap")
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    install = [*apt, "install", "-y", "--no-install-recommends", "mmdebstrap"]
    # A fresh machine has no package lists yet; asking for them first would cost the others seconds.
    for command in (install, [*apt, "update"], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode == 0 and command is install:
            return
    raise OrchestratorError(
        "apt-get could not install mmdebstrap, which makes base images.",
        hint=ELSE_HINT,
        detail=tuple((done.stderr or done.stdout).strip().splitlines()[-5:]),
    )


@contextlib.contextmanager
def make_base(role: Role, say: Say, *, install: bool) -> Iterator[Base]:
    """Make the base for `role` in about 25 seconds and hand out its tar, which is gone at the end of the block.

    `say` gets one short line a step. `install` allows to install mmdebstrap. The tar has no name in the file system and
    mmdebstrap removes its own folder, so nothing stays behind when this process is killed. Raises OrchestratorError.
    """
    distribution = host_distribution()
    root = _as_root()
    if not shutil.which("mmdebstrap"):
        if not install:
            raise OrchestratorError(
                "mmdebstrap, which makes base images, is missing.",
                hint="Run setup or deploy --setup, which may install it. Or: " + ELSE_HINT,
            )
        _install_mmdebstrap(say, root)
    dump = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False)
    command = (root or []) + base_command(
        role,
        distribution,
        mirrors=apt_sources.mirrors(apt_sources.read_sources(), distribution.codename),
        apt_options=apt_sources.options(dump.stdout),
    )
    with tempfile.TemporaryFile() as tar, tempfile.TemporaryFile() as log:
        _run(command, tar, log, root or [], lambda told: say(f"{role} base: {told.format(packages=PACKAGES[role])}"))
        tar.seek(0)
        yield Base(base_tag(role, distribution), tar, CHANGES)


def _run(command: list[str], tar: IO[bytes], log: IO[bytes], root: list[str], say: Say) -> None:
    """Run to the end, telling its progress; when anything interrupts us, the command is ended first.

    Its messages go to a file and not to a pipe: were we killed, a pipe would break and take mmdebstrap with it before
    it has unmounted and removed its folder; as it is, it ends by itself and leaves nothing.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=tar, stderr=log, start_new_session=True)
    told = 0
    try:
        while True:
            ended = process.poll() is not None
            steps = [step for line in _lines(log) for known, step in PROGRESS.items() if line.startswith(f"I: {known}")]
            for step in steps[told:]:
                say(step)
            told = len(steps)
            if ended:
                break
            time.sleep(POLL_SECONDS)
    finally:
        _stop(process, root)
    if process.returncode != 0:
        raise OrchestratorError(
            "mmdebstrap could not make the base image from the distribution's packages.",
            hint=ELSE_HINT,
            detail=tuple(line for line in _lines(log) if not line.startswith("I: running --customize-hook"))[-8:],
        )


def _lines(log: IO[bytes]) -> list[str]:
    """All the messages so far; read at a place of our own, because the writer shares the file's position."""
    return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0).decode(errors="replace").splitlines()


def _stop(process: subprocess.Popen[bytes], root: list[str]) -> None:
    """End what still runs, gently first and with all its children: mmdebstrap then unmounts and removes its folder."""
    for signal_name in ("TERM", "KILL"):
        if process.poll() is None:
            # As root through sudo, whose child is not ours to signal.
            subprocess.run(
                [*root, "kill", f"-{signal_name}", "--", f"-{process.pid}"], check=False, capture_output=True
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
