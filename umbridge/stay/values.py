"""OBX-5 as what its fact is: a number, yes or no, a code or a time; or the one reason why it is none.

The fact decides, OBX-2 alone does not: senders put numbers into ST and answers into any coded type. Nothing
is guessed. Whatever is sent comes to a value or to a reason, and nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from umbridge.model import Coded, Observation
from umbridge.settings.site import SiteProfile
from umbridge.stay.reasons import Reason
from umbridge.values.interval import Interval, Number

_DIGITS = r"[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})"
NUMBER = re.compile(_DIGITS + r"\Z", re.ASCII)
_BOUND = re.compile(rf"(<=|>=|<|>|=|≤|≥)\s*({_DIGITS})\Z", re.ASCII)
_SIGNS = {"≤": "<=", "≥": ">="}
#: What is nearly a number, and why it is none; the first that fits. All of them may follow a comparator.
_NEARLY = tuple(
    (reason, re.compile(rf"(?:[<>]=?|[=≤≥])?\s*{shape}\Z", re.ASCII))
    for reason, shape in (
        (Reason.NUMBER_TOO_LONG, r"[+-]?\d*\.?\d*(?<=\d)\.?"),
        (Reason.COMMA_IN_NUMBER, r"[+-]?[\d.]*\d?,[\d,.]*\d[\d,.]*"),
        (Reason.EXPONENT_IN_NUMBER, r"[+-]?(?:\d+\.?\d*|\.\d+)\s?[eE][+-]?\d+"),
        (Reason.RANGE, r"[+-]?(?:\d+\.?\d*|\.\d+)\s*(?:-|–|to)\s*(?:[<>]=?)?\s*(?:\d+\.?\d*|\.\d+)"),
        (Reason.RATIO, r"[+-]?(?:\d+\.?\d*|\.\d+)\s*[:/]\s*(?:\d+\.?\d*|\.\d+)"),
        (Reason.GRADED, r"(?:\d+\.?\d*\s*\+{1,4}\d*|\+{1,4})"),
        (Reason.FLAG_IN_NUMBER, r"[+-]?(?:\d+\.?\d*|\.\d+)\s*(?:[HLAN*!#]|HH|LL|AA|\([HLAN*!]{1,2}\))"),
    )
)
_WITH_UNIT = re.compile(rf"(?:[<>]=?|[=≤≥])?\s*({_DIGITS})\s*([^\s\d.,](?:.{{0,30}}\S)?)\Z", re.ASCII)
NULL = '""'  # deletes the value (2.5.3)
_TEXT = ("ST", "TX", "FT", "")
_REMARKS = ("TX", "FT")
_CODED = ("CWE", "CE", "CNE", "CF", "ID", "IS")
_TIMES = ("TS", "DTM", "DT", "ST", "")
COMPARATORS = ("", "<", "<=", ">", ">=", "=")  # SN-1
_YES_NO = {"Y": True, "N": False}  # tables 0136 and 0532
_ANSWERS = {
    ("LA33-6", "LN"): True,
    ("LA32-8", "LN"): False,
    ("373066001", "SCT"): True,
    ("373067005", "SCT"): False,
}
_UNKNOWN = ("NI", "NA", "UNK", "NASK", "ASKU", "NAV", "NP")  # table 0532


def number(observation: Observation) -> Number | Reason:
    """A number or a bound, in whatever unit it was sent."""
    text, kind = observation.value.strip(), observation.value_type
    if NUMBER.match(text):
        return Decimal(text)
    bound = _BOUND.match(text)
    if bound is not None:
        op, value = _SIGNS.get(bound[1], bound[1]), Decimal(bound[2])
        return value if op == "=" else Interval.bound(op, value)
    for reason, shape in _NEARLY:
        if shape.match(text):
            return reason
    if kind == "SN" and "^" in text:
        known = text.partition("^")[0] in COMPARATORS
        return Reason.SEPARATOR_UNKNOWN if known else Reason.COMPARATOR_UNKNOWN
    if kind in _TEXT:
        return Reason.COMMENT
    if kind in _CODED:
        return Reason.CODED_NOT_A_NUMBER
    return Reason.NOT_A_NUMBER if kind in ("NM", "SN") else Reason.TYPE_NOT_A_NUMBER


def unit_behind(text: str) -> str:
    """What stands behind the number in "4.9 mmol/L"; "" where nothing does."""
    found = _WITH_UNIT.match(text.strip())
    return "" if found is None else found[2]


def yes_or_no(observation: Observation, site: SiteProfile) -> bool | Reason:
    """Y or N, an answer code of LOINC or SNOMED CT, or a word that the profile names."""
    if observation.value in _YES_NO and len(observation.answers) < 2:  # as nearly all are
        return _YES_NO[observation.value]
    found: set[bool] = set()
    is_unknown = False
    for coded in _answers(observation):
        meant = _meant(coded, site)
        if meant is not None:
            found.add(meant)
        is_unknown = is_unknown or coded.code in _UNKNOWN
    if len(found) == 2:
        return Reason.ANSWERS_DISAGREE
    if found:
        return found.pop()
    if is_unknown:
        return Reason.ANSWERED_UNKNOWN
    return Reason.COMMENT if observation.value_type in _REMARKS else Reason.NOT_YES_OR_NO


def _meant(coded: Coded, site: SiteProfile) -> bool | None:
    if coded.code in _YES_NO:
        return _YES_NO[coded.code]
    for system in (site.spellings.system(coded.system),) if coded.system else ("LN", "SCT"):
        if (coded.code, system) in _ANSWERS:
            return _ANSWERS[coded.code, system]
    return site.spellings.words.get((coded.code or coded.text).casefold())


def code(observation: Observation, fact: str, codes: tuple[str, ...], site: SiteProfile) -> str | Reason:
    """One of the fact's codes, as it is or as the profile says."""
    own = site.spellings.codes.get(fact, {})
    found: set[str] = set()
    for coded in _answers(observation):
        name = coded.code or coded.text
        meant = (
            own.get(f"{name}^{site.spellings.system(coded.system)}")
            or own.get(f"{name}^{coded.system}")
            or own.get(name)
        )
        if meant is not None or coded.code in codes:
            found.add(meant or coded.code)
    if len(found) > 1:
        return Reason.ANSWERS_DISAGREE
    if found:
        return found.pop()
    return Reason.COMMENT if observation.value_type in _REMARKS else Reason.CODE_UNKNOWN


def _answers(observation: Observation) -> Iterable[Coded]:
    return observation.answers or (Coded(observation.value.strip()),)


def time_text(observation: Observation) -> str | Reason:
    """What may be a time; whether it is one, its reader says."""
    text = observation.value.strip()
    if observation.value_type not in _TIMES:
        return Reason.COMMENT if observation.value_type in _REMARKS else Reason.NOT_A_TIME
    digits = re.split(r"[+-]", text, maxsplit=1)[0]
    if digits.isascii() and digits.isdecimal() and 8 <= len(digits) < 12:
        return Reason.TIME_WITHOUT_MINUTES
    return text
