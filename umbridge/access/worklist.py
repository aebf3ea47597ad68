"""The worklist as asked for: pages of open reviews, and the list made again where it is not whole."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock

from umbridge_audit.seal import SealError

from umbridge.errors import StoreError
from umbridge.hl7 import er7
from umbridge.model import Event
from umbridge.review import worklist
from umbridge.review.plan import reviews
from umbridge.review.worklist import WorklistLine
from umbridge.settings.site import SiteProfile
from umbridge.stay.anew import reading_of
from umbridge.stay.fold import NeedsRefold, StayFold
from umbridge.stay.identity import event_of, taken_part
from umbridge.store import inbox
from umbridge.store.commands import Transaction
from umbridge.store.reader import Reader
from umbridge.store.stays import SavedStay
from umbridge.store.worklist import Place, Wanted, open_line
from umbridge.store.writer import Writer

PAGE = 100  # lines, or rows of one stay, read at a time
PAGE_BYTES = 1_000_000
MADE_FOR = "worklist"  # the note that says under which site profile the list was made whole


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that does not open: where it stands is all that is known of it."""

    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class RemakeLines:
    """A stay's lines made again from the stay, unless it was worked meanwhile: then they are newer."""

    lane: bytes
    seq: int
    lines: tuple[WorklistLine, ...] | None  # None: the stay does not open

    def apply(self, tx: Transaction) -> None:
        if tx.stay_seq(self.lane) != self.seq:
            return
        if self.lines is None:
            tx.list_unreadable(self.lane)
        else:
            tx.save_open_reviews(self.lane, self.lines)


@dataclass(frozen=True, slots=True)
class SayWhole:
    """The list is whole under this site profile."""

    digest: str

    def apply(self, tx: Transaction) -> None:
        tx.put_note(MADE_FOR, self.digest)


class Worklist:
    """One for each writer. Thread-safe: the writer is, and each question reads on a connection of its own."""

    def __init__(self, writer: Writer, site: SiteProfile, charset: Callable[[str], str]) -> None:
        """``charset``: the one that a feed's messages are in when they do not say."""
        self._writer = writer
        self._site = site
        self._charset = charset
        self._lock = Lock()
        self._whole = False

    def lines(
        self, wanted: Wanted, after: Place | None = None, limit: int | None = None
    ) -> Iterator[WorklistLine | Unreadable]:
        """Open reviews behind a place, the earliest due first, those without a due time last."""
        self.make_whole()
        left = limit
        while left is None or left > 0:
            with self._writer.reading() as reader:
                found = reader.open_reviews(wanted, after, PAGE if left is None else min(PAGE, left))
            for line in found:
                after = line.place
                try:
                    yield open_line(self._writer.keyring, line)
                except SealError:  # one that does not open must not hide those that come after it
                    yield Unreadable(line.place)
            if len(found) < PAGE:
                return
            left = None if left is None else left - len(found)

    async def prepare(self) -> None:
        """Make it whole beside everything else, so that the first who asks need not wait for it."""
        with contextlib.suppress(StoreError):  # the daemon is ending, or the next who asks is told
            await asyncio.to_thread(self.make_whole)

    def make_whole(self) -> None:
        """Make the list from the stays, where that was not done under this site profile.

        So it is after an upgrade, and after a change of the profile.
        """
        with self._lock:
            if self._whole:
                return
            reading = reading_of(self._site)
            with self._writer.reading() as reader:
                made_for = reader.note(MADE_FOR)
                lanes = reader.waiting_lanes() if made_for != reading else []
                extra = reader.listed_lanes() if made_for != reading else []
            for lane in dict.fromkeys((*lanes, *extra)):
                self._remake(lane)
            if made_for != reading:
                self._writer.call(SayWhole(reading))
            self._whole = True

    def _remake(self, lane: bytes) -> None:
        with self._writer.reading() as reader:
            found: tuple[WorklistLine, ...] | None
            seq = reader.stay_seq(lane)
            if seq is None:
                return  # joined to another stay meanwhile, with its lines
            try:
                saved = reader.stay(lane)
                if saved is None:
                    return
                seq = saved.seq
                found = remade(self._site, saved, lambda: self._events(reader, lane, saved.seq))
            except SealError:  # it must not be missing without a word
                found = None
        self._writer.call(RemakeLines(lane=lane, seq=seq, lines=found))

    def _events(self, reader: Reader, lane: bytes, until: int) -> Iterator[tuple[int, Event]]:
        """Every message the lane's stay was made of. Raises SealError: half a stay is a wrong one."""
        after = 0
        while found := reader.lane_rows(lane, after, until, PAGE, PAGE_BYTES):
            for row, wanted in found:
                if row.reason == inbox.UNREADABLE:
                    raise SealError("a message of this stay does not open")
                message = er7.parse(row.frame, self._charset(row.feed))
                event = event_of(message, self._site, row.received)
                after = row.seq
                for part in wanted:
                    yield row.seq, taken_part(event, part)


def remade(
    site: SiteProfile, saved: SavedStay, events: Callable[[], Iterator[tuple[int, Event]]]
) -> tuple[WorklistLine, ...]:
    """A stored stay's lines from nothing but the stay; ``events`` where its fold cannot be restored."""
    try:
        fold = StayFold.restore(site, saved.head, saved.increments)
    except NeedsRefold:
        fold = StayFold.refold(site, events())
    stay = fold.stay(saved.said.as_of)
    planned = reviews(stay, saved.said.completed, saved.said.reviews)
    reopened = {name: each.reopened for name, each in saved.said.reviews.items()}
    return worklist.with_answers(worklist.lines(stay, planned, reopened), saved.said)
