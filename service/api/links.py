"""Links: listed and searched, made, read, changed, deleted."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request

from service import auth, following, search, store
from service.answers import answer_json
from service.api.errors import ChangedMeanwhileError
from service.api.operations import Call, Operation, choice, not_found, number, text
from service.api.shapes import MAX_ANSWER, all_as_json, answer_link
from service.fields import MAX_OWNER, MAX_TAG, check_fields, check_some
from service.links import fold
from service.models import Link
from service.store import Guard

DEFAULT_PAGE = 50
MAX_PAGE = 500
MAX_CURSOR = 1000
ORDERS = ("asc", "desc")


def guard() -> Guard:
    """Lets a change through if whoever asks may edit the link, and it is as If-Match says."""
    # "If-Match:" without a version names none.
    expected = request.if_match if "If-Match" in request.headers else None

    def check(link: Link) -> None:
        auth.require_edit(link.owner)
        if expected is not None and not expected.contains(store.etag(link).strip('"')):
            raise ChangedMeanwhileError(link)

    return check


def create(call: Call) -> Response:
    """201; or 200 when all of it is there already, so that a request may be sent again; or 409."""
    wanted = following.unlooped_fields(check_fields({"owner": call.person.name, **call.body}))
    try:
        link = store.create(wanted, call.person.name)
    except store.LinkExistsError as error:
        if store.fields_of(error.link) != wanted:
            raise
        return answer_link(error.link)
    return answer_link(link, 201)


def index(call: Call) -> Response:
    """A page of links. Of a search there is one page, the best first."""
    asked = call.query
    limit = asked["limit"]
    while True:
        query = search.Query(
            text=asked["q"],
            tag=asked["tag"],
            owner=asked["owner"] if "owner" in request.args else None,
            sort=asked["sort"] or "",
            descending=asked["order"] == "desc",
            cursor=asked["cursor"],
            limit=limit,
        )
        page = search.list_links(query)
        body: dict[str, Any] = {"links": all_as_json(page.links), "next": page.following, "more": page.more}
        if limit == 1 or len(json.dumps(body, ensure_ascii=False).encode()) <= MAX_ANSWER:
            return answer_json(body)
        # Links as long as they may be: fewer of them.
        limit = max(1, min(limit, len(page.links)) // 2)


def read(_call: Call, name: str) -> Response:
    """The link, by any of its names in any spelling."""
    link = store.find(name)
    return answer_link(link) if link else not_found()


def change(call: Call, name: str) -> Response:
    """The link as changed; under another name, the old one goes on leading to it."""
    values = following.unlooped(check_some(call.body), name)
    link = store.change(name, values, call.person.name, guard())
    return answer_link(link) if link else not_found()


def delete(call: Call, name: str) -> Response:
    """204; it can be brought back, see /.api/deleted."""
    found = store.delete(name, call.person.name, guard())
    return Response(status=204) if found else not_found()


def forget_alias(call: Call, name: str, alias: str) -> Response:
    """204: the alias does not lead to the link any more."""
    link = store.find(name)
    known = {fold(other) for other in store.aliases(link)} if link else set()
    if fold(alias) in known and store.forget_alias(alias, call.person.name, guard()):
        return Response(status=204)
    return not_found("alias")


LIST = (
    text("q", search.MAX_TEXT, "search: all of these words, or parts of them, anywhere in a link"),
    text("tag", MAX_TAG, "only links with this tag"),
    text("owner", MAX_OWNER, "only links of this owner; empty: of nobody"),
    choice("sort", search.SORTS, None, "the order; by default, the name, and of a search the best match"),
    choice("order", ORDERS, "asc", "the direction"),
    text("cursor", MAX_CURSOR, "`next` of the page before, asked for with the same other parameters"),
    number("limit", DEFAULT_PAGE, MAX_PAGE, "links of a page, at most"),
)
OPERATIONS = (
    Operation("GET", "/links", "A page of links, or those found", index, {200: "Links"}, query=LIST),
    Operation(
        "POST",
        "/links",
        "Make a link; the same again changes nothing and is answered with 200",
        create,
        {200: "Link", 201: "Link"},
        scope="write",
        body="NewLink",
        example={"name": "wiki", "url": "https://wiki.example.com/", "tags": ["docs"]},
        refusals=(409,),
    ),
    Operation("GET", "/links/{name}", "Read a link, by any of its names", read, {200: "Link"}),
    Operation(
        "PATCH",
        "/links/{name}",
        "Change some fields of a link; of another name, the old one is kept as an alias",
        change,
        {200: "Link"},
        scope="write",
        body="LinkChange",
        example={"description": "What we know"},
        matched=True,
        refusals=(409,),
    ),
    Operation(
        "DELETE",
        "/links/{name}/aliases/{alias}",
        "Take an alias away from a link",
        forget_alias,
        {204: None},
        scope="write",
        named={"name": "manual", "alias": "handbook"},
        matched=True,
    ),
    Operation(
        "DELETE",
        "/links/{name}",
        "Delete a link; it can be undeleted",
        delete,
        {204: None},
        scope="write",
        matched=True,
    ),
)
