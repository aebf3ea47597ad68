"""The stay as a fold: any order of arrival, snapshots, cancels, and the sequence vignettes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.hl7.triggers import APPLIED, GROUPED
from umbridge.model import Coded, Coverage, Diagnosis, Event, Group, Observation, Order, Patient, Visit
from umbridge.review.plan import stay_json
from umbridge.settings.site import DEFAULT_SITE, default_site, load_site, parse_site
from umbridge.stay.clock import instant, midnights
from umbridge.stay.course.timeline import MARK_EVERY
from umbridge.stay.fold import NeedsRefold, StayFold
from umbridge.stay.record import canonical
from umbridge.values.carers import ADMITTING, ATTENDING, CONSULTING, ORDERING, Practitioner

SHARED = Path(__file__).parents[1] / "../shared/vignettes"
SITE = default_site()
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)  # 10:00 in New York
MRN = (("7790001", "UMBH", "MR"),)
OTHER = (("7790002", "UMBH", "MR"),)
THIRD = (("7790003", "UMBH", "MR"),)
ED = {"patient_class": "E", "patient_type": "EDP", "unit": "ED", "room": "12"}
WARD = {"patient_class": "I", "patient_type": "INP", "unit": "4W", "room": "310"}
OBS = {"patient_class": "O", "patient_type": "OBS", "unit": "CDU", "room": "05"}
MEDICARE = (Coverage(1, "MCRAB", "MCR"),)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def adt(trigger: str, hours: float, sent: float | None = None, **other: Any) -> Event:
    """An ADT event that happened at ``hours`` after START and was sent then, or at ``sent``."""
    patient = Patient(other.pop("identifiers", MRN), other.pop("account", "AC1"), "19541110", "F")
    apart = ("diagnoses", "coverage", "certifications", "prior_accounts", "groups")
    parts = {name: other.pop(name) for name in apart if name in other}
    return Event(
        message_type="ADT",
        trigger=trigger,
        control_id=f"ZZ-{trigger}-{hours}",
        processing_id="P",
        sent_at=at(hours if sent is None else sent),
        effective_at=at(hours),
        patient=patient,
        visit=Visit(number="VN1", authority="UMBH", **other),
        **parts,
    )


def orm(code: str, hours: float, control: str = "NW", placer: str = "P1", **other: Any) -> Event:
    order = Order(
        control, placer, "", other.pop("status", ""), Coded(code), at(hours), other.pop("by", ()), "ZZ ORC[1]"
    )
    event = adt("O01", hours, identifiers=other.pop("identifiers", MRN))
    return replace(event, message_type="ORM", orders=(order,), sent_at=at(other.get("sent", hours)))


def oru(code: str, value: str, unit: str, hours: float, status: str = "F", **other: Any) -> Event:
    observation = Observation(
        other.get("kind", "NM"),
        Coded(code, "", "99UMB" if code.startswith("UMB-") else "LN"),
        Coded(),
        value,
        unit,
        other.get("reference", ""),
        status,
        at(other.get("taken", hours)),
        other.get("report", "R1"),
        f"ZZ-{hours} OBX[1]-5",
        told=(at(other.get("taken", hours)),) * 2 if other.get("is_timed", True) else None,
    )
    event = adt("R01", hours, identifiers=other.get("identifiers", MRN))
    return replace(event, message_type="ORU", observations=(observation,))


def folded(*events: Event) -> StayFold:
    fold = StayFold(SITE)
    for seq, event in enumerate(events):
        fold.apply(event, seq)
    return fold


def told(fold: StayFold, hours: float = 48) -> dict[str, Any]:
    return stay_json(fold.stay(at(hours)))


# --- whatever order they come in ------------------------------------------------------------------

TRIGGERS = tuple(sorted(trigger for its in APPLIED.values() for trigger in its)) + ("A01", "A08", "A11") * 4
triggers = st.sampled_from(TRIGGERS)
visits = st.sampled_from([ED, WARD, OBS, {}, {"patient_class": "O"}, {"unit": "", "patient_type": ""}])
times = st.integers(0, 40)


@st.composite
def any_event(draw: st.DrawFn) -> Event:
    """Times collide on purpose; what was sent in the same second keeps its receipt order."""
    hours, identifiers = draw(times), draw(st.sampled_from([MRN, MRN, MRN, OTHER, ()]))
    kind = draw(st.integers(0, 9))
    if kind < 6:
        more: dict[str, Any] = dict(draw(visits))
        more["practitioners"] = tuple(
            Practitioner(role, number, "UMBH" if number else "")
            for role in (ATTENDING, CONSULTING, ADMITTING)
            for number in draw(
                st.sampled_from([(), (), ("ZZDOC1",), ("ZZDOC1", "ZZDOC2"), ("ZZDOC2",), ("",)])
            )
        )
        if draw(st.booleans()):
            more["admitted_at"] = at(draw(times))
        if draw(st.booleans()):
            more["discharged_at"] = at(draw(times))
        if draw(st.booleans()):
            codes = draw(st.lists(st.sampled_from(["J18.9", "I50.9", "K92.1"]), max_size=2))
            removed = draw(st.booleans())
            more["diagnoses"] = tuple(
                Diagnosis(1 + n, code, "I10", "A", removed, "DG1") for n, code in enumerate(codes)
            )
        if draw(st.booleans()):
            more["coverage"] = (Coverage(1, draw(st.sampled_from(["MCRAB", "ZZPPO"])), ""),)
        account = draw(st.sampled_from(["", "AC1", "AC2"]))
        trigger = draw(triggers)
        if trigger in GROUPED:
            prior, account_before = (
                draw(st.sampled_from([MRN, OTHER, THIRD, ()])),
                draw(st.sampled_from(["", "AC2"])),
            )
            who = Patient(identifiers, account)
            more["groups"] = (Group(who, Visit("VN1", "UMBH"), prior, account_before, "VN1", "UMBH"),)
        return adt(
            trigger,
            hours,
            sent=hours + draw(times) / 10,
            identifiers=identifiers,
            account=account,
            **more,
        )
    if kind < 8:
        code = draw(st.sampled_from(["ADTINPT", "ADTOBS", "ADTINPTICU", "ADTDC", "RTNIV", "RTVENT"]))
        control = draw(st.sampled_from(["NW", "NW", "NW", "CA", "DC"]))
        by = draw(st.sampled_from([(), (Practitioner(ORDERING, "ZZDOC3", "UMBH"),)]))
        return orm(code, hours, control, draw(st.sampled_from("PQ")), identifiers=identifiers, by=by)
    status = draw(st.sampled_from("FFCWPX"))
    value = draw(st.sampled_from(["88", "130", ""]))
    more = {"taken": draw(st.integers(0, 3)), "is_timed": draw(st.booleans()), "identifiers": identifiers}
    return oru("8867-4", value, "/min", hours, status, **more)


def whole(fold: StayFold) -> tuple[object, ...]:
    results = [list(fold.results(fact) or ()) for fact in ("heart_rate",)]
    orders = [list(fold.orders(fact) or ()) for fact in ("niv", "mechanical_ventilation")]
    return told(fold), fold.stay(at(48)), results, orders, fold.diagnoses()


def applied(events: Iterable[tuple[int, Event]]) -> tuple[StayFold, list[bytes]]:
    """As the pipeline does it: one by one."""
    fold, increments = StayFold(SITE), []
    for seq, event in events:
        increment = fold.apply(event, seq)
        if increment is not None:
            increments.append(increment)
    return fold, increments


@settings(max_examples=150, deadline=None)
@given(st.lists(any_event(), max_size=14), st.randoms())
def test_any_order_of_arrival_gives_the_same_stay(events: list[Event], random: Any) -> None:
    numbered = list(enumerate(events))
    expected = whole(StayFold.refold(SITE, numbered))
    assert whole(applied(numbered)[0]) == expected
    random.shuffle(numbered)
    assert whole(applied(numbered)[0]) == expected


@settings(max_examples=20, deadline=None)
@given(st.lists(any_event(), min_size=2 * MARK_EVERY, max_size=3 * MARK_EVERY), st.randoms())
def test_it_does_so_from_copies_kept_on_the_way(events: list[Event], random: Any) -> None:
    numbered = list(enumerate(events))
    expected = whole(StayFold.refold(SITE, numbered))
    random.shuffle(numbered)
    assert whole(applied(numbered)[0]) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(any_event(), max_size=MARK_EVERY + 20), st.integers(0, 60), st.randoms())
def test_a_restored_fold_is_the_fold_and_goes_on_like_it(events: list[Event], cut: int, random: Any) -> None:
    numbered = list(enumerate(events))
    live, increments = applied(numbered[:cut])
    random.shuffle(increments)
    restored = StayFold.restore(SITE, live.head(), increments)
    assert restored.head() == live.head()
    assert whole(restored) == whole(live)
    for seq, event in numbered[cut:]:
        assert live.apply(event, seq) == restored.apply(event, seq)
    assert restored.head() == live.head()
    assert whole(restored) == whole(live)


@settings(max_examples=40, deadline=None)
@given(st.lists(any_event(), max_size=10), st.lists(times, min_size=10, max_size=10))
def test_a_head_has_the_course_as_it_is_now(events: list[Event], looks: list[int]) -> None:
    """It is spelt once until it changes: by what comes in, late or not, and by the moment it is looked at."""
    fold = StayFold(SITE)
    for seq, (event, hours) in enumerate(zip(events, looks, strict=False)):
        fold.apply(event, seq)
        for _ in range(2):
            head = fold.head()
            assert head == canonical(json.loads(head))
            assert json.loads(head)["course"] == json.loads(canonical(fold._timeline.course.state()))
            fold.stay(at(hours))


def test_the_course_is_copied_at_distances_that_double() -> None:
    def looked(event: Event, seq: int) -> None:
        fold.apply(event, seq)
        fold.head()

    fold = folded(*(adt("A08", n, **WARD) for n in range(40 * MARK_EVERY)))
    fold.head()
    assert len(fold._timeline._marks) < 10
    hours = 40 * MARK_EVERY
    late = adt("A01", 0.5, sent=hours + 1, **WARD)
    work = calls(lambda: looked(adt("A08", hours - 10.5, sent=hours, **OBS), 9000))
    assert work * 5 < calls(lambda: looked(late, 9001))
    again = folded(*(adt("A08", n, **WARD) for n in range(40 * MARK_EVERY)))
    again.apply(late, 9001)
    again.apply(adt("A08", hours - 10.5, sent=hours, **OBS), 9000)
    assert whole(again) == whole(fold)


def test_newest_first_gives_the_same_stay() -> None:
    events = [adt("A01", 0, **WARD), *(adt("A08", n, **(WARD if n % 7 else OBS)) for n in range(1, 150))]
    numbered = list(enumerate(events))
    assert whole(applied(numbered[::-1])[0]) == whole(StayFold.refold(SITE, numbered))


def test_a_snapshot_of_another_profile_is_refolded() -> None:
    other = parse_site(
        DEFAULT_SITE.read_text("utf-8").replace("imm_due_days = 2", "imm_due_days = 3").encode()
    )
    with pytest.raises(NeedsRefold):
        StayFold.restore(other, folded(adt("A01", 0, **WARD)).head(), [])


def test_head_and_increment_are_canonical_json() -> None:
    fold = StayFold(SITE)
    increment = fold.apply(oru("8867-4", "88", "/min", 1), 0)
    fold.apply(adt("A01", 0, **WARD), 1)
    assert increment is not None
    for data in (increment, fold.head()):
        assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode()
    assert fold.apply(oru("no-code", "1", "", 2, report=""), 2) is None  # nor a number that an order may have


# --- cancels restore ------------------------------------------------------------------------------

ARRIVAL = (adt("A04", 0, admitted_at=at(0), **ED),)
ADMITTED = (*ARRIVAL, orm("ADTINPT", 1), adt("A01", 2, **WARD))
HISTORY = ("events_applied", "void_reviews", "closed_reviews")


@pytest.mark.parametrize(
    ("before", "target", "cancel"),
    [
        (ARRIVAL, adt("A01", 2, **WARD), "A11"),
        (ADMITTED, adt("A03", 5, discharged_at=at(5), disposition="01"), "A13"),
        (ADMITTED, adt("A02", 5, unit="MICU", room="1"), "A12"),
        (ADMITTED, adt("A16", 5), "A25"),
        (ADMITTED, adt("A21", 5), "A52"),
        ((*ADMITTED, adt("A21", 5)), adt("A22", 9), "A53"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_cancel_restores_the_previous_state(before: tuple[Event, ...], target: Event, cancel: str) -> None:
    undone = adt(cancel, 12)
    expected = {key: value for key, value in told(folded(*before)).items() if key not in HISTORY}
    changed = told(folded(*before, target))
    assert any(changed[key] != value for key, value in expected.items())
    for order in ((target, undone), (undone, target)):  # the cancel may come first: a tombstone
        found = told(folded(*before, *order))
        assert {key: found[key] for key in expected} == expected


#: What an event changes and its cancel gives back. Whose stay it is and what was seen stays known.
STATE = (
    *("lifecycle", "status", "status_spans", "status_evidence", "pending", "unit", "bed", "unit_level"),
    *("inpatient_start", "observation_start", "discharged_at", "los_midnights", "leave_midnights"),
    *("hospital_midnights", "continued_stay_due", "readmission_index", "open_reviews"),
)
#: An event, the cancel that undoes it, and the states in which it does something that can be undone.
UNDONE = [
    (adt("A02", 60, unit="MICU", room="1", bed="A"), "A12", ("active", "on_leave", "planned")),
    (adt("A02", 60, unit="4W", room="9", bed="B"), "A12", ("active", "on_leave", "planned")),
    (adt("A03", 60, discharged_at=at(60), disposition="01"), "A13", ("active", "on_leave")),
    (adt("A21", 60), "A52", ("active",)),
    (adt("A22", 60), "A53", ("on_leave",)),
    (
        adt("A54", 60, practitioners=(Practitioner(ATTENDING, "ZZDOC9", ""),)),
        "A55",
        ("active", "on_leave", "planned", "discharged"),
    ),
    (adt("A09", 60, unit="RADX"), "A33", ("active", "on_leave")),
    (adt("A10", 60, unit="4W", room="2", bed="C"), "A32", ("active", "on_leave")),
]


@settings(max_examples=150, deadline=None)
@given(st.lists(any_event(), min_size=1, max_size=10), st.sampled_from(UNDONE))
def test_whatever_came_before_a_cancel_gives_it_back(
    events: list[Event], undone: tuple[Event, str, tuple[str, ...]]
) -> None:
    """Not a fixed state: the one that was, whichever it was (any course, valid or not, of forty hours)."""
    target, cancel, states = undone
    before = folded(*events)
    stood = told(before, 70)
    assume(stood["lifecycle"] in states and bool(before._timeline.course.first_at))
    after = folded(*events, target, adt(cancel, 61))
    found = told(after, 70)
    assert {key: found[key] for key in STATE} == {key: stood[key] for key in STATE}
    assert after.stay(at(70)).practitioners == before.stay(at(70)).practitioners


def test_a_pending_admission_opens_a_cancelled_stay_again_until_it_is_cancelled_itself() -> None:
    deleted = (*ADMITTED, adt("A23", 10))
    assert (told(folded(*deleted))["lifecycle"], told(folded(*deleted))["open_reviews"]) == ("cancelled", [])
    awaited = told(folded(*deleted, adt("A14", 20)))
    assert (awaited["lifecycle"], awaited["open_reviews"]) == ("planned", ["PROSPECTIVE"])
    again = told(folded(*deleted, adt("A14", 20), adt("A27", 21)))
    assert (again["lifecycle"], again["open_reviews"], again["pending"]) == ("cancelled", [], [])


TRANSFERRED = (*ADMITTED, adt("A02", 4, unit="MICU", room="1"))


@pytest.mark.parametrize(
    ("before", "target", "cancel"),
    [
        (ARRIVAL, adt("A01", 60, **WARD), "A11"),
        ((adt("A14", 0, **WARD),), adt("A05", 60, **WARD), "A38"),
        (TRANSFERRED, adt("A02", 60, unit="4W", room="9"), "A12"),  # ends the review of the first transfer
        ((*ADMITTED, adt("A15", 5)), adt("A02", 60, unit="MICU", room="1"), "A12"),
        ((*ADMITTED, adt("A16", 5)), adt("A03", 60, discharged_at=at(60), disposition="01"), "A13"),
        (ADMITTED, adt("A14", 60), "A27"),
        ((*ADMITTED, adt("A23", 10)), adt("A14", 60), "A27"),
        (ADMITTED, adt("A15", 60), "A26"),
        (ADMITTED, adt("A16", 60), "A25"),
        (ADMITTED, adt("A21", 60), "A52"),
        ((*ADMITTED, adt("A21", 5)), adt("A22", 60), "A53"),
        (ADMITTED, adt("A54", 60, practitioners=(Practitioner(ATTENDING, "ZZDOC9", ""),)), "A55"),
        (ADMITTED, adt("A09", 60, unit="RADX"), "A33"),
        (ADMITTED, adt("A10", 60, unit="4W", room="2"), "A32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_cancel_after_a_restart_gives_back_the_same(
    before: tuple[Event, ...], target: Event, cancel: str
) -> None:
    """What a cancel needs is in the snapshot, whichever kind of event it undoes."""
    numbered = list(enumerate((*before, target)))
    live, increments = applied(numbered)
    restored = StayFold.restore(SITE, live.head(), increments)
    undone = adt(cancel, 61)
    assert live.apply(undone, 99) == restored.apply(undone, 99)
    assert restored.head() == live.head()
    assert told(restored) == told(live)
    assert live.head() != applied(numbered)[0].head()


def test_what_an_update_said_between_admission_and_its_cancel_does_not_stay() -> None:
    fold = folded(*ARRIVAL, adt("A01", 2, **WARD), adt("A08", 3, **WARD), adt("A11", 4, **WARD))
    found = told(fold)
    assert (found["status"], found["unit"], found["lifecycle"]) == ("ED", "ED", "active")
    assert found["void_reviews"] == ["ADMISSION"]
    assert found["open_reviews"] == []


def test_a_cancel_takes_the_newest_event_that_still_stands() -> None:
    first, second = adt("A03", 5, discharged_at=at(5)), adt("A03", 9, discharged_at=at(9))
    fold = folded(*ADMITTED, first, adt("A13", 6), second)
    assert told(fold)["discharged_at"] == at(9).astimezone(SITE.zone).isoformat()
    fold.apply(adt("A13", 10), 50)
    found = told(fold)
    assert (found["lifecycle"], found["discharged_at"]) == ("active", None)
    assert found["void_reviews"] == ["RETROSPECTIVE", "RETROSPECTIVE"]
    assert "ADMISSION" in found["open_reviews"]


def test_a_cancelled_stay_can_be_admitted_again() -> None:
    fold = folded(adt("A01", 0, **WARD), adt("A11", 1, **WARD))
    assert (told(fold)["lifecycle"], told(fold)["status"], told(fold)["unit"]) == ("cancelled", None, "4W")
    fold.apply(adt("A08", 2, **WARD), 7)
    assert told(fold)["lifecycle"] == "cancelled"  # an update does not bring it back
    fold.apply(adt("A01", 3, **WARD), 8)
    found = told(fold, 4)
    assert (found["lifecycle"], found["open_reviews"], found["void_reviews"]) == (
        "active",
        ["ADMISSION"],
        ["ADMISSION"],
    )


# --- status, orders, exceptions -------------------------------------------------------------------


def test_inpatient_care_begins_with_the_order_even_when_registration_came_first() -> None:
    found = told(folded(*ARRIVAL, adt("A01", 2, **WARD), orm("ADTINPT", 3)))
    assert found["inpatient_start"] == at(3).astimezone(SITE.zone).isoformat()
    assert (found["status_spans"], found["status_evidence"]) == (["ED", "INPATIENT"], "ORDER")


def test_a_missing_inpatient_order_is_an_exception_after_its_time() -> None:
    fold = folded(*ARRIVAL, adt("A01", 2, **WARD))
    assert told(fold, 14)["exceptions"] == []  # 12 hours, not more
    assert told(fold, 14.1)["exceptions"] == ["INPATIENT_ORDER_MISSING"]
    assert told(fold, 14.1)["status_evidence"] == "ADT"


def test_an_order_that_registration_does_not_follow_is_an_exception_after_its_time() -> None:
    fold = folded(*ARRIVAL, orm("ADTINPT", 2))
    assert told(fold, 14)["exceptions"] == []
    assert told(fold, 14.1)["exceptions"] == ["ADT_LAG"]


def test_class_i_does_not_beat_an_observation_order() -> None:
    found = told(
        folded(*ARRIVAL, orm("ADTOBS", 1), adt("A01", 2, patient_class="I", patient_type="", unit="4W"))
    )
    assert found["status"] == "OBSERVATION"


def test_a_conversion_without_an_order_is_taken_from_registration() -> None:
    fold = folded(adt("A04", 0, **OBS), orm("ADTOBS", 0.5), adt("A06", 5, **WARD))
    found = told(fold, 20)
    assert (found["status"], found["status_evidence"]) == ("INPATIENT", "ADT")
    assert found["exceptions"] == ["INPATIENT_ORDER_MISSING"]
    assert (found["open_reviews"], found["closed_reviews"]) == (["ADMISSION"], ["OBSERVATION"])


def test_back_to_observation_needs_a_condition_code_44_record() -> None:
    found = told(folded(*ADMITTED, adt("A07", 6, **OBS)), 7)
    assert found["status"] == "OBSERVATION"
    assert found["exceptions"] == ["CC44_RECORD_MISSING"]
    assert (found["open_reviews"], found["closed_reviews"]) == (["OBSERVATION"], ["ADMISSION"])


def test_an_order_cancelled_before_anyone_acted_never_was() -> None:
    found = told(folded(*ARRIVAL, orm("ADTINPT", 1), orm("ADTINPT", 2, "CA")))
    assert (found["status"], found["status_spans"]) == ("ED", ["ED"])
    assert found["void_reviews"] == ["ADMISSION"]
    assert found["exceptions"] == []


def test_an_order_cancelled_after_admission_is_for_a_person() -> None:
    found = told(folded(*ADMITTED, orm("ADTINPT", 3, "CA")))
    assert (found["status"], found["status_evidence"]) == ("INPATIENT", "ORDER")
    assert found["exceptions"] == ["STATUS_ORDER_CANCELLED"]


def test_empty_is_no_change_and_null_is_delete() -> None:
    fold = folded(*ADMITTED, adt("A08", 3))
    assert (told(fold)["unit"], told(fold)["bed"]) == ("4W", "310")
    fold.apply(adt("A08", 4, unit="", room=""), 9)
    assert (told(fold)["unit"], told(fold)["bed"]) == (None, None)


def test_a_discharge_time_on_an_update_discharges_nobody() -> None:
    found = told(folded(*ADMITTED, adt("A08", 3, discharged_at=at(3))))
    assert (found["lifecycle"], found["discharged_at"]) == ("active", None)
    assert found["exceptions"] == ["DISCHARGE_TIME_ON_ACTIVE_VISIT"]


def test_what_comes_after_the_discharge_does_not_change_the_status_it_ended_in() -> None:
    gone = adt("A03", 30, discharged_at=at(30), disposition="01", **WARD)
    found = told(folded(*ADMITTED, gone, adt("A08", 40, **OBS)))
    assert (found["lifecycle"], found["status"], found["readmission_index"]) == (
        "discharged",
        "INPATIENT",
        True,
    )
    assert found["exceptions"] == ["STATUS_CHANGE_AFTER_DISCHARGE"]


@pytest.mark.parametrize(
    ("code", "counts"), [("01", True), ("03", True), ("20", False), ("07", False), ("02", False)]
)
def test_who_counts_for_readmission(code: str, counts: bool) -> None:
    assert told(folded(*ADMITTED, adt("A03", 30, disposition=code)))["readmission_index"] is counts


def test_a_discharge_order_is_only_pending() -> None:
    fold = folded(*ADMITTED, orm("ADTDC", 20, placer="D1"))
    assert (told(fold)["lifecycle"], told(fold)["pending"]) == ("active", ["discharge"])
    fold.apply(orm("ADTDC", 21, "CA", placer="D1"), 9)
    assert told(fold)["pending"] == []


# --- identity -------------------------------------------------------------------------------------


def test_another_patients_message_on_the_visit_is_flagged_and_lends_nothing() -> None:
    stranger = oru("8867-4", "190", "/min", 3, identifiers=OTHER)
    moved = adt("A03", 4, identifiers=OTHER, diagnoses=(Diagnosis(1, "I21.9", "I10", "F", False, ""),))
    for events in ((*ADMITTED, stranger, moved), (stranger, moved, *ADMITTED)):
        fold = folded(*events)
        found = told(fold, 5)
        assert found["exceptions"] == ["PATIENT_MISMATCH"]
        assert (found["mrn"], found["lifecycle"]) == ("7790001", "active")
        assert fold.stay(at(5)).diagnoses == ()
        assert not any(fold.is_patient(each.patient) for each in fold.results("heart_rate") or ())


def test_accounts_are_listed_as_they_were_seen_and_a_conversion_is_no_merge() -> None:
    found = told(folded(adt("A06", 5, account="AC2", prior_accounts=("AC1",), **WARD), adt("A04", 0, **OBS)))
    assert found["accounts"] == ["AC1", "AC2"]
    assert found["mrn_aliases"] == []


def test_a_number_of_another_authority_is_not_compared() -> None:
    foreign = (("9", "ELSEWHERE", "MR"),)
    found = told(folded(adt("A04", 0, identifiers=foreign, **ED), adt("A08", 1, **ED)), 2)
    assert (found["mrn"], found["exceptions"]) == ("7790001", ["FOREIGN_PATIENT_NUMBER"])


# --- clocks ---------------------------------------------------------------------------------------


def test_midnights_are_dates_also_when_the_clocks_change() -> None:
    zone = SITE.zone
    before = instant(datetime(2026, 3, 7, 23, 59, tzinfo=zone))
    assert midnights(before, instant(datetime(2026, 3, 8, 0, 0, tzinfo=zone)), zone) == 1
    assert midnights(before, instant(datetime(2026, 3, 9, 0, 0, tzinfo=zone)), zone) == 2  # 23 hours
    evening = instant(datetime(2026, 10, 31, 23, 30, tzinfo=zone))
    assert midnights(evening, instant(datetime(2026, 11, 1, 23, 59, tzinfo=zone)), zone) == 1  # 25 hours
    assert midnights(evening, evening, zone) == 0


@pytest.mark.parametrize(
    ("coverage", "hours", "notices"),
    [(MEDICARE, 24, []), (MEDICARE, 24.1, ["MOON"]), ((Coverage(1, "ZZPPO", "COM"),), 30, []), ((), 30, [])],
)
def test_the_observation_notice(coverage: tuple[Coverage, ...], hours: float, notices: list[str]) -> None:
    found = told(folded(adt("A04", 0, coverage=coverage, **OBS)), hours)
    assert [notice["type"] for notice in found["notices_due"]] == notices
    if notices:
        assert found["notices_due"][0]["due"] == at(36).astimezone(SITE.zone).isoformat()


def test_the_inpatient_notice_and_none_after_the_patient_left() -> None:
    fold = folded(adt("A01", 0, coverage=(Coverage(2, "ZZPPO", "COM"), *MEDICARE), **WARD))
    assert told(fold, 1)["notices_due"] == [{"type": "IMM", "due": "2026-03-04T23:59:59-05:00"}]
    fold.apply(adt("A03", 5, **WARD), 9)
    assert told(fold, 6)["notices_due"] == []


# --- what a long lane costs -----------------------------------------------------------------------


def calls(function: Callable[[], object]) -> int:
    """Function calls made, Python's and the interpreter's own: work that no busy neighbour changes."""
    count = 0

    def hook(_frame: object, what: str, _argument: object) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    sys.setprofile(hook)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


LANES = {
    "A08": lambda n: adt("A08", 2 + n, **WARD),
    "ORM": lambda n: orm("RTNIV", 2 + n, placer=f"P{n}"),
    "ORM off": lambda n: orm("RTNIV", 2 + n, "NW" if n % 2 == 0 else "DC", placer=f"P{n // 2}"),
    "ORU": lambda n: oru("8867-4", "88", "/min", 2 + n, report=f"R{n}"),
}


@pytest.mark.parametrize("lane", LANES)
def test_the_ten_thousandth_message_costs_what_the_tenth_did(lane: str) -> None:
    fold = folded(*ADMITTED)
    work: dict[int, int] = {}
    sizes: dict[int, int] = {}
    message = LANES[lane]
    last = 10_002 if lane in ("A08", "ORU") else 3_002
    for n in range(last):
        event = message(n)
        if n in (60, last - 2):
            fold.head()  # what was taken in since the last look is folded here
            work[n] = calls(lambda event=event, n=n: fold.apply(event, n + 10))  # type: ignore[misc]
            work[n] += calls(fold.head)
            sizes[n] = len(fold.head())
        else:
            fold.apply(event, n + 10)
    early, late = sorted(work)
    assert work[late] <= work[early] * 1.1
    assert sizes[late] <= sizes[early] * 1.05
    assert sizes[late] < 12_000


# --- the vignettes --------------------------------------------------------------------------------


def feed(folder: Path) -> tuple[StayFold, dict[str, Any]]:
    site = load_site(SHARED / "site.toml")
    fold = StayFold(site)
    seen: set[bytes] = set()
    for seq, path in enumerate(sorted(folder.glob("*.hl7"))):
        data = path.read_bytes()
        if data not in seen:  # the same bytes again never reach the fold: intake answers them as it did
            fold.apply(translate(er7.parse(data), site.zone, mrn_authority=site.mrn_authority), seq)
        seen.add(data)
    return fold, json.loads((folder / "expected.json").read_text("utf-8"))


@pytest.mark.skipif(not SHARED.exists(), reason="../shared is not beside the repository")
@pytest.mark.parametrize("case", ["S1", "S2", "S3", "S4", "S5", "S6"])
def test_sequence_vignettes(case: str) -> None:
    fold, expected = feed(SHARED / "cases" / case)
    found = stay_json(fold.stay(datetime.fromisoformat(expected["as_of"])))
    (stay,) = expected["stays"]
    assert {key: found[key] for key in stay} == stay
    assert found["exceptions"] == expected["exceptions"]
    assert found["events_applied"] == expected["events_applied"]
    if "notices_due" in expected:
        assert found["notices_due"] == expected["notices_due"]


def test_a_cancel_that_gives_back_a_leave_which_is_cancelled_itself_leaves_the_patient_in_the_house() -> None:
    """Found by shuffling: on leave without a leave, the view of the stay had nothing to show."""
    fold = folded(*ADMITTED, adt("A21", 5), adt("A01", 6, **WARD), adt("A52", 7), adt("A11", 8))
    assert told(fold)["lifecycle"] != "on_leave"
