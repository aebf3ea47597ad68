"""What goes to a lane worker and comes back is what was put in, however the stream is cut."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_audit.slots import SCHEMAS

from umbridge.lanes.protocol import (
    Answer,
    Changed,
    Determined,
    Done,
    Failed,
    Frames,
    Health,
    NeedRows,
    NeedSnapshot,
    Purpose,
    ScreenAgain,
    SealedOut,
    Silence,
    Snapshot,
    Stands,
    TakeIn,
    Task,
    WholeLane,
    answer_in,
    answer_out,
    task_in,
    task_out,
)
from umbridge.review.closing import Closing
from umbridge.review.standing import InForce, LaneReviews, ReviewRecord
from umbridge.review.waves import Verdict
from umbridge.review.worklist import WorklistLine
from umbridge.values.kinds import Level, Outcome, ReviewState, ReviewType, Status

words = st.text(max_size=12)
blobs = st.binary(max_size=60)
times = st.datetimes(timezones=st.just(UTC))
numbers = st.integers(0, 2**53)
snapshots = st.builds(Snapshot, blobs, st.lists(blobs, max_size=3).map(tuple))
rows = st.lists(st.builds(SealedOut, numbers, words, blobs, numbers, words), max_size=3).map(tuple)
lanes = st.builds(WholeLane, rows, st.booleans(), st.none() | snapshots)
purposes: st.SearchStrategy[Purpose] = (
    st.builds(TakeIn, st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple))
    | st.builds(ScreenAgain)
    | st.builds(Silence, times)
)
# a slot's text is canonical JSON: any characters but control characters, which it escapes
texts = st.lists(
    st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=9), min_size=1
)
holds = st.lists(words, max_size=2).map(tuple)
verdicts = st.builds(Verdict, st.none() | st.booleans(), st.sampled_from([1, 2]), holds)
in_force = st.builds(
    InForce,
    st.none() | st.booleans(),
    st.sampled_from([1, 2]),
    holds,
    entry=numbers,
    outcome=st.sampled_from(Outcome),
)
closings = st.none() | st.builds(
    Closing, st.none() | numbers, st.none() | numbers, st.none() | numbers, st.booleans(), words
)
said = st.builds(
    LaneReviews,
    times,
    st.dictionaries(
        words,
        st.builds(
            ReviewRecord,
            st.sampled_from(ReviewState),
            st.dictionaries(words, in_force, max_size=2),
            closings,
            words,
        ),
        max_size=3,
    ),
    st.lists(words, max_size=2).map(tuple),
)
tasks = st.builds(
    Task,
    seq=numbers,
    lane=blobs,
    feed=words,
    frame=blobs,
    after=numbers,
    said=said,
    pseudonyms=st.dictionaries(words, words, max_size=2),
    stored=st.none() | snapshots | lanes,
    alone=st.booleans(),
    purpose=purposes,
    received=words,
)
open_lines = st.builds(
    WorklistLine,
    review_id=words,
    type=st.sampled_from(ReviewType),
    due=st.none() | times,
    opened_at=times,
    episode_day=numbers,
    requested_status=st.sampled_from(Status),
    requested_level=st.sampled_from(Level),
    visit=words,
    mrn=words,
    unit=st.none() | words,
    payer_class=words,
    answers=st.dictionaries(words, in_force, max_size=2),
)
answers: st.SearchStrategy[Answer] = (
    st.builds(NeedSnapshot)
    | st.builds(NeedRows, st.booleans())
    | st.builds(Failed, words)
    | st.builds(Health, st.dictionaries(words, words, max_size=3))
    | st.builds(
        Done,
        times,
        blobs,
        st.lists(st.tuples(numbers, blobs), max_size=3),
        st.lists(st.builds(Determined, words, words, verdicts, st.sampled_from(Outcome), texts), max_size=3),
        st.lists(st.builds(Changed, words, st.sampled_from(ReviewState), texts), max_size=3),
        st.lists(st.builds(Stands, words, closings, words), max_size=2),
        st.lists(open_lines, max_size=2).map(tuple),
        st.none() | times,
        st.dictionaries(words, numbers, max_size=2),
        st.lists(words, max_size=2).map(tuple),
        st.lists(words, max_size=2).map(tuple),
    )
)


def body(frame: bytes) -> bytes:
    (found,) = Frames().feed(frame)
    return found


@given(tasks)
@settings(max_examples=60)
def test_a_task_arrives_as_it_was_sent(task: Task) -> None:
    assert task_in(body(task_out(task))) == task


@given(answers)
@settings(max_examples=60)
def test_an_answer_arrives_as_it_was_given(answer: Answer) -> None:
    assert answer_in(body(answer_out(answer))) == answer


@given(st.lists(answers, max_size=4), st.data())
@settings(max_examples=60)
def test_any_cutting_of_the_stream_gives_the_same_frames(said: list[Answer], data: st.DataObject) -> None:
    stream = b"".join(map(answer_out, said))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    frames, found = Frames(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += frames.feed(stream[start:end])
    assert [answer_in(each) for each in found] == said


@given(st.text())
def test_a_slot_spelt_for_the_ledger_holds_no_bare_line_feed(text: str) -> None:
    """Slots are parted by one: were it ever in a slot, two slots would be read where one was written."""
    try:
        spelt = SCHEMAS["determination"].texts({"rationale": text, "evidence": [{"value": text}]})
    except ValueError:
        return  # half a surrogate pair has no spelling
    assert "\n" not in "".join(spelt)
    answer = Done(
        datetime(2026, 3, 2, tzinfo=UTC),
        b"",
        [],
        [Determined("A-1", "zz", Verdict(None), Outcome.PEND, spelt)],
        stands=[Stands("A-1", Closing(1, 2, None, differs=True)), Stands("A-2", None, "ADVISED_HIGHER")],
    )
    assert answer_in(body(answer_out(answer))) == answer
