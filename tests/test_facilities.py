"""Whose a message is: which numbers are the site's own, which authority is meant, and nobody mixed up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from installation import Installation, exchange

from umbridge.dryrun.screen import Shadow
from umbridge.errors import ConfigError
from umbridge.hl7 import er7
from umbridge.hl7.translate import identify, translate
from umbridge.model import Coded, Event, Observation, Patient, Visit
from umbridge.settings.authorities import Authority
from umbridge.settings.site import DEFAULT_SITE, SiteProfile, default_site, parse_site
from umbridge.stay import fold as folding
from umbridge.stay import record as recording
from umbridge.stay.fold import StayFold
from umbridge.stay.record import patient_key
from umbridge.stay.together import TWO_OPEN_STAYS

START = datetime(2026, 4, 6, 12, 0, tzinfo=UTC)
KEYS = 'account_authority = "UMBH"'


def profile(more: str = "", end: str = "") -> SiteProfile:
    """The shipped profile with lines more in ``[site]``, and at its end."""
    text = DEFAULT_SITE.read_text("utf-8").replace(KEYS, f"{KEYS}\n{more}\n#", 1)
    return parse_site((text + end).encode())


ALIASES = profile('mrn_authority_aliases = ["1.2.840.99.1", "ZZ HOSPITAL"]')


# --- which identifier is the patient's number ---------------------------------------------------------

OWN = [
    ("ZZ1", "UMBH", "MR"),
    ("ZZ1", "UMBH", "MRN"),
    ("ZZ1", "UMBH", "mr"),
    ("ZZ1", "UMBH", "PI"),
    ("ZZ1", "UMBH", "PT"),
    ("ZZ1", "UMBH", ""),
    ("ZZ1", "", "PI"),
    ("ZZ1", "", ""),
    ("ZZ1", "1.2.840.99.1", "MR"),
    ("ZZ1", "ZZ HOSPITAL", ""),
]


@pytest.mark.parametrize("identifier", OWN, ids="^".join)
def test_the_sites_number_by_authority_and_type(identifier: tuple[str, str, str]) -> None:
    others = (("ZZ7", "UMBH", "SS"), ("ZZ8", "ELSEWHERE", "MR"))
    assert patient_key(Patient((identifier,)), ALIASES) == "ZZ1"
    assert patient_key(Patient((*others, identifier)), ALIASES) == "ZZ1"
    assert patient_key(Patient((identifier, *others)), ALIASES) == "ZZ1"


@pytest.mark.parametrize("kind", ["EPI", "SS", "NI", "AN", "VN", "XX", "DL"])
def test_another_kind_of_number_under_the_same_authority_is_another_number_space(kind: str) -> None:
    assert patient_key(Patient((("ZZ1", "UMBH", kind),)), default_site()) == ""
    assert patient_key(Patient((("ZZ1", "", kind),)), default_site()) == ""


def test_the_site_says_which_types_it_uses() -> None:
    site = profile('mrn_types = ["EPI", "MR"]')
    assert patient_key(Patient((("ZZ1", "UMBH", "PI"),)), site) == ""
    both = (("ZZ2", "UMBH", "MR"), ("ZZ1", "UMBH", "EPI"))
    assert patient_key(Patient(both), site) == "ZZ1"  # the type that is named first
    assert patient_key(Patient(both), default_site()) == "ZZ2"


def test_an_authority_that_is_sent_is_surer_than_one_that_is_meant() -> None:
    bare = (("ZZ2", "", "MR"), ("ZZ1", "UMBH", "PI"))
    assert patient_key(Patient(bare), default_site()) == "ZZ1"


def test_another_authoritys_number_keeps_its_authority_and_an_alias_is_no_other() -> None:
    foreign = (("ZZ9", "ELSEWHERE", "MR"),)
    assert patient_key(Patient(foreign), default_site()) == "ZZ9^ELSEWHERE"
    spelt = (("ZZ9", "1.2.840.99.1", "MR"),)
    assert patient_key(Patient(spelt), default_site()) == "ZZ9^1.2.840.99.1"
    assert patient_key(Patient(spelt), ALIASES) == "ZZ9"


@given(st.text("ZZ12^", min_size=1, max_size=6), st.sampled_from(("", "UMBH", "OTHER", "1.2", "THIRD")))
def test_a_name_says_which_number_it_is(number: str, sent: str) -> None:
    kind = Authority("UMBH", "UMBH", {"1.2": "UMBH"})
    assert kind.named(kind.name(number, sent)) == (number, kind.of(sent))


PID = r"PID|1|{2}|{3}|{4}|ZZTEST^QUILL||19520704|F||||||||||ZZA1"
OLD = [
    ({"3": "ZZ1"}, (("ZZ1", "", ""),)),
    ({"2": "ZZ1"}, (("ZZ1", "", ""),)),
    ({"2": '""', "3": '""', "4": "ZZ1"}, (("ZZ1", "", ""),)),
    ({"2": "ZZ2", "3": "ZZ1", "4": "ZZ4"}, (("ZZ1", "", ""),)),
]


@pytest.mark.parametrize(("fields", "identifiers"), OLD)
def test_versions_before_pid_3_repeated(fields: dict[str, str], identifiers: Any) -> None:
    line = PID.format("", "", *(fields.get(at, "") for at in "234"))
    message = er7.parse(f"MSH|^~\\&|ZZ|UMBH|||20260406||ADT^A08|ZZ1|P|2.2\r{line}\r".encode())
    assert identify(message).identifiers == identifiers
    assert translate(message, default_site().zone).patient.identifiers == identifiers


# --- the profile -----------------------------------------------------------------------------------------

MISTAKES = [
    ("mrn_types = []", "", "site.mrn_types"),
    ('mrn_types = "MR"', "", "site.mrn_types"),
    ("mrn_types = [1]", "", "site.mrn_types"),
    ("mrn_authority_aliases = []", "", "site.mrn_authority_aliases"),
    ('visit_authority_aliases = ["UMBH"]', "", "site.visit_authority_aliases"),
    ("", '[facilities.north]\ntimezone = "UTC"', "facilities.north.msh4"),
    ("", '[facilities.north]\nmsh4 = ["UMBH"]', "facilities.north.msh4"),
    ("", '[facilities.north]\nmsh4 = ["ZZN"]\nzone = "UTC"', "facilities.north.zone"),
    ("", '[facilities.north]\nmsh4 = ["ZZN"]\ntimezone = "Mars"', "facilities.north.timezone"),
    (
        'mrn_authority_aliases = ["ZZN"]',
        '[facilities.north]\nmsh4 = ["ZZN"]\nmrn_authority = "ZZN"',
        "site.mrn_authority_aliases",
    ),
    (
        'mrn_authority_aliases = ["1.2"]',
        '[facilities.n]\nmsh4 = ["ZZN"]\nmrn_authority = "ZZN"\nmrn_authority_aliases = ["1.2"]',
        "facilities.n.mrn_authority_aliases",
    ),
]


@pytest.mark.parametrize(("more", "end", "key"), MISTAKES, ids=[key for _, _, key in MISTAKES])
def test_a_mistake_about_numbers_names_its_key(more: str, end: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        profile(more, end)


def test_a_facility_has_what_it_says_and_the_rest_from_the_site() -> None:
    site = profile(
        "",
        '\n[facilities.north]\nmsh4 = ["ZZN", "ZZN2"]\ntimezone = "America/Chicago"\n'
        'mrn_authority = "ZZN"\nmrn_authority_aliases = ["1.2.3"]\n',
    )
    north = site.at("ZZN2")
    assert (north.zone.key, north.mrns.own, north.visits.own) == ("America/Chicago", "ZZN", "UMBH")
    assert (site.at("UMBH"), site.at("UNLISTED"), north.at("UMBH")) == (site, site, site)
    assert site.facilities == ("UMBH", "ZZN", "ZZN2")
    assert north.digest == site.digest != default_site().digest
    bare = Patient((("ZZ1", "", "MR"),))
    assert [patient_key(bare, each) for each in (site, north)] == ["ZZ1", "ZZ1^ZZN"]
    spelt = Patient((("ZZ1", "1.2.3", "MR"),))
    assert [patient_key(spelt, each) for each in (site, north)] == ["ZZ1^ZZN", "ZZ1^ZZN"]


# --- one person's messages change nothing of another's -------------------------------------------------

SPACES = ("UMBH", "ELSEWHERE", "THIRD")
KINDS = ("MR", "MRN", "PI", "PT", "", "mr")
STRANGE = ("EPI", "SS", "NI", "AN", "XX")
Numbers = tuple[tuple[str, str, str], ...]


@st.composite
def identifiers(draw: st.DrawFn, person: int) -> Numbers:
    """Some of a person's numbers, as a sender may list them. Of one space and kind each person has one, and
    what is one person's number in one space may be the other's in another."""
    listed: list[tuple[str, str, str]] = []
    for space in draw(st.lists(st.sampled_from(SPACES), unique=True)):
        number = f"ZZ{(person + SPACES.index(space)) % 2}"
        spelt = draw(st.sampled_from((space, "1.2.840.99.1", "")) if space == "UMBH" else st.just(space))
        listed.append((number, spelt, draw(st.sampled_from(KINDS))))
    for kind in draw(st.lists(st.sampled_from(STRANGE), unique=True)):
        listed.append((f"ZZ{1 - person}", draw(st.sampled_from((*SPACES, ""))), kind))
    return tuple(draw(st.permutations(listed)))


@st.composite
def message(draw: st.DrawFn) -> tuple[int, str, Numbers, int]:
    """Whose, what, under which numbers, when."""
    person = draw(st.integers(0, 1))
    what = draw(st.sampled_from(("pulse", "A08", "A02")))
    return person, what, draw(identifiers(person)), draw(st.integers(1, 40))


def event(what: str, numbers: Numbers, hours: float, value: int) -> Event:
    at = START + timedelta(hours=hours)
    place = {"patient_class": "I", "patient_type": "INP", "unit": "4W" if value < 200 else "MICU"}
    visit = Visit(number="ZZV1", authority="UMBH", **(place if what != "pulse" else {}))
    observations: tuple[Observation, ...] = ()
    if what == "pulse":
        coded = Coded("8867-4", "", "LN")
        said = ("NM", coded, Coded(), str(value), "/min", "", "F", at, f"R{hours}", f"ZZ-{hours} OBX[1]-5")
        observations = (Observation(*said),)
    kind, trigger = ("ORU", "R01") if what == "pulse" else ("ADT", what)
    control = f"ZZ-{what}-{hours}-{value}"
    return Event(
        kind,
        trigger,
        control,
        "P",
        at,
        at,
        Patient(numbers, "", "19520704", "F"),
        visit,
        observations=observations,
    )


GUARD_OFF = {"NO_PATIENT_NUMBER", "FOREIGN_PATIENT_NUMBER"}


def crossed(first: Numbers, told: list[tuple[int, str, Numbers, int]]) -> set[str]:
    """What of person 1 is in a stay of person 0, where no exception says that it may be."""
    events = [event("A04", first, 0, 70)]
    for n, (person, what, numbers, hours) in enumerate(told):
        events.append(event(what, numbers, hours + n / 100, 200 + n if person else 70 + n))
    fold = StayFold(ALIASES)
    for seq, each in enumerate(events, 1):
        fold.apply(each, seq)
    stay = fold.stay(START + timedelta(hours=60))
    if GUARD_OFF & set(stay.exceptions):
        return set()
    found = {"place" for place in stay.places if place.unit == "MICU"}
    listed = fold.results("heart_rate") or ()
    return found | {
        str(one.value) for one in listed if one.value >= Decimal(200) and fold.is_patient(one.patient)
    }


@given(identifiers(0), st.lists(message(), max_size=8))
def test_no_message_of_one_person_changes_anothers_stay_unless_the_stay_says_it_may(
    first: Numbers, told: list[tuple[int, str, Numbers, int]]
) -> None:
    assert crossed(first, told) == set()


A, B = (("ZZ0", "UMBH", "PI"),), (("ZZ1", "UMBH", "PI"),)


def by_mr_alone(patient: Patient, site: SiteProfile) -> str:
    """The rule as it was: MR under the site's own authority as it is spelt."""
    foreign = ""
    for number, authority, kind in patient.identifiers:
        if kind in ("MR", ""):
            if authority == "UMBH":
                return number
            foreign = foreign or f"{number}^{authority or '?'}"
    return foreign


def by_any_type(patient: Patient, site: SiteProfile) -> str:
    own = [number for number, authority, _ in patient.identifiers if authority in ("UMBH", "")]
    return own[0] if own else ""


PLANTED = [
    ("patient_key", by_mr_alone, (A, [(1, "pulse", B, 3)])),
    ("unguarded", lambda patients, site: [], ((), [(1, "pulse", B, 3)])),
    ("patient_key", by_any_type, ((("ZZ1", "UMBH", "EPI"), *A), [(1, "pulse", B, 3)])),
]


@pytest.mark.parametrize(("name", "wrong", "case"), PLANTED, ids=["MR alone", "says nothing", "any type"])
def test_a_wrong_rule_lets_one_through(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any, case: Any
) -> None:
    assert crossed(*case) == set()
    for room in (folding, recording):
        if hasattr(room, name):
            monkeypatch.setattr(room, name, wrong)
    if name == "patient_key":  # the old rule had no exception to go with it
        monkeypatch.setattr(folding, "unguarded", lambda patients, site: [])
    assert crossed(*case) != set()


# --- merges ----------------------------------------------------------------------------------------------

MSH = "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|202604061{n}00-0400||{kind}|ZZW{n}|P|2.5.1"


def told(n: int, kind: str, *segments: str) -> bytes:
    evn = [f"EVN|{kind[4:7]}|202604061{n}00"] if kind.startswith("ADT") else []
    return "\r".join([MSH.format(n=n, kind=kind), *evn, *segments, ""]).encode()


PV1 = "PV1|1|I|4W^310^A|||||||||||||||INP|ZZV7^^^UMBH^VN"
RATE = "OBR|1|||8867-4^Heart rate^LN|||202604061100\rOBX|1|NM|8867-4^Heart rate^LN||131|/min|||||F"
SPELLINGS = [
    "{0}",
    "{0}^^^UMBH^MR",
    "{0}^^^UMBH",
    "{0}^^^^MR",
    "{0}^^^UMBH^PI",
    "{0}^^^1.2.840.99.1^MR",
    "{0}^^^&1.2.840.99.1&ISO^MR",
    "ZZ55^^^ELSEWHERE^MR~{0}",
]


@pytest.mark.parametrize("field", [1, 4])
@pytest.mark.parametrize("spelt", SPELLINGS)
def test_the_old_number_of_a_merge_however_it_is_spelt(spelt: str, field: int) -> None:
    prior = spelt.format("ZZ31")
    mrg = f"MRG|{prior}" if field == 1 else f"MRG||||{prior}"
    shadow = Shadow(ALIASES)
    shadow.take(told(1, "ADT^A01", "PID|1||ZZ31^^^UMBH^MR||ZZTEST^QUILL", PV1))
    shadow.take(told(2, "ORU^R01", "PID|1||ZZ31^^^UMBH^PI||ZZTEST^QUILL", PV1, RATE))
    shadow.take(told(3, "ADT^A40", "PID|1||ZZ32^^^UMBH^MR||ZZTEST^QUILL", mrg))
    shadow.take(told(4, "ADT^A08", "PID|1||ZZ32||ZZTEST^QUILL", PV1))
    (stay,) = shadow.stays(None)
    assert (shadow.unread, stay["mrn"], stay["mrn_aliases"]) == ({}, "ZZ32", ["ZZ31"])
    assert (stay["exceptions"], stay["events_applied"]) == (["INPATIENT_ORDER_MISSING"][:0], 3)


def test_a_merge_of_another_authoritys_numbers_is_theirs_alone() -> None:
    shadow = Shadow(default_site())
    shadow.take(told(1, "ADT^A01", "PID|1||ZZ31^^^UMBH^MR||ZZTEST^QUILL", PV1))
    shadow.take(told(3, "ADT^A40", "PID|1||ZZ32^^^ELSEWHERE^MR||ZZTEST^QUILL", "MRG|ZZ31^^^ELSEWHERE^MR"))
    (stay,) = shadow.stays(None)
    assert (stay["mrn"], stay["mrn_aliases"]) == ("ZZ31", [])


# --- a guard that cannot work is said ---------------------------------------------------------------------

GUARDS = [
    (("ZZ1^^^UMBH^MR", "ZZ1^^^UMBH^PI", "ZZ1"), []),
    (("ZZ1^^^UMBH^MR", ""), ["NO_PATIENT_NUMBER"]),
    (("ZZ1^^^UMBH^MR", "ZZ9^^^UMBH^SS"), ["NO_PATIENT_NUMBER"]),
    (("", ""), ["NO_PATIENT_NUMBER"]),
    (("ZZ1^^^ELSEWHERE^MR", "ZZ1^^^ELSEWHERE^MR"), ["FOREIGN_PATIENT_NUMBER"]),
    (("ZZ1^^^UMBH^MR", "ZZ1^^^ELSEWHERE^MR"), ["FOREIGN_PATIENT_NUMBER"]),
    (("ZZ1^^^ELSEWHERE^MR", ""), ["FOREIGN_PATIENT_NUMBER", "NO_PATIENT_NUMBER"]),
    (("ZZ1^^^UMBH^PI", "ZZ2^^^UMBH^PI"), ["PATIENT_MISMATCH"]),
]


@pytest.mark.parametrize(("sent", "exceptions"), GUARDS)
def test_where_two_patients_could_not_be_told_apart(sent: tuple[str, ...], exceptions: list[str]) -> None:
    shadow = Shadow(default_site())
    for n, pid in enumerate(sent, 1):
        kind = "ADT^A01" if n == 1 else "ORU^R01"
        shadow.take(told(n, kind, f"PID|1||{pid}||ZZTEST^QUILL", PV1, *([] if n == 1 else [RATE])))
    (stay,) = shadow.stays(None)
    assert stay["exceptions"] == exceptions


def test_what_stands_for_a_foreign_number_says_whose_it_is() -> None:
    fold = StayFold(default_site())
    fold.apply(event("A01", (("ZZ1", "ELSEWHERE", "MR"),), 0, 70), 1)
    assert fold.stay(START).mrn == "ZZ1^ELSEWHERE"
    fold = StayFold(replace(default_site()))
    fold.apply(event("A01", (("ZZ1", "", "PT"),), 0, 70), 1)
    assert fold.stay(START).mrn == "ZZ1"


# --- facilities ------------------------------------------------------------------------------------------

NORTH = """
[facilities.north]
msh4 = ["ZZN"]
timezone = "America/Denver"
mrn_authority = "ZZN"
visit_authority = "ZZN"
account_authority = "ZZN"
visit_authority_aliases = ["2.999.7"]
account_authority_aliases = ["2.999.8"]
"""
TWO = profile("", NORTH)


@pytest.mark.parametrize(
    ("sent", "exceptions"),
    [
        (("ZZV1", "ZZV1^^^UMBH^VN"), {"ZZV1": []}),
        (("ZZV1^^^UMBH&1.2.9&ISO^VN", "ZZV1^^^UMBH"), {"ZZV1": []}),
        (("ZZV1^^^UMBH", "ZZV1^^^&1.2.9&ISO"), {"ZZV1": [], "ZZV1^1.2.9": ["FOREIGN_VISIT_NUMBER"]}),
        (("ZZV1^^^UMBH", "ZZV1^^^ELSEWHERE"), {"ZZV1": [], "ZZV1^ELSEWHERE": ["FOREIGN_VISIT_NUMBER"]}),
        (("ZZV1^^^ELSEWHERE",), {"ZZV1^ELSEWHERE": ["FOREIGN_VISIT_NUMBER"]}),
    ],
)
def test_a_visit_by_another_authoritys_number_is_said(
    sent: tuple[str, ...], exceptions: dict[str, Any]
) -> None:
    """It may be a stay that the site knows by its own number: then there are two of it."""
    run = Shadow(default_site())
    for n, visit in enumerate(sent, 1):
        pv1 = f"PV1|1|I|4W^310|||||||||||||||INP|{visit}"
        run.take(told(n, "ADT^A01" if n == 1 else "ADT^A08", "PID|1||ZZ1^^^UMBH^MR||ZZTEST^QUILL", pv1))
    assert {
        stay["visit"]: [code for code in stay["exceptions"] if code.startswith("FOREIGN")]
        for stay in run.stays(None)
    } == exceptions
    known = Shadow(profile('visit_authority_aliases = ["1.2.9", "ELSEWHERE"]'))
    for n, visit in enumerate(sent, 1):
        pv1 = f"PV1|1|I|4W^310|||||||||||||||INP|{visit}"
        known.take(told(n, "ADT^A01" if n == 1 else "ADT^A08", "PID|1||ZZ1^^^UMBH^MR||ZZTEST^QUILL", pv1))
    assert [(stay["visit"], stay["exceptions"]) for stay in known.stays(None)] == [("ZZV1", [])]


def sent_by(facility: str, *segments: str, kind: str = "ADT^A01", at: str = "20260406233000") -> bytes:
    head = f"MSH|^~\\&|ZZEHR|{facility}|||{at}||{kind}|ZZ{facility}{kind}{at}|P|2.5.1"
    evn = [f"EVN||{at}"] if kind.startswith("ADT") else []
    return "\r".join([head, *evn, *segments, ""]).encode()


BARE = ("PID|1||ZZ5||ZZTEST^QUILL|||||||||||||ZZA5", "PV1|1|I|4W^310|||||||||||||||INP|ZZV5")


def test_two_facilities_numbers_are_not_the_same_numbers() -> None:
    shadow = Shadow(TWO)
    shadow.take(sent_by("UMBH", *BARE))
    shadow.take(sent_by("ZZN", *BARE))
    shadow.take(sent_by("ZZELSE", *BARE, kind="ADT^A08"))
    stays = {stay["visit"]: stay for stay in shadow.stays(None)}
    assert sorted(stays) == ["ZZV5", "ZZV5^ZZN"]
    assert [stays[visit]["mrn"] for visit in sorted(stays)] == ["ZZ5", "ZZ5^ZZN"]
    assert [stays[visit]["accounts"] for visit in sorted(stays)] == [["ZZA5"], ["ZZA5^ZZN"]]
    assert [stays[visit]["events_applied"] for visit in sorted(stays)] == [2, 1]
    assert [stays[visit]["exceptions"] for visit in sorted(stays)] == [[], []]


@pytest.mark.parametrize("sent", ["ZZN", "ZZN^1.2.77^ISO", "^1.2.77^ISO"])
def test_a_facility_is_known_by_its_universal_id_too(sent: str) -> None:
    run = Shadow(profile("", NORTH.replace('["ZZN"]', '["ZZN", "1.2.77"]')))
    run.take(sent_by(sent, *BARE))
    (stay,) = run.stays(None)
    assert (stay["visit"], stay["inpatient_start"]) == ("ZZV5^ZZN", "2026-04-06T23:30:00-06:00")


def test_each_facility_has_its_clock() -> None:
    """Half past eleven in the evening there and here are two hours apart; so are the midnights."""
    shadow = Shadow(TWO)
    for facility in ("UMBH", "ZZN"):
        shadow.take(sent_by(facility, *BARE))
    later = datetime(2026, 4, 7, 5, 0, tzinfo=UTC)  # one in the morning in New York, eleven in Denver
    stays = {stay["visit"]: stay for stay in shadow.stays(later)}
    assert stays["ZZV5"]["inpatient_start"] == "2026-04-06T23:30:00-04:00"
    assert stays["ZZV5"]["hospital_midnights"] == 1
    # not begun there before half past eleven
    later = datetime(2026, 4, 7, 5, 45, tzinfo=UTC)
    stays = {stay["visit"]: stay for stay in shadow.stays(later)}
    assert stays["ZZV5^ZZN"]["inpatient_start"] == "2026-04-06T23:30:00-06:00"
    assert [stays[visit]["hospital_midnights"] for visit in ("ZZV5", "ZZV5^ZZN")] == [1, 0]
    later = datetime(2026, 4, 7, 6, 15, tzinfo=UTC)
    stays = {stay["visit"]: stay for stay in shadow.stays(later)}
    assert [stays[visit]["hospital_midnights"] for visit in ("ZZV5", "ZZV5^ZZN")] == [1, 1]


def test_a_stay_keeps_the_clock_of_the_facility_it_began_in_also_after_a_restart() -> None:
    shadow = Shadow(TWO)
    shadow.take(sent_by("ZZN", *BARE))
    spelt = ("PID|1||ZZ5^^^ZZN||ZZTEST^QUILL", "PV1|1|I|MICU^1|||||||||||||||INP|ZZV5^^^&2.999.7&ISO")
    shadow.take(sent_by("UMBH", *spelt, kind="ADT^A02", at="20260407080000"))
    (lane,) = shadow.lanes.values()
    rows = [lane.fold.increment(each, seq) for seq, each in shadow.events["ZZV5^ZZN"]]
    again = StayFold.restore(TWO, lane.fold.head(), [row for row in rows if row is not None])
    for fold in (lane.fold, again):
        stay = fold.stay(datetime(2026, 4, 8, tzinfo=UTC))
        assert (stay.inpatient_start or START).isoformat() == "2026-04-06T23:30:00-06:00"
        assert stay.places[-1].start.isoformat() == "2026-04-07T06:00:00-06:00"
        assert (stay.mrn, stay.exceptions) == ("ZZ5^ZZN", ("INPATIENT_ORDER_MISSING",))


ACCOUNTS = [
    ("ZZA5", "ZZA5"),
    ("ZZA5", "ZZA5^^^UMBH"),
    ("ZZA5^ZZN", "ZZA5^^^ZZN"),
    ("ZZA5^ZZN", "ZZA5^^^2.999.8"),
    ("ZZA5^ZZLAB", "ZZA5^^^ZZLAB^AN"),
]


@pytest.mark.parametrize(("name", "sent"), ACCOUNTS)
def test_a_stay_that_is_known_by_its_account_alone_is_called_by_it(name: str, sent: str) -> None:
    shadow = Shadow(TWO)
    pid, pv1 = f"PID|1||ZZ5||ZZTEST^QUILL|||||||||||||{sent}", "PV1|1|I|4W^310|||||||||||||||INP"
    shadow.take(sent_by("UMBH", pid, pv1))
    shadow.take(sent_by("UMBH", pid, RATE, kind="ORU^R01"))
    (stay,) = shadow.stays(None)
    assert (stay["visit"], stay["accounts"], stay["events_applied"]) == (f"account:{name}", [name], 2)
    assert list(shadow.lanes) == [f"account:{name}"]


def test_the_same_account_of_two_authorities_is_two() -> None:
    shadow = Shadow(default_site())
    for n, sent in enumerate(("ZZA5", "ZZA5^^^ZZLAB")):
        pid = f"PID|1||ZZ{n}||ZZTEST^QUILL|||||||||||||{sent}"
        shadow.take(sent_by("UMBH", pid, "PV1|1|I|4W^310|||||||||||||||INP", at=f"2026040623300{n}"))
    assert sorted(shadow.lanes) == ["account:ZZA5", "account:ZZA5^ZZLAB"]


WHY = ("--purpose", "HPAYMT")


def test_what_lists_show_as_a_visit_opens_it(installation: Installation) -> None:
    made = installation
    made.roles("administrator", "ur_nurse")
    running = made.start()
    visits = ("ZZV6", "ZZV6^^^ZZOTHER^VN", "")
    frames = [
        sent_by(
            "UMBH",
            f"PID|1||ZZ{n}||ZZTEST^QUILL|||||||||||||ZZA{n}",
            f"PV1|1|I|4W^310|||||||||||||||INP|{visit}",
            at=f"2026040623300{n}",
        )
        for n, visit in enumerate(visits)
    ]
    asyncio.run(exchange(running.port, *(b"\x0b" + each + b"\x1c\r" for each in frames)))
    running.worked()
    shown = {row["visit"]: row["mrn"] for row in made.rows("stays", "list", *WHY)}
    assert shown == {"ZZV6": "ZZ0", "ZZV6^ZZOTHER": "ZZ1", "account:ZZA2": "ZZ2"}
    for n, (visit, mrn) in enumerate(shown.items(), 1):
        (stay,) = made.rows("stays", "show", visit, *WHY)
        assert (stay["visit"], stay["mrn"]) == (visit, mrn)
        assert [(row["seq"], row["visit"]) for row in made.rows("messages", "list", "--visit", visit)] == [
            (n, visit)
        ]
    assert {row["visit"] for row in made.rows("reviews", "list", *WHY)} == set(shown)
    assert made.run("stays", "show", "account:ZZNOBODY", *WHY, check=None).returncode != 0
    assert running.stop() == 0


# --- several stays of one patient -------------------------------------------------------------------------


def admitted(
    n: int, mrn: str, visit: str, kind: str = "ADT^A01", place: str = "I|4W^310", more: str = ""
) -> bytes:
    pv1 = f"PV1|1|{place}|||||||||||||||INP|{visit}"
    return sent_by(
        "UMBH",
        f"PID|1||{mrn}||ZZTEST^QUILL",
        pv1,
        *([more] if more else []),
        kind=kind,
        at=f"202604061{n}0000",
    )


def shown_of(*frames: bytes) -> dict[str, list[str]]:
    shadow = Shadow(default_site())
    for each in frames:
        shadow.take(each)
    assert shadow.unread == {}
    return {
        stay["visit"]: [one for one in stay["exceptions"] if one == TWO_OPEN_STAYS]
        for stay in shadow.stays(datetime(2026, 4, 6, 23, tzinfo=UTC))
    }


BOTH = {"ZZV1": [TWO_OPEN_STAYS], "ZZV2": [TWO_OPEN_STAYS]}
NEITHER: dict[str, list[str]] = {"ZZV1": [], "ZZV2": []}
TOGETHER = [
    ("two", [admitted(0, "ZZ1", "ZZV1"), admitted(1, "ZZ1^^^UMBH^PI", "ZZV2")], BOTH),
    ("two patients", [admitted(0, "ZZ1", "ZZV1"), admitted(1, "ZZ2", "ZZV2")], NEITHER),
    ("nobody's", [admitted(0, "", "ZZV1"), admitted(1, "", "ZZV2")], NEITHER),
    (
        "one is over",
        [admitted(0, "ZZ1", "ZZV1"), admitted(1, "ZZ1", "ZZV1", "ADT^A03"), admitted(2, "ZZ1", "ZZV2")],
        NEITHER,
    ),
    (
        "a clinic",
        [
            admitted(0, "ZZ1", "ZZV1"),
            admitted(1, "ZZ1", "ZZV2", "ADT^A04", "O|CLN").replace(b"|INP|", b"|OPT|"),
        ],
        NEITHER,
    ),
    (
        "merged",
        [
            admitted(0, "ZZ1", "ZZV1"),
            admitted(1, "ZZ2", "ZZV2"),
            sent_by("UMBH", "PID|1||ZZ2||ZZTEST^QUILL", "MRG|ZZ1", kind="ADT^A40", at="20260406140000"),
        ],
        BOTH,
    ),
    (
        "a new number",
        [admitted(0, "ZZ1", "ZZV1"), admitted(1, "ZZ1", "ZZV2", "ADT^A06", more="MRG|ZZ1|||||ZZA0")],
        BOTH,
    ),
]


@pytest.mark.parametrize(
    ("frames", "found"), [case[1:] for case in TOGETHER], ids=[case[0] for case in TOGETHER]
)
def test_two_open_inpatient_stays_of_one_patient_are_said_on_both(
    frames: list[bytes], found: dict[str, list[str]]
) -> None:
    assert shown_of(*frames) == found
    later = [each for each in frames if b"|ADT^A0" in each]
    if len(later) == len(frames):
        assert shown_of(*reversed(frames)) == found


def test_the_daemon_says_it_of_both_as_long_as_it_is_so(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.roles("administrator", "ur_nurse")
    running = installation.start_on(datetime(2026, 4, 6, 18, 0, tzinfo=UTC), monkeypatch)

    def told_then(*frames: bytes) -> dict[str, list[str]]:
        asyncio.run(exchange(running.port, *(b"\x0b" + each + b"\x1c\r" for each in frames)))
        running.worked()
        found = {row["visit"]: row["exceptions"] for row in installation.rows("stays", "list", *WHY)}
        for visit, exceptions in found.items():
            assert installation.rows("stays", "show", visit, *WHY)[0]["exceptions"] == exceptions
        return {visit: [one for one in its if one == TWO_OPEN_STAYS] for visit, its in found.items()}

    assert told_then(admitted(0, "ZZ1", "ZZV1"), admitted(1, "ZZ1", "ZZV2")) == BOTH
    assert told_then(admitted(2, "ZZ1", "ZZV1", "ADT^A03")) == NEITHER
    assert running.stop() == 0
