"""Commands of `flask`, for whoever runs the service: `python -m orchestrator exec app flask user add NAME`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ParamSpec

import click
from flask.cli import with_appcontext

from service import auth, check_command, db, migrations, passwords, people, seed, throttle
from service.access import fold_person

P = ParamSpec("P")


def command(group: click.Group, name: str) -> Callable[[Callable[P, None]], click.Command]:
    """A command with the database open; what can't be done is one line on stderr and exit code 1."""

    def make(function: Callable[P, None]) -> click.Command:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                db.ensure_open()
                if migrations.stored_version() < len(migrations.known_steps()):
                    raise click.ClickException(
                        "The database is not up to date: deploy, or `python -m service.migrate`."
                    )
                function(*args, **kwargs)
            except people.PeopleError as error:
                raise click.ClickException(str(error)) from None
            except db.DATABASE_ERRORS as error:
                raise click.ClickException(f"The database can't be used: {error}") from None
            finally:
                db.close()

        made: click.Command = group.command(name)(with_appcontext(run))
        return made

    return make


@click.group()
def user() -> None:
    """People who sign in, where AUTH=password."""


@click.group()
def token() -> None:
    """Tokens, which programs show instead of a password."""


COMMANDS = (user, token, seed.command, check_command.command)

role_option = click.option("--role", type=click.Choice(people.ROLES), default="editor", show_default=True)
generate_option = click.option("--generate", is_flag=True, help="Make a password up and print it.")


@command(user, "add")
@click.argument("name")
@role_option
@generate_option
def add(name: str, role: str, generate: bool) -> None:
    """Make a new one; asks for the password, or reads it from standard input."""
    password = new_password(generate)
    account = people.add(name, role, password)
    click.echo(f"{account.name} can sign in now, as {role}.")
    tell(password, generate)
    if auth.access().auth != "password":
        click.echo(f"Nobody signs in yet: AUTH is {auth.access().auth}, not password.", err=True)


@command(user, "list")
def list_users() -> None:
    """All of them, with their roles."""
    for account in people.everybody():
        click.echo(
            f"{account.name}\t{account.role}\t{'disabled' if account.disabled else 'since ' + day(account.created)}"
        )


@command(user, "role")
@click.argument("name")
@click.argument("role", type=click.Choice(people.ROLES))
def set_role(name: str, role: str) -> None:
    """Give another role, from the next request on."""
    people.set_role(name, role)
    click.echo(f"{name} is {role} now.")


@command(user, "password")
@click.argument("name")
@generate_option
def set_password(name: str, generate: bool) -> None:
    """Set another password, which ends all sessions."""
    account = people.get(name)
    password = new_password(generate)
    people.set_password(name, password)
    throttle.forget(account.name)
    click.echo(f"{account.name} has a new password; sessions with the old one have ended.")
    tell(password, generate)


@command(user, "disable")
@click.argument("name")
def disable(name: str) -> None:
    """End all sessions, and let nobody in by this name or its tokens."""
    people.set_disabled(name, True)
    click.echo(f"{name} can't sign in any more.")


@command(user, "enable")
@click.argument("name")
def enable(name: str) -> None:
    """Let somebody in again who was disabled."""
    people.set_disabled(name, False)
    click.echo(f"{name} can sign in again.")


@command(user, "remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove somebody and their tokens; their links stay, and everybody may change them."""
    people.remove(name)
    click.echo(f"{name} is no user any more.")


@command(token, "add")
@click.argument("owner")
@click.option("--label", required=True, help="What it is for.")
@click.option("--scopes", default="read,write", show_default=True, help="Some of read, write, admin.")
@click.option("--expires", default="", help="The last day, such as 2027-01-31; never, if left out.")
def add_token(owner: str, label: str, scopes: str, expires: str) -> None:
    """Make one for somebody and print it, this once. It never may more than they."""
    if auth.access().auth == "password":
        owner = people.get(owner).name
    _, secret = people.add_token(
        fold_person(owner), label, frozenset(scopes.replace(",", " ").split()), people.expiry(expires)
    )
    click.echo(secret)


@command(token, "list")
@click.argument("owner", required=False)
def list_tokens(owner: str | None) -> None:
    """All of them, or somebody's."""
    for row in people.tokens(fold_person(owner) if owner else None):
        last = f"to {day(row.expires - 1)}" if row.expires else "for ever"
        used = f"used {day(row.used)}" if row.used else "not used"
        click.echo(f"{row.id}\t{row.owner}\t{row.label}\t{row.scopes.replace(' ', ',')}\t{last}\t{used}")


@command(token, "revoke")
@click.argument("number", type=int)
def revoke(number: int) -> None:
    """Let one not work any more; `token list` has their numbers."""
    if not people.revoke(number):
        raise people.PeopleError(f"There is no token {number}.")
    click.echo(f"Token {number} does not work any more.")


def new_password(generate: bool) -> str:
    """From a terminal without showing it, twice; else one line of standard input. Never an argument, which all see."""
    if generate:
        return passwords.made_up()
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return typed
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise people.PeopleError("No password was given: run this on a terminal, pipe it in, or use --generate.")
    return line


def tell(password: str, generated: bool) -> None:
    """Print a password that was made up."""
    if generated:
        click.echo(f"Password: {password}")


def day(seconds: int) -> str:
    """2026-11-24 (UTC)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
