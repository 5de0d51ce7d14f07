"""Who holds a port: the sentence behind "address already in use"."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from orchestrator import labels
from orchestrator.engine import Engine
from orchestrator.errors import OrchestratorError


def taken(container: str, engine: Engine) -> OrchestratorError:
    """The error for a container that could not be started since its published port is in use."""
    bindings = engine.inspect(container)["HostConfig"].get("PortBindings") or {}
    ports = [binding["HostPort"] for values in bindings.values() for binding in values or []]
    holders = [holder for port in ports if (holder := _holder(port, engine))]
    named = " and ".join(ports)
    return OrchestratorError(
        f"port {named} is in use{' by ' + ', '.join(holders) if holders else ''}.",
        hint="stop what uses it, or set HTTP_PORT to a free one (in .env or the environment).",
    )


def published(container: str, engine: Engine) -> tuple[str, int] | None:
    """Where this host reaches a container's first published port, if it has one."""
    bindings = engine.inspect(container)["HostConfig"].get("PortBindings") or {}
    for binding in (binding for values in bindings.values() for binding in values or []):
        every = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
        return every.get(binding["HostIp"], binding["HostIp"]), int(binding["HostPort"])
    return None


def require_free(container: str, engine: Engine) -> None:
    """Raises the error of `taken` where the container's published port is in use, unless it has it itself."""
    address = published(container, engine)
    bound = engine.inspect(container).get("NetworkSettings", {}).get("Ports") or {}
    if address and not any(bound.values()) and _in_use(address):
        raise taken(container, engine)


def _in_use(address: tuple[str, int]) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe:
        # Connections that have just ended do not count, as for whoever would listen.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _holder(port: str, engine: Engine) -> str:
    for summary in engine.publishing(port):
        project = (summary.get("Labels") or {}).get(labels.PROJECT)
        name = summary["Names"][0].removeprefix("/")
        return f"container {name}" + (f" of project {project}" if project else "")
    return process_listening(int(port)) if engine.is_local else ""


def process_listening(port: int, proc: Path = Path("/proc")) -> str:
    """`nginx (process 1234)` for a process of this host that listens on a TCP port; "" if it can't be seen."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(proc / "net" / table, port)}
    for folder in proc.glob("[0-9]*") if inodes else ():
        try:
            if any(str(link.readlink()) in inodes for link in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text().strip()} (process {folder.name})"
        except OSError:
            continue  # another user's process, or one that has ended
    return ""


def _listening(table: Path, port: int) -> list[str]:
    """Inodes of the sockets in state LISTEN (0A) on a port, from a table of proc(5)'s /proc/net/tcp."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].rsplit(":", 1)[1], 16) == port]
