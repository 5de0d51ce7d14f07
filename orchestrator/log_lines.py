"""What a line of a log says: its level, its request, and how a person reads it. Pure.

Ours and Nginx's are JSON objects; another app's lines may be anything, so whatever says nothing of the matter is shown
rather than hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orchestrator.agent.freshness import parse_age
from orchestrator.arguments import LEVELS
from orchestrator.errors import UsageError
from orchestrator.style import harmless

_WORDS = {
    **dict.fromkeys(("trace", "debug"), 0),
    **dict.fromkeys(("info", "notice", "success"), 1),
    **dict.fromkeys(("warn", "warning"), 2),
    **dict.fromkeys(("err", "error"), 3),
    **dict.fromkeys(("crit", "critical", "fatal", "alert", "emerg", "panic"), 4),
}
#: A level in a line of text: in capitals, in brackets (`[error]`, as Nginx writes it), or named (`level=warn`).
_ALL = "|".join(_WORDS)
_IN_TEXT = re.compile(rf"\b({_ALL.upper()})\b|\[({_ALL})\]|\blevel=\"?(?i:({_ALL}))\b")
_CRASH = re.compile(r"Traceback \(most recent call last\)|panic: |thread '.*' panicked")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?(Z|[+-]\d\d:\d\d)?")
#: Where in a line of text a level stands; what comes later is part of the message.
_HEAD = 120
#: What the readable form shows in places of its own, or not at all.
_PLACED = re.compile(
    "time|level|message|event|request_id|logger|pid|method|path|uri|status|duration_ms|request_time|traceback|error|"
    "protocol|host|upstream_addr|upstream_status|upstream_time|bytes|remote_addr|referer|user_agent"
)


def fields(text: str) -> dict[str, Any]:
    """The JSON object that a line is; empty for any other line."""
    if text.startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
    return {}


def level(text: str) -> int | None:
    """The place of a line's level in LEVELS; None if it says none. A request without a level has that of its status."""
    found = fields(text)
    if found:
        named = _WORDS.get(str(found.get("level", "")).lower())
        status = found.get("status")
        if named is None and isinstance(status, int):
            return 3 if status >= 500 else 2 if status >= 400 else 1
        return named
    if _CRASH.search(text[:_HEAD]):
        return 3
    match = _IN_TEXT.search(text[:_HEAD])
    return _WORDS[next(filter(None, match.groups())).lower()] if match else None


def of_request(text: str, wanted: str) -> bool:
    """Whether a line names a request, by its id or the beginning of that."""
    return re.search(rf"(?<![\w-]){re.escape(wanted)}", text) is not None


@dataclass
class Filter:
    """What is wanted of one container's lines, which come in their order: a line that goes on from the one before (it
    is indented, as a traceback's are) goes with it. `minimum` is a place in LEVELS."""

    minimum: int | None = None
    request: str = ""
    _shown: bool = field(default=True, init=False)

    def __call__(self, text: str) -> bool:
        if text[:1] in (" ", "\t"):
            return self._shown
        self._shown = self._wanted(text)
        return self._shown

    def _wanted(self, text: str) -> bool:
        if self.request and not of_request(text, self.request):
            return False
        found = level(text) if self.minimum is not None else None
        return self.minimum is None or found is None or found >= self.minimum


def moment(text: str, option: str, now: datetime) -> datetime:
    """`10m` (ago), `2026-11-24T10:15:02Z`, or less of that; UTC where no zone is said. Raises UsageError."""
    if span := parse_age(text):
        return now - span
    if _MOMENT.fullmatch(text):
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return found.replace(tzinfo=found.tzinfo or UTC)
    raise UsageError(
        f"{option} {text}: this is not a time.", hint="it must be 90s, 10m, 2h, 1d (ago) or 2026-11-24T10:15:02Z (UTC)."
    )


def readable(stamp: str, text: str, paint: Callable[[str, str], str]) -> str:
    """A line as a person reads it on a terminal; `stamp` is the engine's time of it. `paint` colours a text."""
    found = fields(text)
    clock = paint(stamp[11:19], "dim")
    number = level(text)
    colour = {2: "yellow", 3: "red", 4: "red"}.get(number or 0, "")
    if not found:
        return f"{clock} {harmless(text, keep_colour=True)}"
    what = harmless(_message(found))
    more = " ".join(f"{key}={_value(value)}" for key, value in found.items() if not _PLACED.fullmatch(key))
    parts = [clock, paint(f"{LEVELS[number] if number is not None else '':<8}", colour), paint(what, colour)]
    parts += [more] if more else []
    if identity := str(found.get("request_id", "")):
        parts.append(paint(f"[{harmless(identity)[:12]}]", "dim"))
    lines = [" ".join(parts)]
    lines += [f"  {harmless(line)}" for line in str(found.get("traceback") or "").splitlines()]
    return "\n".join(lines)


def _message(found: dict[str, Any]) -> str:
    message = str(found.get("message") or found.get("event") or "")
    if "method" in found and "status" in found:
        taken = found.get("duration_ms")
        if taken is None and isinstance(found.get("request_time"), int | float):
            taken = round(float(found["request_time"]) * 1000, 1)
        told = f"{found['method']} {found.get('path', found.get('uri', ''))} {found['status']}"
        told += f" {taken} ms" if taken is not None else ""
        message = told if message in ("", "request") else f"{message}: {told}"
    error = str(found.get("error") or "")
    return f"{message}: {error}" if error and error not in message else message


def _value(value: object) -> str:
    return harmless(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
