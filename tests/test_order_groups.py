"""What is said of orders beside their number: their group (ORC-4), ORC-25, a parent that stands alone."""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import pytest
from test_order_times import (
    ARRIVAL,
    FLUIDS,
    INPATIENT,
    at,
    folded,
    message,
    runs,
    status,
)

from umbridge.model import Event
from umbridge.settings.site import DEFAULT_SITE, default_site, parse_site
from umbridge.stay.fold import StayFold
from umbridge.stay.orders import effect, grouped, strange
from umbridge.stay.unused import orders_unused, unused

SITE = default_site()
MODIFIED = parse_site(
    DEFAULT_SITE.read_text("utf-8")
    .replace("# [orders.meaning]", '[orders.meaning]\nSTOPPED = "ended"\nLABEL = "in_force"')
    .encode()
)


def orm(control: str, sent: str, *, code: str = "", number: str = "", group: str = "", **its: str) -> Event:
    fields = ["ORC", control, number, its.get("filler", ""), group, its.get("status", ""), *[""] * 20]
    fields[25], fields[8] = its.get("modifier", ""), its.get("parent", "")
    fields[15] = its.get("effective", "")
    detail = [f"OBR|1|{number}|{its.get('filler', '')}|{code}^^99UMB"] if code else []
    return message("ORM^O01", sent, "|".join(fields).rstrip("|"), *detail)


def exceptions(fold: StayFold, clock: str = "030000") -> tuple[str, ...]:
    return tuple(each for each in fold.stay(at(clock)).exceptions if each.startswith("ORDER"))


def reasons(*events: Event) -> list[str]:
    fold = folded(*events)
    return [why.value for seq, event in enumerate(events, 1) for _, why in orders_unused(event, seq, fold)]


# --- a group ----------------------------------------------------------------------------------------------

DRIP = orm("NW", "021200", code=FLUIDS, number="P1^ZZEHR", group="G1^ZZEHR")
PRESSOR = orm("NW", "021201", code="RXNOREPI", number="P2^ZZEHR", group="G1^ZZEHR")
ADMIT = orm("NW", "021202", code=INPATIENT, number="P3^ZZEHR", group="G1^ZZEHR")
OTHER = orm("NW", "021203", code=FLUIDS, number="P4^ZZEHR", group="G2^ZZEHR")
LAB = orm("NW", "021204", code="ZZLAB1", number="P5^ZZEHR", group="G3^ZZEHR")


@pytest.mark.parametrize("control", ["CA", "DC", "HD", "OC", "OD", "DR"])
@pytest.mark.parametrize("group", ["G1^ZZEHR", "G1"])
def test_what_ends_a_group_ends_each_of_its_orders(control: str, group: str) -> None:
    end = orm(control, "021300", group=group)
    for events in permutations((DRIP, ADMIT, end)):
        fold = folded(*events)
        assert [runs(fold, "021259"), runs(fold, "021300"), status(fold, "021300")] == [True, False, "ED"]
        assert (exceptions(fold), reasons(*events)) == ((), [])
    fold = folded(DRIP, OTHER, end)
    assert runs(fold, "021300") is True  # the order of another group goes on


def test_a_group_is_released_and_a_request_for_it_is_taken_back() -> None:
    held = (DRIP, orm("HD", "021300", group="G1^ZZEHR"), orm("RL", "021400", group="G1^ZZEHR"))
    assert [runs(folded(*held), clock) for clock in ("021300", "021400")] == [False, True]
    asked = (DRIP, orm("CA", "021300", group="G1^ZZEHR"), orm("UC", "021400", group="G1^ZZEHR"))
    assert runs(folded(*asked), "021400") is True
    one = (DRIP, orm("CA", "021300", group="G1^ZZEHR"), orm("UC", "021400", number="P1^ZZEHR"))
    assert runs(folded(*one), "021400") is True  # of that one it was said by its own number


def test_an_order_of_the_group_that_was_placed_later_stands() -> None:
    later = orm("NW", "021400", code=FLUIDS, number="P9^ZZEHR", group="G1^ZZEHR")
    fold = folded(DRIP, orm("CA", "021300", group="G1^ZZEHR"), later)
    assert [runs(fold, clock) for clock in ("021259", "021300", "021400")] == [True, False, True]


def test_a_group_that_nobody_knows_is_for_a_person_and_one_of_ordinary_orders_is_not() -> None:
    lost = orm("CA", "021300", group="G9^ZZEHR")
    assert exceptions(folded(DRIP, lost)) == ("ORDER_NOT_FOUND",)
    assert reasons(DRIP, lost) == ["order_not_found"]
    namespaced = orm("CA", "021300", group="G1^ZZLAB")
    assert exceptions(folded(DRIP, namespaced)) == ("ORDER_NOT_FOUND",)
    assert runs(folded(DRIP, namespaced), "021300") is True
    known = orm("CA", "021300", group="G3^ZZEHR")
    for events in ((LAB, known), (known, LAB)):
        assert exceptions(folded(*events)) == ()
        assert "order_unmapped" in reasons(*events)
    number = orm("CA", "021300", number="P1^ZZEHR", group="G7^ZZEHR")
    assert runs(folded(DRIP, OTHER, number), "021300") is True  # OTHER: by the number one order is meant
    assert exceptions(folded(DRIP, number)) == ()


def test_any_order_of_arrival_and_any_repeats_of_what_is_said_of_a_group_give_the_same() -> None:
    events = [
        *(ARRIVAL, DRIP, PRESSOR, ADMIT, OTHER),
        *(orm("HD", "021230", group="G1^ZZEHR"), orm("DC", "021240", group="G1^ZZEHR")),
        *(
            orm("UD", "021250", group="G1"),
            orm("DC", "021300", number="P2^ZZEHR"),
            orm("CA", "021310", group="G8"),
        ),
    ]
    numbered = list(enumerate(events))
    found = set()
    for turn in range(12):
        mixed = random.Random(turn).sample(numbered, len(numbered)) + random.Random(turn).sample(numbered, 3)
        fold, written = StayFold(SITE), []
        for seq, event in mixed:
            increment = fold.apply(event, seq)
            written += [] if increment is None else [increment]
        for one in (fold, StayFold.restore(SITE, fold.head(), written)):
            turns = tuple(tuple(one.orders(fact) or ()) for fact in ("iv_fluids", "vasopressor"))
            stay = one.stay(at("022000"))
            found.add((turns, stay.spans, stay.exceptions, tuple(one.unused_orders())))
    assert len(found) == 1


# --- ORC-25 -----------------------------------------------------------------------------------------------

ENDS = [
    "CA^Canceled^HL70038",
    "CA",
    "DC^^HL70038",
    "HD",
    "X9^Cancelled by pharmacy^99ZZ",
    "discontinued",
    "CM",
]


@pytest.mark.parametrize("modifier", ENDS)
@pytest.mark.parametrize("said", ["SC", "SC IP", "XO", "OK", "RL"])
def test_a_modifier_that_says_that_an_order_has_ended_is_for_a_person(modifier: str, said: str) -> None:
    its = {"number": "P1^ZZEHR", "status": said[3:], "modifier": modifier}
    for begun, code in ((DRIP, FLUIDS), (orm("NW", "021200", code=INPATIENT, number="P1^ZZEHR"), INPATIENT)):
        for event in (orm(said[:2], "021300", **its), orm(said[:2], "021300", code=code, **its)):
            fold = folded(begun, event)
            assert exceptions(fold) == ("ORDER_UNREAD",)
            assert reasons(begun, event) == ["order_modifier_unread"]
            assert runs(fold, "021300") is (code == FLUIDS)  # nobody has ended it
    new = orm("NW", "021300", code=INPATIENT, number="P1^ZZEHR", status="IP", modifier=modifier)
    assert (status(folded(new), "021300"), exceptions(folded(new))) == ("ED", ("ORDER_UNREAD",))


@pytest.mark.parametrize("modifier", ENDS)
@pytest.mark.parametrize("said", ["CA", "DC", "SC CA", "XO DC", "HD"])
def test_a_modifier_that_says_what_orc_1_or_5_say_is_no_contradiction(modifier: str, said: str) -> None:
    event = orm(said[:2], "021300", number="P1^ZZEHR", status=said[3:], modifier=modifier)
    fold = folded(DRIP, event)
    assert (runs(fold, "021300"), exceptions(fold)) == (False, ())


def test_the_site_says_what_its_modifiers_mean_and_others_are_counted() -> None:
    ended = orm("SC", "021300", number="P1^ZZEHR", status="IP", modifier="stopped^Stopped by ward^99ZZ")
    for site, is_running in ((SITE, True), (MODIFIED, False)):
        fold = StayFold(site)
        for seq, event in enumerate((ARRIVAL, DRIP, ended)):
            fold.apply(event, seq)
        assert runs(fold, "021300") is is_running
        assert fold.stay(at("021300")).exceptions == ()
    listed = [(each.field, each.code, each.reason) for each in unused(ended, SITE)]
    assert listed == [("ORC-25", "stopped^99ZZ", "order_modifier_unmapped")]
    assert list(unused(ended, MODIFIED)) == []
    label = orm("SC", "021300", number="P1^ZZEHR", status="IP", modifier="LABEL")
    assert list(unused(label, MODIFIED)) == []
    over = orm("SC", "021300", code=FLUIDS, number="P1^ZZEHR", status="IP", modifier="CA^^HL70038")
    (only,) = unused(over, SITE)
    assert (only.field, only.code, only.reason) == ("ORC-25", "CA^HL70038", "order_modifier_unread")


# --- an ORC that stands alone -----------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["PA", "NA", "OK", "SC", "SC IP", "XO", "RE", "RL"])
def test_an_order_that_only_its_number_tells_of_has_not_been_cancelled(control: str) -> None:
    alone = orm(control[:2], "021200", number="P8^ZZEHR", filler="F8^ZZPHARM", status=control[3:])
    assert exceptions(folded(alone)) == ()
    assert reasons(alone) == ["order_unnamed"]
    gone = orm("CA", "021300", number="P8^ZZEHR", filler="F8^ZZPHARM")
    assert exceptions(folded(alone, gone)) == ("ORDER_NOT_FOUND",)  # and nobody knows what has ended


@pytest.mark.parametrize("control", ["CA", "DC", "OC", "CR", "HD", "UA", "SC CM", "SC DC", "RU"])
def test_an_end_that_only_its_number_tells_of_is_for_a_person(control: str) -> None:
    alone = orm(control[:2], "021200", number="P8^ZZEHR", filler="F8^ZZPHARM", status=control[3:])
    assert (exceptions(folded(alone)), reasons(alone)) == (("ORDER_NOT_FOUND",), ["order_not_found"])


def test_a_parent_without_details_and_its_child() -> None:
    both = message(
        "ORM^O01",
        "021200",
        "ORC|PA|P1^ZZEHR|F1^ZZPHARM",
        "ORC|CH|P1^ZZEHR|F1A^ZZPHARM|||||P1&ZZEHR^F1&ZZPHARM",
        f"OBR|1|P1^ZZEHR|F1A^ZZPHARM|{FLUIDS}^^99UMB",
    )
    assert (runs(folded(both), "021200"), exceptions(folded(both))) == (True, ())
    for gone in ({"number": "P1^ZZEHR", "filler": "F1A^ZZPHARM"}, {"filler": "F1A^ZZPHARM"}):
        fold = folded(both, orm("DC", "021300", **gone))
        assert (runs(fold, "021300"), exceptions(fold)) == (False, ())


# --- an end that takes effect later -----------------------------------------------------------------------


@pytest.mark.parametrize("control", ["CA", "OC", "DC", "OD", "HD"])
def test_an_end_that_is_to_come_leaves_the_order_in_force_until_then(control: str) -> None:
    """ORC-15 goes before ORC-9 and TQ1: "continue" until then, and cancel what remains (4.5.1.15)."""
    begun = orm("NW", "021200", code=INPATIENT, number="P1^ZZEHR")
    end = orm(control, "021300", number="P1^ZZEHR", effective="20260402230000")
    for events in ((begun, end), (end, begun)):
        fold = folded(*events)
        assert [status(fold, clock) for clock in ("021300", "022259")] == ["INPATIENT"] * 2
        assert fold.stay(at("022259")).next_turn == at("022300")
        after = fold.stay(at("022300"))
        assert (after.status, after.voided) == (fold.stay(at("021300")).status, ())
        assert "STATUS_ORDER_CANCELLED" in fold.stay(at("022300")).exceptions  # it takes a status change
        assert "STATUS_ORDER_CANCELLED" not in fold.stay(at("022259")).exceptions
    watched = orm("NW", "021200", code="ADTOBS", number="P1^ZZEHR")
    fold = folded(watched, end)
    assert [status(fold, clock) for clock in ("022259", "022300")] == ["OBSERVATION", "ED"]
    assert [span.status.value for span in fold.stay(at("022300")).spans] == ["ED", "OBSERVATION", "ED"]
    at_once = folded(begun, orm(control, "021300", number="P1^ZZEHR"))
    assert (status(at_once, "021300"), len(at_once.stay(at("021300")).voided)) == ("ED", 1)
    drip = orm("NW", "021200", code=FLUIDS, number="P1^ZZEHR")
    assert [runs(folded(drip, end), clock) for clock in ("022259", "022300")] == [True, False]


# --- faults -----------------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Any, str, Any, Any]] = {
    "a group ends nothing": (
        grouped,
        "_of_one",
        lambda said, placer, filler: said._replace(placer="P0", group=""),
        test_an_order_of_the_group_that_was_placed_later_stands,
    ),
    "a modifier is not looked at": (
        effect,
        "names_an_end",
        lambda modifier: False,
        test_the_site_says_what_its_modifiers_mean_and_others_are_counted,
    ),
    "nothing that is unknown goes on": (
        strange,
        "_GOES_ON",
        frozenset(),
        test_a_parent_without_details_and_its_child,
    ),
}


@pytest.mark.parametrize(("room", "name", "fault", "test"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_is_seen(
    monkeypatch: pytest.MonkeyPatch, room: Any, name: str, fault: Any, test: Any
) -> None:
    monkeypatch.setattr(room, name, fault)
    with pytest.raises((AssertionError, ValueError)):
        test()
