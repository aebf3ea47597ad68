"""What messages say about the person and the cover, each from the newest message that says it.

Kept per patient key, so that a message that puts another patient on this visit can never lend a birth date,
a diagnosis or a payer to the right one. Every register is the newest statement by (effective time, time
sent, receipt number), so the order of arrival does not matter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from umbridge.model import Event
from umbridge.stay.clock import instant
from umbridge.stay.facts import is_icd10

PEOPLE_KEPT = 8
DIAGNOSES_KEPT = 64

Stamp = list[int]
Person = dict[str, Any]


def stamp(event: Event, seq: int) -> Stamp:
    return [instant(event.effective_at), instant(event.sent_at), seq]


def note(people: dict[str, Person], patient: str, event: Event, seq: int) -> None:
    """Take over what this message says about its patient."""
    when = stamp(event, seq)
    person = people.get(patient)
    if person is None:
        person = people[patient] = {"first": when, "visit": "", "account": ""}
        _forget_newest(people)
        if patient not in people:
            return
    person["first"] = min(when, person["first"])
    for name, value in (("birth", event.patient.birth_date), ("sex", event.patient.sex)):
        if value:
            _newest(person, name, when, value)
    if event.visit.expected_discharge is not None:
        source = f"{event.control_id} PV2-9"
        _newest(person, "expected", when, [instant(event.visit.expected_discharge), source])
    if event.coverage:
        primary = min(event.coverage, key=lambda plan: plan.rank)
        _newest(person, "payer", when, [primary.plan_type, primary.plan_id])
    _oldest(person, "visit", when, event.visit.number)
    _oldest(person, "account", when, event.patient.account)
    diagnoses = person.setdefault("diagnoses", {}) if event.diagnoses else {}
    for diagnosis in event.diagnoses:
        code = diagnosis.code.upper().strip()
        if code and is_icd10(diagnosis.system):
            held = diagnoses.get(code)
            if held is None or held[0] < when:
                diagnoses[code] = [when, diagnosis.rank, diagnosis.deleted, diagnosis.source]
    while len(diagnoses) > DIAGNOSES_KEPT:
        del diagnoses[min(diagnoses, key=lambda code: (diagnoses[code][0], code))]


def merged(own: Person, unnamed: Person) -> Person:
    """A person's registers, completed by messages on the visit that named no patient."""
    if not unnamed:
        return own
    person = {**unnamed, **{name: value for name, value in own.items() if value}}
    person["diagnoses"] = {**unnamed.get("diagnoses", {}), **own.get("diagnoses", {})}
    return person


class Diagnosed(NamedTuple):
    """A diagnosis that stands."""

    code: str
    source: str
    at: int


def diagnoses_of(person: Person) -> list[Diagnosed]:
    """ICD-10-CM codes that stand: DG1-1 decides the order, the newest first within it."""
    standing = [(code, entry) for code, entry in person.get("diagnoses", {}).items() if not entry[2]]
    standing.sort(key=lambda pair: (pair[1][1], [-part for part in pair[1][0][:2]], pair[0]))
    return [Diagnosed(code, entry[3], entry[0][0]) for code, entry in standing]


def _newest(person: Person, name: str, when: Stamp, value: Any) -> None:
    held = person.get(name)
    if held is None or held[0] < when:
        person[name] = [when, value]


def _oldest(person: Person, name: str, when: Stamp, value: str) -> None:
    held = person[name]
    if value and (not held or when < held[0]):
        person[name] = [when, value]


def _forget_newest(people: dict[str, Person]) -> None:
    while len(people) > PEOPLE_KEPT:
        del people[max(people, key=lambda patient: people[patient]["first"])]
