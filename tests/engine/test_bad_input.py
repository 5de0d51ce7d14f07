"""What a person or a machine gets wrong: a clear sentence, the right exit code, and nothing half-made."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cannot import cannot
from tests.engine.conftest import MakeProject
from tests.engine.stack import SERVICES, Project, Result, finished, until
from tests.load import Load, lost

pytestmark = pytest.mark.engine

CONFIG = "config/production.toml"


def refused(project: Project, result: Result, code: int, *said: str) -> None:
    """The exit code, what is said, no traceback, and next to nothing on standard output."""
    assert result.code == code, result
    for text in said:
        assert text in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def nothing(project: Project) -> bool:
    """Whether the engine has nothing of the project but images, which the next build is the quicker for."""
    return project.footprint() == {"containers": {}, "networks": set(), "volumes": set(), "lock": None}


@pytest.fixture(scope="module")
def serving(make_project: MakeProject) -> Project:
    """A project that is deployed, with one link; each test leaves it serving."""
    made = make_project()
    made.run("deploy")
    made.add("kept")
    return made


# The engine


def test_no_engine(project: Project) -> None:
    for arguments in (["deploy"], ["plan"], ["status"], ["backup"], ["down"], ["logs"]):
        result = project.run(*arguments, env={"DOCKER_HOST": "unix:///nonexistent/docker.sock"}, check=False)
        refused(project, result, 5, "no Docker engine answers at unix:///nonexistent/docker.sock", "setup")
    said = project.run("--json", "deploy", env={"DOCKER_HOST": "unix:///nonexistent/docker.sock"}, check=False)
    assert said.code == 5
    assert "no Docker engine answers" in said.json["error"]
    assert nothing(project)


def test_an_engine_that_refuses_this_user(project: Project, tmp_path: Path) -> None:
    if os.getuid() != 0:
        cannot("only root can become somebody who is refused")
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o600)
        # Everything of the way to the socket may be passed by anybody; the socket itself may not.
        for folder in (tmp_path, *tmp_path.parents, project.root, *project.root.parents):
            if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o055)
        began = time.monotonic()
        process = subprocess.Popen(
            [
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                sys.executable,
                "-m",
                "orchestrator",
                "plan",
            ],
            cwd=project.root,
            env=project.env | {"DOCKER_HOST": f"unix://{path}", "HOME": "/nonexistent"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        result = finished(process, 60, began)
    refused(project, result, 5, f"the Docker engine at unix://{path} refuses this user", "usermod -aG docker")


# The port


def test_a_port_that_a_container_holds(project: Project, bases: dict[str, str]) -> None:
    holder = project.client.containers.run(
        bases["PYTHON_IMAGE"],
        ["python3", "-m", "http.server", "8080"],
        name=f"{project.name}-holder",
        ports={"8080/tcp": ("127.0.0.1", project.port)},
        detach=True,
    )
    try:
        result = project.run("deploy", check=False)
        refused(project, result, 1, f"port {project.port} is in use by container {holder.name}", "HTTP_PORT")
        assert project.containers() == []
        assert project.networks() == set()
        assert project.lock() is None
    finally:
        holder.remove(force=True)
    # The same command does it once the port is free.
    project.run("deploy")
    assert project.ask("/").status == 200


def test_a_port_that_a_process_holds(project: Project) -> None:
    script = f"import http.server; http.server.HTTPServer(('127.0.0.1', {project.port}), None).serve_forever()"
    holder = subprocess.Popen([sys.executable, "-c", script])
    try:
        until(lambda: not _bindable(project.port), 10, "the port is held")
        result = project.run("deploy", check=False)
        refused(project, result, 1, f"port {project.port} is in use by", f"(process {holder.pid})", "HTTP_PORT")
        assert project.containers() == []
        assert project.networks() == set()
    finally:
        holder.kill()
        holder.wait()


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# Settings


def test_every_wrong_setting_is_told_at_once(project: Project) -> None:
    project.edit(CONFIG, "pids = 128", 'pids = "many"')
    project.edit(CONFIG, 'memory = "128m"', "memory = 128\nmemry = 1")
    project.edit(CONFIG, "last = 7", "last = 0")
    (project.root / ".env").write_text("HTTP_BIND=127.0.0.1\nthis is no line\n")
    for verb in ("deploy", "plan", "status", "down"):
        result = project.run(verb, check=False)
        refused(
            project,
            result,
            2,
            "settings are wrong",
            f"{CONFIG}: services.app.pids = 'many': must be a whole number",
            f"{CONFIG}: services.proxy.memory = 128: must be a size",
            f"{CONFIG}: services.proxy.memry = 1: there is no such key",
            f"{CONFIG}: backup.retain.last = 0: ",
            ".env:2: a line must be NAME=value or a # comment",
            "nothing was done",
        )
    assert nothing(project)
    assert project.tags() == set()


def test_a_wrong_variable_is_told_with_its_place(project: Project) -> None:
    (project.root / ".env").write_text("# first\nHTTP_BIND=everywhere\n")
    refused(project, project.run("deploy", check=False), 2, ".env:2: HTTP_BIND = 'everywhere': must be an IP address")
    result = project.run("deploy", env={"HTTP_PORT": "99999", "HTTP_BIND": "127.0.0.1"}, check=False)
    refused(project, result, 2, "environment: HTTP_PORT = '99999': must be a port")
    (project.root / CONFIG).write_text("this is = = not TOML")
    refused(project, project.run("deploy", check=False), 2, f"{CONFIG}: is not TOML", "line 1")
    assert nothing(project)


def test_a_variable_that_nothing_uses_is_a_warning(serving: Project) -> None:
    (serving.root / ".env").write_text("HTTP_PROT=8081\n")
    report = serving.json("deploy")
    (serving.root / ".env").unlink()
    assert report["warnings"] == [".env:1: HTTP_PROT is not used by anything"]
    assert report["result"] == "unchanged"


# Images


def test_a_base_image_that_is_not_to_be_had(project: Project) -> None:
    result = project.run("deploy", env={"PYTHON_IMAGE": "nosuch.invalid/python:3"}, check=False)
    refused(
        project, result, 1, "the app image could not be built", "nosuch.invalid", "orchestrator setup", "PYTHON_IMAGE"
    )
    assert nothing(project)
    assert not [tag for tag in project.tags() if "-app" in tag]


def test_a_build_that_fails_in_pip(project: Project) -> None:
    requirements = project.root / "service" / "requirements.txt"
    requirements.write_text("nosuch-package-of-golinks==9.9.9 --hash=sha256:" + "0" * 64 + "\n")
    before = _unfinished(project)
    result = project.run("deploy", check=False)
    refused(
        project,
        result,
        1,
        "the app image could not be built",
        "pip",
        "No matching distribution found for nosuch-package-of-golinks==9.9.9",
        "see its requirements",
    )
    assert nothing(project)
    assert not [tag for tag in project.tags() if "-app" in tag]
    assert _unfinished(project) == before


def _unfinished(project: Project) -> set[str]:
    """Containers of builds that were left behind; those of this project's builds run pip."""
    listed = project.client.containers.list(all=True, ignore_removed=True, filters={"status": "exited"})
    return {str(c.id) for c in listed if "nosuch-package-of-golinks" in str(c.attrs["Config"]["Cmd"])}


def test_too_little_disk_for_a_build(project: Project) -> None:
    result = project.run("deploy", env={"BUILD_MIN_FREE": "999t"}, check=False)
    refused(project, result, 1, "are free for images in", "a build wants 1098", "BUILD_MIN_FREE", "docker system prune")
    assert nothing(project)
    assert project.tags() == set()


def test_no_build_without_an_image(project: Project) -> None:
    result = project.run("deploy", "--no-build", check=False)
    refused(project, result, 1, "there is no image of the current files for app", "without --no-build")
    assert nothing(project)


# A service that does not come up


def test_a_service_that_exits_at_once(project: Project) -> None:
    init = project.root / "service" / "server.py"
    init.write_text(init.read_text() + "\nraise SystemExit('this service wants to end')\n")
    result = project.run("deploy", check=False)
    refused(project, result, 1, "app exited with code 1", "its last log lines:", "this service wants to end")
    assert "everything is as it was" in result.stderr
    assert result.seconds < 45, "its start may take 51 s"
    assert project.containers() == []
    assert project.networks() == set()
    assert project.lock() is None


def test_a_migration_that_fails(project: Project) -> None:
    project.edit(CONFIG, '["python", "-m", "service.migrate"]', '["sh", "-c", "echo no schema for you; exit 3"]')
    result = project.run("deploy", check=False)
    refused(project, result, 1, "failed with code 3", "no schema for you")
    assert project.containers() == []
    assert project.networks() == set()


def test_a_service_that_never_becomes_healthy(project: Project) -> None:
    text = (project.root / CONFIG).read_text()
    sick = '[services.app.health]\ncommand = ["/bin/sh", "-c", "echo the probe is sad; exit 1"]\n'
    old = (
        '[services.app.health]\npath = "/health"\ninterval = "1s"\ntimeout = "3s"\nretries = 3\nstart_period = "30s"\n'
    )
    assert old in text
    new = f'{sick}interval = "1s"\ntimeout = "1s"\nretries = 4\nstart_period = "1s"\n'
    (project.root / CONFIG).write_text(text.replace(old, new))
    result = project.run("--json", "deploy", check=False)
    assert result.code == 1
    assert result.json["result"] == "failed"
    told = result.json
    assert told["error"].startswith("app did not become healthy")
    assert "its probe says: the probe is sad" in told["detail"]
    # The service's own words are there, too.
    assert any("gunicorn" in line for line in told["detail"])
    assert project.containers() == []
    assert project.networks() == set()


def test_a_name_that_somebody_else_has_is_left_alone(project: Project, bases: dict[str, str]) -> None:
    # Neither is of the project by its labels, so neither may be touched, in the undo either.
    other = project.client.containers.create(bases["PYTHON_IMAGE"], "true", name=f"{project.name}-backup-1")
    network = project.client.networks.create(f"{project.name}_edge")
    try:
        result = project.run("deploy", check=False)
        refused(project, result, 1, f"{project.name}_edge")
        assert network.name in project.networks()
        network.remove()
        result = project.run("deploy", check=False)
        refused(project, result, 1, f"{project.name}-backup-1", "in use")
        other.reload()
        assert project.containers() == []
    finally:
        other.remove(force=True)


# Two at once, and the end of one


def test_two_deployments_at_once(project: Project) -> None:
    first = project.start("--json", "deploy")
    until(project.lock, 60, "the first one holds the lock", 0.02)
    second = project.run("deploy", check=False)
    won = finished(first, 120)
    assert won.code == 0, won
    refused(project, second, 4, f"another deployment of {project.name} is under way", f"process {first.pid}", "since ")
    assert project.health() == dict.fromkeys(SERVICES, "running healthy")
    assert project.lock() is None


def slow_to_be_healthy(project: Project) -> None:
    """The app's checks wait for a file that nobody makes, long enough to interrupt the wait."""
    text = (project.root / CONFIG).read_text()
    old = '[services.app.health]\npath = "/health"\n'
    assert old in text
    never = '[services.app.health]\ncommand = ["/bin/sh", "-c", "test -e /tmp/never"]\n'
    (project.root / CONFIG).write_text(text.replace(old, never))


def waits(project: Project, process: subprocess.Popen[str], service: str = "app") -> None:
    """Returns when the deployment waits for a container that was just started."""

    def started() -> bool:
        assert process.poll() is None, process.communicate()
        return any("starting" in health for name, health in project.health().items() if name == service)

    until(started, 60, "the deployment waits", 0.05)
    time.sleep(0.5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_takes_everything_back(project: Project, number: signal.Signals) -> None:
    slow_to_be_healthy(project)
    process = project.start("deploy")
    waits(project, process)
    process.send_signal(number)
    result = finished(process, 60)
    refused(project, result, 1, "interrupted", "everything is as it was")
    assert project.containers() == []
    assert project.networks() == set()
    assert project.lock() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_release_leaves_the_old_one(serving: Project, number: signal.Signals) -> None:
    before, config = serving.footprint(), (serving.root / CONFIG).read_text()
    slow_to_be_healthy(serving)
    with Load(serving.port, slow_path=None, slow=0.0, new=40.0, writes=10.0) as load:
        process = serving.start("deploy")
        until(lambda: len(serving.containers("app")) == 2, 60, "the candidate is there", 0.05)
        time.sleep(1)
        process.send_signal(number)
        result = finished(process, 60)
    (serving.root / CONFIG).write_text(config)
    print(f"\n{number.name} in a release: {load}")
    assert result.code in (1, 3)
    assert "interrupted" in result.stderr
    assert "Traceback" not in result.stderr
    assert load.failed == []
    assert lost(serving.port, load.acknowledged) == []
    assert serving.footprint() == before


def test_a_killed_deployment_is_taken_over(serving: Project) -> None:
    page = serving.root / "service" / "templates" / "base.html"
    page.write_text(page.read_text() + "<!-- the second release -->\n")
    process = serving.start("deploy")
    until(lambda: len(serving.containers("app")) >= 2, 60, "the candidate or its migration is there", 0.02)
    process.kill()
    process.communicate()
    assert serving.lock() is not None
    assert serving.has("kept")
    result = serving.run("--json", "deploy")
    assert "has died; taking over" in result.stderr
    assert result.json["result"] == "changed"
    assert serving.lock() is None
    assert b"the second release" in serving.ask("/").body
    assert serving.has("kept")
    assert len(serving.containers()) == 3
    assert serving.health() == dict.fromkeys(SERVICES, "running healthy")
    assert serving.json("plan") == {"steps": []}
