"""Bring the database's schema up to date: `python -m service.migrate`.

Prints one JSON object a line on stdout: each applied step, then the result. On failure: one line on stderr, exit 1.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass

from service import db, migrations
from service.settings import SettingsError, read_settings


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


def main() -> int:
    """Returns the exit code."""
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
    sys.exit(main())
