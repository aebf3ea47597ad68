"""The fact dictionary, and one OBX read against it: a dated value in canonical units, or why there is none.

Units are the commonest silent error in clinical data, so a value whose unit is not listed is *unknown*,
never taken as it stands. Numbers are ``Decimal`` from the wire to the threshold.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from functools import cache

from umbridge.hl7.times import parse_time
from umbridge.model import FactValue, Observation
from umbridge.settings.site import SiteProfile
from umbridge.stay import values
from umbridge.stay.dictionary import EXACT, LOINC, Conversion, FactType, by_loinc, dictionary
from umbridge.stay.reasons import BY_STATUS, Reason
from umbridge.stay.units import Units, units_of
from umbridge.values.frozen import dataclass
from umbridge.values.interval import may_lie, quotient

_RANGE = re.compile(r"\s*[<>=]*\s*(?:([\d.]+)\s*-\s*)?([\d.]+)\s*\Z", re.ASCII)

#: OBX-11 (table 0085): the only results that count. P is preliminary and flagged; B (appended) and V
#: (verified) are final; A (amended) takes the place of a final one, as C does.
USABLE = ("F", "C", "P", "A", "B", "V")
WITHDRAWN = ("D", "W")


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
        return EXACT.divide(number, limit) if isinstance(number, Decimal) else quotient(number, limit)
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
