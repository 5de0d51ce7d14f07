"""All of `python -m tests.bench snapshots`: that snapshots hold what they promise, and what they cost beside the peers.

Parts, for `--only`: busy (a large database in use, beside `cp`, sqlite3 and Litestream), sizes, many (a thousand, each
restored), sealed (a large archive encrypted), damage, killed, full, verbs (full disks, on an engine).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.snapshots.bounds import Bound, all_met, table
from tests.bench.snapshots.busy import busy, sizes
from tests.bench.snapshots.damage import damages
from tests.bench.snapshots.full import full
from tests.bench.snapshots.full_verbs import full_verbs
from tests.bench.snapshots.killed import killed
from tests.bench.snapshots.many import many
from tests.bench.snapshots.processes import say
from tests.bench.snapshots.sealed import sealed

#: A folder on a disk: /tmp may be in memory, where nothing costs what it costs.
DISK = "/var/tmp"
#: Where dying matters and not the disk: a killed process loses nothing that it has written, wherever it wrote it.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else DISK

Figures = tuple[list[Bound], str]


@dataclass(frozen=True)
class Part:
    name: str
    folder: str
    measure: Callable[[Path], Figures]


def parts(jobs: int) -> tuple[Part, ...]:
    """In an order in which what is measured in time comes first."""
    return (
        Part("busy", DISK, lambda folder: busy(folder, 500, rounds=3, idle=10, patience=45)),
        Part("sizes", DISK, lambda folder: sizes(folder, (10, 100, 500, 2000))),
        Part("many", DISK, lambda folder: (many(folder, 1000, jobs), "")),
        Part("sealed", DISK, lambda folder: (sealed(folder, 1000), "")),
        Part("damage", MEMORY, damages),
        Part("killed", MEMORY, killed),
        Part("full", MEMORY, full),
        Part("verbs", DISK, full_verbs),
    )


def measured(jobs: int, only: str) -> tuple[str, bool]:
    """The tables, as Markdown, and whether all bounds are met; `only`: the parts with this in their names."""
    rows: list[Bound] = []
    tables: list[str] = []
    for part in parts(jobs):
        if only in part.name:
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="bench-", dir=part.folder) as folder:
                found, more = part.measure(Path(folder))
            say(f"  {part.name}: {time.monotonic() - began:.0f} s")
            rows += found
            tables += [more] if more else []
    return "\n\n".join([table(rows), *tables]), all_met(rows)
