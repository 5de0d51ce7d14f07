"""Redirects without Flask: a WSGI layer in front of it that follows a plain link by one prepared statement.

What it does not understand at once it leaves to Flask, where `service.following` has the whole of it: unknown names,
other spellings, expired links, links to this service, targets that depend on who asks, and every failure.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from service import db
from service.clicks import counter
from service.hosts import own_host
from service.links import RESERVED, resolve, take_apart
from service.loops import leads_here
from service.targets import TargetError, is_template, uses_user

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Almost every name; folding others needs Unicode.
PLAIN = re.compile(r"/(\w[\w\-.]*)(?:[/?]|$)", re.ASCII)


class Redirects:
    """`hosts` are this service's own, besides the one it is asked under. Does not log: the proxy has a line for each
    request, and one of ours would cost as much as the redirect."""

    def __init__(self, app: WSGIApplication, hosts: Collection[str]) -> None:
        self.app, self.hosts = app, hosts

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """302, or what Flask answers."""
        address = self._address(environ)
        if address is None:
            return self.app(environ, start_response)
        # As Flask's redirect: the next change must show at once, so nobody keeps it.
        start_response("302 Found", [("Location", address), ("Cache-Control", "no-store"), ("Content-Length", "0")])
        return ()

    def _address(self, environ: WSGIEnvironment) -> str | None:
        method = environ["REQUEST_METHOD"]
        raw = environ.get("RAW_URI", "")
        found = PLAIN.match(raw) if method in ("GET", "HEAD") else None
        if found is None:
            return None
        key = found[1].lower().replace("-", "")
        try:
            row = db.find_target(key) if key not in RESERVED else None
            address = _target(row, raw, found.end()) if row else None
        except (TargetError, *db.DATABASE_ERRORS):
            return None
        if row is None or address is None or leads_here(address, self.hosts) or leads_here(address, _host(environ)):
            return None
        if method == "GET":
            counter.click(row[0])
        return address


def _target(row: tuple[int, str, int | None], raw: str, name_ends: int) -> str | None:
    """Where the link leads; None where that depends on more than the request's address. Raises TargetError."""
    _, url, expires = row
    if (expires is not None and expires < time.time()) or (is_template(url) and uses_user(url)):
        return None
    if name_ends == len(raw) and url.isascii() and not is_template(url):
        return url
    asked = take_apart(raw)
    return resolve(url, asked.rest, asked.query)


def _host(environ: WSGIEnvironment) -> tuple[str]:
    return (own_host(environ.get("HTTP_HOST", "")),)
