"""What a patient's latest values come to by NEWS2, whoever asks: a sum of at least so many points.

Royal College of Physicians. National Early Warning Score (NEWS) 2. London: RCP, 2017. A value that nobody
knows has no points, so the sum is a least one.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from umbridge.model import Reading
from umbridge.values.interval import Interval, holds

#: (operator, limit, points): the first that is true, or may be, of a value known by a bound alone.
Bands = tuple[tuple[str, Decimal, int], ...]


def _bands(*rows: tuple[str, str, int]) -> Bands:
    return tuple((op, Decimal(limit), points) for op, limit, points in rows)


BANDS: Mapping[str, Bands] = {
    "resp_rate": _bands(("<=", "8", 3), (">=", "25", 3), (">=", "21", 2), ("<=", "11", 1)),
    "sbp": _bands(("<=", "90", 3), (">=", "220", 3), ("<=", "100", 2), ("<=", "110", 1)),
    "heart_rate": _bands(
        ("<=", "40", 3), (">=", "131", 3), (">=", "111", 2), ("<=", "50", 1), (">=", "91", 1)
    ),
    "temperature": _bands(("<=", "35.0", 3), (">=", "39.1", 2), ("<=", "36.0", 1), (">=", "38.1", 1)),
}
SINGLE = 3  # points of one sign, whatever the sum is, that call for an urgent look
#: The values that have them, by sign.
CALLED: Mapping[str, tuple[tuple[str, Decimal], ...]] = {
    fact: tuple((op, limit) for op, limit, points in bands if points == SINGLE)
    for fact, bands in BANDS.items()
}
#: Of the saturation: scale 1, and scale 2 of patients with a target or a limit of their own.
SCALE_1 = _bands(("<=", "91", 3), ("<=", "93", 2), ("<=", "95", 1))
SCALE_2 = _bands(("<=", "83", 3), ("<=", "85", 2), ("<=", "87", 1))
SCALE_2_ON_OXYGEN = (*SCALE_2, *_bands((">=", "97", 3), (">=", "95", 2), (">=", "93", 1)))
OXYGEN_POINTS, NOT_ALERT_POINTS = 2, 3
USUAL_LIMIT = Decimal(90)
READ = frozenset(
    {*BANDS, "spo2", "spo2_limit", "o2_target_88_92", "o2_above_usual", "consciousness"}
    | {"mentation_at_baseline"}
)


def least_sum(facts: Mapping[str, Reading]) -> int:
    """The points of what is known."""
    found = sum(_points(facts.get(fact), bands) for fact, bands in BANDS.items())
    on_oxygen = is_so(facts, "o2_above_usual")
    scale = SCALE_1
    if is_so(facts, "o2_target_88_92") or own_limit(facts) is not None:
        scale = SCALE_2_ON_OXYGEN if on_oxygen else SCALE_2
    found += _points(facts.get("spo2"), scale)
    found += OXYGEN_POINTS if on_oxygen else 0
    return found + (NOT_ALERT_POINTS if is_not_alert(facts) else 0)


def own_limit(facts: Mapping[str, Reading]) -> Decimal | None:
    """The saturation below which this patient's is low, where it is the patient's own."""
    own = facts.get("spo2_limit")
    value = None if own is None else own.latest.value
    return value if isinstance(value, Decimal) and value < USUAL_LIMIT else None


def is_not_alert(facts: Mapping[str, Reading]) -> bool:
    """Not A in ACVPU, and nobody says that it is the patient's usual."""
    alert = facts.get("consciousness")
    return alert is not None and alert.latest.value != "A" and not is_so(facts, "mentation_at_baseline")


def is_so(facts: Mapping[str, Reading], fact: str) -> bool:
    """Whether the latest of a fact is Y."""
    reading = facts.get(fact)
    return reading is not None and reading.latest.value is True


def may_be(reading: Reading, op: str, limit: Decimal) -> bool:
    """Whether the latest value is, or may be (a bound), so."""
    value = reading.latest.value
    return isinstance(value, Decimal | Interval) and holds(value, op, limit) is not False


def _points(reading: Reading | None, bands: Bands) -> int:
    if reading is None:
        return 0
    return next((points for op, limit, points in bands if may_be(reading, op, limit)), 0)
