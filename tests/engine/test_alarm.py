"""Trouble with snapshots reaches a real webhook from inside the container, and Prometheus' file can be read."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from docker import DockerClient
from prometheus_client.parser import text_string_to_metric_families

from tests.engine.stack import Project, until
from tests.engine.test_release import inside

pytestmark = pytest.mark.engine

SPOIL = "open('/data/spoilt.db', 'wb').write(b'SQLite format 3\\0' + bytes(5000))"


@pytest.fixture
def told(client: DockerClient) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook's address, as containers reach it, and what it was told."""
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    # The engine's own bridge: the host's end of it is reached from every network that is not internal.
    gateway = str(ipaddress.ip_network(client.networks.get("bridge").attrs["IPAM"]["Config"][0]["Subnet"])[1])
    server = ThreadingHTTPServer((gateway, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://{gateway}:{server.server_port}/s3cret", seen
    server.shutdown()
    thread.join()
    server.server_close()


def metrics(project: Project) -> dict[str, float]:
    text = inside(project, "backup", "cat", "/backups/metrics.prom")
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    assert {one.labels["project"] for one in samples} == {project.name}
    return {one.name: one.value for one in samples}


def others(project: Project) -> dict[str, str]:
    """The containers that have nothing to do with the webhook."""
    return {name: made for name, made in project.ids().items() if "-backup-" not in name}


def test_failure_and_recovery(project: Project, told: tuple[str, list[dict[str, Any]]]) -> None:
    url, seen = told
    project.run("deploy")
    until(lambda: project.json("backups")["snapshots"], 30, "the first snapshot", 0.5)
    before = others(project)
    assert f"{project.name}_outbound" not in project.networks()

    (project.root / ".env").write_text(f"BACKUP_WEBHOOK_URL={url}\n")
    planned = project.run("plan").stdout
    assert f"create network {project.name}_outbound" in planned
    assert "s3cret" not in planned
    project.run("deploy")
    assert f"{project.name}_outbound" in project.networks()
    assert others(project) == before
    assert project.json("plan") == {"steps": []}
    until(lambda: "snapshot_last_success_timestamp_seconds" in metrics(project), 20, "metrics")
    assert seen == []

    # Nothing good is left, and no good one can be taken: at once when the schedule starts.
    inside(project, "backup", "sh", "-c", "rm /backups/2*")
    inside(project, "app", "python", "-c", SPOIL)
    project.one("backup").restart(timeout=10)
    until(lambda: seen, 30, "the failure is told")
    assert (seen[0]["event"], seen[0]["project"], seen[0]["last_good"]) == ("failure", project.name, None)
    assert "spoilt.db" in seen[0]["message"]
    until(lambda: metrics(project)["snapshot_consecutive_failures"] == 1, 20, "the failure is counted")
    assert metrics(project)["snapshot_last_attempt_success"] == 0

    inside(project, "app", "rm", "/data/spoilt.db")
    taken = project.json("backup")
    project.one("backup").restart(timeout=10)  # It remembers that it has told.
    until(lambda: len(seen) > 1, 30, "the recovery is told")
    assert [one["event"] for one in seen] == ["failure", "recovery"]
    assert metrics(project)["snapshot_last_success_bytes"] == taken["bytes"]
    logs = project.one("backup").logs()
    assert isinstance(logs, bytes)
    assert b"s3cret" not in logs + json.dumps(project.one("backup").labels).encode()

    (project.root / ".env").unlink()
    project.run("deploy")
    assert f"{project.name}_outbound" not in project.networks()
    assert others(project) == before
    assert project.one("backup").attrs["HostConfig"]["NetworkMode"] == "none"
