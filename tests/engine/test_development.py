"""Development: the source mounted, live reload, the debugger, no proxy; production beside it is not touched."""

from __future__ import annotations

import contextlib
import http.client
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import MakeProject
from tests.engine.stack import SERVICE, Project, copy_checkout, free_port, removed, until

pytestmark = pytest.mark.engine

FILES = ("-f", "docker-compose.yml", "-f", "config/docker-compose.development.yml")
VOLUMES = {"sqlite_data", "static_files", "backups"}
#: Long, since the machine may be busy: how long it takes is measured by `python -m tests.bench development`.
PATIENCE = 60
LIVEZ = 'return answer_json({"status": "ok"})'


def development_of(production: Project, root: Path) -> Project:
    """The same project's development, with a port of its own, in a checkout of its own."""
    more = {"COMPOSE_PROJECT_NAME": production.name}
    return Project(production.client, production.bases, root, f"{production.name}-development", more=more)


@pytest.fixture(scope="module")
def production(make_project: MakeProject) -> Project:
    """Not deployed."""
    return make_project()


@pytest.fixture(scope="module")
def stack(production: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Development, deployed; its tests leave the files as they were."""
    root = copy_checkout(tmp_path_factory.mktemp("development"))
    # pytest's folders are their owner's alone; a person's checkout is not.
    for folder in (root, *root.rglob("*")):
        folder.chmod(folder.stat().st_mode | (0o055 if folder.is_dir() else 0o044))
    with removed(development_of(production, root)) as made:
        made.run("-e", "development", "deploy")
        yield made


def answers(project: Project, path: str, text: str, status: int = 200) -> bool:
    """Whether a path is answered with a status and a text; not while it starts again."""
    try:
        answer = project.ask(path)
    except (OSError, http.client.HTTPException):
        return False
    return answer.status == status and text.encode() in answer.body


@contextlib.contextmanager
def edited(project: Project, old: str, new: str, file: str = "service/health.py") -> Iterator[None]:
    """One piece of a file is another one meanwhile, and served again as it was at the end."""
    project.edit(file, old, new)
    try:
        yield
    finally:
        project.edit(file, new, old)
    shows(project, "/livez", "ok")


def shows(project: Project, path: str, text: str, status: int = 200) -> None:
    until(lambda: answers(project, path, text, status), PATIENCE, f"{text!r} at {path}")


def test_the_app_alone_on_this_machine_alone(stack: Project) -> None:
    assert stack.health() == {"app": "running healthy"}
    assert {name.removeprefix(f"{stack.name}_") for name in stack.volumes()} == VOLUMES
    attributes = stack.one("app").attrs
    assert attributes["HostConfig"]["PortBindings"] == {
        "8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]
    }
    assert attributes["HostConfig"]["ReadonlyRootfs"] is True
    (mount,) = (m for m in attributes["Mounts"] if m["Type"] == "bind")
    assert (mount["Source"], mount["Destination"], mount["RW"]) == (
        str(stack.root / "service"),
        "/opt/app/service",
        False,
    )


def test_a_link_leads_on_and_visits_are_counted(stack: Project) -> None:
    """The layer in front of Flask is there, and what a worker does besides."""
    stack.add("wiki", "https://wiki.example.com/")
    answer = stack.ask("/wiki/pages?x=1")
    assert (answer.status, answer.headers["Location"]) == (302, "https://wiki.example.com/pages?x=1")
    until(lambda: stack.ask("/.api/links/wiki").json["clicks"] == 1, PATIENCE, "the visit is written")
    line = next(line for line in stack.run("-e", "development", "logs", "app").stdout.splitlines() if "/wiki/" in line)
    assert '"status": 302' in line


def test_a_change_of_code_is_served_and_needs_no_deployment(stack: Project) -> None:
    before = stack.ids()
    with edited(stack, LIVEZ, LIVEZ.replace("ok", "changed")):
        shows(stack, "/livez", "changed")
        assert stack.json("-e", "development", "plan") == {"steps": []}
        assert stack.json("-e", "development", "deploy")["result"] == "unchanged"
        assert stack.ids() == before
    assert not list(stack.root.rglob("service/**/__pycache__")), "nothing is written to the checkout"


def test_a_change_of_a_template_and_of_a_static_file_is_served(stack: Project) -> None:
    started = stack.one("app").attrs["State"]["StartedAt"]
    base = stack.root / "service/templates/base.html"
    base.write_text(base.read_text().replace("</body>", "<p>template-changed</p></body>"))
    shows(stack, "/", "template-changed")

    def style() -> str:
        found = re.search(rb"/static/app\.[0-9a-f]+\.css", stack.ask("/").body)
        assert found
        return found[0].decode()

    first = style()
    assert stack.ask(first).status == 200
    with (stack.root / "service/static/app.css").open("a") as file:
        file.write("/* style-changed */\n")
    until(lambda: style() != first, PATIENCE, "another style")
    answer = stack.ask(style())
    assert b"style-changed" in answer.body
    assert answer.headers["Content-Type"].startswith("text/css")
    assert stack.one("app").attrs["State"]["StartedAt"] == started


@pytest.mark.parametrize(
    "new",
    [
        "raise RuntimeError('for-the-debugger')",
        "return for-the-debugger(",
        "db.database.execute_sql('for-the-debugger')",
    ],
    ids=["in a view", "syntax", "of the database"],
)
def test_an_error_opens_the_debugger_and_its_correction_closes_it(stack: Project, new: str) -> None:
    with edited(stack, LIVEZ, new):
        shows(stack, "/livez", "for-the-debugger", 500)
        page = stack.ask("/livez").body.decode()
        assert "EVALEX = true" in page
        assert "EVALEX_TRUSTED = false" in page, "it asks for its PIN"
        secret = re.search(r'SECRET = "(\w+)"', page)
        assert secret
        # The PIN is in the log, and opens it.
        log = stack.run("-e", "development", "logs", "-n", "1000", "app").stdout
        pins = re.findall(r"Debugger PIN: ([\d-]+)", log)
        answer = stack.ask(f"/?__debugger__=yes&cmd=pinauth&pin={pins[-1]}&s={secret[1]}")
        assert answer.json["auth"] is True
        foreign = stack.ask("/livez", headers={"Host": "evil.example.com"})
        assert b"EVALEX = false" in foreign.body


def test_a_new_migration_is_asked_for(stack: Project) -> None:
    known = sorted((stack.root / "service/migrations").glob("0*.py"))[-1]
    number = int(known.name[:4]) + 1
    path = known.with_name(f"{number:04d}_later.py")
    path.write_text(
        '"""Later."""\n\nfrom typing import Any\n\n\ndef apply(database: Any) -> None:\n    """Nothing."""\n'
    )
    with edited(stack, LIVEZ, LIVEZ.replace("ok", "later")):
        shows(stack, "/livez", "python -m service.migrate", 500)
        stack.run("-e", "development", "exec", "app", "python", "-m", "service.migrate")


def test_verbs(stack: Project) -> None:
    def run(*arguments: str) -> str:
        return stack.run("-e", "development", *arguments).stdout

    assert run("exec", "app", "id", "-u").strip() == "10001"
    until(lambda: stack.health() == {"app": "running healthy"}, PATIENCE, "healthy")
    status = stack.json("-e", "development", "status")
    assert [(s["name"], s["health"]) for s in status["services"]] == [("app", "healthy")]
    assert status["drift"] == []
    checks = {row["check"]: row["ok"] for row in stack.json("-e", "development", "doctor", check=False)["checks"]}
    assert checks["port"]
    assert checks["drift"]
    assert checks["compose files"]
    stack.add("kept")
    snapshot = stack.json("-e", "development", "backup")["snapshot"]
    stack.add("later")
    assert stack.json("-e", "development", "restore", snapshot, "--yes")["restored"] == snapshot
    shows(stack, "/.api/links/kept", "kept")
    assert stack.ask("/.api/links/later").status == 404
    for verb in ("rollback", "releases", "maintenance"):
        failed = stack.run("-e", "development", verb, check=False)
        assert failed.code == 2
        assert f"{stack.name} has no proxy" in failed.stderr


def test_changed_settings_replace_the_app_in_place(stack: Project) -> None:
    stack.add("stays")
    old = stack.one("app").id
    report = stack.json("-e", "development", "deploy", env={"LOG_LEVEL": "debug"})
    assert any("interrupts" in step["cause"] for step in report["steps"])
    assert stack.one("app").id != old
    assert stack.health() == {"app": "running healthy"}
    assert stack.has("stays")
    assert stack.json("-e", "development", "deploy", env={"LOG_LEVEL": "debug"})["result"] == "unchanged"
    # What does not become healthy leaves what was.
    new = stack.one("app").id
    bad = {"LOG_LEVEL": "loud"}
    failed = stack.run("-e", "development", "deploy", check=False, env=bad)
    assert failed.code == 3, failed.stderr
    assert "LOG_LEVEL" in failed.stderr, "its own log says why"
    assert stack.one("app").id == new
    until(lambda: stack.health() == {"app": "running healthy"}, PATIENCE, "it serves again")
    stack.run("-e", "development", "deploy")


def test_refused(stack: Project) -> None:
    before = stack.footprint()
    for env, told in (
        ({"HTTP_BIND": "0.0.0.0"}, "must be of this machine alone"),  # noqa: S104 - refused
        ({"DOCKER_HOST": f"tcp://127.0.0.1:{free_port()}"}, ""),
    ):
        failed = stack.run("-e", "development", "deploy", check=False, env=env)
        assert failed.code == (2 if told else 5)
        assert told in failed.stderr
    assert stack.footprint() == before


def test_production_is_not_touched(production: Project, stack: Project) -> None:
    production.run("deploy")
    production.add("precious", "https://production.example.com/")
    picture = production.footprint()
    stack.add("mine")
    assert not stack.has("precious", "https://production.example.com/")
    assert not production.has("mine")
    stack.run("-e", "development", "deploy")
    stack.run("-e", "development", "down", "--volumes", "--yes")
    assert (stack.containers(), stack.volumes(), stack.networks()) == ([], set(), set())
    assert production.footprint() == picture
    assert production.has("precious", "https://production.example.com/")
    stack.run("-e", "development", "deploy")
    assert not stack.has("mine")
    production.clear()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_compose_way(version: str, request: pytest.FixtureRequest, production: Project, stack: Project) -> None:
    command = request.getfixturevalue(f"compose_{version}")
    stack.run("-e", "development", "down", "--volumes", "--yes")
    # With the same project's production beside it, under the name that the README gives.
    other = Project(production.client, production.bases, stack.root, f"{production.name}c", port=stack.port)
    with removed(other), _without_volumes(other):
        other.compose(command, *FILES, "up", "-d", "--build")
        until(lambda: other.health() == {"app": "running healthy"}, PATIENCE, "healthy")
        own = _named(other)
        assert own
        assert all(name.startswith(f"{other.name}-development_") for name in own)
        assert {c.labels[SERVICE] for c in other.containers()} == {"app"}
        other.add("by-compose")
        with edited(other, LIVEZ, LIVEZ.replace("ok", "composed")):
            shows(other, "/livez", "composed")
        port = other.one("app").attrs["HostConfig"]["PortBindings"]["8000/tcp"]
        assert [binding["HostIp"] for binding in port] == ["127.0.0.1"]
        other.compose(command, *FILES, "down", "-v")
        assert _named(other) == set()


@contextlib.contextmanager
def _without_volumes(project: Project) -> Iterator[None]:
    """Those that do not have the project's own name go, too."""
    try:
        yield
    finally:
        project.clear()
        for network in project.client.api.networks(names=[f"{project.name}-"]):
            project.client.api.remove_network(network["Name"])
        for name in _named(project):
            project.client.api.remove_volume(name)


def _named(project: Project) -> set[str]:
    """The volumes whose names begin with the project's."""
    listed = project.client.api.volumes(filters={"name": project.name})["Volumes"] or []
    return {str(volume["Name"]) for volume in listed}


def test_compose_down_with_volumes_leaves_productions(
    production: Project, stack: Project, compose_v1: list[str]
) -> None:
    """The files name no volume of production's, so `down -v` with both does not find them."""
    said = subprocess.run(
        [*compose_v1, *FILES, "config"], cwd=stack.root, env=production.env, capture_output=True, text=True, check=True
    ).stdout
    assert f"{production.name}-development_sqlite_data" in said
    assert not re.search(rf"name: {production.name}_", said)
