"""Merges, moves and changed numbers: which stays a message is about, and that facts never cross patients."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from umbridge.hl7.triggers import APPLIED
from umbridge.model import Coded, Event, Group, Observation, Order, Patient, Visit
from umbridge.review.plan import reviews, stay_json
from umbridge.settings.site import default_site
from umbridge.stay.course import lost
from umbridge.stay.course.telling import Telling
from umbridge.stay.fold import StayFold
from umbridge.stay.identity import followed, owned, parts
from umbridge.stay.patient_index import Directory
from umbridge.values.kinds import ReviewState

SITE = default_site()
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
WARD = {"patient_class": "I", "patient_type": "INP", "unit": "4W", "room": "310"}
ICU = {**WARD, "unit": "MICU", "room": "1"}
OBS = {"patient_class": "O", "patient_type": "OBS", "unit": "CDU", "room": "05"}
ED = {"patient_class": "E", "patient_type": "EDP", "unit": "ED", "room": "12"}


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def person(number: str, account: str = "", born: str = "19541110") -> Patient:
    return Patient(((number, "UMBH", "MR"),) if number else (), account, born, "F")


def adt(trigger: str, hours: float, mrn: str, visit: str = "", account: str = "", **place: Any) -> Event:
    return Event(
        message_type="ADT",
        trigger=trigger,
        control_id=f"ZZ-{trigger}-{hours}",
        processing_id="P",
        sent_at=at(hours),
        effective_at=at(hours),
        patient=person(mrn, account),
        visit=Visit(number=visit, authority="UMBH" if visit else "", **place),
    )


def changed(
    trigger: str,
    hours: float,
    old: str,
    new: str,
    *,
    visits: tuple[str, str] = ("", ""),
    accounts: tuple[str, str] = ("", ""),
) -> Event:
    """MRG says ``old``, PID and PV1 say ``new``."""
    event = adt(trigger, hours, new, visits[1], accounts[1])
    prior = person(old).identifiers
    group = Group(event.patient, event.visit, prior, accounts[0], visits[0], "UMBH" if visits[0] else "")
    prior_accounts = (accounts[0],) if accounts[0] else ()
    return replace(event, groups=(group,), prior_accounts=prior_accounts)


def pulse(hours: float, mrn: str, visit: str, value: int, account: str = "") -> Event:
    observation = Observation(
        *("NM", Coded("8867-4", "", "LN"), Coded(), str(value), "/min", "", "F", at(hours)),
        *(f"R{hours}", f"ZZ-{hours} OBX[1]-5"),
    )
    event = adt("R01", hours, mrn, visit, account)
    return replace(event, message_type="ORU", observations=(observation,))


def order(hours: float, mrn: str, visit: str, code: str, control: str = "NW") -> Event:
    asked = Order(control, f"P-{visit}", "", "", Coded(code), at(hours), (), "ZZ ORC[1]")
    return replace(adt("O01", hours, mrn, visit), message_type="ORM", orders=(asked,))


class Ward:
    """Lanes as whoever works them keeps them: every part of a message to its lanes."""

    def __init__(self) -> None:
        self.directory = Directory(SITE)
        self.folds: dict[str, StayFold] = {}
        self.taken: dict[str, list[tuple[int, Event]]] = {}
        self.seq = 0

    def take(self, *events: Event) -> Ward:
        for event in events:
            self.seq += 1
            for delivery in self.directory.take(event, self.seq):
                for lane in delivery.lanes:
                    known = self.taken.setdefault(lane, [])
                    more = [*delivery.earlier, (self.seq, delivery.event)]
                    for gone in delivery.joined:
                        more += self.taken.pop(gone, [])
                        self.folds.pop(gone, None)
                    fold = self.folds.setdefault(lane, StayFold(SITE))
                    for seq, each in more:
                        if (seq, each) not in known:
                            known.append((seq, each))
                            if not delivery.joined:
                                fold.apply(each, seq)
                    if delivery.joined:
                        self.folds[lane] = StayFold.refold(SITE, known)
        return self

    def stays(self, hours: float = 500) -> dict[str, dict[str, Any]]:
        found = [stay_json(fold.stay(at(hours))) for fold in self.folds.values()]
        return {stay["visit"]: stay for stay in found}

    def pulses(self, visit: str) -> set[int]:
        """The heart rates that count for a stay."""
        for fold in self.folds.values():
            if fold.stay(at(500)).visit == visit:
                listed = fold.results("heart_rate") or ()
                return {int(str(each.value)) for each in listed if fold.is_patient(each.patient)}
        raise AssertionError(visit)


# --- merges ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", ["A18", "A30", "A34", "A36", "A39", "A40", "A46", "A47"])
def test_a_merged_number_leads_to_the_patient_for_ever(trigger: str) -> None:
    merge = changed(trigger, 5, "111", "222")
    ward = Ward().take(
        adt("A01", 0, "111", "V1", **WARD), pulse(1, "111", "V1", 91), merge, pulse(6, "222", "V1", 92)
    )
    stay = ward.stays()["V1"]
    assert (stay["mrn"], stay["mrn_aliases"], stay["exceptions"]) == (
        "222",
        ["111"],
        ["INPATIENT_ORDER_MISSING"],
    )
    assert ward.pulses("V1") == {91, 92}  # one person under two numbers
    ward.take(adt("A04", 9, "111", "V2", **ED))  # the old number, after the merge, on a stay that is new
    assert ward.stays()["V2"]["mrn"] == "222"
    assert set(ward.stays()) == {"V1", "V2"}


def test_every_number_that_is_merged_away_leads_to_the_patient() -> None:
    """MRG-1 repeats: the numbers of one person, of which several may be the site's."""
    merge = changed("A40", 5, "111", "333")
    (group,) = merge.groups
    both = replace(group, prior_identifiers=(*person("111").identifiers, *person("222").identifiers))
    ward = Ward().take(adt("A01", 0, "111", "V1", **WARD), adt("A01", 1, "222", "V2", **WARD))
    ward.take(replace(merge, groups=(both,)))
    assert {visit: stay["mrn"] for visit, stay in ward.stays().items()} == {"V1": "333", "V2": "333"}


def test_a_merge_before_anybody_was_known_counts_when_they_come() -> None:
    ward = Ward().take(changed("A40", 5, "111", "222"), changed("A40", 6, "222", "333"))
    ward.take(adt("A01", 0, "111", "V1", **WARD), adt("A08", 7, "333", "V1", **WARD))
    stay = ward.stays()["V1"]
    assert (stay["mrn"], stay["mrn_aliases"]) == ("333", ["111", "222"])
    assert "PATIENT_MISMATCH" not in stay["exceptions"]


def test_a_chain_is_followed_and_a_ring_is_not() -> None:
    assert followed([("A", "B"), ("B", "C")]) == ({"A": "C", "B": "C"}, False)
    assert followed([("B", "C"), ("A", "B"), ("A", "B")]) == ({"A": "C", "B": "C"}, False)
    assert followed([("A", "B"), ("B", "A")]) == ({"A": "B"}, True)
    assert followed([("A", "B"), ("B", "C"), ("C", "A")]) == ({"A": "C", "B": "C"}, True)
    assert followed([("A", "C"), ("B", "C"), ("A", "B")]) == ({"A": "C", "B": "C"}, False)
    assert followed([("A", "A")]) == ({}, False)
    assert owned([("X", "Y"), ("Y", "Z")], "X") == {"X": "Z", "Y": "Z", "Z": "Z"}
    assert owned([("X", "Y"), ("Y", "X")], "X") == {"X": "X", "Y": "X"}
    assert owned([("X", "Y")], "W") == {}


@given(st.lists(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from("ABCDEF")), max_size=20))
def test_following_always_ends_and_at_a_number_that_stands_for_itself(links: list[tuple[str, str]]) -> None:
    stands, _ = followed(links)
    assert all(end not in stands for end in stands.values())
    same = {frozenset({name, end}) for name, end in stands.items()}
    assert len(same) == len(stands)


def test_a_merge_ring_is_for_a_person() -> None:
    ward = Ward().take(adt("A01", 0, "111", "V1", **WARD))
    ward.take(changed("A40", 1, "111", "222"), changed("A40", 2, "222", "111"))
    assert "MERGE_RING" in ward.stays()["V1"]["exceptions"]
    assert ward.stays()["V1"]["mrn"] == "222"


def test_several_merges_in_one_message_are_several() -> None:
    first, second = changed("A40", 5, "111", "222"), changed("A40", 5, "333", "444")
    both = replace(first, groups=(*first.groups, *second.groups))
    assert [part.patient for part in parts(both)] == [first.patient, second.patient]
    ward = Ward().take(adt("A01", 0, "111", "V1", **WARD), adt("A01", 0, "333", "V3", **WARD), both)
    assert {visit: stay["mrn"] for visit, stay in ward.stays().items()} == {"V1": "222", "V3": "444"}


def test_merged_visits_are_one_stay_that_a_person_looks_at() -> None:
    ward = Ward().take(
        adt("A04", 0, "111", "V1", "A1", **ED),
        adt("A01", 3, "111", "V2", "A2", **WARD),
        changed("A42", 4, "111", "111", visits=("V1", "V2"), accounts=("A1", "A2")),
        adt("A08", 5, "111", "V1", "A1", **ICU),  # for the number that is no more: to the one that is
    )
    (stay,) = ward.stays().values()
    assert (stay["visit"], stay["accounts"], stay["unit"]) == ("V2", ["A1", "A2"], "MICU")
    assert stay["status_spans"] == ["ED", "INPATIENT"]
    assert "VISITS_MERGED" in stay["exceptions"]
    assert stay["events_applied"] == 4


@pytest.mark.parametrize("trigger", ["A50", "A06", "A07", "A45"])
def test_a_visit_under_another_number_is_the_same_stay(trigger: str) -> None:
    ward = Ward().take(adt("A04", 0, "111", "V1", **OBS))
    event = changed(trigger, 4, "111", "111", visits=("V1", "V2"))
    ward.take(replace(event, visit=replace(event.visit, patient_class="I", patient_type="INP")))
    ward.take(pulse(5, "111", "V1", 91), pulse(6, "111", "V2", 92))
    (fold,) = ward.folds.values()
    assert len(list(fold.results("heart_rate") or ())) == 2
    if trigger in ("A50", "A45"):
        assert fold.stay(at(9)).visit == "V2"


@pytest.mark.parametrize("trigger", ["A35", "A41", "A49"])
def test_an_account_under_another_number(trigger: str) -> None:
    ward = Ward().take(adt("A01", 0, "111", "V1", "A1", **WARD))
    ward.take(changed(trigger, 2, "111", "111", accounts=("A1", "A9")), pulse(3, "111", "", 91, "A9"))
    (stay,) = ward.stays().values()
    assert stay["accounts"] == ["A1", "A9"]
    assert ward.pulses("V1") == {91}


def test_results_under_the_account_alone_come_to_the_stay_that_is_told_later() -> None:
    ward = Ward().take(pulse(1, "111", "", 91, "A1"), adt("A01", 2, "111", "V1", "A1", **WARD))
    assert (set(ward.stays()), ward.pulses("V1")) == ({"V1"}, {91})


# --- moves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", ["A43", "A44", "A45"])
def test_a_moved_stay_is_the_other_patients_and_its_facts_wait(trigger: str) -> None:
    visits, accounts = (("V1", "V1"), ("A1", "A2")) if trigger == "A45" else (("", ""), ("A1", "A1"))
    ward = Ward().take(adt("A01", 0, "111", "V1", "A1", **WARD), pulse(1, "111", "V1", 91))
    ward.take(adt("A01", 0, "333", "V3", "A3", **WARD), pulse(1, "333", "V3", 93))
    ward.take(changed(trigger, 5, "111", "222", visits=visits, accounts=accounts))
    stay = ward.stays()["V1"]
    assert (stay["mrn"], stay["mrn_aliases"], stay["status"]) == ("222", ["111"], "INPATIENT")
    assert "FACTS_QUARANTINED" in stay["exceptions"]
    assert ward.pulses("V1") == set()
    ward.take(pulse(6, "222", "V1", 92))
    assert ward.pulses("V1") == {92}
    assert (ward.stays()["V3"]["mrn"], ward.pulses("V3")) == ("333", {93})
    back = changed(trigger, 7, "222", "111", visits=visits, accounts=accounts[::-1])
    assert (ward.take(back).stays()["V1"]["mrn"], ward.pulses("V1")) == ("111", {91})


def test_a_swap_changes_both_beds() -> None:
    ward = Ward().take(adt("A01", 0, "111", "V1", **WARD), adt("A01", 0, "222", "V2", **ICU))
    one, two = adt("A17", 5, "111", "V1", **ICU), adt("A17", 5, "222", "V2", **WARD)
    groups = (Group(one.patient, one.visit), Group(two.patient, two.visit))
    ward.take(replace(one, groups=groups))
    found = ward.stays()
    assert (found["V1"]["unit"], found["V2"]["unit"]) == ("MICU", "4W")
    assert found["V1"]["exceptions"] == found["V2"]["exceptions"] == ["INPATIENT_ORDER_MISSING"]


# --- persons --------------------------------------------------------------------------------------------


def test_an_update_of_the_person_reaches_every_stay_and_touches_no_status() -> None:
    ward = Ward().take(adt("A01", 0, "111", "V1", **WARD), adt("A04", 1, "111", "V2", **ED))
    update = adt("A31", 2, "111", patient_class="O", unit="CDU")
    ward.take(replace(update, patient=replace(update.patient, birth_date="19660606")))
    for fold in ward.folds.values():
        assert fold.stay(at(3)).birth_date == "19660606"
    assert {visit: stay["status"] for visit, stay in ward.stays().items()} == {"V1": "INPATIENT", "V2": "ED"}
    assert ward.stays()["V1"]["unit"] == "4W"


def test_a_deleted_person_has_no_open_review_but_one_merged_away_harms_nobody() -> None:
    ward = Ward().take(adt("A01", 0, "111", "V1", **WARD), adt("A29", 5, "111"))
    assert (ward.stays()["V1"]["lifecycle"], ward.stays()["V1"]["open_reviews"]) == ("cancelled", [])
    ward = Ward().take(adt("A01", 0, "222", "V1", **WARD), changed("A40", 3, "111", "222"))
    ward.take(adt("A29", 5, "111"))
    assert ward.stays()["V1"]["lifecycle"] == "active"


# --- any order, any nonsense ----------------------------------------------------------------------------

MRNS = ("111", "222", "333")
VISITS = {"V1": "111", "V2": "111", "V3": "222", "V4": "333"}
PLACES = (WARD, ICU, OBS, ED, {}, {"unit": ""})
#: What happens to one stay, in any order: valid courses and nonsense alike.
SINGLE = sorted(
    trigger
    for kind, its in APPLIED.items()
    for trigger in its
    if kind not in ("merge", "move", "rename") and trigger not in ("A17", "A28", "A29", "A31")
)


@st.composite
def happening(draw: st.DrawFn) -> tuple[str, str, Any]:
    kind = draw(
        st.sampled_from(["adt"] * 6 + ["merge", "visit", "move", "pulse", "pulse", "order", "person"])
    )
    visit = draw(st.sampled_from(sorted(VISITS)))
    if kind == "adt":
        return kind, visit, (draw(st.sampled_from(SINGLE)), draw(st.sampled_from(PLACES)))
    if kind == "merge":
        return kind, visit, (draw(st.sampled_from(MRNS)), draw(st.sampled_from(MRNS)))
    if kind == "visit":
        trigger = draw(st.sampled_from(["A42", "A50"]))
        return kind, visit, (trigger, draw(st.sampled_from(sorted(VISITS))))
    if kind == "move":
        return kind, visit, draw(st.sampled_from(MRNS))
    if kind == "order":
        code = draw(st.sampled_from(["ADTINPT", "ADTOBS", "ADTDC"]))
        return kind, visit, (code, draw(st.sampled_from(["NW", "NW", "CA", "DC"])))
    return kind, visit, draw(st.sampled_from(["A31", "A29"]))


def made(hours: float, what: tuple[str, str, Any], again: bool) -> list[Event]:
    kind, visit, more = what
    mrn = VISITS[visit]
    match kind:
        case "adt":
            events = [adt(more[0], hours, mrn, visit, **more[1])]
        case "merge":
            events = [changed("A40", hours, more[0], more[1])]
        case "visit":
            events = [changed(more[0], hours, mrn, mrn, visits=(visit, more[1]))]
        case "move":
            events = [changed("A45", hours, mrn, more, visits=(visit, visit))]
        case "pulse":
            events = [pulse(hours, mrn, visit, 50 + MRNS.index(mrn))]
        case "order":
            events = [order(hours, mrn, visit, *more)]
        case _:
            events = [adt(more, hours, mrn)]
    return events * (2 if again else 1)


PENDING_AFTER_DELETION = [
    ("move", "V2", "111"),
    ("adt", "V2", ("A01", WARD)),
    ("person", "V1", "A29"),
    ("adt", "V1", ("A01", WARD)),
    ("adt", "V2", ("A14", WARD)),
]


MOVED_AND_BACK = [("adt", "V1", (trigger, WARD)) for trigger in ("A01", "A02", "A12")]
HERE_BEFORE_THE_ADMISSION = [("adt", "V2", (trigger, WARD)) for trigger in ("A10", "A01", "A32")]


@settings(max_examples=120, deadline=None)
@example([(each, False) for each in PENDING_AFTER_DELETION], 0)
@example([(each, False) for each in MOVED_AND_BACK], 1)
@example([(each, False) for each in HERE_BEFORE_THE_ADMISSION], 0)
@example([(each, False) for each in HERE_BEFORE_THE_ADMISSION], 3)
@given(
    st.lists(st.tuples(happening(), st.sampled_from([False] * 5 + [True])), max_size=16), st.integers(0, 9)
)
def test_the_same_events_in_any_order_give_the_same_stays(told: list[tuple[Any, bool]], seed: int) -> None:
    """No two at one instant: what the sender puts at one moment, the order of receipt has to decide."""
    events = [each for hours, (what, again) in enumerate(told) for each in made(float(hours), what, again)]
    expected = Ward().take(*events)
    random.Random(seed).shuffle(events)
    found = Ward().take(*events)
    assert found.stays() == expected.stays()
    for ward in (expected, found):
        for fold in ward.folds.values():
            invariants(fold)


CANCELLED = (
    *("A01", "A11", "A03", "A13", "A05", "A38", "A02", "A12", "A16", "A25", "A14", "A27", "A10", "A32"),
    *("A01", "A11", "A04", "A06", "A07", "A08"),
)
#: One stay whose events are cancelled more often than not.
ONE_STAY = st.one_of(
    *[st.tuples(st.sampled_from(CANCELLED), st.sampled_from(PLACES))] * 3,
    st.tuples(st.sampled_from(["ADTINPT", "ADTOBS", "ADTDC"]), st.sampled_from(["NW", "NW", "CA"])),
)
ORDERED_AND_BACK = [("ADTOBS", "NW"), ("ADTINPT", "NW"), ("ADTOBS", "NW")]
EXPECTED_TWICE = [("A01", WARD), ("A16", {}), ("A16", {}), ("A25", {})]


def reviewed(ward: Ward) -> list[list[tuple[str, str, str, str]]]:
    """What every review is, and since when; how it is called is the order of receipt."""
    planned = [reviews(fold.stay(at(500))) for fold in ward.folds.values()]
    assert all(len({each.id for each in its}) == len(its) for its in planned)
    return [
        sorted((each.type, each.state, each.opened_at.isoformat(), each.reason) for each in its)
        for its in planned
    ]


@settings(max_examples=150, deadline=None)
@example([(each, False) for each in ORDERED_AND_BACK[:2]] + [(ORDERED_AND_BACK[2], True)], 0)
@example([(each, False) for each in EXPECTED_TWICE], 2)
@example([((trigger, WARD), False) for trigger in ("A10", "A01", "A32")], 0)
@example([((trigger, WARD), False) for trigger in ("A10", "A01", "A32")], 3)
@given(st.lists(st.tuples(ONE_STAY, st.sampled_from([False] * 5 + [True])), max_size=12), st.integers(0, 9))
def test_the_same_events_in_any_order_leave_the_same_reviews(
    told: list[tuple[tuple[str, Any], bool]], seed: int
) -> None:
    """Void ones too: what a cancelled event opened is known by what it rested on, never by its name."""
    kinds = [("adt" if what[0] in CANCELLED else "order", "V1", what) for what, _ in told]
    both = enumerate(zip(kinds, (again for _, again in told), strict=True))
    events = [each for hours, (what, again) in both for each in made(float(hours), what, again)]
    expected = Ward().take(*events)
    random.Random(seed).shuffle(events)
    assert reviewed(Ward().take(*events)) == reviewed(expected)


def uncounted(ward: Ward) -> list[dict[str, Any]]:
    """The stays, but for how many messages they had."""
    return [{**stay, "events_applied": None} for stay in ward.stays().values()]


@settings(max_examples=150, deadline=None)
@example([(("A01", WARD), ""), (("A01", OBS), ""), (("A11", {}), "new")], 0)
@given(
    st.lists(st.tuples(ONE_STAY, st.sampled_from(["", "", "same", "new"])), min_size=1, max_size=10),
    st.integers(0, 9),
)
def test_a_message_told_again_changes_nothing(told: list[tuple[tuple[str, Any], str]], seed: int) -> None:
    """The same in all, or but for MSH-10, wherever it arrives."""
    once, events = [], []
    for hours, (what, again) in enumerate(told):
        kind = "adt" if what[0] in CANCELLED else "order"
        (event,) = made(float(hours), (kind, "V1", what), False)
        once.append(event)
        events.append(event)
        if again:
            events.append(event if again == "same" else replace(event, control_id=f"{event.control_id}-2"))
    expected = Ward().take(*once)
    random.Random(seed).shuffle(events)
    found = Ward().take(*events)
    assert uncounted(found) == uncounted(expected)
    assert reviewed(found) == reviewed(expected)


def _by_name(lost: Any, left: Any) -> bool:
    return bool((lost.type, lost.origin) == (left.type, left.origin))


def test_a_cancel_that_counts_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Telling, "_is_repeated", lambda *_: False)
    with pytest.raises(AssertionError):
        test_a_message_told_again_changes_nothing()


def test_what_is_void_by_name_depends_on_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "_goes_on", _by_name)
    with pytest.raises(AssertionError):
        test_the_same_events_in_any_order_leave_the_same_reviews()


def test_two_reviews_that_one_row_spoke_for_have_each_a_name() -> None:
    """The order was received before the admission that it spoke for too; each is cancelled at its time."""
    ward = Ward().take(
        adt("A11", 4, "111", "V1"),
        order(2, "111", "V1", "ADTINPT"),
        adt("A01", 0, "111", "V1", **WARD),
        order(3, "111", "V1", "ADTOBS", "CA"),
    )
    (fold,) = ward.folds.values()
    found = [(each.id, each.state) for each in reviews(fold.stay(at(9)))]
    assert found == [("ADMISSION-2", ReviewState.VOID), ("ADMISSION-2x2", ReviewState.VOID)]


def invariants(fold: StayFold) -> None:
    """Domain rules that no order of events, valid or not, may break."""
    stay = fold.stay(at(500))
    ends = [span.end for span in stay.spans]
    assert all(end is not None for end in ends[:-1])
    for span in stay.spans:
        assert span.end is None or span.start <= span.end
    for before, after in zip(stay.spans, stay.spans[1:], strict=False):
        assert before.end is not None and before.end <= after.start
        assert before.status != after.status or before.end < after.start or stay.exceptions
    for one, two in zip(stay.places, stay.places[1:], strict=False):
        assert one.end is not None and one.end <= two.start
    if stay.lifecycle == "cancelled":
        assert stay.status is None and not stay.spans
    if stay.lifecycle == "discharged":
        assert stay.discharged_at is not None
        assert not stay.spans or stay.spans[-1].end is not None
    assert stay.leave_midnights >= 0 and (stay.hospital_midnights or 0) >= 0
    planned = reviews(stay)
    assert len({review.id for review in planned}) == len(planned)
    counts = Counter(review.type for review in planned if review.state is ReviewState.OPEN)
    assert all(counts[kind] <= 1 for kind in counts if kind != "CONTINUED_STAY")
    if stay.lifecycle == "cancelled":
        assert not counts
    if stay.lifecycle == "discharged":
        assert set(counts) <= {"RETROSPECTIVE"}
    assert not any("DEN" in review.reason for review in planned)  # software never denies
    own = fold.patient
    same = {own, *(old for old in MRNS if fold._stands(old) == own)}
    for result in fold.results("heart_rate") or ():
        assert fold.is_patient(result.patient) == (result.patient in same)
        assert result.value is None or int(str(result.value)) == 50 + MRNS.index(result.patient)
