"""Demo data: believable, refused where there is something, and the sums are right."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from peewee import fn

from service import clicks, db, seed
from service.links import url_problem
from service.models import Daily, Link, Tag


def test_what_is_made(app: Flask) -> None:
    answer = app.test_cli_runner().invoke(args=["seed", "--links", "500", "--clicks", "20000"])
    assert answer.exit_code == 0, answer.output
    db.ensure_open()
    links = list(Link.select())
    assert len(links) == 500
    assert sum(link.clicks for link in links) == Daily.select(fn.SUM(Daily.clicks)).scalar() == 20000
    assert not [link.url for link in links if url_problem(link.url)]
    assert {tag.name for tag in Tag.select()} == {tag for link in links for tag in link.tags.split()}
    for link in links[:20]:
        assert sum(count for _, count in clicks.by_day(link.id, seed.DAYS)) == link.clicks
        assert link.visited <= time.time() and bool(link.visited) == bool(link.clicks)
    client = app.test_client()
    assert client.get("/").status_code == 200
    assert client.get(f"/{links[0].name}").status_code == 302


def test_only_where_nothing_is(app: Flask, add: Callable[[str, str], Any]) -> None:
    add("design-wiki", "https://e.com/")
    run = app.test_cli_runner().invoke
    answer = run(args=["seed"])
    assert (answer.exit_code, "1 links already" in answer.output) == (1, True)
    for _ in range(2):
        assert run(args=["seed", "--links", "400", "--clicks", "0", "--yes"]).exit_code == 0
    db.ensure_open()
    assert Link.select().count() == 801


def test_shares_and_days() -> None:
    assert sum(seed.shares(1000, 12345)) == 12345
    assert seed.shares(3, 0) == [0, 0, 0]
    for count in (1, 89, 90, 5000):
        found = seed.spread(random.Random(1), count, 20000)  # noqa: S311 - no secret
        assert sum(number for _, number in found) == count
        assert all(20000 - seed.DAYS < day <= 20000 for day, _ in found)


def test_without_a_database(app: Flask, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    db.configure("sqlite:////nowhere/links.db")
    answer = app.test_cli_runner().invoke(args=["seed"])
    assert (answer.exit_code, "can't be written" in answer.output) == (1, True)
