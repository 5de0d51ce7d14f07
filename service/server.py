"""What gunicorn calls while it starts and stops; `config/gunicorn.conf.py` names these."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from loguru import logger

from service import assets, db, log, migrations, sessions
from service.clicks import Writer, counter
from service.migrate import migrate
from service.settings import Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


#: What writes this worker's visits.
writers: list[Writer] = []


class JsonLogger(Logger):  # type: ignore[misc]
    """gunicorn's own messages, as the same JSON lines as the application's."""

    def setup(self, cfg: Any) -> None:
        """Instead of gunicorn's handlers: everything goes to the root, which `service.log` set up."""
        self.cfg = cfg
        self.loglevel = self.LOG_LEVELS[cfg.loglevel]
        # The application logs requests itself, under every server.
        self._access_log_enabled = False
        self.error_log.handlers = []
        self.error_log.propagate = True
        self.error_log.setLevel(self.loglevel)


def settings_or_exit() -> Settings:
    """The settings, with logging set up by them; exit code 1 and one line when they are wrong."""
    try:
        settings = read_settings(os.environ)
        log.configure(settings.log_level)
        # Only checks the address here; the master opens the database in on_starting.
        db.configure(settings.database)
    except (SettingsError, db.StorageError) as error:
        log.configure("info")
        logger.critical("can't start: {}", error)
        sys.exit(1)
    return settings


def on_starting(_server: Any) -> None:
    """In the master, before any worker: schema, session key, static files. Exit code 1 and one line when that fails."""
    settings = settings_or_exit()
    try:
        result = migrate(settings.database)
        if settings.access.auth == "password":
            sessions.key()
        published = assets.publish(assets.load(), settings.static_root) if settings.static_root else []
    except (db.StorageError, migrations.MigrationError, assets.PublishError) as error:
        logger.critical("can't start: {}", error)
        sys.exit(1)
    logger.bind(release=settings.release, schema=result.after, migrated=result.applied, published=published).info(
        "ready"
    )
    # What all workers share from here on is not looked through again: quicker, and its memory stays shared.
    gc.collect()
    gc.freeze()


def post_fork(_server: Any, _worker: Any) -> None:
    """A connection of the master, were there one, is not ours to use."""
    db.dispose()


def post_worker_init(worker: Any) -> None:
    """Hold one connection for as long as the worker lives, so that the -wal stays while the service is idle."""
    try:
        db.ensure_open()
        migrations.stored_version()
    except db.DATABASE_ERRORS as error:
        logger.error("the database can't be opened: {}", error)
    else:
        _warm_up(worker.wsgi)
    writers.append(Writer(counter))
    writers[-1].start()


def _warm_up(application: WSGIApplication) -> None:
    """Ask for the page once, whatever becomes of it: else the first person waits for what is done only once."""
    from werkzeug.test import Client

    logger.disable("service")
    try:
        with contextlib.suppress(Exception):
            Client(application).get("/")
    finally:
        logger.enable("service")


def worker_exit(_server: Any, _worker: Any) -> None:
    """Write the visits that are left. Close what `post_worker_init` opened: the last connection takes the -wal along.

    A request that took longer than the grace is still to end: its visit is written when the process goes.
    """
    while writers:
        writers.pop().finish()
    atexit.register(_write_the_last)
    db.close()


def _write_the_last() -> None:
    with contextlib.suppress(Exception):
        counter.write()
