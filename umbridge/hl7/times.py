"""HL7 time stamps to aware times: every precision, every offset, and a code for whatever was odd."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import ClassVar, NamedTuple

# YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ], HL7 v2 ch. 2A (DTM); a colon or a Z is sent all the same.
_STAMP = re.compile(
    rb"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d*))?)?)?)?)?)?\s*(Z|[+-][\d:]{2,5})?"
)
_OFFSET = re.compile(rb"([+-])(\d\d):?(\d\d)?")
_FIRST_YEAR, _LAST_YEAR = 1800, 2200  # nothing a hospital feed means lies outside; keeps arithmetic in range
_MAX_OFFSET_MINUTES = 14 * 60  # UTC+14 is the largest in use
_SECOND = timedelta(seconds=1)
CHANGES = ("time_twice", "time_skipped")
_KEPT, _ZONES = 8192, 16  # days and times of day kept read, and zones they are kept for; then all over again


def parse_time(raw: bytes, zone: tzinfo) -> tuple[datetime | None, str]:
    """The moment ``raw`` means and a note code, "" when nothing was odd.

    Without an offset the time is in ``zone``, the earlier one where clocks go back (see ``either``). A value
    less exact than a day is its first moment (``time_coarse``); hour 24 is the next midnight
    (``time_hour_24``); second 60 is second 59 (``time_leap_second``); an absurd offset counts as none
    (``time_offset_unreadable``).
    None comes with ``time_unreadable``, or with no note where nothing, or HL7's null, was sent.
    """
    value = raw.strip()
    if not value or value == b'""':
        return None, ""
    usual = Clock.of(zone).usual(value)
    if usual is not None:
        return usual, ""
    match = _STAMP.fullmatch(value)
    if match is None:
        return None, "time_unreadable"
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    note = "" if day else "time_coarse"
    hours, seconds = int(hour or 0), int(second or 0)
    late = hours == 24 and not int(minute or 0) and not seconds
    if late:
        hours, note = 0, "time_hour_24"
    if seconds == 60:
        seconds, note = 59, "time_leap_second"
    micro = int((fraction or b"")[:6].ljust(6, b"0"))
    place = zone
    if offset:
        found = _zone(offset)
        place, note = (found, note) if found else (zone, "time_offset_unreadable")
    if not _FIRST_YEAR <= int(year) <= _LAST_YEAR:
        return None, "time_unreadable"
    try:
        moment = datetime(
            int(year), int(month or 1), int(day or 1), hours, int(minute or 0), seconds, micro, place
        )
    except ValueError:
        return None, "time_unreadable"
    return (moment + timedelta(days=1) if late else moment), note


def days_of(raw: bytes, zone: tzinfo) -> tuple[datetime, datetime] | None:
    """First and last second of the hour, day, month or year that a stamp without minutes means; else None."""
    match = _STAMP.fullmatch(raw.strip())
    if match is None or match[5]:
        return None
    first, _ = parse_time(raw, zone)
    if first is None:
        return None
    if match[4]:
        following = first + timedelta(hours=1)
    elif match[3]:
        following = first + timedelta(days=1)
    elif match[2]:
        following = (first + timedelta(days=31)).replace(day=1)
    else:
        following = first.replace(year=first.year + 1)
    last = following - _SECOND
    again = last.replace(fold=1)  # an hour that comes twice is two hours long
    if again.utcoffset() == first.utcoffset():
        return first, last
    return _fixed(first), max(_fixed(last), _fixed(again))


class Either(NamedTuple):
    """What a time without an offset can mean that its clock has twice, or leaves out.

    ``last``: of an hour that comes twice, the last second in which it does; of one left out, ``later``.
    ``usual`` is what stands for it where nothing tells the two apart: the first, and of an hour left out what
    a clock shows that has not changed yet. Each has its own offset: times of one zone compare by the face of
    its clock, which goes wrong here.
    """

    earlier: datetime
    later: datetime
    last: datetime
    usual: datetime


def either(at: datetime, zone: tzinfo) -> Either:
    """Both moments that a time of ``zone`` can mean of which ``Clock.oddity`` says anything."""
    here = at.replace(tzinfo=None)
    usual, other = (_fixed(here.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if other < usual:  # left out: no clock shows it twice
        return Either(other, usual, usual, usual)
    low, high = usual.astimezone(UTC), other.astimezone(UTC)
    before = usual.utcoffset()
    while high - low > _SECOND:  # the clock goes back somewhere between the two
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    last = high.replace(microsecond=0) + (other - usual) - _SECOND
    return Either(usual, other, last.astimezone(other.tzinfo), usual)


def _fixed(at: datetime) -> datetime:
    offset = at.utcoffset()
    return at if offset is None else at.replace(tzinfo=timezone(offset), fold=0)


class Clock:
    """Reads the stamps that nearly all senders send, YYYYMMDD[HHMM[SS][+/-ZZZZ]], in one zone.

    Days and times of day are few and come again, so each is read once and kept: ``days`` by a stamp's first
    eight bytes, ``hours`` by the rest. Whoever reads many stamps looks there before asking ``usual``.
    """

    __slots__ = ("_zone", "hours", "steady")
    _made: ClassVar[dict[tzinfo, Clock]] = {}
    days: ClassVar[dict[bytes, date]] = {}

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self.hours: dict[bytes, time] = {}
        self.steady: set[bytes] = set()  # days, by a stamp's first eight bytes, on which it does not change

    def oddity(self, day: bytes, at: datetime) -> str:
        """What is odd about a time of a day: that this clock has it twice, or not at all (``CHANGES``)."""
        zone, here = self._zone, at.replace(tzinfo=None)
        noon = datetime.combine(here.date(), time(12), zone)
        if (noon - timedelta(days=1)).utcoffset() == (noon + timedelta(days=1)).utcoffset():
            if len(self.steady) >= _KEPT:
                self.steady.clear()
            self.steady.add(day)
            return ""
        if at.tzinfo is not zone or at.utcoffset() == at.replace(fold=1).utcoffset():
            return ""
        again = at.astimezone(UTC).astimezone(zone).replace(tzinfo=None)
        return "time_twice" if again == here else "time_skipped"

    @classmethod
    def of(cls, zone: tzinfo) -> Clock:
        """The clock of that zone; there are as many as sites have zones."""
        found = cls._made.get(zone)
        if found is None:
            if len(cls._made) >= _ZONES:
                cls._made.clear()
            found = cls._made[zone] = cls(zone)
        return found

    def usual(self, stamp: bytes) -> datetime | None:
        """The moment, or None: ``parse_time`` will say what is odd about it."""
        day = self.day(stamp[:8])
        if day is None:
            return None
        at = self.hours.get(stamp[8:]) or self._hour(stamp[8:])
        return None if at is None else datetime.combine(day, at)

    @classmethod
    def day(cls, digits: bytes) -> date | None:
        """The day that eight digits mean, in the years that a feed can mean; else None."""
        known = cls.days.get(digits)
        if known is not None:
            return known
        if len(digits) != 8 or not digits.isdigit() or not b"1800" <= digits[:4] < b"2200":
            return None
        try:
            found = date.fromisoformat(digits.decode())
        except ValueError:
            return None
        if len(cls.days) >= _KEPT:
            cls.days.clear()
        cls.days[digits] = found
        return found

    def _hour(self, rest: bytes) -> time | None:
        size = len(rest)
        digits = size - 5 if rest[-5:-4] in (b"+", b"-") else size
        if not size:
            rest = b"0000"  # a day means its first moment
        elif digits not in (4, 6) or not rest[:digits].isdigit():
            return None
        elif digits < size and not (rest[-4:].isdigit() and rest[-4:] <= b"1400" and rest[-2:-1] < b"6"):
            return None  # fromisoformat takes any offset below a day
        try:
            found = time.fromisoformat(rest.decode())
        except ValueError:
            return None
        if digits == size:
            found = found.replace(tzinfo=self._zone)
        if len(self.hours) >= _KEPT:
            self.hours.clear()
        self.hours[rest if size else b""] = found
        return found


def _zone(offset: bytes) -> tzinfo | None:
    if offset == b"Z":
        return UTC
    match = _OFFSET.fullmatch(offset)
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3] or 0)
    if minutes > _MAX_OFFSET_MINUTES or int(match[3] or 0) > 59:
        return None
    return timezone(timedelta(minutes=minutes if match[1] == b"+" else -minutes))


def parse_date(raw: bytes) -> tuple[str, str]:
    """A whole calendar day as YYYYMMDD, or "" with a note when something less or unreadable was sent."""
    value = raw.strip()
    if not value or value == b'""':
        return "", ""
    if len(value) == 8 and Clock.day(value):
        return value.decode(), ""
    match = _STAMP.fullmatch(value)
    if match is None:
        return "", "date_unreadable"
    year, month, day = match[1], match[2], match[3]
    if not day:
        return "", "date_coarse"
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return "", "date_unreadable"
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        return "", "date_unreadable"
    return found.strftime("%Y%m%d"), ""
