"""Small tars in memory."""

from __future__ import annotations

import io
import tarfile

import pytest

from orchestrator.tars import members, tar_of


def entries(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


def test_files_and_the_folders_they_are_in() -> None:
    found = entries(tar_of({"a/b/c": b"1", "a/d": b"22", "e": b""}, "10002:10003"))
    assert list(found) == ["a", "a/b", "a/b/c", "a/d", "e"], "folders first"
    assert {(member.uid, member.gid) for member in found.values()} == {(10002, 10003)}
    assert {name: member.mode for name, member in found.items() if member.isdir()} == {"a": 0o755, "a/b": 0o755}
    assert {name: (m.mode, m.size) for name, m in found.items() if m.isfile()} == {
        "a/b/c": (0o644, 1),
        "a/d": (0o644, 2),
        "e": (0o644, 0),
    }


@pytest.mark.parametrize(("user", "owner"), [("0", (0, 0)), ("7:", (7, 7)), ("7:8", (7, 8))])
def test_owner(user: str, owner: tuple[int, int]) -> None:
    (member,) = entries(tar_of({"a": b""}, user)).values()
    assert (member.uid, member.gid) == owner


def test_members_are_named_below_the_path_that_was_asked_for() -> None:
    assert dict(members(tar_of({"upstream/a": b"1", "upstream/b/c": b"2"}, "0"))) == {"a": b"1", "b/c": b"2"}
    assert dict(members(tar_of({"upstream.conf": b"1"}, "0"))) == {"": b"1"}


def test_links_and_devices_are_no_files() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("x/y")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert dict(members(buffer.getvalue())) == {}
