"""Which event a statement speaks of: told again, corrected, cancelled, in any order of arrival."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_fold import (
    ADMITTED,
    ARRIVAL,
    ED,
    OBS,
    SITE,
    WARD,
    adt,
    any_event,
    at,
    calls,
    folded,
    orm,
    told,
    whole,
)

from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Coverage, Diagnosis, Event
from umbridge.review.plan import stay_json
from umbridge.settings.site import DEFAULT_SITE, parse_site
from umbridge.stay.clock import instant
from umbridge.stay.course import triggers
from umbridge.stay.course.telling import Telling
from umbridge.stay.fold import StayFold
from umbridge.values.carers import ATTENDING, Practitioner
from umbridge.values.kinds import Status

GONE = adt("A03", 30, sent=31, discharged_at=at(30), disposition="01", **WARD)


DOCTOR = (Practitioner(ATTENDING, "ZZDOC1", "UMBH"),)


def time(hours: float) -> str:
    return at(hours).astimezone(SITE.zone).isoformat()


def named(event: Event, hours: float) -> Event:
    """With the time of what it cancels in EVN-6."""
    return replace(event, occurred=(at(hours), at(hours)), effective_at=at(hours))


def spans(fold: StayFold, hours: float = 48) -> list[tuple[str, str, str]]:
    stay = fold.stay(at(hours))
    return [
        (each.status.value, each.start.isoformat(), "" if each.end is None else each.end.isoformat())
        for each in stay.spans
    ]


# --- one discharge at a time ------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [20, 29, 33])
def test_a_discharge_told_again_after_its_cancel_stands_whatever_its_time(hours: float) -> None:
    again = adt("A03", hours, sent=40, discharged_at=at(hours), **WARD)
    found = told(folded(*ADMITTED, GONE, adt("A13", 35), again))
    assert (found["lifecycle"], found["discharged_at"]) == ("discharged", time(hours))
    assert (found["open_reviews"], found["void_reviews"]) == (["RETROSPECTIVE"], ["RETROSPECTIVE"])


@pytest.mark.parametrize("hours", [20, 29, 33])
@pytest.mark.parametrize("trigger", ["A03", "A08"])
def test_a_second_statement_about_the_discharge_is_the_one_that_counts(trigger: str, hours: float) -> None:
    again = adt(
        trigger, hours if trigger == "A03" else 40, sent=40, discharged_at=at(hours), disposition="02"
    )
    fold = folded(*ADMITTED, GONE, again)
    found = told(fold)
    assert (found["lifecycle"], found["discharged_at"], found["exceptions"]) == (
        "discharged",
        time(hours),
        [],
    )
    assert spans(fold)[-1][2] == fold.stay(at(48)).places[-1].end.isoformat() == time(hours)  # type: ignore[union-attr]
    assert found["readmission_index"] is False  # 02: to another acute hospital
    assert fold.stay(at(48)).discharge_origin == (len(ADMITTED), 0)  # the review keeps its name


def test_a_statement_without_a_time_leaves_the_time() -> None:
    assert told(folded(*ADMITTED, GONE, adt("A03", 40, **WARD)))["discharged_at"] == time(30)


def test_the_same_discharge_sent_again_after_a_readmission_is_that_one() -> None:
    back = adt("A01", 33, **WARD)
    again = adt("A03", 30, sent=34, discharged_at=at(30), **WARD)
    assert told(folded(*ADMITTED, GONE, back, again))["lifecycle"] == "active"
    second = adt("A03", 38, discharged_at=at(38), **WARD)
    assert told(folded(*ADMITTED, GONE, back, again, second))["discharged_at"] == time(38)


def test_a_discharge_is_cancelled_with_all_its_statements() -> None:
    again = adt("A03", 29, sent=32, discharged_at=at(29), **WARD)
    fold = folded(*ADMITTED, GONE, again, adt("A08", 33, discharged_at=at(28)), adt("A13", 34))
    assert (told(fold)["lifecycle"], told(fold)["discharged_at"]) == ("active", None)


def test_what_was_told_last_of_diagnoses_and_cover_counts_whatever_time_it_is_about() -> None:
    said = {"coverage": (Coverage(1, "ZZPPO", "COM"),)}
    first = adt("A03", 30, sent=31, diagnoses=(Diagnosis(1, "J18.9", "I10", "A", False, ""),), **WARD)
    again = adt("A03", 20, sent=40, diagnoses=(Diagnosis(1, "I50.9", "I10", "A", False, ""),), **WARD, **said)
    for order in ((first, again), (again, first)):
        stay = StayFold.refold(SITE, enumerate((*ADMITTED, *order))).stay(at(48))
        assert (stay.diagnoses, [plan.plan_id for plan in stay.coverage]) == (("I50.9",), ["ZZPPO"])


# --- what a cancel means ----------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", ["A02", "A10"])
def test_evn_6_names_the_one_that_is_cancelled(trigger: str) -> None:
    one, two = adt(trigger, 5, unit="MICU"), adt(trigger, 8, unit="4W", room="9")
    cancel = {"A02": "A12", "A10": "A32"}[trigger]
    first, last = (
        folded(*ADMITTED, one, two, named(adt(cancel, 9), 5)),
        folded(*ADMITTED, one, two, adt(cancel, 9)),
    )
    assert [place.unit for place in first.stay(at(10)).places] == ["ED", "4W", "4W"]
    assert [place.unit for place in last.stay(at(10)).places] == ["ED", "4W", "MICU"]


def test_a_cancel_told_twice_takes_nothing_else() -> None:
    one, two = adt("A02", 5, unit="MICU"), adt("A02", 8, unit="4W", room="9")
    cancel = named(adt("A12", 9), 8)
    twice = folded(*ADMITTED, one, two, cancel, replace(cancel, sent_at=at(10)))
    assert told(twice)["unit"] == "MICU"


def test_a_cancel_whose_evn_6_names_nothing_takes_the_one_told_last() -> None:
    """Senders put the time of the cancel there: the patient must not stay discharged for it."""
    assert told(folded(*ADMITTED, GONE, named(adt("A13", 35), 35)))["lifecycle"] == "active"


def test_a_cancel_never_takes_what_was_told_after_it() -> None:
    late = adt("A03", 30, sent=36, discharged_at=at(30), **WARD)
    assert told(folded(*ADMITTED, adt("A13", 35), late))["lifecycle"] == "discharged"


def test_of_two_openings_the_one_that_is_named_never_was() -> None:
    found = told(folded(*ADMITTED, named(adt("A11", 3), 0)))
    assert (found["lifecycle"], found["status"], found["status_spans"]) == (
        "active",
        "INPATIENT",
        ["INPATIENT"],
    )


def test_an_admission_told_again_after_its_cancel_stands_though_it_took_effect_earlier() -> None:
    first = adt("A01", 2, admitted_at=at(2), **WARD)
    again = adt("A01", 1, sent=5, admitted_at=at(1), **WARD)
    fold = folded(first, adt("A11", 4, **WARD), again)
    assert (told(fold)["lifecycle"], told(fold)["inpatient_start"]) == ("active", time(1))
    gone = adt("A03", 3, sent=9, discharged_at=at(3), **WARD)  # before the cancel, by its own time
    assert told(folded(first, adt("A11", 4, **WARD), again, gone))["discharged_at"] == time(3)


# --- what is cancelled never was ----------------------------------------------------------------------

#: All of a stay that an event can set; what a cancel leaves is listed beside it (void reviews).
WHOLE = (
    *("lifecycle", "status", "status_spans", "status_evidence", "pending", "unit", "bed", "unit_level"),
    *("care_start", "inpatient_start", "observation_start", "discharged_at", "los_midnights"),
    *("leave_midnights", "hospital_midnights", "continued_stay_due", "readmission_index", "open_reviews"),
)


#: What belongs to the opening that it was told after: orders, merges and deletions stand by themselves.
WITHIN = frozenset(
    {"A02", "A03", "A06", "A07", "A08", "A09", "A10", "A14", "A15", "A16", "A21", "A22", "A54"}
)


AFTER = WITHIN | {"A01", "A04", "A05", "A11", "A13", "A12", "A25", "A38", "A52", "A53", "A55"}


def seen_of(fold: StayFold, hours: float = 200) -> tuple[object, ...]:
    stay = fold.stay(at(hours))
    what = stay_json(stay)
    more = (stay.first_contact, stay.places, stay.leaves, stay.practitioners, stay.disposition)
    return (
        *({key: what[key] for key in WHOLE}.items()),
        *more,
        *(stay.expected_admission, stay.expected_discharge, stay.site.name, stay.diagnoses),
    )


def moved_on(event: Event, hours: float) -> Event:
    """The same so many hours later."""
    by, visit = timedelta(hours=hours), event.visit
    times = {"sent_at": event.sent_at + by, "effective_at": event.effective_at + by}
    for name in ("admitted_at", "discharged_at"):
        value = getattr(visit, name)
        visit = visit if value is None else replace(visit, **{name: value + by})
    return replace(event, visit=visit, **times)


@pytest.mark.parametrize("opening", ["A01", "A04", "A05"])
@pytest.mark.parametrize("again", [{}, {"admitted_at": at(37)}])
def test_a_cancelled_opening_leaves_nothing_in_the_stay_that_begins_again(
    opening: str, again: dict[str, Any]
) -> None:
    """Entered for tonight, cancelled, entered for tomorrow: care begins tomorrow."""
    first = adt(
        opening,
        *(24, 24.1),
        **{**WARD, "admitted_at": at(24), "practitioners": DOCTOR, "expected_discharge": at(70)},
        expected_admission=at(30),
    )
    cancel = adt("A38" if opening == "A05" else "A11", 24.2, **WARD, admitted_at=at(24))
    second = adt("A01", 37, **again, patient_class="I")
    for order in itertools.permutations((first, cancel, second)):
        assert seen_of(folded(*order)) == seen_of(folded(second))


def test_a_plan_that_is_cancelled_shows_nothing_of_the_admission_cancelled_before_it() -> None:
    gone = (adt("A01", -1, admitted_at=at(-1), practitioners=DOCTOR, **WARD), adt("A11", 90))
    planned = (adt("A05", 99, **WARD), adt("A38", 100, **ED))
    for order in itertools.permutations((*gone, *planned)):
        assert seen_of(folded(*order)) == seen_of(folded(*planned))


def test_the_facility_of_a_cancelled_opening_is_not_where_the_stay_began() -> None:
    west = '\n[facilities.west]\nmsh4 = ["ZZWEST"]\ntimezone = "America/Los_Angeles"\n'
    text = DEFAULT_SITE.read_text("utf-8") + west
    site = parse_site(text.encode())
    first = replace(adt("A01", 24, **WARD), facility="ZZWEST")
    events = (first, adt("A11", 25), adt("A01", 37, **WARD))
    fold = StayFold.refold(site, enumerate(events))
    assert fold.here.zone == site.zone
    assert StayFold.refold(site, enumerate(events[:1])).here.zone != site.zone
    kept = [each for n, event in enumerate(events) if (each := fold.increment(event, n)) is not None]
    assert StayFold.restore(site, fold.head(), kept).here.zone == site.zone


def diagnosed(*codes: str, action: str = "") -> tuple[Diagnosis, ...]:
    return tuple(Diagnosis(n, code, "I10", "A", False, "", action=action) for n, code in enumerate(codes, 1))


SAID = [diagnosed("I21.9"), (), diagnosed("I50.9", action="A")]
AFTERWARDS = diagnosed("J18.9", action="A")  # it adds to the list that stands


def test_a_diagnosis_is_of_the_visit_and_ends_with_a_visit_that_never_was() -> None:
    """A patient who is sent home after all was ill nevertheless; cover is the person's."""
    plan = Coverage(1, "ZZPPO", "PPO")
    came = adt("A04", 0, diagnoses=diagnosed("R07.9"), **ED)
    admitted = adt("A01", 2, diagnoses=diagnosed("I21.9"), coverage=(plan,), **WARD)
    added = adt("A08", 3, diagnoses=diagnosed("I50.9", action="A"))
    cancel = adt("A11", 4, diagnoses=diagnosed("I21.9"), **WARD)
    for order in itertools.permutations(enumerate((came, admitted, added, cancel))):
        stay = looked(order).stay(at(10))  # the visit goes on
        assert (stay.status, set(stay.diagnoses)) == (Status.ED, {"I21.9"})
    for order in itertools.permutations(enumerate((admitted, added, replace(cancel, diagnoses=())))):
        assert set(looked(order).stay(at(10)).diagnoses) == {"I21.9", "I50.9"}  # it shows what it was
    again = adt("A01", 9, diagnoses=diagnosed("J18.9", action="A"), **WARD)
    for order in itertools.permutations(enumerate((admitted, added, cancel, again))):
        fold = looked(order)
        stay = fold.stay(at(10))
        assert (stay.diagnoses, [each.plan_id for each in stay.coverage]) == (("J18.9",), ["ZZPPO"])
        assert [each.code for each in fold.diagnoses(instant(at(9.5)), instant(at(9.5)))] == ["J18.9"]
        kept = [fold.increment(event, seq) for seq, event in order]
        restored = StayFold.restore(SITE, fold.head(), [each for each in kept if each is not None])
        assert restored.stay(at(10)).diagnoses == ("J18.9",)
    bare = replace(again, diagnoses=())
    for order in itertools.permutations(enumerate((admitted, added, cancel, bare))):
        assert looked(order).stay(at(10)).diagnoses == ()
    reason = replace(orm("ADTOBS", 3), diagnoses=diagnosed("N17.9"))  # orders are cancelled by themselves
    for order in itertools.permutations(enumerate((admitted, reason, cancel, bare))):
        assert looked(order).stay(at(10)).diagnoses == ("N17.9",)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(any_event(), max_size=5),
    st.lists(any_event(), min_size=1, max_size=6),
    st.sampled_from(["A01", "A04"]),
    st.sampled_from(["A01", "A04", "A05", "A14"]),
    st.randoms(),
)
def test_what_is_cancelled_never_was(
    under: list[Event], after: list[Event], opening: str, again: str, random: Any
) -> None:
    """Whatever was said under it, but for orders, which are cancelled by themselves.

    No PV1-44 moves the new opening behind what was said of it: to a cancelled stay that says nothing.
    """
    ours = {"patient": adt("A01", 0).patient, "groups": (), "coverage": (), "diagnoses": ()}
    said = iter(SAID * 6)
    under = [replace(each, **ours | {"diagnoses": next(said)}) for each in under if each.trigger in WITHIN]
    ours["diagnoses"] = AFTERWARDS if again in ("A01", "A05") else ()
    after = [moved_on(replace(each, **ours), 100) for each in after if each.trigger in AFTER]
    after = [replace(each, visit=replace(each.visit, admitted_at=None)) for each in after]
    after = [adt(again, 99, **WARD), *after]
    gone = [adt(opening, -1, admitted_at=at(-1), **WARD), *under, adt("A11", 90)]
    numbered = list(enumerate((*gone, *after)))
    random.shuffle(numbered)
    assert seen_of(looked(numbered)) == seen_of(folded(*after))


PLAN, CAME_ANEW = adt("A05", 99, **WARD), adt("A01", 99, **WARD)


@pytest.mark.parametrize(
    "after",
    [
        # told under the plan that stands, took effect under the admission that was cancelled
        (CAME_ANEW, adt("A05", 109, **WARD), adt("A22", 102, sent=110, **OBS), adt("A11", 111, sent=119)),
        (PLAN, adt("A01", 101), adt("A11", 104), adt("A38", 118, **ED)),  # nothing is left
        (PLAN, adt("A02", 100), adt("A12", 105, unit="MICU"), adt("A38", 111, **WARD)),
        (
            *(adt("A04", 99, **WARD), adt("A02", 106, sent=109, unit="MICU")),
            *(adt("A12", 109, sent=110, **OBS), adt("A05", 108, sent=116, **ED), adt("A11", 110, sent=118)),
        ),
    ],
    ids=["a move under a plan", "a plan and an admission", "a move and its cancel", "all of it"],
)
def test_an_earlier_admission_that_never_was_changes_nothing_of_a_later_one(after: tuple[Event, ...]) -> None:
    gone = (adt("A01", -1, admitted_at=at(-1), **WARD), adt("A11", 90))
    expected = seen_of(folded(*after))
    for order in itertools.permutations(enumerate(after, 2)):
        assert seen_of(looked((*enumerate(gone), *order))) == expected


def test_a_plan_whose_admission_was_cancelled_first_is_cancelled_with_it() -> None:
    found = told(folded(PLAN, adt("A01", 101), adt("A11", 104), adt("A38", 118, **ED)), 120)
    assert (found["lifecycle"], found["open_reviews"]) == ("cancelled", [])


# --- when the patient came --------------------------------------------------------------------------

CAME = (adt("A04", 0, admitted_at=at(0), **ED), adt("A01", 2.5, admitted_at=at(2.5), **WARD))


@pytest.mark.parametrize("trigger", ["A08", "A02", "A54"])
@pytest.mark.parametrize("hours", [-3, 1])
def test_pv1_44_is_a_later_statement_about_the_admission(trigger: str, hours: float) -> None:
    came = (adt("A04", 0, admitted_at=at(0), **ED), adt("A01", 2.5, admitted_at=at(0), **WARD))
    one = replace(came[1], effective_at=at(0))
    fold = folded(came[0], one, adt(trigger, 9, admitted_at=at(hours)))
    assert (told(fold)["care_start"], told(fold)["inpatient_start"]) == (time(hours), time(2.5))
    assert fold.stay(at(10)).places[0].start.isoformat() == time(hours)


def test_two_openings_have_each_their_own_time() -> None:
    fold = folded(*CAME, adt("A08", 5, admitted_at=at(2)))
    assert (told(fold)["care_start"], told(fold)["inpatient_start"]) == (time(0), time(2))
    fold = folded(*CAME, adt("A08", 5, admitted_at=at(0)))  # says what is known of the other
    assert (told(fold)["care_start"], told(fold)["inpatient_start"]) == (time(0), time(2.5))


def test_pv1_44_of_a_conversion_is_the_new_openings() -> None:
    fold = folded(*ARRIVAL, adt("A06", 4, admitted_at=at(4), **WARD))
    assert (told(fold)["care_start"], told(fold)["inpatient_start"]) == (time(0), time(4))
    fold.apply(adt("A08", 6, admitted_at=at(3.5)), 9)
    assert (told(fold)["care_start"], told(fold)["inpatient_start"]) == (time(0), time(3.5))


def test_a_deleted_time_is_known_no_more() -> None:
    """HL7's delete ("") takes the stated time away, never the event: only a cancel does that."""
    left = folded(*ADMITTED, GONE, adt("A08", 33, deleted=("PV1-45",)))
    assert (told(left)["lifecycle"], told(left)["discharged_at"]) == ("discharged", time(31))
    assert told(left)["exceptions"] == ["TIMES_CONTRADICT"]
    again = folded(*ADMITTED, GONE, adt("A08", 33, deleted=("PV1-45",)), adt("A08", 34, discharged_at=at(29)))
    assert (told(again)["discharged_at"], told(again)["exceptions"]) == (time(29), [])
    here = folded(*ADMITTED, adt("A08", 33, deleted=("PV1-45",)))
    assert told(here)["lifecycle"] == "active"
    came = folded(adt("A04", 0, sent=0.5, admitted_at=at(0), **ED), adt("A08", 2, deleted=("PV1-44",)))
    assert told(came)["care_start"] is None
    assert spans(came)[0][:2] == ("ED", time(0.5))
    came.apply(adt("A08", 3, admitted_at=at(0.25)), 9)
    assert told(came)["care_start"] == time(0.25)


def test_a_deleted_disposition_and_expectation_are_known_no_more() -> None:
    went = folded(*ADMITTED, GONE, adt("A08", 33, disposition=""))
    assert (folded(*ADMITTED, GONE).stay(at(48)).disposition, went.stay(at(48)).disposition) == ("HOME", None)
    stays = folded(*ADMITTED, adt("A08", 5, expected_discharge=at(60)))
    assert stays.stay(at(48)).expected_discharge == at(60)
    stays.apply(adt("A08", 6, deleted=("PV2-9",)), 9)
    assert stays.stay(at(48)).expected_discharge is None


def test_what_is_deleted_on_the_wire() -> None:
    text = (
        "MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260302100000||ADT^A03^ADT_A03|ZZ1|P|2.5.1\rEVN||20260302100000\r"
        "PID|1||ZZ7790001^^^UMBH^MR\rPV1|1|I|4W^1^1"
        + "|" * 16
        + "ZZVN1^^^UMBH^VN"
        + "|" * 17
        + '""'
        + "|" * 8
        + '""|""\rPV2|||||||||""\r'
    )
    event = translate(er7.parse(text.encode()), ZONE, mrn_authority="UMBH")
    assert event.visit.deleted == ("PV1-44", "PV1-45", "PV2-9")
    assert (event.visit.disposition, event.visit.days, event.effective_at) == ("", (), event.sent_at)
    assert event.notes == ()


@pytest.mark.parametrize("trigger", ["A08", "A02", "A54", "A16", "A21", "A03"])
def test_a_status_that_no_message_saw_begin_is_said(trigger: str) -> None:
    """Connected in mid-stay: the first message's time stands in, and a person should know."""
    place = {**WARD, **({"practitioners": DOCTOR} if trigger == "A54" else {})}
    first = adt(trigger, 30, **place)
    then = [adt("A08", 31, **WARD)] if trigger != "A03" else []
    found = told(folded(first, *then), 32)
    assert ("STATUS_START_UNKNOWN" in found["exceptions"]) is True
    ordered = folded(orm("ADTINPT", 1, sent=1.1), first, *then)
    assert "STATUS_START_UNKNOWN" not in told(ordered, 32)["exceptions"]
    seen = folded(adt("A01", 1, **WARD), first, *then)
    assert "STATUS_START_UNKNOWN" not in told(seen, 32)["exceptions"]


@pytest.mark.parametrize("trigger", ["A08", "A02", "A54", "A16", "A21", "A03"])
def test_pv1_44_is_no_start_of_a_status_that_no_message_saw_begin(trigger: str) -> None:
    """One rule for whichever message comes first: its time stands in, PV1-44 may be the arrival."""
    place = {**WARD, **({"practitioners": DOCTOR} if trigger == "A54" else {})}
    first = [adt(trigger, 30, admitted_at=at(1), **place)]
    first += [adt("A08", 30, sent=31, admitted_at=at(1), **WARD)] if trigger in ("A54", "A16") else []
    found = told(folded(*first), 32)
    assert (found["inpatient_start"], found["care_start"]) == (time(30), time(1))
    assert "STATUS_START_UNKNOWN" in found["exceptions"]
    if trigger != "A03":
        return
    back = adt("A13", 33)  # the patient is still there, since nobody knows when
    for order in itertools.permutations((*first, back)):
        found = told(folded(*order), 34)
        assert (found["lifecycle"], found["inpatient_start"]) == ("active", time(30))
        assert "STATUS_START_UNKNOWN" in found["exceptions"]
    came = adt("A01", 1, admitted_at=at(1), **WARD)
    for order in itertools.permutations((*first, came)):
        found = told(folded(*order), 34)
        assert (found["inpatient_start"], found["exceptions"]) == (
            time(1),
            told(folded(came, *first), 34)["exceptions"],
        )
        assert "STATUS_START_UNKNOWN" not in found["exceptions"]


OBSERVED = adt("A04", 0, admitted_at=at(0), **OBS)


#: PV1-44 of the message that makes the patient an inpatient at four o'clock, and that of an update at six.
@pytest.mark.parametrize("trigger", ["A01", "A06"])
@pytest.mark.parametrize(
    ("first", "corrected", "care", "inpatient"),
    [
        (0, None, 0, 4),  # still the arrival
        (0, 0, 0, 4),
        (0, -1, -1, 4),  # the arrival was earlier
        (0, 1, 1, 4),  # or later
        (0, 4, 0, 4),  # when the patient was admitted
        (0, 5, 0, 5),
        (4, 3.5, 0, 3.5),
        (4, 5, 0, 5),
        (4, 0, 0, 4),  # says what is known of the arrival
    ],
)
def test_pv1_44_never_begins_an_admission_before_it_was_decided_nor_parts_a_stay(
    trigger: str, first: float, corrected: float | None, care: float, inpatient: float
) -> None:
    when = first if trigger == "A01" else 4  # without EVN-6 an A01 takes effect at its PV1-44
    events = [OBSERVED, adt(trigger, when, sent=4, admitted_at=at(first), **WARD)]
    if corrected is not None:
        events.append(adt("A08", 6, admitted_at=at(corrected), **WARD))
    for order in itertools.permutations(enumerate(events)):
        fold = looked(order)
        assert [each[:2] for each in spans(fold)] == [
            ("OBSERVATION", time(care)),
            ("INPATIENT", time(inpatient)),
        ]
        assert (told(fold)["care_start"], told(fold)["inpatient_start"]) == (time(care), time(inpatient))


def test_an_admission_for_the_emergency_department_and_one_for_the_ward_are_two() -> None:
    fold = folded(adt("A01", 0, admitted_at=at(0), **ED), adt("A01", 3, admitted_at=at(3), **WARD))
    assert [span[:2] for span in spans(fold)] == [("ED", time(0)), ("INPATIENT", time(3))]
    again = adt("A01", 2, sent=6, admitted_at=at(2), **WARD)
    fold.apply(again, 9)
    assert [span[:2] for span in spans(fold)] == [("ED", time(0)), ("INPATIENT", time(2))]


def test_an_admission_sent_again_after_the_discharge_is_no_readmission() -> None:
    again = adt("A01", 2, sent=40, admitted_at=at(2), **WARD)
    first = replace(ADMITTED[2], visit=replace(ADMITTED[2].visit, admitted_at=at(2)))
    assert told(folded(*ADMITTED[:2], first, GONE, again))["lifecycle"] == "discharged"
    assert told(folded(*ADMITTED, GONE, adt("A01", 40, **WARD)))["lifecycle"] == "active"


# --- what cannot be, and what cannot move -----------------------------------------------------------


@pytest.mark.parametrize("hours", [-9000, -1, 45])
def test_a_discharge_that_cannot_have_been_then_is_one_all_the_same(hours: float) -> None:
    """Last year, before the patient came, after it was told: when it was told stands in."""
    gone = adt("A03", hours, sent=31, discharged_at=at(hours), **WARD)
    found = told(folded(*ADMITTED, gone))
    assert (found["lifecycle"], found["discharged_at"]) == ("discharged", time(31))
    assert found["exceptions"] == ["TIMES_CONTRADICT"]
    put_right = adt("A08", 35, discharged_at=at(30))
    assert told(folded(*ADMITTED, gone, put_right))["discharged_at"] == time(30)
    assert told(folded(*ADMITTED, gone, put_right))["exceptions"] == []


def test_a_patient_who_left_before_the_admission_was_entered_has_left() -> None:
    """In the emergency department: what is entered afterwards is no admission."""
    entered = adt("A01", 3, **WARD)
    found = told(folded(ARRIVAL[0], entered, adt("A03", 2, sent=4, discharged_at=at(2), **WARD)))
    assert (found["lifecycle"], found["discharged_at"], found["status"]) == ("discharged", time(2), "ED")
    late = ["STATUS_CHANGE_AFTER_DISCHARGE", "STATUS_CONTRADICTED", "TIMES_CONTRADICT"]
    assert found["exceptions"] == late  # the second: the discharge says inpatient


@pytest.mark.parametrize("corrected", [-9000, 45])
def test_a_correction_that_cannot_be_true_is_said_and_not_used(corrected: float) -> None:
    found = told(folded(*ADMITTED, GONE, adt("A08", 33, discharged_at=at(corrected))))
    assert (found["discharged_at"], found["exceptions"]) == (time(30), ["TIMES_CONTRADICT"])


def test_a_discharge_before_the_only_arrival_is_said_until_there_is_one_after_it() -> None:
    """Clocks that disagree, or the hour that comes twice: the patient may be gone."""
    left, came = adt("A03", 0.5, discharged_at=at(0.5), **ED), adt("A04", 0.75, admitted_at=at(0.75), **ED)
    for order in itertools.permutations(enumerate((left, came, adt("A08", 1, **ED)))):
        found = told(looked(order))
        assert (found["lifecycle"], found["exceptions"]) == ("active", ["TIMES_CONTRADICT"])
    again = adt("A03", 3, discharged_at=at(3), **ED)
    for order in itertools.permutations(enumerate((left, came, again))):
        found = told(looked(order))
        assert (found["discharged_at"], found["exceptions"]) == (time(3), [])
    for order in itertools.permutations(enumerate((left, came, again, adt("A13", 4)))):
        assert told(looked(order))["exceptions"] == ["TIMES_CONTRADICT"]
    for order in itertools.permutations(enumerate((left, came, adt("A13", 1)))):
        assert told(looked(order))["exceptions"] == []
    first = adt("A04", 0, admitted_at=at(0), **ED)  # the arrival that it ended: a readmission
    for order in itertools.permutations(enumerate((first, left, came))):
        assert told(looked(order))["exceptions"] == []


def test_an_arrival_that_cannot_be_is_said_until_it_is_put_right() -> None:
    wrong, right = adt("A08", 33, admitted_at=at(32)), adt("A08", 34, admitted_at=at(0))
    found = told(folded(*ADMITTED, GONE, wrong))
    assert (found["care_start"], found["exceptions"]) == (time(0), ["TIMES_CONTRADICT"])
    assert told(folded(*ADMITTED, GONE, wrong, right))["exceptions"] == []


def test_a_time_a_little_ahead_is_a_correction_and_no_discharge_of_somebody_who_is_here() -> None:
    ahead = adt("A08", 31.5, discharged_at=at(31.55))  # clocks differ by three minutes
    found = told(folded(*ADMITTED, GONE, ahead))
    assert (found["discharged_at"], found["exceptions"]) == (time(31.55), [])


HERE = adt("A04", 0, admitted_at=at(0), **OBS)
LEFT = adt("A03", 30, sent=31, discharged_at=at(30), **OBS)


def said_late(trigger: str, hours: float) -> Event:
    more = {"admitted_at": at(hours)} if trigger in ("A01", "A04") else {}
    return adt(trigger, hours, sent=40, **WARD, **more)


@pytest.mark.parametrize(
    ("trigger", "hours"),
    [("A06", 20), ("A06", 40), ("A08", 20), ("A08", 40), ("A01", 20), ("A04", 20), ("A02", 20), ("A02", 40)],
)
def test_what_is_said_after_the_discharge_moves_no_status(trigger: str, hours: float) -> None:
    """Dated back or not: a class for the bill is not the care that was given."""
    after = folded(HERE, LEFT, said_late(trigger, hours))
    assert spans(after) == spans(folded(HERE, LEFT))
    assert told(after)["exceptions"] == ["STATUS_CHANGE_AFTER_DISCHARGE"]


def test_an_order_in_force_does_not_hide_a_conversion_that_was_dated_back() -> None:
    fold = folded(*ADMITTED, GONE, adt("A07", 29, sent=33, **OBS))
    assert (told(fold)["status"], told(fold)["inpatient_start"]) == ("INPATIENT", time(1))
    assert told(fold)["exceptions"] == ["STATUS_CHANGE_AFTER_DISCHARGE"]


def test_what_was_said_while_a_discharge_stood_that_is_cancelled_counts() -> None:
    fold = looked(enumerate((HERE, LEFT, said_late("A06", 20), adt("A13", 41))))
    assert (told(fold)["status"], told(fold)["inpatient_start"]) == ("INPATIENT", time(20))


@pytest.mark.parametrize(
    ("ordered", "exceptions"), [(20, ["ORDER_AFTER_DISCHARGE"]), (33, ["ORDER_AFTER_DISCHARGE"])]
)
def test_an_order_told_after_the_discharge_moves_no_status(ordered: float, exceptions: list[str]) -> None:
    here = (adt("A04", 0, admitted_at=at(0), **OBS), orm("ADTOBS", 0.5))
    gone = adt("A03", 30, sent=31, discharged_at=at(30), **OBS)
    after = folded(*here, gone, orm("ADTINPT", ordered, placer="P9", sent=33))
    assert spans(after) == spans(folded(*here, gone))
    assert told(after)["exceptions"] == exceptions


def test_what_was_entered_before_the_discharge_and_sent_after_it_counts() -> None:
    late = replace(adt("A06", 20, sent=40, **WARD), told_at=at(21))
    found = told(folded(adt("A04", 0, **OBS), adt("A03", 30, sent=31, discharged_at=at(30)), late))
    assert (found["status"], found["inpatient_start"]) == ("INPATIENT", time(20))


def test_a_transfer_entered_after_the_discharge_moved_the_patient_when_it_did() -> None:
    late = adt("A02", 20, sent=40, unit="MICU")
    places = folded(*ADMITTED, GONE, late).stay(at(48)).places
    assert [(place.unit, place.start.isoformat()) for place in places][-1] == ("MICU", time(20))


# --- days without an hour ---------------------------------------------------------------------------

ZONE = ZoneInfo("America/New_York")


def message(
    trigger: str,
    sent: str,
    evn: str = "",
    pv1_44: str = "",
    pv1_45: str = "",
    recorded: str = "",
    unit: str = "4W",
) -> Event:
    text = (
        f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|{sent}||ADT^{trigger}^ADT_A01|ZZ-{trigger}-{sent}|P|2.5.1\r"
        f"EVN|{trigger}|{recorded or sent}||||{evn}\rPID|1||ZZ7790001^^^UMBH^MR\r"
        f"PV1|1|I|{unit}^1^1||||||||||||||||ZZVN1^^^UMBH^VN{'|' * 25}{pv1_44}|{pv1_45}\r"
    )
    return translate(er7.parse(text.encode()), ZONE, mrn_authority="UMBH")


def local(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=ZONE)


def test_a_day_without_an_hour_is_its_last_moment_before_the_message() -> None:
    same = message("A03", "20260302141500", pv1_45="20260302")
    assert (same.effective_at, same.visit.discharged_at) == (local("20260302141500"),) * 2
    before = message("A03", "20260302141500", pv1_45="20260301")
    assert before.visit.discharged_at == local("20260301235959")
    assert before.visit.days == ("PV1-45",)
    assert message("A02", "20260302141500", evn="20260302").effective_at == local("20260302141500")
    assert message("A08", "20260302141500", pv1_44="202603020800").visit.days == ()


def test_a_day_without_an_hour_has_the_hour_that_evn_2_knows() -> None:
    """Sent after midnight: the hour at which it was entered says more than the end of the day."""
    came = message("A04", "20260303010000", recorded="20260302080000", pv1_44="20260302")
    assert came.effective_at == came.visit.admitted_at == local("20260302080000")
    assert (came.visit.days, came.told_at) == ((), None)
    left = message("A03", "20260303010000", recorded="20260302210000", pv1_45="20260302")
    assert left.effective_at == left.visit.discharged_at == local("20260302210000")
    other = message("A04", "20260303010000", recorded="20260301080000", pv1_44="20260302")  # of another day
    assert other.effective_at == local("20260302235959")
    bare = message("A04", "20260303010000", recorded="20260302", pv1_44="20260302")
    assert bare.effective_at == local("20260302235959")


def test_when_it_was_told_is_evn_2_unless_that_is_when_it_happened() -> None:
    assert message("A02", "20260302141500").told_at is None
    assert message("A02", "20260302141500", recorded="202603021000").told_at == local("20260302100000")
    assert message("A02", "20260302141500", recorded="202603021000", evn="202603021000").told_at is None
    assert message("A02", "20260302141500", recorded="202603031000").told_at is None  # nobody enters tomorrow


def test_a_day_without_an_hour_says_nothing_new_of_a_time_on_that_day() -> None:
    first = message("A01", "20260302100000", pv1_44="202603020930")
    left = message("A03", "20260304120000", pv1_44="20260302", pv1_45="202603041130")
    again = message("A08", "20260304180000", pv1_44="20260302", pv1_45="20260304")
    found = told(folded(first, left, again))
    assert (found["care_start"], found["discharged_at"]) == (
        "2026-03-02T09:30:00-05:00",
        "2026-03-04T11:30:00-05:00",
    )
    other = message("A08", "20260305180000", pv1_44="20260301", pv1_45="20260303")
    found = told(folded(first, left, other))
    assert (found["care_start"], found["discharged_at"]) == (
        "2026-03-01T23:59:59-05:00",
        "2026-03-03T23:59:59-05:00",
    )


def test_a_day_in_evn_6_of_a_cancel_names_what_took_place_on_it() -> None:
    here = message("A01", "20260302100000", pv1_44="202603020930")
    moves = (
        message("A02", "20260303100000", evn="202603031000", unit="MICU"),
        message("A02", "20260304100000", evn="202603041000", unit="5W"),
    )
    cancel = message("A12", "20260305100000", evn="20260303")
    assert cancel.occurred == (local("20260303000000"), local("20260303235959"))
    stay = folded(here, *moves, cancel).stay(cancel.sent_at)
    assert [place.start.isoformat()[:10] for place in stay.places] == ["2026-03-02", "2026-03-04"]


# --- any order of arrival ---------------------------------------------------------------------------


@st.composite
def any_statement(draw: st.DrawFn) -> Event:
    """As ``any_event``, with entry times, EVN-6 and days without an hour."""
    event = draw(any_event())
    if event.message_type != "ADT":
        return event
    if draw(st.integers(0, 2)) == 0:
        event = replace(event, occurred=(event.effective_at, event.effective_at))
    if draw(st.integers(0, 3)) == 0:
        event = replace(event, told_at=at(draw(st.integers(0, 40))))
    days = tuple(name for name in ("PV1-44", "PV1-45") if draw(st.integers(0, 3)) == 0)
    deleted = tuple(name for name in ("PV1-44", "PV1-45") if draw(st.integers(0, 7)) == 0)
    return replace(event, visit=replace(event.visit, days=days, deleted=deleted))


def looked(numbered: Iterable[tuple[int, Event]]) -> StayFold:
    """Looked at after each message, as the daemon does."""
    fold = StayFold(SITE)
    for seq, event in numbered:
        fold.apply(event, seq)
        fold.head()
    return fold


@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(any_statement(), max_size=16), st.randoms())
def test_any_order_of_arrival_gives_the_same_course(events: list[Event], random: Any) -> None:
    numbered = list(enumerate(events))
    expected = StayFold.refold(SITE, numbered)
    random.shuffle(numbered)
    found = looked(numbered)
    assert whole(found) == whole(expected)
    assert found.head() == expected.head()


# --- beside an oracle -------------------------------------------------------------------------------

Story = list[tuple[str, float, float, bool]]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A plain stay: (what, when it took effect, when it was told, whether EVN-6 names it), told in order."""
    clock, story = 1.0, [("A04", 0.0, 0.0, False)]
    for _ in range(draw(st.integers(1, 9))):
        clock += draw(st.sampled_from([0.5, 1.0, 3.0]))
        what = draw(st.sampled_from(["A03", "A03", "A13", "A08 out", "A08 in", "A02", "A06"]))
        story.append((what, clock - draw(st.sampled_from([0.0, 0.25, 0.75])), clock, draw(st.booleans())))
    return story


class Reader:
    """What a person would make of it, who hears each statement as it is told."""

    def __init__(self, story: Story) -> None:
        self.came, self.out, self.inpatient = 0.0, None, None
        here: list[tuple[float, float]] = []  # conversions: when they took effect, when they were told
        out: float | None = None
        for what, when, heard, _ in story:
            if what == "A03" or (what == "A08 out" and out is not None):
                out = when
            elif what == "A08 in":
                self.came = -when / 100
            elif what == "A13":
                out = None
            elif what == "A06":
                here.append((when, heard))
        self.out = out
        counted = [when for when, heard in here if out is None or heard <= out]
        self.inpatient = min(counted, default=None)


def events_of(story: Story) -> list[Event]:
    made: list[Event] = []
    out = 0.0
    for what, when, sent, is_named in story:
        trigger = what[:3]
        more: dict[str, Any] = dict(WARD) if trigger == "A06" else {}
        if trigger == "A04":
            more = {"admitted_at": at(when), **OBS}
        elif trigger == "A03" or what == "A08 out":
            more["discharged_at"] = at(when)
        elif what == "A08 in":
            more["admitted_at"] = at(-when / 100)
        event = adt(trigger, sent if trigger in ("A08", "A13") else when, sent=sent, **more)
        if trigger == "A13" and is_named:
            event = named(event, out)
        out = when if "discharged_at" in more else out
        made.append(event)
    return made


@settings(max_examples=150, deadline=None)
@given(stories(), st.randoms())
def test_a_stay_is_what_a_plain_reader_takes_it_for(story: Story, random: Any) -> None:
    reader = Reader(story)
    numbered = list(enumerate(events_of(story)))
    random.shuffle(numbered)
    found = told(looked(numbered))
    assert found["lifecycle"] == ("active" if reader.out is None else "discharged")
    assert found["discharged_at"] == (None if reader.out is None else time(reader.out))
    assert found["care_start"] == time(reader.came)
    assert found["status_spans"] == ["OBSERVATION"] + ["INPATIENT"] * (reader.inpatient is not None)
    assert found["inpatient_start"] == (None if reader.inpatient is None else time(reader.inpatient))


# --- planted bugs -----------------------------------------------------------------------------------


def _newest_by_effect(self: Telling, said: Any, kind: str) -> Any:
    standing = [each for each in self._told.get(kind, []) if not each.is_gone]
    return max(standing, key=lambda each: each.at, default=None)


def _first_time_stays(self: Telling, found: Any, stated: Any) -> None:
    if not found.times:
        found.times.append(stated)
    self._settle_discharge()


def _as_received(self: Telling, said: Any) -> int:
    return int(said.record.at)


@pytest.mark.parametrize(
    ("name", "planted", "seen_by"),
    [
        ("_target", _newest_by_effect, lambda: test_evn_6_names_the_one_that_is_cancelled("A02")),
        (
            "_leave",
            _first_time_stays,
            lambda: test_a_second_statement_about_the_discharge_is_the_one_that_counts("A08", 20),
        ),
        (
            "_place",
            _as_received,
            test_an_admission_told_again_after_its_cancel_stands_though_it_took_effect_earlier,
        ),
        (
            "_is_late",
            lambda *_: False,
            lambda: test_what_is_said_after_the_discharge_moves_no_status("A06", 20),
        ),
        (
            "_can_be",
            lambda *_: True,
            lambda: test_a_discharge_that_cannot_have_been_then_is_one_all_the_same(-9000),
        ),
        ("_since", lambda *_: None, lambda: test_pv1_44_is_a_later_statement_about_the_admission("A08", 1)),
        (
            "_touch_since",
            lambda *_: None,
            test_what_was_said_while_a_discharge_stood_that_is_cancelled_counts,
        ),
    ],
)
def test_a_planted_bug_is_seen(
    monkeypatch: pytest.MonkeyPatch, name: str, planted: Callable[..., Any], seen_by: Callable[[], None]
) -> None:
    monkeypatch.setattr(Telling, name, planted)
    with pytest.raises(AssertionError):
        seen_by()


# --- what a feed that runs backwards costs ----------------------------------------------------------


def test_looked_at_after_each_message_it_costs_as_much_a_look_as_there_were_before() -> None:
    """The bound of the daemon, which looks each time: the square of the messages, and no more."""
    events = [adt("A08", n, **(WARD if n % 3 else OBS)) for n in range(401)][::-1]
    fold, work = StayFold(SITE), {}
    for n, event in enumerate(events):
        fold.apply(event, 401 - n)
        work[n] = calls(fold.head) if n in (200, 400) else len(fold.head())
    assert work[400] < 2.2 * work[200]


def test_a_feed_that_runs_backwards_is_folded_once_a_look() -> None:
    """Ten times as many messages between two looks cost ten times as much, and not a hundred times."""

    def work(count: int) -> int:
        events = [adt("A08", n, **(WARD if n % 3 else OBS)) for n in range(count)][::-1]
        fold = StayFold(SITE)
        taken = calls(lambda: [fold.apply(event, count - n) for n, event in enumerate(events)])
        return taken + calls(fold.head)

    assert work(2000) < 11 * work(200)


# --- an admission that is taken back after the patient has left ---------------------------------------


@pytest.mark.parametrize("ordered", [False, True])
def test_a_cancelled_admission_brings_back_nobody_who_has_left(ordered: bool) -> None:
    """A11 takes back the admission (3.3.11), and not that the patient left (3.3.3)."""
    here = [ARRIVAL[0], adt("A01", 2, **WARD), adt("A03", 6, discharged_at=at(6), disposition="01", **WARD)]
    cancel = replace(adt("A11", 7, **ED), occurred=(at(2), at(2)))
    order = [orm("ADTINPT", 2.5)] if ordered else []
    for events in itertools.permutations((*here, cancel, *order)):
        found = told(folded(*events))
        assert (found["lifecycle"], found["discharged_at"]) == ("discharged", time(6))
        assert found["status"] == ("INPATIENT" if ordered else "ED")
        assert "STATUS_CHANGE_AFTER_DISCHARGE" in found["exceptions"]
    back = folded(*here, cancel, adt("A13", 8))
    assert (told(back)["lifecycle"], told(back)["status"]) == ("active", "ED")
    only = folded(*here[1:], cancel)  # nothing is left that could have ended
    assert told(only)["lifecycle"] == "cancelled"


@pytest.mark.parametrize("ordered", [False, True])
def test_a_cancel_that_contradicts_no_discharge_says_nothing_of_one(ordered: bool) -> None:
    """A readmission that is taken back leaves the stay before as it was; an A11 of nothing changes none."""
    before = [ARRIVAL[0], adt("A03", 2, discharged_at=at(2), **ED)]
    order = [orm("ADTINPT", 3.5)] if ordered else []
    again = [adt("A01", 3, **WARD), *order, adt("A11", 7, **ED)]
    for events in itertools.permutations((*before, *again)):
        found = told(folded(*events))
        assert (found["lifecycle"], found["discharged_at"]) == ("discharged", time(2))
        assert "STATUS_CHANGE_AFTER_DISCHARGE" not in found["exceptions"]
    for events in itertools.permutations((*ARRIVAL[:1], adt("A03", 6, discharged_at=at(6), **ED))):
        found = told(folded(*events, replace(adt("A11", 7, **ED), occurred=(at(5), at(5)))))
        assert "STATUS_CHANGE_AFTER_DISCHARGE" not in found["exceptions"]


# --- what is told only of somebody who is here ----------------------------------------------------------

PLANS = {
    "A05": adt("A05", -24, patient_class="P", **{k: v for k, v in WARD.items() if k != "patient_class"}),
    "A14": adt("A14", -24),
}
SUPPOSING = ("A02", "A09", "A10", "A12", "A13", "A15", "A16", "A17", "A21", "A22", "A25", "A26", "A32", "A33")


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("trigger", [*SUPPOSING, "A52", "A53"])
def test_who_is_only_planned_is_moved_by_nobody_unsaid(plan: str, trigger: str) -> None:
    """A transfer is of an admitted patient (3.3.2), a leave too (3.3.21): the arrival was never told."""
    events = (PLANS[plan], adt(trigger, 2, **WARD))
    for order in itertools.permutations(events):
        found = told(folded(*order), 3)
        is_begun = found["status"] == "INPATIENT"  # of an A14, which says no status itself
        said = ("active", ["STATUS_START_UNKNOWN"]) if is_begun else ("planned", ["STATUS_CONTRADICTED"])
        assert (found["lifecycle"], found["exceptions"]) == said
        assert not is_begun or plan == "A14"
    for came in (adt("A01", 1, **WARD), adt("A01", 3, **WARD), adt("A04", 1, **ED), adt("A06", 3, **WARD)):
        for order in itertools.permutations((*events, came)):
            assert "STATUS_CONTRADICTED" not in told(folded(*order), 4)["exceptions"]
    assert "STATUS_CONTRADICTED" not in told(folded(*events, adt("A38", 3)), 4)["exceptions"]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("trigger", ["A05", "A14", "A08", "A31", "A54", "A55", "A27", "A38"])
def test_what_may_be_told_of_a_plan_says_nothing_of_an_arrival(plan: str, trigger: str) -> None:
    """A plan that is taken back, by A27 or A38, leaves nobody here."""
    is_back = trigger == "A38" or (plan, trigger) == ("A14", "A27")
    for order in itertools.permutations((PLANS[plan], adt(trigger, 2))):
        found = told(folded(*order), 3)
        assert (found["lifecycle"], found["exceptions"]) == ("cancelled" if is_back else "planned", [])
    back = replace(adt("A12", 3), occurred=(at(2), at(2)))  # the transfer was never
    assert told(folded(PLANS[plan], adt("A02", 2, **WARD), back), 4)["exceptions"] == []


def test_a_planted_fault_leaves_a_transfer_of_nobody_unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "SUPPOSES_ARRIVAL", frozenset())
    with pytest.raises(AssertionError):
        test_who_is_only_planned_is_moved_by_nobody_unsaid("A05", "A02")


# --- an arrival that is told again with a later time ----------------------------------------------------


@pytest.mark.parametrize(
    "again",
    [
        named(adt("A01", 50, **WARD), 50),
        adt("A08", 50, admitted_at=at(50), **WARD),
        adt("A02", 50, admitted_at=at(49), **WARD),
    ],
    ids=lambda event: event.trigger,
)
def test_no_arrival_moves_behind_what_was_told_of_it(again: Event) -> None:
    """Nobody could tell of it two days before: the first one counts, and a person is told."""
    came = adt("A01", 0, admitted_at=at(0), **WARD)
    for events in itertools.permutations((came, adt("A08", 20, **WARD), again)):
        found = told(folded(*events), 51)
        assert (found["care_start"], found["inpatient_start"]) == (time(0), time(0))
        assert "TIMES_CONTRADICT" in found["exceptions"]
    right = adt("A08", 52, admitted_at=at(0), **WARD)
    assert "TIMES_CONTRADICT" not in told(folded(came, again, right), 53)["exceptions"]


@pytest.mark.parametrize(("later", "moves"), [(12, True), (12.1, False)])
def test_who_is_registered_on_the_way_arrives_later(later: float, moves: bool) -> None:
    """By no more than an order and its registration may lie apart."""
    came, again = adt("A01", 0, admitted_at=at(0), **WARD), adt("A08", 20, admitted_at=at(later), **WARD)
    found = told(folded(came, again))
    assert found["inpatient_start"] == time(later if moves else 0)
    assert ("TIMES_CONTRADICT" in found["exceptions"]) == (not moves)


# --- a return before its leave --------------------------------------------------------------------------


def test_a_return_that_is_told_after_its_leave_leaves_nobody_away() -> None:
    away, back = adt("A21", 10), adt("A22", 9.5, sent=11)
    for events in itertools.permutations((*ADMITTED, away, back)):
        fold = folded(*events)
        assert told(fold)["lifecycle"] == "active"
        assert told(fold)["exceptions"] == ["TIMES_CONTRADICT"]
        assert [each[:2] for each in fold.stay(at(20)).leaves] == [(at(10), at(11))]
    right = adt("A22", 11, sent=12)
    for events in itertools.permutations((*ADMITTED, away, back, right)):
        assert told(folded(*events))["exceptions"] == []
    undone = replace(adt("A53", 12), occurred=(at(9.5), at(9.5)))
    assert told(folded(*ADMITTED, away, back, undone))["lifecycle"] == "on_leave"
    earlier = adt("A22", 5, sent=6)  # of a leave that nobody told of: the next is another
    assert told(folded(*ADMITTED, earlier, away))["lifecycle"] == "on_leave"
