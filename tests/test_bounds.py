"""Bounds from the wire to the answer: no rule is ever surer than every number that the bound stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.criteria.examination import Examination
from umbridge.criteria.ruleset import RuleSet
from umbridge.criteria.tree import (
    FactSpec,
    Group,
    IfMeasured,
    Item,
    Joint,
    Leaf,
    Node,
    Not,
    Score,
    ScoreTest,
    every,
    one,
)
from umbridge.model import Case, Coded, Event, Manifest, Observation, Patient, Reading, Sample, Visit
from umbridge.screening.answer_codec import manifest_in, manifest_out
from umbridge.screening.case_codec import case_in, case_out
from umbridge.screening.frames import WireError
from umbridge.settings.site import default_site
from umbridge.stay.dictionary import DERIVED, Conversion, dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.window import readings
from umbridge.stay.results.statements import Result, stated
from umbridge.values.interval import Interval, Number, as_interval
from umbridge.values.kinds import Level, ReviewType, Status

AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
SITE = default_site()
TENTH = Decimal("0.1")


def inside(number: Number) -> list[Decimal]:
    """Numbers that it can stand for: beside its ends, between, and far out."""
    found = as_interval(number)
    low = Decimal("0.1") if found.low is None else found.low
    high = low + 50 if found.high is None else found.high
    tried = [low, low + TENTH / 2, low + TENTH, (low + high) / 2, high - TENTH, high - TENTH / 2, high]
    tried += [low + n * (high - low) / 11 for n in range(1, 11)]
    tried = [value.quantize(Decimal("0.001")) for value in tried]
    kept = [value for value in tried if found.within(value, value) is not None and value > 0]
    assert kept, number
    return kept


# --- rules ------------------------------------------------------------------------------------------------

FACTS = {
    "now": FactSpec("now", "number", "mg/dL", "high"),
    "before": FactSpec("before", "number", "mg/dL"),
    "other": FactSpec("other", "boolean"),
    "past": FactSpec("past", "number", whole=True, low=Decimal(0), high=Decimal(4)),
}


def leaf(fact: str, op: str, value: str, reads: str = "latest") -> Leaf:
    return Leaf(fact, op, Decimal(value), reads, FACTS[fact].kind, FACTS[fact].unit)


def ratio(op: str, value: str) -> Joint:
    factors = (Decimal(1), -Decimal(value))
    return Joint("ratio", ("now", "before"), ("latest", "latest"), factors, op, Decimal(0), Decimal(value))


OTHER = Leaf("other", "is", True, "latest", "boolean")
PLAIN: list[Node] = [
    leaf("now", ">=", "4"),
    leaf("now", ">", "6"),
    leaf("now", "<", "3"),
    leaf("now", "<=", "4"),
    leaf("before", "<", "2"),
    OTHER,
]
JOINTS: list[Node] = [ratio(">=", "1.5"), ratio("<", "2"), ratio(">", "3")]
POINTS: list[Node] = [ScoreTest("s", ">=", 2), ScoreTest("s", "<", 1)]
SCORE = Score("s", "S", ("x",), (Item("a", ((leaf("now", ">", "6"), 2), (leaf("now", ">", "3"), 1))),))


def trees(leaves: list[Node]) -> st.SearchStrategy[Node]:
    return st.recursive(
        st.sampled_from(leaves),
        lambda children: st.one_of(
            children.map(Not),
            st.lists(children, min_size=2, max_size=3).map(lambda found: one(*found)),
            st.lists(children, min_size=2, max_size=3).map(lambda found: every(*found)),
            st.lists(children, min_size=3, max_size=3).map(lambda found: Group(2, tuple(found))),
        ),
        max_leaves=5,
    )


def sample(value: Number | bool, unit: str = "mg/dL") -> Sample:
    return Sample(value, AT, "ZZ1 OBX[1]-5", unit)


def look(tree: Node, known: Mapping[str, Number | bool]) -> Examination:
    rules = RuleSet(FACTS, {"s": SCORE}, {}, {"r.x": tree})
    facts = {}
    for fact, value in known.items():
        made = sample(value, FACTS[fact].unit)
        facts[fact] = Reading(fact, made, made, made, (made,))
    return rules.examine(facts, AT)


tenths = st.decimals(min_value=1, max_value=8, places=1)
bounds = st.builds(Interval.bound, st.sampled_from(["<", "<=", ">", ">="]), tenths)


@given(trees([*PLAIN, *JOINTS, *POINTS]), bounds, st.none() | tenths | bounds, st.none() | st.booleans())
@settings(max_examples=300, deadline=None)
def test_an_answer_is_definite_only_where_every_number_in_the_bound_gives_it(
    tree: Node, now: Number, before: Number | None, other: bool | None
) -> None:
    given_: dict[str, Number | bool] = {"now": now}
    given_ |= {} if before is None else {"before": before}
    given_ |= {} if other is None else {"other": other}
    exam = look(tree, given_)
    truths = set()
    for exact in inside(now):
        for beside in [None] if before is None else inside(before):
            point = given_ | {"now": exact} | ({} if beside is None else {"before": beside})
            truths.add(look(tree, point).decide("r.x").value)
    for found in (exam.truth("r.x"), exam.decide("r.x").value):
        assert found is None or truths == {found}
    decided = exam.decide("r.x")
    assert (decided.value is None) is bool(decided.missing)


@given(trees([*PLAIN, *POINTS]), bounds)
@settings(max_examples=300, deadline=None)
def test_an_answer_is_open_only_where_two_numbers_differ(tree: Node, now: Number) -> None:
    """Of one fact with a bound, all else known: exactly undecided where the numbers in it disagree."""
    known: dict[str, Number | bool] = {"now": now, "before": Decimal("1.5"), "other": True}
    exam = look(tree, known)
    truths = {look(tree, known | {"now": exact}).decide("r.x").value for exact in inside(now)}
    found = exam.decide("r.x")
    if len(truths) == 1:
        # A bound that lies between two thresholds of the rule is settled: its cells are all that are left.
        assert found.value in (truths | {None})
    else:
        assert found.value is None and found.missing == ("now",)


@pytest.mark.parametrize(
    ("bound", "op", "limit", "truth"),
    [
        ("<6", ">", "6", False),
        ("<6", ">=", "6", False),
        ("<6", ">", "5.9", None),
        ("<6", "<", "6", True),
        ("<6", "<=", "6", True),
        ("<6", "<", "5.9", None),
        ("<=6", ">", "6", False),
        ("<=6", ">=", "6", None),
        ("<=6", "<", "6", None),
        ("<=6", "<=", "6", True),
        (">600", ">", "600", True),
        (">600", ">=", "600.1", None),
        (">600", "<=", "600", False),
        (">600", "<", "600", False),
        (">=600", ">", "600", None),
        (">=600", ">=", "600", True),
        (">=600", "<", "600", False),
        (">=600", "<=", "600", None),
    ],
)
def test_a_bound_against_a_threshold(bound: str, op: str, limit: str, truth: bool | None) -> None:
    found = Interval.parse(bound)
    assert found is not None
    exam = look(leaf("now", op, limit), {"now": found})
    assert exam.truth("r.x") is truth
    decided = exam.decide("r.x")
    assert decided.value is truth and decided.missing == (("now",) if truth is None else ())


def test_a_measured_bound_is_not_a_fact_that_was_left_out() -> None:
    optional = IfMeasured(leaf("now", ">", "3"), "before")
    assert look(optional, {"before": Decimal(1)}).decide("r.x").value is False
    found = look(optional, {"before": Decimal(1), "now": Interval.bound("<", Decimal(6))})
    assert found.truth("r.x") is None and found.decide("r.x").missing == ("now",)
    assert found.left_out() == ()


def test_what_is_counted_itself_needs_a_number() -> None:
    score = Score("s", "S", ("x",), (Item("a", counts="past"),))
    rules = RuleSet(FACTS, {"s": score}, {}, {"r.x": ScoreTest("s", ">=", 1)})
    made = sample(Interval.bound(">", Decimal(2)), "")
    exam = rules.examine({"past": Reading("past", made, made, made, (made,))}, AT)
    assert exam.decide("r.x").missing == ("past",)


def test_a_bound_is_cut_to_what_the_fact_can_be() -> None:
    rules = RuleSet(FACTS, {}, {}, {"r.x": leaf("past", ">=", "0"), "r.y": leaf("past", "<=", "4")})
    for value, known in ((Interval.bound("<", Decimal(2)), True), (Interval.bound(">", Decimal(4)), False)):
        made = sample(value, "")
        exam = rules.examine({"past": Reading("past", made, made, made, (made,))}, AT)
        assert (exam.truth("r.x") is True) is known and (exam.truth("r.y") is True) is known


@pytest.mark.parametrize(("reads", "truth"), [("any", True), ("2 times", None), ("latest", None)])
def test_several_samples_with_a_bound_among_them(reads: str, truth: bool | None) -> None:
    low, high, open_ = sample(Decimal(1)), sample(Decimal(7)), sample(Interval.bound(">", Decimal(3)))
    rules = RuleSet(FACTS, {}, {}, {"r.x": leaf("now", ">", "6", reads)})
    reading = Reading("now", open_, low, sample(Interval.bound(">=", Decimal(7))), (low, high, open_))
    assert rules.examine({"now": reading}, AT).truth("r.x") is truth


def test_evidence_prints_the_bound() -> None:
    exam = look(leaf("now", "<", "8"), {"now": Interval.bound("<", Decimal(6))})
    assert [(each.value, each.unit) for each in exam.evidence("r.x")] == [("<6", "mg/dL")]


# --- a stay's facts ---------------------------------------------------------------------------------------

ARRIVAL = Event(
    message_type="ADT",
    trigger="A04",
    control_id="ZZ-0",
    processing_id="P",
    sent_at=AT,
    effective_at=AT,
    patient=Patient((("7790009", "UMBH", "MR"),), "AC9", "19600303", "M"),
    visit=Visit(number="VN9", patient_class="E", patient_type="EDP", unit="ED", admitted_at=AT),
)
EVERYTHING = frozenset(dictionary()) | frozenset(DERIVED)


def obx(code: str, value: Number | str, minutes: int, unit: str, limits: str = "") -> Observation:
    system = "99UMB" if code.startswith("UMB-") else "LN"
    return Observation(
        "CWE" if value in ("Y", "N") else "ST",
        Coded(code, "", system),
        Coded(),
        format(value, "f") if isinstance(value, Decimal) else str(value),
        unit,
        limits,
        "F",
        AT + timedelta(minutes=minutes),
        f"R{minutes}",
        f"ZZ {code}@{minutes}",
    )


def seen(*observations: Observation) -> dict[str, Reading]:
    """Through a snapshot and back, as a daemon that restarted sees it."""
    fold = StayFold(SITE)
    written = [fold.apply(ARRIVAL, 1)]
    for seq, each in enumerate(observations, 2):
        oru = replace(ARRIVAL, message_type="ORU", trigger="R01", observations=(each,), visit=Visit("VN9"))
        written.append(fold.apply(oru, seq))
    fold = StayFold.restore(SITE, fold.head(), [each for each in written if each is not None])
    return readings(fold, AT + timedelta(hours=4), review=ReviewType.ADMISSION, wanted=EVERYTHING)


def holds(number: object, value: Decimal) -> bool:
    assert isinstance(number, Decimal | Interval)
    wide = as_interval(number)
    slack = Decimal("1E-20")
    return wide.within(value - slack, value + slack) is not None


numbers = st.one_of(tenths, bounds)
#: From a drawn number to one that a living patient can have: what is not possible is not read.
LIVING = {
    "2951-2": Conversion(subtract=Decimal(-80)),
    "2703-7": Conversion(subtract=Decimal(-10)),
    "3150-0": Conversion(subtract=Decimal(-10), divide=Decimal(100)),
    "718-7": Conversion(subtract=Decimal(-10), divide=Decimal(10)),
}
ABOVE_ONE = Conversion(subtract=Decimal(-1))
FOLLOWING = ("effective_osmolality", "rise_in_creatinine", "pao2_fio2", "hemoglobin_fall_24h")


@given(st.lists(numbers, min_size=1, max_size=4), st.data())
@settings(max_examples=150, deadline=None)
def test_lowest_and_highest_hold_those_of_every_choice(values: list[Number], data: st.DataObject) -> None:
    living = LIVING["718-7"]
    sent = [obx("718-7", living.of(value), n, "g/dL") for n, value in enumerate(values)]
    found = seen(*sent)["hemoglobin"]
    for _ in range(4):
        chosen = [living.apply(data.draw(st.sampled_from(inside(value)))) for value in values]
        exact = seen(*(obx("718-7", value, n, "g/dL") for n, value in enumerate(chosen)))["hemoglobin"]
        assert holds(found.low.value, min(chosen)) and holds(found.high.value, max(chosen))
        assert holds(found.latest.value, chosen[-1])
        assert (exact.low.value, exact.high.value) == (min(chosen), max(chosen))


@given(numbers, numbers, numbers, numbers, numbers, numbers, st.data())
@settings(max_examples=100, deadline=None)
def test_what_follows_from_bounds_holds_what_follows_from_every_choice(
    a: Number, b: Number, c: Number, d: Number, e: Number, f: Number, data: st.DataObject
) -> None:
    def of(*values: Number) -> dict[str, Reading]:
        codes = ("2951-2", "2345-7", "2160-0", "UMB-CREATBL", "718-7", "718-7", "2703-7", "3150-0")
        units = ("mmol/L", "mg/dL", "mg/dL", "mg/dL", "g/dL", "g/dL", "mm[Hg]", "1")
        when = (1, 1, 1, 1, 2, 3, 4, 4)
        living = [
            LIVING.get(code, ABOVE_ONE).of(value)
            for code, value in zip(codes, (*values, *values[:2]), strict=True)
        ]
        sent = zip(codes, living, when, units, strict=True)
        return seen(*(obx(*each) for each in sent))

    whole = (a, b, c, d, e, f)
    found = of(*whole)
    for _ in range(3):
        exact = of(*(data.draw(st.sampled_from(inside(value))) for value in whole))
        for fact in FOLLOWING:
            if fact in found:
                value = exact[fact].latest.value
                assert isinstance(value, Decimal) and holds(found[fact].latest.value, value), fact


@given(st.lists(numbers, min_size=2, max_size=3), st.data())
@settings(max_examples=100, deadline=None)
def test_serial_troponin_is_no_surer_than_every_choice(values: list[Number], data: st.DataObject) -> None:
    def of(sent: list[Number]) -> dict[str, Reading]:
        return seen(*(obx("67151-1", v, n * 100, "ng/L", "0-4") for n, v in enumerate(sent)))

    found = of(values)
    for _ in range(4):
        exact = of([data.draw(st.sampled_from(inside(value))) for value in values])
        if "troponin_change" in found:
            assert found["troponin_change"].latest.value is exact["troponin_change"].latest.value
        if "serial_troponin" in found:
            value = exact["serial_troponin"].latest.value
            assert isinstance(value, Decimal) and holds(found["serial_troponin"].latest.value, value)


def shown(reading: Reading | None) -> str | None:
    return None if reading is None else str(reading.latest.value)


def test_bounds_as_the_bedside_writes_them() -> None:
    found = seen(obx("2345-7", ">600", 1, "mg/dL"), obx("2951-2", Decimal(140), 1, "mmol/L"))
    osmolality = found["effective_osmolality"].latest.value
    assert isinstance(osmolality, Interval) and osmolality.high is None
    assert osmolality.low is not None and round(osmolality.low, 4) == Decimal("313.3333")
    found = seen(*(obx("67151-1", "<6", n, "ng/L", "0-14") for n in (0, 200)))
    assert str(found["serial_troponin"].latest.value)[:5] == "<0.42"
    assert "troponin_change" not in found  # either may be any number below 6
    found = seen(obx("8480-6", ">90", 1, "mmHg"))
    assert found["sustained_hypotension"].latest.value is False
    assert "sustained_hypotension" not in seen(obx("8480-6", "<95", 1, "mmHg"))


def test_a_result_with_a_bound_is_kept_and_read_back() -> None:
    result = Result(1, "R", "S", "718-7", "", 1, 1, 0, "1", 2, 1, 1, 1, None, "", "")
    for value in (Interval.bound("<", Decimal(6)), Interval.bound(">=", Decimal("0.40")), Decimal("7.10")):
        held = result._replace(value=value)
        assert list(stated(["1", 1, 1, "R", "S", [held.written("hemoglobin")], "", ""])) == [
            ("hemoglobin", held)
        ]


# --- definitions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "hours", "unit", "value"),
    [
        ("Y", "48", "h", True),
        ("Y", "47.9", "h", False),
        ("Y", "2", "d", True),
        ("Y", "1.9", "d", False),
        ("Y", "<48", "h", False),
        ("Y", ">=48", "h", True),
        ("Y", "<49", "h", None),
        ("Y", "", "", True),
        ("N", "12", "h", False),
        ("N", "96", "h", False),
        ("", "12", "h", None),
    ],
)
def test_fewer_than_48_hours_are_no_failed_treatment(
    answer: str, hours: str, unit: str, value: bool | None
) -> None:
    sent = [obx("UMB-FAILOP", answer, 1, "")] if answer else []
    sent += [obx("UMB-OPTXH", hours, 2, unit)] if hours else []
    found = seen(*sent).get("failed_outpatient_therapy")
    assert (None if found is None else found.latest.value) is value
    if found is not None:
        overruled = answer == "Y" and value is False
        assert (" over " in found.latest.source) is overruled  # a person sees that two facts disagree


@pytest.mark.parametrize(
    ("sent", "fall"),
    [
        ([("12", 0)], None),
        ([("12", 0), ("9.5", 60)], "2.5"),
        ([("9.5", 0), ("12", 60)], "0"),
        ([("12", 0), ("9", 30), ("10", 60)], "2"),
        ([(">15", 0), ("9", 60)], ">6"),
        ([("12", 0), ("<7", 60)], ">5"),
        ([("<7", 0), ("9", 60)], "0"),
        ([("9", 0), ("<=12", 60)], ">=0"),  # no fall is below nothing
    ],
)
def test_the_fall_of_haemoglobin_needs_two_values(sent: list[tuple[str, int]], fall: str | None) -> None:
    found = seen(*(obx("718-7", value, minutes, "g/dL") for value, minutes in sent))
    assert shown(found.get("hemoglobin_fall_24h")) == fall


def test_the_fall_looks_back_24_hours() -> None:
    fold = StayFold(SITE)
    fold.apply(ARRIVAL, 1)
    for seq, (value, hours) in enumerate((("14", 1), ("11", 20), ("10", 30)), 2):
        each = obx("718-7", value, hours * 60, "g/dL")
        fold.apply(replace(ARRIVAL, message_type="ORU", trigger="R01", observations=(each,)), seq)
    for hours, fall in ((24, "3"), (31, "1"), (46, None)):
        now = AT + timedelta(hours=hours)
        for review in (ReviewType.ADMISSION, ReviewType.CONTINUED_STAY):
            found = readings(fold, now, review=review, wanted=EVERYTHING).get("hemoglobin_fall_24h")
            assert shown(found) == fall


# --- plugins ----------------------------------------------------------------------------------------------

DIGEST = "sha256:" + "0" * 64


def question(**facts: Reading) -> Case:
    return Case("p", ReviewType.ADMISSION, Status.INPATIENT, Level.ACUTE, AT, 1, (), "X", None, False, facts)


def test_a_plugin_that_knows_no_bounds_is_not_told_of_the_fact() -> None:
    exact, open_ = sample(Decimal(7)), sample(Interval.bound("<", Decimal(6)))
    plain = Reading("bun", exact, exact, exact, (exact,))
    facts = frozenset({"bun", "sbp"})
    for reading in (
        Reading("sbp", open_, open_, open_, (open_,)),
        Reading("sbp", exact, open_, exact, (exact,)),
        Reading("sbp", exact, exact, open_, (exact,)),
        Reading("sbp", exact, exact, exact, (open_, exact)),  # nor of the older ones as if they were all
    ):
        case = question(bun=plain, sbp=reading)
        assert set(case_in(case_out(case, facts, bounds=False)).facts) == {"bun"}
        assert case_in(case_out(case, facts, bounds=True)) == case


@given(bounds)
def test_a_bound_arrives_as_it_was_sent(bound: Interval) -> None:
    made = sample(bound)
    case = question(bun=Reading("bun", made, made, made, (made,)))
    assert case_in(case_out(case, frozenset({"bun"}))) == case


@pytest.mark.parametrize("text", ["~", "~6", "~<", "~<6 >7"])
def test_a_bound_that_is_none_is_no_case(text: str) -> None:
    made = sample(Decimal(6))
    parts = case_out(question(bun=Reading("bun", made, made, made, (made,))), frozenset({"bun"}))
    parts[10]["bun"] = (text, *parts[10]["bun"][1:])
    with pytest.raises(WireError):
        case_in(parts)


def test_a_manifest_says_whether_it_knows_bounds() -> None:
    manifest = Manifest("p", "1", "2026.1", DIGEST, ("cap",), ("bun",))
    assert not manifest.bounds
    for each in (manifest, replace(manifest, bounds=True)):
        assert manifest_in(manifest_out(each), "p") == each
    with pytest.raises(WireError):
        manifest_in(manifest_out(manifest) | {"bounds": 1}, "p")
    with pytest.raises(WireError):
        manifest_in({k: v for k, v in manifest_out(manifest).items() if k != "bounds"}, "p")


def test_an_interval_is_no_number_that_could_be_compared_by_mistake() -> None:
    bound = Interval.bound("<", Decimal(6))
    with pytest.raises(TypeError):
        assert bound < Decimal(7)  # type: ignore[operator]
    with pytest.raises(TypeError):
        float(bound)  # type: ignore[arg-type]
