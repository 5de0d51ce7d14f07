"""What redirects are measured beside: the smallest Flask application, and an answer of nothing, under the service's
own gunicorn settings.

In a container of the app's image with its limits and health check, alone behind a container of the proxy's image.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator
from typing import Any

import docker
from docker.models.containers import Container

from tests.engine.stack import Project, until

APP = """
from flask import Flask

hello = Flask(__name__)


@hello.get("/")
def greet():
    return "Hello, World!"


def app(environ, start_response):
    if environ["PATH_INFO"] != "/nothing":
        return hello(environ, start_response)
    start_response("302 Found", [("Location", "/"), ("Cache-Control", "no-store"), ("Content-Length", "0")])
    return ()
"""
#: All but the hooks, which are the service's own.
SETTINGS = """
with open("/opt/app/gunicorn.conf.py") as file:
    exec(file.read())
del on_starting, post_fork, post_worker_init, worker_exit
"""


def _tar(files: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    return made.getvalue()


def address(container: Any) -> str:
    """The container's own, which this machine reaches as long as the engine is here."""
    container.reload()
    networks = container.attrs["NetworkSettings"]["Networks"].values()
    return next(str(network["IPAddress"]) for network in networks if network["IPAddress"])


@contextlib.contextmanager
def hello(client: docker.DockerClient, project: Project) -> Iterator[tuple[str, str]]:
    """(its address, its address behind the proxy) while the block runs; images, limits and checks are the project's."""
    with contextlib.ExitStack() as stack:
        name = f"{project.name}-hello"
        network = client.networks.create(name)
        stack.callback(network.remove)
        made: dict[str, Container] = {}
        for service in ("app", "proxy"):
            ours = project.one(service)
            like, health = ours.attrs["HostConfig"], dict(ours.attrs["Config"]["Healthcheck"])
            command = None
            if service == "app":
                command = ["gunicorn", "-c", "/opt/hello/settings.py", "--chdir", "/opt/hello", "hello:app"]
                health["Test"] = [*health["Test"][:-1], "/"]
            container = made[service] = client.containers.create(
                str(ours.attrs["Image"]),
                command,
                name=f"{name}-{service}",
                network=name,
                networking_config={name: client.api.create_endpoint_config(aliases=[service])},
                mem_limit=like["Memory"],
                memswap_limit=like["Memory"],
                nano_cpus=like["NanoCpus"],
                # Ours is asked each second, too, and what asks counts among its container's processes.
                healthcheck=health,
            )
            stack.callback(container.remove, force=True)
            if service == "app":
                container.put_archive("/opt", _tar({"hello/settings.py": SETTINGS, "hello/hello.py": APP}))
            container.start()
        direct, behind = f"http://{address(made['app'])}:8000", f"http://{address(made['proxy'])}:8080"
        for url in (direct, behind):
            until(lambda url=url: answers(url), 30, f"{url} answers")  # type: ignore[misc]
        yield direct, behind


def answers(url: str) -> bool:
    """True when there is an answer without an error."""
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
