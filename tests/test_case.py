"""The question to a plugin: windows, worst values, silences, and the facts of every review vignette."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Case, Coded, Diagnosis, Event, Observation, Order, Patient, Reading, Visit
from umbridge.review.case import case
from umbridge.review.plan import open_reviews, reviews
from umbridge.settings.site import DEFAULT_SITE, SiteProfile, default_site, load_site, parse_site
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.assays import NO_FLAG
from umbridge.stay.readings.prevailing import part2_facts, prevailing
from umbridge.stay.readings.treatments import NO_ORDER
from umbridge.stay.readings.window import readings
from umbridge.values.kinds import ReviewType

SHARED = Path(__file__).parents[1] / "../shared/vignettes"
SITE = default_site()
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
EVERYTHING = frozenset(dictionary()) | frozenset(DERIVED)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


ARRIVAL = Event(
    message_type="ADT",
    trigger="A04",
    control_id="ZZ-0",
    processing_id="P",
    sent_at=START,
    effective_at=START,
    patient=Patient((("7790004", "UMBH", "MR"),), "AC4", "19600303", "M"),
    visit=Visit(number="VN4", patient_class="E", patient_type="EDP", unit="ED", admitted_at=START),
)


def obx(code: str, value: str, hours: float, unit: str = "", kind: str = "NM", **other: Any) -> Observation:
    return Observation(
        kind,
        Coded(code, "", "99UMB" if code.startswith("UMB-") else "LN"),
        Coded(),
        value,
        unit,
        other.get("reference", ""),
        other.get("status", "F"),
        at(hours),
        other.get("report", f"R{hours}"),
        f"ZZ {code}@{hours}",
        told=(at(hours), at(hours)),
    )


def yes_no(code: str, value: str, hours: float, **other: Any) -> Observation:
    return obx(code, value, hours, kind="CWE", **other)


def oru(*observations: Observation) -> Event:
    return replace(
        ARRIVAL,
        message_type="ORU",
        trigger="R01",
        observations=observations,
        visit=Visit(number="VN4"),
    )


def orm(code: str, hours: float, control: str = "NW", placer: str = "P1") -> Event:
    order = Order(control, placer, "", "", Coded(code), at(hours), (), f"ZZ ORC@{hours}")
    return replace(oru(), message_type="ORM", trigger="O01", orders=(order,))


def seen(
    *events: Event,
    hours: float,
    review: ReviewType = ReviewType.ADMISSION,
    site: SiteProfile = SITE,
) -> dict[str, Reading]:
    fold = StayFold(site)
    for seq, event in enumerate((ARRIVAL, *events)):
        fold.apply(event, seq)
    return readings(fold, at(hours), review=review, wanted=EVERYTHING)


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "known"), [(10, True), (16, True), (16.01, False), (9.99, False)])
def test_a_vital_sign_counts_for_six_hours_and_never_from_the_future(hours: float, known: bool) -> None:
    found = seen(oru(obx("8867-4", "88", 10, "/min")), hours=hours)
    assert ("heart_rate" in found) is known


def test_nothing_from_before_the_first_contact_counts_but_a_baseline() -> None:
    early = oru(obx("8867-4", "88", -0.1, "/min"), obx("UMB-CREATBL", "1.1", -364 * 24, "mg/dL"))
    found = seen(early, hours=1)
    assert "heart_rate" not in found
    assert found["baseline_creatinine"].latest.value == Decimal("1.1")
    older = oru(obx("UMB-CREATBL", "1.1", -365 * 24 - 0.1, "mg/dL"))
    assert "baseline_creatinine" not in seen(older, hours=1)
    assert "baseline_creatinine" in seen(early, hours=24 * 6)  # it does not run out during the stay


def test_a_first_review_takes_the_worst_and_a_continued_stay_the_latest() -> None:
    vitals = oru(*(obx("8867-4", value, n, "/min") for n, value in enumerate(("90", "130", "100"))))
    first = seen(vitals, hours=3)["heart_rate"]
    assert (first.low.value, first.high.value, first.latest.value) == (90, 130, 100)
    assert [sample.value for sample in first.series] == [90, 130, 100]
    assert [sample.value for sample in prevailing(first, ReviewType.ADMISSION)] == [130]
    later = seen(vitals, hours=20, review=ReviewType.CONTINUED_STAY)["heart_rate"]
    assert [sample.value for sample in prevailing(later, ReviewType.CONTINUED_STAY)] == [100]
    assert "heart_rate" not in seen(vitals, hours=20)
    assert "heart_rate" not in seen(vitals, hours=26.1, review=ReviewType.CONTINUED_STAY)


def test_pressure_is_worst_when_low_temperature_both_ways() -> None:
    vitals = oru(
        *(obx("8480-6", v, n, "mm[Hg]") for n, v in enumerate(("120", "88", "110"))),
        *(obx("8310-5", v, n, "Cel") for n, v in enumerate(("35.5", "39", "37"))),
    )
    found = seen(vitals, hours=3)
    assert [s.value for s in prevailing(found["sbp"], ReviewType.ADMISSION)] == [88]
    assert [s.value for s in prevailing(found["temperature"], ReviewType.ADMISSION)] == [Decimal("35.5"), 39]


def test_a_series_holds_the_newest_four() -> None:
    vitals = oru(*(obx("8867-4", str(60 + n), n / 10, "/min") for n in range(30)))
    series = seen(vitals, hours=4)["heart_rate"].series
    assert [sample.value for sample in series] == [Decimal(60 + n) for n in range(26, 30)]


# --- silence is unknown, with few exceptions ------------------------------------------------------


def test_without_messages_nothing_is_known_but_person_and_silence() -> None:
    found = seen(hours=1)
    treatments = {fact for fact, kind in dictionary().items() if kind.closed_world}
    counted = {"unforeseen_departure", "inpatient_only_procedure"}  # nobody has left; no procedure is ordered
    counted |= {"spo2_limit", "o2_above_usual", "without_oxygen"}  # nothing usual stated, no oxygen ordered
    counted |= {"unmapped_parenteral_order"}  # N: no such order in a feed that carries all
    assert set(found) == {"age", "sex", "specimen_hemolyzed", "sofa_baseline"} | counted | treatments
    assert {found[fact].latest.source for fact in treatments} == {NO_ORDER}
    assert {found[fact].latest.value for fact in treatments} == {False}
    assert found["specimen_hemolyzed"].latest.source == NO_FLAG


def test_without_a_closed_world_silence_about_treatment_is_unknown() -> None:
    site = parse_site(
        DEFAULT_SITE.read_text("utf-8").replace("closed_world = true", "closed_world = false").encode()
    )
    treatments = {fact for fact, kind in dictionary().items() if kind.closed_world}
    assert not treatments & set(seen(hours=1, site=site))
    found = seen(orm("RTNIV", 1), hours=2, site=site)
    assert found["niv"].latest.value is True
    assert "niv" not in seen(orm("RTNIV", 1), orm("RTNIV", 2, "DC"), hours=3, site=site)


@pytest.mark.parametrize("status", ["X", "I", "S", "R", "O", "N", "U"])
def test_a_result_that_could_not_be_had_is_unknown_not_normal(status: str) -> None:
    assert "bun" not in seen(oru(obx("3094-0", "28", 1, "mg/dL", status=status)), hours=2)
    assert "new_confusion" not in seen(oru(yes_no("UMB-CONF", "N", 1, status=status)), hours=2)


def test_a_correction_in_an_unknown_unit_takes_the_value_away() -> None:
    sent = obx("3094-0", "28", 1, "mg/dL", report="R1")
    corrected = obx("3094-0", "29", 1, "furlong", report="R1", status="C")
    assert "bun" not in seen(oru(sent), oru(corrected), hours=2)
    assert "bun" not in seen(oru(corrected), oru(sent), hours=2)


# --- treatments -----------------------------------------------------------------------------------


def test_a_treatment_is_on_while_an_order_is_in_force() -> None:
    events = (orm("RXCEFTRIV", 1), orm("RXPIPTAZIV", 2, placer="P2"), orm("RXCEFTRIV", 3, "DC"))
    assert seen(*events, hours=3)["iv_anti_infective"].latest.source == "ZZ ORC@2"
    assert seen(*events, orm("RXPIPTAZIV", 4, "DC", "P2"), hours=5)["iv_anti_infective"].latest.value is False
    assert seen(*events, hours=0.5)["iv_anti_infective"].latest.value is False
    assert (
        seen(orm("RTNIV", 1), orm("RTNIV", 2, "HD"), orm("RTNIV", 3, "RL"), hours=4)["niv"].latest.value
        is True
    )


def test_an_observation_overrides_orders_for_its_time() -> None:
    off = oru(yes_no("UMB-NIV", "N", 2))
    assert seen(orm("RTNIV", 1), off, hours=3)["niv"].latest.value is False
    assert seen(orm("RTNIV", 2.5), off, hours=3)["niv"].latest.value is True
    on = oru(yes_no("UMB-NIV", "Y", 2))
    assert seen(on, hours=3)["niv"].latest.value is True
    assert seen(on, hours=26.1)["niv"].latest.value is False  # a day later only orders speak


# --- specimens, assays, derived -------------------------------------------------------------------


def test_a_haemolysed_specimen_takes_its_own_potassium_and_no_other() -> None:
    bad = oru(obx("2823-3", "6.7", 1, "mmol/L", report="A"), yes_no("UMB-HEMOL", "Y", 1, report="A"))
    good = oru(obx("2823-3", "4.1", 2, "mmol/L", report="B"))
    found = seen(bad, hours=3)
    assert "potassium" not in found
    assert found["specimen_hemolyzed"].latest.value is True
    found = seen(bad, good, hours=3)
    assert (found["potassium"].high.value, found["specimen_hemolyzed"].latest.value) == (
        Decimal("4.1"),
        False,
    )
    elsewhere = oru(obx("2823-3", "6.7", 1, "mmol/L", report="A"), yes_no("UMB-HEMOL", "Y", 1, report="C"))
    assert seen(elsewhere, hours=3)["potassium"].latest.value == Decimal("6.7")


def test_troponin_assays_are_not_mixed_and_a_repeat_needs_three_hours() -> None:
    def sample(code: str, value: str, hours: float) -> Event:
        return oru(obx(code, value, hours, "ng/L", reference="0-10"))

    found = seen(
        *(sample("67151-1", "40", 1), sample("67151-1", "45", 3.9), sample("67151-1", "30", 4)),
        sample("6598-7", "5", 5),
        hours=6,
    )["troponin_ratio"]
    assert (found.high.value, found.latest.value) == (Decimal("4.5"), 3)
    assert [each.value for each in found.series] == [4, 3]  # 2 h 54 min after the first is no repeat


def test_room_air_feeds_the_plain_saturation_and_what_is_on_oxygen_never_the_reverse() -> None:
    found = seen(oru(obx("UMB-SPO2RA", "91", 1, "%")), hours=2)
    assert found["spo2"].latest.value == found["spo2_room_air"].latest.value == 91
    found = seen(orm("RTO2", 0.5), oru(obx("59408-5", "91", 1, "%")), hours=2)
    assert "spo2" in found and "spo2_room_air" not in found
    assert "spo2" not in seen(
        *(oru(obx("UMB-SPO2RA", "91", 1, "%", report="A", status=s)) for s in ("F", "W")), hours=2
    )


def test_oxygenation_from_gas_and_fraction_of_the_same_time() -> None:
    gas = obx("2703-7", "60", 1, "mm[Hg]")
    assert seen(oru(gas, obx("3150-0", "40", 1, "%")), hours=2)["pao2_fio2"].latest.value == 150
    assert "pao2_fio2" not in seen(oru(gas, obx("3150-0", "40", 1.1, "%")), hours=2)
    assert "pao2_fio2" not in seen(oru(gas, obx("3150-0", "0", 1, "%")), hours=2)


def test_derived_facts() -> None:
    events = oru(
        *(
            obx("2951-2", "150", 1, "mmol/L"),
            obx("2345-7", "900", 1, "mg/dL"),
            obx("2160-0", "3.3", 1, "mg/dL"),
        ),
        *(obx("UMB-CREATBL", "1.1", 1, "mg/dL"), obx("8480-6", "90", 1, "mm[Hg]")),
        *(yes_no("67775-7", "V", 1), yes_no("67775-7", "A", 2)),
    )
    found = seen(events, hours=3)
    assert found["effective_osmolality"].latest.value == 350
    assert found["rise_in_creatinine"].latest.value == 3
    assert found["sustained_hypotension"].latest.value is False  # 90 is not below 90
    assert found["consciousness"].high.value == "V"
    assert found["altered_mentation"].latest.value is True
    later = seen(events, hours=3, review=ReviewType.CONTINUED_STAY)
    assert later["altered_mentation"].latest.value is False
    low = oru(obx("8480-6", "89", 1, "mm[Hg]"), obx("8480-6", "120", 2, "mm[Hg]"))
    assert "sustained_hypotension" not in seen(low, hours=3)


@pytest.mark.parametrize(("day", "age"), [("20260302", 65), ("20260303", 66), ("20260304", 66)])
def test_age_is_whole_years_on_the_local_date(day: str, age: int) -> None:
    fold = StayFold(SITE)
    fold.apply(ARRIVAL, 0)
    moment = datetime.strptime(day, "%Y%m%d").replace(hour=23, minute=30, tzinfo=SITE.zone)
    assert readings(fold, moment, review=ReviewType.ADMISSION, wanted={"age"})["age"].latest.value == age


def test_midnights_run_from_care_and_from_the_order() -> None:
    order, first = orm("ADTINPT", 14), oru(obx("6690-2", "9", 1, "10*3/uL"))  # 3 March, midnight in New York
    plan = replace(order, visit=replace(order.visit, expected_discharge=at(40)), orders=order.orders)
    found = seen(first, plan, hours=15)
    assert found["midnights_from_care"].latest.value == 2
    assert found["midnights_from_order"].latest.value == 1
    assert found["expected_discharge"].latest.value == at(40).astimezone(SITE.zone).isoformat()
    assert "midnights_from_order" not in seen(hours=15)


# --- diagnoses ------------------------------------------------------------------------------------


def with_diagnosis(code: str, system: str = "I10", deleted: bool = False, hours: float = 0) -> Event:
    made = replace(ARRIVAL, trigger="A08", diagnoses=(Diagnosis(1, code, system, "W", deleted, "ZZ DG1[1]"),))
    return replace(made, sent_at=at(hours), effective_at=at(hours))


BY_PREFIX: list[tuple[str, str, bool | None]] = [
    *[("I50.9", "heart_failure", True), ("I11.0", "heart_failure", True), ("I11.9", "heart_failure", None)],
    *[
        ("C34.90", "cancer", True),
        ("C96.9", "cancer", True),
        ("C97", "cancer", None),
        ("D05", "cancer", None),
    ],
    *[("C34.90", "solid_tumor", True), ("C91.00", "solid_tumor", False), ("K921", "melena", True)],
]


@pytest.mark.parametrize(("code", "fact", "value"), BY_PREFIX)
def test_a_diagnosis_gives_y_by_its_prefix(code: str, fact: str, value: bool | None) -> None:
    found = seen(with_diagnosis(code), hours=1)
    assert (found[fact].latest.value if fact in found else None) is value


def test_a_diagnosis_beats_an_n_until_it_is_deleted_and_icd9_never_counts() -> None:
    no = oru(yes_no("UMB-HXHF", "N", 1))
    both = seen(no, with_diagnosis("I50.9"), hours=2)["heart_failure"]
    assert both.latest.value is True
    assert both.latest.source == "ZZ DG1[1] over ZZ UMB-HXHF@1"
    gone = seen(no, with_diagnosis("I50.9"), with_diagnosis("I50.9", deleted=True, hours=1), hours=2)
    assert gone["heart_failure"].latest.value is False
    assert "heart_failure" not in seen(with_diagnosis("I50.9", "I9"), hours=2)


def test_facts_of_another_patient_on_the_visit_are_never_read() -> None:
    stranger = Patient((("7790005", "UMBH", "MR"),))
    result = replace(oru(obx("8867-4", "190", 1, "/min"), yes_no("UMB-TELE", "Y", 1)), patient=stranger)
    found = seen(result, replace(orm("RTNIV", 1), patient=stranger), hours=2)
    assert "heart_rate" not in found
    assert (found["niv"].latest.source, found["telemetry"].latest.source) == (NO_ORDER, NO_ORDER)


def test_part_2_facts_are_named() -> None:
    assert part2_facts(["heart_rate", "ciwa_ar", "nothing"]) == ("ciwa_ar",)


# --- the case -------------------------------------------------------------------------------------


def test_a_case_holds_what_was_asked_for_and_names_nobody() -> None:
    fold = StayFold(SITE)
    for seq, event in enumerate(
        (ARRIVAL, orm("ADTOBS", 1), oru(obx("8867-4", "88", 2, "/min")), orm("ADTINPT", 7))
    ):
        fold.apply(event, seq)
    stay = fold.stay(at(8))
    (review,) = open_reviews(stay)
    made = case(fold, stay, review, frozenset({"heart_rate", "bun", "no_such_fact"}), "ZZPSEUDONYM")
    assert set(made.facts) == {"heart_rate"}
    assert (made.observation_hours, made.observation_ended) == (Decimal("6.00"), True)
    text = repr([getattr(made, field.name) for field in fields(Case)])
    assert not any(secret in text for secret in ("7790004", "VN4", "AC4", "19600303"))
    assert made == case(fold, stay, review, frozenset({"heart_rate", "bun"}), "ZZPSEUDONYM")


def test_observation_hours_run_while_it_lasts() -> None:
    fold = StayFold(SITE)
    for seq, event in enumerate((ARRIVAL, orm("ADTOBS", 1))):
        fold.apply(event, seq)
    stay = fold.stay(at(3.5))
    made = case(fold, stay, open_reviews(stay)[0], frozenset(), "ZZ")
    assert (made.observation_hours, made.observation_ended) == (Decimal("2.50"), False)
    assert StayFold(SITE).stay(at(0)).spans == ()


def test_a_retrospective_review_looks_at_what_the_admission_review_would_have_seen() -> None:
    gone = replace(ARRIVAL, trigger="A03", effective_at=at(80), sent_at=at(80))
    fold = StayFold(SITE)
    vitals = oru(obx("8867-4", "130", 3, "/min"), obx("8867-4", "60", 60, "/min"))
    for seq, event in enumerate((ARRIVAL, orm("ADTINPT", 2), vitals, gone)):
        fold.apply(event, seq)
    stay = fold.stay(at(500))
    (review,) = open_reviews(stay)
    assert review.type is ReviewType.RETROSPECTIVE
    made = case(fold, stay, review, frozenset({"heart_rate"}), "ZZ")
    assert made.as_of == review.judged_at == at(4)
    assert made.facts["heart_rate"].latest.value == 130


# --- the vignettes --------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.exists(), reason="../shared is not beside the repository")
@pytest.mark.parametrize("name", [f"G{n:02}" for n in range(1, 25)])
def test_review_vignettes(name: str) -> None:
    folder = SHARED / "cases" / name
    expected = json.loads((folder / "expected.json").read_text("utf-8"))
    site = load_site(SHARED / "site.toml")
    fold = StayFold(site)
    for seq, path in enumerate(sorted(folder.glob("*.hl7"))):
        event = translate(er7.parse(path.read_bytes()), site.zone, mrn_authority=site.mrn_authority)
        fold.apply(event, seq)
    as_of = datetime.fromisoformat(expected["as_of"])
    stay = fold.stay(as_of)
    (review,) = [each for each in reviews(stay) if each.type == expected["review"] and each.state == "open"]
    assert (stay.visit, stay.mrn, stay.payer_class) == tuple(
        expected[key] for key in ("visit", "mrn", "payer_class")
    )
    asked = {"status": review.requested_status.value, "level": review.requested_level.name}
    assert asked == expected["requested"]
    assert review.episode_day == expected.get("episode_day", review.episode_day)
    made = case(fold, stay, review, EVERYTHING, "ZZ")
    for fact, value in expected["facts"].items():
        found = [sample.value for sample in prevailing(made.facts[fact], review.type)]
        if isinstance(value, bool | str):
            assert found == [value], fact
        else:
            assert round(Decimal(value), 4) in [round(Decimal(str(each)), 4) for each in found], fact
    for fact in ("midnights_from_care", "midnights_from_order"):
        if fact in expected.get("scores", {}):
            assert made.facts[fact].latest.value == expected["scores"][fact]
    # What is not among the expected facts was not sent: a vital sign or a result may not appear from nowhere.
    extra = {fact for fact in made.facts if fact not in expected["facts"] and dictionary().get(fact)}
    # What another answer implies says so in its source, and a saturation without oxygen what says that.
    said = {f for f in extra if ", " not in made.facts[f].latest.source}
    sent = {f for f in said if dictionary()[f].is_measured and f not in ("spo2", "specimen_hemolyzed")}
    assert sent == set()
    assert set(expected["missing"]).isdisjoint(made.facts)
