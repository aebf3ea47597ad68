"""What one message does to its stay: folded in, reviews planned, plugins asked, all spelt for the ledger.

No store, no clock, no key: the same row after the same rows gives the same result, whoever works it.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import ParamSpec, TypeVar, assert_never

from umbridge_audit.entry import Draft
from umbridge_audit.slots import NOTHING, SCHEMAS

from umbridge.hl7 import er7
from umbridge.lanes import asking
from umbridge.lanes.asking import Screening, questions_of
from umbridge.lanes.protocol import (
    Changed,
    Determined,
    Done,
    Failed,
    Need,
    NeedRows,
    NeedSnapshot,
    Reread,
    ScreenAgain,
    SealedOut,
    Silence,
    Snapshot,
    Stands,
    TakeIn,
    Task,
    WholeLane,
)
from umbridge.lanes.underway import Begun, Underway, is_closed_by_other_rules, is_due, is_read_anew, to_screen
from umbridge.model import Event
from umbridge.review import afterwards, closing
from umbridge.review.aside import with_aside
from umbridge.review.closing import Closing
from umbridge.review.critical import critical_in
from umbridge.review.moment import Judged
from umbridge.review.plan import next_deadline, reviews
from umbridge.review.record import changed_draft, determination_draft, spelt, verdict
from umbridge.review.waves import Verdict, settled
from umbridge.review.worklist import lines, why_again
from umbridge.screening.host import Host
from umbridge.settings.site import SiteProfile
from umbridge.stay.anew import differences, is_read, outline_of, outline_stored
from umbridge.stay.clock import instant
from umbridge.stay.fold import NeedsRefold, StayFold
from umbridge.stay.identity import event_of, taken_part
from umbridge.stay.readings.corrections import is_corrected
from umbridge.stay.record import combined
from umbridge.stay.results.late import LATE_CRITICAL_RESULT
from umbridge.stay.unused import counted, orders_unused, unfound
from umbridge.values.kinds import Lifecycle, ReviewState, ReviewType

P = ParamSpec("P")
T = TypeVar("T")
SOON = timedelta(microseconds=1)  # after which the clock finds a stay due


class StayWork:
    """Works rows of different lanes, some at a time. Keeps the folds of recent lanes."""

    def __init__(
        self, site: SiteProfile, host: Host, *, charsets: Mapping[str, str], cache: int = 4096
    ) -> None:
        self._site = site
        self._host = host
        self._charsets = charsets
        self._cache = cache
        self._folds: OrderedDict[bytes, tuple[int, StayFold]] = OrderedDict()  # lane -> last row, fold

    def work(self, tasks: Sequence[Task]) -> list[Done | Need | Failed]:
        """Rows of different lanes from end to end."""
        return self.finish(self.heard(self.ask([self.begin(task) for task in tasks])))

    def begin(self, task: Task) -> Begun | Need | Failed:
        """Fold a row in and make up its questions. The plugins may be busy with others meanwhile.

        A defect of ours meets one row alone. Whatever goes wrong leaves no fold behind that was never
        committed.
        """
        return self._guarded(self._begin, task)

    def ask(self, begun: Sequence[Begun | Need | Failed]) -> Underway:
        """Put the questions of rows of different lanes, together, to be ``heard`` before others are put."""
        questions = [
            (review, whole, each.task.pseudonyms.__getitem__)
            for each in begun
            if isinstance(each, Begun)
            for review, whole in (*each.questions, *each.late)
        ]
        return Underway(begun, asking.put(self._host, questions) if questions else None)

    def answered(self, asked: Underway) -> bool:
        """Whether ``heard`` need not wait."""
        return asked.put is None or self._host.answered(asked.put.asked)

    def heard(self, asked: Underway) -> Underway:
        """Take what the first wave of plugins says and ask the second; the first may then be asked again."""
        return asked if asked.put is None else replace(asked, heard=asking.heard(self._host, asked.put))

    def finish(self, asked: Underway) -> list[Done | Need | Failed]:
        """Take the rest of the answers and spell the determinations."""
        said: Iterator[list[Screening]] = iter(())
        if asked.put is not None and asked.heard is not None:
            said = iter(asking.answers(self._host, asked.put, asked.heard))
        done: list[Done | Need | Failed] = []
        for each in asked.begun:
            if not isinstance(each, Begun):
                done.append(each)
                continue
            own = [screening for _ in each.questions for screening in next(said)]
            late = [next(said) for _ in each.late]
            finished = self._guarded(self._finish, each, own, late)
            if isinstance(finished, Done):
                self._folds[each.task.lane] = (each.task.seq, each.fold)
            done.append(finished)
        while len(self._folds) > self._cache:
            self._folds.popitem(last=False)
        return done

    @staticmethod
    def _guarded(step: Callable[P, T], *words: P.args, **names: P.kwargs) -> T | Failed:
        try:
            return step(*words, **names)
        except Exception as exc:  # a defect of ours must not stop the feed: the row waits for a person
            return Failed(type(exc).__name__)

    def _begin(self, task: Task) -> Begun | Need:
        fold = self._fold(task)
        if isinstance(fold, Need):
            return fold
        message = er7.parse(task.frame, self._charsets.get(task.feed, "utf-8"))
        whole = event_of(message, self._site, task.received)
        not_used: Counter[str] = Counter()
        as_of = max(task.said.as_of, whole.sent_at)
        events: list[tuple[int, Event]] = []
        match task.purpose:
            case TakeIn(parts):
                events = [(task.seq, taken_part(whole, part)) for part in parts]
            case Silence(at):
                as_of = max(as_of, at)
            case ScreenAgain() | Reread():
                pass
            case other:
                assert_never(other)
        differs: tuple[str, ...] = ()
        if isinstance(task.stored, WholeLane):
            rows = self._events(task.stored.rows)
            differs = self._differs(task.stored.before, rows, task.seq if events else None, fold)
            as_of = max([as_of, *(event.sent_at for _, event in rows)])  # of a lane that joined, too
            written = rows if task.stored.renew else events
            increments = increments_of((seq, fold.increment(event, seq)) for seq, event in written)
        else:
            increments = increments_of((seq, fold.apply(event, seq)) for seq, event in events)
        if own := [event for _, event in events if not event.is_beside]:
            orders = [each for event in own for each in orders_unused(event, task.seq, fold)]
            not_used = counted(message, own, self._site, orders, unfound(task.seq, fold))
        stay = fold.stay(as_of)
        planned = reviews(stay, task.said.completed, task.said.reviews)
        asked = to_screen(planned)
        if isinstance(task.purpose, Silence):
            asked = tuple(review for review in asked if is_due(task, review))
        elif isinstance(task.purpose, Reread):
            asked = tuple(review for review in asked if is_read_anew(task, review))
        questions = questions_of(fold, stay, asked, self._host)
        if isinstance(task.purpose, TakeIn):
            questions = [each for each in questions if not asking.is_answered(task.said, *each, self._host)]
        looks = () if isinstance(task.purpose, Silence) else afterwards.looks(fold, stay)
        late = afterwards.of_one_illness(questions_of(fold, stay, looks, self._host))
        return Begun(task, whole, fold, increments, as_of, stay, planned, questions, late, not_used, differs)

    def _differs(
        self, before: Snapshot | None, rows: list[tuple[int, Event]], new: int | None, fold: StayFold
    ) -> tuple[str, ...]:
        """In which parts a stay that was folded under other rules says something else under these.

        ``new``: the row that it has not taken in before. What that one says is news, no other reading.
        """
        if before is None or is_read(before.head, self._site):
            return ()
        known = [(seq, event) for seq, event in rows if seq != new]
        now = fold if new is None else StayFold.refold(self._site, known)
        return differences(outline_stored(self._site, before.head, before.increments), outline_of(now))

    def _fold(self, task: Task) -> StayFold | Need:
        """The lane as its last worked row left it, taken out of the cache until this row is worked too."""
        last, fold = self._folds.pop(task.lane, (0, None))
        if isinstance(task.stored, WholeLane):
            return StayFold.refold(self._site, self._events(task.stored.rows))
        if fold is not None and last == task.after:
            return fold
        if task.after == 0:
            return StayFold(self._site)
        match task.stored:
            case None:
                return NeedSnapshot()
            case Snapshot(head, increments):
                try:
                    return StayFold.restore(self._site, head, increments)
                except NeedsRefold:  # the site profile changed: codes mean other things now
                    return NeedRows(renew=True)
            case other:
                assert_never(other)

    def _events(self, rows: tuple[SealedOut, ...]) -> list[tuple[int, Event]]:
        return [(row.seq, taken_part(self._event(row), row.part)) for row in rows]

    def _event(self, row: SealedOut) -> Event:
        message = er7.parse(row.frame, self._charsets.get(row.feed, "utf-8"))
        return event_of(message, self._site, row.received)

    def _finish(self, begun: Begun, said: list[Screening], late: list[list[Screening]]) -> Done:
        task, stay = begun.task, begun.stay
        digest = hashlib.sha256(task.frame).hexdigest() if said else ""
        verdicts: dict[str, dict[str, Verdict]] = {
            name: dict(each.answers) for name, each in task.said.reviews.items()
        }
        for item in said:
            verdicts.setdefault(item.review.id, {})[item.plugin] = verdict(item.screened.result, item.wave)
        closes = {name: settled(verdicts[name].values()) for name in {item.review.id for item in said}}
        determined: list[Determined] = []
        for item in said:
            result = with_aside(begun.fold, stay, item.review, item.screened.result)
            if is_closed_by_other_rules(task, item.review):
                continue
            draft = determination_draft(
                row=task.seq,
                control_id=begun.event.control_id,
                message_digest=digest,
                stay=stay,
                review=item.review,
                plugin=item.plugin,
                version=self._host.version(item.plugin),
                result=result,
                latency_us=item.screened.latency_us,
                isolation=item.screened.isolation,
                failed=item.screened.failed,
                as_of=begun.as_of,
                closes=closes[item.review.id],
            )
            said_of = (item.review.id, item.plugin, verdicts[item.review.id][item.plugin], result.outcome)
            determined.append(Determined(*said_of, _texts(draft, spelt(draft, result))))
        stands = self._stands(begun, said, verdicts)
        closings = {name: each.closing for name, each in task.said.reviews.items()}
        closings |= {each.review: each.closing for each in stands}
        completed = frozenset(name for name, each in closings.items() if each is not None)
        known = task.said.reviews
        is_same = completed == task.said.completed
        planned = begun.planned if is_same else reviews(stay, completed, known)
        reopened = {name: each.reopened for name, each in task.said.reviews.items()}
        reopened |= {each.review: each.reopened for each in stands}
        again = why_again(planned, reopened)
        changed = [
            Changed(each.id, each.state, _texts(changed_draft(task.seq, each, stay, again.get(each.id, ""))))
            for each in planned
            if task.said.review(each.id).state is not each.state and not is_closed_by_other_rules(task, each)
        ]
        due = next_deadline(stay, completed)
        asked = {review.id for review, _ in begun.questions}
        is_new = (
            each.state is ReviewState.OPEN and each.id not in asked and not task.said.review(each.id).answers
            for each in planned
        )
        if self._host.names and any(is_new):  # what these answers have opened is asked about next
            due = begun.as_of + SOON
        return Done(
            begun.as_of,
            begun.fold.head(),
            begun.increments,
            determined,
            changed,
            stands,
            lines(stay, planned, reopened),
            due,
            begun.unused,
            begun.differs,
            self._raised(begun, late),
        )

    @staticmethod
    def _raised(begun: Begun, late: list[list[Screening]]) -> tuple[str, ...]:
        """The exceptions of the stay that plugins' answers give it; as before while they were not asked."""
        if begun.stay.lifecycle is not Lifecycle.DISCHARGED:
            return ()
        if not late:
            return begun.task.said.raised if isinstance(begun.task.purpose, Silence) else ()
        known, now = (
            {
                item.plugin: item.screened.result
                for item in each
                if item.wave == 1 and not item.screened.failed
            }
            for each in late
        )
        if not known.keys() & now.keys():
            return begun.task.said.raised
        return (LATE_CRITICAL_RESULT,) if afterwards.is_critical(known, now) else ()

    def _stands(
        self, begun: Begun, said: Sequence[Screening], verdicts: Mapping[str, Mapping[str, Verdict]]
    ) -> list[Stands]:
        """What the answers come to for each review that was put to the plugins."""
        task, found = begun.task, dict[str, Stands]()
        for review, whole in begun.questions:
            record, judged = task.said.review(review.id), review.judged
            own = [item.screened for item in said if item.review is review]
            at, held = instant(judged.at), record.closing
            if held is not None and held.row is None:  # until now each row has asked again, and it met
                held = Closing(task.after, at, judged.moment)
            is_met = settled(verdicts.get(review.id, {}).values())
            is_kept = is_met or held is not None  # of a review that stays open nobody keeps what was asked
            asked = asking.digest_kept(review, whole, self._host, is_kept=is_kept)
            answered = closing.Answered(
                Closing(task.seq, at, judged.moment, asked=asked),
                is_met=is_met,
                is_final=judged.is_final,
                outcomes={each.result.outcome for each in own if each.failed is None},
                has_failed=any(each.failed is not None for each in own),
                is_order_gone=review.is_order_gone and review.type is not ReviewType.DISCHARGE,
                is_critical=bool(critical_in(review, whole)),
            )

            def corrected(held: Closing, judged: Judged = judged) -> bool:
                assert held.at is not None and held.row is not None  # noqa: S101 - set above where unknown
                return is_corrected(begun.fold, begun.stay, judged.cut, held.at, held.row)

            if held is not None and is_closed_by_other_rules(task, review):
                found[review.id] = Stands(review.id, closing.read_anew(held, answered), record.reopened)
                continue
            now, why = closing.after(held, answered, corrected)
            stays_open = now is None and held is None
            found[review.id] = Stands(review.id, now, record.reopened if stays_open else why)
        return list(found.values())


def increments_of(made: Iterable[tuple[int, bytes | None]]) -> list[tuple[int, bytes]]:
    """One increment a row, also where a lane takes in several parts of it."""
    found: dict[int, bytes] = {}
    for seq, increment in made:
        if increment is not None:
            found[seq] = combined(found[seq], increment) if seq in found else increment
    return list(found.items())


def _texts(draft: Draft, known: Mapping[str, str] = NOTHING) -> list[str]:
    return SCHEMAS[draft.kind].texts(draft.values, known)
