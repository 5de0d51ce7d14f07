"""Base images: what is decided about them, without making one."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from orchestrator import apt_sources, bases
from orchestrator.errors import OrchestratorError

BOOKWORM = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n'
NOBLE = "# comment=here\nID=ubuntu\nID_LIKE=debian\nVERSION_ID='24.04'\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n"
MINT = 'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="22"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n'

DEB822 = """\
# the archive
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
# bookworm-backports is off
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Enabled: yes

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: http://tool.example/linux
Suites: bookworm
Components: stable
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----
"""
ONE_LINE = """\
# deb http://commented.example/ubuntu noble main
deb http://archive.example/ubuntu/ noble main restricted universe # the archive
deb [arch=amd64 signed-by=/k.gpg] http://archive.example/ubuntu noble-security universe main
deb-src http://archive.example/ubuntu noble main
deb http://archive.example/ubuntu noble-backports main
deb cdrom:[Ubuntu]/ noble main
"""


@pytest.mark.parametrize(
    ("text", "tag", "codename"),
    [
        (BOOKWORM, "golinks-base-python:debian-12", "bookworm"),
        (NOBLE, "golinks-base-python:ubuntu-24.04", "noble"),
        (MINT, "golinks-base-python:ubuntu-noble", "noble"),
        ("ID=debian\nVERSION_CODENAME=sid\n", "golinks-base-python:debian-sid", "sid"),
    ],
)
def test_a_distribution_names_its_base(text: str, tag: str, codename: str) -> None:
    distribution = bases.parse_os_release(text)
    assert bases.base_tag("python", distribution) == tag
    assert distribution.codename == codename


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('ID=fedora\nPRETTY_NAME="Fedora Linux 42"\n', "Fedora Linux 42"),
        ('ID=ubuntu\nPRETTY_NAME="Ubuntu 22.04"\nVERSION_CODENAME=jammy\n', "older than 3.11"),
        ("", "this distribution"),
    ],
)
def test_other_machines_are_told_what_to_set(text: str, said: str) -> None:
    with pytest.raises(OrchestratorError, match=said) as error:
        bases.parse_os_release(text)
    assert "PYTHON_IMAGE" in error.value.hint
    assert "registry mirror" in error.value.hint


def test_other_systems_are_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(OrchestratorError, match="Debian and Ubuntu only") as error:
        bases.host_distribution()
    assert "NGINX_IMAGE" in error.value.hint


def test_mirrors_are_the_hosts_own() -> None:
    keyring = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    assert apt_sources.mirrors({"debian.sources": DEB822}, "bookworm") == (
        f"deb {keyring}http://mirror.example/debian bookworm main",
        f"deb {keyring}http://mirror.example/debian bookworm-updates main",
        "deb http://mirror.example/security bookworm-security main",
    )
    assert apt_sources.mirrors({"sources.list": ONE_LINE, "again.list": ONE_LINE}, "noble") == (
        "deb http://archive.example/ubuntu/ noble main universe",
        "deb [signed-by=/k.gpg] http://archive.example/ubuntu noble-security universe main",
    )
    assert apt_sources.mirrors({}, "noble") == ()


def test_apts_way_to_the_mirror_is_kept_and_nothing_else() -> None:
    dump = (
        'Acquire "";\nAcquire::http::Proxy "http://proxy.example:3128";\nAcquire::Check-Date "false";\n'
        'Acquire::https::CAInfo "/etc/ca.pem";\nAcquire::Languages "none";\n'
        'Acquire::IndexTargets::deb::DEP-11::MetaKey "x";\nAcquire::http::Proxy::mirror.example "DIRECT";\n'
    )
    assert apt_sources.options(dump) == (
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::Check-Date "false";',
        'Acquire::https::CAInfo "/etc/ca.pem";',
        'Acquire::http::Proxy::mirror.example "DIRECT";',
    )


def test_the_command() -> None:
    distribution = bases.Distribution("debian", "12", "bookworm")
    command = bases.base_command(
        "python", distribution, mirrors=["deb http://m bookworm main"], apt_options=['Acquire::Retries "3";']
    )
    assert command[0] == "mmdebstrap"
    assert command[-3:] == ["bookworm", "-", "deb http://m bookworm main"]
    assert "--include=python3,python3-venv" in command
    assert '--aptopt=Acquire::Retries "3";' in command
    assert "--dpkgopt=path-exclude=/usr/share/locale/*" in command
    hooks = "\n".join(part for part in command if part.startswith("--customize-hook"))
    assert bases.CA_BUNDLE in hooks
    assert 'ln -sf python3 "$1/usr/bin/python"' in hooks
    # pip and setuptools come from here when the builder makes its environment.
    assert "python-wheels" not in hooks
    assert "ensurepip" not in hooks


@pytest.mark.parametrize("role", ["python", "nginx"])
def test_the_hooks_stay_inside_the_new_root(role: bases.Role, tmp_path: Path) -> None:
    root = tmp_path / "root with a space"
    for folder in ("usr/bin", "usr/lib/x/perl5", "usr/lib/python3.11/test", "etc/apt", "var/cache/apt", "var/log"):
        (root / folder).mkdir(parents=True)
    (root / "etc/apt/sources.list").write_text("deb http://user:password@mirror.example x main")
    (root / "usr/bin/perl").touch()
    for part in bases.base_command(role, bases.Distribution("debian", "12", "bookworm")):
        if part.startswith("--customize-hook="):
            hook = part.removeprefix("--customize-hook=")
            subprocess.run(["sh", "-ec", hook, "exec", str(root)], check=True, cwd=tmp_path)
    assert not (root / "etc/apt/sources.list").exists()
    assert not (root / "usr/bin/perl").exists()
    assert not (root / "usr/lib/x/perl5").exists()
    assert (root / "usr/lib/python3.11/test").exists() == (role == "nginx")
    assert [path.name for path in tmp_path.iterdir()] == [root.name]


def test_missing_and_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "host_distribution", lambda: bases.Distribution("debian", "12", "bookworm"))
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(bases, "_as_root", lambda: None)
    with pytest.raises(OrchestratorError, match="is missing") as error, bases.make_base("python", print, install=False):
        pass
    assert "--setup" in error.value.hint
    with pytest.raises(OrchestratorError, match="needs root") as error, bases.make_base("python", print, install=True):
        pass
    assert "sudo apt-get install mmdebstrap" in error.value.hint


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An mmdebstrap of a few lines on the PATH; the test writes its body."""
    monkeypatch.setattr(bases, "host_distribution", lambda: bases.Distribution("debian", "12", "bookworm"))
    monkeypatch.setattr(bases, "_as_root", lambda: None)
    monkeypatch.setattr(bases, "POLL_SECONDS", 0.01)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    script = tmp_path / "mmdebstrap"
    script.touch(0o755)
    apt_config = tmp_path / "apt-config"
    apt_config.write_text("#!/bin/sh\n")
    apt_config.chmod(0o755)
    return script


def test_progress_and_the_tar(stand_in: Path) -> None:
    stand_in.write_text(
        "#!/bin/sh\necho 'I: running apt-get update...' >&2\necho 'I: creating tarball...' >&2\nprintf tar\n"
    )
    said: list[str] = []
    with bases.make_base("nginx", said.append, install=False) as base:
        assert base.tar.read() == b"tar"
        assert base.tag == "golinks-base-nginx:debian-12"
        assert base.changes == bases.CHANGES
    assert base.tar.closed
    assert said == ["nginx base: asking the mirror for its packages", "nginx base: packing"]


def test_a_failure_shows_its_own_last_words(stand_in: Path) -> None:
    stand_in.write_text("#!/bin/sh\necho 'I: creating tarball...' >&2\necho 'E: no space left' >&2\nexit 25\n")
    with pytest.raises(OrchestratorError) as error, bases.make_base("python", print, install=False):
        pass
    assert error.value.detail[-1] == "E: no space left"
    assert "PYTHON_IMAGE" in error.value.hint


def test_an_interruption_ends_the_command_and_its_children(stand_in: Path, tmp_path: Path) -> None:
    mark = tmp_path / "cleaned"
    stand_in.write_text(
        f"#!/bin/sh\ntrap 'touch {mark}; exit 1' TERM\necho 'I: creating tarball...' >&2\nsleep 60 &\nwait\n"
    )

    def interrupted(_line: str) -> None:
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), bases.make_base("python", interrupted, install=False):
        pass
    assert mark.exists()
    assert time.monotonic() - started < 10
