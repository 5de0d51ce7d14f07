"""logs and exec."""

from __future__ import annotations

import io
import sys

import pytest

from orchestrator import logs
from orchestrator.errors import NoEngine, OrchestratorError, UsageError
from orchestrator.report import Reporter
from orchestrator.session import Session
from orchestrator.settings import load
from tests.unit.memory_engine import MemoryEngine, Script
from tests.unit.stacks import LIVE, ROOT, STACK, deployed, engine


def session_of(target: MemoryEngine) -> Session:
    return Session(load(ROOT, "production", {}), STACK, target, Reporter(io.StringIO()))


@pytest.fixture
def session() -> Session:
    target = deployed()
    target.scripts["app"] = Script(out=("app at 0", "app at 1"))
    target.scripts["proxy"] = Script(out=("proxy at 0",))
    return session_of(target)


def printed(
    session: Session, service: str | None, *, follow: bool = False, want: logs.Wanted | None = None
) -> list[str]:
    out = io.StringIO()
    logs.logs(session, service, want or logs.Wanted(), follow=follow, out=out)
    return out.getvalue().splitlines()


def test_all_services_in_order_of_time(session: Session) -> None:
    assert printed(session, None) == ["app    | app at 0", "proxy  | proxy at 0", "app    | app at 1"]


def test_one_service(session: Session) -> None:
    assert printed(session, "app") == ["app | app at 0", "app | app at 1"]


def test_follow(session: Session) -> None:
    found = sorted(printed(session, None, follow=True))
    assert found == ["app    | app at 0", "app    | app at 1", "proxy  | proxy at 0"]


def test_unknown_service_names_those_there_are(session: Session) -> None:
    with pytest.raises(UsageError, match="there is no service 'web'") as caught:
        printed(session, "web")
    assert caught.value.hint == "one of: app, proxy, backup."


@pytest.mark.parametrize(("service", "told"), [(None, "the stack has no"), ("app", "app has no")])
def test_nothing_deployed(service: str | None, told: str) -> None:
    with pytest.raises(OrchestratorError, match=told):
        printed(session_of(engine()), service)


def test_follow_tells_what_went_wrong(session: Session) -> None:
    assert isinstance(session.engine, MemoryEngine)
    session.engine.fails = lambda _, call, after: NoEngine("gone") if call.startswith("follow") and not after else None
    with pytest.raises(NoEngine):
        printed(session, None, follow=True)


class Closed(io.StringIO):
    """What `| head` leaves behind."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_follow_ends_when_nobody_reads_any_more(session: Session) -> None:
    with pytest.raises(BrokenPipeError):
        logs.logs(session, None, logs.Wanted(1), follow=True, out=Closed())


def test_lines_however_they_arrive() -> None:
    pieces = [b"2026-01 a", b" b\n2026-02 \xff", b"\n2026-03 last"]
    assert list(logs.lines(iter(pieces))) == [("2026-01", "a b"), ("2026-02", "\ufffd"), ("2026-03", "last")]


def test_exec_runs_in_the_container_with_traffic(session: Session, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    target = session.engine
    assert isinstance(target, MemoryEngine)
    target.commands[("id", "-u")] = (7, "10001\n")
    assert logs.execute(session, "app", ["id", "-u"]) == 7
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == b"10001\n"
    assert f"run_in {LIVE} id -u" in target.calls


def test_exec_needs_a_running_container(session: Session) -> None:
    assert isinstance(session.engine, MemoryEngine)
    session.engine.named(LIVE).state = "exited"
    with pytest.raises(OrchestratorError, match="app is not running"):
        logs.execute(session, "app", ["id"])
