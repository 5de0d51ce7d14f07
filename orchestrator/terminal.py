"""A person's terminal joined to a command in a container."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import sys
import termios
import tty

from orchestrator.engine import Engine


def attach(engine: Engine, container: str, command: list[str]) -> int:
    """Runs `command` with this terminal as its own, in raw mode until it ends; returns its exit code."""
    with engine.open_terminal(container, command) as (exec_id, connection, early):
        os.write(sys.stdout.fileno(), early)
        _joined(engine, exec_id, connection)
    return engine.exit_code(exec_id)


def _joined(engine: Engine, exec_id: str, connection: socket.socket) -> None:
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()

    def resize(*_: object) -> None:
        columns, rows = shutil.get_terminal_size()
        engine.resize_terminal(exec_id, rows, columns)

    before = termios.tcgetattr(stdin)
    handler = signal.signal(signal.SIGWINCH, resize)
    try:
        tty.setraw(stdin)
        resize()
        while True:
            ready, _, _ = select.select([stdin, connection], [], [])
            if connection in ready:
                data = connection.recv(65536)
                if not data:
                    break
                os.write(stdout, data)
            if stdin in ready:
                connection.sendall(os.read(stdin, 65536))
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)
