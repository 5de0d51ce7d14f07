"""A project of a test's own: a copy of the checkout, a port, the command line, requests, and its removal."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import docker.errors
from docker.models.containers import Container

ROOT = Path(__file__).parents[2]
SERVICES = ("app", "proxy", "backup")
PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
#: What a person's shell or the machine may hold that would change what a test sees.
OWN = (
    "HTTP_BIND",
    "HTTP_PORT",
    "PYTHON_IMAGE",
    "NGINX_IMAGE",
    "DATABASE_URL",
    "LOG_LEVEL",
    "BUILD_MIN_FREE",
    "BACKUP_WEBHOOK_URL",
    "AUTH",
    "READ",
    "EDIT",
    "READ_ONLY",
    "PROXY_USER_HEADER",
    "PROXY_TRUSTED",
    "ADMINS",
    "SCHEMES",
    "SESSION_DAYS",
)


def free_port() -> int:
    """A port that nobody has, and that no connection is given, however many there are: those come from 32768 on."""
    while True:
        port = random.randrange(15_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def copy_checkout(to: Path) -> Path:
    """The files that git has or would take, as they are now; and what Python has compiled of them, so that the first
    command of each copy need not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    for compiled in (ROOT / "orchestrator").rglob("*.pyc"):
        target = to / compiled.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(compiled, target)
    return to


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass
class Project:
    """One project on the engine. `root` is a checkout of its own, so files can be edited; `more` are variables for all
    its commands."""

    client: docker.DockerClient
    bases: Mapping[str, str]
    root: Path
    name: str = field(default_factory=lambda: f"t-{uuid.uuid4().hex[:8]}")
    port: int = field(default_factory=free_port)
    more: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in OWN}
        own = {"COMPOSE_PROJECT_NAME": self.name, "HTTP_PORT": str(self.port), "PYTHONPATH": ""}
        return kept | own | dict(self.bases) | self.more

    # Running

    def start(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        root: Path | None = None,
        module: Sequence[str] = ("orchestrator",),
    ) -> subprocess.Popen[str]:
        """`python -m orchestrator ...`, not waited for. A variable of `env` that is "" counts as not set."""
        return subprocess.Popen(
            [sys.executable, "-m", *module, *arguments],
            cwd=root or self.root,
            env=self.env | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        *arguments: str,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        root: Path | None = None,
        seconds: float = 300,
    ) -> Result:
        """`python -m orchestrator ...` to its end; with `check` it must end with 0."""
        began = time.monotonic()
        result = finished(self.start(*arguments, env=env, root=root), seconds, began)
        if check:
            assert result.code == 0, f"{arguments} ended with {result.code}\n{result.stdout}\n{result.stderr}"
        return result

    def json(self, *arguments: str, check: bool = True, env: Mapping[str, str] | None = None) -> Any:
        """What the command says with --json."""
        return self.run("--json", *arguments, check=check, env=env).json

    def compose(self, command: Sequence[str], *arguments: str, root: Path | None = None) -> Result:
        """One `docker-compose` command in the checkout; it must end with 0."""
        began = time.monotonic()
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=root or self.root,
            env=self.env | {"COLUMNS": "300"},  # a table that is not broken into lines
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        result = finished(process, 300, began)
        assert result.code == 0, f"{command} {arguments} ended with {result.code}\n{result.stdout}\n{result.stderr}"
        return result

    # Files

    def edit(self, name: str, old: str, new: str) -> None:
        """Replaces one piece of a file of the checkout, which must be there once."""
        path = self.root / name
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new))

    # Requests

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, *, method: str = "GET", body: Any = None, text: str = "", headers: Mapping[str, str] = {}
    ) -> Answer:
        """One request through the proxy, with `body` as JSON or `text` as it is; redirects are not followed."""
        data = text.encode() or None if body is None else json.dumps(body).encode()
        more = {"Content-Type": "application/json"} if body is not None else {}
        request = urllib.request.Request(self.url + path, data, {**more, **headers}, method=method)
        try:
            with _opener.open(request, timeout=10) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def post_json(self, path: str, body: Any) -> Answer:
        return self.ask(path, method="POST", body=body)

    def add(self, name: str, url: str = "https://example.com/") -> None:
        """A link, acknowledged."""
        answer = self.post_json("/.api/links", {"name": name, "url": url})
        assert answer.status == 201, answer

    def has(self, name: str, url: str = "https://example.com/") -> bool:
        answer = self.ask(f"/.api/links/{name}")
        return answer.status == 200 and bool(answer.json["url"] == url)

    # What the engine has

    def containers(self, service: str | None = None, *, running: bool = False) -> list[Container]:
        """The project's containers, one-off ones too, by name."""
        labels = [f"{PROJECT}={self.name}"] + ([f"{SERVICE}={service}"] if service else [])
        found = self.client.containers.list(all=not running, filters={"label": labels}, ignore_removed=True)
        return sorted(found, key=lambda container: str(container.name))

    def one(self, service: str) -> Container:
        """The only container of a service."""
        (container,) = self.containers(service)
        return container

    def ids(self) -> dict[str, str]:
        return {str(container.name): str(container.id) for container in self.containers()}

    def health(self) -> dict[str, str]:
        """Each container's state and health, by service."""
        found = {}
        for container in self.containers():
            state = container.attrs["State"]
            found[container.labels[SERVICE]] = f"{state['Status']} {state.get('Health', {}).get('Status', '')}".strip()
        return found

    def volumes(self) -> set[str]:
        listed = self.client.api.volumes(filters={"name": f"{self.name}_"})["Volumes"] or []
        return {str(volume["Name"]) for volume in listed}

    def networks(self) -> set[str]:
        return {str(n["Name"]) for n in self.client.api.networks() if str(n["Name"]).startswith(f"{self.name}_")}

    def tags(self) -> set[str]:
        """The images named for this project."""
        tags = (tag for image in self.client.api.images() for tag in image["RepoTags"] or [])
        return {tag for tag in tags if tag.startswith(f"{self.name}-")}

    def footprint(self) -> dict[str, object]:
        """All that a failed command must leave as it was; a container by its id, state and start."""
        states = {}
        for container in self.containers():
            state = container.attrs["State"]
            states[container.id] = (container.name, state["Status"], state["StartedAt"])
        return {"containers": states, "networks": self.networks(), "volumes": self.volumes(), "lock": self.lock()}

    def lock(self) -> Container | None:
        try:
            return self.client.containers.get(f"{self.name}-deploy-lock")
        except docker.errors.NotFound:
            return None

    def clear(self) -> None:
        """Everything of the project goes but its images, whatever state it is in."""
        for container in (*self.containers(), *filter(None, [self.lock()])):
            with contextlib.suppress(docker.errors.NotFound):
                container.remove(v=True, force=True)
        for name in self.networks():
            self.client.api.remove_network(name)
        for name in self.volumes():
            self.client.api.remove_volume(name, force=True)

    def remove(self) -> None:
        """Its images go, too; the layers stay as the build cache."""
        self.clear()
        for tag in self.tags():
            with contextlib.suppress(docker.errors.NotFound):
                self.client.api.remove_image(tag, force=True, noprune=True)


def finished(process: subprocess.Popen[str], seconds: float, began: float | None = None) -> Result:
    """Waits for a process; killed, and an error, when it takes too long."""
    began = time.monotonic() if began is None else began
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Result(process.returncode, stdout, stderr, time.monotonic() - began)


def until(condition: Callable[[], object], seconds: float, what: str, every: float = 0.1) -> None:
    """Waits for a condition; fails with `what` when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(every)


@contextlib.contextmanager
def removed(project: Project) -> Iterator[Project]:
    try:
        yield project
    finally:
        project.remove()
