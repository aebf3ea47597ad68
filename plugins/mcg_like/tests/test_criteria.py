"""Every criterion both ways, on values one step either side of each threshold, taken from the content."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import umbridge_mcg_like as plugin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umbridge import Case, Level, Outcome, Reading, ReviewType, Sample, Status, Subset

# The engine's own view of a tree, for the tests only: a plugin itself needs none of it.
from umbridge.criteria.tree import Leaf, ScoreTest, walk

AT = datetime(2026, 3, 2, 22, 40, tzinfo=UTC)
PRINCIPAL = {
    "cap": "J18.9",
    "copd": "J44.1",
    "asthma": "J45.41",
    "heart_failure": "I50.33",
    "chest_pain": "R07.9",
    "upper_gi_bleed": "K92.1",
    "dka_hhs": "E10.10",
    "ssti": "L03.115",
}
SUBSETS = list(plugin.LIBRARY.subsets.values())
Value = Decimal | bool | str


def step(value: Decimal) -> Decimal:
    """The smallest step in which such a value is reported: the last place of its threshold."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal(1).scaleb(min(exponent, 0))


def choices(subset: Subset, fact: str) -> list[Value]:
    """At each threshold of a fact and one step either side of it; every code; both booleans."""
    spec = subset.rules.facts[fact]
    if spec.kind == "boolean":
        return [False, True]
    if spec.kind == "code":
        return list(spec.codes)
    found: set[Decimal] = set()
    for leaf in (subset.rules.leaves[i] for i in subset.rules.leaves_of[fact]):
        assert isinstance(leaf.value, Decimal)
        found |= {leaf.value - step(leaf.value), leaf.value, leaf.value + step(leaf.value)}
    if fact in subset.rules.counted:
        found |= {Decimal(age) for age in (18, 30, 50, 51, 64, 65, 70, 80, 90, 120)}
    return list(sorted(found))  # noqa: C413  (typed as a list of values)


def readings(subset: Subset, values: Mapping[str, Value]) -> dict[str, Reading]:
    found = {}
    for fact, value in values.items():
        sample = Sample(value, AT, "ZZ1 OBX[1]-5", subset.rules.facts[fact].unit)
        found[fact] = Reading(fact, sample, sample, sample, (sample,))
    return found


def case(subset: Subset, values: Mapping[str, Value], level: Level = Level.ACUTE, **other: object) -> Case:
    status = Status.OBSERVATION if level is Level.OBS else Status.INPATIENT
    settled: dict[str, object] = {
        "pseudonym": "zz",
        "review": ReviewType.OBSERVATION if level is Level.OBS else ReviewType.ADMISSION,
        "requested_status": status,
        "requested_level": level,
        "as_of": AT,
        "episode_day": 1,
        "diagnoses": (PRINCIPAL[subset.id],),
        "payer_class": "COMMERCIAL",
        "observation_hours": None,
        "observation_ended": False,
        "facts": readings(subset, {k: v for k, v in values.items() if k in subset.rules.facts}),
    } | other
    facts = dict(settled["facts"])  # type: ignore[call-overload]
    if "age" not in facts and "age" not in other:
        sample = Sample(Decimal(60), AT, "PID-7")
        facts["age"] = Reading("age", sample, sample, sample, (sample,))
    settled["facts"] = facts
    return Case(**settled)  # type: ignore[arg-type]


PAIRS = [(subset, name) for subset in SUBSETS for name in subset.rules.criteria]


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda s: s.id)
def test_each_threshold_turns_exactly_where_it_says(subset: Subset) -> None:
    expected = {"<": "100", "<=": "110", ">": "001", ">=": "011"}
    for leaf in subset.rules.leaves:
        if leaf.kind != "number":
            continue
        assert isinstance(leaf.value, Decimal)
        found = ""
        for value in (leaf.value - step(leaf.value), leaf.value, leaf.value + step(leaf.value)):
            exam = subset.rules.examine(readings(subset, {leaf.fact: value}))
            found += str(int(exam.truths[subset.rules.number_of(leaf)] is True))
        assert found == expected[leaf.op], leaf


@pytest.mark.parametrize(("subset", "name"), PAIRS, ids=lambda v: v if isinstance(v, str) else v.id)
def test_each_test_of_each_criterion_can_turn_it(subset: Subset, name: str) -> None:
    """For every test a criterion reads, two cases that differ in that test alone and come out differently.

    Inside a score the points must differ: a higher band cannot turn a criterion its lower band has met.
    """
    criterion = subset.rules.criteria[name]
    leaves = {node for node in walk(criterion, subset.rules.scores) if isinstance(node, Leaf)}
    facts = sorted({leaf.fact for leaf in leaves} | set(subset.rules.counted))
    options = {fact: choices(subset, fact) for fact in facts}
    rng = random.Random(name)
    remaining = sorted(leaves, key=repr)
    scored = any(isinstance(node, ScoreTest) for node in walk(criterion, subset.rules.scores))
    seen_truths: set[bool | None] = set()
    for _ in range(6000):
        if not remaining and len(seen_truths) == 2:
            break
        values = {fact: rng.choice(options[fact]) for fact in facts}
        for fact in facts:  # mostly quiet, or a sum of twenty items never lies near its limit
            if options[fact] == [False, True]:
                values[fact] = rng.random() < 0.15
        leaf = rng.choice(remaining or sorted(leaves, key=repr))
        apart = [x for x in leaves if x != leaf and (x.kind == "number" or x.fact != leaf.fact)]
        truths: dict[tuple[bool | None, ...], set[object]] = {}
        for value in options[leaf.fact]:
            exam = subset.rules.examine(readings(subset, values | {leaf.fact: value}))
            others = tuple(exam.truths[subset.rules.number_of(x)] for x in apart)
            seen_truths.add(exam.truth(name))
            points = [exam.bounds(score) for score in subset.rules.scores] if scored else []
            truths.setdefault(others, set()).add((exam.truth(name), *points))
        if leaf in remaining and any(len(seen) > 1 for seen in truths.values()):
            remaining.remove(leaf)
    assert remaining == []
    assert seen_truths == {True, False}


@st.composite
def patients(draw: st.DrawFn) -> tuple[Subset, dict[str, Value]]:
    subset = draw(st.sampled_from(SUBSETS))
    return subset, {fact: draw(st.sampled_from(choices(subset, fact))) for fact in subset.rules.facts}


def curb65(v: Mapping[str, Value]) -> int:
    """Lim 2003, written out."""
    return (
        (v["new_confusion"] is True)
        + (v["bun"] > 19)  # type: ignore[operator]
        + (v["resp_rate"] >= 30)  # type: ignore[operator]
        + (v["sbp"] < 90 or v["dbp"] <= 60)  # type: ignore[operator]
        + (v["age"] >= 65)  # type: ignore[operator]
    )


def psi(v: Mapping[str, Value]) -> tuple[int, str]:
    """Fine 1997, written out: step one, then the points."""
    n = {key: float(value) for key, value in v.items() if isinstance(value, Decimal)}
    hot = n["temperature"] < 35 or n["temperature"] >= 40
    ill = ("cancer", "liver_disease", "heart_failure", "cerebrovascular_disease", "renal_disease")
    signs = n["heart_rate"] >= 125 or n["resp_rate"] >= 30 or n["sbp"] < 90 or hot
    points = int(n["age"]) - (10 if v["sex"] == "F" else 0)
    points += 10 * bool(v["nursing_home_resident"]) + 30 * bool(v["cancer"]) + 20 * bool(v["liver_disease"])
    points += 10 * (bool(v["heart_failure"]) + bool(v["cerebrovascular_disease"]) + bool(v["renal_disease"]))
    points += 20 * bool(v["new_confusion"]) + 20 * (n["resp_rate"] >= 30) + 20 * (n["sbp"] < 90)
    points += (
        15 * hot + 10 * (n["heart_rate"] >= 125) + 30 * (n["arterial_ph"] < 7.35) + 20 * (n["bun"] >= 30)
    )
    points += 20 * (n["sodium"] < 130) + 10 * (n["glucose"] >= 250) + 10 * (n["hematocrit"] < 30)
    points += 10 * (n["pao2"] < 60 or n["spo2"] < 90) + 10 * bool(v["pleural_effusion"])
    if n["age"] <= 50 and not signs and not v["new_confusion"] and not any(v[key] for key in ill):
        return points, "I"
    return points, "II" if points <= 70 else "III" if points <= 90 else "IV" if points <= 130 else "V"


def blatchford(v: Mapping[str, Value]) -> int:
    """Blatchford 2000 in conventional units, written out."""
    n = {key: float(value) for key, value in v.items() if isinstance(value, Decimal)}
    bun, hgb, sbp = n["bun"], n["hemoglobin"], n["sbp"]
    points = 6 if bun >= 70 else 4 if bun >= 28 else 3 if bun >= 22.4 else 2 if bun >= 18.2 else 0
    if hgb < 10:
        points += 6
    elif v["sex"] == "F":
        points += 1 if hgb < 12 else 0
    else:
        points += 3 if hgb < 12 else 1 if hgb < 13 else 0
    points += 3 if sbp < 90 else 2 if sbp < 100 else 1 if sbp < 110 else 0
    points += (n["heart_rate"] >= 100) + bool(v["melena"]) + 2 * bool(v["syncope"])
    return points + 2 * bool(v["liver_disease"]) + 2 * bool(v["heart_failure"])


@given(patients())
@settings(max_examples=250, deadline=None)
def test_scores_agree_with_the_papers_written_out_by_hand(patient: tuple[Subset, dict[str, Value]]) -> None:
    subset, values = patient
    found = subset.rules.examine(readings(subset, values)).scores()
    if subset.id == "cap":
        total, name = psi(values)
        assert found == {"curb65": curb65(values), "psi": total, "psi_class": name}
    elif subset.id == "upper_gi_bleed":
        assert found == {"glasgow_blatchford": blatchford(values)}
    else:
        assert found == {}


LEAVE_OUT = {"arterial_ph", "pao2"}  # a score may leave these out, so measuring them may move a result
FINAL = {Outcome.MEETS_ADVISE_HIGHER: Outcome.MEETS}


@given(patients(), st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_more_facts_settle_a_result_and_never_unsettle_it(
    patient: tuple[Subset, dict[str, Value]], data: st.DataObject
) -> None:
    subset, values = patient
    level = data.draw(st.sampled_from([Level.OBS, Level.ACUTE]))
    review = data.draw(st.sampled_from([None, ReviewType.CONTINUED_STAY, ReviewType.DISCHARGE]))
    other: dict[str, object] = {} if review is None else {"review": review, "episode_day": 2}
    dropped = data.draw(st.sets(st.sampled_from(sorted(set(values) - LEAVE_OUT - {"age"}))))
    full = plugin.umbridge_screen(case(subset, values, level, **other))
    part = plugin.umbridge_screen(
        case(subset, {k: v for k, v in values.items() if k not in dropped}, level, **other)
    )
    assert full.outcome is not Outcome.PEND
    assert set(part.missing) <= dropped
    assert (part.missing == ()) == (part.outcome is not Outcome.PEND)
    if part.outcome is not Outcome.PEND:
        assert FINAL.get(part.outcome, part.outcome) is FINAL.get(full.outcome, full.outcome)
    if part.supported is not None and full.supported is not None and part.outcome is not Outcome.PEND:
        assert part.supported <= full.supported


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda s: s.id)
def test_without_facts_it_pends_and_never_refers(subset: Subset) -> None:
    for level in [Level.OBS, Level.ACUTE]:
        result = plugin.umbridge_screen(case(subset, {}, level))
        assert result.outcome is Outcome.PEND
        assert result.missing
        ageless = plugin.umbridge_screen(replace(case(subset, {}, level), facts={}))
        assert "age" in ageless.missing


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda s: s.id)
def test_it_does_not_apply_to_children_other_diagnoses_or_other_reviews(subset: Subset) -> None:
    def aged(years: int) -> Case:
        sample = Sample(Decimal(years), AT, "PID-7")
        return replace(case(subset, {}), facts={"age": Reading("age", sample, sample, sample)})

    assert plugin.umbridge_screen(aged(17)).outcome is Outcome.NOT_APPLICABLE
    assert plugin.umbridge_screen(aged(18)).outcome is Outcome.PEND
    for other in (
        replace(aged(60), diagnoses=("R55",)),
        replace(aged(60), diagnoses=()),
        replace(aged(60), review=ReviewType.PROSPECTIVE),
        replace(aged(60), review=ReviewType.RETROSPECTIVE),
        replace(aged(60), as_of=datetime(2021, 12, 31, tzinfo=UTC)),
    ):
        assert plugin.umbridge_screen(other).outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda s: s.id)
def test_every_diagnosis_prefix_finds_its_subset(subset: Subset) -> None:
    for code in subset.icd10:
        for written in (code, code.replace(".", ""), code + "9", code.lower()):
            assert plugin.LIBRARY.match((written, "Z99.9")) is subset


def test_the_manifest_declares_what_is_read_and_whose_it_is_not() -> None:
    manifest = plugin.umbridge_manifest()
    assert manifest.name == plugin.NAME
    for subset in SUBSETS:
        assert set(subset.rules.needed()) <= set(manifest.facts)
    assert "Not affiliated" in manifest.disclaimer
    assert "no proprietary text" in manifest.disclaimer


def test_the_marks_are_named_nowhere_but_in_the_disclaimer() -> None:
    for subset in SUBSETS:
        words = [subset.title, *subset.citations.values()]
        words += [criterion.title + criterion.note for criterion in subset.rules.criteria.values()]
        assert not any(mark in text for text in words for mark in ("InterQual", "MCG", "Milliman"))
