"""The list of links as the address asks for it: what is searched, filtered and sorted, and the addresses around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from flask import request
from werkzeug.exceptions import BadRequest

from service import search, texts

PAGE = 50  # links on one page
MAX_CURSOR = 1000  # characters
# What a column's header sorts by first: names from A, numbers and times from the highest.
FROM_THE_TOP = frozenset({"clicks", "visited", "created", "updated"})


@dataclass(frozen=True)
class Listed:
    """A page of the list, and the query that it answers."""

    query: search.Query
    page: search.Page

    @property
    def sort(self) -> str:
        """The column that the list is in the order of; "" for the best match first."""
        return self.query.sort or ("" if self.query.text.strip() else "name")

    @property
    def narrowed(self) -> bool:
        """True when it is not the list of all links."""
        return bool(self.query.text.strip() or self.query.tag or self.query.owner is not None)

    def sorted_by(self, column: str) -> str:
        """Where the column's header leads: its order, or the other way round when it is the order already."""
        down = not self.query.descending if self.sort == column else column in FROM_THE_TOP
        return address(replace(self.query, sort=column, descending=down, cursor=""))

    def order(self, column: str) -> str:
        """ARIA's word for how the list is sorted by a column."""
        if self.sort != column:
            return "none"
        return "descending" if self.query.descending else "ascending"

    def without(self, what: str) -> str:
        """The address of the list without the "text", the "tag" or the "owner"."""
        nothing = {"text": "", "tag": "", "owner": None}[what]
        return address(replace(self.query, cursor="", **{what: nothing}))  # type: ignore[arg-type]

    def with_tag(self, tag: str) -> str:
        """The address of the list of what has this tag, too."""
        return address(replace(self.query, cursor="", tag=tag))

    def with_owner(self, owner: str) -> str:
        """The address of the list of what is this owner's, too."""
        return address(replace(self.query, cursor="", owner=owner))

    @property
    def first(self) -> str:
        """The address of the list's first page, or "" on that."""
        return address(replace(self.query, cursor="")) if self.query.cursor else ""

    @property
    def following(self) -> str:
        """The address of the next page, or "" on the last."""
        return address(replace(self.query, cursor=self.page.following)) if self.page.following else ""


def listed() -> Listed:
    """What the current request's address asks for. Raises BadRequest."""
    sort = request.args.get("sort", "")
    if sort and sort not in search.SORTS:
        raise BadRequest(str(texts.say("The list can't be sorted like that.")))
    query = search.Query(
        text=request.args.get("q", "")[: search.MAX_TEXT],
        tag=request.args.get("tag", "")[:100],
        owner=request.args["owner"][:100] if "owner" in request.args else None,
        sort=sort,
        descending=request.args.get("order") == "down",
        cursor=request.args.get("after", "")[:MAX_CURSOR],
        limit=PAGE,
    )
    try:
        return Listed(query, search.list_links(query))
    except search.BadCursorError:
        raise BadRequest(str(texts.say("There is no such page of the list."))) from None


def address(query: search.Query) -> str:
    """The address of a list."""
    given = {
        "q": query.text,
        "tag": query.tag,
        "owner": query.owner,
        "sort": query.sort,
        "order": "down" if query.descending else "",
        "after": query.cursor,
    }
    # No owner at all is an owner, too: "".
    kept = {name: value for name, value in given.items() if value or (name == "owner" and value is not None)}
    return f"/?{urlencode(kept)}" if kept else "/"
