"""Answers in JSON: problem documents (RFC 9457), and who wants them."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from flask import Response, request


def answer_json(body: Any, status: int = 200, mimetype: str = "application/json") -> Response:
    """One JSON document that no cache keeps."""
    # A lone surrogate, which a body can smuggle in as an escape, goes back the same way.
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
    response = Response(text + b"\n", status, mimetype=mimetype)
    response.headers["Cache-Control"] = "no-store"
    return response


def problem(status: int, detail: str, **more: Any) -> Response:
    """A problem document; `detail` is one sentence for the person who sent the request."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return answer_json(body, status, "application/problem+json")


def wants_json() -> bool:
    """True for the API, and for whoever prefers JSON to a page."""
    if request.path.startswith("/.api/") or request.path == "/.api":
        return True
    offered = ["text/html", "application/json", "application/problem+json"]
    return (request.accept_mimetypes.best_match(offered) or "text/html") != "text/html"
