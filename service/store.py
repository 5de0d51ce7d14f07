"""Every change of links, each in one transaction with the line of history that it makes.

Callers pass values that `service.fields` has checked. A `guard` is called with the link as it is, under the write lock,
and raises what it likes when the change is not to be made: whose link it is, or which version of it was seen.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from peewee import fn

from service import db
from service.fields import Fields
from service.links import fold
from service.models import Alias, Change, Link, Miss, Tag, Visit
from service.transfer import Entry

Guard = Callable[[Link], None]
CHUNK = 500  # values in one statement
# Over those that a trigger has put there, where there is one; see the migrations.
SET_VISITS = (
    "INSERT INTO visit (link, clicks, visited) VALUES (?, ?, ?) "
    "ON CONFLICT (link) DO UPDATE SET clicks = excluded.clicks, visited = excluded.visited"
)


class LinkExistsError(Exception):
    """A link has this name already, or had it before it was renamed; `link` is that one."""

    def __init__(self, link: Link) -> None:
        super().__init__(f"{link.name} exists already")
        self.link = link


class NoSuchChangeError(Exception):
    """There is no such line of history, or nothing was there before it."""


def anyone(_link: Link) -> None:
    """The guard that lets every change through."""


def find(name: str) -> Link | None:
    """The link that `name` leads to, in any spelling and by any of its names, or None."""
    key = fold(name)
    found: Link | None = Link.get_or_none(Link.key == key)
    if found is None:
        found = Link.select().join(Alias).where(Alias.key == key).first()
    return found


def fields_of(link: Link) -> Fields:
    """What people said of it."""
    return Fields(link.name, link.url, link.owner, link.description, tuple(link.tags.split()), link.expires)


def aliases(link: Link) -> list[str]:
    """Its other names, in order."""
    return [row.name for row in Alias.select().where(Alias.link == link.id).order_by(Alias.key)]


def etag(link: Link) -> str:
    """Names this version of what people said of the link, quoted as in HTTP. Visits don't change it."""
    seen = json.dumps([link.id, link.created, link.updated, asdict(fields_of(link))], ensure_ascii=True)
    return f'"{hashlib.sha256(seen.encode()).hexdigest()[:20]}"'


def state(link: Link) -> dict[str, Any]:
    """All that is needed to bring the link back: its fields, other names, times and visits."""
    return {
        **asdict(fields_of(link)),
        "aliases": aliases(link),
        "created": link.created,
        "updated": link.updated,
        "clicks": link.clicks,
        "visited": link.visited,
    }


def create(fields: Fields, author: str, action: str = "create") -> Link:
    """Store a new link. Raises LinkExistsError."""
    with db.write():
        _refuse_taken(fold(fields.name))
        now = int(time.time())
        link = _insert(next_id(), fields, {"created": now, "updated": now})
        _remember(link, author, action, before=None, after=state(link))
    return link


def change(
    name: str, values: Mapping[str, Any], author: str, guard: Guard = anyone, action: str = "edit"
) -> Link | None:
    """Change some fields of a link; returns it, or None when there is none. Another name keeps the old one as an alias.

    Raises LinkExistsError when the new name is taken, and what `guard` raises.
    """
    with db.write():
        link = find(name)
        if link is not None:
            guard(link)
            _change(link, replace(fields_of(link), **values), author, action)
    return link


def delete(name: str, author: str, guard: Guard = anyone) -> Link | None:
    """Delete a link and return what it was, or None when there is none. `revert` brings it back."""
    with db.write():
        link = find(name)
        if link is not None:
            guard(link)
            _delete(link, author)
    return link


def forget_alias(name: str, author: str, guard: Guard = anyone) -> bool:
    """Remove one of a link's other names; False when there is no such one."""
    with db.write():
        alias = Alias.get_or_none(Alias.key == fold(name))
        if alias is None:
            return False
        link = alias.link
        guard(link)
        before = state(link)
        alias.delete_instance()
        _touch(link)
        _remember(link, author, "edit", before=before, after=state(link))
    return True


def revert(change_id: int, author: str, guard: Guard = anyone) -> Link | None:
    """Make a link as it was before a change: undo, or undelete. None when that means that it is gone.

    Raises NoSuchChangeError, LinkExistsError, and what `guard` raises.
    """
    with db.write():
        line = Change.get_or_none(Change.id == change_id)
        if line is None:
            raise NoSuchChangeError("There is no such change.")
        link: Link | None = Link.get_or_none(Link.id == line.link)
        if link is not None:
            guard(link)
        if line.before is None:
            if link is None:
                raise NoSuchChangeError("Nothing was there before this change.")
            _delete(link, author)
            return None
        before = json.loads(line.before)
        if link is None:
            return _bring_back(line.link, before, author, guard)
        _change(link, _fields_from(before), author, "undo")
    return link


def bulk(names: Iterable[str], edit: Callable[[Link], Mapping[str, Any] | None], author: str) -> list[Link]:
    """Change several links, all or none; `edit` gives a link's new values, or None to delete it, or raises.

    Raises LookupError with the first name that is no link, LinkExistsError, and what `edit` raises.
    """
    done: dict[int, Link] = {}
    with db.write():
        for name in names:
            link = find(name)
            if link is None:
                raise LookupError(name)
            if link.id in done:
                continue
            values = edit(link)
            if values is None:
                _delete(link, author)
            else:
                _change(link, replace(fields_of(link), **values), author, "edit")
            done[link.id] = link
    return list(done.values())


def insert_all(entries: Sequence[Entry], author: str) -> None:
    """Store many new links at once, with their times, visits and other names. Inside a transaction of the caller, who
    has made sure that all of the names are free."""
    now, first = int(time.time()), next_id()
    links: list[tuple[Any, ...]] = []
    visits: list[tuple[int, int, int]] = []
    tags: list[tuple[Any, ...]] = []
    others: list[tuple[Any, ...]] = []
    changes: list[tuple[Any, ...]] = []
    for number, entry in enumerate(entries, first):
        key, fields = fold(entry.fields.name), entry.fields
        aliases = {other: name for name in entry.aliases if (other := fold(name)) != key}
        times = {name: getattr(entry, name) for name in ("created", "updated", "clicks", "visited")}
        # Not asdict, which copies each value: this is done a hundred thousand times.
        values = dict(vars(fields))
        links.append((number, key, *{**values, "tags": " ".join(fields.tags)}.values(), entry.created, entry.updated))
        visits.append((number, entry.clicks, entry.visited))
        tags += [(tag, number) for tag in fields.tags]
        others += [(other, name, number) for other, name in aliases.items()]
        after = {**values, "aliases": [aliases[other] for other in sorted(aliases)], **times}
        changes.append((number, key, now, author, "import", None, json.dumps(after, ensure_ascii=False)))
    db.insert_rows(Link, ("id", "key", *Fields.__dataclass_fields__, "created", "updated"), links)
    set_visits(visits)
    db.insert_rows(Tag, ("name", "link"), tags)
    db.insert_rows(Alias, ("key", "name", "link"), others)
    db.insert_rows(Change, ("link", "key", "at", "author", "action", "before", "after"), changes)
    keys = [row[1] for row in links] + [row[0] for row in others] if Miss.select().exists() else []
    for start in range(0, len(keys), CHUNK):
        Miss.delete().where(Miss.key.in_(keys[start : start + CHUNK])).execute()


def replace_all(link: Link, fields: Fields, more_aliases: Iterable[str], author: str) -> None:
    """Give a link all of these fields and these names besides its own. Inside a transaction, as `insert_all`."""
    before = state(link)
    known = {link.key, *(fold(name) for name in aliases(link))}
    for name in more_aliases:
        if fold(name) not in known:
            known.add(fold(name))
            Alias.create(key=fold(name), name=name, link=link.id)
    _set_fields(link, fields)
    _remember(link, author, "import", before, state(link))


def set_visits(rows: Sequence[tuple[int, int, int]]) -> None:
    """Give new links their visits: (id, clicks, the last one's time). Inside the transaction that makes the links.

    Those that had none have their row already where triggers make it: each statement here is one more that all others
    who write wait for.
    """
    if wanted := [row for row in rows if any(row[1:]) or not db.has_triggers()]:
        db.run_many(SET_VISITS, wanted)


def next_id() -> int:
    """One that no link has had: history and visits go by it."""
    highest = (Link.select(fn.MAX(Link.id)).scalar(), Change.select(fn.MAX(Change.link)).scalar())
    return 1 + max(number or 0 for number in highest)


def _refuse_taken(key: str, link_id: int | None = None) -> None:
    taken = find(key)
    if taken is not None and taken.id != link_id:
        raise LinkExistsError(taken)


def _insert(link_id: int, fields: Fields, times: Mapping[str, int], clicks: int = 0, visited: int = 0) -> Link:
    values = {**asdict(fields), "tags": " ".join(fields.tags), "key": fold(fields.name), **times}
    link: Link = Link.create(id=link_id, **values)
    set_visits([(link_id, clicks, visited)])
    link.visit = Visit(link=link_id, clicks=clicks, visited=visited)
    _set_tags(link, fields.tags)
    # Somebody has answered.
    Miss.delete().where(Miss.key == link.key).execute()
    return link


def _set_tags(link: Link, tags: Iterable[str]) -> None:
    Tag.delete().where(Tag.link == link.id).execute()
    if rows := [(tag, link.id) for tag in tags]:
        Tag.insert_many(rows, fields=[Tag.name, Tag.link]).execute()


def _change(link: Link, fields: Fields, author: str, action: str) -> None:
    if fields == fields_of(link):
        return
    before, key = state(link), fold(fields.name)
    if key != link.key:
        _refuse_taken(key, link.id)
        Alias.delete().where(Alias.key == key).execute()
        Alias.create(key=link.key, name=link.name, link=link.id)
        Miss.delete().where(Miss.key == key).execute()
    _set_fields(link, fields)
    _remember(
        link, author, "rename" if action == "edit" and before["name"] != link.name else action, before, state(link)
    )


def _set_fields(link: Link, fields: Fields) -> None:
    if " ".join(fields.tags) != link.tags:
        _set_tags(link, fields.tags)
    link.key, link.name, link.url, link.owner = fold(fields.name), fields.name, fields.url, fields.owner
    link.description, link.tags, link.expires = fields.description, " ".join(fields.tags), fields.expires
    _touch(link)


def _touch(link: Link) -> None:
    """Save all but the visits, which go on being counted meanwhile."""
    link.updated = int(time.time())
    saved = (Link.key, Link.name, Link.url, Link.owner, Link.description, Link.tags, Link.expires, Link.updated)
    link.save(only=saved)


def _delete(link: Link, author: str) -> None:
    _remember(link, author, "delete", before=state(link), after=None)
    # Its tags and other names go with it, see the foreign keys.
    Link.delete().where(Link.id == link.id).execute()


def _bring_back(link_id: int, before: dict[str, Any], author: str, guard: Guard) -> Link:
    fields = _fields_from(before)
    _refuse_taken(fold(fields.name))
    times = {name: before[name] for name in ("created", "updated")}
    link = _insert(link_id, fields, times, before["clicks"], before["visited"])
    # After it is there, for a rollback undoes all of it: whose it was decides.
    guard(link)
    for name in before["aliases"]:
        if find(name) is None:
            Alias.create(key=fold(name), name=name, link=link.id)
    _touch(link)
    _remember(link, author, "undelete", before=None, after=state(link))
    return link


def _fields_from(stored: Mapping[str, Any]) -> Fields:
    values = {name: stored[name] for name in Fields.__dataclass_fields__}
    return Fields(**{**values, "tags": tuple(stored["tags"])})


def _remember(link: Link, author: str, action: str, before: Any, after: Any) -> None:
    Change.create(
        link=link.id,
        key=link.key,
        at=int(time.time()),
        author=author,
        action=action,
        before=None if before is None else json.dumps(before, ensure_ascii=False),
        after=None if after is None else json.dumps(after, ensure_ascii=False),
    )
