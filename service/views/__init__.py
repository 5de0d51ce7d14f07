"""The pages for people, and the redirects they are there for. Work without JavaScript."""

from __future__ import annotations

from service.views.common import blueprint

# Each puts its routes on the blueprint.
from service.views import bulk, detail, edit, follow, help, home, importing, reports  # isort: skip

__all__ = ["blueprint", "bulk", "detail", "edit", "follow", "help", "home", "importing", "reports"]
