"""An engine of a test's own, in a network namespace of its own, so that nothing else on this machine notices."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from orchestrator.sockets import SocketState, socket_state
from tests.engine.stack import SERVICES, Project, until


def possible() -> bool:
    return os.getuid() == 0 and all(map(shutil.which, ("dockerd", "unshare", "ip")))


@dataclass
class OwnEngine:
    """A dockerd that a test may kill, in a network namespace of its own: in the machine's, it would take the usual
    engine's bridge away. `more` are options. `listener` is a socket of the machine's network to listen on, too."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    more: tuple[str, ...] = ()
    listener: socket.socket | None = None

    @property
    def data(self) -> Path:
        """Where it keeps images, containers and volumes."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"unix://{self.folder / 'docker.sock'}"

    def start(self) -> None:
        # After a SIGKILL these are still there, and whoever has the number by now is taken for a running one.
        for stale in (self.folder / "pid", self.containerd):
            stale.unlink(missing_ok=True)
        folders = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
        options = ["-H", self.url, *(f"{option}={self.folder / name}" for option, name in folders.items())]
        options += self.more
        # As systemd hands a socket over: it is number 3, and meant for this very process.
        given = self.listener.fileno() if self.listener else -1
        hand_over = f"exec 3<&{given}; export LISTEN_FDS=1 LISTEN_PID=$$; " if self.listener else ""
        script = f'{hand_over}ip link set lo up 3<&-; exec dockerd --bridge=none "$@"'
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--net", "bash", "-c", script, "bash", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[given] if self.listener else [],
            )
        until(self.answers, 60, "the engine answers", 0.2)

    def answers(self) -> bool:
        assert self.process is None or self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        return socket_state(str(self.folder / "docker.sock"), 2) is SocketState.ANSWERS

    def end(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)
        self.process = None
        if number == signal.SIGKILL:
            # Its containerd ends by itself only a moment later; the next engine brings its own.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                os.kill(int(self.containerd.read_text()), signal.SIGKILL)

    @property
    def containerd(self) -> Path:
        return self.folder / "exec" / "containerd" / "containerd.pid"

    def cut_power(self) -> None:
        """The engine and all that runs in it end at once, as in a power cut."""
        self.end(signal.SIGKILL)
        self.kill_containers()

    def kill_containers(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().decode().split("\0")
                if "containerd-shim" in words[0] and any(word.startswith(f"{self.folder}/") for word in words):
                    children = (process / "task" / process.name / "children").read_text().split()
                    for number in (process.name, *children):
                        os.kill(int(number), signal.SIGKILL)

    def remove(self) -> None:
        """Nothing stays, however the engine ended: what ran in it, its mounts, its files."""
        if self.process is not None:
            self.cut_power()
        self.kill_containers()
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed([path for path in mounts if path.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "-l", mount], check=True)
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def running(disk: str = "", *, in_memory: bool = True) -> Iterator[OwnEngine]:
    """One that is gone with all it had at the end. `disk`: its data has a disk of its own, of this size ("600m"); in
    memory it is quick, but what a container writes there counts as the container's."""
    with folder_of_its_own() as folder, _in(OwnEngine(folder), disk, in_memory=in_memory) as engine:
        yield engine


@contextlib.contextmanager
def folder_of_its_own() -> Iterator[Path]:
    """A short path: a socket's may have 107 characters. Not in /tmp, which may be memory."""
    folder = Path(tempfile.mkdtemp(prefix="golinks-", dir="/var/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _in(engine: OwnEngine, disk: str, *, in_memory: bool) -> Iterator[OwnEngine]:
    try:
        if disk:
            engine.data.mkdir()
            _mount(disk, engine.data, engine.folder / "disk.img", in_memory=in_memory)
        engine.start()
        yield engine
    finally:
        engine.remove()


def _mount(size: str, place: Path, image: Path, *, in_memory: bool) -> None:
    if in_memory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "golinks", str(place)], check=True)
        return
    subprocess.run(["truncate", "-s", size, str(image)], check=True)
    # No blocks are kept for root, which may be who fills it.
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)


@contextlib.contextmanager
def moved(usual: Project, engine: OwnEngine) -> Iterator[Project]:
    """The project, deployed on that engine, with images built on the usual one: that one reaches no network."""
    usual.run("deploy")
    images = [*usual.bases.values(), *images_of(usual)]
    usual.run("down", "--volumes", "--yes")
    with contextlib.closing(docker.DockerClient(engine.url, timeout=120)) as client:
        copy_images(usual.client, client, images)
        made = Project(client, usual.bases, usual.root, usual.name, usual.port, {"DOCKER_HOST": engine.url})
        made.more = usual.more | made.more
        made.run("deploy", "--no-build")
        yield made


def images_of(project: Project) -> list[str]:
    """What the project's containers are made of."""
    return [str(project.one(name).attrs["Config"]["Image"]) for name in SERVICES]


def copy_images(source: docker.DockerClient, target: docker.DockerClient, images: list[str]) -> None:
    # All in one tar, which holds what they share once; docker-py saves one at a time.
    api: Any = source.api
    with api._get(api._url("/images/get"), params={"names": images}, stream=True) as saved:
        for _ in target.api.load_image(saved.iter_content(1024 * 1024)):  # type: ignore[no-untyped-call]
            pass


def ask(project: Project, method: str, path: str, body: object = None) -> int:
    """A request through the proxy, from beside it: the published port is out of reach. The answer's status."""
    script = f"""
import json, urllib.error, urllib.request
data = {(json.dumps(body) if body else None)!r}
request = urllib.request.Request("http://proxy:8080{path}", data and data.encode(), method={method!r},
                                 headers={{"Content-Type": "application/json"}})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
    return int(project.run("exec", "app", "python", "-c", script).stdout)
