"""From messages to what a review reads: no trace of what was withdrawn, and nothing dropped unsaid."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.hl7.er7 import parse
from umbridge.hl7.translate import translate
from umbridge.model import Event, Reading
from umbridge.settings.site import default_site
from umbridge.stay.dictionary import DERIVED, dictionary
from umbridge.stay.facts import Fact, feeds, read
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.assays import NO_FLAG
from umbridge.stay.readings.window import readings
from umbridge.stay.record import combined
from umbridge.stay.results import by_time, upright
from umbridge.stay.results.statements import UNTIMED, kind_of
from umbridge.values.kinds import ReviewType

SITE = default_site()
ZONE = ZoneInfo("America/New_York")
EVERYTHING = frozenset(dictionary()) | frozenset(DERIVED)
SODIUM, POTASSIUM, CREATININE, GLUCOSE = (
    "2951-2^Sodium^LN",
    "2823-3^Potassium^LN",
    "2160-0^Crea^LN",
    "2345-7^Glu^LN",
)
TROPONIN, PAO2, HEMOLYZED = "67151-1^hsTnT^LN", "2703-7^PaO2^LN", "UMB-HEMOL^^99UMB"


def at(clock: str) -> datetime:
    return datetime.strptime(f"20260402{clock}", "%Y%m%d%H%M").replace(tzinfo=ZONE)


def message(kind: str, sent: str, *segments: str, patient: str = "7790009", control: int = 0) -> Event:
    lines = [
        f"MSH|^~\\&|ZZLAB|UMBH|UMBRIDGE|UMBH|20260402{sent}00||{kind}|ZZ-{sent}-{control}|P|2.5.1",
        f"PID|1||{patient}^^^UMBH^MR||ZZTEST^ROWAN||19600303|F",
        "PV1|1|E|ED^3^1^UMBH|||||||||||||||EDP|ZZVN9^^^UMBH^VN" + "|" * 25 + "20260402060000",
        *segments,
    ]
    return translate(parse("\r".join(lines).encode()), ZONE, SITE.mrn_authority)


ARRIVAL = message("ADT^A04^ADT_A01", "0600")


def obr(report: str = "A17^ZZLAB", taken: str = "", status: str = "F", service: str = "CHEM^^99ZZ") -> str:
    """``taken``: an hour and minute, a whole day, or nothing."""
    fields = ["OBR", "1", "", report, service, *[""] * 21]
    fields[7] = f"20260402{taken}" if len(taken) == 4 else taken
    fields[25] = status
    return "|".join(fields)


def obx(code: str, value: str, unit: str = "", status: str = "F", **more: str) -> str:
    kind, sub = more.get("kind", "NM"), more.get("sub", "")
    when = f"20260402{more['taken']}" if "taken" in more else ""
    return f"OBX|1|{kind}|{code}|{sub}|{value}|{unit}|{more.get('limits', '')}||||{status}|||{when}"


def oru(sent: str, *segments: str, **more: Any) -> Event:
    return message("ORU^R01^ORU_R01", sent, *segments, **more)


def folded(*events: Event) -> StayFold:
    fold = StayFold(SITE)
    for seq, event in enumerate((ARRIVAL, *events)):
        fold.apply(event, seq)
    return fold


def seen(*events: Event, now: str = "1200") -> dict[str, Reading]:
    """What a first review reads: the same in any order of arrival, or there is no answer."""
    numbered = list(enumerate((ARRIVAL, *events)))
    found = None
    for turn in range(4):
        fold = StayFold(SITE)
        for seq, event in numbered:
            fold.apply(event, seq)
        told = readings(fold, at(now), review=ReviewType.ADMISSION, wanted=EVERYTHING)
        assert found is None or told == found
        found = told
        random.Random(turn).shuffle(numbered)
    assert found is not None
    return found


def values(found: dict[str, Reading], fact: str) -> list[str]:
    """Every value that a reading shows anywhere."""
    reading = found.get(fact)
    if reading is None:
        return []
    shown = [each.value for each in (reading.latest, reading.low, reading.high, *reading.series)]
    return sorted({f"{value:f}" if isinstance(value, Decimal) else str(value) for value in shown})


def exceptions(*events: Event) -> tuple[str, ...]:
    return folded(*events).stay(at("1200")).exceptions


# --- which value is read


@pytest.mark.parametrize("control", ["OC", "CR", "UC", "CA", "DC"])
@pytest.mark.parametrize("numbers", ["P17^ZZEHR|A17^ZZLAB", "P17^ZZEHR|", "|A17^ZZLAB"])
def test_an_order_that_is_cancelled_after_its_result_takes_no_result_back(control: str, numbers: str) -> None:
    """OBX-11 and OBR-25 say what has become of a value, not ORC-1."""
    answer = oru("0901", obr(taken="0850").replace("||A17", "|P17^ZZEHR|A17"), obx(SODIUM, "131", "mmol/L"))
    cancel = message("ORM^O01", "1000", f"ORC|{control}|{numbers}")
    assert values(seen(answer, cancel), "sodium") == ["131"]
    for events in ((answer, cancel), (cancel, answer)):
        assert exceptions(*events) == exceptions(answer)


def test_two_pressures_under_one_code_are_two() -> None:
    found = seen(
        oru(
            "0901",
            obr(taken="0850"),
            obx("8480-6^SBP^LN", "131", "mm[Hg]", sub="1"),
            obx("8480-6^SBP^LN", "82", "mm[Hg]", sub="2"),
        )
    )
    assert values(found, "sbp") == ["131", "82"]
    assert found["sbp"].low.value == 82
    alike = oru(
        "0901", obr(taken="0850"), obx("8480-6^SBP^LN", "131", "mm[Hg]"), obx("8480-6^SBP^LN", "82", "mm[Hg]")
    )
    assert values(seen(alike), "sbp") == ["131", "82"]
    assert seen(alike)["sbp"].low.value == 82


@pytest.mark.parametrize("kind", ["TX", "FT", "ST"])
@pytest.mark.parametrize("comment", ["Phoned to the ward", "line one~line two"])
def test_a_comment_takes_no_place_before_or_behind_or_later(kind: str, comment: str) -> None:
    remark = obx(SODIUM, comment, kind=kind)
    number = obx(SODIUM, "119", "mmol/L")
    for events in (
        [oru("0901", obr(taken="0850"), remark, number)],
        [oru("0901", obr(taken="0850"), number, remark)],
        [oru("0901", obr(taken="0850"), number), oru("0930", obr(taken="0850"), remark)],
    ):
        assert values(seen(*events), "sodium") == ["119"]


def test_a_correction_that_is_text_withdraws() -> None:
    first = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L"))
    later = oru(
        "0930",
        obr(taken="0850", status="C"),
        obx(SODIUM, "Specimen of another patient", kind="TX", status="C"),
    )
    assert values(seen(first, later), "sodium") == []


@pytest.mark.parametrize("value", ["131~119", "119~131", "~119~131", "119~see note"])
def test_a_value_that_is_repeated_with_another_is_not_read(value: str) -> None:
    assert values(seen(oru("0901", obr(taken="0850"), obx(SODIUM, value, "mmol/L"))), "sodium") == []
    assert values(seen(oru("0901", obr(taken="0850"), obx(SODIUM, "119~119", "mmol/L"))), "sodium") == ["119"]


@pytest.mark.parametrize("kind", ["C", "A"])
@pytest.mark.parametrize("taken", ["0850", "0830", ""])
def test_a_correction_replaces_whatever_time_it_carries(kind: str, taken: str) -> None:
    first = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L"))
    later = oru("0930", obr(taken=taken), obx(SODIUM, "139", "mmol/L", kind))
    found = seen(first, later)
    assert values(found, "sodium") == ["139"]
    assert found["sodium"].latest.at == at(taken or "0850")


def test_a_final_value_of_a_corrected_report_is_a_correction() -> None:
    first = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L"))
    later = oru("0930", obr(taken="0830", status="C"), obx(SODIUM, "139", "mmol/L"))
    assert values(seen(first, later), "sodium") == ["139"]
    assert values(seen(first, oru("0930", obr(taken="0830"), obx(SODIUM, "139", "mmol/L"))), "sodium") == [
        "119",
        "139",
    ]


@pytest.mark.parametrize("status", ["D", "W", "X"])
@pytest.mark.parametrize("taken", ["0850", "0830", ""])
def test_a_withdrawal_withdraws_whatever_time_it_carries(status: str, taken: str) -> None:
    first = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L"), obx(POTASSIUM, "4.4", "mmol/L"))
    found = seen(first, oru("0930", obr(taken=taken), obx(SODIUM, "", "", status)))
    assert (values(found, "sodium"), values(found, "potassium")) == ([], ["4.4"])


def test_a_report_is_withdrawn_whole_until_it_is_told_anew() -> None:
    first = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L"), obx(CREATININE, "2.9", "mg/dL"))
    other = oru("0902", obr("A18^ZZLAB", "0855"), obx(GLUCOSE, "144", "mg/dL"))
    service = oru("0903", obr(taken="0850", service="BGA^^99ZZ"), obx(POTASSIUM, "4.4", "mmol/L"))
    whole = oru("0930", obr(taken="0850", status="X"))
    under = oru("0930", obr(taken="0850", status="X"), obx(SODIUM, "119", "mmol/L"))
    for events in ([first, other, service, whole], [first, other, service, under]):
        archived = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L"), control=1)
        again = oru("1000", obr(taken="0850"), obx(SODIUM, "121", "mmol/L"))
        for later, sodium in (((archived,), []), ((again,), ["121"]), ((archived, again), ["121"])):
            found = seen(*events, *later)
            left = {fact: values(found, fact) for fact in ("sodium", "creatinine", "glucose", "potassium")}
            assert left == {"sodium": sodium, "creatinine": [], "glucose": ["144"], "potassium": ["4.4"]}
    redrawn = oru("1010", obr(taken="1005"), obx(SODIUM, "137", "mmol/L"))
    assert values(seen(first, whole, redrawn), "sodium") == ["137"]


STANDS, GONE, TO_SEE = (["119"], ()), ([], ()), ([], ("RESULT_UNREAD",))


@pytest.mark.parametrize(
    ("before", "value", "status", "outcome"),
    [
        *(("F", value, status, STANDS) for value in ("", " ") for status in "FPBVUIRSON"),
        *(("P", value, status, STANDS) for value in ("", " ") for status in "FPBVUIRSON"),
        *(("F", value, status, GONE) for value in ("", '""', "119") for status in "DWX"),
        *(("F", "", status, TO_SEE) for status in "CA"),
        *(("F", '""', status, GONE) for status in "FCABV"),
        ("F", '""', "P", STANDS),
        ("P", '""', "P", GONE),
        ("F", "", "", STANDS),
        ("F", '""', "", STANDS),
    ],
)
@pytest.mark.parametrize("taken", ["0850", ""])
def test_an_empty_value_says_nothing_and_the_null_deletes(
    before: str, value: str, status: str, outcome: tuple[list[str], tuple[str, ...]], taken: str
) -> None:
    first = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L", before))
    later = oru("0930", obr(taken=taken), obx(SODIUM, value, "mmol/L", status))
    for events in ((first, later), (first, later, later), (later, first)):
        assert (values(seen(*events), "sodium"), exceptions(*events)) == outcome


def test_an_empty_line_is_no_value_of_its_result() -> None:
    """Neither does it end a preliminary value of another time, nor what could not be read before it."""
    early = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L", "P"))
    empty = oru("0930", obr(taken="0840"), obx(SODIUM, "", "mmol/L"))
    assert values(seen(early, empty), "sodium") == ["119"]
    unread = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "furlong"))
    assert exceptions(unread, oru("0930", obr(taken="0850"), obx(SODIUM, ""))) == ("RESULT_UNREAD",)
    corrected = oru("0930", obr(taken="0850", status="C"), obx(SODIUM, "", "mmol/L"))
    assert (values(seen(early, corrected), "sodium"), exceptions(early, corrected)) == (["119"], ())
    of_nothing = oru("0930", obr(taken="0850"), obx(SODIUM, "", "mmol/L", "C"))
    assert exceptions(of_nothing) == exceptions(of_nothing, of_nothing) == ()


def test_an_answer_without_its_code_is_not_empty() -> None:
    code = "UMB-CONF^^99UMB"
    for answer, said in (("^Y", ["True"]), ("^^^Y^Yes^HL70136", ["True"]), ("^", []), ('""^', [])):
        first = oru("0901", obr(taken="0850"), obx(code, "Y", kind="CWE"))
        later = oru("0930", obr(taken="0850"), obx(code, answer, kind="CWE"))
        wanted = ["True"] if answer == "^" else said
        assert values(seen(first, later), "new_confusion") == wanted, answer


def test_without_a_report_obr_25_takes_back_what_is_sent() -> None:
    first = oru("0901", obr("", "0850"), obx(SODIUM, "119", "mmol/L"), obx(CREATININE, "2.9", "mg/dL"))
    whole = oru("0930", obr("", "0850", status="X"), obx(SODIUM, "119", "mmol/L"))
    found = seen(first, whole)
    assert (values(found, "sodium"), values(found, "creatinine")) == ([], ["2.9"])


def test_which_of_several_was_corrected_nobody_knows() -> None:
    pair = [
        oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L"), obx(POTASSIUM, "4.4", "mmol/L")),
        oru("0921", obr(taken="0910"), obx(SODIUM, "121", "mmol/L")),
    ]
    later = oru("0930", obr(taken="0840"), obx(SODIUM, "139", "mmol/L", "C"))
    found = seen(*pair, later)
    assert (values(found, "sodium"), values(found, "potassium")) == ([], ["4.4"])
    assert exceptions(*pair, later) == ("CORRECTION_AMBIGUOUS",)
    assert exceptions(*pair) == ()
    theirs = oru("0930", obr(taken="0840"), obx(SODIUM, "139", "mmol/L", "C"), patient="7790010")
    assert exceptions(*pair, theirs) == ("PATIENT_MISMATCH",)
    settled = [later, oru("0940", obr(taken="0850", status="X"))]
    assert exceptions(*pair, *settled) == ()


def test_no_patient_changes_anothers_value() -> None:
    mine = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L"))
    for segments in (
        [obr(taken="0850"), obx(SODIUM, "139", "mmol/L", "C")],
        [obr(taken="0850"), obx(SODIUM, "", "", "W")],
        [obr(taken="0850", status="X")],
    ):
        theirs = oru("0930", *segments, patient="7790010")
        assert values(seen(mine, theirs), "sodium") == ["119"]


def test_a_number_that_was_merged_is_the_same_patient() -> None:
    first = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L"), patient="7790010")
    merge = message("ADT^A40^ADT_A39", "0910", "MRG|7790010^^^UMBH^MR")
    later = oru("0930", obr(taken="0840"), obx(SODIUM, "139", "mmol/L", "C"))
    assert values(seen(first, merge, later), "sodium") == ["139"]
    nobody = oru("0930", obr(taken="0840"), obx(SODIUM, "139", "mmol/L", "C"), patient="")
    assert values(seen(first, merge, nobody), "sodium") == ["139"]


# --- no trace in what is made of results


def test_haemolysis_follows_the_specimen() -> None:
    """By report and time, and a correction of the time leaves the specimen what it was."""
    first = oru("0901", obr(taken="0850"), obx(POTASSIUM, "6.9", "mmol/L"), obx(HEMOLYZED, "Y", kind="CWE"))
    assert values(seen(first), "potassium") == []
    moved = oru("0930", obr(taken="0840"), obx(POTASSIUM, "6.8", "mmol/L", "C"))
    assert values(seen(first, moved), "potassium") == []
    redrawn = oru("0931", obr("A18^ZZLAB", "0925"), obx(POTASSIUM, "4.4", "mmol/L"))
    found = seen(first, moved, redrawn)
    assert values(found, "potassium") == ["4.4"]
    assert found["specimen_hemolyzed"].latest.source == NO_FLAG
    other_laboratory = oru("0931", obr("A17^ZZPOCT", "0850"), obx(POTASSIUM, "4.5", "mmol/L"))
    assert values(seen(first, other_laboratory), "potassium") == ["4.5"]
    cleared = oru("0932", obr(taken="0850"), obx(HEMOLYZED, "N", kind="CWE", status="C"))
    assert values(seen(first, cleared), "potassium") == ["6.9"]
    withdrawn = oru("0932", obr(taken="0850"), obx(HEMOLYZED, "", kind="CWE", status="W"))
    assert values(seen(first, withdrawn), "potassium") == ["6.9"]


def test_horowitz_pairs_what_is_in_force() -> None:
    fio2 = next(iter(dictionary()["fio2"].loinc))
    gas = oru("0901", obr(taken="0850"), obx(PAO2, "60", "mm[Hg]"), obx(f"{fio2}^FiO2^LN", "50", "%"))
    assert values(seen(gas), "pao2_fio2") == ["120"]
    corrected = oru("0930", obr(taken="0850"), obx(PAO2, "90", "mm[Hg]", "C"))
    assert values(seen(gas, corrected), "pao2_fio2") == ["180"]
    withdrawn = oru("0930", obr(taken="0850"), obx(f"{fio2}^FiO2^LN", "", "", "W"))
    assert values(seen(gas, withdrawn), "pao2_fio2") == []
    moved = oru("0930", obr(taken="0840"), obx(PAO2, "90", "mm[Hg]", "C"))
    assert values(seen(gas, moved), "pao2_fio2") == []


def test_serial_troponin_and_derived_facts_leave_out_what_was_corrected() -> None:
    series = [
        oru("0701", obr("T1^ZZLAB", "0650"), obx(TROPONIN, "20", "ng/L", limits="<10")),
        oru("1101", obr("T2^ZZLAB", "1050"), obx(TROPONIN, "90", "ng/L", limits="<10")),
    ]
    found = seen(*series)
    assert (values(found, "serial_troponin"), values(found, "troponin_change")) == (["9"], ["True"])
    later = oru("1130", obr("T2^ZZLAB", "1055"), obx(TROPONIN, "21", "ng/L", "C", limits="<10"))
    found = seen(*series, later)
    assert (values(found, "serial_troponin"), values(found, "troponin_change")) == (["2.1"], ["False"])
    withdrawn = oru("1130", obr("T2^ZZLAB", ""), obx(TROPONIN, "", "", "W"))
    found = seen(*series, withdrawn)
    assert (values(found, "serial_troponin"), values(found, "troponin_change")) == ([], [])

    crea = oru(
        "0901", obr(taken="0850"), obx(CREATININE, "3.9", "mg/dL"), obx("UMB-CREATBL^^99UMB", "1.3", "mg/dL")
    )
    assert values(seen(crea), "rise_in_creatinine") == ["3"]
    lower = oru("0930", obr(), obx(CREATININE, "1.3", "mg/dL", "C"))
    assert values(seen(crea, lower), "rise_in_creatinine") == ["1"]
    salts = oru("0901", obr(taken="0850"), obx(SODIUM, "150", "mmol/L"), obx(GLUCOSE, "360", "mg/dL"))
    assert values(seen(salts), "effective_osmolality") == ["320"]
    lower = oru("0930", obr(taken="0845", status="C"), obx(SODIUM, "140", "mmol/L"))
    assert values(seen(salts, lower), "effective_osmolality") == ["300"]


# --- times


def test_a_date_is_a_day_and_a_late_time_is_the_messages() -> None:
    day = oru("0901", obr(taken="20260402"), obx(SODIUM, "119", "mmol/L"))
    found = seen(day)
    assert (values(found, "sodium"), found["sodium"].latest.at) == (["119"], at("0901"))
    late = oru("0901", obr(taken="1350"), obx(SODIUM, "119", "mmol/L"))
    assert late.notes == ("OBR[1]-7 time_after_message",)
    found = seen(late)
    assert (values(found, "sodium"), found["sodium"].latest.at) == (["119"], at("0901"))
    sheet = [
        oru("0901", obr(taken="1350"), obx(SODIUM, "119", "mmol/L")),
        oru("0931", obr(taken="1420"), obx(SODIUM, "121", "mmol/L")),
    ]
    assert values(seen(*sheet), "sodium") == ["119", "121"]  # still told apart by the time as it was sent
    again = oru("0945", obr(taken="1350"), obx(SODIUM, "139", "mmol/L", "C"))
    assert values(seen(*sheet, again), "sodium") == ["121", "139"]


@pytest.mark.parametrize("report", ["A17^ZZLAB", ""])
def test_evidence_says_that_no_collection_time_was_sent(report: str) -> None:
    untimed = oru("0901", obr(report), obx(SODIUM, "119", "mmol/L", "P"))
    assert seen(untimed)["sodium"].latest.source == f"ZZ-0901-0 OBX[1]-5{UNTIMED} preliminary"
    timed = oru("0930", obr("A17^ZZLAB", "0850"), obx(SODIUM, "119", "mmol/L"))
    assert seen(untimed, timed)["sodium"].latest.source == (
        "ZZ-0930-0 OBX[1]-5" if report else f"ZZ-0901-0 OBX[1]-5{UNTIMED} preliminary"
    )
    moved = oru("0930", obr("A17^ZZLAB"), obx(SODIUM, "121", "mmol/L", "C"))
    first = oru("0901", obr("A17^ZZLAB", "0850"), obx(SODIUM, "119", "mmol/L"))
    assert seen(first, moved)["sodium"].latest.source == "ZZ-0930-0 OBX[1]-5"  # the time is the original's


# --- nothing is dropped unsaid

codes = st.sampled_from([SODIUM, SODIUM, POTASSIUM, HEMOLYZED, "ZZ-NONE^^99ZZ", "UMB-CARESTART^^99UMB"])
given_values = st.sampled_from(
    ["119", "139", "119~139", "<6", "", '""', "Called", "a~b", "12O", "Y", "N", "20260402"]
)


@st.composite
def random_oru(draw: st.DrawFn) -> Event:
    segments = []
    for _ in range(draw(st.integers(1, 2))):
        report = draw(st.sampled_from(["A17^ZZLAB", "A17^ZZLAB", "A18^ZZLAB", ""]))
        segments.append(
            obr(report, draw(st.sampled_from(["0850", "0840", ""])), draw(st.sampled_from("FFFCX")))
        )
        for _ in range(draw(st.integers(0, 3))):
            more = {"taken": draw(st.sampled_from(["0850", "0845"]))} if draw(st.booleans()) else {}
            segments.append(
                obx(
                    draw(codes),
                    draw(given_values),
                    draw(st.sampled_from(["mmol/L", "mmol/L", "", "ZZ"])),
                    draw(st.sampled_from(["F", "F", "F", "P", "C", "W", "X", "U", "I", "", "Z"])),
                    kind=draw(st.sampled_from(["NM", "NM", "TX", "ST", "CWE", "TS"])),
                    sub=draw(st.sampled_from(["", "", "1"])),
                    **more,
                )
            )
    sent = draw(st.sampled_from(["0901", "0902", "0930", "0931"]))
    return oru(sent, *segments, control=draw(st.integers(1, 1 << 30)))


@settings(max_examples=200, deadline=None)
@given(st.lists(random_oru(), min_size=1, max_size=5, unique_by=lambda e: e.control_id), st.randoms())
def test_every_value_is_in_force_superseded_withdrawn_or_not_used_for_one_reason(
    events: list[Event], order: random.Random
) -> None:
    numbered = list(enumerate((ARRIVAL, *events)))
    order.shuffle(numbered)
    fold = StayFold(SITE)
    for seq, event in numbered:
        fold.apply(event, seq)
    outcomes: dict[tuple[str, int, int], str] = {}
    for fact in fold.sent:
        for each, outcome in fold.results(fact).outcomes():  # type: ignore[union-attr]
            assert (fact, each.seq, each.part) not in outcomes
            outcomes[fact, each.seq, each.part] = outcome
    for seq, event in numbered:
        for part, observation in enumerate(event.observations, 1):
            found = read(observation, SITE)
            kind = kind_of(observation.status, observation.report_status)
            for fact in feeds(found.fact) if found.fact else ():
                outcome = outcomes.pop((fact, seq, part), None)
                if isinstance(found, Fact):
                    assert outcome in ("in_force", "superseded", "withdrawn", "correction_ambiguous")
                    assert kind is not None
                else:
                    assert outcome is None and found.reason
            assert isinstance(found, Fact) or found.reason
    assert outcomes == {}
    for fact in fold.sent:
        listed = fold.results(fact)
        assert listed is not None
        said = Counter(str(each.value) for each, outcome in listed.outcomes() if outcome == "in_force")
        assert said == Counter(str(each.value) for each in listed if each.value is not None)


@settings(max_examples=100, deadline=None)
@given(st.lists(random_oru(), min_size=1, max_size=6, unique_by=lambda e: e.control_id), st.randoms())
def test_a_stay_reads_the_same_in_any_order_twice_told_and_restored(
    events: list[Event], order: random.Random
) -> None:
    numbered = list(enumerate((ARRIVAL, *events)))

    def told(fold: StayFold) -> tuple[Any, ...]:
        found = readings(fold, at("1200"), review=ReviewType.ADMISSION, wanted=EVERYTHING)
        return found, fold.stay(at("1200")).exceptions

    expected = told(StayFold.refold(SITE, numbered))
    order.shuffle(numbered)
    fold, increments = StayFold(SITE), []
    for seq, event in numbered:
        increment = fold.apply(event, seq)
        increments += [] if increment is None else [increment]
        told(fold)
    assert told(fold) == expected
    order.shuffle(increments)
    assert told(StayFold.restore(SITE, fold.head(), increments)) == expected
    again = [(seq + 100, event) for seq, event in numbered if event is not ARRIVAL]
    for seq, event in again:
        fold.apply(event, seq)
    found, flagged = told(fold)
    assert flagged == expected[1]
    assert {fact: values(found, fact) for fact in found} == {
        fact: values(expected[0], fact) for fact in expected[0]
    }


def test_a_message_about_a_stay_in_two_parts_is_one_increment() -> None:
    event = oru("0901", obr(taken="0850"), obx(SODIUM, "119", "mmol/L"))
    other = replace(event, part=1)
    one, two = folded().increment(event, 1), folded().increment(other, 1)
    assert one is not None and two is not None
    assert b"facts" in combined(one, two)


# --- of one collection time, the later told


@pytest.mark.parametrize(("first", "then"), [("A17", "B18"), ("B18", "A17")])
def test_of_one_time_the_later_told_is_the_latest_whatever_its_number(first: str, then: str) -> None:
    one = oru("0901", obr(f"{first}^ZZLAB", "0850"), obx(SODIUM, "119", "mmol/L"))
    other = oru("0930", obr(f"{then}^ZZLAB", "0850"), obx(SODIUM, "139", "mmol/L"))
    found = seen(one, other)["sodium"]
    assert (found.latest.value, [each.value for each in found.series]) == (139, [119, 139])
    again = oru("0945", obr(f"{first}^ZZLAB", "0850"), obx(SODIUM, "121", "mmol/L", "C"))
    assert seen(one, other, again)["sodium"].latest.value == 121


@pytest.mark.parametrize(("first", "then"), [("A17", "B18"), ("B18", "A17")])
def test_of_one_time_and_one_second_the_later_received_is_the_latest(first: str, then: str) -> None:
    one = oru("0901", obr(f"{first}^ZZLAB", "0850"), obx(SODIUM, "119", "mmol/L"))
    other = oru("0901", obr(f"{then}^ZZLAB", "0850"), obx(SODIUM, "139", "mmol/L"), control=1)
    assert seen(one, other)["sodium"].latest.value == 139


# --- a final value told with another time takes the place of its preliminary one


def test_a_preliminary_value_is_gone_when_its_final_has_another_time() -> None:
    early = oru("1110", obr(taken="1105"), obx(SODIUM, "119", "mmol/L", "P"))
    final = oru("1140", obr(taken="1055"), obx(SODIUM, "139", "mmol/L"))
    found = seen(early, final)
    assert (values(found, "sodium"), found["sodium"].latest.at) == (["139"], at("1055"))
    again = oru("1150", obr(taken="1105"), obx(SODIUM, "119", "mmol/L", "P"))
    assert values(seen(early, final, again), "sodium") == ["139"]
    assert exceptions(early, final) == ()


def test_a_sample_drawn_after_a_preliminary_value_was_told_is_not_its_final() -> None:
    early = oru("1010", obr(taken="1005"), obx(SODIUM, "119", "mmol/L", "P"))
    later = oru("1140", obr(taken="1055"), obx(SODIUM, "139", "mmol/L"))
    assert values(seen(early, later), "sodium") == ["119", "139"]


def test_which_of_several_preliminary_values_became_final_nobody_knows_until_as_many_have() -> None:
    early = [
        oru("1140", obr(taken="1105"), obx(SODIUM, "119", "mmol/L", "P")),
        oru("1141", obr(taken="1115"), obx(SODIUM, "121", "mmol/L", "P")),
    ]
    one = oru("1150", obr(taken="1055"), obx(SODIUM, "139", "mmol/L"))
    assert values(seen(*early, one), "sodium") == ["139"]
    assert exceptions(*early, one) == ("CORRECTION_AMBIGUOUS",)
    two = oru("1151", obr(taken="1058"), obx(SODIUM, "138", "mmol/L"))
    assert values(seen(*early, one, two), "sodium") == ["138", "139"]
    assert exceptions(*early, one, two) == ()
    named = oru("1151", obr(taken="1115"), obx(SODIUM, "138", "mmol/L"))
    assert values(seen(*early, one, named), "sodium") == ["138", "139"]
    assert exceptions(*early, one, named) == ()


# --- planted faults


def _latest_by_receipt() -> bool:
    one = oru("0901", obr("B18^ZZLAB", "0850"), obx(SODIUM, "119", "mmol/L"))
    other = oru("0930", obr("A17^ZZLAB", "0850"), obx(SODIUM, "139", "mmol/L"))
    return folded_reading(one, other).latest.value == 139


def _early_is_gone() -> bool:
    early = oru("1110", obr(taken="1105"), obx(SODIUM, "119", "mmol/L", "P"))
    final = oru("1140", obr(taken="1055"), obx(SODIUM, "139", "mmol/L"))
    return folded_reading(early, final).low.value == 139


def folded_reading(*events: Event) -> Reading:
    found = readings(folded(*events), at("1200"), review=ReviewType.ADMISSION, wanted={"sodium"})
    return found["sodium"]


@pytest.mark.parametrize(
    ("room", "name", "fault", "check"),
    [
        (by_time, "in_order", lambda found: found, _latest_by_receipt),
        (upright.Upright, "early_of", lambda self, stated: [], _early_is_gone),
    ],
)
def test_a_planted_fault_is_seen(
    monkeypatch: pytest.MonkeyPatch, room: Any, name: str, fault: object, check: Callable[[], bool]
) -> None:
    assert check()
    monkeypatch.setattr(room, name, fault)
    assert not check()
