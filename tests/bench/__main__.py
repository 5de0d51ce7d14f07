"""`python -m tests.bench stack|release [--write]`: measures, prints the tables; --write puts them into the README."""

from __future__ import annotations

import argparse
import re
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
    parser.add_argument("name", choices=("stack", "release"), help="what to measure")
    parser.add_argument("--rounds", type=int, default=7, help="stack: runs of each (7)")
    parser.add_argument("--releases", type=int, default=10, help="release: how many of each contender (10)")
    parser.add_argument("--rollbacks", type=int, default=0, help="release: how many `rollback`s (0)")
    parser.add_argument("--write", action="store_true", help="put the tables into the README, too")
    options = parser.parse_args(argv)
    from tests.bench import release, stack

    if options.name == "stack":
        tables = stack.measured(options.rounds)
    else:
        tables = release.measured(options.releases, rollbacks=options.rollbacks)
    print(tables)
    if options.write:
        README.write_text(written(README.read_text(), options.name, tables))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
