"""The fact dictionary, and one OBX read against it: a dated value in canonical units, or why there is none.

Units are the commonest silent error in clinical data, so a value whose unit is not listed is *unknown*,
never taken as it stands. Numbers are ``Decimal`` from the wire to the threshold.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from decimal import Context, Decimal
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from umbridge.clinical.measured import CONTRADICTED
from umbridge.errors import ContentError
from umbridge.hl7.times import parse_time
from umbridge.model import FactValue, Level, Observation
from umbridge.settings.charting import ASSUMPTIONS
from umbridge.settings.site import SiteProfile
from umbridge.stay import values
from umbridge.stay.reasons import BY_STATUS, Reason
from umbridge.stay.units import Units, units_of
from umbridge.values.frozen import dataclass
from umbridge.values.interval import Interval, Number, may_lie, quotient

_EXACT = Context(prec=28)
_RANGE = re.compile(r"\s*[<>=]*\s*(?:([\d.]+)\s*-\s*)?([\d.]+)\s*\Z", re.ASCII)
LOINC = "LN"

#: OBX-11 (table 0085): the only results that count. P is preliminary and flagged; B (appended) and V
#: (verified) are final; A (amended) takes the place of a final one, as C does.
USABLE = ("F", "C", "P", "A", "B", "V")
WITHDRAWN = ("D", "W")


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
        shifted = _EXACT.subtract(value, self.subtract)
        result = _EXACT.divide(_EXACT.multiply(shifted, self.factor), self.divide).normalize(_EXACT)
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


@dataclass(frozen=True, slots=True)
class Fact:
    """One usable value. ``report``, ``code`` and ``at`` name the result a later correction refers to."""

    fact: str
    value: FactValue
    at: datetime
    report: str
    code: str
    original: str  # OBX-5 and OBX-6 as sent
    preliminary: bool
    source: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why an OBX gives no value. ``fact`` is "" where the code means nothing at this site."""

    reason: Reason
    fact: str = ""
    code: str = ""
    withdraws: bool = False


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


def identify(observation: Observation, site: SiteProfile) -> tuple[FactType, str] | None:
    """The fact an OBX-3 stands for and the code that says so: LOINC first, then the site's own codes."""
    pair = (observation.code, observation.alternate)
    for coded in pair:
        known = by_loinc().get(coded.code)
        if known is not None and (coded.system == LOINC or site.spellings.system(coded.system) == LOINC):
            return known, coded.code
    for coded in pair:
        for system in (coded.system, site.spellings.system(coded.system)):
            fact = site.observations.get(system, {}).get(coded.code)
            if fact is not None and fact in dictionary():
                return dictionary()[fact], f"{coded.code}^{system}"
    return None


def feeds(fact: str) -> tuple[str, ...]:
    """A room-air saturation is also a saturation; the reverse never holds."""
    return ("spo2_room_air", "spo2") if fact == "spo2_room_air" else (fact,)


def read(observation: Observation, site: SiteProfile) -> Fact | Unusable:
    """Judge one OBX by OBX-11, OBX-2, OBX-5, OBX-6 and, for ratios to a limit, OBX-7. Total: never raises."""
    found = identify(observation, site)
    if found is None:
        return Unusable(Reason.UNMAPPED)
    kind, code = found
    if observation.status in WITHDRAWN or observation.report_status == "X":
        return Unusable(Reason.WITHDRAWN, kind.id, code, withdraws=True)
    if observation.status not in USABLE:
        status = observation.status or "none"
        return Unusable(BY_STATUS.get(status, Reason.STATUS_UNLISTED), kind.id, code)
    value = value_of(observation, kind, code, site)
    if observation.also and (value is not Reason.COMMENT or _says_more(observation, kind, code, site)):
        value = Reason.REPEATED
    value = Reason.SPECIMEN_REJECTED if observation.is_rejected and not isinstance(value, Reason) else value
    if isinstance(value, Reason):
        return Unusable(value, kind.id, code)
    original = f"{observation.value} {observation.unit}".strip()
    early = observation.status == "P"
    return Fact(kind.id, value, observation.at, observation.report, code, original, early, observation.source)


def _says_more(observation: Observation, kind: FactType, code: str, site: SiteProfile) -> bool:
    """Whether any further repetition is more than a line of a remark."""
    others = [observation._replace(value=text, answers=()) for text in observation.also]
    return any(value_of(each, kind, code, site) is not Reason.COMMENT for each in others)


def value_of(observation: Observation, kind: FactType, code: str, site: SiteProfile) -> FactValue | Reason:
    """OBX-5 as a value of this fact, in its canonical unit; else the one reason why it is none."""
    if not (text := observation.value.strip()) or text == values.NULL:
        return Reason.NULL if text else Reason.EMPTY
    if kind.kind == "number":
        return _number(observation, kind, code, site)
    if kind.kind == "boolean":
        return values.yes_or_no(observation, site)
    if kind.kind == "code":
        return values.code(observation, kind.id, kind.codes, site)
    text = values.time_text(observation)
    moment = None if isinstance(text, Reason) else read_time(text, site)
    if moment is None:
        return text if isinstance(text, Reason) else Reason.NOT_A_TIME
    return moment.astimezone(site.zone).isoformat()


def _number(observation: Observation, kind: FactType, code: str, site: SiteProfile) -> FactValue | Reason:
    plain = values.NUMBER.match(observation.value)  # as nearly all are
    number = Decimal(plain[0]) if plain is not None else values.number(observation)
    if isinstance(number, Reason):
        behind = values.unit_behind(observation.value) if number in _MAY_HOLD_UNIT else ""
        return Reason.UNIT_IN_NUMBER if behind and known_units(site).find(behind, kind.id) else number
    if kind.of_limit:
        # Assays of one analyte cannot be compared: only the multiple of each one's own upper limit counts.
        limit = upper_limit(observation.reference_range)
        if limit is None:
            return Reason.NO_UPPER_LIMIT
        return _EXACT.divide(number, limit) if isinstance(number, Decimal) else quotient(number, limit)
    conversion = kind.accepts.get(observation.unit)
    if conversion is None or site.spellings.has_units:
        found = _conversion(observation, kind, code, site)
        if isinstance(found, Reason):
            return found
        conversion = found
    value = conversion.of(number)
    return value if kind.possible is None or may_lie(value, *kind.possible) else Reason.IMPOSSIBLE


def _conversion(
    observation: Observation, kind: FactType, code: str, site: SiteProfile
) -> Conversion | Reason:
    """By OBX-6.1, else OBX-6.4, else what the profile says this code's values are in."""
    sent = [unit for unit in (observation.unit, observation.other_unit) if unit]
    if not sent:
        local, _, system = code.partition("^")
        unit = site.spellings.unsent_units.get(system or LOINC, {}).get(local, "")
        conversion = kind.accepts.get(unit)
        return Reason.UNIT_MISSING if conversion is None else conversion
    units = known_units(site)
    meant = [units.find(unit, kind.id) for unit in sent]
    fitting = [kind.accepts[unit] for unit in meant if unit in kind.accepts]
    if fitting:
        return fitting[0]
    return Reason.UNIT_UNFIT if any(meant) else Reason.UNIT_UNKNOWN


@cache
def _canonical() -> tuple[str, ...]:
    """Every UCUM unit of the dictionary."""
    return tuple(sorted({unit for kind in dictionary().values() for unit in kind.accepts if unit}))


def known_units(site: SiteProfile) -> Units:
    """Which spellings of units this site's feeds may use."""
    return units_of(site, _canonical())


def upper_limit(reference_range: str) -> Decimal | None:
    """The upper end of OBX-7: ``0-19``, ``<19``, ``<= 0.04``. None where there is none above zero."""
    match = _RANGE.match(reference_range)
    if match is None or ">" in reference_range or not values.NUMBER.match(match[2]):
        return None
    if match[1] is None and "<" not in reference_range:
        return None  # a bare number could be either end
    limit = Decimal(match[2])
    return limit if limit > 0 else None


def read_time(text: str, site: SiteProfile) -> datetime | None:
    """An HL7 time to the minute or finer, in the facility's zone without an offset. None if it is not one.

    A bare date is not enough: midnight as a stand-in would move the two-midnight count.
    """
    if not (text.isascii() and text[:12].isdecimal() and len(text) >= 12):
        return None
    moment, _ = parse_time(text.encode("ascii"), site.zone)
    return moment


_MAY_HOLD_UNIT = (Reason.COMMENT, Reason.NOT_A_NUMBER, Reason.CODED_NOT_A_NUMBER, Reason.TYPE_NOT_A_NUMBER)
