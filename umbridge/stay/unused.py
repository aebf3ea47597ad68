"""What of one message was read and is not used, each with one reason and the line that would settle it.

Codes, units and the names of fields, never values. What only the stay can tell of an order by number is
counted, and not listed of one message; a correction that fits several values is an exception of the stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from umbridge.hl7 import shapes
from umbridge.hl7.er7 import Message
from umbridge.hl7.triggers import ORDERS
from umbridge.model import Coded, Event, Observation, Order
from umbridge.settings.site import SiteProfile
from umbridge.stay.diagnoses import Unlisted, icd10_of
from umbridge.stay.dictionary import by_loinc, dictionary
from umbridge.stay.facts import Fact, Unusable
from umbridge.stay.fold import StayFold
from umbridge.stay.orders import order_statement as said
from umbridge.stay.orders.effect import names_an_end
from umbridge.stay.orders.rates import is_unread
from umbridge.stay.reasons import NOTES, PARTS, DiagnosisReason, OrderReason, PartReason, Reason
from umbridge.stay.results.once_read import read_once
from umbridge.stay.results.statements import WITHDRAWN
from umbridge.values.frozen import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Unused:
    """``code`` is what was sent in ``field``, as CODE^SYSTEM or a unit; "" where the field was empty.

    ``kind`` is OBX-2 of a value. ``settle`` is a line for the site profile, or what to do instead; "" where
    there is nothing to do.
    """

    field: str
    code: str
    reason: str
    kind: str = ""
    fact: str = ""
    says: str = ""
    settle: str = ""


_READ = frozenset(
    (
        *(
            "MSH",
            "EVN",
            "PID",
            "PV1",
            "PV2",
            "MRG",
            "OBX",
            "OBR",
            "SPM",
            "ORC",
            "RXO",
            "RXE",
            "RXR",
            "ODS",
            "ODT",
        ),
        *("RQD", "RQ1", "TQ1", "DG1", "PR1", "IN1", "IN3", "DSC", "FHS", "BHS", "BTS", "FTS"),
    )
)
_ORDER_ONLY = frozenset(("RXO", "RXE", "RXR", "ODS", "ODT", "RQD", "RQ1", "TQ1"))
_BEFORE = re.compile(r"[^A-Za-z]*")  # blanks, a byte-order mark
_STATUS = re.compile(r"status_")
_UNIT = (Reason.UNIT_MISSING, Reason.UNIT_UNKNOWN, Reason.UNIT_UNFIT)
_SAID_ELSEWHERE = {("OBX-5", "repeated"), ("DG1-3", "missing")}  # by the value's and the diagnosis's reason
_NOTE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[\d+\])?(-\d+)? (\w+)")


def unused(event: Event, site: SiteProfile) -> Iterator[Unused]:
    """Of an event, or of each of several in one message."""
    for each in event.several or (event,):
        for order in each.orders:
            yield from _order(order, each.message_type, site)
        yield from _but_orders(each, site)


def _but_orders(event: Event, site: SiteProfile) -> Iterator[Unused]:
    here = site.at(event.facility)  # as the stay reads it
    said = {note.partition("]")[0] for note in event.notes if note.endswith("]-14 time_unreadable")}
    for observation in event.observations:
        found = read_once(observation, here)
        if isinstance(found, Unusable):
            yield _value(observation, found)
        elif observation.told is None and not (said and _segment_of(observation.source) in said):
            yield _untimed(observation, found)
    for order in event.orders:
        if order.rate is not None and is_unread(order, site):
            _, unit, field = order.rate
            settle = f'[units_of_measure] {_key(unit)} = "mL/h", if it is that'
            yield _code(field, unit, PartReason.RATE, settle)
        if order.timing is not None:
            for part in order.timing.unread:
                why = PARTS[part.why]
                yield _code(part.field, part.code, why, why.settle)
        modifier = order.modifier.code
        if modifier and not names_an_end(order.modifier) and modifier.upper() not in site.order_meanings:
            yield _code("ORC-25", _said(order.modifier), PartReason.MODIFIER, _meaning(modifier))
    for diagnosis in event.diagnoses:
        code = icd10_of(diagnosis, site)
        if isinstance(code, Unlisted):
            yield _diagnosis(Coded(diagnosis.code, "", diagnosis.system or diagnosis.method), code)
    yield from _visit(event, site)
    for note in event.notes:
        yield from _note(note)


def _segment_of(source: str) -> str:
    """``OBX[3`` of "ZC1 OBX[3]-5", as a note of the reader's begins that is about the same segment."""
    return source.rpartition(" ")[2].partition("]")[0]


def orders_unused(event: Event, seq: int, fold: StayFold) -> Iterator[tuple[Order, OrderReason]]:
    """The orders of one message that was taken in which its stay has no use for, as things stand."""
    kept = {each.part: each for each in said.said_of(event, seq, fold.site)[0]} if event.orders else {}
    for part, order in enumerate(event.orders, 1):
        why = said.unused(order, fold.site)
        if why is None and part in kept:
            why = fold.why_unused(kept[part])
        if why is not None:
            yield order, why


def unfound(seq: int, fold: StayFold) -> Iterator[str]:
    """The fields by which one message that was taken in withdraws what its stay has not, as things stand."""
    listed = (fold.results(fact) for fact in fold.sent)
    lost = (each for its in listed if its is not None for each in its.unfound() if each.seq == seq)
    yield from ("OBX-11" for _ in {each.part for each in lost if each.kind == WITHDRAWN})
    yield from ("OBR-25" for each in fold.told.lost() if each.seq == seq)


def counted(
    message: Message,
    events: Iterable[Event],
    site: SiteProfile,
    orders: Iterable[tuple[Order, OrderReason]],
    withdrawals: Iterable[str] = (),
) -> Counter[str]:
    """What of a message is not used by the stay that takes these parts of it in, by "FIELD reason".

    ``orders``: those of them that the stay has no use for, and why. ``withdrawals``: the fields of those that
    found nothing to take back.
    """
    found = Counter(
        f"{one.field} {one.reason}"
        for event in events
        for each in event.several or (event,)
        for one in _but_orders(each, site)
    )
    found.update(f"{_field(order, message.kind[0], why)} {why}" for order, why in orders)
    found.update(f"{one.field} {one.reason}" for one in segments_not_read(message))
    found.update(f"{one.field} {one.reason}" for one in shapes_not_read(message))
    for field in withdrawals:
        found[f"{field} {PartReason.NOT_FOUND}"] += 1
        found[f"{field} {Reason.WITHDRAWN}"] -= 1  # each has one reason
    return +found


def segments_not_read(message: Message) -> Iterator[Unused]:
    """The segments that nothing is read from, by name: an order's too where the message is of no order."""
    is_order, patients = message.kind[0] in ORDERS, 0
    is_report = bool(message.lines_of(b"OBR"))
    for segment in message.walk():
        name = segment.name
        patients += name == "PID"
        is_read = name in _READ and (name != "SPM" or is_report)
        if name in _ORDER_ONLY or (name == "ORC" and not is_report):
            is_read = is_order and patients < 2  # behind a second PID stand earlier results
        if is_read:
            continue
        if re.fullmatch(r"[A-Z][A-Z0-9]{2}", name):
            yield Unused(name, "", PartReason.SEGMENT, says=PartReason.SEGMENT.says)
        elif (meant := _BEFORE.sub("", name).strip().upper()) in _READ and meant not in (
            "MSH",
            "FHS",
            "BHS",
            "BTS",
            "FTS",
        ):
            why = PartReason.MISSPELT
            yield Unused(meant, "", why, says=why.says, settle=why.settle)


def shapes_not_read(message: Message) -> Iterator[Unused]:
    """What fields have beside what is read of them."""
    for note in shapes.notes_of(message):
        yield from _note(note)


def _value(observation: Observation, found: Unusable) -> Unused:
    coded = _said(observation.code)
    reason, kind = found.reason, observation.value_type
    if reason is Reason.UNMAPPED:
        return Unused("OBX-3", coded, reason, kind, says=reason.says, settle=_map(observation.code))
    if reason in _UNIT:
        return Unused(
            "OBX-6", observation.unit, reason, kind, found.fact, reason.says, _unit(observation, found)
        )
    if _STATUS.match(reason) or reason is Reason.WITHDRAWN:
        return Unused("OBX-11", observation.status, reason, kind, found.fact, reason.says, reason.settle)
    if reason is Reason.SPECIMEN_REJECTED:
        return Unused("SPM-21", coded, reason, kind, found.fact, reason.says)
    settle = reason.settle
    if reason is Reason.NOT_YES_OR_NO:
        settle = '[answers] yes = ["WORD"] or no = ["WORD"], for the words your feed sends'
    elif reason is Reason.CODE_UNKNOWN:
        codes = " ".join(dictionary()[found.fact].codes)
        settle = f'[answers.codes.{found.fact}] "CODE" = one of {codes}'
    elif reason is Reason.IMPOSSIBLE:
        settle = _possible(found.fact)
    return Unused("OBX-5", coded, reason, kind, found.fact, reason.says, settle)


def _possible(fact: str) -> str:
    kind = dictionary()[fact]
    low, high = kind.possible or ("", "")
    return f"is OBX-6 the unit of the number? {fact} counts from {low} to {high} {kind.unit}"


def _untimed(observation: Observation, found: Fact) -> Unused:
    """It is read; whether it lies in the window that a review asks for, nobody said."""
    reason, coded = PartReason.UNTIMED, _said(observation.code)
    return Unused("OBX-14", coded, reason, observation.value_type, found.fact, reason.says, reason.settle)


def _map(code: Coded) -> str:
    """Which fact is a person's to say, unless the code is LOINC's under another name."""
    known = by_loinc().get(code.code)
    fact = '"FACT" of `umbridge facts list`, if it is one' if known is None else _text(known.id)
    return f"[observations.{_key(code.system)}] {_key(code.code)} = {fact}"


def _unit(observation: Observation, found: Unusable) -> str:
    kind = dictionary()[found.fact]
    taken = " ".join(unit for unit in kind.accepts if unit)
    if found.reason is Reason.UNIT_MISSING:
        system = _key(observation.code.system or "SYSTEM")
        return f"[units_of_measure.unsent.{system}] {_key(observation.code.code)} = one of {taken}"
    if found.reason is Reason.UNIT_UNFIT:
        return f"{kind.id} is converted from {taken}: is it this fact at all?"
    return f"[units_of_measure] {_key(observation.unit)} = one of {taken}"


def _order(order: Order, kind: str, site: SiteProfile) -> Iterator[Unused]:
    """By the message alone. Of an order by number it can only say that its code is not mapped."""
    why = said.unused(order, site)
    if why is None and order.code.code and site.status_order(order) is None and site.treatment(order) is None:
        why = OrderReason.UNMAPPED
    if why is None:
        return
    field = _field(order, kind, why)
    code, settle = "", ""
    if why is OrderReason.UNMAPPED and order.code.code:
        code = _said(order.code)
        settle = f'[orders.intensity] {_key(order.code.code)} = "FACT" or [orders.status], if it counts'
    elif field == "ORC-5":
        code = order.status
        settle = _meaning(code)
    elif field == "ORC-1":
        code = order.control
    elif field == "ORC-25":
        code, settle = _said(order.modifier), _meaning(order.modifier.code)
    yield Unused(field, code, why.value, says=why.says, settle=settle)


def _meaning(code: str) -> str:
    return f'[orders.meaning] {_key(code)} = "in_force", "ended", "fulfilled" or "nothing"'


def _field(order: Order, kind: str, why: OrderReason) -> str:
    """Where an order in a message of this type has what is the reason that it is not used."""
    if why is OrderReason.UNMAPPED and order.code.code:
        return ("RXE-2" if kind == "RDE" else "RXO-1") if order.is_drug else "OBR-4"
    if why in (OrderReason.STATUS_UNKNOWN, OrderReason.MODIFIER):
        return "ORC-5" if why is OrderReason.STATUS_UNKNOWN else "ORC-25"
    if why in (OrderReason.CONTROL_MISSING, OrderReason.CONTROL_UNKNOWN, OrderReason.SAYS_NOTHING):
        return "ORC-1"
    return "ORC-2" if order.placer or not order.filler else "ORC-3"


def _diagnosis(code: Coded, why: Unlisted) -> Unused:
    says = why.reason.says
    if why.reason is DiagnosisReason.MISSING:
        return Unused("DG1-3", "", why.reason, says=says)
    if why.system:
        settle = f"[code_systems] I10 = [{_text(why.system)}], if that is ICD-10-CM"
        return Unused("DG1-3", f"^{why.system}", why.reason, says=says, settle=settle)
    return Unused("DG1-3", f"^{code.system}", why.reason, says=says)


def _visit(event: Event, site: SiteProfile) -> Iterator[Unused]:
    visit = event.visit
    if visit.unit and visit.unit not in site.units:
        settle = f'[units] {_key(visit.unit)} = {{ level = "ACUTE" }}'
        yield _code("PV1-3.1", visit.unit, PartReason.UNIT, settle)
    sent = {"PV1-18": visit.patient_type, "PV1-2": visit.patient_class, "PV1-10": visit.service}
    for field, codes in site.status_codes.items():
        value = sent.get(field)
        if value and value not in codes:
            yield _code(field, value, PartReason.STATUS, f'[status."{field}"] {_key(value)} = "INPATIENT" …')
    if visit.disposition and visit.disposition not in site.dispositions:
        settle = f'[dispositions] {_key(visit.disposition)} = "HOME" …'
        yield _code("PV1-36", visit.disposition, PartReason.DISPOSITION, settle)
    for plan in event.coverage:
        if site.payer_class(plan.plan_type, plan.plan_id) == "UNKNOWN":
            field, code = ("IN1-15", plan.plan_type) if plan.plan_type else ("IN1-2", plan.plan_id)
            yield _code(field, code, PartReason.PAYER, f'[payers."{field}"] {_key(code)} = "COMMERCIAL" …')


def _code(field: str, code: str, reason: PartReason, settle: str) -> Unused:
    return Unused(field, code, reason, says=reason.says, settle=settle)


def _note(note: str) -> Iterator[Unused]:
    """A note of the reader: where, and a word. One that names no place is about the message."""
    match = _NOTE.fullmatch(note)
    field, reason = (match[1] + (match[2] or ""), match[3]) if match else ("MSH", note)
    if (field, reason) in _SAID_ELSEWHERE:
        return
    why = NOTES.get(reason)
    yield Unused(field, "", reason, says=why.says if why else "", settle=why.settle if why else "")


def _text(value: str) -> str:
    """A text as TOML writes it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _said(code: Coded) -> str:
    return f"{code.code}^{code.system}" if code.code or code.system else ""


def _key(name: str) -> str:
    """A name as TOML writes a key."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)
