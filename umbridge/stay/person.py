"""What messages say about the person and the cover, each from the newest message that says it.

Kept per patient key, so that a message that puts another patient on this visit can never lend a birth date,
a diagnosis or a payer to the right one. Every register has the statement that was told last (then
received last), so the order of arrival does not matter.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from umbridge.hl7.triggers import GROUPED
from umbridge.model import Certification, Coverage, Event
from umbridge.settings.authorities import authority_in
from umbridge.settings.site import SiteProfile
from umbridge.stay.clock import instant, moment
from umbridge.stay.diagnoses import Unlisted, icd10_of, place_of
from umbridge.stay.record import CANCELS, UNDATED, Names

PEOPLE_KEPT = 8
DIAGNOSES_KEPT = 64
PLANS_KEPT = 16
CERTIFICATIONS_KEPT = 32
#: About the person: a diagnosis or payer in one of these is not said of this stay (HL7 v2 3.3.28 to .31).
_PERSON_ONLY = frozenset({"A28", "A29", "A31"}) | GROUPED

#: What takes back an opening of the stay.
_NEVER_WAS = frozenset(trigger for trigger, kind in CANCELS.items() if kind in ("admit", "preadmit"))

_ALWAYS = 1 << 62  # after each moment that a statement can be about
_OF_ORDER = "order "  # before the code of an order's reason, which is not the same as ADT's of that code

Stamp = list[int]
Person = dict[str, Any]


def stamp(event: Event, seq: int) -> Stamp:
    """(told, receipt number, effective): what was told last is the newest word, whatever time it is about."""
    told = event.sent_at if event.told_at is None else event.told_at
    return [instant(told), seq, instant(event.effective_at)]


def note(people: dict[str, Person], names: Names, event: Event, seq: int, site: SiteProfile) -> None:
    """Take over what this message says about its patient."""
    patient, when = names.patient, stamp(event, seq)
    began = [instant(event.effective_at), instant(event.sent_at), seq]  # whose stay it is, and which
    person = people.get(patient)
    if person is None:
        person = people[patient] = {"first": began, "visit": "", "account": ""}
        _forget_newest(people)
        if patient not in people:
            return
    person["first"] = min(began, person["first"])
    if event.is_undated:
        _newest(person, UNDATED, when, True)
    for name, value in (("birth", event.patient.birth_date), ("sex", event.patient.sex)):
        if value:
            _newest(person, name, when, value)
    if event.message_type == "ADT" and event.trigger in _PERSON_ONLY:
        return
    if event.message_type == "ADT" and event.trigger in _NEVER_WAS:
        _newest(person, "expected", when, None)  # who was not admitted is not expected to leave
    elif "PV2-9" in event.visit.deleted:
        _newest(person, "expected", when, None)
    elif event.visit.expected_discharge is not None:
        source = f"{event.control_id} PV2-9"
        is_day = "PV2-9" in event.visit.days
        _newest(person, "expected", when, [instant(event.visit.expected_discharge), source, is_day])
    if event.coverage:
        plans = sorted(event.coverage, key=_paying)[:PLANS_KEPT]
        _newest(person, "cover", when, [list(astuple(plan)) for plan in plans])
    _certify(person, when, event)
    _oldest(person, "visit", began, names.visit)
    _oldest(person, "account", began, names.account)
    _diagnose(person, when, event, site)


def _when(word: Word) -> Stamp:
    return word.when


class Word(NamedTuple):
    """What one message said of the diagnoses and of the expected discharge."""

    patient: str
    sent: int
    when: Stamp
    expected: list[Any] | None  # empty where it takes the expectation away
    is_list: bool  # the diagnoses replace those that were listed before
    diagnoses: list[list[Any]]  # name and row of the register


def word_of(patient: str, event: Event, seq: int, site: SiteProfile) -> Word | None:
    """None where it said nothing of either."""
    if event.message_type == "ADT" and event.trigger in _PERSON_ONLY:
        return None
    when = stamp(event, seq)
    expected: list[Any] | None = None
    never_was = event.message_type == "ADT" and event.trigger in _NEVER_WAS
    if never_was or "PV2-9" in event.visit.deleted:
        expected = []
    elif event.visit.expected_discharge is not None:
        expected = [instant(event.visit.expected_discharge), f"{event.control_id} PV2-9"]
    diagnoses = [] if not event.diagnoses else _diagnoses(when, event, site)
    if expected is None and not event.diagnoses:
        return None
    is_list = event.message_type == "ADT" and not any(each.action for each in event.diagnoses)
    is_list = is_list and bool(event.diagnoses)
    return Word(patient, instant(event.sent_at), when, expected, is_list, diagnoses)


def begun_anew(person: Person, anew: Sequence[int] | None) -> Person:
    """Without the diagnoses that ADT told of a visit that never was; ``anew``: when its cancel was told.

    A diagnosis is said of a visit (DG1 stands below PV1). Those of orders are the orders', cover is the
    person's.
    """
    if anew is None:
        return person
    since, listed = [*anew, _ALWAYS], person.get("listed")
    return person if listed is not None and listed[0] > since else {**person, "listed": [since, None]}


class PastRegister:
    """The registers of both by patient, as told by an instant of what was so at another.

    The first diagnoses that come count, where there are none by then; an
    expectation is of no moment, and goes by when it was told alone.
    """

    __slots__ = ("_later", "_people", "_told_by", "anew", "at", "taken")

    def __init__(self, told_by: int, anew: Sequence[int] | None) -> None:
        self._told_by, self.anew = told_by, anew
        self._people: dict[str, Person] = {}
        self._later: list[Word] = []  # by when it was so
        self.at = -(1 << 62)  # before any instant
        self.taken = 0

    def reach(self, at: int, words: Sequence[Word]) -> None:
        """``at``: no earlier than before. ``words``: all of them; those that are new since are taken."""
        is_later, self.at = at > self.at, at
        if is_later and self._later:
            waiting, self._later = self._later, []
            for word in waiting:
                self._take(word)
        for word in words[self.taken :]:
            self._take(word)
        self.taken = len(words)

    def _take(self, word: Word) -> None:
        is_told = word.sent <= self._told_by
        person = self._people.setdefault(word.patient, begun_anew({}, self.anew))
        if is_told and word.expected is not None:
            _newest(person, "expected", word.when, word.expected or None)
        if is_told and word.when[2] <= self.at:
            _take_diagnoses(person, word.when, word.is_list, word.diagnoses)
        elif word.diagnoses:
            insort(self._later, word, key=_when)

    def people(self) -> dict[str, Person]:
        if not self._later or any(map(diagnoses_of, self._people.values())):
            return self._people
        people: dict[str, Person] = {
            patient: person | {"diagnoses": dict(person.get("diagnoses", {}))}
            for patient, person in self._people.items()
        }
        for word in self._later:
            _take_diagnoses(people[word.patient], word.when, word.is_list, word.diagnoses)
            if any(map(diagnoses_of, people.values())):
                break
        return people


def _diagnose(person: Person, when: Stamp, event: Event, site: SiteProfile) -> None:
    """Each code by the newest message that has it, and the newest list that replaced what ADT said before.

    The DG1 of an ADT message are the whole list unless one of them has an action code (HL7 v2 2.10.4.1,
    snapshot mode). Those of an order are its own reasons: they add, no list takes them away, and none of them
    is the stay's principal diagnosis.
    """
    if not event.diagnoses:
        return
    is_list = event.message_type == "ADT" and not any(each.action for each in event.diagnoses)
    _take_diagnoses(person, when, is_list, _diagnoses(when, event, site))


def _diagnoses(when: Stamp, event: Event, site: SiteProfile) -> list[list[Any]]:
    """Name and row of each diagnosis in the register."""
    is_adt = event.message_type == "ADT"
    found = []
    for diagnosis in event.diagnoses:
        code = icd10_of(diagnosis, site)
        if not isinstance(code, Unlisted):
            row = [when, list(place_of(diagnosis)), diagnosis.deleted, diagnosis.source, is_adt]
            found.append([code if is_adt else _OF_ORDER + code, row])
    return found


def _take_diagnoses(person: Person, when: Stamp, is_list: bool, rows: list[list[Any]]) -> None:
    held = person.setdefault("diagnoses", {})
    if is_list:
        _newest(person, "listed", when, None)
    for name, row in rows:
        before = held.get(name)
        if before is None or before[0] < when or (before[0] == when and row[1] < before[1]):
            held[name] = row
    while len(held) > DIAGNOSES_KEPT:
        del held[min(held, key=lambda code: (held[code][0], code))]


def _certify(person: Person, when: Stamp, event: Event) -> None:
    """What payers said (IN3), by certification number: all that the newest message has of it.

    A payer may certify some days of a stay and not others under one number.
    """
    held = person.setdefault("certified", {}) if event.certifications else {}
    said: dict[str, list[list[Any]]] = {}
    for each in event.certifications:
        row = [None if value is None else instant(value) for value in _moments(each)]
        words = [each.certified_by, each.required, each.days_kind, each.days]
        words += [each.non_concurrence, each.reviewer, each.appeal, each.case_manager, each.source]
        said.setdefault(each.number, []).append([*row, *words])
    for number, rows in said.items():
        _newest(held, number, when, rows)
    while len(held) > CERTIFICATIONS_KEPT:
        del held[min(held, key=lambda number: (held[number][0], number))]


def _moments(each: Certification) -> tuple[datetime | None, ...]:
    return (each.certified_at, each.begin, each.end, each.non_concurrence_at)


def certifications_of(person: Person, zone: ZoneInfo) -> tuple[Certification, ...]:
    """IN3 as it stands, by number."""
    found = []
    rows = (
        (number, row) for number, (_, rows) in sorted(person.get("certified", {}).items()) for row in rows
    )
    for number, row in rows:
        times = [None if at is None else moment(at, zone) for at in row[:4]]
        by, required, kind, days, refusal, reviewer, appeal, manager, source = row[4:]
        found.append(
            Certification(
                number=number,
                certified_by=by,
                required=required,
                certified_at=times[0],
                begin=times[1],
                end=times[2],
                days_kind=kind,
                days=days,
                non_concurrence=refusal,
                non_concurrence_at=times[3],
                reviewer=reviewer,
                appeal=appeal,
                case_manager=manager,
                source=source,
            )
        )
    return tuple(found)


def coverage_of(person: Person) -> tuple[Coverage, ...]:
    """IN1 as the newest message has it, in the order of paying: IN1-22 where it is sent, then IN1-1."""
    return tuple(Coverage(*row) for row in person.get("cover", (None, ()))[1])


def newer(one: Person, other: Person) -> Person:
    """Two numbers' registers of one person: for each the newest word, but the first visit and account."""
    person = {**other, **one}
    person["first"] = min(one["first"], other["first"])
    for name in set(one) & set(other) - {"first"}:
        mine, theirs = one[name], other[name]
        if name in ("diagnoses", "certified"):
            held = {**theirs, **mine}
            for key in set(mine) & set(theirs):
                held[key] = max(mine[key], theirs[key], key=lambda row: row[0])
            person[name] = held
        elif not mine or not theirs:
            person[name] = mine or theirs
        else:
            pick = min if name in ("visit", "account") else max
            person[name] = pick(mine, theirs, key=lambda row: row[0])
    return person


def text_of(person: Person, name: str) -> str:
    held = person.get(name)
    return str(held[1]) if held else ""


def unguarded(patients: Mapping[str, Person], site: SiteProfile) -> list[str]:
    """Exceptions of a stay whose messages came under these keys: where two patients could not be told apart.

    Each message is compared by its number alone, so one message without a number of the site's is enough.
    One of the registers says that a message did not say when it was sent, another has the visit's number.
    """
    found = ["SENT_TIME_UNKNOWN"] if any(UNDATED in its for its in patients.values()) else []
    visits = {authority_in(its["visit"][1]) for its in patients.values() if its.get("visit")}
    if not visits <= site.own_visits:
        found.append("FOREIGN_VISIT_NUMBER")
    spaces = {authority_in(each) for each in patients if each}
    if "" in patients:
        found.append("NO_PATIENT_NUMBER")
    if len(spaces) > 1 or not spaces <= site.own_mrns:
        found.append("FOREIGN_PATIENT_NUMBER")
    return found


def merged(own: Person, unnamed: Person) -> Person:
    """A person's registers, completed by messages on the visit that named no patient."""
    if not unnamed:
        return own
    person = {**unnamed, **{name: value for name, value in own.items() if value}}
    for name in ("diagnoses", "certified"):
        person[name] = {**unnamed.get(name, {}), **own.get(name, {})}
    return person


class Diagnosed(NamedTuple):
    """A diagnosis that stands."""

    code: str
    source: str
    at: int


def diagnoses_of(person: Person) -> list[Diagnosed]:
    """ICD-10-CM codes that stand: ADT's by ``place_of``, the newest first within it; then orders' reasons."""
    listed = person.get("listed", [None])[0]
    standing = [
        (code, row)
        for code, row in person.get("diagnoses", {}).items()
        if not row[2] and not (row[4] and listed is not None and row[0] < listed)
    ]
    standing.sort(key=lambda pair: (not pair[1][4], pair[1][1], [-part for part in pair[1][0][:2]], pair[0]))
    found: dict[str, Diagnosed] = {}
    for name, row in standing:
        code = name.removeprefix(_OF_ORDER)
        found.setdefault(code, Diagnosed(code, row[3], row[0][2]))
    return list(found.values())


def _paying(plan: Coverage) -> tuple[bool, int, int]:
    return plan.priority is None, plan.priority or 0, plan.rank


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
