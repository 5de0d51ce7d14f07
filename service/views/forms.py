"""Between a link and the form that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from service.fields import Fields
from service.models import Link
from service.store import fields_of

FIELDS = ("name", "url", "description", "tags", "owner", "expires")
DAY = 86400  # seconds


def as_typed(fields: Fields) -> dict[str, str]:
    """The fields as somebody would type them."""
    return {
        "name": fields.name,
        "url": fields.url,
        "description": fields.description,
        "tags": " ".join(fields.tags),
        "owner": fields.owner,
        "expires": until(fields.expires),
    }


def of_link(link: Link) -> dict[str, str]:
    """The link as the form of it shows it."""
    return as_typed(fields_of(link))


def until(expires: int | None) -> str:
    """A day where the link expires at its end, else the time; "" where it never does."""
    if expires is None:
        return ""
    moment = datetime.fromtimestamp(expires, UTC)
    return moment.strftime("%Y-%m-%d" if expires % DAY == DAY - 1 else "%Y-%m-%dT%H:%M:%SZ")


def clashes(mine: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """The fields as they are now, of those where somebody typed something else."""
    return {name: now[name] for name in mine if name in now and mine[name].strip() != now[name]}
