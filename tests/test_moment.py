"""The moment of a review: T, what counts by then, and what comes too late in either direction."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_case import ARRIVAL, at, obx, orm, oru

from umbridge.model import Event, Reading, ReviewType
from umbridge.review.case import case
from umbridge.review.plan import Review, reviews
from umbridge.site import default_site
from umbridge.stay.fold import StayFold

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
