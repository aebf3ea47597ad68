"""One OBX against the dictionary: units, statuses, codes; and results that correct one another."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.errors import ContentError
from umbridge.model import Coded, Observation
from umbridge.settings.site import default_site
from umbridge.stay.dictionary import Conversion, dictionary, is_loinc, parse_dictionary
from umbridge.stay.facts import Fact, Unusable, read, read_time, upper_limit
from umbridge.stay.results.by_time import FIRST_KEPT, NEWEST_KEPT
from umbridge.stay.results.result_list import ResultList
from umbridge.stay.results.statements import Result, kind_of, stated
from umbridge.values.interval import Interval

SHARED = Path(__file__).parents[1] / "../shared/spec/facts.md"
SITE = default_site()
AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def obx(local: str, value: str, unit: str = "", **other: object) -> Observation:
    system = "99UMB" if local.startswith("UMB-") else "LN"
    made = Observation(
        value_type="NM",
        code=Coded(local, "", system),
        alternate=Coded(),
        value=value,
        unit=unit,
        reference_range="",
        status="F",
        at=AT,
        report="ZZ1",
        source="ZZ-0001 OBX[1]-5",
    )
    return made._replace(**other)  # type: ignore[arg-type]


def value_of(observation: Observation) -> object:
    found = read(observation, SITE)
    assert isinstance(found, Fact), found
    return found.value


def reason_of(observation: Observation) -> str:
    found = read(observation, SITE)
    assert isinstance(found, Unusable), found
    return found.reason


# --- the dictionary ---------------------------------------------------------------------------------------


def test_every_loinc_code_has_its_check_digit_and_names_one_fact() -> None:
    codes = [code for fact in dictionary().values() for code in fact.loinc]
    assert len(codes) == len(set(codes)) == 49
    assert [code for code in codes if not is_loinc(code)] == []


def test_check_digits_that_circulate_wrongly_are_caught() -> None:
    assert is_loinc("3150-0") and not is_loinc("3150-6")
    assert is_loinc("30934-4") and not is_loinc("30934-9")
    for broken in ("", "-", "8867", "8867-", "8867-44", "x867-4", "8867-\N{SUPERSCRIPT FOUR}", "\u0663-4"):
        assert not is_loinc(broken)


@given(st.integers(1, 99_999), st.integers(0, 9))
def test_exactly_one_check_digit_is_right(body: int, digit: int) -> None:
    assert sum(is_loinc(f"{body}-{each}") for each in range(10)) == 1


def test_the_dictionary_is_complete_and_consistent() -> None:
    facts = dictionary()
    assert len(facts) == 209
    mapped = set(SITE.observations["99UMB"].values())
    for fact in facts.values():
        assert fact.loinc or fact.id in mapped or fact.closed_world, fact.id
        assert bool(fact.unit) == (fact.kind == "number"), fact.id
        assert bool(fact.codes) == (fact.kind == "code"), fact.id
        assert fact.closed_world == (fact.group == "treatment"), fact.id
        if fact.icd10:
            assert fact.kind == "boolean" and "DG1" in fact.sources, fact.id
    assert {fact.id for fact in facts.values() if fact.part2} == {
        *("ciwa_ar", "withdrawal_seizure", "withdrawal_hallucinations", "withdrawal_delirium")
    }


@pytest.mark.skipif(not SHARED.exists(), reason="../shared is not beside the repository")
def test_the_dictionary_holds_the_specified_facts() -> None:
    rows = [line.split("|") for line in SHARED.read_text("utf-8").splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in row] for row in rows if len(row) == 11]
    assert len(rows) == 135
    windows = {
        "encounter": None,
        "active now": None,
        "7 d, may predate the encounter": 168,
        "12 h serial": 12,
    }
    for _, name, kind, unit, accepts, codes, _, window, _, _, _ in rows:
        fact = dictionary()[name.strip("`")]
        assert (fact.kind, fact.unit) == (kind, unit.strip("`"))
        assert fact.loinc == tuple(re.findall(r"\b\d{3,5}-\d\b", codes))
        hours = windows[window] if window in windows else int(window.split()[0])
        if fact.id == "baseline_creatinine":  # a week is the time of the rise, not the age of the baseline
            hours = 365 * 24
        assert fact.window_hours == hours, fact.id
        for other, factor in re.findall(r"`([^`]+)` × ([\d.]+)", accepts):
            assert fact.accepts["" if other == "(blank)" else other].factor == Decimal(factor)


@pytest.mark.parametrize(
    "text",
    [
        "[x]\ngroup='vital'\nkind='number'\nworst='max'",
        "[x]\ngroup='vitals'\nkind='number'\nworst='max'\nwindow=6",
        "[x]\ngroup='vital'\nkind='number'\nworst='max'\nwindow=6\ncolour='red'",
        "[x]\ngroup='vital'\nkind='number'\nworst='max'\nwindow=6\naccepts={a='b'}",
        "x = 1",
        "[x",
    ],
)
def test_a_damaged_dictionary_is_refused(text: str) -> None:
    with pytest.raises(ContentError, match=r"dictionary\.toml"):
        parse_dictionary(text)


# --- numbers and units ------------------------------------------------------------------------------------

EXACT = [
    ("8310-5", "100.4", "[degF]", "38"),  # the fever threshold must not move by a binary digit
    ("8310-5", "98.6", "[degF]", "37"),
    ("8310-5", "50", "[degF]", "10"),
    ("8310-5", "38.6", "C", "38.6"),
    ("22664-7", "9.2", "mmol/L", "25.76"),
    ("718-7", "115", "g/L", "11.5"),
    ("2160-0", "100", "umol/L", "1.1312"),
    ("2345-7", "10", "mmol/L", "180.16"),
    ("2019-8", "7.8", "kPa", "58.5"),
    ("32693-4", "9.01", "mg/dL", "1.0000199"),
    ("751-8", "200", "/uL", "0.2"),
    ("1988-5", "1.2", "mg/dL", "12"),
    ("3150-0", "21", "%", "0.21"),
    ("59408-5", "0.93", "1", "93"),
    ("2744-1", "7.31", "", "7.31"),
    ("9192-6", "1.4", "L", "1400"),
    ("UMB-SXDUR", "0.5", "h", "30"),
    ("UMB-WTGAIN", "5", "[lb_av]", "2.268"),
    ("8867-4", "+88.", "/min", "88"),
    ("8867-4", "88.5", "{beats}/min", "88.5"),
    ("1988-5", ".5", "mg/L", "0.5"),
]


@pytest.mark.parametrize(("code", "sent", "unit", "expected"), EXACT)
def test_units_convert_exactly(code: str, sent: str, unit: str, expected: str) -> None:
    value = value_of(obx(code, sent, unit))
    assert value == Decimal(expected)
    assert "E" not in str(value)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(lambda each: abs(each) < 10**40),
    st.sampled_from(
        [Conversion(), Conversion(Decimal("88.4")), Conversion(Decimal(1), Decimal(32), Decimal("1.8"))]
    ),
)
def test_a_converted_number_has_one_form(value: Decimal, conversion: Conversion) -> None:
    """As it is written out in full: a number that ends in noughts is not 1E+2."""
    exact = Context(prec=28)
    shifted = exact.subtract(value, conversion.subtract)
    whole = exact.divide(exact.multiply(shifted, conversion.factor), conversion.divide).normalize(exact)
    assert conversion.apply(value).as_tuple() == Decimal(format(whole, "f")).as_tuple()


def test_the_original_and_where_it_stood_are_kept() -> None:
    found = read(obx("22664-7", "9.2", "mmol/L"), SITE)
    assert isinstance(found, Fact)
    assert (found.fact, found.original, found.source) == ("bun", "9.2 mmol/L", "ZZ-0001 OBX[1]-5")


@pytest.mark.parametrize(
    ("unit", "reason"),
    [("", "unit_missing"), ("mg/L", "unit_unfit"), ("Mg/dL", "unit_unknown"), ("mmol", "unit_unknown")],
)
def test_a_unit_that_does_not_do_makes_the_fact_unknown(unit: str, reason: str) -> None:
    assert reason_of(obx("3094-0", "28", unit)) == reason


NUMBER_REASONS = (
    *("empty", "not_a_number", "number_too_long", "comma_in_number", "exponent_in_number", "unit_in_number"),
    *("flag_in_number", "range", "ratio", "graded", "impossible"),
)


@given(st.text(max_size=12))
def test_a_number_is_read_or_refused_and_never_raises(text: str) -> None:
    found = read(obx("8867-4", text, "/min"), SITE)
    if isinstance(found, Fact) and isinstance(found.value, Interval):
        assert text.strip()[0] in "<>≤≥"
    elif isinstance(found, Fact):
        assert found.value == Decimal(text.strip().removeprefix("=").strip())
        assert Decimal(str(found.value)).is_finite()
    else:
        assert found.reason in NUMBER_REASONS


NO_LIMIT = [(text, None) for text in (">19", "0-0", "neg", "0-1.2.3", "<", "-")]


@pytest.mark.parametrize(
    ("reference", "limit"),
    [
        ("0-19", "19"),
        ("0.0 - 0.04", "0.04"),
        ("<19", "19"),
        ("<= 14", "14"),
        ("", None),
        ("19", None),
        *NO_LIMIT,
    ],
)
def test_troponin_limits(reference: str, limit: str | None) -> None:
    assert upper_limit(reference) == (None if limit is None else Decimal(limit))


@given(st.text(max_size=10))
def test_any_reference_range_is_survived(text: str) -> None:
    limit = upper_limit(text)
    assert limit is None or limit > 0


def test_troponin_is_a_multiple_of_its_own_limit() -> None:
    ratio = value_of(obx("67151-1", "8", "ng/L", reference_range="0-19"))
    assert isinstance(ratio, Decimal) and round(ratio, 4) == Decimal("0.4211")
    assert value_of(obx("67151-1", "19", "ng/L", reference_range="0-19")) == 1  # at the limit, not above
    assert reason_of(obx("67151-1", "8", "ng/L")) == "no_upper_limit"


# --- OBX-11, codes, times ---------------------------------------------------------------------------------


def test_result_status_decides_whether_there_is_a_value() -> None:
    for status in ("F", "C", "P", "A", "B", "V"):
        found = read(obx("8867-4", "88", "/min", status=status), SITE)
        assert isinstance(found, Fact) and found.preliminary == (status == "P")
    for status in ("X", "I", "S", "R", "O", "N", "U", "", "?"):
        name = {"": "none", "?": "unlisted"}.get(status, status)
        assert reason_of(obx("8867-4", "88", "/min", status=status)) == f"status_{name}"
    for status in ("D", "W"):
        found = read(obx("8867-4", "88", "/min", status=status), SITE)
        assert isinstance(found, Unusable) and found.withdraws
    assert reason_of(obx("8867-4", "  ", "/min")) == "empty"


def test_loinc_first_then_the_site_and_nothing_else() -> None:
    both = obx("UMB-TELE", "88", "/min", alternate=Coded("8867-4", "", "LN"))
    found = read(both, SITE)
    assert isinstance(found, Fact) and found.fact == "heart_rate"
    assert reason_of(obx("8867-4", "88", "/min", code=Coded("8867-4", "", "L"))) == "unmapped"
    assert reason_of(obx("8867-4", "88", "/min", code=Coded("99999-9", "", "LN"))) == "unmapped"


def test_a_time_needs_its_minutes() -> None:
    assert value_of(obx("UMB-CARESTART", "202603022215", value_type="TS")) == "2026-03-02T22:15:00-05:00"
    assert (
        value_of(obx("UMB-CARESTART", "20260303031500+0000", value_type="TS")) == "2026-03-02T22:15:00-05:00"
    )
    for text in ("20261302221500", "tomorrow", "2026030225150000", "2026"):
        assert reason_of(obx("UMB-CARESTART", text, value_type="TS")) == "not_a_time"
    for text in ("20260302", "2026030222", "20260302-0500"):
        assert reason_of(obx("UMB-CARESTART", text, value_type="TS")) == "time_without_minutes"


@given(st.text(max_size=26))
def test_any_time_is_survived(text: str) -> None:
    moment = read_time(text, SITE)
    assert moment is None or moment.tzinfo is not None


# --- results that correct one another -------------------------------------------------------------------


def result(at: int, status: str, value: str | None, sent: int, seq: int = 0, report: str = "ZZ1") -> Result:
    number = None if value is None else Decimal(value)
    kind = kind_of(status, "")
    assert kind is not None
    place = (at, report, "LAB^99LAB", "8867-4", "", at, at, 0, "1")
    return Result(*place, kind, sent, seq, 1, number, "", "")


def current(results: list[Result]) -> list[object]:
    held = ResultList()
    for each in results:
        held.add(each)
    return [each.value for each in held if each.value is not None]


@pytest.mark.parametrize(
    ("results", "left"),
    [
        ([result(5, "F", "88", 1), result(5, "C", "98", 2)], [98]),
        ([result(5, "F", "88", 1), result(5, "W", None, 2)], []),
        ([result(5, "F", "88", 1), result(5, "C", None, 2)], []),  # a correction in an unknown unit
        ([result(5, "P", "80", 1), result(5, "F", "88", 2)], [88]),
        ([result(5, "F", "88", 1), result(5, "X", None, 2)], []),
        ([result(5, "F", "88", 1), result(5, "C", "98", 2), result(5, "F", "88", 1)], [98]),  # sent once more
        ([result(5, "C", "98", 2), result(5, "F", "88", 3)], []),  # it may be what the correction replaced
        ([result(5, "F", "88", 1), result(5, "W", None, 2), result(5, "C", "90", 3)], [90]),
        ([result(5, "F", "88", 1), result(6, "C", "98", 2)], [98]),  # whatever time it carries
        ([result(5, "F", "88", 1), result(5, "W", None, 2, report="ZZ2")], [88]),
    ],
)
def test_corrections_and_withdrawals_find_their_result_in_any_order(
    results: list[Result], left: list[int]
) -> None:
    for order in itertools.permutations(results):
        assert current(list(order)) == left


@given(st.permutations([result(n % 9, s, str(n), n, n) for n, s in enumerate("FPCFWFXUCPFFCDF")]))
def test_results_commute(results: list[Result]) -> None:
    assert current(results) == current(sorted(results))


@given(st.permutations(range(60)), st.integers(0, 60))
def test_a_long_list_keeps_both_ends_whatever_the_order(order: list[int], cut: int) -> None:
    everything = range(FIRST_KEPT + NEWEST_KEPT + 60)
    late = [everything[-1 - n] if n % 2 else everything[n * 7] for n in order]
    held = ResultList()
    for n in [n for n in everything if n not in late] + late[cut:] + late[:cut]:
        held.add(result(n, "F", str(n), n, n))
    assert [each.at for each in held] == [*everything[:FIRST_KEPT], *everything[-NEWEST_KEPT:]]


@given(st.integers(0, 1 << 32), st.sampled_from([None, 4, 10, 100]), st.sampled_from([1, 3, 50]))
@settings(max_examples=150)
def test_a_look_says_what_going_through_the_window_would(seed: int, hours: int | None, spread: int) -> None:
    """Late results, corrections, a dropped middle, a window that steps back, another patient's results."""

    random = Random(seed)

    def rank(each: Result) -> Decimal:
        return Decimal(str(each.value))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("umbridge.stay.results.by_time.FIRST_KEPT", random.choice([1, 2, 4]))
        patch.setattr("umbridge.stay.results.by_time.NEWEST_KEPT", random.choice([5, 9]))
        held, now, own, kept = ResultList(), 0, "1", random.choice([1, 3, 4])
        for seq in range(100):
            now += random.choice([0, 0, 1, 2])
            at = now if random.random() < 0.93 else max(0, now - random.randrange(8))
            value = random.choice([None, *[str(random.randrange(spread))] * 6])
            made = result(at, random.choice("PFC"), value, 0, seq, random.choice("xy"))
            held.add(made._replace(patient=random.choice("1112")))
            own = random.choice("12") if random.random() < 0.02 else own
            last = now if random.random() < 0.9 else max(0, now - random.randrange(5))
            first = None if hours is None else last - hours
            look = held.look("", first, last, own, own.__eq__, rank, kept)
            usable = [e for e in held.between(first, last) if e.value is not None and e.patient == own]
            if look is None:
                assert not usable
                continue
            assert look.newest == usable[-kept:]
            assert look.low is min(usable, key=rank)
            assert look.high is max(usable, key=rank)


def test_windows_are_closed_on_both_sides() -> None:
    held = ResultList()
    for at in (1, 5, 9):
        held.add(result(at, "F", "1", at, report=""))
        held.add(result(at, "F", "2", at, report="\U0010ffff"))
    assert [each.at for each in held.between(5, 9)] == [5, 5, 9, 9]
    assert [each.at for each in held.between(6, 8)] == []
    assert [each.at for each in held.between(None, 5)] == [1, 1, 5, 5]


def test_microseconds_survive_a_row() -> None:
    one = result(int(timedelta(days=20_000) / timedelta(microseconds=1)) + 1, "F", "7.31", 3)
    assert list(stated(["1", 3, 0, "ZZ1", "LAB^99LAB", [one.written("heart_rate")], "", ""])) == [
        ("heart_rate", one)
    ]
