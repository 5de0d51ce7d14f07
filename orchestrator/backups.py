"""The verbs about snapshots: each runs the agent in a container of the backup image, on the project's volumes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from orchestrator import create_args, labels
from orchestrator.deploy import Session
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.release import live_container
from orchestrator.report import size
from orchestrator.state import Observed, ObservedContainer

#: Where the agent keeps snapshots, and its archives' ending.
FOLDER, ENDING = "/backups", ".tar.zst"


def backup(session: Session, to: Path | None) -> dict[str, Any]:
    """Takes a snapshot now, and copies its archive to the host's folder `to`."""
    if to is not None:
        check_folder(to)
    observed = session.engine.observe(session.stack.project)
    live = live_container(session.stack, observed)
    command = ("snapshot", "--reason", "manual", "--release", live.release if live else "")
    with _agent(session, observed, command) as agent:
        with session.report.step("take a snapshot"):
            answer = agent.result()
        outcome = {key: answer[key] for key in ("snapshot", "bytes", "sha256", "databases", "seconds")}
        for warning in answer.get("warnings", ()):
            session.report.warn(warning)
        if to is not None:
            with session.report.step(f"copy {answer['snapshot']} to {to}"):
                outcome["file"] = str(_copy(agent, answer, to))
    return outcome | {"warnings": session.report.warnings}


def backups(session: Session) -> dict[str, Any]:
    """The snapshots there are, newest first."""
    with _agent(session, session.engine.observe(session.stack.project), ("list",)) as agent:
        return {"snapshots": agent.result()["snapshots"]}


def check_folder(folder: Path) -> None:
    """UsageError unless `folder` is one that can be written to; asked before any work is done."""
    if not folder.is_dir():
        raise UsageError(f"--to {folder}: there is no such folder.", hint=f"make it first: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--to {folder}: you may not write there.")


class _agent:  # noqa: N801 - reads as a with statement's subject
    """A one-off agent container; removed at the end, whatever happens."""

    def __init__(self, session: Session, observed: Observed, command: tuple[str, ...]) -> None:
        self.session = session
        self.name = f"{session.stack.project}-backup-run-{secrets.token_hex(4)}"
        spec = session.stack.service("backup")
        self.body = create_args.oneoff_body(
            session.stack, spec, image=_image(observed, session), command=command, role=labels.ROLE_AGENT
        )

    def __enter__(self) -> _agent:
        self.session.engine.create_container(self.name, self.body)
        return self

    def __exit__(self, *_: object) -> None:
        # SIGTERM first: an interrupted agent takes its unfinished parts away.
        self.session.engine.stop_container(self.name, 10)
        self.session.engine.remove_container(self.name)

    def result(self) -> dict[str, Any]:
        """Runs the agent to its end; its last word, or its error as ours."""
        engine = self.session.engine
        engine.start_container(self.name)
        last: dict[str, Any] = {}
        for message in _messages(engine.output(self.name)):
            if message.get("event") == "progress":
                total = int(message.get("total") or 0)
                done = f"{size(message.get('bytes', 0))} of {size(total)}" if total else size(message.get("bytes", 0))
                self.session.report.doing(f"snapshot: {message.get('phase', '')} {done}")
            else:
                last = message
        code = engine.wait(self.name, 30)
        if last.get("event") == "error":
            raise OrchestratorError(str(last["message"]), hint=str(last.get("hint", "")))
        if code != 0 or last.get("event") != "done":
            raise OrchestratorError(
                f"the backup agent ended with code {code}.", detail=tuple(engine.logs(self.name)[-10:])
            )
        return last


def _image(observed: Observed, session: Session) -> str:
    """The image of the project's backup service; its newest build when there is no container of it."""
    containers: tuple[ObservedContainer, ...] = observed.of("backup")
    if containers:
        return containers[-1].image_id
    reference = f"{session.stack.service('backup').image}:latest"
    if session.stack.volume("sqlite_data").name not in observed.volumes or not session.engine.image_id(reference):
        raise OrchestratorError(
            f"there is nothing of project {session.stack.project} to back up here.", hint="run `deploy` first."
        )
    return reference


def _messages(pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of an agent's output, one a line; anything else is no word of the agent's."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                yield message


def _copy(agent: _agent, answer: dict[str, Any], folder: Path) -> Path:
    """Copies the archive out of the volume; the file gets its name when its checksum is right and it is on disk."""
    name = f"{answer['snapshot']}{ENDING}"
    target, part = folder / name, folder / f"{name}.part"
    chunks = agent.session.engine.archive(agent.name, f"{FOLDER}/{name}")
    try:
        with part.open("wb") as file, tarfile.open(fileobj=_Stream(chunks), mode="r|") as tar:
            digest = _write(tar, file)
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


def _write(tar: tarfile.TarFile, file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    for member in tar:
        source = tar.extractfile(member)
        while source and (piece := source.read(1024 * 1024)):
            digest.update(piece)
            file.write(piece)
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
