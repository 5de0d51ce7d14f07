"""What the engine says of one project while something is tried on it.

Listened to as it happens: the engine replays only its last 256 events, and the health checks of a few containers fill
those in seconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import Any

import docker
import docker.errors

from tests.engine.stack import PROJECT, SERVICE, Project
from tests.load import Window

ACTIONS = ("connect", "disconnect", "start", "kill", "die", "destroy")
#: Seconds before and after the events of a move of the port: on a busy machine they are that far from their effects.
AROUND = 1.0


@dataclass(frozen=True)
class Event:
    """`at` is a time of `time.time()`'s clock, `container` an id, `name` the network's or the container's; `heard` is
    when the engine had told of it."""

    at: float
    action: str
    container: str
    name: str
    service: str = ""
    oneoff: bool = False
    signal: str = ""
    code: str = ""
    heard: float = 0.0


class Events:
    """Those of the project as long as the `with` block runs."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.found: list[Event] = []
        self._proxies = {str(container.id) for container in project.containers("proxy")}

    def __enter__(self) -> Events:
        # A connection of its own: closing the stream closes it.
        self._client = docker.from_env(environment=self.project.env)
        filters = {"type": ["network", "container"], "event": list(ACTIONS)}
        self._stream: Any = self._client.api.events(decode=True, filters=filters)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._thread.join(10)
        self._client.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError, docker.errors.DockerException):
            for document in self._stream:
                self._note(document)

    def _note(self, document: dict[str, Any]) -> None:
        told, at = document["Actor"]["Attributes"], document["timeNano"] / 1e9
        if document["Type"] == "network":
            if told["name"].startswith(f"{self.project.name}_") and "container" in told:
                self.found.append(Event(at, document["Action"], told["container"], told["name"]))
        elif told.get(PROJECT) == self.project.name:
            event = Event(
                at,
                document["Action"],
                document["Actor"]["ID"],
                told["name"],
                told.get(SERVICE, ""),
                told.get("com.docker.compose.oneoff") == "True",
                told.get("signal", ""),
                told.get("exitCode", ""),
                time.time(),
            )
            if event.service == "proxy":
                self._proxies.add(event.container)
            self.found.append(event)

    def since(self, began: float) -> list[Event]:
        return [event for event in self.found if event.at >= began]

    def moves(self, began: float) -> list[Window]:
        """When no proxy had the port: from each time that one left a network to the next that one joined `edge`."""
        time.sleep(0.1)  # the last event may be on its way
        windows: list[Window] = []
        left = None
        for event in self.since(began):
            if event.container not in self._proxies:
                continue
            if event.action == "disconnect":
                left = left or event.at
            elif event.action == "connect" and event.name.endswith("_edge") and left is not None:
                windows.append((left - AROUND, event.at + AROUND))
                left = None
        return windows + ([(left - AROUND, time.time())] if left else [])
