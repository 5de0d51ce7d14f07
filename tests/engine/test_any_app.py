"""Another app by configuration alone: no Python inside, another volume, several databases, uploads beside them."""

from __future__ import annotations

import contextlib
import io
import re
import sqlite3
import tarfile
from pathlib import Path

import pytest

from tests.engine.stack import Project, until
from tests.engine.test_release import inside

pytestmark = pytest.mark.engine

NGINX = (
    "daemon off; pid /tmp/pid; error_log stderr; events {} http { access_log off; "
    + "".join(f"{kind}_temp_path /tmp/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    + "server { listen 8000; location = /health { return 200 ok; } location / { root /store; } } }"
)
ASK = "exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET /health HTTP/1.0\\\\r\\\\n\\\\r\\\\n' >&3; grep -q ' 200 ' <&3"
APP = f"""\
[services.app]
image = "IMAGE"
user = "10001:10001"
port = 8000
command = ["/bin/sh", "-c", "echo '{NGINX}' >/tmp/conf && exec nginx -e stderr -c /tmp/conf"]
volumes = {{ store = "/store" }}
memory = "64m"
cpus = 1.0
pids = 32
stop_grace_period = "5s"

[services.app.health]
command = ["/bin/sh", "-c", \"\"\"wget -qO /dev/null http://127.0.0.1:8000/health || bash -c "{ASK}" \"\"\"]
interval = "1s"
timeout = "3s"
start_period = "10s"

"""
DATABASES = ("orders/shop.sqlite3", "people/2026/main.dat")


def database(path: Path, rows: int) -> bytes:
    """A database's file, in WAL mode and cleanly closed."""
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (n INTEGER)")
        connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(rows)])
        connection.commit()
    return path.read_bytes()


def put(project: Project, files: dict[str, bytes]) -> None:
    """The app's own files, on its volume."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted({str(parent) for path in files for parent in Path(path).parents} - {"."}):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, 0o750, 10001, 10001
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid, member.gid = len(content), 0o640, 10001, 10001
            archive.addfile(member, io.BytesIO(content))
    assert project.one("app").put_archive("/store", buffer.getvalue())


def rows(project: Project, name: str, at: Path) -> int:
    """What the app serves of a database."""
    answer = project.ask(f"/{name}")
    assert answer.status == 200, answer
    at.write_bytes(answer.body)
    with contextlib.closing(sqlite3.connect(f"file:{at}?immutable=1", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def test_another_app(project: Project, tmp_path: Path) -> None:
    config = project.root / "config" / "production.toml"
    app = APP.replace("IMAGE", project.bases["NGINX_IMAGE"])
    text = re.sub(r"(?s)\[services\.app\].*(?=\[services\.proxy\])", lambda _: app, config.read_text())
    config.write_text(text.replace('sqlite_data = "/data:ro"', 'store = "/data:ro"'))
    # Before anything is there, and with nothing on the volume.
    assert project.run("status", "--max-age", "1h", check=False).code == 1
    project.run("deploy")
    missing = project.run("status", "--max-age", "1h", check=False)
    assert missing.code == 1
    assert "NOT OK    there is no good snapshot" in missing.stdout
    assert f"{project.name}_sqlite_data" not in project.volumes()

    first, second = (database(tmp_path / "made", count) for count in (10, 20))
    photo = bytes(range(256)) * 100
    put(project, {DATABASES[0]: first, DATABASES[1]: second, "uploads/a photo.jpg": photo})
    report = project.json("backup")
    assert [one["path"] for one in report["databases"]] == list(DATABASES)
    project.one("backup").stop(timeout=10)
    judged = project.json("status", "--max-age", "1h")["snapshot_age"]
    assert judged["ok"], "a backup service that is stopped hides nothing"
    assert judged["message"].startswith("last good snapshot ")
    until(lambda: project.run("status", "--max-age", "1s", check=False).code == 1, 10, "it is older than a second")

    put(project, {DATABASES[0]: database(tmp_path / "made", 3), "uploads/new.txt": b"new"})
    inside(project, "app", "rm", "/store/uploads/a photo.jpg", f"/store/{DATABASES[1]}")
    restored = project.json("restore", report["snapshot"], "--yes")
    assert [rows(project, name, tmp_path / "got") for name in DATABASES] == [10, 20]
    assert project.ask("/uploads/a%20photo.jpg").body == photo
    assert project.ask("/uploads/new.txt").status == 404
    owners = inside(project, "app", "stat", "-c", "%u:%g %a", "/store/uploads", f"/store/{DATABASES[1]}").split("\n")
    assert owners[:2] == ["10001:10001 750", "10001:10001 640"]
    project.json("restore", restored["safety_snapshot"], "--yes")
    assert rows(project, DATABASES[0], tmp_path / "got") == 3
    assert project.ask("/uploads/new.txt").body == b"new"
    kept = {entry["snapshot"]: entry["kept"] for entry in project.json("backups")["snapshots"]}
    assert set(kept[report["snapshot"]]) >= {"last"}
