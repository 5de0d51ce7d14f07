"""What became of links: history, undo, what was deleted, undelete."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from flask import Response

from service import changes, following, store
from service.answers import answer_json, problem
from service.api.links import guard
from service.api.operations import Call, Operation, not_found, number, refusal
from service.api.shapes import MAX_ANSWER, MAX_CHANGE, answer_link, state_as_json, when
from service.models import Change

DEFAULT_PAGE = 50
MAX_PAGE = 100


def of_link(call: Call, name: str) -> Response:
    """A page of its changes, the newest first."""
    link = store.find(name)
    if link is None:
        return not_found()
    limit = call.query["limit"]
    lines = changes.of_link(link.id, limit + 1, call.query["cursor"])
    return answer_json(_page("changes", lines, limit))


def undo(call: Call, name: str) -> Response:
    """The link as it was before the change; 204 when it was not there then, so that it is gone again."""
    link, change = store.find(name), _change_id(call)
    line = Change.get_or_none(Change.id == change) if link else None
    if link is None or line is None or line.link != link.id:
        return not_found("change of such a link")
    after = following.revert(change, call.person.name, guard())
    return answer_link(after) if after else Response(status=204)


def gone(call: Call) -> Response:
    """A page of the links that are deleted, the last one first."""
    limit = call.query["limit"]
    return answer_json(_page("deleted", changes.deleted(limit + 1, call.query["cursor"]), limit))


def undelete(call: Call) -> Response:
    """The link that the change deleted, as it was, with its visits."""
    change = _change_id(call)
    # The last one of those up to it is the one itself, if it counts.
    found = changes.deleted(1, change + 1)
    if not found or found[0].id != change:
        return not_found("deleted link")
    link = following.revert(change, call.person.name, guard())
    return answer_link(link) if link else problem(404, "There is no such deleted link.")


def _change_id(call: Call) -> int:
    change = call.body.get("change")
    # bool is an int.
    if type(change) is not int or not 1 <= change <= MAX_CHANGE:
        raise refusal("change", "must be the number of a change")
    return change


def _page(name: str, lines: Iterable[Change], limit: int) -> dict[str, Any]:
    """As many of the lines as fit; `next` is where the others begin."""
    shown: list[dict[str, Any]] = []
    last, size = None, 0
    for line in lines:
        entry = _change(line) if name == "changes" else _deleted(line)
        size += len(json.dumps(entry, ensure_ascii=False).encode())
        if len(shown) == limit or (shown and size > MAX_ANSWER):
            return {name: shown, "next": str(last)}
        shown.append(entry)
        last = line.id
    return {name: shown, "next": None}


def _change(line: Change) -> dict[str, Any]:
    return {
        "change": line.id,
        "at": when(line.at),
        "author": line.author,
        "action": line.action,
        "differences": [
            {"field": field, "before": _shown(field, before), "after": _shown(field, after)}
            for field, before, after in changes.differences(line)
        ],
    }


def _shown(field: str, value: Any) -> Any:
    return when(value) if field == "expires" else value


def _deleted(line: Change) -> dict[str, Any]:
    # Every deletion has what was deleted.
    state = json.loads(line.before or "{}")
    return {"change": line.id, "at": when(line.at), "author": line.author, "link": state_as_json(state)}


PAGES = (
    number("cursor", None, MAX_CHANGE, "`next` of the page before"),
    number("limit", DEFAULT_PAGE, MAX_PAGE, "entries of a page, at most"),
)
OPERATIONS = (
    Operation(
        "GET", "/links/{name}/history", "What was changed, the newest first", of_link, {200: "History"}, query=PAGES
    ),
    Operation(
        "POST",
        "/links/{name}/undo",
        "Make a link as it was before one of its changes",
        undo,
        {200: "Link", 204: None},
        scope="write",
        body="ChangeId",
        example={"change": 5},
        matched=True,
        refusals=(409,),
    ),
    Operation(
        "GET", "/deleted", "The links that were deleted, the last one first", gone, {200: "Deleted"}, query=PAGES
    ),
    Operation(
        "POST",
        "/undelete",
        "Bring a deleted link back, as it was",
        undelete,
        {200: "Link"},
        scope="write",
        body="ChangeId",
        example={"change": 2},
        refusals=(404, 409),
    ),
)
