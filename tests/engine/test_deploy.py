"""Deploying on a real engine: from nothing, again, changed, stopped, taken down; and what then runs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from tests.engine.conftest import MakeProject
from tests.engine.stack import PROJECT, SERVICE, SERVICES, Project, finished, until

pytestmark = pytest.mark.engine

RELEASE = re.compile(r"\d{8}T\d{6}-[0-9a-f]{7}")
FIRST = {"result", "release", "previous", "url", "seconds", "steps", "warnings"}


@pytest.fixture(scope="module")
def stack(make_project: MakeProject) -> Project:
    """A deployed stack, for tests that only look at it."""
    made = make_project()
    made.run("deploy")
    return made


@pytest.fixture
def converged(stack: Project) -> Iterator[Project]:
    """The same stack, for tests that break it: as the settings want it after each."""
    yield stack
    stack.run("deploy")


@pytest.fixture(scope="module")
def first(make_project: MakeProject) -> Project:
    """What the tests that begin with nothing, change settings and take all away do one after the other."""
    return make_project()


def steps(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The steps of a plan or a report, without what is only known when an image is built or a release gets its time."""

    def plain(text: str) -> str:
        text = re.sub(r"\d{8}t\d{6}-([0-9a-f]{7}|unbuilt)", "RELEASE", text, flags=re.IGNORECASE)
        return re.sub(r"-> ([0-9a-f]{7}|to be built)", "-> IMAGE", text)

    return [(step["step"], plain(step["target"]), plain(step["cause"])) for step in document["steps"]]


def changed(document: dict[str, Any]) -> set[str]:
    """The names of what a report or plan changes."""
    return {step["target"] for step in document["steps"] if step["step"] != "wait-healthy"}


def inside(project: Project, service: str, *command: str) -> str:
    """What a command prints in a service's container; it must end with 0."""
    code, output = project.one(service).exec_run(list(command))
    assert isinstance(output, bytes)
    assert code == 0, output
    return output.decode()


# From nothing, and again


def test_a_first_deployment(first: Project) -> None:
    project = first
    said = project.run("--json", "deploy")
    report = said.json
    assert report.keys() >= FIRST
    assert (report["result"], report["previous"], report["warnings"]) == ("changed", "", [])
    assert RELEASE.fullmatch(report["release"])
    assert report["url"] == f"{project.url}/"
    assert 0 < report["seconds"] <= said.seconds
    assert all({"step", "target", "cause"} <= step.keys() for step in report["steps"])
    assert project.health() == dict.fromkeys(SERVICES, "running healthy")
    assert len(project.containers()) == 3
    assert project.lock() is None
    answer = project.ask("/")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert project.ask("/health").json["release"] == report["release"]

    before = project.footprint()
    again = project.json("deploy")
    assert (again["result"], again["steps"], again["release"]) == ("unchanged", [], report["release"])
    assert again.keys() >= FIRST
    assert project.json("plan") == {"steps": []}
    assert project.footprint() == before
    assert "nothing to do" in project.run("deploy").stdout


def test_a_plan_is_what_deploy_then_does(project: Project) -> None:
    before = project.footprint()
    planned = project.json("plan")
    assert project.footprint() == before
    assert project.tags() == set()
    first = project.json("deploy")
    assert steps(planned) == steps(first)
    assert steps(first)[0][0] == "build-image"

    # A changed file, a changed setting and a stopped container at once.
    page = project.root / "service" / "templates" / "base.html"
    page.write_text(page.read_text() + "<!-- changed -->\n")
    project.edit("config/production.toml", 'memory = "128m"', 'memory = "160m"')
    project.one("backup").stop(timeout=5)
    before = project.footprint()
    planned = project.json("plan")
    assert project.footprint() == before
    assert steps(planned) == steps(project.json("deploy"))
    causes = " | ".join(cause for _, _, cause in steps(planned))
    assert "memory: 128m -> 160m" in causes
    assert "image: " in causes
    assert "it is exited" in causes
    assert project.json("plan") == {"steps": []}


# Changes


def test_an_edited_setting_changes_only_its_service(first: Project) -> None:
    project = first
    project.run("deploy")
    project.add("kept")
    before = project.ids()
    project.edit("config/production.toml", 'memory = "128m"', 'memory = "160m"')
    report = project.json("deploy")
    assert report["result"] == "changed"
    assert changed(report) == {f"{project.name}-proxy-1", f"{project.name}-proxy-2"}
    gone = before.pop(f"{project.name}-proxy-1")
    now = project.ids()
    assert now.items() >= before.items()
    assert gone not in now.values()
    assert project.one("proxy").attrs["HostConfig"]["Memory"] == 160 * 1024**2
    assert project.has("kept")


def test_orphans_go(converged: Project) -> None:
    project = converged
    before = project.ids()
    project.client.containers.create(
        str(project.one("app").attrs["Image"]),
        name=f"{project.name}-old-1",
        labels={PROJECT: project.name, SERVICE: "old", "com.docker.compose.oneoff": "False"},
    )
    project.client.networks.create(f"{project.name}_old", labels={PROJECT: project.name})
    # What only resembles ours is nobody's orphan.
    foreign = project.client.networks.create(f"{project.name}_foreign")
    report = project.json("deploy")
    assert {(step["step"], step["target"]) for step in report["steps"]} == {
        ("remove-container", f"{project.name}-old-1"),
        ("remove-network", f"{project.name}_old"),
    }
    assert all(step["cause"].startswith("orphan") for step in report["steps"])
    assert project.ids() == before
    assert foreign.name in project.networks()
    assert f"{project.name}_old" not in project.networks()


def test_a_stopped_stack_is_adopted(converged: Project) -> None:
    project = converged
    project.add("kept-a_stopped_st")
    before = project.ids()
    for container in project.containers():
        container.stop(timeout=10)
    report = project.json("deploy")
    assert report["result"] == "changed"
    assert {step["step"] for step in report["steps"]} == {"start-container", "wait-healthy", "ask-through"}
    assert project.ids() == before
    assert project.health() == dict.fromkeys(SERVICES, "running healthy")
    assert project.has("kept-a_stopped_st")


def test_a_removed_container_comes_back(converged: Project) -> None:
    project = converged
    project.add("kept-a_removed_co")
    before = project.ids()
    project.one("app").remove(force=True)
    report = project.json("deploy")
    assert project.health() == dict.fromkeys(SERVICES, "running healthy")
    assert project.has("kept-a_removed_co")
    assert {name: project.ids().get(name) for name in before if "-app-" not in name}.items() <= before.items()
    assert "there is none" in {step["cause"] for step in report["steps"]}
    assert project.json("plan") == {"steps": []}


def test_an_unhealthy_container_is_started_again(first: Project) -> None:
    project = first
    sick = 'command = ["/bin/sh", "-c", "test ! -e /tmp/sick || { echo I am sick; exit 1; }"]'
    project.edit("config/production.toml", 'path = "/.proxy/health"', sick)
    project.run("deploy")
    before = project.ids()
    proxy = project.one("proxy")
    assert proxy.exec_run(["touch", "/tmp/sick"]).exit_code == 0
    until(lambda: project.health()["proxy"] == "running unhealthy", 30, "the proxy is unhealthy")
    status = project.json("status")
    assert {s["name"]: s["health"] for s in status["services"]}["proxy"] == "unhealthy"
    doctor = project.run("--json", "doctor", check=False)
    assert doctor.code == 1
    assert "proxy" in {check["check"] for check in doctor.json["checks"] if not check["ok"]}
    report = project.json("deploy")
    names = [step["step"] for step in report["steps"]]
    assert names == ["stop-container", "start-container", "wait-healthy", "ask-through"]
    assert {step["cause"] for step in report["steps"]} == {"it is unhealthy", ""}
    assert project.ids() == before
    assert project.health() == dict.fromkeys(SERVICES, "running healthy")

    # And without anybody who deploys: `watch`.
    watching = project.start("watch")
    try:
        time.sleep(1)
        assert proxy.exec_run(["touch", "/tmp/sick"]).exit_code == 0
        until(lambda: project.health()["proxy"] == "running unhealthy", 30, "the proxy is unhealthy")
        until(lambda: project.health()["proxy"] == "running healthy", 30, "it was started again")
        assert project.ids() == before
        # The engine gives an app that it starts again whatever address is free.
        network, app = f"{project.name}_internal", project.one("app")
        address = app.attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
        app.stop(timeout=10)
        image = str(app.attrs["Image"])
        sleeper = project.client.containers.run(image, ["sleep", "90"], network=network, detach=True)
        try:
            app.start()
            until(lambda: project.health()["app"] == "running healthy", 30, "the app is healthy")
            now = project.one("app").attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
            assert now != address
            until(lambda: project.ask("/health").status == 200, 30, "the proxy knows the new address")
        finally:
            sleeper.remove(force=True)
    finally:
        watching.send_signal(signal.SIGTERM)
        ended = finished(watching, 20)
    assert ended.code == 0, ended
    assert f"start container {proxy.name} (it is unhealthy)" in ended.stderr
    assert "the address may be another one" in ended.stderr
    assert "stopped watching" in ended.stderr


# Down


def test_down_keeps_the_data(first: Project) -> None:
    project = first
    project.run("deploy")
    project.add("kept-by-down")
    volumes = project.volumes()
    assert len(volumes) == 4
    said = project.run("down")
    assert "data is kept" in said.stdout
    assert project.containers() == []
    assert project.networks() == set()
    assert project.lock() is None
    assert project.volumes() == volumes
    with pytest.raises(OSError, match="refused"):
        project.ask("/")
    assert project.json("down")["result"] == "unchanged"
    project.run("deploy")
    assert project.has("kept-by-down")

    # Deleting wants a word: nobody can be asked here.
    before = project.footprint()
    refused = project.run("down", "--volumes", check=False)
    assert refused.code == 2
    assert "deletes the data and all snapshots" in refused.stderr
    assert "--yes" in refused.stderr
    assert project.footprint() == before
    project.run("down", "--volumes", "--yes")
    assert project.volumes() == set()
    assert project.containers() == []
    assert project.networks() == set()
    project.run("deploy")
    assert project.ask("/.api/links/kept-by-down").status == 404


def test_two_projects_side_by_side(make_project: MakeProject, stack: Project) -> None:
    other = make_project()
    # One's name is the beginning of the other's.
    other.name = stack.name + "-b"
    other.run("deploy")
    stack.add("only-in-one")
    assert other.ask("/.api/links/only-in-one").status == 404
    before = stack.footprint()
    assert stack.json("plan") == {"steps": []}
    assert {s["container"] for s in stack.json("status")["services"]} == set(stack.ids())
    other.run("down", "--volumes", "--yes")
    assert stack.footprint() == before
    assert stack.has("only-in-one")


# What runs


def test_containers_are_hardened(stack: Project) -> None:
    users = {"app": "10001:10001", "proxy": "10002:10002", "backup": "10001:10001"}
    for service in SERVICES:
        container = stack.one(service)
        config, host = container.attrs["Config"], container.attrs["HostConfig"]
        assert config["User"] == users[service]
        assert inside(stack, service, "id", "-u").strip() == users[service].partition(":")[0]
        assert host["ReadonlyRootfs"] is True
        assert container.exec_run(["sh", "-c", "echo x > /opt/x || echo x > /x"]).exit_code != 0
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert host["Privileged"] is False
        assert "no-new-privileges:true" in host["SecurityOpt"]
        status = inside(stack, service, "cat", "/proc/self/status")
        assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        assert host["Memory"] == host["MemorySwap"] > 0
        assert host["PidsLimit"] > 0
        assert host["NanoCpus"] > 0
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert "noexec" in host["Tmpfs"]["/tmp"]
        assert config["Healthcheck"]["Test"][0] == "CMD"
        assert host["Binds"] is None
        assert {mount["Type"] for mount in container.attrs["Mounts"]} == {"volume"}
        # Nothing secret is in the environment, where any `docker inspect` shows it.
        assert not [entry for entry in config["Env"] if re.match(r"\w*(KEY|SECRET|PASSWORD|TOKEN)\w*=.", entry)]


def test_networks_let_out_what_they_must_and_no_more(stack: Project) -> None:
    try:
        outside = socket.gethostbyname("pypi.org")
    except OSError:
        outside = "192.0.2.1"
    joined = {name: set(stack.one(name).attrs["NetworkSettings"]["Networks"]) for name in SERVICES}
    assert joined == {
        "app": {f"{stack.name}_internal"},
        "proxy": {f"{stack.name}_internal", f"{stack.name}_edge"},
        "backup": {"none"},
    }
    assert stack.client.networks.get(f"{stack.name}_internal").attrs["Internal"] is True
    assert stack.client.networks.get(f"{stack.name}_edge").attrs["Internal"] is False
    connect = ["python", "-c", f"import socket; socket.create_connection(({outside!r}, 443), 3); print('reached')"]
    image = str(stack.one("app").attrs["Image"])
    with contextlib.suppress(docker.errors.ContainerError):
        # Without a way out for anybody here, that the app has none would prove nothing.
        from_edge = stack.client.containers.run(image, connect, network=f"{stack.name}_edge", remove=True)
        assert from_edge == b"reached\n"
        assert stack.one("app").exec_run(connect).exit_code != 0
    published = {name: stack.one(name).attrs["HostConfig"]["PortBindings"] for name in SERVICES}
    assert published == {
        "app": {},
        "proxy": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]},
        "backup": {},
    }


def test_the_data_of_one_volume_reaches_only_who_needs_it(stack: Project) -> None:
    mounts = {
        name: {
            m["Destination"]: (m["Name"].removeprefix(stack.name + "_"), m["RW"])
            for m in stack.one(name).attrs["Mounts"]
        }
        for name in SERVICES
    }
    assert mounts == {
        "app": {"/data": ("sqlite_data", True), "/static": ("static_files", True)},
        "proxy": {"/static": ("static_files", False), "/etc/nginx/upstream": ("proxy_upstream", True)},
        "backup": {"/data": ("sqlite_data", False), "/backups": ("backups", True)},
    }


def test_logs_of_proxy_and_app_share_one_request_id(stack: Project) -> None:
    identity = stack.ask("/?find-me").headers["X-Request-ID"]
    lines: list[tuple[str, dict[str, Any]]] = []

    def both() -> bool:
        said = stack.run("logs", "-n", "1000").stdout.splitlines()
        found = [line.partition(" | ") for line in said if identity in line]
        lines[:] = [(service.strip(), json.loads(text)) for service, _, text in found]
        return {service for service, _ in lines} == {"app", "proxy"}

    until(both, 5, "one line in each log")
    assert {entry["request_id"] for _, entry in lines} == {identity}
    # One service alone, raw enough for jq behind the prefix.
    assert {line.partition(" | ")[0].strip() for line in stack.run("logs", "app").stdout.splitlines()} == {"app"}
    wrong = stack.run("logs", "nosuch", check=False)
    assert wrong.code == 2
    assert "app, proxy, backup" in wrong.stderr


def test_logs_follow(stack: Project) -> None:
    process = stack.start("logs", "-f", "-n", "1", "proxy")
    try:
        assert process.stdout is not None
        process.stdout.readline()
        identity = stack.ask("/?followed").headers["X-Request-ID"]
        while identity not in (line := process.stdout.readline()):
            assert line, "the log ended"
    finally:
        process.send_signal(2)
        _, told = process.communicate(timeout=20)
    assert "Traceback" not in told


def test_exec_passes_output_and_exit_code(stack: Project) -> None:
    said = stack.run("exec", "app", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (said.code, said.stdout) == (7, "out\n")
    assert "err" in said.stderr
    assert stack.run("exec", "proxy", "--", "cat", "/etc/nginx/upstream/upstream.conf").stdout.startswith("upstream ")
    assert stack.run("exec", "app", "true").code == 0
    unknown = stack.run("exec", "nosuch", "true", check=False)
    assert unknown.code == 2
    assert "there is no service 'nosuch'" in unknown.stderr


def test_exec_passes_its_input(stack: Project, tmp_path: Path) -> None:
    def piped(source: Any, *command: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "orchestrator", "exec", "app", *command]
        return subprocess.run(
            words, cwd=stack.root, env=stack.env, stdin=source, capture_output=True, text=True, check=False, timeout=60
        )

    large = tmp_path / "large"
    large.write_bytes(os.urandom(3_000_000))
    with large.open("rb") as file:
        said = piped(file, "sha256sum")
    assert (said.returncode, said.stdout.split()[0]) == (0, hashlib.sha256(large.read_bytes()).hexdigest()), said
    # A command that does not read it ends when it ends, however long the input goes on.
    with large.open("rb") as file:
        assert piped(file, "sh", "-c", "echo out; echo err >&2; exit 7").returncode == 7
    waiting, held = os.pipe()
    with os.fdopen(waiting, "rb") as file, os.fdopen(held, "wb"):
        said = piped(file, "sh", "-c", "echo out; echo err >&2")
    assert (said.returncode, said.stdout) == (0, "out\n")
    assert "err" in said.stderr
    assert piped(subprocess.DEVNULL, "cat").stdout == ""


def test_status(stack: Project) -> None:
    status = stack.json("status")
    assert status.keys() >= {"release", "url", "services", "drift", "last_snapshot"}
    assert [service["name"] for service in status["services"]] == list(SERVICES)
    for service in status["services"]:
        assert service.keys() >= {"name", "container", "state", "health", "release", "restarts"}
        assert (service["state"], service["health"], service["restarts"]) == ("running", "healthy", 0)
        assert 0 < service["memory"] < service["memory_limit"]
    assert status["release"] == stack.ask("/health").json["release"] == status["services"][0]["release"]
    assert status["drift"] == []
    assert status["url"] == f"{stack.url}/"
    # Two at once: the engine measures its disk for one at a time.
    for process in [stack.start("status") for _ in range(2)]:
        said = finished(process, 60)
        assert said.code == 0, said
        assert status["release"] in said.stdout
        assert "no drift" in said.stdout


def test_status_of_nothing(project: Project) -> None:
    status = project.json("status")
    assert [service["state"] for service in status["services"]] == ["absent"] * 3
    assert (status["release"], status["last_snapshot"]) == ("", None)
    assert status["drift"]


def test_doctor(stack: Project, project: Project) -> None:
    report = stack.json("doctor")
    assert report["ok"] is True
    assert {check["check"] for check in report["checks"]} >= {"settings", "engine", "disk", "port", "app", "drift"}
    assert all(check["ok"] for check in report["checks"])
    # The same port and a base that is not there.
    wrong = {"HTTP_PORT": str(stack.port), "PYTHON_IMAGE": "nosuch.invalid/python:1"}
    said = project.run("--json", "doctor", env=wrong, check=False)
    assert said.code == 1
    found = {check["check"]: check for check in said.json["checks"] if not check["ok"]}
    assert said.json["ok"] is False
    assert found.keys() >= {"PYTHON_IMAGE", "port"}
    assert f"{stack.name}-proxy-1" in found["port"]["found"]
    assert found["port"]["hint"]


# The service behind the proxy


def test_links_through_the_proxy(stack: Project) -> None:
    made = stack.post_json("/.api/links", {"name": "wiki", "url": "https://example.com/wiki"})
    assert (made.status, made.json["url"]) == (201, "https://example.com/wiki")
    assert stack.post_json("/.api/links", {"name": "wiki", "url": "https://example.com/"}).status == 409
    answer = stack.ask("/wiki/page?q=1")
    assert (answer.status, answer.headers["Location"]) == (302, "https://example.com/wiki/page?q=1")
    patched = stack.ask("/.api/links/wiki", method="PATCH", body={"url": "https://example.org/"})
    assert (patched.status, patched.json["url"]) == (200, "https://example.org/")
    assert stack.ask("/wiki").headers["Location"] == "https://example.org/"
    assert "wiki" in {link["name"] for link in stack.ask("/.api/links").json["links"]}
    assert stack.ask("/.api/links/wiki", method="DELETE").status == 204
    assert stack.ask("/.api/links/wiki").status == 404
    assert stack.ask("/wiki").status == 404


def test_static_files_are_served_by_the_proxy_as_immutable(stack: Project) -> None:
    match = re.search(r'href="(/static/[\w.-]+\.css)"', stack.ask("/").body.decode())
    assert match
    answer = stack.ask(match[1])
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/css")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    identity = answer.headers["X-Request-ID"]
    until(lambda: identity in stack.one("proxy").logs().decode(), 5, "the proxy's log line")
    (line,) = [line for line in stack.one("proxy").logs().decode().splitlines() if identity in line]
    assert json.loads(line)["upstream_addr"] == ""
    assert identity not in stack.one("app").logs().decode()


def test_a_page_of_its_own_while_the_app_is_away(converged: Project) -> None:
    project = converged
    project.one("app").stop(timeout=10)
    page = project.ask("/", headers={"Accept": "text/html"})
    assert page.status in (502, 504)
    assert page.headers["Content-Type"].startswith("text/html")
    assert b"Back in a moment" in page.body
    assert b"nginx" not in page.body.lower()
    assert project.ask("/.api/links").json["error"] == "unavailable"
    # The proxy itself is well, and says so.
    assert project.health()["proxy"] == "running healthy"


def test_restarting_everything_comes_back_healthy(converged: Project) -> None:
    project = converged
    project.add("kept-restarting_e")
    for container in reversed(project.containers()):
        container.restart(timeout=10)
    until(lambda: project.health() == dict.fromkeys(SERVICES, "running healthy"), 60, "all healthy again", 0.5)
    assert project.has("kept-restarting_e")
    assert project.json("plan") == {"steps": []}


def test_an_upstream_that_is_gone_is_given_up_for_one_that_works(converged: Project) -> None:
    project = converged
    project.add("kept-an_upstream_")
    content = b"upstream app {\n    server gone-long-ago:8000;\n}\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("upstream.conf")
        info.size, info.mode, info.uid, info.gid = len(content), 0o644, 10002, 10002
        archive.addfile(info, io.BytesIO(content))
    proxy = project.one("proxy")
    assert proxy.put_archive("/etc/nginx/upstream", buffer.getvalue())
    proxy.restart(timeout=5)
    until(lambda: project.health()["proxy"] == "running healthy", 40, "the proxy is healthy", 0.5)
    assert project.has("kept-an_upstream_")
    assert b"gone-long-ago" in proxy.logs()
    # The record is put right without an interruption.
    report = project.json("deploy")
    assert [step["step"] for step in report["steps"]] == ["switch-traffic"]
    assert project.has("kept-an_upstream_")
