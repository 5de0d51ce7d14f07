"""Decisions without a disk: names, manifests, times, health, how a database is read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.agent import source
from orchestrator.agent.archive import sum_line
from orchestrator.agent.errors import AgentError
from orchestrator.agent.freshness import judge, parse_age
from orchestrator.agent.manifest import (
    Database,
    Files,
    Manifest,
    ManifestError,
    Owner,
    Snapshot,
    created_of,
    is_snapshot_id,
    snapshot_id,
)
from orchestrator.agent.manifest_parse import parse_snapshot
from orchestrator.agent.retention import Retain
from orchestrator.agent.schedule_config import Config, due_time, next_time, retry_delay
from orchestrator.agent.source import choose_access, filesystem_type, refused_filesystem

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SHA = "3f9c2ab" + "0" * 57
DATABASE = Database(
    path="a/links.db",
    bytes=4096,
    sha256=SHA,
    integrity="ok",
    foreign_key_violations=None,
    user_version=3,
    application_id=-5,
    journal_mode="wal",
    page_size=4096,
    tables={"t": 1},
    mode="0640",
    uid=10001,
    gid=10001,
    read="live",
)
SNAPSHOT = Snapshot(
    snapshot="20261124T120000-3f9c2ab",
    bytes=10,
    sha256=SHA,
    manifest=Manifest(
        created="2026-11-24T12:00:00Z",
        release="r1",
        reason="manual",
        sqlite="3.54.1",
        root=Owner(mode="0750", uid=1, gid=2),
        databases=(DATABASE,),
        files=Files(count=0, bytes=0, sha256=SHA),
        warnings=("one",),
        seconds=1.5,
    ),
    verified="2026-11-24T13:00:00Z",
)


def test_an_id_is_the_time_and_the_sha256() -> None:
    assert snapshot_id(NOON, SHA) == "20261124T120000-3f9c2ab"
    assert created_of("20261124T120000-3f9c2ab") == NOON
    assert created_of("20261324T120000-3f9c2ab") is None
    assert not is_snapshot_id("../20261124T120000-3f9c2ab")
    assert not is_snapshot_id("20261124T120000-3f9c2ab\n")


def test_a_manifest_survives_json() -> None:
    assert parse_snapshot(SNAPSHOT.to_dict()) == SNAPSHOT


def test_a_manifest_from_before_it_named_the_engine_is_read() -> None:
    document = SNAPSHOT.to_dict()
    assert document.pop("engine") == ""
    assert parse_snapshot(document) == SNAPSHOT
    assert parse_snapshot(document | {"engine": "20.10.24"}).manifest.engine == "20.10.24"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 2}, "format"),
        ({"sha256": "x"}, "sha256"),
        ({"sha256": "1" * 64}, "does not belong"),
        ({"created": "2026-11-24T12:00:01Z"}, "does not belong"),
        ({"databases": []}, "databases"),
        ({"bytes": "10"}, "bytes"),
        ({"root": {"mode": "rw", "uid": 1, "gid": 1}}, "mode"),
        ({"databases": [{**DATABASE.__class__.__dict__}]}, "tables"),
    ],
)
def test_a_wrong_manifest_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ManifestError, match=told):
        parse_snapshot({**SNAPSHOT.to_dict(), **changes})


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a//b", "a\0b", "./a"])
def test_a_path_never_leaves_the_volume(path: str) -> None:
    manifest = replace(SNAPSHOT.manifest, databases=(replace(DATABASE, path=path),))
    with pytest.raises(ManifestError, match="path"):
        parse_snapshot(replace(SNAPSHOT, manifest=manifest).to_dict())


@pytest.mark.parametrize(
    ("wal_mode", "has_wal", "has_shm", "expected"),
    [
        (False, False, False, "live"),
        (False, True, True, "live"),
        (True, True, True, "live"),
        (True, False, False, "immutable"),
        (True, False, True, "immutable"),
        (True, True, False, "aside"),
    ],
)
def test_how_a_database_is_read(wal_mode: bool, has_wal: bool, has_shm: bool, expected: str) -> None:
    assert choose_access(wal_mode=wal_mode, has_wal=has_wal, has_shm=has_shm) == expected


MOUNTS = r"""21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 21 0:40 / /data rw - virtiofs share rw
41 21 0:41 / /mnt/with\040space rw - nfs4 server:/x rw
42 21 0:42 / /twice rw - nfs server:/x rw
43 21 0:43 / /twice rw - ext4 /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/data", "ext4"),
        ("/data", "virtiofs"),
        ("/data/x", "virtiofs"),
        ("/database", "ext4"),
        ("/mnt/with space/x", "nfs4"),
        ("/twice", "ext4"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert filesystem_type(MOUNTS, path) == kind


def test_which_file_systems_are_refused() -> None:
    assert all(map(refused_filesystem, ("nfs4", "cifs", "9p", "virtiofs", "fuse.sshfs", "fuse")))
    assert not any(
        map(refused_filesystem, ("ext4", "xfs", "btrfs", "overlay", "tmpfs", "fuseblk", "fuse.fuse-overlayfs"))
    )


def test_a_volume_on_one_of_them_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(source, "filesystem_type", lambda *_: "nfs4")
    with pytest.raises(AgentError, match="The data is on a nfs4 file system"):
        source.check_filesystem(tmp_path)


def test_the_next_time() -> None:
    assert next_time("0 3 * * *", NOON) == datetime(2026, 11, 25, 3, tzinfo=UTC)
    assert next_time("*/5 * * * *", NOON) == NOON + timedelta(minutes=5)


def test_when_a_snapshot_is_due() -> None:
    def due(last_good: datetime | None) -> datetime:
        return due_time("0 3 * * *", last_good=last_good, now=NOON)

    tomorrow = datetime(2026, 11, 25, 3, tzinfo=UTC)
    assert due(None) == NOON
    assert due(NOON - timedelta(hours=1)) == tomorrow
    assert due(NOON - timedelta(days=3)) < NOON  # slept through: at once
    assert due(NOON + timedelta(days=900)) == tomorrow  # the clock was wrong


def test_retries_slow_down() -> None:
    assert [retry_delay(n) for n in (1, 2, 3, 7, 500)] == [60, 120, 240, 3600, 3600]


def test_durations() -> None:
    assert parse_age("26h") == timedelta(hours=26)
    assert parse_age("90m") == timedelta(minutes=90)
    assert [parse_age(text) for text in ("", "26", "h", "-1h", "0h", "1.5h")] == [None] * 6


def health(last_good: int | None, waiting: int | None = None, error: str = "") -> tuple[bool, str]:
    def ago(minutes: int | None) -> datetime | None:
        return None if minutes is None else NOON - timedelta(minutes=minutes)

    return judge(
        now=NOON, last_good=ago(last_good), max_age=timedelta(hours=26), waiting_since=ago(waiting), error=error
    )


def test_health() -> None:
    assert health(30) == (True, "last good snapshot 30 min ago")
    assert health(26 * 60, error="disk full") == (True, "last good snapshot 26 h ago")
    assert health(27 * 60, error="disk full") == (False, "last good snapshot 27 h ago, allowed 26 h: disk full")
    assert health(None) == (True, "no database yet")
    assert health(None, waiting=10) == (True, "waiting for the first snapshot")
    assert health(None, waiting=11, error="torn") == (False, "no snapshot since 11 min: torn")
    assert health(-5)[0]  # a snapshot of the future


@pytest.mark.parametrize(
    "environment",
    [{"BACKUP_SCHEDULE": "every day"}, {"BACKUP_RETAIN": "last=0"}, {"BACKUP_RETAIN": "14"}, {"BACKUP_MAX_AGE": "1"}],
)
def test_a_wrong_setting_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(AgentError, match=next(iter(environment))) as caught:
        Config.of(environment)
    assert caught.value.code == "usage"


def test_settings_have_defaults() -> None:
    config = Config.of({"BACKUP_RETAIN": ""})
    assert (config.cron, config.retain, config.max_age) == ("0 3 * * *", Retain(7, 7, 4, 6), timedelta(hours=26))


def test_a_line_of_sums_is_as_sha256sum_writes_it() -> None:
    assert sum_line("ab", "data/x y") == b"ab  data/x y\n"
    assert sum_line("ab", "data/x\ny\\") == b"\\ab  data/x\\ny\\\\\n"
    assert sum_line("ab", "data/\udcff") == b"ab  data/\xff\n"
