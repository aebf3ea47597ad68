"""Answers that other answers hold in themselves: in both directions, never over what was sent, never more."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_case import ARRIVAL, EVERYTHING, SITE, obx, oru, seen, yes_no

from umbridge.model import Observation, Reading
from umbridge.settings.site import DEFAULT_SITE, SiteProfile, parse_site
from umbridge.stay.dictionary import dictionary
from umbridge.stay.readings.implied import CLOSED, IMPLIED
from umbridge.values.kinds import ReviewType

EVENTS = {
    "comorbidities": "UMB-HXDONE",
    "assessments": "UMB-ASDONE",
    "chest_imaging": "UMB-CXRDONE",
}
CODE_OF = {fact: code for code, fact in SITE.observations["99UMB"].items()}
TEXT = DEFAULT_SITE.read_text("utf-8")
KEYS = ("# [assumptions]", "# comorbidities = ", "# assessments = ", "# chest_imaging = ")
FORMS = "".join(line[2:] + "\n" for line in TEXT.splitlines() if line.startswith(KEYS))
ASSUMING = parse_site(f"{TEXT}\n{FORMS}".encode())


def shown(
    *sent: Observation,
    hours: float = 4,
    site: SiteProfile = SITE,
    review: ReviewType = ReviewType.CONTINUED_STAY,
) -> dict[str, Reading]:
    return seen(*([oru(*sent)] if sent else []), hours=hours, site=site, review=review)


def acvpu(level: str, hours: float = 1, **other: str) -> Observation:
    return obx("67775-7", level, hours, kind="CWE", **other)


def value(found: dict[str, Reading], fact: str) -> object:
    return found[fact].latest.value if fact in found else None


def sbp(pressure: str, hours: float = 1) -> Observation:
    return obx("8480-6", pressure, hours, "mm[Hg]")


@pytest.mark.parametrize(
    ("sent", "fact", "implied"),
    [
        (obx("UMB-HEARTECG", "0", 1, "{score}"), "st_elevation", False),
        (obx("UMB-HEARTECG", "0", 1, "{score}"), "ecg_new_ischemia", False),
        (obx("UMB-HEARTECG", "1", 1, "{score}"), "st_elevation", None),  # it may be a bundle branch block
        (obx("UMB-HEARTECG", "1", 1, "{score}"), "ecg_new_ischemia", None),
        (obx("UMB-HEARTECG", "2", 1, "{score}"), "st_elevation", None),
        (sbp("90"), "sustained_hypotension", False),
        (sbp("90"), "hypotension_aggressive_fluids", False),
        (sbp("89.9"), "sustained_hypotension", None),
        (sbp("89.9"), "hypotension_aggressive_fluids", None),
        (sbp(">=90"), "hypotension_aggressive_fluids", False),
        (sbp("<95"), "hypotension_aggressive_fluids", None),
        (acvpu("A"), "new_confusion", False),
        (acvpu("C"), "new_confusion", True),
        *((acvpu(level), "new_confusion", None) for level in "VPU"),
        (acvpu("A"), "gcs", Decimal(15)),
        *((acvpu(level), "gcs", None) for level in "CVPU"),
        (obx("9269-2", "15", 1, "{score}"), "altered_mentation", False),
        (obx("9269-2", "14", 1, "{score}"), "altered_mentation", None),
        (obx("9269-2", "15", 1, "{score}"), "new_confusion", None),
        (obx("9269-2", "15", 1, "{score}"), "consciousness", None),
    ],
)
def test_an_answer_holds_others_in_itself(sent: Observation, fact: str, implied: object) -> None:
    found = shown(sent)
    assert value(found, fact) == implied
    if implied is not None:
        assert found[fact].latest.source.startswith(f"{sent.source}, implied by ")
        assert found[fact].latest.at == sent.at
    assert fact not in shown()  # and silence holds nothing


def test_every_pressure_of_the_window_counts() -> None:
    assert value(shown(sbp("88", 1), sbp("120", 2)), "hypotension_aggressive_fluids") is None
    assert value(shown(sbp("88", 1), sbp("120", 2), hours=26), "hypotension_aggressive_fluids") is False


def test_a_first_look_goes_by_the_worst_a_later_one_by_the_latest() -> None:
    sent = (acvpu("V", 1), acvpu("A", 2))
    assert value(shown(*sent, review=ReviewType.ADMISSION), "gcs") is None
    assert value(shown(*sent), "gcs") == 15


CONTRADICTIONS = [
    (obx("UMB-HEARTECG", "0", 1, "{score}"), yes_no("UMB-STEMI", "Y", 1), "st_elevation", True),
    (obx("UMB-HEARTECG", "0", 1, "{score}"), yes_no("UMB-ECGISCH", "Y", 1), "ecg_new_ischemia", True),
    (sbp("120"), yes_no("UMB-HYPO15", "Y", 1), "sustained_hypotension", True),
    (sbp("120"), yes_no("UMB-HYPOFLUID", "Y", 1), "hypotension_aggressive_fluids", True),
    (acvpu("A"), yes_no("UMB-CONF", "Y", 1), "new_confusion", True),
    (acvpu("C"), yes_no("UMB-CONF", "N", 1), "new_confusion", False),
    (acvpu("A"), obx("9269-2", "13", 1, "{score}"), "gcs", Decimal(13)),
]


def test_every_implied_fact_has_its_contradiction() -> None:
    assert {fact for _, _, fact, _ in CONTRADICTIONS} == set(IMPLIED)


@pytest.mark.parametrize(("says", "sent", "fact", "wins"), CONTRADICTIONS)
def test_what_was_sent_wins_and_the_source_names_both(
    says: Observation, sent: Observation, fact: str, wins: object
) -> None:
    reading = shown(says, sent)[fact]
    assert {each.value for each in (reading.latest, reading.low, reading.high)} == {wins}
    assert reading.latest.source == f"{sent.source} over {says.source}, implied by {implier(fact)}"
    assert reading.series[-1] is reading.latest


def implier(fact: str) -> str:
    return {"st_elevation": "heart_ecg_score", "ecg_new_ischemia": "heart_ecg_score"}.get(
        fact, "sbp" if "hypotension" in fact else "consciousness"
    )


def test_what_agrees_is_as_it_was_sent() -> None:
    found = shown(acvpu("A"), yes_no("UMB-CONF", "N", 1), obx("9269-2", "15", 1, "{score}"))
    assert found["new_confusion"].latest.source == "ZZ UMB-CONF@1"
    assert found["gcs"].latest.source == "ZZ 9269-2@1"
    both = shown(acvpu("V"), obx("9269-2", "15", 1, "{score}"))  # how alert was said
    assert both["altered_mentation"].latest.value is True


@pytest.mark.parametrize("status", ["X", "D", "W"])
def test_nothing_is_implied_where_somebody_said_that_there_is_no_value(status: str) -> None:
    none = obx("9269-2", "", 1, "{score}", status=status)
    found = shown(acvpu("A"), none)
    assert "gcs" not in found or status in "DW"  # a withdrawal of what was never sent says nothing


# --- closed worlds ---------------------------------------------------------------------------------------


def closable() -> list[tuple[str, str]]:
    return [(kind.id, kind.closed_by) for kind in dictionary().values() if kind.closed_by]


@pytest.mark.parametrize(("fact", "part"), closable())
def test_silence_is_n_only_after_the_event_and_only_by_the_profile(fact: str, part: str) -> None:
    done = yes_no(EVENTS[part], "Y", 2)
    found = shown(done, site=ASSUMING)
    assert found[fact].latest.value is False
    assert found[fact].latest.source == CLOSED + ASSUMING.assumptions[part]
    assert found[fact].latest.at == done.at
    assert fact not in shown(done)  # the profile does not say so
    assert fact not in shown(site=ASSUMING)  # nobody said that it is done
    assert fact not in shown(yes_no(EVENTS[part], "N", 2), site=ASSUMING)
    assert fact not in shown(done, site=ASSUMING, hours=1)  # nor before it was
    for other, code in EVENTS.items():
        if other != part:
            assert fact not in shown(yes_no(code, "Y", 2), site=ASSUMING)


@pytest.mark.parametrize(("fact", "part"), closable())
def test_what_was_sent_goes_before_the_closed_world(fact: str, part: str) -> None:
    found = shown(yes_no(EVENTS[part], "Y", 2), yes_no(CODE_OF[fact], "Y", 1), site=ASSUMING)
    assert found[fact].latest.value is True
    for value, status in (("", "X"), ("", "F"), ("", "P"), ('""', "F"), ("UNK", "F")):
        none = yes_no(CODE_OF[fact], value, 1, status=status)
        # that it could not be had is no N, nor that the question was left open
        assert fact not in shown(yes_no(EVENTS[part], "Y", 2), none, site=ASSUMING), (value, status)


def test_what_another_answer_implies_goes_before_the_closed_world() -> None:
    assert value(shown(yes_no("UMB-ASDONE", "Y", 2), acvpu("C"), site=ASSUMING), "new_confusion") is True


def test_what_is_no_finding_is_never_closed() -> None:
    kinds = dictionary()
    closed = {fact for fact, _ in closable()}
    assert all(kinds[fact].kind == "boolean" for fact in closed)
    assert {fact for fact in kinds if kinds[fact].group == "diagnosis"} <= closed
    open_ = {f for f, k in kinds.items() if k.group == "assessment" and k.kind == "boolean"} - closed
    assert open_ == {
        # Y is what is normal, or a document, a decision, an event of the chart
        *("oral_intake", "mentation_at_baseline", "home_support_adequate", "tia_workup_complete"),
        *("expectation_documented", "case_by_case_documented", "inpatient_only_procedure", "operative_plan"),
        *("joint_revision_or_bilateral", "history_complete", "assessment_complete", "chest_imaging_reported"),
        "neutropenia_expected",  # a forecast
        # only an image shows it
        *("rv_strain", "acute_infarct", "intraventricular_hemorrhage", "infratentorial"),
        "symptomatic_carotid_stenosis",
    }
    assert {fact for fact, part in closable() if part == "chest_imaging"} == {
        "multilobar_infiltrate",
        "pleural_effusion",
    }


# --- missing is never normal -----------------------------------------------------------------------------

MADE = {
    *("age", "sex", "spo2_limit", "o2_above_usual", "without_oxygen", "specimen_hemolyzed"),
    *("unmapped_parenteral_order", "inpatient_only_procedure", "unforeseen_departure"),
    "sofa_baseline",  # assumed 0 by the definition of sepsis
}


@given(st.sampled_from(sorted(EVERYTHING)), st.sampled_from(list(ReviewType)))
def test_of_a_patient_of_whom_nothing_is_known_nothing_is_normal(fact: str, review: ReviewType) -> None:
    found = shown(site=ASSUMING, review=review)
    kind = dictionary().get(fact)
    if fact in found and not (kind is not None and kind.closed_world):
        assert fact in MADE


SENT: list[Sequence[Observation]] = [
    (sbp("120"),),
    (acvpu("A"),),
    (acvpu("V"),),
    (obx("UMB-HEARTECG", "0", 1, "{score}"),),
    (obx("59408-5", "97", 1, "%"),),
    (obx("2160-0", "1.0", 1, "mg/dL"),),
    (yes_no("UMB-HXDONE", "Y", 1), yes_no("UMB-ASDONE", "Y", 1), yes_no("UMB-CXRDONE", "Y", 1)),
]


@pytest.mark.parametrize("sent", SENT)
def test_every_reading_names_where_it_comes_from(sent: Sequence[Observation]) -> None:
    before, now = shown(site=ASSUMING), shown(*sent, site=ASSUMING)
    sources = [each.source for each in sent]
    for fact in now.keys() - before.keys():
        source = now[fact].latest.source
        assert any(each in source for each in sources) or source.startswith(CLOSED), fact
    assert before.keys() <= now.keys() and ARRIVAL.control_id
