"""Settings of the service, read from the environment alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service.access import Access, read_access
from service.hosts import split_hosts

LOG_LEVELS = ("debug", "info", "warning", "error")
DEFAULT_DATABASE = "links.db"


class SettingsError(Exception):
    """One or more variables can't be used; the message names each of them."""


@dataclass(frozen=True)
class Settings:
    """`database` is an URL with a scheme; `static_root` is None where the application serves `/static` alone.

    `hosts` are names under which people reach this service, as `service.hosts` gives them.
    """

    database: str
    static_root: Path | None
    release: str
    log_level: str
    workers: int
    threads: int
    access: Access
    hosts: frozenset[str] = frozenset()


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Check and collect the variables; raises SettingsError with all problems at once."""
    problems: list[str] = []

    def text(name: str, default: str = "") -> str:
        # An empty variable is what Compose makes of an unset one, so it means the default.
        return environment.get(name, "").strip() or default

    def number(name: str, default: int, highest: int) -> int:
        value = text(name, str(default))
        if value.isascii() and value.isdigit() and len(value) < 5 and 1 <= int(value) <= highest:
            return int(value)
        problems.append(f"{name}={value!r} must be a whole number from 1 to {highest}")
        return default

    level = text("LOG_LEVEL", "info").lower()
    if level not in LOG_LEVELS:
        problems.append(f"LOG_LEVEL={level!r} must be one of {', '.join(LOG_LEVELS)}")

    url, path = text("DATABASE_URL"), text("DATABASE_PATH")
    if url and "://" not in url:
        # The value may hold a password, so it isn't repeated.
        problems.append("DATABASE_URL must look like sqlite:////data/links.db (a path alone belongs in DATABASE_PATH)")
    if url and path:
        problems.append("set DATABASE_URL or DATABASE_PATH, not both")

    hosts: frozenset[str] = frozenset()
    try:
        hosts = split_hosts(text("HOSTS"))
    except ValueError as error:
        problems.append(f"HOSTS must hold hosts such as go or go.example.com, with commas between; {error} is none")

    static_root = text("STATIC_ROOT")
    settings = Settings(
        database=url or f"sqlite:///{path or DEFAULT_DATABASE}",
        static_root=Path(static_root) if static_root else None,
        release=text("RELEASE", "unreleased")[:100],
        log_level=level,
        workers=number("WEB_CONCURRENCY", 2, 64),
        threads=number("WEB_THREADS", 4, 64),
        access=read_access(environment, problems),
        hosts=hosts,
    )
    if problems:
        raise SettingsError("; ".join(problems))
    return settings
