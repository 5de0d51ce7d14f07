"""What a target may use of Go's templates: values, their fields and methods, functions, layouts of time. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, quote_plus

from service.patterns import ValueProblem, match

MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
WEEKDAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()  # noqa: SIM905


class NoUserError(ValueProblem):
    """The target depends on who follows the link, and nobody is signed in."""


class Month(int):
    """A number with a name, which is what is printed."""

    def __str__(self) -> str:
        return MONTHS[self - 1]


class Weekday(int):
    """0 is Sunday."""

    def __str__(self) -> str:
        return WEEKDAYS[self]


@dataclass(frozen=True)
class Page:
    """What a template is given, in Go's words: `.Path`, `.Now`, `.User`."""

    path: str
    now: datetime
    user: str


@dataclass(frozen=True)
class Function:
    """`params` are the types of its arguments; `more` allows further ones, of that type."""

    params: tuple[type, ...]
    result: type
    call: Callable[..., Any]
    more: type | None = None


def shown(value: object) -> str:
    """A value as Go prints it into a template's output."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return format_time(value, "2006-01-02 15:04:05.999999999 -0700 MST")
    return str(value)


def kind(type_: type) -> str:
    """What people call values of this type."""
    for known, word in ((bool, "a truth value"), (int, "a number"), (str, "text"), (datetime, "a time")):
        if issubclass(type_, known):
            return word
    return "the page" if type_ is Page else "a value"


# Layouts of time: Go writes them as that one moment, Mon Jan 2 15:04:05 MST 2006, would look.

_CHUNK = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|002|0[1-6]|15|2006|__2|_2(?!006)|[1-5]|PM|pm"
    r"|[-Z]07(?::?00(?::?00)?)?|[.,](?:0+|9+)(?!\d)"
)


def _twelve(moment: datetime) -> int:
    return moment.hour % 12 or 12


_CHUNKS: Mapping[str, Callable[[datetime], str]] = {
    "January": lambda at: MONTHS[at.month - 1],
    "Jan": lambda at: MONTHS[at.month - 1][:3],
    "Monday": lambda at: WEEKDAYS[at.isoweekday() % 7],
    "Mon": lambda at: WEEKDAYS[at.isoweekday() % 7][:3],
    "MST": lambda _at: "UTC",
    "002": lambda at: f"{at.timetuple().tm_yday:03}",
    "__2": lambda at: f"{at.timetuple().tm_yday:3}",
    "2006": lambda at: f"{at.year:04}",
    "06": lambda at: f"{at.year % 100:02}",
    "01": lambda at: f"{at.month:02}",
    "1": lambda at: str(at.month),
    "02": lambda at: f"{at.day:02}",
    "_2": lambda at: f"{at.day:2}",
    "2": lambda at: str(at.day),
    "15": lambda at: f"{at.hour:02}",
    "03": lambda at: f"{_twelve(at):02}",
    "3": lambda at: str(_twelve(at)),
    "04": lambda at: f"{at.minute:02}",
    "4": lambda at: str(at.minute),
    "05": lambda at: f"{at.second:02}",
    "5": lambda at: str(at.second),
    "PM": lambda at: "PM" if at.hour >= 12 else "AM",
    "pm": lambda at: "pm" if at.hour >= 12 else "am",
}


def format_time(moment: datetime, layout: str) -> str:
    """A time in UTC by a layout of Go's, such as "2006-01-02"."""

    def chunk(found: re.Match[str]) -> str:
        text = found[0]
        if text in _CHUNKS:
            return _CHUNKS[text](moment)
        if text[0] == "Z":
            return "Z"
        if text[0] == "-":
            return "+" + text[1:].replace("7", "0")
        digits = f"{moment.microsecond:06}".ljust(len(text) - 1, "0")[: len(text) - 1]
        if text[1] == "9":
            digits = digits.rstrip("0")
        return text[0] + digits if digits else ""

    return _CHUNK.sub(chunk, layout)


def _add_date(moment: datetime, years: int, months: int, days: int) -> datetime:
    """As Go's: a day past the end of its month runs into the next one."""
    try:
        year, month = divmod((moment.year + years) * 12 + moment.month - 1 + months, 12)
        return moment.replace(year=year, month=month + 1, day=1) + timedelta(days=moment.day - 1 + days)
    except (ValueError, OverflowError):
        raise ValueProblem("has a time that is out of range") from None


def _user(page: Page) -> str:
    if not page.user:
        raise NoUserError("depends on who follows the link, and you are not signed in")
    return page.user


MEMBERS: Mapping[type, Mapping[str, Function]] = {
    Page: {
        "Path": Function((), str, lambda page: page.path),
        "Now": Function((), datetime, lambda page: page.now),
        "User": Function((), str, _user),
    },
    datetime: {
        "Format": Function((str,), str, format_time),
        "AddDate": Function((int, int, int), datetime, _add_date),
        "UTC": Function((), datetime, lambda at: at),
        "Unix": Function((), int, lambda at: int(at.timestamp())),
        "UnixMilli": Function((), int, lambda at: int(at.timestamp() * 1000)),
        "Year": Function((), int, lambda at: at.year),
        "Month": Function((), Month, lambda at: Month(at.month)),
        "Day": Function((), int, lambda at: at.day),
        "YearDay": Function((), int, lambda at: at.timetuple().tm_yday),
        "Weekday": Function((), Weekday, lambda at: Weekday(at.isoweekday() % 7)),
        "Hour": Function((), int, lambda at: at.hour),
        "Minute": Function((), int, lambda at: at.minute),
        "Second": Function((), int, lambda at: at.second),
    },
}


def _comparable(left: object, right: object) -> None:
    if kind(type(left)) != kind(type(right)):
        raise ValueProblem(f"compares {kind(type(left))} with {kind(type(right))}")


def _equal(first: Any, *others: Any) -> bool:
    for other in others:
        _comparable(first, other)
    return any(first == other for other in others)


def _ordered(right_way: Callable[[Any, Any], bool]) -> Function:
    def compare(left: Any, right: Any) -> bool:
        _comparable(left, right)
        return right_way(left, right)

    return Function((object, object), bool, compare)


#: `and` and `or` are not called: what they need not look at is not looked at.
FUNCTIONS: Mapping[str, Function] = {
    "PathEscape": Function((str,), str, lambda text: quote(text, safe="$&+=:@")),
    "QueryEscape": Function((str,), str, lambda text: quote_plus(text, safe="")),
    "urlquery": Function((str,), str, lambda text: quote_plus(text, safe="")),
    "TrimPrefix": Function((str, str), str, lambda text, prefix: text.removeprefix(prefix)),
    "TrimSuffix": Function((str, str), str, lambda text, suffix: text.removesuffix(suffix)),
    "ToLower": Function((str,), str, lambda text: text.lower()),
    "ToUpper": Function((str,), str, lambda text: text.upper()),
    "Match": Function((str, str), bool, match),
    "and": Function((object,), object, lambda *values: values[-1], more=object),
    "or": Function((object,), object, lambda *values: values[-1], more=object),
    "not": Function((object,), bool, lambda value: not true(value)),
    "eq": Function((object, object), bool, _equal, more=object),
    "ne": _ordered(lambda left, right: left != right),
    "lt": _ordered(lambda left, right: left < right),
    "le": _ordered(lambda left, right: left <= right),
    "gt": _ordered(lambda left, right: left > right),
    "ge": _ordered(lambda left, right: left >= right),
}


def true(value: object) -> bool:
    """What `if` asks: not empty, not zero, not false. A time is always true."""
    return isinstance(value, datetime) or bool(value)


def now() -> datetime:
    """The present, in UTC as all of it."""
    return datetime.now(UTC)
