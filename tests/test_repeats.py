"""A value that the next one contradicts, and a sodium that its glucose draws down."""

from __future__ import annotations

from decimal import Decimal

import pytest
from test_case import ARRIVAL, SITE, at, obx, orm, oru

from umbridge.clinical.measured import CONTRADICTED, ORDINARY
from umbridge.model import Event, FactValue
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.repeats import OTHERWISE, REPEAT_FACTS, TREATED_BY, WITHIN
from umbridge.stay.readings.window import readings
from umbridge.values.kinds import ReviewType

ORDER = {fact: code for code, fact in sorted(SITE.intensity_orders.items())}
MINUTE = 1 / 60


def known(*events: Event, review: ReviewType = ReviewType.ADMISSION) -> dict[str, FactValue]:
    fold = StayFold(SITE)
    for seq, event in enumerate((ARRIVAL, *events)):
        fold.apply(event, seq)
    wanted = {*REPEAT_FACTS, "sodium", "potassium", "spo2"}
    found = readings(fold, at(5), review=review, wanted=wanted)
    return {fact: reading.latest.value for fact, reading in found.items()}


def value(fact: str, number: object, hours: float) -> Event:
    kind = dictionary()[fact]
    return oru(obx(kind.loinc[0], str(number), hours, kind.unit, report=f"R{fact}{hours}"))


#: An abnormal and an ordinary value of each.
PAIRS = {
    **{"heart_rate": (38, 80), "resp_rate": (44, 16), "sbp": (82, 128), "spo2": (71, 98)},
    **{"potassium": ("6.9", "4.4"), "sodium": (118, 138)},
}


def test_each_measurement_that_can_be_contradicted_is_tried_and_has_what_it_takes() -> None:
    assert set(PAIRS) == set(CONTRADICTED) == set(TREATED_BY)
    assert set(CONTRADICTED) <= ORDINARY.keys()
    assert {f"{fact}_contradicted" for fact in CONTRADICTED} <= set(DERIVED)
    assert {each for treatments in TREATED_BY.values() for each in treatments} <= dictionary().keys()


@pytest.mark.parametrize("fact", CONTRADICTED)
def test_an_ordinary_value_soon_after_contradicts_and_one_later_does_not(fact: str) -> None:
    worst, good = PAIRS[fact]
    minutes = WITHIN.get(fact, OTHERWISE)
    name = f"{fact}_contradicted"
    for later, says in ((1, True), (minutes, True), (minutes + 1, False)):
        found = known(value(fact, worst, 1), value(fact, good, 1 + later * MINUTE))
        assert found[name] is says, later
    assert known(value(fact, good, 1), value(fact, worst, 1 + MINUTE))[name] is False  # came after
    assert known(value(fact, worst, 1), value(fact, worst, 1 + MINUTE))[name] is False  # says the same
    assert known(value(fact, worst, 1))[name] is False
    assert name not in known()
    then = known(value(fact, worst, 1), value(fact, good, 1 + MINUTE), review=ReviewType.CONTINUED_STAY)
    assert fact not in then or then[fact] == Decimal(str(good))


@pytest.mark.parametrize("fact", CONTRADICTED)
def test_a_better_value_under_treatment_contradicts_nothing(fact: str) -> None:
    worst, good = PAIRS[fact]
    minutes = WITHIN.get(fact, OTHERWISE)
    for treatment in TREATED_BY[fact]:
        order = orm(ORDER[treatment], 1 + minutes * MINUTE / 2)
        found = known(value(fact, worst, 1), order, value(fact, good, 1 + minutes * MINUTE))
        assert found[f"{fact}_contradicted"] is False, treatment


@pytest.mark.parametrize("fact", CONTRADICTED)
@pytest.mark.parametrize("begun", [0, 0.03, 0.37, 0.71, 0.97, 1])
def test_a_treatment_counts_however_short_it_was(fact: str, begun: float) -> None:
    """Begun at any part of the way from the worst value to the next one, and ended at once or before."""
    worst, good = PAIRS[fact]
    way = WITHIN.get(fact, OTHERWISE) * MINUTE
    pair = value(fact, worst, 1), value(fact, good, 1 + way)
    code, start = ORDER[TREATED_BY[fact][0]], 1 + begun * way
    short = orm(code, start, placer="P9"), orm(code, start + way / 100, "DC", placer="P9")
    assert known(*pair, *short)[f"{fact}_contradicted"] is False
    before = orm(code, 0.5, placer="P9"), orm(code, 0.9, "DC", placer="P9")
    after = orm(code, 1 + way * 1.02, placer="P9")
    assert known(*pair, *before)[f"{fact}_contradicted"] is True
    assert known(*pair, after)[f"{fact}_contradicted"] is True


@pytest.mark.parametrize(
    ("sodium", "glucose", "hours", "corrected"),
    [
        (122, 980, 1, Decimal("143.12")),  # 2.4 for each 100 mg/dL above 100
        (122, 200, 1, Decimal("124.4")),
        (122, 100, 1, Decimal(122)),
        (122, 70, 1, Decimal(122)),
        (122, 980, 2, Decimal("143.12")),
        (122, 980, 2.1, None),  # of another hour
    ],
)
def test_a_sodium_is_corrected_for_the_glucose_of_its_hour(
    sodium: int, glucose: int, hours: float, corrected: Decimal | None
) -> None:
    found = known(value("sodium", sodium, 1), value("glucose", glucose, hours))
    assert found.get("corrected_sodium") == corrected
    assert "corrected_sodium" not in known(value("sodium", sodium, 1))
