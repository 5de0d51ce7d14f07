"""Files in the age format (age-encryption.org/v1) for X25519 keys, written and read as a stream of 64 KiB pieces.

The primitives are those of the library `cryptography`; here is only how age puts them together. `age` and `rage` read
what is written here and the other way round.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import BinaryIO

from orchestrator.agent.bech32 import decode
from orchestrator.agent.errors import AgentError

PIECE = 64 * 1024
TAG = 16
MAX_LINES = 200
_VERSION = b"age-encryption.org/v1"
_LABEL = b"age-encryption.org/v1/X25519"


class _Damaged(Exception):
    """The file is no age file, or not the one that was written."""


def recipient(text: str) -> bytes:
    """The 32 bytes of a public key `age1...`; ValueError for anything else."""
    return _of_32(decode(text, "age"))


def identity(text: str) -> bytes:
    """The 32 bytes of a secret key `AGE-SECRET-KEY-1...`; ValueError for anything else."""
    return _of_32(decode(text, "age-secret-key-"))


def _of_32(key: bytes) -> bytes:
    if len(key) != 32:
        raise ValueError("it has the wrong length")
    return key


def encrypted_size(plain: int, recipients: int) -> int:
    """Bytes of the encrypted file of `plain` bytes."""
    pieces = max(1, -(-plain // PIECE))
    # Version, a stanza for each (its line of 53 bytes, 44 of the wrapped key), the line of the MAC; then the nonce.
    return 22 + recipients * (54 + 44) + 48 + 16 + plain + pieces * TAG


def encrypt(source: BinaryIO, target: BinaryIO, recipients: Sequence[bytes], advance: Callable[[int], None]) -> None:
    """Encrypts all of `source` so that each of the recipients can read it."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    file_key = os.urandom(16)
    header = _VERSION + b"\n" + b"".join(_wrap(file_key, one) for one in recipients) + b"---"
    mac = hmac.digest(_hkdf(file_key, b"", b"header"), header, sha256)
    nonce = os.urandom(16)
    target.write(header + b" " + _text(mac) + b"\n" + nonce)
    cipher = ChaCha20Poly1305(_hkdf(file_key, nonce, b"payload"))
    counter, piece = 0, _exactly(source, PIECE)
    while True:
        following = _exactly(source, PIECE)
        target.write(cipher.encrypt(_nonce(counter, last=not following), piece, None))
        advance(len(piece))
        if not following:
            return
        counter, piece = counter + 1, following


def decrypt(source: BinaryIO, target: BinaryIO, identities: Sequence[bytes], advance: Callable[[int], None]) -> None:
    """Decrypts all of `source`; AgentError (code usage for a key that does not fit, damaged for a changed file). What
    was written is not to be trusted until this returns."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    try:
        cipher = ChaCha20Poly1305(_payload_key(source, identities))
        counter, piece = 0, _exactly(source, PIECE + TAG)
        while True:
            following = _exactly(source, PIECE + TAG)
            plain = cipher.decrypt(_nonce(counter, last=not following), piece, None)
            if counter and not plain:
                raise _Damaged("it ends with an empty piece")
            target.write(plain)
            advance(len(piece))
            if not following:
                return
            counter, piece = counter + 1, following
    except (_Damaged, InvalidTag) as error:
        why = str(error) or "a piece was changed, or the end is missing"
        raise AgentError(
            f"The encrypted file is not good: {why}.", hint="Use another snapshot.", code="damaged"
        ) from error


def _wrap(file_key: bytes, public: bytes) -> bytes:
    """A stanza: the file's key for one recipient."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    body = ChaCha20Poly1305(_hkdf(shared, share + public, _LABEL)).encrypt(bytes(12), file_key, None)
    return b"-> X25519 " + _text(share) + b"\n" + _text(body) + b"\n"


def _payload_key(source: BinaryIO, identities: Sequence[bytes]) -> bytes:
    lines = [_line(source)]
    if lines[0] != _VERSION:
        raise _Damaged("it is no age file")
    stanzas: list[tuple[bytes, bytes]] = []
    while not (line := _line(source)).startswith(b"--- "):
        lines.append(line)
        if len(lines) > MAX_LINES:
            raise _Damaged("its header does not end")
        words = line.split(b" ")
        if words[:2] == [b"->", b"X25519"] and len(words) == 3:
            lines.append(_line(source))
            stanzas.append((_bytes(words[2]), _bytes(lines[-1])))
    file_key = _unwrap(stanzas, identities)
    header = b"\n".join(lines) + b"\n---"
    if not hmac.compare_digest(hmac.digest(_hkdf(file_key, b"", b"header"), header, sha256), _bytes(line[4:])):
        raise _Damaged("its header was changed")
    return _hkdf(file_key, _exactly(source, 16), b"payload")


def _unwrap(stanzas: Sequence[tuple[bytes, bytes]], identities: Sequence[bytes]) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    for secret in identities:
        key = X25519PrivateKey.from_private_bytes(secret)
        public = key.public_key().public_bytes_raw()
        for share, body in stanzas:
            try:
                shared = key.exchange(X25519PublicKey.from_public_bytes(share))
                found = ChaCha20Poly1305(_hkdf(shared, share + public, _LABEL)).decrypt(bytes(12), body, None)
            except (InvalidTag, ValueError):
                continue  # somebody else's
            if len(found) == 16:
                return found
    raise AgentError(
        "The key does not open this snapshot: it was encrypted for another one.",
        hint="Give the file of the key that belongs to one of `encrypt_to` at the time it was taken.",
        code="usage",
    )


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA-256 (RFC 5869)."""
    return hmac.digest(hmac.digest(salt or bytes(32), key, sha256), info + b"\1", sha256)


def _nonce(counter: int, *, last: bool) -> bytes:
    return counter.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _text(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _bytes(text: bytes) -> bytes:
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        data = b""
    # Spare bits of the last letter would let two texts mean the same.
    if _text(data) != text:
        raise _Damaged("its header was changed")
    return data


def _line(source: BinaryIO) -> bytes:
    line = source.readline(4096)
    if not line.endswith(b"\n"):
        raise _Damaged("it is no age file, or its beginning alone")
    return line[:-1]


def _exactly(source: BinaryIO, count: int) -> bytes:
    """`count` bytes, fewer only at the end."""
    data = source.read(count)
    while data and len(data) < count and (more := source.read(count - len(data))):
        data += more
    return data
