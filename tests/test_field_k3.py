"""Kind 3 of what people who run interfaces met: a correction of an event's time (``../shared/field``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_field_k4 import only, told


@pytest.fixture
def field(shared: Path) -> Path:
    return shared / "field"


def spans(path: Path) -> list[tuple[str, str, str]]:
    (lane,) = told(path).lanes.values()
    stay = lane.fold.stay(lane.as_of)
    return [
        (span.status.value, f"{span.start:%d %H:%M}", "" if span.end is None else f"{span.end:%d %H:%M}")
        for span in stay.spans
    ]


def told_of(stay: dict[str, Any]) -> tuple[Any, ...]:
    return stay["lifecycle"], stay["discharged_at"], stay["los_midnights"], stay["exceptions"]


def test_f16_a_discharge_cancelled_and_told_again_with_an_earlier_time(field: Path) -> None:
    path = field / "F16_redischarge_earlier/dm_a13_a03"
    stay = only(told(path))
    assert told_of(stay) == ("discharged", "2026-11-27T23:45:00-05:00", 0, [])
    assert spans(path) == [("ED", "27 08:00", "27 10:00"), ("INPATIENT", "27 10:00", "27 23:45")]
    assert (stay["open_reviews"], stay["void_reviews"]) == (["RETROSPECTIVE"], ["RETROSPECTIVE"])


def test_f17_a_second_discharge_message_with_an_earlier_time(field: Path) -> None:
    path = field / "F17_corrected_times/c4_a03_again_earlier"
    assert told_of(only(told(path))) == ("discharged", "2026-11-27T23:45:00-05:00", 0, [])
    assert spans(path)[-1] == ("INPATIENT", "27 10:00", "27 23:45")


@pytest.mark.parametrize(
    ("case", "arrival"),
    [
        ("c4_a08_corrects_admit_earlier", "2026-11-26T23:15:00-05:00"),
        ("c4_a08_corrects_admit_later", "2026-11-27T09:30:00-05:00"),
    ],
)
def test_f17_an_update_corrects_when_the_patient_came(field: Path, case: str, arrival: str) -> None:
    path = field / "F17_corrected_times" / case
    stay = only(told(path))
    assert (stay["care_start"], stay["exceptions"]) == (arrival, [])
    assert stay["inpatient_start"] == "2026-11-27T10:00:00-05:00"  # by the order, which nobody corrected
    assert spans(path)[0] == ("ED", f"{arrival[8:10]} {arrival[11:16]}", "27 10:00")


def test_f17_a_discharge_before_the_admission_is_said_and_discharges(field: Path) -> None:
    stay = only(told(field / "F17_corrected_times/c4_discharge_before_admit"))
    assert told_of(stay) == ("discharged", "2026-11-28T01:15:00-05:00", 1, ["TIMES_CONTRADICT"])
