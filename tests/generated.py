"""The parts of the repository that a program writes: `python -m tests.generated`, or with `--check` only compares.

`docker-compose.yml` has a verb of its own; here are `.env.example` and the README's lists: verbs, settings, and in
what Compose's way may differ. A translation of the README gets these lists, the figures and what the tour prints from
the README.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from orchestrator import arguments, checked, interpolation, settings
from orchestrator.model import SECRET_NAME
from orchestrator.schema import Backup, Health, Host, Release, Replicate, Retain, Service
from tests import equal
from tests import readme as document

ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(r"(<!-- generated: (?P<part>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SHARED = re.compile(
    r"<!-- (?P<part>(?:generated|figures): [a-z]+) -->\n.*?<!-- end -->|^```console\n.*?^```$", re.DOTALL | re.M
)


def verbs() -> str:
    """Every verb with its options, from the parser itself."""
    os.environ["COLUMNS"] = "100"  # argparse wraps to the terminal
    top = arguments.parser()
    groups = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    lines = ["| verb | does |", "|---|---|"]
    for choice in groups[0]._choices_actions:
        parser = groups[0].choices[choice.dest]
        usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
        usage = re.sub(
            r"^python -m orchestrator |\[-h\] |\[-e \{[^}]*\}\] |\[--(json|verbose|yes)\] ?", "", usage
        ).strip()
        options = [
            f"`{'`, `'.join(action.option_strings)}`: {action.help}"
            for action in parser._actions
            if action.option_strings and action.container.title == "options" and action.dest != "help"
        ]
        text = (parser.description or "") + (" " + "; ".join(options) + "." if options else "")
        lines.append(f"| `{usage.replace('|', '/')}` | {text.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def host_variables(root: Path) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """(name, default, what it is) of the host's own variables, and (name, default) of those handed to the services."""
    file = settings.read_file(root, "production")
    values = {"COMPOSE_PROJECT_NAME": file.project} | {name: str(value) for name, value in file.host.items()}
    hosts = [(name, values.get(name, key.default), key.description) for name, key in checked.keys(Host).items()]
    return hosts, sorted(interpolation.used_variables(file.services).items())


def env_example(root: Path) -> str:
    """`.env.example`: every variable of the host with its default, commented out."""
    lines = ["# What this host is. Copy to .env and change what differs; the environment comes before this file.", ""]
    hosts, handed = host_variables(root)
    for name, default, description in hosts:
        lines += [f"# {description}", f"#{name}={default}", ""]
    for name, default in handed:
        secret = " (a secret: never commit it)" if SECRET_NAME.search(name) else ""
        lines += [f"# handed to the services{secret}", f"#{name}={default}", ""]
    lines += ["# where the engine is, such as ssh://user@server; the local one if unset", "#DOCKER_HOST=", ""]
    return "\n".join(lines)


def variables() -> str:
    """Every variable of the host with its default."""
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    hosts, handed = host_variables(ROOT)
    for name, default, description in hosts:
        lines.append(f"| `{name}` | {f'`{default}`' if default else 'none'} | {description} |")
    for name, default in handed:
        secret = "; treated as a secret" if SECRET_NAME.search(name) else ""
        lines.append(f"| `{name}` | {f'`{default}`' if default else 'none'} | handed to the services{secret} |")
    lines.append("| `DOCKER_HOST` | the local engine | where the engine is, such as `ssh://user@server` |")
    return "\n".join(lines) + "\n"


def keys() -> str:
    """Every key of the TOML files, with what it means."""
    lines = ["| key | what it is |", "|---|---|"]
    lines.append("| `project` | the project's name, unless `COMPOSE_PROJECT_NAME` says another |")
    lines.append("| `extends` | another environment whose file this one changes |")
    lines.append("| `[host]` | defaults of the variables above |")
    tables = (
        ("services.NAME.", Service),
        ("services.NAME.health.", Health),
        ("release.", Release),
        ("backup.", Backup),
        ("backup.retain.", Retain),
        ("backup.replicate.", Replicate),
    )
    for prefix, model in tables:
        lines += [f"| `{prefix}{name}` | {k.description} |" for name, k in checked.keys(model).items() if k.description]
    return "\n".join(lines) + "\n"


def readme(text: str) -> str:
    """The README with its generated parts as they should be."""
    parts = {"verbs": verbs, "variables": variables, "keys": keys, "differences": equal.table}
    if (found := [match["part"] for match in MARK.finditer(text)]) != list(parts):
        raise SystemExit(
            f"README.md: places for {', '.join(parts)} are wanted, there are: {', '.join(found) or 'none'}"
        )
    return MARK.sub(lambda match: match[1] + parts[match["part"]]() + match[3], text)


def translation(text: str, name: str, english: str) -> str:
    """A translation of the README, whose generated parts are those of `english`."""
    ours, theirs = list(_SHARED.finditer(english)), list(_SHARED.finditer(text))
    if [match["part"] for match in theirs] != [match["part"] for match in ours]:
        raise SystemExit(
            f"{name}: wanted are the parts of README.md: {', '.join(m['part'] or 'console' for m in ours)}"
        )
    parts = iter(ours)
    return _SHARED.sub(lambda _: next(parts)[0], text)


def main(argv: list[str]) -> int:
    stale = []
    english = readme(document.read())
    translations = {
        path: translation(path.read_text(encoding="utf-8"), path.name, english) for path in document.TRANSLATIONS
    }
    for path, wanted in (
        (ROOT / ".env.example", env_example(ROOT)),
        (document.README, english),
        *translations.items(),
    ):
        if not path.is_file() or path.read_text(encoding="utf-8") != wanted:
            stale.append(path.name)
            if "--check" not in argv:
                path.write_text(wanted, encoding="utf-8")
    if stale:
        print(f"{'not current' if '--check' in argv else 'wrote'}: {', '.join(stale)}")
    return 1 if stale and "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
