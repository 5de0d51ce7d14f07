"""Snapshots of a stack in use: consistent, complete, out of the container, and readable without us."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import sqlite3
import subprocess
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from tests.bench import torture
from tests.cannot import cannot
from tests.engine.conftest import MakeProject
from tests.engine.stack import ROOT, Project, until
from tests.engine.test_release import inside

pytestmark = pytest.mark.engine

#: Snapshots that are taken by the verb under writes.
VERB = 8
KEYS = {"snapshot", "bytes", "sha256", "databases", "seconds"}


@pytest.fixture(scope="module")
def stack(make_project: MakeProject) -> Project:
    """A deployed stack with some links."""
    made = make_project()
    made.run("deploy")
    for number in range(20):
        made.add(f"link-{number}")
    return made


def unpacked(archive: Path, to: Path) -> Path:
    """The archive's content, taken out by GNU tar alone."""
    to.mkdir()
    subprocess.run(["tar", "--zstd", "-xf", str(archive), "-C", str(to)], check=True, capture_output=True)
    return to


def only(folder: Path, name: str) -> Path:
    (found,) = folder.rglob(name)
    return found


def integrity(database: Path) -> str:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def links(database: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as connection:
        return {str(row[0]) for row in connection.execute("SELECT name FROM link")}


class Writer:
    """torture.py in a container of the app's image: commits to a database of its own on the data volume, and knows
    what was acknowledged."""

    def __init__(self, project: Project) -> None:
        self.acknowledged = 0
        self.container: Container = project.client.containers.create(
            str(project.one("app").attrs["Image"]),
            ["python", "-u", "/opt/app/torture.py", "write", "/data/torture.db", "--rate", "200", "--seconds", "600"],
            name=f"{project.name}-torture",
            user="10001:10001",
            network_mode="none",
            volumes={f"{project.name}_sqlite_data": {"bind": "/data", "mode": "rw"}},
        )

    def __enter__(self) -> Writer:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(ROOT / "tests" / "bench" / "torture.py", "torture.py")
        assert self.container.put_archive("/opt/app", buffer.getvalue())
        self.container.start()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.container.kill()
        self.thread.join()
        self.container.remove(force=True)

    def _read(self) -> None:
        rest = b""
        for piece in self.container.logs(stream=True, follow=True, stderr=False):
            *lines, rest = (rest + piece).split(b"\n")
            if lines:
                self.acknowledged = int(lines[-1])


def test_snapshots_hold_every_acknowledged_write(stack: Project, tmp_path: Path) -> None:
    """A few by the verb; a thousand by the agent: `python -m tests.bench snapshots`."""
    project, proven = stack, 0
    rates: list[float] = []
    with Writer(project) as writer:
        until(lambda: writer.acknowledged > 200, 30, "the writer writes")
        for number in range(VERB):
            at, before = time.monotonic(), writer.acknowledged
            report = project.json("backup", "--to", str(tmp_path))
            rates.append((writer.acknowledged - before) / (time.monotonic() - at))
            archive = tmp_path / f"{report['snapshot']}.tar.zst"
            assert report["file"] == str(archive)
            assert hashlib.sha256(archive.read_bytes()).hexdigest() == report["sha256"]
            folder = unpacked(archive, tmp_path / str(number))
            database = only(folder, "torture.db")
            assert integrity(database) == "ok"
            assert integrity(only(folder, "links.db")) == "ok"
            missing = torture.missing(str(database), before)
            assert missing == 0, f"snapshot {number}: {missing} of {before} acknowledged writes are missing"
            proven += 1
        total = writer.acknowledged
        assert writer.container.logs(stdout=False) == b""
    inside(project, "app", "sh", "-c", "rm /data/torture.db*")
    print(f"\n{proven} snapshots hold every acknowledged write; {total} writes, slowest {min(rates):.0f}/s")
    assert proven == VERB
    assert total > 1000
    # It was in use: the last snapshot has thousands more than the first.
    assert min(rates) > 100


def test_a_snapshot_and_its_report(stack: Project, tmp_path: Path) -> None:
    report = stack.json("backup", "--to", str(tmp_path))
    assert report.keys() >= KEYS
    assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]+", report["snapshot"])
    (database,) = report["databases"]
    assert (database["path"], database["integrity"]) == ("links.db", "ok")
    assert report["seconds"] > 0
    archive = Path(report["file"])
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]
    assert archive.stat().st_size == report["bytes"]
    # GNU tar reads it as it is, and so does a pipe.
    listed = subprocess.run(["tar", "--zstd", "-tf", str(archive)], check=True, capture_output=True, text=True).stdout
    plain = subprocess.run(["zstd", "-dc", str(archive)], check=True, capture_output=True).stdout
    piped = subprocess.run(["tar", "-tf", "-"], input=plain, check=True, capture_output=True).stdout
    assert listed == piped.decode()
    assert "links.db" in listed
    names = links(only(unpacked(archive, tmp_path / "out"), "links.db"))
    assert names == {f"link-{number}" for number in range(20)}

    found = stack.json("backups")["snapshots"]
    mine = next(entry for entry in found if entry["snapshot"] == report["snapshot"])
    assert mine.keys() >= {"snapshot", "created", "bytes", "release", "verified"}
    assert mine["bytes"] == report["bytes"]
    assert mine["release"] == stack.json("status")["release"]
    assert report["snapshot"] in stack.run("backups").stdout
    assert stack.json("status")["last_snapshot"]["snapshot"] == report["snapshot"]
    assert [entry["snapshot"] for entry in found] == sorted((entry["snapshot"] for entry in found), reverse=True)
    # Nothing of it is left running.
    assert len(stack.containers()) == 3


def test_nothing_to_back_up(project: Project) -> None:
    for verb in ("backup", "backups"):
        result = project.run(verb, check=False)
        assert result.code == 1
        assert f"there is nothing of project {project.name} to back up here" in result.stderr
        assert "deploy" in result.stderr
    assert project.containers() == []
    assert project.volumes() == set()


def test_a_folder_that_is_not_there(stack: Project, tmp_path: Path) -> None:
    before = len(stack.json("backups")["snapshots"])
    result = stack.run("backup", "--to", str(tmp_path / "nosuch"), check=False)
    assert result.code == 2
    assert f"--to {tmp_path / 'nosuch'}: there is no such folder" in result.stderr
    assert len(stack.json("backups")["snapshots"]) == before


def test_a_full_disk_leaves_no_part(stack: Project, tmp_path: Path) -> None:
    if os.getuid() != 0:
        cannot("only root can mount a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(tmp_path)], check=True)
    try:
        # More than one page of what does not compress.
        for number in range(60):
            stack.add(f"more-{number}", f"https://example.com/{os.urandom(200).hex()}")
        before = len(stack.json("backups")["snapshots"])
        result = stack.run("backup", "--to", str(tmp_path), check=False)
        assert result.code == 1
        assert "was taken, but not copied" in result.stderr
        assert "No space left on device" in result.stderr
        assert "backups volume" in result.stderr
        assert list(tmp_path.iterdir()) == []
        assert len(stack.json("backups")["snapshots"]) == before + 1
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
        for number in range(60):
            stack.ask(f"/.api/links/more-{number}", method="DELETE")


def test_an_interrupted_backup_leaves_nothing(stack: Project) -> None:
    before = stack.json("backups")["snapshots"]
    process = stack.start("backup")
    until(lambda: len(stack.containers()) == 4, 30, "the agent is there", 0.02)
    process.send_signal(2)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1, told
    assert "Traceback" not in told
    assert len(stack.containers()) == 3
    files = stack.one("backup").exec_run(["ls", "-A", "/backups"]).output
    assert isinstance(files, bytes)
    assert b".part" not in files
    assert len(stack.json("backups")["snapshots"]) - len(before) in (0, 1)


def test_the_first_scheduled_snapshot_comes_by_itself_and_its_age_shows(project: Project) -> None:
    project.edit("config/production.toml", 'max_age = "26h"', 'max_age = "15s"')  # the schedule looks every 10 s
    project.edit("config/production.toml", 'interval = "2s"', 'interval = "1s"')
    release = project.json("deploy")["release"]

    def listed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = project.json("backups")["snapshots"]
        return found

    until(listed, 30, "a snapshot that nobody asked for", 0.5)
    first = listed()[-1]
    assert (first["reason"], first["release"], first.get("error")) == ("schedule", release, None)
    until(lambda: project.health()["backup"] == "running unhealthy", 60, "the backup service is unhealthy", 0.5)
    state = project.one("backup").attrs["State"]["Health"]
    assert "last good snapshot" in state["Log"][-1]["Output"]
    services = {s["name"]: s["health"] for s in project.json("status")["services"]}
    assert services == {"app": "healthy", "proxy": "healthy", "backup": "unhealthy"}
    assert project.run("doctor", check=False).code == 1
    # A new one heals it, by whomever it is taken.
    project.run("backup")
    until(lambda: project.health()["backup"] == "running healthy", 30, "it is healthy again", 0.3)


def test_an_archive_proves_itself_without_us(stack: Project, tmp_path: Path) -> None:
    report = stack.json("backup", "--to", str(tmp_path))
    folder = unpacked(Path(report["file"]), tmp_path / "out")
    said = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    assert "data/links.db: OK" in said
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["release"] == stack.json("status")["release"]
    assert [database["path"] for database in manifest["databases"]] == ["links.db"]


def test_a_snapshot_without_the_app(stack: Project, tmp_path: Path) -> None:
    for running in ("app", "backup"):
        stack.one(running).stop(timeout=10)
        report = stack.json("backup", "--to", str(tmp_path))
        folder = unpacked(Path(report["file"]), tmp_path / running)
        assert "link-0" in links(only(folder, "links.db"))
        assert integrity(only(folder, "links.db")) == "ok"
    # After `down`, the data that it kept can still be saved.
    stack.run("down")
    report = stack.json("backup", "--to", str(tmp_path))
    assert "link-0" in links(only(unpacked(Path(report["file"]), tmp_path / "down"), "links.db"))
    assert stack.containers() == []
    stack.run("deploy")
    assert stack.has("link-0")
