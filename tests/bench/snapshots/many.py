"""Many snapshots of a database in use, each restored onto an empty volume and asked for all that was acknowledged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from orchestrator.agent import restore, store
from orchestrator.agent.errors import explain
from orchestrator.agent.snapshot import take
from tests.bench.snapshots.bounds import Bound
from tests.bench.snapshots.busy import wrong
from tests.bench.snapshots.processes import ROOT, Writer, fill, say

MEGABYTES = 2
#: A line of progress after this many.
TOLD = 100


def some(folder: Path, count: int) -> list[str]:
    """`count` snapshots, one after the other, by the agent's own functions in this process; returns what was wrong with
    those that did not restore with all."""
    source, backups, out = folder / "data", folder / "backups", folder / "out"
    for made in (source, backups):
        made.mkdir()
    fill(source / "links.db", MEGABYTES)
    problems = []
    with Writer(source / "links.db") as writer:
        for number in range(count):
            upto = writer.acknowledged
            try:
                taken = take(source, backups, release="", reason="bench", wait=0).snapshot
                out.mkdir()
                restore.prepare(out, backups, taken, wait=0)
                restore.switch(out, backups, release="", wait=0)
                restore.finish(out)
                store.remove(backups, taken)
                problem = wrong(out / "links.db", upto)
            except Exception as error:
                problem = explain(error).message
            if problem:
                problems.append(f"snapshot {number + 1}: {problem}")
            shutil.rmtree(out, ignore_errors=True)
            if (number + 1) % TOLD == 0:
                say(f"  {number + 1} snapshots, {len(problems)} bad")
    return problems


def many(folder: Path, count: int, jobs: int) -> list[Bound]:
    """`count` in all, in as many processes as there are `jobs`, each with a volume and a writer of its own."""
    say(f"{count} snapshots under writes, each restored")
    shares = [count // jobs + (index < count % jobs) for index in range(jobs)]
    running = []
    for share in shares:
        place = tempfile.mkdtemp(dir=folder)
        command = [sys.executable, "-m", "tests.bench.snapshots.many", place, str(share)]
        running.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    problems = []
    for process in running:
        output, _ = process.communicate()
        assert process.returncode == 0, f"a job ended with {process.returncode}"
        problems += json.loads(output)
    for problem in problems:
        say(f"  {problem}")
    good = count - len(problems)
    figure = "snapshots under writes that restore with every write acknowledged before their start"
    return [Bound(figure, f"{good} of {count}", "all", good == count)]


def main(arguments: Sequence[str]) -> int:
    json.dump(some(Path(arguments[0]), int(arguments[1])), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
