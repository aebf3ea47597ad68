"""What of an order's timing is not read: each part is counted once, and holds where the order may not run."""

from __future__ import annotations

from typing import Any

import pytest
from test_order_times import FACT, FLUIDS, at, folded, message, obr, orc, runs, tq, tq1

from umbridge.criteria.unreadhold import ORDER_UNREAD
from umbridge.hl7 import timing
from umbridge.model import Event
from umbridge.settings.site import default_site
from umbridge.stay.clock import instant
from umbridge.stay.orders.treatment_spans import InForce
from umbridge.stay.unused import unused

PATTERN, CONDITION = "order_pattern_unknown", "order_conditional"
CONJUNCTION, WITHIN, LENGTH = (
    "order_conjunction_not_read",
    "order_timing_not_read",
    "duration_not_read",
)


def ordered(*timed: str, more: str = "") -> Event:
    """``more``: ORC-7, TQ as it was before version 2.5."""
    return message("OMG^O19", "021200", orc(timing=more), *timed, obr(FLUIDS))


def counted(event: Event) -> list[tuple[str, str, str]]:
    its = unused(event, default_site())
    return sorted((one.field, one.code, one.reason) for one in its if one.field.startswith(("TQ1", "ORC-7")))


def part(**fields: str) -> Event:
    return ordered(tq1(**fields))


def of_tq(number: int, value: str) -> Event:
    parts = [*[""] * 12]
    parts[number - 1] = value
    return ordered(more="^".join(parts).rstrip("^"))


#: Each part of TQ1 and of TQ that is not read, what is counted, and whether the order may not run.
PARTS: dict[str, tuple[Event, list[tuple[str, str, str]], bool]] = {
    "as needed": (part(f3="PRN"), [("TQ1-3", "PRN", CONDITION)], True),
    "as needed, every six hours": (part(f3="PRNQ6H"), [("TQ1-3", "PRNQ6H", CONDITION)], True),
    "every six hours, as needed": (part(f3="Q6H~PRN"), [("TQ1-3", "PRN", CONDITION)], True),
    "as needed by its priority": (part(f9="PRN^As needed^HL70485"), [("TQ1-9", "PRN", CONDITION)], True),
    "on a condition": (part(f3="Q6H", f10="if mean below 65"), [("TQ1-10", "", CONDITION)], True),
    "on a condition, until a time": (
        part(stop="202604051400", f10="if below"),
        [("TQ1-10", "", CONDITION)],
        True,
    ),
    "a pattern that nobody knows": (part(f3="ONETIME"), [("TQ1-3", "ONETIME", PATTERN)], True),
    "which ends by itself": (
        part(f3="ONETIME", stop="202604051400"),
        [("TQ1-3", "ONETIME", PATTERN)],
        False,
    ),
    "for a time": (part(f3="ZZQ", f6="8^h"), [("TQ1-3", "ZZQ", PATTERN)], False),
    "a length in months": (part(f6="3^mo"), [("TQ1-6", "", LENGTH)], True),
    "several doses": (part(f3="Q6H", f14="9"), [("TQ1-14", "", LENGTH)], True),
    "several doses until a time": (
        part(f3="Q6H", f14="9", stop="202604051400"),
        [("TQ1-14", "", LENGTH)],
        False,
    ),
    "behind a pattern": (part(f3="Q6H^^5^10"), [("TQ1-3", "", WITHIN)], False),
    "at times of the day": (part(f3="BID", f4="0800~2000"), [("TQ1-4", "", WITHIN)], False),
    "relative to another": (part(f5="5^min"), [("TQ1-5", "", WITHIN)], False),
    "in words": (part(f11="with the evening meal"), [("TQ1-11", "", WITHIN)], False),
    "for so long each": (part(f3="Q6H", f13="30^min"), [("TQ1-13", "", WITHIN)], False),
    "an urgency of no table": (part(f9="ROBR"), [("TQ1-9", "ROBR", WITHIN)], False),
    "a conjunction of no table": (part(f12="X"), [("TQ1-12", "X", CONJUNCTION)], False),
    "a conjunction of no table between two": (
        ordered(tq1("202604021200", "202604021300", f12="X"), tq1("202604021400")),
        [("TQ1-12", "X", CONJUNCTION)],
        True,
    ),
    "an actuation time": (
        ordered(tq1("202604021200", f12="C"), tq1("202604021400")),
        [("TQ1-12", "C", CONJUNCTION)],
        True,
    ),
    "TQ as needed": (of_tq(2, "PRN"), [("ORC-7", "PRN", CONDITION)], True),
    "TQ by its priority": (of_tq(6, "PRN"), [("ORC-7", "PRN", CONDITION)], True),
    "TQ on a condition": (of_tq(7, "if below"), [("ORC-7", "", CONDITION)], True),
    "TQ of an unknown pattern": (of_tq(2, "ONETIME"), [("ORC-7", "ONETIME", PATTERN)], True),
    "TQ at times": (of_tq(2, "BID&0800"), [("ORC-7", "", WITHIN)], False),
    "TQ in words": (of_tq(8, "slowly"), [("ORC-7", "", WITHIN)], False),
    "TQ after another": (of_tq(10, "S&1"), [("ORC-7", "", WITHIN)], False),
    "TQ for so long each": (of_tq(11, "30"), [("ORC-7", "", WITHIN)], False),
    "TQ of an unknown conjunction": (of_tq(9, "X"), [("ORC-7", "X", CONJUNCTION)], False),
    "TQ of no length": (ordered(more=tq("", "", "L1")), [("ORC-7", "", LENGTH)], True),
}
#: What is read, or says nothing of when.
READ = {
    "nothing": ordered(),
    "an amount": part(f2="500^mL"),
    **{
        each: part(f3=each)
        for each in ("Q6H", "Q30M", "QAM", "BID", "TID", "Q1J2", "C", "PCM", "DAILY", "q12h")
    },
    "once": part(f3="ONCE"),
    "one dose over an hour": part(f14="1", f13="60^min"),
    **{each: part(f9=each) for each in ("S", "A", "R", "TM5", "R^Routine^HL70485")},
    "one after the other": ordered(tq1("202604021200", "202604021300", f12="S"), tq1("202604021400")),
    "of no hours": ordered(more="1^Q6H^INDEF^202604021200"),
}


def is_held(event: Event) -> bool:
    """Whether the stay says that the order may not run."""
    fold = folded(event)
    found = ORDER_UNREAD in fold.stay(at("021230")).exceptions
    turns = fold.orders(FACT)
    assert turns is not None and turns.is_unsure(instant(at("021230")), fold.is_patient) is found
    return found


@pytest.mark.parametrize(("event", "wanted", "held"), PARTS.values(), ids=PARTS.keys())
def test_each_part_that_is_not_read_is_counted_once(
    event: Event, wanted: list[tuple[str, str, str]], held: bool
) -> None:
    assert counted(event) == wanted
    assert runs(folded(event), "021230") is True
    assert is_held(event) is held


@pytest.mark.parametrize("event", READ.values(), ids=READ.keys())
def test_what_is_read_or_says_nothing_of_when_is_not_counted(event: Event) -> None:
    assert counted(event) == []
    assert not folded(event).stay(at("021230")).exceptions


def test_an_order_that_surely_runs_beside_it_or_its_end_or_a_change_ends_the_hold() -> None:
    doubtful = part(f3="PRN")
    sure = message("OMG^O19", "021210", orc().replace("P1^", "P2^"), obr(FLUIDS).replace("P1^", "P2^"))
    over = message("ORM^O01", "021215", orc("DC"))
    again = message("OMG^O19", "021220", orc("XO"), tq1(f3="Q6H"), obr(FLUIDS))
    assert ORDER_UNREAD in folded(doubtful).stay(at("021300")).exceptions
    for other in (sure, over, again):
        for events in ((doubtful, other), (other, doubtful)):
            assert ORDER_UNREAD not in folded(*events).stay(at("021300")).exceptions


FAULTS: dict[str, tuple[Any, str, object]] = {
    "patterns are not looked at": (timing, "_patterns", lambda *of, **more: iter(())),
    "urgencies are not looked at": (timing, "_urgency", lambda *of: []),
    "what is not read never matters": (InForce, "is_unsure", lambda *of: False),
}


@pytest.mark.parametrize(("room", "name", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_turns_a_part_red(
    monkeypatch: pytest.MonkeyPatch, room: Any, name: str, fault: object
) -> None:
    monkeypatch.setattr(room, name, fault)
    with pytest.raises(AssertionError):
        again = {"1": part(f3="PRN"), "2": part(f9="PRN")}
        for event in again.values():
            assert counted(event)
            assert is_held(event)
