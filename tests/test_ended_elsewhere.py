"""An order that was ended under another visit of the patient is said on the stay that goes on counting it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from test_order_groups import ADMIT, DRIP, orm
from test_order_times import ARRIVAL, FLUIDS, INPATIENT, SITE, at

from umbridge.model import Event
from umbridge.stay import ended_elsewhere
from umbridge.stay.fold import StayFold
from umbridge.stay.together import ORDER_ENDED_ELSEWHERE, side_by_side


def end(control: str = "CA", number: str = "P1^ZZEHR", sent: str = "021300", **its: str) -> Event:
    return orm(control, sent, number=number, **its)


def of(event: Event, patient: str) -> Event:
    return replace(event, patient=replace(event.patient, identifiers=((patient, "UMBH", "MR"),)))


TIED = orm("NW", "021200", code=FLUIDS, number="P1^ZZEHR", filler="F1^ZZPHARM", group="G1^ZZEHR")
WARD = orm("NW", "021202", code=INPATIENT, number="P1^ZZEHR")
#: What the stay was told, what the other visit was, and whether the stay goes on counting what ended there.
CASES: dict[str, tuple[list[Event], list[Event], bool]] = {
    "a treatment by its number": ([DRIP], [end()], True),
    "with its code": ([DRIP], [end(code=FLUIDS)], True),
    "discontinued": ([DRIP], [end("DC")], True),
    "on hold": ([DRIP], [end("HD")], True),
    "completed": ([DRIP], [end("SC", status="CM")], True),
    "refused": ([DRIP], [end("UA")], True),
    "an inpatient order by its number": ([WARD], [end()], True),
    "an inpatient order with its code": ([WARD], [end(code=INPATIENT)], True),
    "an inpatient order that is completed": ([WARD], [end("SC", status="CM")], False),
    "without the namespace": ([DRIP], [end(number="P1")], True),
    "by the filler's number": ([TIED], [end(number="", filler="F1^ZZPHARM")], True),
    "by the group's": ([TIED], [orm("CA", "021300", group="G1^ZZEHR")], True),
    "another application's": ([DRIP], [end(number="P1^ZZLAB")], False),
    "another number": ([DRIP], [end(number="P7^ZZEHR")], False),
    "told before": ([DRIP], [end(sent="021100")], False),
    "its own order came there too": ([DRIP], [DRIP, end()], False),
    "it is only told of": ([DRIP], [end("OK"), end("PA")], False),
    "it could not be cancelled": ([DRIP], [end("UC")], False),
    "ended here too": ([DRIP, end(sent="021400")], [end()], False),
    "told here again": ([DRIP, end(sent="021400"), end("NW", sent="021500", code=FLUIDS)], [end()], False),
    "another of the kind": ([DRIP, orm("NW", "021400", code=FLUIDS, number="P6^ZZEHR")], [end()], True),
    "nothing is here": ([], [end()], False),
}


def raised(here: list[Event], there: list[Event], turn: int = 0, patient: str = "") -> list[bool]:
    """Of each of two visits, whether it has the exception."""
    folds = [StayFold(SITE), StayFold(SITE)]
    theirs = [of(each, patient) for each in there] if patient else there
    for fold, events in zip(folds, ([ARRIVAL, *here], theirs), strict=True):
        numbered = list(enumerate(events, 10 * folds.index(fold)))
        mixed = random.Random(turn).sample(numbered, len(numbered)) if turn else numbered
        for seq, event in mixed + mixed[:1]:
            fold.apply(event, seq)
    stays = [fold.stay(at("022000")) for fold in folds]
    return [ORDER_ENDED_ELSEWHERE in stay.exceptions for stay in side_by_side(stays)]


@pytest.mark.parametrize(("here", "there", "is_meant"), CASES.values(), ids=CASES.keys())
def test_an_end_under_another_visit_is_said_where_the_order_goes_on(
    here: list[Event], there: list[Event], is_meant: bool
) -> None:
    for turn in range(3):
        assert raised(here, there, turn) == [is_meant, False]


def test_another_patient_and_who_has_left_have_nothing_to_do_with_it() -> None:
    assert raised([DRIP], [end()], patient="7790022") == [False, False]
    left = replace(
        ARRIVAL, trigger="A03", sent_at=at("021800"), effective_at=at("021800"), control_id="ZZ-A03"
    )
    assert raised([ADMIT, DRIP, left], [end()]) == [False, False]


FAULTS: dict[str, Any] = {
    "the number is not asked": ("_is_told_before", lambda each, said: bool(each.what)),
    "whether it goes on is not asked": ("_is_in_force", lambda shelf, name, said, at: True),
    "nothing is lost": ("_lost", lambda other: iter(())),
}


@pytest.mark.parametrize(("name", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_turns_a_case_red(monkeypatch: pytest.MonkeyPatch, name: str, fault: Any) -> None:
    monkeypatch.setattr(ended_elsewhere, name, fault)
    assert [raised(here, there)[0] for here, there, _ in CASES.values()] != [
        its for *_, its in CASES.values()
    ]
