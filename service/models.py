"""What is stored. Times are whole seconds since 1970, UTC; the queries are in `service.store`,
`service.search`, `service.people` and `service.throttle`."""

from __future__ import annotations

from peewee import (
    AutoField,
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)

from service import db


class Base(Model):
    """All tables are in the one database that is configured."""

    class Meta:
        database = db.database
        legacy_table_names = False


class Link(Base):
    """`key` is the folded name, unique; `tags` are words in order, spaces between.

    The columns `clicks` and `visited` of the table are the release's before there was `Visit`.
    """

    id = AutoField()
    key = CharField(max_length=100, unique=True)
    name = CharField(max_length=100)
    url = TextField()
    created = BigIntegerField()
    updated = BigIntegerField()
    owner = CharField(max_length=100, default="")
    description = TextField(default="")
    tags = TextField(default="")
    expires = BigIntegerField(null=True)

    #: Looked up when it is asked for; queries for many links join it.
    visit: Visit | None = None

    @property
    def clicks(self) -> int:
        """How often it was followed."""
        return int(self._visit().clicks)

    @property
    def visited(self) -> int:
        """When it was followed last; 0 before that."""
        return int(self._visit().visited)

    def _visit(self) -> Visit:
        if self.visit is None:
            self.visit = Visit.get_or_none(Visit.link == self.id) or Visit(link=self.id)
        return self.visit


class Visit(Base):
    """How often a link was followed, and when last (0: never). Apart from it, so that counting writes little; each link
    has one."""

    link = ForeignKeyField(Link, primary_key=True, column_name="link", on_delete="CASCADE")
    clicks = BigIntegerField(default=0)
    visited = BigIntegerField(default=0)


class Tag(Base):
    """One word of `Link.tags`, to find links by."""

    name = CharField(max_length=50)
    link = ForeignKeyField(Link, column_name="link", on_delete="CASCADE")

    class Meta:
        primary_key = CompositeKey("name", "link")


class Alias(Base):
    """Another name of a link, such as the one it had before it was renamed."""

    key = CharField(max_length=100, primary_key=True)
    name = CharField(max_length=100)
    link = ForeignKeyField(Link, column_name="link", on_delete="CASCADE")


class Change(Base):
    """One line of a link's history. `before` and `after` are what `service.store.state` gives, as JSON; null for none.

    `link` outlives the link, and `key` is the one it had afterwards (of a deleted one: before).
    """

    id = BigAutoField()
    link = BigIntegerField()
    key = CharField(max_length=100)
    at = BigIntegerField()
    author = CharField(max_length=100)
    action = CharField(max_length=20)
    before = TextField(null=True)
    after = TextField(null=True)


class Daily(Base):
    """How often a link was followed on one day; `day` counts from 1970-01-01, UTC."""

    day = IntegerField()
    link = BigIntegerField()
    clicks = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("day", "link")


class Day(Base):
    """The same as the release before there was `Daily` has counted it, or still does: to be added."""

    link = BigIntegerField()
    day = IntegerField()
    clicks = BigIntegerField()

    class Meta:
        primary_key = CompositeKey("link", "day")


class Miss(Base):
    """A name that was asked for and is no link; `first` and `last` are times."""

    key = CharField(max_length=100, primary_key=True)
    name = CharField(max_length=100)
    asked = BigIntegerField()
    first = BigIntegerField()
    last = BigIntegerField()


class Account(Base):
    """Somebody who signs in with a password. `sessions` is in each of their sessions: another one ends them all."""

    id = AutoField()
    name = CharField(max_length=100, unique=True)
    role = CharField(max_length=20)
    password = CharField(max_length=255)
    sessions = BigIntegerField()
    created = BigIntegerField()
    disabled = BooleanField(default=False)

    class Meta:
        table_name = "person"


class Token(Base):
    """What a program shows instead of a password: stored is its sha256."""

    id = AutoField()
    digest = CharField(max_length=64, unique=True)
    owner = CharField(max_length=100, index=True)
    label = CharField(max_length=100)
    scopes = CharField(max_length=50)
    created = BigIntegerField()
    expires = BigIntegerField(null=True)
    used = BigIntegerField(null=True)


class Attempt(Base):
    """Failures in a row to sign in, of one name or address; none is heard before `until`."""

    key = CharField(max_length=120, primary_key=True)
    failures = IntegerField()
    last = BigIntegerField(index=True)
    until = BigIntegerField()
