"""The agent's command line, how often its copy began anew, and its memory: `python -m tests.bench.snapshots.counted`.

SQLite's backup begins anew when the source changed between two of its steps; what is left to copy grows then, and the
agent's progress goes back. That is counted here, and said on standard error in the end; the agent itself needs to know
nothing. So is the memory, because what a parent is told of its child is the parent's own where that was more.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.agent import __main__ as agent
from orchestrator.agent.events import Progress

#: What stands before the figures.
SAID = "figures: "


def main(arguments: Sequence[str]) -> int:
    restarts = 0
    advance = Progress.advance

    def counted(self: Progress, count: int) -> None:
        nonlocal restarts
        restarts += count < 0
        advance(self, count)

    Progress.advance = counted  # type: ignore[method-assign]
    try:
        return agent.main([*arguments])
    finally:
        print(SAID + json.dumps({"restarts": restarts, "memory": largest()}), file=sys.stderr)


def largest() -> int:
    """The resident set of this process at its largest, in bytes."""
    found = re.search(r"^VmHWM:\s+([0-9]+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
