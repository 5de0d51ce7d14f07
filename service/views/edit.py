"""The page that changes one link, and its end."""

from __future__ import annotations

from urllib.parse import quote

from flask import redirect, render_template, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from service import auth, following, store, texts
from service.fields import check_some
from service.links import InvalidLinkError
from service.models import Link
from service.views import forms
from service.views.common import after, author, blueprint, find, may_change, noted, sent
from service.views.notices import notice


class SeenAnotherError(Exception):
    """Somebody has changed the link since the form was shown; `link` is how it is now."""

    def __init__(self, link: Link) -> None:
        super().__init__(f"{link.name} was changed meanwhile")
        self.link = link


@blueprint.get("/.edit/<name>")
def edit(name: str) -> str:
    """The form that changes one link or deletes it."""
    auth.require("write")
    link = find(name)
    may_change(link)
    return _form(link, forms.of_link(link))


@blueprint.post("/.edit/<name>")
def change(name: str) -> AnyResponse | tuple[str, int]:
    """Store what was typed, unless somebody else has changed the link meanwhile: then both are shown."""
    who, typed, version = author(), sent(), request.form.get("version", "")

    def unchanged(link: Link) -> None:
        may_change(link)
        # Without a version nothing was seen that could be another one: a form made by hand.
        if version and version != store.etag(link):
            raise SeenAnotherError(link)

    try:
        with noted() as lines:
            link = store.change(name, following.unlooped(check_some(typed), name), who, unchanged)
    except InvalidLinkError as error:
        link = find(name)
        return _form(link, {**forms.of_link(link), **typed}, version=version, errors=error.errors), 422
    except store.LinkExistsError as error:
        link = find(name)
        return _form(link, {**forms.of_link(link), **typed}, version=version, existing=error.link), 409
    except SeenAnotherError as error:
        others = forms.clashes(typed, forms.of_link(error.link))
        return _form(error.link, {**forms.of_link(error.link), **typed}, others=others, clash=True), 409
    if link is None:
        raise NotFound(str(texts.say("There is no such link.")))
    return after(lines, f"/.detail/{quote(link.name)}")


@blueprint.route("/.delete/<name>", methods=["GET", "POST"])
def delete(name: str) -> AnyResponse | str:
    """Delete the link; the notice on the next page brings it back. Asked for as a page, it only asks."""
    if request.method != "POST":
        auth.require("write")
        link = find(name)
        may_change(link)
        return render_template("delete.html", link=link)
    who = author()
    with noted() as lines:
        link_was = store.delete(name, who, may_change)
    if link_was is None:
        raise NotFound(str(texts.say("There is no such link.")))
    return after(lines, "/")


@blueprint.post("/.forget/<name>")
def forget(name: str) -> AnyResponse:
    """Remove one of the other names of a link."""
    who = author()
    link = find(name)
    with noted() as lines:
        if not store.forget_alias(name, who, may_change):
            raise NotFound(str(texts.say("There is no such name.")))
    return after(lines, f"/.detail/{quote(link.name)}")


@blueprint.get("/.forget/<name>")
def forget_where(name: str) -> AnyResponse:
    """Nothing is shown here; where the names are."""
    return redirect(f"/.detail/{quote(find(name).name)}")


def _form(
    link: Link,
    typed: dict[str, str],
    version: str = "",
    errors: dict[str, str] | None = None,
    existing: Link | None = None,
    others: dict[str, str] | None = None,
    clash: bool = False,
) -> str:
    wrong = errors or {}
    focus = next((field for field in forms.FIELDS if field in wrong), "")
    return render_template(
        "edit.html",
        link=link,
        typed=typed,
        version=version or store.etag(link),
        errors=wrong,
        existing=existing,
        others=others or {},
        clash=clash,
        focus=focus or ("name" if existing else next(iter(others or {}), "")),
        notice=notice(),
    )
