"""Several links changed at once: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from service import auth, following, store
from service.answers import answer_json, problem
from service.api.operations import MAX_ECHO, Call, Operation, refusal
from service.api.shapes import MAX_NAMES, SCHEMAS
from service.fields import check_some
from service.models import Link


def bulk(call: Call) -> Response:
    """Their names afterwards. 404 names the first one that is no link."""
    names, deleting = _names(call.body), call.body.get("delete", False)
    if not isinstance(deleting, bool):
        raise refusal("delete", "must be true or false")
    values = _values(call.body)
    add = set(check_some({"tags": call.body.get("add_tags")})["tags"])
    remove = set(check_some({"tags": call.body.get("remove_tags")})["tags"])
    if deleting and (values or add or remove):
        raise refusal("delete", "can't go together with a change")

    def edit(link: Link) -> Mapping[str, Any] | None:
        auth.require_edit(link.owner)
        if deleting:
            return None
        following.unlooped(values, link.name)
        if not (add or remove):
            return values
        tags = set(values.get("tags", link.tags.split()))
        # Together they may be too many.
        return {**values, **check_some({"tags": sorted((tags - remove) | add)})}

    try:
        done = [link.name for link in store.bulk(names, edit, call.person.name)]
    except LookupError as error:
        return problem(404, f"There is no such link: {str(error.args[0])[:MAX_ECHO]}. Nothing was changed.")
    return answer_json({"changed": [] if deleting else done, "deleted": done if deleting else []})


def _names(body: Mapping[str, Any]) -> list[str]:
    names = body.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise refusal("names", "must be a list of names")
    if not 1 <= len(names) <= MAX_NAMES:
        raise refusal("names", f"must be from 1 to {MAX_NAMES}")
    return names


def _values(body: Mapping[str, Any]) -> dict[str, Any]:
    values = body.get("change", {})
    allowed = SCHEMAS["Bulk"]["properties"]["change"]["properties"]
    if not isinstance(values, dict):
        raise refusal("change", "must be an object")
    if unknown := sorted(set(values) - set(allowed)):
        raise refusal(f"change.{unknown[0][:MAX_ECHO]}", f"is none of {', '.join(sorted(allowed))}")
    return check_some(values)


OPERATIONS = (
    Operation(
        "POST",
        "/bulk",
        "Change or delete several links, all or none",
        bulk,
        {200: "BulkDone"},
        scope="write",
        body="Bulk",
        example={"names": ["wiki"], "add_tags": ["docs"]},
        refusals=(404, 409),
    ),
)
