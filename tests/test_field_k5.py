"""Kind 5 of what people who run interfaces met: codes read without their system (``../shared/field``)."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_field_k1 import Said, host

from umbridge.dryrun.screen import Shadow, read_files
from umbridge.screening.host import Host
from umbridge.settings.site import default_site
from umbridge.stay.stay import Stay

__all__ = ["host"]


@pytest.fixture
def field(shared: Path) -> Path:
    return shared / "field"


def only_stay(case: Path, without: bytes = b"") -> Stay:
    shadow = Shadow(default_site())
    frames = [frame for _, frame in read_files([str(case)])]
    assert any(without in frame for frame in frames)
    for frame in frames:
        shadow.take(frame.replace(without, b""))
    assert shadow.unread == {}
    (state,) = shadow.lanes.values()
    return state.fold.stay(state.as_of)


def test_f21_the_icd10_code_counts_wherever_it_stands(field: Path) -> None:
    assert only_stay(field / "F21_DG1_alternate/dm_dg1_snomed_first").diagnoses == ("E87.1",)


def test_f21_that_code_picks_the_criteria(shared: Path, host: Host) -> None:
    said = Said(shared, host, "F21_DG1_alternate/dm_dg1_snomed_first")
    assert (said.subset, said.outcome, said.supported) == ("aki_electrolyte", "MEETS", "ACUTE")


def test_f21_snomed_alone_is_no_icd10(field: Path) -> None:
    icd10 = b"^E87.1^Hypo-osmolality^I10"
    assert only_stay(field / "F21_DG1_alternate/dm_dg1_snomed_first", without=icd10).diagnoses == ()


@pytest.mark.parametrize("name", ["d1_dg1_2_I9_letter", "d1_dg1_2_ICD9", "d1_sys_9"])
def test_f22_icd9_is_no_icd10(field: Path, name: str) -> None:
    assert only_stay(field / "F22_DG1_2_ICD9" / name).diagnoses == ()


@pytest.mark.parametrize("name", ["d1_admitting_then_final", "d1_prio15"])
def test_f23_the_principal_is_by_priority_then_final(field: Path, name: str) -> None:
    assert only_stay(field / "F23_principal" / name).diagnoses[0] == "E87.1"


def test_f24_a_cover_that_ended_does_not_pay(field: Path) -> None:
    stay = only_stay(field / "F24_expired_cover/j1_expired_first")
    assert stay.payer_class == "MEDICARE_FFS"
    assert [notice.type for notice in stay.notices_due] == ["IMM"]
    assert "NO_COVER_IN_FORCE" not in stay.exceptions


def test_f34_what_the_payer_did_not_certify_is_kept(field: Path) -> None:
    said = only_stay(field / "F34_IN3_partial/m2_in3_partial").certifications
    assert [(each.number, each.days_kind, each.days, each.non_concurrence) for each in said] == [
        ("ZAUTH2", "AP", 1, ""),
        ("ZAUTH2", "DE", 2, "01"),
    ]
