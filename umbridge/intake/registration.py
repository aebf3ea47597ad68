"""Stored messages registered again where their numbers are called otherwise than when they came.

A patient is found by what the patient's number is called (``naming``), and that follows from the profile and
from our rules. Where either is another than the store was filled under, every message that was worked is
gone through once, beside everything else; the store remembers how far that has come. Numbers are only added.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from umbridge_audit.entry import Draft

from umbridge.errors import StoreError
from umbridge.hl7 import er7
from umbridge.intake.tokens import Tokens
from umbridge.model import RowState
from umbridge.settings.site import SiteProfile
from umbridge.stay.identity import Named
from umbridge.store import inbox
from umbridge.store.commands import Transaction, WriteWithNote
from umbridge.store.patient_index import Refold
from umbridge.store.writer import Writer

log = logging.getLogger("umbridge.intake.registration")
PAGE = 100  # rows of one transaction: no answer waits long for it
PAGE_BYTES = 1_000_000
BURST_LOOK_SECONDS = 0.05
NUMBERS = "numbers"  # the note: what numbers are called by, and the last row that was gone through
WHOLE = "whole"  # in its place, when all were
#: Rows whose numbers were looked at when they came; what was set aside is looked at when it is worked again.
ROUTED = frozenset({RowState.PENDING.value, RowState.DETERMINED.value, RowState.NOT_APPLICABLE.value})

Parts = tuple[tuple[Named[bytes], bytes | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterRows:
    """Rows under the names that their numbers have now. Returns the lanes that have to be folded again."""

    rows: tuple[tuple[int, Parts], ...]
    naming: str
    until: int

    def apply(self, tx: Transaction) -> tuple[Refold, ...]:
        asked = [each for seq, parts in self.rows for each in tx.register(seq, parts)]
        tx.put_note(NUMBERS, f"{self.naming} {self.until}")
        return tuple(asked)


class Registration:
    """One for each daemon, on its loop. ``refold`` is told of lanes to be folded again."""

    def __init__(
        self,
        writer: Writer,
        site: SiteProfile,
        charset: Callable[[str], str],
        refold: Callable[[Iterable[Refold]], None],
    ) -> None:
        """``charset``: the one that a feed's messages are in when they do not say."""
        self._writer = writer
        self._charset = charset
        self._refold = refold
        self._naming = site.naming()
        self._tokens = Tokens(writer.keyring, site)
        self._as_spelt = Tokens(writer.keyring, site.as_spelt()) if site.visits.aliases else None

    async def run(self) -> None:
        """Go through what is stored, unless that was done under these names. Ends by itself."""
        try:
            after = self._begin()
            if after is None:
                return
            gone_through = 0
            while True:
                last, rows = await asyncio.to_thread(self._page, after)
                if last == after:
                    break
                while self._writer.crowded:
                    await asyncio.sleep(BURST_LOOK_SECONDS)
                command = RegisterRows(rows=rows, naming=self._naming, until=last)
                self._refold(await self._writer.ask(command, can_wait=True))
                after, gone_through = last, gone_through + len(rows)
            await self._writer.ask(self._done(gone_through))
            log.info("numbers_registered", extra={"rows": gone_through})
        except StoreError:
            return  # the daemon is ending, and says so itself

    def _begin(self) -> int | None:
        """The row to go on behind, None where there is nothing to do."""
        with self._writer.reading() as reader:
            naming, _, until = (reader.note(NUMBERS) or "").partition(" ")
        if naming != self._naming:
            return 0
        return None if until == WHOLE else int(until)

    def _done(self, rows: int) -> WriteWithNote:
        values = {"actor": "umbridge", "state": "numbers_registered", "detail": f"{rows} messages"}
        drafts = (Draft("audit.status", values),) if rows else ()
        return WriteWithNote(drafts=drafts, name=NUMBERS, value=f"{self._naming} {WHOLE}")

    def _page(self, after: int) -> tuple[int, tuple[tuple[int, Parts], ...]]:
        """The last row of the page after ``after``, and those of it that name anybody."""
        with self._writer.reading() as reader:
            rows = reader.rows(after, PAGE, PAGE_BYTES)
        found = [(row.seq, self._parts(row)) for row in rows if row.state in ROUTED]
        return (rows[-1].seq if rows else after), tuple((seq, parts) for seq, parts in found if parts)

    def _parts(self, row: inbox.Row) -> Parts:
        if row.reason == inbox.UNREADABLE:
            return ()
        message = er7.parse(row.frame, self._charset(row.feed))  # it was parsed before: it has a header
        named = self._tokens.named(message, row.received)
        spelt = named if self._as_spelt is None else self._as_spelt.named(message, row.received)
        return tuple((each, other.visit) for each, other in zip(named, spelt, strict=True))
