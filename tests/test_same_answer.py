"""What a first review is answered does not change by what comes too late, and follows each correction.

Asked of a plugin's content itself, from messages to the answer: a reading that counts and should not is a
question of mechanics, an answer that changes is one of care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import pytest
import umbridge_interqual_like as plugin
from hypothesis import given, settings
from hypothesis import strategies as st
from test_case import obx, oru
from test_moment import ORDERED, fold_of, listed, review_at, told

from umbridge.model import Event
from umbridge.review.case import case
from umbridge.stay.results import counted as room
from umbridge.stay.results.statements import Result

FACTS = frozenset(plugin.umbridge_manifest().facts)
MOMENT, TOLD_BY = 6.0, 10.0
BEFORE = (listed("J18.9", 0.1), ORDERED)
#: Code, unit, least and greatest value: those that pneumonia is judged by.
MEASURED = (
    ("9279-1", "/min", 10, 40),
    ("8867-4", "/min", 50, 150),
    ("8480-6", "mm[Hg]", 70, 150),
    ("UMB-SPO2RA", "%", 80, 99),
    ("3094-0", "mg/dL", 8, 60),
    ("2951-2", "mmol/L", 120, 140),
)


def said(
    row: tuple[int, int], at: float, hours: float, report: str, status: str = "F", *, is_exact: bool = True
) -> Event:
    """One result; ``row``: which, and how high between its least and greatest value, of 10.

    ``is_exact``: its time was sent to the second; others are read with more care, and by other code.
    """
    code, unit, low, high = MEASURED[row[0]]
    result = obx(code, str(low + (high - low) * row[1] // 10), at, unit, report=report, status=status)
    if is_exact:
        result = result._replace(told=(result.at, result.at))
    return told(oru(result), hours)


def answer(events: Iterable[Event]) -> Any:
    """What the plugin says of the admission, long afterwards; but for where each value was read."""
    fold = fold_of(*BEFORE, *events)
    review = review_at(fold, 200)
    result = plugin.umbridge_screen(case(fold, fold.stay(told(ORDERED, 200).sent_at), review, FACTS, "ZZ"))
    cited = sorted((each.fact, each.value, each.at) for each in result.evidence)
    return result.outcome, result.supported, result.missing, dict(result.scores), result.subset, cited


rows = st.tuples(st.integers(0, len(MEASURED) - 1), st.integers(0, 10))
in_time = st.integers(0, 23).map(lambda n: n / 4)
#: A result, collected by the moment, told so long after; and what it is corrected to, or None.
results = st.tuples(rows, in_time, st.integers(0, 16).map(lambda n: n / 4), st.none() | st.integers(0, 10))
late = st.tuples(rows, st.integers(0, 100).map(lambda n: n / 4), st.integers(0, 60).map(lambda n: n / 4))


def stated(found: Sequence[Any], *, is_exact: bool = True) -> list[Event]:
    """Each in a report of its own, told by the moment and the grace."""
    return [
        said(row, own(at, n), min(own(at, n) + after, TOLD_BY), f"R{n}", is_exact=is_exact)
        for n, (row, at, after, _) in enumerate(found)
    ]


def own(at: float, n: int) -> float:
    """No two are collected at once: of one time the later told goes last, and a correction is told later."""
    return at + n / 1000


@settings(max_examples=25, deadline=None)
@given(st.lists(results, max_size=8), st.lists(late, min_size=1, max_size=5), st.booleans())
def test_what_comes_too_late_changes_no_answer(
    found: Sequence[Any], more: Sequence[Any], is_exact: bool
) -> None:
    """Collected after the moment, or told after it and the grace.

    A correction under another number, of no hour or of the very time, may mean a value of that fact that was
    known, and takes effect. So none is of such a time, give or take the minute that stamps are off.
    """
    known, too_late = stated(found), []
    facts = {row[0] for row, *_ in found}
    for n, (row, at, after) in enumerate(more):
        hours = max(at, TOLD_BY + 0.25) + after if at <= MOMENT else at + after
        is_correction = n % 2 == 1 and (is_exact or row[0] not in facts)
        its_at, status = at + 0.05 + n / 1000, "C" if is_correction else "F"
        too_late.append(said(row, its_at, hours + 0.06, f"L{n}", status, is_exact=is_exact))
    assert answer(known + too_late) == answer(known)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(results, min_size=1, max_size=8), st.integers(0, 60), st.booleans(), st.booleans(), st.randoms()
)
def test_a_correction_has_it_answered_as_if_it_had_been_right_from_the_start(
    found: Sequence[Any], after: int, is_moved: bool, is_exact: bool, shuffled: Random
) -> None:
    """Whenever it is told, in any order of arrival, and with another time of collection or the same."""
    corrections, right = [], []
    for n, (row, at, told_after, now) in enumerate(found):
        if now is None:
            continue
        when = max(at + told_after, TOLD_BY) + after / 2 + 0.25
        its_at = when - 0.25 if is_moved else own(at, n)
        corrections.append(said((row[0], now), its_at, when, f"R{n}", "C", is_exact=is_exact))
    for row, at, told_after, now in found:
        right.append(((row[0], row[1] if now is None else now), at, told_after, None))
    told_of = stated(found, is_exact=is_exact) + corrections
    mixed = list(told_of)
    shuffled.shuffle(mixed)
    assert answer(mixed) == answer(told_of) == answer(stated(right))


@settings(max_examples=25, deadline=None)
@given(st.lists(results, min_size=1, max_size=8), st.integers(0, 60))
def test_what_is_withdrawn_was_never_there(found: Sequence[Any], after: int) -> None:
    gone = [
        said(row, own(at, n), TOLD_BY + after / 2 + 0.25, f"R{n}", "DW"[n % 2])
        for n, (row, at, _, now) in enumerate(found)
        if now is None
    ]
    left = [event for event, each in zip(stated(found), found, strict=True) if each[3] is not None]
    assert answer(stated(found) + gone) == answer(left)


# --- planted bugs -----------------------------------------------------------------------------------

SICK = ((0, 10), 1.0, 0.0, None)  # 40 breaths a minute


COUNTED = room.counted  # as it is without a plant


def _all_counts(said: Sequence[Result], thread: Any, told_by: int) -> Iterable[Result]:
    return COUNTED(said, thread, 1 << 62)


def _only_what_was_told(said: Sequence[Result], thread: Any, told_by: int) -> Iterable[Result]:
    return COUNTED([each for each in said if each.sent <= told_by], thread, told_by)


def _of_its_new_time(said: Sequence[Result], thread: Any, told_by: int) -> Iterable[Result]:
    its = list(COUNTED(said, thread, told_by))
    newest = {each.at: each for each in said}
    return [each._replace(at=max(newest)) for each in its]


@pytest.mark.parametrize(
    ("name", "planted", "seen_by"),
    [
        (
            "is_counted",
            lambda said, told_by: bool(said),
            lambda: _inner(test_what_comes_too_late_changes_no_answer)([], [((0, 10), 1.0, 1.0)], True),
        ),
        (
            "counted",
            _all_counts,
            lambda: _inner(test_what_comes_too_late_changes_no_answer)(
                [], [((1, 0), 1.0, 1.0), ((0, 10), 1.0, 1.0)], True
            ),
        ),
        ("counted", _only_what_was_told, lambda: _corrected(is_moved=False)),
        ("counted", _of_its_new_time, lambda: _corrected(is_moved=True)),
        ("counted", _only_what_was_told, lambda: _inner(test_what_is_withdrawn_was_never_there)([SICK], 3)),
    ],
)
def test_a_planted_bug_is_seen(
    monkeypatch: pytest.MonkeyPatch, name: str, planted: Callable[..., Any], seen_by: Callable[[], None]
) -> None:
    seen_by()
    monkeypatch.setattr(room, name, planted)
    with pytest.raises(AssertionError):
        seen_by()


def _inner(test: Any) -> Callable[..., None]:
    inner: Callable[..., None] = test.hypothesis.inner_test
    return inner


def _corrected(*, is_moved: bool) -> None:
    found = [((0, 10), 1.0, 0.0, 0)]
    test = test_a_correction_has_it_answered_as_if_it_had_been_right_from_the_start
    _inner(test)(found, 3, is_moved, True, Random(1))
