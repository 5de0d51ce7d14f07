"""`flask seed`: demo data, as a team might have it after a year: links with tags and descriptions, and their visits.

`python -m orchestrator exec app flask seed [--links N] [--clicks N] [--yes]`. The same numbers make the same data.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click
from flask.cli import with_appcontext

from service import db, store
from service.clicks import DAY
from service.links import fold
from service.models import Alias, Link

DAYS = 90
CHUNK = 2000  # links in one transaction: the service goes on writing between two

_WORDS = {
    "teams": "design payments growth support platform mobile data legal finance people sales security office",
    "things": "wiki roadmap oncall runbook dashboard board calendar handbook budget retro standup alerts deploys "
    "invoices onboarding templates metrics incidents backlog contracts holidays travel payroll research notes",
    "hosts": "wiki.example.com docs.example.com tracker.example.com grafana.example.com drive.example.com",
    "owners": "ada@example.com grace@example.com olena@example.com linus@example.com taras@example.com",
}
TEAMS, THINGS, HOSTS, OWNERS = (words.split() for words in _WORDS.values())
SENTENCES = (
    "What the {team} team keeps in its {thing}.",
    "The {thing} of {team}; ask before you change it.",
    "Start here when you are new to {team}: {thing} and more.",
    "Everything about {thing}, kept by {team}.",
)

ADD_LINK = (
    "INSERT INTO link (id, key, name, url, created, updated, owner, description, tags) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
ADD_TAG = "INSERT INTO tag (name, link) VALUES (?, ?)"
ADD_DAY = "INSERT INTO daily (day, link, clicks) VALUES (?, ?, ?)"


@dataclass(frozen=True)
class Made:
    """One link's rows."""

    link: tuple[Any, ...]
    visit: tuple[int, int, int]
    tags: list[tuple[str, int]]
    days: list[tuple[int, int, int]]


def names(chance: random.Random, taken: set[str]) -> Iterator[tuple[str, str, str]]:
    """(name, team, thing), each name once and none that is taken; without end."""
    number = 1
    while True:
        pairs = [(team, thing) for team in TEAMS for thing in THINGS]
        chance.shuffle(pairs)
        for team, thing in pairs:
            name = f"{team}-{thing}" if number == 1 else f"{team}-{thing}-{number}"
            if fold(name) not in taken:
                yield name, team, thing
        number += 1


def shares(links: int, clicks: int) -> list[int]:
    """How many of the clicks each link has: a few have most, as it is everywhere; the sum is `clicks`."""
    weights = [1 / (rank + 1) for rank in range(links)]
    whole, given, found = sum(weights), 0, []
    seen = 0.0
    for weight in weights:
        seen += weight
        upto = round(clicks * seen / whole)
        found.append(upto - given)
        given = upto
    return found


def spread(chance: random.Random, clicks: int, today: int) -> list[tuple[int, int]]:
    """(day, clicks) over the last DAYS days; working days have more."""
    if clicks < DAYS:
        days: dict[int, int] = {}
        for _ in range(clicks):
            day = today - chance.randrange(DAYS)
            days[day] = days.get(day, 0) + 1
        return sorted(days.items())
    # 1970-01-01 was a Thursday.
    weights = [
        (0.2 if (day + 3) % 7 >= 5 else 1.0) * chance.uniform(0.6, 1.4) for day in range(today - DAYS + 1, today + 1)
    ]
    whole, seen, given, found = sum(weights), 0.0, 0, []
    for number, weight in enumerate(weights):
        seen += weight
        upto = round(clicks * seen / whole)
        if upto > given:
            found.append((today - DAYS + 1 + number, upto - given))
        given = upto
    return found


def make(links: int, clicks: int, first_id: int, taken: set[str], now: int) -> Iterator[Made]:
    """The rows of so many links with so many clicks in all."""
    chance = random.Random(f"{links} {clicks}")  # noqa: S311 - no secret
    of_each = shares(links, clicks)
    chance.shuffle(of_each)
    for number, ((name, team, thing), share) in enumerate(zip(names(chance, taken), of_each, strict=False)):
        identity = first_id + number
        created = now - chance.randrange(DAYS, 400) * DAY - chance.randrange(DAY)
        days = spread(chance, share, now // DAY)
        visited = min(now, days[-1][0] * DAY + chance.randrange(DAY)) if days else 0
        tags = sorted({team, thing} | set(chance.sample(["important", "new", "tool", "report"], chance.randrange(2))))
        rest = "{{with .Path}}/{{.}}{{end}}" if chance.random() < 0.05 else ""
        url = f"https://{chance.choice(HOSTS)}/{team}/{thing}/{identity}{rest}"
        said = chance.choice(SENTENCES).format(team=team, thing=thing)
        stored = (identity, fold(name), name, url, created, created, chance.choice(OWNERS), said, " ".join(tags))
        yield Made(
            stored,
            (identity, share, visited),
            [(tag, identity) for tag in tags],
            [(day, identity, count) for day, count in days],
        )


def seed(links: int, clicks: int) -> None:
    """Adds them to what is there. Raises a database error."""
    taken = {row.key for row in Link.select(Link.key)} | {row.key for row in Alias.select(Alias.key)}
    chunk: list[Made] = []
    for made in make(links, clicks, store.next_id(), taken, int(time.time())):
        chunk.append(made)
        if len(chunk) == CHUNK:
            _store(chunk)
            chunk = []
    _store(chunk)


def _store(chunk: list[Made]) -> None:
    with db.write():
        db.run_many(ADD_LINK, [made.link for made in chunk])
        store.set_visits([made.visit for made in chunk])
        db.run_many(ADD_TAG, [row for made in chunk for row in made.tags])
        db.run_many(ADD_DAY, [row for made in chunk for row in made.days])


@click.command("seed")
@click.option("--links", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="how many")
@click.option("--clicks", type=click.IntRange(0, 100_000_000), default=20_000, show_default=True, help="in all")
@click.option("--yes", is_flag=True, help="also where there are links already")
@with_appcontext
def command(links: int, clicks: int, yes: bool) -> None:
    """Fill the database with demo links and their visits of the last 90 days."""
    try:
        db.ensure_open()
        there = Link.select().count()
        if there and not yes:
            raise click.ClickException(f"There are {there} links already; --yes adds the demo data to them.")
        seed(links, clicks)
    except db.DATABASE_ERRORS as error:
        raise click.ClickException(f"The database can't be written: {error}") from None
    finally:
        db.discard()
    click.echo(f"{links} links with {clicks} clicks were added.")
