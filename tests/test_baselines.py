"""What is usual for the patient: limits, oxygen at home, room air, and which facts may be left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_case import ARRIVAL, SITE, obx, orm, oru, seen, yes_no

from umbridge.model import Diagnosis, Event, Observation, Reading
from umbridge.settings.site import DEFAULT_SITE, parse_site
from umbridge.stay.readings.baselines import ABSOLUTE
from umbridge.values.kinds import ReviewType

YEAR = 365 * 24.0


def shown(
    *events: Event, hours: float = 4, review: ReviewType = ReviewType.CONTINUED_STAY
) -> dict[str, Reading]:
    return seen(*events, hours=hours, review=review)


def value(found: dict[str, Reading], fact: str) -> object:
    return found[fact].latest.value if fact in found else None


# --- the limit of the saturation -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "limit", "source"),
    [
        ((), "90", ABSOLUTE),
        ((yes_no("UMB-O2T8892", "N", 1), yes_no("UMB-HOMEO2", "N", 1)), "90", ABSOLUTE),
        ((yes_no("UMB-O2T8892", "Y", 1),), "88", "ZZ UMB-O2T8892@1"),
        ((yes_no("UMB-HOMEO2", "Y", 1),), "88", "ZZ UMB-HOMEO2@1"),
        ((obx("UMB-SPO2USUAL", "92", 1, "%"),), "90", ABSOLUTE),  # 92 - 2 is no less than 90
        ((obx("UMB-SPO2USUAL", "91.9", 1, "%"),), "89.9", "ZZ UMB-SPO2USUAL@1"),
        ((obx("UMB-SPO2USUAL", "88", 1, "%"), yes_no("UMB-HOMEO2", "Y", 1)), "86", "ZZ UMB-SPO2USUAL@1"),
        ((obx("UMB-SPO2USUAL", "90", 1, "%"), yes_no("UMB-HOMEO2", "Y", 1)), "88", "ZZ UMB-HOMEO2@1"),
        ((obx("UMB-SPO2USUAL", "99", 1, "%"),), "90", ABSOLUTE),  # a high usual raises no limit
        ((obx("UMB-SPO2USUAL", "86.1", 1, "%"),), "84.1", "ZZ UMB-SPO2USUAL@1"),
        ((obx("UMB-SPO2USUAL", "86", 1, "%"),), "84", "ZZ UMB-SPO2USUAL@1"),
        ((obx("UMB-SPO2USUAL", "85.9", 1, "%"),), "84", "ZZ UMB-SPO2USUAL@1"),  # no limit is below 84
        ((obx("UMB-SPO2USUAL", "70", 1, "%"),), "84", "ZZ UMB-SPO2USUAL@1"),
        ((obx("UMB-SPO2USUAL", "75", 1, "%"), yes_no("UMB-HOMEO2", "Y", 1)), "84", "ZZ UMB-SPO2USUAL@1"),
        ((obx("UMB-SPO2USUAL", "69.9", 1, "%"),), "90", ABSOLUTE),  # a mistake moves no limit
        ((obx("UMB-SPO2USUAL", "0.9", 1, "%"),), "90", ABSOLUTE),
        ((obx("UMB-SPO2USUAL", "<88", 1, "%"),), "90", ABSOLUTE),  # not stated exactly
        ((obx("UMB-SPO2USUAL", "87", -YEAR + 1, "%"),), "85", f"ZZ UMB-SPO2USUAL@{-YEAR + 1}"),
        ((obx("UMB-SPO2USUAL", "85", -YEAR - 1, "%"),), "90", ABSOLUTE),  # a year is too long ago
    ],
)
def test_the_limit_is_the_patients_own_only_where_that_is_stated(
    stated: Sequence[Observation], limit: str, source: str
) -> None:
    found = shown(*([oru(*stated)] if stated else []))["spo2_limit"]
    assert (found.latest.value, found.latest.unit) == (Decimal(limit), "%")
    assert found.latest.source == source


def test_a_diagnosis_says_that_there_is_oxygen_at_home() -> None:

    said = replace(
        ARRIVAL, control_id="ZZ-9", diagnoses=(Diagnosis(2, "Z99.81", "I10", "F", False, "ZZ DG1[2]"),)
    )
    found = shown(said)
    assert found["home_oxygen"].latest.value is True
    assert value(found, "spo2_limit") == 88


@given(
    st.one_of(st.none(), st.decimals(50, 100, places=1)),
    st.sampled_from([None, "Y", "N"]),
    st.sampled_from([None, "Y", "N"]),
)
def test_no_baseline_makes_a_limit_stricter_than_everybodys_or_lower_than_84(
    usual: Decimal | None, home: str | None, target: str | None
) -> None:
    said = [obx("UMB-SPO2USUAL", str(usual), 1, "%")] if usual is not None else []
    said += [yes_no("UMB-HOMEO2", home, 1)] if home else []
    said += [yes_no("UMB-O2T8892", target, 1)] if target else []
    found = value(shown(*([oru(*said)] if said else [])), "spo2_limit")
    assert isinstance(found, Decimal) and 84 <= found <= 90
    if usual is None and "Y" not in (home, target):
        assert found == 90


# --- oxygen above the usual ------------------------------------------------------------------------------

O2 = orm("RTO2", 1)
AT_HOME = (yes_no("UMB-HOMEO2", "Y", 1), obx("UMB-HOMEO2FL", "2", 1, "L/min"))


@pytest.mark.parametrize(
    ("events", "above"),
    [
        ((), False),  # no order: the feed carries them all
        ((O2,), True),
        ((O2, oru(yes_no("UMB-HOMEO2", "N", 1))), True),
        ((O2, oru(*AT_HOME)), None),  # how much flows is not known
        ((O2, oru(*AT_HOME[:1], obx("3151-8", "2", 2, "L/min"))), None),  # nor how much at home
        ((O2, oru(*AT_HOME, obx("3151-8", "2", 2, "L/min"))), False),
        ((O2, oru(*AT_HOME, obx("3151-8", "2.1", 2, "L/min"))), True),
        ((O2, oru(*AT_HOME, obx("3151-8", ">2", 2, "L/min"))), True),
        ((O2, oru(*AT_HOME, obx("3151-8", "<=2", 2, "L/min"))), False),
        ((O2, oru(*AT_HOME, obx("3151-8", "<4", 2, "L/min"))), None),
        (
            (O2, oru(*AT_HOME, obx("3151-8", "6", 2, "L/min"), obx("3151-8", "2", 3, "L/min"))),
            False,
        ),  # latest
        ((oru(*AT_HOME),), False),
        ((orm("RTNIV", 1, placer="P2"),), True),
        ((orm("RTHFNC", 1, placer="P2"), oru(*AT_HOME)), True),
        ((O2, orm("RTHFNC", 1, placer="P2"), oru(*AT_HOME)), True),  # whatever the flow is
    ],
)
def test_oxygen_is_a_treatment_where_it_is_more_than_at_home(
    events: Sequence[Event], above: bool | None
) -> None:
    found = shown(*events)
    assert value(found, "o2_above_usual") is above
    if above is not None:
        assert found["o2_above_usual"].latest.source


# --- room air --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "on_air"),
    [
        ((), True),
        ((O2,), False),
        ((orm("RTO2", 1), orm("RTO2", 1.5, "DC")), True),
        ((orm("RTO2", 2.5),), True),  # only later
        ((orm("RTNIV", 1),), False),
        ((orm("RTHFNC", 1),), False),
        ((orm("RTVENT", 1),), False),
        ((oru(yes_no("UMB-O2", "Y", 1)),), False),
        ((O2, oru(yes_no("UMB-O2", "N", 1.5))), True),
        ((oru(obx("3151-8", "2", 2, "L/min")),), False),
        ((oru(obx("3151-8", "0", 2, "L/min")),), True),
        ((oru(obx("3151-8", "2", 1.5, "L/min")),), True),  # of another time
        ((oru(obx("3150-0", "21", 2, "%")),), True),
        ((oru(obx("3150-0", "22", 2, "%")),), False),
        ((oru(obx("3150-0", "<30", 2, "%")),), False),
    ],
)
def test_a_saturation_without_oxygen_is_one_on_room_air(events: Sequence[Event], on_air: bool) -> None:
    found = shown(*events, oru(obx("59408-5", "94", 2, "%")))
    assert (value(found, "spo2_room_air") == 94) is on_air
    if on_air:
        assert found["spo2_room_air"].latest.source.startswith("ZZ 59408-5@2, ")


def test_room_air_that_was_sent_counts_beside_what_is_known_to_be() -> None:
    found = shown(oru(obx("59408-5", "94", 2, "%"), obx("UMB-SPO2RA", "89", 3, "%")))["spo2_room_air"]
    assert (found.low.value, found.latest.value, len(found.series)) == (89, 89, 2)
    assert found.latest.source == "ZZ UMB-SPO2RA@3"
    on_oxygen = shown(O2, oru(obx("59408-5", "94", 2, "%"), obx("UMB-SPO2RA", "89", 3, "%")))["spo2_room_air"]
    assert (on_oxygen.latest.value, len(on_oxygen.series)) == (89, 1)


def test_without_every_order_in_the_feed_nobody_knows_that_it_was_room_air() -> None:
    text = DEFAULT_SITE.read_text("utf-8").replace("closed_world = true", "closed_world = false")
    found = seen(oru(obx("59408-5", "94", 2, "%")), hours=4, site=parse_site(text.encode()))
    assert "spo2_room_air" not in found and "o2_above_usual" not in found
    assert value(seen(oru(obx("59408-5", "94", 2, "%")), hours=4, site=SITE), "spo2_room_air") == 94


# --- what may be left out --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "is_so"),
    [
        ((), False),
        ((obx("59408-5", "90", 2, "%"),), True),
        ((obx("59408-5", "89.9", 2, "%"),), False),
        ((obx("59408-5", "<92", 2, "%"),), False),
        ((obx("59408-5", "88", 2, "%"), yes_no("UMB-HOMEO2", "Y", 1)), True),
        ((obx("59408-5", "90", 2, "%"), obx("67775-7", "A", 2, kind="CWE")), True),
        ((obx("UMB-SPO2RA", "90", 2, "%"),), True),  # on room air
        ((obx("UMB-SPO2RA", "89.9", 2, "%"),), False),
        ((obx("59408-5", "95", 2, "%"), obx("UMB-SPO2RA", "89", 2, "%")), False),
        *(((obx("59408-5", "90", 2, "%"), obx("67775-7", level, 2, kind="CWE")), False) for level in "CVPU"),
    ],
)
def test_a_gas_is_left_out_only_where_it_would_not_be_taken(sent: Sequence[Observation], is_so: bool) -> None:
    found = shown(*([oru(*sent)] if sent else []))
    assert value(found, "gas_not_needed") is (True if is_so else None)


GOOD = obx("59408-5", "97", 2, "%")


@pytest.mark.parametrize(
    ("events", "is_so"),
    [
        ((oru(GOOD),), True),
        ((oru(GOOD), O2), False),
        ((oru(GOOD, obx("UMB-SPO2RA", "95", 1.5, "%")), O2), False),  # on room air before the oxygen
        ((oru(GOOD), orm("RTHFNC", 1, placer="P2")), False),
        ((oru(GOOD), orm("RTNIV", 1, placer="P2")), False),
        ((oru(GOOD), orm("RTVENT", 1, placer="P2")), False),
        ((oru(GOOD, obx("3151-8", "0", 2, "L/min")),), True),
        ((oru(GOOD, obx("3151-8", "0.1", 2, "L/min")),), False),  # charted without an order
        ((oru(GOOD, obx("3150-0", "21", 2, "%")),), True),
        ((oru(GOOD, obx("3150-0", "22", 2, "%")),), False),
        ((oru(GOOD, *AT_HOME, obx("3151-8", "2", 2, "L/min")), O2), True),  # as at home
        ((oru(GOOD, *AT_HOME, obx("3151-8", "2.1", 2, "L/min")), O2), False),
        ((oru(GOOD, *AT_HOME, obx("3151-8", "2.1", 2, "L/min")),), False),
        ((oru(GOOD, *AT_HOME), O2), False),  # nobody knows how much
    ],
)
def test_a_good_saturation_on_more_oxygen_than_usual_leaves_no_gas_out(
    events: Sequence[Event], is_so: bool
) -> None:
    assert value(shown(*events), "gas_not_needed") is (True if is_so else None)


def test_where_nobody_knows_of_the_oxygen_only_a_saturation_on_room_air_leaves_a_gas_out() -> None:
    text = DEFAULT_SITE.read_text("utf-8").replace("closed_world = true", "closed_world = false")
    site = parse_site(text.encode())
    assert "gas_not_needed" not in seen(oru(GOOD), hours=4, site=site)
    assert value(seen(oru(obx("UMB-SPO2RA", "97", 2, "%")), hours=4, site=site), "gas_not_needed") is True


def test_a_first_look_leaves_a_gas_out_by_the_worst_and_not_the_latest() -> None:
    sent = oru(obx("59408-5", "85", 1, "%"), obx("59408-5", "96", 2, "%"))
    assert "gas_not_needed" not in shown(sent, review=ReviewType.ADMISSION)
    assert "gas_not_needed" in shown(sent)


@pytest.mark.parametrize(
    ("sent", "is_so"),
    [
        ((), False),
        ((obx("8480-6", "100", 2, "mm[Hg]"),), True),
        ((obx("8480-6", "99.9", 2, "mm[Hg]"),), False),
        ((obx("8480-6", ">100", 2, "mm[Hg]"),), True),
        ((obx("8480-6", "<180", 2, "mm[Hg]"),), False),
    ],
)
def test_a_lactate_is_left_out_only_beside_a_pressure_that_is_not_low(
    sent: Sequence[Observation], is_so: bool
) -> None:
    found = shown(*([oru(*sent)] if sent else []))
    assert value(found, "lactate_not_needed") is (True if is_so else None)


def test_a_first_look_leaves_a_lactate_out_by_the_lowest_pressure() -> None:
    sent = oru(obx("8480-6", "88", 1, "mm[Hg]"), obx("8480-6", "124", 2, "mm[Hg]"))
    assert "lactate_not_needed" not in shown(sent, review=ReviewType.ADMISSION)
    assert "lactate_not_needed" in shown(sent)


@pytest.mark.parametrize(
    ("upper", "lower", "is_so"),
    [
        ("105", "45", True),
        ("104.9", "45", False),
        ("105", "44.9", False),
        ("<105", "45", False),
        ("130", "", False),
    ],
)
def test_a_mean_pressure_is_left_out_only_where_the_others_come_to_65(
    upper: str, lower: str, is_so: bool
) -> None:
    found = shown(oru(obx("8480-6", upper, 2, "mm[Hg]"), obx("8462-4", lower, 2, "mm[Hg]")))
    assert value(found, "map_not_needed") is (True if is_so else None)


def test_conditions_are_known_only_where_they_hold() -> None:
    assert value(shown(), "without_oxygen") is True
    assert "without_oxygen" not in shown(O2)
    assert "workup_complete" not in shown()
    assert "workup_complete" not in shown(oru(yes_no("UMB-TIAWORKUP", "N", 1)))
    assert value(shown(oru(yes_no("UMB-TIAWORKUP", "Y", 1))), "workup_complete") is True


# --- the rise of the creatinine --------------------------------------------------------------------------


def creatinine(*values: tuple[str, float]) -> Event:
    return oru(*(obx("2160-0", value, hours, "mg/dL") for value, hours in values))


@pytest.mark.parametrize(
    ("values", "hours", "rise"),
    [
        ((), 60, None),
        ((("1.0", 1),), 20, None),
        ((("1.0", 1), ("1.3", 20)), 21, "0.3"),
        ((("1.0", 1), ("1.3", 49)), 50, "0.3"),
        ((("1.0", 1), ("1.3", 49.1)), 50, None),  # more than 48 hours apart
        ((("1.0", 1), ("0.8", 20), ("1.2", 40)), 41, "0.4"),
        ((("1.4", 1), ("1.0", 20)), 21, "0.0"),  # a fall is no rise
        ((("1.0", 1), ("2.0", 5), ("1.2", 40)), 41, "0.2"),  # the later must be in the window: 24 h back
        ((("1.0", 1), ("<1.2", 20)), 21, "<0.2"),
        ((("1.0", -5), ("1.3", 20)), 21, None),  # before the first contact
    ],
)
def test_the_rise_is_the_greatest_within_two_days(
    values: Sequence[tuple[str, float]], hours: float, rise: str | None
) -> None:
    found = shown(*([creatinine(*values)] if values else []), hours=hours)
    if rise is None:
        assert "creatinine_rise_48h" not in found
    elif rise == "<0.2":
        assert str(found["creatinine_rise_48h"].latest.value) == ">=0 <0.2"
    else:
        assert found["creatinine_rise_48h"].latest.value == Decimal(rise)
        assert " - " in found["creatinine_rise_48h"].latest.source


DRAWN = st.tuples(st.integers(5, 60), st.integers(1, 90))


@given(st.lists(DRAWN, min_size=1, max_size=8, unique_by=lambda each: each[1]))
def test_the_rise_is_that_of_some_pair_and_no_pair_rises_more(drawn: list[tuple[int, int]]) -> None:
    values = [(Decimal(tenths) / 10, hours) for tenths, hours in drawn]
    found = shown(creatinine(*((str(v), float(h)) for v, h in values)), hours=91)
    pairs = [b - a for a, x in values for b, y in values if 0 < y - x <= 48 and y >= 91 - 24]
    expected = max(Decimal(0), *pairs) if pairs else None
    assert value(found, "creatinine_rise_48h") == expected


# --- organs that failed before ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ((), Decimal(0)),
        (
            (yes_no("UMB-HXRENAL", "N", 1), yes_no("UMB-HXLIVER", "N", 1), yes_no("UMB-HOMEO2", "N", 1)),
            Decimal(0),
        ),
        ((yes_no("UMB-HXRENAL", "Y", 1),), None),
        ((yes_no("UMB-HXLIVER", "Y", 1),), None),
        ((yes_no("UMB-HOMEO2", "Y", 1),), None),
        ((obx("UMB-CREATBL", "1.1", 1, "mg/dL"),), Decimal(0)),
        ((obx("UMB-CREATBL", "1.2", 1, "mg/dL"),), None),  # has points of its own
        ((obx("UMB-CREATBL", "<1.2", 1, "mg/dL"),), Decimal(0)),
        ((obx("UMB-CREATBL", ">0.9", 1, "mg/dL"),), None),
        ((yes_no("UMB-HXRENAL", "Y", 1), obx("UMB-SOFABL", "3", 1, "{score}")), Decimal(3)),
        ((obx("UMB-SOFABL", "", 1, "{score}", status="X"),), None),  # asked, and no answer to be had
    ],
)
def test_the_baseline_of_sofa_is_nought_unless_an_organ_is_known_to_have_failed(
    stated: Sequence[Observation], expected: Decimal | None
) -> None:
    assert value(shown(*([oru(*stated)] if stated else [])), "sofa_baseline") == expected


def test_a_diagnosis_of_kidney_disease_leaves_the_baseline_open() -> None:
    for code, expected in (("N18.4", None), ("I10", Decimal(0))):
        told = replace(
            ARRIVAL, control_id="ZZ-9", diagnoses=(Diagnosis(2, code, "I10", "F", False, "ZZ DG1[2]"),)
        )
        assert value(shown(told), "sofa_baseline") == expected
    found = shown()["sofa_baseline"].latest
    assert found.source == "none known: renal_disease, liver_disease, home_oxygen, baseline_creatinine"
