"""The go links service: short names a team remembers, for the long addresses it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Make the WSGI application from `config` (the environment when None).

    Opens neither the database nor a socket, so that a server may call it before it forks.
    Raises `service.settings.SettingsError` naming every wrong variable.
    """
    # Imported here: `python -m service.migrate` and the pure modules need no Flask.
    from service.web import build_app

    return build_app(config)
