"""How fast intravenous fluids are to be given, as one order tells it."""

from __future__ import annotations

from decimal import Decimal

from umbridge.model import Coded, Observation, Order
from umbridge.settings.site import SiteProfile
from umbridge.stay.dictionary import dictionary
from umbridge.stay.facts import value_of

FLUIDS, RATE = "iv_fluids", "iv_fluid_rate"
UNKNOWN = "?"  # in a statement: a rate was told, and what it is nobody can read, or it was taken away


def rate_of(order: Order, site: SiteProfile) -> str:
    """The rate that an order of fluids tells, in the dictionary's unit; "" where it tells none."""
    if order.rate is None:
        return ""
    amount, unit, _ = order.rate
    sent = Observation("NM", Coded(), Coded(), amount, unit, "", "", order.at, "", order.source)
    found = value_of(sent, dictionary()[RATE], "", site)
    return f"{found:f}" if isinstance(found, Decimal) else UNKNOWN


def is_unread(order: Order, site: SiteProfile) -> bool:
    """Whether an order of fluids gives a rate that is no number of mL/h."""
    is_sent = order.rate is not None and bool(order.rate[0]) and site.treatment(order) == FLUIDS
    return is_sent and rate_of(order, site) == UNKNOWN
