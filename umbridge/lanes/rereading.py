"""Stays folded again under the rules in force, where those are others than the ones they were folded under.

After an upgrade that reads messages otherwise, and after a change of the site profile, each stored stay is
folded again from its messages, beside everything else, and its open reviews are judged again: their new
answers supersede the old ones. Closed reviews stay closed, and nothing that was written changes. A stay that
comes out otherwise is marked for a person (``READ_ANEW`` among its exceptions) in the transaction of its
fold, whatever had it folded again: so nothing that ends the daemon loses the mark.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from umbridge_audit.entry import Draft
from umbridge_audit.seal import SealError

from umbridge.errors import StoreError
from umbridge.settings.site import SiteProfile
from umbridge.stay.anew import MARK, is_read, reading_of
from umbridge.store.commands import WriteWithNote
from umbridge.store.writer import Writer

log = logging.getLogger("umbridge.lanes.rereading")
READING = "reading"  # the note: the rules that every stored stay was folded under
AT_ONCE = 32  # stays that wait to be read again: messages go before them
WAIT_SECONDS = 0.05


class Rereading:
    """One for each daemon, on its loop. ``again`` has a lane read again; ``backlog`` says how much waits."""

    def __init__(
        self, writer: Writer, site: SiteProfile, again: Callable[[bytes], None], backlog: Callable[[], int]
    ) -> None:
        self._writer = writer
        self._site = site
        self._again = again
        self._backlog = backlog

    async def run(self) -> None:
        """Go through the stored stays, unless that was done under these rules. Ends by itself."""
        try:
            with self._writer.reading() as reader:
                if reader.note(READING) == reading_of(self._site):
                    return
                lanes, marked = reader.lanes(), reader.notes_under(MARK).keys()
            asked, waiting = 0, set[bytes]()
            for lane in lanes:
                if not await asyncio.to_thread(self._is_behind, lane):
                    continue
                while self._writer.crowded or len(waiting) >= AT_ONCE:
                    await asyncio.sleep(WAIT_SECONDS)
                    waiting = await asyncio.to_thread(self._left, waiting)
                waiting.add(lane)
                self._again(lane)
                asked += 1
            while waiting:
                await asyncio.sleep(WAIT_SECONDS)
                was_idle = not self._backlog()
                waiting = await asyncio.to_thread(self._left, waiting)
                if was_idle:
                    break  # what could not be folded again waits for its stay's next message
            with self._writer.reading() as reader:
                differ = len(reader.notes_under(MARK).keys() - marked)
            detail = f"{asked} stays, {differ} that say something else now"
            values = {"actor": "umbridge", "state": "stays_read_again", "detail": detail}
            drafts = (Draft("audit.status", values),) if asked else ()
            await self._writer.ask(WriteWithNote(drafts=drafts, name=READING, value=reading_of(self._site)))
            log.info("stays_read_again", extra={"rows": asked})
        except StoreError:
            return  # the daemon is ending, and says so itself

    def _left(self, waiting: set[bytes]) -> set[bytes]:
        return {lane for lane in waiting if self._is_behind(lane)}

    def _is_behind(self, lane: bytes) -> bool:
        """Whether a stay stands under other rules; one that is no more, or does not open, does not."""
        with self._writer.reading() as reader:
            try:
                saved = reader.stay(lane)
            except SealError:
                return False
        return saved is not None and not is_read(saved.head, self._site)
