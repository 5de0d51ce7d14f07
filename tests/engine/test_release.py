"""Releases on a real engine, under load: the switch, rollback, replicas, migrations, the proxy's changes, hooks,
maintenance, pruning."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import standin
from tests.engine.conftest import MakeProject
from tests.engine.stack import SERVICES, Project, until
from tests.load import Load, lost

pytestmark = pytest.mark.engine

CONFIG = "config/production.toml"
#: Lighter than the benchmark's: what is looked for is any request that fails.
TRAFFIC: dict[str, Any] = {"new": 25.0, "kept": 3, "kept_rate": 5.0, "slow": 2.0, "writes": 5.0}
RETURNING = re.compile(r"back to release (\S+), which serves")


def lines(project: Project) -> str:
    return (project.root / CONFIG).read_text()


def unharmed(load: Load, project: Project) -> None:
    """The oracle: no request failed, no acknowledged write is gone, and each redirect is counted, once."""
    assert load.failed == []
    assert load.sent > 50
    assert load.acknowledged
    assert lost(project.port, load.acknowledged) == []
    followed = sum(result.status == 302 for result in load.results)
    assert followed > 20

    def counted() -> int:
        return int(project.ask(f"/.api/links/{load.link}").json["clicks"])

    until(lambda: counted() >= followed, 20, f"{followed} clicks are counted")
    assert counted() == followed


def live(project: Project) -> str:
    return str(project.ask("/health").json["release"])


def inside(project: Project, service: str, *command: str) -> str:
    """What a command prints in a service's container; it must end with 0."""
    code, output = project.one(service).exec_run(list(command))
    assert isinstance(output, bytes)
    assert code == 0, output
    return output.decode()


def stepped(report: dict[str, Any]) -> list[str]:
    return [step["step"] for step in report["steps"]]


@pytest.fixture(scope="module")
def slow(make_project: MakeProject) -> Iterator[Project]:
    """A deployed stack whose app has a path that takes two seconds."""
    made = make_project()
    standin.slow(made.root)
    standin.change(made.root, 0)
    made.run("deploy")
    yield made


def test_releases_and_rollbacks_fail_no_request(slow: Project) -> None:
    first = live(slow)
    with Load(slow.port, slow_path=standin.SLOW_PATH, **TRAFFIC) as load:
        seen = [first]
        for number in (1, 2):
            standin.change(slow.root, number)
            report = slow.json("deploy")
            assert (report["result"], report["previous"]) == ("changed", seen[-1])
            seen.append(report["release"])
            assert live(slow) == seen[-1]
        back = slow.run("rollback")
        found = RETURNING.search(back.stdout)
        assert found and found[1] == seen[1]
        assert live(slow) == seen[1]
        further = slow.json("rollback")
        assert (further["result"], further["release"]) == ("changed", first)
        assert "build-image" not in stepped(further)
        assert live(slow) == first
        named = slow.json("rollback", seen[2])
        assert (named["release"], named["previous"]) == (seen[2], first)
        assert live(slow) == seen[2]
    unharmed(load, slow)
    assert slow.json("plan") == {"steps": []}, "the newest release is what the files say"
    assert len(slow.containers()) == 3

    history = slow.json("releases")["releases"]
    told = [(entry["release"], entry["action"], entry["result"], entry["live"]) for entry in history]
    assert told == [
        (seen[2], "rollback", "deployed", True),
        (first, "rollback", "deployed", False),
        (seen[1], "rollback", "deployed", False),
        (seen[2], "deploy", "deployed", False),
        (seen[1], "deploy", "deployed", False),
        (first, "deploy", "deployed", False),
    ]
    assert all(entry["user"] and entry["host"] and entry["image_present"] for entry in history)
    assert history[3]["changes"][0].startswith("image: ")
    text = slow.run("releases").stdout
    assert f"* {seen[2]}" in text
    assert "rolled back to" in text


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        ("nothing-like-it", 2, "is no release of this project"),
        ("20", 2, "is the beginning of"),
        ("live", 2, "serves already"),
    ],
)
def test_a_release_that_cannot_be_gone_back_to(slow: Project, wanted: str, code: int, message: str) -> None:
    before = slow.footprint()
    result = slow.run("rollback", live(slow) if wanted == "live" else wanted, check=False)
    assert result.code == code
    assert message in result.stderr
    assert slow.footprint() == before


def test_replicas_go_up_and_down_and_one_may_die(slow: Project) -> None:
    text = lines(slow)
    before = live(slow)
    try:
        with Load(slow.port, slow_path=standin.SLOW_PATH, **TRAFFIC) as load:
            slow.edit(CONFIG, 'target = "app"\n', 'target = "app"\nreplicas = 2\n')
            report = slow.json("deploy")
            assert (report["result"], report["release"]) == ("changed", before), "the same release, once more"
            assert len(slow.containers("app", running=True)) == 2
            standin.change(slow.root, 11)
            both = slow.json("deploy")
            assert len(slow.containers("app", running=True)) == 2
            assert both["release"] != before
            (slow.root / CONFIG).write_text(text)
            slow.json("deploy")
            assert len(slow.containers("app", running=True)) == 1
        unharmed(load, slow)
        assert slow.json("plan") == {"steps": []}
        slow.edit(CONFIG, 'target = "app"\n', 'target = "app"\nreplicas = 2\n')
        slow.json("deploy")
        upstream = inside(slow, "proxy", "cat", "/etc/nginx/upstream/upstream.conf")
        assert upstream.count("server ") == 2
        slow.containers("app")[0].kill()
        assert [slow.ask("/").status for _ in range(20)] == [200] * 20
        slow.run("deploy")
        assert [c.status for c in slow.containers("app")] == ["running"] * 2
    finally:
        (slow.root / CONFIG).write_text(text)
        slow.run("deploy")


def test_only_the_app_has_replicas(slow: Project) -> None:
    text = lines(slow)
    slow.edit(CONFIG, 'target = "proxy"\n', 'target = "proxy"\nreplicas = 2\n')
    result = slow.run("deploy", check=False)
    (slow.root / CONFIG).write_text(text)
    assert result.code == 2
    assert "only `app` may have more than one of `replicas`" in result.stderr


# Migrations

STEP = '''"""A table that a test adds."""

from peewee import Database


def apply(database: Database) -> None:
    database.execute_sql("{sql}")
'''


def add_step(project: Project, sql: str) -> Path:
    """A migration that follows those that are there."""
    folder = project.root / "service" / "migrations"
    step = folder / f"{len(list(folder.glob('0*.py'))) + 1:04}_test.py"
    step.write_text(STEP.format(sql=sql))
    return step


def test_a_migration_has_a_snapshot_before_it(project: Project) -> None:
    first = project.json("deploy")
    assert "snapshot" not in first, "nothing could be lost"
    project.add("before")
    standin.change(project.root, 1)
    plain = project.json("deploy")
    assert not {"snapshot", "migrated"} & plain.keys()
    assert "migrate" not in stepped(plain), "its files are the same: nothing is asked"

    added = add_step(project, "CREATE TABLE extra (id INTEGER PRIMARY KEY)")
    with Load(project.port, slow_path=None, **TRAFFIC | {"slow": 0.0}) as load:
        report = project.json("deploy")
    unharmed(load, project)
    assert report["migrated"] is True
    kept = {entry["snapshot"]: entry for entry in project.json("backups")["snapshots"]}
    assert kept[report["snapshot"]]["reason"] == "before-migration"
    assert project.ask("/health").json["schema"] == int(added.name[:4])
    assert project.has("before")

    # Files that changed, and nothing to do in the database: asked, and neither a snapshot nor a migration.
    page = project.root / "service" / "migrations" / "__init__.py"
    page.write_text(page.read_text() + "\n# changed\n")
    asked = project.json("deploy")
    assert "migrate" in stepped(asked)
    assert not {"snapshot", "migrated"} & asked.keys()

    # A step that fails: everything as it was, and the way to the snapshot.
    broken = add_step(project, "CREATE NONSENSE")
    before, serving = project.footprint(), live(project)
    failed = project.run("--json", "deploy", check=False)
    assert failed.code == 3
    document = failed.json
    assert document["result"] == "rolled_back"
    assert "migration failed" in failed.stderr
    assert document["snapshot"] in failed.stderr
    assert f"step {broken.stem} failed" in failed.stderr
    assert project.footprint() == before
    assert live(project) == serving
    newest = project.json("releases")["releases"][0]
    assert (newest["result"], newest["snapshot"]) == ("rolled_back", document["snapshot"])

    # Back over a migration: told, with the snapshot that was taken before.
    broken.unlink()
    refused = project.run("rollback", plain["release"], check=False)
    assert (refused.code, live(project)) == (2, serving)
    assert "hint: say so with --yes" in refused.stderr
    back = project.json("rollback", plain["release"], "--yes")
    assert back["result"] == "changed"
    (warning,) = [text for text in back["warnings"] if "schema has moved" in text]
    assert report["snapshot"] in warning
    assert project.has("before")


# The proxy


def test_a_changed_configuration_is_reloaded(slow: Project) -> None:
    before = slow.one("proxy").id
    with Load(slow.port, slow_path=standin.SLOW_PATH, **TRAFFIC) as load:
        slow.edit("config/nginx/headers.conf", '""      DENY;', '""      SAMEORIGIN;')
        report = slow.json("deploy")
    unharmed(load, slow)
    assert {"copy-configuration", "use-configuration"} <= set(stepped(report))
    assert slow.one("proxy").id == before
    assert slow.ask("/health").headers["X-Frame-Options"] == "SAMEORIGIN"
    assert slow.json("plan") == {"steps": []}

    # It stays when the container starts again.
    slow.one("proxy").restart()
    until(lambda: slow.health()["proxy"] == "running healthy", 20, "the proxy is healthy")
    assert slow.ask("/health").headers["X-Frame-Options"] == "SAMEORIGIN"

    # One that Nginx refuses never gets to run.
    slow.edit("config/nginx/nginx.conf", "sendfile on;", "sendfile maybe;")
    with Load(slow.port, slow_path=standin.SLOW_PATH, **TRAFFIC) as load:
        failed = slow.run("deploy", check=False)
    unharmed(load, slow)
    assert failed.code == 3
    assert "Nginx refuses the new configuration" in failed.stderr
    assert 'invalid value "maybe"' in failed.stderr
    assert slow.ask("/health").headers["X-Frame-Options"] == "SAMEORIGIN"
    slow.edit("config/nginx/nginx.conf", "sendfile maybe;", "sendfile on;")
    assert slow.json("plan") == {"steps": []}

    # And back to the image's own.
    slow.edit("config/nginx/headers.conf", '""      SAMEORIGIN;', '""      DENY;')
    assert "use-configuration" in stepped(slow.json("deploy"))
    assert slow.ask("/health").headers["X-Frame-Options"] == "DENY"
    assert slow.one("proxy").id == before
    assert inside(slow, "proxy", "readlink", "/tmp/nginx") == "/etc/nginx\n"


def test_a_new_proxy_interrupts_for_a_moment_and_says_so(slow: Project) -> None:
    text = lines(slow)
    slow.edit(CONFIG, 'memory = "128m"', 'memory = "160m"')
    planned = slow.run("plan").stdout
    assert "interrupts for a moment" in planned
    report = slow.json("deploy")
    # A page of a shared machine may come late; the benchmark has the figure.
    assert 0 < report["interrupted_seconds"] < 2
    assert "hand-the-port-to" in stepped(report)
    assert slow.ask("/").status == 200
    assert len(slow.containers("proxy")) == 1
    # One that does not start: the old one has the port all along.
    slow.edit(CONFIG, 'user = "10002:10002"', 'user = "10002:10002"\ncommand = ["-g", "nonsense;"]')
    with Load(slow.port, slow_path=standin.SLOW_PATH, **TRAFFIC) as load:
        failed = slow.run("deploy", check=False)
    unharmed(load, slow)
    assert failed.code == 3
    assert "proxy exited with code" in failed.stderr
    (slow.root / CONFIG).write_text(text)
    slow.run("deploy")


# Hooks and maintenance


def test_hooks(slow: Project, tmp_path: Path) -> None:
    text = lines(slow)
    note = tmp_path / "note"
    script = f'echo "$RELEASE $PREVIOUS_RELEASE $URL" >>{note}; echo said'

    def hooks(before: str, after: str) -> None:
        changed = text.replace("before = []", f'before = [["sh", "-c", {before!r}]]')
        (slow.root / CONFIG).write_text(changed.replace("after = []", f'after = [["sh", "-c", {after!r}]]'))

    try:
        old = live(slow)
        standin.change(slow.root, 21)
        hooks(script, script)
        result = slow.run("--json", "deploy")
        assert note.read_text() == f"{result.json['release']} {old} {slow.url}/\n" * 2
        assert "said" in result.stderr

        # A failing one before is in the fault table; this one has slow requests under way when it goes back.
        serving, footprint = live(slow), slow.footprint()
        standin.change(slow.root, 22)
        hooks("true", "echo it smokes; exit 4")
        with Load(slow.port, slow_path=standin.SLOW_PATH, **TRAFFIC) as load:
            failed = slow.run("deploy", check=False)
        unharmed(load, slow)
        assert failed.code == 3
        assert slow.footprint() == footprint
        assert live(slow) == serving
        assert "it smokes" in failed.stderr
        newest = slow.json("releases")["releases"][0]
        assert newest["result"] == "rolled_back"
        assert "ended with code 4" in newest["reason"]
    finally:
        (slow.root / CONFIG).write_text(text)
        slow.run("deploy")


def test_maintenance(slow: Project) -> None:
    assert slow.json("maintenance")["maintenance"] == "off"
    on = slow.json("maintenance", "on")
    try:
        assert on["since"]
        page = slow.ask("/")
        assert (page.status, page.headers["Retry-After"]) == (503, "60")
        assert b"maintenance" in page.body
        assert "text/html" in page.headers["Content-Type"]
        assert b'href="/.proxy/page.css"' in page.body
        assert slow.ask("/.proxy/page.css").headers["Content-Type"].startswith("text/css")
        answer = slow.ask("/.api/links")
        assert (answer.status, answer.json["error"]) == (503, "maintenance")
        assert slow.json("status")["maintenance"] == on["since"]
        assert slow.json("maintenance", "on")["since"] == on["since"]
        # A release goes on behind it, and proves itself.
        standin.change(slow.root, 31)
        assert slow.json("deploy")["result"] == "changed"
        assert slow.ask("/").status == 503
        time.sleep(2)
        assert slow.health() == dict.fromkeys(SERVICES, "running healthy")
    finally:
        assert slow.json("maintenance", "off")["maintenance"] == "off"
    assert slow.ask("/").status == 200
    assert slow.run("maintenance", "perhaps", check=False).code == 2


def test_maintenance_of_nothing(project: Project) -> None:
    result = project.run("maintenance", "on", check=False)
    assert result.code == 1
    assert "no proxy runs here" in result.stderr


# Images


def test_old_images_go_and_those_for_a_rollback_stay(project: Project) -> None:
    stack = project
    stack.edit(CONFIG, "keep = 5", "keep = 2")
    releases = []
    for number in range(3):
        standin.change(stack.root, number)
        releases.append(stack.json("deploy")["release"])
    tags = {tag for tag in stack.tags() if tag.startswith(f"{stack.name}-app:")}
    assert len(tags) == 3, "two releases and `latest`"
    present = {entry["release"]: entry["image_present"] for entry in stack.json("releases")["releases"]}
    assert [present[release] for release in releases] == [False, True, True]
    gone = stack.run("rollback", releases[0], check=False)
    assert gone.code == 1
    assert "is gone" in gone.stderr
    assert stack.json("rollback")["release"] == releases[1]
    nothing = stack.run("rollback", check=False)
    assert nothing.code == 1
    assert "no earlier good release" in nothing.stderr
    disk = stack.json("status")["disk"]
    assert disk["images"] > 50_000_000
    assert disk["volumes"] >= disk[f"{stack.name}_sqlite_data"] > 0
    assert "images" in stack.run("status").stdout


def test_rollback_takes_todays_secrets(project: Project) -> None:
    stack = project
    stack.edit(CONFIG, "[services.app.environment]\n", '[services.app.environment]\nAPI_TOKEN = "${API_TOKEN:-}"\n')
    first = stack.run("--json", "deploy", env={"API_TOKEN": "old-secret-1"}).json["release"]
    stack.run("deploy", env={"API_TOKEN": "new-secret-2", "LOG_LEVEL": "debug"})
    changes = stack.json("releases")["releases"][0]["changes"]
    assert "environment.LOG_LEVEL: info -> debug" in changes
    assert "environment.API_TOKEN: ******** -> ********" in changes
    back = stack.run("--json", "rollback", env={"API_TOKEN": "new-secret-2"})
    assert back.json["release"] == first
    assert any("API_TOKEN" in warning for warning in back.json["warnings"])
    environment = stack.one("app").attrs["Config"]["Env"]
    assert "API_TOKEN=new-secret-2" in environment
    assert "LOG_LEVEL=info" in environment
    assert "secret-" not in inside(stack, "proxy", "sh", "-c", "cat /etc/nginx/upstream/releases/*")


def test_down_and_up_again_keeps_the_history(project: Project) -> None:
    first = project.json("deploy")["release"]
    project.run("down")
    standin.change(project.root, 1)
    second = project.json("deploy")["release"]
    assert [entry["release"] for entry in project.json("releases")["releases"]] == [second, first]
    assert project.json("rollback")["release"] == first
