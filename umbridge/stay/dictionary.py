"""The fact dictionary: each fact with its kind, unit, codes and window, read once from dictionary.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Context, Decimal
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from umbridge.clinical.measured import CONTRADICTED
from umbridge.errors import ContentError
from umbridge.settings.charting import ASSUMPTIONS
from umbridge.values.frozen import dataclass
from umbridge.values.interval import Interval, Number
from umbridge.values.kinds import Level

EXACT = Context(prec=28)


LOINC = "LN"


@dataclass(frozen=True, slots=True)
class Conversion:
    """``(x - subtract) * factor / divide``, in decimals."""

    factor: Decimal = Decimal(1)
    subtract: Decimal = Decimal(0)
    divide: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        if self.factor <= 0 or self.divide <= 0:  # it would turn a bound round
            raise ArithmeticError

    def of(self, value: Number) -> Number:
        """A number, or a bound at each of its ends: the greater stays the greater."""
        if isinstance(value, Decimal):
            return self.apply(value)
        low, high = (None if end is None else self.apply(end) for end in (value.low, value.high))
        return Interval(low, high, value.has_low, value.has_high)

    def apply(self, value: Decimal) -> Decimal:
        shifted = EXACT.subtract(value, self.subtract)
        result = EXACT.divide(EXACT.multiply(shifted, self.factor), self.divide).normalize(EXACT)
        return Decimal(format(result, "f")) if "E" in str(result) else result


@dataclass(frozen=True, slots=True)
class FactType:
    """One entry of the dictionary. ``window_hours`` is None for the whole encounter and for orders."""

    id: str
    group: str
    kind: str
    unit: str
    accepts: Mapping[str, Conversion]
    loinc: tuple[str, ...]
    recalled: bool
    sources: tuple[str, ...]
    window_hours: int | None
    worst: str
    codes: tuple[str, ...]
    icd10: tuple[str, ...]
    icd10_no: tuple[str, ...]
    part2: bool
    closed_world: bool
    by_exception: bool
    may_predate: bool
    serial_hours: int | None
    of_limit: bool = False  # as a multiple of the upper limit in OBX-7
    level: Level | None = None  # of a treatment: the level of care that it takes to give it
    hours_after: int = 0  # a treatment still counts so long after its end
    hours_before: int = 0  # ... or before its beginning
    closed_by: str = ""  # the assumption of the site profile by which silence is N
    possible: tuple[Decimal, Decimal] | None = None  # outside, a value is a mistake of recording

    @property
    def is_measured(self) -> bool:
        """Vital signs, laboratory and gases: for these a continued stay looks at the last 24 h only."""
        return self.group in ("vital", "laboratory")


#: Facts made from others; never sent.
DERIVED = (
    *(f"{fact}_contradicted" for fact in CONTRADICTED),
    *("age", "sex", "altered_mentation"),
    *("corrected_sodium", "creatinine_rise_48h"),
    "effective_osmolality",
    "gas_not_needed",
    "hemoglobin_fall_24h",
    "lactate_not_needed",
    "map_not_needed",
    "midnights_expected",
    "midnights_from_care",
    "midnights_from_order",
    "midnights_so_far",
    "o2_above_usual",
    "rise_in_creatinine",
    "serial_troponin",
    "spo2_limit",
    "troponin_change",
    "unmapped_parenteral_order",
    "without_oxygen",
    "workup_complete",
    "admission_start",
    "payer_class",
    "unforeseen_departure",
    "level_supported",  # by review.waves, from what other plugins answered
)


@cache
def dictionary() -> Mapping[str, FactType]:
    """All facts that can be sent, by id. Raises ContentError when the shipped file is damaged."""
    text = files("umbridge.stay").joinpath("dictionary.toml").read_text("utf-8")
    return parse_dictionary(text)


def parse_dictionary(text: str) -> Mapping[str, FactType]:
    """The same from text. Raises ContentError naming the fact."""
    try:
        tree = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as exc:
        raise ContentError(f"dictionary.toml: not valid TOML: {exc}") from None
    return MappingProxyType({fact: _fact_type(fact, entry) for fact, entry in tree.items()})


_KEYS = {
    "group": ("vital", "laboratory", "ecg", "assessment", "diagnosis", "treatment", "baseline"),
    "kind": ("number", "boolean", "code", "datetime"),
    "worst": ("max", "min", "both", "latest", "worst"),
}


_OPTIONAL = (
    *("unit", "accepts", "loinc", "recalled", "sources", "window", "codes", "icd10", "icd10_no"),
    *("part2", "closed_world", "by_exception", "may_predate", "serial_hours"),
    *("of_limit", "class", "hours_after", "hours_before", "closed_by", "possible"),
)


_CLASSES = ("ACUTE", "INTERMEDIATE", "CRITICAL")


def _fact_type(fact: str, entry: Any) -> FactType:
    if not isinstance(entry, dict):
        raise ContentError(f"dictionary.toml: {fact}: expected a table")
    for key in entry:
        if key not in _KEYS and key not in _OPTIONAL:
            raise ContentError(f"dictionary.toml: {fact}.{key}: expected one of the known keys")
    for key, known in _KEYS.items():
        if entry.get(key) not in known:
            raise ContentError(f"dictionary.toml: {fact}.{key}: expected one of {', '.join(known)}")
    window = entry.get("window")
    if window not in ("encounter", "active") and not isinstance(window, int):
        raise ContentError(f"dictionary.toml: {fact}.window: expected hours, encounter or active")
    _of_its_group(fact, entry)
    is_number = entry["kind"] == "number" and not entry.get("of_limit")
    unit = entry.get("unit", "")
    accepts = {unit: Conversion()} if entry["kind"] == "number" else {}
    try:
        for name, rule in entry.get("accepts", {}).items():
            accepts[name] = (
                Conversion(Decimal(rule))
                if isinstance(rule, str)
                else Conversion(subtract=Decimal(rule["subtract"]), divide=Decimal(rule["divide"]))
            )
    except (ArithmeticError, KeyError, TypeError):
        raise ContentError(f"dictionary.toml: {fact}.accepts: expected unit = decimal factor") from None
    return FactType(
        id=fact,
        group=entry["group"],
        kind=entry["kind"],
        unit=unit,
        accepts=MappingProxyType(accepts),
        loinc=tuple(entry.get("loinc", ())),
        recalled=entry.get("recalled", False),
        sources=tuple(entry.get("sources", ())),
        window_hours=window if isinstance(window, int) else None,
        worst=entry["worst"],
        codes=tuple(entry.get("codes", ())),
        icd10=tuple(code.replace(".", "") for code in entry.get("icd10", ())),
        icd10_no=tuple(code.replace(".", "") for code in entry.get("icd10_no", ())),
        part2=entry.get("part2", False),
        closed_world=entry.get("closed_world", False),
        by_exception=entry.get("by_exception", False),
        may_predate=entry.get("may_predate", False),
        serial_hours=entry.get("serial_hours"),
        of_limit=entry.get("of_limit", False),
        level=Level[entry["class"]] if "class" in entry else None,
        hours_after=entry.get("hours_after", 0),
        hours_before=entry.get("hours_before", 0),
        closed_by=entry.get("closed_by", ""),
        possible=_possible(fact, entry["possible"], is_number=is_number) if "possible" in entry else None,
    )


def _possible(fact: str, ends: object, *, is_number: bool) -> tuple[Decimal, Decimal]:
    """The lowest and the highest value."""
    numbers = [Decimal(end) for end in ends if type(end) in (int, Decimal)] if isinstance(ends, list) else []
    is_pair = isinstance(ends, list) and len(ends) == len(numbers) == 2 and is_number
    if not is_pair or not all(map(Decimal.is_finite, numbers)) or numbers[0] >= numbers[1]:
        raise ContentError(f"dictionary.toml: {fact}.possible: expected [low, high] of a number with a unit")
    return numbers[0], numbers[1]


def _of_its_group(fact: str, entry: Mapping[str, str]) -> None:
    """Keys that only treatments have, and the one that they do not have."""
    if entry.get("class", "ACUTE") not in _CLASSES:
        raise ContentError(f"dictionary.toml: {fact}.class: expected one of {', '.join(_CLASSES)}")
    if entry.get("closed_by", ASSUMPTIONS[0]) not in ASSUMPTIONS:
        raise ContentError(f"dictionary.toml: {fact}.closed_by: expected one of {', '.join(ASSUMPTIONS)}")
    is_treatment = entry["group"] == "treatment"
    for key in ("class", "hours_after", "hours_before") if not is_treatment else ("closed_by",):
        if key in entry:
            raise ContentError(f"dictionary.toml: {fact}.{key}: expected no such key in {entry['group']}")


def loinc_digit(body: str) -> int:
    """The mod-10 check digit of a LOINC number without one (LOINC Users' Guide, Luhn's algorithm)."""
    total = 0
    for position, char in enumerate(reversed(body)):
        doubled = int(char) * (2 if position % 2 == 0 else 1)
        total += doubled // 10 + doubled % 10
    return (10 - total % 10) % 10


def is_loinc(code: str) -> bool:
    """Whether this is a LOINC code with the right check digit."""
    body, dash, digit = code.partition("-")
    if not (dash and body.isdecimal() and digit.isdecimal() and len(digit) == 1 and code.isascii()):
        return False
    return loinc_digit(body) == int(digit)


@cache
def by_loinc() -> Mapping[str, FactType]:
    """The fact that each LOINC code of the dictionary stands for."""
    return {code: fact for fact in dictionary().values() for code in fact.loinc}
