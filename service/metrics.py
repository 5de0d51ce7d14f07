"""Figures of the service for Prometheus, read from the database: the same whichever worker is asked."""

from __future__ import annotations

from collections.abc import Iterator

from peewee import fn

from service.models import Alias, Change, Miss, Visit

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(release: str) -> str:
    """All of them. Each has its release as a label, so that a graph shows when one came."""
    label = release.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    lines = []
    for name, kind, meaning, value in figures():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f'{name}{{release="{label}"}} {value}']
    return "\n".join(lines) + "\n"


def figures() -> Iterator[tuple[str, str, str, int]]:
    """(name, type, what it is, value)."""
    links, clicks = Visit.select(fn.COUNT(Visit.link), fn.SUM(Visit.clicks)).scalar(as_tuple=True)
    names, asked = Miss.select(fn.COUNT(Miss.key), fn.SUM(Miss.asked)).scalar(as_tuple=True)
    yield "golinks_links", "gauge", "Links.", int(links)
    yield "golinks_aliases", "gauge", "Other names of links.", int(Alias.select().count())
    yield "golinks_clicks", "gauge", "How often the links that are there have been followed.", int(clicks or 0)
    yield "golinks_missing_names", "gauge", "Names that were asked for and are no links.", int(names)
    yield "golinks_misses", "gauge", "How often these names were asked for.", int(asked or 0)
    # Their numbers only grow, and are not used again.
    yield "golinks_changes_total", "counter", "Changes of links.", int(Change.select(fn.MAX(Change.id)).scalar() or 0)
