"""The load client against small servers that misbehave: it is the judge of releases, so nothing may escape it."""

from __future__ import annotations

import asyncio
import math
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.load import Load, Outcome, lost
from tests.open_loop import KEPT, NEW, SLOW, WRITE, Result

Serve = Callable[[str, int, asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, body: str = "ok", *, length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status} Text\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return (head + body).encode()


@contextmanager
def server(serve: Serve) -> Iterator[int]:
    """Runs a server whose answers `serve` writes, given the request line and its number on the connection."""
    ports: list[int] = []
    ready, over = threading.Event(), threading.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if match := re.search(r"Content-Length: (\d+)", head):
                    await reader.readexactly(int(match[1]))
                await serve(head.splitlines()[0], number, writer)
                await writer.drain()
                number += 1
                if "Connection: close" in head:
                    break
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        listening = await asyncio.start_server(connected, "127.0.0.1", 0)
        ports.append(listening.sockets[0].getsockname()[1])
        ready.set()
        while not over.is_set():
            await asyncio.sleep(0.02)
        listening.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(5)
    try:
        yield ports[0]
    finally:
        over.set()
        thread.join()


def well(line: str) -> bytes:
    if line.startswith("POST"):
        return answer(201)
    return answer(200 if line.startswith("GET /.") else 302)


async def serves(line: str, number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(well(line))


def test_all_is_well_and_the_schedule_is_kept() -> None:
    with server(serves) as port, Load(port) as load:
        time.sleep(2)
    assert load.failed == []
    assert load.idle_closed == 0
    assert {result.kind for result in load.results} == {NEW, KEPT, SLOW, WRITE}
    assert load.rates() == pytest.approx({NEW: 100, KEPT: 50, SLOW: 5, WRITE: 20}, rel=0.1)
    assert len(load.acknowledged) == len(set(load.acknowledged)) >= 40


def test_every_wrong_answer_is_a_failure() -> None:
    async def serve(line: str, number: int, writer: asyncio.StreamWriter) -> None:
        if line.startswith("GET /.api"):
            writer.write(answer(502, "gone"))
        elif line.startswith("GET /.slow"):
            writer.write(answer(200, "half", length=8))
            writer.close()
        elif "-7 " in line or not line.startswith("GET"):
            writer.write(well(line))
        elif number == 0 and "?" not in line:
            writer.close()
        else:
            writer.write(well(line))

    with server(serve) as port, Load(port, slow_path="/.slow", kept=2) as load:
        time.sleep(1)
    of = {kind: [text for text in load.failed if text.startswith(kind)] for kind in (NEW, KEPT, SLOW, WRITE)}
    asked = {kind: [result for result in load.results if result.kind == kind] for kind in of}
    assert len(of[NEW]) == len(asked[NEW])
    assert sum("status 502 b'gone'" in text for text in of[NEW]) == pytest.approx(len(of[NEW]) / 4, abs=1)
    assert all("NoAnswer" in text for text in of[NEW] if "502" not in text)
    assert all("IncompleteReadError" in text for text in of[SLOW])
    assert len(of[SLOW]) == len(asked[SLOW]) > 0
    assert of[KEPT] == of[WRITE] == []


def test_an_idle_connection_that_was_closed_is_asked_again_and_counted_apart() -> None:
    async def serve(line: str, number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(well(line))
        if "?" in line and number == 2:
            await writer.drain()
            writer.close()

    with server(serve) as port, Load(port, kept=2, slow_path=None) as load:
        time.sleep(2)
    assert load.failed == []
    assert 4 <= load.idle_closed <= 10


def test_a_kept_connection_that_ends_while_the_server_has_the_request_is_a_failure() -> None:
    async def serve(line: str, number: int, writer: asyncio.StreamWriter) -> None:
        if "?" in line and number == 2:
            await asyncio.sleep(0.7)
            writer.close()
        else:
            writer.write(well(line))

    with server(serve) as port, Load(port, kept=1, slow_path=None) as load:
        time.sleep(1.5)
    assert load.idle_closed == 0
    assert load.failed
    assert all(text.startswith(KEPT) and "NoAnswer" in text for text in load.failed)


def test_latency_counts_from_the_moment_a_request_was_due() -> None:
    async def serve(line: str, number: int, writer: asyncio.StreamWriter) -> None:
        if "?3 " in line:
            await asyncio.sleep(1)
        writer.write(well(line))

    with server(serve) as port, Load(port, kept=1, kept_rate=10, slow_path=None) as load:
        time.sleep(2)
    took = [round(result.latency, 1) for result in load.results if result.kind == KEPT]
    assert took[3:9] == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6, 0.5], abs=0.15)


def test_no_traffic_and_foreign_addresses() -> None:
    async def refuses(line: str, number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(503))

    with server(refuses) as port, pytest.raises(RuntimeError, match="503"), Load(port):
        pass
    with pytest.raises(ValueError, match="loopback"):
        Load(80, host="192.0.2.1")


def test_lost() -> None:
    async def serve(line: str, number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(404 if "/gone" in line else 200))

    with server(serve) as port:
        names = [f"{'gone' if number % 9 == 0 else 'there'}-{number}" for number in range(100)]
        assert sorted(lost(port, names)) == sorted(name for name in names if name.startswith("gone"))


def test_p99_of_windows() -> None:
    def result(due: float, latency: float, *, kind: str = NEW, error: str = "") -> Result:
        return Result(kind, due, 0.0, latency, 200, error, "")

    results = [result(second / 10, 0.01) for second in range(200)]
    results += [result(4.5, 1.0), result(12.0, 0.5), result(5.5, 9.0, kind=SLOW), result(5.5, 9.0, error="status 502")]
    outcome = Outcome(results)
    assert outcome.p99([(5.0, 6.0)]) == 1.0  # begun before it, and ended in it
    assert outcome.p99([(5.0, 6.0)], kinds=[SLOW]) == 9.0
    assert outcome.p99([(4.0, 6.0), (11.9, 12.1)], inside=False) == 0.01
    assert outcome.p99() == 0.01  # two of 202 took longer
    assert math.isnan(outcome.p99([(90.0, 91.0)]))
