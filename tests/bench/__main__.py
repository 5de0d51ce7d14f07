"""`python -m tests.bench stack`: measures, and prints the README's table."""

from __future__ import annotations

import argparse
import sys


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measures, beside the peers, in one run."
    )
    parser.add_argument("name", choices=("stack",), help="what to measure")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each (7)")
    options = parser.parse_args(argv)
    from tests.bench import stack

    print(stack.measured(options.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
