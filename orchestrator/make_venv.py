"""Makes the `.venv` beside the package from requirements.txt, with the standard library alone.

Killed anywhere, the next run makes it anew: the stamp says "unfinished" from before the first step until the last.
Two at once: the second waits for the first and uses what that has made.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator import bootstrap, packages
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.packages import Say


def make(root: str, *, wanted: frozenset[tuple[str, str]], consent: bool) -> None:
    """Make `root`/.venv, or bring it up to the requirements, unless another process has just done that.

    Raises OrchestratorError (exit code 1), or UsageError where the folder can't be written at all.
    """
    say = bootstrap.progress()
    folder = Path(root, ".venv")
    if not os.access(root, os.W_OK):
        raise UsageError(
            f"The virtual environment can't be made: {root} is not writable",
            hint="Make it writable, or use another environment (pip install -r requirements.txt there).",
        )
    with _alone(root, say) as held:
        text = bootstrap.requirements_text(root)
        if bootstrap.ready(str(folder), text, wanted):
            return
        try:
            _make(folder, root, text=text, consent=consent, held=held, say=say)
        except OSError as error:
            raise _failure(f"The virtual environment {folder} can't be made", str(error), root) from error


def _make(folder: Path, root: str, *, text: str, consent: bool, held: tuple[int, ...], say: Say) -> None:
    stamp = folder / bootstrap.STAMP
    before = bootstrap.read_stamp(str(folder))
    python = bootstrap.python_of(str(folder))
    runs = os.access(python, os.X_OK)
    # One that somebody made by hand is completed, but neither cleared nor stamped: it may hold more than ours.
    by_hand = runs and before is None
    same_python = before is not None and before.partition("\n")[0] == os.path.realpath(python)
    if not by_hand:
        folder.mkdir(exist_ok=True)
        stamp.write_text(bootstrap.UNFINISHED, encoding="utf-8")
    if by_hand or (runs and same_python):
        say("bringing .venv up to requirements.txt")
    else:
        base: str = getattr(sys, "_base_executable", sys.executable)
        _ensure_ensurepip(base, consent=consent, say=say)
        say(f"making the virtual environment .venv with {base} (once)")
        _clear(folder, stamp)
        # pip apart from it: `venv` keeps what ensurepip says to itself.
        _step([base, "-m", "venv", "--without-pip", str(folder)], "venv could not make .venv", root, held=held, say=say)
    if not any(Path(site, "pip").is_dir() for site in bootstrap.site_packages(str(folder))):
        _step([python, "-m", "ensurepip"], "pip could not be put into .venv", root, held=held, say=say)
    say("installing requirements.txt with pip")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    _step(
        [*pip, "-r", str(Path(root, bootstrap.REQUIREMENTS))],
        "pip could not install requirements.txt in .venv",
        root,
        held=held,
        say=say,
    )
    for site in bootstrap.site_packages(str(folder)):
        # Relative, so that a repository may be moved with its environment.
        Path(site, "repository.pth").write_text(os.path.relpath(root, site) + "\n", encoding="utf-8")
    if not by_hand:
        stamp.write_text(bootstrap.stamp_text(str(folder), text), encoding="utf-8")
    importlib.invalidate_caches()
    say("the virtual environment is ready")


def _clear(folder: Path, stamp: Path) -> None:
    """Empty the folder of all but the stamp, which goes on saying "unfinished" (`venv --clear` would take it too)."""
    for entry in folder.iterdir():
        if entry == stamp:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _step(command: Sequence[str], message: str, root: str, *, held: tuple[int, ...], say: Say) -> None:
    # PIP_USER and the like come from a person's shell or pip.conf and don't go together with a virtual environment.
    env = {**os.environ, "PIP_USER": "0", "PYTHONNOUSERSITE": "1"}
    outcome = packages.run(command, env=env, keep=held, waiting=lambda: say("still at it"))
    if outcome.status != 0:
        raise _failure(message, outcome.output, root)


def _failure(message: str, output: str, root: str) -> OrchestratorError:
    return OrchestratorError(message, hint=hint_for(output, root), detail=packages.last_lines(output))


def hint_for(output: str, root: str) -> str:
    """What to do about a failed `venv` or `pip`, from what it wrote."""
    hints = (
        (("No space left on device", "Disk quota exceeded"), f"Free disk space (df -h {root}) and run it again."),
        (
            ("Read-only file system", "Permission denied"),
            f"Make {root}/.venv writable for you, or remove it, and run it again.",
        ),
        (
            ("CERTIFICATE_VERIFY_FAILED", "SSLError"),
            "A proxy seems to inspect TLS: set PIP_CERT to the file with its CA certificate and run it again.",
        ),
        (
            ("DO NOT MATCH THE HASHES",),
            "The index or a cache on the way changes packages: `pip cache purge`, or another PIP_INDEX_URL.",
        ),
        (
            (
                "ProxyError",
                "NewConnectionError",
                "ConnectTimeout",
                "ReadTimeout",
                "name resolution",
                "Connection refused",
            ),
            "No way to the package index: behind a proxy set HTTPS_PROXY, with a mirror PIP_INDEX_URL, offline "
            "PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder of wheels.",
        ),
        (
            ("No matching distribution", "Could not find a version"),
            f"The index has no such version for Python {sys.version_info[0]}.{sys.version_info[1]}: see PIP_INDEX_URL, "
            "or try another Python.",
        ),
    )
    for marks, hint in hints:
        if any(mark in output for mark in marks):
            return hint
    return "See to what the lines above say and run it again."


def _ensure_ensurepip(base: str, *, consent: bool, say: Say) -> None:
    """Debian and its children keep the part of `venv` that brings pip in a package of its own."""
    if importlib.util.find_spec("ensurepip") is not None:
        return
    package = venv_package(base, os.path.realpath(base) == os.path.realpath("/usr/bin/python3"), sys.version_info[:2])
    message = f"{base} can't make virtual environments: its ensurepip is missing"
    if not package or not shutil.which("apt-get"):
        raise OrchestratorError(
            message, hint="Install your distribution's venv and pip for this Python, or take another."
        )
    by_hand = f"Run it again with --setup, or by hand: {packages.by_hand([package])}"
    ask = packages.terminal()
    if not consent and not (ask and ask(f"{message}. Install the package {package}?")):
        raise OrchestratorError(message, hint=by_hand)
    root = packages.privilege()
    if root is None:
        raise OrchestratorError(f"{message}, and installing it needs root", hint=packages.by_hand([package]))
    packages.install([package], root=root, say=say)


def venv_package(base: str, default: bool, version: tuple[int, int]) -> str:
    """The Debian package with an interpreter's `venv`; `default`: it is what python3 means. "" if not Debian's own."""
    if not base.startswith("/usr/bin/"):
        return ""
    return "python3-venv" if default else f"python{version[0]}.{version[1]}-venv"


@contextlib.contextmanager
def _alone(root: str, say: Say) -> Iterator[tuple[int, ...]]:
    """Hold the repository's folder locked; gives the descriptor for child processes.

    The folder itself is locked, so no lock file is left behind. pip inherits the lock: if we are killed and it goes on,
    the next process waits for it.
    """
    try:
        import fcntl

        lock = os.open(root, os.O_RDONLY)
    except (ImportError, OSError):
        yield ()  # Windows has neither; two at once are then on their own
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that makes the virtual environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EBADF, errno.EINVAL, errno.ENOTSUP):
                raise
        yield (lock,)
    finally:
        os.close(lock)
