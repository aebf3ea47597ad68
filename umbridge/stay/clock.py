"""Instants as whole microseconds, and midnights by the facility's local date.

Comparing two datetimes of one zone compares their wall clocks, which go wrong in the hour that daylight
time repeats; whole microseconds since 1970 in UTC sort as time passes and write short in a snapshot.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR, MINUTE = 3_600_000_000, 60_000_000


def instant(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    since = moment - _EPOCH
    return (
        since.days * 86_400 + since.seconds
    ) * 1_000_000 + since.microseconds  # a division takes twice as long


@lru_cache(maxsize=1 << 14)  # one look at a stay asks for the same few moments again and again
def moment(at: int, zone: ZoneInfo) -> datetime:
    """The same instant on the facility's clock."""
    return (_EPOCH + timedelta(microseconds=at)).astimezone(zone)


def local_date(at: int, zone: ZoneInfo) -> date:
    return moment(at, zone).date()


def midnights(start: int, end: int, zone: ZoneInfo) -> int:
    """Local midnights between two instants: dates, not hours, so that a 23 hour day counts as one."""
    return max(0, (local_date(end, zone) - local_date(start, zone)).days)


def start_of_day(day: date, zone: ZoneInfo) -> int:
    return instant(datetime.combine(day, time.min, zone).astimezone(UTC))


def end_of_day(day: date, zone: ZoneInfo) -> int:
    """The last second of a local day: what "by that date" means on a clock."""
    return start_of_day(day + timedelta(days=1), zone) - 1_000_000
