"""Light traffic for tests that watch one service through many runs: a read each 20 ms and a write each 100 ms, on
connections of their own, as long as the `with` block runs."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.load import Window, lost

READ_EVERY, WRITE_EVERY = 0.02, 0.1
#: Seconds that a request may take.
PATIENCE = 10.0


@dataclass(frozen=True)
class Failure:
    """A request that was not answered as it should be; times are `time.time()`'s. `unreachable`: its connection was
    refused, reset or closed without an answer."""

    began: float
    ended: float
    text: str
    unreachable: bool

    def within(self, windows: Sequence[Window]) -> bool:
        """Whether it was under way in one of them."""
        return any(self.began < t1 and self.ended > t0 for t0, t1 in windows)

    def __str__(self) -> str:
        return f"after {self.ended - self.began:.3f} s: {self.text}"


class Traffic:
    """`failed`, `acknowledged` and `seen`, the good answers to the reads of `path`, grow while it runs."""

    def __init__(self, port: int, path: str = "/health") -> None:
        self.port, self.path = port, path
        self.sent = 0
        self.seen: Counter[str] = Counter()
        self.failed: list[Failure] = []
        self.acknowledged: list[str] = []
        self._mark = uuid.uuid4().hex[:8]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._every, args=(READ_EVERY, self._read)),
            threading.Thread(target=self._every, args=(WRITE_EVERY, self._write)),
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def lost(self) -> list[str]:
        """Acknowledged writes that are not there."""
        return lost(self.port, list(self.acknowledged))

    def _every(self, seconds: float, send: Callable[[int], str]) -> None:
        due, number = time.monotonic(), 0
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            began = time.time()
            self.sent += 1
            try:
                if problem := send(number):
                    self.failed.append(Failure(began, time.time(), problem, unreachable=False))
            except (OSError, http.client.HTTPException) as error:
                gone = isinstance(error, ConnectionError | http.client.BadStatusLine)
                self.failed.append(Failure(began, time.time(), repr(error), unreachable=gone))
            number += 1
            due = max(due + seconds, time.monotonic() - seconds)

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _read(self, _: int) -> str:
        status, body = self._ask("GET", self.path)
        if status == 200:
            self.seen[body.decode(errors="replace")] += 1
            return ""
        return f"GET {self.path}: status {status} {body[:100]!r}"

    def _write(self, number: int) -> str:
        name = f"t-{self._mark}-{number}"
        status, body = self._ask("POST", "/.api/links", {"name": name, "url": "https://example.com/"})
        if status == 201:
            self.acknowledged.append(name)
            return ""
        return f"POST {name}: status {status} {body[:100]!r}"
