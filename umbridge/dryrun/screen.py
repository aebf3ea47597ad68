"""The shadow run: fold files into stays and screen them, with no store, no daemon and no ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from umbridge.criteria.why_rows import unknown
from umbridge.errors import Hl7Error, UsageError
from umbridge.hl7 import ack, batch, er7, translate
from umbridge.hl7.moments import AHEAD, EPOCH, is_ahead
from umbridge.intake.receive import content_digest
from umbridge.lanes.asking import Screening, questions_of, screenings
from umbridge.lanes.underway import to_screen
from umbridge.model import Case, Event, RowState
from umbridge.review.aside import aside, held_for
from umbridge.review.plan import reviews, stay_json
from umbridge.review.record import ScreenLine, screen_line, verdict
from umbridge.review.review import Review
from umbridge.review.waves import Verdict, settled, why_open
from umbridge.screening.host import Host
from umbridge.screening.why_codec import why_rows
from umbridge.settings.site import SiteProfile
from umbridge.stay.fold import Stay, StayFold
from umbridge.stay.identity import PERSON_LEVEL, event_of
from umbridge.stay.patient_index import Delivery, Directory
from umbridge.stay.record import CANCELS
from umbridge.stay.results.statements import FINAL, kind_of
from umbridge.stay.together import side_by_side
from umbridge.values.kinds import ReviewState, ReviewType

NEVER = datetime.min.replace(tzinfo=UTC)
FIRST_YEAR, LAST_YEAR = 1801, 2199  # those of times in messages, less one for windows and day arithmetic


#: What tells of an order for the first time; whatever else is told of one speaks of what was told before.
_NEW = frozenset(("NW", "SN", "RO", "CH", "RA"))


def clock(as_of: datetime | None) -> datetime:
    """What nothing may lie ahead of: this machine's clock, or the moment asked of where that is later."""
    now = datetime.now(UTC)
    return now if as_of is None or as_of.year > LAST_YEAR else max(now, as_of)


def speaks_of_earlier(event: Event) -> bool:
    """Whether a message corrects, withdraws or cancels what others said, or has no time of anything."""
    if event.sent_at == EPOCH or event.withdrawals:
        return True
    if event.message_type == "ADT":
        return event.trigger in CANCELS
    told = event.several or (event,)
    return any(
        kind is not None and kind > FINAL
        for each in told
        for kind in (kind_of(one.status, one.report_status) for one in each.observations)
    ) or any(order.control not in _NEW for order in event.orders)


@dataclass(slots=True)
class Lane:
    """One stay: its fold, the newest message's time, and what the plugins' answers come to, by review."""

    fold: StayFold
    as_of: datetime = NEVER
    verdicts: dict[str, dict[str, Verdict]] = field(default_factory=dict)

    @property
    def completed(self) -> frozenset[str]:
        """Reviews that may close by themselves."""
        return frozenset(name for name, each in self.verdicts.items() if settled(each.values()))


@dataclass(slots=True)
class Looked:
    """One review's results, and why it does not close by them, as ``why_open`` has it."""

    open_for: tuple[tuple[str, str], ...]
    lines: list[ScreenLine] = field(default_factory=list)


@dataclass(slots=True)
class Shadow:
    """Stays folded from files: ``unread`` counts what was refused or means nothing here, by reason.

    ``processing_id``: of the messages that are read. One alone: a test message never meets a patient's stay.
    ``now``: the clock that nothing may lie ahead of, as in the daemon; without one nothing is set aside.
    """

    site: SiteProfile
    processing_id: str = ack.PRODUCTION
    now: datetime | None = None
    lanes: dict[str, Lane] = field(default_factory=dict)
    events: dict[str, list[tuple[int, Event]]] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    latest: datetime | None = None
    _seq: int = 0
    _undated: list[tuple[datetime, bytes, er7.Message]] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)
    _directory: Directory = field(init=False)

    def __post_init__(self) -> None:
        self._directory = Directory(self.site)

    def take(self, data: bytes) -> None:
        """One message. A repeat counts once, re-stamped or not, as it would in the daemon."""
        try:
            message = er7.parse(data)
        except Hl7Error:
            return self._skip("no_readable_header")
        refused = ack.refusal(message)
        if refused is not None:
            return self._skip(refused.reason)
        disposition = ack.disposition(message, (self.processing_id,))
        if disposition.state is not RowState.PENDING:
            return self._skip(ack.told(disposition.reason, message))
        if self.now is not None:
            here = self.site.at(translate.facility_of(message))
            if is_ahead(message, here.zone, self.site.windows.future_skew_minutes, self.now):
                return self._skip(AHEAD)
        digest = content_digest(message)
        if digest in self._seen:
            return self._skip("duplicate")
        self._seen.add(digest)
        event = event_of(message, self.site)
        if event.is_undated and speaks_of_earlier(event):
            self._undated.append((event.sent_at, digest, message))
        else:
            self._seq += 1
            self._fold(event, self._seq)
        return None

    def _fold(self, event: Event, seq: int) -> None:
        deliveries = self._directory.take(event, seq)
        for delivery in deliveries:
            self._deliver(delivery, seq)
        self.latest = event.sent_at if self.latest is None else max(self.latest, event.sent_at)
        if not any(delivery.lanes for delivery in deliveries):
            is_person = event.trigger in PERSON_LEVEL and event.message_type == "ADT"
            is_several = any(delivery.is_ambiguous for delivery in deliveries)
            nowhere = "visit_ambiguous" if is_several else "no_visit_number"
            self._skip("no_stay_of_this_patient" if is_person else nowhere)

    def _end(self, as_of: datetime | None) -> None:
        """Fold what does not say when it was sent and speaks of what was said before: as if sent last of all.

        Nobody received a file, so there is no moment of receipt, and the order of the files decides nothing.
        """
        moments = [each for each in (self.latest, as_of) if each is not None]
        last = min(moments) if moments else EPOCH
        for at, _, message in sorted(self._undated, key=lambda each: each[:2]):
            received = last.isoformat() if at < last else ""
            self._seq += 1
            self._fold(event_of(message, self.site, received), self._seq)
        self._undated.clear()

    def _deliver(self, delivery: Delivery, seq: int) -> None:
        """Fold one part of a message into its lanes; a lane that joins another is folded with it again."""
        for lane in delivery.lanes:
            known = self.events.setdefault(lane, [])
            state = self.lanes.setdefault(lane, Lane(StayFold(self.site)))
            fresh = [each for each in delivery.earlier if each not in known]
            fresh.append((seq, delivery.event))
            for gone in delivery.joined:
                old = self.events.pop(gone, [])
                fresh += [each for each in old if each not in known and each not in fresh]
                self.lanes.pop(gone, None)
            known += fresh
            if delivery.joined:
                state.fold = StayFold.refold(self.site, known)
            else:
                for each in fresh:
                    state.fold.apply(each[1], each[0])
            state.as_of = max([state.as_of, *(event.sent_at for _, event in fresh)])
        for lane in delivery.beside:
            self._deliver(Delivery((lane,), replace(delivery.event, is_beside=True)), seq)
        for lane, row, event in delivery.placed:
            self._unskip("no_visit_number")
            self._deliver(Delivery((lane,), event), row)

    def _unskip(self, reason: str) -> None:
        left = self.unread[reason] - 1
        self.unread[reason] = left
        if not left:
            del self.unread[reason]

    def _skip(self, reason: str) -> None:
        self.unread[reason] = self.unread.get(reason, 0) + 1

    def screen(self, host: Host, as_of: datetime | None) -> list[ScreenLine]:
        """Every result in force at ``as_of`` (default: the last message's time), by visit."""
        return [line for each in self.reviews(host, as_of) for line in each.lines]

    def reviews(self, host: Host, as_of: datetime | None) -> list[Looked]:
        """The same by review, each with why it is open."""
        self._end(as_of)
        found: list[Looked] = []
        for key in sorted(self.lanes):
            state, moment = self._at(key, as_of)
            if state is None or moment is None:
                continue
            stay = state.fold.stay(moment)
            asked = questions_of(state.fold, stay, to_screen(reviews(stay)), host)
            done = self._answered(state, asked, host)
            later = questions_of(state.fold, stay, next_looks(stay, state.completed, asked), host)
            done += self._answered(state, later, host)
            asked = [*asked, *later]
            closing = state.completed
            for review, _ in asked:
                looked = Looked(why_open(state.verdicts.get(review.id, {})))
                for item in done:
                    if item.review is not review:
                        continue
                    line = screen_line(
                        stay.visit or key,
                        review,
                        item.plugin,
                        item.screened.result,
                        closes=review.id in closing,
                    )
                    if host.why:
                        line["why"] = why_rows(item.screened.why)
                    lacked = {
                        *line["missing"],
                        *line.get("advise_missing", []),
                        *unknown(line.get("why", [])),
                    }
                    held = held_for(item.screened.result)
                    if sent := aside(state.fold, stay, review, lacked, held):
                        line["not_used"] = sent
                    looked.lines.append(line)
                found.append(looked)
        return found

    @staticmethod
    def _answered(state: Lane, asked: Sequence[tuple[Review, Case]], host: Host) -> list[Screening]:
        """What the plugins say to these questions; the lane's verdicts have it too."""
        questions = [(review, whole, lambda name: f"shadow-{name}") for review, whole in asked]
        done = [item for each in screenings(host, questions) for item in each]
        for item in done:
            said = verdict(item.screened.result, item.wave)
            state.verdicts.setdefault(item.review.id, {})[item.plugin] = said
        return done

    def _at(self, key: str, as_of: datetime | None) -> tuple[Lane | None, datetime | None]:
        """The lane as it stood at ``as_of``: what was sent later had not been said yet."""
        if as_of is None:
            return self.lanes[key], self.latest
        if not FIRST_YEAR <= as_of.year <= LAST_YEAR:
            raise UsageError(f"--as-of: expected a year from {FIRST_YEAR} to {LAST_YEAR}")
        known = [(seq, event) for seq, event in self.events[key] if event.sent_at <= as_of]
        if len(known) == len(self.events[key]):
            return self.lanes[key], as_of
        return (Lane(StayFold.refold(self.site, known)) if known else None), as_of

    def stays(self, as_of: datetime | None) -> list[dict[str, Any]]:
        """The stays as JSON, with their reviews by state."""
        return [stay_json(stay, completed) for stay, completed in self._stays(as_of)]

    def exceptions(self, as_of: datetime | None) -> Counter[str]:
        """How many stays have each exception: what is shown of reviews names none."""
        return Counter(code for stay, _ in self._stays(as_of) for code in stay.exceptions)

    def _stays(self, as_of: datetime | None) -> list[tuple[Stay, frozenset[str]]]:
        """Each with the reviews that may close by themselves."""
        self._end(as_of)
        found: list[tuple[Stay, frozenset[str]]] = []
        for key in sorted(self.lanes):
            state, moment = self._at(key, as_of)
            if state is not None and moment is not None:
                found.append((state.fold.stay(moment), state.completed))
        stays = side_by_side([stay for stay, _ in found])
        return [(stay, completed) for stay, (_, completed) in zip(stays, found, strict=True)]


def next_looks(
    stay: Stay, completed: frozenset[str], asked: Sequence[tuple[Review, Case]]
) -> tuple[Review, ...]:
    """The newest later look at an observation that is due, where the first closes by itself.

    Those between were asked in their time, by what was so then, and nobody is shown what they came to."""
    known = {review.id for review, _ in asked}
    found: tuple[Review, ...] = ()
    while True:
        due = tuple(
            each
            for each in to_screen(reviews(stay, completed))
            if each.type is ReviewType.OBSERVATION and each.state is ReviewState.OPEN and each.id not in known
        )
        if not due:
            return found
        found, completed = due, completed | {each.id for each in due}
        known |= completed


def read_files(paths: Sequence[str], stdin: bytes | None = None) -> Iterable[tuple[str, bytes]]:
    """(file as given, message): a file may hold many, a folder gives its ``*.hl7`` in name order, - is stdin.

    Raises UsageError for a path that is not there.
    """
    for given in paths:
        if given == "-":
            yield from ((given, one) for one in batch.split(stdin or b""))
            continue
        path = Path(given)
        if path.is_dir():
            for inner in sorted(path.rglob("*.hl7")):
                for one in batch.split(inner.read_bytes()):
                    yield str(inner), one
        elif path.exists():
            for one in batch.split(path.read_bytes()):
                yield given, one
        else:
            raise UsageError(f"{given}: no such file or folder")
