"""`python -m tests.bench stack|release|kill|faults|snapshots|service|engines|development [--write]`: measures, prints
the tables; --write puts them into the README. All but the first two end with 1 when a row is not right."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def written(text: str, name: str, tables: str) -> str:
    """The README with the tables of one benchmark as they came out."""
    mark = re.compile(rf"(<!-- figures: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    assert len(mark.findall(text)) == 1, f"the README has no place for the figures of {name}"
    return mark.sub(lambda match: f"{match[1]}{tables}\n{match[2]}", text)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measures, beside the peers, in one run."
    )
    names = ("stack", "release", "kill", "faults", "snapshots", "service", "engines", "development")
    parser.add_argument("name", choices=names, help="what to measure")
    parser.add_argument("--rounds", type=int, default=7, help="stack, service, development: runs of each (7)")
    parser.add_argument("--releases", type=int, default=10, help="release: how many of each contender (10)")
    parser.add_argument("--rollbacks", type=int, default=3, help="release: how many `rollback`s (3)")
    parser.add_argument("--every", type=int, default=1, help="kill: after each Nth call only (1)")
    parser.add_argument("--jobs", type=int, default=2, help="kill, snapshots: scenarios at the same time (2)")
    parser.add_argument(
        "--only", default="", help="kill, snapshots, service, engines: those with this in their names (all)"
    )
    parser.add_argument(
        "--requests", type=int, default=1_000_000, help="service: after which memory is looked at (1000000)"
    )
    parser.add_argument("--links", type=int, default=100_000, help="service: how many (100000)")
    parser.add_argument("--clicks", type=int, default=10_000_000, help="service: of all of them (10000000)")
    parser.add_argument("--write", action="store_true", help="put the tables into the README, too")
    options = parser.parse_args(argv)
    # What was made goes again, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from tests import faults_apart, kill
    from tests.bench import development, engines, release, stack
    from tests.bench.service import measure as service
    from tests.bench.snapshots import measure

    right = True
    if options.name == "stack":
        tables = stack.measured(options.rounds)
    elif options.name == "kill":
        tables, right = kill.measured(options.every, options.jobs, options.only)
    elif options.name == "snapshots":
        tables, right = measure.measured(options.jobs, options.only)
    elif options.name == "service":
        tables, right = service.measured(options.only, options.rounds, options.requests, options.links, options.clicks)
    elif options.name == "engines":
        tables, right = engines.measured(options.only, README.read_text())
    elif options.name == "development":
        tables, right = development.measured(options.rounds)
    elif options.name == "faults":
        tables, right = faults_apart.measured()
    else:
        tables = release.measured(options.releases, rollbacks=options.rollbacks)
    print(tables)
    if options.write:
        README.write_text(written(README.read_text(), options.name, tables))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
