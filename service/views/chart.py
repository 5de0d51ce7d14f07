"""The chart of clicks by day: where its bars and lines are. Pure; the template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

DAYS = 90
STEP, GAP = 8, 2  # pixels of the drawing from bar to bar, and between them
HEIGHT = 120


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
    width: int
    height: int = HEIGHT
    bar: int = STEP - GAP


def draw(days: Sequence[tuple[date, int]]) -> Chart:
    """The chart of (day, clicks), a day after the other."""
    counts = [count for _, count in days]
    top = round_up(max(counts))
    bars = [_bar(number, day, count, top) for number, (day, count) in enumerate(days)]
    return Chart(bars, _months(bars), top, sum(counts), len(days) * STEP)


def round_up(number: int) -> int:
    """The next number that reads well on an axis: 1, 2, 4, 5, 10, 20, 40, 50, 100..."""
    scale = 1
    while True:
        for step in (1, 2, 4, 5):
            if number <= step * scale:
                return step * scale
        scale *= 10


def _bar(number: int, day: date, clicks: int, top: int) -> Bar:
    # The lowest that can be seen is not nothing.
    height = max(2.0, round(clicks / top * HEIGHT, 1)) if clicks else 0.0
    at = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return Bar(at, clicks, number * STEP, HEIGHT - height, height)


def _months(bars: list[Bar]) -> list[tuple[int, int]]:
    # Not at the very end, where the word has no room.
    return [(bar.x, bar.at) for bar in bars[:-5] if datetime.fromtimestamp(bar.at, UTC).day == 1]
