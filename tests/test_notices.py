"""Notices that are owed: by which payers, when they fall due, and that a missed one stays missed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fold import ED, MEDICARE, OBS, SITE, WARD, adt, at, folded

from umbridge.model import Coverage, Event
from umbridge.stay.clock import HOUR, end_of_day, instant, moment, start_of_day
from umbridge.stay.course.clocks import Ground
from umbridge.stay.course.notices import Given, notices
from umbridge.stay.course.state import Span
from umbridge.stay.fold import Stay, StayFold
from umbridge.stay.payers import payers_of
from umbridge.values.kinds import Lifecycle, Status

ZONE = SITE.zone
MINUTE = timedelta(minutes=1)


def when(*local: int) -> datetime:
    return datetime(*local, tzinfo=ZONE)  # type: ignore[misc, arg-type]


MA = (Coverage(1, "ZZMAHMO", "MA"),)
PPO = (Coverage(1, "ZZPPO", "COM"),)
SECONDARY = (*PPO, Coverage(2, "MCRAB", "MCR"))
LEFT = {"disposition": "01"}


def shown(stay: Stay) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(due, missed), each with its local wall clock."""
    due, missed = (
        [(each.type, f"{each.due:%m-%d %H:%M:%S}") for each in its]
        for its in (stay.notices_due, stay.notices_missed)
    )
    return due, missed


def stays(*events: Event, hours: float) -> Stay:
    return folded(*events).stay(at(hours))


# START is 2 March 10:00 in New York.
# --- who is owed any ---


@pytest.mark.parametrize(
    ("plan", "expected"),
    [("MCR", True), ("MA", True)]
    + [(plan, False) for plan in ("MCD", "COM", "SLF", "TRI", "VA", "WC", "AUT", "ZZ", "")],
)
def test_medicare_of_both_kinds_and_no_other_class(plan: str, expected: bool) -> None:
    stay = stays(adt("A01", 0, coverage=(Coverage(1, "ZZ", plan),), **WARD), hours=1)
    assert bool(stay.notices_due) is expected
    assert (stay.payer_class in ("MEDICARE_FFS", "MEDICARE_ADVANTAGE")) is expected


def test_the_new_classes_are_classes_of_their_own() -> None:
    found = {SITE.payer_class(plan, "") for plan in ("TRI", "VA", "WC", "AUT")}
    assert found == {"TRICARE", "VA", "WORKERS_COMP", "AUTO_LIABILITY"}


def test_medicare_that_pays_second_owes_its_notices_and_does_not_name_the_class() -> None:
    stay = stays(adt("A01", 0, coverage=SECONDARY, **WARD), hours=1)
    assert stay.payer_class == "COMMERCIAL"
    assert shown(stay) == ([("IMM", "03-04 23:59:59")], [])


@pytest.mark.parametrize(
    ("begins", "ends", "expected"),
    [
        ("", "20260301", False),  # ended the day before the patient came
        ("", "20260302", True),
        ("20260303", "", False),  # begins tomorrow
        ("20260302", "", True),
    ],
)
def test_a_second_cover_that_is_not_in_force_owes_nothing(begins: str, ends: str, expected: bool) -> None:
    medicare = Coverage(2, "MCRAB", "MCR", begins=begins, ends=ends)
    assert bool(stays(adt("A01", 0, coverage=(*PPO, medicare), **WARD), hours=1).notices_due) is expected


def test_the_plan_of_the_day_care_began_goes_on_paying_though_another_begins() -> None:
    old = Coverage(2, "ZZMAHMO", "MA", ends="20260303")
    new = Coverage(1, "MCRAB", "MCR", begins="20260304")
    for until in (2, 3, 4, 9):
        found = payers_of((new, old), date(2026, 3, 2), date(2026, 3, until), SITE)
        assert found.first == "MEDICARE_ADVANTAGE"
    late = payers_of((new,), date(2026, 3, 2), date(2026, 3, 4), SITE)
    assert late.first == "MEDICARE_FFS"  # none was in force on the day: the first that comes into force
    assert payers_of((new,), date(2026, 3, 2), date(2026, 3, 3), SITE) == ("UNKNOWN", ())


def test_a_cover_that_begins_after_the_discharge_is_none_of_the_stays() -> None:
    cover = (*PPO, Coverage(2, "MCRAB", "MCR", begins="20260305"))
    events = (adt("A01", 0, coverage=cover, **WARD), adt("A03", 5, **LEFT))
    assert stays(*events, hours=24 * 9).notices_missed == ()


# --- MOON ---


@pytest.mark.parametrize(
    ("hours", "due", "missed"),
    [
        (24 - 1 / 60, [], []),
        (24, [], []),  # 24 hours and no minute is not more than 24 hours
        (24 + 1 / 60, [("MOON", "03-03 22:00:00")], []),
        (36, [("MOON", "03-03 22:00:00")], []),
        (36 + 1 / 60, [], [("MOON", "03-03 22:00:00")]),
        (24 * 90, [], [("MOON", "03-03 22:00:00")]),
    ],
)
@pytest.mark.parametrize("cover", [MEDICARE, MA, SECONDARY])
def test_observation_to_the_minute(
    cover: tuple[Coverage, ...], hours: float, due: list[Any], missed: list[Any]
) -> None:
    assert shown(stays(adt("A04", 0, coverage=cover, **OBS), hours=hours)) == (due, missed)


@pytest.mark.parametrize(
    ("left", "missed"),
    [
        (24, []),
        (24 + 1 / 60, [("MOON", "03-03 10:01:00")]),  # the discharge, as it came sooner than 36 hours
        (36 + 1 / 60, [("MOON", "03-03 22:00:00")]),
        (40, [("MOON", "03-03 22:00:00")]),
    ],
)
def test_who_left_without_the_observation_notice(left: float, missed: list[Any]) -> None:
    events = (adt("A04", 0, coverage=MEDICARE, **OBS), adt("A03", left, **OBS, **LEFT))
    for later in (0, 1, 24 * 400):
        assert shown(stays(*events, hours=left + later)) == ([], missed)


def test_an_admission_ends_the_time_for_the_observation_notice_and_not_the_duty() -> None:
    events = (adt("A04", 0, coverage=MEDICARE, **OBS), adt("A06", 30, **WARD))
    assert shown(stays(*events, hours=31)) == ([("IMM", "03-05 23:59:59")], [("MOON", "03-03 16:00:00")])
    short = (adt("A04", 0, coverage=MEDICARE, **OBS), adt("A06", 24, **WARD))
    assert shown(stays(*short, hours=60)) == ([("IMM", "03-05 23:59:59")], [])


@pytest.mark.parametrize(
    ("start", "more", "due"),
    [  # hours pass alike when the clocks change
        (when(2026, 3, 7, 20, 0), when(2026, 3, 8, 21, 0), when(2026, 3, 9, 9, 0)),
        (when(2026, 10, 31, 20, 0), when(2026, 11, 1, 19, 0), when(2026, 11, 2, 7, 0)),
    ],
)
def test_hours_of_observation_when_the_clocks_change(start: datetime, more: datetime, due: datetime) -> None:
    began = replace(
        adt("A04", 0, coverage=MEDICARE, **OBS), sent_at=start, effective_at=start, control_id="ZZ-DST"
    )
    fold = folded(began)
    assert fold.stay(more).notices_due == ()
    (owed,) = fold.stay(more + MINUTE).notices_due
    assert owed.due == due


# --- IMM ---


@pytest.mark.parametrize(
    ("as_of", "due", "missed"),
    [
        (when(2026, 3, 2, 10, 0), 1, 0),
        (when(2026, 3, 4, 23, 59), 1, 0),
        (when(2026, 3, 5, 0, 0), 0, 1),
        (when(2027, 3, 5, 0, 0), 0, 1),
    ],
)
def test_the_inpatient_notice_until_the_second_days_end(as_of: datetime, due: int, missed: int) -> None:
    stay = folded(adt("A01", 0, coverage=MEDICARE, **WARD)).stay(as_of)
    assert (len(stay.notices_due), len(stay.notices_missed)) == (due, missed)
    assert {f"{each.due:%m-%d %H:%M:%S}" for each in (*stay.notices_due, *stay.notices_missed)} == {
        "03-04 23:59:59"
    }


@pytest.mark.parametrize("offset", [-1, 1])
def test_days_are_local_dates_on_both_sides_of_midnight(offset: int) -> None:
    """Admitted a minute before or after midnight: another date, another day to give it by."""
    start = datetime(2026, 3, 7, 0, 0, tzinfo=ZONE) + offset * MINUTE  # the clocks change on the 8th
    began = replace(adt("A01", 0, coverage=MEDICARE, **WARD), sent_at=start, effective_at=start)
    (owed,) = folded(began).stay(start + MINUTE).notices_due
    assert owed.due == datetime(2026, 3, 8 if offset < 0 else 9, 23, 59, 59, tzinfo=ZONE)


def test_who_left_in_time_without_the_inpatient_notice_has_missed_it() -> None:
    events = (adt("A01", 0, coverage=MEDICARE, **WARD), adt("A03", 20, **WARD, **LEFT))
    assert shown(stays(*events, hours=21)) == ([], [("IMM", "03-04 23:59:59")])


def test_a_cancelled_discharge_gives_the_time_back() -> None:
    events = (
        adt("A01", 0, coverage=MEDICARE, **WARD),
        adt("A03", 20, **WARD, **LEFT),
        adt("A13", 21, **WARD),
    )
    assert shown(stays(*events, hours=22)) == ([("IMM", "03-04 23:59:59")], [])


def test_who_is_made_an_outpatient_in_time_is_owed_none_and_what_was_missed_before_stays() -> None:
    admitted = adt("A01", 0, coverage=MEDICARE, **WARD)
    assert shown(stays(admitted, adt("A07", 20, **OBS), hours=21)) == ([], [])
    late = stays(admitted, adt("A07", 70, **OBS), hours=71)
    assert shown(late) == ([], [("IMM", "03-04 23:59:59")])


def test_a_cancelled_admission_owes_nothing() -> None:
    events = (adt("A01", 0, coverage=MEDICARE, **WARD), adt("A11", 80, **WARD))
    assert shown(stays(*events, hours=90)) == ([], [])


def test_what_was_missed_stays_when_the_same_visit_is_opened_again() -> None:
    events = (
        adt("A01", 0, coverage=MEDICARE, **WARD),
        adt("A03", 20, **WARD, **LEFT),
        adt("A01", 30, **WARD),
    )
    assert shown(stays(*events, hours=31)) == ([("IMM", "03-05 23:59:59")], [("IMM", "03-04 23:59:59")])


# --- the follow-up ---

ADMITTED = adt("A01", 0, coverage=MEDICARE, **WARD)


def expecting(local: datetime, hours: float, trigger: str = "A16", *days: str) -> Event:
    return adt(trigger, hours, expected_discharge=local, days=days, **WARD)


def followed(stay: Stay) -> tuple[list[str], list[str]]:
    due, missed = shown(stay)
    return [at for kind, at in due if kind == "IMM_FOLLOWUP"], [
        at for kind, at in missed if kind == "IMM_FOLLOWUP"
    ]


@pytest.mark.parametrize(
    ("expected", "due"),
    [
        (when(2026, 3, 4, 23, 59), []),  # two calendar days after the admission: the first one does
        (when(2026, 3, 5, 0, 1), ["03-04 20:01:00"]),
        (when(2026, 3, 5, 14, 0), ["03-05 10:00:00"]),
    ],
)
def test_it_is_owed_where_the_first_is_more_than_two_calendar_days_old(
    expected: datetime, due: list[str]
) -> None:
    assert followed(stays(ADMITTED, expecting(expected, 50), hours=51)) == (due, [])


@pytest.mark.parametrize(("minutes", "due"), [(0, True), (1, False)])
def test_it_falls_due_four_hours_before_the_patient_leaves(minutes: int, due: bool) -> None:
    fold = folded(ADMITTED, expecting(when(2026, 3, 5, 14, 0), 60))
    found = followed(fold.stay(datetime(2026, 3, 5, 10, minutes, tzinfo=ZONE)))
    assert found == ((["03-05 10:00:00"], []) if due else ([], ["03-05 10:00:00"]))


@pytest.mark.parametrize(
    ("as_of", "count"),
    [(when(2026, 3, 6, 23, 59), 0), (when(2026, 3, 7, 0, 0), 1)],
)
def test_an_expected_discharge_counts_from_two_calendar_days_before(as_of: datetime, count: int) -> None:
    """PV2-9 on 9 March, the day after the clocks change: from midnight of the 7th."""
    fold = folded(ADMITTED, expecting(when(2026, 3, 9, 11, 0), 1, "A08"))
    assert len(followed(fold.stay(as_of))[0]) == count


def test_without_an_hour_it_is_the_day_and_without_a_time_the_day_it_was_announced() -> None:
    day = expecting(when(2026, 3, 6), 70, "A16", "PV2-9")
    assert followed(stays(ADMITTED, day, hours=71))[0] == ["03-06 19:59:59"]
    assert followed(stays(ADMITTED, adt("A16", 80, **WARD), hours=81))[0] == ["03-05 19:59:59"]
    passed = expecting(when(2026, 3, 4, 9, 0), 1, "A08")  # said before, and overtaken by the announcement
    assert followed(stays(ADMITTED, passed, adt("A16", 80, **WARD), hours=81))[0] == ["03-05 19:59:59"]


def test_no_discharge_no_follow_up() -> None:
    cancelled = (ADMITTED, expecting(when(2026, 3, 5, 14, 0), 60), adt("A25", 70, **WARD))
    assert followed(stays(*cancelled[:2], hours=61))[0] == ["03-05 10:00:00"]
    stay = stays(*cancelled, adt("A08", 71, expected_discharge=at(24 * 30), **WARD), hours=90)
    assert followed(stay) == ([], [])


@pytest.mark.parametrize(
    ("left", "missed"),
    [
        (when(2026, 3, 4, 23, 0), []),
        (when(2026, 3, 5, 13, 0), ["03-05 09:00:00"]),  # sooner than expected
        (when(2026, 3, 5, 15, 0), ["03-05 10:00:00"]),  # later: four hours before the time that was told
    ],
)
def test_who_left_without_the_follow_up(left: datetime, missed: list[str]) -> None:
    hours = (left - at(0)) / timedelta(hours=1)
    events = (ADMITTED, expecting(when(2026, 3, 5, 14, 0), 20), adt("A03", hours, **WARD, **LEFT))
    for later in (0, 24 * 99):
        assert followed(stays(*events, hours=hours + later)) == ([], missed)


def test_a_discharge_that_nobody_announced_and_a_death() -> None:
    assert followed(stays(ADMITTED, adt("A03", 80, **WARD, **LEFT), hours=81))[1] == ["03-05 14:00:00"]
    died = stays(ADMITTED, adt("A03", 80, disposition="20", **WARD), hours=81)
    assert followed(died) == ([], [])


# --- deliveries ---


def ground(*spans: Span, now: int, **other: Any) -> Ground:
    plain: dict[str, Any] = {
        **{"zone": ZONE, "windows": SITE.windows, "lifecycle": Lifecycle.ACTIVE, "leaves": (), "left": None},
        **{"has_died": False, "pending": None, "expected": None, "care_start": None, "registered": None},
        **{"is_newborn": False, "is_in_unit": True, "has_medicare": True, "certifications": ()},
        **{"has_followed": True, "is_unordered": False},
        **{"has_come": True, "is_in_doubt": False, "is_unsaid": False, "is_unseen": False},
    }
    return Ground(now=now, spans=spans, **plain | other)


def span(status: Status, hours: float, end: float | None = None) -> Span:
    ends = None if end is None else instant(at(end))
    return Span(status.value, instant(at(hours)), ends, "ORDER", "ORC", None, "", (1, 0))


@pytest.mark.parametrize(("hours", "counts"), [(-1, False), (30, True), (36, True), (36.1, False)])
def test_only_a_delivery_in_time_settles_it(hours: float, counts: bool) -> None:
    found = notices(
        ground(span(Status.OBSERVATION, 0), now=instant(at(50))), [Given("MOON", instant(at(hours)))]
    )
    assert ([each.type for each in found.missed] == []) is counts


def test_the_follow_up_counts_from_the_delivery_of_the_first() -> None:
    patient = ground(span(Status.INPATIENT, 0), now=instant(at(60)), expected=instant(at(96)))
    assert [each.type for each in notices(patient).due] == ["IMM", "IMM_FOLLOWUP"]
    given_late = [Given("IMM", instant(at(50)))]  # on 4 March; the discharge is on the 6th
    assert notices(patient, given_late).due == ()
    early = [Given("IMM", instant(at(1)))]
    assert [each.type for each in notices(patient, early).due] == ["IMM_FOLLOWUP"]


# --- properties ---

TOLD: list[Event] = [
    adt("A04", 0, coverage=MEDICARE, **ED),
    adt("A08", 2, **OBS),
    adt("A06", 31, **WARD),
    adt("A08", 40, expected_discharge=at(100), **WARD),
    adt("A16", 90, **WARD),
    adt("A03", 101, **WARD, **LEFT),
]


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(range(len(TOLD))), max_size=4))
def test_any_order_of_arrival_and_any_repeat_owe_the_same(order: random.Random, again: list[int]) -> None:
    numbered = list(enumerate(TOLD, 1))
    expected = StayFold.refold(SITE, numbered).stay(at(200))
    shuffled = numbered + [numbered[n] for n in again]
    order.shuffle(shuffled)
    fold = StayFold(SITE)
    seen: set[int] = set()
    for seq, event in shuffled:
        if seq not in seen:
            fold.apply(event, seq)
        seen.add(seq)
    found = fold.stay(at(200))
    assert shown(found) == shown(expected)
    assert found.exceptions == expected.exceptions
    assert [kind for kind, _ in shown(expected)[1]] == ["MOON", "IMM", "IMM_FOLLOWUP"]


spans = st.lists(st.floats(1, 120), min_size=1, max_size=4)


def _course(lengths: Iterable[float], ends: bool) -> tuple[Span, ...]:
    made, begins = [], 0.0
    for place, length in enumerate(lengths):
        status = Status.OBSERVATION if place % 2 else Status.INPATIENT
        made.append(span(status, begins, begins + length))
        begins += length
    if not ends:
        made[-1] = made[-1]._replace(end=None)
    return tuple(made)


@settings(max_examples=200, deadline=None)
@given(spans, st.booleans(), st.floats(0, 400), st.floats(0, 400), st.one_of(st.none(), st.floats(0, 300)))
def test_what_is_missed_stays_missed_as_time_passes_and_turns_are_told(
    lengths: list[float], has_left: bool, first: float, later: float, expected: float | None
) -> None:
    course = _course(lengths, has_left)
    begun = max(each.start for each in course)
    known = {
        "left": course[-1].end,
        "lifecycle": Lifecycle.DISCHARGED if has_left else Lifecycle.ACTIVE,
        "expected": None if expected is None else instant(at(expected)),
    }
    now = max(begun, known["left"] or 0) + int(first * HOUR)
    before = notices(ground(*course, now=now, **known))
    after = notices(ground(*course, now=now + int(later * HOUR), **known))
    assert set(before.missed) <= set(after.missed)
    turn = min((at for at in before.turns), default=None)
    if turn is None or turn > now + int(later * HOUR):
        assert (before.due, before.missed) == (after.due, after.missed)
    else:
        assert turn > now
        there, just = (notices(ground(*course, now=at, **known)) for at in (turn, turn - 1))
        assert (just.due, just.missed) == (before.due, before.missed) != (there.due, there.missed)


def test_a_day_ends_a_second_before_the_next() -> None:
    assert end_of_day(date(2026, 3, 8), ZONE) + 1_000_000 == start_of_day(date(2026, 3, 9), ZONE)
    assert moment(0, ZONE) == datetime(1970, 1, 1, tzinfo=UTC)
