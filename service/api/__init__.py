"""The JSON API under `/.api`; `/.api/openapi.json` says all of it. Errors are problem documents."""

from __future__ import annotations

from service.api import errors, files, history, links, many, openapi, reports
from service.api.operations import make_blueprint

blueprint = make_blueprint(
    (*links.OPERATIONS, *history.OPERATIONS, *many.OPERATIONS, *reports.OPERATIONS, *files.OPERATIONS)
)
errors.register(blueprint)
openapi.register(blueprint)
