"""Copies on remotes, by the agent as a process of its own, against real servers on loopback and rclone itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pyrage
import pytest

from orchestrator.agent import offsite, store
from orchestrator.agent.manifest import FAILED, Entry, Rehearsed, Snapshot, created_of
from orchestrator.agent.rclone import scrubbed, translate
from orchestrator.agent.retention import Retain
from tests import servers
from tests.cannot import cannot
from tests.unit.agent.conftest import ROOT, Place, Result, agent_command, make_database, run_agent
from tests.unit.agent.test_pure import SNAPSHOT

REMOTE = f"offsite:{servers.BUCKET}/golinks"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
KEY = pyrage.x25519.Identity.generate()


@pytest.fixture
def filled(place: Place) -> Place:
    make_database(place.data / "links.db", rows=500, size=2000)
    return place


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[servers.S3]:
    with servers.s3("127.0.0.1", tmp_path / "s3") as server:
        yield server


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[servers.Sshd]:
    if not servers.can_serve_ssh():
        cannot("needs root and Debian's openssh-server")
    (tmp_path / "ssh").mkdir()
    with servers.sshd("127.0.0.1", tmp_path / "ssh") as server:
        yield server


def run(place: Place, *arguments: str, remotes: str = REMOTE, **environment: str) -> Result:
    told = {"BACKUP_REMOTES": json.dumps([remotes]), "PATH": PATH}
    done = run_agent(*arguments, "--backups", place.backups, **told, **environment)
    assert servers.SECRET not in done.stderr + json.dumps(done.events)
    return done


def left(place: Place) -> set[str]:
    return place.left() - {store.TRANSFER_LOCK}


def test_a_copy_is_checked_noted_and_fetched(filled: Place, s3: servers.S3, tmp_path: Path) -> None:
    made = filled.take()
    told = servers.s3_variables("OFFSITE", s3.url)
    done = run(filled, "copy", **told)
    assert done.last["copied"] == [{"snapshot": made.snapshot, "remote": REMOTE}], done
    assert s3.names("golinks") == [f"{made.snapshot}.json", f"{made.snapshot}.tar.zst"]
    assert [e for e in done.events if e.get("phase") == f"copy to {REMOTE}"][-1]["bytes"] == made.bytes
    noted = store.load(filled.backups, made.snapshot).remotes
    assert noted[REMOTE]["checked"] is True
    # Nothing to do is done; what is listed there is what is here.
    assert run(filled, "copy", **told).last["copied"] == []
    listed = run(filled, "list", "--from", REMOTE, **told).last["snapshots"]
    assert [(one["snapshot"], one["bytes"], one["encrypted"]) for one in listed] == [(made.snapshot, made.bytes, False)]
    (tmp_path / "new").mkdir()
    new = Place(filled.data, tmp_path / "new")
    assert run(new, "fetch", made.snapshot, "--from", REMOTE, **told).last["sha256"] == made.sha256
    assert run_agent("verify", made.snapshot, "--backups", new.backups).last["ok"] is True
    assert left(new) == {f"{made.snapshot}.json", f"{made.snapshot}.tar.zst"}
    # What was proven here is said there, once.
    assert run(new, "tell", made.snapshot, "--from", REMOTE, **told).last["told"] is True
    assert run(new, "tell", made.snapshot, "--from", REMOTE, **told).last["told"] is False
    (there,) = run(filled, "list", "--from", REMOTE, **told).last["snapshots"]
    assert there["verified"] == store.load(new.backups, made.snapshot).verified is not None
    assert "is not on" in run(new, "tell", new.take().snapshot, "--from", REMOTE, **told).last["message"]


def test_encrypted_for_two_keys(filled: Place, s3: servers.S3, tmp_path: Path) -> None:
    other = pyrage.x25519.Identity.generate()
    made = filled.take()
    told = servers.s3_variables("OFFSITE", s3.url)
    told["BACKUP_ENCRYPT_TO"] = json.dumps([str(KEY.to_public()), str(other.to_public())])
    assert run(filled, "copy", **told).code == 0
    sealed = s3.folder / servers.BUCKET / "golinks" / f"{made.snapshot}.tar.zst.age"
    plain = filled.archive(made).read_bytes()
    for key in (KEY, other):
        assert pyrage.decrypt(sealed.read_bytes(), [key]) == plain, "another implementation reads it"
    assert '"t"' not in sealed.with_name(f"{made.snapshot}.json").read_text(), "no table's name is beside it"
    (tmp_path / "new").mkdir()
    new = Place(filled.data, tmp_path / "new")
    for key, code, words in (
        ("", 2, "is encrypted"),
        (str(pyrage.x25519.Identity.generate()), 2, "does not open"),
        (str(other), 0, ""),
    ):
        command = ["fetch", made.snapshot, "--from", REMOTE, "--backups", str(new.backups), *(["--key"] if key else [])]
        done = subprocess.run(
            agent_command(*command),
            cwd=ROOT,
            env={**os.environ, **told, "PATH": PATH},
            input=f"{key}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done
        assert words in done.stdout
        assert not key or key not in done.stdout + done.stderr
    assert new.archive(made).read_bytes() == plain
    assert left(new) == {f"{made.snapshot}.json", f"{made.snapshot}.tar.zst"}


def test_only_what_is_newer_is_told_and_no_table_of_what_is_encrypted() -> None:
    older, newer = "2026-11-24T10:00:00Z", "2026-11-24T11:00:00Z"
    how = Rehearsed(at=newer, result=FAILED, release="r", image="i", own_release=True, reason="table t has 1 of 2 rows")
    plain = replace(SNAPSHOT, verified=None)
    detail, document = replace(plain, verified=newer, rehearsed=how), plain.to_dict()
    assert offsite.told(document, plain) == document
    assert offsite.told(document, detail) == document | {"verified": newer, "rehearsed": asdict(how)}
    sealed = document | {"encrypted": {"bytes": 1, "sha256": "0"}}
    assert offsite.told(sealed, detail)["rehearsed"]["reason"] == ""
    assert offsite.told(sealed, detail)["encrypted"] == sealed["encrypted"]
    there = offsite.told(document, detail)
    assert offsite.told(there, replace(plain, verified=older, rehearsed=replace(how, at=older))) == there


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"SECRET_ACCESS_KEY": "not-the-secret"}, "refuses the credentials"),
        ({"ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached"),
        ({"TYPE": ""}, "is not configured"),
    ],
)
def test_what_is_wrong_with_s3_is_said(filled: Place, s3: servers.S3, change: dict[str, str], words: str) -> None:
    filled.take()
    more = {f"RCLONE_CONFIG_OFFSITE_{name}": value for name, value in change.items()}
    began = time.monotonic()
    done = run(filled, "copy", **(servers.s3_variables("OFFSITE", s3.url) | more))
    assert (done.code, done.last["event"]) == (1, "error")
    assert f"{REMOTE} {words}" in done.last["message"]
    assert done.last["hint"]
    assert time.monotonic() - began < 30
    assert s3.names("golinks") == []


def test_webdav(filled: Place, tmp_path: Path) -> None:
    (tmp_path / "cloud").mkdir()
    made = filled.take()
    with servers.webdav("127.0.0.1", tmp_path / "cloud") as url:
        wrong = run(filled, "copy", remotes="cloud:golinks", **servers.webdav_variables("CLOUD", url, "another"))
        assert "cloud:golinks refuses the credentials" in wrong.last["message"]
        told = servers.webdav_variables("CLOUD", url)
        assert run(filled, "copy", remotes="cloud:golinks", **told).last["copied"]
        (there,) = run(filled, "list", "--from", "cloud:golinks", **told).last["snapshots"]
        assert there["snapshot"] == made.snapshot
    names = sorted(path.name for path in (tmp_path / "cloud" / "golinks").iterdir())
    assert names == [f"{made.snapshot}.json", f"{made.snapshot}.tar.zst"]


def test_sftp(filled: Place, sshd: servers.Sshd, tmp_path: Path) -> None:
    shed = tmp_path / "shed"
    remotes = f"shed:{shed}"
    told = servers.sftp_variables("SHED", sshd)
    for change, words in (
        ({"RCLONE_CONFIG_SHED_KEY_PEM": sshd.stranger}, "refuses the credentials"),
        ({"RCLONE_CONFIG_SHED_PORT": "9"}, "cannot be reached"),
        ({"BACKUP_KNOWN_HOSTS": sshd.known[:-8] + "AAAAAAAA"}, "shows another host key"),
    ):
        filled.take()
        done = run(filled, "copy", remotes=remotes, **(told | change))
        assert done.code == 1
        assert f"{remotes} {words}" in done.last["message"]
    assert not shed.exists()
    made = filled.take()
    done = run(filled, "copy", remotes=remotes, BACKUP_KNOWN_HOSTS=sshd.known, **told)
    assert made.snapshot in {one["snapshot"] for one in done.last["copied"]}, done
    # What the disk does to it later is found at the latest when it is fetched.
    archive = shed / f"{made.snapshot}.tar.zst"
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    (tmp_path / "new").mkdir()
    new = Place(filled.data, tmp_path / "new")
    done = run(new, "fetch", made.snapshot, "--from", remotes, **told)
    assert (done.code, done.last["code"]) == (1, "damaged")
    assert left(new) == set()


def test_a_full_remote(filled: Place, small_disk: Path, sshd: servers.Sshd) -> None:
    (small_disk / "filler").write_bytes(bytes(5_500_000))
    made = filled.take()
    done = run(filled, "copy", remotes=f"shed:{small_disk}/golinks", **servers.sftp_variables("SHED", sshd))
    assert done.code == 1
    assert "is full, or refuses to take more" in done.last["message"]
    with servers.s3("127.0.0.1", small_disk / "s3") as server:
        told = servers.s3_variables("OFFSITE", server.url)
        done = run(filled, "copy", **told)
        assert done.code == 1
        assert "its disk may be full" in done.last["message"]
        assert run(filled, "list", "--from", REMOTE, **told).last["snapshots"] == []
        (small_disk / "filler").unlink()
        assert run(filled, "copy", **told).last["copied"] == [{"snapshot": made.snapshot, "remote": REMOTE}]
        assert server.names("golinks") == [f"{made.snapshot}.json", f"{made.snapshot}.tar.zst"]


@pytest.mark.parametrize("killed", ["server", "agent"])
def test_gone_in_the_middle(filled: Place, s3: servers.S3, tmp_path: Path, killed: str) -> None:
    made = filled.take()
    told = servers.s3_variables("OFFSITE", s3.url) | {"BACKUP_REMOTES": json.dumps([REMOTE]), "PATH": PATH}
    with subprocess.Popen(
        agent_command("copy", "--backups", filled.backups),
        cwd=ROOT,
        env={**os.environ, **told, "RCLONE_BWLIMIT": "300k"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as agent:
        assert agent.stdout is not None
        for line in agent.stdout:
            event = json.loads(line)
            if str(event.get("phase")).startswith("copy to") and event["bytes"] > 0:
                break
        if killed == "server":
            s3.process.kill()
            last = json.loads(agent.stdout.read().splitlines()[-1])
            assert "cannot be reached, or went away in the middle" in last["message"]
        else:
            os.killpg(agent.pid, signal.SIGKILL)
    # As a killed upload leaves it on a server that has no atomic one.
    stray = s3.folder / servers.BUCKET / "golinks" / f"{made.snapshot}.tar.zst.1a2b3c4d.partial"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"part")
    with servers.s3("127.0.0.1", s3.folder) as server:
        told |= servers.s3_variables("OFFSITE", server.url)
        assert run(filled, "list", "--from", REMOTE, **told_of(told)).last["snapshots"] == []
        assert run(filled, "copy", **told_of(told)).last["copied"] == [{"snapshot": made.snapshot, "remote": REMOTE}]
        assert server.names("golinks") == [f"{made.snapshot}.json", f"{made.snapshot}.tar.zst"]
    assert left(filled) == {f"{made.snapshot}.json", f"{made.snapshot}.tar.zst"}


def told_of(told: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in told.items() if name.startswith("RCLONE_CONFIG_")}


def test_old_copies_go_after_a_success(filled: Place, tmp_path: Path) -> None:
    told = {"RCLONE_CONFIG_DISK_TYPE": "alias", "RCLONE_CONFIG_DISK_REMOTE": str(tmp_path), "BACKUP_RETAIN": "last=1"}
    first = filled.take()
    assert run(filled, "copy", remotes="disk:other", **told).code == 0
    time.sleep(1.1)
    second = filled.take()
    done = run(filled, "copy", remotes="disk:other", **told)
    assert done.last["removed"] == [{"snapshot": first.snapshot, "remote": "disk:other"}]
    there = sorted(path.name for path in (tmp_path / "other").iterdir())
    assert there == [f"{second.snapshot}.json", f"{second.snapshot}.tar.zst"]
    # What would have to go there at once is not copied again.
    assert run(filled, "copy", remotes="disk:other", **told).last == {"event": "done", "copied": [], "removed": []}


def test_a_new_volume_leaves_anothers_folder_alone(filled: Place, tmp_path: Path) -> None:
    told = {"RCLONE_CONFIG_DISK_TYPE": "alias", "RCLONE_CONFIG_DISK_REMOTE": str(tmp_path)}
    made = filled.take()
    assert run(filled, "copy", remotes="disk:other", **told).code == 0
    for name in ("data2", "backups2"):
        (tmp_path / name).mkdir()
    new = Place(tmp_path / "data2", tmp_path / "backups2")
    make_database(new.data / "links.db")
    empty = new.take()
    refused = run(new, "copy", remotes="disk:other", **told)
    assert refused.code == 1
    assert "holds snapshots of another volume" in refused.last["message"]
    # With one of them here, it is the same volume's.
    assert run(new, "fetch", made.snapshot, "--from", "disk:other", **told).code == 0
    assert run(new, "copy", remotes="disk:other", **told).last["copied"][0]["snapshot"] == empty.snapshot


def entry(number: int, error: str = "") -> Entry:
    name = f"202611{number:02d}T100000-abcdef0"
    when = created_of(name)
    assert when is not None
    return Entry(snapshot=name, created=when, error=error)


def test_a_broken_copy_is_copied_again(filled: Place) -> None:
    made = filled.take()
    local = store.entries(filled.backups)
    config = offsite.Config((), (), Retain(last=3))
    assert offsite.missing(local, [], config) == (made.snapshot,)
    assert offsite.missing(local, local, config) == ()
    assert offsite.missing(local, [Entry(snapshot=made.snapshot, error="its archive is missing")], config) == (
        made.snapshot,
    )
    assert not offsite.foreign(local, [])
    assert offsite.foreign(local, [entry(1)])
    assert not offsite.foreign(local, [entry(1), *local])


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"snapshot": 1}', b'{"encrypted": 1}'])
def test_a_sidecar_there_may_be_anything(text: bytes) -> None:
    found = offsite.read_copy("20261101T100000-abcdef0.json", text, {})
    assert "cannot be read" in found.entry.error
    assert found.to_dict()["error"]


def test_a_sidecar_whose_archive_is_short(filled: Place) -> None:
    made: Snapshot = filled.take()
    text = filled.sidecar(made).read_bytes()
    assert offsite.read_copy(f"{made.snapshot}.json", text, {}).entry.error == "its archive is missing"
    short = offsite.read_copy(f"{made.snapshot}.json", text, {f"{made.snapshot}.tar.zst": 1})
    assert short.entry.error == "its archive has 1 bytes"


def test_no_secret_is_said() -> None:
    environ = {"RCLONE_CONFIG_X_SECRET_ACCESS_KEY": "hunter22", "RCLONE_CONFIG_X_ENDPOINT": "http://x"}
    assert scrubbed("http://x?hunter22", environ) == "http://x?********"
    told = translate("x:y", "dial tcp hunter22: i/o timeout", environ)
    assert "hunter22" not in told.message
    assert "cannot be reached" in told.message
    assert "rclone's own" in translate("x:y", "something new", {}).hint
