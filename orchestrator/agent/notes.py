"""What the schedule remembers over a restart, in a small file beside the snapshots."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from orchestrator.agent.events import log

FILE = "schedule.notes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Times are seconds since 1970; None: never. `failures` of the schedule's attempts in a row, and what the last one
    was; `told` is when trouble was last told to the webhook, None while there is none; `tried` when that last failed.
    `copy_failures` and `copy_error` are those of the copies off the host.
    """

    attempted: int | None = None
    failures: int = 0
    error: str = ""
    told: int | None = None
    tried: int | None = None
    copy_failures: int = 0
    copy_error: str = ""


def load(folder: Path) -> Notes:
    """The notes; empty ones where there are none or they cannot be read, since no snapshot depends on them."""
    try:
        document = json.loads((folder / FILE).read_text(encoding="ascii"))
        # One that is missing was not known to the version that wrote them.
        known = {field.name: document.get(field.name, field.default) for field in fields(Notes)}
        times = (known["attempted"], known["told"], known["tried"])
        counts, texts = (known["failures"], known["copy_failures"]), (known["error"], known["copy_error"])
        if (
            {type(one) for one in counts} == {int}
            and {type(one) for one in texts} == {str}
            and all(map(_is_time, times))
        ):
            return Notes(**known)
        raise ValueError("a value of another kind")
    except FileNotFoundError:
        return Notes()
    except (OSError, ValueError, AttributeError) as error:
        log("warning", "the notes of the schedule cannot be read and are begun anew", reason=repr(error))
        return Notes()


def _is_time(value: object) -> bool:
    return value is None or type(value) is int


def save(folder: Path, notes: Notes) -> None:
    write(folder / FILE, json.dumps(asdict(notes)) + "\n", mode=0o600)


def write(path: Path, text: str, *, mode: int) -> None:
    """A whole file in one step. A full disk is logged and does no harm."""
    # Not an ending that `store.clean` removes: it may run at the same time, in a process that holds the lock.
    new = path.with_name(path.name + ".new")
    try:
        with new.open("w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(mode)
        new.replace(path)
    except OSError as error:
        log("warning", f"{path.name} cannot be written", reason=error.strerror)
