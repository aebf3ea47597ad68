"""Which code a DG1 means, which list stands, which cover pays."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Coded, Coverage, Diagnosis, Event, Patient, Visit
from umbridge.settings.site import default_site
from umbridge.stay.diagnoses import Unlisted, icd10_of, place_of
from umbridge.stay.fold import StayFold
from umbridge.stay.payers import in_force

SITE = default_site()
BEGAN = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
HEAD = "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260302090000-0500||ADT^A08^ADT_A01|ZZ1|P|2.5.1\rPID|1||ZZM1\r"


def read(dg1: str) -> Diagnosis:
    (found,) = translate(er7.parse((HEAD + dg1 + "\r").encode()), SITE.zone).diagnoses
    return found


@pytest.mark.parametrize(
    ("dg1", "code"),
    [
        ("DG1|1||N17.9^^I10", "N17.9"),
        ("DG1|1||n17.9^^ICD-10-CM", "N17.9"),
        ("DG1|1||N179^^2.16.840.1.113883.6.90", "N179"),
        ("DG1|1||14669001^^SCT^N17.9^^I10", "N17.9"),  # the second triplet
        ("DG1|1||N17.9^^I10^584.9^^I9", "N17.9"),
        ("DG1|1||584.9^^I9^N17.9^^I10C", "N17.9"),
        ("DG1|1||1234^^EDG^14669001^^SCT^2.0^1.0^txt^N17.9^^I10", "N17.9"),  # the third, from 2.7
        ("DG1|1|I10|N17.9", "N17.9"),  # DG1-2 names the system
        ("DG1|1||N17.9", "N17.9"),  # nothing does: by its form
        ("DG1|1||U07.1", "U07.1"),
        ("DG1|1||S72001A", "S72001A"),
        ("DG1|1||^^^N17.9", "N17.9"),
        ("DG1|1|I9|E87.1^^I10", "E87.1"),  # DG1-3.3 says more than DG1-2
        ("DG1|1|I9|E87.1", "diagnosis_not_icd10"),
        ("DG1|1|ICD9|E8710", "diagnosis_not_icd10"),
        ("DG1|1||E87.1^^9CM", "diagnosis_not_icd10"),
        ("DG1|1||E87.1^^I9CDX", "diagnosis_not_icd10"),
        ("DG1|1||14669001^^SCT", "diagnosis_not_icd10"),
        ("DG1|1||14669001^^SCT^584.9^^I9C", "diagnosis_not_icd10"),
        ("DG1|1||584.9", "diagnosis_unlike_icd10"),
        ("DG1|1||E871.0", "diagnosis_unlike_icd10"),  # an ICD-9 E code: its dot stands behind the fourth
        ("DG1|1||14669001", "diagnosis_unlike_icd10"),
        ("DG1|1||N17.9^^EDG", "diagnosis_system_unknown"),
        ("DG1|1|ZZ|N17.9", "diagnosis_system_unknown"),
        ("DG1|1||^Kidney failure", "diagnosis_missing"),
        ('DG1|1||""', "diagnosis_missing"),
    ],
)
def test_the_code_is_the_one_whose_system_is_icd10(dg1: str, code: str) -> None:
    found = icd10_of(read(dg1), SITE)
    assert (found.reason if isinstance(found, Unlisted) else found) == code
    assert isinstance(found, str) or found.reason.says


@given(st.lists(st.sampled_from(["I10", "I9", "SCT", "EDG", ""]), min_size=1, max_size=3), st.randoms())
def test_no_code_of_another_system_is_ever_read_as_icd10(systems: list[str], dice: random.Random) -> None:
    """Whatever the order of the triplets: one named ICD-10, or else one that nothing names."""
    codes = {"I10": "N17.9", "I9": "V58.69", "SCT": "E11.9", "EDG": "A10.1", "": "J18.9"}
    first, *others = [Coded(codes[system], "", system) for system in systems]
    found = icd10_of(Diagnosis(1, first.code, first.system, "W", False, "", tuple(others)), SITE)
    allowed = {codes["I10"]} if "I10" in systems else {codes[""]} if "" in systems else set()
    assert (found in allowed) if allowed else isinstance(found, Unlisted)


# --- which list stands --------------------------------------------------------------------------------------


def said(hour: float, *codes: str, trigger: str = "A08", action: str = "", **more: object) -> Event:
    at = BEGAN + timedelta(hours=hour)
    found = tuple(
        Diagnosis(nth, code, "I10", "W", action == "D", f"ZZ{hour} DG1[{nth}]", action=action)
        for nth, code in enumerate(codes, 1)
    )
    event = Event("ADT", trigger, f"ZZ{hour}", "P", at, at, diagnoses=found)
    visit = Visit("ZZV1", "UMBH", "I", unit="4W")
    return replace(event, patient=Patient((("7790001", "UMBH", "MR"),)), visit=visit, **more)  # type: ignore[arg-type]


def standing(*events: Event) -> tuple[str, ...]:
    fold = StayFold(SITE)
    for seq, event in enumerate(events, 1):
        fold.apply(event, seq)
    return fold.stay(BEGAN + timedelta(hours=50)).diagnoses


def test_a_list_takes_the_place_of_the_one_before() -> None:
    assert standing(said(0, "N17.9", "E87.1"), said(1, "J18.9")) == ("J18.9",)
    assert standing(said(0, "N17.9"), said(1)) == ("N17.9",)  # no DG1 says nothing
    assert standing(said(0, "N17.9", "E87.1"), said(1, "J18.9", action="A")) == ("J18.9", "N17.9", "E87.1")
    assert standing(said(0, "N17.9", "E87.1"), said(1, "E87.1", action="D")) == ("N17.9",)
    assert standing(said(0, "N17.9"), said(1, "J18.9"), said(2, "N17.9")) == ("N17.9",)


def test_an_orders_reasons_add_to_the_list_and_stay() -> None:
    order = replace(said(1, "E11.9"), message_type="ORM", trigger="O01")
    assert standing(said(0, "N17.9"), order) == ("N17.9", "E11.9")  # and is never the principal one
    assert standing(said(0, "N17.9"), order, said(2, "J18.9")) == ("J18.9", "E11.9")
    final = replace(order, diagnoses=(order.diagnoses[0]._replace(kind="F", priority=1),))
    assert standing(said(0, "N17.9"), final) == ("N17.9", "E11.9")
    assert standing(said(0, "N17.9", "E11.9"), order) == ("N17.9", "E11.9")  # the list's own place stays
    assert standing(order) == ("E11.9",)
    gone = replace(said(2, "E11.9", action="D"), message_type="ORM", trigger="O01")
    assert standing(said(0, "E11.9"), order, gone) == ("E11.9",)  # the order's reason alone went


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=4))
def test_the_order_of_arrival_does_not_matter(order: list[int], again: list[int]) -> None:
    told = [
        said(0, "N17.9", "E87.1"),
        said(1, "J18.9", "N17.9"),
        said(2, "N17.9", action="D"),
        replace(said(2.5, "E11.9"), message_type="ORM", trigger="O01"),
        said(3, "I50.9", "J18.9"),
        said(4, "K70.3", action="A"),
    ]
    assert (
        standing(*(told[n] for n in (*order, *again)))
        == standing(*told)
        == (*("K70.3", "I50.9", "J18.9", "E11.9"),)
    )


def test_priority_then_final_then_number() -> None:
    def place(rank: int, kind: str = "W", priority: int | None = None) -> tuple[int, ...]:
        return place_of(Diagnosis(rank, "N17.9", "I10", kind, False, "", priority=priority))

    assert place(2, priority=1) < place(1, priority=2) < place(3, "F") < place(1, "A") < place(1, priority=0)
    assert place(1) < place(2)
    assert place(1, "A") == place(1, "W")


# --- which cover pays ---------------------------------------------------------------------------------------

CAME, NOW = date(2026, 3, 2), date(2026, 3, 5)


@pytest.mark.parametrize(
    ("begins", "ends", "pays"),
    [
        ("", "", True),
        ("", "20260302", True),  # its last day is the day the patient came
        ("", "20260301", False),
        ("20260305", "", True),
        ("20260306", "", False),
        ("20250101", "20251231", False),
        ("20250101", "20261231", True),
    ],
)
def test_a_cover_pays_between_its_days(begins: str, ends: str, pays: bool) -> None:
    first, second = Coverage(1, "ZZ", "COM", begins=begins, ends=ends), Coverage(2, "ZZ", "MCR")
    assert list(in_force((first, second), CAME, NOW)) == ([first, second] if pays else [second])


def test_no_cover_in_force_is_said() -> None:
    ended = (Coverage(1, "ZZPPO", "COM", ends="20260101"),)

    def stay(*cover: Coverage) -> tuple[str, bool]:
        fold = StayFold(SITE)
        fold.apply(said(0, trigger="A01", coverage=cover), 1)
        found = fold.stay(BEGAN + timedelta(hours=1))
        return found.payer_class, "NO_COVER_IN_FORCE" in found.exceptions

    assert stay() == ("UNKNOWN", False)
    assert stay(*ended) == ("UNKNOWN", True)
    assert stay(*ended, Coverage(2, "", "MCR")) == ("MEDICARE_FFS", False)


def test_in1_22_goes_before_in1_1() -> None:
    lines = [
        "IN1|1|ZZPPO" + "|" * 12 + "|COM" + "|" * 7 + "2",
        "IN1|2|MCRAB" + "|" * 12 + "|MCR" + "|" * 7 + "1",
    ]
    event = translate(er7.parse((HEAD + "\r".join(lines)).encode()), SITE.zone)
    assert event.notes == ()
    fold = StayFold(SITE)
    fold.apply(event, 1)
    assert fold.stay(event.sent_at).payer_class == "MEDICARE_FFS"


def test_an_in1_22_that_nobody_knows_is_said() -> None:
    event = translate(
        er7.parse((HEAD + "IN1|1|ZZPPO" + "|" * 12 + "|COM" + "|" * 7 + "ZZ").encode()), SITE.zone
    )
    assert event.notes == ("IN1[1]-22 number_unreadable",)
    assert event.coverage[0].priority is None
