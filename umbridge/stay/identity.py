"""Who and which: what merges, moves and changed numbers say, and which numbers a message names.

Old numbers lead to the new ones for ever; a chain is followed to its end, and what would close a ring is not
followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from umbridge.hl7.er7 import Message
from umbridge.hl7.translate import facility_of, translate
from umbridge.hl7.triggers import GROUPED
from umbridge.model import Event, Group, Patient
from umbridge.settings.authorities import authority_in
from umbridge.settings.site import SiteProfile
from umbridge.stay.clock import instant
from umbridge.stay.record import patient_key

K = TypeVar("K", str, bytes)

#: Two numbers, one person: merged or renamed (HL7 v2 3.3.18, .30, .34, .36, .39, .40, .46, .47).
_SAME_PERSON = frozenset({"A18", "A30", "A34", "A36", "A39", "A40", "A46", "A47"})
#: Records that stood under the wrong patient (3.3.43 to .45): the stay is another person's.
_OTHER_PERSON = frozenset({"A43", "A44", "A45"})
_ACCOUNTS = frozenset({"A35", "A36", "A41", "A44", "A45", "A49"})
#: A06 and A07 may give the visit another number, which is no merge (3.3.6, 3.3.7).
_VISITS = frozenset({"A06", "A07", "A42", "A45", "A50"})
#: About a person, with no visit of their own.
PERSON_LEVEL = frozenset({"A28", "A29", "A31"}) | _SAME_PERSON | {"A43"}


def event_of(message: Message, site: SiteProfile, received: str = "") -> Event:
    """What a message says: its times on the clock of the facility that sent it.

    ``received``: when, as the inbox has it; it stands in where the message does not say when it was sent.
    """
    here = site if len(site.places) < 2 else site.at(facility_of(message))
    at = datetime.fromisoformat(received) if received else None
    return translate(message, here.zone, mrn_authority=here.mrn_authority, received_at=at)


_NO_NUMBER = "have the sender fill PID-3"


class Change(NamedTuple):
    """A patient key that gave way to another: the ``same`` person, or a stay ``moved`` to another person."""

    kind: str
    old: str
    new: str


def patients_changed(event: Event, site: SiteProfile) -> list[Change]:
    """What a message says about patients' numbers, as patient keys."""
    if event.message_type != "ADT" or event.trigger not in _SAME_PERSON | _OTHER_PERSON:
        return []
    here: SiteProfile = site.at(event.facility)
    kind = "same" if event.trigger in _SAME_PERSON else "moved"
    pairs = [
        (old, patient_key(group.patient, here))
        for group in event.groups
        for old in _prior_patients(group, here)
    ]
    return [Change(kind, old, new) for old, new in pairs if old and new and old != new]


def _prior_patients(group: Group, site: SiteProfile) -> list[str]:
    """Every number of the site's in MRG-1, a list of one person's; else the one that names anybody."""
    own = [patient_key(Patient((each,)), site) for each in group.prior_identifiers]
    own = [key for key in dict.fromkeys(own) if key and "^" not in key]
    return own or [patient_key(Patient(group.prior_identifiers), site)]


def has_own_number(event: Event, site: SiteProfile) -> bool:
    """Whether a message says whose it is by a number of the site's."""
    key = patient_key(event.patient, site.at(event.facility))
    return bool(key) and authority_in(key) in site.own_mrns


class Strange(NamedTuple):
    """A number that the profile calls nobody's, by authority and type, and the line that would settle it."""

    field: str
    code: str
    says: str
    settle: str


def strange_numbers(event: Event, site: SiteProfile) -> list[Strange]:
    """For the person who writes the profile. Never a number itself."""
    found: list[Strange] = []
    here: SiteProfile = site.at(event.facility)
    visit, patient = event.visit, event.patient
    sent = " ".join(sorted({f"{_word(space)}^{_word(kind)}" for _, space, kind in patient.identifiers}))
    if not has_own_number(event, site):
        found.append(Strange("PID-3", sent or "empty", "no number of the site's", _ours(event, here)))
    own = {
        number
        for number, space, kind in patient.identifiers
        if here.mrns.of(space) == here.mrns.own and kind.upper() in here.mrn_types
    }
    if len(own) > 1:
        settle = '[site] mrn_types = ["MR"], the types of the patient\'s own number, the preferred first'
        found.append(Strange("PID-3", sent, "several numbers of the site's", settle))
    if visit.number and here.visits.of(visit.authority) != here.visits.own:
        found.append(_other("PV1-19", "visit", visit.authority))
    if patient.account and here.accounts.of(patient.account_authority) != here.accounts.own:
        found.append(_other("PID-18", "account", patient.account_authority))
    if len(site.places) > 1 and event.facility not in site.facilities:
        code = _word(event.facility)
        settle = f'[facilities.NAME] msh4 = ["{_named(event.facility)}"], or [site] facilities'
        found.append(Strange("MSH-4", code, "no facility of the profile's; read as [site]'s", settle))
    return found


def _other(field: str, name: str, authority: str) -> Strange:
    code = _word(authority)
    settle = f'[site] {name}_authority_aliases = ["{_named(authority)}"], if that is the site\'s own'
    return Strange(field, f"authority {code}", f"not the site's {name}_authority", settle)


def _ours(event: Event, here: SiteProfile) -> str:
    """The line that would make one of these numbers the site's own: by its type, else by its authority."""
    sent = event.patient.identifiers
    of_type = [space for _, space, kind in sent if kind.upper() in here.mrn_types]
    if of_type:
        return f'[site] mrn_authority_aliases = ["{_named(of_type[0])}"], if that is the site\'s own'
    of_site = [kind for _, space, kind in sent if here.mrns.of(space) == here.mrns.own]
    if of_site:
        return f'[site] mrn_types = ["MR", "{_named(of_site[0])}"], if those are the patient\'s own'
    return "[site] mrn_types and mrn_authority_aliases, if one of these is the site's" if sent else _NO_NUMBER


def _named(sent: str) -> str:
    """The same in a line to copy: what is not shown is for whoever copies it to fill in."""
    word = _word(sent)
    return "…" if word in ("", "?") else word


def _word(sent: str) -> str:
    """An authority or a type as it was sent; what does not look like one is not shown."""
    plain = len(sent) <= 40 and all(each.isalnum() or each in "._-" for each in sent)
    return sent if plain else "?"


def parts(event: Event) -> tuple[Event, ...]:
    """A message about several patients or visits as one event each, numbered from 1; any other as it is."""
    if event.several:
        return event.several
    if len(event.groups) < 2 or event.trigger not in GROUPED:
        return (event,)
    return tuple(
        replace(
            event,
            part=part,
            patient=group.patient,
            visit=group.visit,
            groups=(group,),
            prior_accounts=(group.prior_account,) if group.prior_account else (),
        )
        for part, group in enumerate(event.groups, 1)
    )


def taken_part(event: Event, part: int) -> Event:
    """One of ``parts``, by its number; 0 is the whole. One of another stay is by ``beside`` of its number."""
    if part < 0:
        return replace(taken_part(event, beside(part)), is_beside=True)
    return parts(event)[part - 1] if part else event


def beside(part: int) -> int:
    """The number by which a stay has a part of a message that is another's, and the part of that number."""
    return -2 - part


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


class Named(NamedTuple, Generic[K]):
    """The numbers that one part of a message names, each by the name that the caller gives it.

    ``is_person``: about every stay of these patients, now and later. ``at``: the times of a plain update,
    of which the newest is enough; None where all of them count.
    """

    part: int = 0
    visit: K | None = None
    account: K | None = None
    patients: tuple[K, ...] = ()
    prior_visit: K | None = None
    prior_account: K | None = None
    is_person: bool = False
    at: tuple[int, int] | None = None
    numbers: tuple[K, ...] = ()  # of the orders and reports that it speaks of


VISIT, ACCOUNT, PATIENT, NUMBER = "visit", "account", "person", "number"


def naming(event: Event, site: SiteProfile, name: Callable[[str, str, str], K]) -> Named[K]:
    """What a part of a message says about numbers. ``name`` is given kind, number, assigning authority."""
    here: SiteProfile = site.at(event.facility)

    def visit_of(number: str, sent: str) -> K | None:
        return name(VISIT, number, here.visits.of(sent)) if number else None

    def account_of(number: str, sent: str) -> K | None:
        return name(ACCOUNT, number, here.accounts.of(sent)) if number else None

    trigger = event.trigger if event.message_type == "ADT" else ""
    group = event.groups[0] if event.groups else None
    keys = [patient_key(event.patient, here)]
    keys += [key for each in event.groups for key in _prior_patients(each, here)]
    patients = tuple(name(PATIENT, key, "") for key in dict.fromkeys(keys) if key)
    if trigger in PERSON_LEVEL:
        is_update = not patients_changed(event, site) and trigger != "A29"
        told = event.sent_at if event.told_at is None else event.told_at
        at = (instant(told), instant(event.effective_at)) if is_update else None
        return Named(event.part, patients=patients, is_person=True, at=at)
    visit = visit_of(event.visit.number, event.visit.authority)
    account = account_of(event.patient.account, event.patient.account_authority)
    prior_visit = prior_account = None
    if group is not None and trigger in _VISITS:
        prior_visit = visit_of(group.prior_visit, group.prior_visit_authority)
    if group is not None and trigger in _ACCOUNTS:
        prior_account = account_of(group.prior_account, group.prior_account_authority)
    numbers = tuple(name(NUMBER, each, "") for each in event.numbers)
    return Named(event.part, visit, account, patients, prior_visit, prior_account, numbers=numbers)


#: ADT triggers whose numbers have to be read from the whole message; of any other, PID and PV1 say it all.
SPECIAL = PERSON_LEVEL | _VISITS | _ACCOUNTS | GROUPED
