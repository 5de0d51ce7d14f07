"""Whoever asks, and their tokens."""

from __future__ import annotations

from typing import Any

from flask import Response

from service import auth, people
from service.answers import answer_json
from service.api.errors import BadRequestError
from service.api.operations import Call, Operation, not_found, refusal
from service.api.shapes import when
from service.models import Token


def me(_call: Call) -> Response:
    """Name, role, and what they may do by that and by the token."""
    person = auth.signed_in()
    allowed = [scope for scope in people.SCOPES if person.may(scope)]
    return answer_json({"name": person.name, "role": person.role, "scopes": allowed})


def tokens(_call: Call) -> Response:
    """One's own, newest first, without their secrets."""
    return answer_json({"tokens": [as_json(token) for token in people.tokens(auth.token_owner().name)]})


@auth.needs("read")
def create(call: Call) -> Response:
    """The new token; its secret is shown this once."""
    owner = auth.token_owner()
    label, scopes, last = call.body.get("label"), call.body.get("scopes"), call.body.get("expires")
    if not isinstance(label, str):
        raise refusal("label", "must be text")
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise refusal("scopes", f"must be a list of some of {', '.join(people.SCOPES)}")
    if not isinstance(last, str | None):
        raise refusal("expires", "must be a date such as 2027-01-31, or null")
    try:
        token, secret = people.add_token(
            owner.name, label, auth.given(owner, frozenset(scopes)), people.expiry(last or "")
        )
    except people.PeopleError as error:
        raise BadRequestError(422, str(error)) from None
    return answer_json(as_json(token) | {"token": secret}, 201)


@auth.needs("read")
def revoke(_call: Call, token: str) -> Response:
    """204: it stops working at once."""
    owner = auth.token_owner()
    known = token.isascii() and token.isdigit() and len(token) < 16
    return Response(status=204) if known and people.revoke(int(token), owner.name) else not_found("token")


def as_json(token: Token) -> dict[str, Any]:
    """The token as the API shows it; times in UTC, `used` to the hour."""
    return {
        "id": token.id,
        "label": token.label,
        "scopes": token.scopes.split(),
        "created": when(token.created),
        "expires": when(token.expires),
        "used": when(token.used),
    }


OPERATIONS = (
    Operation("GET", "/me", "Who is asking, and what they may do", me, {200: "Me"}),
    Operation(
        "GET",
        "/tokens",
        "One's own tokens; 404 where nobody has a name (AUTH=open)",
        tokens,
        {200: "OwnTokens"},
        refusals=(404,),
    ),
    Operation(
        "POST",
        "/tokens",
        "Make a token; by a token, only with the scope admin",
        create,
        {201: "MadeToken"},
        body="NewToken",
        refusals=(404,),
        example={"label": "ci", "scopes": ["read", "write"], "expires": None},
    ),
    Operation("DELETE", "/tokens/{token}", "Revoke a token", revoke, {204: None}, named={"token": "2"}),
)
