"""An engine on another host, by the system's ssh and all that its configuration says: agent, keys, jump hosts, aliases.

The engine's socket there becomes one here, and is used as any other. docker-py's own way starts an ssh for each
connection, needs paramiko although it does not use it, and has no timeouts and no attached terminals.
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.address import Address
from orchestrator.errors import NoEngine
from orchestrator.unreachable import unreachable

#: The engine's socket on the other host, where the address has no path.
SOCKET = "/var/run/docker.sock"
#: Seconds for the connection, and for all of it: a person may have to type a passphrase.
CONNECT, READY = 15, 120.0
OPTIONS = {
    "ExitOnForwardFailure": "yes",
    "ConnectTimeout": str(CONNECT),
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
    # A shared connection would keep our socket when we have gone.
    "ControlMaster": "no",
    "ControlPath": "none",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}


class Tunnel:
    """A socket here that leads to the engine's there, as long as this process lives."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._folder = Path(tempfile.mkdtemp(prefix="orchestrator-"))
        self.socket = self._folder / "docker.sock"
        self._said = (self._folder / "ssh.log").open("w+b")
        atexit.register(self.close)
        try:
            self._process = self._start(command(address.url, self.socket, asks=sys.stdin.isatty()))
            self._wait()
        except BaseException:
            self.close()
            raise

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        # Ctrl-C is ours: what was begun must still be undone through this connection.
        shielded = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *words]
        if shutil.which("ssh") is None:
            raise unreachable(self.address, "No such file or directory: 'ssh'")
        return subprocess.Popen(shielded, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._said)

    def _wait(self) -> None:
        end = time.monotonic() + READY
        while not self.socket.exists():
            if self._process.poll() is not None or time.monotonic() > end:
                raise unreachable(self.address, self.said() or "timed out")
            time.sleep(0.02)

    def said(self) -> str:
        """What ssh has said."""
        self._said.flush()
        return (self._folder / "ssh.log").read_text(errors="replace")

    def close(self) -> None:
        """Ends it; what it led to is not reached any more."""
        atexit.unregister(self.close)
        process = getattr(self, "_process", None)
        if process is not None:
            process.terminate()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
        self._said.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def command(url: str, socket: Path, *, asks: bool) -> list[str]:
    """ssh's command line; `asks`: a person is there to be asked for a passphrase. Raises NoEngine."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise NoEngine(f"{url} is no address of ssh ({error}).", hint="it is written ssh://user@host:port.") from error
    host = parts.hostname
    if not host or host.startswith("-") or parts.query or parts.fragment:
        raise NoEngine(f"{url} is no address of ssh.", hint="it is written ssh://user@host:port.")
    if parts.password is not None:
        raise NoEngine("an address of ssh has no password in it.", hint="ssh's agent or ~/.ssh/config gives a key.")
    options = OPTIONS | ({} if asks else {"BatchMode": "yes"})
    words = ["ssh", "-T", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    words += ["-L", f"{socket}:{parts.path.rstrip('/') or SOCKET}"]
    words += ["-l", parts.username] if parts.username else []
    words += ["-p", str(port)] if port else []
    # When this process is gone, however it ended, its end of the pipe is closed: so the command there ends, and ssh.
    return [*words, "--", host, "exec cat"]
