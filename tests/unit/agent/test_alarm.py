"""When trouble is told, what Prometheus reads, and that the webhook is asked in a way that hurts nobody."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.agent import alarm, metrics, notes, webhook
from orchestrator.agent.alarm import AGAIN, RETRY
from orchestrator.agent.errors import AgentError
from orchestrator.agent.manifest import Entry, Rehearsed, format_time
from orchestrator.agent.notes import Notes

from .conftest import run_agent
from .test_pure import NOON
from .test_retention import entry

NOW = int(NOON.timestamp())
NEW = Notes()
FAILED = Notes(attempted=NOW - 60, failures=1, error="torn")


@pytest.mark.parametrize(
    ("state", "last_good", "healthy", "found"),
    [
        (Notes(), None, True, ""),
        (Notes(), -100, True, ""),
        (Notes(), -100, False, "stale"),
        (Notes(), None, False, "stale"),
        (FAILED, None, True, "failure"),
        (FAILED, -100, True, "failure"),
        (FAILED, -100, False, "failure"),
        (FAILED, -10, True, ""),
        (Notes(copy_failures=2), -100, True, ""),
        (Notes(copy_failures=3), -100, True, "uncopied"),
        (Notes(copy_failures=3), -100, False, "stale"),
        (replace(FAILED, copy_failures=3), -100, True, "failure"),
    ],
)
def test_trouble(state: Notes, last_good: int | None, healthy: bool, found: str) -> None:
    moment = None if last_good is None else NOON + timedelta(seconds=last_good)
    assert alarm.trouble(state, last_good=moment, healthy=healthy) == found


@pytest.mark.parametrize(
    ("told", "tried", "trouble", "event"),
    [
        (None, None, "", ""),
        (None, None, "failure", "failure"),
        (None, None, "stale", "stale"),
        (NOW - 1, None, "stale", ""),
        (NOW - AGAIN, None, "stale", "stale"),
        (NOW + 9999, None, "stale", "stale"),
        (NOW - 1, None, "", "recovery"),
        (NOW - 1, NOW - 5, "", ""),
        (None, NOW - 5, "failure", ""),
        (None, NOW - RETRY, "failure", "failure"),
        (None, NOW + 5, "failure", "failure"),
        (None, NOW - RETRY, "", ""),
    ],
)
def test_due(told: int | None, tried: int | None, trouble: str, event: str) -> None:
    assert alarm.due(Notes(told=told, tried=tried), trouble, NOW) == event


def rendered(*days: int, state: Notes = NEW, project: str = "shop") -> str:
    entries = [entry(day) for day in days]
    return metrics.render(entries, state, project=project, max_age=timedelta(hours=26), now=NOON)


def families(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Each metric's samples, by the labels besides the project."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        assert family.name not in found, "one block for each"
        samples = found.setdefault(family.name, {})
        for sample in family.samples:
            assert sample.labels.pop("project") in ("shop", 'a"b\\c\nd')
            assert sample.timestamp is None, "node_exporter refuses a file with times"
            samples[tuple(sample.labels.values())] = sample.value
    return found


def test_metrics_before_anything_happened() -> None:
    assert families(rendered()) == {
        "snapshot_consecutive_failures": {(): 0},
        "snapshot_max_age_seconds": {(): 93600},
        "snapshot_stored": {("good",): 0, ("raw",): 0, ("broken",): 0},
    }


def test_metrics() -> None:
    state = Notes(attempted=NOW, failures=2, error="torn")
    entries = [entry(-1), entry(-2, verified=True), entry(-3, raw=True), entry(0, error="torn"), entry(1)]
    found = families(metrics.render(entries, state, project="shop", max_age=timedelta(hours=26), now=NOON))
    assert found["snapshot_last_success_timestamp_seconds"] == {(): NOW - 86400}, "not that of the future"
    assert found["snapshot_last_verified_timestamp_seconds"] == {(): NOW - 2 * 86400}
    assert "snapshot_last_rehearsed_timestamp_seconds" not in found
    assert found["snapshot_last_attempt_timestamp_seconds"] == {(): NOW}
    assert found["snapshot_last_attempt_success"] == {(): 0}
    assert found["snapshot_consecutive_failures"] == {(): 2}
    assert found["snapshot_stored"] == {("good",): 3, ("raw",): 1, ("broken",): 1}
    assert found["snapshot_last_success_bytes"].keys() == {()}
    assert found["snapshot_last_success_duration_seconds"].keys() == {()}
    assert families(rendered(-1, state=replace(state, failures=0)))["snapshot_last_attempt_success"] == {(): 1}
    assert families(rendered(-1, project='a"b\\c\nd')), "labels are escaped"
    assert all(re.fullmatch(r"[a-z_]+_(seconds|bytes|success|failures|stored)|snapshot_stored", name) for name in found)


def test_what_is_on_the_remotes_is_told_for_each() -> None:
    def on(day: int, *remotes: str) -> Entry:
        one = entry(day)
        assert one.detail is not None
        return replace(one, detail=replace(one.detail, remotes={remote: {} for remote in remotes}))

    entries = [on(-1, "a:x"), on(-2, "a:x", "b:y"), on(-3, "b:y", "gone:z")]
    state = Notes(copy_failures=4)
    given: dict[str, Any] = {"project": "shop", "max_age": timedelta(hours=26), "now": NOON}
    found = families(metrics.render(entries, state, remotes=("a:x", "b:y", "new:"), **given))
    assert found["snapshot_last_copied_timestamp_seconds"] == {("a:x",): NOW - 86400, ("b:y",): NOW - 2 * 86400}
    assert found["snapshot_copy_consecutive_failures"] == {(): 4}
    assert "snapshot_copy_consecutive_failures" not in families(metrics.render(entries, state, **given))


def test_how_far_a_replica_is_behind_is_told_in_steps() -> None:
    for lag, told in ((None, None), (3.0, 0.0), (44.9, 30.0)):
        text = metrics.render([], NEW, project="shop", max_age=timedelta(hours=26), now=NOON, lag=lag)
        assert families(text).get("snapshot_replica_lag_seconds") == (None if told is None else {(): told})


def test_only_a_rehearsal_that_passed_counts() -> None:
    def rehearsed(day: int, result: str) -> Entry:
        one = entry(day)
        assert one.detail is not None
        at = format_time(NOON + timedelta(days=day))
        how = Rehearsed(at=at, result=result, release="r1", image="i", own_release=True)
        return replace(one, detail=replace(one.detail, rehearsed=how))

    entries = [rehearsed(-1, "failed"), rehearsed(-3, "passed")]
    found = families(metrics.render(entries, NEW, project="shop", max_age=timedelta(hours=26), now=NOON))
    assert found["snapshot_last_rehearsed_timestamp_seconds"] == {(): NOW - 3 * 86400}


def test_a_file_is_whole_or_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes.save(tmp_path, FAILED)
    assert notes.load(tmp_path) == FAILED
    (tmp_path / notes.FILE).write_text('{"attempted": 5, "failures": 1, "error": "torn", "told": 6, "tried": null}')
    assert notes.load(tmp_path) == Notes(attempted=5, failures=1, error="torn", told=6), "of a version before"
    assert [path.name for path in tmp_path.iterdir()] == [notes.FILE]
    notes.write(tmp_path / "no" / "x", "text", mode=0o644)
    assert "x cannot be written" in capsys.readouterr().err


class Server:
    """A real one, whose answers are scripted: a status, or a function of the handler."""

    def __init__(self) -> None:
        self.answers: list[int | Callable[[BaseHTTPRequestHandler], object]] = []
        self.seen: list[tuple[str, str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.seen.append((self.command, self.headers["Content-Type"], json.loads(body)))
                answer = server.answers.pop(0) if server.answers else 204
                if callable(answer):
                    answer(self)
                    return
                self.send_response(answer)
                if answer in (301, 302, 307, 308):
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def do_GET(self) -> None:
                server.seen.append((self.command, "", None))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/hook/s3cret"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(webhook, "PAUSE", 0.01)
    made = Server()
    yield made
    made.close()


def test_it_is_told(server: Server) -> None:
    webhook.post(server.url, {"event": "failure"})
    assert server.seen == [("POST", "application/json", {"event": "failure"})]


def test_it_is_tried_again_but_not_for_ever(server: Server) -> None:
    server.answers = [500, 503]
    webhook.post(server.url, {"event": "failure"})
    assert len(server.seen) == 3
    server.answers = [500] * 9
    with pytest.raises(AgentError, match=r"^The webhook answered 500 \(3 tries\)\.$"):
        webhook.post(server.url, {"event": "failure"})
    assert len(server.seen) == 6


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure(server: Server, status: int) -> None:
    server.answers = [status] * 3
    with pytest.raises(AgentError, match=f"answered {status}"):
        webhook.post(server.url, {"event": "failure"})
    assert {method for method, _, _ in server.seen} == {"POST"}


def test_no_answer_ends_in_time_and_a_broken_one_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    server.answers = [
        lambda _: done.wait(5),
        lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"),
        lambda handler: handler.connection.close(),
    ]
    monkeypatch.setattr(webhook, "TIMEOUT", 0.2)
    try:
        with pytest.raises(AgentError, match="The webhook cannot be reached") as caught:
            webhook.post(server.url, {"event": "failure"})
    finally:
        done.set()
    assert len(server.seen) == 3
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/s3cret",
        "data:,s3cret",
        "http://127.0.0.1:1/s3cret",
        "http://127.0.0.1:s3cret/",
        "http://127.0.0.1/s3 cret",
        "http://127.0.0.1/\r\ns3cret",
        "http://s3cret@127.0.0.1:1/",
        "http:///s3cret",
        "",
    ],
)
def test_the_address_is_never_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSE", 0.01)
    with pytest.raises(AgentError) as caught:
        webhook.post(url, {})
    assert "s3cret" not in caught.value.message


def test_the_agent_sends_what_it_is_given(server: Server) -> None:
    done = run_agent("notify", given='{"event": "stale"}', BACKUP_WEBHOOK_URL=server.url)
    assert (done.code, done.last) == (0, {"event": "done"})
    assert server.seen == [("POST", "application/json", {"event": "stale"})]
    refused = run_agent("notify", BACKUP_WEBHOOK_URL="file:///s3cret")
    assert (refused.code, refused.last["code"]) == (2, "usage")
    assert "s3cret" not in str(refused.events) + refused.stderr
