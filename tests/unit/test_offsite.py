"""Which remote, file and key are meant, before anything is done."""

from __future__ import annotations

from pathlib import Path

import pyrage
import pytest

from orchestrator import offsite
from orchestrator.errors import UsageError
from orchestrator.model import masked

REMOTES = ("offsite:bucket/golinks", "shed:a", "shed:b")


def test_which_remote() -> None:
    assert offsite.remote_of(REMOTES, "offsite") == "offsite:bucket/golinks"
    assert offsite.remote_of(REMOTES, "shed:b") == "shed:b"
    for remotes, wanted, told in (
        (REMOTES, "shed", "more than one"),
        (REMOTES, "nosuch", "is no remote"),
        ((), "offsite", "there are no remotes"),
    ):
        with pytest.raises(UsageError, match=told):
            offsite.remote_of(remotes, wanted)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("latest", False),
        ("20261124T101502-3f9c2ab", False),
        ("x.tar.zst", True),
        ("x.tar.zst.age", True),
        ("./x", True),
    ],
)
def test_what_is_a_file(name: str, is_one: bool) -> None:
    assert offsite.is_file(name) is is_one


def test_the_keys_of_a_file(tmp_path: Path) -> None:
    keys = tuple(str(pyrage.x25519.Identity.generate()) for _ in range(2))
    file = tmp_path / "key"
    file.write_text(f"# created: today\n# public key: age1...\n{keys[0]}\n\n{keys[1]}\n")
    assert offsite.secret_keys(file) == keys
    assert offsite.secret_keys(None) == ()


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe", b"AGE-SECRET-KEY-1QQQQQQQQ\n"])
def test_what_is_no_key_is_said_and_not_shown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        offsite.secret_keys(file)
    assert str(file) in caught.value.message
    assert "QQQQ" not in caught.value.message + caught.value.hint
    with pytest.raises(UsageError, match="No such file"):
        offsite.secret_keys(tmp_path / "nosuch")


def test_rclones_variables_are_masked() -> None:
    for name in (
        "RCLONE_CONFIG_SHED_PASS",
        "RCLONE_CONFIG_X_ENDPOINT",
        "services.backup.environment.RCLONE_CONFIG_X_USER",
    ):
        assert masked(name, "value") == "********"
