"""PATH 2: one durable message in, determinations on the ledger. One lane is one stay, worked in order."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from typing import Any

from umbridge_audit.entry import Draft
from umbridge_audit.keys import Keyring

from umbridge.criteria.host import Host, Screened
from umbridge.errors import StoreError
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Event, ReviewState, RowState
from umbridge.review.case import case
from umbridge.review.plan import Review, reviews
from umbridge.review.record import changed_draft, determination_draft, is_met
from umbridge.review.waves import LEVEL_SUPPORTED, level_supported, settled, waves
from umbridge.site import SiteProfile
from umbridge.stay.fold import NeedsRefold, Stay, StayFold
from umbridge.store import inbox, stays
from umbridge.store.batch import Batch
from umbridge.store.writer import Pen

log = logging.getLogger("umbridge.pipeline")
PAGE = 256
NEVER = datetime.min.replace(tzinfo=UTC)
GIVE_WAY_TURNS = 20
GIVE_WAY_SECONDS = 0.025
KEEP_BYTES = 64 * 1024 * 1024  # messages held between answer and work; beyond that they are read back


@dataclass(slots=True)
class LaneState:
    """A lane in memory: the fold and what was last said about its reviews."""

    fold: StayFold
    states: dict[str, str] = field(default_factory=dict)  # review id -> state on the ledger
    # review id -> plugin -> {entry, met, wave}
    latest: dict[str, dict[str, Any]] = field(default_factory=dict)
    as_of: datetime = NEVER

    @property
    def completed(self) -> frozenset[str]:
        """Reviews that may close by themselves: the answers in force that go first are all MEETS."""
        return frozenset(review for review, by_plugin in self.latest.items() if settled(by_plugin.values()))

    def dump(self) -> bytes:
        """The head to store: u32 length of our part, our part as JSON, the fold's own head."""
        body = {"states": self.states, "latest": self.latest, "as_of": self.as_of.isoformat()}
        ours = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        return len(ours).to_bytes(4, "big") + ours + self.fold.head()


def restore(site: SiteProfile, saved: stays.SavedStay, fold: StayFold | None = None) -> LaneState | None:
    """A lane from its stored head and increments, or around ``fold`` where that was made anew.

    None when the snapshot was written under another site profile: then the lane is folded from the inbox.
    """
    size = int.from_bytes(saved.head[:4], "big")
    body = json.loads(saved.head[4 : 4 + size])
    try:
        known = fold or StayFold.restore(site, saved.head[4 + size :], saved.increments)
    except NeedsRefold:
        return None
    return LaneState(known, body["states"], body["latest"], datetime.fromisoformat(body["as_of"]))


@dataclass(frozen=True, slots=True)
class Screening:
    """One review of one stay, asked and answered."""

    review: Review
    plugin: str
    screened: Screened
    wave: int = 1


def to_screen(stay: Stay, completed: frozenset[str]) -> tuple[Review, ...]:
    """The reviews a message is put to: the open ones, and those that MEETS closed and nothing else has.

    A result that is corrected or withdrawn after MEETS must be seen: the screen is asked again, supersedes
    the earlier one, and the review opens again when it no longer meets.
    """
    open_now = [review for review in reviews(stay, completed) if review.state is ReviewState.OPEN]
    still = [
        review
        for review in reviews(stay, frozenset())
        if review.state is ReviewState.OPEN and review.id in completed
    ]
    return (*open_now, *still)


async def screen_open(
    fold: StayFold,
    stay: Stay,
    asked: tuple[Review, ...],
    as_of: datetime,
    host: Host,
    pseudonym: Callable[[str], str],
) -> list[Screening]:
    """Ask every plugin about every review given; the same function serves the daemon and the shadow run.

    Plugins that want what the others support are asked when the others have answered.
    """
    done: list[Screening] = []
    roster = host.plugins
    first, _ = waves({info.name: info.facts for info in roster})
    wanted = frozenset(fact for info in roster for fact in info.facts)  # looked up once for all of them
    for review in asked:
        whole = case(fold, stay, review, as_of, wanted, "")
        cases = {
            info.name: replace(
                whole,
                pseudonym=pseudonym(info.name),
                facts={fact: whole.facts[fact] for fact in info.facts if fact in whole.facts},
            )
            for info in roster
        }
        answers = await host.screen({name: cases.pop(name) for name in first})
        done.extend(Screening(review, name, screened) for name, screened in sorted(answers.items()))
        if not cases:
            continue
        level = level_supported({name: each.result for name, each in answers.items()}, whole.as_of)
        told = {} if level is None else {LEVEL_SUPPORTED: level}
        answers = await host.screen(
            {name: replace(each, facts={**each.facts, **told}) for name, each in cases.items()}
        )
        done.extend(Screening(review, name, screened, 2) for name, screened in sorted(answers.items()))
    return done


class Pipeline:
    """Works lanes side by side, each in order. Lives on the daemon's loop; writes through the pen."""

    def __init__(
        self,
        pen: Pen,
        keyring: Keyring,
        site: SiteProfile,
        host: Host,
        *,
        charsets: Mapping[str, str],
        lanes: int = 16,
        cache: int = 4096,
        worked: Callable[[int], None] = lambda count: None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pen = pen
        self._keyring = keyring
        self._site = site
        self._zone: tzinfo = site.zone
        self._host = host
        self._charsets = charsets
        self._cache_size = cache
        self._worked = worked
        self._busy = busy
        self._lanes = lanes
        self._waiting: dict[bytes, deque[tuple[int, er7.Message | None]]] = {}
        self._ready: deque[bytes] = deque()  # lanes with a row to work and nobody working it
        self._kick = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._workers: list[asyncio.Task[None]] = []
        self._cache: OrderedDict[bytes, LaneState] = OrderedDict()
        self._held = 0  # bytes of parsed messages kept for their turn
        self._stopping = False

    @property
    def backlog(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())

    def start(self) -> None:
        """Begin to work; rows offered before are found waiting."""
        self._workers = [
            asyncio.create_task(self._worker(), name=f"lane-{number}") for number in range(self._lanes)
        ]

    def offer(self, seq: int, lane: bytes, message: er7.Message | None) -> None:
        """Take a stored row. Must be called in ``seq`` order; the row is safe whether we get to it or not."""
        if self._stopping:
            return
        if message is not None:
            if self._held + len(message.raw) > KEEP_BYTES:
                message = None  # read back from the store when its turn comes
            else:
                self._held += len(message.raw)
        queue = self._waiting.get(lane)
        if queue is not None:
            queue.append((seq, message))
            return
        self._waiting[lane] = deque([(seq, message)])
        self._ready.append(lane)
        self._quiet.clear()
        self._kick.set()

    async def recover(self, found: Callable[[int], None]) -> int:
        """Queue every row that was stored and not worked, before any listener opens. Returns how many.

        ``found`` is told of each page before its rows are offered.
        """
        after = total = 0
        while True:
            page = await self._pen.ask(
                lambda batch, after=after: inbox.pending(batch.cursor, after, PAGE)  # type: ignore[misc]
            )
            if not page:
                return total
            found(len(page))
            for seq, lane in page:
                if lane is not None:
                    self.offer(seq, lane, None)
            total += len(page)
            after = page[-1][0]

    async def idle(self) -> None:
        """Wait until every offered row is worked."""
        await self._quiet.wait()

    async def stop(self) -> None:
        """Finish the rows in hand; the rest is found again at the next start."""
        self._stopping = True
        self._kick.set()
        await asyncio.gather(*self._workers)

    # -- one row at a time, whichever lane is next -------------------------------------------------------

    async def _worker(self) -> None:
        while True:
            await self._give_way()
            while not self._ready and not self._stopping:
                self._kick.clear()
                await self._kick.wait()
            if self._stopping:
                return
            lane = self._ready.popleft()
            queue = self._waiting[lane]
            seq, message = queue[0]
            if not await self._safely(lane, seq, message):
                return
            queue.popleft()
            if message is not None:
                self._held -= len(message.raw)
            self._worked(1)
            if queue:
                self._ready.append(lane)
                self._kick.set()
            else:
                del self._waiting[lane]
                if not self._waiting:
                    self._quiet.set()

    async def _safely(self, lane: bytes, seq: int, message: er7.Message | None) -> bool:
        """Work one row. A defect of ours must not stop the feed or lose the message: it waits for a person.

        False when the store has failed: the daemon is ending, and the row is found again at the next start.
        """
        try:
            try:
                await self._work(lane, seq, message)
            except StoreError:
                raise
            except Exception as exc:
                code = type(exc).__name__
                log.error("row_quarantined", extra={"row": seq, "code": code})
                self._cache.pop(lane, None)  # it may hold what was never committed
                await self._pen.ask(lambda batch: self._quarantine(batch, seq, f"work_failed:{code}"))
        except StoreError:
            return False
        return True

    async def _give_way(self) -> None:
        """Senders first: while frames wait to be stored, a lane waits too, but never longer than a moment.

        A stored message is safe and can wait; a sender that waits for its answer holds up a hospital's feed.
        """
        for _ in range(GIVE_WAY_TURNS):
            if not self._busy():
                return
            await asyncio.sleep(GIVE_WAY_SECONDS)

    async def _work(self, lane: bytes, seq: int, message: er7.Message | None) -> None:
        if message is None:
            row = await self._pen.ask(lambda batch: inbox.row(batch.cursor, self._keyring, seq))
            if row is None:
                raise LookupError("row_gone")
            message = self._parse(row)
        event = translate(message, self._zone, mrn_authority=self._site.mrn_authority)
        state = await self._lane(lane, seq)
        increments = await self._apply(lane, seq, event, state)
        digest = hashlib.sha256(message.raw).hexdigest()
        state.as_of = max(state.as_of, event.sent_at)
        stay = state.fold.stay(state.as_of)
        asked = to_screen(stay, state.completed)
        done = await screen_open(
            state.fold, stay, asked, state.as_of, self._host, lambda name: self._pseudonym(name, lane)
        )
        await self._pen.ask(
            lambda batch: self._decide(batch, lane, seq, event, digest, increments, state, stay, done)
        )

    def _parse(self, row: inbox.Row) -> er7.Message:
        return er7.parse(row.frame, self._charsets.get(row.feed, "utf-8"))

    def _pseudonym(self, plugin: str, lane: bytes) -> str:
        return self._keyring.token(f"pseudonym/{plugin}", lane.hex()).hex()

    async def _lane(self, lane: bytes, seq: int) -> LaneState:
        state = self._cache.get(lane)
        if state is None:
            saved = await self._pen.ask(lambda batch: stays.load(batch.cursor, self._keyring, lane))
            state = LaneState(StayFold(self._site)) if saved is None else restore(self._site, saved)
            if state is None and saved is not None:  # the site profile changed: codes mean other things now
                events = await self._events(lane, seq - 1)
                fold = StayFold.refold(self._site, events)
                state = restore(self._site, saved, fold)
                renewed = [(n, made) for n, e in events if (made := fold.increment(e, n)) is not None]
                await self._pen.ask(
                    lambda batch: stays.renew(batch.cursor, self._keyring, lane, renewed, batch.now)
                )
            assert state is not None  # noqa: S101 - restore around a given fold always gives a state
            self._cache[lane] = state
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        self._cache.move_to_end(lane)
        return state

    async def _apply(self, lane: bytes, seq: int, event: Event, state: LaneState) -> list[tuple[int, bytes]]:
        try:
            made = state.fold.apply(event, seq)
        except NeedsRefold:  # older than the retained tail: fold the whole lane again from the inbox
            state.fold = StayFold.refold(self._site, await self._events(lane, seq))
            made = state.fold.increment(event, seq)
        return [] if made is None else [(seq, made)]

    async def _events(self, lane: bytes, until: int) -> list[tuple[int, Event]]:
        """Every message of the lane so far, read again from the inbox."""
        rows = await self._pen.ask(
            lambda batch: list(inbox.lane_rows(batch.cursor, self._keyring, lane, until))
        )
        zone, authority = self._zone, self._site.mrn_authority
        return [(row.seq, translate(self._parse(row), zone, mrn_authority=authority)) for row in rows]

    # -- inside the transaction -----------------------------------------------------------------------

    @staticmethod
    def _quarantine(batch: Batch, seq: int, reason: str) -> None:
        batch.entry(
            Draft(
                "quarantine",
                {"actor": "umbridge", "state": "QUARANTINED", "row": seq, "reason": reason, "by": "umbridge"},
            )
        )
        batch.finish(seq, RowState.QUARANTINED, reason)

    def _decide(
        self,
        batch: Batch,
        lane: bytes,
        seq: int,
        event: Event,
        digest: str,
        increments: list[tuple[int, bytes]],
        state: LaneState,
        stay: Stay,
        done: list[Screening],
    ) -> None:
        rows: list[tuple[Any, ...]] = []
        versions: Mapping[str, str] = {info.name: info.version for info in self._host.plugins}
        for item in done:
            by_plugin = state.latest.setdefault(item.review.id, {})
            before = by_plugin.get(item.plugin)
            entry = batch.entry(
                determination_draft(
                    row=seq,
                    control_id=event.control_id,
                    message_digest=digest,
                    stay=stay,
                    review=item.review,
                    plugin=item.plugin,
                    version=versions.get(item.plugin, ""),
                    result=item.screened.result,
                    latency_us=item.screened.latency_us,
                    isolation=item.screened.isolation,
                    failed=item.screened.failed,
                    as_of=state.as_of,
                    supersedes=before["entry"] if before else None,
                )
            )
            by_plugin[item.plugin] = {
                "entry": entry,
                "met": is_met(item.screened.result),
                "wave": item.wave,
            }
            rows.append((seq, item.review.id, item.plugin, 0, entry))
        if rows:
            stays.record_determinations(batch.cursor, rows)
        for review in reviews(stay, state.completed):
            if state.states.get(review.id) != review.state.value:
                batch.entry(changed_draft(seq, review, stay))
                state.states[review.id] = review.state.value
        stays.save(batch.cursor, self._keyring, lane, seq, state.dump(), increments, batch.now)
        outcome = RowState.DETERMINED if done else RowState.NOT_APPLICABLE
        reason = "" if done else "no_review_open"
        batch.finish(seq, outcome, reason)
