"""Which order a statement speaks of, what ends it, and why a statement is not used."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umbridge.model import Coded, Event, Observation, Order, Patient, Visit
from umbridge.review.plan import stay_json
from umbridge.settings.site import DEFAULT_SITE, default_site, parse_site
from umbridge.stay import fold as fold_room
from umbridge.stay.fold import StayFold
from umbridge.stay.orders import effect as effects
from umbridge.stay.orders import force, order_statement, ordinary, register, ties
from umbridge.stay.orders.effect import Effect
from umbridge.stay.orders.register import Orders
from umbridge.stay.orders.ties import Ties
from umbridge.stay.readings.window import readings
from umbridge.stay.reasons import OrderReason
from umbridge.stay.unused import orders_unused
from umbridge.values.kinds import ReviewType
from umbridge.values.timings import Timing

SITE = default_site()
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
MRN = (("7790001", "UMBH", "MR"),)
OTHER = (("7790002", "UMBH", "MR"),)
FLUIDS, PRESSOR = "RXNACLIV", "RXNOREPI"


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def part(control: str, placer: str, hours: float, code: str = "", **other: Any) -> Order:
    """One ORC said and taking effect at ``hours``; by number alone where it has no code.

    ``entered`` is ORC-9: it was said and takes effect then, where that is before the message.
    """
    entered = other.get("entered")
    effective = at(other.get("effective", hours if entered is None else entered))
    return Order(
        control,
        placer,
        other.get("filler", ""),
        other.get("status", ""),
        Coded(code),
        effective,
        "",
        f"ZZ-{control}-{other.get('status', '')}-{hours} ORC[1]",
        parent=other.get("parent", ""),
        parent_filler=other.get("parent_filler", ""),
        told_at=at(hours if entered is None else min(entered, hours)),
        changed_at=effective,
        entered_at=None if entered is None else at(entered),
        timing=other.get("timing"),
        is_detailed=bool(code),
        is_dated="effective" in other,
    )


def message(
    *parts: Order, identifiers: tuple[tuple[str, str, str], ...] = MRN, sent: float | None = None
) -> Event:
    told = (parts[0].told_at or START) if sent is None else at(sent)
    return Event(
        "ORM",
        "O01",
        f"ZZ-{told.isoformat()}",
        "P",
        told,
        told,
        Patient(identifiers, "AC1"),
        Visit("VN1", "UMBH"),
        orders=parts,
    )


def orm(control: str, placer: str, hours: float, code: str = "", **other: Any) -> Event:
    who = other.pop("identifiers", MRN)
    return message(part(control, placer, hours, code, **other), identifiers=who, sent=hours)


def result(placer: str, filler: str, hours: float, service: str = "LAB1") -> Event:
    """One value of a report: OBR-2, OBR-3 and OBR-4."""
    value = Observation("NM", Coded("ZZ"), Coded(""), "1", "", "", "F", at(hours), filler, "ZZ OBX[1]-5")
    value = value._replace(placer=placer, service=f"{service}^99ZZ")
    return replace(
        message(part("", "", hours)), message_type="ORU", trigger="R01", orders=(), observations=(value,)
    )


def arrival(trigger: str = "A04", hours: float = 0, **visit: Any) -> Event:
    where = {"patient_class": "E", "patient_type": "EDP", "unit": "ED", **visit}
    return Event(
        "ADT",
        trigger,
        f"ZZ-{trigger}",
        "P",
        at(hours),
        at(hours),
        Patient(MRN, "AC1"),
        Visit("VN1", "UMBH", admitted_at=at(hours), **where),
    )


ED = arrival()


def folded(*events: Event, site: Any = SITE) -> StayFold:
    fold = StayFold(site)
    for seq, event in enumerate(events):
        fold.apply(event, seq)
    return fold


def told(fold: StayFold, hours: float = 48) -> dict[str, Any]:
    return stay_json(fold.stay(at(hours)))


def runs(fold: StayFold, hours: float = 48, fact: str = "iv_fluids") -> object:
    """The fact as a review sees it: True or False (the site's feed carries every order)."""
    found = readings(fold, at(hours), review=ReviewType.ADMISSION, wanted={fact})
    return found[fact].latest.value


def odd(fold: StayFold) -> list[str]:
    return [reason for _, reason in fold.unused_orders()]


# --- by number alone --------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["CA", "DC", "HD", "OC", "CR", "OD", "DR", "OH", "HR", "RP", "RU"])
def test_a_number_finds_the_order_whichever_comes_first(control: str) -> None:
    begun, ended = orm("NW", "71^ZZEHR", 1, FLUIDS), orm(control, "71^ZZEHR", 2)
    for events in ((ED, begun, ended), (ended, ED, begun)):
        fold = folded(*events)
        assert (runs(fold, 1.5), runs(fold, 2), told(fold)["exceptions"]) == (True, False, [])
        assert odd(fold) == []
    asked, back = orm("NW", "72^ZZEHR", 1, "ADTINPT"), orm(control, "72^ZZEHR", 2)
    for events in ((ED, asked, back), (back, asked, ED)):
        found = told(folded(*events))
        assert (found["status"], found["void_reviews"]) == ("ED", ["ADMISSION"])
        assert found["exceptions"] == []


def test_after_registration_has_acted_a_cancel_by_number_is_for_a_person() -> None:
    ward = arrival("A01", 2, patient_class="I", patient_type="INP", unit="4W")
    found = told(folded(ED, orm("NW", "72^ZZEHR", 1, "ADTINPT"), ward, orm("CA", "72^ZZEHR", 3)))
    assert (found["status"], found["exceptions"]) == ("INPATIENT", ["STATUS_ORDER_CANCELLED"])
    gone = replace(arrival("A03", 5, patient_class="I", patient_type="INP", unit="4W"))
    left = told(folded(ED, orm("NW", "72^ZZEHR", 1, "ADTINPT"), ward, gone, orm("DC", "72^ZZEHR", 6)))
    assert (left["status"], left["exceptions"]) == ("INPATIENT", [])  # closing orders at discharge is usual


def test_a_discharge_order_is_taken_back_by_its_number() -> None:
    events = [ED, orm("NW", "72^ZZEHR", 1, "ADTOBS"), orm("NW", "73^ZZEHR", 2, "ADTDC")]
    assert told(folded(*events))["pending"] == ["discharge"]
    assert told(folded(*events, orm("CA", "73^ZZEHR", 3)))["pending"] == []


@pytest.mark.parametrize("control", ["UC", "UD", "UH", "UM"])
@pytest.mark.parametrize("request_", ["CA", "DC", "HD", "RP"])
def test_a_request_that_cannot_be_met_is_as_if_it_had_not_been_made(request_: str, control: str) -> None:
    for code, number in ((FLUIDS, "71^ZZEHR"), ("ADTINPT", "72^ZZEHR")):
        begun = [ED, orm("NW", number, 1, code)]
        before = folded(*begun)
        after = folded(*begun, orm(request_, number, 2), orm(control, number, 3))
        assert runs(after) is runs(before) is (code == FLUIDS)
        for key in ("status", "inpatient_start", "open_reviews", "void_reviews", "exceptions"):
            assert told(after)[key] == told(before)[key]
        confirmed = folded(*begun, orm(request_, number, 2), orm("CR", number, 2.5), orm(control, number, 3))
        assert runs(confirmed) is False
        assert told(confirmed)["status"] == "ED"


def test_a_hold_ends_with_its_release_and_a_discontinued_order_knows_none() -> None:
    begun = [ED, orm("NW", "71^ZZEHR", 1, FLUIDS)]
    held = folded(*begun, orm("HD", "71^ZZEHR", 2), orm("RL", "71^ZZEHR", 3))
    assert [runs(held, hours) for hours in (1, 2, 2.5, 3)] == [True, False, False, True]
    gone = folded(*begun, orm("DC", "71^ZZEHR", 2), orm("RL", "71^ZZEHR", 3))
    assert runs(gone) is False
    again = folded(*begun, orm("DC", "71^ZZEHR", 2), orm("SC", "71^ZZEHR", 3, status="IP"))
    assert runs(again) is True  # the filler says that it goes on


def test_a_completed_treatment_is_over_and_a_completed_status_order_stands() -> None:
    done = {"status": "CM"}
    assert runs(folded(ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("XO", "71^ZZEHR", 2, **done))) is False
    stands = told(folded(ED, orm("NW", "72^ZZEHR", 1, "ADTINPT"), orm("SC", "72^ZZEHR", 2, **done)))
    assert (stands["status"], stands["void_reviews"]) == ("INPATIENT", [])
    alone = told(folded(ED, orm("SC", "72^ZZEHR", 2, "ADTINPT", **done)))
    assert (alone["status"], alone["status_evidence"]) == ("INPATIENT", "ORDER")
    refused = folded(ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("UA", "71^ZZEHR", 2))
    assert runs(refused) is False
    kept = told(folded(ED, orm("NW", "72^ZZEHR", 1, "ADTINPT"), orm("UA", "72^ZZEHR", 2)))
    assert kept["status"] == "INPATIENT"


def test_an_order_for_the_evening_that_is_cancelled_at_noon_never_begins() -> None:
    fold = folded(ED, orm("NW", "71^ZZEHR", 1, FLUIDS, effective=9), orm("CA", "71^ZZEHR", 2), ED)
    assert runs(fold) is False
    status = folded(ED, orm("NW", "72^ZZEHR", 1, "ADTINPT", effective=9), orm("CA", "72^ZZEHR", 2))
    assert told(status)["status"] == "ED"
    late = folded(ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("DC", "71^ZZEHR", 2, effective=9))
    assert (runs(late, 8), runs(late, 9)) == (True, False)


def test_what_was_told_last_counts_whenever_it_took_effect() -> None:
    """An order entered late, after its end had been told of, is in force; one told of earlier is not."""
    entered_late = folded(ED, orm("DC", "71^ZZEHR", 2, FLUIDS), orm("NW", "71^ZZEHR", 3, FLUIDS, effective=1))
    assert runs(entered_late) is True
    arrived_late = folded(ED, orm("DC", "71^ZZEHR", 2, FLUIDS), orm("NW", "71^ZZEHR", 1, FLUIDS))
    assert runs(arrived_late) is False


@pytest.mark.parametrize("control", ["CA", "OC", "CR", "DC", "OD", "DR"])
def test_a_cancel_of_what_has_begun_ends_it_from_then_on(control: str) -> None:
    """Table 0119 has CA and OC for what has not begun. What was given until then was given."""
    begun = [ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("SC", "71^ZZEHR", 2, status="IP")]
    for fold in in_any_order(*begun, orm(control, "71^ZZEHR", 5)):
        assert [runs(fold, hours) for hours in (1, 4.9, 5)] == [True, True, False]
    for fold in in_any_order(*begun[:2], orm(control, "71^ZZEHR", 5, effective=0.5)):
        assert [runs(fold, hours) for hours in (1, 4.9, 5)] == [
            False
        ] * 3  # ORC-15 says: from before it began
    done = orm("SC", "71^ZZEHR", 3, status="CM")
    for fold in in_any_order(*begun[:2], done, orm(control, "71^ZZEHR", 5)):
        assert [runs(fold, hours) for hours in (2.9, 3, 5)] == [True, False, False]
    for fold in in_any_order(*begun[:2], orm(control, "71^ZZEHR", 5), orm("UC", "71^ZZEHR", 6)):
        assert runs(fold, 6) is (control in ("CA", "DC"))  # a request can be refused, what was done cannot


# --- ORC-9 of the order in what is said of it later -------------------------------------------------------


def in_any_order(*events: Event) -> Iterator[StayFold]:
    """The numbers of receipt stay: what differs is which comes first. Of many, some orders."""
    numbered = list(enumerate(events))
    orders_of = list(permutations(numbered)) if len(numbered) < 5 else []
    for n in range(len(numbered)):
        turned = [*numbered[n:], *numbered[:n]]
        orders_of += [tuple(turned), tuple(turned[::-1])]
    for each in dict.fromkeys(tuple(seq for seq, _ in its) for its in orders_of):
        yield arrived([numbered[seq] for seq in each])[0]


@pytest.mark.parametrize("control", ["CA", "DC", "OC", "CR", "OD", "DR", "HD", "RP"])
def test_an_end_that_repeats_the_orders_own_time_is_told_and_takes_effect_when_it_was_sent(
    control: str,
) -> None:
    its = {"entered": 1}
    events = (
        ED,
        orm("NW", "71^ZZEHR", 1.1, FLUIDS, **its),
        orm("SC", "71^ZZEHR", 3, status="IP", entered=2),
        orm(control, "71^ZZEHR", 5, **its),
    )
    for fold in in_any_order(*events):
        assert [runs(fold, hours) for hours in (1, 4.9, 5)] == [True, True, False]
        assert (odd(fold), told(fold)["exceptions"]) == ([], [])
    asked = (
        ED,
        orm("NW", "72^ZZEHR", 1.1, "ADTINPT", **its),
        orm("SC", "72^ZZEHR", 3, status="IP", entered=2),
        arrival("A06", 4, patient_class="I", patient_type="INP", unit="4W"),
        orm(control, "72^ZZEHR", 5, **its),
    )
    for fold in in_any_order(*asked):  # it came after registration had acted: a person has to look
        assert told(fold)["status"] == "INPATIENT"
        assert told(fold)["exceptions"] == ["STATUS_ORDER_CANCELLED"]


def test_a_copy_of_orc_9_and_orc_15_takes_effect_when_it_was_sent_or_later() -> None:
    its = {"entered": 1, "effective": 0.5}
    ended = (ED, orm("NW", "71^ZZEHR", 1.1, FLUIDS, **its), orm("DC", "71^ZZEHR", 5, **its))
    for fold in in_any_order(*ended):
        assert [runs(fold, hours) for hours in (0.5, 4.9, 5)] == [True, True, False]
    own = (ED, orm("NW", "71^ZZEHR", 1.1, FLUIDS, **its), orm("DC", "71^ZZEHR", 5, entered=1, effective=3))
    for fold in in_any_order(*own):  # an ORC-15 of its own says from when
        assert [runs(fold, hours) for hours in (0.5, 2.9, 3)] == [True, True, False]
    its = {"entered": 1, "effective": 9}  # for the evening
    held = (
        *(ED, orm("NW", "71^ZZEHR", 1.1, FLUIDS, **its)),
        *(orm("HD", "71^ZZEHR", 3, **its), orm("RL", "71^ZZEHR", 4, **its)),
    )
    for fold in in_any_order(*held):
        assert [runs(fold, hours) for hours in (3.5, 4, 8.9, 9)] == [False, False, False, True]
    for fold in in_any_order(*held[:3]):
        assert runs(fold, 9) is False


def test_an_order_told_again_with_its_own_time_does_not_begin_again() -> None:
    """ORC-9 is of the transaction: the same words of the same moment are the same transaction."""
    begun = orm("NW", "71^ZZEHR", 1.1, FLUIDS, entered=1)
    again = orm("NW", "71^ZZEHR", 8, FLUIDS, entered=1)
    for fold in in_any_order(ED, begun, orm("DC", "71^ZZEHR", 5, entered=4.9), again):
        assert [runs(fold, hours) for hours in (1, 4.8, 4.9, 8)] == [True, True, False, False]
    both = (message(part("NW", "71", 1, FLUIDS, entered=1), part("NW", "71", 1, PRESSOR, entered=1)),)
    once_more = orm("NW", "71", 8, FLUIDS, entered=1)
    for fold in in_any_order(ED, *both, orm("DC", "71", 5, entered=4.9), once_more):
        assert runs(fold, 8) is False
    ring = [ED, begun] + [
        orm(control, "71^ZZEHR", hours, entered=1)
        for hours, control in ((2, "HD"), (3, "RL"), (4, "HD"), (5, "HD"), (6, "RL"))
    ]
    fold = folded(*ring)
    assert [runs(fold, hours) for hours in (1, 2, 3, 4, 5, 6)] == [True, False, True, False, False, True]


STEPS = ["CA", "DC", "HD", "RL", "UC", "CR", "SC IP", "SC CM", "XO", "OK"]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([FLUIDS, "ADTINPT"]), st.lists(st.sampled_from(STEPS), max_size=7), st.randoms())
def test_a_sender_that_repeats_orc_9_is_read_as_one_that_leaves_it_out(
    code: str, steps: list[str], random: Any
) -> None:
    """Whichever of the messages comes first."""
    words = ["NW", *(each for n, each in enumerate(steps) if each not in steps[n - 1 : n])]

    def read(entered: float | None) -> tuple[object, ...]:
        parts = [
            orm(word[:2], "71^ZZEHR", n, code if n == 1 else "", status=word[3:], entered=entered)
            for n, word in enumerate(words, 1)
        ]
        numbered = list(enumerate([ED, *parts]))
        random.shuffle(numbered)
        return whole(arrived(numbered)[0])

    assert read(1) == read(None)


# --- whose number -----------------------------------------------------------------------------------------


def test_a_number_of_another_application_is_another_number() -> None:
    both = [ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("NW", "71^ZZPHARM", 1.5, PRESSOR)]
    fold = folded(*both, orm("DC", "71^ZZPHARM", 2))
    assert (runs(fold), runs(fold, fact="vasopressor")) == (True, False)
    bare = folded(*both, orm("DC", "71", 2))
    assert (runs(bare), runs(bare, fact="vasopressor")) == (True, True)
    assert (odd(bare), told(bare)["exceptions"]) == ([OrderReason.AMBIGUOUS], ["ORDER_AMBIGUOUS"])
    named = folded(*both, orm("DC", "71", 2, PRESSOR))  # the code says which
    assert (runs(named), runs(named, fact="vasopressor"), odd(named)) == (True, False, [])


@pytest.mark.parametrize(("first", "then"), [("71^ZZEHR", "71"), ("71", "71^ZZEHR"), ("71", "71")])
def test_a_number_without_a_namespace_means_the_one_order_that_has_it(first: str, then: str) -> None:
    for events in (
        (ED, orm("NW", first, 1, FLUIDS), orm("DC", then, 2)),
        (orm("DC", then, 2), orm("NW", first, 1, FLUIDS), ED),
    ):
        fold = folded(*events)
        assert (runs(fold), odd(fold), told(fold)["exceptions"]) == (False, [], [])


def test_two_orders_of_one_number_without_a_namespace() -> None:
    both = [ED, orm("NW", "71", 1, FLUIDS), orm("NW", "71", 1.5, PRESSOR)]
    fold = folded(*both, orm("DC", "71", 2))
    assert (runs(fold), runs(fold, fact="vasopressor")) == (True, True)
    assert told(fold)["exceptions"] == ["ORDER_AMBIGUOUS"]
    laboratory = folded(ED, orm("NW", "71", 1, FLUIDS), orm("NW", "71", 1.5, "LAB1"), orm("DC", "71", 2))
    assert (runs(laboratory), told(laboratory)["exceptions"]) == (True, ["ORDER_AMBIGUOUS"])
    filler = folded(
        *(ED, orm("NW", "71", 1, FLUIDS), orm("NW", "71", 1.2, PRESSOR, filler="8^ZZL")),
        orm("OC", "", 2, filler="8^ZZL"),
    )
    assert (runs(filler), told(filler)["exceptions"]) == (True, ["ORDER_AMBIGUOUS"])
    named = folded(ED, orm("NW", "71", 1, FLUIDS), orm("NW", "71", 1.5, "LAB1"), orm("DC", "71", 2, "LAB1"))
    assert (runs(named), odd(named), told(named)["exceptions"]) == (True, [OrderReason.UNMAPPED], [])
    other = [ED, orm("NW", "71", 1, FLUIDS), orm("NW", "71^ZZLAB", 1.5, "LAB1")]
    assert runs(folded(*other, orm("DC", "71^ZZLAB", 2))) is True
    assert told(folded(*other, orm("DC", "71", 2)))["exceptions"] == ["ORDER_AMBIGUOUS"]


@pytest.mark.parametrize("control", ["DC", "CA", "OC", "HD", "XO CM", "SC DC"])
@pytest.mark.parametrize("number", ["72^ZZEHR", "72"])
def test_a_bare_number_with_a_code_that_nobody_knows_is_not_taken_for_a_status_order(
    number: str, control: str
) -> None:
    """Nobody gives a status order another code: the number may be another application's."""
    for code, key in (("ADTINPT", "status"), ("ADTDC", "pending")):
        before = [ED, orm("NW", number, 1, code)]
        after = [*before, orm(control[:2], "72", 2, "LAB9", status=control[3:])]
        for fold in in_any_order(*after):
            assert told(fold, 1.5)[key] == told(fold)[key] == told(folded(*before))[key]
            assert (odd(fold), told(fold, 3)["exceptions"]) == ([OrderReason.AMBIGUOUS], ["ORDER_AMBIGUOUS"])
    both = [ED, orm("NW", number, 1, "ADTINPT", filler="F1^ZZL")]
    for its in ("72", ""):  # the filler number says that it is this one
        for fold in in_any_order(*both, orm("CA", its, 2, "BEDREQ", filler="F1^ZZL")):
            assert (told(fold)["status"], odd(fold)) == ("ED", [])


@pytest.mark.parametrize(("code", "is_running"), [(FLUIDS, True), ("ADTINPT", None)])
@pytest.mark.parametrize(
    ("number", "its"), [("72^ZZEHR", "72"), ("72", "72"), ("72", "72^ZZLAB"), ("72^ZZEHR", "72^ZZLAB")]
)
def test_an_ordinary_order_of_a_bare_number_is_another_one(
    code: str, is_running: bool | None, number: str, its: str
) -> None:
    before = [ED, orm("NW", number, 1, code)]
    both = [*before, orm("NW", its, 1.2, "LAB1")]
    for fold in in_any_order(*both, orm("DC", "72", 2, "LAB1")):  # the code says which
        assert (runs(fold), told(fold)["status"]) == (runs(folded(*before)), told(folded(*before))["status"])
        assert (odd(fold), told(fold, 3)["exceptions"]) == ([OrderReason.UNMAPPED], [])
    for fold in in_any_order(*both, orm("DC", "72", 2)):
        assert (runs(fold), told(fold)["status"]) == (runs(folded(*before)), told(folded(*before))["status"])
        assert (odd(fold), told(fold, 3)["exceptions"]) == ([OrderReason.AMBIGUOUS], ["ORDER_AMBIGUOUS"])


DRUG = {"is_drug": True, "routes": ("IV",)}


def drug(control: str, placer: str, hours: float, code: str) -> Event:
    """An order for a drug that goes into a vein, and that the profile does not know."""
    return message(replace(part(control, placer, hours, code), **DRUG))


@pytest.mark.parametrize("number", ["71^ZZEHR", "71"])
def test_a_drug_coded_anew_ends_with_its_order_and_is_no_other_order(number: str) -> None:
    begun = [ED, orm("NW", "71^ZZEHR", 1, FLUIDS), drug("XR", number, 1.5, "NDC-1")]
    unread = "unmapped_parenteral_order"
    for fold in in_any_order(*begun):
        assert (runs(fold), runs(fold, fact=unread), odd(fold)) == (True, False, [])
    for ended in (drug("DC", number, 2, "NDC-1"), orm("DC", number, 2)):
        for fold in in_any_order(*begun, ended):
            assert (runs(fold), runs(fold, fact=unread), odd(fold)) == (False, False, [])
    for fold in in_any_order(ED, orm("NW", "71^ZZEHR", 1, "ADTINPT"), drug("NW", "71", 1.5, "NDC-1")):
        assert (told(fold)["status"], runs(fold, fact=unread)) == ("INPATIENT", True)  # a status is no drug
    for fold in in_any_order(ED, orm("NW", number, 1, "ADTINPT"), drug("DC", "71", 1.5, "NDC-1")):
        assert told(fold)["status"] == "INPATIENT"


BARE_STEPS = st.tuples(
    st.sampled_from(["NW", "CA", "DC", "HD", "RL", "CR", "OC", "SC IP", "SC CM", "XO", "UC"]),
    st.sampled_from(["LAB1", "LAB2", "LAB9"]),
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["72^ZZEHR", "72"]),
    st.lists(st.sampled_from(STEPS), max_size=4),
    st.lists(BARE_STEPS, min_size=1, max_size=5),
    st.randoms(),
)
def test_a_code_that_nobody_knows_under_a_bare_number_moves_no_status(
    number: str, steps: list[str], bare: list[tuple[str, str]], random: Any
) -> None:
    """It is another order's, and if that was not told of, the stay says so."""
    mine = [ED, orm("NW", number, 1, "ADTINPT")]
    mine += [
        orm(word[:2], number, n, "ADTINPT", status=word[3:], effective=n) for n, word in enumerate(steps, 2)
    ]
    others = [orm(word[:2], "72", n + 0.5, code, status=word[3:]) for n, (word, code) in enumerate(bare, 1)]
    numbered = list(enumerate([*mine, *others]))
    random.shuffle(numbered)
    fold, alone = arrived(numbered)[0], folded(*mine)
    for key in ("status", "inpatient_start", "open_reviews", "void_reviews", "pending"):
        assert told(fold)[key] == told(alone)[key]
    raised = {"ORDER_AMBIGUOUS"} if OrderReason.AMBIGUOUS in odd(fold) else set()
    assert set(told(fold)["exceptions"]) - set(told(alone)["exceptions"]) == raised
    known = {code for word, code in bare if word == "NW"}
    says = {"XO", "NW"}  # that there is such an order, and no more
    doubtful = [code for word, code in bare if word not in says and code not in known]
    assert odd(fold).count(OrderReason.AMBIGUOUS) == len(doubtful)


def test_two_parts_of_one_order_end_together() -> None:
    both = message(part("NW", "71", 1, FLUIDS), part("NW", "71", 1, PRESSOR))
    fold = folded(ED, both, orm("DC", "71", 2))
    assert (runs(fold), runs(fold, fact="vasopressor"), told(fold)["exceptions"]) == (False, False, [])


def test_a_change_of_what_is_given_ends_what_was() -> None:
    fold = folded(ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("XO", "71^ZZEHR", 2, PRESSOR))
    assert [(runs(fold, hours), runs(fold, hours, "vasopressor")) for hours in (1, 2)] == [
        (True, False),
        (False, True),
    ]
    coded = folded(ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("XO", "71^ZZEHR", 2, "LOCAL"))
    assert runs(coded) is True  # another code for it that is not mapped


def test_a_code_that_is_not_mapped_does_not_hide_the_number() -> None:
    fold = folded(ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("DC", "71^ZZEHR", 2, "NDC-1"))
    assert (runs(fold), odd(fold)) == (False, [])


def test_a_pharmacys_own_code_under_a_bare_number_is_no_other_order() -> None:
    begun = [ED, orm("NW", "71", 1, FLUIDS), orm("XR", "71", 1.5, "NDC-1", filler="F1")]
    for ended in (orm("DC", "71", 2), orm("OD", "", 2, filler="F1"), orm("OD", "71", 2, "NDC-1")):
        fold = folded(*begun, ended)
        assert (runs(fold), told(fold)["exceptions"]) == (False, [])


def test_the_filler_number_finds_what_is_tied_to_it() -> None:
    tied = orm("OK", "71^ZZEHR", 1.5, filler="F1^ZZPHARM")
    ended = orm("OC", "", 2, filler="F1^ZZPHARM")
    begun = orm("NW", "71^ZZEHR", 1, FLUIDS)
    for events in ((ED, begun, tied, ended), (ended, ED, tied, begun), (ED, tied, ended, begun)):
        fold = folded(*events)
        assert (runs(fold), odd(fold), told(fold)["exceptions"]) == (False, [], [])
    assert told(folded(ED, begun, ended))["exceptions"] == ["ORDER_NOT_FOUND"]
    filled = folded(ED, orm("NW", "", 1, FLUIDS, filler="F1"), orm("OC", "", 2, filler="F1^ZZPHARM"))
    assert runs(filled) is False
    several = folded(
        ED,
        begun,
        tied,
        orm("OK", "72^ZZEHR", 1.6, "ADTINPT", filler="F1^ZZPHARM"),
        ended,
    )
    assert (runs(several), told(several, 3)["exceptions"]) == (True, ["ORDER_AMBIGUOUS"])


OTHERS = {"filler": "F1^ZZPHARM"}  # the filler's number


@pytest.mark.parametrize(
    "tie",
    [
        orm("OK", "71^ZZEHR", 1.5, **OTHERS),
        orm("SC", "71^ZZEHR", 1.5, "NDC-1", **OTHERS),
        orm("OK", "71", 1.5, **OTHERS),
        result("71^ZZEHR", "F1^ZZPHARM", 1.5),
        result("71^ZZEHR", "F1^ZZPHARM", 3),
        orm("NW", "71^ZZEHR", 1, FLUIDS, **OTHERS),
    ],
    ids=["OK", "SC", "bare", "result", "a result later", "the order"],
)
@pytest.mark.parametrize("code", ["", "NDC-1", FLUIDS])
def test_the_filler_number_is_tried_where_nobody_knows_the_placer_number(tie: Event, code: str) -> None:
    begun = orm("NW", "71^ZZEHR", 1, FLUIDS)
    for ended in (
        orm("DC", "9001^ZZCPOE", 2, code, **OTHERS),
        orm("DC", "9001", 2, code, **OTHERS),
        orm("DC", "", 2, code, **OTHERS),
    ):
        for fold in in_any_order(ED, begun, tie, ended):
            assert (runs(fold, 1.9), runs(fold), odd(fold)) == (True, False, [])
            assert told(fold)["exceptions"] == []
    learnt = orm("SC", "9001^ZZCPOE", 1.6, **OTHERS)  # then the other placer number is enough
    for fold in in_any_order(ED, begun, tie, learnt, orm("DC", "9001^ZZCPOE", 2, code)):
        assert (runs(fold, 1.9), runs(fold), odd(fold)) == (True, False, [])
    child = orm("CH", "72^ZZEHR", 1.1, PRESSOR, parent="9001^ZZCPOE")
    for fold in in_any_order(ED, begun, learnt, tie, child, orm("DC", "71^ZZEHR", 2)):
        assert (runs(fold), runs(fold, fact="vasopressor")) == (False, False)


def test_a_status_order_is_found_by_the_filler_number_too() -> None:
    begun = orm("NW", "72^ZZEHR", 1, "ADTINPT", filler="F2^ZZADT")
    for code in ("", "BEDREQ"):
        for fold in in_any_order(ED, begun, orm("CA", "9001^ZZCPOE", 2, code, filler="F2^ZZADT")):
            assert (told(fold)["status"], odd(fold)) == ("ED", [])


@pytest.mark.parametrize(
    ("filler", "number"),
    [("F1", "9001^ZZCPOE"), ("F1", "9001"), ("F1^ZZPHARM", "99^ZZEHR")],
    ids=["a bare filler number", "bare numbers", "one application, two numbers"],
)
def test_two_numbers_that_may_be_two_orders_are_for_a_person(filler: str, number: str) -> None:
    for code, is_running, status in ((FLUIDS, True, "ED"), ("ADTINPT", False, "INPATIENT")):
        begun = orm("NW", "71^ZZEHR", 1, code, filler=filler)
        ended = orm("DC", number, 2, filler=filler)
        for fold in in_any_order(ED, begun, ended):
            assert (runs(fold), told(fold)["status"]) == (is_running, status)
            assert (odd(fold), told(fold, 3)["exceptions"]) == ([OrderReason.AMBIGUOUS], ["ORDER_AMBIGUOUS"])
        ordered = orm("NW", number, 1.2, "LAB1")  # it is known after all, and is another order
        for fold in in_any_order(ED, begun, ended, ordered):
            assert (runs(fold), told(fold)["status"], odd(fold)) == (
                is_running,
                status,
                [OrderReason.UNMAPPED],
            )
            assert told(fold, 3)["exceptions"] == []


@pytest.mark.parametrize(
    "named",
    [
        {"placer": "5^ZZEHR", "filler": "F5^ZZLAB"},
        {"placer": "5^ZZEHR"},
        {"placer": "", "filler": "F5^ZZLAB"},
    ],
)
@pytest.mark.parametrize("control", ["OC", "UC", "CR", "CA", "DC", "OD"])
def test_an_order_whose_result_was_sent_is_known(control: str, named: dict[str, str]) -> None:
    answered = result("5^ZZEHR", "F5^ZZLAB", 1)
    for fold in in_any_order(ED, answered, orm(control, hours=2, **named)):
        assert (odd(fold), told(fold)["exceptions"]) == ([OrderReason.UNMAPPED], [])
    for number in ("5^ZZOTHER", "6^ZZEHR"):
        for fold in in_any_order(ED, answered, orm(control, number, 2)):
            assert told(fold)["exceptions"] == ["ORDER_NOT_FOUND"]


def test_a_result_under_a_bare_number_makes_it_another_orders_too() -> None:
    for begun in (orm("NW", "72^ZZEHR", 1, "ADTINPT"), orm("NW", "72", 1, "ADTINPT")):
        for fold in in_any_order(ED, begun, result("72", "F5", 1.5), orm("CA", "72", 2)):
            assert (told(fold)["status"], told(fold, 3)["exceptions"]) == ("INPATIENT", ["ORDER_AMBIGUOUS"])
        for fold in in_any_order(ED, begun, result("72", "F5", 1.5), orm("CA", "72", 2, "LAB1")):
            assert (told(fold)["status"], odd(fold)) == ("INPATIENT", [OrderReason.UNMAPPED])


NAMES = [("71^ZZEHR", ""), ("71", ""), ("71^ZZEHR", "F1^ZZPHARM"), ("", "F1^ZZPHARM"), ("", "F1")]
OWN = "71^ZZEHR^1.2.9"  # as the order was begun, with its universal id
NAMES += [(OWN, ""), ("71^^1.2.9", ""), ("71^OTHER^1.2.9", ""), ("71^^1.2.9", "F1^ZZPHARM^1.2.8")]
NAMES += [("9001^ZZCPOE", "F1^ZZPHARM"), ("9001^ZZCPOE", ""), ("9001", "F1^ZZPHARM")]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([FLUIDS, "ADTINPT"]),
    st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(NAMES)), max_size=6),
    st.integers(0, 8),
    st.randoms(),
)
def test_an_order_is_one_under_each_of_its_numbers(
    code: str, steps: list[tuple[str, tuple[str, str]]], late: int, random: Any
) -> None:
    """Whichever number each statement has, and whenever the numbers were tied to one another."""
    begun = [ED, orm("NW", OWN, 1, code)]
    ties = [result("71^ZZEHR", "F1^ZZPHARM", 1 + late), result("9001^ZZCPOE", "F1^ZZPHARM", 2 + late, code)]

    def read(named: bool) -> tuple[object, ...]:
        parts = []
        for n, (word, (placer, filler)) in enumerate(steps, 2):
            numbers = (placer, filler) if named else (OWN, "")
            parts.append(orm(word[:2], numbers[0], n, status=word[3:], filler=numbers[1]))
        numbered = list(enumerate([*begun, *ties, *parts]))
        random.shuffle(numbered)
        return whole(arrived(numbered)[0])

    assert read(True) == read(False)


@pytest.mark.parametrize(
    ("begun", "ended"),
    [
        ("71^ZZEHR^1.2.9", "71^^1.2.9"),
        ("71^^1.2.9", "71^ZZEHR^1.2.9"),
        ("71^ZZEHR^1.2.9", "71^ZZEHR"),
        ("71^ZZEHR", "71^ZZEHR^1.2.9"),
        ("71^ZZONE^1.2.9", "71^ZZTWO^1.2.9"),
        ("71^1.2.9", "71^^1.2.9"),
        ("71^ZZEHR", "71^^1.2.9"),  # nobody can tell, and there is one order only
        ("71^^1.2.9", "71^ZZEHR"),
        ("71", "71^^1.2.9"),
        ("71^^1.2.9", "71"),
    ],
)
@pytest.mark.parametrize("code", [FLUIDS, "ADTINPT"])
def test_an_order_is_ended_by_its_number_as_others_spell_it(begun: str, ended: str, code: str) -> None:
    for named in ("", code):
        for fold in in_any_order(ED, orm("NW", begun, 1, code), orm("CA", ended, 2, named)):
            assert (odd(fold), told(fold)["exceptions"]) == ([], [])
            assert (runs(fold) is False) if code == FLUIDS else (told(fold)["status"] == "ED")


@pytest.mark.parametrize(
    ("one", "other", "ended", "exceptions"),
    [
        ("71^ZZEHR^1.2.9", "71^ZZPHARM^1.2.8", "71^^1.2.8", []),
        ("71^ZZEHR^1.2.9", "71^ZZEHR^1.2.8", "71^^1.2.8", []),
        ("71^ZZEHR^1.2.9", "71^ZZEHR^1.2.8", "71^ZZEHR", ["ORDER_AMBIGUOUS"]),
        ("71^ZZEHR", "71^ZZPHARM", "71^^1.2.8", ["ORDER_AMBIGUOUS"]),
        ("71^ZZEHR^1.2.9", "71^ZZPHARM", "71^^1.2.8", []),
        ("71^^1.2.9", "71^^1.2.8", "71^ZZPHARM", ["ORDER_AMBIGUOUS"]),
    ],
)
def test_of_two_orders_of_one_number_the_universal_id_tells(
    one: str, other: str, ended: str, exceptions: list[str]
) -> None:
    events = (ED, orm("NW", one, 1, FLUIDS), orm("NW", other, 1.5, PRESSOR), orm("DC", ended, 2))
    for fold in in_any_order(*events):
        assert told(fold)["exceptions"] == exceptions
        assert (runs(fold), runs(fold, fact="vasopressor")) == (True, bool(exceptions))


def test_another_patients_number_is_another_order() -> None:
    fold = folded(ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("DC", "71^ZZEHR", 2, identifiers=OTHER))
    assert runs(fold) is True
    unnamed = folded(ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("DC", "71^ZZEHR", 2, identifiers=()))
    assert runs(unnamed) is False


def test_orders_without_any_number_are_told_apart_by_their_code() -> None:
    fold = folded(ED, orm("NW", "", 1, FLUIDS), orm("NW", "", 1.2, PRESSOR), orm("DC", "", 2, FLUIDS))
    assert (runs(fold), runs(fold, fact="vasopressor")) == (False, True)


# --- parents, replacements, stop times --------------------------------------------------------------------

PARENT = orm("PA", "71^ZZEHR", 1, PRESSOR)


@pytest.mark.parametrize(
    "child",
    [
        orm("CH", "72^ZZEHR", 1.1, FLUIDS, parent="71^ZZEHR"),
        orm("CH", "72^ZZEHR", 1.1, FLUIDS, parent="71"),
        orm("CH", "", 1.1, FLUIDS, filler="F2^ZZPHARM", parent="71^ZZEHR"),
        orm("CH", "71^ZZEHR", 1.1, FLUIDS, filler="F2^ZZPHARM", parent="71^ZZEHR"),  # inherits its number
        orm("CH", "72^ZZEHR", 1.1, FLUIDS, parent_filler="F1^ZZPHARM"),
    ],
    ids=["placer", "bare", "by its filler number", "inherited", "parent's filler"],
)
@pytest.mark.parametrize("before", [False, True])
def test_what_ends_a_parent_ends_its_children(child: Event, before: bool) -> None:
    tied = orm("OK", "71^ZZEHR", 1.05, filler="F1^ZZPHARM")
    ended = orm("DC", "71^ZZEHR", 2)
    started = [PARENT, tied, child]
    events = [ended, *started, ED] if before else [ED, *started, ended]
    fold = folded(*events)
    assert [(runs(fold, hours), runs(fold, hours, "vasopressor")) for hours in (1.5, 2)] == [
        (True, True),
        (False, False),
    ]
    held = folded(ED, *started, orm("HD", "71^ZZEHR", 2), orm("RL", "71^ZZEHR", 3))
    assert [runs(held, hours) for hours in (1.5, 2.5, 3)] == [True, False, True]
    refused = folded(ED, *started, ended, orm("UD", "71^ZZEHR", 3))
    assert runs(refused) is True


def test_what_ends_a_child_leaves_its_parent() -> None:
    inherited = orm("CH", "71^ZZEHR", 1.1, FLUIDS, filler="F2^ZZPHARM", parent="71^ZZEHR")
    fold = folded(ED, PARENT, inherited, orm("DC", "71^ZZEHR", 2, filler="F2^ZZPHARM"))
    assert (runs(fold), runs(fold, fact="vasopressor")) == (False, True)


def test_a_grandchild_ends_and_a_ring_of_parents_is_no_trap() -> None:
    child = orm("CH", "72^ZZEHR", 1.1, "ORDERSET", parent="71^ZZEHR")
    grandchild = orm("CH", "73^ZZEHR", 1.2, FLUIDS, parent="72^ZZEHR")
    assert runs(folded(ED, PARENT, child, grandchild, orm("DC", "71^ZZEHR", 2))) is False
    ring = orm("CH", "71^ZZEHR", 1.1, PRESSOR, parent="72^ZZEHR")
    other = orm("CH", "72^ZZEHR", 1.2, FLUIDS, parent="71^ZZEHR")
    assert runs(folded(ED, ring, other, orm("DC", "72^ZZEHR", 2)), fact="vasopressor") is False


def test_a_replacement_is_an_order_of_its_own() -> None:
    old = orm("NW", "71^ZZEHR", 1, FLUIDS, filler="F1^ZZPHARM")
    requested = message(part("RP", "71^ZZEHR", 2), part("RO", "72^ZZEHR", 2, PRESSOR))
    fold = folded(ED, old, requested)
    assert (runs(fold), runs(fold, fact="vasopressor")) == (False, True)
    unsolicited = message(  # the placer number stays, the filler number is new
        part("RU", "71^ZZEHR", 2, filler="F1^ZZPHARM"),
        part("RO", "71^ZZEHR", 2, PRESSOR, filler="F2^ZZPHARM"),
    )
    replaced = [ED, old, unsolicited]
    assert [runs(folded(*replaced), 2, fact) for fact in ("iv_fluids", "vasopressor")] == [False, True]
    late = folded(*replaced, orm("OC", "71^ZZEHR", 3, filler="F1^ZZPHARM"))
    assert runs(late, fact="vasopressor") is True
    for gone in (orm("DC", "71^ZZEHR", 3, filler="F2^ZZPHARM"), orm("DC", "71^ZZEHR", 3)):
        assert runs(folded(*replaced, gone), fact="vasopressor") is False


def test_a_stop_time_ends_a_treatment_by_itself() -> None:
    timed = orm("NW", "71^ZZEHR", 1, FLUIDS, timing=Timing(at(1), at(5), False))
    fold = folded(ED, timed)
    assert [runs(fold, hours) for hours in (1, 4.99, 5, 9)] == [True, True, False, False]
    assert runs(folded(ED, timed, orm("DC", "71^ZZEHR", 3)), 4) is False
    longer = orm("XO", "71^ZZEHR", 4, FLUIDS, timing=Timing(None, at(8), False))
    assert [runs(folded(ED, timed, longer), hours) for hours in (6, 8)] == [True, False]
    assert [runs(folded(ED, timed, orm("SC", "71^ZZEHR", 4)), hours) for hours in (4, 6)] == [True, False]


def test_a_single_dose_is_no_running_care() -> None:
    once = orm("NW", "71^ZZEHR", 1, FLUIDS, timing=Timing(None, None, True))
    assert [runs(folded(ED, once), hours) for hours in (1, 2)] == [False, False]
    for_a_while = orm("NW", "71^ZZEHR", 1, FLUIDS, timing=Timing(at(1), at(3), True))
    assert [runs(folded(ED, for_a_while), hours) for hours in (1, 2, 3)] == [True, True, False]


def test_a_status_order_has_no_stop_time() -> None:
    once = orm("NW", "72^ZZEHR", 1, "ADTINPT", timing=Timing(at(1), at(2), True))
    assert told(folded(ED, once))["status"] == "INPATIENT"


# --- what is not used -------------------------------------------------------------------------------------

LOCAL = parse_site(
    DEFAULT_SITE.read_text("utf-8")
    .replace("# [orders.meaning]", "[orders.meaning]")
    .replace("# Active", "Active")
    .replace("# Discontinued", "Discontinued")
    .encode()
)


def test_a_number_that_no_order_has() -> None:
    fold = folded(ED, orm("CA", "79^ZZEHR", 1))
    assert (odd(fold), told(fold)["exceptions"]) == ([OrderReason.NOT_FOUND], ["ORDER_NOT_FOUND"])
    found = folded(ED, orm("CA", "79^ZZEHR", 1), orm("NW", "79^ZZEHR", 0.5, "LAB1"))
    assert (odd(found), told(found)["exceptions"]) == ([OrderReason.UNMAPPED], [])
    strangers = folded(ED, orm("CA", "79^ZZEHR", 1, identifiers=OTHER))
    assert told(strangers)["exceptions"] == ["PATIENT_MISMATCH"]


def test_a_new_order_that_was_cancelled_at_once_is_known() -> None:
    fold = folded(ED, orm("NW", "79^ZZLAB", 1, "LAB1", status="CA"), orm("CA", "79^ZZLAB", 2))
    assert (odd(fold), told(fold)["exceptions"]) == ([OrderReason.UNMAPPED] * 2, [])
    ended = folded(ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("NW", "71^ZZEHR", 2, "NDC-1", status="CA"))
    assert runs(ended) is False


def test_too_many_plain_numbers_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinary, "MOST", 3)
    events = [ED, *(orm("NW", f"{n}^ZZLAB", 1, "LAB1") for n in range(9)), orm("CA", "79^ZZEHR", 2)]
    assert told(folded(*events[:3], events[-1]))["exceptions"] == ["ORDER_NOT_FOUND"]
    fold = folded(*events)
    assert len(fold._orders._ordinary) == 3
    assert told(fold)["exceptions"] == []


@pytest.mark.parametrize(
    ("control", "status", "reason"),
    [
        ("", "", OrderReason.CONTROL_MISSING),
        ("ZZ", "", OrderReason.CONTROL_UNKNOWN),
        ("XO", "ZZ", OrderReason.STATUS_UNKNOWN),
    ],
)
def test_what_cannot_be_read_is_an_exception_where_it_matters(
    control: str, status: str, reason: OrderReason
) -> None:
    for code, number in ((FLUIDS, "71^ZZEHR"), ("ADTINPT", "72^ZZEHR")):
        fold = folded(ED, orm(control, number, 1, code, status=status))
        assert (odd(fold), told(fold)["exceptions"]) == ([reason.value], ["ORDER_UNREAD"])
        assert (runs(fold), told(fold)["status"]) == (False, "ED")
        alone = folded(ED, orm("NW", number, 1, code), orm(control, number, 2, status=status))
        assert (odd(alone), told(alone, 3)["exceptions"]) == ([reason.value], ["ORDER_UNREAD"])
    laboratory = folded(ED, orm("NW", "9^ZZLAB", 1, "LAB1"), orm(control, "9^ZZLAB", 1, status=status))
    assert told(laboratory)["exceptions"] == []


def test_the_site_says_what_its_words_mean() -> None:
    events = [ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("XO", "71^ZZEHR", 2, status="discontinued")]
    assert told(folded(*events))["exceptions"] == ["ORDER_UNREAD"]
    fold = folded(*events, site=LOCAL)
    assert (runs(fold), told(fold)["exceptions"]) == (False, [])


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (part("NW", "1", 1, "LAB1"), OrderReason.UNMAPPED),
        (part("NW", "", 1, "LAB1"), OrderReason.UNMAPPED),
        (part("CA", "", 1), OrderReason.NUMBER_MISSING),
        (part("SS", "1", 1, FLUIDS), "order_says_nothing"),
        (part("", "1", 1, "LAB1"), "order_control_missing"),
        (part("ZZ", "1", 1, FLUIDS), "order_control_unknown"),
        (part("CA", "1", 1), ""),
        (part("CA", "1", 1, "LAB1"), ""),  # its number may be a treatment's
        (part("NW", "1", 1, FLUIDS), ""),
    ],
)
def test_what_one_order_says_by_itself(order: Order, reason: str) -> None:
    assert (order_statement.unused(order, SITE) or "") == reason


# --- any order of arrival, any number of repeats ----------------------------------------------------------

CODES = ["", "", FLUIDS, PRESSOR, "ADTINPT", "ADTOBS", "ADTINPTICU", "ADTDC", "LAB1", "LAB2"]
CONTROLS = ["NW"] * 4 + [
    "CA",
    "DC",
    "HD",
    "RL",
    "UC",
    "CR",
    "XO",
    "SC",
    "OK",
    "CH",
    "PA",
    "RO",
    "RU",
    "",
    "ZZ",
]
numbers = st.sampled_from(["1", "1^ZZA", "1^ZZB", "2^ZZA", "2", "3^ZZC", ""])
fillers = st.sampled_from(["", "", "", "8", "8^ZZF", "9^ZZF"])


@st.composite
def any_order(draw: st.DrawFn, hours: int) -> Order:
    entered = draw(st.sampled_from([None, None, 1, 1, 2, 2, 3, 5, 9]))
    timing = draw(st.sampled_from([None, None, Timing(None, at(6), False), Timing(None, None, True)]))
    is_child = draw(st.integers(0, 3)) == 0
    return part(
        draw(st.sampled_from(CONTROLS)),
        draw(numbers),
        hours,
        draw(st.sampled_from(CODES)),
        filler=draw(fillers),
        status=draw(st.sampled_from(["", "", "", "CM", "IP", "DC", "ZZ"])),
        entered=entered,
        effective=draw(st.sampled_from([hours if entered is None else entered, 1, 2, 5, 9])),
        timing=timing,
        parent=draw(numbers) if is_child else "",
        parent_filler=draw(fillers) if is_child else "",
    )


@st.composite
def any_event(draw: st.DrawFn) -> Event:
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return arrival(draw(st.sampled_from(["A01", "A03", "A04", "A08"])), draw(st.integers(0, 9)))
    if kind == 1:
        return result(draw(numbers), draw(fillers), draw(st.integers(1, 8)), draw(st.sampled_from(CODES)))
    sent = draw(st.integers(1, 8))
    parts = draw(st.lists(any_order(sent), min_size=1, max_size=2))
    whose = draw(st.sampled_from([MRN, MRN, MRN, MRN, OTHER, ()]))
    return message(*parts, identifiers=whose, sent=sent)


FACTS = ("iv_fluids", "vasopressor")


def whole(fold: StayFold) -> tuple[object, ...]:
    treatments = [list(fold.orders(fact) or ()) for fact in FACTS]
    stay = fold.stay(at(48))
    shown = (stay.spans, stay.pending, stay.exceptions, stay.voided, stay.lifecycle, stay.asked)
    records = sorted(fold._timeline._records, key=lambda record: record.key)
    return shown, treatments, fold.unused_orders(), records


def arrived(numbered: list[tuple[int, Event]]) -> tuple[StayFold, list[bytes]]:
    fold, increments = StayFold(SITE), []
    for seq, event in numbered:
        increment = fold.apply(event, seq)
        if increment is not None:
            increments.append(increment)
    return fold, increments


@settings(max_examples=200, deadline=None)
@given(st.lists(any_event(), max_size=12), st.lists(st.integers(0, 11), max_size=6), st.randoms())
def test_any_order_of_arrival_and_any_repeats_give_the_same(
    events: list[Event], again: list[int], random: Any
) -> None:
    numbered = list(enumerate(events))
    expected = whole(StayFold.refold(SITE, numbered))
    orders_only = [event for event in events if event.orders]
    repeated = numbered + [
        (100 + n, orders_only[place % len(orders_only)]) for n, place in enumerate(again) if orders_only
    ]
    random.shuffle(repeated)
    fold, increments = arrived(repeated)
    assert whole(fold) == expected
    random.shuffle(increments)
    restored = StayFold.restore(SITE, fold.head(), increments)
    assert restored.head() == fold.head()
    assert whole(restored) == expected


def accounted(events: list[Event]) -> StayFold:
    """Each order of each message is read into a line of its order, or has exactly one reason."""
    read = Counter[tuple[int, int]]()
    strange, found = (
        set[tuple[int, int]](),
        set[tuple[int, int]](),
    )  # ends of what nobody told of: in a line, and for a person

    def line_of(
        what: str, mine: list[order_statement.OrderStatement], above: list[order_statement.OrderStatement]
    ) -> force.OrderLine:
        read.update({each.origin: 1 for each in mine if each.what in ("", what)})
        line = force.line_of(what, mine, above)
        is_told = any(not run.is_lone for run in line.runs) or any(each.is_new for each in mine)
        is_told = is_told or what == order_statement.UNREAD
        (found if is_told else strange).update(each.origin for each in mine if each.what == what)
        return line

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(register, "line_of", line_of)
        fold = StayFold.refold(SITE, enumerate(events))
    strange -= found
    unused = Counter((each.seq, each.part) for each, _ in fold.unused_orders())
    assert max(unused.values(), default=1) == 1
    assert unused.keys() & read.keys() == strange
    held = [each for shelf in fold._orders._shelves.values() for each in shelf.said]
    assert {each.origin for each in held} == unused.keys() | read.keys()
    twins = {(each.told, each.sent, *each[3:]): each.origin for each in held}
    for seq, event in enumerate(events):
        kept = {each.part: each for each in order_statement.said_of(event, seq, SITE)[0]}
        counted = Counter(id(order) for order, _ in orders_unused(event, seq, fold))
        for number, order in enumerate(event.orders, 1):
            its = kept.get(number)
            is_read = its is not None and twins[(its.told, its.sent, *its[3:])] in read.keys() - strange
            assert is_read or counted[id(order)] == 1
            is_unread = its is not None and its.what == order_statement.UNREAD  # of it the code has a reason
            assert is_unread or not (is_read and counted[id(order)])
    return fold


@st.composite
def any_drug(draw: st.DrawFn) -> Event:
    """An order for a drug that goes into a vein, and that the profile does not know."""
    event = draw(any_event())
    return replace(event, orders=tuple(replace(each, **DRUG) for each in event.orders))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(any_event(), any_event(), any_drug()), max_size=12))
def test_every_order_is_read_or_has_exactly_one_reason(events: list[Event]) -> None:
    accounted(events)


DROPPED = [
    ED,
    orm("NW", "71^ZZEHR", 1, FLUIDS),
    drug("DC", "71^ZZEHR", 2, "NDC-1"),
    orm("CA", "72^ZZEHR", 2),
    orm("CA", "9^ZZLAB", 2, "LAB1"),
    orm("SS", "71^ZZEHR", 2, FLUIDS),
    orm("DC", "71^ZZEHR", 3, identifiers=OTHER),
    orm("DC", "73^ZZEHR", 3, FLUIDS),
]


@pytest.mark.parametrize(
    ("room", "name", "fault"),
    [
        (fold_room, "said_of", lambda event, seq, site: ([], order_statement.said_of(event, seq, site)[1])),
        (Orders, "_used", lambda self, place, name, its, odd: [each for each in its if each.what]),
        (Orders, "why", lambda self, told: None),
        (force.OrderLine, "is_unknown", False),
        (order_statement, "unused", lambda order, site: None),
    ],
    ids=[
        "taken in nowhere",
        "not read",
        "no reason of the stay's",
        "a strange number",
        "no reason of its own",
    ],
)
def test_an_order_that_is_dropped_without_a_reason_is_seen(
    monkeypatch: pytest.MonkeyPatch, room: Any, name: str, fault: object
) -> None:
    events = [*DROPPED, orm("NW", "8^ZZLAB", 2, "LAB1")]
    accounted(events)
    monkeypatch.setattr(room, name, fault)
    with pytest.raises((AssertionError, KeyError)):
        accounted(events)


def test_a_repeat_that_comes_first_gives_way_to_what_was_received_before_it() -> None:
    begun, ended = orm("NW", "71^ZZEHR", 1, FLUIDS), orm("DC", "71^ZZEHR", 2, FLUIDS)
    fold = arrived([(0, begun), (100, ended), (1, ended)])[0]
    assert [turn.seq for turn in fold.orders("iv_fluids") or ()] == [0, 1]
    assert whole(fold) == whole(StayFold.refold(SITE, [(0, begun), (1, ended)]))


SPACES = ("ZZA", "ZZB", "ZZC")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["NW", "NW", "CA", "DC", "HD", "CR", "SC", "RL", "UC"]),
            st.sampled_from(SPACES),
            st.sampled_from([FLUIDS, "", "LAB1"]),
            st.sampled_from(["", "CM", "CA"]),
        ),
        max_size=14,
    ),
    st.sampled_from(SPACES),
)
def test_a_statement_never_ends_another_applications_order(
    steps: list[tuple[str, str, str, str]], space: str
) -> None:
    """What is said of one application's 7 is the same whether or not the others speak of theirs."""
    events = [
        orm(control, f"7^{its}", n, code, status=status)
        for n, (control, its, code, status) in enumerate(steps)
    ]
    mine = [event for event in events if event.orders[0].placer.endswith(space)]

    def of_mine(fold: StayFold) -> list[object]:
        return [turn[:1] + turn[4:] for turn in fold.orders("iv_fluids") or () if turn.key.endswith(space)]

    assert of_mine(folded(ED, *events)) == of_mine(folded(ED, *mine))


# --- planted faults ---------------------------------------------------------------------------------------


def _no_namespace(kind: str, number: str) -> str:
    return kind + number


@pytest.mark.parametrize(
    ("room", "name", "fault", "check"),
    [
        (ties, "alike", lambda one, other: one == other, lambda: runs(folded(*BARE_FILLER)) is False),
        (Ties, "home", lambda *_: None, lambda: runs(folded(*ELSEWHERE)) is False),
        (order_statement, "_learnt", lambda *_: [], lambda: odd(folded(*ANSWERED)) == [OrderReason.UNMAPPED]),
        (register, "shelf_of", _no_namespace, lambda: runs(folded(*BARE)) is False),
        (register, "INHERITED", frozenset(), lambda: runs(folded(*CHILDREN)) is False),
        (force, "_IN_FORCE", frozenset(), lambda: runs(folded(*LONGER), 8) is False),
        (order_statement, "_NEW", frozenset(), lambda: odd(folded(*LABORATORY)) == [OrderReason.UNMAPPED]),
        (register, "by_patient", lambda its, stands: [its], lambda: runs(folded(*STRANGER)) is True),
        (effects, "_ENDING", frozenset({Effect.ENDS}), lambda: runs(folded(*COMPLETED)) is False),
        (register, "is_meant", lambda *_: True, lambda: told(folded(*UNKNOWN))["status"] == "INPATIENT"),
        (register, "retold", lambda its: its, lambda: runs(folded(*COPIED[::-1])) is False),
    ],
)
def test_a_planted_fault_is_seen(
    monkeypatch: pytest.MonkeyPatch, room: Any, name: str, fault: object, check: Callable[[], bool]
) -> None:
    assert check()
    monkeypatch.setattr(room, name, fault)
    assert not check()


BARE = [ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("DC", "71", 2)]
BARE_FILLER = [ED, orm("NW", "71", 1, FLUIDS, filler="F1^ZZL"), orm("OC", "", 2, filler="F1")]
CHILDREN = [ED, PARENT, orm("CH", "72^ZZEHR", 1.1, FLUIDS, parent="71^ZZEHR"), orm("DC", "71^ZZEHR", 2)]
ELSEWHERE = [ED, orm("NW", "71^ZZEHR", 1, FLUIDS, **OTHERS), orm("DC", "9001^ZZCPOE", 2, **OTHERS)]
ANSWERED = [ED, result("5^ZZEHR", "F5^ZZLAB", 1), orm("OC", "", 2, filler="F5^ZZLAB")]
UNKNOWN = [ED, orm("NW", "72^ZZEHR", 1, "ADTINPT"), orm("CA", "72", 2, "LAB9")]
COPIED = [
    ED,
    orm("NW", "71^ZZEHR", 1, FLUIDS, entered=1),
    orm("SC", "71^ZZEHR", 3, status="IP", entered=2),
    orm("DC", "71^ZZEHR", 4, entered=1),
]
LONGER = [
    ED,
    orm("NW", "71^ZZEHR", 1, FLUIDS, timing=Timing(None, at(5), False)),
    orm("XO", "71^ZZEHR", 2, FLUIDS, timing=Timing(None, at(8), False)),
]
LABORATORY = [ED, orm("NW", "9^ZZLAB", 1, ""), orm("DC", "9^ZZLAB", 2)]
STRANGER = [ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("DC", "71^ZZEHR", 2, identifiers=OTHER)]
COMPLETED = [ED, orm("NW", "71^ZZEHR", 1, FLUIDS), orm("CA", "71^ZZEHR", 2, status="IP")]


# --- a long lane ------------------------------------------------------------------------------------------


def calls(work: Callable[[], object]) -> int:
    """Function calls of a piece of work: what does not depend on the machine."""
    counted = 0

    def count(_frame: object, kind: str, _argument: object) -> None:
        nonlocal counted
        counted += kind in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("lane", ["one number", "new numbers", "stop times", "laboratory", "ended"])
def test_an_order_costs_the_same_in_a_long_lane(lane: str) -> None:
    def event(n: int) -> Event:
        hours = 1 + n / 1000
        match lane:
            case "one number":
                return orm("SC", "71^ZZEHR", hours, FLUIDS, status="IP")
            case "stop times":
                return orm("NW", f"{n}^ZZEHR", hours, FLUIDS, timing=Timing(None, at(2000), False))
            case "laboratory":
                return orm("NW", f"{n}^ZZLAB", hours, "LAB1")
            case "ended":
                return orm("NW" if n % 2 else "DC", f"{n // 2}^ZZEHR", hours, FLUIDS)
            case _:
                return orm("NW", f"{n}^ZZEHR", hours, FLUIDS)

    def one(fold: StayFold, n: int) -> int:
        made = event(n)

        def work() -> None:
            fold.apply(made, n)
            runs(fold, 1 + n / 1000)

        return calls(work)

    fold = folded(ED)
    few = max(one(fold, n) for n in range(1, 21))
    for n in range(21, 3000):
        fold.apply(event(n), n)
    assert max(one(fold, n) for n in range(3000, 3010)) < 3 * few
