"""One project for both tools: what Compose brings up we take over, and what we deploy it sees; the data stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import equal
from tests.engine.conftest import MakeProject
from tests.engine.stack import SERVICES, Project, until
from tests.load import Load, lost

pytestmark = pytest.mark.engine

HEALTHY = dict.fromkeys(SERVICES, "running healthy")


@pytest.fixture(params=[equal.V1, equal.V2])
def version(request: pytest.FixtureRequest) -> str:
    """Each version of Compose in turn."""
    return str(request.param)


@pytest.fixture
def command(request: pytest.FixtureRequest, version: str) -> list[str]:
    found: list[str] = request.getfixturevalue(f"compose_{version}")
    return found


@pytest.fixture(scope="module")
def stack(make_project: MakeProject) -> Iterator[Project]:
    """A deployed stack, for tests that only look at it."""
    made = make_project()
    made.run("deploy")
    yield made


def healthy(project: Project) -> None:
    until(lambda: project.health() == HEALTHY, 60, f"all healthy: {project.health()}", 0.3)


def test_a_fresh_checkout_comes_up_equal_and_is_taken_over(
    project: Project, stack: Project, command: list[str], version: str
) -> None:
    assert not (project.root / ".env").exists()
    project.compose(command, "up", "-d", "--build")
    healthy(project)
    assert len(project.containers()) == 3
    # The proof that the generated file says what the orchestrator does.
    different, allowed = equal.compare(equal.documents(stack), equal.documents(project), version)
    assert different == []
    assert equal.stale(allowed, version) == [], "allowed, and not so"
    project.add("by-compose")
    volumes = project.volumes()
    assert {name.removeprefix(f"{project.name}_") for name in volumes} == {
        "sqlite_data",
        "static_files",
        "proxy_upstream",
        "backups",
    }
    # Its backup service keeps to the same schedule, and its snapshots are as good as any.
    until(lambda: project.json("backups")["snapshots"], 30, "a snapshot that nobody asked for", 0.5)
    (scheduled,) = project.json("backups")["snapshots"]
    assert (scheduled["reason"], scheduled["release"], scheduled.get("error")) == ("schedule", "compose", None)
    assert project.json("verify", scheduled["snapshot"])["ok"] is True
    # Ours sees what it made, and says why it would be made anew.
    status = project.json("status")
    assert {service["health"] for service in status["services"]} == {"healthy"}
    proxy = project.one("proxy").id
    with Load(project.port, slow_path=None, new=40.0, kept=5, kept_rate=5.0, slow=0.0, writes=10.0) as load:
        report = project.json("deploy")
    assert report["result"] == "changed"
    assert any("made by another tool" in step["cause"] for step in report["steps"])
    assert project.one("proxy").id == proxy, "another one would have interrupted"
    assert load.failed == []
    assert load.acknowledged
    assert lost(project.port, load.acknowledged) == []
    assert project.health() == HEALTHY
    assert len(project.containers()) == 3
    assert project.has("by-compose")
    assert project.volumes() == volumes
    assert project.json("plan") == {"steps": []}

    # And back, over the running stack and its data.
    project.add("by-us")
    project.compose(command, "up", "-d", "--no-build")
    healthy(project)
    assert project.has("by-compose")
    assert project.has("by-us")
    assert project.volumes() == volumes
    assert len(project.containers()) == 3

    # Ours removes what Compose started, and keeps its data.
    project.run("down")
    assert project.containers() == []
    assert project.networks() == set()
    assert project.volumes() == volumes


def test_ps_and_logs_show_what_we_deployed(stack: Project, command: list[str]) -> None:
    identity = stack.ask("/?for-compose").headers["X-Request-ID"]
    until(lambda: identity.encode() in stack.one("app").logs(), 5, "the app's log line")
    shown = stack.compose(command, "ps").stdout
    for container in stack.containers():
        assert str(container.name) in shown, shown
    assert shown.count("healthy") == 3, shown
    assert f"127.0.0.1:{stack.port}" in shown
    logs = stack.compose(command, "logs", "--no-color").stdout
    assert logs.count(identity) == 2, logs
    assert stack.compose(command, "ps", "-q", "app").stdout.strip() == stack.one("app").id
    assert stack.compose(command, "exec", "-T", "app", "id", "-u").stdout.strip() == "10001"


def test_stop_and_start_of_compose_work_on_what_we_deployed(stack: Project, command: list[str]) -> None:
    ids = stack.ids()
    stack.compose(command, "stop")
    assert {health.split()[0] for health in stack.health().values()} == {"exited"}
    stack.compose(command, "start")
    healthy(stack)
    assert stack.ids() == ids
    until(lambda: stack.ask("/health").status == 200, 20, "it serves again")


def test_down_of_compose_takes_ours_away_and_keeps_the_data(stack: Project, command: list[str], version: str) -> None:
    stack.run("deploy")
    stack.add(f"kept-from-{version}")
    volumes = stack.volumes()
    stack.compose(command, "down")
    assert stack.containers() == []
    assert stack.networks() == set()
    assert stack.volumes() == volumes
    stack.run("deploy")
    assert stack.has(f"kept-from-{version}")
