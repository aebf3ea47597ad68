"""Who is asked first, what the second wave is told, and whose answer lets a review close."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbridge.criteria.grounds import AGE_ONLY, NO_MEASURED_FACT, SEEN, SEEN_ONLY, SUPPORTED_BY
from umbridge.model import Case, Reading, Sample, ScreenResult
from umbridge.review.closing import STATUS_ORDER_CANCELLED
from umbridge.review.record import verdict
from umbridge.review.waves import (
    ADVISED_HIGHER,
    CEILING,
    LEVEL_SUPPORTED,
    NO_ORDER,
    Verdict,
    holds,
    level_supported,
    settled,
    told_of_a_correction,
    told_of_a_delay,
    told_of_a_measurement,
    told_of_the_order,
    waits_for,
    waves,
)
from umbridge.values.kinds import Level, Outcome, ReviewType, Status

AT = datetime(2026, 3, 3, 10, 5, tzinfo=UTC)
MEETS, HIGHER, REFER, PEND, NONE = (
    *(Outcome.MEETS, Outcome.MEETS_ADVISE_HIGHER, Outcome.REFER, Outcome.PEND),
    Outcome.NOT_APPLICABLE,
)


KEPT = "ZZ_KEPT"


def said(outcome: Outcome, supported: Level | None, ceiling: str = "") -> ScreenResult:
    return ScreenResult(outcome, supported=supported, scores={CEILING: ceiling} if ceiling else {})


def test_a_plugin_that_wants_the_others_results_is_asked_last() -> None:
    wanted = {"zz_a": ("age",), "zz_b": (LEVEL_SUPPORTED, "age"), "zz_c": (), "zz_d": [LEVEL_SUPPORTED]}
    assert waves(wanted) == (("zz_a", "zz_c"), ("zz_b", "zz_d"))
    assert waves({}) == ((), ())


@given(st.dictionaries(st.text(max_size=4), st.sets(st.sampled_from(["age", "sbp", LEVEL_SUPPORTED]))))
def test_each_plugin_is_asked_exactly_once(wanted: dict[str, set[str]]) -> None:
    first, second = waves(wanted)
    assert sorted(first + second) == sorted(wanted)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], None),
        ([said(NONE, None)], None),  # nobody judged: not the same as "nothing is supported"
        ([said(PEND, None)], None),  # failed, or never said
        ([said(PEND, Level.HOME)], None),  # it may yet support more
        ([said(PEND, Level.OBS)], "OBS"),  # least level: more facts cannot take it away
        ([said(REFER, Level.HOME)], "HOME"),
        ([said(REFER, Level.HOME, "OBS")], None),  # decided, but a lower level than asked is still open
        ([said(REFER, Level.HOME, "HOME")], "HOME"),
        ([said(PEND, Level.HOME, "HOME")], "HOME"),  # undecided about something else
        ([said(REFER, Level.HOME), said(NONE, None)], "HOME"),
        ([said(REFER, Level.HOME), said(PEND, Level.HOME)], None),
        ([said(REFER, Level.HOME), said(PEND, None)], None),
        ([said(REFER, Level.OBS), said(REFER, Level.HOME)], "OBS"),
        ([said(MEETS, Level.ACUTE), said(PEND, None)], "ACUTE"),
        ([said(HIGHER, Level.CRITICAL), said(REFER, Level.OBS)], "CRITICAL"),
        ([said(MEETS, None)], None),  # a plugin that judges no level of care
    ],
)
def test_what_the_second_wave_is_told(answers: list[ScreenResult], expected: str | None) -> None:
    found = level_supported({f"zz_{i}": each for i, each in enumerate(answers)}, AT)
    assert (None if found is None else found.latest.value) == expected


def test_the_fact_says_which_plugin_supports_what() -> None:
    found = level_supported({"zz_b": said(MEETS, Level.ACUTE), "zz_a": said(REFER, Level.OBS)}, AT)
    assert found is not None
    assert [(sample.source, sample.value) for sample in found.series] == [
        ("plugin:zz_a", "OBS"),
        ("plugin:zz_b", "ACUTE"),
    ]
    assert (found.latest.source, found.low.source) == ("plugin:zz_b", "plugin:zz_a")
    assert found.high is found.latest


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(MEETS, Level.ACUTE, (AGE_ONLY,))], None),  # need of hospital care is a finding, no birthday
        ([(MEETS, Level.ACUTE, (NO_MEASURED_FACT,))], None),
        ([(MEETS, Level.ACUTE, (KEPT,))], "ACUTE"),  # a plugin's own reason takes no level away
        ([(MEETS, Level.ACUTE, (AGE_ONLY,)), (REFER, Level.OBS, ())], "OBS"),
        ([(REFER, Level.OBS, (AGE_ONLY,)), (REFER, Level.HOME, ())], None),  # and it may be more than home
        ([(REFER, Level.HOME, (KEPT,)), (REFER, Level.HOME, ())], "HOME"),
    ],
)
def test_an_answer_without_a_measurement_supports_nothing(
    answers: list[tuple[Outcome, Level, tuple[str, ...]]], expected: str | None
) -> None:
    given = {f"zz_{i}": replace(said(o, level), hold=hold) for i, (o, level, hold) in enumerate(answers)}
    found = level_supported(given, AT)
    assert (None if found is None else found.latest.value) == expected


def test_a_level_that_rests_on_what_was_seen_says_so_to_the_second_wave() -> None:
    seen = ScreenResult(REFER, supported=Level.OBS, scores={SUPPORTED_BY: SEEN})
    found = level_supported({"zz_a": seen, "zz_b": said(REFER, Level.HOME)}, AT)
    assert found is not None
    assert (found.latest.value, found.latest.source) == ("OBS", f"plugin:zz_a{SEEN_ONLY}")
    found = level_supported({"zz_a": said(REFER, Level.OBS), "zz_b": seen}, AT)
    assert found is not None
    assert found.latest.source == "plugin:zz_a"  # the one that a measurement is behind is named


def told(*facts: str) -> Case:
    sample = Sample(True, AT, "ZZ1 OBX[1]-5")
    readings = {fact: Reading(fact, sample, sample, sample, (sample,)) for fact in facts}
    asked = (ReviewType.ADMISSION, Status.INPATIENT, Level.ACUTE)
    return Case("zz", *asked, AT, 1, ("J18.9",), "COMMERCIAL", None, False, readings)


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("level", [None, Level.HOME, Level.OBS, Level.ACUTE])
def test_a_plugin_that_was_told_of_no_measurement_closes_nothing(
    outcome: Outcome, level: Level | None
) -> None:
    """Also one with code of its own, which puts its answers through nothing of ours."""
    plain = said(outcome, level)
    for facts in ((), ("age", "vasopressor", "worsened_congestion")):
        found = told_of_a_measurement(plain, told(*facts))
        assert not settled([verdict(found, 1)])
        if outcome is not NONE and level:
            assert level_supported({"zz": found}, AT) is None
    assert told_of_a_measurement(plain, told("age", "sbp")) is plain
    by_age = replace(plain, hold=(AGE_ONLY,))
    assert told_of_a_measurement(by_age, told()) is by_age  # the reason is given already


ANSWERS = [
    *(said(PEND, level) for level in (None, Level.HOME, Level.OBS, Level.ACUTE)),
    *(said(REFER, level) for level in (Level.HOME, Level.OBS)),
    *(said(NONE, None), said(MEETS, Level.ACUTE)),
]


def test_settling_an_open_answer_never_takes_a_known_level_back() -> None:
    """Every pair of answers, and every way in which an undecided one may be settled later."""
    later = {
        index: [other for other in ANSWERS if other.outcome is not NONE and other.outcome is not PEND]
        for index, each in enumerate(ANSWERS)
        if each.outcome is PEND
    }
    for (i, one), two in product(enumerate(ANSWERS), ANSWERS):
        before = level_supported({"zz_1": one, "zz_2": two}, AT)
        if before is None or i not in later:
            continue
        for settled_one in later[i]:
            if (settled_one.supported or Level.HOME) < (one.supported or Level.HOME):
                continue  # a plugin's own least level does not sink either
            after = level_supported({"zz_1": settled_one, "zz_2": two}, AT)
            if after is not None:
                assert Level[str(after.latest.value)] >= Level[str(before.latest.value)]


@pytest.mark.parametrize(
    ("entries", "closes"),
    [
        ([], False),
        ([(None, 1)], False),
        ([(True, 1), (None, 1), (None, 2)], True),
        ([(True, 1), (False, 1)], False),
        ([(True, 1), (False, 2)], False),  # the payer's own rule goes first, both ways
        ([(False, 1), (True, 2)], True),
        ([(False, 1), (True, 2), (False, 2)], False),
    ],
)
def test_the_later_wave_goes_first(entries: list[tuple[bool | None, int]], closes: bool) -> None:
    assert settled([Verdict(met, wave) for met, wave in entries]) is closes


@given(
    st.lists(
        st.builds(
            Verdict,
            st.none() | st.booleans(),
            st.sampled_from([1, 2]),
            st.sampled_from([(), (KEPT,), (ADVISED_HIGHER, KEPT), (AGE_ONLY,), (AGE_ONLY, KEPT)]),
        ),
        max_size=4,
    )
)
def test_what_a_person_has_to_see_keeps_a_review_open_in_any_wave(entries: list[Verdict]) -> None:
    """But for what the first wave's answers rest on: the second is not told of such, and decides."""
    judged = [each for each in entries if each.met is not None]
    deciding = [each for each in judged if each.wave == max(other.wave for other in judged)]
    seen = all(set(each.hold) <= {AGE_ONLY} for each in judged)
    assert settled(entries) is (
        bool(judged) and seen and all(each.met and not each.hold for each in deciding)
    )
    waits = waits_for(entries)
    assert bool(waits) is (not seen or any(each.hold for each in deciding))
    assert KEPT not in waits  # what a vendor calls its reason may tell of the patient
    assert ("PLUGIN" in waits) is any(KEPT in each.hold for each in judged)
    assert (ADVISED_HIGHER in waits) is any(ADVISED_HIGHER in each.hold for each in judged)
    assert (AGE_ONLY in waits) is any(AGE_ONLY in each.hold for each in deciding)


def test_a_higher_level_that_is_advised_is_not_settled_by_the_status() -> None:
    """In shock on a ward, of Medicare's: two midnights are expected, and intensive care is needed."""
    assert not settled([Verdict(False, 1, (ADVISED_HIGHER,)), Verdict(True, 2)])
    assert settled([Verdict(True, 1, (AGE_ONLY,)), Verdict(True, 2)])


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_plugin_may_add_reasons_and_take_none_away(outcome: Outcome) -> None:
    own = (ADVISED_HIGHER,) if outcome is HIGHER else ()
    assert holds(ScreenResult(outcome)) == own
    assert holds(ScreenResult(outcome, hold=(KEPT,))) == (KEPT, *own)
    assert holds(ScreenResult(outcome, hold=(ADVISED_HIGHER, KEPT))) == (ADVISED_HIGHER, KEPT)


@pytest.mark.parametrize("review", list(ReviewType))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_where_the_order_was_cancelled_nothing_closes_whoever_pays(
    review: ReviewType, outcome: Outcome
) -> None:
    plain = ScreenResult(outcome, supported=Level.ACUTE)
    held = told_of_the_order(plain, review, is_unordered=True)
    is_held = outcome in (MEETS, Outcome.MEETS_ADVISE_HIGHER) and review is not ReviewType.DISCHARGE
    assert held.hold == ((NO_ORDER,) if is_held else ())
    assert told_of_the_order(held, review, is_unordered=True) is held
    assert told_of_the_order(plain, review, is_unordered=False) is plain
    assert told_of_the_order(plain, review, is_unordered=True, is_order_gone=True) == held
    watched = told_of_the_order(plain, review, is_unordered=False, is_order_gone=True)
    assert watched.hold == ((STATUS_ORDER_CANCELLED,) if is_held else ())


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("now", [Decimal("6.9"), None])
def test_a_correction_names_both_values_whatever_the_answer_goes_by(
    outcome: Outcome, now: Decimal | None
) -> None:
    facts = {}
    if now is not None:
        sample = Sample(now, AT, "ZZ1 OBX[1]-5", "mmol/L")
        facts = {"potassium": Reading("potassium", sample, sample, sample, (sample,))}
    plain = (ReviewType.ADMISSION, Status.INPATIENT, Level.ACUTE, AT, 1, ("J18.9",), "COMMERCIAL")
    question = Case("zz", *plain, None, False, facts, corrected={"potassium": "4.6 mmol/L"})
    said = ScreenResult(outcome, supported=Level.ACUTE, rationale="So it is.")
    found = told_of_a_correction(said, question)
    if outcome is NONE:
        assert found is said
        return
    both = f"potassium 4.6 mmol/L, now {'none' if now is None else '6.9 mmol/L'}."
    assert found.rationale == f"So it is. Known at the moment, and corrected since: {both}"
    assert found.hold == (("FACT_CORRECTED",) if outcome in (MEETS, HIGHER) else ())
    assert told_of_a_correction(said, replace(question, corrected={})) is said


@pytest.mark.parametrize("review", [ReviewType.ADMISSION, ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE])
@pytest.mark.parametrize("barrier", ["RESULT", "PROCEDURE", "SNF_BED", None])
@pytest.mark.parametrize("outcome", [MEETS, REFER])
def test_a_day_that_meets_and_waits_for_care_is_a_candidate_for_a_delay(
    review: ReviewType, barrier: str | None, outcome: Outcome
) -> None:
    plain = ScreenResult(outcome, supported=Level.ACUTE, rationale="So it is.", scores={"curb65": 3})
    sample = Sample(barrier or "", AT, "ZZ1 OBX[1]-5")
    facts = {"discharge_barrier": Reading("discharge_barrier", sample, sample, sample, (sample,))}
    question = Case(
        "zz", review, Status.INPATIENT, Level.ACUTE, AT, 3, ("J18.9",), "COMMERCIAL", None, False, facts
    )
    if barrier is None:
        question = replace(question, facts={})
    found = told_of_a_delay(plain, question)
    is_one = review is ReviewType.CONTINUED_STAY and outcome is MEETS and barrier in ("RESULT", "PROCEDURE")
    assert found.scores == {"curb65": 3} | ({"delay": barrier} if is_one else {})
    assert ("Candidate for a delay, not for an avoidable day" in found.rationale) is is_one
    assert (found.avoidable_day, found.outcome) == (None, outcome)
