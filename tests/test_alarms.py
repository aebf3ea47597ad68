"""Exceptions that a clock or a payer raises, a minute on each side of where they begin."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fold import ED, MEDICARE, OBS, OTHER, SHARED, SITE, WARD, adt, at, folded

from umbridge.dryrun import screen
from umbridge.model import Certification, Coded, Coverage, Event, Observation, Order
from umbridge.review.plan import next_deadline
from umbridge.settings.site import load_site, parse_site
from umbridge.stay.fold import Stay, StayFold
from umbridge.stay.together import side_by_side

ZONE = SITE.zone
MINUTE = timedelta(minutes=1)
SECONDARY = (Coverage(1, "ZZPPO", "COM"), Coverage(2, "MCRAB", "MCR"))
OTHERS = (Coverage(1, "ZZPPO", "COM"),)
HOME = {"disposition": "01"}


def when(*local: int) -> datetime:
    return datetime(*local, tzinfo=ZONE)  # type: ignore[misc, arg-type]


def began(at: datetime, cover: tuple[Coverage, ...] = MEDICARE, **visit: Any) -> Event:
    return replace(adt("A04", 0, coverage=cover, admitted_at=at, **visit), sent_at=at, effective_at=at)


def care(start: datetime, sent: datetime) -> Event:
    value = start.strftime("%Y%m%d%H%M%S")
    seen = Observation(
        "TS", Coded("UMB-CARESTART", "", "99UMB"), Coded(), value, "", "", "F", start, "R1", "ZZ OBX[1]-5"
    )
    plain = adt("A08", 0)
    return replace(
        plain, message_type="ORU", trigger="R01", control_id="ZZ-CARE", sent_at=sent, observations=(seen,)
    )


# --- the second midnight ---


@pytest.mark.parametrize(
    ("day", "second"),
    [
        (when(2026, 6, 1, 20, 0), when(2026, 6, 3, 0, 0)),
        (when(2026, 6, 1, 23, 59), when(2026, 6, 3, 0, 0)),
        (when(2026, 6, 2, 0, 0), when(2026, 6, 4, 0, 0)),
        (when(2026, 3, 7, 20, 0), when(2026, 3, 9, 0, 0)),  # over the day of 23 hours
        (when(2026, 10, 31, 20, 0), when(2026, 11, 2, 0, 0)),  # and that of 25
    ],
)
@pytest.mark.parametrize("visit", [ED, OBS, {**OBS, "patient_type": "OUT"}])
@pytest.mark.parametrize("cover", [MEDICARE, SECONDARY])
def test_the_second_midnight_to_the_minute(
    day: datetime, second: datetime, visit: dict[str, Any], cover: tuple[Coverage, ...]
) -> None:
    fold = folded(began(day, cover, **visit))
    near = second - timedelta(hours=2)

    def said(at: datetime) -> list[str]:
        return [each for each in fold.stay(at).exceptions if each.startswith("SECOND")]

    assert said(near - MINUTE) == []
    assert said(near) == said(second - MINUTE) == ["SECOND_MIDNIGHT_NEAR"]
    assert said(second) == said(second + timedelta(days=9)) == ["SECOND_MIDNIGHT_PASSED"]
    assert next_deadline(fold.stay(near - MINUTE)) == near
    passed = next_deadline(fold.stay(near))
    while passed is not None and passed < second:  # a notice of the observation may fall due before
        passed = next_deadline(fold.stay(passed))
    assert passed == second


def test_hours_before_it_are_the_sites() -> None:
    text = (
        Path(SITE.source).read_text("utf-8").replace("midnight_alarm_hours = 2", "midnight_alarm_hours = 6")
    )
    fold = StayFold(parse_site(text.encode()))
    fold.apply(began(when(2026, 6, 1, 20, 0), **ED), 1)
    assert fold.stay(when(2026, 6, 2, 17, 59)).exceptions == ()
    assert fold.stay(when(2026, 6, 2, 18, 0)).exceptions == ("SECOND_MIDNIGHT_NEAR",)


def test_care_begins_where_the_result_says_and_not_at_the_door() -> None:
    """Came before midnight, cared for after it: waiting is no care."""
    came, start = when(2026, 6, 1, 22, 0), when(2026, 6, 2, 0, 30)
    fold = folded(began(came, **ED), care(start, start + MINUTE))
    assert fold.stay(when(2026, 6, 3, 0, 0)).exceptions == ()
    assert fold.stay(when(2026, 6, 4, 0, 0)).exceptions == ("SECOND_MIDNIGHT_PASSED",)


def test_where_nobody_says_when_care_began_the_first_test_shows_it() -> None:
    """Came and had a pulse taken before midnight, blood drawn after it."""
    came, drawn = when(2026, 6, 1, 22, 0), when(2026, 6, 2, 0, 30)

    def seen(code: str, value: str, unit: str, at: datetime) -> Event:
        found = Observation(
            "NM", Coded(code, "", "LN"), Coded(), value, unit, "", "F", at, code, f"ZZ {code}"
        )
        return replace(care(at, at), control_id=f"ZZ-{code}", observations=(found,))

    triage, blood = seen("8867-4", "96", "/min", came), seen("6690-2", "9", "10*3/uL", drawn)
    assert folded(began(came, **ED), triage).stay(when(2026, 6, 3, 0, 0)).exceptions == (
        "SECOND_MIDNIGHT_PASSED",  # nothing but triage: by the arrival, too early and not too late
    )
    unseen = folded(began(came, **ED), triage).stay(when(2026, 6, 3, 0, 0)).detail()
    assert unseen["midnights_from"] is None
    fold = folded(began(came, **ED), triage, blood)
    stay = fold.stay(when(2026, 6, 3, 0, 0))
    assert stay.exceptions == ()
    assert stay.detail()["midnights_from"] == drawn.isoformat()
    assert stay.to_json((), None)["care_start"] == came.isoformat()
    assert fold.stay(when(2026, 6, 3, 22, 0)).exceptions == ("SECOND_MIDNIGHT_NEAR",)
    assert fold.stay(when(2026, 6, 4, 0, 0)).exceptions == ("SECOND_MIDNIGHT_PASSED",)


def test_without_a_start_of_care_the_patients_coming_counts() -> None:
    planned = adt("A05", -300, coverage=MEDICARE, patient_class="P", unit="CDU")
    fold = folded(planned, adt("A04", 0, **OBS))
    assert fold.stay(at(37)).exceptions == ("SECOND_MIDNIGHT_NEAR",)  # 3 March 23:00 in New York
    assert fold.stay(at(38)).exceptions == ("SECOND_MIDNIGHT_PASSED",)


@pytest.mark.parametrize(
    "last", [adt("A06", 20, **WARD), adt("A03", 30, **OBS, **HOME), adt("A11", 30, **OBS)]
)
def test_it_is_gone_when_the_patient_is_inpatient_or_gone(last: Event) -> None:
    fold = folded(adt("A04", 0, coverage=MEDICARE, **OBS), last)
    assert not [each for each in fold.stay(at(24 * 9)).exceptions if each.startswith("SECOND")]


@pytest.mark.parametrize(
    ("cover", "visit"),
    [
        (OTHERS, OBS),
        ((), OBS),
        ((Coverage(1, "ZZ", "TRI"),), OBS),
        (MEDICARE, {**OBS, "patient_type": "OUT", "unit": "CLINIC"}),  # a visit that nobody closed
        (MEDICARE, WARD),
    ],
)
def test_nobody_else_is_told_of_it(cover: tuple[Coverage, ...], visit: dict[str, Any]) -> None:
    fold = folded(adt("A04", 0, coverage=cover, **visit))
    assert not [each for each in fold.stay(at(24 * 9)).exceptions if each.startswith("SECOND")]


# --- the payer ---

PLAIN = Certification("A1", "", "Y", None, None, None, "", None, "", None, "", "", "", "ZZ IN3[1]")


def approval(first: int, last: int | None = None, days: int | None = None, **other: Any) -> Certification:
    end = None if last is None else when(2026, 3, last)
    begin = None if first == 0 else when(2026, 3, first)
    return PLAIN._replace(begin=begin, end=end, days=days, days_kind="AP", **other)


def admitted(*said: Certification, hours: float = 0) -> Event:
    return adt("A01", hours, certifications=said, **WARD)


def raised(stay: Stay) -> list[str]:
    return [each for each in stay.exceptions if each in ("AUTHORIZATION_GAP", "PAYER_NON_CONCURRENCE")]


@pytest.mark.parametrize(
    "said", [{"non_concurrence": "NC1"}, {"days_kind": "DE"}, {"days_kind": "DE", "required": "N"}]
)
@pytest.mark.parametrize("hours", [1, 60])
def test_a_denial_is_said_at_once(said: dict[str, Any], hours: float) -> None:
    events = [admitted(), adt("A08", hours, certifications=(PLAIN._replace(**said),), **WARD)]
    assert "PAYER_NON_CONCURRENCE" not in folded(events[0]).stay(at(hours)).exceptions
    assert "PAYER_NON_CONCURRENCE" in folded(*events).stay(at(hours)).exceptions
    gone = adt("A03", hours + 1, **WARD, **HOME)
    assert "PAYER_NON_CONCURRENCE" in folded(*events, gone).stay(at(hours + 2)).exceptions


def test_a_later_word_under_the_same_number_takes_it_back() -> None:
    denied = admitted(PLAIN._replace(days_kind="DE"))
    approved = adt("A08", 5, certifications=(approval(2, 9),), **WARD)
    assert raised(folded(denied, approved).stay(at(6))) == []


# Admitted on 2 March at 10:00 in New York.
@pytest.mark.parametrize(
    ("said", "first_gap"),
    [
        ((approval(2, 3),), 4),
        ((approval(2, days=2),), 4),
        ((approval(2, 3), approval(4, 5)._replace(number="A2")), 6),
        ((approval(2, 3), approval(3, 5)), 6),  # of one number, overlapping
        ((approval(2, 3), approval(5, 6)._replace(number="A2")), 4),
        ((approval(3, 9),), 2),
        ((approval(0, 3),), 4),  # from the beginning
        ((approval(2),), None),  # until the payer says otherwise
        ((PLAIN,), 2),
        ((PLAIN._replace(days_kind="PE"),), 2),
        ((PLAIN._replace(required=""),), 2),  # there is a certification
        ((PLAIN._replace(required="", number=""),), None),
        ((PLAIN._replace(required="N"),), None),
    ],
)
def test_the_first_day_without_approval_from_its_midnight(
    said: tuple[Certification, ...], first_gap: int | None
) -> None:
    fold = folded(admitted(*said))
    if first_gap is None:
        assert raised(fold.stay(at(24 * 99))) == []
        return
    midnight = when(2026, 3, first_gap, 0, 0)
    if first_gap > 2:
        assert raised(fold.stay(midnight - MINUTE)) == []
        stay, turns = fold.stay(at(1)), set[datetime]()
        while stay.next_turn is not None:
            turns.add(stay.next_turn)
            stay = fold.stay(stay.next_turn)
        assert midnight in turns
    assert raised(fold.stay(max(midnight, at(1)))) == ["AUTHORIZATION_GAP"]


def test_days_are_the_midnights_the_patient_was_here_for() -> None:
    """Neither the day of discharge nor the days on leave; a stay of one day is that day."""
    two = admitted(approval(2, 3))
    gone = [adt("A03", hours, **WARD, **HOME) for hours in (40, 48, 72)]  # 4 March 02:00, 10:00; 5 March
    assert [raised(folded(two, each).stay(at(99))) for each in gone] == [[], [], ["AUTHORIZATION_GAP"]]
    none = admitted(PLAIN)
    assert raised(folded(none, adt("A03", 5, **WARD, **HOME)).stay(at(99))) == ["AUTHORIZATION_GAP"]
    away = (two, adt("A21", 40, **WARD))
    assert raised(folded(*away).stay(at(24 * 20))) == []
    assert raised(folded(*away, adt("A22", 24 * 4, **WARD)).stay(at(24 * 4 + 1))) == ["AUTHORIZATION_GAP"]
    covered = (
        admitted(approval(2, 3), approval(6, 7)._replace(number="A2")),
        *away[1:],
        adt("A22", 96, **WARD),
    )
    assert raised(folded(*covered).stay(at(97))) == []


def test_only_inpatient_days_need_it() -> None:
    observed = adt("A04", 0, certifications=(PLAIN,), **OBS)
    assert raised(folded(observed).stay(at(50))) == []
    assert raised(folded(observed, adt("A06", 50, **WARD)).stay(at(51))) == ["AUTHORIZATION_GAP"]


def test_an_approval_of_thousands_of_years_costs_no_more_than_another() -> None:
    ages = PLAIN._replace(days_kind="AP", begin=when(1850, 1, 1), end=when(2199, 12, 31))
    assert raised(folded(admitted(ages)).stay(at(5))) == []
    absurd = PLAIN._replace(days_kind="AP", begin=when(2026, 3, 2), days=99_999)
    assert raised(folded(admitted(absurd)).stay(at(5))) == []


# --- orders ---


@pytest.mark.parametrize(("kind", "expected"), [("N", []), ("E", ["INPATIENT_ORDER_MISSING"]), (None, None)])
def test_a_newborn_has_no_order_of_its_own(kind: str | None, expected: list[str] | None) -> None:
    stay = folded(adt("A01", 0, admission_type=kind, **WARD)).stay(at(13))
    assert list(stay.exceptions) == (["INPATIENT_ORDER_MISSING"] if expected is None else expected)


@pytest.mark.parametrize(("minutes", "expected"), [(-1, ()), (0, ()), (1, ("INPATIENT_ORDER_MISSING",))])
def test_the_order_may_come_within_the_sites_hours(minutes: int, expected: tuple[str, ...]) -> None:
    fold = folded(adt("A01", 0, **WARD))
    assert fold.stay(at(12) + minutes * MINUTE).exceptions == expected
    deadline = next_deadline(fold.stay(at(5)))  # after the first look is judged for good
    assert deadline is not None
    assert at(12) < deadline < at(12) + MINUTE
    assert fold.stay(deadline).exceptions == ("INPATIENT_ORDER_MISSING",)


# --- what is told after the discharge ---


def order(code: str, hours: float, sent: float) -> Event:
    made = Order(
        "NW", f"P{hours}", "", "", Coded(code), at(hours), "", f"ZZ-{hours} ORC[1]", told_at=at(sent)
    )
    return replace(adt("A08", hours, sent), message_type="ORM", trigger="O01", orders=(made,))


def test_a_backdated_change_is_no_change_of_status_without_its_record() -> None:
    """The status change under condition code 44 is over with the discharge: its record is not missed."""
    events = (order("ADTINPT", 0, 0), adt("A01", 0, **WARD), adt("A03", 20, **WARD, **HOME))
    late = adt("A07", 19, sent=23, **OBS)
    stay = folded(*events, late).stay(at(24))
    assert (stay.status, stay.exceptions) == ("INPATIENT", ("STATUS_CHANGE_AFTER_DISCHARGE",))
    same = folded(*events, adt("A08", 19, sent=23, **WARD)).stay(at(24))
    assert same.exceptions == ()
    again = folded(*events, late, adt("A13", 22, **WARD)).stay(at(24))
    assert "STATUS_CHANGE_AFTER_DISCHARGE" not in again.exceptions


# --- properties ---

TOLD: list[Event] = [
    adt("A04", 0, coverage=MEDICARE, **ED),
    adt("A08", 2, **OBS),
    adt("A08", 41, certifications=(PLAIN._replace(days_kind="DE"),), **OBS),
    adt("A06", 42, certifications=(approval(3, 4),), **WARD),
    adt("A21", 70, **WARD),
    adt("A22", 100, **WARD),
]


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([30, 39, 41, 43, 69, 71, 101, 130]))
def test_any_order_of_arrival_raises_the_same(order: random.Random, hours: int) -> None:
    numbered = list(enumerate(TOLD, 1))
    expected = StayFold.refold(SITE, numbered).stay(at(hours))
    order.shuffle(numbered)
    fold = StayFold(SITE)
    for seq, event in numbered:
        fold.apply(event, seq)
        fold.stay(at(hours))
    assert (fold.stay(at(hours)).exceptions, fold.stay(at(hours)).next_turn) == (
        expected.exceptions,
        expected.next_turn,
    )


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(range(1, len(TOLD) + 1)), st.floats(0, 200), st.floats(0, 200))
def test_between_two_turns_nothing_changes(count: int, first: float, later: float) -> None:
    fold = folded(*TOLD[:count])
    start = 100 + first
    stay = fold.stay(at(start))
    turn = stay.next_turn
    until = at(start + later) if turn is None else min(at(start + later), turn - timedelta(microseconds=1))
    assert fold.stay(until).exceptions == stay.exceptions
    if turn is not None:
        there = fold.stay(turn)
        assert (there.exceptions, there.notices_due, there.notices_missed) != (
            stay.exceptions,
            stay.notices_due,
            stay.notices_missed,
        )


# --- vignettes ---


def of_case(name: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    expected = json.loads((SHARED / "cases" / name / "expected.json").read_text("utf-8"))
    site = SHARED / "site.toml"  # site-v2.toml differs in what these cases do not have
    run = screen.Shadow(load_site(site))
    for _, message in screen.read_files([str(SHARED / "cases" / name)]):
        run.take(message)
    return run.stays(datetime.fromisoformat(expected["as_of"])), expected


@pytest.mark.skipif(not SHARED.exists(), reason="../shared is not beside the repository")
@pytest.mark.parametrize("case", ["U54", "U55", "U56", "U57", "U58", "U59", "U60", "U61", "U62"])
def test_vignettes_of_stays(case: str) -> None:
    found, expected = of_case(case)
    by_visit = {stay["visit"]: stay for stay in found}
    assert set(by_visit) == {stay["visit"] for stay in expected["stays"]}
    for stay in expected["stays"]:
        assert {key: by_visit[stay["visit"]][key] for key in stay} == stay
    codes = sorted({code for stay in found for code in stay["exceptions"]})
    assert codes == expected.get("exceptions", codes)
    assert set(codes) >= set(expected.get("exceptions_include", ()))
    for key in ("notices_due", "notices_missed"):
        assert [each for stay in found for each in stay[key]] == expected.get(
            key, [each for stay in found for each in stay[key]]
        )
    missed = {each["type"] for stay in found for each in stay["notices_missed"]}
    assert missed >= set(expected.get("notices_missed_include", ()))


# --- beside other stays ---


def visit(number: str, *events: Event) -> list[Event]:
    return [
        replace(
            each,
            visit=replace(each.visit, number=number),
            patient=replace(each.patient, account=f"A{number}"),
        )
        for each in events
    ]


def two(first: list[Event], second: list[Event], hours: float = 200) -> list[list[str]]:
    """What each of two stays says for its being beside the other."""
    made = [folded(*each).stay(at(hours)) for each in (first, second)]
    return [
        [code for code in stay.exceptions if code == "SAME_DAY_READMISSION"] for stay in side_by_side(made)
    ]


ONCE = [order("ADTINPT", 0, 0), adt("A01", 0, **WARD)]


@pytest.mark.parametrize(
    ("back", "expected"),
    [  # discharged on 4 March at 10:00 in New York
        (48, ["SAME_DAY_READMISSION"]),
        (61 + 59 / 60, ["SAME_DAY_READMISSION"]),  # 23:59
        (62, []),  # midnight
        (47, []),  # the other had not ended: that is TWO_OPEN_STAYS while it lasts
    ],
)
def test_a_return_on_the_day_of_discharge(back: float, expected: list[str]) -> None:
    first = visit("V1", *ONCE, adt("A03", 48, **WARD, **HOME))
    again = visit("V2", adt("A01", back, **WARD))
    assert two(first, again) == [[], expected]
    assert two(again, first) == [expected, []]


def test_only_inpatient_care_of_the_same_person_and_hospital_is_returned_to() -> None:
    home = adt("A03", 48, **WARD, **HOME)
    again = visit("V2", adt("A01", 50, **WARD))
    assert (
        two(visit("V1", adt("A04", 0, **OBS), replace(home, visit=adt("A03", 48, **OBS).visit)), again)[1]
        == []
    )
    assert two(visit("V1", *ONCE, home), visit("V2", adt("A04", 50, **OBS)))[1] == []
    assert two(visit("V1", *ONCE, home, adt("A13", 49, **WARD)), again)[1] == []
    stranger = [replace(each, patient=replace(each.patient, identifiers=OTHER)) for each in again]
    assert two(visit("V1", *ONCE, home), stranger)[1] == []


def test_observation_that_becomes_inpatient_the_same_day_is_a_return_too() -> None:
    first = visit("V1", *ONCE, adt("A03", 48, **WARD, **HOME))
    assert two(first, visit("V2", adt("A04", 50, **OBS), adt("A06", 58, **WARD)))[1] == [
        "SAME_DAY_READMISSION"
    ]
    assert two(first, visit("V2", adt("A04", 50, **OBS), adt("A06", 63, **WARD)))[1] == []
