"""The cookie of whoever has signed in with a password, and the key that signs it.

The key is made at the first start and kept beside the database, so every worker, replica and release has the same, and
nobody has to set one.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from flask import Flask, Request, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import BadSignature, URLSafeTimedSerializer

from service import db
from service.access import Access
from service.context import Context

KEY_FILE = "session.key"
KEY_BYTES = 32
# A browser takes the first one from https alone, for this host alone.
HOST_COOKIE, PLAIN_COOKIE = "__Host-golinks", "golinks"


class Sessions(SecureCookieSessionInterface):
    """Flask's signed cookie. The key is read when it is first needed: the application is made before it is there."""

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        if app.secret_key is None:
            app.secret_key = key()
        return super().get_signing_serializer(app)

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002
        return by_https(request)

    def get_cookie_name(self, app: Flask) -> str:  # noqa: ARG002
        return HOST_COOKIE if by_https(request) else PLAIN_COOKIE

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        """What the cookie holds; nothing where there is none, or none of ours."""
        cookies = [request.cookies[name] for name in (HOST_COOKIE, PLAIN_COOKIE) if name in request.cookies]
        if current_access(app).auth != "password":
            return self.session_class()
        if not cookies or (serializer := self.get_signing_serializer(app)) is None:
            return self.session_class()
        if HOST_COOKIE not in request.cookies and request.is_secure:
            # Another host of the same domain can set the plain one, and so sign somebody in as somebody else.
            return self.session_class()
        try:
            return self.session_class(
                serializer.loads(cookies[0], max_age=int(app.permanent_session_lifetime.total_seconds()))
            )
        except BadSignature:
            return self.session_class()


def current_access(app: Flask) -> Access:
    """The settings, also while no request is under way."""
    context: Context = app.extensions["golinks"]
    return context.access


def by_https(request: Request) -> bool:
    """True when the browser came by https: to our own proxy, or to one before it, as the form's origin tells."""
    return request.is_secure or request.headers.get("Origin", "").lower().startswith("https://")


def key() -> bytes:
    """The key, made if there is none yet. Raises db.StorageError."""
    folder = db.folder()
    path = folder / KEY_FILE
    try:
        if not path.exists():
            _make(path)
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise db.StorageError(f"the key of the sessions can't be kept in {folder}: {error.strerror}") from error
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != KEY_BYTES:
        raise db.StorageError(f"{path} is damaged: remove it, and a new one is made at the next start")
    return found


def _make(path: Path) -> None:
    """Whole or not at all, and never over one that is there: two containers may start at once."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link and not a rename: it fails where another one was quicker.
            path.hardlink_to(part)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        part.unlink(missing_ok=True)
