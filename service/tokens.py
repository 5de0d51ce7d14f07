"""Tokens for programs: the page where people make and revoke their own, and the same by the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.exceptions import BadRequest, Forbidden, NotFound, UnprocessableEntity, UnsupportedMediaType
from werkzeug.wrappers import Response as AnyResponse

from service import auth, db, people
from service.answers import answer_json

blueprint = Blueprint("tokens", __name__)


@blueprint.get("/.api/me")
@auth.needs("read")
def me() -> Response:
    """Whoever asks: name, role, and what they may do by that and by the token."""
    person = auth.signed_in()
    allowed = [scope for scope in people.SCOPES if person.may(scope)]
    return answer_json({"name": person.name, "role": person.role, "scopes": allowed})


@blueprint.get("/.tokens")
@auth.needs("read")
def page() -> str:
    """One's own tokens, and the form for another."""
    return _page(_owner())


@blueprint.post("/.tokens")
@auth.needs("read")
def create() -> AnyResponse | tuple[str, int]:
    """The page with the new token on it, this once; or with what is wrong."""
    owner = _owner()
    label, scopes = request.form.get("label", "")[:200], frozenset(request.form.getlist("scopes"))
    last = request.form.get("expires", "")[:40]
    try:
        _, secret = people.add_token(owner.name, label, _allowed(owner, scopes), people.expiry(last))
    except people.PeopleError as error:
        return _page(owner, label=label, scopes=scopes, last=last, wrong=str(error)), 422
    return _page(owner, secret=secret), 201


@blueprint.post("/.tokens/<int:token>/revoke")
@auth.needs("read")
def revoke(token: int) -> AnyResponse:
    """It stops working at once."""
    if not people.revoke(token, _owner().name):
        raise NotFound("There is no such token.")
    return redirect("/.tokens", 303)


@blueprint.get("/.api/tokens")
@auth.needs("read")
def api_list() -> Response:
    """One's own tokens, newest first, without their secrets."""
    return answer_json({"tokens": [as_json(token) for token in people.tokens(_owner().name)]})


@blueprint.post("/.api/tokens")
@auth.needs("read")
def api_create() -> Response:
    """201 with the new token; `token` is shown this once. Body: label, scopes, expires (may be left out or null)."""
    owner, body = _owner(), _body()
    label, scopes, last = body.get("label"), body.get("scopes"), body.get("expires")
    if not isinstance(label, str) or not isinstance(last, str | None):
        raise UnprocessableEntity("label must be text, and expires a date such as 2027-01-31, or null.")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise UnprocessableEntity(f"scopes must be a list of some of {', '.join(people.SCOPES)}.")
    try:
        token, secret = people.add_token(
            owner.name, label, _allowed(owner, frozenset(scopes)), people.expiry(last or "")
        )
    except people.PeopleError as error:
        raise UnprocessableEntity(str(error)) from None
    return answer_json(as_json(token) | {"token": secret}, 201)


@blueprint.delete("/.api/tokens/<int:token>")
@auth.needs("read")
def api_revoke(token: int) -> Response:
    """204, or 404 when there is no such token."""
    if not people.revoke(token, _owner().name):
        raise NotFound("There is no such token.")
    return Response(status=204)


def as_json(token: people.Token) -> dict[str, Any]:
    """The token as the API shows it; times in UTC, `used` to the hour."""
    return {
        "id": token.id,
        "label": token.label,
        "scopes": token.scopes.split(),
        "created": _when(token.created),
        "expires": _when(token.expires),
        "used": _when(token.used),
    }


def _owner() -> auth.Person:
    """Whoever manages their tokens. A token that leaked must not live on by making another."""
    if auth.access().auth == "open":
        raise NotFound("Everybody may do everything here (AUTH=open), so there are no tokens.")
    db.ensure_open()
    person = auth.signed_in()
    if person.token and "admin" not in person.scopes:
        raise Forbidden("This token does not allow this: it needs 'admin'.")
    return person


def _allowed(person: auth.Person, scopes: frozenset[str]) -> frozenset[str]:
    """The scopes, none of which go beyond those of whoever gives them. Raises PeopleError."""
    if beyond := sorted(scope for scope in scopes & set(people.SCOPES) if not person.may(scope)):
        raise people.PeopleError(f"You can't give {', '.join(beyond)}: you have it not yourself.")
    return scopes


def _page(owner: auth.Person, **more: Any) -> str:
    values = {"secret": "", "label": "", "scopes": frozenset({"read"}), "last": "", "wrong": ""} | more
    offered = [scope for scope in people.SCOPES if owner.may(scope)]
    return render_template("tokens.html", tokens=people.tokens(owner.name), offered=offered, **values)


def _when(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _body() -> dict[str, Any]:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The body must be JSON, sent as Content-Type: application/json.")
    try:
        body = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise BadRequest("The body is not valid JSON.") from None
    if not isinstance(body, dict) or not body.keys() <= {"label", "scopes", "expires"}:
        raise UnprocessableEntity("The body must be an object with no more than label, scopes and expires.")
    return body
