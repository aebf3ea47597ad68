"""What each spelling of a value comes to, value by value; and that every failure has its own reason."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbridge.errors import ConfigError, ContentError
from umbridge.hl7.er7 import parse
from umbridge.hl7.translate import translate
from umbridge.model import Observation
from umbridge.settings.site import DEFAULT_SITE, SiteProfile, default_site, parse_site
from umbridge.stay.dictionary import dictionary
from umbridge.stay.facts import Fact, known_units, read
from umbridge.stay.profile import check_site
from umbridge.stay.reasons import BY_STATUS, SILENT, Reason
from umbridge.stay.units import is_same, parse_aliases, shipped
from umbridge.values.interval import Interval

SITE = default_site()
PAGE = Path(__file__).parents[1] / "docs/values.md"
HEADER = "MSH|^~\\&|ZZEHR|UMBH|||20260302120000||ORU^R01^ORU_R01|ZZ-1|P|2.5.1\r"


def observed(
    kind: str, value: str, unit: str = "", code: str = "UMB-SXDUR^^99UMB", limits: str = ""
) -> Observation:
    """One OBX read from its bytes, of a fact that has no range of what is possible."""
    frame = f"{HEADER}OBX|1|{kind}|{code}||{value}|{unit}|{limits}||||F|||20260302113000\r"
    (one,) = translate(parse(frame.encode()), SITE.zone).observations
    return one


def came_to(observation: Observation, site: SiteProfile = SITE) -> object:
    """The value, or the reason."""
    found = read(observation, site)
    return found.value if isinstance(found, Fact) else found.reason


def profile(more: str) -> SiteProfile:
    return parse_site(DEFAULT_SITE.read_bytes() + more.encode(), "zz.toml")


# --- numbers --------------------------------------------------------------------------------------------

NUMBERS = [
    ("NM", "129", "129"),
    ("NM", "129.0", "129.0"),
    ("NM", " 129 ", "129"),
    ("NM", "+129.", "129"),
    ("NM", ".5", "0.5"),
    ("NM", "-0.5", "-0.5"),
    ("NM", "\\H\\131\\N\\", "131"),
    ("ST", "\\H\\131", "131"),
    ("FT", "131\\.br\\", "131"),
    ("FT", "\\.in+4\\131\\.sp2\\", "131"),
    ("SN", "^128", "128"),
    ("SN", "=^128", "128"),
    ("SN", "^128^^", "128"),
    ("SN", "128", "128"),
    ("ST", "127", "127"),
    ("ST", "=127", "127"),
    ("TX", "127", "127"),
    ("FT", "127", "127"),
    ("", "127", "127"),
    ("CWE", "126^^L", "126"),
    ("ID", "126", "126"),
    ("ZZ", "126", "126"),
]


@pytest.mark.parametrize(("kind", "sent", "value"), NUMBERS)
def test_what_is_wholly_a_number_is_that_number(kind: str, sent: str, value: str) -> None:
    assert came_to(observed(kind, sent, "min")) == Decimal(value)


NO_NUMBERS = [
    ("NM", "", Reason.EMPTY),
    ("NM", '""', Reason.NULL),
    ("NM", ' "" ', Reason.NULL),
    ("NM", " ", Reason.EMPTY),
    ("NM", "abc", Reason.NOT_A_NUMBER),
    ("NM", "12^3", Reason.NOT_A_NUMBER),
    ("NM", "NaN", Reason.NOT_A_NUMBER),
    ("NM", "Infinity", Reason.NOT_A_NUMBER),
    ("NM", "12 3", Reason.NOT_A_NUMBER),
    ("NM", "--5", Reason.NOT_A_NUMBER),
    ("SN", "abc", Reason.NOT_A_NUMBER),
    ("NM", "1" * 21, Reason.NUMBER_TOO_LONG),
    ("ST", "0." + "1" * 21, Reason.NUMBER_TOO_LONG),
    ("NM", "1,200", Reason.COMMA_IN_NUMBER),
    ("ST", "12,5", Reason.COMMA_IN_NUMBER),
    ("ST", "1.200,5", Reason.COMMA_IN_NUMBER),
    ("ST", "<1,200", Reason.COMMA_IN_NUMBER),
    ("NM", ",5", Reason.COMMA_IN_NUMBER),
    ("NM", "1.2e3", Reason.EXPONENT_IN_NUMBER),
    ("ST", "1E-3", Reason.EXPONENT_IN_NUMBER),
    ("ST", "129 mmol/L", Reason.UNIT_IN_NUMBER),
    ("ST", "129mEq/L", Reason.UNIT_IN_NUMBER),
    ("NM", "<129 mmol/L", Reason.UNIT_IN_NUMBER),
    ("ST", "129 H", Reason.FLAG_IN_NUMBER),
    ("ST", "129*", Reason.FLAG_IN_NUMBER),
    ("ST", "129 (L)", Reason.FLAG_IN_NUMBER),
    ("ST", "3-5", Reason.RANGE),
    ("ST", "3 - 5", Reason.RANGE),
    ("SN", "^3^-^5", Reason.RANGE),
    ("SN", "^1^:^8", Reason.RATIO),
    ("SN", "^1^/^8", Reason.RATIO),
    ("ST", "120/80", Reason.RATIO),
    ("SN", "^2^+", Reason.GRADED),
    ("ST", "2+", Reason.GRADED),
    ("ST", "+++", Reason.GRADED),
    ("SN", "<>^6", Reason.COMPARATOR_UNKNOWN),
    ("SN", "-^6", Reason.COMPARATOR_UNKNOWN),  # joined it would be minus six
    ("SN", "~^6", Reason.REPEATED),
    ("SN", "^1^.^5", Reason.SEPARATOR_UNKNOWN),  # joined it would be one and a half
    ("SN", "^1^^5", Reason.SEPARATOR_UNKNOWN),  # joined it would be fifteen
    ("SN", "^^-^5", Reason.SEPARATOR_UNKNOWN),
    ("SN", "&lt;^63", Reason.COMPARATOR_UNKNOWN),  # from an XML engine: cut at the & it would be 63
    ("SN", "&gt;^63", Reason.COMPARATOR_UNKNOWN),
    ("SN", "\\T\\lt;^63", Reason.COMPARATOR_UNKNOWN),
    ("SN", "LT^63", Reason.COMPARATOR_UNKNOWN),
    ("SN", '""^63', Reason.COMPARATOR_UNKNOWN),  # HL7's null is no comparator
    ("SN", "=<^63", Reason.COMPARATOR_UNKNOWN),
    ("SN", "＜^63", Reason.COMPARATOR_UNKNOWN),
    ("SN", "63^", Reason.COMPARATOR_UNKNOWN),
    ("SN", "6^-^7", Reason.COMPARATOR_UNKNOWN),
    ("SN", "1^:^128", Reason.COMPARATOR_UNKNOWN),
    ("SN", "2^+", Reason.COMPARATOR_UNKNOWN),
    ("SN", "=^6&9", Reason.NOT_A_NUMBER),
    ("SN", "^6&9", Reason.NOT_A_NUMBER),
    ("SN", "^63^^^9", Reason.SEPARATOR_UNKNOWN),
    ("SN", "&^63", Reason.COMPARATOR_UNKNOWN),
    ("NM", "6&9", Reason.NOT_A_NUMBER),
    ("CWE", "6&9^^L", Reason.CODED_NOT_A_NUMBER),
    ("CP", "6&USD", Reason.TYPE_NOT_A_NUMBER),
    ("ST", "&lt;63", Reason.COMMENT),
    ("NM", "&lt;63", Reason.NOT_A_NUMBER),
    ("ST", "＜63", Reason.COMMENT),
    ("ST", "６３", Reason.COMMENT),
    ("ST", "6\\.in+4\\3", Reason.COMMENT),  # a line begins anew between the two
    ("ST", "6\\.br\\3", Reason.COMMENT),
    ("ST", "see report", Reason.COMMENT),
    ("TX", "Called to ward at 8", Reason.COMMENT),
    ("TX", "Called~to ward", Reason.COMMENT),
    ("FT", "129 mmol per liter", Reason.COMMENT),
    ("", "pending", Reason.COMMENT),
    ("ST", "less than 6", Reason.COMMENT),
    ("ST", "10^3", Reason.COMMENT),
    ("CWE", "LA6560-2^Confused^LN", Reason.CODED_NOT_A_NUMBER),
    ("ED", "ZZAPP^AP^PDF^Base64^AAAA", Reason.TYPE_NOT_A_NUMBER),
    ("NM", "121~133", Reason.REPEATED),
    ("ST", "121~133", Reason.REPEATED),
]


@pytest.mark.parametrize(("kind", "sent", "reason"), NO_NUMBERS)
def test_what_is_no_number_has_its_own_reason(kind: str, sent: str, reason: Reason) -> None:
    assert came_to(observed(kind, sent, "min")) is reason


@given(
    st.sampled_from(["NM", "SN", "ST", "TX", "FT", "", "CWE", "CE", "ID", "TS", "DT", "ED", "ZZ"]),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="|\r\n"), max_size=14)
    | st.from_regex(r"[<>=]{0,2}\^?[0-9.,+:/eE<=H^ -]{0,8}", fullmatch=True),
    st.sampled_from(["", "mmol/L", "mEq/L", "mg/dL", "zz"]),
    st.sampled_from(
        ["2951-2^^LN", "67151-1^^LN", "67775-7^^LN", "UMB-CONF^^99UMB", "UMB-ONSET^^99UMB", "ZZ^^L"]
    ),
)
def test_reading_is_total_and_every_reason_is_of_the_table(
    kind: str, sent: str, unit: str, code: str
) -> None:
    found = came_to(observed(kind, sent, unit, code))
    assert isinstance(found, Reason | Decimal | Interval | bool | str)
    assert isinstance(found, Reason) or found != ""


@given(st.decimals(min_value=-9999, max_value=9999, places=4), st.sampled_from(["NM", "SN", "ST", "TX", ""]))
def test_one_number_is_the_same_number_in_every_type(value: Decimal, kind: str) -> None:
    sent = f"^{value:f}" if kind == "SN" else f"{value:f}"
    assert came_to(observed(kind, sent, "min")) == value


#: What a person would read as one number and nothing else; of SN the number stands behind its comparator.
PLAINLY = re.compile(r"\s*(?:=\s*)?[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)\s*\^*\s*")
PLAINLY_STRUCTURED = re.compile(r"\s*=?\s*(?:\^\s*)?[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)\s*&*\s*[\^& ]*")


@given(
    st.sampled_from(["NM", "SN", "ST", "TX", "FT"]),
    st.text(st.sampled_from("0069..^^^&<>=≤-+:/;ltg ６＜eE,"), max_size=9),
)
def test_what_is_not_plainly_a_number_never_becomes_one(kind: str, sent: str) -> None:
    found = came_to(observed(kind, sent, "min"))
    if isinstance(found, Decimal):
        assert (PLAINLY_STRUCTURED if kind == "SN" else PLAINLY).fullmatch(sent)


BOUNDS = [
    ("NM", "<6", "<6"),
    ("NM", "< 6.0", "<6"),
    ("SN", "<^6", "<6"),
    ("SN", "<=^6", "<=6"),
    ("SN", ">^600", ">600"),
    ("SN", ">=^600", ">=600"),
    ("ST", ">600", ">600"),
    ("TX", "> 600", ">600"),
    ("", "<=.5", "<=0.5"),
    ("ST", "≤6", "<=6"),
    ("FT", "≥ 6", ">=6"),
    ("CWE", "<6^^L", "<6"),
]


@pytest.mark.parametrize(("kind", "sent", "shown"), BOUNDS)
def test_a_bound_is_an_interval_and_no_number(kind: str, sent: str, shown: str) -> None:
    found = came_to(observed(kind, sent, "min"))
    assert isinstance(found, Interval) and str(found) == shown


@pytest.mark.parametrize(
    ("code", "sent", "unit", "limits", "shown"),
    [
        ("22664-7", "<2.5", "mmol/L", "", "<7"),  # times 2.8
        ("8310-5", ">=100.4", "degF", "", ">=38"),
        ("718-7", "<=70", "g/L", "", "<=7"),
        ("67151-1", "<7", "ng/L", "0-14", "<0.5"),
        ("67151-1", ">28", "ng/L", "<=14", ">2"),
    ],
)
def test_units_and_limits_go_to_the_bound(code: str, sent: str, unit: str, limits: str, shown: str) -> None:
    assert str(came_to(observed("NM", sent, unit, f"{code}^^LN", limits))) == shown


@pytest.mark.parametrize(
    ("sent", "unit", "reason"),
    [("<6", "", Reason.UNIT_MISSING), ("<6", "zz", Reason.UNIT_UNKNOWN), ("< 6 >", "min", Reason.COMMENT)],
)
def test_a_bound_without_its_unit_is_not_used(sent: str, unit: str, reason: Reason) -> None:
    assert came_to(observed("ST", sent, unit)) is reason


# --- yes and no -----------------------------------------------------------------------------------------

ANSWERS = [
    ("CWE", "Y^Yes^HL70136", True),
    ("CE", "N^No^HL70136", False),
    ("CNE", "Y", True),
    ("ID", "N", False),
    ("IS", "Y^^HL70532", True),
    ("ST", "Y", True),
    ("ST", " N ", False),
    ("", "Y", True),
    ("", "N^No^HL70136", False),
    ("TX", "N", False),
    ("CWE", "LA33-6^Yes^LN", True),
    ("CWE", "LA32-8^No^LOINC", False),
    ("CWE", "LA32-8^No^2.16.840.1.113883.6.1", False),
    ("CWE", "LA33-6", True),
    ("ST", "LA33-6", True),
    ("CWE", "373066001^Yes^SCT", True),
    ("CWE", "373067005^No^SNOMED-CT", False),
    ("CWE", "ZZJ^Ja^L^LA33-6^Yes^LN", True),
    ("CWE", "^^^N^No^HL70136", False),
    ("CWE", "Y^Yes^HL70136^LA33-6^Yes^LN", True),
    ("CWE", "Y^Yes^HL70136^LA32-8^No^LN", Reason.ANSWERS_DISAGREE),
    ("CWE", "LA33-6^Yes^L", Reason.NOT_YES_OR_NO),  # L is a local system: its LA33-6 may be anything
    ("CWE", "373066001^Yes^LN", Reason.NOT_YES_OR_NO),
    ("CWE", "UNK^Unknown^HL70532", Reason.ANSWERED_UNKNOWN),
    ("CWE", "ASKU", Reason.ANSWERED_UNKNOWN),
    ("CWE", "NAV^^HL70532", Reason.ANSWERED_UNKNOWN),
    ("CWE", "U^Undetermined^L", Reason.NOT_YES_OR_NO),
    ("CWE", "y", Reason.NOT_YES_OR_NO),
    ("ST", "Yes", Reason.NOT_YES_OR_NO),
    ("NM", "1", Reason.NOT_YES_OR_NO),
    ("ED", "ZZ^AP^PDF", Reason.NOT_YES_OR_NO),
    ("TX", "looks unwell", Reason.COMMENT),
    ("CWE", "Y~N", Reason.REPEATED),
    ("CWE", "", Reason.EMPTY),
]


@pytest.mark.parametrize(("kind", "sent", "value"), ANSWERS)
def test_yes_and_no(kind: str, sent: str, value: object) -> None:
    assert came_to(observed(kind, sent, code="UMB-CONF^^99UMB")) is value


WORDS = """
[answers]
yes = ["Yes", "Positive", "1"]
no = ["No", "0"]
[answers.codes.consciousness]
"LA9340-6" = "A"
"7^99ZZ" = "V"
Drowsy = "V"
[code_systems]
99ZZ = ["ZZLAB"]
LN = ["L-LOINC"]
"""


@pytest.mark.parametrize(
    ("kind", "sent", "value"),
    [
        ("ST", "yes", True),
        ("ST", "NO", False),
        ("CWE", "POSITIVE^^L", True),
        ("CWE", "^positive", True),
        ("NM", "1", True),
        ("NM", "0", False),
        ("CWE", "LA33-6^Yes^L-LOINC", True),
        ("ST", "Negative", Reason.NOT_YES_OR_NO),
        ("CWE", "Yes^^L^LA32-8^^LN", Reason.ANSWERS_DISAGREE),
    ],
)
def test_the_words_of_the_site(kind: str, sent: str, value: object) -> None:
    assert came_to(observed(kind, sent, code="UMB-CONF^^99UMB"), profile(WORDS)) is value


# --- codes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "sent", "value"),
    [
        ("CWE", "V^Voice^99UMB", "V"),
        ("ST", "P", "P"),
        ("", "C", "C"),
        ("CWE", "^^^U", "U"),
        ("CWE", "LA9340-6^Alert^LN", "A"),
        ("CWE", "LA9340-6^Alert^LN^A^Alert^99UMB", "A"),
        ("CWE", "7^Drowsy^99ZZ", "V"),
        ("CWE", "7^Drowsy^ZZLAB", "V"),
        ("CWE", "^Drowsy", "V"),
        ("CWE", "7^Drowsy^L", Reason.CODE_UNKNOWN),
        ("CWE", "A^^L^U^^L", Reason.ANSWERS_DISAGREE),
        ("CWE", "a^^99UMB", Reason.CODE_UNKNOWN),
        ("TX", "opens eyes when called", Reason.COMMENT),
    ],
)
def test_codes(kind: str, sent: str, value: object) -> None:
    assert came_to(observed(kind, sent, code="67775-7^^LN"), profile(WORDS)) == value


# --- times ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "sent", "value"),
    [
        ("TS", "202603020915", "2026-03-02T09:15:00-05:00"),
        ("DTM", "20260302141500+0000", "2026-03-02T09:15:00-05:00"),
        ("TS", "202603020915^M", "2026-03-02T09:15:00-05:00"),
        ("DT", "202603020915", "2026-03-02T09:15:00-05:00"),
        ("ST", "20260302091500", "2026-03-02T09:15:00-05:00"),
        ("", "20260302091500", "2026-03-02T09:15:00-05:00"),
        ("DT", "20260302", Reason.TIME_WITHOUT_MINUTES),
        ("TS", "2026030209", Reason.TIME_WITHOUT_MINUTES),
        ("ST", "9 o'clock", Reason.NOT_A_TIME),
        ("TS", "20260230091500", Reason.NOT_A_TIME),
        ("NM", "202603020915", Reason.NOT_A_TIME),
        ("TX", "this morning", Reason.COMMENT),
    ],
)
def test_times(kind: str, sent: str, value: object) -> None:
    assert came_to(observed(kind, sent, code="UMB-ONSET^^99UMB")) == value


# --- units ----------------------------------------------------------------------------------------------

#: A fact's code, what 10 is in its unit, and the spellings: all of the public lists, and their neighbours.
SPELLINGS = {
    "6690-2": (
        "10",
        "K/uL 10*3/uL 10^3/uL x10E3/uL x10(3)/mcL thou/uL 10*9/L K/mm3 K/mcL x10^3/uL 10E3/uL THOU/uL "
        "x10E9/L 10^9/L G/L k/ul K/UL X10^3/UL K/cumm K/µL K/μL 10^3/mcL 10^3/mm^3 K/mm^3 "
        "10\\S\\3/uL 10^3/uL^^UCUM",
    ),
    "2951-2": ("10", "mmol/L mEq/L meq/L MEQ/L mmol/l MMOL/L meq/l mM MEq/L"),
    "2524-7": ("10", "mmol/L mEq/L mmol/l"),
    "2160-0": ("10", "mg/dL mg/dl MG/DL mg/100mL mg%"),
    "718-7": ("10", "g/dL gm/dL g/dl G/DL gm/dl GM/DL"),
    "8867-4": ("10", "/min bpm {beats}/min beats/min BPM /minute 1/min"),
    "9279-1": ("10", "/min {breaths}/min br/min breaths/min rpm Breaths/Min"),
    "8480-6": ("10", "mm[Hg] mmHg MMHG torr mm(Hg)"),
    "8310-5": ("10", "Cel degC C DegC °C Celsius"),
    "59408-5": ("10", "% percent pct Percent"),
    "3151-8": ("10", "L/min L/m lpm LPM l/min L/MIN"),
    "2744-1": ("10", "[pH] pH units {pH} PH"),
    "8633-0": ("10", "ms msec MS"),
}
OTHERS = [
    ("8480-6", "mm Hg", "10"),
    ("8310-5", "deg C", "10"),
    ("8310-5", "[degF]", None),
    ("8310-5", "degF", None),
    ("8310-5", "F", None),
    ("8310-5", "deg F", None),
    ("8310-5", "DegF", None),
    ("8310-5", "°F", None),
    ("6690-2", "/uL", "0.01"),
    ("718-7", "G/L", "1"),  # of haemoglobin the gram in capitals; of cells the giga
    ("718-7", "g/L", "1"),
    ("2160-0", "umol/L", "0.11312"),
    ("2160-0", "\N{MICRO SIGN}mol/L", "0.11312"),
    ("2160-0", "\N{GREEK SMALL LETTER MU}mol/L", "0.11312"),
    ("2160-0", "mcmol/L", "0.11312"),
    ("2744-1", "", "10"),
    ("8633-0", "sec", "10000"),
    ("UMB-OPTXH", "hrs", "10"),
    ("UMB-OPTXH", "days", "240"),
    ("UMB-NEDOSE", "mcg/kg/min", "10"),
    ("UMB-NEDOSE", "\N{MICRO SIGN}g/kg/min", "10"),
]


#: What is sent instead of 10 where no living patient has that.
LIVING = {
    **dict.fromkeys(("2951-2", "8867-4", "8480-6", "59408-5"), Decimal(100)),
    **{"2744-1": Decimal(7), "8633-0": Decimal(400), "8633-0 sec": Decimal("0.4")},
}


def spelled(code: str, unit: str) -> object:
    system = "99UMB" if code.startswith("UMB-") else "LN"
    sent = LIVING.get(f"{code} {unit}") or LIVING.get(code, Decimal(10))
    found = came_to(observed("NM", str(sent), unit, f"{code}^^{system}"))
    return found * 10 / sent if isinstance(found, Decimal) else found


@pytest.mark.parametrize(
    ("code", "unit", "value"),
    [(code, unit, value) for code, (value, units) in SPELLINGS.items() for unit in units.split()],
)
def test_each_spelling_is_its_unit(code: str, unit: str, value: str) -> None:
    assert spelled(code, unit) == Decimal(value)


@pytest.mark.parametrize(("code", "unit", "value"), OTHERS)
def test_spellings_that_convert(code: str, unit: str, value: str | None) -> None:
    if value is None:  # degrees Fahrenheit
        found = came_to(observed("NM", "100", unit, f"{code}^^LN"))
        assert isinstance(found, Decimal) and round(found, 4) == Decimal("37.7778")
    else:
        assert spelled(code, unit) == Decimal(value)


@pytest.mark.parametrize(
    ("code", "unit", "reason"),
    [
        ("2160-0", "Mg/dL", Reason.UNIT_UNKNOWN),  # mega, or a slip: not guessed
        ("2951-2", "Mmol/L", Reason.UNIT_UNKNOWN),
        ("2951-2", "MM", Reason.UNIT_UNKNOWN),
        ("2951-2", "mm", Reason.UNIT_UNKNOWN),
        ("2951-2", "zz", Reason.UNIT_UNKNOWN),
        ("8310-5", "CEL", Reason.UNIT_UNKNOWN),
        ("8310-5", "c", Reason.UNIT_UNKNOWN),
        ("8310-5", "deg", Reason.UNIT_UNFIT),
        ("6690-2", "g/L", Reason.UNIT_UNFIT),
        ("718-7", "mmol/L", Reason.UNIT_UNFIT),
        ("22664-7", "mEq/L", Reason.UNIT_UNFIT),  # urea has no charge
        ("2951-2", "", Reason.UNIT_MISSING),
        ("8480-6", "", Reason.UNIT_MISSING),
    ],
)
def test_units_that_do_not_do(code: str, unit: str, reason: Reason) -> None:
    assert spelled(code, unit) is reason


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("12^^L^mg/dL^^UCUM", Decimal(10)),
        ("umol/L^^UCUM^mg/dL", Decimal("0.11312")),  # the first that will do
        ("mg/L^^UCUM^mg/dL", Decimal(10)),
        ("12^^L^13", Reason.UNIT_UNKNOWN),
        ("12^^L^mg/L", Reason.UNIT_UNFIT),
        ("^^^mg/dL", Decimal(10)),
    ],
)
def test_the_alternate_unit(unit: str, value: object) -> None:
    assert came_to(observed("NM", "10", unit, "2160-0^^LN")) == value


UNITS = """
[units_of_measure]
"conv" = "mg/dL"
"G/L" = "g/L"
[units_of_measure.fact.creatinine]
conv = "umol/L"
[units_of_measure.unsent.LN]
"1963-8" = "mmol/L"
[units_of_measure.unsent.99UMB]
UMB-OPTXH = "d"
"""


@pytest.mark.parametrize(
    ("code", "unit", "value"),
    [
        ("2345-7^^LN", "conv", Decimal(10)),
        ("2345-7^^LN", "c onv", Decimal(10)),
        ("2345-7^^LN", "CONV", Reason.UNIT_UNKNOWN),  # the site's are compared as they stand
        ("2160-0^^LN", "conv", Decimal("0.11312")),
        ("6690-2^^LN", "G/L", Reason.UNIT_UNFIT),  # the site's word wins
        ("1963-8^^LN", "", Decimal(10)),
        ("2823-3^^LN", "", Reason.UNIT_MISSING),
        ("UMB-OPTXH^^99UMB", "", Decimal(240)),
        ("UMB-OPTXH^^99UMB", "h", Decimal(10)),
    ],
)
def test_the_units_of_the_site(code: str, unit: str, value: object) -> None:
    assert came_to(observed("NM", "10", unit, code), profile(UNITS)) == value


def test_every_alias_names_a_unit_that_some_fact_has_and_says_why() -> None:
    accepted = {unit for kind in dictionary().values() for unit in kind.accepts}
    assert {alias.unit for alias in shipped()} <= accepted
    assert {alias.fact for alias in shipped()} - {""} <= dictionary().keys()


def test_no_spelling_means_two_units_for_one_fact() -> None:
    """Neither as listed nor in the other cases that count the same."""
    units = known_units(SITE)
    for alias in shipped():
        for spelling in {alias.spelling, alias.spelling.upper(), alias.spelling.lower()}:
            for fact in (alias.fact,) if alias.fact else ("sodium", "hemoglobin", "wbc"):
                meant = {
                    each.unit
                    for each in shipped()
                    if each.fact in (fact, "") and not each.is_exact and is_same(spelling, each.spelling)
                }
                assert len(meant) <= 1, (spelling, fact, meant)
        assert units.find(alias.spelling, alias.fact or "sodium") == alias.unit


@given(st.text(max_size=8), st.sampled_from(sorted(dictionary())))
def test_any_unit_is_survived(text: str, fact: str) -> None:
    assert known_units(SITE).find(text, fact) in {"", *(u for k in dictionary().values() for u in k.accepts)}


@pytest.mark.parametrize(
    "text",
    [
        "[[alias]]\nunit='x'",
        "[[alias]]\nunit='x'\nwhy='y'\ncolour='red'",
        "alias = [1]",
        "[x",
        "[x]",
    ],
)
def test_a_damaged_unit_table_is_refused(text: str) -> None:
    with pytest.raises(ContentError, match=r"units\.toml"):
        parse_aliases(text)


# --- coding systems -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "is_read"),
    [
        ("2951-2^^LN", True),
        ("2951-2^^LOINC", True),
        ("2951-2^^ln", True),
        ("2951-2^^2.16.840.1.113883.6.1", True),
        ("2951-2^^L-LOINC", True),
        ("2951-2^^L", False),
        ("ZZNA^^L^2951-2^^L-LOINC", True),
        ("UMB-OPTXH^^99UMB", False),
    ],
)
def test_local_names_of_coding_systems(code: str, is_read: bool) -> None:
    found = came_to(observed("NM", "129", "mmol/L", code), profile(WORDS))
    assert (found == Decimal(129)) is is_read


def test_local_systems_have_other_names_too() -> None:
    site = profile('[code_systems]\n99UMB = ["ZZ9"]\n')
    assert came_to(observed("NM", "72", "h", "UMB-OPTXH^^ZZ9"), site) == Decimal(72)
    assert came_to(observed("NM", "72", "h", "UMB-OPTXH^^ZZ9")) is Reason.UNMAPPED


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('[code_systems]\nLN = ["Z"]\nSCT = ["z"]\n', "code_systems.SCT"),
        ("[code_systems]\nLN = 3\n", "code_systems.LN"),
        ('[answers]\nyes = ["ja"]\nno = ["Ja"]\n', "answers.no"),
        ('[answers]\nmaybe = ["ja"]\n', "answers.maybe"),
        ('[answers.codes.sodium]\nX = "A"\n', "answers.codes.sodium"),
        ('[answers.codes.consciousness]\nX = "Q"\n', "answers.codes.consciousness.X"),
        ('[units_of_measure]\nzz = "furlong"\n', "units_of_measure.zz"),
        ("[units_of_measure]\nzz = 3\n", "units_of_measure.zz"),
        ('[units_of_measure.fact.sodium]\nzz = "mg/dL"\n', "units_of_measure.fact.sodium.zz"),
        ('[units_of_measure.fact.unicorn]\nzz = "mg/dL"\n', "units_of_measure.fact.unicorn"),
        ('[units_of_measure.unsent.LN]\n"2951-2" = "mg/dL"\n', "units_of_measure.unsent.LN.2951-2"),
        ('[units_of_measure.unsent.LN]\n"0-0" = "mg/dL"\n', "units_of_measure.unsent.LN.0-0"),
    ],
)
def test_a_slip_in_the_profile_is_named(more: str, key: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"zz.toml: {key}: expected")):
        check_site(profile(more))


def test_a_profile_that_says_all_of_it_is_right() -> None:
    check_site(profile(WORDS + UNITS))


# --- the table of reasons -------------------------------------------------------------------------------


def test_the_page_lists_every_reason_with_its_sentence() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE))
    assert rows == {reason.value: reason.says for reason in Reason}


def test_no_reason_is_a_catch_all() -> None:
    assert not {"other", "unknown", "invalid", "error"} & {reason.value for reason in Reason}
    assert len({reason.says for reason in Reason}) == len(Reason)
    assert set(Reason) > SILENT and len(BY_STATUS) == 9


def test_every_reason_of_a_value_is_met_by_a_case_here() -> None:
    met = {reason for *_, reason in (*NO_NUMBERS, *ANSWERS)} | {
        *(
            Reason.UNIT_MISSING,
            Reason.UNIT_UNKNOWN,
            Reason.UNIT_UNFIT,
            Reason.CODE_UNKNOWN,
            Reason.NOT_A_TIME,
        ),
        *(Reason.TIME_WITHOUT_MINUTES, came_to(observed("NM", "8", "ng/L", "67151-1^^LN"))),
        *(Reason.UNMAPPED, Reason.WITHDRAWN, *BY_STATUS.values()),
        Reason.SPECIMEN_REJECTED,  # tests/test_collected.py
        came_to(observed("NM", "1400", "mmol/L", "2951-2^^LN")),
    }
    assert set(Reason) <= met


def test_names_of_coding_systems() -> None:
    meant = {"loinc": "LN", "99UMB": "99UMB", "": "", "ICD-10-CM": "I10", "9CM": "I9", "SNOMED": "SCT"}
    assert {name: SITE.spellings.system(name) for name in meant} == meant
