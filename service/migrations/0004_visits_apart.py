"""Visits in two narrow tables: one follow of each of a thousand links writes a few pages, and no index."""

from __future__ import annotations

from peewee import Database

from service import db

# One row for each link, in the order of their ids.
VISIT = (
    "CREATE TABLE visit (link INTEGER NOT NULL PRIMARY KEY REFERENCES link (id) ON DELETE CASCADE, "
    "clicks BIGINT NOT NULL DEFAULT 0, visited BIGINT NOT NULL DEFAULT 0)",
    "INSERT INTO visit (link, clicks, visited) SELECT id, clicks, visited FROM link",
    "DROP INDEX link_clicks",
    "DROP INDEX link_visited",
)
# The day first: what is counted today is all in one place. What `day` holds stays there.
DAILY = (
    "CREATE TABLE daily (day INTEGER NOT NULL, link BIGINT NOT NULL, clicks BIGINT NOT NULL, PRIMARY KEY (day, link))"
)
# The release before this one counts in `link`, and makes links there, with the visits that they had.
TRIGGERS = (
    "CREATE TRIGGER link_visit_insert AFTER INSERT ON link BEGIN "
    "INSERT INTO visit (link, clicks, visited) VALUES (new.id, new.clicks, new.visited); END",
    "CREATE TRIGGER link_visit_update AFTER UPDATE OF clicks, visited ON link BEGIN "
    "UPDATE visit SET clicks = clicks + new.clicks - old.clicks, visited = MAX(visited, new.visited) "
    "WHERE link = new.id; END",
)


def apply(database: Database) -> None:
    """The release before goes on counting as it did; what this one counts it does not see."""
    sqlite = isinstance(database, db.SqliteFile)
    for statement in (*VISIT, f"{DAILY} WITHOUT ROWID" if sqlite else DAILY, *(TRIGGERS if sqlite else ())):
        database.execute_sql(statement)  # type: ignore[no-untyped-call]
