"""The chart of clicks by day: where its bars and lines are. Pure; the template draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

DAYS = 90
STEP, GAP = 8, 2  # pixels of the drawing from bar to bar, and between them
HEIGHT = 120
SECONDS = 86400


@dataclass(frozen=True)
class Bar:
    """One day's; `at` is the day's first second."""

    at: int
    clicks: int
    x: int
    y: float
    height: float


@dataclass(frozen=True)
class Chart:
    """`months` are (x, first second) where a month begins; `top` is the number that the upper line stands for."""

    bars: list[Bar]
    months: list[tuple[int, int]]
    top: int
    total: int
    width: int = DAYS * STEP
    height: int = HEIGHT
    bar: int = STEP - GAP


def draw(clicks: Mapping[int, int], today: int, days: int = DAYS) -> Chart:
    """The chart of the `days` up to `today`; both count from 1970-01-01."""
    first = today - days + 1
    counts = [clicks.get(first + number, 0) for number in range(days)]
    top = round_up(max(counts))
    bars = [_bar(number, first, count, top) for number, count in enumerate(counts)]
    return Chart(bars, _months(bars), top, sum(counts))


def round_up(number: int) -> int:
    """The next number that reads well on an axis: 1, 2, 4, 5, 10, 20, 40, 50, 100..."""
    scale = 1
    while True:
        for step in (1, 2, 4, 5):
            if number <= step * scale:
                return step * scale
        scale *= 10


def _bar(number: int, first: int, clicks: int, top: int) -> Bar:
    # The lowest that can be seen is not nothing.
    height = max(2.0, round(clicks / top * HEIGHT, 1)) if clicks else 0.0
    return Bar((first + number) * SECONDS, clicks, number * STEP, HEIGHT - height, height)


def _months(bars: list[Bar]) -> list[tuple[int, int]]:
    # Not at the very end, where the word has no room.
    return [(bar.x, bar.at) for bar in bars[:-5] if datetime.fromtimestamp(bar.at, UTC).day == 1]
