"""PATH 1: one frame in, durable, one answer out. Nothing is answered before its transaction has committed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from umbridge_audit.entry import Draft
from umbridge_audit.keys import Keyring

from umbridge.errors import NotHl7Error, RefusedError, StoreError
from umbridge.hl7 import ack, er7, mllp, moments, translate
from umbridge.intake.tokens import Tokens
from umbridge.model import RowState
from umbridge.settings.config import ANY_SENDER, SITE_FACILITIES, FeedSettings, LimitSettings
from umbridge.settings.site import SiteProfile
from umbridge.store import reserve
from umbridge.store.commands import CountRefusals, SetSuspect, WriteEntry
from umbridge.store.inbox import Incoming, Stored
from umbridge.store.refusals import Refusal
from umbridge.store.search import SEPARATOR
from umbridge.store.writer import Writer
from umbridge.values.frozen import dataclass

log = logging.getLogger("umbridge.intake.receive")
DISK_CHECK_SECONDS = 1.0
HEADERS_KEPT = 256


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back on the wire: ``answer`` bytes or None for silence; ``close`` ends the connection."""

    answer: bytes | None
    close: bool = False
    seq: int | None = None  # the row it speaks for


class Intake:
    """Judges frames, hands them to the writer, builds answers. One per daemon, used from its loop only."""

    def __init__(
        self,
        writer: Writer,
        keyring: Keyring,
        limits: LimitSettings,
        store: Path,
        site: SiteProfile,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        disk_seconds: float = DISK_CHECK_SECONDS,
    ) -> None:
        self._writer = writer
        self._keyring = keyring
        self._limits = limits
        self._store = store
        self._site = site
        self._tokens = Tokens(keyring, site)
        self._clock = clock
        self._facilities = frozenset(site.facilities)
        self._disk_seconds = disk_seconds
        self._uncounted: Counter[tuple[str, str]] = Counter()
        self._counting: asyncio.Task[None] | None = None
        self._open = asyncio.Event()
        self._open.set()
        self.pending = 0  # rows stored and not yet worked
        self.accepted = 0
        self.repeats = 0
        self._headers: dict[tuple[object, ...], tuple[str, str, str, str]] = {}
        self.storing = 0  # frames handed to the writer and not yet committed

    # -- back pressure --------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until another frame may be read: rows and disk have room. Senders queue meanwhile."""
        await self._open.wait()

    def set_pending(self, pending: int) -> None:
        self.pending = pending
        self._gate()

    def add_pending(self, change: int) -> None:
        self.pending += change
        self._gate()

    def _gate(self) -> None:
        if self.pending >= self._limits.pending_rows or self._disk_low:
            self._open.clear()
        else:
            self._open.set()

    _disk_low = False

    async def watch_disk(self) -> None:
        """Close the gate while the store's disk is below its watermark; runs until cancelled.

        Each change is on the ledger. The reserve is given back first, so that there is room to say it. It is
        taken where it leaves as much again above the watermark: else it would itself make the disk low.
        """
        limits, entries = self._limits, {True: "disk_low", False: "disk_has_room"}
        while True:
            free = shutil.disk_usage(self._store).free
            # once low, it is not enough that the reserve itself is free again
            enough = limits.min_free_bytes + (2 * limits.ballast_bytes if self._disk_low else 0)
            low = free < enough
            changed, self._disk_low = low is not self._disk_low, low
            self._gate()
            if low and changed:
                await asyncio.to_thread(reserve.drop, self._store)
            elif not low and free >= limits.min_free_bytes + 2 * limits.ballast_bytes:
                await asyncio.to_thread(reserve.take, self._store, limits.ballast_bytes)
            if changed:
                log.warning("disk_low") if low else log.warning("disk_has_room")
                values = {"actor": "umbridge", "state": entries[low], "detail": f"{free} bytes free"}
                with contextlib.suppress(StoreError):  # the daemon is ending, and says so itself
                    await self._writer.ask(WriteEntry(draft=Draft("audit.status", values)))
            await asyncio.sleep(self._disk_seconds)

    @property
    def held(self) -> str | None:
        """Why reading is paused, or None: a word for ``status``."""
        if self._disk_low:
            return "disk_low"
        return "pending_rows" if self.pending >= self._limits.pending_rows else None

    # -- one frame ------------------------------------------------------------------------------------

    async def receive(self, frame: bytes, feed: str, settings: FeedSettings) -> Reply:
        """Store one frame and say what to answer. Raises StoreError when it could not be stored."""
        now = self._clock()
        try:
            message = er7.parse(frame, settings.charset)
        except NotHl7Error as exc:
            item = self._unreadable(frame, feed, exc.reason, now)
            await self._commit(item)
            return Reply(None, close=True)
        item = self._judge(message, frame, feed, settings, now)
        stored = await self._commit(item)
        code = stored.ack
        if code in ("NONE", "CLOSED"):
            return Reply(None, seq=stored.seq)
        refused = stored.condition is not None
        return Reply(
            ack.answer(
                message,
                code,
                control_id=f"UMB{stored.seq:012d}",
                now=stored.received_at,
                condition=stored.condition if refused else None,
                location=stored.location if refused else None,
                text=f"{stored.reason} ref {stored.seq}" if refused else None,
            ),
            seq=stored.seq,
        )

    async def _commit(self, item: Incoming) -> Stored:
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self.storing += 1
        try:
            self._writer.submit(item, future)
            stored = await future
        finally:
            self.storing -= 1
        if stored.duplicate:
            self.repeats += 1
        else:
            self.accepted += 1
        return stored

    def _judge(
        self, message: er7.Message, frame: bytes, feed: str, settings: FeedSettings, now: datetime
    ) -> Incoming:
        refused = ack.refusal(message, settings.ignored_events)
        who = translate.identify(message)
        application, facility, processing, version = self._header(message)
        sender = f"{application}/{facility}"
        if refused is None and not self._may_send(settings, application, facility):
            refused = RefusedError("AR", 207, "MSH-3", "sender_not_on_feed")
        if refused is not None:
            state, reason = RowState.REFUSED, refused.reason
        else:
            disposition = ack.disposition(message, settings.processing_ids, processing)
            state, reason = disposition.state, disposition.reason
            if state is RowState.PENDING and self._is_ahead(message, who.facility, now):
                state, reason = RowState.QUARANTINED, moments.AHEAD
        token = self._keyring.token
        digest = hashlib.sha256(frame).digest()
        key = (
            token("message", f"{feed}{SEPARATOR}{sender}{SEPARATOR}{who.control_id}")
            if who.control_id
            else token("digest", digest.hex())
        )
        kind = f"{who.message_type}^{who.trigger}" if who.trigger else who.message_type
        return Incoming(
            feed=feed,
            frame=frame,
            digest=digest,
            content_digest=content_digest(message),
            key_token=key,
            visit_token=self._tokens.visit(who, processing),
            account_token=self._tokens.account(who, processing),
            head={"control_id": who.control_id, "type": kind, "visit": self._tokens.shown(who) or None},
            sender=sender,
            version=version,
            state=state,
            ack=ack.code_due(message, refused) or "NONE",
            condition=refused.condition if refused else None,
            location=refused.location if refused else None,
            reason=reason,
            received_at=now,
            reused=settings.control_id_reused,
            found_by=self._tokens.found_by(message, who),
            patient_token=self._tokens.patient(who, processing),
            numbers=self._tokens.numbers(message, processing) if state is RowState.PENDING else (),
            parts=self._tokens.parts(message, who, processing, now) if state is RowState.PENDING else (),
        )

    def _is_ahead(self, message: er7.Message, facility: str, now: datetime) -> bool:
        zone = self._site.at(facility).zone
        return moments.is_ahead(message, zone, self._site.windows.future_skew_minutes, now)

    def _may_send(self, settings: FeedSettings, application: str, facility: str) -> bool:
        """Whether the feed lists this MSH-3 and MSH-4. A certificate says whose feed it is, no more."""
        for pair in settings.senders:
            if pair == ANY_SENDER:
                return True
            wanted, _, place = pair.rpartition("/")
            if wanted in ("*", application) and (
                place in ("*", facility) or (place == SITE_FACILITIES and facility in self._facilities)
            ):
                return True
        return False

    def _header(self, message: er7.Message) -> tuple[str, str, str, str]:
        """MSH-3, MSH-4, processing id, version. Feeds repeat themselves: read each wording once."""
        wording = (message.wording, message.codec)
        known = self._headers.get(wording)
        if known is None:
            processing = ack.processing_of(message)
            known = (message.get("MSH-3"), message.get("MSH-4"), processing, message.get("MSH-12.1"))
            if sum(map(len, wording[0])) <= ack.MOST_KEPT_BYTES:
                if len(self._headers) >= HEADERS_KEPT:
                    self._headers.clear()
                self._headers[wording] = known
        return known

    def _unreadable(self, frame: bytes, feed: str, reason: str, now: datetime) -> Incoming:
        digest = hashlib.sha256(frame).digest()
        return Incoming(
            feed=feed,
            frame=frame,
            digest=digest,
            content_digest=digest,
            key_token=self._keyring.token("digest", digest.hex()),
            visit_token=None,
            account_token=None,
            head={"control_id": "", "type": "", "visit": None},
            sender="",
            version="",
            state=RowState.REFUSED,
            ack="CLOSED",
            condition=None,
            location=None,
            reason=reason,
            received_at=now,
            reused="accept_flag",
        )

    async def suspect(self, seq: int) -> None:
        """What followed an answered frame shows that it was half of one. Raises StoreError."""
        await self._writer.ask(SetSuspect(seq=seq))
        log.warning("frame_suspect", extra={"row": seq})

    def count(self, feed: str, reason: str) -> None:
        """Count a connection that never came to a frame. Returns at once; a flood is one commit at a time."""
        self._uncounted[feed, reason] += 1
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._write_counts(), name="refusals")

    async def _write_counts(self) -> None:
        while self._uncounted:
            counts, self._uncounted = self._uncounted, Counter()
            at = self._clock()
            refusals = (Refusal(feed, reason, at, times=times) for (feed, reason), times in counts.items())
            with contextlib.suppress(StoreError):  # the daemon is ending, and says so itself
                await self._writer.ask(CountRefusals(refusals=tuple(refusals)))

    async def fault(self, fault: mllp.Fault, feed: str) -> bytes | None:
        """Count bytes that never became a frame. An oversize message whose MSH was seen is answered."""
        at = self._clock()
        refusal = Refusal(feed, fault.reason, at, fault.byte_count, fault.digest)
        await self._writer.ask(CountRefusals(refusals=(refusal,)))
        if fault.reason != "oversize" or not fault.head:
            return None
        with contextlib.suppress(NotHl7Error):
            message = er7.parse(fault.head)
            refused = ack.too_long()
            code = ack.code_due(message, refused)
            if code:
                return ack.answer(
                    message,
                    code,
                    control_id=f"UMBX{int(at.timestamp() * 1000)}",
                    now=at,
                    condition=refused.condition,
                    location=refused.location,
                    text=refused.reason,
                )
        return None


def content_digest(message: er7.Message) -> bytes:
    """SHA-256 of the frame with MSH-7 and MSH-13 blanked: equal for a repeat that was only re-stamped."""
    raw, header, separator = message.raw, message.header.raw, message.delimiters.field
    start = raw.find(header)
    if start < 0:  # re-coded for reading (GB 18030 and the like): then only identical bytes are a repeat
        return hashlib.sha256(raw).digest()
    fields = message.header.fields.copy()
    del fields[1]  # MSH-1, the separator itself
    for index in (6, 12):  # MSH-7 and MSH-13
        if index < len(fields):
            fields[index] = b""
    return hashlib.sha256(raw[:start] + separator.join(fields) + raw[start + len(header) :]).digest()
