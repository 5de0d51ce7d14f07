"""Snapshots of real databases: in use, crashed, stopped, several, odd, empty, damaged."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import IO, cast

import apsw
import pytest

from orchestrator.agent.archive import open_archive
from orchestrator.agent.errors import AgentError
from orchestrator.agent.manifest import Snapshot
from orchestrator.agent.verify import verify
from tests.cannot import cannot

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from .conftest import ROOT, TORTURE, Place, crash, fingerprint, make_database, run_agent


def unpack(place: Place, snapshot: Snapshot, target: Path) -> Path:
    with place.archive(snapshot).open("rb") as file, open_archive(file) as tar:
        # Debian 12's own Python knows no filters yet.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(target)  # noqa: S202 - we have made it ourselves
    return target


def members(place: Place, snapshot: Snapshot) -> list[str]:
    with place.archive(snapshot).open("rb") as file, open_archive(file) as tar:
        return [member.name for member in tar]


def rows(path: Path) -> int:
    connection = apsw.Connection(f"file:{path}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    count = connection.execute("SELECT count(*) FROM t").fetchall()[0][0]
    connection.close()
    return int(cast("int", count))


def test_every_commit_acknowledged_before_the_start_is_there(place: Place, tmp_path: Path) -> None:
    database = place.data / "links.db"
    make_database(database, rows=3000, size=4000)  # 12 MB, so the copy takes several steps
    writer = subprocess.Popen(
        [sys.executable, TORTURE, "write", database, "--rate", "300", "--seconds", "30"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        stream = cast("IO[str]", writer.stdout)
        for number in range(4):
            acknowledged = 0
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                acknowledged = int(stream.readline())
            snapshot = place.take()
            assert snapshot.manifest.databases[0].read == "live"
            assert verify(place.backups, snapshot.snapshot, wait=0)["ok"]
            copy = unpack(place, snapshot, tmp_path / f"out{number}") / "data" / "links.db"
            check = [sys.executable, str(TORTURE), "check", str(copy), "--upto", str(acknowledged)]
            assert acknowledged > 0
            assert subprocess.run(check, check=False).returncode == 0
            time.sleep(1.01)
    finally:
        writer.kill()
        writer.communicate()


def test_version_id_and_mode_are_kept_and_the_source_is_untouched(place: Place, tmp_path: Path) -> None:
    path = place.data / "links.db"
    make_database(path)
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version=42; PRAGMA application_id=-7; INSERT INTO t VALUES (99, 1)").fetchall()
    path.chmod(0o640)
    before = fingerprint(place.data)
    snapshot = place.take()
    assert fingerprint(place.data) == before
    connection.close()
    database = snapshot.manifest.databases[0]
    assert (database.user_version, database.application_id, database.journal_mode) == (42, -7, "wal")
    assert (database.mode, database.uid, database.tables) == ("0640", os.getuid(), {"t": 11})
    copy = apsw.Connection(str(unpack(place, snapshot, tmp_path / "out") / "data" / "links.db"))
    assert copy.pragma("journal_mode") == "wal"
    assert (copy.pragma("user_version"), copy.pragma("application_id")) == (42, -7)
    copy.close()


def test_several_databases_odd_names_and_other_files(place: Place) -> None:
    odd = "we ird%?#'\"\n;'имя"
    make_database(place.data / "links.db")
    make_database(place.data / "deep" / "er" / odd, wal=False)
    make_database(Path(os.fsdecode(os.fsencode(place.data) + b"/\xff\xfe")))
    make_database(place.data / "old page size", wal=False)
    (place.data / "uploads" / "empty").mkdir(parents=True)
    (place.data / "uploads" / "notes.db.txt").write_text("not a database")
    (place.data / "uploads" / "report-journal").write_text("a file of its own")
    (place.data / "uploads" / "nothing").touch()
    (place.data / "link").symlink_to("/etc/passwd")
    os.mkfifo(place.data / "pipe")
    snapshot = place.take()
    names = members(place, snapshot)
    assert [one.path for one in snapshot.manifest.databases] == sorted(
        ["links.db", f"deep/er/{odd}", "\udcff\udcfe", "old page size"]
    )
    assert names[-2:] == ["SHA256SUMS", "manifest.json"]
    assert {f"data/uploads/{name}" for name in ("empty", "notes.db.txt", "report-journal", "nothing")} <= set(names)
    assert not {"data/link", "data/pipe"} & set(names)
    assert snapshot.manifest.files.count == 3
    assert snapshot.manifest.warnings == ("2 symbolic links or special files were left out",)
    assert verify(place.backups, snapshot.snapshot, wait=0)["files"] == 3
    assert run_agent("list", "--backups", place.backups).last["snapshots"][0]["snapshot"] == snapshot.snapshot


def test_gnu_tar_and_sha256sum_read_it(place: Place, tmp_path: Path) -> None:
    make_database(place.data / "links.db")
    (place.data / "a\nb\\").write_text("odd")
    snapshot = place.take()
    with place.archive(snapshot).open("rb") as file:
        (tmp_path / "plain.tar").write_bytes(zstd.decompress(file.read()))
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "plain.tar", "-C", out], check=True)
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=out, check=True)
    assert rows(out / "data" / "links.db") == 10


def test_a_crashed_app_loses_nothing(place: Place, tmp_path: Path) -> None:
    for name, keep_shm in (("kept.db", True), ("lost.db", False)):
        make_database(place.data / name)
        crash(place.data / name, keep_shm=keep_shm)
    before = fingerprint(place.data)
    snapshot = place.take()
    assert [one.read for one in snapshot.manifest.databases] == ["live", "aside"]
    assert [one.tables for one in snapshot.manifest.databases] == [{"t": 11}, {"t": 11}]
    assert fingerprint(place.data) == before
    assert verify(place.backups, snapshot.snapshot, wait=0)["ok"]
    names = members(place, snapshot)
    assert not [name for name in names if name.endswith(("-wal", "-shm"))]


def test_a_crash_in_rollback_mode_is_rolled_back_on_the_copy(place: Place) -> None:
    path = place.data / "links.db"
    make_database(path, rows=200, wal=False, size=3000)
    program = (
        "import apsw, os, sys; c = apsw.Connection(sys.argv[1]); c.execute('PRAGMA cache_size=5; BEGIN;"
        "UPDATE t SET text = randomblob(3000)').fetchall(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True)
    assert (place.data / "links.db-journal").stat().st_size > 0
    before = fingerprint(place.data)
    snapshot = place.take()
    assert snapshot.manifest.databases[0].read == "aside"
    assert snapshot.manifest.databases[0].tables == {"t": 200}
    assert fingerprint(place.data) == before


def test_a_clean_stop_leaves_nothing_beside_the_source(place: Place) -> None:
    make_database(place.data / "links.db")
    snapshot = place.take()
    assert snapshot.manifest.databases[0].read == "immutable"
    assert [path.name for path in place.data.iterdir()] == ["links.db"]


@pytest.mark.parametrize("state", ["live", "stopped", "crashed", "crashed, no shm"])
def test_a_read_only_mount(place: Place, state: str) -> None:
    path = place.data / "links.db"
    make_database(path)
    connection = None
    if state == "live":
        connection = apsw.Connection(str(path))
        connection.execute("INSERT INTO t VALUES (99, 1)").fetchall()
    elif state != "stopped":
        crash(path, keep_shm=state == "crashed")
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    command = [sys.executable, "-m", "orchestrator.agent", "snapshot", "--quiet", *place.arguments]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", place.data, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if connection is not None:
        connection.close()
    if "unshare" in done.stderr or "mount:" in done.stderr:
        cannot("needs the right to mount")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'"t": {10 if state == "stopped" else 11}}}' in done.stdout


def test_a_writer_that_shares_nothing_is_told_not_copied(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.agent.database.BUSY_MS", 100)
    path = place.data / "links.db"
    make_database(path)
    program = (
        "import apsw, sys, time; c = apsw.Connection(sys.argv[1]); n = 1000\n"
        "c.execute('PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=OFF').fetchall()\n"
        "while True:\n c.execute('INSERT INTO t VALUES (?, 1)', (n,)).fetchall(); n += 1; print(n, flush=True)\n"
        " time.sleep(0.005)"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    try:
        cast("IO[bytes]", writer.stdout).readline()
        with pytest.raises(AgentError, match="keeps others out"):
            place.take()
    finally:
        writer.kill()
        writer.communicate()
    assert place.left() == set()


def test_broken_foreign_keys_are_a_warning(place: Place) -> None:
    connection = apsw.Connection(str(place.data / "links.db"))
    connection.execute(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p); INSERT INTO c VALUES (7)"
    ).fetchall()
    connection.close()
    snapshot = place.take()
    assert snapshot.manifest.databases[0].foreign_key_violations == 1
    assert snapshot.manifest.warnings == ("links.db has 1 rows whose foreign keys point nowhere",)
    assert verify(place.backups, snapshot.snapshot, wait=0)["ok"]


def test_full_text_and_unknown_virtual_tables(place: Place) -> None:
    connection = apsw.Connection(str(place.data / "links.db"))
    connection.execute("CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES ('one two')").fetchall()
    connection.execute("CREATE TABLE t (n)").fetchall()
    connection.execute("PRAGMA writable_schema=ON").fetchall()
    connection.execute(
        "INSERT INTO sqlite_schema VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING nowhere(x)')"
    ).fetchall()
    connection.close()
    snapshot = place.take()
    assert snapshot.manifest.databases[0].tables["f_content"] == 1
    assert verify(place.backups, snapshot.snapshot, wait=0)["ok"]


def test_a_file_that_shrinks_meanwhile_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    make_database(place.data / "links.db")
    upload = place.data / "upload"
    upload.write_bytes(b"x" * 1000)
    import orchestrator.agent.snapshot as module

    real = module._open_plain

    def open_and_cut(path: Path) -> object:
        file = real(path)
        original = os.fstat

        def fstat(descriptor: int) -> os.stat_result:
            info = original(descriptor)
            os.truncate(upload, 10)
            return info

        monkeypatch.setattr(os, "fstat", fstat)
        return file

    monkeypatch.setattr(module, "_open_plain", open_and_cut)
    snapshot = place.take()
    monkeypatch.undo()
    assert snapshot.manifest.warnings == ("written to while they were archived: 'upload'",)
    assert verify(place.backups, snapshot.snapshot, wait=0)["files"] == 1


def test_the_archive_is_a_plain_gnu_tar(place: Place) -> None:
    make_database(place.data / ("long" * 50) / "links.db")
    snapshot = place.take()
    with place.archive(snapshot).open("rb") as file, open_archive(file) as tar:
        kinds = {member.name: member.type for member in tar}
    assert kinds["data/" + "long" * 50 + "/links.db"] == tarfile.REGTYPE
