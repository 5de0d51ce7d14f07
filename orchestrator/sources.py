"""What settings are read from, before any of it is checked: `config/<environment>.toml` and `.env`; and where each of
them was said."""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from orchestrator.model import masked

ENVIRONMENTS = ("production", "development")


@dataclass(frozen=True)
class Variables:
    """The host's variables, and where each was said (for messages)."""

    values: Mapping[str, str]
    origin: Mapping[str, str] = field(default_factory=dict)


class Problems(list[str]):
    """Everything that is wrong, collected so that one run tells it all."""

    def add(self, where: str, key: str, value: object, allowed: str) -> None:
        shown = masked(key, value)
        self.append(f"{where}: {key} = {(value if shown == str(value) else shown)!r}: {allowed}")


def read_env_file(path: Path, problems: Problems) -> Variables:
    """The variables of `.env` (none if there is no such file); values are taken literally."""
    values: dict[str, str] = {}
    origin: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Variables({})
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path.name}: cannot be read: {error}")
        return Variables({})
    for binding in parse_stream(io.StringIO(text)):
        # The parser counts the blank lines before a binding to it.
        written = binding.original.string
        line = binding.original.line + written[: len(written) - len(written.lstrip())].count("\n")
        named = binding.key is None or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", binding.key)
        if binding.error or not named or (binding.key is not None and binding.value is None):
            # No more than the name: the rest may be a secret.
            name = re.match(r"\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\b", written)
            shown = f"{name[1]}: " if name else ""
            problems.append(f"{path.name}:{line}: {shown}a line must be NAME=value or a # comment")
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
            origin[binding.key] = f"{path.name}:{line}"
    return Variables(values, origin)


@dataclass(frozen=True)
class Toml:
    """A TOML file's values, over those of the file that it `extends`."""

    name: str
    own: Mapping[str, Any]
    base: Toml | None = None

    def merged(self) -> dict[str, Any]:
        return _over(self.base.merged() if self.base else {}, self.own)

    def where(self, key: list[str]) -> str:
        """The file that says a key: this one, unless only the one below does."""
        value: Any = self.own
        for part in key:
            if not isinstance(value, Mapping) or part not in value:
                return self.base.where(key) if self.base else self.name
            value = value[part]
        return self.name


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`, table by table; a list or value replaces the whole one below."""
    merged = dict(base)
    for key, value in own.items():
        below = merged.get(key)
        merged[key] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def read_toml(root: Path, environment: str, problems: Problems, *, may_extend: bool = True) -> Toml | None:
    """`config/<environment>.toml` and what it extends; None when it can't be read."""
    name = f"config/{environment}.toml"
    try:
        own = tomllib.loads((root / name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{name}: cannot be read: {error}")
        return None
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{name}: is not TOML: {error}")
        return None
    below = own.pop("extends", None)
    if below is None:
        return Toml(name, own)
    if not may_extend or below not in ENVIRONMENTS or below == environment:
        problems.add(name, "extends", below, "must name another environment, which extends none itself")
        return None
    base = read_toml(root, below, problems, may_extend=False)
    return Toml(name, own, base) if base else None
