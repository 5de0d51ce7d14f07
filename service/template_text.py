"""From the characters of a template to texts and actions, and from an action to its words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


class TemplateError(Exception):
    """The template can't be read; the message says what is wrong, `at` (from 0) in the source."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(f"{message} (at character {at + 1})")
        self.at = at


@dataclass(frozen=True)
class Text:
    """As it stands."""

    text: str
    at: int


@dataclass(frozen=True)
class Token:
    """`kind` is a group of TOKEN; `spaced`: a space stands before it."""

    kind: str
    text: str
    at: int
    spaced: bool


@dataclass(frozen=True)
class Action:
    """What stands between {{ and }}."""

    tokens: list[Token]
    at: int

    def keyword(self) -> str:
        """Its first word, if it begins with one."""
        return self.tokens[0].text if self.tokens and self.tokens[0].kind == "word" else ""


_TOKEN = re.compile(
    r"(?P<space>[ ]+)|(?P<string>\"(?:[^\"\\]|\\.)*\")|(?P<raw>`[^`]*`)|(?P<number>[+-]?\d+)(?![\w.])"
    r"|(?P<field>\.[A-Za-z_]\w*)|(?P<dot>\.)|(?P<root>\$(?!\w))|(?P<word>[A-Za-z_]\w*)|(?P<mark>[()|])"
)
_OPENING = re.compile(r"\{\{(-(?= ))?")
_CLOSING = re.compile(r"(?:(?<= )-)?\}\}")
_COMMENT = re.compile(r" */\*.*?\*/ *?(?=(?: -)?\}\})( ?)", re.DOTALL)


def parts(source: str) -> Iterator[Text | Action]:
    """The template in order, comments left out and spaces trimmed. Raises TemplateError."""
    place, trim = 0, False
    while True:
        opening = _OPENING.search(source, place)
        text = source[place : opening.start() if opening else len(source)]
        if trim:
            text = text.lstrip(" ")
        if opening and opening[1]:
            text = text.rstrip(" ")
        if text:
            yield Text(text, place)
        if opening is None:
            return
        comment = _COMMENT.match(source, opening.end())
        tokens: list[Token] = []
        place = comment.end() if comment else opening.end()
        closing = None
        while closing is None:
            closing = _CLOSING.match(source, place)
            if closing is None:
                token = _token(source, place, opening.start())
                if token.kind != "space":
                    tokens.append(token)
                place += len(token.text)
        place, trim = closing.end(), closing[0][0] == "-"
        if not comment or tokens:
            yield Action(tokens, opening.start())


def _token(source: str, place: int, opened: int) -> Token:
    found = _TOKEN.match(source, place)
    if found is None:
        if place >= len(source):
            raise TemplateError(opened, "the template's {{ is never closed by }}")
        if source[place] in '"`':
            raise TemplateError(place, "a text in quotes is never closed")
        if source[place] == "$" or source.startswith((":=", "="), place):
            raise TemplateError(place, "variables can't be used here")
        raise TemplateError(place, f"{source[place]!r} means nothing here")
    return Token(str(found.lastgroup), found[0], place, place > 0 and source[place - 1] == " ")


_ESCAPE = re.compile(r"\\(?:([abfnrtv\\\"])|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|(.?))", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


def string(token: Token) -> str:
    """What a text in quotes means. Raises TemplateError."""
    if token.kind == "raw":
        return token.text[1:-1]

    def one(found: re.Match[str]) -> str:
        if found[1]:
            return _ESCAPED[found[1]]
        if found[2] or found[3]:
            return chr(int(found[2] or found[3], 16))
        at = token.at + 1 + found.start()
        raise TemplateError(at, f"{found[0]} is no escape: write \\\\ for a backslash, or `...` instead of quotes")

    return _ESCAPE.sub(one, token.text[1:-1])
