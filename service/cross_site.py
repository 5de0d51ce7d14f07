"""No page of another site changes anything here.

There is no token in the forms, so nothing to keep between workers, releases and restarts. What protects is what every
browser says of a request by itself and no page can change: Sec-Fetch-Site, or where it is left out (plain http, older
browsers) Origin, else Referer. The session's cookie is SameSite=Lax besides, so that a browser which said none of these
would send a form of another site without it. A client that sends none of the headers is no browser, and nobody can make
it send anything. A token of the API is never sent by a browser on its own, so a request with one needs none of this.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request
from werkzeug.exceptions import Forbidden


def refuse_cross_site() -> None:
    """Raises 403 for a change that another site's page sent."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        allowed = site in ("same-origin", "none")
    else:
        source = request.headers.get("Origin") or request.headers.get("Referer")
        allowed = source is None or same_host(source, request.host)
    if not allowed:
        raise Forbidden("This change was asked for by another site's page, so it was not made.")


def same_host(source: str, host: str) -> bool:
    """True when the origin or address `source` is on `host` (with its port, as in the Host header)."""
    try:
        return urlsplit(source).netloc.lower() == host.lower()
    except ValueError:
        return False
