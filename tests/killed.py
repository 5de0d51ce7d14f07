"""The orchestrator's command line in a process that counts its calls of the engine and can kill itself after one.

    python -m tests.killed N VERB ...      SIGKILL right after the answer to call N; with 0 it says how many there were

To be run in the checkout whose orchestrator it is. Every HTTP request to the engine is a call, those of all threads and
connections counted together, the beats of the lock among them. An answer counts when its head is there: a command, a
build or a wait may still be going on in the engine then, and has ended at the next call.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from docker import APIClient

#: What stands before the count on standard error.
SAID = "calls of the engine: "


class Calls:
    """Counts what is sent; kills this process when `last` has been answered."""

    def __init__(self, last: int) -> None:
        self.last, self.count = last, 0
        self._lock = threading.Lock()

    def watch(self) -> None:
        send = APIClient.send

        def counted(client: APIClient, request: Any, **options: Any) -> Any:
            response = send(client, request, **options)
            with self._lock:
                self.count += 1
                if self.count == self.last:
                    os.kill(os.getpid(), signal.SIGKILL)
                    # Not one call more: the signal may take a moment to reach the other threads.
                    signal.pause()
            return response

        APIClient.send = counted  # type: ignore[method-assign, assignment]


def main(argv: Sequence[str]) -> int:
    from orchestrator import cli

    calls = Calls(int(argv[0]))
    calls.watch()
    try:
        return cli.main(argv[1:])
    finally:
        print(f"{SAID}{calls.count}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
