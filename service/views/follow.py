"""What all the rest is for: from a name to where it leads; and what is shown where it leads nowhere."""

from __future__ import annotations

import difflib
from urllib.parse import quote

from flask import redirect, render_template, request
from werkzeug.exceptions import Gone
from werkzeug.wrappers import Response as AnyResponse

from service import changes, following, search, store
from service.answers import problem, wants_json
from service.links import fold, is_name, spellings, take_apart
from service.models import Link
from service.views.common import blueprint, new_link

SIMILAR = 5  # names that are suggested
NEAR = 200  # names with the same beginning that are compared
ALIKE = 0.6  # difflib's ratio, from which on they are


@blueprint.get("/<path:asked>")
def follow(asked: str) -> AnyResponse | tuple[str, int]:
    """302 to the link's target; or 404 with the form filled in, so that whoever missed it can make it."""
    # As sent, not as decoded: %2F and double slashes mean something to the target.
    raw = request.environ.get("RAW_URI") or quote(asked)
    wanted = take_apart(raw)
    try:
        found = following.answer(wanted)
    except Gone as error:
        return gone(wanted.name, error.description or "")
    if found is not None:
        return found
    if wanted.name.endswith("+") and not wanted.rest and is_name(wanted.name[:-1]):
        return redirect(f"/.detail/{quote(wanted.name[:-1])}")
    return missing(wanted.name)


def gone(name: str, detail: str) -> AnyResponse | tuple[str, int]:
    """410: there is a link, but it has expired."""
    if wants_json():
        return problem(410, detail)
    link = next((link for spelling in spellings(name) if (link := store.find(spelling))), None)
    return (render_template("expired.html", link=link), 410) if link else missing(name)


def missing(name: str) -> AnyResponse | tuple[str, int]:
    """404: the form filled in, what became of the link that was there, and names like this."""
    if wants_json():
        return problem(404, "There is no such link.")
    wanted = name if is_name(name) else ""
    return render_template(
        "missing.html",
        asked=name[:200],
        typed=new_link({"name": wanted}),
        errors={},
        existing=None,
        focus="url" if wanted else "name",
        went=changes.last_of(fold(wanted)) if wanted else None,
        similar=similar(wanted) if wanted else [],
    ), 404


def similar(name: str) -> list[Link]:
    """Links whose names are like this one: that hold it, or begin alike and differ by a letter or two."""
    found = search.list_links(search.Query(text=name, limit=SIMILAR)).links
    key = fold(name)
    near = Link.select().where((Link.key >= key[:2]) & (Link.key < key[:2] + search.HIGHEST)).limit(NEAR)
    by_key = {link.key: link for link in near}
    alike = difflib.get_close_matches(key, by_key, n=SIMILAR, cutoff=ALIKE)
    links = {link.id: link for link in [by_key[key] for key in alike] + found}
    return list(links.values())[:SIMILAR]
