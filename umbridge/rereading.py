"""Stays folded again under the rules in force, where those are others than the ones they were folded under.

After an upgrade that reads messages otherwise, and after a change of the site profile, each stored stay is
folded again from its messages, beside everything else, and its open reviews are judged again: their new
answers supersede the old ones. Closed reviews stay closed, and nothing that was written changes. A stay that
comes out otherwise is marked for a person (``READ_ANEW`` among its exceptions).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from umbridge_audit.entry import Draft
from umbridge_audit.seal import SealError

from umbridge.errors import StoreError
from umbridge.site import SiteProfile
from umbridge.stay.anew import Outline, differences, is_read, outline_stored, reading_of
from umbridge.store.commands import WriteWithNote
from umbridge.store.stays import SavedStay
from umbridge.store.writer import Pen

log = logging.getLogger("umbridge.rereading")
READING = "reading"  # the note: the rules that every stored stay was folded under
MARK = "anew/"  # and a lane: a stay that says something else since
AT_ONCE = 32  # stays that wait to be read again: messages go before them
WAIT_SECONDS = 0.05


class Rereading:
    """One for each daemon, on its loop. ``again`` has a lane read again; ``backlog`` says how much waits."""

    def __init__(
        self, pen: Pen, site: SiteProfile, again: Callable[[bytes], None], backlog: Callable[[], int]
    ) -> None:
        self._pen = pen
        self._site = site
        self._again = again
        self._backlog = backlog
        self._before: dict[bytes, Outline] = {}  # what stays said that are on their way

    async def run(self) -> None:
        """Go through the stored stays, unless that was done under these rules. Ends by itself."""
        try:
            with self._pen.reading() as reader:
                if reader.note(READING) == reading_of(self._site):
                    return
                lanes = reader.lanes()
            asked = differ = 0
            for lane in lanes:
                before = await asyncio.to_thread(self._stored, lane)
                if before is None:
                    continue
                while self._pen.crowded or len(self._before) >= AT_ONCE:
                    await asyncio.sleep(WAIT_SECONDS)
                    differ += await self._compare()
                self._before[lane] = before
                self._again(lane)
                asked += 1
            while self._before:
                await asyncio.sleep(WAIT_SECONDS)
                was_idle = not self._backlog()
                differ += await self._compare()
                if was_idle:
                    break  # what could not be folded again waits for its stay's next message
            detail = f"{asked} stays, {differ} that say something else now"
            values = {"actor": "umbridge", "state": "stays_read_again", "detail": detail}
            drafts = (Draft("audit.status", values),) if asked else ()
            await self._pen.ask(WriteWithNote(drafts=drafts, name=READING, value=reading_of(self._site)))
            log.info("stays_read_again", extra={"rows": asked})
        except StoreError:
            return  # the daemon is ending, and says so itself

    def _stored(self, lane: bytes) -> Outline | None:
        """What a stay said; None where it stands under these rules, is no more, or does not open."""
        saved = self._saved(lane)
        if saved is None or is_read(saved.head, self._site):
            return None
        return outline_stored(self._site, saved.head, saved.increments)

    def _saved(self, lane: bytes) -> SavedStay | None:
        with self._pen.reading() as reader:
            try:
                return reader.stay(lane)
            except SealError:
                return None

    async def _compare(self) -> int:
        """Mark the stays that were read again meanwhile and say something else. Returns how many."""
        marked = 0
        for lane in list(self._before):
            saved = await asyncio.to_thread(self._saved, lane)
            if saved is not None and not is_read(saved.head, self._site):
                continue
            before = self._before.pop(lane)
            if saved is None:
                continue  # joined to another stay, which has its messages
            now = await asyncio.to_thread(outline_stored, self._site, saved.head, saved.increments)
            found = differences(before, now)
            if found:
                mark = WriteWithNote(drafts=(), name=f"{MARK}{lane.hex()}", value=" ".join(found))
                await self._pen.ask(mark, can_wait=True)
                marked += 1
        return marked
