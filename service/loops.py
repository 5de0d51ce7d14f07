"""Links that lead to links of this service, and whether they ever lead out of it. Pure but for what it is given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from service import targets
from service.hosts import own_host
from service.links import fold, resolve, spellings, take_apart

MAX_STEPS = 10

#: (name, target) of the link that a name leads to, or None.
Lookup = Callable[[str], tuple[str, str] | None]


class LoopError(Exception):
    """The links in `names` lead from one to the next and never to a page."""

    def __init__(self, names: list[str]) -> None:
        how = "in a circle" if names[-1] in names[:-1] else f"through more than {MAX_STEPS} links"
        super().__init__(f"leads {how}: {' → '.join(names)}")
        self.names = names


def leads_here(address: str, hosts: Collection[str]) -> bool:
    """True when an address is on one of the `hosts`, which are as `own_host` gives them."""
    _, _, after = address.partition("//")
    return own_host(after.partition("/")[0].partition("?")[0].partition("#")[0].rpartition("@")[2]) in hosts


def follow(name: str, rest: str, address: str, hosts: Collection[str], lookup: Lookup) -> None:
    """Goes on from the link `name`, asked for with `rest` behind it, which leads to `address`, through links of ours.

    Raises LoopError when one is met again with the same rest, or after MAX_STEPS, for each link can add to the rest.
    """
    names, seen = [name], {(name, rest)}
    while leads_here(address, hosts):
        asked = take_apart(address.partition("#")[0])
        found = next((link for spelling in spellings(asked.name) if (link := lookup(spelling))), None)
        if found is None:
            return
        names.append(found[0])
        if (found[0], asked.rest) in seen or len(names) > MAX_STEPS:
            raise LoopError(_circle(names))
        seen.add((found[0], asked.rest))
        try:
            address = _without_query(found[1], asked.rest)
        except targets.TargetError:
            return


def problem(names: Sequence[str], url: str, hosts: Collection[str], lookup: Lookup) -> str | None:
    """Why a link must not have this target, or None. `names` are all that it has or will have, the first of them shown.

    It needs not be stored yet, nor with this target.
    """
    keys = {fold(name) for name in names}

    def with_this(asked: str) -> tuple[str, str] | None:
        found = lookup(asked)
        this = fold(asked) in keys or (found is not None and fold(found[0]) in keys)
        return (names[0], url) if this else found

    try:
        follow(names[0], "", _without_query(url, ""), hosts, with_this)
    except targets.TargetError:
        return None  # it depends on the path: seen when somebody follows it
    except LoopError as error:
        return str(error)
    return None


def _without_query(url: str, rest: str) -> str:
    # Each link would add the query again; where it leads does not depend on it.
    return resolve(url, rest, "", "somebody@example.com").partition("?")[0]


def _circle(names: list[str]) -> list[str]:
    """The last round of it, or all the names when none was met twice."""
    before = names[:-1]
    return names[len(before) - 1 - before[::-1].index(names[-1]) :] if names[-1] in before else names
