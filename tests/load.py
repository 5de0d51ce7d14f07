"""The oracle of releases: traffic that goes on whatever happens, and what became of each request.

    python -m tests.load PORT [--seconds 20]     sends the traffic, prints what came of it; exit code 1 if any failed

The traffic is sent by a process of its own, so that a busy test does not delay it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import ipaddress
import json
import math
import os
import resource
import select
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.open_loop import KEPT, NEW, OUTSTANDING, PATIENCE, WRITE, Client, Result, Traffic

FAST = (NEW, KEPT, WRITE)
#: Seconds until the first answers of each kind.
FLOWING = 30.0
#: Seconds after which a load ends by itself.
LIMIT = 900.0
Window = tuple[float, float]


@dataclass
class Outcome:
    """What came of the traffic; times are seconds of `time.monotonic()`, `idle_closed` has one for each connection."""

    results: list[Result] = field(default_factory=list)
    idle_closed_at: list[float] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Requests that were due."""
        return len(self.results)

    @property
    def failed(self) -> list[str]:
        """A text for each request whose answer was not the expected one."""
        first = self.results[0].due if self.results else 0.0
        return [
            f"{r.kind} at {r.due - first:.3f} s, after {r.latency:.3f} s: {r.error}" for r in self.results if r.error
        ]

    @property
    def idle_closed(self) -> int:
        """Kept connections that turned out to be closed when they were to be used again."""
        return len(self.idle_closed_at)

    @property
    def acknowledged(self) -> list[str]:
        """The links that were answered with 201."""
        return [result.name for result in self.results if result.kind == WRITE and result.status == 201]

    def p99(
        self, windows: Sequence[Window] | None = None, *, inside: bool = True, kinds: Iterable[str] = FAST
    ) -> float:
        """Seconds in which 99 of 100 requests had their expected answer, failed ones left out; NaN without any.

        Of those that were under way in one of the windows, or with `inside=False` in none of them.
        """
        wanted = frozenset(kinds)
        took = sorted(
            r.latency
            for r in self.results
            if not r.error
            and r.kind in wanted
            and (windows is None or any(r.due < t1 and r.due + r.latency > t0 for t0, t1 in windows) == inside)
        )
        return took[math.ceil(len(took) * 0.99) - 1] if took else math.nan

    def late(self) -> float:
        """Seconds by which the client itself was late with 1 of 100 requests on new connections."""
        lates = sorted(result.late for result in self.results if result.kind != KEPT)
        return lates[math.ceil(len(lates) * 0.99) - 1] if lates else math.nan

    def rates(self) -> dict[str, float]:
        """Requests a second of each kind, as they were begun."""
        found = {}
        for kind, count in Counter(result.kind for result in self.results[1:]).items():
            begun = [result.due + result.late for result in self.results[1:] if result.kind == kind]
            found[kind] = (count - 1) / (max(begun) - min(begun)) if count > 1 else 0.0
        return found

    def __str__(self) -> str:
        rates = ", ".join(f"{kind} {rate:.1f}/s" for kind, rate in sorted(self.rates().items()))
        return (
            f"{len(self.failed)} of {self.sent} requests failed, {len(self.acknowledged)} writes acknowledged, "
            f"{self.idle_closed} idle connections closed, p99 {self.p99() * 1000:.0f} ms; {rates}; "
            f"p99 of the client's own delay {self.late() * 1000:.1f} ms"
        )


class Load(Outcome):
    """Sends traffic as long as the `with` block runs; the results are there when it has ended.

    Rates are requests a second: `new` and `writes` each on a new connection, `kept` clients with `kept_rate` each on a
    kept one, `slow` to `slow_path` (None: no slow requests). RuntimeError when the traffic does not begin to flow, or
    ended before the block; ValueError for an address that is not this machine's own.
    """

    def __init__(
        self,
        port: int,
        *,
        slow_path: str | None = "/.test/slow",
        new: float = 100.0,
        kept: int = 10,
        kept_rate: float = 5.0,
        slow: float = 5.0,
        writes: float = 20.0,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__()
        require_loopback(host)
        mark = uuid.uuid4().hex[:8]
        self.traffic = Traffic(host, port, mark, slow_path or "", new, kept, kept_rate, slow, writes)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def link(self) -> str:
        """The link that is followed and read."""
        return self.traffic.link

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.load", "--traffic", json.dumps(asdict(self.traffic))],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # An interrupt of the test is not the client's: it ends when its standard input does.
            start_new_session=True,
        )
        try:
            assert self._process.stdout is not None
            ready = select.select([self._process.stdout], [], [], FLOWING)[0]
            said = self._process.stdout.readline().decode().strip() if ready else f"nothing for {FLOWING:.0f} s"
            if said != "flowing":
                raise RuntimeError(f"no traffic to port {self.traffic.port}: {said}")
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._process is not None
        try:
            # Its end of file is the signal to stop.
            told = self._process.communicate(timeout=PATIENCE + 15)[0]
        except BaseException:
            self._kill()
            raise
        try:
            document = json.loads(told)
        except ValueError as error:
            if kind is None:
                raise RuntimeError(f"the load client ended with {self._process.returncode}") from error
            return
        self.results = [Result(*row) for row in document["results"]]
        self.idle_closed_at = document["idle_closed"]
        if document["by_itself"] and kind is None:
            raise RuntimeError(f"the load ended by itself after {LIMIT:.0f} s")

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def require_loopback(host: str) -> None:
    """ValueError unless the address is one of this machine's own: a load is nothing to send to others."""
    if not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"{host} is not a loopback address")


def lost(port: int, names: Iterable[str], host: str = "127.0.0.1") -> list[str]:
    """Those of the links that the API does not show. OSError when it does not answer, or with another error."""
    require_loopback(host)
    wanted = list(names)
    workers = 4

    def missing(part: Sequence[str]) -> list[str]:
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        with contextlib.closing(connection):
            return [name for name in part if not _is_there(connection, name)]

    with ThreadPoolExecutor(workers) as pool:
        return [name for part in pool.map(missing, (wanted[n::workers] for n in range(workers))) for name in part]


def _is_there(connection: http.client.HTTPConnection, name: str) -> bool:
    connection.request("GET", f"/.api/links/{name}")
    response = connection.getresponse()
    body = response.read()
    if response.status not in (200, 404):
        raise OSError(f"asked for {name}: status {response.status} {body[:200]!r}")
    return response.status == 200


async def _send(traffic: Traffic, seconds: float, *, until_eof: bool) -> tuple[Client, bool]:
    """The client when all is done, and whether its time was up."""
    client = Client(traffic)
    loop = asyncio.get_running_loop()
    up: list[bool] = []

    def end() -> None:
        up.append(True)
        client.stop()

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            client.stop()

    timer = loop.call_later(seconds, end)
    if until_eof:
        loop.add_reader(0, read)
    await client.run(lambda: print("flowing", flush=True))
    timer.cancel()
    return client, bool(up)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load", description="Sends traffic to a port of this machine."
    )
    parser.add_argument("port", type=int, nargs="?", help="where the service is")
    parser.add_argument("--slow-path", default="", help="path of the requests that take long (none are sent)")
    parser.add_argument("--seconds", type=float, default=20, help="how long (20)")
    parser.add_argument("--traffic", help="a document as the tests give it; until standard input ends, with results")
    options = parser.parse_args(argv)
    if (options.traffic is None) == (options.port is None):
        parser.error("give a port")
    made = Traffic("127.0.0.1", options.port or 0, uuid.uuid4().hex[:8], options.slow_path)
    traffic = Traffic(**json.loads(options.traffic)) if options.traffic else made
    require_loopback(traffic.host)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, OUTSTANDING + 200), hard), hard))
    try:
        limit = LIMIT if options.traffic else min(options.seconds, LIMIT)
        client, by_itself = asyncio.run(_send(traffic, limit, until_eof=bool(options.traffic)))
    except OSError as error:
        print(error, flush=True)
        return 1
    if options.traffic:
        document = {"results": client.results, "idle_closed": client.idle_closed, "by_itself": by_itself}
        print(json.dumps(document), flush=True)
        return 0
    outcome = Outcome(client.results, client.idle_closed)
    print("\n".join([*outcome.failed, str(outcome)]))
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
