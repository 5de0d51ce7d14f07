"""What the views of one application share."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from service.access import Access
from service.assets import Assets


@dataclass(frozen=True)
class Context:
    """`schema` is the version of the newest migration this release knows; `hosts` are the settings' HOSTS."""

    release: str
    assets: Assets
    schema: int
    access: Access
    hosts: frozenset[str] = frozenset()


def current() -> Context:
    """The context of the application that handles the current request."""
    context: Context = current_app.extensions["golinks"]
    return context
