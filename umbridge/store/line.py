"""Who is written next: frames first, then what somebody waits for, then what can wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
WORKS = 8  # in one transaction at most, and one that can wait
BURST = 45  # frames within BURST_SECONDS: sustained feeds stay below 450 frames/s
BURST_SECONDS = 0.1
DEFER_MAX_SECONDS = 2.0  # what can wait does so no longer than this; then one goes with each transaction


class Line(Generic[T]):
    """The queues before the writer. Not thread-safe: the writer's lock is around it."""

    def __init__(self, group: int) -> None:
        self.frames: deque[T] = deque()  # someone waits for an answer to each
        self.works: deque[T] = deque()
        self.later: deque[T] = deque()  # can wait while senders stand in line
        self._group = group
        self._arrivals: deque[float] = deque(maxlen=BURST)  # when the last frames were taken up
        self._held_since: float | None = None  # since when a line of senders holds it back

    def next_group(self, *, stopping: bool) -> list[T]:
        """Frames first; then what somebody waits for; then what can wait, unless senders stand in line."""
        frames = [self.frames.popleft() for _ in range(min(self._group, len(self.frames)))]
        works = [self.works.popleft() for _ in range(min(WORKS, len(self.works)))]
        now = time.monotonic()
        self._arrivals.extend([now] * len(frames))
        most = max(1, WORKS - len(works))  # however much else is asked, what can wait has its turn
        if not self.later or not self.crowded or stopping:
            self._held_since = None
        else:
            self._held_since = self._held_since or now
            most = 1 if now - self._held_since > DEFER_MAX_SECONDS else 0
        return frames + works + [self.later.popleft() for _ in range(min(most, len(self.later)))]

    def put_back(self, rest: Iterable[T]) -> None:
        """What a transaction had no time for is first in line for the next."""
        self.works.extendleft(reversed(list(rest)))

    def clear(self) -> list[T]:
        """Everything that waited, which nobody will write."""
        left = [*self.frames, *self.works, *self.later]
        self.frames.clear()
        self.works.clear()
        self.later.clear()
        return left

    @property
    def crowded(self) -> bool:
        """Whether senders stand in line just now."""
        return time.monotonic() < self._crowd_ends()

    def until_later(self) -> float | None:
        """Seconds until what can wait has its turn, if no further frame comes; None: nothing waits so."""
        if not self.later:
            return None
        ends = min(self._crowd_ends(), (self._held_since or 0.0) + DEFER_MAX_SECONDS)
        return max(0.0, ends - time.monotonic())

    def until_quiet(self, seconds: float) -> float:
        """Seconds until no frame has come for so long, if no further one comes."""
        last = self._arrivals[-1] if self._arrivals else float("-inf")
        return max(0.0, last + seconds - time.monotonic())

    def until_uncrowded(self) -> float:
        """Seconds until senders stand in line no more, if no further frame comes."""
        return max(0.0, self._crowd_ends() - time.monotonic())

    def _crowd_ends(self) -> float:
        """Until when senders count as standing in line, if no further frame comes."""
        return self._arrivals[0] + BURST_SECONDS if len(self._arrivals) == BURST else 0.0
