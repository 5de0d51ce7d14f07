"""The command line: every verb with its options. The README's list of verbs is made from it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.errors import UsageError

PROGRAM = "python -m orchestrator"

INIT_OPTIONS = {
    "image": "a ready image instead of a folder",
    "project": "the project's name",
    "module": "what gunicorn serves, where a Dockerfile is written",
    "port": "port that the app listens on",
    "health": "path that is answered with 200",
    "command": "instead of the image's own command",
    "data": "folder that is kept",
    "database": "file name of the database in it",
    "variable": "environment variable for the database's path",
    "migrate": "command that migrates the database",
    "static": "folder that the app fills with static files",
}
"""What `init` asks, as options."""

LEVELS = ("debug", "info", "warning", "error", "critical")
"""Of log lines, the least grave first."""

DESCRIPTION = """\
Deploys a Flask and SQLite service behind Nginx on one Docker engine, and keeps its data safe.

first time:    python3 -m orchestrator deploy --setup     engine, base images, build, start, wait until healthy
after changes: python -m orchestrator plan                what would be done, and why
               python -m orchestrator deploy              does it; nothing to do is a success
               python -m orchestrator rollback            back to the release before
day to day:    python -m orchestrator status | releases | logs -f | backup | backups | restore SNAPSHOT
"""

EPILOG = """\
exit codes: 0 done, or nothing to do; 1 failed, everything as it was; 2 usage or settings; 3 rolled back, the previous
release serves; 4 another deployment holds the lock; 5 no engine.
settings: the environment, then .env (what this host is; see .env.example), then config/<environment>.toml (what the
stack is).
"""


class _Parser(argparse.ArgumentParser):
    """Tells a wrong command line as every other error is told, in JSON where that is asked for."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", hint=f"{self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """The whole command line; `verb` in its result names the one that was given, or is None."""
    common = _Parser(add_help=False)
    options = common.add_argument_group("global options (before or after the verb)")
    # Without a default of their own, an option given before the verb is not undone by its absence after it.
    options.add_argument(
        "-e",
        "--environment",
        choices=("production", "development"),
        default=argparse.SUPPRESS,
        help="which config/<environment>.toml (production)",
    )
    for flag, text in (
        ("--json", "exactly one JSON document on stdout"),
        ("--verbose", "every step as it begins, and tracebacks"),
        ("--yes", "answer every question with yes"),
    ):
        options.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
    top = _Parser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    top.add_argument("--version", action="version", version="golinks orchestrator 0.1.0")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", title="verbs")

    def verb(name: str, text: str, more: str = "") -> argparse.ArgumentParser:
        return verbs.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}. {more}".strip(),
            parents=[common],
        )

    verb(
        "setup",
        "make this machine ready: engine, base images, .env",
        "Installs the distribution's engine if there is none (asks first; --yes is the answer elsewhere than on a "
        "terminal), and never touches one that runs. Base images are pulled; where no registry answers, they are made "
        "from the distribution's packages.",
    )
    made = verb(
        "init",
        "write the first configuration for an app of your own, by asking",
        "Suggests what the app's folder tells: its Dockerfile, code and databases. Where there is no Dockerfile, it "
        "writes one for a Flask app. Each question is an option, too; --yes takes the suggestions for the others. The "
        "files before are kept beside the new ones.",
    )
    made.add_argument("folder", nargs="?", metavar="FOLDER", type=Path, help="the folder of your app")
    for name, text in INIT_OPTIONS.items():
        made.add_argument(f"--{name}", metavar=name.upper(), default=argparse.SUPPRESS, help=text)
    made = verb(
        "deploy",
        "build, plan and apply, until everything is healthy",
        "The release that serves is untouched until the new one is healthy; when anything fails, all is undone.",
    )
    made.add_argument("--setup", action="store_true", help="do `setup` first, with consent to install what is missing")
    made.add_argument("--no-build", action="store_true", help="take the images as they are; fail if one is missing")
    verb("plan", "show what deploy would do, and why", "Changes nothing.")
    verb(
        "releases",
        "list the releases: when, by whom, how each ended, what changed",
        "Secrets are masked.",
    )
    made = verb(
        "rollback",
        "go back to the previous good release, or to a named one",
        "Its image and its settings, by the same steps as a deployment and with the same guarantees; nothing is built, "
        "the data stays as it is.",
    )
    made.add_argument("release", nargs="?", metavar="RELEASE", default="", help="its id, or the beginning of it")
    made = verb(
        "status", "show services, health, release, resource and disk use, drift, the last snapshot and rehearsal"
    )
    made.add_argument("--watch", action="store_true", help="again every two seconds, until Ctrl-C")
    made.add_argument(
        "--max-age", metavar="AGE", help="exit 1 unless there is a good snapshot younger than this, such as 26h"
    )
    made = verb(
        "backup",
        "take a snapshot of the database volume now",
        "Consistent while the service is written to, checked, with checksums; kept in the backups volume.",
    )
    made.add_argument("--to", metavar="FOLDER", type=Path, help="copy the archive to this folder of the host, too")
    made = verb("backups", "list the snapshots")
    made.add_argument("--from", dest="remote", metavar="REMOTE", default="", help="those of this remote")
    made = verb(
        "maintenance",
        "answer 503 with a page to everybody, or stop doing so",
        "Without on or off: says which it is. The stack goes on behind it; deployments leave it as it is.",
    )
    made.add_argument("state", nargs="?", choices=("on", "off"), help="on or off")
    made = verb(
        "verify",
        "prove a snapshot by reading all of it again",
        "Its checksums, and of each database in it integrity, foreign keys and rows.",
    )
    _names_snapshot(made)
    made.add_argument(
        "--rehearse",
        action="store_true",
        help="restore it to a volume of its own, boot the release that it came from on that, count the rows, and note "
        "how it went; the stack is not touched",
    )
    made = verb(
        "restore",
        "bring a snapshot back",
        "Proven beside the live data first; 503 with a page meanwhile; what is there now is kept as a snapshot, and "
        "all is put back if the app is not healthy afterwards.",
    )
    _names_snapshot(made, nargs="?", default="")
    made.add_argument(
        "--at",
        metavar="TIME",
        default="",
        help="instead: the state at this time, 2026-11-24T10:15:02Z, out of the replica",
    )
    made = verb(
        "logs",
        "show what the containers wrote",
        "On a terminal JSON lines are made readable; elsewhere every line is as it was written. A line that says no "
        "level is shown at every level.",
    )
    _chooses_lines(made)
    verb(
        "watch",
        "start again what becomes unhealthy, until Ctrl-C",
        "The engine restarts what ends, never what is unhealthy. Looks every five seconds, waits longer after each "
        "attempt, leaves a deployment alone, and tells the proxy when the app has come back at another address. Run it "
        "under systemd.",
    )
    made = verb(
        "exec",
        "run a command in a service's container",
        "Its exit code is ours; what comes through a pipe or from a file is its input.",
    )
    made.add_argument("service", metavar="SERVICE", help="app, proxy or backup")
    made.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER, help="the command and its arguments")
    made = verb("down", "stop and remove containers and networks", "Data and images stay.")
    made.add_argument("--volumes", action="store_true", help="delete the volumes too: the data AND its snapshots")
    verb("doctor", "check this machine and the stack, and say what to do about each finding")
    made = verb(
        "compose",
        "write docker-compose.yml from the settings",
        "And, for development, a second file: for use without the orchestrator.",
    )
    made.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not current")
    made = verb(
        "completion",
        "print a script that completes this command line in a shell",
        "Verbs, options, services, snapshots and releases; its first line says how it is used.",
    )
    made.add_argument("of", choices=("bash", "zsh", "fish", "snapshots", "releases"), help="the shell; or what it asks")
    return top


def _chooses_lines(made: argparse.ArgumentParser) -> None:
    made.add_argument("service", nargs="?", metavar="SERVICE", help="only this service (app, proxy, backup)")
    made.add_argument("-f", "--follow", action="store_true", help="go on with new lines, until Ctrl-C")
    made.add_argument("-n", "--tail", metavar="N", type=_count, help="lines of each container (200; all with a filter)")
    made.add_argument("--level", choices=LEVELS, help="this level and above; a request has that of its status")
    made.add_argument("--request", metavar="ID", default="", help="of this request: its id, or the beginning of it")
    made.add_argument("--since", metavar="TIME", help="from 10m ago, or 2026-11-24T10:15:02Z, on")
    made.add_argument("--until", metavar="TIME", help="up to this time")


def _names_snapshot(made: argparse.ArgumentParser, **optional: Any) -> None:
    text = "its id, the beginning of it, `latest`, or an archive's file"
    made.add_argument("snapshot", metavar="SNAPSHOT", help=text, **optional)
    made.add_argument("--from", dest="remote", metavar="REMOTE", default="", help="get it from this remote first")
    made.add_argument("--key", metavar="FILE", type=Path, help="the secret age key, where it is encrypted")


def _count(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines, 1 to 1000000")
    return int(text)
