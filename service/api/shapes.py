"""The JSON that the API takes and gives: made of links, and described as JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from flask import Response

from service import fields, links, people, store
from service.answers import answer_json
from service.importing import MAX_REPORTED
from service.models import Alias, Link

MAX_NAMES = 500  # of one bulk change
MAX_ANSWER = 900_000  # bytes of a list, about; it ends early rather than grow beyond


def when(seconds: int | None) -> str | None:
    """A time in UTC, to the second; None for none."""
    if not seconds:
        return None
    # Not strftime, which leaves out the zeros of a year before 1000.
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def as_json(link: Link, aliases: Iterable[str] | None = None) -> dict[str, Any]:
    """The link as the API shows it; `aliases` are looked up if they are not given."""
    return {
        "name": link.name,
        "url": link.url,
        "owner": link.owner,
        "description": link.description,
        "tags": link.tags.split(),
        "expires": when(link.expires),
        "aliases": list(store.aliases(link) if aliases is None else aliases),
        "created": when(link.created),
        "updated": when(link.updated),
        "clicks": link.clicks,
        "visited": when(link.visited),
    }


def all_as_json(found: Iterable[Link]) -> list[dict[str, Any]]:
    """Several links, with one look for all their other names."""
    found = list(found)
    names: dict[int, list[str]] = {link.id: [] for link in found}
    if names:
        rows: Any = Alias.select(Alias.link, Alias.name).where(Alias.link.in_(list(names))).order_by(Alias.key)
        for link_id, name in rows.tuples():
            names[link_id].append(name)
    return [as_json(link, names[link.id]) for link in found]


def state_as_json(state: Mapping[str, Any]) -> dict[str, Any]:
    """What `store.state` gave, as the API shows it."""
    times = {name: when(state[name]) for name in ("expires", "created", "updated", "visited")}
    return {name: times.get(name, state[name]) for name in LINK_PROPERTIES}


def answer_link(link: Link, status: int = 200) -> Response:
    """The link with its version, and its address when it is new."""
    answer = answer_json(as_json(link), status)
    answer.headers["ETag"] = store.etag(link)
    if status == 201:
        answer.headers["Location"] = f"/.api/links/{quote(link.name)}"
    return answer


def _object(required: Iterable[str] | None = None, **properties: Any) -> dict[str, Any]:
    names = list(properties) if required is None else list(required)
    return {"type": "object", "additionalProperties": False, "required": names, "properties": properties}


def _list(items: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
TIME = {"type": "string", "format": "date-time"}
NO_TIME = {"type": ["string", "null"], "format": "date-time"}
CURSOR = {"type": ["string", "null"], "description": "the `cursor` of the following page; null at the end"}
FLAG = {"type": "boolean"}
NAME = {
    "type": "string",
    "minLength": 1,
    "maxLength": links.MAX_NAME,
    "description": "letters, digits, hyphens, dots and underscores, no hyphen or dot first; spellings that differ in "
    "case and hyphens are the same name",
}

FIELDS: dict[str, Any] = {
    "name": NAME,
    "url": {
        "type": "string",
        "minLength": 1,
        "maxLength": links.MAX_URL,
        "description": "where it leads: an http or https address, or a template of one",
    },
    "owner": {"type": ["string", "null"], "description": f"at most {fields.MAX_OWNER} characters"},
    "description": {
        "type": ["string", "null"],
        "description": f"at most {fields.MAX_DESCRIPTION} characters, one line",
    },
    "tags": {
        "type": ["array", "string", "null"],
        "items": TEXT,
        "description": f"at most {fields.MAX_TAGS} words of at most {fields.MAX_TAG} characters: a list, or a text "
        "with spaces or commas between",
    },
    "expires": {
        "type": ["string", "null"],
        "description": "a time such as 2026-01-31T12:00:00Z, or a day such as 2026-01-31, which means its end; null or "
        "empty: never",
    },
}
LINK_PROPERTIES: dict[str, Any] = {
    "name": NAME,
    "url": TEXT,
    "owner": TEXT,
    "description": TEXT,
    "tags": _list(TEXT),
    "expires": NO_TIME,
    "aliases": _list(TEXT),
    "created": TIME,
    "updated": TIME,
    "clicks": COUNT,
    "visited": NO_TIME,
}
_REPORT: dict[str, Any] = {
    "dry_run": FLAG,
    "created": COUNT,
    "replaced": COUNT,
    "skipped": COUNT,
    "failed": COUNT,
    "errors": _list(_object(line=COUNT, name=TEXT, reason=TEXT), maxItems=MAX_REPORTED),
}
MAX_CHANGE = 2**53 - 1  # the largest that JSON's numbers hold everywhere
CHANGE_ID = {"type": "integer", "minimum": 1, "maximum": MAX_CHANGE}

SCOPES = _list({"type": "string", "enum": list(people.SCOPES)})
TOKEN: dict[str, Any] = {
    "id": COUNT,
    "label": TEXT,
    "scopes": SCOPES,
    "created": TIME,
    "expires": NO_TIME,
    "used": NO_TIME,
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "Link": _object(**LINK_PROPERTIES),
    "NewLink": _object(["name", "url"], **FIELDS),
    "LinkChange": _object([], **FIELDS),
    "Links": _object(links=_list(_ref("Link")), next=CURSOR, more=FLAG),
    "Change": _object(
        change=CHANGE_ID,
        at=TIME,
        author=TEXT,
        action={"type": "string", "description": "create, edit, rename, delete, undelete, undo or import"},
        differences=_list(_object(field=TEXT, before={}, after={})),
    ),
    "History": _object(changes=_list(_ref("Change")), next=CURSOR),
    "Deleted": _object(
        deleted=_list(_object(change=CHANGE_ID, at=TIME, author=TEXT, link=_ref("Link"))),
        next=CURSOR,
    ),
    "ChangeId": _object(change=CHANGE_ID),
    "Clicks": _object(
        days=_list(_object(day={"type": "string", "format": "date"}, clicks=COUNT)),
        total=COUNT,
        clicks=COUNT,
        visited=NO_TIME,
    ),
    "Bulk": _object(
        ["names"],
        names=_list(TEXT, minItems=1, maxItems=MAX_NAMES),
        delete={"type": "boolean", "description": "delete them all, instead of a change"},
        change={
            **_object([], **{name: shape for name, shape in FIELDS.items() if name != "name"}),
            "description": "fields that get these values, in all of them",
        },
        add_tags=FIELDS["tags"],
        remove_tags=FIELDS["tags"],
    ),
    "BulkDone": _object(changed=_list(TEXT), deleted=_list(TEXT)),
    "Missing": _object(missing=_list(_object(name=TEXT, asked=COUNT, first=TIME, last=TIME)), more=FLAG),
    "Tags": _object(tags=_list(_object(name=TEXT, links=COUNT)), more=FLAG),
    "ImportReport": _object(
        **_REPORT,
        lines=_list(
            _object(
                line=COUNT,
                name=TEXT,
                action={"type": "string", "enum": ["create", "replace", "skip", "error"]},
                reason=TEXT,
            ),
            description="of a dry run: what would become of the first of them",
        ),
    ),
    "Me": _object(name=TEXT, role={"type": "string", "enum": list(people.ROLES)}, scopes=SCOPES),
    "OwnTokens": _object(tokens=_list(_object(**TOKEN))),
    "NewToken": _object(
        ["label", "scopes"],
        label={"type": "string", "minLength": 1, "maxLength": people.MAX_LABEL, "description": "what it is for"},
        scopes={**SCOPES, "minItems": 1},
        expires={"type": ["string", "null"], "description": "its last day, such as 2027-01-31; null or empty: never"},
    ),
    "MadeToken": _object(**TOKEN, token={"type": "string", "description": "the secret, shown this once"}),
    "Problem": {
        "type": "object",
        "description": "RFC 9457; there may be more members",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "errors": _list({"type": "object"}),
            "link": _ref("Link"),
        },
    },
}
