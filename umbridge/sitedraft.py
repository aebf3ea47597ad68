"""A first site profile from a sample of the feed: what it says of itself, the rest as proposals to confirm.

Nothing is mapped by guess: a code whose meaning nobody has confirmed stands in a comment with how often it
came, and the profile reads it as unknown until a person takes the mark away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from umbridge.errors import Hl7Error, UsageError
from umbridge.hl7 import ack, er7
from umbridge.hl7.translate import translate
from umbridge.model import Event, RowState
from umbridge.shadow import read_files
from umbridge.site import PAYER_CLASSES, SiteProfile, default_site
from umbridge.spellings import CODE_SYSTEMS
from umbridge.stay.facts import identify, is_loinc
from umbridge.stay.identity import parts

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


@dataclass(slots=True)
class Seen:
    """Codes of a sample, counted by where they stood."""

    messages: int = 0
    facilities: Counter[str] = field(default_factory=Counter)
    numbers: Counter[tuple[str, str]] = field(default_factory=Counter)  # PID-3: authority, type
    visits: Counter[str] = field(default_factory=Counter)  # authorities
    units: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    orders: Counter[tuple[str, str]] = field(default_factory=Counter)  # code, text of its field
    plan_types: Counter[str] = field(default_factory=Counter)
    plans: Counter[str] = field(default_factory=Counter)
    dispositions: Counter[str] = field(default_factory=Counter)
    results: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)  # by system: code, its text

    def take(self, message: er7.Message, event: Event) -> None:
        self.messages += 1
        self.facilities[message.get("MSH-4")] += 1
        for each in parts(event):
            self._person(each)
            for order in each.orders:
                if order.code.code:
                    self.orders[order.code.code, order.code.text] += 1
            for plan in each.coverage:
                self.plan_types[plan.plan_type] += 1
                self.plans[plan.plan_id] += 1
            for observation in each.observations:
                code = observation.code
                known = identify(observation, _PLAIN) is not None or is_loinc(code.code)
                if code.code and not known:
                    self.results.setdefault(code.system, Counter())[code.code, code.text] += 1

    def _person(self, event: Event) -> None:
        for _, authority, kind in event.patient.identifiers:
            self.numbers[authority, kind] += 1
        visit = event.visit
        if visit.number:
            self.visits[visit.authority] += 1
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
        try:
            message = er7.parse(data)
        except Hl7Error:
            continue
        if ack.refusal(message) is None and ack.used(message).state is RowState.PENDING:
            seen.take(message, translate(message, _PLAIN.zone))
    if not seen.messages:
        raise UsageError(
            f"{' '.join(paths)}: no message that would be worked; nothing to draft a profile from"
        )
    return "\n".join(_lines(seen)) + "\n"


def _lines(seen: Seen) -> Iterator[str]:
    yield f"# A first site profile, drafted from {seen.messages} messages. CONFIRM is what a person decides:"
    yield "# put the proposal right and take the mark away. Then `umbridge config check --feed SAMPLE`."
    yield ""
    yield "[site]"
    yield 'name = "CONFIRM the hospital\'s name"'
    yield 'timezone = "America/New_York"     # CONFIRM: the zone of times that are sent without an offset'
    codes = [_text(name) for name, _ in _most(seen.facilities) if name]
    yield f"facilities = [{', '.join(codes) or _text('CONFIRM')}]"
    mine = Counter({name: n for (name, kind), n in seen.numbers.items() if kind in ("MR", "MRN", "PI", "")})
    mrn = next((name for name, _ in _most(mine) if name), "")
    visit = next((name for name, _ in _most(seen.visits) if name), "") or mrn
    kinds = ", ".join(
        f"{name or 'none'} {kind or 'none'} ({n})" for (name, kind), n in seen.numbers.most_common(8)
    )
    yield f"# PID-3 came with these authorities and types: {_plain(kinds)}"
    for key, value in (("mrn", mrn), ("visit", visit), ("account", visit)):
        yield f"{key}_authority = {_text(value or 'CONFIRM')}     # CONFIRM"
    yield ""
    yield "[windows]"
    for name in _PLAIN.windows.__dataclass_fields__:
        yield f"{name} = {getattr(_PLAIN.windows, name)}"
    yield ""
    yield "# PV1-3.1. What is each unit equipped to give: HOME OBS ACUTE INTERMEDIATE CRITICAL?"
    yield "# ed = true marks an emergency unit."
    yield "[units]"
    yield from _proposed(
        seen.units, lambda code: f'{_text(code)} = {{ level = "ACUTE", name = {_text(code)} }}'
    )
    yield ""
    yield "[status]"
    yield 'precedence = ["order", "PV1-18", "PV1-2"]'
    yield ""
    yield "# PV1-18, patient type: user-defined."
    yield '[status."PV1-18"]'
    yield from _proposed(seen.types, lambda code: f'{_text(code)} = "INPATIENT"')
    yield ""
    yield "# PV1-2, patient class: HL7 table 0004 where it is one of its codes."
    yield '[status."PV1-2"]'
    for code, count in _most(seen.classes):
        known = _PATIENT_CLASS.get(code)
        mark = "" if known else "# CONFIRM "
        yield f'{mark}{_text(code)} = "{known or "OUTPATIENT"}"     # {count} x'
    yield ""
    yield "# Orders by OBR-4.1, RXO-1.1 or RXE-2.1. Which set the status? Which are treatment that counts?"
    yield "[orders.status]"
    yield '# CONFIRM "CODE" = { status = "INPATIENT", level = "ACUTE" }'
    yield "[orders.intensity]"
    yield "closed_world = false     # CONFIRM: true only if the feed carries every order"
    for (code, text), count in seen.orders.most_common(_LISTED):
        yield f'# CONFIRM {_text(code)} = "FACT"     # {count} x {_plain(text)}'.rstrip()
    yield ""
    yield f"# {' '.join(each for each in PAYER_CLASSES if each != 'UNKNOWN')}"
    for name, counter in (("IN1-15", seen.plan_types), ("IN1-2", seen.plans)):
        yield f'[payers."{name}"]'
        yield from _proposed(counter, lambda code: f'{_text(code)} = "COMMERCIAL"')
    yield ""
    yield "[dispositions]"
    for code, count in _most(seen.dispositions):
        known = _DISPOSITION.get(code)
        mark = "" if known else "# CONFIRM "
        yield f'{mark}{_text(code)} = "{known or "OTHER"}"     # {count} x'
    yield ""
    yield "[avoidable_days]"
    yield ""
    yield "# Results that no LOINC code names, by coding system (OBX-3.3); the facts: `umbridge facts list`."
    yield "[observations]"
    for system, coded in sorted(seen.results.items()):
        if system in {name for names in CODE_SYSTEMS.values() for name in names} or not system:
            yield f"# {sum(coded.values())} x codes of {_plain(system) or 'no system'} that are no fact here"
            continue
        yield f"[observations.{_text(system)}]"
        for (code, text), count in coded.most_common(_LISTED):
            yield f'# CONFIRM {_text(code)} = "FACT"     # {count} x {_plain(text)}'.rstrip()


def _most(counter: Counter[str]) -> Iterable[tuple[str, int]]:
    return sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))[:_LISTED]


def _proposed(counter: Counter[str], line: Callable[[str], str]) -> Iterator[str]:
    for code, count in _most(counter):
        if code:
            yield f"# CONFIRM {line(code)}     # {count} x"


def _text(value: str) -> str:
    """A TOML string."""
    return (
        '"'
        + "".join(one if one.isprintable() and one not in '"\\' else f"\\u{ord(one):04x}" for one in value)
        + '"'
    )


def _plain(value: str) -> str:
    """Fit for a comment: one line, nothing that ends it."""
    return "".join(one if one.isprintable() else " " for one in value)[:60]
