"""The link as it is stored, and the queries on it. Callers pass values that `service.links` has checked."""

from __future__ import annotations

import time

from peewee import AutoField, BigIntegerField, CharField, IntegrityError, Model, TextField

from service import db
from service.links import fold


class LinkExistsError(Exception):
    """A link with the same key is there already; `link` is that one."""

    def __init__(self, link: Link) -> None:
        super().__init__(f"{link.name} exists already")
        self.link = link


class Link(Model):
    """`key` is the folded name and unique; times are whole seconds since 1970, UTC."""

    id = AutoField()
    key = CharField(max_length=100, unique=True)
    name = CharField(max_length=100)
    url = TextField()
    created = BigIntegerField()
    updated = BigIntegerField()

    class Meta:
        database = db.database
        table_name = "link"


def find_link(name: str) -> Link | None:
    """The link that `name` leads to, in any spelling, or None."""
    found: Link | None = Link.get_or_none(Link.key == fold(name))
    return found


def create_link(name: str, url: str) -> Link:
    """Store a new link. Raises LinkExistsError."""
    now = int(time.time())
    try:
        with db.write():
            link: Link = Link.create(key=fold(name), name=name, url=url, created=now, updated=now)
    except IntegrityError:
        existing = find_link(name)
        if existing is None:
            raise
        raise LinkExistsError(existing) from None
    return link


def change_link(name: str, url: str) -> Link | None:
    """Give an existing link another target; returns it, or None when there is no such link."""
    with db.write():
        link = find_link(name)
        if link is not None and link.url != url:
            link.url = url
            link.updated = int(time.time())
            link.save(only=[Link.url, Link.updated])
    return link


def delete_link(name: str) -> bool:
    """True when there was such a link."""
    with db.write():
        return bool(Link.delete().where(Link.key == fold(name)).execute())


def list_links(after: str, limit: int) -> tuple[list[Link], str | None]:
    """At most `limit` links in the order of their keys, from the first one past the key `after` ("" from the start).

    The second value is the key to pass as `after` for what follows, or None at the end.
    """
    found = list(Link.select().where(Link.key > after).order_by(Link.key).limit(limit + 1))
    page = found[:limit]
    return page, str(page[-1].key) if len(found) > limit else None
