"""What a chronic illness makes usual, what the next value contradicts, and who is ill beside a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import umbridge_interqual_like
import umbridge_mcg_like

from umbridge.clinical.measured import BROUGHT, CONTRADICTED, MEASURED, ORDINARY
from umbridge.clinical.usual import (
    ALONE,
    BY_ITSELF,
    ILLNESSES,
    USUAL,
    USUAL_CODES,
    asked_beside,
    is_ill,
    usual,
)
from umbridge.criteria.grounds import COMFORT_CARE, CONTRADICTED_VALUE, SEEN, SUPPORTED_BY, USUAL_VALUE
from umbridge.criteria.levels import LevelContent
from umbridge.errors import ContentError
from umbridge.model import Case, FactValue, Reading, Sample, ScreenResult
from umbridge.stay.dictionary import dictionary
from umbridge.values.kinds import Level, Outcome, ReviewType, Status

AT = datetime(2026, 3, 2, 22, 40, tzinfo=UTC)
NO_FINDING = "NO_MEASURED_FACT"
FILE = """
format = 1
id = "zz"
title = "Invented"
edition = "1"
effective_from = 2026-01-01
age_from = 18
icd10 = ["J44.1"]
MORE
[citation]
ours = "Invented for a test"
[fact]
platelets = { kind = "number", unit = "10*3/uL", worst = "low" }
sbp = { kind = "number", unit = "mm[Hg]", worst = "low" }
heart_rate = { kind = "number", unit = "/min", worst = "high" }
bun = { kind = "number", unit = "mg/dL", worst = "high" }
consciousness = { kind = "code", codes = ["A", "C", "V", "P", "U"], worst = "high" }
cancer = { kind = "boolean" }
worsened_congestion = { kind = "boolean" }
[score.points]
title = "Points"
cite = ["ours"]
item = [
  { id = "urea", when = "bun > 19 mg/dL", points = 1 },
  { id = "count", when = "platelets < 100 10*3/uL", points = 2 },
  { id = "pressure", when = "sbp < 100 mm[Hg]", points = 2 },
  { id = "cancer", when = "cancer is Y", points = 2 },
]
[criterion.scored]
title = "Two points or more"
cite = ["ours"]
when = "points >= 2"
[criterion.low]
title = "Low pressure"
cite = ["ours"]
when = "sbp < 90 mm[Hg]"
[criterion.fast]
title = "Fast"
cite = ["ours"]
when = "heart_rate > 120 /min"
[criterion.dull]
title = "Not alert"
cite = ["ours"]
when = "consciousness is not A"
[criterion.congested]
title = "Congested"
cite = ["ours"]
when = "worsened_congestion is Y"
[rule.admission]
CRITICAL = { one = ["fast"] }
INTERMEDIATE = { one = ["low"] }
ACUTE = { one = ["scored", "dull"] }
OBS = { one = ["congested"] }
"""
Known = dict[str, FactValue]
QUIET: Known = {
    **{"platelets": Decimal(220), "sbp": Decimal(128), "heart_rate": Decimal(80), "bun": Decimal(14)},
    **{"consciousness": "A", "cancer": False, "worsened_congestion": False, "age": Decimal(60)},
}


def reading(fact: str, value: FactValue) -> Reading:
    kind = dictionary().get(fact)
    sample = Sample(value, AT, f"ZZ1 {fact}", "" if kind is None else kind.unit)
    return Reading(fact, sample, sample, sample, (sample,))


def facts(values: Known) -> dict[str, Reading]:
    return {fact: reading(fact, value) for fact, value in values.items()}


def screened(
    tmp_path: Path,
    values: Known,
    level: Level = Level.ACUTE,
    *,
    more: str = "",
    review: str = "ADMISSION",
    file: str = FILE,
) -> ScreenResult:
    (tmp_path / "zz.toml").write_text(file.replace("MORE", more))
    return LevelContent(tmp_path).screen(
        Case(
            pseudonym="zz",
            review=ReviewType(review),
            requested_status=Status.INPATIENT,
            requested_level=level,
            as_of=AT,
            episode_day=1,
            diagnoses=("J44.1",),
            payer_class="COMMERCIAL",
            observation_hours=None,
            observation_ended=False,
            facts=facts(QUIET | values),
        )
    )


FEW: Known = {"platelets": Decimal(60)}
ITP: Known = {"chronic_thrombocytopenia": True}
DULL: Known = {"consciousness": "C"}


@pytest.mark.parametrize(
    ("values", "hold"),
    [
        (FEW, ()),
        (FEW | ITP, (USUAL_VALUE,)),
        ({"platelets": Decimal(30)} | ITP, (USUAL_VALUE,)),
        ({"platelets": Decimal(29)} | ITP, ()),  # nobody's usual count
        (FEW | {"chronic_thrombocytopenia": False}, ()),
        (FEW | ITP | {"sbp": Decimal(99)}, ()),  # the pressure reaches it too
        (FEW | ITP | {"sbp": Decimal(100)}, (USUAL_VALUE,)),
        (FEW | ITP | {"bun": Decimal(20)}, (USUAL_VALUE,)),  # one point more is not enough
        (FEW | {"chronic_dialysis": True, "bun": Decimal(70)}, ()),  # the count is no matter of dialysis
        (DULL, ()),
        (DULL | {"dementia": True}, (USUAL_VALUE,)),
        ({"consciousness": "V", "dementia": True}, ()),  # drowsy is new
        ({"consciousness": "V", "mentation_at_baseline": True}, (USUAL_VALUE,)),  # but where it is stated
        (DULL | {"mentation_at_baseline": False}, ()),
        (FEW | {"comfort_care": True}, (COMFORT_CARE,)),
        (FEW | ITP | {"comfort_care": True}, (USUAL_VALUE, COMFORT_CARE)),
    ],
)
def test_what_is_usual_for_the_patient_closes_nothing_by_itself(
    tmp_path: Path, values: Known, hold: tuple[str, ...]
) -> None:
    found = screened(tmp_path, values)
    assert (found.outcome, found.hold) == (Outcome.MEETS, hold)
    assert (str(values.get("platelets")) in ("30", "60") and USUAL_VALUE in hold) <= (
        "platelets (chronic_thrombocytopenia)" in found.rationale or "dementia" in values
    )


@pytest.mark.parametrize("fact", CONTRADICTED)
def test_each_value_that_the_next_one_contradicts_closes_nothing_by_itself(tmp_path: Path, fact: str) -> None:
    """Of those that the file reads; another one's contradiction changes nothing."""
    pairs: Known = {"sbp": Decimal(82), "heart_rate": Decimal(150)}
    level = {"sbp": Level.INTERMEDIATE, "heart_rate": Level.CRITICAL}.get(fact, Level.CRITICAL)
    values: Known = {fact: pairs[fact]} if fact in pairs else {"heart_rate": Decimal(150)}
    name = f"{fact}_contradicted"
    for says in (True, False):
        found = screened(tmp_path, values | {name: says}, level)
        assert (found.outcome, found.hold) == (
            Outcome.MEETS,
            (CONTRADICTED_VALUE,) if says and fact in pairs else (),
        )


def test_what_is_worked_out_of_a_usual_value_is_usual_too(tmp_path: Path) -> None:
    file = FILE.replace(
        'when = "consciousness is not A"', 'one = ["consciousness is not A", "altered_mentation is Y"]'
    ).replace("[score.points]", 'altered_mentation = { kind = "boolean" }\n[score.points]')
    dull = DULL | {"altered_mentation": True}
    assert screened(tmp_path, dull, file=file).hold == ()
    assert screened(tmp_path, dull | {"dementia": True}, file=file).hold == (USUAL_VALUE,)


def test_a_lower_level_that_only_usual_values_support_is_no_measured_one(tmp_path: Path) -> None:
    """Others build on it."""
    found = screened(tmp_path, FEW | ITP, Level.INTERMEDIATE)
    assert (found.outcome, found.supported, found.scores.get(SUPPORTED_BY)) == (
        Outcome.REFER,
        Level.ACUTE,
        SEEN,
    )
    assert SUPPORTED_BY not in screened(tmp_path, FEW, Level.INTERMEDIATE).scores


def test_a_score_of_before_that_somebody_stated_takes_it_off_already() -> None:
    known = facts(FEW | ITP)
    assert usual(known) == (("platelets", "chronic_thrombocytopenia"),)
    stated = reading("sofa_baseline", Decimal(2))
    assert usual({**known, "sofa_baseline": stated}) == ()
    assumed = Sample(Decimal(0), AT, "none known: renal_disease", "{score}")
    before = Reading("sofa_baseline", assumed, assumed, assumed, (assumed,))
    assert usual({**known, "sofa_baseline": before}) == usual(known)


@pytest.mark.parametrize(("illness", "fact", "low", "high"), USUAL)
def test_each_limit_of_what_is_usual_has_two_sides(
    illness: str, fact: str, low: Decimal, high: Decimal
) -> None:
    step = Decimal(1).scaleb(min(int(low.as_tuple().exponent), int(high.as_tuple().exponent), 0))
    for value, is_usual in ((low, True), (high, True), (low - step, False), (high + step, False)):
        assert ((fact, illness) in usual(facts({illness: True, fact: value}))) is is_usual, value
        for said in ({illness: False, fact: value}, {fact: value}):
            assert (fact, illness) not in usual(facts(said))


@pytest.mark.parametrize(("fact", "end", "low", "high", "known"), ALONE)
def test_a_value_that_is_slightly_out_alone_is_for_a_person(
    fact: str, end: str, low: Decimal, high: Decimal, known: str
) -> None:
    """On both sides of its limits, beside a sign of illness, and where it is stated what is usual."""
    step, mark = Decimal("0.1"), ((fact, BY_ITSELF),)
    for value, is_alone in ((low, True), (high, True), (low - step, False), (high + step, False)):
        assert usual(facts({fact: value})) == (mark if is_alone else ()), value
    assert usual(facts({fact: low, "temperature": Decimal("38.1"), "heart_rate": Decimal(91)})) == ()
    assert usual(facts({fact: low, "sbp": Decimal(90)})) == ()
    assert usual(facts({fact: low, "consciousness": "C"})) == ()
    assert usual(facts({fact: low, "appears_unwell": True})) == ()
    assert usual(facts({fact: low, "appears_unwell": False, "heart_rate": Decimal(96)})) == mark
    if known:
        assert usual(facts({fact: low, known: low})) == ()
    better = reading(fact, high + 9).latest if end == "low" else reading(fact, Decimal(1)).latest
    worst = reading(fact, low).latest
    ends = (worst, better) if end == "low" else (better, worst)
    assert usual({fact: Reading(fact, better, *ends, (worst, better))}) == mark  # treated since


def test_the_table_speaks_of_measurements_and_of_what_patients_bring() -> None:
    assert {fact for _, fact, *_ in USUAL} <= MEASURED & ORDINARY.keys()
    assert ILLNESSES - {"mentation_at_baseline"} <= BROUGHT
    assert set(USUAL_CODES) <= ILLNESSES
    kinds = dictionary()
    assert all(kinds[illness].kind == "boolean" for illness in ILLNESSES | {"comfort_care"})
    assert asked_beside(frozenset({"platelets"})) == {
        *("chronic_thrombocytopenia", "liver_disease", "comfort_care")
    }
    assert asked_beside(frozenset({"age"})) == frozenset()
    for plugin in (umbridge_interqual_like, umbridge_mcg_like):
        assert "dementia" in plugin.umbridge_manifest().facts


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"temperature": Decimal("38.1"), "heart_rate": Decimal(91)}, True),
        ({"temperature": Decimal("38.0"), "heart_rate": Decimal(91)}, False),
        ({"temperature": Decimal("35.9"), "resp_rate": Decimal(21)}, True),
        ({"temperature": Decimal("36.0"), "resp_rate": Decimal(21)}, False),
        ({"wbc": Decimal("12.1"), "resp_rate": Decimal(21)}, True),
        ({"wbc": Decimal(12), "resp_rate": Decimal(21)}, False),
        ({"wbc": Decimal("3.9"), "heart_rate": Decimal(91)}, True),
        ({"wbc": Decimal(4), "heart_rate": Decimal(91)}, False),
        ({"wbc": Decimal(13), "heart_rate": Decimal(90)}, False),
        ({"wbc": Decimal(13), "resp_rate": Decimal(20)}, False),
        ({"sbp": Decimal(90)}, True),
        ({"sbp": Decimal(91)}, False),
        ({"sbp": Decimal(219)}, False),
        ({"sbp": Decimal(220)}, True),
        ({"heart_rate": Decimal(131)}, True),
        ({"heart_rate": Decimal(130)}, False),
        ({"heart_rate": Decimal(40)}, True),
        ({"heart_rate": Decimal(41)}, False),
        ({"resp_rate": Decimal(25)}, True),
        ({"resp_rate": Decimal(24)}, False),
        ({"resp_rate": Decimal(8)}, True),
        ({"resp_rate": Decimal(9)}, False),
        ({"temperature": Decimal("35.0")}, True),
        ({"temperature": Decimal("35.1")}, False),
        ({"spo2": Decimal(87), "spo2_limit": Decimal(88)}, True),
        ({"spo2": Decimal(88), "spo2_limit": Decimal(88)}, False),
        ({"spo2": Decimal(80)}, False),  # whose limit nobody knows
        ({"consciousness": "C"}, True),
        ({"consciousness": "A"}, False),
        ({}, False),
    ],
)
def test_who_is_ill_has_two_signs_of_inflammation_or_one_that_calls_a_physician(
    values: Known, says: bool
) -> None:
    assert is_ill(facts(values), frozenset()) is says
    assert is_ill(facts(values), frozenset(values)) is False  # what is doubtful says nothing


CONGESTED: Known = {"worsened_congestion": True}


@pytest.mark.parametrize(
    ("values", "level", "hold"),
    [
        (CONGESTED, Level.OBS, (NO_FINDING,)),
        (CONGESTED | {"heart_rate": Decimal(111)}, Level.OBS, (NO_FINDING,)),
        ({"cancer": True}, Level.ACUTE, (NO_FINDING,)),
        (
            {"cancer": True, "temperature": Decimal(39), "heart_rate": Decimal(100)},
            Level.ACUTE,
            (NO_FINDING,),
        ),
        ({"cancer": True, "sbp": Decimal(99)}, Level.ACUTE, ()),  # two points of its own
        ({"cancer": True, "bun": Decimal(20)}, Level.ACUTE, (NO_FINDING,)),  # one
        (CONGESTED | {"temperature": Decimal(39), "heart_rate": Decimal(100)}, Level.OBS, ()),
        (CONGESTED | {"temperature": Decimal(38), "heart_rate": Decimal(100)}, Level.OBS, (NO_FINDING,)),
        (
            CONGESTED
            | {"temperature": Decimal(39), "heart_rate": Decimal(100), "heart_rate_contradicted": True},
            Level.OBS,
            (NO_FINDING,),
        ),
    ],
)
def test_a_reason_beside_an_abnormal_vital_sign_is_no_mere_opinion(
    tmp_path: Path, values: Known, level: Level, hold: tuple[str, ...]
) -> None:
    """And a score that history reaches is still that of history, however ill the patient is."""
    found = screened(tmp_path, values, level)
    assert (found.outcome, found.hold) == (Outcome.MEETS, hold)


def test_what_an_image_shows_is_a_finding_and_the_rest_of_the_file_is_not(tmp_path: Path) -> None:
    more = 'shown_by = "imaging"\nshown = ["congested"]'
    assert screened(tmp_path, CONGESTED, Level.OBS, more=more).hold == ()
    assert screened(tmp_path, {"cancer": True}, more=more).hold == (NO_FINDING,)
    assert screened(tmp_path, {"cancer": True}, more='shown_by = "imaging"').hold == ()
    assert screened(tmp_path, FEW | ITP, more='shown_by = "imaging"').hold == (USUAL_VALUE,)
    for wrong in ('shown = ["congested"]', 'shown_by = "imaging"\nshown = ["other"]'):
        with pytest.raises(ContentError, match="shown"):
            screened(tmp_path, CONGESTED, more=wrong)
