"""Colour where a person sees it, and nowhere else; and text of others made safe to show."""

from __future__ import annotations

import os
import re
from typing import TextIO

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36", "dim": "2"}
#: Colours that tell one service from another: none of those that say good or bad.
SERVICES = ("cyan", "magenta", "blue")

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at this stream, on a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colour(stream: TextIO) -> bool:
    """Whether colour is wanted there (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def paint(text: str, colour: str, stream: TextIO) -> str:
    """`text` in a colour of ours where the stream has colour, else as it is."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour and text and has_colour(stream) else text


def harmless(text: str, *, keep_colour: bool = False) -> str:
    """Text as a terminal may be given it: what would command the terminal is shown as `\\x1b` and the like.

    `keep_colour` lets an app's own colours through, and ends them with the line.
    """
    if not _CONTROL.search(text):
        return text
    if not keep_colour:
        return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    parts = _COLOUR.split(text)
    shown = [part if _COLOUR.fullmatch(part) else harmless(part) for part in parts]
    return "".join(shown) + ("\x1b[0m" if len(parts) > 1 else "")
