"""What may be said of a link, field by field, and the values cleaned. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from service.links import InvalidLinkError, name_problem, url_problem

MAX_OWNER = 100  # characters
MAX_DESCRIPTION = 1000  # characters
MAX_TAGS = 20
MAX_TAG = 50  # characters
LATEST = 253402300799  # the last second of the year 9999
TAG = re.compile(r"\w[\w\-.]*")
TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)


@dataclass(frozen=True)
class Fields:
    """What people say of a link. `expires` is in seconds since 1970, or None; `tags` are folded, in order."""

    name: str
    url: str
    owner: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    expires: int | None = None


NAMES = frozenset(Fields.__dataclass_fields__)


class _Wrong(Exception):
    """A value can't be used; the message goes on after the field's name."""


def check_fields(values: Mapping[str, object]) -> Fields:
    """All fields of a new link from what was sent. Raises InvalidLinkError naming each wrong one."""
    # Both are looked at even when they are not there, so that a form shows every mistake at once.
    return replace(Fields("", ""), **check_some({"name": None, "url": None, **values}))


def check_some(values: Mapping[str, object]) -> dict[str, Any]:
    """The given fields cleaned, ready for `replace`; others stay as they are. Raises InvalidLinkError."""
    errors: dict[str, str] = {}
    cleaned: dict[str, Any] = {}
    for field, value in values.items():
        try:
            cleaned[field] = CHECKS[field](value)
        except _Wrong as wrong:
            errors[field] = str(wrong)
    if errors:
        raise InvalidLinkError(errors)
    return cleaned


def _name(value: object) -> str:
    if problem := name_problem(value):
        raise _Wrong(problem)
    return unicodedata.normalize("NFC", str(value).strip())


def _url(value: object) -> str:
    if problem := url_problem(value):
        raise _Wrong(problem)
    return str(value).strip()


def _line(value: object, longest: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _Wrong("must be text")
    # Read as one line wherever it is shown; what can't be printed (surrogates too) would only hide something.
    text = " ".join(unicodedata.normalize("NFC", value).split())
    if len(text) > longest:
        raise _Wrong(f"has more than {longest} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in text):
        raise _Wrong("must not hold control characters")
    return text


def _owner(value: object) -> str:
    return _line(value, MAX_OWNER)


def _description(value: object) -> str:
    return _line(value, MAX_DESCRIPTION)


def _tags(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    words = re.split(r"[\s,]+", value) if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise _Wrong("must be a list of words")
    tags = sorted({unicodedata.normalize("NFC", word.strip().removeprefix("#")).lower() for word in words} - {""})
    if len(tags) > MAX_TAGS:
        raise _Wrong(f"are more than {MAX_TAGS}")
    for tag in tags:
        if len(tag) > MAX_TAG:
            raise _Wrong(f"must have at most {MAX_TAG} characters each")
        if not TAG.fullmatch(tag):
            raise _Wrong("must be words of letters, digits, hyphens, dots and underscores")
    return tuple(tags)


def last_second(text: str) -> int:
    """A day such as 2026-01-31, to its end, or a time such as 2026-01-31T12:00:00Z, as seconds since 1970.

    Raises ValueError, whose message goes on after the field's name.
    """
    if not TIME.fullmatch(text):
        raise ValueError("must be a day such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z")
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == len("2026-01-31"):
            moment = moment.replace(hour=23, minute=59, second=59)
        seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (OverflowError, ValueError):
        raise ValueError("is not a day or time that exists") from None
    if not 0 < seconds <= LATEST:
        raise ValueError("must be a day such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z")
    return seconds


def _expires(value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        return last_second(str(value).strip() if isinstance(value, str) else "")
    except ValueError as error:
        raise _Wrong(str(error)) from None


CHECKS: Mapping[str, Callable[[object], Any]] = {
    "name": _name,
    "url": _url,
    "owner": _owner,
    "description": _description,
    "tags": _tags,
    "expires": _expires,
}
