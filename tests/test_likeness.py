"""Results whose report, service or sub-id is spelled otherwise: corrections find them, or leave a doubt."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_account import ALIKE, statements, unsure, whole
from test_told import (
    ARRIVAL,
    EVERYTHING,
    GLUCOSE,
    POTASSIUM,
    SITE,
    SODIUM,
    TROPONIN,
    at,
    exceptions,
    folded,
    message,
    obx,
    oru,
    readings,
    seen,
    values,
)

from umbridge.model import Event
from umbridge.stay.fold import StayFold
from umbridge.stay.results import likeness
from umbridge.stay.results.kinship import Kinship
from umbridge.stay.results.likeness import Told
from umbridge.stay.results.result_list import ResultList
from umbridge.stay.results.statements import PLACER, Result
from umbridge.stay.results.thread import Thread
from umbridge.values.kinds import ReviewType

HEMOGLOBIN = "718-7^Hgb^LN"
AMBIGUOUS = ("CORRECTION_AMBIGUOUS",)
NOT_FOUND = ("CORRECTION_NOT_FOUND",)


def obr(
    filler: str = "", placer: str = "", service: str = "CHEM^^L", taken: str = "0850", status: str = "F"
) -> str:
    fields = ["OBR", "1", placer, filler, service, *[""] * 21]
    fields[7] = f"20260402{taken}" if taken else ""
    fields[25] = status
    return "|".join(fields)


def first(filler: str = "F1^LAB", placer: str = "P1^EHR", sub: str = "", **more: str) -> Event:
    """The original: 119, told at 09:01."""
    return oru("0901", obr(filler, placer, **more), obx(SODIUM, "119", "mmol/L", sub=sub))


def later(filler: str = "", placer: str = "", sub: str = "", code: str = SODIUM, **more: str) -> Event:
    """The correction: 139, told at 09:30."""
    return oru("0930", obr(filler, placer, status="C", **more), obx(code, "139", "mmol/L", "C", sub=sub))


#: What is told, what sodium is then, and whether a person is to look.
CASES: dict[str, tuple[list[Event], list[str], tuple[str, ...]]] = {
    "without its namespace": ([first(), later("F1")], ["139"], ()),
    "with it, where the original had none": ([first("F1"), later("F1^LAB")], ["139"], ()),
    "moved in time too": ([first(), later("F1", taken="0840")], ["139"], ()),
    "without a time": ([first(), later("F1", taken="")], ["139"], ()),
    "its universal id alone": ([first("F1^LAB^2.16.9^ISO"), later("F1^^2.16.9^ISO")], ["139"], ()),
    "with its namespace": ([first("F1^^2.16.9^ISO"), later("F1^LAB^2.16.9^ISO")], ["139"], ()),
    "its namespace alone": ([first("F1^LAB^2.16.9^ISO"), later("F1^LAB")], ["139"], ()),
    "another namespace of one universal id": (
        [first("F1^LABA^2.16.9^ISO"), later("F1^LABB^2.16.9^ISO", taken="0840")],
        ["139"],
        (),
    ),
    "another universal id of one namespace": (
        [first("F1^LAB^2.16.9^ISO"), later("F1^LAB^2.16.8^ISO", placer="P2^EHR", taken="0855")],
        ["119", "139"],
        (),
    ),
    "a namespace, then a universal id": ([first("F1^LAB"), later("F1^^2.16.9^ISO")], ["139"], ()),
    "a universal id that may be either's": (
        [
            first("F1^LAB"),
            oru("0905", obr("F1^POCT", taken="0850"), obx(SODIUM, "125", "mmol/L")),
            later("F1^^2.16.9^ISO"),
        ],
        [],
        AMBIGUOUS,
    ),
    "and is one's": (
        [
            first("F1^LAB^2.16.9^ISO"),
            oru("0905", obr("F1^POCT", taken="0850"), obx(SODIUM, "125", "mmol/L")),
            later("F1^LAB^2.16.9^ISO"),
        ],
        ["125", "139"],
        (),
    ),
    "the universal id as the namespace": ([first("F1^2.16.9"), later("F1^^2.16.9^ISO")], ["139"], ()),
    "another laboratory's, of the same time": ([first(), later("F1^POCT")], [], AMBIGUOUS),
    "another laboratory's": ([first(), later("F1^POCT", taken="0855")], ["119", "139"], ()),
    "another laboratory's, without a time": (
        [first(), later("F1^POCT", taken="")],
        ["119", "139"],
        NOT_FOUND,
    ),
    "of two that it may be, by its time": (
        [first(), oru("0905", obr("F1^POCT", taken="0855"), obx(SODIUM, "125", "mmol/L")), later("F1")],
        ["125", "139"],
        (),
    ),
    "of two that it may be": (
        [
            first(),
            oru("0905", obr("F1^POCT", taken="0855"), obx(SODIUM, "125", "mmol/L")),
            later("F1", taken="0840"),
        ],
        [],
        AMBIGUOUS,
    ),
    "of one that another corrected first": (
        [
            first("F1"),
            later("F1^LAB", taken=""),
            oru("0940", obr("F1^POCT"), obx(SODIUM, "145", "mmol/L", "C")),
        ],
        [],
        AMBIGUOUS,
    ),
    "of one that it may be, as the other was told later": (
        [
            first(),
            oru("0935", obr("F1^POCT", taken="0855"), obx(SODIUM, "125", "mmol/L")),
            later("F1", taken="0840"),
        ],
        ["125", "139"],
        (),
    ),
    "the placer's number, tied by the original": ([first(), later("", "P1^EHR")], ["139"], ()),
    "and without its namespace": ([first(), later("", "P1")], ["139"], ()),
    "tied by the correction": ([first("", "P1^EHR"), later("F1^LAB", "P1^EHR")], ["139"], ()),
    "tied by a report of something else": (
        [
            *(first("F1^LAB", ""), later("", "P1^EHR")),
            oru("0945", obr("F1^LAB", "P1^EHR", "BGA^^L"), obx(POTASSIUM, "4.4", "mmol/L")),
        ],
        ["139"],
        (),
    ),
    "tied by an order": (
        [
            *(first("F1^LAB", ""), later("", "P1^EHR")),
            message("ORM^O01", "0845", "ORC|SN|P1^EHR|F1^LAB", "OBR|1|P1^EHR|F1^LAB|CHEM^^L"),
        ],
        ["139"],
        (),
    ),
    "tied by nothing": ([first("F1^LAB", ""), later("", "P1^EHR")], [], AMBIGUOUS),
    "tied in another patient's message": (
        [
            *(first("F1^LAB", ""), later("", "P1^EHR")),
            oru("0902", obr("F1^LAB", "P1^EHR"), obx(POTASSIUM, "4.4", "mmol/L"), patient="7790010"),
        ],
        [],
        (*AMBIGUOUS, "PATIENT_MISMATCH"),
    ),
    "an order with two reports": (
        [
            *(first(), oru("0905", obr("F2^LAB", "P1^EHR", taken="0855"), obx(SODIUM, "125", "mmol/L"))),
            later("", "P1^EHR", taken="0840"),
        ],
        [],
        AMBIGUOUS,
    ),
    "a new number for the same order and time": ([first(), later("F2^LAB", "P1^EHR")], [], AMBIGUOUS),
    "a new number for the same order, without a time": (
        [first(), later("F2^LAB", "P1^EHR", taken="")],
        [],
        AMBIGUOUS,
    ),
    "a new number for another time": (
        [first(), later("F2^LAB", "P1^EHR", taken="0855")],
        ["119", "139"],
        (),
    ),
    "another code of its service": (
        [first(service="CHEM^^L^24323-8^^LN"), later("F1^LAB", service="24323-8^^LN")],
        ["139"],
        (),
    ),
    "another code, told with it elsewhere": (
        [
            *(first(), later("F1^LAB", service="24323-8^^LN")),
            oru("0945", obr("F7^LAB", service="CHEM^^L^24323-8^^LN"), obx(POTASSIUM, "4.4", "mmol/L")),
        ],
        ["139"],
        (),
    ),
    "its service without a system": ([first(), later("F1^LAB", service="CHEM")], ["139"], ()),
    "no service": ([first(), later("F1^LAB", service="")], ["139"], ()),
    "another service": ([first(), later("F1^LAB", service="BGA^^L")], ["119", "139"], NOT_FOUND),
    "no number, by its time": ([first(), later()], ["139"], ()),
    "no number and another time": ([first(), later(taken="0840")], [], AMBIGUOUS),
    "no number, of two of its time": (
        [first(), oru("0905", obr("F2^LAB"), obx(SODIUM, "125", "mmol/L")), later()],
        [],
        AMBIGUOUS,
    ),
    "a number where the original had none": ([first("", ""), later("F1^LAB")], ["139"], ()),
    "a sub-id where the original had none": ([first(), later("F1^LAB", sub="1")], ["139"], ()),
    "none where it had one": ([first(sub="1"), later("F1^LAB")], ["139"], ()),
    "another sub-id": ([first(sub="1"), later("F1^LAB", sub="2")], ["119", "139"], NOT_FOUND),
    "no sub-id, of two": (
        [
            oru(
                "0901",
                obr("F1^LAB"),
                *(obx(SODIUM, v, "mmol/L", sub=s) for v, s in (("119", "1"), ("125", "2"))),
            ),
            later("F1^LAB"),
        ],
        [],
        AMBIGUOUS,
    ),
    "its own name goes first": (
        [
            first(),
            oru("0905", obr("F1^LAB", taken="0855"), obx(SODIUM, "125", "mmol/L", sub="1")),
            later("F1^LAB"),
        ],
        ["125", "139"],
        (),
    ),
    "its own name goes first, of one time with another final value": (
        [first(), oru("0905", obr("F1^LAB"), obx(SODIUM, "125", "mmol/L", sub="1")), later("F1^LAB")],
        ["139"],
        AMBIGUOUS,
    ),
    "told again under the other name": (
        [first(), oru("0910", obr("F1"), obx(SODIUM, "119", "mmol/L")), later("F1")],
        ["139"],
        (),
    ),
    "a preliminary value under the order's number": (
        [
            oru("0901", obr("", "P1^EHR"), obx(SODIUM, "119", "mmol/L", "P")),
            oru("0930", obr("F1^LAB", "P1^EHR", taken="0845"), obx(SODIUM, "139", "mmol/L")),
        ],
        ["139"],
        (),
    ),
    "one message with both names has two results": (
        [
            oru("0901", obr("F1^LAB"), obx(SODIUM, "119", "mmol/L"), obr("F1"), obx(SODIUM, "139", "mmol/L")),
        ],
        ["119", "139"],
        (),
    ),
    "withdrawn whole, without its namespace": ([first(), oru("0930", obr("F1", status="X"))], [], ()),
    "or by its order's number": ([first(), oru("0930", obr("", "P1^EHR", status="X"))], [], ()),
    "or by another code of its service": (
        [first(service="CHEM^^L^24323-8^^LN"), oru("0930", obr("F1^LAB", service="24323-8^^LN", status="X"))],
        [],
        (),
    ),
    "or with no service": ([first(), oru("0930", obr("F1^LAB", service="", status="X"))], [], AMBIGUOUS),
    "or one of two reports": (
        [
            *(first(), oru("0905", obr("F1^POCT"), obx(POTASSIUM, "4.4", "mmol/L"))),
            oru("0930", obr("F1", status="X")),
        ],
        [],
        AMBIGUOUS,
    ),
    "but not another service": (
        [first(), oru("0930", obr("F1^LAB", service="BGA^^L", status="X"))],
        ["119"],
        (),
    ),
    "a monitor that could not measure then": (
        [first(), oru("0930", obr(), obx(SODIUM, "", "", "X"))],
        ["119"],
        (),
    ),
}


@pytest.mark.parametrize(("events", "left", "raised"), CASES.values(), ids=CASES.keys())
def test_what_a_name_that_is_spelled_otherwise_means(
    events: list[Event], left: list[str], raised: tuple[str, ...]
) -> None:
    assert (values(seen(*events), "sodium"), exceptions(*events)) == (left, raised)
    again = [event for event in events for _ in range(2)]
    assert (values(seen(*again), "sodium"), exceptions(*again)) == (left, raised)


# --- what found nothing

BLOOD = "2339-0^Glucose in blood^LN"
GLUCOSE_TOLD = oru("0901", obr("F1^LAB", "P1^EHR"), obx(GLUCOSE, "512", "mg/dL"))


def gone(
    filler: str = "", placer: str = "", taken: str = "", code: str = SODIUM, status: str = "D", **more: str
) -> Event:
    return oru("0930", obr(filler, placer, taken=taken, **more), obx(code, "", "", status))


def whole_gone(filler: str = "", placer: str = "", taken: str = "", service: str = "CHEM^^L") -> Event:
    return oru("0930", obr(filler, placer, service, taken, "X"))


def ordered(placer: str = "", filler: str = "") -> Event:
    return message("ORM^O01", "0845", f"ORC|NW|{placer}|{filler}", f"OBR|1|{placer}|{filler}|CHEM^^L")


#: What is told, whether the value (of sodium, else of glucose) is used after it, and what a person is told.
LOST: dict[str, tuple[list[Event], bool, tuple[str, ...]]] = {
    "another number, no time": ([first(), gone("F2^LAB")], True, NOT_FOUND),
    "another number, the same time": ([first(), gone("F2^LAB", taken="0850")], False, AMBIGUOUS),
    "another number, another time": ([first(), gone("F2^LAB", taken="0840")], True, ()),
    "another number, a time to the minute": (
        [first(taken="085015"), gone("F2^LAB", taken="0850")],
        True,
        NOT_FOUND,
    ),
    "another number, another minute": ([first(taken="085015"), gone("F2^LAB", taken="0849")], True, ()),
    "another laboratory's number": ([first("77^LAB"), gone("77^POCT", taken="0850")], False, AMBIGUOUS),
    "a bare number": ([first(), gone("F2", taken="0850")], False, AMBIGUOUS),
    "the same order, no time": ([first(), gone("F2^LAB", "P1^EHR")], False, AMBIGUOUS),
    "the same order, the value has none": (
        [first(taken=""), gone("F2^LAB", "P1^EHR", "0850")],
        False,
        AMBIGUOUS,
    ),
    "another code": ([first(), gone("F1^LAB", "P1^EHR", code=POTASSIUM)], True, ()),
    "another code of the fact": (
        [GLUCOSE_TOLD, gone("F1^LAB", "P1^EHR", "0850", code=BLOOD)],
        True,
        NOT_FOUND,
    ),
    "which was told too": (
        [
            *(GLUCOSE_TOLD, gone("F1^LAB", "P1^EHR", "0850", code=BLOOD)),
            oru("0902", obr("F1^LAB", "P1^EHR"), obx(BLOOD, "401", "mg/dL")),
        ],
        True,
        (),
    ),
    "another service": ([first(), gone("F1^LAB", taken="0850", service="BGA^^L")], True, NOT_FOUND),
    "of what had not been told": (
        [oru("0945", obr("F1^LAB"), obx(SODIUM, "119", "mmol/L")), gone("F2^LAB")],
        True,
        (),
    ),
    "of what is told again": (
        [first(), gone("F2^LAB"), oru("0945", obr("F1^LAB"), obx(SODIUM, "119", "mmol/L"))],
        True,
        (),
    ),
    "of what is withdrawn now": (
        [first(), gone("F2^LAB"), oru("0945", obr("F1^LAB"), obx(SODIUM, "", "", "D"))],
        False,
        (),
    ),
    "of another patient": (
        [first(), oru("0930", obr("F2^LAB", taken=""), obx(SODIUM, "", "", "D"), patient="7790010")],
        True,
        ("PATIENT_MISMATCH",),
    ),
    "its own came later": (
        [first(), gone("F2^LAB"), oru("0902", obr("F2^LAB", taken="0855"), obx(SODIUM, "121", "mmol/L"))],
        True,
        (),
    ),
    "a monitor that could not measure": ([first(), gone(taken="0840", status="X")], True, ()),
    "X of the same time": ([first(), gone("F2^LAB", taken="0850", status="X")], True, NOT_FOUND),
    "X without a time": ([first(), gone("F2^LAB", status="X")], True, NOT_FOUND),
    "X of an order": ([first(), ordered("P2^EHR"), gone("F2^LAB", "P2^EHR", status="X")], True, ()),
    "a report": ([first(), whole_gone("F9^LAB")], True, NOT_FOUND),
    "a report of the same time": ([first(), whole_gone("F9^LAB", taken="0850")], True, NOT_FOUND),
    "a report of another time": ([first(), whole_gone("F9^LAB", taken="0840")], True, ()),
    "a report of another service": ([first(), whole_gone("F9^LAB", service="BGA^^L")], True, ()),
    "a report of an order without results": (
        [first(), ordered("P2^EHR"), whole_gone("F9^LAB", "P2^EHR")],
        True,
        (),
    ),
    "a report of an order by its own number": (
        [first(), ordered("P2^EHR", "F9^LAB"), whole_gone("F9")],
        True,
        (),
    ),
    "a second report of the order": (
        [first(), ordered("P1^EHR"), whole_gone("F2^LAB", "P1^EHR")],
        True,
        NOT_FOUND,
    ),
    "a report that is known": (
        [
            *(first(), oru("0902", obr("F9^LAB", service="CHEM^^L"), obx(POTASSIUM, "4.4", "mmol/L"))),
            whole_gone("F9^LAB"),
        ],
        True,
        (),
    ),
}


@pytest.mark.parametrize(("events", "is_used", "raised"), LOST.values(), ids=LOST.keys())
def test_what_finds_nothing_takes_nothing_and_is_said(
    events: list[Event], is_used: bool, raised: tuple[str, ...]
) -> None:
    order = random.Random(1)
    for _ in range(6):
        found = seen(*events)
        its = values(found, "sodium") or values(found, "glucose")
        assert (bool({"119", "512"} & set(its)), exceptions(*events)) == (is_used, raised)
        events = order.sample(events, len(events)) + order.sample(events, order.randrange(2))


def test_many_cancels_are_looked_up_once_and_not_once_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: orders that were cancelled without a result, in a stay with several facts."""
    count = 0
    ask = Told._has_results

    def counted(self: Told, number: str, before: Result) -> bool:
        nonlocal count
        count += 1
        return ask(self, number, before)

    monkeypatch.setattr(Told, "_has_results", counted)
    values = [obx(code, "4", "mmol/L") for code in (SODIUM, POTASSIUM, GLUCOSE, HEMOGLOBIN)]
    fold = folded(
        *(whole_gone(f"X{n}^LAB", service="BGA^^L") for n in range(40)), oru("0901", obr("F1"), *values)
    )
    fold.stay(at("1200"))
    assert 40 <= count <= 120
    count = 0
    fold.stay(at("1201"))
    assert count == 0


def test_a_correction_under_another_code_of_the_fact_stands_beside_it_and_is_said() -> None:
    """OBX-3 names the observation (7.4.2.3): glucose in serum and in blood are two, of one fact."""
    later = oru("0930", obr("F1^LAB", "P1^EHR"), obx(BLOOD, "98", "mg/dL", "C"))
    for events in ((GLUCOSE_TOLD, later), (later, GLUCOSE_TOLD), (GLUCOSE_TOLD, later, later)):
        assert (values(seen(*events), "glucose"), exceptions(*events)) == (["512", "98"], NOT_FOUND)
    elsewhere = oru("0930", obr("F7^LAB", taken="0855"), obx(BLOOD, "98", "mg/dL", "C"))
    assert exceptions(GLUCOSE_TOLD, elsewhere) == ()


def test_a_doubt_ends_when_the_correction_is_sent_under_the_whole_name() -> None:
    events = [first(), later(taken="0840")]
    assert exceptions(*events) == AMBIGUOUS
    taken_back = oru("0935", obr(taken="0840"), obx(SODIUM, "", "", "W"))
    named = oru("0940", obr("F1^LAB", "P1^EHR"), obx(SODIUM, "138", "mmol/L", "C"))
    assert (values(seen(*events, named), "sodium"), exceptions(*events, named)) == (["138"], AMBIGUOUS)
    assert values(seen(*events, taken_back, named), "sodium") == ["138"]


# --- no trace of a corrected value, and no other value lost unsaid


class Spelled(NamedTuple):
    filler: str
    placer: str
    service: str
    sub: str


WHOLE = Spelled("F1^LAB", "P1^EHR", "CHEM^^L", "1")
#: A report that says nothing of the facts looked at, and ties the numbers and the codes.
TIED = oru("0958", obr("F1^LAB", "P1^EHR", "CHEM^^L^24323-8^^LN"), obx("2345-7^Glu^LN", "95", "mg/dL"))
#: Reports that are another's by what both senders say.
OTHERS = [
    Spelled("F2^LAB", "P2^EHR", "CHEM^^L", "1"),
    Spelled("F1^POCT", "", "CHEM^^L", "1"),
    Spelled("F1^POCT^2.16.8^ISO", "", "CHEM^^L", "1"),
    Spelled("F1^LAB", "P1^EHR", "BGA^^L", "1"),
    Spelled("F1^LAB", "P1^EHR", "CHEM^^L", "2"),
    Spelled("F3^LAB", "P1^EHR", "CHEM^^L", "1"),
    Spelled("", "", "MON^^L", "1"),
    Spelled("", "", "CHEM^^L", "1"),
    Spelled("F2", "", "CHEM^^L", ""),
]
FACTS = {
    SODIUM: ("mmol/L", "119", "119"),
    TROPONIN: ("ng/L", "877", "87.7"),
    HEMOGLOBIN: ("g/dL", "17.3", "17.3"),
}
INNOCENT = {SODIUM: ["135", "136", "137"], TROPONIN: ["20", "21", "22"], HEMOGLOBIN: ["12", "12.5", "13"]}


NEW = ("F9^LAB", "P1^EHR")  # the report has a new number on the same order, which names nothing but in time
STRANGE = ("F8^LAB", "P8^EHR")  # or on an order that nobody knows
BY_TIME = (NEW, STRANGE, ("", ""))


@st.composite
def spelled(draw: st.DrawFn) -> Spelled:
    """The same report as another build of the interface would name it."""
    filler, placer = draw(
        st.sampled_from(
            [
                *[("F1^LAB", ""), ("F1", "P1^EHR"), ("F1", ""), ("", "P1^EHR"), ("", "P1"), *BY_TIME],
                *[("F1^LAB^2.16.9^ISO", ""), ("F1^^2.16.9^ISO", ""), ("F1^^2.16.9^ISO", "P1^EHR")],
            ]
        )
    )
    service = draw(st.sampled_from(["CHEM^^L", "CHEM^^L", "CHEM", "24323-8^^LN", ""]))
    return Spelled(filler, placer, service, draw(st.sampled_from(["1", "1", ""])))


def report(
    sent: str,
    name: Spelled,
    code: str,
    value: str,
    status: str = "F",
    *,
    taken: str = "0850",
    control: int = 0,
) -> Event:
    unit = FACTS[code][0] if value else ""
    result = obx(code, value, unit, status, sub=name.sub, limits="<10" if code == TROPONIN else "")
    return oru(sent, obr(name.filler, name.placer, name.service, taken), result, control=control)


def all_values(events: list[tuple[int, Event]]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    fold = StayFold(SITE)
    for seq, event in events:
        fold.apply(event, seq)
    found = readings(fold, at("1200"), review=ReviewType.ADMISSION, wanted=EVERYTHING)
    return {fact: values(found, fact) for fact in found}, fold.stay(at("1200")).exceptions


class Scene(NamedTuple):
    """An original, its correction under another name, and what other reports say."""

    code: str
    original: Spelled
    name: Spelled
    status: str
    taken: str
    others: tuple[tuple[Spelled, str, str], ...]  # each with when it was told and taken
    sound: tuple[str, ...]
    is_sent_again: bool
    is_told_again: bool

    def world(self) -> list[Event]:
        wrong, value = FACTS[self.code][1], self.sound[0] if self.status in "CA" else ""
        events = [TIED, *self.beside(), report("0901", self.original, self.code, wrong)]
        for sent in ["0930", "0950"][: 1 + self.is_sent_again]:
            name = self.name
            if self.status == "X":  # OBR-25: the whole report
                events.append(oru(sent, obr(name.filler, name.placer, name.service, status="X"), control=1))
                continue
            events.append(report(sent, name, self.code, value, self.status, taken=self.taken, control=1))
        if self.is_told_again:  # what was withdrawn is in force when it is told later: an archive is not
            again = "0951" if self.status in "CA" else "0901"
            events.append(report(again, self.original, self.code, wrong, control=2))
        return events

    def as_it_should_have_been(self) -> list[Event]:
        right = [report("0901", self.original, self.code, self.sound[0], taken=self.taken or "0850")]
        return [TIED, *self.beside(), *(right if self.status in "CA" else [])]

    def beside(self) -> list[Event]:
        return [
            report(sent, name, self.code, value, taken=taken, control=3)
            for (name, sent, taken), value in zip(self.others, self.sound[1:], strict=False)
            if self.status != "X" or name[:3] != WHOLE[:3]  # of that report, and withdrawn with it
        ]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    code, name, original = draw(st.sampled_from(list(FACTS))), draw(spelled()), draw(spelled())
    if original[:2] in BY_TIME:
        original = original._replace(filler="F1^LAB")
    others = zip(
        draw(st.lists(st.sampled_from([*OTHERS, OTHERS[1]]), max_size=2, unique=True)),
        [draw(st.sampled_from(["0855", "0905", "0940"])) for _ in range(2)],
        draw(st.permutations(["0851", "0852"])),
        strict=False,
    )
    # Without a number the time is all that names a value; a time that is another's names the other's.
    times = ["0850"] if name[:2] in BY_TIME else ["0850", "0840", ""]
    return Scene(
        code,
        original,
        name,
        draw(st.sampled_from("CCAWD" if name[:2] in BY_TIME else "CAWDXX")),
        draw(st.sampled_from(times)),
        tuple(others),
        tuple(draw(st.permutations(INNOCENT[code]))),
        draw(st.booleans()),
        draw(st.booleans()),
    )


def check_no_trace(scene: Scene, order: random.Random) -> None:
    numbered = list(enumerate([ARRIVAL, *scene.world()]))
    expected = all_values(numbered)
    mixed = numbered + [(seq + 100, event) for seq, event in numbered[1:] if order.random() < 0.3]
    order.shuffle(mixed)
    assert all_values(mixed) == expected
    shown, raised = expected
    assert not any(FACTS[scene.code][2] in its for its in shown.values())
    if raised != AMBIGUOUS:
        assert raised == ()
        assert shown == all_values(list(enumerate([ARRIVAL, *scene.as_it_should_have_been()])))[0]


def scene(original: Spelled, name: Spelled, status: str, taken: str = "0850", *others: Spelled) -> Scene:
    beside = tuple((each, "0855", f"085{n}") for n, each in enumerate(others, 1))
    sound = tuple(INNOCENT[SODIUM])
    return Scene(SODIUM, original, name, status, taken, beside, sound, is_sent_again=True, is_told_again=True)


HARD = [
    scene(WHOLE, WHOLE._replace(filler="F1", placer=""), "C"),
    scene(WHOLE, WHOLE._replace(filler=""), "W", "0840"),
    scene(WHOLE, WHOLE._replace(sub="", service="24323-8^^LN"), "C"),
    scene(WHOLE, WHOLE._replace(filler="F1", placer=""), "C", "0840", OTHERS[1]),
    scene(WHOLE, WHOLE._replace(filler="F1", placer=""), "X", "", OTHERS[1]),
    scene(WHOLE, WHOLE._replace(filler=NEW[0]), "C"),
    scene(WHOLE, WHOLE._replace(filler=NEW[0]), "D", ""),
    scene(WHOLE, WHOLE._replace(filler="F8^LAB", placer="P8^EHR"), "C"),
    scene(WHOLE, Spelled("", "", "CHEM^^L", "1"), "D"),
    scene(WHOLE, Spelled(*STRANGE, "CHEM^^L", "1"), "C", "0850", Spelled("", "", "CHEM^^L", "1")),
]


@settings(max_examples=60)
@given(scenes(), st.randoms())
def test_a_correction_leaves_no_trace_of_the_value_and_takes_no_others(
    scene: Scene, order: random.Random
) -> None:
    check_no_trace(scene, order)


@pytest.mark.parametrize("number", range(len(HARD)))
def test_neither_do_those_that_show_the_faults_below(number: int) -> None:
    check_no_trace(HARD[number], random.Random(number))


# --- any order


@settings(max_examples=100)
@given(
    statements(names=ALIKE),
    st.lists(
        st.sampled_from([("R1^ZZLAB", "P1", ""), ("R2^ZZLAB", "P1", ""), ("R1^ZZLAB", "", "24323-8^LN")]),
        max_size=2,
    ),
    st.lists(st.sampled_from(["R1", "R1^ZZLAB", "R1^ZZPOCT", "placer P1"]), max_size=1),
    st.randoms(),
    st.sampled_from([{}, {"2": "1"}, {"1": "3", "2": "3"}]),
)
def test_any_order_and_any_repeats_give_the_same_under_names_that_may_be_one(
    made: list[Result],
    ties: list[tuple[str, str, str]],
    withdrawn: list[str],
    order: random.Random,
    now: dict[str, str],
) -> None:
    reports = [whole(65, each, patient=order.choice("12")) for each in withdrawn]
    steps: list[Any] = [*made, *ties, *reports]

    def listed(steps: list[Any], *, looked_at: bool) -> ResultList:
        known = {} if looked_at else now
        of_stay = Told(lambda patient: known.get(patient, patient))
        held = ResultList(lambda patient: known.get(patient, patient), of_stay)
        for each in steps:
            if isinstance(each, Result) and each.kind < 7:
                of_stay.take(each.patient, each.report, each.service, "", "")
                held.add(each)
            elif isinstance(each, Result):
                of_stay.take(each.patient, each.report, each.service, "", "")
                its = of_stay.withdrawn.setdefault(likeness.base_of(each.report), [])
                its += [] if each in its else [each]
                held.withdraw(each)
            else:
                report, placer, other = each
                of_stay.take("1", report, "LAB^99LAB", PLACER + placer if placer else "", other)
            if looked_at and order.random() < 0.3:
                list(held)
            if looked_at and order.random() < 0.2:
                known = order.choice([{}, now, {"1": "2"}])
                held.forget_looks()
        if looked_at:
            known = now
            held.forget_looks()
        return held

    expected = listed(steps, looked_at=False)
    again = [each._replace(seq=each.seq + 100) for each in made if order.random() < 0.5]
    shuffled = steps + again + order.sample(steps, len(steps) // 2)
    order.shuffle(shuffled)
    held = listed(shuffled, looked_at=True)
    assert list(held) == list(expected)
    assert unsure(held) == unsure(expected)


# --- planted faults


def _first_of_those_meant(self: Thread, stated: Result) -> tuple[list[Any], bool]:
    meant, _ = REACHED(self, stated)
    return meant[:1], True


REACHED = Thread._reached
FAULTS: dict[str, tuple[Any, str, object]] = {
    "nothing is looked at together": (Kinship, "of", lambda self, group: []),
    "only what is written alike is one": (Told, "is_report", lambda self, one, other, patient: one == other),
    "what was not sent differs": (Told, "is_near", Told.is_same),
    "the first is picked": (Thread, "_reached", _first_of_those_meant),
    "a correction is never in doubt": (Thread, "_doubt", lambda self, stated: []),
    "another number of its time is another's": (
        *(Told, "is_elsewhere"),
        lambda self, one, other, patient: False,
    ),
    "a new number is another order's": (Told, "is_sibling", lambda self, one, other, patient: False),
    "one report is as good as another": (Told, "_are_several", lambda self, one, other, patient: False),
}


@pytest.mark.parametrize(("room", "name", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_turns_the_property_red(
    monkeypatch: pytest.MonkeyPatch, room: Any, name: str, fault: object
) -> None:
    monkeypatch.setattr(room, name, fault)
    order = random.Random(1)
    with pytest.raises(AssertionError):
        for scene in HARD:
            check_no_trace(scene, order)
