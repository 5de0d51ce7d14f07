"""The table of links."""

from __future__ import annotations

from peewee import AutoField, BigIntegerField, CharField, Database, Model, TextField


class Link(Model):
    """Frozen copy of the model as of this step."""

    id = AutoField()
    key = CharField(max_length=100, unique=True)
    name = CharField(max_length=100)
    url = TextField()
    created = BigIntegerField()
    updated = BigIntegerField()

    class Meta:
        table_name = "link"


def apply(database: Database) -> None:
    """Create it, with the unique index on `key` that every redirect uses."""
    with database.bind_ctx([Link]):
        database.create_tables([Link], safe=False)
