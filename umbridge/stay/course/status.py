"""What the patient is, and from which evidence: HL7 has no class for observation, so status is resolved.

The site's precedence decides between a status order, PV1-18 and PV1-2 (42 CFR 412.3(a): inpatient care
begins with an order; a class of I alone is registration's word, not the practitioner's).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from umbridge.settings.site import SiteProfile
from umbridge.values.kinds import Status

#: Where the stay keeps what a step of the precedence reads.
FIELD_OF = {"PV1-18": "type", "PV1-2": "class", "PV1-10": "service", "PV1-3": "unit"}
#: What an event says by itself of the side of inpatient (HL7 v2 3.3.6, 3.3.7), where PV1 says no status.
BY_EVENT = {"A06": Status.INPATIENT, "A07": Status.OUTPATIENT}
#: Among the fields of the stay: the event that set the status, and each field that what was told since has
#: taken the force from, by its name.
EVENT, OUT = "event", "out "


class StatusOrderInForce(NamedTuple):
    """An order for inpatient, observation or outpatient care that has not been cancelled.

    ``is_ended``: it was, after registration had acted on it; the status stands by registration's word.
    ``ended``: when, of an order for observation.
    """

    placer: str
    status: str
    level: int | None
    at: int
    source: str
    is_ended: bool = False
    ended: int | None = None


class Resolved(NamedTuple):
    """A status and where it was read: ``order`` or a field such as ``PV1-18``."""

    status: Status
    source: str
    order: StatusOrderInForce | None = None


def from_registration(site: SiteProfile, fields: Mapping[str, str]) -> Resolved | None:
    """The status that PV1 alone gives, by the site's precedence; else what an event that set one says."""
    unit = site.units.get(fields.get("unit", ""))
    for step in site.precedence:
        if step == "order":
            continue
        name = FIELD_OF[step]
        status = site.status_codes[step].get(fields.get(name, ""))
        if status is None or OUT + name in fields:
            continue
        if step == "PV1-2" and status is Status.OUTPATIENT and unit is not None and unit.is_ed:
            return Resolved(Status.ED, "PV1-3")
        return Resolved(status, step)
    event = fields.get(EVENT)
    return None if event is None else Resolved(BY_EVENT[event], event)


def resolve(
    site: SiteProfile, registered: Resolved | None, order: StatusOrderInForce | None
) -> Resolved | None:
    """The status in force, of what registration says and the newest order. None where neither says any."""
    if order is None or "order" not in site.precedence:
        return registered
    if registered is not None and _place(site, registered.source) < site.precedence.index("order"):
        return registered
    return Resolved(Status(order.status), "order", order)


def _place(site: SiteProfile, source: str) -> int:
    """Where a source stands in the precedence; an event, or the unit beside PV1-2, where PV1-2 does."""
    step = source if source in site.precedence else "PV1-2"
    return site.precedence.index(step) if step in site.precedence else len(site.precedence)
