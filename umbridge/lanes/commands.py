"""What lanes have written: the outcome of each piece of work, as commands to the writer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from umbridge_audit.entry import Draft, EncodedDraft, JsonValue
from umbridge_audit.slots import SCHEMAS

from umbridge.lanes.protocol import Determined, Done
from umbridge.lanes.queue import AskedAgain, Deadline, LaneWork, Message, ReadAnew, Row
from umbridge.model import RowState
from umbridge.review.standing import InForce, LaneReviews, differs_of
from umbridge.review.worklist import WorklistLine, with_answers
from umbridge.stay.anew import mark_of
from umbridge.stay.clock import HOUR, instant
from umbridge.store.commands import Transaction

HISTORY = timedelta(days=1)  # a deadline that a message finds further back is history being loaded
SUPERSEDES = SCHEMAS["determination"].number["supersedes"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What memory learns of recorded work, once it is committed."""

    said: LaneReviews
    due: int | None
    open: tuple[WorklistLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordWork:
    """What one piece of a lane's work came to: entries, stay and row together."""

    lane: bytes
    work: LaneWork
    seq: int  # the lane's newest row with this work
    said: LaneReviews  # before it, lanes that join included
    due: int | None  # before it
    open: tuple[WorklistLine, ...] | None  # the lane's lines of the worklist before it, where they are known
    done: Done
    feed: str = ""  # whose message it is
    gone: tuple[bytes, ...] = ()  # lanes that are joined to this one with it
    renew: bool = False  # every increment of the lane is written again

    def apply(self, tx: Transaction) -> Recorded:
        lane, seq, done = self.lane, self.seq, self.done
        answers = [(each.review, each.plugin, self._determination(tx, each)) for each in done.determined]
        tx.count_unused(self.feed, done.unused)
        is_again = isinstance(
            self.work, ReadAnew | Deadline
        )  # the row was worked, and may be answered already
        nth = tx.next_replay(seq) if answers and is_again else 0
        tx.record_determinations([(seq, review, plugin, nth, one.entry) for review, plugin, one in answers])
        for change in done.changed:
            tx.entry(EncodedDraft("review.changed", change.texts))
        said = self.said.after(
            done.as_of,
            answers,
            ((change.review, change.state) for change in done.changed),
            ((each.review, each.closing, each.reopened) for each in done.stands),
            done.raised,
        )
        for one in self.gone:
            tx.join_lanes(one, lane)
        if self.renew:
            for one in (lane, *self.gone):
                tx.refolded(one, seq)
            tx.renew_stay(lane, done.increments)
        self._mark(tx)
        self._say_differing(tx, said)
        tx.save_stay(lane, seq, said, done.head, () if self.renew else done.increments)
        lines = with_answers(done.open, said)
        tx.save_open_reviews(lane, lines, self.open)
        due = self._due(tx)
        if due != self.due:
            tx.wait_until(lane, due)
        self._finish(tx)
        return Recorded(said, due, lines)

    def _mark(self, tx: Transaction) -> None:
        """A person is to know of a stay that says something else now; a joined lane brings its mark."""
        found = set(self.done.differs)
        for one in self.gone:
            found.update((tx.note(mark_of(one)) or "").split())
            tx.drop_note(mark_of(one))
        if found:
            found.update((tx.note(mark_of(self.lane)) or "").split())
            tx.put_note(mark_of(self.lane), " ".join(sorted(found)))

    def _say_differing(self, tx: Transaction, said: LaneReviews) -> None:
        """Said once of each review: a person who has looked is not told again of the same."""
        before, now = self.said.differing, said.differing
        if before == now and not self.gone:
            return
        found = set(now - before)
        for one in (self.lane, *self.gone):
            found |= set((tx.note(differs_of(one)) or "").split()) & now
            tx.drop_note(differs_of(one))
        if found:
            tx.put_note(differs_of(self.lane), " ".join(sorted(found)))

    def _determination(self, tx: Transaction, item: Determined) -> InForce:
        texts = list(item.texts)
        before = self.said.review(item.review).answers.get(item.plugin)
        if before is not None:
            texts[SUPERSEDES] = str(before.entry)
        entry = tx.entry(EncodedDraft("determination", texts))
        return InForce.of(item.verdict, entry=entry, outcome=item.outcome)

    def _due(self, tx: Transaction) -> int | None:
        """The stay's next moment. One that a message finds long past is history being loaded: what has come
        since is worked from a day back on, and no moment after it is missed."""
        due = None if self.done.due is None else instant(self.done.due)
        if due is None or isinstance(self.work, Deadline):
            return due
        since = instant(tx.now - HISTORY)
        return max(due, since - since % HOUR)  # by the hour: the same for many messages of one stay

    def _finish(self, tx: Transaction) -> None:
        match self.work:
            case Deadline() | ReadAnew():
                pass  # no row of the inbox was waiting for it
            case Message(parts=None):
                determined = bool(self.done.determined)
                state = RowState.DETERMINED if determined else RowState.NOT_APPLICABLE
                tx.finish(self.seq, state, "" if determined else "no_review_open")
            case Message() | AskedAgain():
                tx.take(self.lane, self.seq, "no_review_open")
            case other:
                assert_never(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """A row, or a lane's share of one, waits for a person: a defect of ours met it."""

    lane: bytes
    row: Row
    reason: str

    def apply(self, tx: Transaction) -> None:
        values: dict[str, JsonValue] = {"actor": "umbridge", "state": "QUARANTINED", "row": self.row.seq}
        values |= {"reason": self.reason, "by": "umbridge"}
        tx.entry(Draft("quarantine", values))
        match self.row:
            case Message(parts=None):
                tx.finish(self.row.seq, RowState.QUARANTINED, self.reason)
            case Message() | AskedAgain():
                tx.set_aside(self.lane, self.row.seq, self.reason)
            case other:
                assert_never(other)


@dataclass(frozen=True, slots=True)
class GiveUpWaiting:
    """The lane's deadline is left to the stay's next message."""

    lane: bytes

    def apply(self, tx: Transaction) -> None:
        tx.wait_until(self.lane, None)


@dataclass(frozen=True, slots=True)
class NoLongerDue:
    """A message has seen to that deadline; another may have been set meanwhile."""

    lane: bytes
    due: int

    def apply(self, tx: Transaction) -> None:
        tx.no_longer_due(self.lane, self.due)
