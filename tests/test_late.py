"""What was collected before the patient left and told afterwards: shown where it is critical, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_case import ARRIVAL, obx, oru
from test_closing import Ward, hosted
from test_moment import fold_of, told

from umbridge.model import Event
from umbridge.screening.host import Host
from umbridge.stay.results.late import LATE_CRITICAL_RESULT
from umbridge.stay.stay import Stay

TROPONIN = "67151-1"
LEFT = 12.0


def stay_of(*events: Event) -> Stay:
    return fold_of(*events).stay(max(event.sent_at for event in events))


def troponin(value: str, collected: float, hours: float, report: str = "R1", status: str = "F") -> Event:
    said = obx(TROPONIN, value, collected, "ng/L", report=report, status=status, reference="0-14")
    return told(oru(said), hours)


def gone(hours: float = LEFT) -> Event:
    return told(replace(ARRIVAL, trigger="A03"), hours)


@pytest.mark.parametrize(
    ("value", "collected", "reported", "is_shown"),
    [
        ("15", 11.9, 12.01, True),  # the limit is 14
        ("14", 11.9, 12.01, False),
        (">14", 11.9, 12.01, True),
        ("<15", 11.9, 12.01, False),  # it may be less
        ("310", 12, 17, True),
        ("310", 12.01, 17, False),  # collected afterwards: not of this stay's care
        ("310", 11.9, 12, False),  # known when they left
    ],
)
def test_a_troponin_that_rose_and_was_told_too_late(
    value: str, collected: float, reported: float, is_shown: bool
) -> None:
    events = (troponin("9", 1, 1.1, "R0"), gone(), troponin(value, collected, reported))
    for told_in in (events, events[::-1]):
        assert (LATE_CRITICAL_RESULT in stay_of(*told_in).exceptions) is is_shown


def test_only_where_none_was_raised_before() -> None:
    late = troponin("310", 11, 17)
    assert LATE_CRITICAL_RESULT not in stay_of(troponin("15", 1, 1.1, "R0"), gone(), late).exceptions
    assert LATE_CRITICAL_RESULT in stay_of(gone(), late).exceptions  # the first there is
    assert LATE_CRITICAL_RESULT not in stay_of(gone(), late, troponin("", 11, 18, status="W")).exceptions
    assert LATE_CRITICAL_RESULT not in stay_of(late).exceptions  # who is here has it in the next review
    corrected = troponin("310", 1, 17, "R0", "C")
    assert LATE_CRITICAL_RESULT in stay_of(troponin("9", 1, 1.1, "R0"), gone(), corrected).exceptions
    back = told(replace(ARRIVAL, trigger="A13"), 18)
    assert LATE_CRITICAL_RESULT not in stay_of(gone(), late, back).exceptions


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(5, 40),
            st.integers(1, 60),
            st.integers(0, 40),
            st.sampled_from("AB"),
            st.sampled_from("PFCD"),
        ),
        max_size=6,
    ),
    st.randoms(),
)
def test_in_any_order_of_arrival(rows: list[tuple[int, int, int, str, str]], shuffled: Random) -> None:
    events = [gone()] + [
        troponin(str(value), at / 4, (at + after) / 4 + n / 1000, report, status)
        for n, (value, at, after, report, status) in enumerate(rows)
    ]
    mixed = list(events)
    shuffled.shuffle(mixed)
    assert stay_of(*events).exceptions == stay_of(*mixed).exceptions


# --- by what plugins support --------------------------------------------------------------------------

LEVELS = """
from umbridge import Level
@hookimpl
def umbridge_screen(case):
    told = case.facts.get("heart_rate")
    pulse = 0 if told is None else told.high.value
    level = Level.CRITICAL if pulse >= 150 else Level.INTERMEDIATE if pulse >= 130 else Level.ACUTE
    return ScreenResult(Outcome.REFER, "cap", "2026.1", DIGEST, supported=level if pulse else Level.HOME)
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    yield from hosted(tmp_path_factory.mktemp("levels"), LEVELS)


def left(host: Host, known: int) -> Ward:
    ward = Ward(host)
    ward.arrive()
    ward.order(1)
    ward.pulse(known, 10, 10.1, "R0")
    ward.tell("ADT^A03", LEFT, "PV1|1|I|4W^310" + "|" * 15 + "INP|ZZV4^^^UMBH^VN")
    return ward


@pytest.mark.parametrize(
    ("known", "late", "is_shown"),
    [
        (90, 129, False),
        (90, 130, True),
        (129, 150, True),
        (130, 149, False),  # the level was known
        (130, 150, True),
        (150, 160, False),
    ],
)
def test_a_result_that_would_have_supported_more_than_a_ward(
    host: Host, known: int, late: int, is_shown: bool
) -> None:
    ward = left(host, known)
    before = dict(ward.book.task.said.reviews)
    done = ward.pulse(late, 11.5, 17)
    assert ward.exceptions() == ((LATE_CRITICAL_RESULT,) if is_shown else ())
    assert {each.review.partition("-")[0] for each in done.determined} <= {"RETROSPECTIVE"}
    assert {name: each.state for name, each in ward.book.task.said.reviews.items()} == {
        name: each.state for name, each in before.items()
    }


def test_it_goes_when_the_result_is_taken_back_or_the_patient_is_here_after_all(host: Host) -> None:
    ward = left(host, 90)
    ward.pulse(160, 11.5, 17)
    ward.hush(20)
    assert ward.exceptions() == (LATE_CRITICAL_RESULT,)
    ward.pulse(160, 11.5, 18, status="D")
    assert ward.exceptions() == ()
    ward.pulse(160, 11.7, 19, "R2")
    assert ward.exceptions() == (LATE_CRITICAL_RESULT,)
    ward.tell("ADT^A13", 21, "PV1|1|I|4W^310" + "|" * 15 + "INP|ZZV4^^^UMBH^VN")
    assert ward.exceptions() == ()


def test_what_was_collected_afterwards_or_told_in_time_is_not_asked_about(host: Host) -> None:
    ward = left(host, 90)
    ward.pulse(160, 12.5, 17)
    assert ward.exceptions() == ()
    ward = left(host, 160)
    ward.tell("ADT^A08", 13, "PV1|1|I|4W^310" + "|" * 15 + "INP|ZZV4^^^UMBH^VN")
    assert ward.exceptions() == ()
