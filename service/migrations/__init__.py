"""Numbered steps that bring the database's schema up to date.

A module `NNNN_words.py` has `apply(database)`, which runs inside a transaction that also stores its number. Rules:
never change a released step; declare frozen models inline instead of importing `service.models`; and since the
previous release goes on running on the changed schema, only add (a column with a default, a table, an index).
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peewee import BigIntegerField, Database, IntegerField, Model, TextField, fn

from service import db

STEP_NAME = re.compile(r"(\d{4})_[a-z0-9_]+")


class MigrationError(Exception):
    """A step failed and the database is as it was before it; the message names the step and the reason."""


@dataclass(frozen=True)
class Step:
    """One numbered change; `version` is the schema's version once it is applied."""

    version: int
    name: str
    apply: Callable[[Database], None]


class SchemaVersion(Model):
    """One row for each applied step. A table and not a pragma: any database has tables."""

    version = IntegerField(primary_key=True)
    name = TextField()
    applied = BigIntegerField()

    class Meta:
        database = db.database
        table_name = "schema_version"


def known_steps() -> tuple[Step, ...]:
    """The steps of this release in order, numbered from 1 without a gap. Raises MigrationError."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if STEP_NAME.fullmatch(module.name))
    steps = tuple(Step(int(name[:4]), name, importlib.import_module(f"{__name__}.{name}").apply) for name in names)
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise MigrationError(f"steps must be numbered 0001, 0002, ... without a gap: {', '.join(names)}")
    return steps


def stored_version() -> int:
    """The version of the open database's schema; 0 when nothing was applied yet. Raises a database error."""
    if not db.database.table_exists(SchemaVersion):
        return 0
    return SchemaVersion.select(fn.MAX(SchemaVersion.version)).scalar() or 0


def run(steps: Sequence[Step]) -> list[Step]:
    """Apply what the open database lacks and return it. A schema newer than `steps` is left as it is.

    Raises MigrationError; the steps before the failed one stay applied.
    """
    done = stored_version()
    return [step for step in steps if step.version > done and _apply(step)]


def _apply(step: Step) -> bool:
    """False when another process has applied it meanwhile. Raises MigrationError."""
    try:
        with db.write():
            SchemaVersion.create_table(safe=True)
            # Asked again now that we hold the write lock.
            if stored_version() >= step.version:
                return False
            step.apply(db.database.obj)
            SchemaVersion.create(version=step.version, name=step.name, applied=int(time.time()))
    except Exception as error:
        raise MigrationError(f"step {step.name} failed, nothing of it was kept: {error}") from error
    return True
