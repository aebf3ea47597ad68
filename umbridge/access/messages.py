"""Questions about messages: what came in and what became of it, and one of them segment by segment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar

from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import JsonValue

from umbridge.access.door import Door
from umbridge.access.opened import Opened
from umbridge.access.questions import (
    MAX_NUMBER,
    Access,
    OfMessage,
    Patient,
    Query,
    Whose,
    asked,
    looks_for,
    number,
    some_number,
    text,
)
from umbridge.access.views import Placed, Seen, inside, view, within
from umbridge.errors import NotHl7Error, UmbridgeError
from umbridge.hl7 import dictionary, er7
from umbridge.hl7.segment import Segment
from umbridge.model import RowState
from umbridge.settings.site import SiteProfile
from umbridge.stay import part2
from umbridge.stay.identity import event_of
from umbridge.stay.unused import Unused, segments_not_read, shapes_not_read, unused
from umbridge.store import inbox, search

# Which compartment a segment's content belongs to; what is not named here is clinical (the strictest common
# one), so that a Z segment nobody described is not shown by default.
SEGMENT_COMPARTMENT = {
    **dict.fromkeys(("MSH", "SFT", "EVN"), "ops"),
    **dict.fromkeys(("PID", "PD1", "NK1", "MRG", "PV1"), "ident"),
    **dict.fromkeys(("IN1", "IN2", "IN3", "GT1", "ACC"), "fin"),
}
_NOT_READ = (RowState.IGNORED, RowState.REFUSED)


@view
class MessageLine:
    """One message of a list."""

    seq: int = within("ops", "row")
    feed: str = within("open")
    control_id: str | None = within("ops")
    type: str | None = within("ops", "message_type")
    received_at: str = within("open", "ts")
    ack: str = within("ops")
    state: str = within("open")
    reason: str = within("ops")
    visit: str | None = within("ident")


@view
class FieldLine:
    """One field of a segment. Which fields a message has is open: every message of its type has them."""

    field: str = within("open")
    name: str = within("open")
    type: str | None = within("open")
    value: Placed = inside(Placed)


@view
class SegmentLines:
    """One segment of a message."""

    segment: str = within("open")
    name: str = within("open")
    fields: tuple[FieldLine, ...] = inside(FieldLine)


@view
class UnusedLine:
    """What of a message nothing here uses, and how often it has it."""

    field: str = within("open")
    reason: str = within("ops")
    count: int = within("ops")
    code: Placed = inside(Placed)
    fact: Placed = inside(Placed)


@view
class UnusedOfFeed:
    """The same of all messages of a feed that were looked through."""

    feed: str = within("open")
    field: str = within("open")
    reason: str = within("ops")
    count: int = within("ops")
    code: Placed = inside(Placed)
    fact: Placed = inside(Placed)
    last: int = within("ops", "row")


@view
class MessageView:
    """One message, whole."""

    seq: int = within("ops", "row")
    feed: str = within("open")
    type: str | None = within("ops", "message_type")
    received_at: str = within("open", "ts")
    ack: str = within("ops")
    state: str = within("open")
    reason: str = within("ops")
    ledger_seq: int = within("open", "seq")
    findings: JsonValue = within("ops")
    unused: tuple[UnusedLine, ...] = inside(UnusedLine)
    segments: tuple[SegmentLines, ...] = inside(SegmentLines)


@asked
class MessagesList(Query[MessageLine]):
    """``messages list``."""

    name: ClassVar[str] = "messages.list"
    rows = (MessageLine,)

    mrn: str = looks_for("ident", "mrn", told="name")
    visit: str = looks_for("ident", "visit", told="name")
    control_id: str = looks_for("ops", "control_id", told="value")
    since: str = text(told="value")
    until: str = text(told="value")
    feed: str = text(told="value")
    state: str = text(told="value")
    after: int | None = some_number(told="value")
    limit: int | None = some_number(told="value")

    @property
    def whose(self) -> Whose:
        return Patient(self.mrn or self.visit)

    @property
    def is_search(self) -> bool:
        """Whether anything narrows it; else it is all there is, page after page."""
        narrowed = (self.mrn, self.visit, self.control_id, self.since, self.until, self.feed, self.state)
        return any(narrowed) or self.after is not None or self.limit is not None


@asked
class MessagesShow(Query[MessageView]):
    """``messages show``."""

    name: ClassVar[str] = "messages.show"
    access: ClassVar[Access] = "read"
    rows = (MessageView,)

    seq: int = number()

    @property
    def words(self) -> str:
        return f"messages show {self.seq}"

    @property
    def whose(self) -> Whose:
        return OfMessage(self.seq)


@asked
class MessagesUnused(Query[UnusedOfFeed]):
    """``messages unused``."""

    name: ClassVar[str] = "messages.unused"
    access: ClassVar[Access] = "search"
    rows = (UnusedOfFeed,)

    since: str = text(told="value")
    until: str = text(told="value")
    feed: str = text(told="value")
    after: int | None = some_number(told="value")
    limit: int | None = some_number(told="value")


class MessageQueries:
    """Answers for one account at a time. Thread-safe: the door is."""

    def __init__(
        self, door: Door, site: SiteProfile, charset: Callable[[str], str], lane: Callable[[str], bytes]
    ) -> None:
        """``charset``: a feed's, for messages that do not say theirs; ``lane``: where a visit leads."""
        self._door = door
        self._site = site
        self._charset = charset
        self._lane = lane

    def list(self, viewer: Viewer, query: MessagesList) -> Iterator[Seen[MessageLine]]:
        def lines(opened: Opened) -> Iterator[MessageLine]:
            rows = opened.messages()
            if query.is_search:
                limit = MAX_NUMBER if query.limit is None else query.limit
                rows = opened.found(self._criteria(query), limit)
            return map(_line, rows)

        return self._door.disclose(viewer, query, lines)

    def _criteria(self, query: MessagesList) -> search.Criteria:
        keyring, tokens = self._door.writer.keyring, []
        numbers = self._site.mrns.spellings(query.mrn) if query.mrn else ()
        if query.control_id:
            tokens.append(search.control(keyring, query.control_id))
        return search.Criteria(
            tuple(tokens),
            self._lane(query.visit) if query.visit else None,
            since=query.since,
            until=query.until,
            feed=query.feed,
            state=query.state,
            after=query.after or 0,
            any_of=tuple(search.patient(keyring, *number) for number in numbers),
        )

    def unused(self, viewer: Viewer, query: MessagesUnused) -> Iterator[Seen[UnusedOfFeed]]:
        """What of the messages that were worked is not used, by feed, field, code and reason."""
        wanted = search.Criteria(
            (), None, since=query.since, until=query.until, feed=query.feed, after=query.after or 0
        )
        limit = MAX_NUMBER if query.limit is None else query.limit

        def lines(opened: Opened) -> Iterator[UnusedOfFeed]:
            counts: Counter[tuple[str, Unused, bool]] = Counter()
            last: dict[tuple[str, Unused, bool], int] = {}
            for row in opened.found(wanted, limit):
                for one, restricted in self._unused(row):
                    counts[row.feed, one, restricted] += 1
                    last[row.feed, one, restricted] = row.seq
            for key, count in sorted(counts.items(), key=lambda pair: (pair[0][0], -pair[1], pair[0][1])):
                feed, one, restricted = key
                code, fact = _placed(one, restricted)
                yield UnusedOfFeed(
                    feed=feed,
                    field=one.field,
                    reason=one.reason,
                    count=count,
                    code=code,
                    fact=fact,
                    last=last[key],
                )

        return self._door.disclose(viewer, query, lines)

    def _unused(self, row: inbox.Row) -> Iterator[tuple[Unused, bool]]:
        """Of a message that is worked; whether it tells of substance use with each."""
        if row.reason == inbox.UNREADABLE or row.state in _NOT_READ:
            return
        try:
            message = er7.parse(row.frame, self._charset(row.feed))
        except NotHl7Error:
            return
        event = event_of(message, self._site, row.received)
        restricted = part2.tells(message, event, self._site)
        for one in (*unused(event, self._site), *segments_not_read(message), *shapes_not_read(message)):
            yield replace(one, settle="", says="", kind=""), restricted

    def show(self, viewer: Viewer, query: MessagesShow) -> Iterator[Seen[MessageView]]:
        def message(opened: Opened) -> Iterator[MessageView]:
            row = opened.message(query.seq)
            if row is None:
                text = f"there is no message {query.seq}; `umbridge messages list` shows which there are"
                raise UmbridgeError(text)
            yield self.view(row)

        return self._door.disclose(viewer, query, message)

    def view(self, row: inbox.Row) -> MessageView:
        """A message as it is, every field with its compartment."""
        segments, findings = self._content(row)
        return MessageView(
            seq=row.seq,
            feed=row.feed,
            type=row.head.get("type"),
            received_at=row.received_at,
            ack=row.ack,
            state=row.state,
            reason=row.reason,
            ledger_seq=row.entry,
            findings=findings,
            unused=tuple(
                UnusedLine(field=one.field, reason=one.reason, count=count, code=code, fact=fact)
                for (one, restricted), count in sorted(Counter(self._unused(row)).items())
                for code, fact in (_placed(one, restricted),)
            ),
            segments=segments,
        )

    def _content(self, row: inbox.Row) -> tuple[tuple[SegmentLines, ...], JsonValue]:
        if row.reason == inbox.UNREADABLE:
            return (), [inbox.UNREADABLE]
        try:
            message = er7.parse(row.frame, self._charset(row.feed))
        except NotHl7Error:
            return (), ["no_readable_header"]
        event = event_of(message, self._site, row.received)
        restricted = part2.tells(message, event, self._site)
        version = message.get("MSH-12.1") or "2.5"
        segments = tuple(_segment(message, each, version, restricted) for each in message.walk())
        return segments, list(dictionary.findings(message))


def _placed(one: Unused, restricted: bool) -> tuple[Placed, Placed]:
    """Its code and its fact, where the field's content belongs."""
    compartment = SEGMENT_COMPARTMENT.get(one.field[:3], "clin")
    hidden = restricted and compartment == "clin"
    return Placed(compartment, "code", one.code, hidden), Placed(compartment, "fact", one.fact, hidden)


def _line(row: inbox.Row) -> MessageLine:
    return MessageLine(
        seq=row.seq,
        feed=row.feed,
        control_id=row.head.get("control_id"),
        type=row.head.get("type"),
        received_at=row.received_at,
        ack=row.ack,
        state=row.state,
        reason=row.reason,
        visit=row.head.get("visit"),
    )


def _segment(message: er7.Message, segment: Segment, version: str, restricted: bool) -> SegmentLines:
    """42 CFR part 2 restricts every clinical segment of a message that tells of substance use: all of it is
    said together."""
    compartment = SEGMENT_COMPARTMENT.get(segment.name, "clin")
    found = []
    for number_ in range(1, len(segment.fields)):
        if not segment.field(number_):
            continue
        name, datatype = dictionary.field_name(version, segment.name, number_)
        at = f"{segment.name}-{number_}"
        value = message.text(segment.field(number_))
        placed = Placed(compartment, at, value, restricted and compartment == "clin")
        found.append(FieldLine(field=at, name=name, type=datatype, value=placed))
    return SegmentLines(
        segment=segment.name, name=dictionary.segment_name(version, segment.name), fields=tuple(found)
    )
