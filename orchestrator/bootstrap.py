"""From any Python to one that has the requirements: the running one, or the `.venv` beside this package.

Every command passes here, and a deployment that finds nothing to do has half a second in all. So the usual path imports
only what Python has loaded at its own start (`pathlib`, `re`, `hashlib` or `importlib.metadata` would take 5 to 45 ms
each); what takes time anyway is in `make_venv`.

How the package is found again after the exec: the command line, folder and environment stay as they were, so the new
Python finds it where the old one did; a `.pth` file in the `.venv` names the repository for every other case.
"""
# pathlib is slow to import, see above
# ruff: noqa: PTH100, PTH118, PTH120, PTH123, PTH208

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing's own costs 10 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from orchestrator.errors import OrchestratorError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REQUIREMENTS = "requirements.txt"
RUNTIME = ("docker", "msgspec", "python-dotenv", "pyyaml", "rich", "shtab")
"""What the orchestrator imports; the rest of the requirements is the service's, the agent's and the tests'."""

STAMP = "requirements.installed"
"""Inside the `.venv`, written last: the requirements it was made from."""

UNFINISHED = "unfinished"
"""The stamp's text while the `.venv` is being made."""

EXECUTED = "ORCHESTRATOR_EXECUTED_BY"
"""Environment variable: the process that has exec'ed already. A process keeps its number through exec."""


def main(argv: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return the exit code; makes the `.venv` when needed."""
    import gc

    # A command makes many objects while it imports and little garbage: Python's default would search it all the time.
    gc.set_threshold(20_000, 20, 50)
    try:
        if not teaches(argv):
            enter(consent=consents(argv), only=RUNTIME)
    except Exception as error:
        from orchestrator.errors import OrchestratorError

        if isinstance(error, OrchestratorError):
            return tell(error, json="--json" in own_words(argv))
        raise
    from orchestrator import cli

    return cli.main(list(argv))


def enter(*, consent: bool, only: Container[str] | None = None, root: str = ROOT) -> None:
    """Return when the running interpreter has the requirements; else go on in the `.venv`, and don't return.

    `only` narrows the requirements to those names. Raises OrchestratorError when no environment can be made.
    """
    folder = os.path.join(root, ".venv")
    inside = os.path.realpath(sys.prefix) == os.path.realpath(folder)
    again = os.environ.get(EXECUTED) == str(os.getpid())
    if inside and again:
        return  # found to be complete a moment ago, before the exec
    text = requirements_text(root)
    wanted = pins(text, only)
    if satisfied(wanted, sys.path):
        return
    if not ready(folder, text, wanted):
        from orchestrator import make_venv

        try:
            make_venv.make(root, wanted=wanted, consent=consent)
        except KeyboardInterrupt:
            from orchestrator.errors import Interrupted

            raise Interrupted("Interrupted; the next run makes the virtual environment anew") from None
        if inside and satisfied(wanted, sys.path):
            return
    if inside or again:  # once more would be for ever
        from orchestrator.errors import OrchestratorError

        raise OrchestratorError(
            f"The virtual environment {folder} does not provide the requirements",
            hint=f"Remove the folder {folder} and run it again.",
        )
    os.environ[EXECUTED] = str(os.getpid())
    execute(python_of(folder))


def execute(python: str) -> None:
    """Replace this process by `python` with the same options, module and arguments."""
    command = [python, *sys.orig_argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":  # exec there starts a second process and lets the shell go on at once
        import subprocess

        sys.exit(subprocess.call(command))
    os.execv(python, command)  # noqa: S606 - no shell is wanted


def teaches(argv: Sequence[str]) -> bool:
    """Whether the command line asks for help or the version only, which need nothing but the standard library."""
    return not argv or any(word in ("-h", "--help", "--version") for word in own_words(argv))


def consents(argv: Sequence[str]) -> bool:
    """Whether the command line allows to install packages of the system."""
    return any(word in ("--setup", "--yes") for word in own_words(argv))


def own_words(argv: Sequence[str]) -> Sequence[str]:
    """The words that are ours: after `exec SERVICE` they belong to the command that runs there."""
    for at, word in enumerate(argv):
        if word == "--":
            return argv[:at]
        if word == "exec":
            own_help = argv[at + 1 : at + 2]
            return [*argv[:at], *own_help]
    return argv


def requirements_text(root: str, name: str = REQUIREMENTS) -> str:
    """The text of a requirements file and of every file that it includes, "" where there is none."""
    try:
        with open(os.path.join(root, name), encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return ""
    parts = [text]
    for line in text.splitlines():
        words = line.replace("=", " ").split()
        if len(words) > 1 and words[0] in ("-r", "-c", "--requirement", "--constraint"):
            parts.append(requirements_text(root, os.path.join(os.path.dirname(name), words[1])))
    return "\n".join(parts)


def pins(text: str, only: Container[str] | None = None) -> frozenset[tuple[str, str]]:
    """(normalised name, version) of each `name==version` line; those with an environment marker are left out."""
    found = set()
    for line in text.splitlines():
        name, equals, rest = line.partition("==")
        if not equals or not name or not name[0].isalnum() or ";" in line:
            continue
        plain = normalised(name.partition("[")[0].strip())
        if only is None or plain in only:
            found.add((plain, rest.split()[0]))
    return frozenset(found)


def satisfied(wanted: frozenset[tuple[str, str]], path: Iterable[str]) -> bool:
    """Whether every pinned distribution lies in one of the folders, by the names of their `.dist-info` folders.

    Names of modules would not do: a distribution's own old `docker` or a folder `rich` is importable too.
    """
    missing = set(wanted)
    for folder in path:
        if not missing:
            break
        try:
            entries = os.listdir(folder or ".")
        except OSError:
            continue
        for entry in entries:
            if entry.endswith(".dist-info"):
                name, _, version = entry[: -len(".dist-info")].partition("-")
                missing.discard((normalised(name), version))
    return not missing


def normalised(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return name.lower().replace("_", "-").replace(".", "-")


def ready(folder: str, text: str, wanted: frozenset[tuple[str, str]]) -> bool:
    """Whether the virtual environment can be used as it is.

    True for one made here from exactly these requirements and with an interpreter that is still the same (a system's
    upgrade replaces it), and for one made by hand that has what is wanted.
    """
    python = python_of(folder)
    if not os.access(python, os.X_OK) or not satisfied(wanted, site_packages(folder)):
        return False
    stamp = read_stamp(folder)
    return stamp is None or stamp == stamp_text(folder, text)


def read_stamp(folder: str) -> str | None:
    """The stamp's text, or None where the folder has none (not made by us, or not at all)."""
    try:
        with open(os.path.join(folder, STAMP), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def stamp_text(folder: str, text: str) -> str:
    """What the stamp says for this environment: its interpreter's true path, then the requirements."""
    return f"{os.path.realpath(python_of(folder))}\n{text}"


def python_of(folder: str) -> str:
    """The path of a virtual environment's interpreter."""
    return os.path.join(folder, "Scripts", "python.exe") if os.name == "nt" else os.path.join(folder, "bin", "python")


def site_packages(folder: str) -> list[str]:
    """The folders that hold a virtual environment's distributions."""
    if os.name == "nt":
        return [os.path.join(folder, "Lib", "site-packages")]
    lib = os.path.join(folder, "lib")
    try:
        return [os.path.join(lib, name, "site-packages") for name in os.listdir(lib) if name.startswith("python")]
    except OSError:
        return []


def progress() -> Callable[[str], None]:
    """A function that writes a line to stderr, with the seconds since now."""
    import time

    start = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {line}", file=sys.stderr, flush=True)

    return say


def tell(error: OrchestratorError, *, json: bool = False) -> int:
    """Print an error for a person on stderr, with `json` also as a document on stdout; return its exit code."""
    for line in error.detail:
        print(f"  | {line}", file=sys.stderr)
    # Sentences, with or without their full stop in the code.
    print(f"error: {error.message.rstrip('.')}.", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    if json:
        import json as encoder

        told = {"error": error.message, "hint": error.hint, "detail": list(error.detail)}
        print(encoder.dumps({"result": "failed", **error.outcome, **told}, indent=2, ensure_ascii=False))
    return error.exit_code
