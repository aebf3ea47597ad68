"""A planted bug in each rule of what closes by itself: some property that holds it turns red."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import test_critical
import test_grounds
import test_repeats
import test_staying
import test_usual

from umbridge.clinical import news2, usual
from umbridge.criteria import grounds, levels
from umbridge.review import critical, staying
from umbridge.stay.readings import repeats
from umbridge.values.interval import holds
from umbridge.values.kinds import ReviewType


def cases(test: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """The parameters of a test, as its marks have them."""
    rows: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        if mark.name != "parametrize":
            continue
        names = mark.args[0].split(",") if isinstance(mark.args[0], str) else list(mark.args[0])
        names = [name.strip() for name in names]
        given = [value if len(names) > 1 else (value,) for value in mark.args[1]]
        rows = [row | dict(zip(names, values, strict=True)) for row in rows for values in given]
    yield from rows


def is_red(test: Callable[..., Any], folder: Path) -> bool:
    """Whether any of a test's cases fails."""
    wants = inspect.signature(test).parameters
    for row in cases(test):
        try:
            test(**row, **({"tmp_path": folder} if "tmp_path" in wants else {}))
        except (AssertionError, pytest.fail.Exception):
            return True
    return False


def no(*_: Any, **__: Any) -> bool:
    return False


def yes(*_: Any, **__: Any) -> bool:
    return True


def none(*_: Any, **__: Any) -> tuple[()]:
    return ()


def as_it_came(truths: Any, result: Any, *_: Any) -> Any:
    return result


def at_both_ends(look: Any, fact: str, start: int, end: int) -> bool:
    """What is given at the worst value and at the next one, and not between."""
    given = (look.given(each, at) for each in repeats.TREATED_BY[fact] for at in (start, end))
    return any(each is not None and each.value is True for each in given)


def doubtful_too(facts: Any, fact: str, doubtful: Any) -> list[Decimal]:
    reading = facts.get(fact)
    both = () if reading is None else (reading.low.value, reading.high.value)
    return [each for each in both if isinstance(each, Decimal)]


def by_the_latest(facts: Any, fact: str, end: str, low: Decimal, high: Decimal, known: str) -> bool:
    return fact in facts and known not in facts and low <= facts[fact].latest.value <= high


_USUAL = (
    test_usual.test_what_is_usual_for_the_patient_closes_nothing_by_itself,
    test_usual.test_each_limit_of_what_is_usual_has_two_sides,
    test_usual.test_a_lower_level_that_only_usual_values_support_is_no_measured_one,
    test_usual.test_a_score_of_before_that_somebody_stated_takes_it_off_already,
    test_usual.test_a_value_that_is_slightly_out_alone_is_for_a_person,
    test_usual.test_what_is_worked_out_of_a_usual_value_is_usual_too,
    test_usual.test_the_table_speaks_of_measurements_and_of_what_patients_bring,
)
_NEXT = (test_usual.test_each_value_that_the_next_one_contradicts_closes_nothing_by_itself,)
_ILL = (
    test_usual.test_who_is_ill_has_two_signs_of_inflammation_or_one_that_calls_a_physician,
    test_usual.test_a_reason_beside_an_abnormal_vital_sign_is_no_mere_opinion,
)
_RESTS = (
    test_grounds.test_what_an_answer_rests_on,
    test_grounds.test_a_finding_is_looked_for_in_every_shape_of_a_criterion,
    test_grounds.test_a_finding_is_looked_for_in_every_kind_of_item,
    test_grounds.test_points_that_are_the_value_itself_are_a_finding_beyond_what_is_ordinary,
)
_UNTIL = (
    test_grounds.test_until_something_is_measured_nothing_is_decided,
    test_grounds.test_a_measurement_in_another_unit_is_none,
    test_grounds.test_before_a_planned_admission_the_asa_class_is_a_measurement,
    test_grounds.test_later_reviews_may_go_by_treatment_and_what_people_see,
    test_grounds.test_circumstances_lift_a_level_make_none_true_and_are_named,
    test_grounds.test_an_illness_that_is_shown_otherwise_needs_one_measurement_and_no_more,
)
_SHOWN = (test_usual.test_what_an_image_shows_is_a_finding_and_the_rest_of_the_file_is_not,)
_NEXT_VALUE = (
    test_repeats.test_an_ordinary_value_soon_after_contradicts_and_one_later_does_not,
    test_repeats.test_a_better_value_under_treatment_contradicts_nothing,
    test_repeats.test_a_treatment_counts_however_short_it_was,
)
_SALT = (test_repeats.test_a_sodium_is_corrected_for_the_glucose_of_its_hour,)
_CRITICAL = (
    test_critical.test_each_limit_a_step_to_either_side,
    test_critical.test_a_saturation_goes_by_the_limit_of_this_patient,
    test_critical.test_who_is_not_alert_and_is_not_usually_so,
    test_critical.test_a_troponin_holds_a_discharge_alone,
    test_critical.test_first_looks_answers_that_do_not_meet_and_the_highest_level_are_left_alone,
    test_critical.test_many_signs_that_are_each_a_little_off_come_to_an_emergency,
    test_critical.test_a_new_ischaemia_holds_and_a_rise_of_creatinine_holds_a_discharge,
    test_critical.test_what_nobody_can_read_may_be_critical,
)
_STAYING = (
    test_staying.test_who_waits_is_for_a_person_and_a_delay_is_one_before_a_discharge_alone,
    test_staying.test_every_treatment_of_a_stable_patient_alone_and_beside_an_antibiotic,
    test_staying.test_each_sign_of_stability_a_step_to_either_side_and_not_known,
    test_staying.test_what_else_says_that_a_patient_is_not_stable_or_cannot_swallow,
    test_staying.test_oxygen_is_left_on_where_it_is_little_and_more_than_is_asked_for,
)

FAULTS: dict[str, tuple[ModuleType, str, Any, tuple[Callable[..., Any], ...]]] = {
    # what is usual for the patient
    "no value is beyond what is usual": (usual, "_within", yes, _USUAL),
    "nothing is usual": (usual, "_within", no, _USUAL),
    "every illness is there": (usual, "is_so", yes, _USUAL),
    "no level of consciousness is usual": (usual, "USUAL_CODES", {}, _USUAL),
    "a stated score of before is not asked for": (usual, "_BASELINE", "zz", _USUAL),
    "an assumed score of before is taken for a stated one": (usual, "_ASSUMED", "zz", _USUAL),
    "what is worked out of a usual value is not": (grounds, "with_made", lambda facts: facts, _USUAL),
    "an answer by usual values is as good as any": (grounds, "_without_doubtful", as_it_came, _USUAL),
    "every answer stands without usual values": (grounds, "_stands", yes, _USUAL),
    "no answer stands without usual values": (grounds, "_stands", no, _USUAL),
    "care for comfort is not asked for": (grounds, "is_so", no, _USUAL),
    "plugins do not ask for the illnesses": (
        test_usual,
        "asked_beside",
        lambda read: frozenset[str](),
        _USUAL,
    ),
    "no value is out alone": (usual, "ALONE", (), _USUAL),
    "the latest value is asked for": (usual, "_is_alone", by_the_latest, _USUAL),
    "who appears unwell is not asked for": (usual, "_UNWELL", "zz", _USUAL),
    # what the next value contradicts
    "nothing is contradicted": (grounds, "contradicted", none, _NEXT),
    "whatever was measured is contradicted": (grounds, "contradicted", lambda facts: ("sbp",), _NEXT),
    "a contradiction lasts for ever": (repeats, "OTHERWISE", 10_000, _NEXT_VALUE),
    "a drawn value is contradicted at once or not at all": (repeats, "WITHIN", {}, _NEXT_VALUE),
    "no treatment is asked for": (repeats, "_is_treated", no, _NEXT_VALUE),
    "every better value is that of treatment": (repeats, "_is_treated", yes, _NEXT_VALUE),
    "a treatment is looked for at two moments": (repeats, "_is_treated", at_both_ends, _NEXT_VALUE),
    "every value is ordinary": (repeats, "_is_ordinary", yes, _NEXT_VALUE),
    "no value is ordinary": (repeats, "_is_ordinary", no, _NEXT_VALUE),
    "a sodium is corrected by another factor": (repeats, "SHIFT", Decimal("0.016"), _SALT),
    "a normal glucose corrects too": (repeats, "FROM", Decimal(0), _SALT),
    "the glucose of any hour corrects": (repeats, "BESIDE_HOURS", 24, _SALT),
    # who is ill beside a reason
    "one sign of inflammation is enough": (usual, "_SIGNS", 1, _ILL),
    "signs of inflammation are not counted": (usual, "_SIGNS", 9, _ILL),
    "no sign calls a physician": (usual, "CALLED", {}, _ILL),
    "what is doubtful counts": (usual, "_worst", doubtful_too, _ILL),
    "everybody is ill": (grounds, "is_ill", yes, _ILL),
    "nobody is ill": (grounds, "is_ill", no, _ILL),
    "whatever is true is a reason": (grounds, "_is_reason", yes, _ILL),
    # what an answer rests on
    "whatever is true rests on a finding": (grounds, "_rests", yes, _RESTS),
    "nothing rests on a finding": (grounds, "_rests", no, _RESTS),
    "every measurement is a finding": (grounds, "abnormal", yes, _RESTS),
    "no measurement is a finding": (grounds, "abnormal", no, _RESTS),
    "points of every measurement are a finding": (grounds, "counted_abnormal", yes, _RESTS),
    "findings of a score are never enough": (grounds, "_is_enough", no, _RESTS),
    "findings of a score are always enough": (grounds, "_is_enough", yes, _RESTS),
    "the age is not asked for": (grounds, "_OF_ITSELF", (), _RESTS),
    "history is not asked for": (grounds, "_BROUGHT", (), _RESTS),
    "nothing has to be unknown": (grounds, "without", lambda truths, facts: truths, _RESTS),
    "no reason holds": (grounds, "reasons_to_hold", none, _RESTS),
    # until something is measured
    "nothing has to be measured": (grounds, "measured", lambda facts, review: frozenset({"zz"}), _UNTIL),
    "nobody is asked for a measurement": (levels, "to_measure", none, _UNTIL),
    "later reviews are held as first looks": (levels, "HELD", frozenset(ReviewType), _UNTIL),
    "first looks are held to nothing": (levels, "HELD", frozenset[ReviewType](), _SHOWN),
    "circumstances are not named": (grounds, "SOCIAL", frozenset[str](), _UNTIL),
    "no image shows anything": (levels, "is_shown", no, _UNTIL),
    "an image shows all of a file": (levels, "is_shown", yes, _SHOWN),
    # values at which a physician is called
    "no value is critical": (critical, "critical", none, _CRITICAL),
    "a bound is never beyond a limit": (
        critical,
        "may_be",
        lambda reading, op, limit: holds(reading.latest.value, op, limit) is True,
        _CRITICAL,
    ),
    "nobody has a limit of their own": (critical, "own_limit", lambda facts: None, _CRITICAL),
    "every sum is low": (news2, "least_sum", lambda facts: 0, _CRITICAL),
    "nothing new holds a discharge": (critical, "new_injury", none, _CRITICAL),
    "what nobody can read is nothing": (critical, "_unread", none, _CRITICAL),
    "first looks are held too": (critical, "_is_later", yes, _CRITICAL),
    # who waits, and treatment that is only left on
    "nobody waits": (staying, "barrier", lambda whole: "", _STAYING),
    "everybody is stable": (staying, "stable_by", lambda whole: ("zz",), _STAYING),
    "nobody is stable": (staying, "stable_by", none, _STAYING),
    "every treatment may be left on": (staying, "_may_be_left_on", yes, _STAYING),
    "no treatment may be left on": (staying, "_may_be_left_on", no, _STAYING),
    "a wait for a result is no delay": (staying, "DELAYS", {}, _STAYING),
    "nothing speaks against stability": (staying, "_AGAINST", {}, _STAYING),
}


@pytest.mark.parametrize(("where", "name", "fault", "tests"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_bug_turns_a_property_red(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    where: ModuleType,
    name: str,
    fault: Any,
    tests: tuple[Callable[..., Any], ...],
) -> None:
    assert hasattr(where, name)
    monkeypatch.setattr(where, name, fault)
    assert any(is_red(test, tmp_path) for test in tests), "the planted bug went unseen"


@pytest.mark.parametrize(
    "tests", sorted({its for *_, its in FAULTS.values()}, key=str), ids=lambda its: its[0].__name__
)
def test_without_a_bug_every_one_of_them_is_green(
    tmp_path: Path, tests: tuple[Callable[..., Any], ...]
) -> None:
    assert not [test.__name__ for test in tests if is_red(test, tmp_path)]
