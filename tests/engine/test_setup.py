"""Making a machine ready: what is there is left alone, what is missing is got, and `.env` says what differs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator import bootstrap
from tests.cannot import cannot
from tests.engine.stack import SERVICES, Project, finished

pytestmark = pytest.mark.engine

#: As on a machine where nobody has chosen base images.
DEFAULTS = {"PYTHON_IMAGE": "", "NGINX_IMAGE": ""}


def variables(project: Project) -> dict[str, str]:
    """What `.env` sets."""
    lines = (project.root / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_setup_where_everything_is_there(project: Project) -> None:
    said = project.run("--json", "setup")
    assert said.json.keys() >= {"ready", "engine", "images"}
    assert said.json["ready"] is True
    assert said.json["engine"] == project.client.version()["Version"]
    assert said.json["images"] == dict(project.bases)
    assert said.seconds < 5
    # The environment names the bases; Compose alone would call the project after the folder.
    assert variables(project) == {"COMPOSE_PROJECT_NAME": project.name}
    assert (project.root / ".env").stat().st_mode & 0o777 == 0o600
    before = (project.root / ".env").read_bytes()
    assert project.json("setup")["env"] == []
    assert (project.root / ".env").read_bytes() == before
    assert project.footprint() == {"containers": {}, "networks": set(), "volumes": set(), "lock": None}
    assert [path.name for path in project.root.glob("*.part")] == []


def test_setup_adds_to_an_env_file_and_changes_nothing_in_it(project: Project) -> None:
    mine = "# mine\nHTTP_BIND=127.0.0.1"
    (project.root / ".env").write_text(mine)
    project.run("setup")
    assert (project.root / ".env").read_text().startswith(mine + "\n")
    assert variables(project) == {"HTTP_BIND": "127.0.0.1", "COMPOSE_PROJECT_NAME": project.name}


def test_setup_where_no_registry_answers(project: Project) -> None:
    said = project.run("--json", "setup", "--yes", env=DEFAULTS)
    images = said.json["images"]
    if images["PYTHON_IMAGE"] == "python:3.13-alpine":
        cannot("a registry answers here")
    assert images["PYTHON_IMAGE"].startswith("golinks-base-python:")
    assert images["NGINX_IMAGE"].startswith("golinks-base-nginx:")
    assert "no registry has it" in said.stderr
    assert variables(project) == {"COMPOSE_PROJECT_NAME": project.name} | images
    # What was written is enough for what follows.
    report = project.json("deploy", env=DEFAULTS)
    assert report["result"] == "changed"
    assert project.health() == dict.fromkeys(SERVICES, "running healthy")
    assert project.json("setup", env=DEFAULTS)["env"] == []


def test_setup_with_a_named_image_that_is_not_to_be_had(project: Project) -> None:
    result = project.run("setup", env={"PYTHON_IMAGE": "nosuch.invalid/python:3"}, check=False)
    assert result.code == 1
    assert "image nosuch.invalid/python:3 is not to be had" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not (project.root / ".env").exists()


def test_a_fresh_clone_and_one_command(project: Project) -> None:
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    paths = subprocess.run(
        [python, "-c", "import sys; print('\\n'.join(sys.path))"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    wanted = bootstrap.pins(bootstrap.requirements_text(str(project.root)), bootstrap.RUNTIME)
    if bootstrap.satisfied(wanted, paths):
        cannot(f"{python} has the requirements already")

    def run(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [python, "-m", "orchestrator", *arguments],
            cwd=project.root,
            env={name: value for name, value in project.env.items() if name != "VIRTUAL_ENV"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    first = finished(run("deploy", "--setup"), 400)
    assert first.code == 0, first
    assert f"serves at {project.url}/" in first.stdout
    assert (project.root / ".venv" / "bin" / "python").exists()
    assert project.health() == dict.fromkeys(SERVICES, "running healthy")
    assert project.ask("/").status == 200
    made = (project.root / ".venv").stat().st_mtime
    began = time.monotonic()
    second = finished(run("deploy"), 60, began)
    assert second.code == 0, second
    assert second.stdout.startswith("nothing to do")
    assert second.seconds < 5
    assert (project.root / ".venv").stat().st_mtime == made
