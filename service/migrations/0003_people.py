"""People who sign in, tokens for programs, and attempts to sign in."""

from __future__ import annotations

from peewee import AutoField, BigIntegerField, BooleanField, CharField, Database, IntegerField, Model


class Account(Model):
    """Frozen copy of the model as of this step."""

    id = AutoField()
    name = CharField(max_length=100, unique=True)
    role = CharField(max_length=20)
    password = CharField(max_length=255)
    sessions = BigIntegerField()
    created = BigIntegerField()
    disabled = BooleanField(default=False)

    class Meta:
        table_name = "person"


class Token(Model):
    """Frozen copy of the model as of this step."""

    id = AutoField()
    digest = CharField(max_length=64, unique=True)
    owner = CharField(max_length=100, index=True)
    label = CharField(max_length=100)
    scopes = CharField(max_length=50)
    created = BigIntegerField()
    expires = BigIntegerField(null=True)
    used = BigIntegerField(null=True)

    class Meta:
        table_name = "token"


class Attempt(Model):
    """Frozen copy of the model as of this step."""

    key = CharField(max_length=120, primary_key=True)
    failures = IntegerField()
    last = BigIntegerField(index=True)
    until = BigIntegerField()

    class Meta:
        table_name = "attempt"


def apply(database: Database) -> None:
    """Three tables that the release before does not know."""
    with database.bind_ctx([Account, Token, Attempt]):
        database.create_tables([Account, Token, Attempt], safe=False)
