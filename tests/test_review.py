"""Reviews as a pure function of the stay: what opens them, what closes them, by when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from umbridge.model import Coded, Event, Level, Order, Patient, ReviewState, ReviewType, Status, Visit
from umbridge.review.plan import Review, open_reviews, reviews
from umbridge.site import DEFAULT_SITE, SiteProfile, default_site, parse_site
from umbridge.stay.fold import Stay, StayFold

SITE = default_site()
ZONE = SITE.zone
START = datetime(2026, 8, 10, 19, 0, tzinfo=UTC)  # 15:00 in New York


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def adt(trigger: str, hours: float, patient_class: str, patient_type: str, **other: Any) -> Event:
    return Event(
        message_type="ADT",
        trigger=trigger,
        control_id=f"ZZ-{hours}",
        processing_id="P",
        sent_at=at(hours),
        effective_at=at(hours),
        patient=Patient((("7790003", "UMBH", "MR"),), "AC3", "19590412", "M"),
        visit=Visit(number="VN3", patient_class=patient_class, patient_type=patient_type, **other),
    )


def orm(code: str, hours: float, control: str = "NW", placer: str = "P1") -> Event:
    order = Order(control, placer, "", "", Coded(code), at(hours), "", "ZZ ORC[1]")
    return Event("ORM", "O01", f"ZZ-{hours}-{code}", "P", at(hours), at(hours), orders=(order,))


def stay_of(*events: Event, hours: float, site: SiteProfile = SITE) -> Stay:
    fold = StayFold(site)
    for seq, event in enumerate(events):
        fold.apply(event, seq)
    return fold.stay(at(hours))


def states(planned: tuple[Review, ...]) -> dict[str, tuple[str, str]]:
    return {review.id: (review.state.value, review.reason) for review in planned}


INPATIENT = (adt("A04", 0, "E", "EDP"), orm("ADTINPT", 1), adt("A01", 2, "I", "INP"))


def test_nothing_to_review_in_the_emergency_department() -> None:
    assert reviews(stay_of(INPATIENT[0], hours=1)) == ()


def test_an_inpatient_order_opens_the_admission_review_at_its_own_level() -> None:
    for code, level in (
        ("ADTINPT", Level.ACUTE),
        ("ADTINPTIMC", Level.INTERMEDIATE),
        ("ADTINPTICU", Level.CRITICAL),
    ):
        (review,) = reviews(stay_of(INPATIENT[0], orm(code, 1), hours=2))
        assert (review.id, review.type, review.state) == (
            "ADMISSION-1",
            ReviewType.ADMISSION,
            ReviewState.OPEN,
        )
        assert (review.requested_status, review.requested_level) == (Status.INPATIENT, level)
        assert review.opened_at == at(1)
        assert review.due == at(25)
        assert review.episode_day == 1


def test_a_later_order_moves_the_requested_level_and_opens_nothing_new() -> None:
    stay = stay_of(*INPATIENT, orm("ADTINPTICU", 5, placer="P2"), hours=6)
    (review,) = reviews(stay)
    assert (review.id, review.requested_level, review.opened_at) == ("ADMISSION-1", Level.CRITICAL, at(1))


def test_without_an_order_the_status_gives_the_level() -> None:
    (review,) = reviews(stay_of(adt("A01", 0, "I", "INP"), hours=1))
    assert review.requested_level is Level.ACUTE
    (review,) = reviews(stay_of(adt("A01", 0, "O", "OBS"), hours=1))
    assert (review.type, review.requested_level) == (ReviewType.OBSERVATION, Level.OBS)
    assert review.due == at(24)


def test_inpatient_care_closes_the_observation_review() -> None:
    events = (adt("A04", 0, "O", "OBS"), orm("ADTINPT", 10), adt("A06", 11, "I", "INP"))
    assert states(reviews(stay_of(*events, hours=12))) == {
        "OBSERVATION-1": ("closed", "STATUS_CHANGED"),
        "ADMISSION-1": ("open", "INPATIENT_BEGAN"),
    }


@pytest.mark.parametrize(
    ("hours", "opens"),
    [(1, False), (32.9, False), (33, True), (40, True)],  # local midnight of 12 August is 33 h after 15:00
)
def test_the_continued_stay_review_opens_on_the_third_local_day(hours: float, opens: bool) -> None:
    events = (adt("A01", 0, "I", "INP"), orm("ADTINPT", 0))
    found = {review.id: review for review in open_reviews(stay_of(*events, hours=hours))}
    assert ("CONTINUED_STAY-1" in found) is opens
    if opens:
        review = found["CONTINUED_STAY-1"]
        assert review.episode_day == 3
        assert review.opened_at == datetime(2026, 8, 12, 0, 0, tzinfo=ZONE)
        assert review.due == datetime(2026, 8, 12, 23, 59, 59, tzinfo=ZONE)


def test_the_next_continued_stay_review_waits_for_the_one_before() -> None:
    events = (adt("A01", 0, "I", "INP"), orm("ADTINPT", 0))
    late = stay_of(*events, hours=24 * 40)
    days = []
    completed: set[str] = set()
    for number in range(1, 9):
        planned = reviews(late, frozenset(completed))
        running = [each for each in planned if each.type == "CONTINUED_STAY" and each.state == "open"]
        if not running:
            break
        (review,) = running
        assert review.id == f"CONTINUED_STAY-{number}"
        assert review.due is not None
        days.append((review.due.date() - late.spans[0].start.date()).days + 1)
        completed.add(review.id)
    assert days == [3, 6, 9, 14, 21, 28, 35]  # the next, on day 42, is not due on day 41


def test_the_first_day_is_the_sites() -> None:
    text = DEFAULT_SITE.read_text("utf-8").replace(
        "continued_stay_first_day = 3", "continued_stay_first_day = 2"
    )
    site = parse_site(text.encode())
    events = (adt("A01", 0, "I", "INP"), orm("ADTINPT", 0))
    assert len(open_reviews(stay_of(*events, hours=8.9, site=site))) == 1
    assert len(open_reviews(stay_of(*events, hours=9, site=site))) == 2


def test_a_leave_puts_the_continued_stay_review_off() -> None:
    events = (adt("A01", 0, "I", "INP"), orm("ADTINPT", 0), adt("A21", 20, "I", "INP"))
    away = stay_of(*events, hours=60)
    assert away.continued_stay_due is None
    assert [review.id for review in open_reviews(away)] == ["ADMISSION-1"]
    back = stay_of(*events, adt("A22", 70, "I", "INP"), hours=71)
    assert back.continued_stay_due == at(70).astimezone(ZONE).date()
    assert {review.id for review in open_reviews(back)} == {"ADMISSION-1", "CONTINUED_STAY-1"}


def test_discharge_without_a_completed_admission_review_is_looked_at_afterwards() -> None:
    gone = stay_of(*INPATIENT, adt("A03", 30, "I", "INP", discharged_at=at(30)), hours=200)
    assert states(reviews(gone)) == {
        "ADMISSION-1": ("closed", "INCOMPLETE_AT_DISCHARGE"),
        "RETROSPECTIVE-1": ("open", "NO_COMPLETED_ADMISSION_REVIEW"),
    }
    assert reviews(gone)[1].episode_day == 1
    done = reviews(gone, frozenset({"ADMISSION-1"}))
    assert states(done) == {"ADMISSION-1": ("closed", "COMPLETED")}
    both = reviews(gone, frozenset({"RETROSPECTIVE-1"}))
    assert states(both)["RETROSPECTIVE-1"] == ("closed", "COMPLETED")


def test_an_observation_stay_leaves_nothing_for_afterwards() -> None:
    gone = stay_of(adt("A04", 0, "O", "OBS"), adt("A03", 20, "O", "OBS"), hours=30)
    assert states(reviews(gone)) == {"OBSERVATION-1": ("closed", "INCOMPLETE_AT_DISCHARGE")}


def test_a_cancelled_discharge_opens_the_admission_review_again() -> None:
    back = stay_of(*INPATIENT, adt("A03", 5, "I", "INP"), adt("A13", 6, "I", "INP"), hours=7)
    assert states(reviews(back)) == {
        "ADMISSION-1": ("open", "INPATIENT_BEGAN"),
        "RETROSPECTIVE-1": ("void", "EVENT_CANCELLED"),
    }
    again = stay_of(
        *INPATIENT, adt("A03", 5, "I", "INP"), adt("A13", 6, "I", "INP"), adt("A03", 8, "I", "INP"), hours=9
    )
    assert states(reviews(again))["RETROSPECTIVE-2"][0] == "open"


def test_a_cancelled_admission_voids_its_review_and_a_second_one_gets_its_own_number() -> None:
    events = (adt("A01", 0, "I", "INP"), adt("A11", 1, "I", "INP"))
    assert states(reviews(stay_of(*events, hours=2))) == {"ADMISSION-1": ("void", "EVENT_CANCELLED")}
    again = stay_of(*events, adt("A01", 3, "I", "INP"), hours=4)
    assert states(reviews(again)) == {
        "ADMISSION-1": ("void", "EVENT_CANCELLED"),
        "ADMISSION-2": ("open", "INPATIENT_BEGAN"),
    }


def test_a_planned_stay_has_a_prospective_review_until_the_patient_comes() -> None:
    planned = (adt("A05", 0, "P", ""),)
    (review,) = reviews(stay_of(*planned, hours=1))
    assert (review.type, review.requested_status, review.state) == ("PROSPECTIVE", "INPATIENT", "open")
    come = reviews(stay_of(*planned, adt("A01", 20, "I", "INP"), hours=21))
    assert states(come)["PROSPECTIVE-1"][0] == "closed"
    off = reviews(stay_of(*planned, adt("A38", 5, "P", ""), hours=21))
    assert states(off) == {"PROSPECTIVE-1": ("void", "EVENT_CANCELLED")}


def test_planning_is_pure_and_no_review_is_adverse() -> None:
    stay = stay_of(*INPATIENT, adt("A07", 20, "O", "OBS"), adt("A06", 30, "I", "INP"), hours=90)
    planned = reviews(stay)
    assert planned == reviews(stay)
    assert [review.id for review in planned].count("ADMISSION-2") == 1
    assert {review.state for review in planned} <= set(ReviewState)
    assert not any("DEN" in review.reason for review in planned)
