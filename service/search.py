"""The list of links: sorted, filtered, a page at a time; and the search for some of them.

Full text is SQLite's FTS5 (its trigram tokenizer finds any three characters in a row, see the migrations); another
database searches by LIKE.
"""

from __future__ import annotations

import base64
import binascii
import json
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from peewee import JOIN, Field

from service import db
from service.links import fold
from service.models import Link, Tag, Visit

MAX_TEXT = 200  # characters of a search that are looked at
MAX_WORDS = 10
MAX_FOUND = 200  # links that each step of a search looks at
TRIGRAM = 3  # characters; shorter words can't be found inside of others
HIGHEST = "\U0010ffff"
COLUMNS: dict[str, Field] = {
    "name": Link.key,
    "clicks": Visit.clicks,
    "visited": Visit.visited,
    "created": Link.created,
    "updated": Link.updated,
}
SORTS = tuple(COLUMNS)
TEXT_COLUMNS = ("key", "url", "description", "tags", "owner")  # of the full text


class BadCursorError(Exception):
    """The cursor is not one that this list gave out."""


@dataclass(frozen=True)
class Query:
    """What of the list is wanted; "" for no matter. `text` finds by the best match unless `sort` says another order."""

    text: str = ""
    tag: str = ""
    owner: str | None = None
    sort: str = ""
    descending: bool = False
    cursor: str = ""
    limit: int = 50


@dataclass(frozen=True)
class Page:
    """`following` is the cursor of the next page, None at the end; `more`: a search has found more than it gives."""

    links: list[Link]
    following: str | None
    more: bool = False


def list_links(query: Query) -> Page:
    """The links of a page. Raises BadCursorError."""
    return _search(query) if query.text.strip() else _page(query)


def tags() -> list[tuple[str, int]]:
    """All tags with how many links have each, in order."""
    rows = db.database.execute_sql("SELECT name, COUNT(*) FROM tag GROUP BY name ORDER BY name")
    return [(str(name), int(count)) for name, count in rows]


def _page(query: Query) -> Page:
    column = COLUMNS[query.sort or "name"]
    columns = [column] if column is Link.key else [column, _id(column)]
    order = [-each if query.descending else +each for each in columns]
    past = _past(column, _read_cursor(query.cursor, column), query.descending) if query.cursor else None
    chosen = _filtered(query, _links())
    if column.model is Visit:
        # All visits are read for this, and so nothing else: they have no index, which each visit would have to change.
        ids = Visit.select(Visit.link)
        if query.tag or query.owner is not None:
            ids = ids.where(Visit.link.in_(_filtered(query, Link.select(Link.id))))
        if past is not None:
            ids = ids.where(past)
        chosen = _links().where(Link.id.in_(ids.order_by(*order).limit(query.limit + 1)))
    elif past is not None:
        chosen = chosen.where(past)
    found = list(chosen.order_by(*order).limit(query.limit + 1))
    page = found[: query.limit]
    more = len(found) > query.limit
    return Page(page, _cursor(page[-1], column) if more else None, more)


def _links() -> Any:
    """Links, each with its visits."""
    return Link.select(Link, Visit).join(Visit, JOIN.LEFT_OUTER, on=(Visit.link == Link.id), attr="visit")


def _id(column: Field) -> Field:
    return Visit.link if column.model is Visit else Link.id


def _filtered(query: Query, chosen: Any) -> Any:
    if query.tag:
        chosen = chosen.where(Link.id.in_(Tag.select(Tag.link).where(Tag.name == query.tag.lower())))
    if query.owner is not None:
        chosen = chosen.where(Link.owner == query.owner)
    return chosen


def _past(column: Field, last: tuple[Any, int], descending: bool) -> Any:
    value, link_id = last
    if column is Link.key:
        return Link.key < value if descending else Link.key > value
    beyond = column < value if descending else column > value
    within = _id(column) < link_id if descending else _id(column) > link_id
    # The first condition, implied by the second, is what an index begins at.
    return (column <= value if descending else column >= value) & (beyond | ((column == value) & within))


def _cursor(link: Link, column: Field) -> str:
    text = json.dumps([getattr(link, column.name), link.id], ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, column: Field) -> tuple[Any, int]:
    try:
        read = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        value, link_id = read
    except (ValueError, binascii.Error, TypeError, RecursionError):
        raise BadCursorError(cursor) from None
    expected = str if column is Link.key else int
    # bool is an int, and larger numbers are none that a column holds.
    if type(value) is not expected or type(link_id) is not int or not -(2**63) <= link_id < 2**63:
        raise BadCursorError(cursor)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise BadCursorError(cursor)
    return value, link_id


def _search(query: Query) -> Page:
    """The best first: the very name, names that begin so, names that hold it, then all else, most followed first."""
    if query.cursor:
        raise BadCursorError(query.cursor)
    # A NUL ends what FTS5 reads, in the middle of a phrase.
    text = query.text[:MAX_TEXT].replace("\0", " ").strip()
    words = list(dict.fromkeys(text.split()))[:MAX_WORDS]
    if not words:
        return Page([], None)
    found: dict[int, Link] = {}
    for candidates in (_beginning(query, text), _holding(query, words, ("key",)), _holding(query, words, TEXT_COLUMNS)):
        found.update({link.id: link for link in candidates if link.id not in found})
    ranked = sorted(found.values(), key=lambda link: (*_rank(link, text, words), -link.clicks, link.key))
    if query.sort:
        ranked.sort(key=lambda link: getattr(link, COLUMNS[query.sort].name), reverse=query.descending)
    # More than are looked at are more than are given.
    more = len(ranked) > query.limit or len(ranked) >= MAX_FOUND
    return Page(ranked[: query.limit], None, more)


def _rank(link: Link, text: str, words: Sequence[str]) -> tuple[int, int]:
    key, wanted = link.key, fold(text)
    if wanted and key == wanted:
        return 0, 0
    if wanted and key.startswith(wanted):
        return 1, 0
    named = sum(fold(word) in key for word in words)
    return 2, -named


def _beginning(query: Query, text: str) -> list[Link]:
    key = fold(text)
    if not key or any(character.isspace() for character in key):
        return []
    chosen = _filtered(query, _links()).where((Link.key >= key) & (Link.key < key + HIGHEST))
    return list(chosen.order_by(Link.key).limit(MAX_FOUND))


def _holding(query: Query, words: Sequence[str], columns: Sequence[str]) -> list[Link]:
    """Links that hold each word in one of the columns."""
    if not isinstance(db.database.obj, db.SqliteFile):
        return list(_filtered(query, _links()).where(*(_like(word, columns) for word in words)).limit(MAX_FOUND))
    indexed = [word for word in words if min(len(word), len(fold(word))) >= TRIGRAM]
    if not indexed and columns == ("key",):
        # Two characters anywhere in a name would mean reading all of them.
        return []
    ids = _by_index(query, indexed, [word for word in words if word not in indexed], columns)
    return list(_links().where(Link.id.in_(ids))) if ids else []


def _by_index(query: Query, indexed: Sequence[str], short: Sequence[str], columns: Sequence[str]) -> list[int]:
    """Ids of the first links that match, reading no more of them than that."""
    tables, conditions, values = "link", [], []
    if indexed:
        # CROSS: the text leads, and the planner never asks it about one link after the other.
        tables = "link_text CROSS JOIN link ON link.id = link_text.rowid"
        conditions.append("link_text MATCH ?")
        values.append(" AND ".join(_phrase(word, columns) for word in indexed))
    for word in short:
        if indexed:
            # Anywhere in the few that the other words leave.
            conditions.append("(" + " OR ".join(f"instr(lower(link.{column}), ?)" for column in columns) + ")")
            values += [fold(word) if column == "key" else word.lower() for column in columns]
        else:
            conditions.append("link.id IN (SELECT link FROM tag WHERE name >= ? AND name < ?)")
            values += [word.lower(), word.lower() + HIGHEST]
    if query.tag:
        conditions.append("EXISTS (SELECT 1 FROM tag WHERE tag.name = ? AND tag.link = link.id)")
        values.append(query.tag.lower())
    if query.owner is not None:
        conditions.append("link.owner = ?")
        values.append(query.owner)
    sql = f"SELECT link.id FROM {tables} WHERE {' AND '.join(conditions)} LIMIT {MAX_FOUND}"  # noqa: S608 - own words
    return [row[0] for row in db.database.execute_sql(sql, values)]


def _like(word: str, columns: Sequence[str]) -> Any:
    either = [getattr(Link, column).contains(fold(word) if column == "key" else word) for column in columns]
    return reduce(operator.or_, either)


def _phrase(word: str, columns: Sequence[str]) -> str:
    """FTS5's way to say: this word in one of these columns; keys hold names without hyphens."""
    key = f'{{key}} : "{_quoted(fold(word))}"'
    others = [column for column in columns if column != "key"]
    return f'({key} OR {{{" ".join(others)}}} : "{_quoted(word)}")' if others else f"({key})"


def _quoted(word: str) -> str:
    return word.replace('"', '""')
