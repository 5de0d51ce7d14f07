"""What is not in the list: links that are gone, and names that were never there."""

from __future__ import annotations

import json
from typing import Any

from flask import render_template, request

from service import changes, missing
from service.models import Change
from service.views.common import blueprint, earlier_than
from service.views.notices import notice

PAGE = 50  # lines on one page


@blueprint.get("/.deleted")
def deleted() -> str:
    """Links that were deleted, the last first, each with a button that brings it back."""
    earlier = earlier_than()
    lines = changes.deleted(PAGE + 1, earlier)
    return render_template(
        "deleted.html",
        lines=[(line, _before(line)) for line in lines[:PAGE]],
        earlier=lines[PAGE - 1].id if len(lines) > PAGE else None,
        paged=earlier is not None,
        notice=notice(),
    )


@blueprint.get("/.missing")
def missing_names() -> str:
    """Names that people asked for and that lead nowhere, the most wanted first."""
    newest = request.args.get("sort") == "last"
    misses = missing.names(2 * PAGE, latest_first=newest)
    return render_template("missing_names.html", misses=misses, newest=newest)


def _before(line: Change) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line.before or "{}")
    return found
