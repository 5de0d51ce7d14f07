"""What other programs read: `/.export`, the links as golink gives them, and `/.metrics`."""

from __future__ import annotations

from flask import Blueprint, Response

from service import auth, db, metrics
from service.api.files import answer_export
from service.context import current

blueprint = Blueprint("exports", __name__)


@blueprint.get("/.export")
def export() -> Response:
    """All links as lines of JSON."""
    db.ensure_open()
    auth.require("read")
    return answer_export()


@blueprint.get("/.metrics")
def measure() -> Response:
    """Figures in the text format of Prometheus."""
    db.ensure_open()
    auth.require("read")
    answer = Response(metrics.text(current().release), content_type=metrics.CONTENT_TYPE)
    answer.headers["Cache-Control"] = "no-store"
    return answer
