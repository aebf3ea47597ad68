"""When an order is to run: from when, until when, for how long, and the pauses between several timings."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple


class Part(NamedTuple):
    """A part of a timing that is not read: its field, the code there, and why (a word of ``PartReason``)."""

    field: str
    code: str
    why: str


class Timing(NamedTuple):
    """When an order is to run: TQ1, else RXE-1 or OBR-27, else ORC-7; of several the first and the last."""

    start: datetime | None  # TQ1-7, or TQ.4
    stop: datetime | None  # TQ1-8, or TQ.5; None where it runs until somebody ends it
    is_single: bool  # a single dose: TQ1-3.1, or TQ.2, is ONCE, or it is to be done once
    lasting: timedelta | None = None  # from its beginning on: TQ1-6, or TQ.3; of a single one TQ1-13 too
    gaps: tuple[tuple[datetime, datetime], ...] = ()  # of several: from when until when none runs
    is_unsure: bool = False  # whether what is not read may say that it does not run, or is over
    unread: tuple[Part, ...] = ()
