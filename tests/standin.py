"""Makes the app of a copied checkout one for release tests: with a path that takes long, a start that takes as long as
wanted, and an image that is another one for each number."""

from __future__ import annotations

from pathlib import Path

#: Answered with the number of the image and the container's variable MARK.
NUMBER_PATH = "/.test/number"
#: Answered with 200 only where nothing is between: not through the proxy.
LOCAL_PATH = "/.test/local"
#: Takes this many seconds, and is answered with 200.
SLOW_PATH, SLOW_SECONDS = "/.test/slow", 2.0
#: In each of the two workers: more than the slow requests that are under way when one of them has them all.
THREADS = 24

APP = '''"""The service, with a path that takes long and a start that takes long."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import service

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_app() -> WSGIApplication:
    """What gunicorn is told to run."""
    time.sleep({boot_seconds!r})
    app = service.create_app()
    try:
        number = importlib.import_module("service.standin_number").NUMBER
    except ImportError:
        number = 0
    told = f"{{number}} {{os.environ.get('MARK', '')}}".strip().encode()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == {number_path!r}:
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(told)))])
            return [told]
        if environ["PATH_INFO"] == {local_path!r}:
            local = environ["REMOTE_ADDR"] == "127.0.0.1"
            start_response("200 OK" if local else "503 Service Unavailable", [("Content-Length", "0")])
            return []
        if environ["PATH_INFO"] != {path!r}:
            return app(environ, start_response)
        time.sleep({slow_seconds!r})
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"slow\\n"]

    return answer
'''
COMMAND = 'command = ["gunicorn", "-c", "/opt/app/gunicorn.conf.py", "service.standin:create_app()"]\n'


def slow(project_root: Path, *, boot_seconds: float = 0.0) -> None:
    """The app of the copy gets `SLOW_PATH`, and takes this much longer to start. May be called again."""
    text = APP.format(
        boot_seconds=boot_seconds,
        path=SLOW_PATH,
        slow_seconds=SLOW_SECONDS,
        number_path=NUMBER_PATH,
        local_path=LOCAL_PATH,
    )
    (project_root / "service" / "standin.py").write_text(text)
    path = project_root / "config" / "production.toml"
    settings = path.read_text()
    if COMMAND in settings:
        return
    for line, more in (('target = "app"\n', COMMAND), ("[services.app.environment]\n", f'WEB_THREADS = "{THREADS}"\n')):
        assert settings.count(line) == 1, f"{line!r} is {settings.count(line)} times in {path}"
        settings = settings.replace(line, line + more)
    path.write_text(settings)


MIGRATE = '''"""Brings the schema to the number of this image, forward or back, so that two images may take turns."""

import os
import sys

import apsw

from service import migrate
from service.standin_number import NUMBER

code = migrate.main(sys.argv[1:])
if code == 1:
    sys.exit(code)
database = apsw.Connection(os.environ["DATABASE_URL"].removeprefix("sqlite:///"))
database.set_busy_timeout(5000)
found = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'standin'").fetchall()[0][0]
number = database.execute("SELECT max(number) FROM standin").fetchall()[0][0] if found else None
if "--check" in sys.argv:
    sys.exit(code or (0 if number == NUMBER else migrate.PENDING))
if NUMBER in {broken!r}:
    sys.exit("this migration is broken")
database.execute("BEGIN IMMEDIATE")
database.execute("CREATE TABLE IF NOT EXISTS standin (number INTEGER)")
database.execute("DELETE FROM standin")
database.execute("INSERT INTO standin VALUES (?)", (NUMBER,))
database.execute("COMMIT")
'''


def migrating(project_root: Path, *broken: int) -> None:
    """From now on each number of `change` needs a schema of its own; the migrations to `broken` ones fail."""
    (project_root / "service" / "standin_migrate.py").write_text(MIGRATE.replace("{broken!r}", repr(broken)))
    path = project_root / "config" / "production.toml"
    settings = path.read_text()
    files = "migrate_files = ["
    assert settings.count('"service.migrate"') == 2
    assert settings.count(files) == 1
    settings = settings.replace('"service.migrate"', '"service.standin_migrate"')
    path.write_text(settings.replace(files, f'{files}"service/standin_number.py", '))


def change(project_root: Path, number: int) -> None:
    """The next image is one of its own; with the same number as before, the same one."""
    (project_root / "service" / "standin_number.py").write_text(f'"""Which image this is."""\n\nNUMBER = {number}\n')
