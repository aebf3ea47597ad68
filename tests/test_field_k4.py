"""Kind 4 of what people who run interfaces met: whose a message is (``../shared/field``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from umbridge.dryrun import feed_check
from umbridge.dryrun.screen import Shadow, read_files
from umbridge.settings.site import DEFAULT_SITE, default_site, parse_site


@pytest.fixture
def field(shared: Path) -> Path:
    return shared / "field"


def told(path: Path) -> Shadow:
    shadow = Shadow(default_site())
    for _, frame in read_files([str(path)]):
        shadow.take(frame)
    assert shadow.unread == {}
    return shadow


def only(shadow: Shadow) -> dict[str, Any]:
    (stay,) = shadow.stays(None)
    return stay


def sodium(shadow: Shadow) -> list[str]:
    """The values that count for the one stay."""
    (lane,) = shadow.lanes.values()
    return [str(one.value) for one in lane.fold.results("sodium") or () if lane.fold.is_patient(one.patient)]


def test_f19_mrn_under_the_sites_authority_is_the_number(field: Path) -> None:
    shadow = told(field / "F19_PID35_not_MR/c1_pid3_type_MRN")
    stay = only(shadow)
    assert (stay["mrn"], stay["exceptions"], sodium(shadow)) == ("ZQ5550001", [], ["122"])


def test_f19_another_persons_result_on_the_visit_does_not_count(field: Path) -> None:
    shadow = told(field / "F19_PID35_not_MR/dm_pi_other")
    stay = only(shadow)
    assert (stay["mrn"], stay["exceptions"]) == ("ZQ8800001", ["PATIENT_MISMATCH"])
    assert sodium(shadow) == []


def test_f19_a_profile_that_leaves_the_type_out_is_told_that_nobody_has_a_number(field: Path) -> None:
    """`config check --feed` says so before everything else, with the line that settles it."""
    text = DEFAULT_SITE.read_text("utf-8").replace("[site]\n", '[site]\nmrn_types = ["MR"]\n', 1)
    sample = feed_check.Sample(parse_site(text.encode()))
    for _, frame in read_files([str(field / "F19_PID35_not_MR/c1_pid3_type_MRN")]):
        sample.take(frame)
    first, *others = list(sample.findings())
    assert (first.unused.reason, first.count) == ("no_own_number", sample.messages)
    assert '[site] mrn_types = ["MR", "MRN"], if those are the patient\'s own' in {
        each.unused.settle for each in others
    }


def test_f20_a_merge_whose_old_number_has_no_authority_is_applied(field: Path) -> None:
    shadow = told(field / "F20_MRG1_bare/c1_a40_no_authority")
    stay = only(shadow)
    assert (stay["mrn"], stay["mrn_aliases"], stay["exceptions"]) == ("ZQ0981569", ["ZQ0981568"], [])
    assert (stay["events_applied"], sodium(shadow)) == (4, ["122"])


def test_f20_an_account_number_that_changes_leaves_two_open_stays_which_both_say_it(field: Path) -> None:
    shadow = told(field / "F20_MRG1_bare/c1_a06_mrg3_only")
    stays = {stay["visit"]: stay for stay in shadow.stays(None)}
    assert sorted(stays) == ["ZNEW0981712", "ZQV0981712"]
    assert [(stay["status"], stay["lifecycle"]) for stay in stays.values()] == [("INPATIENT", "active")] * 2
    assert all("TWO_OPEN_STAYS" in stay["exceptions"] for stay in stays.values())
