"""The Docker engine of this machine: is there one, and how to come by one. Standard library only, no Docker SDK.

`find_engine` looks, `engine_advice` decides (pure), `ensure_engine` acts. One that runs is never touched.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from orchestrator import address, packages
from orchestrator import daemon as daemons
from orchestrator.address import Address
from orchestrator.daemon import DEFAULT, Daemon, Engine
from orchestrator.errors import NoEngine, OrchestratorError
from orchestrator.packages import Ask, Say
from orchestrator.sockets import SocketState, socket_state

APT_PACKAGES = ("docker.io", "iptables")
BY_HAND = {
    "fedora": "sudo dnf install -y moby-engine && sudo systemctl enable --now docker",
    "rhel": "sudo dnf install -y docker-ce (from Docker's own repository: docs.docker.com/engine/install), "
    "then sudo systemctl enable --now docker",
    "arch": "sudo pacman -S --noconfirm docker && sudo systemctl enable --now docker",
    "alpine": "sudo apk add docker && sudo rc-update add docker && sudo service docker start",
    "suse": "sudo zypper install -y docker && sudo systemctl enable --now docker",
    "opensuse": "sudo zypper install -y docker && sudo systemctl enable --now docker",
}
"""By the ID or ID_LIKE of /etc/os-release, the command that installs and starts an engine."""

DESKTOP = {
    "darwin": "Install and start Docker Desktop, OrbStack or colima (brew install colima docker && colima start).",
    "win32": "Install and start Docker Desktop, or use WSL 2 and run this inside it.",
}


class Action(Enum):
    """What is to be done about the engine."""

    NOTHING = "nothing"
    WAIT = "wait"
    START = "start"
    INSTALL = "install"
    TELL = "tell"


@dataclass(frozen=True)
class Facts:
    """What there is on this machine. `docker_host` is the address of an engine that was chosen, by `chosen_by`.

    `platform` is sys.platform, `distribution` the ID and ID_LIKE words of os-release. `sockets` are (path, state) in
    the order of preference. `group` is the group of a socket that refuses us ("" for none). `dockerd` is the path of
    the program, or "". `root` is what to put before commands that need root, None where we may not.
    """

    platform: str
    docker_host: str = ""
    chosen_by: str = ""
    sockets: tuple[tuple[str, SocketState], ...] = ()
    group: str = ""
    distribution: tuple[str, ...] = ()
    apt: bool = False
    dockerd: str = ""
    root: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Advice:
    """What to do: `message` and `hint` are the error where it is not (or can't be) done, `question` asks for consent.

    `url` is the address of the engine, where one is there.
    """

    action: Action
    message: str = ""
    hint: str = ""
    question: str = ""
    url: str = ""


def engine_answers(timeout: float = 2.0, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the engine that would be used answers within `timeout` seconds; a remote one is believed to."""
    found = address.chosen(environ)
    if found and not found.url.startswith("unix://"):
        return True
    return any(socket_state(path, timeout) is SocketState.ANSWERS for path in candidates(environ))


def engine_address(environ: Mapping[str, str] = os.environ, *, socket_path: str = DEFAULT.socket) -> Address:
    """The engine to use: the chosen one, else the first socket that answers, else the usual one. Raises NoEngine."""
    if found := address.chosen(environ):
        return found
    answering = (path for path in candidates(environ, socket_path) if socket_state(path, 2.0) is SocketState.ANSWERS)
    return Address(f"unix://{next(answering, socket_path)}")


def engine_url(environ: Mapping[str, str] = os.environ) -> str:
    """The address of the engine to use."""
    return engine_address(environ).url


def candidates(environ: Mapping[str, str], socket_path: str = DEFAULT.socket) -> tuple[str, ...]:
    """Where an engine may listen: the socket of the chosen one, else the system's, a rootless one, the desktops'."""
    if found := address.chosen(environ):
        return (found.url.removeprefix("unix://"),) if found.url.startswith("unix://") else ()
    paths = [socket_path]
    if environ.get("XDG_RUNTIME_DIR"):
        paths.append(f"{environ['XDG_RUNTIME_DIR']}/docker.sock")
    elif hasattr(os, "getuid"):
        paths.append(f"/run/user/{os.getuid()}/docker.sock")  # over ssh and from cron the variable is often not set
    if environ.get("HOME"):
        home = environ["HOME"]
        of_desktops = (".docker/run", ".docker/desktop", ".colima/default", ".orbstack/run")
        paths += [f"{home}/{folder}/docker.sock" for folder in of_desktops]
    return tuple(paths)


def find_engine(
    environ: Mapping[str, str] = os.environ,
    *,
    daemon: Daemon = DEFAULT,
    os_release: str = "/etc/os-release",
    timeout: float = 2.0,
) -> Facts:
    """Look at this machine; changes nothing."""
    found = address.chosen(environ)
    sockets = tuple((path, socket_state(path, timeout)) for path in candidates(environ, daemon.socket))
    refusing = next((path for path, state in sockets if state is SocketState.DENIED), "")
    return Facts(
        platform=sys.platform,
        docker_host=found.url if found else "",
        chosen_by=found.chosen_by if found else "",
        sockets=sockets,
        group=group_of(refusing) if refusing else "",
        distribution=distribution(os_release),
        apt=shutil.which("apt-get") is not None,
        dockerd=shutil.which("dockerd") or "",
        root=packages.privilege(),
    )


def group_of(path: str) -> str:
    """The name of the group that may use a socket; "" where only its owner may."""
    try:
        import grp

        gid = Path(path).stat().st_gid
        return grp.getgrgid(gid).gr_name if gid != 0 else ""
    except (ImportError, OSError, KeyError):
        return ""


def distribution(os_release: str = "/etc/os-release") -> tuple[str, ...]:
    """The ID and then the ID_LIKE words of os-release, () where there is none."""
    try:
        lines = Path(os_release).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return tuple(word for key in ("ID", "ID_LIKE") for word in values.get(key, "").strip("\"'").lower().split())


def engine_advice(facts: Facts) -> Advice:
    """What to do about the engine, from the facts alone."""
    first = {state: path for path, state in reversed(facts.sockets)}
    if facts.docker_host and not facts.docker_host.startswith("unix://"):
        return Advice(Action.NOTHING, url=facts.docker_host)
    if SocketState.ANSWERS in first:
        return Advice(Action.NOTHING, url=f"unix://{first[SocketState.ANSWERS]}")
    if SocketState.SILENT in first:
        path = first[SocketState.SILENT]
        message = f"An engine listens at {path} and does not answer"
        return Advice(Action.WAIT, message, "It may still be starting, or hang: see its log.", url=f"unix://{path}")
    if SocketState.DENIED in first:
        return _denied(first[SocketState.DENIED], facts.group)
    return _none(facts)


def _none(facts: Facts) -> Advice:
    if facts.docker_host:
        if facts.chosen_by.startswith("the context"):
            hint = "Start that engine, or `docker context use default` to use this machine's own."
            return Advice(Action.TELL, f"No Docker engine answers at {facts.docker_host}, {facts.chosen_by}", hint)
        hint = "Start that engine, or unset DOCKER_HOST to use this machine's own."
        return Advice(Action.TELL, f"No Docker engine answers at DOCKER_HOST={facts.docker_host}", hint)
    if facts.platform != "linux":
        hint = DESKTOP.get(facts.platform, "Install and start a Docker engine (docs.docker.com/engine/install).")
        return Advice(Action.TELL, "No Docker engine answers", hint)
    if facts.dockerd:
        by_hand = "sudo systemctl start docker, or sudo service docker start"
        return _act(Action.START, "Docker is installed, and no engine answers", "Start it now?", by_hand, facts)
    if not facts.apt:
        known = (BY_HAND[word] for word in facts.distribution if word in BY_HAND)
        hint = next(known, "Install and start Docker (docs.docker.com/engine/install)")
        return Advice(Action.TELL, "There is no Docker engine on this machine", f"{hint}; then run it again.")
    by_hand = f"{packages.by_hand(APT_PACKAGES)} && sudo service docker start"
    question = f"Install {' and '.join(APT_PACKAGES)} of this distribution and start it?"
    return _act(Action.INSTALL, "There is no Docker engine on this machine", question, by_hand, facts)


def _denied(path: str, group: str) -> Advice:
    hint = "Run it as root."
    if group:
        hint = f"Join its group: sudo usermod -aG {group} $USER, then log out and in again (or run: newgrp {group})."
    of_group = f" (it belongs to the group {group})" if group else ""
    return Advice(Action.TELL, f"The engine's socket {path} refuses you permission{of_group}", hint)


def _act(action: Action, message: str, question: str, by_hand: str, facts: Facts) -> Advice:
    if facts.root is None:
        return Advice(Action.TELL, f"{message}, and changing that needs root", f"Run: {by_hand}")
    hint = f"Run it again with --setup, which does this, or by hand: {by_hand}"
    return Advice(action, message, hint, f"{message}. {question}")


def ensure_engine(
    *,
    consent: bool,
    ask: Ask | None,
    say: Say,
    environ: Mapping[str, str] = os.environ,
    daemon: Daemon = DEFAULT,
    timeout: float = 60.0,
) -> Engine | None:
    """Have an engine that answers: None when there was one, else the one that was started.

    `consent` allows to install and start one, else `ask` is asked (None: nobody is there to answer). `timeout` is how
    many seconds the engine may take to answer. Raises NoEngine.
    """
    facts = find_engine(environ, daemon=daemon)
    advice = engine_advice(facts)
    if advice.action is Action.NOTHING:
        return None
    if advice.action is Action.WAIT:
        say("waiting for the engine to answer")
        path = advice.url.removeprefix("unix://")
        if daemons.wait_for(path, min(timeout, 30.0)) is SocketState.ANSWERS:
            return None
    if advice.action in (Action.WAIT, Action.TELL) or facts.root is None:
        raise NoEngine(advice.message, hint=advice.hint)
    if not consent and not (ask and ask(advice.question)):
        raise NoEngine(advice.message, hint=advice.hint)
    if advice.action is Action.INSTALL:
        try:
            packages.install(APT_PACKAGES, root=facts.root, say=say)
        except OrchestratorError as error:
            raise NoEngine(error.message, hint=error.hint, detail=error.detail) from error
    engine = daemons.start(daemon, root=facts.root, say=say, timeout=timeout)
    if socket_state(daemon.socket, 2.0) is SocketState.DENIED:
        denied = _denied(daemon.socket, group_of(daemon.socket))
        raise NoEngine(f"An engine has been started; {denied.message[0].lower()}{denied.message[1:]}", hint=denied.hint)
    say("the engine answers")
    return engine
