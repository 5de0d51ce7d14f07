"""What log lines say, whoever wrote them, and how they are shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator import log_lines, logs, style
from orchestrator.arguments import LEVELS
from orchestrator.errors import UsageError
from orchestrator.log_lines import Filter
from tests.unit.memory_engine import Script
from tests.unit.stacks import NOW, deployed
from tests.unit.test_logs import printed, session_of
from tests.unit.test_report import Terminal

APP = {"time": "2026-11-24T10:15:02.001+00:00", "level": "warning", "message": "slow", "request_id": "0123456789abcdef"}
NGINX = {"time": "x", "logger": "nginx", "request_id": "fedc", "method": "GET", "uri": "/a?b", "request_time": 0.0031}


@pytest.mark.parametrize(
    ("text", "level"),
    [
        (json.dumps(APP), "warning"),
        (json.dumps(APP | {"level": "CRITICAL"}), "critical"),
        (json.dumps(NGINX | {"status": 200}), "info"),
        (json.dumps(NGINX | {"status": 404}), "warning"),
        (json.dumps(NGINX | {"status": 502}), "error"),
        (json.dumps({"level": "info", "status": 500}), "info"),
        ('{"level": "error", cut', None),
        ('["error"]', None),
        ("2026/11/24 10:15:02 [error] 7#7: *1 connect() failed", "error"),
        ("2026/11/24 10:15:02 [emerg] 1#1: bind() failed", "critical"),
        ("[2026-11-24 10:15:02 +0000] [1] [INFO] Starting gunicorn", "info"),
        ("WARNING:root:careful", "warning"),
        ('time=2026 level=warn msg="x"', "warning"),
        ("Traceback (most recent call last):", "error"),
        ("no error here, only words", None),
        ("127.0.0.1 - - GET /ERRORS", None),
        ("", None),
    ],
)
def test_level(text: str, level: str | None) -> None:
    found = log_lines.level(text)
    assert (None if found is None else LEVELS[found]) == level


def shown(lines: list[str], **wanted: object) -> list[str]:
    passes = Filter(**wanted)  # type: ignore[arg-type]
    return [line for line in lines if passes(line)]


def test_what_says_nothing_of_a_level_is_shown() -> None:
    lines = ["INFO begin", "  more of it", "plain", "Traceback (most recent call last):", "  File x", "ValueError: no"]
    assert shown(lines, minimum=2) == lines[2:]
    assert shown(lines, minimum=1) == lines


def test_a_request_by_the_beginning_of_its_id() -> None:
    lines = [
        json.dumps(APP),
        json.dumps(APP | {"request_id": "x0123456789abcdef"}),
        "GET / id=0123456 ok",
        "  its",
        "b",
    ]
    assert shown(lines, request="0123456") == [lines[0], lines[2], lines[3]]
    assert shown(lines, request="0123456789abcdef") == [lines[0]]
    assert shown(lines, request="0.23") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", NOW - timedelta(minutes=10)),
        ("2d", NOW - timedelta(days=2)),
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        ("2026-11-24T09:00", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("2026-11-24T10:15:02Z", NOW),
        ("2026-11-24 12:15:02+02:00", NOW),
        ("2026-11-24T10:15:02.5Z", NOW + timedelta(seconds=0.5)),
    ],
)
def test_a_time(text: str, expected: datetime) -> None:
    assert log_lines.moment(text, "--since", NOW) == expected


@pytest.mark.parametrize("text", ["", "soon", "10", "0m", "2026-13-01", "20261124", "2026-W01-1", "24:00", "9999999d"])
def test_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="this is not a time"):
        log_lines.moment(text, "--since", NOW)


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="is not before"):
        logs.wanted(tail=None, level=None, request="", since="1m", until="2m", now=NOW)


def test_how_many_lines() -> None:
    def tail(**more: str) -> int | None:
        options = {"level": None, "request": "", "since": None, "until": None} | more
        return logs.wanted(tail=None, now=NOW, **options).tail  # type: ignore[arg-type]

    assert tail() == logs.TAIL
    assert tail(since="1h") is tail(level="error") is tail(request="a") is None


def test_the_last_lines_of_a_filter_are_its_own() -> None:
    target = deployed()
    target.scripts["app"] = Script(out=("ERROR one", "ERROR two", "ERROR three", *["INFO"] * 50))
    session = session_of(target)
    found = printed(session, "app", want=logs.Wanted(2, minimum=3))
    assert found == ["app | ERROR two", "app | ERROR three"]
    at = datetime(2026, 11, 24, 10, 0, 1, tzinfo=UTC)
    assert printed(session, "app", want=logs.Wanted(1, until=at)) == ["app | ERROR two"]
    assert printed(session, "app", want=logs.Wanted(since=at, until=at)) == ["app | ERROR two"]


def plain(text: str, colour: str) -> str:
    return text


def test_as_people_read_it() -> None:
    stamp = "2026-11-24T10:15:02.001234567Z"
    assert log_lines.readable(stamp, json.dumps(APP | {"rows": 3, "pid": 7}), plain) == (
        "10:15:02 warning  slow rows=3 [0123456789ab]"
    )
    assert log_lines.readable(stamp, json.dumps(NGINX | {"status": 302}), plain) == (
        "10:15:02 info     GET /a?b 302 3.1 ms [fedc]"
    )
    failed = APP | {"level": "error", "error": "ValueError: no", "traceback": "File x\nValueError: no"}
    assert log_lines.readable(stamp, json.dumps(failed), plain).splitlines()[1:] == ["  File x", "  ValueError: no"]
    assert log_lines.readable(stamp, "any other line", plain) == "10:15:02 any other line"


def test_a_line_of_others_cannot_command_the_terminal() -> None:
    evil = "\x1b]0;title\x07\x1b[2Jgone\r\x9b31m"
    assert style.harmless(evil) == "\\x1b]0;title\\x07\\x1b[2Jgone\\x0d\\x9b31m"
    assert style.harmless("\x1b[31mred\x1b[H", keep_colour=True) == "\x1b[31mred\\x1b[H\x1b[0m"
    for line in (json.dumps(APP | {"message": evil, "request_id": evil, "more": evil}), evil):
        assert not set("\x1b\x07\r\x9b") & set(log_lines.readable("2026-11-24T10:15:02Z", line, plain))


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(deployed())
    assert isinstance(session.engine.twin(), type(session.engine))
    session.engine.scripts["app"] = Script(out=(json.dumps(APP),))  # type: ignore[attr-defined]

    def seen(**environment: str) -> str:
        for name in ("NO_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        out = Terminal()
        logs.logs(session, "app", logs.Wanted(), follow=False, out=out)
        return out.getvalue()

    assert seen(TERM="xterm").startswith("\x1b[36mapp |\x1b[0m \x1b[2m10:00:00\x1b[0m \x1b[33mwarning ")
    assert seen(TERM="xterm", NO_COLOR="1") == "app | 10:00:00 warning  slow [0123456789ab]\n"
    assert seen(TERM="dumb") == f"app | {json.dumps(APP)}\n"
