"""What is not in the list: links that are gone, and names that were never there."""

from __future__ import annotations

import json
from typing import Any

from flask import render_template, request
from peewee import SQL

from service import store
from service.models import Change, Miss
from service.views.common import blueprint
from service.views.notices import notice

PAGE = 50  # lines on one page


@blueprint.get("/.deleted")
def deleted() -> str:
    """Links that were deleted, the last first, each with a button that brings it back."""
    before = request.args.get("before", "")
    earlier = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
    lines = store.deleted(PAGE + 1, earlier)
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
    order = Miss.last.desc() if request.args.get("sort") == "last" else Miss.asked.desc()
    misses = list(Miss.select().order_by(order, SQL("key")).limit(2 * PAGE))
    return render_template("missing_names.html", misses=misses, newest=request.args.get("sort") == "last")


def _before(line: Change) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line.before or "{}")
    return found
