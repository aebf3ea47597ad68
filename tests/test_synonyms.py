"""A result that is named by one of its codes alone is the one that had both, within its report."""

from __future__ import annotations

import random
from typing import Any

import pytest
from test_likeness import obr
from test_told import ARRIVAL, POTASSIUM, SITE, at, message, obx, oru

from umbridge.model import Event
from umbridge.stay.fold import StayFold
from umbridge.stay.results.findings import Findings
from umbridge.stay.results.result_list import ResultList
from umbridge.stay.results.synonyms import Synonyms

BOTH, SWAPPED = "K^Potassium^L^2823-3^Potassium^LN", "2823-3^Potassium^LN^K^Potassium^L"
LOCAL, BARE, WORDLESS = "K^Potassium^L", "2823-3", "K^^L"
SODIUM_TOO = "K^Kalium^L^2951-2^Sodium^LN"  # the same local code, and another fact


def told(code: str = BOTH, value: str = "6.8", status: str = "F", sent: str = "0901", **more: str) -> Event:
    taken, number = more.get("taken", "0850"), more.get("number", "F1^LAB")
    unit = "mmol/L" if value else ""
    return oru(sent, obr(number, more.get("placer", "P1^EHR"), taken=taken), obx(code, value, unit, status))


def later(code: str = LOCAL, status: str = "C", value: str = "4.2", sent: str = "0930", **more: str) -> Event:
    return told(code, value if status in "CAFP" else "", status, sent, **more)


#: What is told, what potassium is then, and the exceptions.
CASES: dict[str, tuple[list[Event], list[str], list[str]]] = {
    "a correction": ([told(), later()], ["4.2"], []),
    "an amendment": ([told(), later(status="A")], ["4.2"], []),
    "a withdrawal": ([told(), later(status="D")], [], []),
    "no result": ([told(), later(status="X")], [], []),
    "by the code without its name": ([told(), later(WORDLESS, "D")], [], []),
    "a correction whose words say nothing takes the value back": (
        [told(), later(WORDLESS)],
        [],
        ["RESULT_UNREAD"],
    ),
    "the final of a preliminary value": ([told(status="P"), later(status="F")], ["4.2"], []),
    "also of another time": ([told(status="P"), later(status="F", taken="0845")], ["4.2"], []),
    "whatever time it carries": ([told(), later(taken="0840")], ["4.2"], []),
    "with the triplets the other way round": ([told(), later(SWAPPED)], ["4.2"], []),
    "the original has them the other way round": ([told(SWAPPED), later()], ["4.2"], []),
    "LOINC's code without its system": ([told(POTASSIUM), later(BARE)], ["4.2"], []),
    "a withdrawal by it": ([told(POTASSIUM), later(BARE, "W")], [], []),
    "the number without its namespace": ([told(), later(status="D", number="F1")], [], []),
    "the order's number": ([told(), later(status="D", number="")], [], []),
    "tied by another message": (
        [
            *(told(placer=""), later(status="D", number="")),
            message("ORM^O01", "0845", "ORC|SN|P1^EHR|F1^LAB", "OBR|1|P1^EHR|F1^LAB|CHEM^^L"),
        ],
        [],
        [],
    ),
    "the original came with LOINC's code alone": (
        [told(POTASSIUM), later(status="D")],
        ["6.8"],
        ["CORRECTION_NOT_FOUND"],
    ),
    "so does a correction, which is no value by a guess": (
        [told(POTASSIUM), later()],
        ["6.8"],
        ["CORRECTION_NOT_FOUND"],
    ),
    "of another time": ([told(POTASSIUM), later(status="D", taken="0840")], ["6.8"], []),
    "whose words say nothing": ([told(POTASSIUM), later(WORDLESS, "D")], ["6.8"], []),
    "told before": ([told(POTASSIUM), later(status="D", sent="0859")], ["6.8"], []),
    "told again since": ([told(POTASSIUM), later(status="D"), told(POTASSIUM, sent="0940")], ["6.8"], []),
    "the laboratory's code, in another report": (
        [told(), later(status="D", number="F2^LAB", placer="P2^EHR")],
        ["6.8"],
        [],
    ),
    "a value in a report that does not have both": (
        [told(), later(status="F", number="F2^LAB", placer="P2^EHR", taken="0855")],
        ["6.8"],
        [],
    ),
    "one code of two facts is said of both": (
        [told(), told(SODIUM_TOO, "140", sent="0902"), later(WORDLESS, "D")],
        [],
        [],
    ),
    "another analyte of the report": ([told(), later("MG^Magnesium level^L", "D")], ["6.8"], []),
    "its urine": ([told(POTASSIUM), later("UK^Potassium urine^L", "D")], ["6.8"], []),
}


def found(fold: StayFold) -> tuple[list[str], list[str]]:
    listed = fold.results("potassium")
    assert listed is not None
    return [f"{each.value}" for each in listed if each.value is not None], [*fold.stay(at("1200")).exceptions]


@pytest.mark.parametrize(("events", "left", "raised"), CASES.values(), ids=CASES.keys())
def test_what_a_code_of_ones_own_means(events: list[Event], left: list[str], raised: list[str]) -> None:
    """In any order of arrival, told twice, and from the snapshot."""
    order = random.Random(1)
    numbered = list(enumerate((ARRIVAL, *events)))
    for _ in range(4):
        fold, kept = StayFold(SITE), []
        for seq, event in [*numbered, *((seq + 50, event) for seq, event in numbered[1:])]:
            kept.append(fold.apply(event, seq))
            if order.random() < 0.3 and fold.results("potassium") is not None:
                found(fold)
        assert found(fold) == (left, raised)
        order.shuffle(kept)
        assert found(StayFold.restore(SITE, fold.head(), [each for each in kept if each])) == (left, raised)
        order.shuffle(numbered)


def test_what_may_be_meant_holds_and_is_shown_by_its_fact() -> None:
    fold = StayFold(SITE)
    for seq, event in enumerate((ARRIVAL, *CASES["the original came with LOINC's code alone"][0])):
        fold.apply(event, seq)
    listed = fold.results("potassium")
    assert listed is not None
    ((one, meant),) = listed.in_question(fold.is_patient)
    assert (one.code, f"{meant.value}") == ("K^L", "6.8")


FAULTS: dict[str, tuple[Any, str, object]] = {
    "no code is a synonym": (Synonyms, "learn", lambda self, row: None),
    "a code is one everywhere": (
        *(Synonyms, "_meant"),
        lambda self, stated, has: list(
            {
                (fact, code)
                for its in self._known.values()
                for _, other, fact, code in its
                if other == stated.code
            }
        ),
    ),
    "nothing is looked at once more": (Findings, "settle", lambda self, rows: None),
    "a system is never left out": (ResultList, "has", lambda self, report, code, patient: False),
}


@pytest.mark.parametrize(("room", "name", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_turns_a_case_red(
    monkeypatch: pytest.MonkeyPatch, room: Any, name: str, fault: object
) -> None:
    monkeypatch.setattr(room, name, fault)
    with pytest.raises(AssertionError):
        for events, left, raised in CASES.values():
            fold = StayFold(SITE)
            for seq, event in enumerate((ARRIVAL, *events)):
                fold.apply(event, seq)
            assert found(fold) == (left, raised)
