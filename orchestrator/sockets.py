"""Whether an engine answers at a Unix socket: one `GET /_ping`, about a millisecond."""

from __future__ import annotations

import errno
import socket
from enum import Enum


class SocketState(Enum):
    """What a socket's path leads to."""

    ABSENT = "absent"
    REFUSED = "refused"  # left behind: nobody listens
    DENIED = "denied"  # the file's permissions keep us out
    SILENT = "silent"  # somebody listens, and gives no good answer in time
    ANSWERS = "answers"


def socket_state(path: str, timeout: float) -> SocketState:
    """The state of the engine's socket at `path`, found within about `timeout` seconds."""
    if not hasattr(socket, "AF_UNIX"):
        return SocketState.ABSENT
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
        except OSError as error:
            if isinstance(error, TimeoutError) or error.errno == errno.EAGAIN:
                return SocketState.SILENT
            if error.errno in (errno.EACCES, errno.EPERM):
                return SocketState.DENIED
            return SocketState.REFUSED if error.errno == errno.ECONNREFUSED else SocketState.ABSENT
        try:
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            answer = connection.recv(64)
        except OSError:
            return SocketState.SILENT
    status = answer.split(b" ", 2)[1:2]
    return SocketState.ANSWERS if status == [b"200"] else SocketState.SILENT
