"""Reviews as a pure function of the stay: what opens them, what closes them, by when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.model import Certification, Coded, Coverage, Event, Order, Patient, Visit
from umbridge.review.plan import next_continued_stay, next_deadline, open_reviews, reviews, stay_json
from umbridge.review.review import Review
from umbridge.settings.site import DEFAULT_SITE, SiteProfile, default_site, parse_site
from umbridge.stay.fold import Stay, StayFold
from umbridge.values.kinds import Level, ReviewState, ReviewType, Status

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
    order = Order(control, placer, "", "", Coded(code), at(hours), (), "ZZ ORC[1]")
    return Event("ORM", "O01", f"ZZ-{hours}-{code}", "P", at(hours), at(hours), orders=(order,))


def stay_of(*events: Event, hours: float, site: SiteProfile = SITE) -> Stay:
    fold = StayFold(site)
    for seq, event in enumerate(events, 1):
        fold.apply(event, seq)
    return fold.stay(at(hours))


def _at(event: Event, moment: datetime) -> Stay:
    return stay_of(event, hours=(moment - START) / timedelta(hours=1))


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
            "ADMISSION-2",  # row 2 was the first to speak for it
            ReviewType.ADMISSION,
            ReviewState.OPEN,
        )
        assert (review.requested_status, review.requested_level) == (Status.INPATIENT, level)
        assert review.opened_at == at(1)
        assert review.due == at(25)
        assert review.episode_day == 1


@pytest.mark.parametrize(
    ("ordered", "now", "level"),
    [
        (3, 3.5, Level.CRITICAL),
        (3, 60, Level.CRITICAL),
        (4, 60, Level.CRITICAL),
        (4.01, 4.02, Level.ACUTE),  # T is 4 h
        (24, 60, Level.ACUTE),
    ],
)
@pytest.mark.parametrize("placer", ["P1", "P2"])  # another order, or the same with another level
def test_an_admission_asks_for_the_level_of_its_moment(
    ordered: float, now: float, level: Level, placer: str
) -> None:
    told = (*INPATIENT, orm("ADTINPTICU", ordered, placer=placer))
    for events in (told, (*reversed(told),)):
        found = [each for each in reviews(stay_of(*events, hours=now)) if each.type is ReviewType.ADMISSION]
        assert [(each.requested_level, each.opened_at) for each in found] == [(level, at(1))]


def test_reviews_of_what_is_so_now_ask_for_the_level_in_force() -> None:
    """By the order or the transfer that came last; by the unit where no order named a level."""
    up, icu = adt("A02", 30, "I", "INP", unit="MICU"), orm("ADTINPTICU", 30, placer="P2")

    def asked(*events: Event) -> Level:
        (level,) = {
            each.requested_level
            for each in open_reviews(stay_of(*events, hours=60))
            if each.type is ReviewType.CONTINUED_STAY
        }
        return level

    ward = (adt("A01", 0, "I", "INP", unit="4W"), orm("ADTINPT", 1))
    assert asked(*ward) is Level.ACUTE
    assert asked(*ward, icu) is Level.CRITICAL
    assert asked(*ward, up) is Level.CRITICAL
    assert asked(*ward, up, orm("ADTINPTIMC", 31, placer="P3")) is Level.INTERMEDIATE
    assert asked(*ward, icu, adt("A02", 31, "I", "INP", unit="5SD")) is Level.INTERMEDIATE
    assert asked(adt("A01", 0, "I", "INP", unit="5SD")) is Level.INTERMEDIATE  # no order named one
    assert asked(adt("A01", 0, "I", "INP", unit="ED")) is Level.ACUTE


@pytest.mark.parametrize("done", [0, 1])
@pytest.mark.parametrize("moved", [20, 41.5, 60, 110])
def test_one_continued_stay_is_open_at_a_time(moved: float, done: int) -> None:
    """``moved``: before, on, and after the third day, and on the sixth; ``done``: how many were completed."""
    events = (
        adt("A01", 0, "I", "INP", unit="4W"),
        orm("ADTINPT", 1),
        adt("A02", moved, "I", "INP", unit="MICU"),
    )
    kind = ReviewType.CONTINUED_STAY
    completed = frozenset(f"CONTINUED_STAY-1-{number + 1}" for number in range(done))
    transfer = "CONTINUED_STAY-3"
    for hours in range(0, 24 * 12, 5):
        stay = (
            stay_of(*(each for each in events if each.sent_at <= at(hours)), hours=hours) if hours else None
        )
        found = () if stay is None else open_reviews(stay, completed)
        assert sum(each.type is kind for each in found) <= 1
        if hours >= moved:
            assert transfer in {each.id for each in found}
    later = stay_of(*events, hours=24 * 12)
    (found_one,) = [each for each in open_reviews(later, completed) if each.type is kind]
    assert (found_one.id, found_one.requested_level) == (transfer, Level.CRITICAL)
    was_due = {20: 20, 41.5: 41.5, 60: 41.5, 110: 110 if done else 41.5}[moved]
    if done and moved == 60:
        was_due = 60
    assert found_one.due is not None
    assert found_one.due.astimezone(ZONE).date() == at(was_due).astimezone(ZONE).date()
    after = open_reviews(later, completed | {transfer})
    (next_one,) = [each for each in after if each.type is kind]  # and then the next scheduled one
    assert next_one.reason in ("DUE_DAY", "EXTENDED_STAY")
    assert next_one.opened_at.astimezone(ZONE).date() > at(moved).astimezone(ZONE).date()


def test_without_an_order_the_status_gives_the_level() -> None:
    (review,) = reviews(stay_of(adt("A01", 0, "I", "INP"), hours=1))
    assert review.requested_level is Level.ACUTE
    (review,) = reviews(stay_of(adt("A01", 0, "O", "OBS"), hours=1))
    assert (review.type, review.requested_level) == (ReviewType.OBSERVATION, Level.OBS)
    assert review.due == at(8)


def test_inpatient_care_closes_the_observation_review() -> None:
    events = (adt("A04", 0, "O", "OBS"), orm("ADTINPT", 10), adt("A06", 11, "I", "INP"))
    assert states(reviews(stay_of(*events, hours=12))) == {
        "OBSERVATION-1": ("closed", "STATUS_CHANGED"),
        "ADMISSION-2": ("open", "INPATIENT_BEGAN"),
    }


@pytest.mark.parametrize(
    ("hours", "opens"),
    [(1, False), (32.9, False), (33, True), (40, True)],  # local midnight of 12 August is 33 h after 15:00
)
def test_the_continued_stay_review_opens_on_the_third_local_day(hours: float, opens: bool) -> None:
    events = (adt("A01", 0, "I", "INP"), orm("ADTINPT", 0))
    found = {review.id: review for review in open_reviews(stay_of(*events, hours=hours))}
    assert ("CONTINUED_STAY-1-1" in found) is opens
    if opens:
        review = found["CONTINUED_STAY-1-1"]
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
        assert review.id == f"CONTINUED_STAY-1-{number}"
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


@pytest.mark.parametrize(
    ("first", "hours", "expected"),
    [
        (adt("A01", 0, "I", "INP"), 1, [3, 6, 9, 14, 21, 28, 35, 42]),  # days; VistA, then every seven
        (adt("A04", 0, "O", "OBS"), 1, [24, 36, 48, 72, 96, 120, 144, 168]),  # hours; the first is due at 8
    ],
)
def test_nothing_opens_by_the_clock_before_the_moment_foretold_and_one_review_opens_then(
    first: Event, hours: float, expected: list[int]
) -> None:
    found: list[int] = []
    moment, done = at(hours), frozenset[str]()
    while len(found) < len(expected):
        stay = _at(first, moment)
        done |= {review.id for review in open_reviews(stay, done)}
        due = next_deadline(stay, done)
        assert due is not None
        assert due > moment
        before = _at(first, due - timedelta(microseconds=1))
        assert _shown(before) == _shown(stay)
        new = set(open_reviews(_at(first, due), done)) - set(open_reviews(before, done))
        moment = due
        if not new:  # then it is the moment of an exception, or the one that a first look is judged as of
            assert _shown(_at(first, due)) != _shown(stay) or _judged(first, due) != _judged(
                first, before.as_of
            )
            continue
        (opened,) = new
        assert opened.opened_at == due
        day = (due.astimezone(ZONE).date() - START.astimezone(ZONE).date()).days + 1
        found.append(
            day if opened.type is ReviewType.CONTINUED_STAY else round((due - START) / timedelta(hours=1))
        )
    assert found == expected


def _judged(first: Event, moment: datetime) -> list[bool]:
    return [review.judged.is_final for review in reviews(_at(first, moment))]


def _shown(stay: Stay) -> tuple[object, ...]:
    return stay.exceptions, stay.notices_due, stay.notices_missed


def test_nothing_is_foretold_for_who_is_away_or_gone() -> None:
    admitted = (adt("A01", 0, "I", "INP"), orm("ADTINPT", 0))
    for last in (adt("A03", 5, "I", "INP"), adt("A21", 5, "I", "INP"), adt("A11", 5, "I", "INP")):
        assert next_deadline(stay_of(*admitted, last, hours=6)) is None


def test_a_leave_puts_the_continued_stay_review_off() -> None:
    events = (adt("A01", 0, "I", "INP"), orm("ADTINPT", 0), adt("A21", 20, "I", "INP"))
    away = stay_of(*events, hours=60)
    assert stay_json(away)["continued_stay_due"] is None
    assert [review.id for review in open_reviews(away)] == ["ADMISSION-1"]
    back = stay_of(*events, adt("A22", 70, "I", "INP"), hours=71)
    assert stay_json(back)["continued_stay_due"] == at(70).astimezone(ZONE).date().isoformat()
    assert {review.id for review in open_reviews(back)} == {"ADMISSION-1", "CONTINUED_STAY-1-1"}


def test_discharge_without_a_completed_admission_review_is_looked_at_afterwards() -> None:
    gone = stay_of(*INPATIENT, adt("A03", 30, "I", "INP", discharged_at=at(30)), hours=200)
    assert states(reviews(gone)) == {
        "ADMISSION-2": ("closed", "INCOMPLETE_AT_DISCHARGE"),
        "RETROSPECTIVE-4": ("open", "NO_COMPLETED_ADMISSION_REVIEW"),
    }
    assert reviews(gone)[1].episode_day == 1
    done = reviews(gone, frozenset({"ADMISSION-2"}))
    assert states(done) == {"ADMISSION-2": ("closed", "COMPLETED")}
    both = reviews(gone, frozenset({"RETROSPECTIVE-4"}))
    assert states(both)["RETROSPECTIVE-4"] == ("closed", "COMPLETED")


def test_an_observation_stay_leaves_nothing_for_afterwards() -> None:
    gone = stay_of(adt("A04", 0, "O", "OBS"), adt("A03", 20, "O", "OBS"), hours=30)
    assert states(reviews(gone)) == {"OBSERVATION-1": ("closed", "INCOMPLETE_AT_DISCHARGE")}


def test_a_cancelled_discharge_opens_the_admission_review_again() -> None:
    back = stay_of(*INPATIENT, adt("A03", 5, "I", "INP"), adt("A13", 6, "I", "INP"), hours=7)
    assert states(reviews(back)) == {
        "ADMISSION-2": ("open", "INPATIENT_BEGAN"),
        "RETROSPECTIVE-4": ("void", "EVENT_CANCELLED"),
    }
    again = stay_of(
        *INPATIENT, adt("A03", 5, "I", "INP"), adt("A13", 6, "I", "INP"), adt("A03", 8, "I", "INP"), hours=9
    )
    assert states(reviews(again))["RETROSPECTIVE-6"][0] == "open"


def test_a_cancelled_admission_voids_its_review_and_a_second_one_has_its_own_name() -> None:
    events = (adt("A01", 0, "I", "INP"), adt("A11", 1, "I", "INP"))
    assert states(reviews(stay_of(*events, hours=2))) == {"ADMISSION-1": ("void", "EVENT_CANCELLED")}
    again = stay_of(*events, adt("A01", 3, "I", "INP"), hours=4)
    assert states(reviews(again)) == {
        "ADMISSION-1": ("void", "EVENT_CANCELLED"),
        "ADMISSION-3": ("open", "INPATIENT_BEGAN"),
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
    assert [review.id for review in planned].count("ADMISSION-5") == 1
    assert {review.state for review in planned} <= set(ReviewState)
    assert not any("DEN" in review.reason for review in planned)


# --- names that no later arrival changes ----------------------------------------------------------------


def test_a_late_earlier_opening_renames_nothing() -> None:
    """The second admission is received first; then the first one, its end, and an order that began it."""
    later = adt("A06", 40, "I", "INP")
    before = {review.id for review in reviews(stay_of(later, hours=41))}
    assert before == {"ADMISSION-1"}
    stay = stay_of(later, adt("A01", 0, "I", "INP"), adt("A07", 20, "O", "OBS"), orm("ADTINPT", -1), hours=41)
    found = {review.id: review for review in reviews(stay)}
    assert set(found) == {"ADMISSION-1", "ADMISSION-2", "OBSERVATION-3"}
    assert found["ADMISSION-1"].opened_at == at(40)
    assert (found["ADMISSION-2"].opened_at, found["ADMISSION-2"].state) == (at(-1), ReviewState.CLOSED)


EVENTS = (
    adt("A04", 0, "E", "EDP"),
    adt("A14", 1, "E", "EDP"),
    orm("ADTOBS", 2, placer="P0"),
    adt("A08", 3, "O", "OBS"),
    orm("ADTINPT", 20),
    adt("A06", 21, "I", "INP"),
    adt("A02", 30, "I", "INP", unit="MICU"),
    adt("A07", 44, "O", "OBS"),
    adt("A01", 60, "I", "INP", unit="4W"),
    adt("A16", 70, "I", "INP"),
    adt("A03", 80, "I", "INP"),
    adt("A13", 81, "I", "INP"),
    adt("A03", 90, "I", "INP"),
)


@settings(max_examples=60, deadline=None)
@given(st.permutations(list(enumerate(EVENTS, 1))), st.integers(0, 100))
def test_a_name_is_never_given_to_another_review(order: list[tuple[int, Event]], hours: int) -> None:
    """Rows are numbered as they arrive. A review keeps its name or is void, and none is forgotten."""
    fold = StayFold(SITE)
    known: dict[str, str] = {}
    for row, (_, event) in enumerate(order, 1):
        fold.apply(event, row)
        planned = reviews(fold.stay(at(hours)), known=known)
        names = [review.id for review in planned]
        assert len(names) == len(set(names))
        assert set(known) <= set(names)
        for review in planned:
            assert review.id.startswith(f"{review.type.value}-")
            known[review.id] = review.state.value
    standing = {review.id for review in reviews(fold.stay(at(hours)))}
    assert {known[name] for name in set(known) - standing} <= {"void"}


def test_a_review_without_ground_is_void() -> None:
    stay = stay_of(*INPATIENT, hours=3)
    known = {"ADMISSION-2": "open", "OBSERVATION-9": "open", "no name": "open"}
    assert states(reviews(stay, known=known)) == {
        "ADMISSION-2": ("open", "INPATIENT_BEGAN"),
        "OBSERVATION-9": ("void", "GROUND_MOVED"),
    }


# --- observation at its hours ---------------------------------------------------------------------------


def test_observation_is_looked_at_at_its_hours() -> None:
    events = (adt("A04", 0, "O", "OBS"),)
    hours = []
    for now in (1, 7.9, 24, 36, 47.9, 48, 72, 96):
        done = frozenset({"OBSERVATION-1", "OBSERVATION-1-2", "OBSERVATION-1-3"})
        planned = [each for each in reviews(stay_of(*events, hours=now), done) if each.state == "open"]
        hours.append([(each.id, each.due) for each in planned])
    fourth = [("OBSERVATION-1-4", at(48))]
    assert hours == [[], [], [], [], [], fourth, fourth, fourth]
    found = {each.id: each for each in reviews(stay_of(*events, hours=24), frozenset({"OBSERVATION-1"}))}
    assert found["OBSERVATION-1"].due == at(8)
    assert (found["OBSERVATION-1-2"].opened_at, found["OBSERVATION-1-2"].due) == (at(24), at(24))
    assert len(reviews(stay_of(*events, hours=23.9), frozenset({"OBSERVATION-1"}))) == 1
    assert len(reviews(stay_of(*events, hours=100))) == 1  # each waits for the one before


# --- planned care ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "plan", "hours"),
    [
        ("A05", "MA", 7 * 24),
        ("A05", "MCD", 7 * 24),
        ("A05", "COM", 15 * 24),
        ("A05", "", 15 * 24),
        ("A14", "MA", 72),
        ("A14", "COM", 72),
    ],
)
def test_planned_care_is_due_by_the_payers_clock(trigger: str, plan: str, hours: int) -> None:
    event = replace(adt(trigger, 0, "P", ""), coverage=(Coverage(1, "", plan),))
    (review,) = reviews(stay_of(event, hours=1))
    assert (review.type, review.due) == ("PROSPECTIVE", at(hours))
    soon = replace(event, visit=replace(event.visit, expected_admission=at(30)))
    assert reviews(stay_of(soon, hours=1))[0].due == at(30)


def test_a_pending_admission_opens_one_prospective_review_and_its_cancel_voids_it() -> None:
    here = adt("A04", 0, "E", "EDP")
    pending, again, off = adt("A14", 1, "E", "EDP"), adt("A14", 2, "E", "EDP"), adt("A27", 3, "E", "EDP")
    assert states(reviews(stay_of(here, pending, again, hours=3))) == {"PROSPECTIVE-2": ("open", "URGENT")}
    assert states(reviews(stay_of(here, pending, off, hours=4))) == {
        "PROSPECTIVE-2": ("void", "EVENT_CANCELLED")
    }
    planned = (adt("A05", 0, "P", ""), adt("A14", 1, "P", ""), adt("A27", 2, "P", ""))
    assert states(reviews(stay_of(*planned, hours=4))) == {"PROSPECTIVE-1": ("open", "PLANNED")}
    come = (here, pending, orm("ADTINPT", 5))
    assert states(reviews(stay_of(*come, hours=6)))["PROSPECTIVE-2"] == ("closed", "STATUS_CHANGED")


def test_an_inpatient_order_before_the_planned_patient_comes_begins_nothing() -> None:
    ahead = (adt("A05", 0, "P", ""), orm("ADTINPT", 1))
    stay = stay_of(*ahead, hours=2)
    assert (stay.lifecycle, stay.status, stay.inpatient_start) == ("planned", "PREADMIT", None)
    come = stay_of(*ahead, adt("A01", 30, "I", "INP"), hours=31)
    assert (come.status, come.inpatient_start) == ("INPATIENT", at(30))


# --- transfers, coming discharges, extended and short stays ----------------------------------------------


def test_a_transfer_to_another_level_is_screened_there_and_its_cancel_voids_that() -> None:
    ward = (adt("A01", 0, "I", "INP", unit="4W"), orm("ADTINPT", 0))
    same = adt("A02", 5, "I", "INP", unit="5W")
    up = adt("A02", 6, "I", "INP", unit="MICU")
    assert [each.id for each in reviews(stay_of(*ward, same, hours=7))] == ["ADMISSION-1"]
    found = {each.id: each for each in reviews(stay_of(*ward, up, hours=7))}
    review = found["CONTINUED_STAY-3"]
    assert (review.reason, review.requested_level, review.opened_at) == ("TRANSFERRED", Level.CRITICAL, at(6))
    gone = reviews(stay_of(*ward, up, adt("A12", 8, "I", "INP"), hours=9))
    assert states(gone)["CONTINUED_STAY-3"] == ("void", "EVENT_CANCELLED")
    down = adt("A02", 9, "I", "INP", unit="5SD")
    after = states(reviews(stay_of(*ward, up, down, hours=10)))
    assert after["CONTINUED_STAY-3"] == ("closed", "TRANSFERRED")
    assert after["CONTINUED_STAY-4"] == ("open", "TRANSFERRED")


@pytest.mark.parametrize("asks", ["A16", "order"])
def test_a_coming_discharge_is_screened_until_it_is_called_off(asks: str) -> None:
    def says(on: bool, hours: float) -> Event:
        if asks == "order":
            return orm("ADTDC", hours, "NW" if on else "CA", placer="D1")
        return adt("A16" if on else "A25", hours, "I", "INP")

    coming = (*INPATIENT, says(True, 50))
    found = {each.id: each for each in reviews(stay_of(*coming, hours=51))}
    review = found["DISCHARGE-4"]
    assert (review.state, review.reason, review.requested_status) == (
        "open",
        "DISCHARGE_EXPECTED",
        "INPATIENT",
    )
    off = states(reviews(stay_of(*coming, says(False, 52), hours=53)))
    assert off["DISCHARGE-4"] == ("closed", "PENDING_DISCHARGE_CANCELLED")
    gone = states(reviews(stay_of(*coming, adt("A03", 54, "I", "INP"), hours=55)))
    assert gone["DISCHARGE-4"] == ("closed", "INCOMPLETE_AT_DISCHARGE")
    back = (*coming, adt("A03", 54, "I", "INP"), adt("A13", 55, "I", "INP"))
    assert states(reviews(stay_of(*back, hours=56)))["DISCHARGE-4"][0] == "open"


def test_continued_stay_becomes_extended_stay_on_the_sites_day() -> None:
    events = (adt("A01", 0, "I", "INP"), orm("ADTINPT", 0))
    done = frozenset(f"CONTINUED_STAY-1-{n}" for n in range(1, 9))
    planned = reviews(stay_of(*events, hours=24 * 30), done - {"CONTINUED_STAY-1-5"})
    assert {each.id: each.reason for each in planned}["CONTINUED_STAY-1-5"] == "EXTENDED_STAY"  # day 21
    planned = reviews(stay_of(*events, hours=24 * 30), done - {"CONTINUED_STAY-1-4"})
    assert {each.id: each.reason for each in planned}["CONTINUED_STAY-1-4"] == "DUE_DAY"  # day 14
    text = DEFAULT_SITE.read_text("utf-8").replace("extended_stay_day = 21", "extended_stay_day = 14")
    site = parse_site(text.encode())
    planned = reviews(stay_of(*events, hours=24 * 30, site=site), done - {"CONTINUED_STAY-1-4"})
    assert {each.id: each.reason for each in planned}["CONTINUED_STAY-1-4"] == "EXTENDED_STAY"


def test_the_next_review_date_is_told_before_it_comes() -> None:
    events = (adt("A01", 0, "I", "INP"), orm("ADTINPT", 0))
    stay = stay_of(*events, hours=1)
    assert next_continued_stay(stay) == date(2026, 8, 12)
    assert next_continued_stay(stay, frozenset({"CONTINUED_STAY-1-1"})) == date(2026, 8, 15)
    away = (*events, adt("A21", 60, "I", "INP"), adt("A22", 100, "I", "INP"))
    back = at(100).astimezone(ZONE).date()  # the 14th: due that day, for what was due on the 15th too
    assert next_continued_stay(stay_of(*away, hours=101), frozenset({"CONTINUED_STAY-1-1"})) == back
    assert stay_json(stay)["continued_stay_due"] == "2026-08-12"
    assert stay_json(stay, frozenset({"CONTINUED_STAY-1-1"}))["continued_stay_due"] == "2026-08-15"


@pytest.mark.parametrize(
    ("hours", "plan", "disposition", "opens"),
    [
        (20, "MCR", "01", True),  # one midnight after the order, and in the house
        (40, "MCR", "01", False),  # two
        (20, "COM", "01", False),
        (20, "MA", "03", True),
        (20, "MCR", "20", False),
        (20, "MCR", "02", False),
        (20, "MCR", "07", False),
        (20, "MCR", "50", False),
    ],
)
def test_a_short_stay_is_looked_at_afterwards(hours: float, plan: str, disposition: str, opens: bool) -> None:
    cover = (Coverage(1, "", plan),)
    events = (
        replace(adt("A01", 0, "I", "INP", admitted_at=at(0)), coverage=cover),
        adt("A03", hours, "I", "INP", disposition=disposition),
    )
    planned = states(reviews(stay_of(*events, hours=90), frozenset({"ADMISSION-1"})))
    assert planned.get("RETROSPECTIVE-2") == (("open", "SHORT_STAY") if opens else None)


@pytest.mark.parametrize(
    ("treated", "opens"),
    [
        (-40, False),  # 8 August, 23:00: treated from the door, three midnights of care
        (-15.1, False),  # just before midnight: two
        (-14.9, True),  # just after: two midnights were spent in the waiting room, and one is left
        (2, True),  # nothing was given before the admission
        (None, True),  # nothing shows care: it begins with the admission
    ],
)
def test_a_short_stay_counts_from_where_care_begins_and_not_from_registration(
    treated: float | None, opens: bool
) -> None:
    """42 CFR 412.3(d)(1) counts care, and waiting is none: one rule with ``two_midnight``."""
    came = replace(adt("A04", -40, "E", "EDP", admitted_at=at(-40)), coverage=(Coverage(1, "", "MCR"),))
    events = [came, adt("A06", 0, "I", "INP"), adt("A03", 30, "I", "INP")]
    if treated is not None:
        events.append(replace(orm("RXCEFTRIV", treated), patient=came.patient))
    stay = stay_of(*events, hours=90)
    assert (stay.status, stay.care_start) == ("INPATIENT", at(-40).astimezone(ZONE))
    assert stay.care_seen == (None if treated is None else at(treated).astimezone(ZONE))
    planned = reviews(stay, frozenset(each.id for each in reviews(stay) if each.type is ReviewType.ADMISSION))
    found = [each.reason for each in planned if each.type is ReviewType.RETROSPECTIVE]
    assert found == (["SHORT_STAY"] if opens else [])


def test_a_payers_refusal_is_looked_at_afterwards() -> None:
    def certified(code: str) -> Certification:
        return Certification(
            "ZZ1", "", "", None, None, None, "DE", 2, code, at(9), "990009", "", "", "ZZ IN3[1]"
        )

    for code, found in (("NM", ("open", "PAYER_NON_CONCURRENCE")), ("", None)):
        events = (
            replace(adt("A01", 0, "I", "INP"), certifications=(certified(code),)),
            adt("A03", 90, "I", "INP"),
        )
        planned = states(reviews(stay_of(*events, hours=95), frozenset({"ADMISSION-1"})))
        assert planned.get("RETROSPECTIVE-2") == found


def test_a_visit_that_its_sender_deletes_has_nothing_open() -> None:
    events = (*INPATIENT, adt("A16", 50, "I", "INP"), adt("A23", 60, "I", "INP"))
    stay = stay_of(*events, hours=61)
    assert (stay.lifecycle, stay.status) == ("cancelled", None)
    assert stay.exceptions == ("DELETED_BY_SENDER", "NO_PATIENT_NUMBER")  # the order names no patient
    assert {state for state, _ in states(reviews(stay)).values()} == {"void"}


def test_an_order_for_observation_that_was_cancelled_is_gone_and_one_that_nobody_saw_is_not() -> None:
    seen = (adt("A04", 0, "E", "EDP"), adt("A08", 2, "O", "OBS"))
    ordered = orm("ADTOBS", 1)
    for events, is_gone in ((seen, False), ((*seen, ordered), False)):
        (first,) = reviews(stay_of(*events, hours=3))
        assert (first.type, first.is_unordered, first.is_order_gone) == (
            ReviewType.OBSERVATION,
            False,
            is_gone,
        )
    for events in ((*seen, ordered, orm("ADTOBS", 2.5, "CA")),):
        (first,) = reviews(stay_of(*events, hours=3))
        assert (first.type, first.is_unordered, first.is_order_gone) == (ReviewType.OBSERVATION, False, True)


def test_an_order_is_asked_for_whoever_pays_where_the_site_has_a_code_for_one() -> None:
    """Medicare's always (42 CFR 412.3(a)); of other payers where a feed could bring it (482.12(c)(2))."""
    registered, ordered = stay_of(INPATIENT[0], INPATIENT[2], hours=3), stay_of(*INPATIENT, hours=3)
    cancelled = stay_of(*INPATIENT, orm("ADTINPT", 2.5, "CA"), hours=3)
    watched = {code: each for code, each in SITE.status_orders.items() if each.status != Status.INPATIENT}
    for payer, is_medicare in (("MEDICARE_FFS", True), ("MEDICARE_ADVANTAGE", True), ("COMMERCIAL", False)):
        for stay, is_unordered in ((registered, True), (ordered, False), (cancelled, True)):
            (admission,) = reviews(replace(stay, payer_class=payer))
            assert admission.is_unordered is is_unordered, (payer, stay.exceptions)
            assert admission.is_order_gone is (stay is cancelled)
        without = replace(registered, payer_class=payer, site=replace(SITE, status_orders=watched))
        (admission,) = reviews(without)
        assert admission.is_unordered is is_medicare
