"""`python -m tests.check`: what can be checked without running the tests; a line for each, exit code 1 if any fails."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("format", ("ruff", "format", "--check", "--quiet", "--diff", ".")),
    ("lint", ("ruff", "check", "--output-format", "concise", ".")),
    ("types", ("mypy",)),
    ("docker-compose.yml", ("orchestrator", "compose", "--check")),
    ("generated parts", ("tests.generated", "--check")),
)
"""A name, and a module with its arguments."""


def check(name: str, module: Sequence[str]) -> bool:
    """Run one check from the repository's folder and print how it went; whether it found nothing."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    good = done.returncode == 0
    print(f"{'ok    ' if good else 'FAILED'} {name} ({time.monotonic() - start:.1f} s)", flush=True)
    if not good:
        print(done.stdout.rstrip(), flush=True)
    return good


def main(checks: Sequence[tuple[str, Sequence[str]]] = CHECKS) -> int:
    """Run all checks; 0 if they found nothing, else 1."""
    results = [check(name, module) for name, module in checks]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
