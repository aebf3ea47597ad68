"""A first site profile from a sample of the feed: what it says of itself, the rest as proposals to confirm.

Nothing is mapped by guess: a code whose meaning nobody has confirmed stands in a comment with how often it
came, and the profile reads it as unknown until a person takes the mark away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from umbridge.dryrun.screen import read_files
from umbridge.errors import Hl7Error, UsageError
from umbridge.hl7 import ack, er7
from umbridge.hl7.fields import authority_spellings
from umbridge.hl7.translate import facility_of, translate
from umbridge.model import Coded, Event, RowState
from umbridge.settings.facilities import USUAL_MRN_TYPES
from umbridge.settings.parts import PAYER_CLASSES
from umbridge.settings.site import SiteProfile, default_site
from umbridge.settings.spellings import CODE_SYSTEMS
from umbridge.stay.facts import identify
from umbridge.stay.identity import parts
from umbridge.stay.likely import likely_fact
from umbridge.values.kinds import Status

_LISTED = 200  # codes of one kind: a feed has more orders than anybody lists
_PATIENT_CLASS = {
    "E": "ED",
    "I": "INPATIENT",
    "O": "OUTPATIENT",
    "P": "PREADMIT",
    "R": "RECURRING",
}  # table 0004
_DISPOSITION = {  # the patient discharge status codes of NUBC, as United States hospitals fill table 0112
    **{"01": "HOME", "02": "TRANSFER_ACUTE", "03": "SNF", "06": "HOME_HEALTH", "07": "AGAINST_ADVICE"},
    **{"20": "DIED", "50": "HOSPICE", "51": "HOSPICE"},
}
_EMERGENCY = "E"
#: Words of an order that asks for a status, and the status.
_ASKS = (
    ("observation", "OBSERVATION", "OBS"),
    ("inpatient", "INPATIENT", "ACUTE"),
    ("admit", "INPATIENT", "ACUTE"),
)
_LOINC = "LN"
_OTHERS = {name for system, names in CODE_SYSTEMS.items() for name in names if system in ("I10", "I9")}


@dataclass(slots=True)
class Seen:
    """Codes of a sample, counted by where they stood."""

    messages: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # what would not be worked, and why
    facilities: Counter[str] = field(default_factory=Counter)
    numbers: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # facility, authority, type
    visits: Counter[str] = field(default_factory=Counter)  # authorities
    accounts: Counter[str] = field(default_factory=Counter)
    #: Kind of number, namespace of its authority and the universal id beside it.
    spelt: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    emergency: Counter[str] = field(default_factory=Counter)  # units of patients of the emergency class
    classes: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    typed: Counter[tuple[str, str]] = field(
        default_factory=Counter
    )  # patient type, class in the same message
    orders: Counter[tuple[str, str]] = field(default_factory=Counter)  # code, text of its field
    plan_types: Counter[str] = field(default_factory=Counter)
    plans: Counter[str] = field(default_factory=Counter)
    dispositions: Counter[str] = field(default_factory=Counter)
    facts: Counter[str] = field(default_factory=Counter)  # read already: "CODE fact"
    results: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)  # by system: code, its text

    def read(self, data: bytes) -> None:
        """One message of the sample."""
        try:
            message = er7.parse(data)
        except Hl7Error as exc:
            self.left_out[f"no readable header ({getattr(exc, 'reason', 'unreadable')})"] += 1
            return
        refused, kind = ack.refusal(message), "^".join(message.kind)
        used = ack.disposition(message, (ack.PRODUCTION,))
        if refused is not None:
            self.left_out[f"{kind} REFUSED {refused.reason}"] += 1
        elif used.state is not RowState.PENDING:
            self.left_out[f"{kind} {used.state.value} {used.reason}"] += 1
        else:
            self.take(message, translate(message, _PLAIN.zone))

    def take(self, message: er7.Message, event: Event) -> None:
        self.messages += 1
        facility = facility_of(message)
        self.facilities[facility] += 1
        pid, pv1 = message.first("PID"), message.first("PV1")
        for kind, segment, number in (("mrn", pid, 3), ("account", pid, 18), ("visit", pv1, 19)):
            for pair in authority_spellings(message, segment.field(number)) if segment else ():
                self.spelt[(kind, *pair)] += 1
        for each in parts(event):
            self._person(each, facility)
            for order in each.orders:
                if order.code.code:
                    self.orders[order.code.code, order.code.text] += 1
            for plan in each.coverage:
                self.plan_types[plan.plan_type] += 1
                self.plans[plan.plan_id] += 1
            for observation in each.observations:
                code, known = observation.code, identify(observation, _PLAIN)
                if known is not None:
                    self.facts[f"{known[1]} {known[0].id}"] += 1
                elif code.code:
                    system = _LOINC if code.system in CODE_SYSTEMS[_LOINC] else code.system
                    self.results.setdefault(system, Counter())[code.code, code.text] += 1

    def _person(self, event: Event, facility: str) -> None:
        for _, authority, kind in event.patient.identifiers:
            self.numbers[facility, authority, kind] += 1
        if event.patient.account:
            self.accounts[event.patient.account_authority] += 1
        visit = event.visit
        if visit.number:
            self.visits[visit.authority] += 1
        if visit.unit and visit.patient_class == _EMERGENCY:
            self.emergency[visit.unit] += 1
        if visit.patient_type:
            self.typed[visit.patient_type, visit.patient_class or ""] += 1
        for counter, value in (
            (self.units, visit.unit),
            (self.classes, visit.patient_class),
            (self.types, visit.patient_type),
            (self.dispositions, visit.disposition),
        ):
            if value:
                counter[value] += 1


_PLAIN: SiteProfile = replace(default_site(), observations={}, units={})  # knows LOINC and nothing local


def draft(paths: Sequence[str]) -> str:
    """The profile as TOML. Raises UsageError where no message of the sample can be read."""
    seen = Seen()
    for _, data in read_files(paths):
        seen.read(data)
    if not seen.messages:
        why = ", ".join(f"{count} x {what}" for what, count in _most(seen.left_out))
        raise UsageError(
            f"{' '.join(paths)}: no message that would be worked ({_plain(why) or 'no message at all'}); "
            "nothing to draft a profile from"
        )
    return "\n".join(_lines(seen)) + "\n"


def _lines(seen: Seen) -> Iterator[str]:
    every = seen.messages + sum(seen.left_out.values())
    yield f"# A first site profile, drafted from {seen.messages} of the {every} messages of a sample."
    yield "# What stands behind CONFIRM a person decides: put the proposal right and take the mark away. Then"
    yield "# `umbridge config check --feed SAMPLE` says what of the sample the profile does not use."
    for what, count in _most(seen.left_out):
        yield f"# Not read: {count} x {_plain(what)} (docs/intake.md)"
    for section in (_site, _windows, _units, _status, _orders, _payers, _dispositions, _observations):
        yield ""
        yield from section(seen)


# --- the parts of a profile ---------------------------------------------------------------------------------


def _site(seen: Seen) -> Iterator[str]:
    first, *others = [name for name, _ in _most(seen.facilities) if name] or [""]
    mrn, kind = _own_number(seen, first)
    sent = (
        f"MSH-4 of {seen.facilities[first]} of {seen.messages} messages" if first else "no message has MSH-4"
    )
    yield "[site]"
    yield 'name = "CONFIRM the hospital\'s name"'
    yield 'timezone = "America/New_York"     # CONFIRM: the zone of times that are sent without an offset'
    yield f"facilities = [{_text(first or 'CONFIRM')}]     # CONFIRM: {sent}"
    yield "# PID-3 came with these authorities and types:"
    for (place, authority, type_), count in seen.numbers.most_common(20):
        where = f" from {place or 'no MSH-4'}" if others else ""
        number = f"{authority or 'no authority'} {type_ or 'no type'}{where}"
        yield f"#   {count} x {_plain(number)}"
    for key, sent_as in (("mrn", mrn), ("visit", _first(seen.visits)), ("account", _first(seen.accounts))):
        none = "" if sent_as else ": none was sent, and a number without one is the site's own"
        yield f"{key}_authority = {_text(sent_as or mrn or 'CONFIRM')}     # CONFIRM{none}"
        ids = sorted({each[2] for each in seen.spelt if each[:2] == (key, sent_as)})
        if ids:
            its = ", ".join(map(_text, ids))
            yield f"# CONFIRM {key}_authority_aliases = [{its}]     # its universal id (CX.4)"
    if kind.upper() not in USUAL_MRN_TYPES:
        yield f"# CONFIRM mrn_types = [{_text(kind)}]     # PID-3.5 of the site's own numbers"
    if others:
        yield ""
        yield "# Other values of MSH-4. One that is another spelling goes into `facilities` above, another"
        yield "# facility has a part with its clock (timezone) and numbers, a sender that is neither, none."
        for name in others:
            yield f"# CONFIRM [facilities.{_text(name)}]     # {seen.facilities[name]} x"
            yield f"# CONFIRM msh4 = [{_text(name)}]"
            theirs, _ = _own_number(seen, name)
            if theirs not in ("", mrn):
                yield f"# CONFIRM mrn_authority = {_text(theirs)}"


def _own_number(seen: Seen, facility: str) -> tuple[str, str]:
    """Authority and type of the patients' numbers there: the most frequent of a usual type, else of any."""
    here = [(count, each) for each, count in seen.numbers.items() if each[0] == facility]
    usual = [pair for pair in here if pair[1][2].upper() in USUAL_MRN_TYPES]
    best = max(usual or here, key=lambda pair: (bool(pair[1][1]), pair[0], pair[1]), default=None)
    return ("", "") if best is None else (best[1][1], best[1][2])


def _windows(seen: Seen) -> Iterator[str]:
    yield "[windows]"
    for name in _PLAIN.windows.__dataclass_fields__:
        yield f"{name} = {getattr(_PLAIN.windows, name)}"


def _units(seen: Seen) -> Iterator[str]:
    yield "# PV1-3.1. What is each unit equipped to give: HOME OBS ACUTE INTERMEDIATE CRITICAL?"
    yield "# ed = true marks an emergency unit: proposed where every patient was of the emergency class."

    def proposal(code: str) -> str:
        is_ed = seen.emergency[code] == seen.units[code]
        what = 'level = "OBS", ed = true' if is_ed else 'level = "ACUTE"'
        return f"{_text(code)} = {{ {what}, name = {_text(code)} }}"

    yield "[units]"
    yield from _proposed(seen.units, proposal)


def _status(seen: Seen) -> Iterator[str]:
    yield "[status]"
    yield 'precedence = ["order", "PV1-18", "PV1-2"]'
    yield ""
    yield "# PV1-18, patient type: user-defined."
    yield '[status."PV1-18"]'
    yield "# Proposed is the status that the code is named after, else that of the class it came with most."
    for code, count in _most(seen.types):
        if code:
            line = f'{_text(code)} = "{_status_named(code, _status_of_class(seen, code))}"'
            yield _confirm(line, count, _classes_of(seen, code))
    yield ""
    yield "# PV1-2, patient class: HL7 table 0004 where it is one of its codes."
    yield '[status."PV1-2"]'
    yield from _known(seen.classes, _PATIENT_CLASS, lambda code: _status_named(code, "OUTPATIENT"))


def _status_of_class(seen: Seen, code: str) -> str:
    """The status of the class of table 0004 that a patient type came with most."""
    its = [
        (count, cls) for (type_, cls), count in seen.typed.items() if type_ == code and cls in _PATIENT_CLASS
    ]
    return _PATIENT_CLASS[max(its)[1]] if its else "OUTPATIENT"


def _classes_of(seen: Seen, code: str) -> str:
    """The classes it came with, for whoever confirms."""
    its = sorted((cls, count) for (type_, cls), count in seen.typed.items() if type_ == code and cls)
    return f"PV1-2 {', '.join(f'{cls} {count} x' for cls, count in its)}" if its else ""


def _status_named(code: str, other: str) -> str:
    """The status whose name a code begins, such as INP or Observation."""
    word = code.upper()
    return next((each.value for each in Status if len(word) > 2 and each.value.startswith(word[:3])), other)


def _orders(seen: Seen) -> Iterator[str]:
    orders = _by_code(seen.orders)
    asking = {code: asked for code, text, _ in orders if (asked := _asks(text)) is not None}
    yield "# Orders by OBR-4.1, RXO-1.1 or RXE-2.1. Which set the status? Here are those whose text says so."
    yield "[orders.status]"
    if not asking:
        yield '# None does. A line reads: "CODE" = { status = "INPATIENT", level = "ACUTE" }'
    for code, text, count in orders:
        if code in asking:
            wanted, level = asking[code]
            what = f'{{ status = "{wanted}", level = "{level}" }}'
            yield _confirm(f"{_text(code)} = {what}", count, text)
    yield ""
    yield "# Which are treatment that counts? The facts: `umbridge facts list`. A laboratory test is none."
    yield "[orders.intensity]"
    yield "closed_world = false     # CONFIRM: true only if the feed carries every order"
    for code, text, count in orders:
        if code not in asking:
            yield _confirm(f'{_text(code)} = "FACT"', count, text)


def _asks(text: str) -> tuple[str, str] | None:
    words = set(re.findall(r"[a-z]+", text.lower()))
    return next(((status, level) for word, status, level in _ASKS if word in words), None)


def _payers(seen: Seen) -> Iterator[str]:
    yield f"# {' '.join(each for each in PAYER_CLASSES if each != 'UNKNOWN')}"
    for name, counter in (("IN1-15", seen.plan_types), ("IN1-2", seen.plans)):
        yield f'[payers."{name}"]'
        yield from _proposed(counter, lambda code: f'{_text(code)} = "COMMERCIAL"')


def _dispositions(seen: Seen) -> Iterator[str]:
    yield "# PV1-36."
    yield "[dispositions]"
    yield from _known(seen.dispositions, _DISPOSITION, lambda code: "OTHER")
    yield ""
    yield "[avoidable_days]"


def _observations(seen: Seen) -> Iterator[str]:
    yield "# Results (OBX-3). Facts by their LOINC code, read as they are:"
    for what, count in _most(seen.facts):
        yield f"#   {count} x {_plain(what)}"
    yield "# All others, by coding system (OBX-3.3). A fact is proposed where the code is LOINC's for it, or"
    yield '# the text has its words; "FACT" is one of `umbridge facts list`, and what is none needs no line.'
    yield "[observations]"
    for system, coded in sorted(seen.results.items()):
        if system in _OTHERS:
            yield f"# {sum(coded.values())} x codes of {_plain(system)}, which has no results"
            continue
        yield f"[observations.{_text(system)}]"
        if not system:
            yield "# no system was sent with these: one code may be two results of two senders"
        for code, text, count in _by_code(coded):
            facts = {likely_fact(Coded(code, each, system)) for one, each in coded if one == code}
            fact = facts.pop() if len(facts) == 1 else ""  # of texts that disagree none is believed
            yield _confirm(f'{_text(code)} = "{fact or "FACT"}"', count, text)


# --- lines --------------------------------------------------------------------------------------------------


def _most(counter: Counter[str]) -> Iterable[tuple[str, int]]:
    return sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))[:_LISTED]


def _by_code(counter: Counter[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """Each code once, with its most frequent text, and how often it came; the most frequent first."""
    texts: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for (code, text), count in counter.most_common():
        texts.setdefault(code, text)
        counts[code] += count
    return [(code, texts[code], count) for code, count in _most(counts)]


def _first(counter: Counter[str]) -> str:
    return next((name for name, _ in _most(counter) if name), "")


def _confirm(line: str, count: int, text: str = "") -> str:
    return f"# CONFIRM {line}     # {count} x {_plain(text)}".rstrip()


def _proposed(counter: Counter[str], line: Callable[[str], str]) -> Iterator[str]:
    for code, count in _most(counter):
        if code:
            yield _confirm(line(code), count)


def _known(counter: Counter[str], known: dict[str, str], other: Callable[[str], str]) -> Iterator[str]:
    """Codes of a standard's table as they are; of others that a person confirms."""
    for code, count in _most(counter):
        if code in known:
            yield f'{_text(code)} = "{known[code]}"     # {count} x'
        elif code:
            yield _confirm(f'{_text(code)} = "{other(code)}"', count)


def _text(value: str) -> str:
    """A TOML string."""
    return (
        '"'
        + "".join(one if one.isprintable() and one not in '"\\' else f"\\u{ord(one):04x}" for one in value)
        + '"'
    )


def _plain(value: str) -> str:
    """Fit for a comment: one line, nothing that ends it."""
    return "".join(one if one.isprintable() else " " for one in value)[:120]
