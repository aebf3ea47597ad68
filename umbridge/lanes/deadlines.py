"""Deadlines that pass in silence: stays looked at when a review opens though nothing is said.

When that is stands in the store, so that a restart forgets none. What is found is as of the deadline, not of
the moment it was looked at: a daemon that was away for a day finds what one that was there would have found.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from umbridge.errors import StoreError
from umbridge.lanes.pipeline import Pipeline
from umbridge.stay.clock import instant, moment
from umbridge.store.writer import Writer

LOOK_SECONDS = 30.0  # reviews are due by hours and days
AT_ONCE = 256
ROUNDS = 64


class Deadlines:
    """Lives on the daemon's loop, beside the pipeline."""

    def __init__(
        self, writer: Writer, pipeline: Pipeline, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._writer = writer
        self._pipeline = pipeline
        self._clock = clock

    async def look(self) -> int:
        """Have the stays whose moment has come looked at; how many there were. Raises StoreError."""
        now = instant(self._clock())
        with self._writer.reading() as reader:
            found = reader.due_lanes(now, AT_ONCE)
        for lane, due in found:
            self._pipeline.look_at(lane, moment(due, ZoneInfo("UTC")))
        return len(found)

    async def catch_up(self) -> None:
        """Look until no moment has passed: a daemon that was away finds several of one stay, one by one.

        Raises StoreError. ``ROUNDS`` end it where a stay cannot be looked at: the next look tries again.
        """
        for _ in range(ROUNDS):
            if not await self.look():
                return
            await self._pipeline.idle()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            with contextlib.suppress(StoreError):  # the daemon is ending, and says so itself
                await self.catch_up()
            await asyncio.sleep(LOOK_SECONDS)
