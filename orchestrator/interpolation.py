"""The host's variables in the environment of services, as Compose writes them: `${NAME:-default}`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec.structs import asdict, replace

from orchestrator.schema import Service, Services
from orchestrator.sources import Problems

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<kind>[-?])(?P<text>[^${}]*))?\}|(?P<wrong>))"
)


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Compose's `${NAME:-default}`, `${NAME:?why}` and `$$`; ValueError says what is missing."""

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        if match["wrong"] is not None:
            raise ValueError("a $ must begin ${NAME}, ${NAME:-default} or ${NAME:?why}; a plain one is written $$")
        value = variables.get(match["name"], "")
        if value:
            return value
        if match["kind"] == "-":
            return match["text"]
        why = f": {match['text']}" if match["text"] else ""
        raise ValueError(f"{match['name']} is not set{why}; set it in the environment or in .env")

    return _VARIABLE.sub(replace, text)


def variables_in(text: str) -> dict[str, str]:
    """Each variable that `text` mentions, with its default ("" where it has none)."""
    found = _VARIABLE.finditer(text)
    return {m["name"]: (m["text"] or "") if m["kind"] == "-" else "" for m in found if m["name"]}


def interpolated(services: Services, values: Mapping[str, str], where: str, problems: Problems) -> Services:
    changed: dict[str, Service] = {}
    for name, service in asdict(services).items():
        environment = {}
        for key, text in service.environment.items():
            try:
                environment[key] = interpolate(text, values)
            except ValueError as error:
                problems.append(f"{where}: services.{name}.environment.{key}: {error}")
        changed[name] = replace(service, environment=environment)
    return replace(services, **changed)


def used_variables(services: Services) -> dict[str, str]:
    """The variables that the services' environment mentions, each with its default."""
    found: dict[str, str] = {}
    for service in asdict(services).values():
        for text in service.environment.values():
            found |= variables_in(text)
    return found
