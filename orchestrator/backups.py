"""The verbs about snapshots: each runs the agent in a container of the backup image, on the project's volumes."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from orchestrator import agent_run, lock, offsite, restore
from orchestrator.agent_run import ENDING
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.model import SNAPSHOTS
from orchestrator.progress import Progress
from orchestrator.release import live_container
from orchestrator.report import Reporter
from orchestrator.session import Session


def backup(session: Session, to: Path | None) -> dict[str, Any]:
    """Takes a snapshot now, and copies its archive to the host's folder `to` and to the remotes of the settings."""
    if to is not None:
        check_folder(to)
    observed = session.engine.observe(session.stack.project)
    if restore.unfinished(observed):
        with lock.held(session.stack.project, agent_run.image(observed, session), session.engine, session.report.say):
            # Looked at again: whoever was at it may have ended it meanwhile.
            restore.recover(session, session.engine.observe(session.stack.project))
    live = live_container(session.stack, observed)
    command = ("snapshot", "--reason", "manual", "--release", live.release if live else "")
    with agent_run.once(session, observed, command) as agent:
        with session.report.step("take a snapshot"):
            answer = agent_run.result(agent, session.engine, session.report)
        outcome = {key: answer[key] for key in ("snapshot", "bytes", "sha256", "databases", "seconds")}
        for warning in answer.get("warnings", ()):
            session.report.warn(warning)
        if to is not None:
            with session.report.step(f"copy {answer['snapshot']} to {to}"):
                outcome["file"] = str(_copy(agent, session, answer, to))
    if session.stack.remotes:
        outcome["copied"] = offsite.copy(session, observed, answer["snapshot"])
    return outcome | {"warnings": session.report.warnings}


def backups(session: Session, remote: str = "") -> dict[str, Any]:
    """The snapshots there are, newest first; with `remote`, there."""
    if remote:
        remote = offsite.remote_of(session.stack.remotes, remote)
    observed = session.engine.observe(session.stack.project)
    if remote:
        return {"snapshots": offsite.listed(session, observed, remote)}
    with agent_run.once(session, observed, ("list",)) as agent:
        return {"snapshots": agent_run.result(agent, session.engine, session.report)["snapshots"]}


def check_folder(folder: Path) -> None:
    """UsageError unless `folder` is one that can be written to; asked before any work is done."""
    if not folder.is_dir():
        raise UsageError(f"--to {folder}: there is no such folder.", hint=f"make it first: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--to {folder}: you may not write there.")


def _copy(agent: str, session: Session, answer: dict[str, Any], folder: Path) -> Path:
    """Copies the archive out of the volume; the file gets its name when its checksum is right and it is on disk."""
    name = f"{answer['snapshot']}{ENDING}"
    target, part = folder / name, folder / f"{name}.part"
    chunks = session.engine.archive(agent, f"{SNAPSHOTS}/{name}")
    try:
        with part.open("wb") as file, tarfile.open(fileobj=_Stream(chunks), mode="r|") as tar:
            digest = _write(tar, file, session.report)
            os.fsync(file.fileno())
        if digest != answer["sha256"]:
            raise OrchestratorError(f"the copy of {name} is not what the agent wrote (checksum).", hint="try again.")
        part.replace(target)
        _sync_folder(folder)
    except (OSError, tarfile.TarError) as error:
        raise OrchestratorError(
            f"the snapshot {answer['snapshot']} was taken, but not copied to {folder}: {error}",
            hint="it is kept in the backups volume; see `backups`.",
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return target


def _write(tar: tarfile.TarFile, file: IO[bytes], report: Reporter) -> str:
    digest = hashlib.sha256()
    for member in tar:
        source, done, progress = tar.extractfile(member), 0, Progress()
        while source and (piece := source.read(1024 * 1024)):
            digest.update(piece)
            file.write(piece)
            done += len(piece)
            report.doing(progress.line("copy to the host", done, member.size))
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file that can be read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces = pieces
        self.rest = b""

    def read(self, count: int = -1) -> bytes:
        while count < 0 or len(self.rest) < count:
            piece = next(self.pieces, b"")
            if not piece:
                break
            self.rest += piece
        taken, self.rest = (self.rest, b"") if count < 0 else (self.rest[:count], self.rest[count:])
        return taken
