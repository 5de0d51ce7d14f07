"""Who is asking, and what they may: the one place that decides it."""

from __future__ import annotations

from dataclasses import dataclass

from flask import g
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from service.access import Access
from service.context import current

ALL_SCOPES = frozenset({"read", "write", "admin"})
ROLES = {"reader": frozenset({"read"}), "editor": frozenset({"read", "write"}), "admin": ALL_SCOPES}


@dataclass(frozen=True)
class Person:
    """`name` is "" where AUTH=open: nobody has one. `scopes` are a token's, or all; `token` is its id, else 0."""

    name: str
    role: str
    scopes: frozenset[str] = ALL_SCOPES
    token: int = 0

    def may(self, scope: str) -> bool:
        """True when both the role and the token, if it is one, allow "read", "write" or "admin"."""
        return scope in self.scopes and scope in ROLES[self.role]


ANYBODY = Person("", "admin")


def access() -> Access:
    """The settings that rule the current request."""
    return current().access


def person() -> Person | None:
    """Whoever makes the current request; None: not signed in. Raises Unauthorized for a token that is none."""
    if "person" not in g:
        g.person = ANYBODY
    found: Person | None = g.person
    return found


def require(scope: str) -> Person:
    """Whoever makes the current request, if they may "read", "write" or "admin".

    Raises Unauthorized or Forbidden, which become a problem document, the sign-in page or an error page.
    """
    if scope != "read" and access().read_only:
        raise Forbidden("The links can only be read at the moment: nothing is changed here (READ_ONLY).")
    found = person()
    if found is None:
        raise unauthorized("Please sign in: this is not for everybody.")
    if not found.may(scope):
        who = "This token" if found.token else "Your role"
        raise Forbidden(f"{who} does not allow this: it needs {scope!r}.")
    return found


def may_write() -> bool:
    """True when whoever asks may create links: what decides whether a form is shown."""
    found = person()
    return found is not None and found.may("write") and not access().read_only


def may_edit(who: Person | None, owner: str) -> bool:
    """True for the owner, an admin, anybody where there is no owner, and where AUTH=open or EDIT=anyone."""
    if who is None or not who.may("write") or access().read_only:
        return False
    if access().auth == "open" or access().edit == "anyone" or owner in ("", who.name):
        return True
    return who.may("admin")


def require_edit(owner: str) -> Person:
    """Whoever asks, if they may change a link of `owner`. Raises Unauthorized or Forbidden."""
    found = require("write")
    if not may_edit(found, owner):
        raise Forbidden(f"This link belongs to {owner}: only they or an admin can change it.")
    return found


def unauthorized(detail: str, error: str = "") -> Unauthorized:
    """401 with the way to sign in that a program has; `error` is RFC 6750's."""
    values: dict[str, str | None] = {"realm": "golinks"}
    if error:
        values["error"] = error
    return Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", values))
