"""Three ways to release the same images: the orchestrator's, Compose's, and the one of docker-rollout."""

from __future__ import annotations

import io
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import docker

from orchestrator import build
from orchestrator.engine import connect
from orchestrator.report import Reporter
from orchestrator.settings import load
from orchestrator.stack import build_stack
from tests import standin
from tests.bench.boot import Sight, serving
from tests.engine.stack import SERVICES, Project, until

#: Seconds between the new container's health and the stop of the old one: longer than Nginx keeps an address.
DRAIN = 2.0


@dataclass(frozen=True)
class Version:
    """What is released: `images` are (reference, id) by service; an image's tag in the reference is its digest."""

    number: int
    boot_seconds: float
    images: Mapping[str, tuple[str, str]]

    def write(self, project: Project) -> None:
        """Makes the project's files those of this version."""
        write(project, self.number, self.boot_seconds)


def write(project: Project, number: int, boot_seconds: float) -> None:
    standin.slow(project.root, boot_seconds=boot_seconds)
    standin.change(project.root, number)


def built(client: docker.DockerClient, project: Project, number: int, boot_seconds: float = 0.0) -> Version:
    """Builds the images of a version as `deploy` would."""
    write(project, number, boot_seconds)
    settings = load(project.root, "production", project.env)
    stack, engine = build_stack(settings), connect(settings.engine_environment)
    made = build.recipes(stack, settings.root, engine)
    missing = build.missing(stack, build.images_of(stack, made, engine))
    build.build(missing, stack, settings, engine, Reporter(io.StringIO()))
    images = {name: (image.reference, image.id) for name, image in build.images_of(stack, made, engine).items()}
    # A name of its own keeps the image, whatever a release prunes.
    client.api.tag(images["app"][1], f"{project.name}-bench", str(number))
    return Version(number, boot_seconds, images)


class Contender(ABC):
    """One way to release, with a project of its own."""

    def __init__(self, client: docker.DockerClient, project: Project) -> None:
        self.client, self.project = client, project

    def prepare(self, version: Version) -> None:
        """What is done before the clock starts: the images have the names that the release looks for."""
        for service, (_, identity) in version.images.items():
            self.client.api.tag(identity, f"{self.project.name}-{service}", "latest")

    @abstractmethod
    def start(self) -> None:
        """Brings up what was prepared, from nothing, until it serves."""

    @abstractmethod
    def release(self) -> None:
        """Releases what was prepared."""


class Ours(Contender):
    """`deploy`. `switches`: seconds from its start until another release answered, of each release or rollback."""

    def __init__(self, client: docker.DockerClient, project: Project) -> None:
        super().__init__(client, project)
        self.switches: list[float] = []

    def prepare(self, version: Version) -> None:
        for reference, identity in version.images.values():
            repository, _, tag = reference.rpartition(":")
            self.client.api.tag(identity, repository, tag)
        version.write(self.project)

    def start(self) -> None:
        self.project.run("deploy")

    def release(self) -> None:
        self._switch("deploy")

    def rollback(self) -> None:
        """Back to the release before."""
        self._switch("rollback")

    def _switch(self, verb: str) -> None:
        with Sight(self.project.port, serving(self.project.port)) as sight:
            report: dict[str, Any] = self.project.json(verb)
        assert report["result"] == "changed", report
        assert "build-image" not in {step["step"] for step in report["steps"]}, report
        assert sight.release == report["release"], f"{sight.release!r} serves, not {report['release']}"
        self.switches.append(sight.seconds)


class Compose(Contender):
    """`up -d` of Compose v2."""

    def __init__(self, client: docker.DockerClient, project: Project, command: Sequence[str]) -> None:
        super().__init__(client, project)
        self.command = command
        standin.slow(project.root)
        project.run("compose")

    def start(self) -> None:
        self.up()
        until(self._serves, 30, "the stack of Compose serves")

    def release(self) -> None:
        self.up()

    def up(self, *arguments: str) -> None:
        self.project.compose(self.command, "up", "-d", *arguments)

    def _serves(self) -> bool:
        try:
            healthy = self.project.health() == dict.fromkeys(SERVICES, "running healthy")
            return healthy and self.project.ask("/health").status == 200
        except OSError:
            return False


class Rollout(Compose):
    """What docker-rollout does: a second container, its health, a pause, the end of the first."""

    def __init__(self, client: docker.DockerClient, project: Project, command: Sequence[str]) -> None:
        files = ("docker-compose.yml", "tests/bench/rollout/docker-compose.yml")
        super().__init__(client, project, [*command, *(word for name in files for word in ("-f", name))])

    def release(self) -> None:
        old = self.project.one("app")
        self.up("--no-deps", "--scale", "app=2", "--no-recreate", "app")
        (new,) = (container for container in self.project.containers("app") if container.id != old.id)

        def healthy() -> bool:
            new.reload()
            return bool(new.attrs["State"]["Health"]["Status"] == "healthy")

        until(healthy, 60, "the second container is healthy")
        time.sleep(DRAIN)
        old.stop()
        old.remove()
