"""Starts dockerd the way this machine starts services, waits until it answers, and stops what was started here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator import packages
from orchestrator.errors import NoEngine
from orchestrator.packages import Say
from orchestrator.sockets import SocketState, socket_state

_children: list[subprocess.Popen[bytes]] = []
"""Daemons started by this process: kept, so that they are reaped when they end and not waited for when we do."""


@dataclass(frozen=True)
class Daemon:
    """Where an engine has its socket, process id and log; `arguments` are dockerd's when it is started directly.

    `services` says whether the machine's service manager knows this daemon, which is tried first then.
    """

    socket: str = "/var/run/docker.sock"
    pidfile: str = "/var/run/docker.pid"
    log: str = "/var/log/dockerd.log"
    arguments: tuple[str, ...] = ()
    services: bool = True


DEFAULT = Daemon()


@dataclass(frozen=True)
class Engine:
    """An engine that was started here: its process (0 where unknown), or `stop`, the command that stops its service."""

    pid: int
    stop: tuple[str, ...] = ()


def start(daemon: Daemon, *, root: tuple[str, ...], say: Say, timeout: float = 60.0) -> Engine:
    """Start an engine and wait until its socket answers or refuses us, at most `timeout` seconds; raises NoEngine."""
    up = (SocketState.ANSWERS, SocketState.DENIED)
    if socket_state(daemon.socket, 2.0) in up:  # the package's own script may have started it
        return Engine(_pid(daemon))
    for command, stop in _service_commands() if daemon.services else ():
        say(" ".join(command))
        outcome = packages.run([*root, *command], waiting=lambda: say("still at it"))
        if outcome.status == 0 and wait_for(daemon.socket, min(timeout, 20.0)) in up:
            return Engine(_pid(daemon), (*root, *stop) if stop else ())
    return _start_directly(daemon, root=root, say=say, timeout=timeout)


def _service_commands() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """(start, stop) of this machine's service manager; an empty stop: by the process id."""
    if Path("/run/systemd/system").is_dir():
        # Its unit is started again after a plain SIGTERM, and its socket unit starts it on the next connection.
        stop = ("systemctl", "stop", "docker.socket", "docker.service")
        return [(("systemctl", "start", "docker"), stop)]
    if os.access("/etc/init.d/docker", os.X_OK) and shutil.which("service"):
        return [(("service", "docker", "start"), ())]
    return []


def _start_directly(daemon: Daemon, *, root: tuple[str, ...], say: Say, timeout: float) -> Engine:
    say(f"dockerd (its log: {daemon.log})")
    log = Path(daemon.log)
    before = log.stat().st_size if log.exists() else 0
    # The shell, and not we, opens the log: with sudo only the other side of it may.
    script = 'log=$0; exec "$@" >>"$log" 2>&1'
    process = subprocess.Popen(
        [*root, "sh", "-c", script, daemon.log, "dockerd", *daemon.arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C, and a terminal that is closed, are not for it
        cwd="/",
    )
    _children.append(process)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if socket_state(daemon.socket, 2.0) in (SocketState.ANSWERS, SocketState.DENIED):
            return Engine(_pid(daemon) or process.pid)
        # Where another process was quicker ours ends at once, and theirs is as good.
        if process.poll() is not None and not _alive(_pid(daemon)):
            message = f"The engine ended at once, with status {process.returncode}"
            raise NoEngine(message, hint=f"Its log: {daemon.log}", detail=_log_lines(log, before))
        time.sleep(0.05)
    message = f"The engine was started and does not answer after {timeout:.0f} s"
    raise NoEngine(message, hint=f"Its log: {daemon.log}", detail=_log_lines(log, before))


def wait_for(path: str, timeout: float) -> SocketState:
    """Wait until the socket answers or refuses us permission; gives its last state, after `timeout` seconds any."""
    deadline = time.monotonic() + timeout
    while True:
        state = socket_state(path, 2.0)
        if state in (SocketState.ANSWERS, SocketState.DENIED) or time.monotonic() >= deadline:
            return state
        time.sleep(0.05)


def stop(engine: Engine, *, timeout: float = 30.0) -> bool:
    """Stop an engine that `start` gave, by its service or its process id; False if it is there after `timeout` s."""
    if engine.stop:
        return packages.run(engine.stop).status == 0
    if not _alive(engine.pid):
        return True
    try:
        os.kill(engine.pid, signal.SIGTERM)
    except PermissionError:
        packages.run([*(packages.privilege() or ()), "kill", "-TERM", str(engine.pid)])
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for child in _children:
            child.poll()
        if not _alive(engine.pid):
            return True
        time.sleep(0.05)
    return False


def _pid(daemon: Daemon) -> int:
    try:
        return int(Path(daemon.pidfile).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _log_lines(log: Path, since: int) -> tuple[str, ...]:
    try:
        with log.open("rb") as file:
            file.seek(since)
            return packages.last_lines(file.read().decode(errors="replace"))
    except OSError as error:
        return (f"{log}: {error.strerror}",)
