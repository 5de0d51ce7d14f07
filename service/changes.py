"""The history of links, as it is read. What makes it is in `service.store`."""

from __future__ import annotations

import json
from typing import Any

from peewee import fn

from service import store
from service.fields import Fields
from service.models import Change, Link


def of_link(link_id: int, limit: int = 100, before: int | None = None) -> list[Change]:
    """The changes of a link, the newest first; `before` is the id of the last one of the page before."""
    chosen = Change.select().where(Change.link == link_id)
    if before is not None:
        chosen = chosen.where(Change.id < before)
    return list(chosen.order_by(Change.id.desc()).limit(limit))


def deleted(limit: int = 100, before: int | None = None) -> list[Change]:
    """How the links that are gone went, the last first."""
    later = Change.alias()
    gone = (Change.action == "delete") & Change.link.not_in(Link.select(Link.id))
    # Of one deleted several times, the last time.
    again = later.select(later.id).where((later.link == Change.link) & (later.id > Change.id))
    chosen = Change.select().where(gone & ~fn.EXISTS(again))
    if before is not None:
        chosen = chosen.where(Change.id < before)
    return list(chosen.order_by(Change.id.desc()).limit(limit))


def last_of(key: str) -> Change | None:
    """How the link that had this key went, if there is none now."""
    line = Change.select().where(Change.key == key).order_by(Change.id.desc()).first()
    return line if line is not None and line.action == "delete" and store.find(key) is None else None


def differences(line: Change) -> list[tuple[str, Any, Any]]:
    """(field, before, after) of each that the change changed; None where there was no link."""
    before = json.loads(line.before) if line.before else {}
    after = json.loads(line.after) if line.after else {}
    return [
        (field, before.get(field), after.get(field))
        for field in (*Fields.__dataclass_fields__, "aliases")
        if (before.get(field) or None) != (after.get(field) or None)
    ]
