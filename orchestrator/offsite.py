"""Snapshots from elsewhere: which remote, file and key are meant, and how they reach the backups volume.

A secret key goes from its file through the engine's connection to the agent's memory, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from orchestrator import agent_run
from orchestrator.agent import bech32
from orchestrator.agent_run import ENDING
from orchestrator.errors import NoEngine, OrchestratorError, UsageError
from orchestrator.session import Session
from orchestrator.state import Observed

ENCRYPTED = ENDING + ".age"
PIECE = 1024 * 1024
#: A file of keys is a few lines.
KEY_LIMIT = 64 * 1024
#: How the text of one begins.
_SECRET_KEY = "AGE-SECRET-KEY-"  # noqa: S105


def remote_of(remotes: Sequence[str], wanted: str) -> str:
    """The configured remote that is meant: all of it, or its name where only one has it. Raises UsageError."""
    found = [one for one in remotes if wanted == one] or [one for one in remotes if one.partition(":")[0] == wanted]
    if len(found) == 1:
        return found[0]
    if not remotes:
        raise UsageError("--from: there are no remotes.", hint="name them in `remotes` of [backup] in the settings.")
    what = "means more than one remote" if found else "is no remote of the settings"
    raise UsageError(f"--from {wanted} {what}.", hint=f"there is: {', '.join(remotes)}")


def secret_keys(file: Path | None) -> tuple[str, ...]:
    """The secret age keys in a file as `age-keygen` writes it; none without a file. Raises UsageError, which never
    shows what is in it."""
    if file is None:
        return ()
    try:
        with file.open("rb") as opened:
            text = opened.read(KEY_LIMIT).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--key {file}: cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        ) from None
    lines = tuple(line.strip() for line in text.splitlines() if line.strip().upper().startswith(_SECRET_KEY))
    if not lines:
        raise UsageError(f"--key {file}: holds no secret age key.", hint=f"it has a line {_SECRET_KEY}1...")
    for line in lines:
        try:
            bech32.decode(line, _SECRET_KEY)
        except ValueError as error:
            raise UsageError(f"--key {file}: its key is not one: {error}") from None
    return lines


def is_file(wanted: str) -> bool:
    """Whether a snapshot is named by a file of this machine."""
    return "/" in wanted or wanted.endswith((ENDING, ENCRYPTED))


def listed(session: Session, observed: Observed, remote: str) -> list[dict[str, Any]]:
    """The snapshots of a remote, newest first."""
    with agent_run.once(session, observed, ("list", "--from", remote), outbound=True) as name:
        found = agent_run.result(name, session.engine, session.report)["snapshots"]
    return [dict(entry) for entry in found]


def fetch(session: Session, observed: Observed, remote: str, snapshot: str, keys: Sequence[str]) -> str:
    """Brings a remote's snapshot into the backups volume, checked; returns its id."""
    command = ("fetch", snapshot, "--from", remote, *(("--key",) if keys else ()))
    line = (" ".join(keys) + "\n").encode()
    doing = session.report.step(f"fetch {snapshot} from {remote}")
    with doing, agent_run.once(session, observed, command, outbound=True, stdin=bool(keys)) as name:
        answer = agent_run.result(name, session.engine, session.report, [line] if keys else None)
    return str(answer["snapshot"])


def tell(session: Session, observed: Observed, wanted: str, snapshot: str) -> None:
    """Says on the remote that was asked for, too, that its copy was proven, so that it shows and is kept there; what
    cannot be said is a warning, since the proof stands."""
    remote = remote_of(session.stack.remotes, wanted)
    try:
        with agent_run.once(session, observed, ("tell", snapshot, "--from", remote), outbound=True) as name:
            agent_run.result(name, session.engine, session.report)
    except NoEngine:
        raise
    except OrchestratorError as error:
        session.report.warn(f"that {snapshot} is good could not be noted on {remote}: {error.message}")


def receive(session: Session, observed: Observed, file: Path, keys: Sequence[str]) -> str:
    """Brings an archive of this machine into the backups volume, through the engine's connection; returns its id."""
    try:
        opened = file.open("rb")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}.") from error
    with opened, session.report.step(f"send {file}"):
        size = file.stat().st_size

        def pieces() -> Iterator[bytes]:
            yield (" ".join(keys) + "\n").encode()
            left = size
            while left and (data := opened.read(min(PIECE, left))):
                yield data
                left -= len(data)

        command = ("receive", "--bytes", str(size))
        with agent_run.once(session, observed, command, stdin=True) as name:
            return str(agent_run.result(name, session.engine, session.report, pieces())["snapshot"])


def copy(session: Session, observed: Observed, taken: str) -> list[dict[str, Any]]:
    """Copies what the remotes lack; what was copied where. `taken` is the snapshot that a failure does not undo."""
    try:
        doing = session.report.step(f"copy to {', '.join(session.stack.remotes)}")
        with doing, agent_run.once(session, observed, ("copy",), outbound=True) as name:
            answer = agent_run.result(name, session.engine, session.report)
    except OrchestratorError as error:
        raise OrchestratorError(
            f"snapshot {taken} was taken and is good, but is not on every remote: {error.message}",
            hint=error.hint,
            detail=error.detail,
        ) from error
    return [dict(one) for one in answer["copied"]]
