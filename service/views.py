"""The pages for people, and the redirects they are there for. Work without JavaScript."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from flask import Blueprint, redirect, render_template, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from service import db, following, search, store
from service.answers import problem, wants_json
from service.fields import check_fields, check_some
from service.links import InvalidLinkError, is_name, take_apart
from service.models import Link

blueprint = Blueprint("views", __name__)

PAGE = 100  # links on one page
MAX_ECHO = 4096  # characters of a rejected field that the form shows again


@blueprint.before_request
def open_database() -> None:
    """Every page here shows or follows links."""
    db.ensure_open()


@blueprint.get("/")
def index() -> str:
    """The form and the list; after a change, a line that says what happened."""
    return _index()


@blueprint.post("/")
def create() -> AnyResponse | tuple[str, int]:
    """Store the form's link, then show the list; or show the form again with what is wrong."""
    name, url = _field("name"), _field("url")
    try:
        link = store.create(following.unlooped_fields(check_fields({"name": name, "url": url})), author="")
    except InvalidLinkError as error:
        return _index(name=name, url=url, errors=error.errors), 422
    except store.LinkExistsError as error:
        return _index(name=name, url=url, existing=error.link), 409
    return redirect(f"/?created={quote(link.name)}", 303)


@blueprint.get("/.edit/<name>")
def edit(name: str) -> str:
    """The form that changes one link or deletes it."""
    link = _find(name)
    return render_template("edit.html", link=link, url=link.url, errors={})


@blueprint.post("/.edit/<name>")
def change(name: str) -> AnyResponse | tuple[str, int]:
    """Store the new target."""
    try:
        link = store.change(name, following.unlooped(check_some({"url": _field("url")}), name), author="")
    except InvalidLinkError as error:
        return render_template("edit.html", link=_find(name), url=_field("url"), errors=error.errors), 422
    if link is None:
        raise NotFound("There is no such link.")
    return redirect(f"/?changed={quote(link.name)}", 303)


@blueprint.post("/.delete/<name>")
def delete(name: str) -> AnyResponse:
    """Delete the link for good."""
    if store.delete(name, author="") is None:
        raise NotFound("There is no such link.")
    return redirect(f"/?deleted={quote(name)}", 303)


@blueprint.get("/<path:asked>")
def follow(asked: str) -> AnyResponse | tuple[str, int]:
    """302 to the link's target; or 404 with the form filled in, so that whoever missed it can make it."""
    # As sent, not as decoded: %2F and double slashes mean something to the target.
    raw = request.environ.get("RAW_URI") or quote(asked)
    wanted = take_apart(raw)
    found = following.answer(wanted)
    if found is not None:
        return found
    if wants_json():
        return problem(404, "There is no such link.")
    return _index(name=wanted.name if is_name(wanted.name) else "", missing=wanted.name[:200]), 404


@blueprint.app_template_filter("day")
def day(seconds: int) -> str:
    """1 Feb 2026 (UTC)."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.day} {moment:%b %Y}"


@blueprint.app_template_filter("instant")
def instant(seconds: int) -> str:
    """The machine's form of a time, for `<time datetime>`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@blueprint.app_template_filter("host")
def host(url: str) -> str:
    """The part of an address people know it by."""
    return urlsplit(url).netloc


def _index(
    name: str = "",
    url: str = "",
    errors: dict[str, str] | None = None,
    existing: Link | None = None,
    missing: str = "",
) -> str:
    after = request.args.get("after", "")[:1000]
    try:
        page = search.list_links(search.Query(cursor=after, limit=PAGE))
    except search.BadCursorError:
        raise NotFound("There is no such page of the list.") from None
    done = next(
        ((verb, request.args[verb]) for verb in ("created", "changed", "deleted") if verb in request.args), None
    )
    subject = store.find(done[1]) if done else None
    return render_template(
        "index.html",
        links=page.links,
        following=page.following,
        after=after,
        name=name,
        url=url,
        errors=errors or {},
        existing=existing,
        missing=missing,
        # Only what is true: an address made up by somebody else must not put words on the page.
        done=done[0] if done and (subject is None) == (done[0] == "deleted") and is_name(done[1]) else "",
        subject=subject,
        subject_name=done[1] if done else "",
    )


def _field(name: str) -> str:
    return request.form.get(name, "")[:MAX_ECHO]


def _find(name: str) -> Link:
    link = store.find(name)
    if link is None:
        raise NotFound("There is no such link.")
    return link
