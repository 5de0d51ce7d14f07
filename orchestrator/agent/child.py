"""One verb of the agent in a process of its own, while something else goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any


def run(
    words: Sequence[str],
    beat: Callable[[], None],
    every: float,
    *,
    given: str | None = None,
    limit: float = float("inf"),
) -> dict[str, Any]:
    """Its last event. `beat` is called each `every` seconds; `given` is its standard input; `limit` in seconds."""
    deadline = time.monotonic() + limit
    feed = subprocess.DEVNULL if given is None else subprocess.PIPE
    command = [sys.executable, "-m", "orchestrator.agent", *words]
    with subprocess.Popen(command, stdin=feed, stdout=subprocess.PIPE, text=True) as process:
        try:
            while True:
                beat()
                try:
                    output, _ = process.communicate(given, timeout=every)
                    break
                except subprocess.TimeoutExpired:
                    given = None  # It has been sent, or is in the pipe's buffer.
                    if time.monotonic() >= deadline:
                        end(process)
                        return {"event": "error", "message": f"The {words[0]} did not end within {limit:.0f} seconds."}
        except BaseException:
            end(process)
            raise
    lines = output.splitlines()
    try:
        event: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        event = {}
    if event.get("event") in {"done", "error"}:
        return event
    return {"event": "error", "message": f"The {words[0]}'s process ended with status {process.returncode}."}


def end(process: subprocess.Popen[str]) -> None:
    """Asks it to clean up and go; kills it when it does not within five seconds."""
    process.terminate()
    try:
        process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
