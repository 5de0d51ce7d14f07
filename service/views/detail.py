"""All there is to know of one link, its history, and the way back in it."""

from __future__ import annotations

from urllib.parse import quote

from flask import redirect, render_template
from werkzeug.exceptions import Conflict, NotFound
from werkzeug.wrappers import Response as AnyResponse

from service import changes, clicks, db, following, store, texts
from service.answers import wants_json
from service.links import InvalidLinkError
from service.models import Link
from service.views import chart
from service.views.common import after, author, blueprint, earlier_than, find, may_change, noted
from service.views.notices import DONE, notice, still_last

LINES = 20  # of history on one page


@blueprint.get("/.detail/<name>")
def detail(name: str) -> str | AnyResponse:
    """The page of one link."""
    link = find(name)
    if wants_json():
        return redirect(f"/.api/links/{quote(link.name)}")
    earlier = earlier_than()
    lines = changes.of_link(link.id, LINES + 1, earlier)
    return render_template(
        "detail.html",
        link=link,
        aliases=store.aliases(link),
        chart=chart.draw(clicks.by_day(link.id, chart.DAYS)),
        history=[(line, changes.differences(line)) for line in lines[:LINES]],
        earlier=lines[LINES - 1].id if len(lines) > LINES else None,
        paged=earlier is not None,
        notice=notice(),
    )


@blueprint.post("/.undo/<change>")
def undo(change: str) -> AnyResponse:
    """Make a link as it was before a change, or bring it back; of several changes (`3-7`) all, if none was since."""
    who = author()
    found = DONE.fullmatch(change)
    if not found:
        raise NotFound(str(texts.say("There is no such change.")))
    first, last = int(found[1]), int(found[2] or found[1])
    try:
        with noted() as lines, db.write():
            link = _undo(first, last, who)
    except store.NoSuchChangeError:
        raise NotFound(str(texts.say("There is no such change."))) from None
    except store.LinkExistsError as error:
        taken = texts.say(
            "{name} is the name of another link by now: give that one another name first.", name=error.link.name
        )
        raise Conflict(str(taken)) from None
    except InvalidLinkError:
        raise Conflict(str(texts.say("This would lead in a circle by now, so nothing was undone."))) from None
    return after(lines, f"/.detail/{quote(link.name)}" if link else "/")


def _undo(first: int, last: int, who: str) -> Link | None:
    """The link that is left when it was one, else None."""
    if first == last:
        return following.revert(first, who, may_change)
    done = still_last(first, last)
    if not done:
        raise Conflict(str(texts.say("Some of these links were changed since, so nothing was undone.")))
    for line in reversed(done):
        following.revert(line.id, who, may_change)
    return None
