"""Who is asking, and what they may: the one place that decides it.

`guard` is asked before every request: a change needs the scope "write" unless its view says otherwise by `needs`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from flask import current_app, g, request, session
from loguru import logger
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, HTTPException, NotFound, Unauthorized

from service import db, people
from service.access import Access, Address, address_of, fold_person, is_person, within
from service.context import current
from service.cross_site import refuse_cross_site

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ALL_SCOPES = frozenset(people.SCOPES)
ROLES = {"reader": frozenset({"read"}), "editor": frozenset({"read", "write"}), "admin": ALL_SCOPES}
EVERYBODY = ""  # what a view `needs` that is for whoever asks, signed in or not

View = TypeVar("View", bound=Callable[..., object])


@dataclass(frozen=True)
class Person:
    """`name` is "" where AUTH=open: nobody has one. `scopes` are a token's, or all; `token` is its id, else 0."""

    name: str
    role: str
    scopes: frozenset[str] = ALL_SCOPES
    token: int = 0

    def may(self, scope: str) -> bool:
        """True when both the role and the token, if it is one, allow "read", "write" or "admin"."""
        return scope in self.scopes and scope in ROLES.get(self.role, ())


ANYBODY = Person("", "admin")  # where AUTH=open
STRANGER = Person("", "reader", frozenset({"read"}))  # who has not signed in, where READ=open


def needs(scope: str) -> Callable[[View], View]:
    """Says what a view needs, where that isn't "write" for a change and "read" for the rest. Stands below its route."""

    def mark(view: View) -> View:
        view.needs = scope  # type: ignore[attr-defined]
        return view

    return mark


def guard() -> None:
    """Before every request. Raises Forbidden or Unauthorized for one that must not be answered."""
    view = current_app.view_functions.get(request.endpoint or "")
    changes = request.method not in SAFE_METHODS
    needed = getattr(view, "needs", "write" if changes else "read")
    if changes and not (_bearer() is not None and signed_in().token):
        refuse_cross_site()
    if needed == EVERYBODY:
        return
    if changes and access().read_only:
        raise read_only()
    if changes:
        signed_in()
    # What everybody may read is answered without asking who it is, which the database would have to say.
    if changes or needed != "read" or access().read == "closed" or _bearer() is not None:
        require(needed)


def access() -> Access:
    """The settings that rule the current request."""
    return current().access


def person() -> Person | None:
    """Whoever makes the current request; None: not signed in. Raises Unauthorized for a token that is none."""
    if "person" not in g:
        g.person = _identify()
    found: Person | None = g.person
    return found


def shown() -> Person | None:
    """The same for the head of a page, which must not fail when it tells of an error."""
    try:
        return person()
    except (HTTPException, db.StorageError, *db.DATABASE_ERRORS):
        return None


def require(scope: str) -> Person:
    """Whoever makes the current request, if they may "read", "write" or "admin"; STRANGER where all may read.

    Raises Unauthorized or Forbidden, which become a problem document, the sign-in page or an error page.
    """
    if scope != "read" and access().read_only:
        raise read_only()
    if scope == "read" and access().read == "open" and person() is None:
        return STRANGER
    found = signed_in()
    if not found.may(scope):
        raise Forbidden(f"{'This token' if found.token else 'Your role'} does not allow this: it needs {scope!r}.")
    return found


def signed_in() -> Person:
    """Whoever makes the current request. Raises Unauthorized for a stranger."""
    found = person()
    if found is None:
        raise unauthorized("Please sign in: this is not for everybody.")
    return found


def may_write() -> bool:
    """True when whoever asks may create links: what decides whether a form is shown."""
    found = shown()
    return found is not None and found.may("write") and not access().read_only


def may_edit(who: Person | None, owner: str) -> bool:
    """True for the owner, an admin, anybody where there is no owner or no more, and where AUTH=open or EDIT=anyone."""
    if who is None or not who.may("write") or access().read_only:
        return False
    folded = fold_person(owner)
    if access().auth == "open" or access().edit == "anyone" or folded in ("", who.name) or who.may("admin"):
        return True
    return access().auth == "password" and folded not in _active_names()


def require_edit(owner: str) -> Person:
    """Whoever asks, if they may change a link of `owner`. Raises Unauthorized or Forbidden."""
    found = require("write")
    if not may_edit(found, owner):
        raise Forbidden(f"This link belongs to {owner}: only they or an admin can change it.")
    return found


def token_owner() -> Person:
    """Whoever manages their tokens. A token that leaked must not live on by making another.

    Raises Unauthorized, Forbidden, or NotFound where nobody has a name.
    """
    if access().auth == "open":
        raise NotFound("Everybody may do everything here (AUTH=open), so there are no tokens.")
    db.ensure_open()
    found = signed_in()
    if found.token and "admin" not in found.scopes:
        raise Forbidden("This token does not allow this: it needs 'admin'.")
    return found


def given(who: Person, scopes: frozenset[str]) -> frozenset[str]:
    """The scopes of a token, none of which go beyond those of whoever gives them. Raises people.PeopleError."""
    if beyond := sorted(scope for scope in scopes & set(people.SCOPES) if not who.may(scope)):
        raise people.PeopleError(f"You can't give {', '.join(beyond)}: you have it not yourself.")
    return scopes


def unauthorized(detail: str, error: str = "") -> Unauthorized:
    """401 with the way to sign in that a program has; `error` is RFC 6750's."""
    values: dict[str, str | None] = {"realm": "golinks"}
    if error:
        values["error"] = error
    return Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer", values))


def read_only() -> Forbidden:
    """What READ_ONLY answers to a change."""
    return Forbidden("Links can only be followed and read at the moment, so nothing was changed.")


def client_address() -> Address | None:
    """Who sent the request to our own proxy, or to us where nobody of ours is between."""
    peer = address_of(request.environ.get("REMOTE_ADDR", ""))
    if not within(peer, access().forwarders):
        return peer
    # Our proxy replaces what a client says here. Of several the last was added nearest to us.
    told = request.headers.get("X-Forwarded-For")
    return address_of(told.rpartition(",")[2]) if told is not None else peer


def _identify() -> Person | None:
    if access().auth == "open":
        return ANYBODY
    if (secret := _bearer()) is not None:
        return _by_token(secret)
    return _by_proxy() if access().auth == "proxy" else _by_session()


def _bearer() -> str | None:
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" and access().auth != "open" else None


def _by_token(secret: str) -> Person:
    db.ensure_open()
    token = people.find_token(secret, int(time.time()))
    found = _named(token.owner) if token else None
    if token is None or found is None:
        raise unauthorized("This token is not valid: it was revoked, has expired or never was one.", "invalid_token")
    return Person(found.name, found.role, frozenset(token.scopes.split()), token.id)


def _named(name: str) -> Person | None:
    """The person of this folded name, as they are now."""
    if access().auth == "proxy":
        return Person(name, "admin" if name in access().admins else "editor")
    account = people.find(name)
    return Person(account.name, account.role) if account and not account.disabled else None


def _by_session() -> Person | None:
    name, mark = session.get("person"), session.get("mark")
    if not isinstance(name, str):
        return None
    db.ensure_open()
    account = people.find(name)
    if account is None or account.disabled or str(account.sessions) != mark:
        return None
    return Person(account.name, account.role)


def _by_proxy() -> Person | None:
    told = request.headers.get(access().user_header)
    if told is None:
        return None
    if not within(client_address(), access().trusted):
        logger.warning("{} from {} is not trusted", access().user_header, client_address())
        return None
    try:
        # WSGI gives a header's bytes as latin-1.
        name = fold_person(told.encode("latin-1").decode().strip())
    except UnicodeError:
        return None
    return _named(name) if is_person(name) else None


def _active_names() -> frozenset[str]:
    if "active_names" not in g:
        db.ensure_open()
        g.active_names = people.active_names()
    found: frozenset[str] = g.active_names
    return found
