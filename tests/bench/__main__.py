"""`python -m tests.bench stack [--write]`: measures, prints the tables, and puts them into the README with --write."""

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
    parser.add_argument("name", choices=("stack",), help="what to measure")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each (7)")
    parser.add_argument("--write", action="store_true", help="put the tables into the README, too")
    options = parser.parse_args(argv)
    from tests.bench import stack

    tables = stack.measured(options.rounds)
    print(tables)
    if options.write:
        README.write_text(written(README.read_text(), options.name, tables))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
