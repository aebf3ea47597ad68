"""One ORC as a statement: what it says of which order, or why it says nothing of a status or a treatment."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import NamedTuple

from umbridge.model import Event, Order
from umbridge.settings.site import SiteProfile
from umbridge.stay.clock import MINUTE, instant
from umbridge.stay.orders.effect import INHERITED, Effect, effect_of
from umbridge.stay.orders.entities import same
from umbridge.stay.orders.rates import FLUIDS, rate_of
from umbridge.stay.practitioners import by_role
from umbridge.stay.reasons import OrderReason
from umbridge.stay.record import names_of
from umbridge.values.carers import ORDERING
from umbridge.values.timings import Timing

#: What an order is, besides a treatment, which is named by its fact.
STATUS, DISCHARGE = "+status", "+discharge"
#: What is no treatment.
NO_TREATMENT = frozenset({STATUS, DISCHARGE})
#: An order for a drug that goes past gut and skin, and of which no list of the profile says what it is.
UNREAD = "unmapped_parenteral_order"
#: Orders that have another order's placer number: table 0119, comments on PA and on RO.
CHILD, REPLACEMENT = "child", "replacement"
_TICK = timedelta(microseconds=1)
_NEW = frozenset({"NW", "RO", "CH", "RA", "SN"})
_CHANGED = frozenset({"XO", "XX", "XR"})


class OrderStatement(NamedTuple):
    """One ORC, cut to what an order needs, as the increment keeps it. Times are instants."""

    told: int
    sent: int
    seq: int
    part: int
    at: int  # from when a beginning counts
    changed: int  # from when an end counts
    does: str  # an Effect; "" where it could not be read
    what: str  # a fact, STATUS or DISCHARGE; "" where the order's number has to say it
    code: str  # where no code is mapped: the first, "" for none; of an UNREAD order what it is called
    is_change: bool  # XO, XX or XR: the order's other codes have given way to this one
    placer: str
    filler: str
    parent: str
    parent_filler: str
    apart: (
        str  # CHILD or REPLACEMENT where the placer number is another order's, and the filler number its own
    )
    is_timed: bool
    stop: int | None
    source: str
    patient: str
    status: str = ""  # of a status order
    level: int | None = None
    visit: str = ""
    account: str = ""
    facility: str = ""
    entered: int | None = None  # ORC-9 where it has an hour
    word: str = ""  # ORC-1 and ORC-5
    by: str = ""  # who signed it, as JSON: what a statement is compared and found by can hold no list
    is_dated: bool = False  # says when the order itself takes effect: ORC-15, and not the transaction's time
    rate: str = ""  # of fluids: mL/h; "?" where nobody can say; "" where nothing is told of it
    start: int | None = None  # when it is to begin, as sent: it is not in force before
    lasting: int | None = None  # from its beginning on, where no time says when that is
    group: str = ""  # the placer's number of its group (ORC-4); alone it means all orders of that
    gaps: str = ""  # of several timings, "FROM-UNTIL,…": none of them runs then
    is_unsure: bool = False  # whether a part of its timing that is not read may say that it does not run

    @property
    def when(self) -> tuple[int, int, int, int]:
        """Its place among what was told."""
        return self[:4]

    @property
    def origin(self) -> tuple[int, int]:
        return (self.seq, self.part)

    @property
    def is_of_group(self) -> bool:
        """Whether it speaks of a group of orders and of none by its own number."""
        return bool(self.group) and not (self.placer or self.filler or self.what)

    @property
    def is_bare(self) -> bool:
        """Whether its number has no namespace: it may be another application's."""
        return "^" not in (self.placer or self.filler)

    @property
    def is_told_of(self) -> bool:
        """Whether it says what is ordered by its number, and not that something known has ended."""
        says = self.does in (Effect.BEGINS, Effect.STANDS) and (self.what != UNREAD or self.is_new)
        return says and bool(self.what)

    @property
    def is_new(self) -> bool:
        return self.word.partition(" ")[0] in _NEW


def _is_dated(order: Order, sent: int) -> bool:
    """ORC-15 is when "the changes to the request" took effect (4.5.1.15). Filled with the moment of the
    transaction (ORC-9, else MSH-7; of a new order MSH-7) it says that something was changed then, or sent
    again, and not when the order began."""
    is_sent = order.entered_at is None or order.control in _NEW
    own = sent if is_sent or order.entered_at is None else instant(order.entered_at)
    return order.is_dated and instant(order.at) // MINUTE != own // MINUTE


def _is_of_group(order: Order, does: Effect | OrderReason) -> bool:
    """Whether it ends, holds or releases the orders of a group (ORC-4), and names none of them."""
    is_named = order.placer or order.filler or order.code.code
    return bool(order.group) and not is_named and does in INHERITED


def _length(order: Order) -> tuple[int | None, int | None]:
    """When it stops, and how long it runs where nothing says when it begins."""
    timing = order.timing
    if timing is None:
        return None, None
    stop = None if timing.stop is None else instant(timing.stop)
    lasting = None if timing.lasting is None else timing.lasting // _TICK
    if lasting is None and timing.is_single and stop is None:
        lasting = 0
    if lasting is None or order.starts is None:
        return stop, lasting
    ends = instant(order.starts) + lasting  # the earlier of the two ends it (HL7 v2 4.5.4.8)
    return ends if stop is None else min(stop, ends), None


def _gaps(timing: Timing) -> str:
    return ",".join(f"{instant(begins)}-{instant(ends)}" for begins, ends in timing.gaps)


class Plain(NamedTuple):
    """An order that is neither a status nor a treatment, or may be: its numbers, and what it is called."""

    placer: str
    filler: str
    code: str  # "" where an order is not new: pharmacies code an order anew, which makes it no other order
    patient: str = ""
    group: str = ""  # ORC-4


def unused(order: Order, site: SiteProfile) -> OrderReason | None:
    """Why an order says nothing of a status or a treatment by itself; None where the stay has to tell."""
    does = effect_of(order, site.order_meanings)
    if isinstance(does, OrderReason):
        return does
    if _what(order, site) or _is_of_group(order, does):
        return None
    if not order.placer and not order.filler:
        return OrderReason.UNMAPPED if order.code.code else OrderReason.NUMBER_MISSING
    return OrderReason.UNMAPPED if _is_plain(order, does) else None


def _what(order: Order, site: SiteProfile) -> str:
    asked = site.status_order(order)
    if asked is not None:
        return DISCHARGE if asked.status is None else STATUS
    return site.treatment(order) or ""


def _is_unread(order: Order, site: SiteProfile) -> bool:
    codes = tuple(each.code for each in (order.code, *order.alternates) if each.code)
    return order.is_drug and site.drugs.is_parenteral(codes, order.routes)


def _is_introduced(order: Order) -> bool:
    """Whether it says that there is such an order, rather than something of one that is known."""
    return order.control in _NEW or bool(order.code.code) or order.is_detailed


def _is_plain(order: Order, does: Effect) -> bool:
    """Whether it introduces an order that is neither, and says no more than that there is one."""
    is_child = bool(order.parent or order.parent_filler)
    says_more = does not in (Effect.BEGINS, Effect.STANDS) or (
        does is Effect.BEGINS and order.control not in _NEW
    )
    return _is_introduced(order) and not is_child and not says_more


def _signed(order: Order) -> str:
    its = by_role(order.practitioners).get(ORDERING)
    return json.dumps(its, separators=(",", ":")) if its else ""


def said_of(event: Event, seq: int, site: SiteProfile) -> tuple[list[OrderStatement], list[Plain]]:
    """What of one message belongs to the orders of its stay."""
    if not event.orders and not event.observations:
        return [], []
    names, sent, site = names_of(event, site), instant(event.sent_at), site.at(event.facility)
    learnt = _learnt(event, site, names.patient) if event.observations else []
    replaced = {order.placer for order in event.orders if order.control == "RU"}
    said: list[OrderStatement] = []
    plain = learnt
    for part, order in enumerate(event.orders, 1):
        does = effect_of(order, site.order_meanings)
        what, asked = _what(order, site), site.status_order(order)
        code = "" if what else order.code.code or next((each.code for each in order.alternates), "")
        has_number = bool(order.placer or order.filler)
        if not what and order.is_drug and _is_unread(order, site):
            what = UNREAD
        if does is OrderReason.SAYS_NOTHING or not (what or has_number or _is_of_group(order, does)):
            continue
        if isinstance(does, OrderReason):
            if code and not what:
                continue
        elif not what:
            is_new = order.control in _NEW
            if _is_introduced(order) and (is_new or does in (Effect.BEGINS, Effect.STANDS)):
                its = code if is_new else ""
                plain.append(Plain(order.placer, order.filler, its, names.patient, order.group))
            if _is_plain(order, does):
                continue
        timing = order.timing
        start, (stop, lasting) = order.starts, _length(order)
        apart = ""
        if order.placer and order.filler:
            if order.control == "CH" and same(order.placer, order.parent):
                apart = CHILD
            elif order.control == "RO" and any(same(order.placer, each) for each in replaced):
                apart = REPLACEMENT
        said.append(
            OrderStatement(
                sent if order.told_at is None else instant(order.told_at),
                sent,
                seq,
                part,
                instant(order.at),
                instant(order.changed_at or order.at),
                does.value,
                what,
                code,
                order.control in _CHANGED,
                order.placer,
                order.filler,
                order.parent,
                order.parent_filler,
                apart,
                timing is not None,
                stop,
                f"{order.source} {code or 'uncoded'}" if what == UNREAD else order.source,
                names.patient,
                entered=None if order.entered_at is None else instant(order.entered_at),
                word=f"{order.control} {order.status.upper()}",
                is_dated=bool(what or not code) and _is_dated(order, sent),
                rate=rate_of(order, site) if what == FLUIDS else "",
                start=None if start is None else instant(start),
                lasting=lasting,
                gaps=_gaps(timing) if timing is not None and timing.gaps else "",
                group=order.group,
                is_unsure=timing is not None and timing.is_unsure,
            )
        )
        if asked is not None:
            said[-1] = said[-1]._replace(
                status="" if asked.status is None else asked.status.value,
                level=None if asked.level is None else asked.level.value,
                visit=names.visit,
                account=names.account,
                facility=event.facility if event.facility in site.places else "",
                by=_signed(order),
            )
    return said, plain


def _learnt(event: Event, site: SiteProfile, patient: str) -> list[Plain]:
    """The orders that the results of a message answer: OBR-2 and OBR-3 name one order (HL7 v2 7.4.1.2)."""
    named = {(each.placer, each.report, each.service.partition("^")[0]) for each in event.observations}
    orders, treatments = site.status_orders, site.intensity_orders
    return [
        Plain(placer, filler, "" if code in orders or code in treatments else code, patient)
        for placer, filler, code in sorted(named)
        if placer or filler
    ]
