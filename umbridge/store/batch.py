"""One transaction being filled: the duplicate rule, the receipts, the rows."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from umbridge_audit import rotate
from umbridge_audit.entry import Draft, EncodedDraft
from umbridge_audit.handover import Handover
from umbridge_audit.keys import Keyring
from umbridge_audit.store import Ledger

from umbridge.errors import StoreError
from umbridge.hl7.ack import BY_KIND
from umbridge.model import RowState
from umbridge.stay.identity import Named, beside
from umbridge.stay.patient_index import route
from umbridge.store import counters, inbox, patient_index, search
from umbridge.store.inbox import Arrived, Incoming, Share, Stored
from umbridge.store.memory import Memory, Working
from umbridge.store.operations import Operations

if TYPE_CHECKING:
    from umbridge.store.commands import Transaction

REUSED = "control_id_reused"
AFTER_QUARANTINED = "after_quarantined"  # an earlier message of this stay waits for a person
WORKED = (RowState.DETERMINED.value, RowState.NOT_APPLICABLE.value)
_RECEIPTS = {RowState.REFUSED: "message.refused", RowState.IGNORED: "message.ignored"}
FRAME_SUSPECT = "frame_suspect"  # answered, and then its other half came


def iso(at: datetime) -> str:
    """UTC, milliseconds: the form of every stored time."""
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    second = _second(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second)
    return f"{second}.{utc.microsecond // 1000:03d}Z"


@lru_cache(maxsize=4)
def _second(year: int, month: int, day: int, hour: int, minute: int, second: int) -> str:
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"


class Batch(Operations):
    """One transaction being filled, in SQLite: ``commands.Transaction``. Nobody keeps it."""

    def __init__(
        self, cursor: sqlite3.Cursor, ledger: Ledger, keyring: Keyring, memory: Memory, now: datetime
    ) -> None:
        super().__init__(cursor, keyring, now)
        self._ledger = ledger
        self._working = Working(memory)
        self.arrived: list[Arrived] = []  # rows to be worked, for whoever works them once this is durable
        self._drafts: list[Draft | EncodedDraft] = []
        self._rows: list[tuple[Any, ...]] = []
        self._finished: list[tuple[str, str, int]] = []
        self._repeats: list[tuple[int, str, str]] = []
        self._directory = patient_index.StoredNumbers(cursor, self._working.learnt)
        self._found_by: list[tuple[int, Sequence[bytes]]] = []
        self._first_entry = ledger.size
        self._known: dict[bytes, list[tuple[Any, ...]]] = {}
        self._tally: Counter[tuple[str, str]] = Counter()
        self._heard: dict[str, str] = {}

    def entry(self, draft: Draft | EncodedDraft) -> int:
        """Put an entry on the ledger with this transaction; returns the seq it will have."""
        self._drafts.append(draft)
        return self.next_entry - 1

    def sort_tokens(self, most: int) -> int:
        moved = search.sort(self.cursor, most)
        self._working.unsorted -= moved
        return moved

    def hand_over(self, key: bytes, actor: str) -> Handover:
        made, draft = rotate.handover(self._ledger, self.next_entry, key, actor)
        self.entry(draft)
        return made

    def keep_cosignature(self, size: int, line: str) -> None:
        self._ledger.keep_cosignature(size, line)

    @property
    def next_entry(self) -> int:
        """The number that the next entry of this transaction will have."""
        return self._first_entry + len(self._drafts)

    @property
    def entries(self) -> int:
        """How many entries this transaction is to write so far."""
        return len(self._drafts)

    def count_unused(self, feed: str, found: Mapping[str, int]) -> None:
        for name, count in found.items():
            self._tally[f"unused/{feed}", name] += count

    def mark(self) -> int:
        """Number of queued writes. A failed command that left it unchanged wrote nothing."""
        return len(self._drafts) + len(self._rows) + len(self._finished) + len(self._repeats)

    def prefetch(self, tokens: list[bytes]) -> None:
        """Look up the group's key tokens in one query."""
        if tokens:
            self._known = inbox.known(self.cursor, tokens)

    def accept(self, item: Incoming) -> Stored:
        """Apply the duplicate rule (docs/intake.md) and store the frame with its receipt entry."""
        candidates = self._known.setdefault(item.key_token, [])
        for seq, digest, content, lane, state, ack, condition, location, reason, at in candidates:
            same_bytes = digest == item.digest
            restamped = not same_bytes and content == item.content_digest
            if same_bytes or restamped:
                self._repeats.append((seq, item.feed, iso(item.received_at)))
                if restamped:
                    self.entry(inbox.receipt(item, "message.variant", seq, "RESTAMPED", of_row=seq))
                return Stored(
                    seq,
                    lane,
                    RowState(state),
                    ack if same_bytes else item.ack,
                    condition,
                    location,
                    reason,
                    datetime.fromisoformat(at),
                    duplicate=True,
                )
        state, reason = item.state, item.reason
        ack, condition, location = item.ack, item.condition, item.location
        if candidates and item.state is not RowState.REFUSED:
            reason = f"{REUSED} {reason}".strip()
            if item.reused == "quarantine":
                state = RowState.QUARANTINED
            elif item.reused == "reject":
                state, condition, location = RowState.REFUSED, 207, "MSH-10"
                ack = {"CA": "CE", "AA": "AE"}.get(ack, ack)
        seq = self._working.next_seq()
        shares: tuple[Share, ...] = ()
        refolds: tuple[tuple[bytes, bytes | None], ...] = ()
        if state is RowState.PENDING:
            shares, refolds, nobody = self._route(seq, item.named)
            lane = shares[0][0] if shares else None
            if lane is None:
                state, reason = RowState.NOT_APPLICABLE, reason or nobody
            elif any(self._working.is_quarantined(each) for each, _ in shares):
                reason = f"{reason} {AFTER_QUARANTINED}".strip()
        else:
            lane = self._lane(item)
            if state is RowState.QUARANTINED and lane is not None:
                self._working.set_quarantined(lane, True)
        kind, became = _RECEIPTS.get(state, "message.received"), state.value
        entry = self.entry(inbox.receipt(item, kind, seq, became, ack=ack, reason=reason))
        if reason.startswith(REUSED):
            of_row = int(candidates[0][0])
            self.entry(inbox.receipt(item, "message.variant", seq, "CONTROL_ID_REUSED", of_row=of_row))
        at = iso(item.received_at)
        known = (item.key_token, item.digest, item.content_digest)
        said = (ack, condition, location, reason, at, entry)
        sealed = inbox.seal(self.keyring, item, seq, self.now)
        self._rows.append((seq, item.feed, *known, len(candidates), lane, sealed, became, *said))
        self._tally["state", became] += 1
        self._tally["feed", item.feed] += 1
        if reason:
            kind = f" {item.head['type']}" if reason in BY_KIND else ""
            self._tally[f"why/{item.feed}", f"{became} {reason}{kind}"] += 1
        if item.found_by:
            self._found_by.append((seq, item.found_by))
        self._heard[item.feed] = at
        candidates.append(
            (seq, item.digest, item.content_digest, lane, became, ack, condition, location, reason, at)
        )
        received = datetime.fromisoformat(at)
        said_of_row = (ack, condition, location, reason, received)
        stored = Stored(seq, lane, state, *said_of_row, duplicate=False, shares=shares, refolds=refolds)
        if state is RowState.PENDING:
            self.arrived.append(Arrived(stored, item.feed, item.frame))
        return stored

    def _route(
        self, seq: int, named: Sequence[Named[bytes]]
    ) -> tuple[tuple[Share, ...], tuple[tuple[bytes, bytes | None], ...], str]:
        """Which lanes take in which parts of a new row, or why none, and which are to be folded again for it.

        What ``inbox.lane`` cannot say is written beside it: a person's updates, several parts, several lanes.
        """
        shares: dict[bytes, list[int]] = {}
        refolds: list[tuple[bytes, bytes | None]] = []
        nobody = "no_stay_of_this_patient" if named[0].is_person else "no_visit_number"
        for each in named:
            found = route(self._directory, each, seq)
            if found.several:
                nobody = "visit_ambiguous"
            for lane in found.beside:
                shares.setdefault(lane, []).append(beside(each.part))
            if found.placed:
                refolds += ((one.lane, None) for one in patient_index.place(self.cursor, found.placed, seq))
                self._finished += patient_index.stays_found(found.placed)
            for lane in found.lanes:
                shares.setdefault(lane, []).append(each.part)
                if found.earlier and patient_index.give_earlier(self.cursor, lane, found.earlier):
                    refolds.append((lane, None))
            refolds += [(found.lanes[0], gone) for gone in found.joined]
        for lane, gone in refolds:
            patient_index.refold(self.cursor, patient_index.Refold(lane, seq, gone))
            if self._working.is_quarantined(gone):
                self._working.set_quarantined(lane, True)
        is_plain = len(named) == 1 and len(shares) < 2 and not named[0].is_person
        if is_plain:
            return tuple((lane, None) for lane in shares), tuple(refolds), nobody
        for lane, parts in shares.items():
            patient_index.give(self.cursor, lane, seq, parts)
        return tuple((lane, tuple(parts)) for lane, parts in shares.items()), tuple(refolds), nobody

    def take(self, lane: bytes, seq: int, reason: str) -> None:
        """A lane has taken in its share of a row. With the last of them the row is finished.

        Nothing died of that share, so the attempts of the others are counted from none.
        """
        self.cursor.execute("UPDATE inbox SET attempts = 0 WHERE seq = ? AND attempts > 0", (seq,))
        if patient_index.take(self.cursor, lane, seq):
            query = "SELECT 1 FROM determination WHERE row = ? LIMIT 1"
            if self.cursor.execute(query, (seq,)).fetchone():
                self.finish(seq, RowState.DETERMINED, "")
            else:
                self.finish(seq, RowState.NOT_APPLICABLE, reason)

    def set_aside(self, lane: bytes, seq: int, reason: str) -> None:
        """A lane's share of a row waits for a person, and with it the row."""
        self._working.set_quarantined(lane, True)
        if patient_index.set_aside(self.cursor, seq, lane):
            self.finish(seq, RowState.QUARANTINED, reason)

    def finish(self, seq: int, state: RowState, reason: str) -> None:
        """A pending row is worked: say what became of it."""
        if self._working.is_suspect(seq):
            return  # it was set aside meanwhile, and what a person is to look at stays so
        if state is RowState.QUARANTINED:
            self._set_aside(seq)
        self._finished.append((state.value, reason, seq))
        self._tally["state", RowState.PENDING.value] -= 1
        self._tally["state", state.value] += 1

    def suspect(self, seq: int) -> None:
        """A message that was accepted turns out to be half of one: a person decides what was made of it."""
        row = self._row(seq)
        self._move(row, RowState.QUARANTINED, FRAME_SUSPECT, "umbridge", FRAME_SUSPECT, "")
        self._working.set_suspect(seq, True)
        patient_index.set_aside(self.cursor, seq)
        self._set_aside(seq)

    def dismiss(self, seq: int, user: str, reason: str, by: str) -> None:
        """Lay a quarantined row to rest."""
        row = self._row(seq)
        self._move(row, RowState.DISMISSED, "", user, reason, by)
        patient_index.forget(self.cursor, seq)
        self._free(row)

    def replay(
        self,
        seq: int,
        user: str,
        reason: str,
        by: str,
        found_by: Sequence[bytes],
        named: Sequence[Named[bytes]],
    ) -> Stored:
        """Store a row again as its own child, to be worked as if it came now.

        Only the lanes that have not taken the row in take in its child. A row that was worked already is in
        its stays and stays as it is: nothing of its child is taken in, their reviews are asked again.
        """
        row = self._row(seq)
        again = row.state in WORKED
        if again:
            values: dict[str, Any] = {"actor": user, "state": "ASKED_AGAIN", "row": seq, "reason": reason}
            values["by"] = by or user
            self.entry(Draft("quarantine", values))
        else:
            self._move(row, RowState.REPLAYED, "", user, reason, by)
            self._free(row)
        child = self._working.next_seq()
        at = iso(self.now)
        shares: tuple[Share, ...] = ()
        refolds: tuple[tuple[bytes, bytes | None], ...] = ()
        had = patient_index.shares(self.cursor, seq)
        if again and not had and row.lane is not None:
            had = {row.lane: {0: patient_index.TAKEN}}
        wanted: dict[bytes, set[int]] = {}  # two lanes that are to be joined are one here
        for one, its in had.items():
            missed = {part for part in its if its[part] == patient_index.ASIDE}
            if again:
                missed = {patient_index.ASK_AGAIN}
            if missed:
                wanted.setdefault(patient_index.current(self.cursor, one), set()).update(missed)
        for into, parts in wanted.items():
            patient_index.give(self.cursor, into, child, sorted(parts))
            shares = (*shares, (into, tuple(sorted(parts))))
        if not had:
            shares, refolds, _ = self._route(child, named)
        state = RowState.PENDING if shares else RowState.NOT_APPLICABLE
        lane: bytes | None = shares[0][0] if shares else None
        inbox.replay(self.cursor, self.keyring, row, child, lane, state, row.ack, self.now, at)
        if found_by:
            self._found_by.append((child, found_by))
        self._tally["state", state.value] += 1
        note = f"replay_of_{seq}"
        receipt = {
            "actor": user,
            "feed": row.feed,
            "state": state.value,
            "row": child,
            "control_id": row.head.get("control_id"),
            "message_type": row.head.get("type"),
            "reason": note,
            "of_row": seq,
        }
        entry = self.entry(Draft("message.received", receipt))
        self.cursor.execute("UPDATE inbox SET entry = ? WHERE seq = ?", (entry, child))
        said = (state, row.ack, None, None, note, datetime.fromisoformat(at))
        stored = Stored(child, lane, *said, duplicate=False, shares=shares, refolds=refolds)
        self.arrived.append(Arrived(stored))
        return stored

    def register(
        self, seq: int, parts: Sequence[tuple[Named[bytes], bytes | None]]
    ) -> tuple[patient_index.Refold, ...]:
        asked, placed = patient_index.register(self.cursor, self._directory, seq, parts)
        self._finished += patient_index.stays_found(placed)
        for each in asked:
            if self._working.is_quarantined(each.gone):
                self._working.set_quarantined(each.lane, True)
        return tuple(asked)

    def _row(self, seq: int) -> inbox.Row:
        record = inbox.sealed_row(self.cursor, seq)
        if record is None:
            raise StoreError(f"row {seq} is gone")
        return inbox.open_leniently(self.keyring, record)

    def _move(self, row: inbox.Row, to: RowState, note: str, actor: str, reason: str, by: str) -> None:
        """Entry and state together, the entry first."""
        values = {"actor": actor, "state": to.value, "row": row.seq, "reason": reason, "by": by or actor}
        self.entry(Draft("quarantine", values))
        inbox.settle(self.cursor, row.seq, to, note)
        self._tally["state", row.state] -= 1
        self._tally["state", to.value] += 1

    def _set_aside(self, seq: int) -> None:
        lane = self.cursor.execute("SELECT lane FROM inbox WHERE seq = ?", (seq,)).fetchone()
        if lane is not None and lane[0] is not None:
            self._working.set_quarantined(patient_index.current(self.cursor, lane[0]), True)

    def _free(self, row: inbox.Row) -> None:
        """The stay misses nothing more, unless another of its messages waits too."""
        self._working.set_suspect(row.seq, False)
        waiting = inbox.quarantined_lanes(self.cursor)
        for lane in {row.lane, *patient_index.shares(self.cursor, row.seq)} - waiting:
            if lane is not None:
                self._working.set_quarantined(lane, False)

    def _lane(self, item: Incoming) -> bytes | None:
        """The stay that a message would be about which is not to be worked now: nothing is learnt from it."""
        for number in (item.visit_token, item.account_token):
            if number is not None:
                return self._directory.lane(number) or number
        return None

    def flush(self) -> None:
        """Write what was gathered. The writer calls it once, just before COMMIT."""
        self._directory.flush()
        if self._rows:
            inbox.insert(self.cursor, self._rows)
        if self._finished:
            inbox.finish(self.cursor, self._finished)
        if self._tally:
            counters.add(self.cursor, self._tally, self._heard)
        if self._found_by:
            search.later(self.cursor, self._found_by)
            self._working.unsorted += len(self._found_by)
        if self._repeats:
            self.cursor.executemany(
                "INSERT INTO delivery_attempt(row, feed, at) VALUES (?,?,?)", self._repeats
            )
        if self._drafts:
            receipts = self._ledger.append(self._drafts)
            if receipts[0].seq != self._first_entry or len(receipts) != len(self._drafts):
                raise StoreError("the ledger numbered entries otherwise than the store expected")

    def keep(self) -> None:
        """The transaction is durable: what it learnt is known from now on."""
        self._working.keep()


if TYPE_CHECKING:
    _: type[Transaction] = Batch
