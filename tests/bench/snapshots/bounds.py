"""What a figure must be: the rows of the tables that say so, whether met or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """One figure: what came out and what it must be, both as text."""

    figure: str
    value: str
    bound: str
    met: bool


def table(rows: Sequence[Bound]) -> str:
    """As Markdown; a bound that is not met is printed as such."""
    lines = ["| figure | measured | bound | met |", "|---|---|---|---|"]
    lines += [f"| {row.figure} | {row.value} | {row.bound} | {'yes' if row.met else '**no**'} |" for row in rows]
    return "\n".join(lines)


def all_met(rows: Sequence[Bound]) -> bool:
    return all(row.met for row in rows)
