"""The service for whoever changes it: `python -m service.develop`.

A change of code starts it again (werkzeug's reloader), templates and static files are read anew for each page, and an
error is answered with werkzeug's debugger, which runs whatever it is told: never where others can reach it.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import logging
import os
import traceback
from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from loguru import logger
from werkzeug.serving import WSGIRequestHandler, is_running_from_reloader, run_simple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Seconds between two looks at the files. All of them are asked for their time, so much less would cost a processor.
INTERVAL = 0.3
# As service.log, which may be what is broken just now.
LOGGED, PROBE = "golinks.request_id", "/health"


class Handler(WSGIRequestHandler):
    """Has no line for what `service.log` has one for: what is left are redirects, which the proxy logs otherwise."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - as it is called
        """One line, like the others, of a request that never came to Flask."""
        if LOGGED not in getattr(self, "environ", {}) and self.path != PROBE:
            logger.bind(method=self.command, path=self.path[:300], status=int(code)).info("request")


def told(record: logging.LogRecord) -> bool:
    """Whether a line of werkzeug's helps: not its addresses, which are the container's own."""
    return "Running on" not in str(record.msg) and "CTRL+C" not in str(record.msg)


class PendingError(Exception):
    """The database is older than the code; the message says how it gets its schema."""


class FreshAssets:
    """WSGI middleware: an application whose static files are as they are now."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A page has the hashes of now in it, so a browser asks for what was changed."""
        from service import assets

        known = self.app.extensions
        known["golinks"] = dataclasses.replace(known["golinks"], assets=assets.load())
        answer: Iterable[bytes] = self.app(environ, start_response)
        return answer


def prepare() -> None:
    """Once, when the container starts: what gunicorn's master does otherwise, the migration among it."""
    from service import server

    server.on_starting(None)


def build() -> WSGIApplication:
    """The application as gunicorn's workers have it, with everything that helps whoever changes it."""
    from flask import Flask
    from jinja2 import FileSystemBytecodeCache

    from service import create_app, db, server
    from service.migrate import pending

    settings = server.settings_or_exit()
    if names := pending(settings.database):
        # Not applied at once: the file may be half written, and a migration is never run twice.
        raise PendingError(f"not applied: {', '.join(names)}. In the container: python -m service.migrate")
    # By a template's text: to compile all of them each time would take as long as everything else.
    Flask.jinja_options["bytecode_cache"] = FileSystemBytecodeCache()
    app = create_app()
    app.debug = True
    for error in db.DATABASE_ERRORS:
        # In production that is a 503 without internals.
        app.register_error_handler(error, raise_again)
    server.post_worker_init(SimpleNamespace(wsgi=app))
    atexit.register(server.worker_exit, None, None)
    return FreshAssets(app)


def raise_again(error: Exception) -> NoReturn:
    """For the debugger."""
    raise error


def failing(error: Exception) -> WSGIApplication:
    """An application that shows with each request why there is no other, until a change starts it again."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PROBE:
            # Asked every second: one traceback in the log is enough.
            start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{type(error).__name__}: {error}".encode()]
        raise error

    return answer


def main() -> None:
    """Serve on PORT (8000) until it is stopped."""
    application: WSGIApplication = failing(RuntimeError("only the reloaded process answers"))
    try:
        if is_running_from_reloader():
            application = build()
        else:
            prepare()
    except Exception as error:  # whatever the code has come to, its next change must be seen
        traceback.print_exc()
        application = failing(error)
    logging.getLogger("werkzeug").addFilter(told)
    run_simple(
        "0.0.0.0",  # noqa: S104 - in a container, which alone decides where it is published
        int(os.environ.get("PORT") or "8000"),
        application,
        use_reloader=True,
        use_debugger=True,
        reloader_interval=INTERVAL,  # type: ignore[arg-type] # seconds to sleep
        reloader_type="stat",
        threaded=True,
        request_handler=Handler,
    )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
