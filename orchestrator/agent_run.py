"""Runs the snapshot agent in a container of its own, on the project's volumes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator import create_args, disk, labels
from orchestrator.agent.manifest import ARCHIVE_SUFFIX
from orchestrator.engine import Engine
from orchestrator.errors import USAGE, OrchestratorError
from orchestrator.model import SNAPSHOTS, SOURCE
from orchestrator.progress import Progress
from orchestrator.report import Reporter
from orchestrator.stack import OUTBOUND
from orchestrator.state import Observed

if TYPE_CHECKING:
    from orchestrator.session import Session

#: An archive's name is its snapshot's id with this ending.
ENDING = ARCHIVE_SUFFIX
#: The agent's verbs that are about snapshots alone.
WITHOUT_DATA = ("list", "copy", "tell", "fetch", "receive")


class AgentFailedError(OrchestratorError):
    """The agent's own word about why it failed; `code` as in orchestrator/agent/errors.py."""

    def __init__(self, message: str, *, hint: str, code: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        if code == "usage":
            self.exit_code = USAGE


@contextmanager
def container(name: str, body: Mapping[str, Any], engine: Engine, grace: float = 10.0) -> Iterator[str]:
    """A one-off container, created; removed at the end, whatever happens, with `grace` seconds to stop."""
    engine.create_container(name, with_engine(body, engine))
    try:
        yield name
    finally:
        try:
            # SIGTERM first: an interrupted agent takes its unfinished parts away.
            engine.stop_container(name, grace)
        finally:
            engine.remove_container(name)


def with_engine(body: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """The document with the engine's version in the environment, for the manifest; no reason to replace a container."""
    return {**body, "Env": [*body.get("Env", ()), f"ENGINE={engine.version().get('Version', '')}"]}


def result(name: str, engine: Engine, report: Reporter, stdin: Iterable[bytes] | None = None) -> dict[str, Any]:
    """Runs the agent in its container to its end; its last word, or its error as ours. `stdin` is what it is given."""
    if stdin is None:
        engine.start_container(name)
    else:
        engine.start_fed(name, stdin)
    last: dict[str, Any] = {}
    progress = Progress()
    for message in _messages(engine.output(name)):
        if message.get("event") == "progress":
            done, total = (int(message.get(key) or 0) for key in ("bytes", "total"))
            report.doing(progress.line(str(message.get("phase", "")), done, total))
        else:
            last = message
    code = engine.wait(name, 30)
    if last.get("event") == "error":
        raise AgentFailedError(str(last["message"]), hint=str(last.get("hint", "")), code=str(last.get("code", "")))
    if code != 0 or last.get("event") != "done":
        said = tuple(engine.logs(name)[-10:])
        hint = disk.hint(engine.info(), "\n".join(said), local=engine.is_local)
        raise OrchestratorError(f"the backup agent ended with code {code}.", hint=hint, detail=said)
    return last


def once(
    session: Session,
    observed: Observed,
    command: tuple[str, ...],
    *,
    writable: bool = False,
    outbound: bool = False,
    stdin: bool = False,
) -> AbstractContextManager[str]:
    """A container of the project's backup image for one command of the agent; the data is `writable` for a restore,
    whatever the settings say. `outbound`: it talks to remotes. `stdin`: it is given something."""
    stack = session.stack
    network = _outbound(session, observed) if outbound else "none"
    role = labels.ROLE_AGENT
    made = body(session, observed, command, role=role, writable=writable, network=network, stdin=stdin)
    return container(f"{stack.project}-backup-run-{secrets.token_hex(4)}", made, session.engine)


def body(
    session: Session,
    observed: Observed,
    command: tuple[str, ...],
    *,
    role: str,
    writable: bool = False,
    network: str = "none",
    stdin: bool = False,
) -> dict[str, Any]:
    """The container-create document of `once`."""
    spec = session.stack.service("backup")
    if command[0] in WITHOUT_DATA:
        # Without the data, it is never in the way of a restore, which stops all that has the data mounted.
        spec = replace(spec, mounts=tuple(m for m in spec.mounts if m.target == SNAPSHOTS))
    mounts = tuple(replace(m, read_only=m.read_only and not (writable and m.target == SOURCE)) for m in spec.mounts)
    spec = replace(spec, mounts=mounts)
    if network == "none":
        # Without a way out there is no use for the remotes' secrets.
        kept = {key: value for key, value in spec.environment.items() if not key.startswith("RCLONE_")}
        spec = replace(spec, environment=kept)
    chosen = image(observed, session)
    return create_args.oneoff_body(
        session.stack, spec, image=chosen, command=command, role=role, network=network, stdin=stdin
    )


def _outbound(session: Session, observed: Observed) -> str:
    """The network to the outside, made where there is none: after `down`, or before the first `deploy` with remotes."""
    network = next(network for network in session.stack.networks if network.key == OUTBOUND)
    if network.name not in {one.name for one in observed.networks}:
        session.engine.create_network(create_args.network_body(session.stack, network))
    return network.name


def image(observed: Observed, session: Session) -> str:
    """The image of the project's backup service; its newest build when there is no container of it."""
    containers = observed.of("backup")
    if containers:
        return containers[-1].image_id
    reference = f"{session.stack.service('backup').image}:latest"
    if session.stack.data_volume.name not in observed.volumes or not session.engine.image_id(reference):
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
