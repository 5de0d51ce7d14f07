"""What becomes of a request for a link: the whole of it, where `service.redirect` has left it to Flask."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from flask import Response, request
from werkzeug.exceptions import BadRequest, Gone, HTTPException

from service import auth, db, loops, store
from service.clicks import counter
from service.context import current
from service.fields import Fields
from service.hosts import own_host
from service.links import Asked, InvalidLinkError, fold, is_name, resolve, spellings
from service.models import Link
from service.targets import SignInNeededError, TargetError


class LoopDetected(HTTPException):
    """508: the links lead in a circle."""

    code = 508


def answer(asked: Asked) -> Response | None:
    """302 to where the link leads; None when there is no such link, which is counted. Raises an HTTPException."""
    for spelling in spellings(asked.name):
        link = store.find(spelling)
        if link is not None:
            return _redirect(link, asked)
    if is_name(asked.name) and request.method == "GET":
        counter.miss(asked.name)
    return None


def unlooped(values: dict[str, Any], name: str) -> dict[str, Any]:
    """New values of the link `name`, unless its target would lead back to it. Raises InvalidLinkError."""
    if "url" in values:
        _refuse_loop(values["url"], [values.get("name", name), name])
    return values


def unlooped_fields(fields: Fields) -> Fields:
    """The same of a new link."""
    _refuse_loop(fields.url, [fields.name])
    return fields


def revert(change: int, author: str, guard: store.Guard) -> Link | None:
    """`store.revert`, unless what was before would lead back to itself by now. Raises InvalidLinkError, too."""
    with db.write():
        link = store.revert(change, author, guard)
        if link is not None:
            # Raised before the end of the transaction, so that nothing is changed then.
            _refuse_loop(link.url, [link.name])
    return link


def circles(entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Which of these links to be, (name, target), would lead back to themselves, by way of each other or of those that
    are there: by folded name, and how."""
    hosts = own_hosts()
    # Whoever is in a circle leads here.
    new = {fold(name): (name, url) for name, url in entries if loops.leads_here(url, hosts)}
    found = {
        key: loops.problem([name], url, hosts, lambda asked: new.get(fold(asked)) or _lookup(asked))
        for key, (name, url) in new.items()
    }
    return {key: problem for key, problem in found.items() if problem}


def _refuse_loop(url: str, names: list[str]) -> None:
    problem = loops.problem(names, url, own_hosts(), _lookup)
    if problem:
        raise InvalidLinkError({"url": problem})


def _redirect(link: Link, asked: Asked) -> Response:
    if link.expires is not None and link.expires < time.time():
        day = datetime.fromtimestamp(link.expires, UTC)
        raise Gone(f"The link {link.name} expired on {day.day} {day:%B %Y}. Whoever needs it can give it a later day.")
    try:
        who = auth.person()
        address = resolve(link.url, asked.rest, asked.query, who.name if who else "")
        loops.follow(link.name, asked.rest, address, own_hosts(), _lookup)
    except SignInNeededError as error:
        raise auth.unauthorized(str(error)) from None
    except TargetError as error:
        raise BadRequest(str(error)) from None
    except loops.LoopError as error:
        raise LoopDetected(f"This link {error}. One of them must lead somewhere else.") from None
    if request.method == "GET":
        counter.click(link.id)
    return Response(status=302, headers={"Location": address})


def own_hosts() -> frozenset[str]:
    """The names that this service is reached by, as far as they are known."""
    return current().hosts | {own_host(request.host)}


def _lookup(name: str) -> tuple[str, str] | None:
    link = store.find(fold(name))
    return (link.name, link.url) if link else None
