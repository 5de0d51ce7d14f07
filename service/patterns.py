"""Go's regular expressions, which have no look-around and no references back, within bounds of size and time. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

import regex

MAX_PATTERN = 200  # characters
MAX_REPEAT = 1000  # in all, of counts inside each other: Go's own bound
MATCH_SECONDS = 0.02  # all the time that a match has

_ESCAPES = frozenset("dDsSwWbBAztnrfva")
_GROUP = re.compile(r"\(\?(?::|P?<[A-Za-z_]\w*>|(?=[ims-])[ims]*(?:-[ims]+)?[:)])")
_COUNT = re.compile(r"\{(\d{1,4})(?:,(\d{0,4}))?\}")
_ITEM = re.compile(r"\\(x[0-9A-Fa-f]{2}|p[A-Z]|[pP]\{\^?\w+\}|.)|\(\?|\{|\[\^?\]?|.", re.DOTALL)


class ValueProblem(Exception):
    """A value can't be used so; the message says why, in words that go on from "the target ..."."""


class _Translation:
    """Go's pattern as `regex` reads it. Raises ValueProblem for what Go does not have, or not so."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.place, self.in_class = pattern, 0, False
        # How often the last item is repeated inside, and the same of what is in each open group.
        self.last, self.groups = 1, [1]

    def whole(self) -> str:
        """All of it."""
        done = []
        while found := _ITEM.match(self.pattern, self.place):
            taken, written = self._item(found[0])
            self.place += len(taken)
            done.append(written)
        return "".join(done)

    def _item(self, text: str) -> tuple[str, str]:
        """(what is read, what is written for it)"""
        if text[0] == "\\":
            self.last = 1
            return text, self._escape(text)
        if self.in_class:
            self.in_class = text[0] != "]"
            return text[0], text[0]
        if text == "{":
            return self._count()
        self.last = 1
        if text[0] == "[":
            self.in_class = True
        elif text == "(?":
            group = _GROUP.match(self.pattern, self.place)
            if group is None:
                raise ValueProblem("has a regular expression with (? ... that is not supported (no look-around)")
            text = group[0]
        if text[0] == "(" and text[-1] != ")":
            self.groups.append(1)
        elif text == ")" and len(self.groups) > 1:
            self.last = self.groups.pop()
            self.groups[-1] = max(self.groups[-1], self.last)
        return text, text

    def _escape(self, text: str) -> str:
        name = text[1:]
        if not name:
            raise ValueProblem("has a regular expression that ends with a backslash")
        if len(name) == 1 and name.isalnum() and name not in _ESCAPES:
            raise ValueProblem(f"has a regular expression with {text}, which is not supported")
        return r"\Z" if name == "z" else text

    def _count(self) -> tuple[str, str]:
        count = _COUNT.match(self.pattern, self.place)
        if count is None:
            return "{", r"\{"
        self.last *= max(int(number or 1) for number in count.groups())
        self.groups[-1] = max(self.groups[-1], self.last)
        if self.last > MAX_REPEAT:
            raise ValueProblem(f"has a regular expression that repeats more than {MAX_REPEAT} times")
        return count[0], count[0]


@lru_cache(maxsize=128)
def compiled(pattern: str) -> regex.Pattern[str]:
    """A regular expression of Go's. Raises ValueProblem when it is not one."""
    if len(pattern) > MAX_PATTERN:
        raise ValueProblem(f"has a regular expression of more than {MAX_PATTERN} characters")
    translated = _Translation(pattern).whole()
    # Go's \d, \w and \s are those of ASCII.
    flags = regex.VERSION0 | (regex.ASCII if r"\p" not in translated.lower() else 0)
    try:
        return regex.compile(translated, flags)
    except (regex.error, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueProblem(f"has a regular expression that can't be read: {error}") from None


def match(pattern: str, text: str) -> bool:
    """True when the pattern is found somewhere in `text`. Raises ValueProblem, also when that takes too long."""
    try:
        return compiled(pattern).search(text, timeout=MATCH_SECONDS) is not None
    except (TimeoutError, MemoryError):
        raise ValueProblem("has a regular expression that takes too long for this path") from None
