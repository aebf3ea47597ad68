"""When a message was sent, and when what it tells took place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

from umbridge.hl7.er7 import Message
from umbridge.hl7.reading import Reading
from umbridge.hl7.times import Either, days_of, parse_time

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # where a message says no time at all and nobody knows a better one
AHEAD = "from_the_future"
#: Notes of a message that does not say when it was sent, or not to the minute.
UNSENT = frozenset(("MSH-7 time_missing", "MSH-7 time_inexact"))
#: How far the clock of a device and that of its sender may be apart. It is the least step between two zones:
#: what lies further ahead was written in another zone.
CLOCKS_DIFFER = timedelta(minutes=30)
CLOCKS_AGREE = timedelta(minutes=5)  # clocks that are kept together: as far apart as Kerberos lets them be
_MINUTE, _SECOND = 12, 14  # digits of a stamp that ends with them
#: Fields that say when something happened, no later than it is told of: recorded and occurred (EVN-2, -6),
#: entered (ORC-9), collected, received, reported, analysed (OBR-7, -14, -22, OBX-14, -19, SPM-17, -18).
_HAPPENED = {b"EVN": (2, 6), b"ORC": (9,), b"OBR": (7, 14, 22), b"OBX": (14, 19), b"SPM": (17, 18)}
#: Events that have happened when they are told. What is planned is entered long before, a cancel long after.
_HAPPENS = frozenset(("A01", "A02", "A03", "A04", "A06", "A07", "A08", "A09", "A10", "A17", "A21", "A22"))
_OWN_TIME = {"A01": 44, "A04": 44, "A03": 45}  # PV1 field that says when the event itself took place


class Moments(NamedTuple):
    """When a message was sent, and of an ADT event: when it took effect, was entered, and what EVN-6 says.

    ``told`` is None where the event was told when it was sent. ``occurred``: first and last moment that EVN-6
    can mean, None where it was not sent. ``is_entered``: EVN-2 says when it was entered, to the hour.
    """

    sent: datetime
    effective: datetime
    told: datetime | None = None
    occurred: tuple[datetime, datetime] | None = None
    is_entered: bool = False


def happened(reading: Reading, raw: bytes, sent: datetime, name: str, field: int) -> datetime | None:
    """When something took place: a day without an hour is the last moment of it up to ``sent``."""
    at = reading.time(raw, name, field)
    if at is None or has_hour(raw):
        return settled(reading, raw, sent) if reading.either and raw in reading.either else at
    days = days_of(reading.stamp(raw), reading.zone)
    return at if days is None else max(days[0], min(days[1], sent))


def repeated(reading: Reading, raw: bytes, sent: datetime, name: str, field: int) -> datetime | None:
    """The same of a field that later messages repeat: of an hour that comes twice always the same one."""
    at = reading.time(raw, name, field)
    return at if at is None or has_hour(raw) else happened(reading, raw, sent, name, field)


def settled(reading: Reading, raw: bytes, sent: datetime) -> datetime:
    """Which moment a time means that the clock has twice and that lies before its message.

    Not the later one where the message was sent before that; the later one where it was sent at once then.
    Else nothing tells: it is an interval, and its last moment up to ``sent`` stands in, so that what was told
    goes by the order in which it was sent and received.
    """
    its = reading.either[raw]
    if its.later - sent > CLOCKS_AGREE:
        return its.earlier
    if not reading.is_sent_open:
        if sent - its.later <= CLOCKS_AGREE:
            return min(its.later, sent)
        reading.is_open = True
    return min(its.last, sent)


def has_hour(raw: bytes) -> bool:
    return raw[8:10].isdigit()


def moments(reading: Reading) -> Moments:
    """The times of one message; notes what cannot be read."""
    message = reading.message
    code, trigger = message.kind
    header, evn = message.header.row(11), reading.row(b"EVN", 6)
    recorded = reading.time(evn[2], "EVN", 2) if evn else None
    sent = _sent(reading, header[7])
    if code != "ADT":
        return Moments(sent, sent)
    pv1, own = reading.row(b"PV1", 45) if trigger in _OWN_TIME else None, None
    if pv1:
        field = _OWN_TIME[trigger]
        own = repeated(reading, pv1[field], sent, "PV1", field)
        if evn and recorded is not None and has_hour(evn[2]) and not has_hour(pv1[field]):
            days = days_of(reading.stamp(pv1[field]), reading.zone)
            own = recorded if days is not None and days[0] <= recorded <= days[1] else own  # that day's hour
    occurred = None
    took_place = happened(reading, evn[6], sent, "EVN", 6) if evn and evn[6] else None
    if evn and took_place is not None:
        days = None if has_hour(evn[6]) else days_of(reading.stamp(evn[6]), reading.zone)
        its = reading.either.get(evn[6]) if reading.either and days is None else None
        occurred = (its.earlier, its.last) if its is not None else days or (took_place, took_place)
    elif own is not None and pv1 and reading.either and pv1[field] in reading.either:
        # What is repeated in later messages is read alike in all of them. Where that may be the wrong hour,
        # what took place after what is not known.
        reading.is_open |= settled(reading, pv1[field], sent) != own
    stated = took_place or own
    is_entered = evn is not None and recorded is not None and has_hour(evn[2])
    if evn and recorded is not None and (not is_entered or (reading.either and evn[2] in reading.either)):
        was_open = reading.is_open
        recorded = happened(reading, evn[2], sent, "EVN", 2)
        is_entered = is_entered and not (reading.is_sent_open or reading.is_open > was_open)
    told = recorded if recorded is not None and recorded < sent and recorded != stated else None
    exact = evn[6] if evn and took_place is not None else pv1[field] if pv1 and own is not None else b""
    if told is not None and stated is not None and trigger in _HAPPENS and has_hour(exact):
        # Nobody enters what is hours away: EVN-2 is of something else, and the event is told when it is sent.
        told = None if stated - told > CLOCKS_DIFFER else told
    return Moments(sent, stated or recorded or sent, told, occurred, is_entered)


def _sent(reading: Reading, raw: bytes) -> datetime:
    """When a message was sent: MSH-7. What is left out of it leaves an interval, and no first moment of one.

    In that interval, and where nothing can be read, the moment of receipt stands in. Where nobody received it
    (a file) the latest does of which the message itself tells: it was not sent before.
    """
    sent = reading.time(raw, "MSH", 7)
    if sent is None:
        reading.note("MSH-7 time_missing")
        return reading.received_at or latest_told(reading) or EPOCH
    if reading.either and raw in reading.either and raw[:_MINUTE].isdigit() and len(raw) >= _MINUTE:
        return _sent_in_change(reading, reading.either[raw])
    if len(raw) >= _SECOND and raw[:_SECOND].isdigit():
        return sent
    stamp = reading.stamp(raw).strip()
    digits = len(stamp) - len(stamp.lstrip(b"0123456789"))
    if digits >= _SECOND:
        return sent
    if digits == _MINUTE:  # as many senders write it: nothing is made up
        # A result of that minute is not after its message. Orders and events of one minute go by their
        # receipt: a cancel has seldom the seconds of what it cancels, and would be told before it.
        minute, last = stamp[:_MINUTE], sent + timedelta(seconds=59)
        is_result = reading.message.kind[0] == "ORU"
        tells = is_result and any(minute in line for line in reading.message.body[1:])
        return max(sent, latest_told(reading, last) or sent) if tells else sent
    reading.note("MSH-7 time_inexact")
    if "MSH-7 time_coarse" in reading.notes:
        reading.notes.remove("MSH-7 time_coarse")  # it says that the first moment counts
    bounds = days_of(stamp, reading.zone) or (sent, sent)
    told = reading.received_at or latest_told(reading) or sent
    return min(max(bounds[0], told), bounds[1])


def _sent_in_change(reading: Reading, its: Either) -> datetime:
    """MSH-7 in an hour that the clock has twice, or leaves out: its receipt tells which, if anything does.

    A message that came before the hour began anew was sent in the first one. Of one that came in the second
    nobody knows whether it was kept back, and receipt stands in, as it does in any interval. What came later,
    or from a file, was sent at the last moment of the two hours: the order of receipt, or of the file, tells.
    """
    received = reading.received_at
    if received is None:
        told = latest_told(reading)
        if told is not None and its.earlier + CLOCKS_DIFFER <= told < its.later + CLOCKS_DIFFER:
            return its.later
        reading.is_sent_open = True
        return its.last
    if its.later - received > CLOCKS_DIFFER:
        return its.earlier
    is_twice = its.last > its.later
    reading.is_sent_open = received > its.last if is_twice else received - its.later >= CLOCKS_DIFFER
    return min(received.astimezone(its.later.tzinfo), its.last) if is_twice else its.later


def latest_told(reading: Reading, until: datetime | None = None) -> datetime | None:
    """The latest moment at which, as a message says, something happened; None where it tells of none.

    What lies after ``until``, when it was sent at the latest, has not happened: it is planned, or a mistake.
    A day without an hour is no moment: whatever it was may have been later on that day than all else.
    """
    mark, latest = reading.message.delimiters.field, None
    code, trigger = reading.message.kind
    happened = {**_HAPPENED, b"PV1": (_OWN_TIME[trigger],)} if trigger in _OWN_TIME else _HAPPENED
    for line in reading.message.body[1:]:
        for number in happened.get(line[:3], ()) if code == "ADT" or line[:3] != b"PV1" else ():
            fields = line.split(mark, number + 1)
            raw = reading.stamp(fields[number]).strip() if len(fields) > number else b""
            at = parse_time(raw, reading.zone)[0] if has_hour(raw) else None
            if at is None or (until is not None and at > until):
                continue
            if latest is None or at > latest:
                latest = at
    return latest


def is_ahead(message: Message, zone: tzinfo, minutes: int, now: datetime) -> bool:
    """Whether a message lies in the future by more than a clock may be wrong: sent then, or telling of then.

    A stay's clock never goes back, so that one such message would hold all its reviews for overdue.
    """
    utc = now if now.tzinfo is UTC else now.astimezone(UTC)
    before, offset = _latest(zone, minutes, (utc.year, utc.month, utc.day, utc.hour, utc.minute))
    for raw in _stamps(message):
        if raw and not (raw[:12] < before and raw[:14].isdigit() and raw[14:] in (b"", offset)):
            break
    else:
        return False
    found = moments(Reading(message, zone, now))
    return max(found.sent, found.effective) > now + timedelta(minutes=minutes)


def _stamps(message: Message) -> list[bytes]:
    """The fields that ``moments`` may go by."""
    code, trigger = message.kind
    found = [message.header.field(7)]
    if code != "ADT":
        return found
    evn = message.first("EVN")
    if evn is not None:
        found += (evn.field(2), evn.field(6))
    pv1 = message.first("PV1") if trigger in _OWN_TIME else None
    if pv1 is not None:
        found.append(pv1.field(_OWN_TIME[trigger]))
    return found


@lru_cache(maxsize=64)
def _latest(zone: tzinfo, minutes: int, utc: tuple[int, int, int, int, int]) -> tuple[bytes, bytes]:
    """The minute that lies ``minutes`` ahead as the facility's clock writes it, and its offset: what is
    written before it was before it.

    Nothing is before it where the clock changes within a day, for then it may write one minute twice.
    """
    here = (datetime(*utc, tzinfo=UTC) + timedelta(minutes=minutes)).astimezone(zone)
    day = timedelta(days=1)
    if (here - day).utcoffset() != (here + day).utcoffset():
        return b"", b""
    return here.strftime("%Y%m%d%H%M").encode(), here.strftime("%z").encode()
