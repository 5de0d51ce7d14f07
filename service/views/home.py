"""The first page: search, the form for a new link, and the list."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from flask import redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from service import following, search, store
from service.answers import wants_json
from service.fields import check_fields
from service.links import MAX_URL, InvalidLinkError, spellings
from service.models import Link
from service.views.common import after, author, blueprint, new_link, noted, sent
from service.views.listing import listed
from service.views.notices import notice

FILLED = ("name", "url", "description")


@blueprint.get("/")
def index() -> str:
    """The list of all links, or of those that the address asks for; `?part=list` gives the list alone."""
    if request.args.get("part") == "list":
        return render_template("list.html", listed=listed())
    typed = {name: request.args[name][:MAX_URL] for name in FILLED if name in request.args}
    # Whoever comes with something filled in (the bookmarklet, a missing name) goes on where it is not.
    return page(typed=typed, focus=("url" if typed.get("name") else "name") if typed else "")


@blueprint.get("/.all")
def all_links() -> str | AnyResponse:
    """The same list."""
    return redirect("/.api/links") if wants_json() else index()


@blueprint.get("/.search")
def found() -> str | AnyResponse:
    """The list; with `?go=` the link itself, where the text is the name of one."""
    text = request.args.get("q", "")[: search.MAX_TEXT]
    if wants_json():
        return redirect(f"/.api/links?{urlencode({'q': text})}")
    if request.args.get("go"):
        name, slash, rest = text.strip().partition("/")
        for spelling in spellings(name):
            if link := store.find(spelling):
                address = f"/{quote(link.name)}{slash}{quote(rest)}"
                # Browsers hold a redirect after a form, and those that follow it, against the form's policy.
                from_form = request.args["go"] == "form"
                return render_template("going.html", address=address) if from_form else redirect(address)
    return index()


@blueprint.post("/")
def create() -> AnyResponse | tuple[str, int]:
    """Store the form's link, then show the list; or show the form again with what is wrong."""
    who, typed = author(), sent()
    try:
        with noted() as lines:
            store.create(following.unlooped_fields(check_fields({"owner": who, **typed})), who)
    except InvalidLinkError as error:
        return page(typed=typed, errors=error.errors), 422
    except store.LinkExistsError as error:
        return page(typed=typed, existing=error.link), 409
    return after(lines, "/")


def page(
    typed: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
    existing: Link | None = None,
    focus: str = "",
) -> str:
    """The whole page; `typed`, `errors` and `existing` are of the form for a new link."""
    return render_template(
        "index.html",
        listed=listed(),
        typed=new_link(typed or {}),
        errors=errors or {},
        existing=existing,
        focus=next(iter(errors or {}), "name" if existing else focus),
        notice=notice(),
    )
