"""What a folder with somebody's app tells about it: by its Dockerfile, requirements, code and databases. Changes
nothing; whatever it finds is a suggestion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: How much of a folder is looked at: somebody's home folder must not be read for minutes.
FILES, BYTES = 2000, 200_000
_SKIPPED = frozenset({"node_modules", "venv", "env", "__pycache__", "site-packages", "tests", "build", "dist"})
_DATABASE = re.compile(r"\.(db|sqlite3?|db3)$")
_FLASK = re.compile(r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:flask\.)?Flask\(", re.MULTILINE)
_FACTORY = re.compile(r"^def (create_app|make_app)\(", re.MULTILINE)
_VARIABLE = re.compile(r"(?:environ(?:\.get)?|getenv)[\[(]\s*[\"'](\w*(?:DATABASE|SQLITE|DB)\w*)[\"']")
_HEALTH = re.compile(r"\.(?:route|get)\(\s*[\"'](/(?:healthz?|livez|readyz|ping|status|up|_health))/?[\"']")


@dataclass(frozen=True)
class Found:
    """`module` is what gunicorn is given (`app:app`), `variable` the environment variable that names the database,
    `databases` the files' names; each empty (the port None) where nothing tells."""

    dockerfile: bool = False
    port: int | None = None
    module: str = ""
    health: str = ""
    variable: str = ""
    databases: tuple[str, ...] = ()
    static: bool = False
    requirements: bool = False


def look(folder: Path) -> Found:
    """Looks at an app's folder."""
    dockerfile = _text(folder / "Dockerfile")
    exposed = re.search(r"^EXPOSE\s+(\d+)", dockerfile, re.MULTILINE | re.IGNORECASE)
    module = health = variable = ""
    databases: list[str] = []
    static = False
    for path in _files(folder):
        name = path.relative_to(folder)
        static = static or "static" in name.parts[:-1]
        if _DATABASE.search(path.name):
            databases.append(path.name)
        elif path.suffix == ".py":
            text = _text(path)
            module = module or _module(name, text)
            health = health or _first(_HEALTH, text)
            variable = variable or _first(_VARIABLE, text)
    return Found(
        dockerfile=bool(dockerfile),
        port=int(exposed[1]) if exposed else None,
        module=module,
        health=health,
        variable=variable,
        databases=tuple(dict.fromkeys(databases)),
        static=static,
        requirements=(folder / "requirements.txt").is_file(),
    )


def _module(name: Path, text: str) -> str:
    dotted = ".".join(name.with_suffix("").parts).removesuffix(".__init__")
    if made := _FACTORY.search(text):
        return f"{dotted}:{made[1]}()"
    made = _FLASK.search(text)
    return f"{dotted}:{made[1]}" if made else ""


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, those near its top first."""
    waiting, seen = [folder], 0
    while waiting:
        try:
            entries = sorted(waiting.pop(0).iterdir())
        except OSError:
            continue
        for path in entries:
            if path.name.startswith(".") or path.is_symlink():
                continue
            if path.is_dir():
                waiting += [path] if path.name not in _SKIPPED else []
            else:
                seen += 1
                if seen > FILES:
                    return
                yield path


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(BYTES)
    except OSError:
        return ""
