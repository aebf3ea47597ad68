"""Who cares for the patient, from when: told by PV1 and by who signs a status order."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fold import ADMITTED, SITE, WARD, adt, at, folded, orm

from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Event, Group, Patient, Visit
from umbridge.stay.fold import StayFold
from umbridge.stay.practitioners import KEPT
from umbridge.values.carers import ADMITTING, ATTENDING, CONSULTING, ORDERING, REFERRING, Practitioner

HEAD = "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260302110000-0500||{kind}|ZZ1|P|2.5.1\r"
PID = "PID|1||7790001^^^UMBH^MR||ZZTEST^ADA\r"
Row = tuple[str, str, float, float | None]


def doctors(role: str, *numbers: str, authority: str = "UMBH") -> tuple[Practitioner, ...]:
    return tuple(Practitioner(role, number, authority if number else "") for number in numbers)


def rows(fold: StayFold, hours: float = 48, *roles: str) -> list[Row]:
    """Role, number, since and until in hours, by role and time."""

    def since(moment: object) -> float:
        return (moment - at(0)).total_seconds() / 3600  # type: ignore[operator, no-any-return]

    return [
        (each.role, each.number, since(each.since), None if each.until is None else since(each.until))
        for each in fold.stay(at(hours)).practitioners
        if not roles or each.role in roles
    ]


def read(kind: str, rest: str) -> Event:
    return translate(er7.parse((HEAD.format(kind=kind) + PID + rest).encode()), SITE.zone)


# --- as sent ------------------------------------------------------------------------------------------------


def pv1(seven: str = "", eight: str = "", nine: str = "", seventeen: str = "") -> str:
    fields = ["PV1", "1", "I", "4W^310^1", "", "", "", seven, eight, nine, *[""] * 7, seventeen, "", "VN1"]
    return "|".join(fields) + "\r"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("990001^ZZDOC^ADA", [("990001", "")]),
        ("990001^ZZDOC^ADA^^^^^^UMBH", [("990001", "UMBH")]),
        ("990001^ZZDOC^ADA^^^^^^&2.16.840.1.113883.4.6&ISO", [("990001", "2.16.840.1.113883.4.6")]),
        ("990001", [("990001", "")]),
        ("990001^^^^^^^^NPI~77^^^^^^^^UMBH", [("990001", "NPI"), ("77", "UMBH")]),
        ("990001^^^^^^^^NPI~990001^^^^^^^^NPI", [("990001", "NPI")]),
        ("^ZZDOC^ADA", []),  # a name alone
        ("~990001", [("990001", "")]),
        ('""', [("", "")]),
        ("", []),
    ],
)
def test_every_repetition_counts_by_number_and_authority(sent: str, expected: list[tuple[str, str]]) -> None:
    places = {ATTENDING: {"seven": sent}, REFERRING: {"eight": sent}, CONSULTING: {"nine": sent}}
    for role, where in {**places, ADMITTING: {"seventeen": sent}}.items():
        found = read("ADT^A01^ADT_A01", pv1(**where)).visit.practitioners
        assert found == tuple(Practitioner(role, *each) for each in expected)


def test_who_signed_an_order_is_in_orc_12_else_in_obr_16() -> None:
    def by(orc_12: str, obr_16: str) -> tuple[Practitioner, ...]:
        orc = "ORC|NW|P1^CPOE" + "|" * 10 + orc_12 + "\r"
        obr = "OBR|1|P1^CPOE||ADTINPT" + "|" * 12 + obr_16 + "\r"
        (order,) = read("ORM^O01^ORM_O01", pv1() + orc + obr).orders
        return order.practitioners

    assert by("990001^^^^^^^^NPI~77", "1") == doctors(ORDERING, "990001", authority="NPI") + doctors(
        ORDERING, "77", authority=""
    )
    assert by("", "990001^^^^^^^^NPI") == doctors(ORDERING, "990001", authority="NPI")
    assert by("", "") == by("^ZZDOC", "") == ()


# --- on the stay --------------------------------------------------------------------------------------------


def test_who_is_named_holds_the_role_until_somebody_else_is() -> None:
    first = adt("A01", 0, practitioners=(*doctors(ATTENDING, "1"), *doctors(ADMITTING, "1")), **WARD)
    told = (first, adt("A08", 2, practitioners=doctors(ATTENDING, "1"), **WARD), adt("A08", 3, **WARD))
    moved = adt("A54", 4, sent=9, practitioners=doctors(ATTENDING, "2"))
    back = adt("A02", 6, practitioners=doctors(ATTENDING, "1"), unit="4W", room="9")
    assert rows(folded(*told, back, moved)) == [
        (ADMITTING, "1", 0, None),
        (ATTENDING, "1", 0, 4),
        (ATTENDING, "2", 4, 6),
        (ATTENDING, "1", 6, None),
    ]


def test_numbers_of_one_person_stand_beside_each_other_and_consultants_are_a_list() -> None:
    def both(hours: float, *numbers: str) -> Event:
        named = (*doctors(ATTENDING, *numbers), *doctors(CONSULTING, *numbers))
        return adt("A08", hours, practitioners=named, **WARD)

    fold = folded(both(0, "1", "2"), both(1, "2"), both(2, "2", "3"))
    assert rows(fold, 48, ATTENDING) == [
        (ATTENDING, n, since, None) for n, since in (("1", 0), ("2", 0), ("3", 2))
    ]
    assert rows(fold, 48, CONSULTING) == [
        (CONSULTING, "1", 0, 1),
        (CONSULTING, "2", 0, None),
        (CONSULTING, "3", 2, None),
    ]


def test_a_number_of_another_authority_is_another_person() -> None:
    other = doctors(ATTENDING, "1", authority="OTHER")
    fold = folded(
        adt("A01", 0, practitioners=doctors(ATTENDING, "1"), **WARD), adt("A54", 1, practitioners=other)
    )
    assert rows(fold) == [(ATTENDING, "1", 0, 1), (ATTENDING, "1", 1, None)]


def test_hl7s_delete_leaves_nobody() -> None:
    first = adt("A01", 0, practitioners=doctors(CONSULTING, "1", "2"), **WARD)
    assert rows(folded(first, adt("A08", 3, practitioners=doctors(CONSULTING, ""), **WARD))) == [
        (CONSULTING, "1", 0, 3),
        (CONSULTING, "2", 0, 3),
    ]


@pytest.mark.parametrize("restored", ["1", "2", "3", ""])
def test_a_change_that_is_cancelled_never_was(restored: str) -> None:
    """Whatever stands in PV1-7 of the cancel, where it is known who attended."""
    first = adt("A01", 0, practitioners=doctors(ATTENDING, "1"), **WARD)
    change = adt("A54", 2, practitioners=doctors(ATTENDING, "2"))
    cancel = adt("A55", 5, practitioners=doctors(ATTENDING, restored) if restored else ())
    for told in ((change, cancel), (cancel, change)):
        assert rows(folded(first, *told)) == [(ATTENDING, "1", 0, None)]


def test_a_cancel_says_who_attends_where_nothing_else_does() -> None:
    change = adt("A54", 2, practitioners=doctors(ATTENDING, "2"))
    cancel = adt("A55", 5, practitioners=doctors(ATTENDING, "1"))
    echo = adt("A55", 5, practitioners=doctors(ATTENDING, "2"))
    bare = adt("A01", 0, **WARD)
    assert rows(folded(bare, change, cancel)) == rows(folded(bare, cancel)) == [(ATTENDING, "1", 5, None)]
    assert rows(folded(bare, change, echo)) == []


def test_an_admission_that_is_cancelled_takes_its_practitioners_and_leaves_the_orders() -> None:
    named = (*doctors(ATTENDING, "1"), *doctors(CONSULTING, "2"))
    order = orm("ADTINPT", 1, by=doctors(ORDERING, "3"))
    told = (adt("A01", 0, practitioners=named, **WARD), order, adt("A11", 3))
    again = adt("A01", 5, practitioners=doctors(ATTENDING, "4"), **WARD)
    assert {row[1] for row in rows(folded(*told))} == {"1", "2", "3"}  # a cancelled stay shows what it was
    assert [row[:2] for row in rows(folded(*told, again), 48, ATTENDING, CONSULTING)] == [(ATTENDING, "4")]
    assert rows(folded(*told, again), 48, ORDERING) == [(ORDERING, "3", 1, None)]


def test_who_signed_each_status_order_stays_with_what_it_asked_for() -> None:
    told = (
        orm("ADTOBS", 1, placer="P1", by=doctors(ORDERING, "1")),
        orm("ADTINPT", 5, placer="P2", by=doctors(ORDERING, "2", "9")),
        orm("ADTINPT", 6, "CA", placer="P2", by=doctors(ORDERING, "3")),
        orm("RTNIV", 6, placer="P3", by=doctors(ORDERING, "4")),  # no status order
    )
    stay = folded(adt("A04", 0, **WARD | {"patient_class": "O"}), *told).stay(at(9))
    found = [(row.number, row.status, row.until is None) for row in stay.practitioners]
    assert found == [("1", "OBSERVATION", True), ("2", "INPATIENT", False), ("9", "INPATIENT", False)]


@pytest.mark.parametrize("trigger", ["A40", "A41", "A42", "A44", "A45"])
def test_they_survive_merges_and_moves(trigger: str) -> None:
    before = (("7790009", "UMBH", "MR"),) if trigger == "A40" else ()
    named = adt("A01", 0, practitioners=doctors(ATTENDING, "1"), account="AC1", **WARD)
    if before:
        named = adt("A01", 0, identifiers=before, practitioners=doctors(ATTENDING, "1"), **WARD)
    who = Patient((("7790001", "UMBH", "MR"),), "AC2")
    group = Group(who, Visit("VN1", "UMBH"), before, "" if before else "AC1", "" if before else "VN1", "UMBH")
    moved = adt(trigger, 4, groups=(group,), practitioners=doctors(ATTENDING, "7"))
    signed = orm("ADTINPT", 1, by=doctors(ORDERING, "3"), identifiers=before or (("7790001", "UMBH", "MR"),))
    expected = [(ATTENDING, "1", 0, None), (ORDERING, "3", 1, None)]
    for told in ((named, signed, moved), (moved, signed, named), (signed, moved, named)):
        assert rows(folded(*told)) == expected


def test_a_flood_of_names_keeps_who_attends_now() -> None:
    told = [adt("A54", n, practitioners=doctors(ATTENDING, f"{n}")) for n in range(2 * KEPT)]
    found = rows(folded(*told), 3 * KEPT)
    assert len(found) == KEPT and found[-1] == (ATTENDING, f"{2 * KEPT - 1}", 2 * KEPT - 1, None)


def test_who_may_see_who_cares_for_the_patient() -> None:
    stay = folded(adt("A01", 0, practitioners=doctors(ATTENDING, "1"), **WARD)).stay(at(3))
    assert stay.detail()["practitioners"] == [
        {
            "role": ATTENDING,
            "number": "1",
            "authority": "UMBH",
            "since": at(0).astimezone(SITE.zone).isoformat(),
            "until": None,
            "status": None,
        }
    ]


# --- in any order -------------------------------------------------------------------------------------------

names = st.sampled_from([(), ("1",), ("1", "2"), ("2",), ("3",), ("",)])


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    found: list[Event] = list(ADMITTED)
    for n in range(draw(st.integers(1, 7))):
        hours, sent = draw(st.integers(3, 20)), draw(st.integers(21, 40))
        trigger = draw(st.sampled_from(["A08", "A54", "A54", "A02", "A03", "A55", "A11", "A13", "ORDER"]))
        if trigger == "ORDER":
            control, by = draw(st.sampled_from(["NW", "CA"])), doctors(ORDERING, *draw(names))
            found.append(orm("ADTINPT", hours, control, placer=f"P{n % 2}", by=by))
            continue
        named = tuple(p for role in (ATTENDING, CONSULTING) for p in doctors(role, *draw(names)))
        found.append(adt(trigger, hours, sent=sent + n / 10, practitioners=named, **WARD))
    return found


@settings(max_examples=60)
@given(histories(), st.randoms())
def test_any_order_of_arrival_gives_the_same_practitioners(events: list[Event], dice: random.Random) -> None:
    numbered = list(enumerate(events))
    expected = StayFold.refold(SITE, numbered).stay(at(60)).practitioners
    dice.shuffle(numbered)
    fold, kept = StayFold(SITE), []
    for seq, event in numbered:
        kept.append(fold.apply(event, seq))
        if seq % 3 == 0:
            fold.stay(at(60))
    assert fold.stay(at(60)).practitioners == expected
    restored = StayFold.restore(SITE, fold.head(), [each for each in kept if each is not None])
    assert restored.stay(at(60)).practitioners == expected


@settings(max_examples=60)
@given(histories())
def test_of_a_role_each_holds_it_for_a_time_and_nobody_twice_at_once(events: list[Event]) -> None:
    found = folded(*events).stay(at(60)).practitioners
    for row in found:
        assert row.until is None or row.until > row.since or row.role == ORDERING
    now: Sequence[tuple[str, str, str]] = [
        (row.role, row.number, row.authority) for row in found if row.until is None and row.role != ORDERING
    ]
    assert len(now) == len(set(now))
