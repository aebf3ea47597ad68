"""Events cut to what the course of a stay needs, with the key that puts them in effective order."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

from umbridge.model import Event, Patient, Visit
from umbridge.settings.authorities import authority_in
from umbridge.settings.site import SiteProfile
from umbridge.stay.clock import MINUTE, instant
from umbridge.stay.practitioners import Named, by_role

ORDER = "ORDER"
#: Causal rank at equal times: what makes the other happen goes first (HL7 v2 ch. 3 events, table 0003).
RANK = {
    **{"A05": 0, "A14": 0, "A04": 1, "A01": 2, ORDER: 3, "A06": 4, "A07": 4, "A02": 5, "A15": 5, "A17": 5},
    **{"A09": 5, "A10": 5, "A08": 6, "A54": 6, "A21": 7, "A22": 8, "A16": 9, "A03": 10},
    **{"A11": 11, "A12": 11, "A13": 11, "A25": 11, "A26": 11, "A27": 11, "A32": 11, "A33": 11, "A38": 11},
    **{"A52": 11, "A53": 11, "A55": 11, "A23": 12, "A29": 12},
    **dict.fromkeys(("A35", "A36", "A41", "A42", "A44", "A45", "A49", "A50"), 13),
}
#: What a cancel takes back: see ``telling`` for which one of its kind.
CANCELS = {
    **{"A11": "admit", "A12": "transfer", "A13": "discharge", "A25": "pending discharge"},
    **{"A26": "pending transfer", "A27": "pending admit", "A32": "arrival", "A33": "departure"},
    **{"A38": "preadmit", "A52": "leave", "A53": "return", "A55": "attending"},
}
#: Accounts and visits under other numbers than before. What they do to patients is in ``identity``.
RENAMES = frozenset({"A35", "A36", "A41", "A42", "A44", "A45", "A49", "A50"})

UNDATED = "undated"  # the register of a patient of whom a message does not say when it was sent
#: The field of a visit that says when an event of this trigger itself took place.
_OWN_TIMES = {"A01": "admitted", "A04": "admitted", "A03": "discharged"}
_BARE = {"PV1-44": "admitted", "PV1-45": "discharged"}

Key = tuple[int, int, int, int, int]


class RecordData(TypedDict, total=False):
    """What one event says of the course. A key that is missing was not said. Times are instants."""

    facility: str  # MSH-4, where the profile has a clock or numbers for it
    visit: str
    account: str
    prior: list[str]  # PID-18 and MRG-3 as they were before
    joined: bool
    # of an ADT event
    fields: dict[str, str]  # "" clears the field
    disposition: str  # "" takes it away
    care: dict[str, list[Named]]  # who cares for the patient, by role; [] where the field is deleted
    admitted: int
    discharged: int
    coming: int
    back: int
    stated: bool  # the effective time was sent (EVN-6, PV1-44, PV1-45), not taken from when it was told
    bare: list[str]  # of "admitted" and "discharged": a day without an hour
    deleted: list[str]  # "admitted", "discharged": HL7's delete
    target: list[int]  # first and last moment that EVN-6 of a cancel can mean
    # of a status order
    on: bool
    moves: bool  # a later statement about when it takes effect
    placer: str
    status: str | None
    level: int | None
    source: str
    by: list[Named]  # who signed it


class Record(NamedTuple):
    """One statement, cut to what the course needs. ``key``: effective time, rank, told, receipt, part."""

    key: Key
    trigger: str
    patient: str
    data: RecordData

    @property
    def at(self) -> int:
        return self.key[0]

    @property
    def told(self) -> int:
        return self.key[2]

    def moved(self, at: int) -> Record:
        """The same with another effective time."""
        return self if at == self.key[0] else self._replace(key=(at, *self.key[1:]))

    @property
    def origin(self) -> tuple[int, int]:
        """Row number and part: what names a review that this record is the first to speak for."""
        return self.key[3:]

    @classmethod
    def decoded(cls, row: list[Any]) -> Record:
        key, trigger, patient, data = row
        return cls((key[0], key[1], key[2], key[3], key[4]), trigger, patient, data)


def is_planned(record: Record, key: Key, site: SiteProfile) -> bool:
    """Whether an order, or the end of one, was told of before it takes effect, by more than clocks differ."""
    return record.trigger == ORDER and key[0] - key[2] > site.windows.future_skew_minutes * MINUTE


# Made once; what it is given is made of rows of our own, which hold no ring.
_ENCODE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode


def canonical(value: object) -> bytes:
    """Sorted keys, no blanks, ASCII: the same value gives the same bytes."""
    return _ENCODE(value).encode("ascii")


def combined(one: bytes, other: bytes) -> bytes:
    """Two increments of one row as one: a message may be about a stay in several of its parts."""
    rows: dict[str, list[Any]] = json.loads(one)
    for name, its in json.loads(other).items():
        rows[name] = rows.get(name, []) + its
    return canonical(rows)


def patient_key(patient: Patient, site: SiteProfile) -> str:
    """The number that the patient is known by: NUMBER, or NUMBER^AUTHORITY; "" where none is sent.

    Of the identifiers whose type is one of the site's ``mrn_types``: one of the site's own authority, else
    the first of another. An authority that is not sent is the site's own; one that is sent is surer.
    """
    best, found = (3, True, 0), ""
    mrns, types = site.mrns, site.mrn_types
    for number, sent, said in patient.identifiers:
        kind = said.upper()
        if not number or kind not in types:
            continue
        authority = mrns.of(sent)
        whose = 0 if authority == mrns.own else 1 if authority == mrns.first else 2
        rank = (whose, not sent, types.index(kind))
        if rank < best:
            best, found = rank, mrns.name(number, sent)
    return found


class Names(NamedTuple):
    """A message's patient, visit and account as people have them, "" where none is named."""

    patient: str
    visit: str
    account: str


class _Named(NamedTuple):
    event: Event | None
    site: SiteProfile | None
    names: Names


_newest = _Named(None, None, Names("", "", ""))


def names_of(event: Event, site: SiteProfile) -> Names:
    """By the numbers of the facility that sent it. Each part of a stay asks for those of one event."""
    global _newest  # noqa: PLW0603 - by the very objects, so that nothing has to be compared
    known = _newest
    if known.event is event and known.site is site:
        return known.names
    here = site.at(event.facility)
    visit, patient = event.visit, event.patient
    names = Names(
        patient_key(patient, here),
        here.visits.name(visit.number, visit.authority),
        here.accounts.name(patient.account, patient.account_authority),
    )
    _newest = _Named(event, site, names)
    return names


_ACCOUNT = "account:"


def account_name(account: str) -> str:
    """What a stay that is known by its account alone is called, wherever a visit's number stands."""
    return f"{_ACCOUNT}{account}" if account else ""


def account_named(name: str) -> str:
    """The account that such a name is of, "" where it is a visit's."""
    return name[len(_ACCOUNT) :] if name.startswith(_ACCOUNT) else ""


def records(event: Event, seq: int, site: SiteProfile) -> list[Record]:
    """What of one message belongs to the course: an ADT event. Status orders come from ``orders``."""
    if event.message_type != "ADT" or event.trigger not in RANK:
        return []
    (patient, visit, account), sent = names_of(event, site), instant(event.sent_at)
    identity: RecordData = {}
    if event.facility and event.facility in site.places:
        identity["facility"] = event.facility
    if visit:
        identity["visit"] = visit
    if account:
        identity["account"] = account
    told = sent if event.told_at is None else instant(event.told_at)
    key = (instant(event.effective_at), RANK[event.trigger], told, seq, event.part)
    data = identity.copy() if event.trigger in RENAMES else _visit(event.visit, identity)
    if event.occurred is not None or _OWN_TIMES.get(event.trigger, "") in data:
        data["stated"] = True
    if event.occurred is not None and event.trigger in CANCELS:
        data["target"] = _meant(event.occurred)
    if event.trigger == "A42":
        data["joined"] = True
    if event.prior_accounts:
        spaces = {group.prior_account: group.prior_account_authority for group in event.groups}
        name = site.at(event.facility).accounts.name
        data["prior"] = [name(each, spaces.get(each, "")) for each in event.prior_accounts]
    return [Record(key, event.trigger, patient, data)]


def _visit(visit: Visit, identity: RecordData) -> RecordData:
    fields: dict[str, str] = {}
    named = {"class": visit.patient_class, "type": visit.patient_type, "service": visit.service}
    named["admission"] = visit.admission_type
    for name, value in named.items():
        if value is not None:
            fields[name] = value
    if visit.unit is not None:  # PV1-3 is one field: what it does not name, it clears
        fields.update(unit=visit.unit, room=visit.room or "", bed=visit.bed or "")
    data = identity.copy()
    if visit.disposition is not None:
        data["disposition"] = visit.disposition
    if visit.practitioners:
        data["care"] = by_role(visit.practitioners)
    if fields:
        data["fields"] = fields
    if visit.admitted_at is not None:
        data["admitted"] = instant(visit.admitted_at)
    if visit.discharged_at is not None:
        data["discharged"] = instant(visit.discharged_at)
    if visit.deleted:
        data["deleted"] = [_BARE[name] for name in visit.deleted if name in _BARE]
    if visit.days:
        data["bare"] = [_BARE[name] for name in visit.days if name in _BARE]
    if visit.expected_admission is not None:
        data["coming"] = instant(visit.expected_admission)
    if visit.expected_return is not None:
        data["back"] = instant(visit.expected_return)
    return data


def _meant(occurred: tuple[datetime, datetime]) -> list[int]:
    """A time may have seconds in one message and none in the other: within a minute it is the same."""
    first, last = instant(occurred[0]), instant(occurred[1])
    return [first - first % MINUTE, last - last % MINUTE + MINUTE - 1]


def same_patient(one: str, other: str) -> bool:
    """Whether two patient keys can be one person. Keys of different authorities cannot be compared."""
    if not one or not other or one == other:
        return True
    return authority_in(one) != authority_in(other)
