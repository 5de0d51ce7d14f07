"""A proxy before stand-in applications, as the stack puts them together, for the proxy's tests."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

UPSTREAM = "/etc/nginx/upstream/upstream.conf"
HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "tmpfs": {"/tmp": ""},
}
ECHO = """
import http.server, json, os, time
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/slow": time.sleep(2)
        body = json.dumps({"name": os.environ["NAME"], "peer": self.client_address[1], "method": self.command,
                           "headers": [[k.lower(), v] for k, v in self.headers.items()], "fill": "x" * 2000}).encode()
        self.send_response(503 if self.path == "/busy" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Request-ID", "from-the-app")
        if self.path == "/long": self.send_header("X-Long", "x" * 12000)
        if self.path == "/framed": self.send_header("X-Frame-Options", "SAMEORIGIN")
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8000), Echo).serve_forever()
"""


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Bench:
    """A proxy with two networks, as the stack makes it, and the applications behind it."""

    client: docker.DockerClient
    images: Mapping[str, str]
    name: str
    port: int = 0
    containers: dict[str, Any] = field(default_factory=dict)

    def app(self, alias: str) -> None:
        container = self.client.containers.create(
            self.images["app"],
            ["python", "-c", ECHO],
            name=f"{self.name}-{alias}",
            environment={"NAME": alias},
            **HARDENED,
        )
        self.containers[alias] = container
        self.client.networks.get(f"{self.name}-in").connect(container, aliases=[alias])
        self.client.networks.get("bridge").disconnect(container)
        container.start()

    def proxy(self) -> Any:
        container = self.client.containers.create(
            self.images["proxy"],
            name=f"{self.name}-proxy",
            ports={"8080/tcp": ("127.0.0.1", 0)},
            network=f"{self.name}-out",
            volumes={
                f"{self.name}-static": {"bind": "/static", "mode": "ro"},
                f"{self.name}-up": {"bind": "/etc/nginx/upstream"},
            },
            **HARDENED,
        )
        self.containers["proxy"] = container
        self.client.networks.get(f"{self.name}-in").connect(container)
        self.start_proxy()
        return container

    def start_proxy(self) -> None:
        proxy = self.containers["proxy"]
        proxy.start()
        deadline = time.monotonic() + 25
        while time.monotonic() < deadline:
            proxy.reload()
            published = proxy.attrs["NetworkSettings"]["Ports"].get("8080/tcp") or []
            if published:
                self.port = int(published[0]["HostPort"])
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if self.ask("/.proxy/health").status == 200:
                        return
            time.sleep(0.05)
        raise AssertionError(proxy.logs().decode())

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def point_at(self, host: str) -> None:
        """Write the upstream file as the orchestrator does: by tar, as root."""
        content = f"upstream app {{\n    server {host}:8000 max_fails=0;\n    keepalive 32;\n}}\n".encode()
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            entry = tarfile.TarInfo(Path(UPSTREAM).name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
        assert self.containers["proxy"].put_archive(str(Path(UPSTREAM).parent), tar.getvalue())

    def upstream(self) -> str:
        return bytes(self.containers["proxy"].exec_run(["cat", UPSTREAM]).output).decode()

    def log(self) -> str:
        return bytes(self.containers["proxy"].logs()).decode()

    def remove(self) -> None:
        for container in self.containers.values():
            container.remove(force=True, v=True)
        for suffix in ("in", "out"):
            self.client.networks.get(f"{self.name}-{suffix}").remove()
        for suffix in ("static", "up"):
            self.client.volumes.get(f"{self.name}-{suffix}").remove()
