"""Logs: one JSON object a line on stderr, with the id of the request it belongs to."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
import uuid
from collections.abc import Iterable
from datetime import UTC
from typing import TYPE_CHECKING, Any

from loguru import logger

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from loguru import Message

REQUEST_ID_KEY = "golinks.request_id"  # in the WSGI environment
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Asked every second by whoever watches the container: only their failures are worth a line.
PROBES = frozenset({"/health", "/livez"})
# A pipe keeps lines of several processes apart up to 4096 bytes (PIPE_BUF); a message and a traceback share that.
MAX_TEXT = 1000
MAX_TRACEBACK = 2000
MAX_LINE = 4096


def configure(level: str) -> None:
    """Send loguru's and the standard library's records to stderr as JSON lines; `level` is a name such as "info"."""
    logger.remove()
    # enqueue would start a thread that does not live on in a forked worker; diagnose would print variables' values.
    logger.add(_write, level=level.upper(), format="{message}", diagnose=False, backtrace=False, enqueue=False)
    logging.root.handlers = [ToLoguru()]
    logging.root.setLevel(level.upper())
    # It would write each statement with its values: hashes of passwords, digests of tokens.
    logging.getLogger("peewee").setLevel(logging.INFO)
    logging.captureWarnings(True)


class ToLoguru(logging.Handler):
    """Hands the standard library's records (of Flask, gunicorn and warnings) to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on under the same level."""
        try:
            message = record.getMessage()
        except Exception:  # a wrong format in a library must not take a request down
            message = str(record.msg)
        known = record.levelname in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        level: str | int = record.levelname if known else record.levelno
        logger.opt(exception=record.exc_info).bind(logger=record.name).log(level, "{}", message)


def request_id(environ: WSGIEnvironment) -> str:
    """The id the proxy gave this request, or a new one when there is none or it is not one we would log."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class RequestLog:
    """WSGI middleware: names each request and logs it when the answer's headers are known.

    Around the whole application, so that whatever answers is logged, and under any server alike.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        identity = environ[REQUEST_ID_KEY] = request_id(environ)
        status = "500"

        def remember(code: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = code
            return start_response(code, headers, exc_info)

        with logger.contextualize(request_id=identity):
            try:
                return self.app(environ, remember)
            finally:
                path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
                code = int(status[:3])
                logger.bind(
                    method=environ.get("REQUEST_METHOD", ""),
                    path=path[:300],
                    status=code,
                    duration_ms=round((time.perf_counter() - started) * 1000, 1),
                ).log("DEBUG" if path in PROBES and code == 200 else "INFO", "request")


def _write(message: Message) -> None:
    record = message.record
    line: dict[str, Any] = {
        "time": record["time"].astimezone(UTC).isoformat(timespec="milliseconds"),
        "level": record["level"].name.lower(),
        "message": record["message"][:MAX_TEXT],
        **record["extra"],
        "pid": record["process"].id,
    }
    if record["exception"] is not None and record["exception"].type is not None:
        line["error"] = f"{record['exception'].type.__name__}: {record['exception'].value}"[:MAX_TEXT]
        # The end of a traceback is where it happened.
        line["traceback"] = "".join(traceback.format_exception(record["exception"].value))[-MAX_TRACEBACK:]
    text = _as_json(line)
    if len(text.encode()) >= MAX_LINE:
        text = _as_json({key: value[-300:] if isinstance(value, str) else value for key, value in line.items()})
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _as_json(line: dict[str, Any]) -> str:
    # A lone surrogate (an undecodable byte from outside) can't be written as UTF-8.
    return json.dumps(line, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode()
