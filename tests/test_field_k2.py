"""Kind 2 of what people who run interfaces met: which order it is, and what ends it (``../shared/field``)."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from umbridge.dryrun.screen import Shadow, read_files
from umbridge.settings.site import default_site
from umbridge.stay.readings.window import readings
from umbridge.values.kinds import ReviewType


@pytest.fixture
def field(shared: Path) -> Path:
    return shared / "field"


def told(path: Path, without: str = "") -> Shadow:
    """What comes of a folder's messages, or of those but one."""
    shadow = Shadow(default_site())
    files = sorted(str(each) for each in path.glob("*.hl7") if each.name != without)
    for _, frame in read_files(files):
        shadow.take(frame)
    assert shadow.unread == {}
    return shadow


def only(shadow: Shadow) -> dict[str, Any]:
    (stay,) = shadow.stays(None)
    return stay


def treated(shadow: Shadow, at: datetime, fact: str = "iv_fluids") -> object:
    (lane,) = shadow.lanes.values()
    return readings(lane.fold, at, review=ReviewType.ADMISSION, wanted={fact})[fact].latest.value


def clock(time: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-27T{time}:00-05:00")


def test_f11_a_cancel_by_orc_alone_finds_its_order(field: Path) -> None:
    """Until registration has acted; after it an ORC undoes nothing and a person is told (0117)."""
    folder = field / "F11_cancel_by_ORC_alone/dm_CA_orc_only"
    before = only(told(folder, without="04.hl7"))
    assert (before["status"], before["void_reviews"], before["exceptions"]) == ("ED", ["ADMISSION"], [])
    after = only(told(folder))
    assert after["exceptions"] == ["STATUS_ORDER_CANCELLED"]


@pytest.mark.parametrize("case", ["b2_ok_dc", "b2_sc_rp", "b2_sr_dc", "b2_xo_ca", "b2_xo_cm"])
def test_f12_completed_or_cancelled_ends_it_whatever_orc_1_says(field: Path, case: str) -> None:
    shadow = told(field / "F12_XO_with_ORC5" / case)
    assert only(shadow)["status"] == "INPATIENT"
    assert [treated(shadow, clock(time)) for time in ("09:45", "10:00", "11:30")] == [True, False, False]


def test_f13_a_number_of_another_application_is_another_order(field: Path) -> None:
    treatment = told(field / "F13_placer_namespace/b2_ns_clash_dc")
    assert treated(treatment, clock("11:30")) is True
    status = only(told(field / "F13_placer_namespace/b1_ns_clash2"))
    assert (status["status"], status["status_evidence"], status["open_reviews"]) == (
        "INPATIENT",
        "ORDER",
        ["ADMISSION"],
    )


def test_f14_children_end_with_their_parent(field: Path) -> None:
    shadow = told(field / "F14_parent_cancel/b2_group_children")
    assert [treated(shadow, clock(time)) for time in ("09:45", "10:00", "11:30")] == [True, False, False]
    assert only(shadow)["exceptions"] == []


def test_f15_an_order_ends_at_its_stop_time(field: Path) -> None:
    shadow = told(field / "F15_order_stop_time/b2_tq_end_passed")
    stop = clock("08:45")
    assert treated(shadow, stop - timedelta(minutes=1)) is True
    assert [treated(shadow, at) for at in (stop, clock("11:30"))] == [False, False]
