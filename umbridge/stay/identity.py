"""Who and which: merges, moves and changed numbers, and which stays one message is about.

A lane is one stay, found by its visit number, else by the visit its account was first seen with. Most
messages are about one lane. Merges, moves and person-level updates are about all stays of a patient, or make
one lane of two: ``Directory`` says which, and remembers what later messages need to know. Old numbers lead to
the new ones for ever; a chain is followed to its end, and what would close a ring is not followed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from umbridge.hl7.triggers import GROUPED
from umbridge.model import Event, Group, Patient
from umbridge.site import SiteProfile
from umbridge.stay.record import patient_key

#: Two numbers, one person: merged or renamed (HL7 v2 3.3.18, .30, .34, .36, .39, .40, .46, .47).
_SAME_PERSON = frozenset({"A18", "A30", "A34", "A36", "A39", "A40", "A46", "A47"})
#: Records that stood under the wrong patient (3.3.43 to .45): the stay is another person's.
_OTHER_PERSON = frozenset({"A43", "A44", "A45"})
_ACCOUNTS = frozenset({"A35", "A36", "A41", "A44", "A45", "A49"})
#: A06 and A07 may give the visit another number, which is no merge (3.3.6, 3.3.7).
_VISITS = frozenset({"A06", "A07", "A42", "A45", "A50"})
#: About a person, with no visit of their own.
PERSON_LEVEL = frozenset({"A28", "A29", "A31"}) | _SAME_PERSON | {"A43"}


class Change(NamedTuple):
    """A patient key that gave way to another: the ``same`` person, or a stay ``moved`` to another person."""

    kind: str
    old: str
    new: str


def patients_changed(event: Event, site: SiteProfile) -> list[Change]:
    """What a message says about patients' numbers, as patient keys."""
    if event.message_type != "ADT" or event.trigger not in _SAME_PERSON | _OTHER_PERSON:
        return []
    kind = "same" if event.trigger in _SAME_PERSON else "moved"
    pairs = [(_prior_patient(group, site), patient_key(group.patient, site)) for group in event.groups]
    return [Change(kind, old, new) for old, new in pairs if old and new and old != new]


def _prior_patient(group: Group, site: SiteProfile) -> str:
    return patient_key(Patient(group.prior_identifiers), site)


def parts(event: Event) -> tuple[Event, ...]:
    """A message about several patients or visits as one event each; any other as it is."""
    if len(event.groups) < 2 or event.trigger not in GROUPED:
        return (event,)
    return tuple(
        replace(
            event,
            patient=group.patient,
            visit=group.visit,
            groups=(group,),
            prior_accounts=(group.prior_account,) if group.prior_account else (),
        )
        for group in event.groups
    )


def followed(links: Iterable[tuple[str, str]]) -> tuple[dict[str, str], bool]:
    """(number -> the one it stands for now, whether a link was left out because it closed a ring)."""
    towards: dict[str, str] = {}
    ring = False
    for old, new in links:
        path = [new]
        while path[-1] in towards:
            path.append(towards[path[-1]])
        if old in path:
            ring = ring or old != new
            continue
        end = old
        while end in towards:
            end = towards[end]
        if end != path[-1]:
            towards[end] = new
    return {old: _end(towards, old) for old in towards}, ring


def _end(towards: dict[str, str], number: str) -> str:
    while number in towards:
        number = towards[number]
    return number


def owned(moves: Iterable[tuple[str, str]], first: str) -> dict[str, str]:
    """For a stay that began under ``first``: every patient it stood under -> the one it is under now."""
    under = [first]
    for old, new in moves:
        if old == under[-1]:
            under.append(new)
    return dict.fromkeys(under, under[-1]) if len(under) > 1 else {}


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where one part of a message belongs: the lanes, each with what it has to take in.

    ``joined`` names lanes that are no more: their messages belong to the (one) lane given here, which has to
    be folded again from all of them. ``earlier`` are events of before, to be taken in by a lane that is new
    and whose patient they were about.
    """

    lanes: tuple[str, ...]
    event: Event
    joined: tuple[str, ...] = ()
    earlier: tuple[tuple[int, Event], ...] = ()


@dataclass(slots=True)
class Directory:
    """Which lane a message belongs to. Kept by whoever works lanes, and asked in the order of receipt.

    Lanes are named by the first number that was seen: a visit's, or an account's where no visit was known.
    """

    site: SiteProfile
    _lane_of: dict[str, str] = field(default_factory=dict)  # visit or account key -> lane
    _lanes_of: dict[str, list[str]] = field(default_factory=dict)  # patient key -> lanes
    _about: dict[str, list[tuple[int, Event]]] = field(default_factory=dict)  # patient key -> merges of it

    def take(self, event: Event, seq: int) -> list[Delivery]:
        """Where each part of a message belongs. A part without lanes is about nobody known here (yet)."""
        return [self._part(part, seq) for part in parts(event)]

    def _part(self, event: Event, seq: int) -> Delivery:
        group = event.groups[0] if event.groups else None
        visit = _visit_key(event.visit.number, event.visit.authority, self.site)
        account = _account_key(event.patient.account)
        if event.message_type == "ADT" and event.trigger in PERSON_LEVEL:
            return self._person(event, seq)
        gone: list[str] = []
        if group is not None and event.trigger in _VISITS and group.prior_visit:
            prior = _visit_key(group.prior_visit, group.prior_visit_authority, self.site)
            gone += self._link(prior, visit)
        if group is not None and event.trigger in _ACCOUNTS and group.prior_account:
            gone += self._link(_account_key(group.prior_account), account)
            if not visit:
                prior = _account_key(group.prior_account)
                lanes = [self._lane_of.setdefault(key, key) for key in (prior, account) if key]
                return self._delivered(list(dict.fromkeys(lanes)), event, seq, gone)
        lane = ""
        if visit:
            lane = self._lane_of.setdefault(visit, visit)
            if account and self._lane_of.setdefault(account, lane) == account:
                gone += self._link(account, visit)  # results came first, under the account alone
        elif account:
            lane = self._lane_of.setdefault(account, account)
        return self._delivered([self._lane_of[visit or account]] if lane else [], event, seq, gone)

    def _delivered(self, lanes: list[str], event: Event, seq: int, joined: list[str]) -> Delivery:
        """Register the lanes with their patient, and find what was said before of that patient's numbers."""
        earlier: dict[int, Event] = {}
        seen, waiting = set[str](), self._named(event)
        while waiting:
            key = waiting.pop()
            if key in seen:
                continue
            seen.add(key)
            known, about = self._lanes_of.setdefault(key, []), self._about.get(key, ())
            fresh = [lane for lane in lanes if lane not in known]
            known += fresh
            if fresh:
                earlier.update(about)
            for _, change in about:
                waiting += self._named(change)
        earlier.pop(seq, None)
        return Delivery(tuple(lanes), event, tuple(joined), tuple(sorted(earlier.items())))

    def _named(self, event: Event) -> list[str]:
        keys = [patient_key(event.patient, self.site)]
        keys += [_prior_patient(group, self.site) for group in event.groups]
        return [key for key in dict.fromkeys(keys) if key]

    def _person(self, event: Event, seq: int) -> Delivery:
        """Every stay of the patients named, and any that one of them gets later."""
        named = self._named(event)
        changes = patients_changed(event, self.site)
        lanes = list(dict.fromkeys(lane for key in named for lane in self._lanes_of.get(key, ())))
        for key in named:
            about = self._about.setdefault(key, [])
            if not changes and event.trigger != "A29":  # of plain updates the newest is enough
                older = [each for each in about if each[1].trigger in ("A28", "A31")]
                if any(_age(each) > _age((seq, event)) for each in older):
                    continue
                about[:] = [each for each in about if each not in older]
            about.append((seq, event))
        return self._delivered(lanes, event, seq, [])

    def _link(self, old: str, new: str) -> list[str]:
        """Let ``old`` lead where ``new`` leads. Returns the lane that is no more, if there were two."""
        if not old or not new or old == new:
            return []
        before, after = self._lane_of.get(old), self._lane_of.get(new)
        if before is None or before == after:
            self._lane_of[old] = self._lane_of.setdefault(new, new)
            return []
        if after is None:
            self._lane_of[new] = before  # the stay goes on under its first name
            return []
        if old.startswith(_ACCOUNT) and not before.startswith(_ACCOUNT):
            return []  # an account with visits: they stay visits of their own
        for key, lane in self._lane_of.items():
            if lane == before:
                self._lane_of[key] = after
        for lanes in self._lanes_of.values():
            if before in lanes:
                lanes[:] = list(dict.fromkeys(after if lane == before else lane for lane in lanes))
        return [before]


_ACCOUNT = "account:"


def _visit_key(number: str, authority: str, site: SiteProfile) -> str:
    """A visit's lane: its number; with the authority where that is not the site's own."""
    if not number or authority in ("", site.visit_authority):
        return number
    return f"{number}^{authority}"


def _account_key(number: str) -> str:
    return _ACCOUNT + number if number else ""


def _age(each: tuple[int, Event]) -> tuple[object, ...]:
    return (each[1].effective_at, each[1].sent_at, each[0])


def shown(lane: str) -> str:
    """A lane's name for people: the number it was first seen with."""
    return lane.removeprefix(_ACCOUNT)
