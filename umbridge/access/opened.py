"""What a question may open, once its look is on the ledger: messages, stays, entries, bundles.

Only the door makes an ``Opened``, after the commit; queries that were handed none have nothing to open with.
Whatever is opened here leaves as views, which the door redacts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

from umbridge_audit import disclose as gate
from umbridge_audit import export as bundles
from umbridge_audit.deidentify import statement
from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft, JsonValue, Receipt
from umbridge_audit.redact import AccessTable, Permission
from umbridge_audit.store.receipts import take_receipt

from umbridge.access.control import go_on
from umbridge.access.questions import OfEntry, OfMessage
from umbridge.access.views import Slots
from umbridge.access.worklist import Unreadable, Worklist
from umbridge.review.worklist import WorklistLine
from umbridge.store import inbox, search
from umbridge.store.inbox import Row
from umbridge.store.stays import SavedStay
from umbridge.store.worklist import Place, Wanted
from umbridge.store.writer import Writer

# What one read fetches; opening is done in the asker's own thread.
PAGE = 100
PAGE_BYTES = 1_000_000
ENTRIES = 100  # open columns at a time
SPOKEN = 100  # determinations of one review that are looked through
BESIDE = 64  # entries behind one of them among which a change of its review may stand


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger, its slots as far as they were opened."""

    seq: int
    kind: str
    ts: str
    leaf_hash: str
    slots: Slots


@dataclass(frozen=True, slots=True)
class Whole:
    """One entry with all its open, operational and identifying slots: to count by, never to show."""

    seq: int
    kind: str
    ts: str
    slots: dict[str, JsonValue]

    def text(self, name: str) -> str:
        value = self.slots.get(name)
        return "" if value is None else str(value)


class Opened:
    """For one question, of one viewer, for one purpose."""

    def __init__(self, writer: Writer, table: AccessTable, viewer: Viewer, sees: Permission) -> None:
        self._writer = writer
        self._table = table
        self._viewer = viewer
        self._sees = sees

    # -- messages -------------------------------------------------------------------------------------

    def message(self, seq: int) -> Row | None:
        """One message; one that does not open says so as its reason."""
        with self._writer.reading() as reader:
            return reader.row(seq, leniently=True)

    def messages(self) -> Iterator[Row]:
        """All of them, page after page: a frame may have 16 MiB."""
        after = 0
        while True:
            with self._writer.reading() as reader:
                found = reader.rows(after, PAGE, PAGE_BYTES)
            if not found:
                return
            after = found[-1].seq
            for row in found:
                go_on()
                yield row

    def found(self, wanted: search.Criteria, limit: int) -> Iterator[Row]:
        """Those that a search finds, each opened when its turn comes, through a connection of their own."""
        finder = search.Finder(self._writer.database)
        try:
            for record in islice(finder.records(wanted), limit):
                go_on()
                yield inbox.open_leniently(self._writer.keyring, record)
        finally:
            finder.close()

    # -- stays ----------------------------------------------------------------------------------------

    def stay(self, lane: bytes) -> SavedStay | None:
        """A lane's stay as its newest message left it. Raises SealError."""
        with self._writer.reading() as reader:
            return reader.stay(lane)

    def messages_of(self, lane: bytes, until: int) -> Iterator[tuple[Row, list[int]]]:
        """Every message that a lane's stay was made of, with the parts that it took in."""
        after = 0
        while True:
            with self._writer.reading() as reader:
                found = reader.lane_rows(lane, after, until, PAGE, PAGE_BYTES)
            if not found:
                return
            for row, parts in found:
                go_on()
                after = row.seq
                yield row, parts

    def lanes_of_message(self, seq: int) -> list[bytes]:
        """The stays that a message is about."""
        with self._writer.reading() as reader:
            return reader.lanes_of_row(seq)

    def open_reviews(
        self, worklist: Worklist, wanted: Wanted, after: Place | None, limit: int | None
    ) -> Iterator[WorklistLine | Unreadable]:
        """Lines of the worklist behind a place, the earliest due first."""
        for line in worklist.lines(wanted, after, limit):
            go_on()
            yield line

    # -- entries --------------------------------------------------------------------------------------

    def entry(self, seq: int) -> Entry:
        """One entry; no compartment is decrypted of which these eyes may see nothing."""
        with self._writer.reading() as reader:
            row = gate.view(reader.ledger, self._sees, seq)
        slots = row["slots"]
        if not isinstance(slots, dict) or row["kind"] is None:
            raise TypeError("an entry's kind is open to whoever may see anything")
        kind = str(row["kind"])
        return Entry(seq, kind, str(row["ts"]), str(row["leaf_hash"]), Slots(kind, slots))

    def determination(self, seq: int) -> dict[str, JsonValue]:
        """All slots of a determination, to give it again and hold it to what is written; never to show."""
        with self._writer.reading() as reader:
            opened = reader.ledger.reveal(seq)
        return {name: value for part in opened.values() for name, value in part.items()}

    def spoken_of(self, newest: Iterable[int], review_id: str) -> list[int]:
        """The entries about one review: these determinations, those that they supersede, and the changes of
        the review that were written with any of them. The newest ``SPOKEN`` determinations, oldest first.
        """
        found: set[int] = set()
        todo = sorted(newest)
        with self._writer.reading() as reader:
            for _ in range(SPOKEN):
                if not todo:
                    break
                go_on()
                seq = todo.pop()
                found.add(seq)
                said = reader.ledger.reveal(seq, ["ops", "ident"])
                earlier = said["ops"].get("supersedes")
                if isinstance(earlier, int) and earlier not in found:
                    todo = sorted({*todo, earlier})
                for row in reader.ledger.open_slots(seq + 1, seq + BESIDE):
                    if row["kind"] not in ("determination", "review.changed"):
                        break  # a piece of a stay's work is written in one go, its changes last
                    if row["kind"] == "review.changed":
                        change = reader.ledger.reveal(int(str(row["seq"])), ["ops", "ident"])
                        is_same = change["ops"]["review_id"] == review_id
                        if is_same and change["ident"].get("visit") == said["ident"].get("visit"):
                            found.add(int(str(row["seq"])))
        return sorted(found)

    def open_slots(self, kinds: tuple[str, ...] = ()) -> Iterator[tuple[int, str, Slots]]:
        """Number, kind and open slots of every entry of these kinds, or of all; nothing is decrypted."""
        after = 0
        while after < self._writer.ledger.size:
            go_on()
            with self._writer.reading() as reader:
                found = list(reader.ledger.open_slots(after, after + ENTRIES, kinds=kinds))
            for row in found:
                kind = str(row["kind"])
                values = {name: value for name, value in row.items() if name not in ("seq", "kind")}
                yield int(str(row["seq"])), kind, Slots(kind, values)
            after += ENTRIES

    def entries(self, kinds: tuple[str, ...], during: Callable[[str], bool]) -> Iterator[Entry]:
        """Entries of these kinds whose time is ``during``, as these eyes may see them."""
        for seq, _, slots in self.open_slots(kinds):
            if during(str(slots.values["ts"])):
                yield self.entry(seq)

    def whole(self, kinds: tuple[str, ...], during: Callable[[str], bool]) -> Iterator[Whole]:
        """The same with every slot but the clinical, financial and restricted ones: to count by."""
        for seq, kind, slots in self.open_slots(kinds):
            ts = str(slots.values["ts"])
            if during(ts):
                with self._writer.reading() as reader:
                    opened = reader.ledger.reveal(seq, ["ops", "ident"])
                values = {name: value for part in opened.values() for name, value in part.items()}
                yield Whole(seq, kind, ts, values)

    def visit_of(self, whose: OfMessage | OfEntry) -> str | None:
        """Whose record a message or an entry is."""
        return visit_of(self._writer, whose)

    # -- what leaves the house ------------------------------------------------------------------------

    def bundle(
        self, profile: str, purpose: str, reason: str, commit: Callable[[Draft], Receipt]
    ) -> Iterator[str]:
        """The lines of a bundle. It is made whole first, in the store, and loses its name at once."""
        out = self._writer.database.parent / f"export-{secrets.token_hex(8)}.jsonl"
        try:
            with self._writer.reading() as reader:
                bundles.export(
                    reader.ledger,
                    self._sees,
                    self._table,
                    viewer=self._viewer,
                    purpose=purpose,
                    reason=reason,
                    profile=profile,
                    out=out,
                    commit=commit,
                    checkpoint=self._writer.sign,
                    progress=lambda _: go_on(),
                )
            with out.open(encoding="utf-8", newline="") as stream:
                out.unlink()  # the open handle is enough, and nobody who stops half-way leaves a file
                yield from stream
        finally:
            out.unlink(missing_ok=True)

    def safe_harbor(self, profile: str, commit: Callable[[str, int], object]) -> Iterator[str]:
        """The Safe Harbor file; ``commit`` is given its digest and its number of rows before a line goes."""
        sees = self._sees.within(self._table.profile(profile))
        with self._writer.reading() as reader:
            records, digest = reader.ledger.records(0, reader.ledger.length()), sha256()
            told = statement(reader.ledger, records, sees, self._table.hash, lambda _: go_on())
            lines = [f"{line}\n" for line in told]
        for line in lines:
            digest.update(line.encode())
        commit(digest.hexdigest(), len(lines) - 1)
        yield from lines

    def receipt(self, seq: int, profile: str) -> str:
        """One entry's receipt, under a checkpoint that covers the look at it too."""
        sees = self._sees.within(self._table.profile(profile))
        self._writer.sign()
        with self._writer.reading() as reader:
            return take_receipt(reader.ledger, seq, sees)


def visit_of(writer: Writer, whose: OfMessage | OfEntry) -> str | None:
    """The visit that a message or an entry names, None where there is no such one or it names none.

    The door asks it before a look too, for the look's entry alone: the entry says whose record it was, and
    whose it is decides whether the glass may be broken.
    """
    with writer.reading() as reader:
        if isinstance(whose, OfMessage):
            row = reader.row(whose.seq, leniently=True)
            return None if row is None else row.head.get("visit") or None
        if whose.seq >= writer.ledger.size:
            return None
        named = reader.ledger.reveal(whose.seq, ["ident"]).get("ident", {})
    visit = named.get("visit") or named.get("patient")
    return str(visit) if visit else None
