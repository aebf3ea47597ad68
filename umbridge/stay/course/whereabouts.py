"""Where an update says that the patient is, held against the transfer that brought the patient there.

A transfer is the event that moves a patient (HL7 v2 3.3.2); an update is sent where no other event occurred
(3.3.8). So one that repeats the place that a transfer left moves nobody back. A sender that tells of moves by
updates only is followed.
"""

from __future__ import annotations

from collections.abc import Mapping

from umbridge.stay.course.state import LOCATION, Course
from umbridge.stay.record import Record

PLACE_CONTRADICTED = "PLACE_CONTRADICTED"
MOVES = frozenset({"A02", "A17"})  # told because the patient was moved; A17: two patients change beds
REPEATS = frozenset({"A03", "A08"})  # PV1-3 of these only says again where the patient is
_LEFT, _STALE, _BETWEEN = "left", "stale_place", "\x1f"  # among the fields of the stay


def place_kept(course: Course, record: Record) -> tuple[str, ...]:
    """The fields of an update that are not to be taken over, because a transfer has left that place.

    ``course`` is as it was before the update, and remembers what a transfer leaves.
    """
    said = {name: value for name, value in record.data.get("fields", {}).items() if name in LOCATION}
    now = {name: course.fields.get(name, "") for name in LOCATION}
    if not said:
        return ()
    if _is_in(now, said):
        course.fields.pop(_STALE, None)
        return ()
    left = course.fields.get(_LEFT, "")
    if record.trigger in MOVES:
        course.fields[_LEFT] = _BETWEEN.join((str(record.told), *now.values()))
    elif record.trigger in REPEATS and left:
        told, *place = left.split(_BETWEEN)
        before = dict(zip(LOCATION, place, strict=True))
        if _is_in(before, said):
            if record.trigger == "A08" and record.told >= int(told):  # else it was said before the transfer
                course.fields[_STALE] = "Y"
            return LOCATION
        course.fields.pop(_LEFT)
    else:
        course.fields.pop(_LEFT, None)
    course.fields.pop(_STALE, None)
    return ()


def _is_in(place: Mapping[str, str], said: Mapping[str, str]) -> bool:
    """Whether PV1-3 names nothing else: what it leaves out, as a room, parts no places."""
    return any(said.values()) and all(place[name] == value for name, value in said.items() if value)


def is_contradicted(course: Course) -> bool:
    """Whether the latest update says that the patient is where a transfer had left."""
    return _STALE in course.fields
