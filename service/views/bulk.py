"""One edit of several links, chosen in the list: all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import request
from werkzeug.exceptions import BadRequest, NotFound, UnprocessableEntity
from werkzeug.wrappers import Response as AnyResponse

from service import store, texts
from service.fields import MAX_TAGS, check_some
from service.links import InvalidLinkError
from service.models import Link
from service.views.common import after, author, blueprint, may_change, noted

MOST = 200  # links at once; a page of the list has fewer
Edit = Callable[[Link], Mapping[str, Any] | None]


@blueprint.post("/.bulk")
def bulk() -> AnyResponse:
    """What the form below the list asks for. Undone by the notice on the next page."""
    who, names = author(), request.form.getlist("names")
    if not names:
        raise BadRequest(str(texts.say("No links were chosen: tick some in the list first.")))
    if len(names) > MOST:
        raise BadRequest(str(texts.say("These are too many links at once.")))
    try:
        edit = _edit(request.form.get("do", ""), request.form.get("value", ""))
        with noted() as lines:
            store.bulk(names, _guarded(edit), who)
    except InvalidLinkError as error:
        wrong = " ".join(f"{texts.problem(message)}." for message in error.errors.values())
        raise UnprocessableEntity(str(texts.say("Nothing was changed: the value {problem}", problem=wrong))) from None
    except LookupError as error:
        told = texts.say("{name} is no link any more, so nothing was changed.", name=str(error.args[0])[:100])
        raise NotFound(str(told)) from None
    return after(lines, "/")


def _guarded(edit: Edit) -> Edit:
    def guarded(link: Link) -> Mapping[str, Any] | None:
        may_change(link)
        return edit(link)

    return guarded


def _edit(what: str, value: str) -> Edit:
    """What is done to each link. Raises InvalidLinkError for a value that can't be used, or BadRequest."""
    if what == "delete":
        return lambda _link: None
    if what in ("owner", "expires"):
        values = check_some({what: value})
        return lambda _link: values
    if what in ("tag", "untag"):
        words = set(check_some({"tags": value})["tags"])

        def retag(link: Link) -> Mapping[str, Any]:
            kept = set(link.tags.split())
            tags = kept | words if what == "tag" else kept - words
            if len(tags) > MAX_TAGS:
                raise InvalidLinkError({"tags": f"are more than {MAX_TAGS}"})
            return {"tags": tuple(sorted(tags))}

        return retag
    raise BadRequest(str(texts.say("Say what is to be done with these links.")))
