"""Questions about stays and their open reviews: logged first, read back from the fold, shown redacted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import ClassVar, TypeAlias
from zoneinfo import ZoneInfo

from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import JsonValue
from umbridge_audit.seal import SealError

from umbridge.access.door import Door
from umbridge.access.opened import Opened
from umbridge.access.questions import Access, Patient, Query, Whose, asked, flag, looks_for, some_number
from umbridge.access.views import Seen, blank, view, within
from umbridge.access.worklist import Unreadable, Worklist
from umbridge.errors import StoreError, UmbridgeError, UsageError
from umbridge.hl7 import er7
from umbridge.intake.tokens import Tokens
from umbridge.model import Event
from umbridge.review.plan import stay_json
from umbridge.review.standing import DIFFERS, LaneReviews, differs_as, differs_of
from umbridge.review.worklist import WorklistLine
from umbridge.settings.site import SiteProfile
from umbridge.stay.anew import MARK, mark_of, reading_of
from umbridge.stay.clock import instant, moment
from umbridge.stay.fold import NeedsRefold, Stay, StayFold
from umbridge.stay.identity import event_of, taken_part
from umbridge.stay.together import beside
from umbridge.store import inbox
from umbridge.store.closing import CLOSED, READ_ANEW, closed_name, closed_of
from umbridge.store.worklist import Place, Wanted, payer_token, unit_token

OTHERS = 20  # stays of one patient that a stay is held against: one of years ago is not open
DUE_SOON = timedelta(hours=24)


# As PV1 and the ledger's slots have it: where and when a person lay is about the person, what was ordered and
# judged is clinical, the work that is left to do is operations.
@view
class StayLine:
    """A stay, as a list has it. Each field is as ``stay_json`` writes it."""

    visit: str | None = within("ident")
    accounts: JsonValue = within("ident")
    mrn: str | None = within("ident")
    mrn_aliases: JsonValue = within("ident")
    lifecycle: str | None = within("ops")
    status: str | None = within("clin")
    status_spans: JsonValue = within("clin")
    status_evidence: JsonValue = within("clin")
    pending: JsonValue = within("clin")
    unit: str | None = within("ident")
    bed: str | None = within("ident")
    unit_level: str | None = within("clin")
    care_start: str | None = within("ident")
    inpatient_start: str | None = within("ident")
    observation_start: str | None = within("ident")
    discharged_at: str | None = within("ident")
    los_midnights: int | None = within("clin")
    leave_midnights: int | None = within("clin")
    hospital_midnights: int | None = within("clin")
    continued_stay_due: str | None = within("ops")
    readmission_index: JsonValue = within("clin")
    open_reviews: JsonValue = within("ops")
    void_reviews: JsonValue = within("ops")
    closed_reviews: JsonValue = within("ops")
    events_applied: JsonValue = within("ops")
    exceptions: JsonValue = within("ops")
    notices_due: JsonValue = within("ops")
    notices_missed: JsonValue = within("ops")


@view
class StayView(StayLine):
    """One stay, for who reviews it: where and when, and what the payer said, beside the rest.

    ``midnights_from``: of who has Medicare cover, when hospital care began, as the two midnights count; None
    where nothing shows it. ``care_start`` is when registration has the patient come.
    """

    midnights_from: str | None = within("clin")  # that there is one tells of the cover, as notices do
    spans: JsonValue = within("clin")
    locations: JsonValue = within("ident")
    practitioners: JsonValue = within("ident")
    leaves: JsonValue = within("ident")
    payer_class: str | None = within("fin")
    coverage: JsonValue = within("fin")
    authorizations: JsonValue = within("fin")
    acknowledged: JsonValue = within("ops", "exceptions")


@view
class ReviewLine:
    """A review that waits for a person."""

    due: str | None = within("ops")
    overdue: bool | None = within("ops")
    visit: str | None = within("ident")
    mrn: str | None = within("ident")
    unit: str | None = within("ident")
    payer_class: str | None = within("fin")
    review: str = within("ops")
    review_id: str | None = within("ops")
    opened_at: str | None = within("ident")
    episode_day: int | None = within("clin")
    reason: str | None = within("ops")
    requested: JsonValue = within("clin")
    outcomes: JsonValue = within("clin")
    hold: JsonValue = within("clin")
    entries: JsonValue = within("ops")


@asked
class StaysList(Query[StayLine]):
    """``stays list``."""

    name: ClassVar[str] = "stays.list"
    rows = (StayLine,)


@asked
class StaysShow(Query[StayView]):
    """``stays show``."""

    name: ClassVar[str] = "stays.show"
    says_hidden = True
    access: ClassVar[Access] = "read"
    rows = (StayView,)

    visit: str = looks_for("ident", "visit", told="name")

    @property
    def words(self) -> str:
        return "stays show"

    @property
    def whose(self) -> Whose:
        return Patient(self.visit)


@asked
class ReviewsList(Query[ReviewLine]):
    """``reviews list``: the worklist."""

    name: ClassVar[str] = "reviews.list"
    rows = (ReviewLine,)

    due: bool = flag(told="name", of=("ops", "due"))
    overdue: bool = flag(told="name", of=("ops", "due"))
    unit: str = looks_for("ident", "unit", told="name")
    payer: str = looks_for("fin", "payer_class", told="value")
    after: str = looks_for("ops", "due", told="name")  # it answers whether something is due before then
    limit: int | None = some_number(told="name")


Told: TypeAlias = Sequence[tuple[int, Event]]


class GoneError(UmbridgeError):
    """No stay is in that lane: there never was one, or it was joined to another."""


class StayQueries:
    """Answers about stays, for one account at a time. Thread-safe: the door is."""

    def __init__(
        self, door: Door, site: SiteProfile, charset: Callable[[str], str], worklist: Worklist
    ) -> None:
        """``charset``: the one that a feed's messages are in when they do not say."""
        self._door = door
        self._writer = door.writer
        self._site = site
        self._charset = charset
        self._worklist = worklist
        self._tokens = Tokens(door.writer.keyring, site)

    def list(self, viewer: Viewer, query: StaysList) -> Iterator[Seen[StayLine]]:
        def lines(opened: Opened) -> Iterator[StayLine]:
            with self._writer.reading() as reader:
                lanes = reader.lanes()
                marked = reader.notes_under(MARK).keys() | reader.notes_under(DIFFERS).keys()
                closed = reader.notes_under(CLOSED)
            for lane in lanes:
                try:
                    stay, said = self._read(opened, lane)
                except GoneError:
                    continue  # joined to another stay meanwhile
                except SealError:  # one that does not open must not hide those that come after it
                    yield blank(StayLine, exceptions=[inbox.UNREADABLE])
                    continue
                row = stay_json(stay, said.completed)
                raised = _exceptions(stay, said, lane, marked)
                gone = self._closed(lane, closed.get(closed_name(lane)))
                row["exceptions"] = [code for code in raised if code not in gone]
                yield StayLine(**row)

        return self._door.disclose(viewer, query, lines)

    def show(self, viewer: Viewer, query: StaysShow) -> Iterator[Seen[StayView]]:
        lane = self.lane(query.visit)
        with self._writer.reading() as reader:
            count = int(reader.has_stay(lane))
            marked = {each for each in (mark_of(lane), differs_of(lane)) if reader.note(each) is not None}
            note = reader.note(closed_name(lane))

        def one(opened: Opened) -> Iterator[StayView]:
            try:
                stay, said = self._read(opened, lane)
            except SealError:
                raise StoreError("this stay, or a message of it, does not open; restore a backup") from None
            row = stay_json(stay, said.completed)
            raised, closed = _exceptions(stay, said, lane, marked), self._closed(lane, note)
            row["exceptions"] = [code for code in raised if code not in closed]
            looked_at = [code for code in raised if code in closed]
            yield StayView(**row, **stay.detail(), acknowledged=looked_at)

        return self._door.disclose(viewer, query, one, count=count)

    def opened(self, opened: Opened, lane: bytes) -> tuple[Stay, LaneReviews, Sequence[str]]:
        """A stay with what was said of its reviews, and its exceptions. Raises GoneError, SealError."""
        with self._writer.reading() as reader:
            marked = {each for each in (mark_of(lane), differs_of(lane)) if reader.note(each) is not None}
            note = reader.note(closed_name(lane))
        stay, said = self._read(opened, lane)
        closed = self._closed(lane, note)
        return stay, said, [code for code in _exceptions(stay, said, lane, marked) if code not in closed]

    def kept(self, opened: Opened, visit: str, until: int) -> tuple[Told, frozenset[str]]:
        """What a visit's stay was made of until a row, and which of its reviews are closed by answers.
        Raises GoneError, SealError."""
        lane = self.lane(visit)
        saved = opened.stay(lane)
        if saved is None:
            raise GoneError("no stay has that visit number")
        return [*self._events(opened, lane, until)], saved.said.completed

    def look(self, viewer: Viewer, visit: str, reason: str) -> tuple[bytes, int, Sequence[str]]:
        """The lane that a visit leads to, its newest message, and the exceptions that these eyes see: a look
        like any other, on the ledger before it is made. Raises GoneError."""
        lane = self.lane(visit)
        with self._writer.reading() as reader:
            seq = reader.stay_seq(lane)
        (seen,) = self.show(viewer, StaysShow(visit=visit, reason=reason, purpose=""))
        exceptions = seen.values["exceptions"]
        return lane, seq or 0, [str(each) for each in exceptions] if isinstance(exceptions, list) else []

    def _closed(self, lane: bytes, note: str | None) -> frozenset[str]:
        """Which of its exceptions a person closed since its newest message."""
        if note is None:
            return frozenset()
        with self._writer.reading() as reader:
            return closed_of(note, reader.stay_seq(lane), reading_of(self._site))

    def worklist(self, viewer: Viewer, query: ReviewsList) -> Iterator[Seen[ReviewLine]]:
        """The reviews that wait for a person, the earliest due first; those without a due time last."""
        after, now = place_of(query.after), datetime.now(UTC)

        def lines(opened: Opened) -> Iterator[ReviewLine]:
            wanted = self._wanted(query, now)
            for line in opened.open_reviews(self._worklist, wanted, after, query.limit):
                yield _line(line, now) if isinstance(line, WorklistLine) else _unreadable(line, now)

        return self._door.disclose(viewer, query, lines)

    def _wanted(self, query: ReviewsList, now: datetime) -> Wanted:
        keyring = self._writer.keyring
        until = now if query.overdue else now + DUE_SOON if query.due else None
        return Wanted(
            unit=unit_token(keyring, query.unit) if query.unit else None,
            payer=payer_token(keyring, query.payer) if query.payer else None,
            due_before=None if until is None else instant(until),
        )

    def lane(self, visit: str) -> bytes:
        """The stay that a visit's number leads to, now; or its account's, as ``Tokens.lookup`` has it."""
        token = self._tokens.lookup(visit)
        with self._writer.reading() as reader:
            return reader.resolve(token) or token

    def _read(self, opened: Opened, lane: bytes) -> tuple[Stay, LaneReviews]:
        """A stay as its newest message left it, beside its patient's others. Raises GoneError, SealError."""
        stay, said = self._folded(opened, lane)
        return beside(stay, self._others(opened, lane, stay.mrn)), said

    def _others(self, opened: Opened, lane: bytes, mrn: str) -> Iterator[Stay]:
        """The patient's other stays, the newest first; one that is gone or does not open is none."""
        with self._writer.reading() as reader:
            lanes = reader.lanes_of(self._tokens.person(mrn), OTHERS)
        for other in lanes:
            if other != lane:
                with suppress(GoneError, SealError):
                    yield self._folded(opened, other)[0]

    def _folded(self, opened: Opened, lane: bytes) -> tuple[Stay, LaneReviews]:
        saved = opened.stay(lane)
        if saved is None:
            raise GoneError("no stay has that visit number; `umbridge stays list` shows which there are")
        try:
            fold = StayFold.restore(self._site, saved.head, saved.increments)
        except NeedsRefold:  # folded under another site profile: again from the inbox, and nothing is written
            fold = StayFold.refold(self._site, self._events(opened, lane, saved.seq))
        return fold.stay(saved.said.as_of), saved.said

    def _events(self, opened: Opened, lane: bytes, until: int) -> Iterator[tuple[int, Event]]:
        """Every message the lane's stay was made of. Raises SealError: half a stay is a wrong one."""
        for row, wanted in opened.messages_of(lane, until):
            if row.reason == inbox.UNREADABLE:
                raise SealError("a message of this stay does not open")
            message = er7.parse(row.frame, self._charset(row.feed))
            event = event_of(message, self._site, row.received)
            for part in wanted:
                yield row.seq, taken_part(event, part)


def _exceptions(stay: Stay, said: LaneReviews, lane: bytes, notes: Set[str]) -> list[str]:
    """What the stay itself shows, what plugins' answers give it, and what is noted of it for a person."""
    found = {*stay.exceptions, *said.raised}
    if differs_of(lane) in notes:
        found.add(differs_as(said))
    return sorted(found) + ([READ_ANEW] if mark_of(lane) in notes else [])


def place_of(said: str) -> Place | None:
    """Where the page before ended: that line's due time and number, as DUE/NUMBER. Raises UsageError."""
    if not said:
        return None
    due, slash, review_id = said.rpartition("/")
    try:
        at = instant(datetime.fromisoformat(due)) if due else None
    except (ValueError, TypeError):  # no time, or one without a zone
        at, review_id = None, ""
    if not slash or not review_id:
        raise UsageError("after: expected the last line's due time and review_id, as DUE/REVIEW_ID")
    return Place(at, review_id)


def _unreadable(line: Unreadable, now: datetime) -> ReviewLine:
    due = None if line.place.due is None else moment(line.place.due, ZoneInfo("UTC"))
    return blank(
        ReviewLine,
        due=None if due is None else due.isoformat(),
        overdue=due is not None and due < now,
        review=inbox.UNREADABLE,
        review_id=line.place.review_id,
    )


def _line(line: WorklistLine, now: datetime) -> ReviewLine:
    answers = sorted(line.answers.items())
    return ReviewLine(
        due=None if line.due is None else line.due.isoformat(),
        overdue=line.due is not None and line.due < now,
        visit=line.visit,
        mrn=line.mrn,
        unit=line.unit,
        payer_class=line.payer_class,
        review=line.type.value,
        review_id=line.review_id,
        opened_at=line.opened_at.isoformat(),
        episode_day=line.episode_day,
        reason=line.reason or None,
        requested={"status": line.requested_status.value, "level": line.requested_level.name},
        outcomes={plugin: answer.outcome for plugin, answer in answers},
        hold=list(line.hold),
        entries={plugin: answer.entry for plugin, answer in answers},
    )
