"""One review opened: what is asked, each plugin's answer in force, what the ledger has said of it before.

The review itself is planned again from its stay; answers and history are entries of the ledger, shown as
``ledger show`` shows them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import ClassVar, TypeAlias

from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import JsonValue
from umbridge_audit.seal import SealError

from umbridge.access.door import Door
from umbridge.access.opened import Opened
from umbridge.access.questions import MAX_NUMBER, Access, OfMessage, Query, Whose, asked, text
from umbridge.access.views import Seen, Slots, inside, view, within
from umbridge.errors import StoreError, UmbridgeError, UsageError
from umbridge.review.plan import reviews
from umbridge.review.review import Review
from umbridge.review.standing import LaneReviews
from umbridge.review.waves import NO_ANSWER, OWN_REASON, is_named, settled, why_open
from umbridge.review.worklist import why_again
from umbridge.stay.clock import moment
from umbridge.stay.stay import Stay
from umbridge.values.kinds import ReviewState

#: A stay as its queries read it, what the ledger has said of its reviews, and its exceptions.
ReadStay: TypeAlias = Callable[[Opened, bytes], tuple[Stay, LaneReviews, Sequence[str]]]
_ID = re.compile(r"[A-Z_]+-([0-9]{1,16})[0-9.x-]*", re.ASCII)
ANSWER = (
    "plugin",
    "outcome",
    "supported",
    "closes",
    "judged_at",
    "as_of",
    "rules",
    "hold",
    "supersedes",
    "row",
)
CHANGE = ("review", "state", "reason", "due", "row")


@view
class Spoken:
    """An entry of the ledger about the review."""

    seq: int = within("open")
    ts: str = within("open")
    kind: str = within("open", "schema")
    slots: Slots = inside(Slots)


@view
class ReviewView:
    """One review, with its stay as far as who reviews it must know."""

    review_id: str = within("ops")
    visit: str | None = within("ident")
    mrn: str | None = within("ident")
    review: str = within("ops")
    state: str = within("ops")
    reason: str | None = within("ops")
    opened_again: str | None = within("ops", "reason")
    requested: JsonValue = within("clin")
    episode_day: int | None = within("clin")
    opened_at: str | None = within("ident")
    due: str | None = within("ops")
    overdue: bool | None = within("ops", "due")
    judged_at: str | None = within("clin")
    moment: str | None = within("clin", "judged_at")
    judged_for_good: bool | None = within("clin", "judged_at")
    told_by: str | None = within("clin", "judged_at")
    closes: bool | None = within("clin")
    open_for: JsonValue = within("clin", "hold")
    lifecycle: str | None = within("ops")
    status: str | None = within("clin")
    spans: JsonValue = within("clin")
    unit: str | None = within("ident")
    payer_class: str | None = within("fin")
    exceptions: JsonValue = within("ops")
    notices_due: JsonValue = within("ops")
    notices_missed: JsonValue = within("ops")
    answers: tuple[Spoken, ...] = inside(Spoken)
    history: tuple[Spoken, ...] = inside(Spoken)


@asked
class ReviewsShow(Query[ReviewView]):
    """``reviews show``."""

    name: ClassVar[str] = "reviews.show"
    says_hidden = True
    access: ClassVar[Access] = "read"
    rows = (ReviewView,)

    review: str = text()

    @property
    def words(self) -> str:
        return f"reviews show {self.review}"

    @property
    def row(self) -> int:
        """The message that first gave ground for the review. Raises UsageError."""
        found = _ID.fullmatch(self.review)
        if found is None or int(found[1]) > MAX_NUMBER:
            raise UsageError(
                "REVIEW: expected a review's id, such as ADMISSION-12; see `umbridge reviews list`"
            )
        return int(found[1])

    @property
    def whose(self) -> Whose:
        return OfMessage(self.row)


class ReviewQueries:
    """Answers for one account at a time. Thread-safe: the door is."""

    def __init__(self, door: Door, read: ReadStay) -> None:
        self._door = door
        self._read = read

    def show(self, viewer: Viewer, query: ReviewsShow) -> Iterator[Seen[ReviewView]]:
        """One review; two where one message opened one of that id in two stays, as a bed swap may."""

        def found(opened: Opened) -> Iterator[ReviewView]:
            is_any = False
            for lane in opened.lanes_of_message(query.row):
                try:
                    stay, said, exceptions = self._read(opened, lane)
                except SealError:
                    raise StoreError(
                        "its stay, or a message of it, does not open; restore a backup"
                    ) from None
                planned = reviews(stay, said.completed, said.reviews)
                for review in planned:
                    if review.id == query.review:
                        is_any = True
                        yield _view(opened, stay, said, exceptions, planned, review)
            if not is_any:
                raise UmbridgeError(
                    f"there is no review {query.review}; `umbridge reviews list` has those that wait"
                )

        return self._door.disclose(viewer, query, found)


def _view(
    opened: Opened,
    stay: Stay,
    said: LaneReviews,
    exceptions: Sequence[str],
    planned: Sequence[Review],
    review: Review,
) -> ReviewView:
    record, now, cut = said.review(review.id), datetime.now(UTC), review.judged.cut
    reopened = {name: each.reopened for name, each in said.reviews.items()}
    in_force = sorted(answer.entry for answer in record.answers.values())
    earlier = [seq for seq in opened.spoken_of(in_force, review.id) if seq not in in_force]
    row = stay.to_json([(each.type, each.state) for each in planned], None)
    return ReviewView(
        review_id=review.id,
        visit=stay.visit,
        mrn=stay.mrn or None,
        review=review.type.value,
        state=review.state.value,
        reason=review.reason or None,
        opened_again=why_again(planned, reopened).get(review.id),
        requested={"status": review.requested_status.value, "level": review.requested_level.name},
        episode_day=review.episode_day,
        opened_at=review.opened_at.isoformat(),
        due=None if review.due is None else review.due.isoformat(),
        overdue=review.state is ReviewState.OPEN and review.due is not None and review.due < now,
        judged_at=review.judged_at.isoformat(),
        moment=_time(stay, review.judged.moment),
        judged_for_good=review.judged.is_final,
        told_by=_time(stay, cut.told_by),
        closes=settled(record.answers.values()),
        open_for=[
            {"plugin": plugin, "reason": reason if is_named(reason) else OWN_REASON}
            for plugin, reason in (why_open(record.answers) if record.answers else (("", NO_ANSWER),))
        ],
        lifecycle=stay.lifecycle.value,
        status=row["status"],
        spans=stay.detail()["spans"],
        unit=stay.unit,
        payer_class=stay.payer_class,
        exceptions=list(exceptions),
        notices_due=row["notices_due"],
        notices_missed=row["notices_missed"],
        answers=tuple(_spoken(opened, seq) for seq in in_force),
        history=tuple(_spoken(opened, seq, (*ANSWER, *CHANGE)) for seq in earlier),
    )


def _time(stay: Stay, at: int | None) -> str | None:
    return None if at is None else moment(at, stay.site.zone).isoformat()


def _spoken(opened: Opened, seq: int, only: Sequence[str] = ()) -> Spoken:
    one = opened.entry(seq)
    values = {name: its for name, its in one.slots.values.items() if not only or name in only}
    return Spoken(seq=one.seq, ts=one.ts, kind=one.kind, slots=Slots(one.kind, values))
