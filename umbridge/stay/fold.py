"""The stay as an incremental fold over its messages, and the snapshot that lets it go on after a restart.

ADT events and status orders go to the ``timeline``, which folds what is new when somebody looks. Results
commute and are kept as lists; so do orders, whose register says which status orders have begun and ended. A
snapshot's head holds none of them; each message adds an increment instead. So neither ``apply`` nor ``head``
grows with the number of messages a lane has had, unless somebody looks after each of a row that comes newest
first: then each look folds again all that came before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Set
from dataclasses import replace
from datetime import date, datetime
from typing import Any, cast

from umbridge.model import Event
from umbridge.settings.site import SiteProfile
from umbridge.stay.besides import Besides, take
from umbridge.stay.care_start import first_care
from umbridge.stay.clock import instant, local_date
from umbridge.stay.course.state import Course
from umbridge.stay.course.timeline import Timeline
from umbridge.stay.elsewhere import Reported
from umbridge.stay.identity import PERSON_LEVEL, Change, followed, owned, patients_changed
from umbridge.stay.orders.order_statement import OrderStatement, said_of
from umbridge.stay.orders.register import Orders
from umbridge.stay.orders.strange import Strange
from umbridge.stay.orders.treatment_spans import InForce
from umbridge.stay.payers import payers_of
from umbridge.stay.person import (
    Diagnosed,
    PastRegister,
    Person,
    Word,
    begun_anew,
    certifications_of,
    coverage_of,
    diagnoses_of,
    merged,
    newer,
    note,
    text_of,
    unguarded,
    word_of,
)
from umbridge.stay.procedures import Procedure, Procedures, procedures_of
from umbridge.stay.reasons import OrderReason
from umbridge.stay.record import (
    Key,
    Record,
    canonical,
    names_of,
    records,
    same_patient,
)
from umbridge.stay.results.findings import Findings, Increment
from umbridge.stay.results.late import LATE_CRITICAL_RESULT, TROPONIN, has_troponin_risen
from umbridge.stay.results.result_list import ResultList
from umbridge.stay.results.statements import Codes, rows_of
from umbridge.stay.results.synonyms import rows_by_code
from umbridge.stay.stay import Identity, Stay
from umbridge.stay.together import meant_elsewhere
from umbridge.stay.view import view
from umbridge.values.kinds import Status

__all__ = ["NeedsRefold", "Stay", "StayFold"]

FORM = 11
PAST_KEPT = 8


class NeedsRefold(Exception):  # noqa: N818 - not a failure: the answer is StayFold.refold
    """The snapshot cannot be read: fold the lane again from its first message."""


class StayFold:
    """One lane. The same events give the same stay, whatever order they came in.

    ``seq`` is the message's receipt number: it breaks ties, and each message is applied once.
    """

    def __init__(self, site: SiteProfile) -> None:
        self.site = site
        self._timeline = Timeline(site, self._owner)
        self._changes: list[tuple[Key, Change]] = []
        self._standing: dict[str, str] = {}  # patient key -> the same person's key now
        self._owners: dict[str, str] = {}  # patient key -> whose stay it became
        self._ring = False
        self._people: dict[str, Person] = {}
        self._applied = 0
        self._findings = Findings(self._whose)
        self._results, self.told = self._findings.by_fact, self._findings.told
        self._orders = Orders()
        self._besides: Besides | None = None
        self.procedures = Procedures()
        self._words: list[Word] = []
        #: By until when it was told: what it has of a patient, at which moment and by so many words.
        self._past: dict[int, tuple[PastRegister, tuple[object, ...], Person]] = {}

    # -- taking in -------------------------------------------------------------------------------------

    def apply(self, event: Event, seq: int) -> bytes | None:
        """Take in one message. Returns the increment to append to the snapshot, None where there is none."""
        rows = self._rows(event, seq)
        self._meet(event, seq)
        if rows is None:
            return None
        self._timeline.add(self._load(rows))
        if self._changes and self._identify():
            self._timeline.forget()
        self._order()
        return canonical(rows)

    def increment(self, event: Event, seq: int) -> bytes | None:
        """What ``apply`` returns for this message, without taking it in: for rewriting after a refold."""
        rows = self._rows(event, seq)
        return None if rows is None else canonical(rows)

    @classmethod
    def refold(cls, site: SiteProfile, events: Iterable[tuple[int, Event]]) -> StayFold:
        """From scratch, any number of messages in any order."""
        fold = cls(site)
        for seq, event in events:
            fold._meet(event, seq)
            rows = fold._rows(event, seq)
            if rows is not None:
                fold._timeline.add(fold._load(rows))
        if fold._identify():
            fold._timeline.forget()  # whose results are whose was asked while they were taken in
        fold._order()
        return fold

    def _order(self) -> None:
        """Give the timeline the status orders as they now are."""
        gone, new = self._orders.settle(self._stands)
        if gone:
            self._timeline.remove(gone)
        self._timeline.add(new)
        if (gone or new) and self._changes and self._identify():
            self._timeline.forget()

    def _meet(self, event: Event, seq: int) -> None:
        """What is about a person, and comes to each of their stays, is no message of this one."""
        if not event.is_beside:
            self._applied += event.message_type != "ADT" or event.trigger not in PERSON_LEVEL
            note(self._people, names_of(event, self.site), event, seq, self.site)

    # -- whose numbers ---------------------------------------------------------------------------------

    def _identify(self) -> bool:
        """Follow merges and moves again. True where a number stands for another one than before."""
        self._changes.sort()
        before = (self._standing, self._owners)
        same = [(each.old, each.new) for _, each in self._changes if each.kind == "same"]
        self._standing, self._ring = followed(same)
        moves = [(self._stands(e.old), self._stands(e.new)) for _, e in self._changes if e.kind == "moved"]
        first = self._timeline.first if moves else ""
        self._owners = owned(moves, self._stands(first)) if first else {}
        changed = before != (self._standing, self._owners)
        if changed:
            for results in self._results.values():
                results.forget_looks()
            self._findings.find_again()
            self._orders.forget()
            if self._besides is not None:
                self._besides.forget()
            self._past.clear()
        return changed

    def _stands(self, patient: str) -> str:
        return self._standing.get(patient, patient)

    def _owner(self, patient: str) -> str:
        standing = self._stands(patient)
        return self._owners.get(standing, standing)

    def _rows(self, event: Event, seq: int) -> Increment | None:
        """The facts and orders of one message, as the increment writes them."""
        if event.is_beside:
            told = self._rows(replace(event, is_beside=False), seq)
            return None if told is None else {"beside": [told]}
        here, sent = self.site.at(event.facility), instant(event.sent_at)
        patient = names_of(event, self.site).patient
        said, plain = said_of(event, seq, self.site)
        at, word = instant(event.effective_at), word_of(patient, event, seq, self.site)
        rows: dict[str, list[Any]] = {
            "changes": [
                [at, sent, seq, *change, event.part or nth]
                for nth, change in enumerate(patients_changed(event, self.site), 1)
            ],
            "course": [list(record) for record in records(event, seq, self.site)],
            "orders": [list(each) for each in said],
            "plain": [list(each) for each in plain],
            "procedures": [list(each) for each in procedures_of(event, seq, patient)],
            "words": [] if word is None else [list(word)],
            **rows_of(event, seq, patient, here, codes := Codes([], [])),
            **(rows_by_code(event, seq, patient, here, codes) if codes.unmapped or codes.double else {}),
        }
        return cast("Increment", {name: its for name, its in rows.items() if its}) or None

    def _load(self, rows: Increment) -> list[Record]:
        """Take in one message's rows but for its records: those are returned, to go in by effective order."""
        for its in rows.get("beside", ()):
            self._besides = self._besides or Besides(self._whose)
            self._besides.take(its)
        take(rows, self._findings, self._orders)
        for row in rows.get("procedures", ()):
            self.procedures.add(Procedure(*row))
        for row in rows.get("words", ()):
            self._words.append(Word(*row))
        for at, sent, seq, kind, old, new, *part in rows.get("changes", ()):  # form 4 has no part
            self._changes.append(((at, 0, sent, seq, *(part or (0,))), Change(kind, old, new)))
        return [Record.decoded(row) for row in rows.get("course", ())]

    # -- keeping ---------------------------------------------------------------------------------------

    def head(self) -> bytes:
        """Everything but what the increments hold, as canonical JSON of bounded size."""
        parts = {
            b"applied": canonical(self._applied),
            b"course": self._timeline.written(),
            b"form": canonical(FORM),
            b"people": canonical(self._people),
            b"site": canonical(self.site.digest),
        }
        return b"{%b}" % b",".join([b'"%b":%b' % part for part in parts.items()])

    @classmethod
    def restore(
        cls, site: SiteProfile, head: bytes, increments: Iterable[bytes], *, any_reading: bool = False
    ) -> StayFold:
        """The fold that wrote ``head`` and ``increments`` (in any order).

        Raises NeedsRefold when they were written under another site profile or another form of snapshot:
        what local codes meant then is not what they mean now. ``any_reading``: to see what it said then.
        """
        state = json.loads(head)
        is_read = state.get("form") == FORM and state.get("site") == site.digest
        if not (is_read or any_reading):
            raise NeedsRefold
        fold = cls(site)
        fold._applied = state["applied"]
        fold._people = state["people"]
        fold._timeline.add([each for rows in increments for each in fold._load(json.loads(rows))])
        fold._identify()
        fold._order()
        fold._timeline.restore(Course.of(state["course"]))
        return fold

    # -- looking ---------------------------------------------------------------------------------------

    @property
    def here(self) -> SiteProfile:
        """The profile as the facility has it at which the stay began: its clock counts the midnights."""
        return self.site.at(self._timeline.facility)

    @property
    def patient(self) -> str:
        """Whose stay it is: the patient of the earliest ADT event or status order, else of any message."""
        patient = self._timeline.course.patient
        if patient or not self._people:
            return patient
        named = [patient for patient in self._people if patient] or [""]
        # two parts of one message are equally early: then by the number, as a snapshot keeps no order
        first = min(named, key=lambda patient: (self._people.get(patient, {"first": [0]})["first"], patient))
        return self._owner(first)

    def is_patient(self, patient: str) -> bool:
        """Whether a result or order of this patient key belongs to the stay's own patient.

        What was said under a patient that the stay was moved away from does not: it may be about either.
        """
        return same_patient(self.patient, self._stands(patient))

    def _whose(self, patient: str) -> str:
        """Whose a patient key is as results go: "" for whatever counts as the stay's own patient."""
        return "" if self.is_patient(patient) else self._stands(patient)

    @property
    def sent(self) -> Set[str]:
        """The facts of which any result was sent."""
        return self._results.keys()

    def results(self, fact: str) -> ResultList | None:
        return self._results.get(fact)

    def orders(self, fact: str, told_by: int | None = None) -> InForce | None:
        """The orders of one treatment; with ``told_by``, by what was told until then."""
        return self._orders.as_told(told_by, self._stands).facts.get(fact)

    def ordered(self, told_by: int | None = None) -> Set[str]:
        """The treatments of which any order was told; with ``told_by``, until then."""
        return self._orders.as_told(told_by, self._stands).facts.keys()

    def strange(self, told_by: int | None = None) -> Strange:
        """What would end an order under a number that no order has; with ``told_by``, as told then."""
        return self._orders.as_told(told_by, self._stands).strange

    def unused_orders(self) -> list[tuple[OrderStatement, str]]:
        """Statements about orders that the stay has no use for, each with its reason."""
        return sorted(self._orders.odd())

    def why_unused(self, said: OrderStatement) -> OrderReason | None:
        """Why the stay has no use for a statement that it has taken in, as things stand."""
        return self._orders.why(said)

    def person(self) -> Person:
        """The registers of the stay's patient, completed by messages that named no patient.

        Under every number the patient has had: the newest word counts, whichever number it came under.
        """
        return self._person_of(self._people)

    def _person_of(self, people: dict[str, Person]) -> Person:
        own = people.get(self.patient, {})
        if self._standing:
            for patient, said in people.items():
                if patient and patient != self.patient and self._stands(patient) == self.patient:
                    own = newer(own, said) if own else said
        person = merged(own, people.get("", {}) if self.patient else {})
        return begun_anew(person, self._timeline.course.anew)

    def person_at(self, told_by: int, at: int) -> Person:
        """The diagnoses and the expected discharge: what was told until an instant of what was so at one."""
        anew = self._timeline.course.anew
        made_of = (self.patient, at, len(self._words), anew)
        register, before, person = self._past.get(told_by) or (PastRegister(told_by, anew), None, {})
        if before != made_of:
            if at < register.at or register.anew != anew:
                register = PastRegister(told_by, anew)
            register.reach(at, self._words)
            known: dict[str, Person] = {who: its | {"first": [0]} for who, its in register.people().items()}
            person = self._person_of(known)
            if told_by not in self._past and len(self._past) >= PAST_KEPT:
                self._past.clear()
            self._past[told_by] = (register, made_of, person)
        return person

    def diagnoses(self, told_by: int | None = None, at: int = 0) -> list[Diagnosed]:
        """ICD-10-CM codes in force and where each was said, principal first; with ``told_by``, as then."""
        return diagnoses_of(self.person() if told_by is None else self.person_at(told_by, at))

    def stay(self, as_of: datetime) -> Stay:
        """The stay with its clocks read at ``as_of``."""
        planned = self._timeline.reach(instant(as_of))
        person, here, patient = self.person(), self.here, self.patient
        cover, (came, until) = coverage_of(person), self._days(as_of)
        payers = payers_of(cover, came, until, self.site)
        aliases = sorted(old for old in self._standing if self._stands(old) == patient)
        aliases += [old for old in self._owners if old != patient]
        registered, left = self._timeline.course.registered_since, self._timeline.course.discharged_at
        raised = self._orders.exceptions(self.is_patient, instant(as_of), registered, left)
        raised.update(*(its.exceptions(self.is_patient) for its in self._results.values()))
        if left is not None and has_troponin_risen(self._results.get(TROPONIN), left, self.is_patient):
            raised.add(LATE_CRITICAL_RESULT)
        strangers = [each for each in self._people if not self.is_patient(each)]
        _, expected = person.get("expected", (None, None))
        identity = Identity(
            visit=text_of(person, "visit"),
            accounts=tuple(filter(None, [text_of(person, "account")])),
            mrn=patient,
            mrn_aliases=tuple(dict.fromkeys(aliases)),
            birth_date=text_of(person, "birth"),
            sex=text_of(person, "sex"),
            payers=payers,
            coverage=cover,
            certifications=certifications_of(person, here.zone),
            diagnoses=tuple(each.code for each in diagnoses_of(person)),
            expected_discharge=None if expected is None else (expected[0], expected[2]),
            care_start=self._care_start(instant(as_of)) if payers.has_medicare else None,
            events_applied=self._applied,
            has_other_patient=any(self._owner(each) != patient for each in strangers),
            has_moved=any(self._owner(each) == patient for each in strangers),
            has_ring=self._ring,
            unguarded=tuple(unguarded(self._people, self.site)),
            has_no_cover=bool(cover) and not payers.standing,
            reported=Reported(self._results, self.told, self.is_patient, self._orders),
            raised=tuple(sorted(raised)),
            planned=planned,
        )
        found = view(here, self._timeline.course, identity, as_of)
        if self._besides is None:
            return found
        return meant_elsewhere(found, self._besides.reported(self.is_patient, self._stands))

    def _days(self, as_of: datetime) -> tuple[date, date]:
        """The local dates of the first contact, which is the day of service, and of the last day so far."""
        course, zone = self._timeline.course, self.here.zone
        first = course.first_at if course.care_start is None else course.care_start
        now = instant(as_of)
        last = now if course.discharged_at is None else min(now, course.discharged_at)
        return local_date(last if first is None else first, zone), local_date(last, zone)

    def _care_start(self, now: int) -> int | None:
        """When hospital care began, as far as is known. Of an inpatient who is still here nobody asks."""
        course, listed = self._timeline.course, self._results.get("care_start")
        left = course.discharged_at
        if not course.spans or (course.spans[-1].status == Status.INPATIENT and left is None):
            return None
        now = now if left is None else min(now, left)
        contact = course.first_at if course.care_start is None else course.care_start
        for each in reversed([] if listed is None else listed.between(contact, now)):
            if each.value is not None and self.is_patient(each.patient):
                return instant(datetime.fromisoformat(str(each.value)))
        if contact is None:
            return None
        found = first_care(
            contact,
            now,
            facts=self.sent,
            ordered=self.ordered(),
            within=lambda fact, first, last: self._results[fact].between(first, last),
            orders=self.orders,
            statuses=((each.start, each.source) for each in course.spans if each.evidence == "ORDER"),
            is_own=self.is_patient,
        )
        return None if found is None else found[0]
