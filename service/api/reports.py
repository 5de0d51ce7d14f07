"""What is asked for: visits by day, names that are missing; and which tags there are."""

from __future__ import annotations

from flask import Response

from service import clicks as visits
from service import missing, search, store
from service.answers import answer_json
from service.api.operations import Call, Operation, choice, not_found, number
from service.api.shapes import when

MAX_DAYS = 366


def clicks(call: Call, name: str) -> Response:
    """Each day up to today (UTC), those without a visit, too."""
    link = store.find(name)
    if link is None:
        return not_found()
    counted = visits.by_day(link.id, call.query["days"])
    days = [{"day": day.isoformat(), "clicks": count} for day, count in counted]
    total = sum(count for _, count in counted)
    return answer_json({"days": days, "total": total, "clicks": link.clicks, "visited": when(link.visited)})


def asked_for(call: Call) -> Response:
    """The names that were asked for and are no links."""
    limit = call.query["limit"]
    found = missing.names(limit + 1, latest_first=call.query["sort"] == "last")
    rows = [
        {"name": miss.name, "asked": miss.asked, "first": when(miss.first), "last": when(miss.last)}
        for miss in found[:limit]
    ]
    return answer_json({"missing": rows, "more": len(found) > limit})


def forget_missing(_call: Call, asked: str) -> Response:
    """204: it is off the list until it is asked for again."""
    return Response(status=204) if missing.forget(asked) else not_found("missing name")


def tags(call: Call) -> Response:
    """The tags, those of the most links first."""
    found, limit = search.tags(), call.query["limit"]
    most = sorted(found, key=lambda tag: (-tag[1], tag[0]))[:limit]
    return answer_json({"tags": [{"name": n, "links": c} for n, c in most], "more": len(found) > limit})


OPERATIONS = (
    Operation(
        "GET",
        "/links/{name}/clicks",
        "How often a link was followed, by day (UTC)",
        clicks,
        {200: "Clicks"},
        query=(number("days", 30, MAX_DAYS, "days up to today"),),
    ),
    Operation(
        "GET",
        "/missing",
        "Names that were asked for and are no links",
        asked_for,
        {200: "Missing"},
        query=(
            choice("sort", ("asked", "last"), "asked", "most often first, or latest first"),
            number("limit", 100, 500, "names, at most"),
        ),
    ),
    Operation(
        "DELETE",
        "/missing/{asked}",
        "Take a name off that list",
        forget_missing,
        {204: None},
        scope="write",
        named={"asked": "wkii"},
    ),
    Operation(
        "GET",
        "/tags",
        "Tags, those of the most links first",
        tags,
        {200: "Tags"},
        query=(number("limit", 500, 2000, "tags, at most"),),
    ),
)
