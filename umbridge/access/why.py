"""The tree behind a determination of the ledger, where it can be given again as it is written.

The look is logged first, as every look is. Then the stay is folded again from its kept messages as far as the
row that was worked, and the approved plugins are asked once more, in workers of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from threading import Lock
from typing import ClassVar, TypeAlias, cast

from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import JsonValue
from umbridge_audit.seal import SealError

from umbridge.access.control import go_on
from umbridge.access.door import Door
from umbridge.access.opened import Opened
from umbridge.access.questions import Access, OfEntry, Query, Whose, asked, number
from umbridge.access.views import Placed, Seen, Slots, inside, view, within
from umbridge.criteria.why_rows import WhyRow
from umbridge.errors import UmbridgeError, UnavailableError
from umbridge.lanes.again import Again, Because, given_again, hindered
from umbridge.model import Event
from umbridge.screening.discover import Found
from umbridge.screening.host import Host
from umbridge.settings.config import Settings
from umbridge.settings.site import SiteProfile
from umbridge.stay.fold import StayFold
from umbridge.stay.readings.prevailing import part2_facts

#: A lane's events until a row, and which of its reviews are closed; raises UmbridgeError, SealError.
Kept: TypeAlias = Callable[[Opened, str, int], tuple[Sequence[tuple[int, Event]], frozenset[str]]]


@view
class WhyView:
    """One entry, and the tree behind it. ``because``: why there is none to show."""

    seq: int = within("open")
    kind: str = within("open", "schema")
    ts: str = within("open")
    leaf_hash: str = within("open")
    slots: Slots = inside(Slots)
    agrees: bool = within("ops", "edition")
    because: str | None = within("ops", "edition")
    says: str | None = within("ops", "edition")
    why: Placed = inside(Placed)
    not_used: Placed = inside(Placed)


@asked
class LedgerWhy(Query[WhyView]):
    """``ledger show --why``."""

    name: ClassVar[str] = "ledger.why"
    access: ClassVar[Access] = "read"
    rows = (WhyView,)

    seq: int = number()

    @property
    def words(self) -> str:
        return f"ledger show {self.seq} --why"

    @property
    def whose(self) -> Whose:
        return OfEntry(self.seq, "determination")


class WhyQueries:
    """Answers for one account at a time. Thread-safe; plugins are started for one of them at a time."""

    def __init__(
        self,
        door: Door,
        settings: Settings,
        site: SiteProfile,
        kept: Kept,
        editions: Callable[[], Sequence[Found]],
    ) -> None:
        """``kept``: what a stay was made of. ``editions``: the plugins that run here."""
        self._door = door
        self._settings = settings
        self._site = site
        self._kept = kept
        self._editions = editions
        self._turn = Lock()

    def show(self, viewer: Viewer, query: LedgerWhy) -> Iterator[Seen[WhyView]]:
        size = self._door.writer.ledger.size

        def one(opened: Opened) -> Iterator[WhyView]:
            if query.seq >= size:
                raise UmbridgeError(f"there is no entry {query.seq}; the ledger holds 0 to {size - 1}")
            entry = opened.entry(query.seq)
            if entry.kind != "determination":
                raise UmbridgeError(
                    f"entry {query.seq} is no determination: only these have rules behind them"
                )
            slots = opened.determination(query.seq)
            again = self._again(opened, slots)
            is_sealed = _is_restricted(slots, again)
            rows = cast(JsonValue, [dict(row) for row in again.why])
            sent = cast(JsonValue, [dict(row) for row in again.not_used])
            is_shown = again.because is None
            yield WhyView(
                seq=entry.seq,
                kind=entry.kind,
                ts=entry.ts,
                leaf_hash=entry.leaf_hash,
                slots=entry.slots,
                agrees=is_shown,
                because=None if again.because is None else again.because.value,
                says=again.says or None,
                why=Placed("clin", "evidence", rows if is_shown else None, restricted=is_sealed),
                not_used=Placed("clin", "evidence", sent if is_shown else None, restricted=is_sealed),
            )

        return self._door.disclose(viewer, query, one)

    def _again(self, opened: Opened, slots: Mapping[str, JsonValue]) -> Again:
        """One at a time: whoever asks may not have all the daemon's threads start plugins."""
        if not self._turn.acquire(blocking=False):
            raise UnavailableError("another determination is being given again; ask again when it is shown")
        try:
            plugins = self._settings.plugins
            host = Host(call_seconds=plugins.seconds, required=plugins.require, why=True)
            try:
                host.start_these(self._editions())
                return hindered(slots, host) or self._folded(opened, slots, host)
            finally:
                host.stop()
        finally:
            self._turn.release()

    def _folded(self, opened: Opened, slots: Mapping[str, JsonValue], host: Host) -> Again:
        row = int(str(slots["row"]))
        message = opened.message(row)
        if message is None or sha256(message.frame).hexdigest() != slots.get("message_digest"):
            return Again(Because.MESSAGE, f"message {row}, which was worked then, is not kept as it was")
        try:
            events, closed = self._kept(opened, str(slots["visit"]), row)
        except (SealError, UmbridgeError):
            return Again(Because.MESSAGE, "the stay, or a message of it, is not kept or does not open")
        go_on()
        fold = StayFold.refold(self._site, events)
        return given_again(slots, fold, host, (closed - {str(slots["review_id"])}, closed, frozenset()))


def _is_restricted(slots: Mapping[str, JsonValue], again: Again) -> bool:
    """Whether entry or tree tell of substance use: a tree reads more facts than an answer cites."""
    if slots.get("sens_rationale") is not None or slots.get("sens_evidence") is not None:
        return True
    named = {fact for row in again.why for fact in _facts(row)} | {row["fact"] for row in again.not_used}
    return bool(part2_facts(named))


def _facts(row: WhyRow) -> Iterator[str]:
    yield from (each["fact"] for each in row["readings"])
    yield from row["missing"]
    for child in row["children"]:
        yield from _facts(child)
