"""The line at the top of a page that says what was just changed; read from the history, so only what is true."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass

from flask import request

from service.models import Change, Link

FRESH = 3600  # seconds after which nobody needs to be told
MOST = 500  # lines in one notice; a bulk edit makes at most as many
DONE = re.compile(r"(\d{1,15})(?:-(\d{1,15}))?", re.ASCII)


@dataclass(frozen=True)
class Notice:
    """`what` is the change's action, "bulk" for several; `link` is how it is now; `undo` is what to send to undo it."""

    what: str
    name: str
    count: int
    link: Link | None
    undo: str
    deleted: int


def notice() -> Notice | None:
    """What `?done=` in the address speaks of, as long as nothing has happened to it since; else None."""
    found = DONE.fullmatch(request.args.get("done", ""))
    if not found:
        return None
    lines = still_last(int(found[1]), int(found[2] or found[1]))
    if not lines or lines[-1].at < time.time() - FRESH:
        return None
    deleted = sum(line.action == "delete" for line in lines)
    if len(lines) > 1:
        return Notice("bulk", "", len(lines), None, found[0], deleted)
    line = lines[0]
    link = Link.get_or_none(Link.id == line.link)
    gone = line.after is None
    if gone != (link is None):
        return None
    return Notice(line.action, name_in(line), 1, link, found[0] if line.before else "", deleted)


def still_last(first: int, last: int) -> list[Change]:
    """The lines from one id to another, if each is the last one of its link; else none."""
    if not first <= last < first + MOST:
        return []
    lines = list(Change.select().where(Change.id.between(first, last)).order_by(Change.id))
    links = [line.link for line in lines]
    if len(set(links)) != len(lines):
        return []
    later = Change.select(Change.id).where(Change.link.in_(links), Change.id > last).limit(1)
    return [] if later.exists() else lines


def name_in(line: Change) -> str:
    """The name that the link has after a change, or had before it went."""
    return str(json.loads(line.after or line.before or "{}").get("name", ""))
