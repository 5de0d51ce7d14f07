"""`flask check-targets`: the report of `service.check_targets`, of the database's links."""

from __future__ import annotations

import sys

import click
from flask.cli import with_appcontext

from service import check_targets, db
from service.models import Link


@click.command("check-targets")
@click.option("--private", is_flag=True, help="Ask private addresses, too.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, of all links.")
@click.option("--timeout", type=float, default=check_targets.TIMEOUT, show_default=True, help="Seconds for each step.")
@with_appcontext
def command(private: bool, as_json: bool, timeout: float) -> None:
    """Ask where links lead to, and list the dead ones; exit code 1 if there are any.

    Of use where the service has a way out; in the stack it has none, see the README.
    """
    db.ensure_open()
    try:
        links = [(link.name, link.url) for link in Link.select(Link.name, Link.url).order_by(Link.key)]
    finally:
        # Nothing is held while others are asked.
        db.close()
    sys.exit(check_targets.report(check_targets.check_all(links, private=private, timeout=timeout), as_json=as_json))
