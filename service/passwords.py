"""Passwords: what one must be, how it is kept, and whether one is right."""

from __future__ import annotations

import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.security import check_password_hash, generate_password_hash

SHORTEST, LONGEST = 10, 200  # characters
# 16 MB for a tenth to a quarter of a second. More rounds instead of more memory cost a guesser as much as the usual
# 128 MB do, and fit beside several workers in a container of 256 MB.
METHOD = "scrypt:16384:8:5"
# Compared with where there is no such account: takes as long as for one, and never is right.
NOBODY = f"{METHOD}$nobodynobodynobo${'0' * 128}"
PATIENCE = 5.0  # seconds
# One at a time in each worker, and one who waits: neither memory nor threads run out because many try to sign in.
_gate = threading.BoundedSemaphore(1)
_places = threading.BoundedSemaphore(2)


class BusyError(Exception):
    """Others are signing in at the moment."""


def problem(password: str) -> str | None:
    """Why this can't be a password, as a sentence, or None."""
    if len(password) < SHORTEST:
        return f"A password needs at least {SHORTEST} characters; several words are easy to remember."
    if len(password) > LONGEST:
        return f"A password has at most {LONGEST} characters."
    return None


def stored(password: str) -> str:
    """What is kept of it. Raises BusyError."""
    with _one_at_a_time():
        return generate_password_hash(_normal(password), METHOD)


def is_right(password: str, kept: str | None) -> bool:
    """True when `kept` was made of this password; takes as long where `kept` is None. Raises BusyError."""
    if problem(password):
        # Nobody has such a one, so there is nothing to find out.
        return False
    with _one_at_a_time():
        right = check_password_hash(kept or NOBODY, _normal(password))
    return right and kept is not None


def made_up() -> str:
    """A new one that nobody guesses, for whom it is told to."""
    return secrets.token_urlsafe(15)


def _normal(password: str) -> str:
    # The same keys give composed or decomposed letters, depending on the machine.
    return unicodedata.normalize("NFC", password).encode("utf-8", "replace").decode()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    if not _places.acquire(blocking=False):
        raise BusyError
    try:
        if not _gate.acquire(timeout=PATIENCE):
            raise BusyError
        try:
            yield
        finally:
            _gate.release()
    finally:
        _places.release()
