"""One deployment at a time for a project, whatever machine it is run from.

The lock is a container that is created and never started: its name is unique in the engine, so creating it is atomic.
Its label says who holds it; a counter inside it, raised every two seconds, says that the holder lives. A holder on this
host whose process is gone is known at once; one elsewhere when its counter has stood still. No clock is compared.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator import labels
from orchestrator.engine import Engine
from orchestrator.errors import EngineError, Locked, OrchestratorError

BEAT = 5.0
#: A counter that stood still for this long, in seconds, belongs to a dead holder: several beats on a busy machine.
DEAD_AFTER = 3 * BEAT
_FOLDER, _FILE = "/", "heartbeat"
DEPLOYMENT, REHEARSAL = "deployment", "rehearsal"


def name_of(project: str) -> str:
    return f"{project}-deploy-lock"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def host_identity() -> str:
    """Equal for two processes that can see each other's process ids: the same boot, the same PID namespace."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}/{_read('/proc/sys/kernel/random/boot_id')}/{namespace}"


def process_started(pid: int) -> str:
    """A process's start in clock ticks (proc(5), field 22 of stat), which tells it from a later one of the same id."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def owner() -> dict[str, str]:
    """Who we are, as the lock's label says it."""
    return {
        "host": socket.gethostname(),
        "identity": host_identity(),
        "user": getpass.getuser(),
        "pid": str(os.getpid()),
        "started": process_started(os.getpid()),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def certainly_dead(holder: Mapping[str, str]) -> bool:
    """Whether the holder was a process of this host and is gone."""
    if holder.get("identity") != host_identity() or not holder.get("pid", "").isdigit():
        return False
    if not holder.get("started"):
        return False  # no proc file system: only the counter can tell
    return process_started(int(holder["pid"])) != holder["started"]


def _holder(document: Mapping[str, Any]) -> dict[str, str]:
    try:
        holder = json.loads(document["Config"]["Labels"][labels.OWNER])
    except (KeyError, ValueError, TypeError):
        return {}
    return {key: str(value) for key, value in holder.items()} if isinstance(holder, dict) else {}


def _named(holder: Mapping[str, str]) -> str:
    user, host = holder.get("user", "somebody"), holder.get("host", "another host")
    return f"{user} on {host} (process {holder.get('pid', '?')})"


def _is_dead(holder: Mapping[str, str], container: str, engine: Engine, say: Callable[[str], None]) -> bool:
    if certainly_dead(holder):
        return True
    if holder.get("identity") == host_identity() and holder.get("started"):
        return False
    say(f"a {_doing(holder)} from {holder.get('host', 'another host')} holds the lock; looking whether it lives")
    before = engine.read_file(container, _FOLDER + _FILE)
    until = time.monotonic() + DEAD_AFTER
    while time.monotonic() < until:
        time.sleep(BEAT / 2)
        if engine.read_file(container, _FOLDER + _FILE) != before:
            return False
    return True


def _doing(holder: Mapping[str, str]) -> str:
    return holder.get("doing") or DEPLOYMENT


def _under_way(project: str, holder: Mapping[str, str]) -> str:
    doing = _doing(holder)
    return f"{'another' if doing == DEPLOYMENT else 'a'} {doing} of {project} is under way"


def _take(project: str, image: str, engine: Engine, say: Callable[[str], None], doing: str) -> str:
    """The id of the lock's container, which is ours; Locked says who has it otherwise."""
    name = name_of(project)
    body = {
        "Image": image,
        "Cmd": ["never-started"],
        "Labels": {labels.OWNER: json.dumps(owner() | {"doing": doing}), "orchestrator.lock": project},
        "HostConfig": {"NetworkMode": "none"},
    }
    for _ in range(3):
        try:
            engine.create_container(name, body)
            return str(engine.inspect(name)["Id"])
        except EngineError as error:
            if "already in use" not in error.message:
                raise
        try:
            document = engine.inspect(name)
        except EngineError:
            continue  # freed in between
        holder = _holder(document)
        if not _is_dead(holder, document["Id"], engine, say):
            raise Locked(
                f"{_under_way(project, holder)}: {_named(holder)}, since {holder.get('since')}.",
                hint="wait until it has ended; a lock whose holder died is taken over by itself.",
            )
        say(f"the {_doing(holder)} that held the lock since {holder.get('since')} has died; taking over")
        # By its id: if somebody else took over first, this removes nothing of theirs.
        engine.remove_container(document["Id"])
    raise Locked(f"another deployment of {project} is under way.", hint="try again in a moment.")


def held_for(project: str, engine: Engine) -> str:
    """What the lock is held for, such as DEPLOYMENT; "" if nobody holds it, or one who is known to be dead."""
    try:
        holder = _holder(engine.inspect(name_of(project)))
    except EngineError:
        return ""
    return "" if certainly_dead(holder) else _doing(holder)


def remove_dead(project: str, engine: Engine, say: Callable[[str], None]) -> None:
    """Removes the lock of a run of this host that was killed when all else was done: the next run has nothing to do,
    so it takes no lock that it could take over."""
    try:
        document = engine.inspect(name_of(project))
    except EngineError:
        return  # the usual case: there is none
    holder = _holder(document)
    if certainly_dead(holder):
        say(f"the {_doing(holder)} that held the lock since {holder.get('since')} has died; its lock is removed")
        engine.remove_container(document["Id"])


@contextmanager
def held(
    project: str, image: str, engine: Engine, say: Callable[[str], None], doing: str = DEPLOYMENT
) -> Iterator[None]:
    """Holds the project's lock. `image` is any image the engine has, `doing` what others are told of."""
    container = _take(project, image, engine, say, doing)
    stop = threading.Event()

    def beat() -> None:
        count, connection = 0, None
        while not stop.wait(BEAT):
            count += 1
            try:
                connection = connection or engine.twin()
                connection.write_files(container, _FOLDER, {_FILE: str(count).encode()})
            except OrchestratorError:
                connection = None  # the engine is restarting; the deployment itself will tell

    thread = threading.Thread(target=beat, name="lock-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=BEAT)
        try:
            engine.remove_container(container)
        except OrchestratorError as error:
            # How the deployment ended must be told, not this; a lock whose holder is gone is taken over.
            say(f"the lock could not be removed ({error.message.rstrip('.')}); the next deployment takes it over")
