"""The load client's own process: requests that are sent when they are due, whether or not earlier ones were answered.

A small HTTP/1.1 client on asyncio, since a general one costs more time than the service that it measures. All times are
seconds of `time.monotonic()`, which on Linux is the same clock in every process.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

NEW, KEPT, SLOW, WRITE = "new", "kept", "slow", "write"
#: Seconds that one request may take.
PATIENCE = 15.0
#: A kept connection that ends without an answer later than this many seconds after the request was not idle: the server
#: had the request.
IDLE = 0.5
#: Requests that may be waited for at the same time; what is due beyond that counts as failed.
OUTSTANDING = 2000
EXPECTED = (200, 201, 302)
TARGET = "https://example.com/"


class Result(NamedTuple):
    """One request. `late` and `latency` count from the moment it was due: until it was begun, and until its answer was
    complete. `status` is 0 where no answer came; `error` is "" where it was the expected one; `name` is the link that
    a write makes."""

    kind: str
    due: float
    late: float
    latency: float
    status: int
    error: str
    name: str


@dataclass(frozen=True)
class Traffic:
    """What is sent, in requests a second; `kept` clients send `kept_rate` each. No `slow_path`: no slow requests."""

    host: str
    port: int
    mark: str
    slow_path: str = ""
    new: float = 100.0
    kept: int = 10
    kept_rate: float = 5.0
    slow: float = 5.0
    writes: float = 20.0

    @property
    def link(self) -> str:
        """The link that is followed and read."""
        return f"load-{self.mark}"

    @property
    def kinds(self) -> set[str]:
        """The kinds of requests that there are."""
        rates = {NEW: self.new, KEPT: self.kept * self.kept_rate, WRITE: self.writes}
        return {kind for kind, rate in rates.items() if rate} | ({SLOW} if self.slow_path and self.slow else set())


class NoAnswer(Exception):
    """The connection ended before the first byte of an answer."""


class Answer(NamedTuple):
    """`kept`: the connection may be used again."""

    status: int
    body: bytes
    kept: bool


class Connection:
    """One connection, made by the first request."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Answer:
        """Sends a request and reads the whole answer; NoAnswer, OSError, EOFError or ValueError when that fails."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._to)
        reader, writer = self._streams
        try:
            writer.write(request)
            await writer.drain()
            first = await reader.read(1)
        except ConnectionError as error:
            raise NoAnswer(repr(error)) from error
        if not first:
            raise NoAnswer("closed without an answer")
        return await _rest_of_answer(first, reader)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _rest_of_answer(first: bytes, reader: asyncio.StreamReader) -> Answer:
    head = first + await reader.readuntil(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    version, status = start.split(" ")[:2]
    if version != "HTTP/1.1":
        raise ValueError(f"not an HTTP/1.1 answer: {start[:100]!r}")
    kept = headers.get("connection", "").lower() != "close"
    if status in ("204", "304"):
        body = b""
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:size]
        await reader.readuntil(b"\r\n")
    else:
        raise ValueError("an answer without a length")
    return Answer(int(status), body, kept)


@dataclass
class Client:
    """Sends the traffic until `stop`; `results` and the times of `idle_closed` are what came of it."""

    traffic: Traffic
    results: list[Result] = field(default_factory=list)
    idle_closed: list[float] = field(default_factory=list)
    _ended: float = float("inf")
    _outstanding: set[asyncio.Task[None]] = field(default_factory=set)

    def stop(self) -> None:
        """Nothing more is due from now on; what is outstanding is still waited for."""
        self._ended = min(self._ended, time.monotonic())

    async def run(self, flowing: Callable[[], None]) -> None:
        """Sends until stopped, then waits for what is outstanding; calls `flowing` when each kind has been answered.

        OSError when the link that the others ask for cannot be made.
        """
        await self._one(WRITE, time.monotonic(), self._write(self.traffic.link), self.traffic.link)
        if self.results[0].error:
            raise OSError(self.results[0].error)
        start = time.monotonic() + 0.05
        traffic = self.traffic
        streams = [
            self._stream(NEW, start, traffic.new, self._read),
            self._stream(WRITE, start + 0.003, traffic.writes, lambda number: self._write(f"{traffic.link}-{number}")),
            self._stream(SLOW, start + 0.006, traffic.slow if traffic.slow_path else 0, self._slow),
        ]
        step = 1 / (traffic.kept * traffic.kept_rate) if KEPT in traffic.kinds else 0
        streams += [self._keep(start + 0.009 + number * step) for number in range(traffic.kept)]
        await asyncio.gather(*streams, self._tell(flowing))
        while self._outstanding:
            await asyncio.wait(self._outstanding)

    # Requests

    def _get(self, path: str, connection: str = "close") -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: {self.traffic.host}\r\nConnection: {connection}\r\n\r\n".encode()

    def _read(self, number: int) -> bytes:
        # A redirect is what the service is for; some go the API's way.
        return self._get(f"/.api/links/{self.traffic.link}" if number % 4 == 3 else f"/{self.traffic.link}")

    def _slow(self, number: int) -> bytes:
        return self._get(f"{self.traffic.slow_path}?{number}")

    def _write(self, name: str) -> bytes:
        body = json.dumps({"name": name, "url": TARGET})
        return (
            f"POST /.api/links HTTP/1.1\r\nHost: {self.traffic.host}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    # Sending

    async def _due(self, due: float) -> bool:
        """Waits for the moment; False when the traffic ends before it."""
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        return due < self._ended

    async def _stream(self, kind: str, start: float, rate: float, request: Callable[[int], bytes]) -> None:
        """One request every 1/rate seconds, each on a connection of its own."""
        if not rate:
            return
        for number, due in _moments(start, rate):
            if not await self._due(due):
                return
            if len(self._outstanding) >= OUTSTANDING:
                self._failed(kind, due, due, f"not sent: {OUTSTANDING} are outstanding")
                continue
            name = f"{self.traffic.link}-{number}" if kind == WRITE else ""
            task = asyncio.create_task(self._one(kind, due, request(number), name))
            self._outstanding.add(task)
            task.add_done_callback(self._outstanding.discard)

    async def _keep(self, start: float) -> None:
        """One client with one connection: its next request waits for the answer before, but is due at its time."""
        connection = Connection(self.traffic.host, self.traffic.port)
        used = False
        for number, due in _moments(start, self.traffic.kept_rate):
            if not await self._due(due):
                break
            request = self._get(f"/{self.traffic.link}?{number}", "keep-alive")

            async def ask(request: bytes = request, used: bool = used) -> Answer:
                began = time.monotonic()
                try:
                    return await connection.ask(request)
                except NoAnswer:
                    if not used or time.monotonic() - began > IDLE:
                        raise
                # What every client does with a GET when its idle connection turns out to be closed.
                self.idle_closed.append(time.monotonic())
                connection.close()
                return await connection.ask(request)

            used = await self._take(KEPT, due, ask)
            if not used:
                connection.close()
        connection.close()

    async def _one(self, kind: str, due: float, request: bytes, name: str) -> None:
        connection = Connection(self.traffic.host, self.traffic.port)
        try:
            await self._take(kind, due, lambda: connection.ask(request), name)
        finally:
            connection.close()

    async def _take(self, kind: str, due: float, ask: Callable[[], Awaitable[Answer]], name: str = "") -> bool:
        """Asks and records the result; whether the connection may be used again."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await ask()
        except TimeoutError:
            self._failed(kind, due, began, f"no answer within {PATIENCE:.0f} s")
            return False
        except (NoAnswer, OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            self._failed(kind, due, began, f"{type(error).__name__}: {error}")
            return False
        expected = answer.status == 201 if kind == WRITE else answer.status in EXPECTED
        text = "" if expected else f"status {answer.status} {answer.body[:100]!r}"
        self._record(kind, due, began, answer.status, text, name)
        return answer.kept

    def _failed(self, kind: str, due: float, began: float, text: str) -> None:
        self._record(kind, due, began, 0, text)

    def _record(self, kind: str, due: float, began: float, status: int, text: str, name: str = "") -> None:
        self.results.append(Result(kind, due, began - due, time.monotonic() - due, status, text, name))

    async def _tell(self, flowing: Callable[[], None]) -> None:
        seen = 1  # the link's own
        missing = self.traffic.kinds
        while missing and self._ended == float("inf"):
            await asyncio.sleep(0.02)
            missing -= {result.kind for result in self.results[seen:]}
            seen = len(self.results)
        if not missing:
            flowing()


def _moments(start: float, rate: float) -> Iterator[tuple[int, float]]:
    number = 0
    while True:
        yield number, start + number / rate
        number += 1
