"""Targets that are templates, such as `https://example.com/{{if .Path}}search?q={{QueryEscape .Path}}{{end}}`.

Go's text/template, the part of it that golink's links use: see `service.golang` for the functions and fields. Bounded:
no loops, `template.MAX_PARTS` parts, MAX_OUTPUT characters for each value and in all, and a regular expression has
its own time. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from werkzeug.urls import iri_to_uri

from service.golang import NoUserError, Page, now, shown, true
from service.patterns import ValueProblem
from service.template import Branch, Call, Dot, Expression, Node, Output, Value, parse
from service.template_text import TemplateError, Text

MAX_OUTPUT = 8192  # characters
WEB = ("http", "https")
# Left as they come when quoting; "%" keeps what is quoted already.
URL_SAFE = "%/:;=&?@!$'()*+,~-._[]"

# Once this is there, the host is; before, what comes from the request must not make it another one.
_HOST_ENDED = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*[/?#]|(?!https?:)[a-z][a-z0-9+.-]*:(?!/)", re.IGNORECASE)
_IN_HOST = re.compile(r"[\w.-]*")
_HOST = re.compile(r"(?:[\w.~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

_tree = lru_cache(maxsize=128)(parse)


class TargetError(Exception):
    """The target leads nowhere for this request; the message says why in a sentence."""


class SignInNeededError(TargetError):
    """The target depends on who follows the link, and nobody is signed in."""


def is_template(url: str) -> bool:
    """True when the target is more than an address."""
    return "{{" in url


def check(url: str, schemes: Collection[str] = WEB) -> str | None:
    """What is wrong with a target that is a template, for the person who typed it; None when it can be used."""
    # Format characters and the like hide what an address is; spaces belong inside {{ }} alone.
    if any(unicodedata.category(character)[0] in "CZ" and character != " " for character in url):
        return "must not hold control characters, nor spaces of another kind"
    try:
        tree = parse(url)
        for text in _texts(tree):
            if found := re.search(r"[ \\]", text.text):
                raise TemplateError(text.at + found.start(), "outside of {{ }} there must be no space or backslash")
    except TemplateError as error:
        return f"has a template that can't be used: {error}"
    problems = []
    # Which paths it is meant for, only its author knows: one that works is enough.
    for path in ("", "x", "1", "x/1"):
        try:
            expand(url, path, "", "somebody@example.com", now(), schemes)
        except TargetError as error:
            problems.append(str(error))
        else:
            return None
    return f"has a template that leads nowhere: {problems[0]}"


def expand(url: str, path: str, query: str, user: str, at: datetime, schemes: Collection[str] = WEB) -> str:
    """The address that a template makes of a request: ASCII, safe in a header, with an allowed scheme and a host.

    `path` and `query` are quoted, as `links.take_apart` gives them; the query is added to the template's own. `user` is
    "" where nobody is signed in; `at` is in UTC. Raises TargetError.
    """
    page = Page(unquote(path, errors="replace"), at, user)
    try:
        text = _run(url, page)
    except NoUserError as problem:
        raise SignInNeededError(f"The target of this link {problem}.") from None
    except ValueProblem as problem:
        raise TargetError(f"The target of this link {problem}.") from None
    except TemplateError as error:
        raise TargetError(f"The target of this link can't be read: {error}.") from None
    return _address(text, query, schemes)


def uses_user(url: str) -> bool:
    """True when a template may ask who follows the link."""
    return ".User" in url


def _texts(nodes: Iterable[Node]) -> Iterable[Text]:
    for node in nodes:
        if isinstance(node, Text):
            yield node
        elif isinstance(node, Branch):
            yield from _texts((*node.then, *node.otherwise))


class _Written:
    """The output so far."""

    def __init__(self) -> None:
        self.text = ""

    def add(self, text: str, *, own: bool) -> None:
        """`own`: it stands so in the template."""
        if not own and not _HOST_ENDED.match(self.text) and not _IN_HOST.fullmatch(text):
            raise ValueProblem("must not have such a host")
        self.text = _short(self.text + text)


def _short(text: str) -> str:
    if len(text) > MAX_OUTPUT:
        raise ValueProblem(f"becomes longer than {MAX_OUTPUT} characters")
    return text


def _run(url: str, page: Page) -> str:
    written = _Written()
    _write(_tree(url), page, page, written)
    return written.text


def _write(nodes: Iterable[Node], dot: Any, page: Page, written: _Written) -> None:
    for node in nodes:
        if isinstance(node, Text):
            written.add(node.text, own=True)
        elif isinstance(node, Output):
            value = _value(node.value, dot, page)
            if isinstance(value, Page):
                raise ValueProblem("prints the whole page where one value of it is meant, such as {{.Path}}")
            written.add(shown(value), own=isinstance(node.value, Value))
        else:
            value = _value(node.value, dot, page)
            if true(value):
                _write(node.then, value if node.rebinds else dot, page, written)
            else:
                _write(node.otherwise, dot, page, written)


def _value(expression: Expression, dot: Any, page: Page) -> Any:
    if isinstance(expression, Value):
        return expression.value
    if isinstance(expression, Dot):
        return page if expression.root else dot
    return _called(expression, dot, page)


def _called(call: Call, dot: Any, page: Page) -> Any:
    if call.name in ("and", "or"):
        value: Any = None
        for argument in call.arguments:
            value = _value(argument, dot, page)
            if true(value) == (call.name == "or"):
                break
        return value
    values = [_value(argument, dot, page) for argument in call.arguments]
    for param, value in zip(call.function.params, values[-len(call.function.params) :], strict=False):
        if param is str and not isinstance(value, str):
            raise ValueProblem(f"gives {call.name} something else than text")
    result = call.function.call(*values)
    return _short(result) if isinstance(result, str) else result


def _address(text: str, query: str, schemes: Collection[str]) -> str:
    """What was written as an address; raises TargetError when it is none, or not one to send people to."""
    if any(unicodedata.category(character)[0] == "C" for character in text):
        raise TargetError("The target of this link holds control characters for this path.")
    text = _STRAY_PERCENT.sub("%25", text.strip(" "))
    try:
        text = quote(text if text.isascii() else iri_to_uri(text), safe=URL_SAFE + "#")
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise TargetError("The target of this link is no valid address for this path.") from None
    if parts.scheme not in schemes:
        raise TargetError(f"The target of this link must begin with {' or '.join(f'{name}:' for name in schemes)}.")
    if (parts.scheme in WEB or parts.netloc) and not _HOST.fullmatch(parts.netloc):
        raise TargetError("The target of this link has no valid host for this path.")
    if not query:
        return text
    joined = "&".join(part for part in (parts.query, query) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, joined, parts.fragment))
