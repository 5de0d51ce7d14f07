"""Is the process alive, and can it serve? For the engine, the proxy and people."""

from __future__ import annotations

from flask import Blueprint, Response
from loguru import logger

from service import auth, db, migrations
from service.answers import answer_json
from service.context import current

blueprint = Blueprint("health", __name__)


@blueprint.get("/livez")
@auth.needs(auth.EVERYBODY)
def livez() -> Response:
    """The process answers; says nothing about the database."""
    return answer_json({"status": "ok"})


@blueprint.get("/health")
@auth.needs(auth.EVERYBODY)
def health() -> Response:
    """200 when the database answers and its schema is at least this release's; 503, saying no more, when not."""
    context = current()
    try:
        db.ensure_open()
        schema = migrations.stored_version()
    except db.DATABASE_ERRORS as error:
        logger.warning("unhealthy: the database can't be read: {}", error)
        return answer_json({"status": "unavailable"}, 503)
    if schema < context.schema:
        logger.warning("unhealthy: schema {} is older than this release's {}", schema, context.schema)
        return answer_json({"status": "unavailable"}, 503)
    return answer_json({"status": "ok", "release": context.release, "schema": schema})
