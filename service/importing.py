"""The import of lines such as an export has: all of them, or, if there is a mistake in one, none.

Lines are read and checked first, and kept packed; only then is the database written to, in one transaction.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import IO, Any

from service import auth, db, following, store
from service.fields import Fields
from service.links import InvalidLinkError, fold
from service.models import Alias, Link
from service.transfer import BLOCK, Entry, read_line

MAX_BYTES = 32 * 1024 * 1024
MAX_LINE = 64 * 1024  # bytes
MAX_LINKS = 200_000  # of one import
MAX_REPORTED = 100  # errors
MAX_LISTED = 1000  # lines of a dry run
MAX_ECHO = 100  # characters
EXISTING = ("skip", "replace")


@dataclass
class Report:
    """What an import has done, or would do."""

    dry_run: bool
    created: int = 0
    replaced: int = 0
    skipped: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def add(self, line: int, name: str, action: str, reason: str = "") -> None:
        """Note what becomes of a line: "create", "replace", "skip" or "error"."""
        counted = {"create": "created", "replace": "replaced", "skip": "skipped", "error": "failed"}[action]
        setattr(self, counted, getattr(self, counted) + 1)
        name = name[:MAX_ECHO]
        if action == "error" and len(self.errors) < MAX_REPORTED:
            self.errors.append({"line": line, "name": name, "reason": reason})
        if self.dry_run and len(self.lines) < MAX_LISTED:
            self.lines.append({"line": line, "name": name, "action": action, "reason": reason})

    def as_json(self) -> dict[str, Any]:
        """All of it, in the order of the lines."""
        self.errors.sort(key=lambda entry: entry["line"])
        self.lines.sort(key=lambda entry: entry["line"])
        return dict(vars(self))


class ImportRefusedError(Exception):
    """There are mistakes in the lines, so nothing was imported; `report` has them."""

    def __init__(self, report: Report) -> None:
        lines = "a line" if report.failed == 1 else f"{report.failed} lines"
        super().__init__(f"Nothing was imported: there is something wrong with {lines}.")
        self.report = report


@dataclass(frozen=True)
class Rules:
    """`existing` says what becomes of links that are there already; `owner` is that of all lines, None: their own.

    `may_replace` is asked with the owner of each link that would be replaced; `circles` with (name, target) of all
    lines, and says by folded name which would lead back to themselves, and how.
    """

    author: str
    existing: str = "skip"
    owner: str | None = None
    may_replace: Callable[[str], bool] = lambda _owner: True
    circles: Callable[[Iterable[tuple[str, str]]], Mapping[str, str]] = lambda _entries: {}
    dry_run: bool = False


def rules_for(person: auth.Person, existing: str, dry_run: bool) -> Rules:
    """What the person may do with an import: only an admin says whose links these are."""
    return Rules(
        author=person.name,
        existing=existing,
        owner=None if person.may("admin") else person.name,
        may_replace=lambda owner: auth.may_edit(person, owner),
        circles=following.circles,
        dry_run=dry_run,
    )


def import_lines(stream: IO[bytes], rules: Rules) -> Report:
    """Import all lines, or say what that would do. Raises ImportRefusedError (no dry run does), or a database error."""
    report = Report(rules.dry_run)
    blocks = list(_stage(stream, report))
    circles = rules.circles((entry.fields.name, entry.fields.url) for block in blocks for _, entry in _unpack(block))
    writing = not (rules.dry_run or report.failed)
    with db.write() if writing else nullcontext():
        for block in blocks:
            writing = _settle(_unpack(block), rules, circles, report, writing) and writing
        if report.failed and not rules.dry_run:
            # Takes back what was written.
            raise ImportRefusedError(report)
    return report


Numbered = tuple[int, Entry]


def _stage(stream: IO[bytes], report: Report) -> Iterator[bytes]:
    """The good lines, packed; the others are in the report."""
    seen: dict[str, int] = {}
    good: list[Numbered] = []
    for number, line in _lines(stream):
        name = ""
        try:
            if number > MAX_LINKS:
                raise InvalidLinkError({"line": f"there are more than {MAX_LINKS}; import the others apart"})
            if line is None:
                raise InvalidLinkError({"line": f"has more than {MAX_LINE} bytes"})
            entry = read_line(line)
            name = entry.fields.name
            for each in (name, *entry.aliases):
                first = seen.setdefault(fold(each), number)
                if first != number:
                    raise InvalidLinkError({"Short" if each == name else "Aliases": f"{each} is in line {first}, too"})
        except InvalidLinkError as error:
            report.add(number, name or _name_in(line), "error", str(error))
            if number > MAX_LINKS:
                break
            continue
        good.append((number, entry))
        if len(good) == BLOCK:
            yield _pack(good)
            good.clear()
    if good:
        yield _pack(good)


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """The lines that are not empty, with their numbers; None for one that is too long."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE)
            yield number, None
        elif line.strip():
            yield number, line


def _pack(entries: list[Numbered]) -> bytes:
    # Not astuple, which copies each value: this is done a hundred thousand times.
    values = [
        (number, tuple(vars(entry.fields).values()), *list(vars(entry).values())[1:]) for number, entry in entries
    ]
    return zlib.compress(json.dumps(values).encode(), 1)


def _unpack(block: bytes) -> list[Numbered]:
    # Checked already: the database is not kept waiting for that again.
    return [(number, _entry(*values)) for number, *values in json.loads(zlib.decompress(block))]


def _entry(said: list[Any], aliases: list[str], *numbers: int) -> Entry:
    name, url, owner, description, tags, expires = said
    return Entry(Fields(name, url, owner, description, tuple(tags), expires), tuple(aliases), *numbers)


def _name_in(line: bytes | None) -> str:
    """Whatever the line calls itself, for the person who looks for it."""
    try:
        members = json.loads(line or b"")
    except (ValueError, RecursionError):
        return ""
    name = members.get("Short") if isinstance(members, dict) else None
    return name.encode("utf-8", "replace").decode() if isinstance(name, str) else ""


def _settle(entries: list[Numbered], rules: Rules, circles: Mapping[str, str], report: Report, writing: bool) -> bool:
    """Decide what becomes of some lines, and do it, if `writing` and nothing is wrong with any; False if so."""
    links, others = _taken(fold(name) for _, entry in entries for name in (entry.fields.name, *entry.aliases))
    new: list[Entry] = []
    over: list[tuple[Link, Entry]] = []
    for number, entry in entries:
        link = links.get(fold(entry.fields.name))
        action, reason = _decide(entry, link, links, others, rules)
        if action in ("create", "replace") and (circle := circles.get(fold(entry.fields.name))):
            action, reason = "error", circle
        report.add(number, entry.fields.name, action, reason)
        if action == "create":
            new.append(_owned(entry, rules))
        elif action == "replace" and link is not None:
            over.append((link, _owned(entry, rules)))
    if report.failed or not writing:
        return False
    store.insert_all(new, rules.author)
    for link, entry in over:
        store.replace_all(link, entry.fields, entry.aliases, rules.author)
    return True


def _taken(keys: Iterable[str]) -> tuple[dict[str, Link], dict[str, Link]]:
    """The links that have some of the keys, and those that have them as other names."""
    wanted = list(keys)
    links: dict[str, Link] = {}
    others: dict[str, Link] = {}
    for start in range(0, len(wanted), BLOCK):
        some = wanted[start : start + BLOCK]
        links.update({link.key: link for link in Link.select().where(Link.key.in_(some))})
        query = Alias.select(Alias, Link).join(Link).where(Alias.key.in_(some))
        others.update({alias.key: alias.link for alias in query})
    return links, others


def _decide(  # noqa: PLR0911 - a list of rules, each with what it says
    entry: Entry, link: Link | None, links: dict[str, Link], others: dict[str, Link], rules: Rules
) -> tuple[str, str]:
    """("create", "replace", "skip" or "error", why)."""
    skipping = rules.existing == "skip"
    other = others.get(fold(entry.fields.name))
    if link is None and other is not None:
        return "skip" if skipping else "error", f"is another name of {other.name}"
    if link is not None and skipping:
        return "skip", "exists already"
    if link is not None and not rules.may_replace(link.owner):
        return "error", f"belongs to {link.owner}"
    for name in entry.aliases:
        taken = links.get(fold(name)) or others.get(fold(name))
        if taken is not None and (link is None or taken.id != link.id):
            return "error", f"its other name {name} leads to {taken.name} already"
    if link is None:
        return "create", ""
    new = {fold(name) for name in entry.aliases} - {key for key, other in others.items() if other.id == link.id}
    if store.fields_of(link) == _owned(entry, rules).fields and not new - {link.key}:
        return "skip", "is the same already"
    return "replace", ""


def _owned(entry: Entry, rules: Rules) -> Entry:
    now = int(time.time())
    fields = entry.fields if rules.owner is None else replace(entry.fields, owner=rules.owner)
    created = entry.created or entry.updated or now
    return replace(entry, fields=fields, created=created, updated=entry.updated or created)
