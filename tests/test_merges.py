"""A number that is merged away: the stay, its payers, its people and its answers are those of one number."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_identity import SITE, WARD, Ward, adt, at, changed, order, pulse, reviewed

from umbridge.model import Certification, Coverage, Diagnosis, Event
from umbridge.review.case import case
from umbridge.review.plan import reviews, stay_json
from umbridge.stay.fold import StayFold
from umbridge.values.carers import ATTENDING, CONSULTING, ORDERING, Practitioner
from umbridge.values.kinds import ReviewState, ReviewType

OLD, NEW, VISIT = "7790001", "7790002", "V1"
#: Two numbers, one person (HL7 v2 3.3.18, .34, .36, .39, .40).
MERGES = ("A18", "A34", "A36", "A39", "A40")
WANTED = frozenset({"heart_rate", "age", "payer_class"})
LATER = 90.0
#: What a merge itself adds: the other number, the other account, and perhaps a message.
OWN = frozenset({"mrn_aliases", "accounts", "events_applied"})


def doctor(role: str, number: str) -> Practitioner:
    return Practitioner(role, number, "UMBH")


def certified(hours: float) -> Certification:
    begins, ends = at(0), at(30)
    return Certification(
        "ZZAUTH1", "ZZPAYER", "Y", at(hours), begins, ends, "AP", 1, *("", None, "", "", "", "ZZ")
    )


def story() -> list[tuple[str, Event]]:
    """A Medicare stay of three days by what each message tells; under which number is filled in later."""
    medicare = (Coverage(1, "ZZMCR", "MCR"),)
    pneumonia = (Diagnosis(1, "J18.9", "I10", "W", False, "ZZ DG1[1]"),)
    care = (doctor(ATTENDING, "1"), doctor(CONSULTING, "2"), doctor(CONSULTING, "3"))
    arrival = adt("A04", 0, "", VISIT, patient_class="E", patient_type="EDP", unit="ED", admitted_at=at(0))
    asked = order(1, "", VISIT, "ADTINPT")
    asked = replace(asked, orders=(replace(asked.orders[0], practitioners=(doctor(ORDERING, "4"),)),))
    admitted = adt("A01", 3, "", VISIT, practitioners=care, **WARD)
    measured = pulse(2, "", VISIT, 131)
    (was,) = measured.observations
    corrected = replace(pulse(3.8, "", VISIT, 131), observations=(was._replace(value="127", status="C"),))
    return [
        ("arrival", arrival),
        ("order", asked),
        ("before T", measured),
        ("admission", replace(admitted, coverage=medicare, diagnoses=pneumonia)),
        ("authorization", replace(adt("A08", 3.2, "", VISIT), certifications=(certified(3.2),))),
        ("correction", corrected),
        ("in time", pulse(3.5, "", VISIT, 88)),
        ("attending", adt("A54", 20, "", VISIT, practitioners=(doctor(ATTENDING, "5"),))),
        ("after T", pulse(40, "", VISIT, 150)),
        ("discharge", adt("A03", 70, "", VISIT, discharged_at=at(70), disposition="01", **WARD)),
    ]


def under(event: Event, number: str) -> Event:
    identifiers = ((number, "UMBH", "MR"),) if number else ()
    return replace(event, patient=replace(event.patient, identifiers=identifiers, account="AC1"))


def merge(trigger: str, hours: float) -> Event:
    return changed(trigger, hours, OLD, NEW, accounts=("AC1", "AC1") if trigger == "A36" else ("", ""))


def only(ward: Ward) -> StayFold:
    (fold,) = (each for each in ward.folds.values() if each.stay(at(LATER)).visit == VISIT)
    return fold


def shown(fold: StayFold, hours: float = LATER) -> dict[str, Any]:
    """All that a stay says, with its payers, people and notices."""
    stay = fold.stay(at(hours))
    return {name: its for name, its in (stay_json(stay) | stay.detail()).items() if name not in OWN}


def asked(fold: StayFold, hours: float) -> list[tuple[object, ...]]:
    """Each review with its moment and what a plugin is told at it."""
    stay = fold.stay(at(hours))
    found = [(each, case(fold, stay, each, WANTED, "ZZ")) for each in reviews(stay)]
    return sorted((each.type, each.state, each.judged_at, each.judged.cut, put) for each, put in found)


def check_all(found: StayFold, expected: StayFold) -> None:
    for hours in (3.1, 4, 30, LATER):
        assert shown(found, hours) == shown(expected, hours)
        assert asked(found, hours) == asked(expected, hours)


def taken(events: Sequence[Event]) -> StayFold:
    return only(Ward().take(*events))


ALWAYS_NEW = [under(event, NEW) for _, event in story()]


@pytest.mark.parametrize("trigger", MERGES)
@pytest.mark.parametrize("hours", [0.5, 2.5, 50, 80])
def test_after_a_merge_the_stay_is_what_it_would_have_been_under_the_one_number(
    trigger: str, hours: float
) -> None:
    events = [under(event, OLD if event.sent_at < at(hours) else NEW) for _, event in story()]
    fold = taken([*events, merge(trigger, hours)])
    stay = fold.stay(at(LATER))
    assert (stay.mrn, stay.mrn_aliases) == (NEW, (OLD,))
    assert [each.number for each in stay.practitioners] == ["4", "1", "2", "3", "5"]
    assert [each.number for each in stay.certifications] == ["ZZAUTH1"]
    assert (stay.payer_class, [each.type for each in stay.notices_missed]) == (
        "MEDICARE_FFS",
        ["IMM", "IMM_FOLLOWUP"],
    )
    (first,) = (each for each in reviews(stay) if each.type is ReviewType.ADMISSION)
    assert first.judged_at == at(4)
    heart = case(fold, stay, first, WANTED, "ZZ").facts["heart_rate"]
    assert (heart.low.value, heart.latest.value, heart.high.value) == (88, 88, 127)
    check_all(fold, taken(ALWAYS_NEW))


@settings(max_examples=40)
@example("A40", 50, [False] * 10, 1)
@given(
    st.sampled_from(MERGES),
    st.sampled_from([0.5, 2.5, 3.1, 50, 80]),
    st.lists(st.booleans(), min_size=10, max_size=10),
    st.integers(0, 10_000),
)
def test_any_order_of_arrival_and_any_number_give_the_same_stay_and_the_same_answers(
    trigger: str, hours: float, is_new: list[bool], seed: int
) -> None:
    """Which message came under which number says nothing, once they are one person's."""
    told = [under(event, NEW if new else OLD) for (_, event), new in zip(story(), is_new, strict=True)]
    events = [*told, merge(trigger, hours)]
    random.Random(seed).shuffle(events)
    check_all(taken(events), taken(ALWAYS_NEW))


@pytest.mark.parametrize("trigger", MERGES)
def test_two_stays_of_the_two_numbers_stay_two(trigger: str) -> None:
    """A merge of persons merges no visits: neither takes the other's facts, payers or people."""
    other = adt("A01", 5, NEW, "V2", practitioners=(doctor(ATTENDING, "9"),), **WARD)
    events = [under(event, OLD) for _, event in story()]
    ward = Ward().take(*events, other, pulse(6, NEW, "V2", 60), merge(trigger, 50))
    assert {number for each in ward.folds.values() for number in [each.stay(at(LATER)).mrn]} == {NEW}
    (second,) = (each for each in ward.folds.values() if each.stay(at(LATER)).visit == "V2")
    stay = second.stay(at(LATER))
    assert ([each.number for each in stay.practitioners], stay.certifications) == (["9"], ())
    assert (ward.pulses("V2"), ward.pulses(VISIT)) == ({60}, {127, 88, 150})


# --- visits and accounts that become one, or another person's -----------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "visits", "accounts", "old"),
    [
        ("A42", ("V1", "V2"), ("", ""), ""),
        ("A50", ("V1", "V2"), ("", ""), ""),
        ("A41", ("", "V1"), ("AC1", "AC2"), ""),
        ("A44", ("", "V1"), ("AC1", "AC2"), OLD),
        ("A45", ("V1", "V2"), ("", ""), OLD),
    ],
)
def test_who_cared_for_the_patient_goes_with_the_stay(
    trigger: str, visits: tuple[str, str], accounts: tuple[str, str], old: str
) -> None:
    """In every order of arrival, and whether the stays were two lanes or one."""
    now = NEW if old else OLD
    first = adt("A01", 0, OLD, "V1", "AC1", practitioners=(doctor(ATTENDING, "1"),), **WARD)
    asked = order(1, OLD, "V1", "ADTINPT")
    asked = replace(asked, orders=(replace(asked.orders[0], practitioners=(doctor(ORDERING, "4"),)),))
    moved = changed(trigger, 3, old, now, visits=visits, accounts=accounts)
    later = adt("A54", 5, now, visits[1], practitioners=(doctor(ATTENDING, "2"),))
    for events in itertools.permutations((first, asked, moved, later)):
        (fold,) = Ward().take(*events).folds.values()
        found = [(each.role, each.number, each.until is None) for each in fold.stay(at(9)).practitioners]
        assert found == [(ATTENDING, "1", False), (ORDERING, "4", True), (ATTENDING, "2", True)]


# --- an expected discharge that is cancelled ----------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True])
def test_a_cancel_of_the_expected_discharge_that_arrives_first_closes_its_review(again: bool) -> None:
    expected, cancel = adt("A16", 20, OLD, VISIT), adt("A25", 22, OLD, VISIT)
    told = [adt("A01", 0, OLD, VISIT, **WARD), expected, cancel, *([cancel] if again else [])]
    for events in itertools.permutations(told):
        found = [row for row in reviewed(Ward().take(*events))[0] if row[0] == ReviewType.DISCHARGE]
        ((_, state, opened, reason),) = found
        assert (state, opened, reason) == (
            ReviewState.CLOSED,
            at(20).astimezone(SITE.zone).isoformat(),
            "PENDING_DISCHARGE_CANCELLED",
        )
