"""The JSON API under `/.api`; `/.api/openapi.json` says all of it. Errors are problem documents."""

from __future__ import annotations

from service.api import errors, files, history, links, many, openapi, people, reports
from service.api.operations import make_blueprint

PARTS = (links, history, many, reports, files, people)

blueprint = make_blueprint(operation for part in PARTS for operation in part.OPERATIONS)
errors.register(blueprint)
openapi.register(blueprint)
