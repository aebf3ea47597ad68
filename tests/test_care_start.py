"""From when hospital care counts, and what silence says of a procedure and of an exception."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_case import ARRIVAL, SITE, START, at, obx, orm, oru, seen, yes_no
from test_procedures import pr1
from test_treatments import NOW

from umbridge.model import Event, Reading
from umbridge.settings.site import DEFAULT_SITE, parse_site
from umbridge.stay.care_start import FIRST, care_facts
from umbridge.stay.dictionary import dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.cut import Cut
from umbridge.stay.readings.window import readings
from umbridge.values.kinds import ReviewType

OPEN = parse_site(
    DEFAULT_SITE.read_text("utf-8").replace("closed_world = true", "closed_world = false").encode()
)
LAB, PULSE = "6690-2", "8867-4"


def start(*events: Event, hours: float = 30) -> tuple[float, str] | None:
    """Hours from arrival to the start of care, and what shows it."""
    found = seen(*events, hours=hours, review=NOW).get("care_start")
    if found is None:
        return None
    began = datetime.fromisoformat(str(found.latest.value))
    return (began - START).total_seconds() / 3600, found.latest.source


def told(*events: Event) -> float | None:
    found = start(*events)
    return None if found is None else found[0]


def test_neither_registration_nor_the_vital_signs_of_triage_are_care() -> None:
    assert told() is None
    assert told(oru(obx(PULSE, "96", 0.2, "/min"), obx("59408-5", "95", 0.2, "%"))) is None


@pytest.mark.parametrize(
    "events",
    [
        [oru(obx(LAB, "9", 2, "10*3/uL"))],
        [oru(yes_no("UMB-STEMI", "N", 2))],
        [orm("RXCEFTRIV", 2)],
        [orm("ADTOBS", 2)],
        [orm("ADTINPT", 2)],
        [oru(yes_no("UMB-VENT", "Y", 2))],
        [oru(obx(LAB, "9", 5, "10*3/uL")), orm("RXCEFTRIV", 2)],
        [oru(obx(LAB, "9", 2, "10*3/uL")), orm("RXCEFTRIV", 5), orm("ADTINPT", 9, placer="P2")],
    ],
    ids=lambda events: " ".join(each.trigger for each in events),
)
def test_care_begins_with_the_first_test_treatment_or_order(events: list[Event]) -> None:
    triage = oru(obx(PULSE, "96", 0.2, "/min"))
    for its in ([triage, *events], [*reversed(events), triage]):
        found = start(*its)
        assert found is not None
        assert (found[0], found[1].endswith(FIRST)) == (2, True)


def test_what_somebody_said_goes_before() -> None:
    said = oru(obx("UMB-CARESTART", at(1.5).astimezone(SITE.zone).strftime("%Y%m%d%H%M%S"), 3, kind="TS"))
    assert start(oru(obx(LAB, "9", 1, "10*3/uL")), said) == (1.5, "ZZ UMB-CARESTART@3")


@pytest.mark.parametrize(
    "nothing",
    [
        oru(obx(LAB, "9", -1, "10*3/uL")),  # of before the patient came
        oru(obx(LAB, "9", 31, "10*3/uL")),  # not yet
        oru(obx(LAB, "", 2, status="X")),  # no specimen
        oru(yes_no("UMB-VENT", "N", 2)),
        orm("RXCEFTRIV", 40),
        oru(obx("38483-4", "1.0", 2, "mg/dL")),  # no fact
        replace(
            oru(obx(LAB, "9", 2, "10*3/uL")),
            patient=replace(oru().patient, identifiers=(("99", "UMBH", "MR"),)),
        ),
    ],
)
def test_what_is_not_done_here_and_by_then_is_no_care(nothing: Event) -> None:
    assert told(nothing) is None


def test_an_order_cancelled_before_it_began_began_nothing() -> None:
    placed, gone = orm("RXCEFTRIV", 8), orm("RXCEFTRIV", 2, control="CA")
    assert told(placed) == 8
    assert told(placed, gone) is None


@given(st.permutations(range(4)), st.lists(st.integers(0, 28), min_size=4, max_size=4))
@settings(max_examples=30, deadline=None)
def test_it_is_the_earliest_in_any_order_of_receipt(order: list[int], hours: list[int]) -> None:
    a, b, c, d = hours
    events = [
        oru(obx(LAB, "9", a, "10*3/uL")),
        oru(obx("2160-0", "1.1", b, "mg/dL", report="Rb")),
        orm("RXCEFTRIV", c),
        orm("ADTOBS", d, placer="P2"),
    ]
    assert told(*(events[n] for n in order)) == min(hours)


def test_a_past_moment_goes_by_what_had_been_told() -> None:
    """A result that came too late for a first look moves its start of care no more than its facts."""
    fold = StayFold(SITE)
    late = replace(oru(obx(LAB, "9", 1, "10*3/uL")), sent_at=at(20))
    for seq, each in enumerate([ARRIVAL, replace(orm("ADTINPT", 4), sent_at=at(4)), late]):
        fold.apply(each, seq)
    cut = Cut(ReviewType.ADMISSION, told_by=int(at(8).timestamp()), from_arrival=True)
    found = readings(fold, at(4), review=cut, wanted={"care_start"}, stay=fold.stay(at(30)))
    assert found["care_start"].latest.value == at(4).astimezone(SITE.zone).isoformat()


def test_the_facts_that_show_care_are_tests_and_treatments() -> None:
    groups = {dictionary()[fact].group for fact in care_facts()}
    assert groups == {"laboratory", "ecg", "treatment"}
    assert not [fact for fact in care_facts() if dictionary()[fact].may_predate]


# --- silence ---------------------------------------------------------------------------------------------

IPO, CBC = "inpatient_only_procedure", "case_by_case_documented"


def answer(fact: str, *events: Event, hours: float = 30) -> Reading | None:
    return seen(*events, hours=hours, review=NOW).get(fact)


def test_without_a_procedure_there_is_none_for_inpatients_only() -> None:
    found = answer(IPO)
    assert found is not None
    assert (found.latest.value, found.latest.source) == (False, "order:none, implied by procedure_24h")


@pytest.mark.parametrize(
    "event",
    [
        pr1(20),
        pr1(29 + 24 * 9),  # planned for next week
        orm("PRORTHO", 20),
        orm("PRORTHO", 30 + 24 * 3),
        oru(yes_no("UMB-OPPLAN", "Y", 20)),
        oru(obx("UMB-IPO", "", 20, kind="CWE", status="X")),  # asked, and no answer to be had
    ],
)
def test_a_procedure_that_stands_or_is_planned_leaves_it_open(event: Event) -> None:
    assert answer(IPO, event) is None


def test_a_procedure_that_is_cancelled_or_only_looks_closes_it_again() -> None:
    placed, gone = orm("PRORTHO", 60), orm("PRORTHO", 20, control="CA")
    assert answer(IPO, placed) is None
    for events in ((placed, gone), (pr1(20, kind="D"),), (oru(yes_no("UMB-OPPLAN", "N", 20)),)):
        found = answer(IPO, *events)
        assert found is not None
        assert found.latest.value is False


def test_where_the_feed_does_not_bring_every_order_silence_says_nothing() -> None:
    assert seen(hours=30, review=NOW, site=OPEN).get(IPO) is None


@pytest.mark.parametrize("value", ["Y", "N"])
def test_what_was_said_of_it_stands_as_it_was_said(value: str) -> None:
    found = answer(IPO, oru(yes_no("UMB-IPO", value, 20)))
    assert found is not None
    assert (found.latest.value, found.latest.source) == (value == "Y", "ZZ UMB-IPO@20")
    asked = answer(CBC, oru(yes_no("UMB-CBC", value, 20)), oru(yes_no("UMB-EXPDOC", "Y", 21)))
    assert asked is not None
    assert (asked.latest.value, asked.latest.source) == (value == "Y", "ZZ UMB-CBC@20")


@pytest.mark.parametrize("value", ["Y", "N"])
def test_who_was_asked_for_the_expectation_documented_no_exception(value: str) -> None:
    assert answer(CBC) is None
    found = answer(CBC, oru(yes_no("UMB-EXPDOC", value, 20)))
    assert found is not None
    assert found.latest.value is False
    assert found.latest.source == "ZZ UMB-EXPDOC@20, implied by expectation_documented"
    assert answer(CBC, oru(obx("UMB-EXPDOC", "", 20, kind="CWE", status="X"))) is None
