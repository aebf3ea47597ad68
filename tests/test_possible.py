"""A number that no living patient has is a mistake of recording: unread, said, and never what decides."""

from __future__ import annotations

from decimal import Decimal

import pytest
from test_told import exceptions, obr, obx, oru, seen, values
from test_values import SITE, came_to, observed

from umbridge.errors import ContentError
from umbridge.hl7.er7 import parse
from umbridge.hl7.translate import translate
from umbridge.stay.dictionary import FactType, dictionary, parse_dictionary
from umbridge.stay.facts import feeds
from umbridge.stay.reasons import Reason
from umbridge.stay.unused import unused
from umbridge.values.interval import Interval

#: Measured numbers without a range of what is possible: multiples of an assay's own limit.
LEFT_OUT = {"troponin_ratio", "lipase_ratio"}
MEASURED = [each for each in dictionary().values() if each.is_measured and each.kind == "number"]
RANGED = [(each, *each.possible) for each in MEASURED if each.possible is not None]
TINY = Decimal("0.001")
SATURATION, TEMPERATURE, PULSE = "59408-5^^LN", "8310-5^^LN", "8867-4^^LN"


def code_of(kind: FactType) -> str:
    """An OBX-3 that means this fact."""
    if kind.loinc:
        return f"{kind.loinc[0]}^^LN"
    local = ((code, system) for system, codes in SITE.observations.items() for code in codes)
    code, system = next(each for each in local if SITE.observations[each[1]][each[0]] == kind.id)
    return f"{code}^^{system}"


def read_as(kind: FactType, sent: str) -> object:
    return came_to(observed("NM" if sent[0] not in "<>" else "ST", sent, kind.unit, code_of(kind)))


def test_every_measured_number_has_a_range_or_is_named_here() -> None:
    assert {each.id for each in MEASURED} - {kind.id for kind, *_ in RANGED} == LEFT_OUT


def test_every_baseline_that_is_a_number_has_one_too() -> None:
    """And that of what it is a baseline of: a creatinine of 88 mg/dL is as impossible the year before."""
    baselines = {each.id: each for each in dictionary().values() if each.group == "baseline"}
    same = {"baseline_creatinine": "creatinine", "home_o2_flow": "o2_flow", "usual_spo2": "spo2"}
    same |= {"usual_paco2": "paco2", "chronic_bicarbonate": "bicarbonate", "usual_sodium": "sodium"}
    assert {fact for fact, each in baselines.items() if each.kind == "number"} == set(same)
    for fact, measured in same.items():
        assert baselines[fact].possible == dictionary()[measured].possible


@pytest.mark.parametrize(("kind", "low", "high"), RANGED, ids=lambda each: getattr(each, "id", ""))
def test_the_limits_count_and_what_is_beyond_does_not(kind: FactType, low: Decimal, high: Decimal) -> None:
    assert [read_as(kind, f"{each:f}") for each in (low, low + TINY, high - TINY, high)] == [
        low,
        low + TINY,
        high - TINY,
        high,
    ]
    beyond = [low - TINY, high + TINY, low - 1000, high * 1000]
    assert {read_as(kind, f"{each:f}") for each in beyond} == {Reason.IMPOSSIBLE}


@pytest.mark.parametrize(("kind", "low", "high"), RANGED, ids=lambda each: getattr(each, "id", ""))
def test_a_bound_counts_where_some_possible_number_lies_in_it(
    kind: FactType, low: Decimal, high: Decimal
) -> None:
    for sent in (f"<={low:f}", f"<{low + TINY:f}", f">={high:f}", f">{high - TINY:f}", f"<{high + TINY:f}"):
        assert isinstance(read_as(kind, sent), Interval), sent
    for sent in (f"<{low:f}", f">{high:f}", f"<={low - TINY:f}", f">={high + TINY:f}"):
        assert read_as(kind, sent) is Reason.IMPOSSIBLE, sent


@pytest.mark.parametrize(
    ("code", "sent", "unit", "value"),
    [
        (SATURATION, "9", "%", None),
        (SATURATION, "0.98", "%", None),  # a fraction sent as per cent
        (SATURATION, "0.98", "1", "98"),
        (SATURATION, "101", "%", None),
        (TEMPERATURE, "98.6", "Cel", None),
        (TEMPERATURE, "98.6", "[degF]", "37"),
        (TEMPERATURE, "36.8", "[degF]", None),
        (TEMPERATURE, "41.9", "Cel", "41.9"),
        (PULSE, "7", "/min", None),
        (PULSE, "28", "/min", "28"),
        ("718-7^^LN", "130", "g/dL", None),
        ("718-7^^LN", "130", "g/L", "13"),
        ("777-3^^LN", "250000", "10*3/uL", None),
        ("3150-0^^LN", "40", "1", None),
        ("3150-0^^LN", "40", "%", "0.4"),
        ("2744-1^^LN", "74", "[pH]", None),
        ("2823-3^^LN", "-6.9", "mmol/L", None),
        ("2823-3^^LN", "69", "mmol/L", None),
        ("2823-3^^LN", "690", "mmol/L", None),
        ("2823-3^^LN", "6.9", "mmol/L", "6.9"),
        ("2160-0^^LN", "88", "mg/dL", None),
    ],
)
def test_mistakes_of_the_unit_and_of_the_keys(code: str, sent: str, unit: str, value: str | None) -> None:
    expected = Reason.IMPOSSIBLE if value is None else Decimal(value)
    assert came_to(observed("NM", sent, unit, code)) == expected


def test_a_fact_that_feeds_another_has_the_same_range() -> None:
    for kind in MEASURED:
        assert {dictionary()[fact].possible for fact in feeds(kind.id)} == {kind.possible}


def saturation(value: str, status: str = "F", sent: str = "0901", taken: str = "0850") -> object:
    return oru(sent, obr("", taken), obx("59408-5^SPO2^LN", value, "%", status))


def test_it_is_an_exception_of_the_stay_and_no_reading() -> None:
    mistake, good = saturation("9"), saturation("95", sent="0930", taken="0925")
    assert exceptions(mistake) == ("RESULT_UNREAD",)
    assert values(seen(mistake), "spo2") == []
    assert values(seen(mistake, good), "spo2") == ["95"]
    assert exceptions(mistake, good) == ("RESULT_UNREAD",)  # it may have been 89, the worst of the day
    assert exceptions(mistake, saturation("90", sent="0930")) == ()
    corrected_to = saturation("9", "C", sent="0930")
    assert values(seen(saturation("96"), corrected_to), "spo2") == []
    assert exceptions(saturation("96"), corrected_to) == ("RESULT_UNREAD",)


def test_the_message_says_what_to_look_at_and_no_value() -> None:
    header = "MSH|^~\\&|ZZEHR|UMBH|||20260302120000||ORU^R01^ORU_R01|ZZ-1|P|2.5.1\r"
    frame = f"{header}OBX|1|NM|8310-5^^LN||98.6|Cel|||||F|||20260302113000\r"
    (one,) = unused(translate(parse(frame.encode()), SITE.zone), SITE)
    assert (one.field, one.reason, one.fact) == ("OBX-5", "impossible", "temperature")
    assert one.settle == "is OBX-6 the unit of the number? temperature counts from 10 to 47 Cel"
    assert "98.6" not in f"{one}"


@pytest.mark.parametrize("possible", ['["1", "2"]', "[2, 1]", "[1, 1]", "[1]", "[true, 2]", "3", "[1, nan]"])
def test_a_damaged_range_is_refused(possible: str) -> None:
    entry = 'group = "vital"\nkind = "number"\nworst = "max"\nwindow = 6\n'
    with pytest.raises(ContentError, match=r"zz\.possible"):
        parse_dictionary(f"[zz]\n{entry}possible = {possible}\n")
    assert parse_dictionary(f"[zz]\n{entry}possible = [0.5, 2]\n")["zz"].possible == (Decimal("0.5"), 2)


@pytest.mark.parametrize("more", ['kind = "boolean"', 'kind = "number"\nof_limit = true'])
def test_only_a_number_with_a_unit_has_a_range(more: str) -> None:
    with pytest.raises(ContentError, match=r"zz\.possible"):
        parse_dictionary(f'[zz]\ngroup = "vital"\nworst = "max"\nwindow = 6\n{more}\npossible = [1, 2]\n')
