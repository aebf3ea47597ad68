"""How one plugin has behaved lately: when it is suspended, and when it is tried again.

One message that no plugin can take (a poison message) suspends nobody; one plugin that fails on message
after message does. While it is suspended its share is PEND at once, and nobody waits for its time-outs.
"""

from __future__ import annotations

FAILURES_TO_SUSPEND = 5  # without one good answer between,
MESSAGES_TO_SUSPEND = 3  # over so many different questions
PAUSE_SECONDS, LONGEST_SECONDS = 30.0, 600.0  # before the first trial; doubling; at most


class CircuitBreaker:
    """One plugin's record. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._failures = 0
        self._messages: set[object] = set()
        self._pause = 0.0
        self._until = 0.0

    @property
    def suspended(self) -> bool:
        """Whether its share is PEND for now, a trial excepted."""
        return self._pause > 0

    def may_ask(self, now: float) -> bool:
        """Whether it may be asked: always when in good standing, once in a while when suspended."""
        return not self.suspended or now >= self._until

    def answered(self) -> None:
        """A good answer ends a suspension and forgets the failures."""
        if self._failures:
            self._failures, self._pause = 0, 0.0
            self._messages.clear()

    def failed(self, message: object, now: float) -> None:
        """A failure of the plugin's own. ``message`` tells questions about one message from others."""
        self._failures += 1
        if len(self._messages) < MESSAGES_TO_SUSPEND:
            self._messages.add(message)
        if self.suspended:
            self._pause = min(LONGEST_SECONDS, self._pause * 2)
        elif self._failures >= FAILURES_TO_SUSPEND and len(self._messages) >= MESSAGES_TO_SUSPEND:
            self._pause = PAUSE_SECONDS
        self._until = now + self._pause
