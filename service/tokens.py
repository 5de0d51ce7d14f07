"""Tokens for programs: the page where people make and revoke their own; `service.api.people` is the same by the API."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from service import auth, people

blueprint = Blueprint("tokens", __name__)


@blueprint.get("/.tokens")
@auth.needs("read")
def page() -> str:
    """One's own tokens, and the form for another."""
    return _page(auth.token_owner())


@blueprint.post("/.tokens")
@auth.needs("read")
def create() -> AnyResponse | tuple[str, int]:
    """The page with the new token on it, this once; or with what is wrong."""
    owner = auth.token_owner()
    label, scopes = request.form.get("label", "")[:200], frozenset(request.form.getlist("scopes"))
    last = request.form.get("expires", "")[:40]
    try:
        _, secret = people.add_token(owner.name, label, auth.given(owner, scopes), people.expiry(last))
    except people.PeopleError as error:
        return _page(owner, label=label, scopes=scopes, last=last, wrong=str(error)), 422
    return _page(owner, secret=secret), 201


@blueprint.post("/.tokens/<int:token>/revoke")
@auth.needs("read")
def revoke(token: int) -> AnyResponse:
    """It stops working at once."""
    if not people.revoke(token, auth.token_owner().name):
        raise NotFound("There is no such token.")
    return redirect("/.tokens", 303)


def _page(owner: auth.Person, **more: Any) -> str:
    values = {"secret": "", "label": "", "scopes": frozenset({"read"}), "last": "", "wrong": ""} | more
    offered = [scope for scope in people.SCOPES if owner.may(scope)]
    return render_template("tokens.html", tokens=people.tokens(owner.name), offered=offered, **values)
