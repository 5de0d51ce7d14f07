"""How long a release takes until it has the traffic, and how long its app takes to boot at the very least."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid

import docker

from tests.engine.stack import PROJECT, SERVICE, Project

#: Seconds between two looks.
EVERY = 0.05
#: Seconds in which a release that is done must have the traffic, and an app must be healthy.
PATIENCE = 60.0


def serving(port: int) -> str:
    """The release that answers now on a new connection; "" when none does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        body = response.read()
        return str(json.loads(body)["release"]) if response.status == 200 else ""
    except (OSError, http.client.HTTPException, ValueError):
        return ""
    finally:
        connection.close()


class Sight:
    """Looks, while the `with` block runs, which release answers: `release` is the first one other than `before`, and
    `seconds` how long after the start of the block it answered."""

    def __init__(self, port: int, before: str) -> None:
        self.port, self.before = port, before
        self.release = ""
        self.seconds = float("nan")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Sight:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After the block an answer of the new release can only be a moment away.
        self._thread.join(0 if kind else 5)
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            release = serving(self.port)
            if release not in ("", self.before):
                self.seconds = time.monotonic() - self._began
                self.release = release
                return
            self._over.wait(EVERY)


def boot(client: docker.DockerClient, project: Project) -> float:
    """Seconds from the creation of one more container like the app's to its health; it gets no traffic."""
    live = project.containers("app", running=True)[-1]
    config, host = live.attrs["Config"], live.attrs["HostConfig"]
    same = (
        "User",
        "Env",
        "Cmd",
        "Entrypoint",
        "WorkingDir",
        "ExposedPorts",
        "StopSignal",
        "StopTimeout",
        "Healthcheck",
    )
    body = {key: config[key] for key in same if config.get(key)}
    # Its project's, so that it is cleaned up with it; but no service's.
    marks = {PROJECT: project.name, SERVICE: "boot", "com.docker.compose.oneoff": "True"}
    body |= {"Image": live.attrs["Image"], "HostConfig": host, "Labels": marks}
    name = f"{project.name}-boot-{uuid.uuid4().hex[:6]}"
    events = client.api.events(decode=True, filters={"container": [name], "type": ["container"]})
    alarm = threading.Timer(PATIENCE, events.close)
    alarm.start()
    began = time.monotonic()
    try:
        client.api.create_container_from_config(body, name)  # type: ignore[no-untyped-call]
        client.api.start(name)
        for event in events:
            assert event["Action"] not in ("die", "oom"), f"{name} ended"
            if event["Action"] == "health_status: healthy":
                return time.monotonic() - began
        raise AssertionError(f"{name} is not healthy after {PATIENCE:.0f} s")
    finally:
        alarm.cancel()
        events.close()
        container = client.containers.get(name)
        container.stop()
        container.remove()
