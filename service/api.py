"""The JSON API under `/.api/links`. Errors are problem documents, see `service.answers`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, request

from service import db, following, search, store
from service.answers import answer_json, problem
from service.fields import NAMES, check_fields, check_some
from service.links import InvalidLinkError
from service.models import Link

blueprint = Blueprint("api", __name__, url_prefix="/.api/links")

DEFAULT_PAGE = 50
MAX_PAGE = 500
MAX_CURSOR = 1000


class BadBodyError(Exception):
    """The request's body can't be used; `answer` says why."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


@blueprint.before_request
def open_database() -> None:
    """Every route here reads or writes links."""
    db.ensure_open()


@blueprint.errorhandler(BadBodyError)
def answer_bad_body(error: BadBodyError) -> Response:
    """400, 415 or 422, as found while reading the body."""
    return error.answer


@blueprint.errorhandler(InvalidLinkError)
def answer_invalid(error: InvalidLinkError) -> Response:
    """422 with one entry a wrong field."""
    entries = [{"field": field, "message": message} for field, message in error.errors.items()]
    return problem(422, f"The link is not valid: {error}.", errors=entries)


@blueprint.post("")
def create() -> Response:
    """201 with the link and its Location, or 409 with the link that has the name."""
    try:
        link = store.create(following.unlooped_fields(check_fields(_read_body(NAMES))), author="")
    except store.LinkExistsError as error:
        return _taken(error)
    response = answer_json(as_json(link), 201)
    response.headers["Location"] = _address(link)
    return response


@blueprint.get("")
def index() -> Response:
    """A page of links in the order of their folded names; `next`, if not null, is the `cursor` of the following one."""
    cursor = request.args.get("cursor", "")
    asked = request.args.get("limit", str(DEFAULT_PAGE))
    if len(cursor) > MAX_CURSOR:
        return problem(400, "cursor is not one that this list gave out.")
    if not (asked.isascii() and asked.isdigit() and len(asked) < 5 and 1 <= int(asked) <= MAX_PAGE):
        return problem(400, f"limit must be a whole number from 1 to {MAX_PAGE}.")
    try:
        page = search.list_links(search.Query(cursor=cursor, limit=int(asked)))
    except search.BadCursorError:
        return problem(400, "cursor is not one that this list gave out.")
    return answer_json({"links": [as_json(link) for link in page.links], "next": page.following})


@blueprint.get("/<name>")
def read(name: str) -> Response:
    """200 with the link, in whatever spelling it was asked for."""
    link = store.find(name)
    return answer_json(as_json(link)) if link else _missing()


@blueprint.patch("/<name>")
def change(name: str) -> Response:
    """200 with the link as changed; under another name, the old one leads to it, too."""
    try:
        link = store.change(name, following.unlooped(check_some(_read_body(NAMES)), name), author="")
    except store.LinkExistsError as error:
        return _taken(error)
    return answer_json(as_json(link)) if link else _missing()


@blueprint.delete("/<name>")
def delete(name: str) -> Response:
    """204, or 404 when there is no such link."""
    return Response(status=204) if store.delete(name, author="") else _missing()


def as_json(link: Link) -> dict[str, Any]:
    """The link as the API shows it; times in UTC, to the second, or null."""
    return {
        "name": link.name,
        "url": link.url,
        "owner": link.owner,
        "description": link.description,
        "tags": link.tags.split(),
        "expires": _when(link.expires),
        "created": _when(link.created),
        "updated": _when(link.updated),
        "clicks": link.clicks,
        "visited": _when(link.visited),
    }


def _when(seconds: int | None) -> str | None:
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _address(link: Link) -> str:
    return f"/.api/links/{quote(link.name)}"


def _taken(error: store.LinkExistsError) -> Response:
    return problem(409, f"{error.link.name} exists already.", link=as_json(error.link))


def _missing() -> Response:
    return problem(404, "There is no such link.")


def _read_body(allowed: frozenset[str]) -> dict[str, Any]:
    """The body as an object with no other than the allowed members. Raises BadBodyError."""
    if request.mimetype != "application/json":
        raise BadBodyError(problem(415, "The body must be JSON, sent as Content-Type: application/json."))
    try:
        body = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise BadBodyError(problem(400, "The body is not valid JSON.")) from None
    if not isinstance(body, dict):
        raise BadBodyError(problem(400, "The body must be a JSON object."))
    if unknown := sorted(set(body) - allowed):
        entries = [{"field": field[:100], "message": "is not known here"} for field in unknown[:20]]
        raise BadBodyError(problem(422, f"Only {', '.join(sorted(allowed))} can be given here.", errors=entries))
    return body
