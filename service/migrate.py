"""Bring the database's schema up to date: `python -m service.migrate [--check]`.

Prints one JSON object a line on stdout: each applied step, then the result. On failure: one line on stderr, exit 1.
With --check nothing is changed: exit 0 when there is nothing to do, 3 when there is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service import db, migrations
from service.settings import SettingsError, read_settings

#: The exit code of --check that says that there is something to do.
PENDING = 3


@dataclass(frozen=True)
class Migrated:
    """`before` and `after` are schema versions; `applied` the names of the steps between them."""

    before: int
    after: int
    applied: tuple[str, ...]


def migrate(database_url: str) -> Migrated:
    """Create the database if need be and apply what is pending, leaving no connection open.

    Raises db.StorageError or migrations.MigrationError.
    """
    db.configure(database_url)
    try:
        db.create()
        before = migrations.stored_version()
        applied = migrations.run(migrations.known_steps())
        return Migrated(before, migrations.stored_version(), tuple(step.name for step in applied))
    except db.DATABASE_ERRORS as error:
        raise db.StorageError(f"the database can't be opened: {error}") from error
    finally:
        db.close()


def pending(database_url: str) -> tuple[str, ...]:
    """The names of the steps that `migrate` would apply now. Raises db.StorageError or migrations.MigrationError."""
    chosen = db.configure(database_url)
    steps = migrations.known_steps()
    if isinstance(chosen, db.SqliteFile) and not Path(chosen.database).exists():
        return tuple(step.name for step in steps)
    try:
        db.ensure_open()
        done = migrations.stored_version()
    except db.DATABASE_ERRORS as error:
        raise db.StorageError(f"the database can't be opened: {error}") from error
    finally:
        db.close()
    return tuple(step.name for step in steps if step.version > done)


def check() -> int:
    """`--check`: the exit code."""
    try:
        names = pending(read_settings(os.environ).database)
    except (SettingsError, db.StorageError, migrations.MigrationError) as error:
        sys.stderr.write(f"migrate: {error}\n")
        return 1
    sys.stdout.write(json.dumps({"event": "checked", "pending": names}) + "\n")
    return PENDING if names else 0


def main(arguments: Sequence[str] = ()) -> int:
    """Returns the exit code."""
    if list(arguments) == ["--check"]:
        return check()
    if arguments:
        sys.stderr.write("usage: python -m service.migrate [--check]\n")
        return 2
    try:
        result = migrate(read_settings(os.environ).database)
    except (SettingsError, db.StorageError, migrations.MigrationError) as error:
        sys.stderr.write(f"migrate: {error}\n")
        return 1
    lines: list[dict[str, object]] = [{"event": "applied", "step": name} for name in result.applied]
    lines.append({"event": "migrated", "before": result.before, "after": result.after})
    sys.stdout.write("".join(json.dumps(line) + "\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
