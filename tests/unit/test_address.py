"""Which engine is meant, and what is told of one that can't be reached."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from orchestrator import address, host, settings
from orchestrator.address import Address, Tls
from orchestrator.engine.ssh import command
from orchestrator.errors import NoEngine
from orchestrator.unreachable import unreachable
from tests.unit.stacks import ROOT


def context(folder: Path, name: str, url: str, *, files: tuple[str, ...] = (), **more: object) -> None:
    """As `docker context create` writes it."""
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / key
    meta.mkdir(parents=True)
    document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": url, **more}}}
    (meta / "meta.json").write_text(json.dumps(document))
    for file in files:
        path = folder / "contexts" / "tls" / key / "docker" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    docker = tmp_path / ".docker"
    context(docker, "far", "ssh://far")
    context(docker, "tls", "tcp://far:2376", files=("ca.pem", "cert.pem", "key.pem"), SkipTLSVerify=False)
    context(docker, "careless", "tcp://far:2376", SkipTLSVerify=True)
    (docker / "config.json").write_text(json.dumps({"auths": {}, "currentContext": "far"}))
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "ssh://far"),
        ({"DOCKER_CONTEXT": "tls"}, "tcp://far:2376"),
        ({"DOCKER_CONTEXT": ""}, "ssh://far"),
        ({"DOCKER_CONTEXT": "default"}, None),
        ({"DOCKER_HOST": "unix:///x", "DOCKER_CONTEXT": "tls"}, "unix:///x"),
        ({"DOCKER_HOST": ""}, "ssh://far"),
        ({"DOCKER_CONFIG": "/nonexistent"}, None),
    ],
)
def test_precedence_is_that_of_the_docker_command(environment: dict[str, str], url: str | None, home: Path) -> None:
    found = address.chosen({"HOME": str(home), **environment})
    assert (found and found.url) == url


def test_without_a_home_nothing_is_chosen() -> None:
    assert address.chosen({}) is None


def test_certificates(home: Path) -> None:
    environment = {"HOME": str(home)}
    found = address.chosen(environment | {"DOCKER_CONTEXT": "tls"})
    assert found and found.tls and found.tls.verify
    assert found.tls.ca and found.tls.ca.endswith("/docker/ca.pem")
    assert found.tls.client and found.tls.client[1].endswith("/docker/key.pem")
    careless = address.chosen(environment | {"DOCKER_CONTEXT": "careless"})
    assert careless and careless.tls and (careless.tls.verify, careless.tls.ca) == (False, None)
    tcp = environment | {"DOCKER_HOST": "tcp://far:2376"}
    assert address.chosen(tcp) == Address("tcp://far:2376", "DOCKER_HOST")
    mine = address.chosen(tcp | {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(home)})
    assert mine and mine.tls == Tls(home, True)
    usual = address.chosen(tcp | {"DOCKER_TLS_VERIFY": "1"})
    assert usual and usual.tls == Tls(home / ".docker", True)


@pytest.mark.parametrize("text", ["{", "[1", "\xff"])
def test_a_configuration_that_cannot_be_read_is_no_other_choice(text: str, home: Path) -> None:
    (home / ".docker" / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(NoEngine, match="which may say where the engine is"):
        address.chosen({"HOME": str(home)})


def test_a_context_that_is_not_there(home: Path) -> None:
    with pytest.raises(NoEngine, match="there is no Docker context 'gone'") as caught:
        address.chosen({"HOME": str(home), "DOCKER_CONTEXT": "gone"})
    assert "docker context ls" in caught.value.hint


def test_a_context_is_used_where_engines_are_looked_for(home: Path) -> None:
    environment = {"HOME": str(home)}
    assert host.candidates(environment) == ()
    assert host.engine_url(environment) == "ssh://far"
    context(home / ".docker", "desktop", "unix:///nonexistent/docker.sock")
    facts = host.find_engine(environment | {"DOCKER_CONTEXT": "desktop"})
    advice = host.engine_advice(facts)
    assert advice.message == "No Docker engine answers at unix:///nonexistent/docker.sock, the context desktop"


def test_the_environments_choice_comes_before_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / ".env").write_text("DOCKER_HOST=ssh://file\nDOCKER_CERT_PATH=/certificates\n")

    def engine(**environ: str) -> dict[str, str]:
        return dict(settings.load(tmp_path, "production", environ).engine_environment)

    assert engine()["DOCKER_HOST"] == engine(DOCKER_HOST="")["DOCKER_HOST"] == "ssh://file"
    assert engine(DOCKER_HOST="unix:///x")["DOCKER_HOST"] == "unix:///x"
    assert engine(DOCKER_CONTEXT="far")["DOCKER_HOST"] == ""
    assert engine(DOCKER_CONTEXT="far")["DOCKER_CERT_PATH"] == "/certificates"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ssh://shop", ["-L", "/s:/var/run/docker.sock", "--", "shop", "exec cat"]),
        ("ssh://me@shop:2222", ["/s:/var/run/docker.sock", "-l", "me", "-p", "2222", "--", "shop", "exec cat"]),
        ("ssh://shop/run/user/7/docker.sock", ["-L", "/s:/run/user/7/docker.sock", "--", "shop", "exec cat"]),
        ("ssh://[::1]:22", ["-p", "22", "--", "::1", "exec cat"]),
    ],
)
def test_the_command_line_of_ssh(url: str, words: list[str]) -> None:
    made = command(url, Path("/s"), asks=True)
    assert made[-len(words) :] == words
    assert "BatchMode=yes" not in made
    assert "BatchMode=yes" in command(url, Path("/s"), asks=False)


@pytest.mark.parametrize(
    "url", ["ssh://", "ssh://-oX=y", "ssh://a:99999", "ssh://a:b@c", "ssh://a?b", "ssh://[", "ssh://a#b"]
)
def test_no_address_of_ssh(url: str) -> None:
    with pytest.raises(NoEngine) as caught:
        command(url, Path("/s"), asks=False)
    assert caught.value.hint
    assert "b@c" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "text", "message"),
    [
        ("unix:///x", "PermissionError(13, 'Permission denied')", "the Docker engine at unix:///x refuses this user."),
        ("unix:///x", "anything", "no Docker engine answers at unix:///x (DOCKER_HOST)."),
        ("ssh://a", "root@a: Permission denied (publickey).", "a does not let this user in by ssh."),
        ("ssh://a", "channel 2: open failed: administratively prohibited", "the sshd of a does not allow forwarding"),
        ("ssh://a", "[Errno 2] No such file or directory: 'ssh'", "there is no ssh on this machine."),
        ("ssh://a", "something new", "no Docker engine answers at ssh://a (DOCKER_HOST)."),
        ("tcp://a:1", "SSLError(1, '[SSL: WRONG_VERSION_NUMBER]')", "the engine at tcp://a:1 does not speak TLS."),
        ("tcp://a:1", "('timed out')", "no Docker engine answers at tcp://a:1 (DOCKER_HOST)."),
    ],
)
def test_why_it_cannot_be_reached(url: str, text: str, message: str) -> None:
    error = unreachable(Address(url, "DOCKER_HOST"), text)
    assert error.message.startswith(message)
    assert error.hint
    assert error.exit_code == 5
