"""When a message was sent, and when what it tells took place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from umbridge.hl7.er7 import Message
from umbridge.hl7.reading import Reading

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # where a message says no time at all and nobody knows a better one
AHEAD = "from_the_future"
_OWN_TIME = {"A01": 44, "A04": 44, "A03": 45}  # PV1 field that says when the event itself took place


def moments(reading: Reading) -> tuple[datetime, datetime]:
    """(effective, sent), as ``model.Event`` has them; notes what cannot be read."""
    message = reading.message
    code, trigger = message.kind
    header, evn = message.header.row(11), reading.row(b"EVN", 6)
    recorded = reading.time(evn[2], "EVN", 2) if evn else None
    sent = reading.time(header[7], "MSH", 7)
    if sent is None:
        reading.note("MSH-7 time_missing")
        sent = reading.received_at or recorded or EPOCH
    if code != "ADT":
        return sent, sent
    pv1, own = reading.row(b"PV1", 45) if trigger in _OWN_TIME else None, None
    if pv1:
        own = reading.time(pv1[_OWN_TIME[trigger]], "PV1", _OWN_TIME[trigger])
    took_place = reading.time(evn[6], "EVN", 6) if evn else None
    return took_place or own or recorded or sent, sent


def is_ahead(message: Message, zone: tzinfo, minutes: int, now: datetime) -> bool:
    """Whether a message lies in the future by more than a clock may be wrong: sent then, or telling of then.

    A stay's clock never goes back, so that one such message would hold all its reviews for overdue.
    """
    return max(moments(Reading(message, zone, None))) > now + timedelta(minutes=minutes)
