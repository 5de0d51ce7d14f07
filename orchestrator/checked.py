"""Checks a table of a settings file against its type, and says in words what is allowed.

msgspec checks each value; the tables are walked here, since msgspec stops at the first error and a person wants to read
all of them.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from orchestrator.schema import Duration, duration, size


class Key(typing.NamedTuple):
    """One key of a table: its type, whether it must be there, its default, and what it is."""

    type: Any
    required: bool
    default: Any
    description: str


def keys(model: type[Struct]) -> dict[str, Key]:
    """The keys of a table, by name and in order."""
    hints = typing.get_type_hints(model, include_extras=True)
    found = {}
    for field in msgspec.structs.fields(model):
        metas = getattr(hints[field.name], "__metadata__", ())
        text = next((m.description for m in metas if isinstance(m, Meta) and m.description), "")
        default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        found[field.name] = Key(hints[field.name], field.required, default, text)
    return found


T = TypeVar("T", bound=Struct)
#: Told of each error: the key's path, the value (None if there is none to show), and what is allowed.
Problem = Callable[[list[str], object, str], None]


def checked(data: object, model: type[T], problem: Problem, path: tuple[str, ...] = ()) -> T | None:
    """The table as its type, or None after every error in it has been told."""
    if not isinstance(data, Mapping):
        problem([*path], data, "must be a table")
        return None
    known, values, good = keys(model), {}, True
    for name in data.keys() - known.keys():
        problem([*path, name], data[name], "there is no such key")
        good = False
    for name, key in known.items():
        here = (*path, name)
        if name not in data:
            if key.required:
                problem([*here], None, "is missing")
                good = False
            continue
        value = _value(data[name], key.type, problem, here)
        good = good and value is not None
        values[name] = value
    if not good:
        return None
    try:
        return model(**values)
    except ValueError as error:
        problem([*path], None, str(error))
        return None


def _value(value: object, kind: Any, problem: Problem, path: tuple[str, ...]) -> Any:
    """One value as its type; None after its error has been told (no value of a settings file is None)."""
    plain = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    if isinstance(plain, type) and issubclass(plain, Struct):
        return checked(value, plain, problem, path)
    if typing.get_origin(plain) is dict and isinstance(value, Mapping):
        key_kind, value_kind = typing.get_args(plain)
        pairs = [
            (_value(name, key_kind, problem, (*path, name)), _value(inner, value_kind, problem, (*path, name)))
            for name, inner in value.items()
        ]
        return None if any(None in pair for pair in pairs) else dict(pairs)
    try:
        return msgspec.convert(value, kind, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        problem([*path], value, allowed(path, str(error)))
        return None


def _decoded(kind: type, value: object) -> object:
    return duration(value) if kind is Duration else size(value)


_ALLOWED = (
    ("Expected `int", "must be a whole number"),
    ("Expected `float", "must be a number"),
    ("Expected `bool", "must be true or false"),
    ("Expected `array", "must be a list"),
    ("Expected `object", "must be a table"),
    ("Invalid enum value", 'must be "no", "always", "on-failure" or "unless-stopped"'),
    ("matching regex", "has characters that are not allowed there"),
    ("Expected `str", "must be text in quotes"),
)
_BY_KEY = {
    "COMPOSE_PROJECT_NAME": "must be 1 to 30 of a-z, 0-9, - and _, beginning with a letter or digit",
    "project": "must be 1 to 30 of a-z, 0-9, - and _, beginning with a letter or digit",
    "HTTP_BIND": "must be an IP address, such as 127.0.0.1 or 0.0.0.0",
    "HTTP_PORT": "must be a port, 1 to 65535",
    "PYTHON_IMAGE": "must be an image's name, such as python:3.13-alpine",
    "NGINX_IMAGE": "must be an image's name, such as nginx:alpine",
    "BUILD_MIN_FREE": 'must be a size such as "1g"',
    "BACKUP_WEBHOOK_URL": "must be a http or https address, without a user in it",
    "user": 'must be a numeric user and group that is not root, such as "10001:10001"',
    "schedule": 'must be a cron expression of five fields, such as "0 3 * * *"',
    "max_age": 'must be an age such as "26h"',
    "to": 'must be a URL that Litestream knows, such as "s3://bucket/path"',
    "retention": 'must be a time such as "168h"',
    "precise": 'must be a time such as "24h"',
    "path": "must be a path that begins with /",
    "before": 'must be a list of commands, each a list of words: [["./check", "--all"]]',
    "after": 'must be a list of commands, each a list of words: [["./check", "--all"]]',
    "remotes": 'must be a list of rclone paths, such as ["offsite:bucket/golinks"]',
    "encrypt_to": 'must be a list of public age keys: ["age1..."]',
    "volumes": 'must be an absolute path, such as "/data" or "/data:ro"',
}


def allowed(path: tuple[str, ...], message: str) -> str:
    """What would be right, in words; `message` is msgspec's."""
    for key in (path[-1], *path[-2:-1]):
        if key in _BY_KEY:
            quotes = "must be text in quotes: " if "Expected `str" in message and ", got" in message else ""
            return quotes + _BY_KEY[key].removeprefix("must be " if quotes else "")
    bounds = re.search(r"Expected `[\w |]+` (>=|<=|>|<) ([\d.]+)", message)
    if bounds:
        words = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
        return f"must be {words[bounds[1]]} {bounds[2].removesuffix('.0')}"
    found = next((text for sign, text in _ALLOWED if sign in message), None)
    return found or message.partition(" - at ")[0]
