"""The moment of a review: T, what counts by then, and what comes too late in either direction."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_case import ARRIVAL, at, obx, orm, oru, with_diagnosis

from umbridge.model import Coded, Event, Reading
from umbridge.review.case import case
from umbridge.review.plan import reviews
from umbridge.review.review import Review
from umbridge.settings.site import default_site
from umbridge.stay.clock import instant
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.corrections import is_corrected
from umbridge.values.kinds import ReviewType

SITE = default_site()
GRACE = SITE.windows.first_review_grace_hours
HEART = frozenset({"heart_rate"})


def told(event: Event, hours: float) -> Event:
    """The same, sent then."""
    return replace(event, sent_at=at(hours), effective_at=at(hours))


def fold_of(*events: Event) -> StayFold:
    fold = StayFold(SITE)
    for seq, event in enumerate((ARRIVAL, *events)):
        fold.apply(event, seq)
    return fold


def review_at(fold: StayFold, hours: float, kind: ReviewType = ReviewType.ADMISSION) -> Review:
    (found,) = [each for each in reviews(fold.stay(at(hours))) if each.type is kind]
    return found


def seen(
    fold: StayFold, hours: float, kind: ReviewType = ReviewType.ADMISSION, wanted: frozenset[str] = HEART
) -> dict[str, Reading]:
    stay, review = fold.stay(at(hours)), review_at(fold, hours, kind)
    return dict(case(fold, stay, review, wanted, "ZZ").facts)


@pytest.mark.parametrize(
    ("ordered", "now", "judged"),
    [
        (1, 2, 2),  # T has not come: now
        (1, 4, 4),
        (1, 30, 4),  # the grace after the first contact
        (3.99, 30, 4),
        (4, 30, 4),
        (4.01, 30, 4.01),  # the order
        (10, 9.99, None),
        (10, 10, 10),
        (10, 300, 10),
    ],
)
def test_a_first_review_is_judged_when_the_order_was_given_and_not_before_the_grace(
    ordered: float, now: float, judged: float | None
) -> None:
    assert GRACE == 4
    fold = fold_of(told(orm("ADTINPT", ordered), ordered))
    if judged is not None:
        assert review_at(fold, now).judged_at == at(judged)
        assert review_at(fold, now).judged.is_final is (now >= judged == max(ordered, 4))


def test_without_an_order_the_event_begins_it() -> None:
    fold = fold_of(
        replace(
            told(ARRIVAL, 6),
            trigger="A01",
            visit=replace(ARRIVAL.visit, patient_class="I", patient_type="INP"),
        )
    )
    assert review_at(fold, 30).judged_at == at(6)


def test_never_later_than_the_discharge() -> None:
    gone = replace(told(ARRIVAL, 3), trigger="A03")
    fold = fold_of(told(orm("ADTINPT", 1), 1), gone)
    for kind in (ReviewType.ADMISSION, ReviewType.RETROSPECTIVE):
        assert review_at(fold, 30, kind).judged_at == at(3)


def test_later_looks_at_observation_are_judged_now() -> None:
    fold = fold_of(
        told(orm("ADTOBS", 1), 1),
        told(oru(obx("8867-4", "130", 2, "/min")), 2),
        told(oru(obx("8867-4", "80", 25, "/min")), 25),
    )
    stay = fold.stay(at(25.5))
    first, second = reviews(stay, frozenset({"OBSERVATION-1"}))
    assert (first.judged_at, second.judged_at) == (at(4), at(25.5))
    (reading,) = case(fold, stay, second, HEART, "ZZ").facts.values()
    assert (reading.low.value, reading.latest.value, reading.high.value) == (80, 80, 80)
    (reading,) = case(fold, stay, first, HEART, "ZZ").facts.values()
    assert reading.high.value == 130


def test_the_window_reaches_back_to_the_arrival_unless_observation_went_before() -> None:
    early = told(oru(obx("8867-4", "130", 1, "/min")), 1)
    boarded = fold_of(early, told(orm("ADTINPT", 15), 15))
    assert seen(boarded, 16)["heart_rate"].high.value == 130
    for hours, is_seen in ((23.99, True), (24, False)):
        watched = fold_of(
            early, told(orm("ADTOBS", 2), 2), told(orm("ADTINPT", 2 + hours, placer="P2"), 2 + hours)
        )
        assert ("heart_rate" in seen(watched, 40)) is is_seen


# --- what counts ------------------------------------------------------------------------------------


ORDERED = told(orm("ADTINPT", 6), 6)  # T is 6 h; reports until 10 h


def pulse(value: str, collected: float, hours: float, report: str = "R1", status: str = "F") -> Event:
    return told(oru(obx("8867-4", value, collected, "/min", report=report, status=status)), hours)


@pytest.mark.parametrize(
    ("collected", "reported", "counts"),
    [
        (5, 5.1, True),
        (6, 6.1, True),
        (6.01, 6.1, False),
        (5.5, 10, True),
        (5.5, 10.01, False),
        (-0.1, 1, False),
    ],
)
def test_a_result_counts_by_when_it_was_collected_and_told(
    collected: float, reported: float, counts: bool
) -> None:
    fold = fold_of(ORDERED, pulse("88", 1, 1.1), pulse("140", collected, reported, "R2"))
    high = seen(fold, 40)["heart_rate"].high.value
    assert high == (140 if counts else 88)


DOCUMENTED = frozenset({"expectation_documented"})


def document(value: str, signed: float, hours: float, report: str = "R1", status: str = "F") -> Event:
    whole = oru(obx("UMB-EXPDOC", value, signed, "", report=report, status=status))
    coded = tuple(
        each._replace(code=Coded("UMB-EXPDOC", "", "99UMB"), value_type="CWE", answers=(Coded(value),))
        for each in whole.observations
    )
    return told(replace(whole, observations=coded), hours)


@pytest.mark.parametrize(
    ("signed", "reported", "counts"),
    [(5, 5.1, True), (7.5, 7.6, True), (10, 10, True), (10.01, 10.02, False), (9, 10.01, False)],
)
def test_a_document_counts_where_it_was_signed_and_told_within_the_grace(
    signed: float, reported: float, counts: bool
) -> None:
    """The rule asks for the record and not for the minute (42 CFR 412.3(d)(1)(i))."""
    fold = fold_of(ORDERED, document("Y", signed, reported))
    for now in (reported + 0.01, 40):
        assert ("expectation_documented" in seen(fold, now, wanted=DOCUMENTED)) is counts
    assert seen(fold, signed - 0.01, wanted=DOCUMENTED) == {}


def test_a_document_that_is_signed_after_the_patient_has_left_expects_nothing() -> None:
    gone = replace(told(ARRIVAL, 7), trigger="A03")
    for signed, counts in ((6.9, True), (7.1, False)):
        fold = fold_of(ORDERED, gone, document("Y", signed, signed + 0.05))
        assert ("expectation_documented" in seen(fold, 40, wanted=DOCUMENTED)) is counts


def test_a_document_of_the_grace_that_is_corrected_is_one_that_counted() -> None:
    fold = fold_of(ORDERED, document("Y", 8, 8.1))
    review = review_at(fold, 8.2)
    cut, at_ = review.judged.cut, instant(review.judged_at)
    assert not is_corrected(fold, fold.stay(at(9)), cut, at_, 2)
    fold.apply(document("N", 8, 9, status="C"), 3)
    assert is_corrected(fold, fold.stay(at(9)), cut, at_, 2)
    assert seen(fold, 9.1, wanted=DOCUMENTED)["expectation_documented"].latest.value is False


def test_a_correction_of_what_counted_counts_whenever_it_is_told() -> None:
    was = (ORDERED, pulse("140", 5, 5.1), pulse("90", 4, 4.1, "R2"))
    assert seen(fold_of(*was), 40)["heart_rate"].high.value == 140
    assert seen(fold_of(*was, pulse("99", 5, 30, status="C")), 40)["heart_rate"].high.value == 99
    assert seen(fold_of(*was, pulse("", 5, 30, status="D")), 40)["heart_rate"].high.value == 90
    restamped = seen(fold_of(*was, pulse("99", 20, 30, status="C")), 40)["heart_rate"]
    assert (restamped.high.value, restamped.high.at) == (99, at(5))
    early = (ORDERED, pulse("140", 5, 5.1, status="P"), pulse("90", 4, 4.1, "R2"))
    assert seen(fold_of(*early, pulse("120", 5, 30)), 40)["heart_rate"].high.value == 120


def test_a_correction_of_what_did_not_count_changes_nothing() -> None:
    was = (ORDERED, pulse("90", 5, 5.1), pulse("140", 5.5, 11, "R2"), pulse("150", 9, 9.1, "R3"))
    for more in (
        (),
        (pulse("130", 5.5, 12, "R2", "C"),),
        (pulse("130", 5.5, 12, "R3", "C"),),  # moved into the window by its correction
        (pulse("", 5.5, 12, "R2", "D"),),
    ):
        found = seen(fold_of(*was, *more), 40)["heart_rate"]
        assert (found.low.value, found.high.value) == (90, 90)


def test_an_empty_line_told_in_time_lets_no_later_value_count() -> None:
    was = (ORDERED, pulse("90", 4, 4.1, "R2"), pulse("", 5, 5.1))
    for status in "FP":
        assert seen(fold_of(*was, pulse("140", 5, 30, status=status)), 40)["heart_rate"].high.value == 90
    assert seen(fold_of(*was, pulse("140", 5, 5.2)), 40)["heart_rate"].high.value == 140


def test_a_treatment_is_read_at_the_moment_by_what_was_told_in_time() -> None:
    wanted = frozenset({"vasopressor"})
    code = next(code for code, fact in SITE.intensity_orders.items() if fact == "vasopressor")

    def on(*events: Event) -> bool:
        return bool(seen(fold_of(ORDERED, *events), 60, wanted=wanted)["vasopressor"].latest.value)

    begun = told(orm(code, 3, placer="V1"), 3)
    assert on(begun) and not on()
    assert on(begun, told(orm(code, 20, "DC", "V1"), 20))  # ended the next day
    assert not on(begun, told(orm(code, 5, "DC", "V1"), 5))
    assert on(begun, told(orm(code, 5, "DC", "V1"), 20))  # said too late
    assert not on(told(orm(code, 7, placer="V1"), 7))  # begun too late
    assert on(told(orm(code, 3, placer="V1"), 10)) and not on(told(orm(code, 3, placer="V1"), 10.01))


def listed(code: str, hours: float) -> Event:
    event = replace(with_diagnosis(code), message_type="ADT", trigger="A08", visit=ARRIVAL.visit)
    return told(event, hours)


def test_the_principal_diagnosis_is_the_one_in_force_at_the_moment_else_the_first_that_comes() -> None:
    def principal(*events: Event) -> tuple[str, ...]:
        fold = fold_of(ORDERED, *events)
        stay = fold.stay(at(60))
        return case(fold, stay, review_at(fold, 60), HEART, "ZZ").diagnoses

    assert principal(listed("J18.9", 1), listed("A41.9", 20)) == ("J18.9",)
    assert principal(listed("J18.9", 1), listed("A41.9", 6)) == ("A41.9",)
    assert principal(listed("J18.9", 1), listed("A41.9", 6.01)) == ("J18.9",)
    assert principal(listed("J18.9", 20), listed("A41.9", 30)) == ("J18.9",)
    assert principal(listed("A41.9", 30), listed("J18.9", 20)) == ("J18.9",)
    assert principal() == ()


def test_a_final_value_under_another_number_counts_in_the_place_of_its_preliminary_one() -> None:
    """From preliminary to final is a correction, whenever it is told; and what counted is not lost by it."""
    early = pulse("80", 3, 3.1, "A", "P")
    for value in ("80", "90"):
        final = replace(pulse(value, 3, 11, "B", "F"), control_id="ZZ-LATE")
        found = seen(fold_of(ORDERED, early, final), 200)["heart_rate"]
        assert (found.latest.value, len(found.series)) == (int(value), 1)
        in_time = replace(pulse(value, 3, 4, "B", "F"), control_id="ZZ-IN-TIME")
        both = seen(fold_of(ORDERED, early, in_time), 200)["heart_rate"]
        assert (both.latest.value, len(both.series)) == (int(value), 1)  # once


# --- properties -------------------------------------------------------------------------------------

quarters = st.integers(0, 160).map(lambda n: n / 4)
#: A few reports, so that corrections find something; each as (value, collected, told after, report, status).
sayings = st.tuples(
    st.integers(40, 180),
    quarters,
    st.integers(0, 60).map(lambda n: n / 4),
    st.sampled_from("AB"),
    st.sampled_from("PFFFCD"),
)


def said(number: int, row: tuple[int, float, float, str, str]) -> Event:
    value, collected, after, report, status = row
    hours = collected + after + number / 1000  # no two are told at once
    return replace(pulse(str(value), collected, hours, report, status), control_id=f"ZZ-{number}")


def answer(events: list[Event], hours: float = 200) -> object:
    found = seen(fold_of(*events), hours).get("heart_rate")
    return None if found is None else (found.latest, found.low, found.high, found.series)


@settings(max_examples=150, deadline=None)
@given(st.lists(sayings, max_size=12), st.randoms())
def test_any_order_of_arrival_gives_the_same_at_the_moment(
    rows: list[tuple[int, float, float, str, str]], shuffled: Random
) -> None:
    events = [ORDERED, *(said(number, row) for number, row in enumerate(rows))]
    mixed = list(events)
    shuffled.shuffle(mixed)

    def bare(events: list[Event]) -> object:
        return answer(events)

    assert bare(events) == bare(mixed)
    looked = StayFold(SITE)  # and it does not matter who looked meanwhile
    looked.apply(ARRIVAL, 0)
    for seq, event in enumerate(mixed, 1):
        looked.apply(event, seq)
        if reviews(looked.stay(at(200))):
            seen(looked, 200)
    found = seen(looked, 200).get("heart_rate")
    assert (None if found is None else (found.latest, found.low, found.high, found.series)) == bare(events)


@settings(max_examples=150, deadline=None)
@given(st.lists(sayings, max_size=8), st.lists(sayings, min_size=1, max_size=4))
def test_what_comes_too_late_changes_nothing_but_by_correcting(
    rows: list[tuple[int, float, float, str, str]], late: list[tuple[int, float, float, str, str]]
) -> None:
    """Collected after T, or told after T and the grace, and no correction: in reports of their own,
    and not the final value of a preliminary one's moment."""
    early = {collected for _, collected, _, _, status in rows if status == "P"}
    late = [row for row in late if row[1] not in early and 4.9 not in early]
    before = [ORDERED, *(said(number, row) for number, row in enumerate(rows))]
    more = []
    for number, (value, collected, after, report, _) in enumerate(late, 100):
        fresh = f"N{report}{number}"
        if collected > 6:
            more.append(said(number, (value, collected, after, fresh, "F")))
        more.append(said(number, (value, collected, 10.25 + after, fresh + "L", "F")))
        more.append(said(number, (value, 4.9, 10.25 + after, fresh + "C", "C")))  # of a value nobody had told
    assert answer(before) == answer(before + more)
