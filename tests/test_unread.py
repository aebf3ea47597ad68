"""A value that came in, could matter and cannot be read is an exception of its stay, until it is settled."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_told import (
    ARRIVAL,
    POTASSIUM,
    SITE,
    SODIUM,
    at,
    exceptions,
    folded,
    message,
    obr,
    obx,
    oru,
    seen,
    values,
)

from umbridge.model import Event
from umbridge.stay.dictionary import dictionary
from umbridge.stay.facts import Unusable, read
from umbridge.stay.fold import StayFold
from umbridge.stay.reasons import SILENT, Reason
from umbridge.stay.results.statements import FINAL, SAYS_NONE, UNREAD, rows_of

UNREAD_HERE = ("RESULT_UNREAD",)
HEART_RATE = "8867-4^HR^LN"


def report(*segments: str, sent: str = "0901", taken: str = "0850", number: str = "A17^ZZLAB") -> Event:
    return oru(sent, obr(number, taken), *segments)


GOOD = obx(SODIUM, "138", "mmol/L")
BAD = {
    "unit": obx(SODIUM, "119", "furlong"),
    "no unit": obx(SODIUM, "119"),
    "no number": obx(SODIUM, "12O", "mmol/L"),
    "impossible": obx(SODIUM, "1190", "mmol/L"),
    "comma": obx(SODIUM, "119,0", "mmol/L"),
    "two": obx(SODIUM, "119~139", "mmol/L"),
    "no status": obx(SODIUM, "119", "mmol/L", ""),
    "local status": obx(SODIUM, "119", "mmol/L", "Z"),
    "status as a word": obx(SODIUM, "119", "mmol/L", "final"),
    "final text": obx(SODIUM, "CANCELED-HEMOLYZED", kind="ST"),
    "final text of several lines": obx(SODIUM, "CANCELED~HEMOLYZED", kind="TX"),
    "preliminary": obx(SODIUM, "119", "furlong", "P"),
    "corrected": obx(SODIUM, "119", "furlong", "C"),
    "corrected to text": obx(SODIUM, "Specimen of another patient", kind="TX", status="C"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_read_is_an_exception_until_the_value_is_told(bad: str) -> None:
    assert exceptions(report(bad)) == UNREAD_HERE
    assert exceptions(report(bad), report(bad, sent="0902")) == UNREAD_HERE  # one code a stay
    final = GOOD.replace("|||F|", "|||C|") if "|||C|" in bad else GOOD
    assert exceptions(report(bad), report(final, sent="0930")) == ()
    later = oru("0930", obr(taken="0850"), obx(SODIUM, "", "", "W"))
    assert exceptions(report(bad), later) == ()
    assert exceptions(report(bad), oru("0930", obr(taken="0850", status="X"))) == ()


@pytest.mark.parametrize(
    "silent",
    [
        *(obx(SODIUM, "119", "mmol/L", status) for status in "RISONX"),
        obx(SODIUM, "pending", kind="ST", status="P"),
        obx(SODIUM, ""),
        obx(SODIUM, "", status=""),
        obx(SODIUM, "see the note", kind="TX", status="Z"),
        obx("UMB-CONF^^99UMB", "UNK", kind="CWE"),
        obx("ZZ-NO^^99ZZ", "1,2"),
    ],
)
def test_what_says_that_there_is_none_yet_is_not_unread(silent: str) -> None:
    assert exceptions(report(silent)) == ()
    assert exceptions(report(GOOD), report(silent, sent="0930", taken="0910")) == ()


def test_a_remark_beside_a_value_is_a_comment() -> None:
    remark = obx(SODIUM, "Phoned to the ward", kind="TX")
    for events in (
        [report(remark, GOOD)],
        [report(GOOD, remark)],
        [report(GOOD, obx(SODIUM, "Phoned", kind="TX", sub="2"))],
        [report(GOOD), report(remark, sent="0930")],  # a final value is changed by a correction only
        [report(remark), report(GOOD, sent="0930")],
        [oru("0901", obr("", "0850"), remark)],  # of a monitor: no result is awaited there
    ):
        assert exceptions(*events) == ()
    assert kept(report(remark, GOOD)) == kept(report(GOOD)) == 1  # and takes no room
    assert kept(report(remark)) == 1


def kept(event: Event) -> int:
    """How many statements about results a message leaves."""
    rows = rows_of(event, 1, "", SITE)["facts"]
    return sum(len(row[5]) for row in rows)


def test_a_final_text_after_a_preliminary_value_is_unread() -> None:
    early = report(obx(SODIUM, "119", "mmol/L", "P"))
    text = report(obx(SODIUM, "CANCELED-HEMOLYZED", kind="ST"), sent="0930")
    assert exceptions(early, text) == UNREAD_HERE


def test_a_later_sample_ends_a_text_and_not_a_number() -> None:
    """A text hides no value, so the next measurement answers it; an unread number may be the worst."""
    text = report(obx(SODIUM, "CANCELED-HEMOLYZED", kind="ST"))
    number = report(obx(SODIUM, "119", "furlong"))
    redrawn = report(GOOD, sent="1010", taken="1005", number="B18^ZZLAB")
    assert exceptions(text, redrawn) == ()
    assert exceptions(number, redrawn) == UNREAD_HERE
    before = report(GOOD, sent="0830", taken="0820", number="B18^ZZLAB")
    assert exceptions(text, before) == UNREAD_HERE
    gone = oru("1020", obr("B18^ZZLAB", "1005", "X"))
    assert exceptions(text, redrawn, gone) == UNREAD_HERE


def test_a_correction_finds_what_could_not_be_read_whatever_time_it_carries() -> None:
    for bad in ("unit", "no status", "final text", "corrected"):
        for taken in ("0830", ""):
            corrected = report(obx(SODIUM, "138", "mmol/L", "C"), sent="0930", taken=taken)
            assert exceptions(report(BAD[bad]), corrected) == (), bad
    other = report(GOOD, sent="0902", taken="0820")
    moved = report(obx(SODIUM, "138", "mmol/L", "C"), sent="0930", taken="0820")
    assert exceptions(report(BAD["unit"]), other, moved) == UNREAD_HERE  # it means the other


def test_what_was_corrected_and_is_told_again_is_a_person_to_look_at() -> None:
    """Unless it is a remark, or preliminary, or the archive: then the correction is the last word."""
    corrected = report(obx(SODIUM, "138", "mmol/L", "C"), sent="0930")
    for bad, raised in (("unit", UNREAD_HERE), ("no status", UNREAD_HERE), ("final text", ())):
        assert exceptions(report(BAD[bad]), corrected, report(BAD[bad], sent="0940")) == raised
    for bad in ("unit", "no status", "final text", "preliminary"):
        assert exceptions(report(BAD[bad]), corrected, report(BAD[bad])) == ()
    assert exceptions(report(BAD["preliminary"]), corrected, report(BAD["preliminary"], sent="0940")) == ()


def test_text_behind_a_withdrawal_says_why() -> None:
    gone = oru("0930", obr(taken="0850"), obx(SODIUM, "", "", "D"))
    why = report(obx(SODIUM, "CANCELED-HEMOLYZED", kind="ST"), sent="0940")
    assert exceptions(report(GOOD), gone, why) == ()
    assert exceptions(report(GOOD), gone, report(BAD["unit"], sent="0940")) == UNREAD_HERE


def test_a_preliminary_value_settles_no_final_one_that_cannot_be_read() -> None:
    early = report(obx(SODIUM, "119", "mmol/L", "P"), sent="0930")
    assert exceptions(report(BAD["unit"]), early) == UNREAD_HERE
    assert exceptions(report(BAD["preliminary"]), early) == ()
    assert exceptions(report(GOOD), report(BAD["preliminary"], sent="0930")) == ()


def test_a_monitor_names_a_value_by_its_time() -> None:
    bad = oru("0901", obr("", "0850"), obx(HEART_RATE, "140", "furlong"))
    same = oru("0930", obr("", "0850"), obx(HEART_RATE, "140", "/min"))
    other = oru("0930", obr("", "0910"), obx(HEART_RATE, "90", "/min"))
    assert exceptions(bad) == exceptions(bad, other) == UNREAD_HERE
    assert exceptions(bad, other, same) == ()


def test_two_of_one_message_are_two() -> None:
    pair = report(GOOD, BAD["unit"])
    assert exceptions(pair) == exceptions(report(BAD["unit"], GOOD)) == UNREAD_HERE
    assert exceptions(pair, report(GOOD, sent="0930")) == ("CORRECTION_AMBIGUOUS", *UNREAD_HERE)  # which one?
    assert exceptions(pair, report(GOOD, GOOD, sent="0930")) == ()
    of_the_day = oru("0901", obr(taken="20260402"), BAD["unit"], obx(SODIUM, "138", "mmol/L", taken="0850"))
    assert exceptions(of_the_day) == UNREAD_HERE


def test_a_day_means_the_value_of_that_day() -> None:
    day = oru("0901", obr(taken="20260402"), BAD["unit"])
    assert exceptions(day) == UNREAD_HERE
    assert exceptions(day, report(GOOD, sent="0930")) == ()
    yesterday = oru("0901", obr(taken="20260401"), BAD["unit"])
    assert exceptions(yesterday, report(GOOD, sent="0930")) == UNREAD_HERE


def test_another_patients_value_is_not_this_stays() -> None:
    theirs = oru("0901", obr(taken="0850"), BAD["unit"], patient="7790010")
    assert exceptions(theirs) == ("PATIENT_MISMATCH",)
    merge = message("ADT^A40^ADT_A39", "0910", "MRG|7790010^^^UMBH^MR")
    assert exceptions(theirs, merge) == UNREAD_HERE


def test_it_changes_no_reading() -> None:
    """Neither a status of no table nor a text takes a value's place, or makes a correction ambiguous."""
    for bad in ("no status", "final text"):
        beside = report(BAD[bad], sent="0910", taken="0820")
        assert values(seen(report(GOOD), beside), "sodium") == ["138"]
        corrected = report(obx(SODIUM, "140", "mmol/L", "C"), sent="0930", taken="0830")
        assert values(seen(report(GOOD), beside, corrected), "sodium") == ["140"]


def test_each_reason_is_unread_or_says_that_there_is_no_value() -> None:
    assert {
        *(Reason.WITHDRAWN, Reason.EMPTY, Reason.NULL, Reason.ANSWERED_UNKNOWN),
        *(Reason.STATUS_I, Reason.STATUS_N, Reason.STATUS_O, Reason.STATUS_R, Reason.STATUS_S),
        *(Reason.STATUS_U, Reason.STATUS_X),
    } == SAYS_NONE
    assert not SAYS_NONE & SILENT
    assert UNREAD < FINAL


def test_many_that_cannot_be_read_cost_no_more_than_one() -> None:
    """Each is told once, however many wait: the marks are found by their times."""
    many = [
        oru(f"{hour:02}{minute:02}", obr("", f"{hour:02}{minute:02}"), obx(HEART_RATE, "90", "furlong"))
        for hour in range(6, 12)
        for minute in range(60)
    ]
    fold = folded(*many)
    assert fold.stay(at("1200")).exceptions == UNREAD_HERE
    again = [
        oru("1200", obr("", f"{hour:02}{minute:02}"), obx(HEART_RATE, "90", "/min"))
        for hour in range(6, 12)
        for minute in range(60)
    ]
    for seq, event in enumerate(again, 1000):
        fold.apply(event, seq)
    assert fold.stay(at("1200")).exceptions == ()


# --- any order, any repeats

reports = st.sampled_from(["A17^ZZLAB", "B18^ZZLAB", ""])
times = st.sampled_from(["0850", "0820", "20260402", ""])
lines = st.one_of(
    st.sampled_from([*BAD.values(), GOOD]),
    st.builds(
        obx,
        st.sampled_from([SODIUM, SODIUM, POTASSIUM]),
        st.sampled_from(["119", "138", "Called", "", "1,2"]),
        st.sampled_from(["mmol/L", "furlong"]),
        st.sampled_from(["F", "P", "C", "W", "X", "U", "", "Z", "I"]),
    ),
)
results = st.builds(
    lambda sent, number, taken, status, segments, whose: oru(
        sent, obr(number, taken, status), *segments, patient=whose
    ),
    st.sampled_from(["0901", "0902", "0903", "0904", "0905"]),
    reports,
    times,
    st.sampled_from(["F", "F", "F", "C", "X"]),
    st.lists(lines, max_size=3),
    st.sampled_from(["7790009", "7790009", "7790010", ""]),
)
events = st.one_of(
    results, results, results, st.just(message("ADT^A40^ADT_A39", "0903", "MRG|7790010^^^UMBH^MR"))
)


@settings(max_examples=300, deadline=None)
@given(st.lists(events, max_size=7), st.randoms(use_true_random=False))
def test_any_order_and_any_repeats_give_the_same_exceptions(told: list[Event], order: random.Random) -> None:
    numbered = list(enumerate((ARRIVAL, *told)))
    expected = StayFold.refold(SITE, numbered).stay(at("1200")).exceptions
    again = [(1000 + seq, event) for seq, event in numbered[1:]]
    arriving = [*numbered, *again]
    order.shuffle(arriving)
    fold, increments = StayFold(SITE), []
    for seq, event in arriving:
        increments.append(fold.apply(event, seq))
        if order.random() < 0.3:
            fold.stay(at("1200"))
    assert fold.stay(at("1200")).exceptions == expected
    kept = [each for each in increments if each is not None]
    order.shuffle(kept)
    assert StayFold.restore(SITE, fold.head(), kept).stay(at("1200")).exceptions == expected


@settings(max_examples=300, deadline=None)
@given(lines, reports, times)
def test_a_value_alone_is_read_or_says_that_there_is_none_or_is_unread(
    line: str, number: str, taken: str
) -> None:
    event = oru("0901", obr(number, taken), line)
    (only,) = event.observations
    found = read(only, SITE)
    is_text = isinstance(found, Unusable) and found.reason in SILENT
    wanted = isinstance(found, Unusable) and found.reason not in SAYS_NONE
    if wanted and is_text:
        wanted = only.status == "C" or (bool(number) and only.status == "F")
    if wanted and only.status in ("", "Z"):
        wanted = only.value != ""
    assert exceptions(event) == (UNREAD_HERE if wanted else ())


def test_the_facts_have_no_fact_of_text() -> None:
    """Else a text alone would be its value."""
    assert {kind.kind for kind in dictionary().values()} == {"number", "boolean", "code", "datetime"}
