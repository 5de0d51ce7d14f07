"""People who sign in and tokens for programs, as they are stored. Names are folded, see `service.access`."""

from __future__ import annotations

import hashlib
import secrets
import time
import unicodedata

from peewee import IntegrityError

from service import db, passwords
from service.access import fold_person, is_person
from service.fields import last_second
from service.models import Account, Token

ROLES = ("reader", "editor", "admin")
SCOPES = ("read", "write", "admin")
# Recognised by whoever looks for secrets in places where they don't belong.
TOKEN_PREFIX = "golinks_"  # noqa: S105 - the part that is no secret
MAX_TOKENS = 50  # of one person
MAX_LABEL = 100  # characters
USED_STEP = 3600  # seconds: when a token was used last is known no better, so that reading does not write each time


class PeopleError(Exception):
    """It can't be done as asked; the message is a sentence for whoever asked."""


def find(name: str) -> Account | None:
    """The account of this name in any spelling, disabled or not."""
    found: Account | None = Account.get_or_none(Account.name == fold_person(name))
    return found


def get(name: str) -> Account:
    """The account of this name. Raises PeopleError."""
    found = find(name)
    if found is None:
        raise PeopleError(f"There is no user {name!r}.")
    return found


def everybody() -> list[Account]:
    """All accounts, by name."""
    return list(Account.select().order_by(Account.name))


def active_names() -> frozenset[str]:
    """The names of all who could sign in."""
    return frozenset(row.name for row in Account.select(Account.name).where(~Account.disabled))


def add(name: str, role: str, password: str) -> Account:
    """A new account. Raises PeopleError or passwords.BusyError."""
    folded = fold_person(name.strip())
    if not is_person(folded):
        raise PeopleError("A name has up to 100 letters, digits and any of . _ @ + : | - and no spaces.")
    if role not in ROLES:
        raise PeopleError(f"A role is one of {', '.join(ROLES)}.")
    stored = _stored(password)
    try:
        with db.write():
            account: Account = Account.create(
                name=folded, role=role, password=stored, sessions=_mark(), created=int(time.time())
            )
    except IntegrityError:
        raise PeopleError(f"There is a user {folded!r} already.") from None
    return account


def set_role(name: str, role: str) -> None:
    """From the next request on. Raises PeopleError."""
    if role not in ROLES:
        raise PeopleError(f"A role is one of {', '.join(ROLES)}.")
    _change(name, role=role)


def set_password(name: str, password: str) -> None:
    """Ends all sessions; tokens stay. Raises PeopleError or passwords.BusyError."""
    _change(name, password=_stored(password), sessions=_mark())


def set_disabled(name: str, disabled: bool) -> None:
    """Ends all sessions; tokens don't work while it is disabled. Raises PeopleError."""
    _change(name, disabled=disabled, sessions=_mark())


def remove(name: str) -> None:
    """The account and its tokens; the links stay, and anybody may change them. Raises PeopleError."""
    with db.write():
        account = get(name)
        Token.delete().where(Token.owner == account.name).execute()
        account.delete_instance()


def add_token(owner: str, label: str, scopes: frozenset[str], expires: int | None) -> tuple[Token, str]:
    """A new token, and its secret, which is not stored and so can't be shown again. Raises PeopleError."""
    label = unicodedata.normalize("NFC", label).strip()
    if not label or len(label) > MAX_LABEL or not label.isprintable():
        raise PeopleError(f"A token needs a label of up to {MAX_LABEL} characters that says what it is for.")
    if not scopes or not scopes <= set(SCOPES):
        raise PeopleError(f"A token needs at least one of the scopes {', '.join(SCOPES)}.")
    now = int(time.time())
    if expires is not None and expires <= now:
        raise PeopleError("A token's last day must be in the future.")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with db.write():
        if Token.select().where(Token.owner == owner).count() >= MAX_TOKENS:
            raise PeopleError(f"There are {MAX_TOKENS} tokens already: revoke one that is not needed any more.")
        token: Token = Token.create(
            digest=_digest(secret),
            owner=owner,
            label=label,
            scopes=" ".join(scope for scope in SCOPES if scope in scopes),
            created=now,
            expires=expires,
        )
    return token, secret


def tokens(owner: str | None = None) -> list[Token]:
    """The tokens of one person or of all, newest first."""
    query = Token.select().order_by(Token.id.desc())
    return list(query if owner is None else query.where(Token.owner == owner))


def revoke(token: int, owner: str | None = None) -> bool:
    """True when there was such a token (of that person, if one is given)."""
    query = Token.delete().where(Token.id == token)
    with db.write():
        return bool((query if owner is None else query.where(Token.owner == owner)).execute())


def find_token(secret: str, now: int) -> Token | None:
    """The token with this secret, unless it has expired; notes about once an hour that it was used."""
    if len(secret) > MAX_LABEL or not secret.startswith(TOKEN_PREFIX):
        return None
    # Found by its digest: how long that takes says nothing about the secret.
    token: Token | None = Token.get_or_none(Token.digest == _digest(secret))
    if token is None or (token.expires is not None and token.expires <= now):
        return None
    if token.used is None or token.used <= now - USED_STEP:
        try:
            with db.write():
                Token.update(used=now).where(Token.id == token.id).execute()
        except db.DATABASE_ERRORS as error:
            # Only a note: while somebody else writes, the next request makes it.
            if not db.is_busy(error):
                raise
    return token


def expiry(text: str) -> int | None:
    """`2027-01-31` (to the end of that day) or `2027-01-31T12:00:00Z` as seconds; "" is never. Raises PeopleError."""
    try:
        return last_second(text) if text else None
    except ValueError:
        raise PeopleError("The last day must be a date such as 2027-01-31.") from None


def _change(name: str, **values: object) -> None:
    with db.write():
        account = get(name)
        Account.update(**values).where(Account.id == account.id).execute()


def _stored(password: str) -> str:
    if problem := passwords.problem(password):
        raise PeopleError(problem)
    return passwords.stored(password)


def _mark() -> int:
    # Not a counter: an account that was removed and made again must not take up old sessions.
    return secrets.randbelow(2**62)


def _digest(secret: str) -> str:
    # A secret of 256 random bits can't be guessed, so a slow hash would add nothing.
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
