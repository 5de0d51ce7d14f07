"""How to use all this; the address bar's search; and the language of the pages."""

from __future__ import annotations

import json

from flask import Response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from service import auth, texts
from service.views.common import blueprint

YEAR = 365 * 86400  # seconds


@blueprint.get("/.help")
def help_page() -> str:
    """Names, paths, templates, search, keyboard, bookmarklet, address bar, API."""
    # Read by a browser as JavaScript, on whatever page it is clicked.
    here = json.dumps(request.host_url).replace("<", "\\u003c").replace("'", "\\u0027")
    bookmarklet = (
        f"javascript:location.href={here}+'?url='+encodeURIComponent(location.href)"
        "+'&description='+encodeURIComponent(document.title)"
    )
    return render_template("help.html", bookmarklet=bookmarklet)


@blueprint.get("/.opensearch")
def opensearch() -> Response:
    """What lets a browser's address bar follow links by name, and search."""
    document = render_template("opensearch.xml")
    return Response(document, mimetype="application/opensearchdescription+xml")


@blueprint.post("/.language")
@auth.needs(auth.EVERYBODY)
def language() -> AnyResponse:
    """Remember the language that was chosen, and go back."""
    following = request.form.get("next", "")
    # Only to pages of our own: a link leads away from here.
    local = following.startswith(("/.", "/?")) and "\\" not in following and following.isprintable()
    answer = redirect(following if local else "/", 303)
    chosen = request.form.get("language", "")
    if chosen in texts.LANGUAGES:
        answer.set_cookie(texts.COOKIE, chosen, YEAR, secure=request.is_secure, httponly=True, samesite="Lax")
    return answer
