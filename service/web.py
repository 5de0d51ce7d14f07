"""Puts the application together: blueprints, static files, errors, headers."""

from __future__ import annotations

import mimetypes
import os
import time
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import quote, urlsplit

from flask import Flask, Response, redirect, render_template, request
from loguru import logger
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response as AnyResponse

from service import (
    api,
    assets,
    auth,
    cli,
    db,
    exports,
    health,
    links,
    log,
    migrations,
    sign_in,
    texts,
    tokens,
    views,
)
from service.access import Access
from service.answers import problem, wants_json
from service.context import Context, current
from service.redirect import Redirects
from service.sessions import Sessions
from service.settings import read_settings

MAX_BODY = 64 * 1024  # bytes; a link with all its fields is far below
# Everything from here alone, and nothing that stands in a page itself: nothing a link holds can run.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def build_app(config: Mapping[str, str] | None) -> Flask:
    """The whole application, see `service.create_app`. Raises SettingsError or StorageError."""
    settings = read_settings(os.environ if config is None else config)
    log.configure(settings.log_level)
    db.configure(settings.database)

    app = Flask("service", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY
    # `/name//rest` is the link's business; folding the slashes would answer with a redirect of our own.
    app.url_map.merge_slashes = False
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals["static_url"] = static_url
    app.extensions["golinks"] = Context(
        settings.release, assets.load(), len(migrations.known_steps()), settings.access, settings.hosts
    )

    use_access(app, settings.access)
    use_texts(app)

    app.register_blueprint(health.blueprint)
    app.register_blueprint(api.blueprint)
    app.register_blueprint(sign_in.blueprint)
    app.register_blueprint(tokens.blueprint)
    app.register_blueprint(exports.blueprint)
    app.register_blueprint(views.blueprint)
    app.add_url_rule("/static/<name>", view_func=static_file)
    app.before_request(auth.guard)
    app.after_request(add_headers)
    app.register_error_handler(HTTPException, answer_error)
    for error in db.DATABASE_ERRORS:
        app.register_error_handler(error, answer_database_error)
    for name in app.jinja_env.list_templates():
        # Compiled now, in the master: not while the first person waits, in each worker.
        app.jinja_env.get_template(name)
    for command in cli.COMMANDS:
        app.cli.add_command(command)
    app.wsgi_app = log.RequestLog(app.wsgi_app)  # type: ignore[method-assign]
    if settings.access.read == "open":
        app.wsgi_app = Redirects(app.wsgi_app, settings.hosts)  # type: ignore[method-assign]
    return app


def use_access(app: Flask, access: Access) -> None:
    """What there is of signing in: the session's cookie, and what templates ask."""
    links.allow_schemes(access.schemes)
    app.session_interface = Sessions()
    app.config["SESSION_COOKIE_HTTPONLY"] = True
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    # A session ends that long after signing in, however much it is used.
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False
    app.permanent_session_lifetime = timedelta(days=access.session_days)
    app.jinja_env.globals.update(
        shown_person=auth.shown, access=auth.access, may_write=auth.may_write, may_edit=auth.may_edit
    )


def use_texts(app: Flask) -> None:
    """What templates say, and the forms of numbers and times in it."""
    app.jinja_env.globals.update(
        _=texts.say,
        counted=texts.count,
        language=texts.language,
        languages=texts.LANGUAGES,
        now=lambda: int(time.time()),
    )
    for name in ("day", "moment", "ago", "instant", "number", "problem"):
        app.jinja_env.filters[name] = getattr(texts, name)
    app.jinja_env.filters["host"] = host


def host(url: str) -> str:
    """The part of an address people know it by."""
    try:
        return urlsplit(url).netloc or url
    except ValueError:
        return url


def static_url(name: str) -> str:
    """The address of a static file, with its content's hash in it."""
    return f"/static/{current().assets.hashed[name]}"


@auth.needs(auth.EVERYBODY)
def static_file(name: str) -> Response:
    """A static file under its hashed name, for where no proxy serves them from STATIC_ROOT."""
    body = current().assets.content.get(name)
    if body is None:
        raise NotFound
    response = Response(body, mimetype=mimetypes.guess_type(name)[0] or "application/octet-stream")
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


def add_headers(response: AnyResponse) -> AnyResponse:
    """The policies only the application knows; the proxy sets the others."""
    response.headers["Content-Security-Policy"] = CONTENT_POLICY
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response


def answer_error(error: HTTPException) -> AnyResponse:
    """The error as a page or a problem document, with the headers it has (Allow, Retry-After, WWW-Authenticate)."""
    response = error.get_response()
    status = error.code or 500
    if status < 400:
        return response
    detail = error.description or "The request failed."
    if wants_json():
        answer: AnyResponse = problem(status, detail)
    elif status == 401 and auth.access().auth == "password":
        # As sent: %2F and double slashes mean something to a link.
        sent = request.environ.get("RAW_URI") or quote(request.path)
        asked = sent if request.method in auth.SAFE_METHODS else "/"
        return redirect(f"{sign_in.PATH}?next={quote(asked)}", 303)
    else:
        identity = request.environ.get(log.REQUEST_ID_KEY, "")
        page = render_template("error.html", status=status, title=error.name, detail=detail, request_id=identity)
        answer = Response(page, status, mimetype="text/html")
    for header in ("Allow", "Retry-After", "WWW-Authenticate"):
        if header in response.headers:
            answer.headers[header] = response.headers[header]
    return answer


def answer_database_error(error: Exception) -> AnyResponse:
    """503 without internals: somebody else is writing, or the database is gone. Trying again may help."""
    if db.is_busy(error):
        logger.warning("the database stayed busy for {} s", db.BUSY_TIMEOUT)
    else:
        logger.opt(exception=error).error("the database failed")
        # The next request tries with a new connection.
        db.discard()
    detail = "The service can't reach its data at the moment. Please try again in a few seconds."
    if wants_json():
        answer: AnyResponse = problem(503, detail)
    else:
        identity = request.environ.get(log.REQUEST_ID_KEY, "")
        page = render_template(
            "error.html", status=503, title="Service Unavailable", detail=detail, request_id=identity
        )
        answer = Response(page, 503, mimetype="text/html")
    answer.headers["Retry-After"] = "2"
    return answer
