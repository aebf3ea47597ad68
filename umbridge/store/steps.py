"""Whether the wall clock stepped since the last transaction: a fact for the ledger, no reason to refuse.

Entries carry the wall's time. Beside it runs a clock that only goes forward; where the two part, the
difference is an entry, ``clock.step``. The verifier asks for no order of times: a wrong clock is no forgery.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from umbridge_audit.entry import Draft, JsonValue

MOST_SECONDS = 2.0  # more than that between the two clocks is a step, as is every step back
_TRIES = 3  # to read both at one moment


def wall_time() -> datetime:
    return datetime.now(UTC)


def steady_seconds() -> float:
    """Seconds since the machine started, those it slept included where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Steps:
    """The wall clock, held against the steady one from one transaction to the next."""

    def __init__(
        self, wall: Callable[[], datetime] = wall_time, steady: Callable[[], float] = steady_seconds
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._last: tuple[datetime, float | None] | None = None

    def resume(self, last: datetime) -> None:
        """Goes on from the last entry's time. How long ago that was nobody knows: only a step back shows."""
        self._last = (last, None)

    def now(self) -> tuple[datetime, Draft | None]:
        """The time, and the entry that goes first if the clock stepped."""
        wall, steady = self._together()
        last, self._last = self._last, (wall, steady)
        if last is None:
            return wall, None
        gone = (wall - last[0]).total_seconds()
        off = gone if last[1] is None else gone - (steady - last[1])
        if gone >= 0 and (last[1] is None or abs(off) <= MOST_SECONDS):
            return wall, None
        detail: dict[str, JsonValue] = {
            "before": last[0].isoformat(timespec="milliseconds"),
            "now": wall.isoformat(timespec="milliseconds"),
            "ms": round(off * 1000),
        }
        return wall, Draft("clock.step", {"actor": "umbridge", "detail": detail})

    def _together(self) -> tuple[datetime, float]:
        """Both clocks at one moment: again, if something held us up in between."""
        for _ in range(_TRIES):
            before = self._steady()
            wall, steady = self._wall(), self._steady()
            if steady - before < MOST_SECONDS / 4:
                break
        return wall, steady


class BatchClock:
    """One moment a transaction: every entry and every key of a batch belongs to the same month."""

    def __init__(self, steps: Steps | None = None) -> None:
        self.steps = steps or Steps()
        self.now, self.stepped = self.steps.now()

    def tick(self) -> None:
        self.now, self.stepped = self.steps.now()

    def __call__(self) -> datetime:
        return self.now
