"""Names that were asked for and are no links: what a team may want to make next."""

from __future__ import annotations

from service import db
from service.links import fold
from service.models import Miss


def names(limit: int, *, latest_first: bool = False) -> list[Miss]:
    """Those asked for most often first, or those asked for last."""
    column = Miss.last if latest_first else Miss.asked
    return list(Miss.select().order_by(column.desc(), Miss.key).limit(limit))


def forget(name: str) -> bool:
    """Take it off the list; False if it isn't there."""
    with db.write():
        return bool(Miss.delete().where(Miss.key == fold(name)).execute())
