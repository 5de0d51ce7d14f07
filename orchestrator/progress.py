"""How far something is that is measured in bytes, and how long it will still take. Pure, but for a clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.report import size

#: A rate means nothing before this many seconds.
FIRST = 1.0


def left(done: int, total: int, seconds: float) -> float | None:
    """Seconds that the rest takes at the rate so far; None while that cannot be said, or there is no rest."""
    if seconds < FIRST or done <= 0 or done >= total:
        return None
    return (total - done) * seconds / done


def shown(seconds: float) -> str:
    """`8 s left`, `3 min left`, for people; never less than a second."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s left"
    minutes = round(seconds / 60)
    return f"{minutes} min left" if minutes < 100 else f"{minutes / 60:.0f} h left"


class Progress:
    """Phases, one after the other, each with a rate of its own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phase, self._done, self._began = "", 0, 0.0

    def line(self, phase: str, done: int, total: int) -> str:
        """`copy 12.3 MB of 100.0 MB, 8 s left`. Fewer bytes than before begin the phase anew."""
        if phase != self._phase or done < self._done:
            self._began = self._clock()
        self._phase, self._done = phase, done
        if total <= 0:
            return f"{phase} {size(done)}"
        rest = left(done, total, self._clock() - self._began)
        return f"{phase} {size(done)} of {size(total)}" + (f", {shown(rest)}" if rest is not None else "")
