"""Coming by an engine: the advice from facts, and the effects with stand-ins for apt-get and dockerd on the PATH."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import daemon as daemons
from orchestrator import host, packages
from orchestrator.daemon import Daemon, Engine
from orchestrator.errors import NoEngine, OrchestratorError
from orchestrator.host import Action, Facts
from orchestrator.sockets import SocketState, socket_state

SOCKET = "/var/run/docker.sock"
DEBIAN = Facts(
    platform="linux", sockets=((SOCKET, SocketState.ABSENT),), distribution=("debian",), apt=True, root=("sudo", "-n")
)

DOCKERD = """#!{python}
import os, socket, sys, time
option = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print("starting", flush=True)
if "--fail" in option:
    sys.exit("failed to start daemon: " + option["--fail"])
time.sleep(float(option.get("--delay", "0")))
open(option["--pidfile"], "w").write(str(os.getpid()))
listener = socket.socket(socket.AF_UNIX)
listener.bind(option["--socket"])
listener.listen()
while True:
    connection, _ = listener.accept()
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\nOK")
    connection.close()
"""


def program(path: Path, text: str) -> None:
    """An executable script."""
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """A machine with a folder of its own before the PATH, where we are root, and a daemon with all its files here."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(packages, "privilege", lambda: ())
    sock, pidfile = str(tmp_path / "d.sock"), str(tmp_path / "d.pid")
    arguments = ("--socket", sock, "--pidfile", pidfile)
    return Daemon(sock, pidfile, str(tmp_path / "d.log"), arguments, services=False)


@pytest.fixture
def started() -> Iterator[list[Engine]]:
    """Engines to stop at the end."""
    engines: list[Engine] = []
    yield engines
    for engine in engines:
        assert daemons.stop(engine, timeout=10)


def silent(line: str) -> None:
    """Nobody reads the progress."""


def test_one_that_answers_is_left_alone() -> None:
    facts = replace(DEBIAN, sockets=((SOCKET, SocketState.DENIED), ("/home/me/d.sock", SocketState.ANSWERS)))
    advice = host.engine_advice(facts)
    assert (advice.action, advice.url) == (Action.NOTHING, "unix:///home/me/d.sock")


def test_a_remote_one_is_left_alone() -> None:
    advice = host.engine_advice(replace(DEBIAN, docker_host="ssh://me@server", sockets=()))
    assert (advice.action, advice.url) == (Action.NOTHING, "ssh://me@server")


@pytest.mark.parametrize(
    ("facts", "action", "words"),
    [
        (DEBIAN, Action.INSTALL, "apt-get install -y --no-install-recommends docker.io iptables"),
        (replace(DEBIAN, dockerd="/usr/sbin/dockerd"), Action.START, "service docker start"),
        (replace(DEBIAN, sockets=((SOCKET, SocketState.REFUSED),), dockerd="/d"), Action.START, "--setup"),
        (replace(DEBIAN, sockets=((SOCKET, SocketState.SILENT),)), Action.WAIT, "log"),
        (replace(DEBIAN, sockets=((SOCKET, SocketState.DENIED),), group="docker"), Action.TELL, "-aG docker $USER"),
        (replace(DEBIAN, sockets=((SOCKET, SocketState.DENIED),)), Action.TELL, "as root"),
        (replace(DEBIAN, root=None), Action.TELL, "sudo apt-get update && sudo apt-get install"),
        (
            replace(DEBIAN, docker_host="unix:///x.sock", sockets=(("/x.sock", SocketState.ABSENT),)),
            Action.TELL,
            "unset",
        ),
        (replace(DEBIAN, apt=False, distribution=("fedora",)), Action.TELL, "dnf install -y moby-engine"),
        (replace(DEBIAN, apt=False, distribution=("rocky", "rhel", "centos", "fedora")), Action.TELL, "docker-ce"),
        (replace(DEBIAN, apt=False, distribution=("alpine",)), Action.TELL, "apk add docker"),
        (replace(DEBIAN, apt=False, distribution=("arch",)), Action.TELL, "pacman -S"),
        (replace(DEBIAN, apt=False, distribution=("opensuse-leap", "suse")), Action.TELL, "zypper install"),
        (replace(DEBIAN, apt=False, distribution=()), Action.TELL, "docs.docker.com"),
        (replace(DEBIAN, platform="darwin"), Action.TELL, "colima"),
        (replace(DEBIAN, platform="win32"), Action.TELL, "WSL 2"),
    ],
)
def test_advice(facts: Facts, action: Action, words: str) -> None:
    advice = host.engine_advice(facts)
    assert advice.action is action
    assert words in advice.hint
    assert advice.message


def test_where_an_engine_may_listen() -> None:
    assert host.candidates({"DOCKER_HOST": "unix:///x.sock", "HOME": "/h"}) == ("/x.sock",)
    assert host.candidates({"DOCKER_HOST": "tcp://server:2376"}) == ()
    paths = host.candidates({"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/h"})
    assert paths[:2] == (SOCKET, "/run/user/7/docker.sock")
    assert "/h/.colima/default/docker.sock" in paths


def test_the_distribution_and_those_it_is_like(tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text('NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n# comment\n')
    assert host.distribution(str(file)) == ("linuxmint", "ubuntu", "debian")
    assert host.distribution(str(tmp_path / "absent")) == ()


def test_states_of_a_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    assert socket_state(path, 0.1) is SocketState.ABSENT
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        assert socket_state(path, 0.1) is SocketState.REFUSED
        listener.listen()
        assert socket_state(path, 0.1) is SocketState.SILENT


@pytest.mark.parametrize("answer", [b"HTTP/1.0 500 Internal Server Error\r\n\r\n", b"", b"hello"])
def test_a_bad_answer_is_none(tmp_path: Path, answer: bytes) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        assert socket_state(path, 2.0) is SocketState.SILENT
        server.join()


def test_a_socket_of_others() -> None:
    """Where the tests run as root, to whom nothing is denied, somebody else looks."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "s"
        Path(folder).chmod(0o755)
        listener.bind(str(path))
        path.chmod(0)
        me = os.geteuid()
        try:
            os.seteuid(me or 65534)
            assert socket_state(str(path), 0.1) is SocketState.DENIED
        finally:
            os.seteuid(me)


def test_installs_starts_and_stops(machine: Daemon, tmp_path: Path, started: list[Engine]) -> None:
    dockerd, calls = tmp_path / "bin" / "dockerd", tmp_path / "calls"
    program(tmp_path / "dockerd.new", DOCKERD.format(python=sys.executable))
    program(
        tmp_path / "bin" / "apt-get",
        f'#!/bin/sh\necho "$@" >>{calls}\ncase "$*" in *install*) cp {tmp_path}/dockerd.new {dockerd};; esac\n',
    )
    facts = host.find_engine({}, daemon=machine)
    if facts.dockerd:  # this machine has a real one further back on the PATH
        facts = replace(facts, dockerd="")
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "find_engine", lambda *_, **__: facts)
        engine = host.ensure_engine(consent=True, ask=None, say=said.append, environ={}, daemon=machine)
    assert engine is not None
    started.append(engine)
    assert calls.read_text().splitlines() == [
        "-q update",
        "-q install -y --no-install-recommends docker.io iptables",
    ]
    assert engine.pid == int(Path(machine.pidfile).read_text())
    assert said[-1] == "the engine answers"
    assert host.engine_address({}, socket_path=machine.socket).url == f"unix://{machine.socket}"
    again = host.ensure_engine(consent=True, ask=None, say=said.append, environ={}, daemon=machine)
    assert again is None, "one that runs is not touched"
    assert daemons.stop(engine, timeout=10)
    assert socket_state(machine.socket, 1.0) is SocketState.REFUSED


@pytest.mark.parametrize("answer", [None, False])
def test_without_consent_nothing_is_done(machine: Daemon, tmp_path: Path, answer: bool | None) -> None:
    program(tmp_path / "bin" / "dockerd", "#!/bin/sh\nexit 1\n")
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(NoEngine) as caught:
        host.ensure_engine(consent=False, ask=None if answer is None else ask, say=silent, environ={}, daemon=machine)
    assert caught.value.exit_code == 5
    assert "--setup" in caught.value.hint
    assert len(asked) == (0 if answer is None else 1)
    assert not Path(machine.log).exists()


def test_a_yes_is_consent(machine: Daemon, tmp_path: Path, started: list[Engine]) -> None:
    program(tmp_path / "bin" / "dockerd", DOCKERD.format(python=sys.executable))
    engine = host.ensure_engine(consent=False, ask=lambda _: True, say=silent, environ={}, daemon=machine)
    assert engine is not None
    started.append(engine)


def test_a_daemon_that_ends_is_told_with_its_last_lines(machine: Daemon, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "dockerd", DOCKERD.format(python=sys.executable))
    Path(machine.log).write_text("an earlier run\n")
    failing = replace(machine, arguments=("--fail", "iptables not found"))
    with pytest.raises(NoEngine, match="ended at once, with status 1") as caught:
        daemons.start(failing, root=(), say=silent)
    assert caught.value.detail == ("starting", "failed to start daemon: iptables not found")
    assert machine.log in caught.value.hint


def test_a_daemon_that_never_answers(machine: Daemon, tmp_path: Path, started: list[Engine]) -> None:
    program(tmp_path / "bin" / "dockerd", DOCKERD.format(python=sys.executable))
    slow = replace(machine, arguments=(*machine.arguments, "--delay", "30"))
    with pytest.raises(NoEngine, match="does not answer after 1 s") as caught:
        daemons.start(slow, root=(), say=silent, timeout=1.0)
    assert caught.value.detail == ("starting",)
    started.append(Engine(daemons._children[-1].pid))


def test_an_engine_that_hangs_is_not_doubled(machine: Daemon, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "dockerd", "#!/bin/sh\nexit 1\n")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(machine.socket)
        listener.listen()
        with (
            pytest.MonkeyPatch.context() as patch,
            pytest.raises(NoEngine, match="does not answer"),
        ):
            patch.setattr(host, "socket_state", lambda path, _: socket_state(path, 0.05))
            patch.setattr(daemons, "socket_state", lambda path, _: socket_state(path, 0.05))
            host.ensure_engine(consent=True, ask=None, say=silent, environ={}, daemon=machine, timeout=0.2)
    assert not Path(machine.log).exists()


def test_apt_waits_for_another_one(machine: Daemon, tmp_path: Path) -> None:
    program(
        tmp_path / "bin" / "apt-get",
        f"#!/bin/sh\n[ -e {tmp_path}/free ] && exit 0\ntouch {tmp_path}/free\n"
        "echo 'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)'\nexit 100\n",
    )
    said: list[str] = []
    packages.install(["curl"], root=(), say=said.append, pause=0.01)
    assert any("held by process 7" in line for line in said)


def test_apt_that_stays_locked(machine: Daemon, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "apt-get", "#!/bin/sh\necho 'E: Unable to acquire the dpkg frontend lock'\nexit 100\n")
    with pytest.raises(OrchestratorError) as caught:
        packages.install(["curl"], root=(), say=silent, patience=0.05, pause=0.01)
    assert "Another package manager" in caught.value.hint


def test_apt_that_fails_shows_its_last_lines(machine: Daemon, tmp_path: Path) -> None:
    lines = "\n".join(f"echo line {number}" for number in range(30))
    program(tmp_path / "bin" / "apt-get", f"#!/bin/sh\n{lines}\necho 'E: Unable to locate package x' >&2\nexit 100\n")
    with pytest.raises(OrchestratorError, match="status 100") as caught:
        packages.install(["x"], root=(), say=silent)
    assert caught.value.detail[-1] == "E: Unable to locate package x"
    assert len(caught.value.detail) == 18


def test_a_missing_program_is_an_outcome() -> None:
    assert packages.run(["no-such-program-here"]).status == 127


def test_waiting_is_told() -> None:
    ticks: list[int] = []
    assert packages.run(["sleep", "0.3"], waiting=lambda: ticks.append(1), every=0.05).status == 0
    assert ticks
