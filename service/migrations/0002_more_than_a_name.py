"""What a link has besides its name and target: owner, tags, expiry, aliases, visits, history; and what is asked for."""

from __future__ import annotations

from peewee import BigAutoField, BigIntegerField, CharField, CompositeKey, Database, IntegerField, Model, TextField

from service import db

NEW_COLUMNS = (
    "owner VARCHAR(100) NOT NULL DEFAULT ''",
    "description TEXT NOT NULL DEFAULT ''",
    "tags TEXT NOT NULL DEFAULT ''",
    "expires BIGINT",
    "clicks BIGINT NOT NULL DEFAULT 0",
    "visited BIGINT NOT NULL DEFAULT 0",
)
# Each order of the list reads its page from an index, from the last row of the page before.
INDEXES = (
    "CREATE INDEX link_clicks ON link (clicks, id)",
    "CREATE INDEX link_visited ON link (visited, id)",
    "CREATE INDEX link_created ON link (created, id)",
    "CREATE INDEX link_updated ON link (updated, id)",
    "CREATE INDEX link_owner ON link (owner, key)",
    "CREATE INDEX link_expires ON link (expires)",
)
# A reference with ON DELETE CASCADE, because the release before this one deletes links, too.
REFERRING = (
    "CREATE TABLE tag (name VARCHAR(50) NOT NULL, link INTEGER NOT NULL REFERENCES link (id) ON DELETE CASCADE, "
    "PRIMARY KEY (name, link))",
    "CREATE INDEX tag_link ON tag (link)",
    "CREATE TABLE alias (key VARCHAR(100) NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL, "
    "link INTEGER NOT NULL REFERENCES link (id) ON DELETE CASCADE)",
    "CREATE INDEX alias_link ON alias (link)",
)
# Substrings of three characters and more. Triggers, because the release before this one writes links, too; each visit
# changes a row of `link`, and none of these columns.
FULL_TEXT = (
    "CREATE VIRTUAL TABLE link_text USING fts5(key, url, description, tags, owner, content='link', "
    "content_rowid='id', tokenize='trigram')",
    "INSERT INTO link_text (link_text) VALUES ('rebuild')",
    "CREATE TRIGGER link_text_insert AFTER INSERT ON link BEGIN "
    "INSERT INTO link_text (rowid, key, url, description, tags, owner) "
    "VALUES (new.id, new.key, new.url, new.description, new.tags, new.owner); END",
    "CREATE TRIGGER link_text_delete AFTER DELETE ON link BEGIN "
    "INSERT INTO link_text (link_text, rowid, key, url, description, tags, owner) "
    "VALUES ('delete', old.id, old.key, old.url, old.description, old.tags, old.owner); END",
    "CREATE TRIGGER link_text_update AFTER UPDATE OF key, url, description, tags, owner ON link BEGIN "
    "INSERT INTO link_text (link_text, rowid, key, url, description, tags, owner) "
    "VALUES ('delete', old.id, old.key, old.url, old.description, old.tags, old.owner); "
    "INSERT INTO link_text (rowid, key, url, description, tags, owner) "
    "VALUES (new.id, new.key, new.url, new.description, new.tags, new.owner); END",
)


class Change(Model):
    """Frozen copy of the model as of this step."""

    id = BigAutoField()
    link = BigIntegerField()
    key = CharField(max_length=100, index=True)
    at = BigIntegerField()
    author = CharField(max_length=100)
    action = CharField(max_length=20)
    before = TextField(null=True)
    after = TextField(null=True)

    class Meta:
        table_name = "change"
        indexes = ((("link", "id"), False), (("action", "id"), False))


class Day(Model):
    """Frozen copy of the model as of this step."""

    link = BigIntegerField()
    day = IntegerField()
    clicks = BigIntegerField()

    class Meta:
        table_name = "day"
        primary_key = CompositeKey("link", "day")


class Miss(Model):
    """Frozen copy of the model as of this step."""

    key = CharField(max_length=100, primary_key=True)
    name = CharField(max_length=100)
    asked = BigIntegerField()
    first = BigIntegerField()
    last = BigIntegerField()

    class Meta:
        table_name = "miss"
        indexes = ((("asked",), False), (("last",), False))


def apply(database: Database) -> None:
    """Only adds: the release before goes on reading and writing links as it did."""
    columns = tuple(f"ALTER TABLE link ADD COLUMN {column}" for column in NEW_COLUMNS)
    full_text = FULL_TEXT if isinstance(database, db.SqliteFile) else ()
    for statement in columns + INDEXES + REFERRING + full_text:
        database.execute_sql(statement)  # type: ignore[no-untyped-call]
    with database.bind_ctx([Change, Day, Miss]):
        database.create_tables([Change, Day, Miss], safe=False)
