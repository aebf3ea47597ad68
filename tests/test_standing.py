"""The record of a stay's reviews: frozen, and at rest what it was when it was a mapping of mappings."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import Any

import pytest

from umbridge.review.closing import Closing
from umbridge.review.standing import (
    CLOSED_EARLY_DIFFERS,
    CLOSED_EARLY_HELD,
    InForce,
    LaneReviews,
    ReviewRecord,
    decoded,
    differs_as,
    encoded,
)
from umbridge.review.waves import Verdict
from umbridge.values.kinds import Outcome, ReviewState

AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
# As a stay's head has it since the first version; the second review is one of before there were waves.
AT_REST: dict[str, Any] = {
    "states": {"ADMISSION-2": "open", "OBSERVATION-1": "closed", "CONTINUED_STAY-2-1": "void"},
    "latest": {
        "ADMISSION-2": {"zz_a": {"entry": 7, "outcome": "REFER", "met": False, "wave": 1}},
        "OBSERVATION-1": {"zz_a": {"entry": 3, "outcome": "MEETS", "met": True}},
    },
    "as_of": "2026-03-02T15:00:00+00:00",
}
REFER = InForce(False, 1, entry=7, outcome=Outcome.REFER)
MEETS = InForce(True, 1, entry=9, outcome=Outcome.MEETS)


def test_what_lies_in_a_store_is_read() -> None:
    said = decoded(AT_REST)
    assert said.as_of == AT
    assert said.review("ADMISSION-2") == ReviewRecord(ReviewState.OPEN, {"zz_a": REFER})
    assert said.review("OBSERVATION-1").answers["zz_a"].wave == 1
    assert said.review("CONTINUED_STAY-2-1") == ReviewRecord(ReviewState.VOID)
    assert (said.waiting, said.completed) == (1, frozenset({"OBSERVATION-1"}))


def test_it_is_written_in_the_same_form_and_with_what_closed_each() -> None:
    written = json.loads(json.dumps(encoded(decoded(AT_REST))))
    AT_REST["latest"]["OBSERVATION-1"]["zz_a"]["wave"] = 1
    added = {"closings": {"OBSERVATION-1": [None, None, None, 0, ""]}, "reopened": {}, "raised": []}
    assert written == AT_REST | added
    assert encoded(LaneReviews()) == {
        "states": {},
        "latest": {},
        "as_of": "0001-01-01T00:00:00+00:00",
        "closings": {},
        "reopened": {},
        "raised": [],
    }


def test_what_closed_a_review_is_kept_and_it_stays_closed_by_worse_answers() -> None:
    closing = Closing(7, 3, 4, differs=True)
    answers = {"zz_a": REFER}
    said = LaneReviews(
        AT,
        {
            "ADMISSION-2": ReviewRecord(ReviewState.CLOSED, answers, closing),
            "DISCHARGE-3": ReviewRecord(ReviewState.OPEN, answers, None, "FACT_CORRECTED"),
        },
    )
    assert decoded(json.loads(json.dumps(encoded(said)))) == said
    assert said.completed == {"ADMISSION-2"}
    assert said.differing == {"ADMISSION-2"}
    again = said.after(LATER, (), (), [("ADMISSION-2", None, "FACT_CORRECTED")])
    assert (again.completed, again.differing) == (frozenset(), frozenset())
    assert again.review("ADMISSION-2").reopened == "FACT_CORRECTED"
    assert said.after(LATER, (), [("ADMISSION-2", ReviewState.VOID)]).differing == frozenset()


def test_who_still_meets_and_is_held_is_told_apart_from_who_no_longer_meets() -> None:
    held = InForce(True, 1, ("NO_MEASURED_FACT",), entry=9, outcome=Outcome.MEETS)
    closing = Closing(7, 3, 4, differs=True)

    def of(*answers: InForce) -> str:
        its = {f"zz_{n}": each for n, each in enumerate(answers)}
        return differs_as(LaneReviews(AT, {"ADMISSION-2": ReviewRecord(ReviewState.CLOSED, its, closing)}))

    assert of(held) == CLOSED_EARLY_HELD
    assert (of(held, REFER), of(REFER), of()) == (CLOSED_EARLY_DIFFERS,) * 3
    second = InForce(True, 2, ("ZZ",), entry=9, outcome=Outcome.MEETS)
    assert of(REFER, second) == CLOSED_EARLY_HELD  # the second wave decides
    assert differs_as(LaneReviews(AT)) == CLOSED_EARLY_DIFFERS


def test_a_reason_that_keeps_a_review_open_is_kept_with_the_answer() -> None:
    held = InForce(True, 1, ("NO_MEASURED_FACT",), entry=9, outcome=Outcome.MEETS)
    said = LaneReviews(AT, {"ADMISSION-2": ReviewRecord(ReviewState.OPEN, {"zz_a": held})})
    assert decoded(json.loads(json.dumps(encoded(said)))) == said
    assert said.completed == frozenset()
    assert InForce.of(Verdict(True, 1, held.hold), entry=9, outcome=Outcome.MEETS) == held


def test_a_change_leaves_what_was_there_as_it_was() -> None:
    before = decoded(AT_REST)
    kept = encoded(before)
    after = before.after(LATER, [("ADMISSION-2", "zz_a", MEETS)], [("ADMISSION-2", ReviewState.CLOSED)])
    assert encoded(before) == kept
    assert after.review("ADMISSION-2") == ReviewRecord(ReviewState.CLOSED, {"zz_a": MEETS})
    assert (after.as_of, after.waiting) == (LATER, 0)
    with pytest.raises(FrozenInstanceError):
        after.as_of = AT  # type: ignore[misc]


def test_of_two_lanes_that_become_one_the_own_word_counts() -> None:
    own = LaneReviews(AT, {"A-1": ReviewRecord(ReviewState.CLOSED, {"zz_a": MEETS})})
    gone = LaneReviews(
        LATER,
        {
            "A-1": ReviewRecord(ReviewState.OPEN, {"zz_a": REFER, "zz_b": REFER}),
            "B-2": ReviewRecord(ReviewState.OPEN),
        },
    )
    both = own.joined(gone)
    assert both.as_of == LATER
    assert both.review("A-1") == ReviewRecord(ReviewState.CLOSED, {"zz_a": MEETS, "zz_b": REFER})
    assert both.review("B-2").state is ReviewState.OPEN
