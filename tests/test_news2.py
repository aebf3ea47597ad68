"""The points of NEWS2, by its chart (Royal College of Physicians, 2017)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from test_critical import case

from umbridge.clinical import news2
from umbridge.values.interval import Interval

#: A value of each sign with its points (RCP 2017, chart 1), both sides of each edge.
_CHART: list[tuple[str, str, int]] = [
    *(("resp_rate", value, points) for value, points in [("8", 3), ("9", 1), ("11", 1), ("12", 0)]),
    *(("resp_rate", value, points) for value, points in [("20", 0), ("21", 2), ("24", 2), ("25", 3)]),
    *(("sbp", value, points) for value, points in [("90", 3), ("91", 2), ("100", 2), ("101", 1)]),
    *(("sbp", value, points) for value, points in [("110", 1), ("111", 0), ("219", 0), ("220", 3)]),
    *(("heart_rate", value, points) for value, points in [("40", 3), ("41", 1), ("50", 1), ("51", 0)]),
    *(("heart_rate", value, points) for value, points in [("90", 0), ("91", 1), ("110", 1), ("111", 2)]),
    *(("heart_rate", value, points) for value, points in [("130", 2), ("131", 3)]),
    *(("temperature", value, points) for value, points in [("35.0", 3), ("35.1", 1), ("36.0", 1)]),
    *(("temperature", value, points) for value, points in [("36.1", 0), ("38.0", 0), ("38.1", 1)]),
    *(("temperature", value, points) for value, points in [("39.0", 1), ("39.1", 2)]),
    *(("spo2", value, points) for value, points in [("91", 3), ("92", 2), ("93", 2), ("94", 1)]),
    *(("spo2", value, points) for value, points in [("95", 1), ("96", 0)]),
]


@pytest.mark.parametrize(("fact", "value", "points"), _CHART)
def test_the_points_of_news2(fact: str, value: str, points: int) -> None:
    assert news2.least_sum(case(**{fact: Decimal(value)}).facts) == points


@pytest.mark.parametrize(
    ("spo2", "on_air", "on_oxygen"),
    [
        *((83, 3, 3), (84, 2, 2), (85, 2, 2), (86, 1, 1), (87, 1, 1), (88, 0, 0)),
        *((92, 0, 0), (93, 0, 1), (94, 0, 1), (95, 0, 2), (96, 0, 2), (97, 0, 3)),
    ],
)
def test_the_second_scale_of_news2(spo2: int, on_air: int, on_oxygen: int) -> None:
    for own in ({"o2_target_88_92": True}, {"spo2_limit": Decimal(88)}):
        assert news2.least_sum(case(spo2=Decimal(spo2), **own).facts) == on_air
        given = news2.least_sum(case(spo2=Decimal(spo2), o2_above_usual=True, **own).facts)
        assert given == on_oxygen + news2.OXYGEN_POINTS


def test_what_is_not_known_has_no_points_and_a_bound_those_that_it_may_have() -> None:
    assert news2.least_sum(case().facts) == 0
    assert news2.least_sum(case(sbp=Interval.bound("<", Decimal(95))).facts) == 3
    assert news2.least_sum(case(consciousness="V").facts) == news2.NOT_ALERT_POINTS
    assert news2.least_sum(case(consciousness="V", mentation_at_baseline=True).facts) == 0
