"""The age format, held against another implementation of it, both ways."""

from __future__ import annotations

import io
import os

import pyrage
import pytest

from orchestrator.agent import age
from orchestrator.agent.bech32 import decode
from orchestrator.agent.errors import AgentError

KEY = pyrage.x25519.Identity.generate()
PUBLIC, SECRET = age.recipient(str(KEY.to_public())), age.identity(str(KEY))
SIZES = [0, 1, age.PIECE - 1, age.PIECE, age.PIECE + 1, 2 * age.PIECE, 300_001]


def encrypted(data: bytes, *recipients: bytes) -> bytes:
    out = io.BytesIO()
    age.encrypt(io.BytesIO(data), out, recipients or (PUBLIC,), lambda _: None)
    return out.getvalue()


def decrypted(data: bytes, *identities: bytes) -> bytes:
    out = io.BytesIO()
    age.decrypt(io.BytesIO(data), out, identities or (SECRET,), lambda _: None)
    return out.getvalue()


@pytest.mark.parametrize("size", SIZES)
def test_both_ways(size: int) -> None:
    data = os.urandom(size)
    ours = encrypted(data)
    assert pyrage.decrypt(ours, [KEY]) == data
    assert decrypted(pyrage.encrypt(data, [KEY.to_public()])) == data
    assert decrypted(ours) == data
    assert len(ours) == age.encrypted_size(size, 1)


def test_for_several() -> None:
    other = pyrage.x25519.Identity.generate()
    ours = encrypted(b"data", PUBLIC, age.recipient(str(other.to_public())))
    assert pyrage.decrypt(ours, [other]) == b"data"
    assert decrypted(pyrage.encrypt(b"data", [other.to_public(), KEY.to_public()])) == b"data"
    assert len(ours) == age.encrypted_size(4, 2)


def test_another_key_does_not_open_it() -> None:
    stranger = age.identity(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(AgentError, match="does not open") as caught:
        decrypted(encrypted(b"data"), stranger)
    assert caught.value.code == "usage"


def test_every_flipped_byte_of_a_small_file_is_found() -> None:
    good = encrypted(b"some data")
    for at in range(len(good)):
        bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        with pytest.raises(AgentError):
            decrypted(bad)


@pytest.mark.parametrize("cut", [0, 1, 30, 100, 150, 200, 200 + age.PIECE, -1, -17])
def test_a_cut_file_is_found(cut: int) -> None:
    good = encrypted(os.urandom(3 * age.PIECE))
    with pytest.raises(AgentError):
        decrypted(good[:cut])
    # At the end of a piece, where every piece that is left is whole.
    header = len(good) - 3 * (age.PIECE + age.TAG)
    with pytest.raises(AgentError, match="end is missing"):
        decrypted(good[: header + 2 * (age.PIECE + age.TAG)])


@pytest.mark.parametrize("number", range(6))
def test_what_is_no_key(number: int) -> None:
    wrong = ("", "age1", "age1xyz", str(KEY), str(KEY.to_public())[:-1] + "b", "Age1" + "q" * 58)[number]
    with pytest.raises(ValueError, match=r"."):
        age.recipient(wrong)


def test_keys_of_either_case() -> None:
    assert decode(str(KEY.to_public()), "age") == PUBLIC
    assert age.identity(str(KEY).lower()) == SECRET
