"""Makes the app of a copied checkout one for release tests: with a path that takes long, a start that takes as long as
wanted, and an image that is another one for each number."""

from __future__ import annotations

from pathlib import Path

#: Takes this many seconds, and is answered with 200.
SLOW_PATH, SLOW_SECONDS = "/.test/slow", 2.0
#: In each of the two workers: more than the slow requests that are under way when one of them has them all.
THREADS = 24

APP = '''"""The service, with a path that takes long and a start that takes long."""

from __future__ import annotations

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

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
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
    text = APP.format(boot_seconds=boot_seconds, path=SLOW_PATH, slow_seconds=SLOW_SECONDS)
    (project_root / "service" / "standin.py").write_text(text)
    path = project_root / "config" / "production.toml"
    settings = path.read_text()
    if COMMAND in settings:
        return
    for line, more in (('target = "app"\n', COMMAND), ("[services.app.environment]\n", f'WEB_THREADS = "{THREADS}"\n')):
        assert settings.count(line) == 1, f"{line!r} is {settings.count(line)} times in {path}"
        settings = settings.replace(line, line + more)
    path.write_text(settings)


def change(project_root: Path, number: int) -> None:
    """The next image is one of its own; with the same number as before, the same one."""
    (project_root / "service" / "standin_number.py").write_text(f'"""Which image this is."""\n\nNUMBER = {number}\n')
