"""What goes on inside a container: its files, commands in it, what it writes, and how it fares."""

from __future__ import annotations

import math
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import IO, Any

import requests
from docker.errors import APIError, NotFound
from docker.utils.socket import STDERR

from orchestrator.engine.client import Client, translated
from orchestrator.errors import OrchestratorError
from orchestrator.state import unix_time
from orchestrator.tars import members, tar_of


class Inside(Client):
    """The calls of an engine that reach into a container or follow it."""

    def write_files(self, container: str, folder: str, files: Mapping[str, bytes]) -> None:
        """Files below a folder of one of the container's volumes, owned by its user; the container need not run."""
        with translated(f"write {', '.join(files)} in {container}"):
            user = str(self.api.inspect_container(container)["Config"].get("User"))
            self.api.put_archive(container, folder, tar_of(files, user if user[:1].isdigit() else "0"))

    def read_file(self, container: str, path: str) -> str:
        """The text of a small file in a container, or "" when there is none."""
        return self.read_folder(container, path).get("", b"").decode()

    def read_folder(self, container: str, path: str) -> dict[str, bytes]:
        """The small files below a path in a container, by their path below it; none when it is not there."""
        with translated(f"read {path} in {container}"):
            try:
                chunks, _ = self.api.get_archive(container, path)
            except NotFound:
                return {}
            return dict(members(b"".join(chunks)))

    def archive(self, container: str, path: str) -> Iterator[bytes]:
        """A tar stream of `path`, in pieces; for files of any size."""
        with translated(f"copy {path} out of {container}"):
            chunks, _ = self.api.get_archive(container, path, chunk_size=1024 * 1024)
            yield from chunks

    def run_in(self, container: str, command: Iterable[str]) -> tuple[int, str]:
        """Runs a command in a running container: its exit code, and what it printed."""
        command = list(command)
        with translated(f"run {' '.join(command)} in {container}"):
            made = self.api.exec_create(container, command)
            output = b"".join(piece for _, piece in self._frames(made["Id"]))
            return self.exit_code(made["Id"]), output.decode(errors="replace")

    def stream_in(
        self, container: str, command: Iterable[str], out: IO[bytes], err: IO[bytes], given: int | None = None
    ) -> int:
        """Runs a command in a running container and hands its output on as it comes; its exit code.

        `given`: a descriptor, what is read from which until its end is the command's standard input.
        """
        command = list(command)
        with translated(f"run {' '.join(command)} in {container}"):
            made = self.api.exec_create(container, command, stdin=given is not None)
            for number, piece in self._frames(made["Id"]) if given is None else self._fed(made["Id"], given):
                stream = err if number == STDERR else out
                stream.write(piece)
                stream.flush()
            return self.exit_code(made["Id"])

    def _frames(self, exec_id: str) -> Iterator[tuple[int, bytes]]:
        """Starts an exec: (stream, what was written to it) as it comes.

        docker-py's exec_start reads from the socket, past the buffer of the answer's head: what comes together with
        the head is lost there. Without an upgrade of the connection, the output is the answer's body.
        """
        api: Any = self.api
        answer = api._post_json(api._url("/exec/{0}/start", exec_id), data={"Tty": False, "Detach": False}, stream=True)
        with closing(answer):
            api._raise_for_status(answer)
            with suppress(AttributeError):  # over ssh there is no socket, and no timeout on it
                api._disable_socket_timeout(api._get_raw_response_socket(answer))
            yield from _frames_in(answer.raw.read)

    def _fed(self, exec_id: str, given: int) -> Iterator[tuple[int, bytes]]:
        """The same of an exec that has an input, which a thread brings it: the command may end before the input does.
        Here the connection is upgraded, for its one half ends before the other."""
        api: Any = self.api
        connection = api.exec_start(exec_id, socket=True)
        answer = getattr(connection, "_response", connection)
        with closing(answer):
            api._disable_socket_timeout(connection)
            feeding = (given, getattr(connection, "_sock", connection))
            threading.Thread(target=_feed, args=feeding, name="stdin", daemon=True).start()
            # Not the socket, from which the buffer of the answer's head has read already.
            yield from _frames_in(answer.raw._fp.fp.read)

    @property
    def takes_input(self) -> bool:
        """Whether a command can be told that its input ends: Python's TLS has no end of one half of a connection."""
        return not self.api.base_url.startswith("https")

    @contextmanager
    def open_terminal(self, container: str, command: Iterable[str]) -> Iterator[tuple[str, socket.socket, bytes]]:
        """Starts a command with a terminal of its own: the exec's id, the connection to it until the block ends, and
        what has come of it already."""
        with translated(f"run a command in {container}"):
            made = self.api.exec_create(container, list(command), stdin=True, tty=True)
            connection: Any = self.api.exec_start(made["Id"], tty=True, socket=True)
        # docker-py hangs the answer on the connection, and both are a cycle: unless the answer is closed, the
        # descriptor stays open until the garbage collector comes by.
        answer = getattr(connection, "_response", connection)
        try:
            # A local socket is wrapped in a file object; a remote one comes as it is.
            yield made["Id"], getattr(connection, "_sock", connection), _buffered(answer)
        finally:
            answer.close()

    def resize_terminal(self, exec_id: str, rows: int, columns: int) -> None:
        with translated("resize the terminal"):
            self.api.exec_resize(exec_id, height=rows, width=columns)

    def exit_code(self, exec_id: str) -> int:
        with translated("ask how the command ended"):
            return int(self.api.exec_inspect(exec_id)["ExitCode"] or 0)

    # Watching

    def logs(self, container: str, tail: int = 20) -> list[str]:
        """The last lines that a container wrote, oldest first; none if it is gone."""
        with translated(f"read the log of {container}"):
            try:
                text: bytes = self.api.logs(container, tail=tail)
            except (NotFound, APIError):
                return []
            return text.decode(errors="replace").splitlines()

    def follow(
        self,
        container: str,
        *,
        tail: int | None,
        follow: bool,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[bytes]:
        """A container's log with timestamps, in pieces that end where the engine's do: its last `tail` lines (None:
        all) of the time between two moments."""
        begin, end = (at and at.timestamp() for at in (since, until))
        with translated(f"read the log of {container}"):
            yield from self.api.logs(
                container,
                stream=True,
                follow=follow,
                tail="all" if tail is None else tail,
                timestamps=True,
                since=begin,
                until=end,
            )

    def output(self, container: str) -> Iterator[bytes]:
        """What a container writes to its standard output from its start to its end."""
        with translated(f"read the output of {container}"):
            yield from self.api.logs(container, stream=True, follow=True, stderr=False)

    def start_fed(self, container: str, pieces: Iterable[bytes]) -> None:
        """Starts a container and writes the pieces to its standard input, over the engine's connection alone. One that
        ends before it has read all is no error here: what it says tells why."""
        with translated(f"attach to {container}"):
            connection: Any = self.api.attach_socket(container, params={"stdin": 1, "stream": 1})
        try:
            with translated(f"start container {container}"):
                self.api.start(container)
            with suppress(ConnectionError):
                for piece in pieces:
                    getattr(connection, "_sock", connection).sendall(piece)
        finally:
            getattr(connection, "_response", connection).close()

    def events(self, container: str, since: str, seconds: float) -> Iterator[tuple[str, str]]:
        """The container's events, (what happened, exit code or ""), in the `seconds` from `since` on.

        Both ends are on the engine's clock, and past events are replayed, so nothing is missed between a start and
        this call. A health event is named `health_status: healthy`.
        """
        whole, fraction = unix_time(since)
        with translated(f"watch container {container}"):
            # The API takes fractions of a second, which docker-py's signature does not say.
            start: Any = f"{whole}.{fraction}"
            mine: dict[str, Any] = {"container": container, "type": "container"}
            until = whole + math.ceil(seconds)
            stream: Iterable[dict[str, Any]] = self.api.events(since=start, until=until, filters=mine, decode=True)
            for event in stream:
                # The engine's filter takes the beginning of a name for the name.
                if event.get("Actor", {}).get("Attributes", {}).get("name") != container:
                    continue
                action = str(event.get("Action") or event.get("status") or "")
                yield action, str(event.get("Actor", {}).get("Attributes", {}).get("exitCode", ""))

    def wait(self, container: str, timeout: float) -> int:
        """The exit code of a container when it has ended; OrchestratorError after `timeout` seconds."""
        with translated(f"wait for {container}"):
            try:
                return int(self.api.wait(container, timeout=math.ceil(timeout))["StatusCode"])
            except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError) as error:
                # The answer's head comes at once, so its body is what is waited for: requests' other error.
                if "timed out" not in str(error):
                    raise
                raise OrchestratorError(f"{container} did not end within {timeout:.0f} s.") from error


def _frames_in(read: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    """(stream, what was written to it), of a connection that carries several streams.
    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach"""
    while len(head := read(8)) == 8:
        number, size = struct.unpack(">BxxxL", head)
        yield number, read(size)


def _feed(given: int, connection: socket.socket) -> None:
    # A command that has ended reads no more, and nothing is wrong with that.
    with suppress(OSError):
        while data := os.read(given, 65536):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def _buffered(answer: Any) -> bytes:
    """What was read from the connection together with the answer's head."""
    file = getattr(getattr(getattr(answer, "raw", None), "_fp", None), "fp", None)
    connection = getattr(getattr(file, "raw", None), "_sock", None)
    if file is None or connection is None:
        return b""
    timeout = connection.gettimeout()
    connection.setblocking(False)
    try:
        return bytes(file.peek())
    finally:
        connection.settimeout(timeout)
