"""What all pages share: the blueprint, what a form sent, whose change it is, and where it leads afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Blueprint, redirect, request
from peewee import fn
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from service import auth, db, store, texts
from service.fields import NAMES
from service.models import Change, Link

blueprint = Blueprint("views", __name__)

MAX_ECHO = 4096  # characters of a rejected field that the form shows again


@blueprint.before_request
def open_database() -> None:
    """Every page here shows or follows links."""
    db.ensure_open()


@dataclass
class Noted:
    """The lines of history that were written, by the first and the last id; none where `last` is below `first`."""

    first: int
    last: int = 0


@contextmanager
def noted() -> Iterator[Noted]:
    """A transaction around a change that tells which lines of history it wrote, and no other's."""
    with db.write():
        lines = Noted(_newest() + 1)
        yield lines
        lines.last = _newest()


def _newest() -> int:
    return int(Change.select(fn.MAX(Change.id)).scalar() or 0)


def after(lines: Noted, path: str) -> AnyResponse:
    """To the page at `path`, which tells what was changed; see `service.views.notices`."""
    if lines.last < lines.first:
        return redirect(path, 303)
    done = str(lines.first) if lines.first == lines.last else f"{lines.first}-{lines.last}"
    return redirect(f"{path}{'&' if '?' in path else '?'}{urlencode({'done': done})}", 303)


def author() -> str:
    """Whoever makes the current change, by name. Raises Unauthorized or Forbidden."""
    return auth.require("write").name


def earlier_than() -> int | None:
    """The change that the page of a history goes on before; None from the newest on."""
    before = request.args.get("before", "")
    return int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None


def new_link(typed: Mapping[str, str]) -> dict[str, str]:
    """What the form for a new link holds: it is its maker's, unless they have said otherwise."""
    me = auth.shown()
    return {"owner": me.name if me else "", **typed}


def may_change(link: Link) -> None:
    """The guard of every change made by a page. Raises Forbidden."""
    auth.require_edit(link.owner)


def find(name: str) -> Link:
    """The link of this name. Raises NotFound."""
    link = store.find(name)
    if link is None:
        raise NotFound(str(texts.say("There is no such link.")))
    return link


def sent(names: frozenset[str] = NAMES) -> dict[str, str]:
    """Those of the fields that the form sent, as typed but bounded."""
    return {name: request.form[name][:MAX_ECHO] for name in sorted(names) if name in request.form}
