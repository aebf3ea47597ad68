"""The stay as an incremental fold over its messages, and the snapshot that lets it go on after a restart.

ADT events and status orders are kept in effective order. The newest 32 stay apart from the folded rest (the
base), so an event that comes late is put in its place by folding those again; one that is older than all of
them raises NeedsRefold, and the caller folds the lane from the inbox. Results and treatment orders commute
and are kept as lists; a snapshot holds none of them, each message adds an increment instead. So neither
``apply`` nor ``head`` grows with the number of messages a lane has had.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from umbridge.model import Event
from umbridge.site import SiteProfile
from umbridge.stay.clock import instant
from umbridge.stay.course import Course
from umbridge.stay.facts import Fact, feeds, read
from umbridge.stay.person import Diagnosed, Person, diagnoses_of, merged, note
from umbridge.stay.record import Key, Record, canonical, patient_key, records, same_patient
from umbridge.stay.results import Result, ResultList, Turn, TurnList, stage
from umbridge.stay.status import is_ending
from umbridge.stay.view import Identity, Stay, view

__all__ = ["NeedsRefold", "Stay", "StayFold"]

TAIL_KEPT = 32
FORM = 1


class NeedsRefold(Exception):  # noqa: N818 - not a failure: the answer is StayFold.refold
    """The snapshot cannot take this in: fold the lane again from its first message."""


class StayFold:
    """One lane. The same events give the same stay, whatever order they came in.

    ``seq`` is the message's receipt number: it breaks ties, and each message is applied once.
    """

    def __init__(self, site: SiteProfile) -> None:
        self.site = site
        self._base = Course()
        self._floor: Key | None = None
        self._tail: list[Record] = []
        self._tail_keys: list[Key] = []
        self._tail_bytes: list[bytes] = []
        self._course = Course()
        self._people: dict[str, Person] = {}
        self._applied = 0
        self._results: dict[str, ResultList] = {}
        self._turns: dict[str, TurnList] = {}

    # -- taking in -------------------------------------------------------------------------------------

    def apply(self, event: Event, seq: int) -> bytes | None:
        """Take in one message. Returns the increment to append to the snapshot, None where there is none.

        Raises NeedsRefold, with nothing changed, when the event belongs before everything still held apart.
        """
        found = records(event, seq, self.site)
        if self._floor is not None and any(record.key < self._floor for record in found):
            raise NeedsRefold
        self._take(event, seq)
        for record in found:
            self._insert(record)
        rows = self._rows(event, seq)
        if rows is None:
            return None
        self._load(rows)
        return canonical(rows)

    def increment(self, event: Event, seq: int) -> bytes | None:
        """What ``apply`` returns for this message, without taking it in: for rewriting after a refold."""
        rows = self._rows(event, seq)
        return None if rows is None else canonical(rows)

    @classmethod
    def refold(cls, site: SiteProfile, events: Iterable[tuple[int, Event]]) -> StayFold:
        """From scratch, any number of messages in any order."""
        fold = cls(site)
        found: list[Record] = []
        for seq, event in events:
            fold._take(event, seq)
            found += records(event, seq, site)
            rows = fold._rows(event, seq)
            if rows is not None:
                fold._load(rows)
        found.sort(key=lambda record: record.key)
        cut = max(0, len(found) - TAIL_KEPT)
        for record in found[:cut]:
            fold._base.step(site, record)
            fold._floor = record.key
        fold._keep(found[cut:])
        return fold

    def _take(self, event: Event, seq: int) -> None:
        self._applied += 1
        note(self._people, patient_key(event.patient, self.site), event, seq)

    def _insert(self, record: Record) -> None:
        place = bisect_right(self._tail_keys, record.key)
        self._tail.insert(place, record)
        self._tail_keys.insert(place, record.key)
        self._tail_bytes.insert(place, record.encoded())
        if len(self._tail) > TAIL_KEPT:
            self._base.step(self.site, self._tail[0])
            self._floor = self._tail_keys[0]
            del self._tail[0], self._tail_keys[0], self._tail_bytes[0]
        if place >= len(self._tail) - 1 and record is self._tail[-1]:
            self._course.step(self.site, record)
        else:
            self._fold_tail()

    def _keep(self, tail: list[Record]) -> None:
        self._tail = list(tail)
        self._tail_keys = [record.key for record in tail]
        self._tail_bytes = [record.encoded() for record in tail]
        self._fold_tail()

    def _fold_tail(self) -> None:
        self._course = self._base.copied()
        for record in self._tail:
            self._course.step(self.site, record)

    def _rows(self, event: Event, seq: int) -> dict[str, Any] | None:
        """The facts and treatment orders of one message, as the increment writes them."""
        patient, sent = patient_key(event.patient, self.site), instant(event.sent_at)
        facts: list[list[Any]] = []
        for observation in event.observations:
            found = read(observation, self.site)
            if not found.fact:
                continue
            value, original, source = None, "", observation.source
            if isinstance(found, Fact):
                value, original = found.value, found.original
                source = f"{source} preliminary" if found.preliminary else source
            result = Result(
                instant(observation.at),
                observation.report,
                found.code,
                patient,
                stage(observation.status),
                sent,
                seq,
                value,
                original,
                source,
            )
            facts += [result.row(fact) for fact in feeds(found.fact)]
        turns: list[list[Any]] = []
        for part, order in enumerate(event.orders, 1):
            fact = self.site.intensity_orders.get(order.code.code)
            ending = is_ending(order.control, order.status)
            if fact is None or ending is None:
                continue
            is_done = order.control == "SC" and order.status == "CM"
            key = order.placer or order.filler or order.code.code
            turn = Turn(
                instant(order.at), sent, seq, part, not (ending or is_done), key, order.source, patient
            )
            turns.append(turn.row(fact))
        rows = {name: rows for name, rows in (("facts", facts), ("orders", turns)) if rows}
        return rows or None

    def _load(self, rows: dict[str, Any]) -> None:
        for row in rows.get("facts", ()):
            self._results.setdefault(row[0], ResultList()).add(Result.from_row(row))
        for row in rows.get("orders", ()):
            self._turns.setdefault(row[0], TurnList()).add(Turn(*row[1:]))

    # -- keeping ---------------------------------------------------------------------------------------

    def head(self) -> bytes:
        """Everything but results and treatment orders, as canonical JSON of bounded size."""
        rest = canonical(
            {
                "applied": self._applied,
                "base": self._base.state(),
                "floor": self._floor,
                "form": FORM,
                "people": self._people,
                "site": self.site.digest,
            }
        )
        return rest[:-1] + b',"tail":[' + b",".join(self._tail_bytes) + b"]}"

    @classmethod
    def restore(cls, site: SiteProfile, head: bytes, increments: Iterable[bytes]) -> StayFold:
        """The fold that wrote ``head`` and ``increments`` (in any order).

        Raises NeedsRefold when they were written under another site profile or another form of snapshot:
        what local codes meant then is not what they mean now.
        """
        state = json.loads(head)
        if state.get("form") != FORM or state.get("site") != site.digest:
            raise NeedsRefold
        fold = cls(site)
        fold._applied = state["applied"]
        fold._people = state["people"]
        fold._base = Course.of(state["base"])
        floor = state["floor"]
        fold._floor = None if floor is None else (floor[0], floor[1], floor[2], floor[3], floor[4])
        fold._keep([Record.decoded(row) for row in state["tail"]])
        for rows in increments:
            fold._load(json.loads(rows))
        return fold

    # -- looking ---------------------------------------------------------------------------------------

    @property
    def patient(self) -> str:
        """Whose stay it is: the patient of the earliest ADT event or status order, else of any message."""
        if self._course.patient or not self._people:
            return self._course.patient
        named = [patient for patient in self._people if patient] or [""]
        return min(named, key=lambda patient: self._people.get(patient, {"first": [0]})["first"])

    def is_patient(self, patient: str) -> bool:
        """Whether a result or order of this patient key belongs to the stay's own patient."""
        return same_patient(self.patient, patient)

    def results(self, fact: str) -> ResultList | None:
        return self._results.get(fact)

    def orders(self, fact: str) -> TurnList | None:
        return self._turns.get(fact)

    def person(self) -> Person:
        """The registers of the stay's patient, completed by messages that named no patient."""
        own = self._people.get(self.patient, {})
        return merged(own, self._people.get("", {}) if self.patient else {})

    def diagnoses(self) -> list[Diagnosed]:
        """ICD-10-CM codes in force and where each was said, principal first."""
        return diagnoses_of(self.person())

    def stay(self, as_of: datetime) -> Stay:
        """The stay with its clocks read at ``as_of``."""
        person = self.person()
        plan = person.get("payer", (None, ("", "")))[1]
        identity = Identity(
            visit=_said(person, "visit"),
            accounts=tuple(filter(None, [_said(person, "account")])),
            mrn=self.patient.partition("^")[0],
            birth_date=_said(person, "birth"),
            sex=_said(person, "sex"),
            payer_class=self.site.payer_class(plan[0], plan[1]),
            diagnoses=tuple(each.code for each in diagnoses_of(person)),
            expected_discharge=person["expected"][1][0] if "expected" in person else None,
            events_applied=self._applied,
            has_other_patient=any(not self.is_patient(patient) for patient in self._people),
        )
        return view(self.site, self._course, identity, as_of)


def _said(person: Person, name: str) -> str:
    held = person.get(name)
    return str(held[1]) if held else ""
