"""What each event and each order may change of a status, by what was in force when it came."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_events import looked, spans
from test_fold import ADMITTED, ARRIVAL, ED, OBS, WARD, adt, at, folded, orm, told

from umbridge.model import Event, Status
from umbridge.stay import settle
from umbridge.stay.course import Course

OUT = {"patient_class": "O", "patient_type": "OPT", "unit": "CLN"}
PLACED = (adt("A04", 0, **ED), orm("ADTOBS", 1), adt("A08", 2, **OBS))
CONTRADICTED = "STATUS_CONTRADICTED"


def states(fold: Any, hours: float = 48) -> list[tuple[str, float, float | None]]:
    """Each status with the hours after the arrival at which it began and ended."""
    stay = fold.stay(at(hours))
    first = stay.spans[0].start
    return [
        (
            each.status.value,
            (each.start - first).total_seconds() / 3600,
            None if each.end is None else (each.end - first).total_seconds() / 3600,
        )
        for each in stay.spans
    ]


# --- beside an order in force -------------------------------------------------------------------------


@pytest.mark.parametrize("visit", [ED, OBS, OUT, {"patient_type": "EDP"}], ids=str)
@pytest.mark.parametrize("trigger", ["A08", "A02", "A10", "A21", "A04"])
def test_an_update_beside_an_inpatient_order_moves_no_status_and_is_said(
    trigger: str, visit: dict[str, Any]
) -> None:
    """Inpatient care begins, and ends, with a practitioner's order (42 CFR 412.3(a)), not with PV1."""
    stale = adt(trigger, 26, **visit)
    for events in itertools.permutations((*ADMITTED, stale)):
        fold = folded(*events)
        assert states(fold) == [("ED", 0, 1), ("INPATIENT", 1, None)]
        assert told(fold)["exceptions"] == [CONTRADICTED]
    put_right = folded(*ADMITTED, stale, adt("A08", 27, **WARD))
    assert (spans(put_right), told(put_right)["exceptions"]) == (spans(folded(*ADMITTED)), [])


@pytest.mark.parametrize("visit", [ED, WARD, OUT], ids=str)
def test_an_update_beside_an_observation_order_moves_no_status_and_is_said(visit: dict[str, Any]) -> None:
    fold = folded(*PLACED, adt("A08", 20, **visit))
    assert states(fold) == [("ED", 0, 1), ("OBSERVATION", 1, None)]
    assert told(fold)["exceptions"] == [CONTRADICTED]
    ordered = folded(*PLACED, adt("A08", 20, **WARD), orm("ADTINPT", 21, placer="P2"))
    assert states(ordered)[-1] == ("INPATIENT", 21, None)
    assert told(ordered)["exceptions"] == []


def test_an_order_that_registration_never_followed_is_late_and_then_said() -> None:
    boards = (*ARRIVAL, orm("ADTINPT", 1), adt("A08", 3, **ED))  # waits for a bed
    assert told(folded(*boards), 13)["exceptions"] == []
    assert told(folded(*boards), 13.1)["exceptions"] == ["ADT_LAG"]
    left = adt("A03", 20, discharged_at=at(20), **ED)
    assert told(folded(*boards, left))["exceptions"] == ["ADT_LAG"]
    observed = (*ARRIVAL, orm("ADTOBS", 1), adt("A08", 3, **WARD))
    assert states(folded(*observed))[-1] == ("OBSERVATION", 1, None)
    assert told(folded(*observed), 13)["exceptions"] == []
    assert told(folded(*observed), 13.1)["exceptions"] == [CONTRADICTED]


def test_the_discharge_says_what_registration_last_knew() -> None:
    left = adt("A03", 30, discharged_at=at(30), **ED)
    assert told(folded(*ADMITTED, left))["exceptions"] == [CONTRADICTED]


def test_an_event_of_its_own_sets_older_orders_aside() -> None:
    assert told(folded(*ADMITTED, adt("A07", 6, **OBS)))["exceptions"] == ["CC44_RECORD_MISSING"]
    assert states(folded(*PLACED, adt("A06", 6, **WARD)))[-1] == ("INPATIENT", 6, None)


# --- no order, or one that was cancelled --------------------------------------------------------------


def test_without_an_order_the_newest_word_of_registration_counts() -> None:
    here = (adt("A04", 0, **ED), adt("A08", 2, **OBS))
    assert states(folded(*here))[-1] == ("OBSERVATION", 2, None)
    admitted = folded(*here, adt("A08", 5, **WARD))
    assert states(admitted)[-1] == ("INPATIENT", 5, None)
    back = told(folded(*here, adt("A08", 5, **WARD), adt("A08", 9, **OBS)), 10)
    assert (back["status"], back["exceptions"]) == ("OBSERVATION", ["CC44_RECORD_MISSING"])


@pytest.mark.parametrize("visit", [WARD, OBS], ids=str)
@pytest.mark.parametrize("trigger", ["A08", "A02", "A22"])
def test_nobody_is_an_emergency_patient_again_by_an_update(trigger: str, visit: dict[str, Any]) -> None:
    """What takes an admission back is A11 (3.3.11), A07 (3.3.7), or a registration anew."""
    here = (adt("A04", 0, **ED), adt("A01" if visit is WARD else "A08", 2, **visit))
    stale = adt(trigger, 4, **ED)
    for events in itertools.permutations((*here, stale)):
        assert spans(folded(*events)) == spans(folded(*here))
        assert told(folded(*events), 5)["exceptions"] == [CONTRADICTED]
    assert told(folded(*here, stale, adt("A08", 5, **visit)), 6)["exceptions"] == []
    assert states(folded(*here, stale, adt("A04", 6, admitted_at=at(6), **ED)))[-1][0] == "ED"


def test_an_order_that_was_cancelled_protects_nothing() -> None:
    """Neither the practitioner nor registration says inpatient any more, whichever said so last."""
    cancel, update = orm("ADTINPT", 20, "CA"), adt("A08", 22, **ED)
    for events in itertools.permutations((*ADMITTED, cancel, update)):
        fold = folded(*events)
        assert states(fold)[1:] == [("INPATIENT", 1, 22), ("ED", 22, None)]
        assert told(fold)["exceptions"] == ["CC44_RECORD_MISSING"]
    earlier = adt("A08", 19, **ED)
    for events in itertools.permutations((*ADMITTED, earlier, cancel)):
        fold = folded(*events)
        assert states(fold)[1:] == [("INPATIENT", 1, 20), ("ED", 20, None)]
        assert told(fold)["exceptions"] == ["CC44_RECORD_MISSING"]


def test_a_cancelled_order_is_for_a_person_until_it_stands_again() -> None:
    cancel = orm("ADTINPT", 20, "CA")
    assert told(folded(*ADMITTED, cancel))["exceptions"] == ["STATUS_ORDER_CANCELLED"]
    for more in (
        orm("ADTINPT", 21, placer="P2"),  # written anew
        orm("ADTINPT", 21, "UC"),  # the filler could not cancel it
        orm("ADTINPT", 21),
    ):
        fold = folded(*ADMITTED, cancel, more)
        assert (spans(fold), told(fold)["exceptions"]) == (spans(folded(*ADMITTED)), [])
    replaced = folded(*ADMITTED, orm("ADTINPT", 19, placer="P2"), cancel)
    assert (spans(replaced), told(replaced)["exceptions"]) == (spans(folded(*ADMITTED)), [])
    held = folded(*ADMITTED, orm("ADTINPT", 20, "HD"), orm("ADTINPT", 21, "RL"))
    assert (spans(held), told(held)["exceptions"]) == (spans(folded(*ADMITTED)), [])


# --- whatever updates say -----------------------------------------------------------------------------

REPEATS = ("A08", "A08", "A02", "A09", "A10", "A17", "A21", "A22")
SAID = {"ED": ED, "INPATIENT": WARD, "OBSERVATION": OBS, "OUTPATIENT": OUT, "": {}}
updates = st.lists(
    st.tuples(st.sampled_from(REPEATS), st.integers(3, 40), st.sampled_from(sorted(SAID))), max_size=5
)
BESIDE = {"INPATIENT": ADMITTED, "OBSERVATION": PLACED}


def beside_an_order(
    status: str, said: list[tuple[str, int, str]], random: Any, twice: bool
) -> tuple[Any, Any, list[str]]:
    """The stay with these updates, told in any order, and without them."""
    events: list[Event] = [adt(trigger, hours, **SAID[word]) for trigger, hours, word in said]
    numbered = list(enumerate((*BESIDE[status], *events)))
    if twice:
        numbered += [(100 + number, event) for number, event in numbered]
    random.shuffle(numbered)
    return looked(numbered), folded(*BESIDE[status]), sorted({word for _, _, word in said})


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(BESIDE)), updates, st.randoms(), st.booleans())
def test_no_update_moves_a_status_that_was_ordered(
    status: str, said: list[tuple[str, int, str]], random: Any, twice: bool
) -> None:
    fold, plain, _ = beside_an_order(status, said, random, twice)
    assert states(fold, 60) == states(plain, 60)
    ranked = sorted((hours, n) for n, (_, hours, word) in enumerate(said) if word)
    at_last = {said[n][2] for hours, n in ranked if hours == ranked[-1][0]}
    found = told(fold, 60)["exceptions"]
    if len(at_last) == 1:
        assert (CONTRADICTED in found) == (at_last != {status})


def _as_before(course: Course, trigger: str, registered: Status | None, at: int) -> bool:
    """An A08 that says another side of inpatient sets orders aside as A06 and A07 do."""
    if trigger == "A08" and registered is not None and course.registered is not None:
        course.orders = [o for o in course.orders if (o.status == "INPATIENT") == (registered == "INPATIENT")]
    return False


@pytest.mark.parametrize(
    ("where", "name", "bug", "see"),
    [
        (
            settle,
            "_set_aside",
            _as_before,
            test_no_update_moves_a_status_that_was_ordered,
        ),
        (
            settle,
            "_goes_back",
            lambda *_: False,
            lambda: test_nobody_is_an_emergency_patient_again_by_an_update("A02", WARD),
        ),
    ],
    ids=["an update sets orders aside", "an update takes an admission back"],
)
def test_a_planted_bug_is_seen(
    where: Any, name: str, bug: Any, see: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, bug)
    with pytest.raises(AssertionError):
        see()
