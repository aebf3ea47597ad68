"""HL7 time stamps to aware times: every precision, every offset, and a code for whatever was odd."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

# YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ], HL7 v2 ch. 2A (DTM); a colon or a Z is sent all the same.
_STAMP = re.compile(
    rb"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d*))?)?)?)?)?)?\s*(Z|[+-][\d:]{2,5})?"
)
_OFFSET = re.compile(rb"([+-])(\d\d):?(\d\d)?")
_FIRST_YEAR, _LAST_YEAR = 1800, 2200  # nothing a hospital feed means lies outside; keeps arithmetic in range
_MAX_OFFSET_MINUTES = 14 * 60  # UTC+14 is the largest in use


def parse_time(raw: bytes, zone: tzinfo) -> tuple[datetime | None, str]:
    """The moment ``raw`` means and a note code, "" when nothing was odd.

    Without an offset the time is in ``zone``, the earlier one where clocks go back. A value less exact
    than a day is its first moment (``time_coarse``); hour 24 is the next midnight (``time_hour_24``); second
    60 is second 59 (``time_leap_second``); an absurd offset counts as none (``time_offset_unreadable``).
    None comes with ``time_unreadable``, or with no note where nothing, or HL7's null, was sent.
    """
    value = raw.strip()
    if not value or value == b'""':
        return None, ""
    usual = _usual(value, zone)
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


def _usual(value: bytes, zone: tzinfo) -> datetime | None:
    """YYYYMMDDHHMM[SS][+/-ZZZZ] at the speed of the standard library, or None: look closer."""
    size = len(value)
    digits = size - 5 if value[-5:-4] in (b"+", b"-") else size
    if digits not in (12, 14) or not value[:digits].isdigit() or not b"1800" <= value[:4] < b"2200":
        return None
    try:
        moment = datetime.fromisoformat(f"{value[:8].decode()}T{value[8:].decode()}")
    except ValueError:
        return None
    if digits == size:
        return moment.replace(tzinfo=zone)
    # fromisoformat takes any offset below a day
    return moment if value[-4:] <= b"1400" and value[-2:-1] < b"6" else None


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
