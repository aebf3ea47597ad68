"""42 CFR 412.3 put to the test: each basis both ways, each edition on its first day and its last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import umbridge_two_midnight as plugin
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge import (
    NO_MEASURED_FACT,
    SEEN_ONLY,
    Case,
    Level,
    Outcome,
    Reading,
    ReviewType,
    Sample,
    Status,
    Subset,
)

# The engine's own view of a tree, for the tests only: a plugin itself needs none of it.
from umbridge.criteria.sensitivity import always, idle_tests
from umbridge.stay.dictionary import dictionary

AT = datetime(2026, 3, 3, 15, 5, tzinfo=UTC)
Value = Decimal | bool | str
LEVELS = [level.name for level in Level]
OPTIONS: Mapping[str, list[Value]] = {
    "expectation_documented": [True, False],
    "midnights_from_care": [Decimal(n) for n in (0, 1, 2, 3)],
    "midnights_so_far": [Decimal(n) for n in (0, 1, 2, 3)],
    "midnights_expected": [Decimal(n) for n in (0, 1, 2, 3)],
    "unforeseen_departure": [True, False],
    "level_supported": list(LEVELS),
    "inpatient_only_procedure": [True, False],
    "case_by_case_documented": [True, False],
}
UNITS = {fact: "{count}" for fact in OPTIONS if fact.startswith("midnights")}
#: Benchmark met, nothing else.
BENCHMARK: Mapping[str, Value] = {
    "expectation_documented": True,
    "midnights_from_care": Decimal(2),
    "midnights_so_far": Decimal(0),
    "midnights_expected": Decimal(2),
    "unforeseen_departure": False,
    "level_supported": "OBS",
    "inpatient_only_procedure": False,
    "case_by_case_documented": False,
}
TIMES: Mapping[str, Value] = {
    "care_start": "2026-03-02T22:15:00-05:00",
    "expected_discharge": "2026-03-04T14:00:00-05:00",
}


def readings(values: Mapping[str, Value]) -> dict[str, Reading]:
    found = {}
    for fact, value in values.items():
        sample = Sample(value, AT, "ZZ1 OBX[1]-5", UNITS.get(fact, ""))
        found[fact] = Reading(fact, sample, sample, sample, (sample,))
    return found


def screen(
    values: Mapping[str, Value],
    *,
    payer: str = "MEDICARE_FFS",
    review: ReviewType = ReviewType.ADMISSION,
    status: Status = Status.INPATIENT,
    admitted: str | None = "2026-03-03T09:30:00-05:00",
    as_of: datetime = AT,
) -> plugin.ScreenResult:
    facts = readings({**TIMES, **values} | ({} if admitted is None else {"admission_start": admitted}))
    case = Case("zz", review, status, Level.ACUTE, as_of, 1, ("J18.9",), payer, None, False, facts)
    result = plugin.umbridge_screen(case)
    assert result.subset == "two_midnight"
    assert (result.edition, result.digest) == (plugin.LIBRARY.edition, plugin.LIBRARY.digest)
    assert set(result.missing) <= set(plugin.umbridge_manifest().facts)
    return result


def rule(v: Mapping[str, Value]) -> bool:
    """42 CFR 412.3(d) with the mapping of clinical need, written out a second time."""
    to_cross, received = int(str(v["midnights_from_care"])) >= 2, int(str(v["midnights_so_far"])) >= 2
    cut_short = int(str(v["midnights_expected"])) >= 2 and v["unforeseen_departure"] is True
    expected = v["expectation_documented"] and (to_cross or cut_short)
    benchmark = v["level_supported"] != "HOME" and (expected or received)
    return bool(benchmark or v["inpatient_only_procedure"] or v["case_by_case_documented"])


patients = st.fixed_dictionaries({fact: st.sampled_from(options) for fact, options in OPTIONS.items()})


# --- the rule ------------------------------------------------------------------------------------------


@given(patients, st.sampled_from(["MEDICARE_FFS", "MEDICARE_ADVANTAGE"]))
@settings(max_examples=150, deadline=None)
def test_with_every_fact_known_it_says_what_the_regulation_says(values: dict[str, Value], payer: str) -> None:
    result = screen(values, payer=payer)
    assert result.outcome is (Outcome.MEETS if rule(values) else Outcome.REFER)
    assert (result.basis is not None) is rule(values)
    assert result.scores.get("basis") == result.basis


@given(patients, st.data())
@settings(max_examples=150, deadline=None)
def test_it_pends_exactly_while_a_missing_fact_could_change_it(
    values: dict[str, Value], data: st.DataObject
) -> None:
    """Every completion of the unknown is tried: decided when they agree; missing is what can flip it."""
    unknown = data.draw(st.lists(st.sampled_from(sorted(OPTIONS)), unique=True, max_size=3))
    known = {fact: value for fact, value in values.items() if fact not in unknown}
    outcomes: dict[tuple[Value, ...], bool] = {(): False}
    completions: list[dict[str, Value]] = [known]
    for fact in unknown:
        completions = [each | {fact: value} for each in completions for value in OPTIONS[fact]]
    outcomes = {tuple(each[fact] for fact in unknown): rule(each) for each in completions}
    result = screen(known)
    if len(set(outcomes.values())) == 1:
        assert result.outcome is (Outcome.MEETS if True in outcomes.values() else Outcome.REFER)
        assert result.missing == ()
        return
    assert result.outcome is Outcome.PEND
    flips = {
        fact
        for place, fact in enumerate(unknown)
        for cell, met in outcomes.items()
        for value in OPTIONS[fact]
        if outcomes[(*cell[:place], value, *cell[place + 1 :])] is not met
    }
    assert set(result.missing) == flips  # the times they are counted from are known here


@given(patients, st.data())
@settings(max_examples=100, deadline=None)
def test_more_facts_never_unsettle_it(values: dict[str, Value], data: st.DataObject) -> None:
    dropped = data.draw(st.sets(st.sampled_from(sorted(OPTIONS))))
    part = screen({fact: value for fact, value in values.items() if fact not in dropped})
    full = screen(values)
    assert full.outcome in (Outcome.MEETS, Outcome.REFER)
    if part.outcome is not Outcome.PEND:
        assert part.outcome is full.outcome


@pytest.mark.parametrize("payer", list(plugin.PAYERS))
@pytest.mark.parametrize(
    ("change", "met"),
    [
        ({}, True),
        ({"midnights_from_care": Decimal(1)}, False),  # one short
        ({"midnights_from_care": Decimal(1), "midnights_so_far": Decimal(2)}, True),
        ({"expectation_documented": False}, False),
        ({"expectation_documented": False, "midnights_so_far": Decimal(1)}, False),
        ({"expectation_documented": False, "midnights_so_far": Decimal(2)}, True),  # received
        ({"expectation_documented": False, "unforeseen_departure": True}, False),  # shorter than what?
        ({"level_supported": "HOME", "midnights_so_far": Decimal(2)}, False),  # not of hospital care
        ({"level_supported": "HOME"}, False),
        ({"level_supported": "CRITICAL"}, True),
        ({"midnights_from_care": Decimal(1), "unforeseen_departure": True}, True),
        (
            {
                "midnights_from_care": Decimal(1),
                "midnights_expected": Decimal(1),
                "unforeseen_departure": True,
            },
            False,
        ),
    ],
)
def test_the_benchmark(change: dict[str, Value], met: bool, payer: str) -> None:
    result = screen({**BENCHMARK, **change}, payer=payer)
    assert result.outcome is (Outcome.MEETS if met else Outcome.REFER)
    assert result.basis == ("BENCHMARK" if met else None)
    assert result.supported is (
        None if met else Level.HOME if change.get("level_supported") == "HOME" else Level.OBS
    )


NOTHING = {**BENCHMARK, "expectation_documented": False}


@pytest.mark.parametrize(
    ("fact", "basis"),
    [("inpatient_only_procedure", "INPATIENT_ONLY"), ("case_by_case_documented", "CASE_BY_CASE")],
)
def test_the_other_two_ways_in_need_no_midnight(fact: str, basis: str) -> None:
    assert screen(NOTHING).outcome is Outcome.REFER
    found = screen({**NOTHING, fact: True})
    assert (found.outcome, found.basis) == (Outcome.MEETS, basis)
    assert screen({k: v for k, v in NOTHING.items() if k != fact}).missing == (fact,)


def test_another_payer_first_is_all_that_is_said_of_the_payers() -> None:
    """Medicare may well pay second: the class of the stay is that of the cover that pays first."""
    found = screen(BENCHMARK, payer="COMMERCIAL")
    assert (found.outcome, found.rationale) == (Outcome.NOT_APPLICABLE, "Medicare is not the first payer.")


@pytest.mark.parametrize(
    ("nights", "said"),
    [
        (
            {"midnights_from_care": 3, "midnights_expected": 3, "midnights_so_far": 0},
            "3 expected, 0 received",
        ),
        (
            {"midnights_from_care": 1, "midnights_expected": 3, "midnights_so_far": 1},
            "3 expected, 1 received",
        ),
        # one night on leave of those to the discharge: it is no night of hospital care
        (
            {"midnights_from_care": 3, "midnights_expected": 4, "midnights_so_far": 2},
            "4 expected, 3 to the discharge, 2 received",
        ),
        ({"midnights_from_care": 2, "midnights_so_far": 2}, "2 received"),
    ],
)
def test_midnights_expected_and_received_are_told_apart(nights: dict[str, int], said: str) -> None:
    others = {k: v for k, v in BENCHMARK.items() if not k.startswith("midnights")}
    died = {**others, "unforeseen_departure": True, **{fact: Decimal(n) for fact, n in nights.items()}}
    assert f" Midnights from the start of care: {said}." in screen(died).rationale


@pytest.mark.parametrize(
    ("values", "lacks", "has"),
    [
        (
            {"unforeseen_departure": True, "midnights_expected": Decimal(1)},
            "Two midnights of hospital care were expected",
            "An unforeseen",
        ),
        ({"midnights_expected": Decimal(2)}, "An unforeseen", "Two midnights of hospital care were expected"),
    ],
)
def test_what_was_not_shown_is_named_by_itself(values: dict[str, Value], lacks: str, has: str) -> None:
    """A stay cut short needs an expectation and a circumstance: only the one that is lacking is named."""
    found = screen({**BENCHMARK, "midnights_from_care": Decimal(1), **values})
    assert found.outcome is Outcome.REFER
    assert found.rationale.startswith("For a physician to look at. Conditions not shown: ")
    assert "not true" not in found.rationale
    assert lacks in found.rationale
    assert has not in found.rationale


def test_several_ways_are_all_named_and_the_first_is_the_basis() -> None:
    both = screen({**BENCHMARK, "case_by_case_documented": True})
    assert both.basis == "BENCHMARK"
    assert both.rationale.startswith("BENCHMARK, CASE_BY_CASE: ")


def test_a_person_is_asked_for_times_not_for_counts() -> None:
    facts = {k: v for k, v in BENCHMARK.items() if not k.startswith("midnights")}
    case_facts = readings(facts | {"care_start": TIMES["care_start"], "midnights_so_far": Decimal(1)})
    case = Case(
        *("zz", ReviewType.ADMISSION, Status.INPATIENT, Level.ACUTE, AT, 1, ("J18.9",), "MEDICARE_FFS", None),
        False,
        case_facts,
    )
    assert plugin.umbridge_screen(case).missing == ("expected_discharge",)


def test_without_any_fact_it_pends_and_names_what_to_ask_for() -> None:
    result = screen({})
    assert result.outcome is Outcome.PEND
    assert {"level_supported", "expectation_documented", "case_by_case_documented"} <= set(result.missing)


def test_the_start_of_care_that_nobody_stated_is_said_so() -> None:
    sample = Sample(str(TIMES["care_start"]), AT, "ZZ1 OBX[1]-5, first test or order")
    facts = readings(BENCHMARK) | {"care_start": Reading("care_start", sample, sample, sample, (sample,))}
    case = Case(
        *("zz", ReviewType.ADMISSION, Status.INPATIENT, Level.ACUTE, AT, 1, ("J18.9",), "MEDICARE_FFS", None),
        False,
        facts,
    )
    assert "Nobody said when care began" in plugin.umbridge_screen(case).rationale
    assert "Nobody said" not in screen(BENCHMARK).rationale


def test_an_admission_without_an_order_is_said_so_and_waits_for_a_person() -> None:
    """The order makes the inpatient (412.3(a)): the rule may be met, and the admission is not yet one."""
    assert "No inpatient order was seen" in screen(BENCHMARK).rationale
    assert screen(BENCHMARK).hold == ("INPATIENT_ORDER_MISSING",)
    ordered = screen({**BENCHMARK, "midnights_from_order": Decimal(1)})
    assert "inpatient order" not in ordered.rationale
    assert ordered.scores["midnights_from_order"] == 1
    assert (ordered.outcome, ordered.hold) == (Outcome.MEETS, ())


ORDERED: Mapping[str, Value] = {**BENCHMARK, "midnights_from_order": Decimal(2)}
RECEIVED: Mapping[str, Value] = {**ORDERED, "expectation_documented": False, "midnights_so_far": Decimal(2)}


@pytest.mark.parametrize("barrier", sorted(dictionary()["discharge_barrier"].codes))
@pytest.mark.parametrize(
    ("values", "level", "waits"),
    [(ORDERED, "OBS", True), (RECEIVED, "OBS", True), (RECEIVED, "ACUTE", True), (ORDERED, "ACUTE", False)],
)
def test_midnights_that_may_be_a_wait_for_a_place_close_nothing(
    values: Mapping[str, Value], level: str, barrier: str, waits: bool
) -> None:
    """What is left is a level that a screen supports now beside an expectation that is documented."""
    found = screen({**values, "level_supported": level, "discharge_barrier": barrier})
    assert (found.outcome, found.hold) == (Outcome.MEETS, ("WAITS_FOR_A_PLACE",) if waits else ())
    assert ("midnights of a wait are none of care" in found.rationale) is waits
    for way in ("inpatient_only_procedure", "case_by_case_documented"):
        assert screen({**values, "discharge_barrier": barrier, way: True}).hold == ()


@pytest.mark.parametrize(
    ("values", "waits"),
    [
        (ORDERED, False),  # two midnights were expected at the moment, and nobody waited then
        ({**ORDERED, "midnights_from_care": Decimal(1), "midnights_so_far": Decimal(2)}, True),
        (
            {
                **ORDERED,
                **{"midnights_from_care": Decimal(1), "midnights_expected": Decimal(2)},
                "unforeseen_departure": True,
            },
            False,
        ),
        (RECEIVED, True),
    ],
)
def test_a_wait_that_is_told_later_takes_nothing_from_what_was_expected(
    values: Mapping[str, Value], waits: bool
) -> None:
    facts = readings({**TIMES, **values})
    for at, is_held in ((AT + timedelta(minutes=1), waits), (AT, True)):
        sample = Sample("SNF_BED", at, "ZZ1 OBX[1]-5")
        facts["discharge_barrier"] = Reading("discharge_barrier", sample, sample, sample, (sample,))
        asked = (ReviewType.ADMISSION, Status.INPATIENT, Level.ACUTE)
        found = plugin.umbridge_screen(
            Case("zz", *asked, AT, 1, ("J18.9",), "MEDICARE_FFS", None, False, facts)
        )
        assert (found.outcome, found.hold) == (Outcome.MEETS, ("WAITS_FOR_A_PLACE",) if is_held else ())


def told(*levels: tuple[str, str]) -> Reading:
    samples = tuple(Sample(level, AT, f"plugin:zz_{n}{how}") for n, (level, how) in enumerate(levels))
    return Reading("level_supported", samples[-1], samples[0], samples[-1], samples)


@pytest.mark.parametrize(
    ("levels", "more", "holds"),
    [
        ([("OBS", SEEN_ONLY)], {}, True),
        ([("HOME", ""), ("OBS", SEEN_ONLY)], {}, True),  # who supports nothing supports nothing by a number
        ([("OBS", SEEN_ONLY), ("ACUTE", SEEN_ONLY)], {}, True),
        ([("OBS", ""), ("ACUTE", SEEN_ONLY)], {}, False),
        ([("OBS", "")], {}, False),
        ([("OBS", SEEN_ONLY)], {"inpatient_only_procedure": True}, False),  # needs no screen
        ([("OBS", SEEN_ONLY)], {"case_by_case_documented": True}, False),
    ],
)
def test_a_need_that_people_saw_and_nobody_measured_meets_and_closes_nothing(
    levels: list[tuple[str, str]], more: dict[str, Value], holds: bool
) -> None:
    facts = readings({**TIMES, **BENCHMARK, "midnights_from_order": Decimal(2), **more})
    facts["level_supported"] = told(*levels)
    asked = (ReviewType.ADMISSION, Status.INPATIENT, Level.ACUTE)
    found = plugin.umbridge_screen(Case("zz", *asked, AT, 1, ("J18.9",), "MEDICARE_FFS", None, False, facts))
    assert (found.outcome, found.hold) == (Outcome.MEETS, (NO_MEASURED_FACT,) if holds else ())
    assert ("by an abnormal measurement" in found.rationale) is holds


@pytest.mark.parametrize("more", [{}, {"procedure_24h": True}, {"operative_plan": True}])
def test_new_ventilation_is_named_and_is_for_a_physician(more: dict[str, Value]) -> None:
    one_night: dict[str, Value] = {
        **ORDERED,
        "midnights_from_care": Decimal(1),
        "midnights_expected": Decimal(1),
    }
    found = screen({**one_night, "mechanical_ventilation": True, **more})
    assert (found.outcome, found.hold) == (Outcome.REFER, ())
    assert "the exception to the benchmark that CMS names" in found.rationale
    assert ("An operation stands or is planned." in found.rationale) is bool(more)
    assert "CMS names" not in screen(one_night).rationale
    assert (
        "CMS names" not in screen({**ORDERED, "mechanical_ventilation": True}).rationale
    )  # nothing to except
    open_: dict[str, Value] = {**one_night, "mechanical_ventilation": True}
    del open_["level_supported"], open_["case_by_case_documented"]
    assert "CMS names" in screen(open_).rationale


def test_an_inpatient_only_procedure_says_that_no_level_of_care_is_asked() -> None:
    found = screen({**ORDERED, "level_supported": "HOME", "inpatient_only_procedure": True})
    assert (found.outcome, found.basis) == (Outcome.MEETS, "INPATIENT_ONLY")
    assert "whatever a screen of the level of care says" in found.rationale
    assert "whatever a screen" not in screen(ORDERED).rationale


# --- the content, generated from itself ----------------------------------------------------------------


PAIRS = [(each, name) for each in plugin.LIBRARY.subsets.values() for name in each.rules.criteria]


@pytest.mark.parametrize(("edition", "name"), PAIRS, ids=lambda v: v if isinstance(v, str) else v.id)
def test_each_test_of_each_criterion_can_turn_it(edition: Subset, name: str) -> None:
    criterion = edition.rules.criteria[name]
    assert always(edition.rules, criterion) is None
    assert idle_tests(edition.rules, criterion) == []


@pytest.mark.parametrize("edition", plugin.LIBRARY.subsets.values(), ids=lambda each: each.id)
def test_each_threshold_turns_exactly_where_it_says(edition: Subset) -> None:
    """Every limit of the content is "two or more": one night fewer is false, one more is true."""
    numbers = [leaf for leaf in edition.rules.leaves if isinstance(leaf.value, Decimal)]
    assert {leaf.fact for leaf in numbers} == set(UNITS)
    for leaf in numbers:
        truths = [
            edition.rules.examine(readings({leaf.fact: leaf.value + step})).truths[
                edition.rules.number_of(leaf)
            ]
            for step in (-1, 0, 1)
        ]
        assert (leaf.value, truths) == (2, [False, True, True])


# --- whom it is about ----------------------------------------------------------------------------------


@pytest.mark.parametrize("payer", ["COMMERCIAL", "MEDICAID", "SELF_PAY"])
def test_other_payers_are_none_of_its_business(payer: str) -> None:
    assert screen(BENCHMARK, payer=payer).outcome is Outcome.NOT_APPLICABLE


def test_a_payer_nobody_named_may_be_medicare() -> None:
    result = screen(BENCHMARK, payer="UNKNOWN")
    assert (result.outcome, result.missing) == (Outcome.PEND, ("payer_class",))


@pytest.mark.parametrize("review", list(ReviewType))
@pytest.mark.parametrize("status", [Status.INPATIENT, Status.OBSERVATION])
def test_it_judges_inpatient_status_at_admission_only(review: ReviewType, status: Status) -> None:
    judged = review in (ReviewType.ADMISSION, ReviewType.RETROSPECTIVE) and status is Status.INPATIENT
    found = screen(BENCHMARK, review=review, status=status)
    assert found.outcome is (Outcome.MEETS if judged else Outcome.NOT_APPLICABLE)


# --- editions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payer", "day", "rule_id"),
    [
        ("MEDICARE_FFS", "2013-09-30", None),
        ("MEDICARE_FFS", "2013-10-01", "ffs_2013"),
        ("MEDICARE_FFS", "2015-12-31", "ffs_2013"),
        ("MEDICARE_FFS", "2016-01-01", "ffs_2016"),
        ("MEDICARE_FFS", "2028-12-31", "ffs_2016"),
        ("MEDICARE_FFS", "2029-01-01", "ffs_2029"),
        ("MEDICARE_ADVANTAGE", "2023-12-31", None),
        ("MEDICARE_ADVANTAGE", "2024-01-01", "ma_2024"),
        ("MEDICARE_ADVANTAGE", "2028-12-31", "ma_2024"),
        ("MEDICARE_ADVANTAGE", "2029-01-01", "ma_2029"),
    ],
)
def test_a_stay_is_judged_by_the_edition_of_its_admission(payer: str, day: str, rule_id: str | None) -> None:
    """23:30 local on the day, looked at four years later: neither UTC nor the day of the question counts."""
    admitted = f"{day}T23:30:00-05:00"
    result = screen(BENCHMARK, payer=payer, admitted=admitted, as_of=AT + timedelta(days=1461))
    assert result.scores.get("rule") == rule_id
    assert (result.outcome is Outcome.NOT_APPLICABLE) is (rule_id is None)


@pytest.mark.parametrize(
    ("day", "fact", "met"),
    [
        ("2015-12-31", "case_by_case_documented", False),
        ("2016-01-01", "case_by_case_documented", True),
        ("2028-12-31", "inpatient_only_procedure", True),
        ("2029-01-01", "inpatient_only_procedure", False),
    ],
)
def test_what_an_edition_does_not_know_does_not_count(day: str, fact: str, met: bool) -> None:
    found = screen({**NOTHING, fact: True}, admitted=f"{day}T12:00:00-05:00")
    assert found.outcome is (Outcome.MEETS if met else Outcome.REFER)


@pytest.mark.parametrize("payer", list(plugin.PAYERS))
@given(day=st.dates(date(2013, 10, 1), date(2060, 1, 1)))
@settings(max_examples=60, deadline=None)
def test_editions_neither_overlap_nor_leave_a_gap(payer: str, day: date) -> None:
    own = [each for each in plugin.LIBRARY.subsets.values() if each.id.startswith(plugin.PAYERS[payer])]
    in_force = [each.id for each in own if each.in_force(day)]
    assert len(in_force) == (0 if payer == "MEDICARE_ADVANTAGE" and day < date(2024, 1, 1) else 1)


def test_without_an_admission_date_the_day_of_the_question_counts() -> None:
    assert screen(BENCHMARK, admitted=None).scores["rule"] == "ffs_2016"
    assert screen(BENCHMARK, admitted="no date").scores["rule"] == "ffs_2016"


# --- the contract --------------------------------------------------------------------------------------


def test_the_manifest_wants_the_others_results_and_says_whose_it_is_not() -> None:
    manifest = plugin.umbridge_manifest()
    assert "level_supported" in manifest.facts
    assert {fact for rule in plugin.LIBRARY.subsets.values() for fact in rule.rules.needed()} <= set(
        manifest.facts
    )
    assert "Not affiliated" in manifest.disclaimer


def test_the_same_case_gives_the_same_answer_in_any_order_of_facts() -> None:
    forward, backward = screen(BENCHMARK), screen(dict(reversed(list(BENCHMARK.items()))))
    assert forward == backward


def test_every_threshold_carries_a_citation() -> None:
    for edition in plugin.LIBRARY.subsets.values():
        for criterion in edition.rules.criteria.values():
            assert any("CFR" in edition.citations[key] for key in criterion.cite), criterion.id
