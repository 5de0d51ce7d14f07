"""Links as lines of JSON: golink's members, then ours where they say something. What is exported is imported unchanged.

golink's own export is read as it is; ours without tags and the like is what golink would write of the same links.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from peewee import JOIN

from service.fields import LATEST, Fields, check_fields
from service.links import InvalidLinkError, name_problem
from service.models import Alias, Link, Visit

CONTENT_TYPE = "application/x-ndjson"
MAX_ALIASES = 50
MAX_CLICKS = 2**53  # what JSON's numbers hold everywhere
BLOCK = 500  # lines that are packed together

# What it is called there -> here; ours are left out where they are empty, as Go does with "omitempty".
FIELDS = {
    "Short": "name",
    "Long": "url",
    "Owner": "owner",
    "Description": "description",
    "Tags": "tags",
    "Expires": "expires",
}
MEMBERS = ("Short", "Long", "Created", "LastEdit", "Owner", *list(FIELDS)[3:], "Aliases", "Clicks", "LastVisit")
NEVER = "0001-01-01T00:00:00Z"  # Go's time that is none
TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
# Go's encoder escapes these, so that JSON may stand inside of HTML and JavaScript.
GO_ESCAPES = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"})


@dataclass(frozen=True)
class Entry:
    """A line of an export. Times are in seconds since 1970, 0 where the line has none."""

    fields: Fields
    aliases: tuple[str, ...] = ()
    created: int = 0
    updated: int = 0
    clicks: int = 0
    visited: int = 0


def read_line(line: bytes) -> Entry:
    """Check a line. Raises InvalidLinkError, by the members' names."""
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidLinkError({"line": "is not JSON"}) from None
    if not isinstance(members, dict):
        raise InvalidLinkError({"line": "is not a JSON object"})
    errors = {name[:100]: "is not known" for name in sorted(set(members) - set(MEMBERS))[:5]}
    given = {ours: members.get(theirs) for theirs, ours in FIELDS.items()}
    fields = None
    try:
        fields = check_fields(given)
    except InvalidLinkError as error:
        theirs = {ours: name for name, ours in FIELDS.items()}
        errors |= {theirs[name]: message for name, message in error.errors.items()}
    numbers: dict[str, int] = {}
    for name in ("Created", "LastEdit", "LastVisit"):
        seconds = _time(members.get(name))
        if seconds is None:
            errors[name] = "must be a time such as 2026-01-31T12:00:00Z"
        numbers[name] = seconds or 0
    clicks = members.get("Clicks", 0)
    if type(clicks) is not int or not 0 <= clicks <= MAX_CLICKS:
        errors["Clicks"] = "must be a whole number"
    aliases = members.get("Aliases") or []
    if problem := _aliases_problem(aliases):
        errors["Aliases"] = problem
    if errors or fields is None:
        raise InvalidLinkError(errors)
    names = tuple(unicodedata.normalize("NFC", alias.strip()) for alias in aliases)
    return Entry(fields, names, numbers["Created"], numbers["LastEdit"], clicks, numbers["LastVisit"])


def write_line(entry: Entry) -> bytes:
    """The line, with its end."""
    fields = entry.fields
    members: dict[str, Any] = {
        "Short": fields.name,
        "Long": fields.url,
        "Created": _written(entry.created) or NEVER,
        "LastEdit": _written(entry.updated) or NEVER,
        "Owner": fields.owner,
    }
    ours = {
        "Description": fields.description,
        "Tags": list(fields.tags),
        "Expires": _written(fields.expires),
        "Aliases": list(entry.aliases),
        "Clicks": entry.clicks,
        "LastVisit": _written(entry.visited),
    }
    members.update({name: value for name, value in ours.items() if value})
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    return text.translate(GO_ESCAPES).encode() + b"\n"


def export() -> Iterator[bytes]:
    """All links in the order of their keys, some lines at a time, all as they are at one moment.

    They are read before the first lines are given, and kept packed: the database is not held while somebody slowly
    takes them. Raises a database error before it gives anything.
    """
    packed = []
    lines: list[bytes] = []
    for entry in _entries():
        lines.append(write_line(entry))
        if len(lines) == BLOCK:
            packed.append(zlib.compress(b"".join(lines), 1))
            lines.clear()
    packed.append(zlib.compress(b"".join(lines), 1))
    return (zlib.decompress(block) for block in packed)


def _entries() -> Iterator[Entry]:
    columns = (
        Link.id,
        Link.name,
        Link.url,
        Link.owner,
        Link.description,
        Link.tags,
        Link.expires,
        Link.created,
        Link.updated,
        Visit.clicks,
        Visit.visited,
        Alias.name,
    )
    # One statement sees one moment.
    query = Link.select(*columns).join(Visit).switch(Link).join(Alias, JOIN.LEFT_OUTER).order_by(Link.key, Alias.key)
    for _, rows in groupby(query.tuples().iterator(), key=itemgetter(0)):
        first, *others = rows
        _, name, url, owner, description, tags, expires, created, updated, clicks, visited, alias = first
        fields = Fields(name, url, owner, description, tuple(tags.split()), expires)
        aliases = tuple(row[-1] for row in (first, *others)) if alias is not None else ()
        yield Entry(fields, aliases, created, updated, clicks, visited)


def _time(value: object) -> int | None:
    """Seconds since 1970, to the second below; 0 for none; None if it is no time that can be kept."""
    if value is None or value == NEVER:
        return 0
    found = TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    day, time, zone = found.groups()
    try:
        seconds = int(datetime.fromisoformat(f"{day}T{time}{zone.upper().replace('Z', '+00:00')}").timestamp())
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds <= LATEST else None


def _written(seconds: int | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if seconds else None


def _aliases_problem(aliases: object) -> str | None:
    if not isinstance(aliases, list):
        return "must be a list of names"
    if len(aliases) > MAX_ALIASES:
        return f"are more than {MAX_ALIASES}"
    problems = (name_problem(alias) for alias in aliases)
    return next((problem for problem in problems if problem), None)
