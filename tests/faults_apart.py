"""The rows of the fault table that need a project, or an engine, of their own; and the whole table."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker

from tests import standin
from tests.engine.own_engine import OwnEngine, ask, copy_images, images_of, moved, possible, running
from tests.engine.stack import SERVICES, Project, copy_checkout, finished, removed, until
from tests.fault_rows import FAULTS
from tests.faults import Row, Stage, listener, words
from tests.kill import CONFIG, leftovers, planned, quick
from tests.peers import bases

HEALTHY = dict.fromkeys(SERVICES, "running healthy")
#: What the own engine's disk holds: two versions of the images; then it is filled up.
DISK = "1200m"


def first_deploy(project: Project, name: str, *says: str) -> Row:
    """One that fails, where nothing was before."""
    row = Row(name)
    result = project.run("--json", "deploy", check=False)
    row.code = str(result.code)
    row.left = [str(container.name) for container in project.containers()] + sorted(project.networks())
    row.must(result.code == 1, f"exit code {result.code}, not 1: {result}")
    row.must(not row.left and project.lock() is None, f"left: {row.left}, lock {project.lock()}")
    for text in says:
        row.must(text in result.stdout, f"{text!r} is not in {result}")
    return row


def followed(row: Row, project: Project) -> Row:
    """The next run, of a good release."""
    result = project.run("deploy", check=False)
    good = result.code == 0 and project.ask(standin.NUMBER_PATH).status == 200
    problems = [*planned(project), *leftovers(project)] if good else [str(result)]
    row.must(not problems, f"the next run: {problems}")
    row.following = "converges" if not problems else f"exit code {result.code}"
    return row


def port_taken(project: Project) -> Row:
    quick(project)
    with listener() as port:
        # The own port is free: so that it stays it for the next run.
        project.more["HTTP_PORT"] = str(port)
        row = first_deploy(project, "first deploy, port taken", f"port {port} is in use by", "HTTP_PORT")
    del project.more["HTTP_PORT"]
    return followed(row, project)


def first_exits(project: Project) -> Row:
    quick(project)
    good = (project.root / CONFIG).read_text()
    project.edit(CONFIG, standin.COMMAND, f"command = {words('sh', '-c', 'echo no sheep >&2; exit 7')}\n")
    row = first_deploy(project, "first deploy, exits at once", "app exited with code 7", "no sheep")
    (project.root / CONFIG).write_text(good)
    return followed(row, project)


class Apart:
    """A project on an engine of its own, where version 1 serves and the images of 2 are. What it publishes is out of
    reach: it is asked from beside the proxy."""

    def __init__(self, usual: Project, engine: OwnEngine, stack: contextlib.ExitStack) -> None:
        self.usual, self.engine = usual, engine
        quick(usual)
        self.write(2)
        usual.run("deploy")
        images = images_of(usual)
        self.write(1)
        self.project = stack.enter_context(moved(usual, engine))
        copy_images(usual.client, self.project.client, images)

    def write(self, number: int) -> None:
        # Time for what happens in the middle.
        standin.slow(self.usual.root, boot_seconds=3.0 if number == 2 else 0.0)
        standin.change(self.usual.root, number)

    def serves(self) -> str:
        address = f"http://proxy:8080{standin.NUMBER_PATH}"
        script = f"import urllib.request; print(urllib.request.urlopen({address!r}, timeout=10).read().decode())"
        result = self.project.run("exec", "app", "python", "-c", script, check=False)
        return result.stdout.strip() if result.code == 0 else ""

    def next(self, row: Row, number: int, *arguments: str) -> Row:
        """The run after it; and whether an acknowledged write is still there."""
        result = self.project.run("deploy", *arguments, check=False)
        until(lambda: self.project.health() == HEALTHY or result.code, 60, "all is healthy")
        problems = [*planned(self.project), *leftovers(self.project)] if result.code == 0 else [str(result)]
        if not problems and (served := self.serves()) != str(number):
            problems.append(f"{served!r} serves")
        row.lost = int(ask(self.project, "GET", "/.api/links/kept") != 200)
        row.must(not problems, f"the next run: {problems}")
        row.must(row.lost == 0, "the acknowledged write is lost")
        row.following = "converges" if not problems else f"exit code {result.code}"
        return row

    def restarted(self) -> Row:
        row, project = Row("engine restarted in the middle"), self.project
        row.must(ask(project, "POST", "/.api/links", {"name": "kept", "url": "https://example.com/"}) == 201, "no link")
        row.during = [self.serves()]
        self.write(2)
        process = project.start("deploy", "--no-build")
        until(lambda: len(project.containers("app", running=True)) == 2, 60, "the candidate runs")
        project.client.close()  # its kept connections; it makes new ones
        self.engine.end(signal.SIGTERM)
        result = finished(process, 60)
        self.engine.start()
        row.code = str(result.code)
        # The engine starts again what ran; the candidate, too, until the next run says what is to become of it.
        until(self.serves, 60, "the old release serves again", 0.5)
        row.after = self.serves()
        row.left = ["the candidate"] if len(project.containers("app")) == 2 else []
        row.must(result.code == 5, f"exit code {result.code}: {result}")
        row.must("the engine went away" in result.stderr and "Traceback" not in result.stderr, result.stderr)
        row.must(row.during == ["1"] and row.after == "1", f"{row.after} serves")
        return self.next(row, 2, "--no-build")

    def disk_full(self) -> Row:
        row, project = Row("disk full in the build"), self.project
        self.write(3)
        before = project.footprint()
        filler = self.engine.data / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65536))
        project.more["BUILD_MIN_FREE"] = "0k"
        result = project.run("--json", "deploy", check=False)
        row.code = str(result.code)
        row.left = [] if project.footprint() == before else ["something"]
        row.during = [self.serves()]
        filler.unlink()
        row.after = self.serves()
        row.must(result.code == 1, f"exit code {result.code}, not 1: {result}")
        row.must(not row.left, f"left: {project.footprint()}, before {before}")
        row.must(row.during == ["2"] and row.after == "2", f"{row.during}, {row.after} serve")
        for text in ("no space left on device", "docker system prune"):
            row.must(text in result.stdout.lower(), f"{text!r} is not in {result}")
        self.write(1)
        return self.next(row, 1)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def rows() -> Iterator[Row]:
    """All rows, one after the other."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        client = stack.enter_context(contextlib.closing(docker.from_env(timeout=300)))
        found = bases(client)

        def project(name: str) -> Project:
            return stack.enter_context(removed(Project(client, found, copy_checkout(Path(folder) / name))))

        first = project("first")
        yield first_exits(first)
        first.remove()
        yield port_taken(project("port"))
        stage = Stage(project("stage"))
        for fault in FAULTS:
            yield stage.row(fault)
        if possible():
            apart = Apart(project("apart"), stack.enter_context(running(DISK)), stack)
            yield apart.restarted()
            yield apart.disk_full()


def measured() -> tuple[str, bool]:
    """The table, and whether all of it is right."""
    made: list[Row] = []
    for row in rows():
        made.append(row)
        say("\n".join([str(row), *row.problems]))
    return "\n".join([Row.HEADER, *map(str, made)]), not any(row.problems for row in made)
