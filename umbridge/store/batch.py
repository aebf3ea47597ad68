"""One transaction being filled: the duplicate rule, the receipts, the rows."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from umbridge_audit.entry import Draft, Spelt
from umbridge_audit.keys import Keyring
from umbridge_audit.store import Ledger

from umbridge.errors import StoreError
from umbridge.model import RowState
from umbridge.store import inbox, search, stays, tally
from umbridge.store.inbox import Incoming, Stored

ALIAS_CACHE = 100_000
REUSED = "control_id_reused"
AFTER_QUARANTINED = "after_quarantined"  # an earlier message of this stay waits for a person
FRAME_SUSPECT = "frame_suspect"  # answered, and then its other half came


def iso(at: datetime) -> str:
    """UTC, milliseconds: the form of every stored time."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Numbers:
    """What the pen knows without asking the database: the last row's number, and recent accounts."""

    def __init__(self, last: int, quarantined: Iterable[bytes] = ()) -> None:
        self._seq = last
        self.quarantined = set(quarantined)  # lanes
        self.suspects: set[int] = set()  # rows set aside after they were answered, maybe while being worked
        self._alias: dict[bytes, bytes] = {}

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def alias(self, token: bytes) -> bytes | None:
        return self._alias.get(token)

    def remember_alias(self, token: bytes, lane: bytes) -> None:
        """The cache is bounded; the table is not."""
        if len(self._alias) >= ALIAS_CACHE:
            self._alias.clear()
        self._alias[token] = lane


class Batch:
    """One transaction being filled. Work functions get it, use it, and must not keep it."""

    def __init__(
        self, cursor: sqlite3.Cursor, ledger: Ledger, keyring: Keyring, numbers: Numbers, now: datetime
    ) -> None:
        self.cursor = cursor
        self.keyring = keyring
        self.now = now
        self._ledger = ledger
        self._numbers = numbers
        self._drafts: list[Draft | Spelt] = []
        self._rows: list[tuple[Any, ...]] = []
        self._finished: list[tuple[str, str, int]] = []
        self._repeats: list[tuple[int, str, str]] = []
        self._aliases: list[tuple[bytes, bytes]] = []
        self._found_by: list[tuple[bytes, int]] = []
        self._first_entry = ledger.size
        self._known: dict[bytes, list[tuple[Any, ...]]] = {}
        self._tally: Counter[tuple[str, str]] = Counter()
        self._heard: dict[str, str] = {}

    def entry(self, draft: Draft | Spelt) -> int:
        """Put an entry on the ledger with this transaction; returns the seq it will have."""
        self._drafts.append(draft)
        return self._first_entry + len(self._drafts) - 1

    def mark(self) -> int:
        """How much has been asked to be written so far: work that fails without raising it harmed nothing."""
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
                    self.entry(self._receipt(item, "message.variant", seq, "RESTAMPED", of_row=seq))
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
        lane = self._lane(item)
        if state is RowState.PENDING and lane is None:
            state, reason = RowState.NOT_APPLICABLE, reason or "no_visit_number"
        elif state is RowState.PENDING and lane in self._numbers.quarantined:
            reason = f"{reason} {AFTER_QUARANTINED}".strip()
        elif state is RowState.QUARANTINED and lane is not None:
            self._numbers.quarantined.add(lane)
        seq = self._numbers.next_seq()
        kind = {RowState.REFUSED: "message.refused", RowState.IGNORED: "message.ignored"}.get(
            state, "message.received"
        )
        entry = self.entry(self._receipt(item, kind, seq, state.value, ack=ack, reason=reason))
        if reason.startswith(REUSED):
            of_row = int(candidates[0][0])
            self.entry(self._receipt(item, "message.variant", seq, "CONTROL_ID_REUSED", of_row=of_row))
        at = iso(item.received_at)
        known = (item.key_token, item.digest, item.content_digest)
        said = (ack, condition, location, reason, at, entry)
        sealed = inbox.seal(self.keyring, item, seq, self.now)
        self._rows.append((seq, item.feed, *known, len(candidates), lane, sealed, state.value, *said))
        self._tally["state", state.value] += 1
        self._tally["feed", item.feed] += 1
        if reason:
            self._tally[f"why/{item.feed}", f"{state.value} {reason}"] += 1
        self._found_by += [(token, seq) for token in item.found_by]
        self._heard[item.feed] = at
        candidates.append(
            (seq, item.digest, item.content_digest, lane, state.value, ack, condition, location, reason, at)
        )
        return Stored(
            seq, lane, state, ack, condition, location, reason, datetime.fromisoformat(at), duplicate=False
        )

    def finish(self, seq: int, state: RowState, reason: str) -> None:
        """A pending row is worked: say what became of it."""
        if seq in self._numbers.suspects:
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
        self._numbers.suspects.add(seq)
        self._set_aside(seq)

    def dismiss(self, seq: int, user: str, reason: str, by: str) -> None:
        """Lay a quarantined row to rest."""
        row = self._row(seq)
        self._move(row, RowState.DISMISSED, "", user, reason, by)
        self._free(row)

    def replay(self, seq: int, user: str, reason: str, by: str, found_by: Sequence[bytes]) -> Stored:
        """Store a row again as its own child, to be worked as if it came now."""
        row = self._row(seq)
        self._move(row, RowState.REPLAYED, "", user, reason, by)
        self._free(row)
        child = self._numbers.next_seq()
        at = iso(self.now)
        inbox.replay(self.cursor, self.keyring, row, child, row.ack, self.now, at)
        self._found_by += [(token, child) for token in found_by]
        self._tally["state", RowState.PENDING.value] += 1
        receipt = {
            "actor": user,
            "feed": row.feed,
            "state": RowState.PENDING.value,
            "row": child,
            "control_id": row.head.get("control_id"),
            "message_type": row.head.get("type"),
            "reason": f"replay_of_{seq}",
            "of_row": seq,
        }
        entry = self.entry(Draft("message.received", receipt))
        self.cursor.execute("UPDATE inbox SET entry = ? WHERE seq = ?", (entry, child))
        moment = datetime.fromisoformat(at)
        return Stored(
            child,
            row.lane,
            RowState.PENDING,
            row.ack,
            None,
            None,
            f"replay_of_{seq}",
            moment,
            duplicate=False,
        )

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
            self._numbers.quarantined.add(lane[0])

    def _free(self, row: inbox.Row) -> None:
        """The stay misses nothing more, unless another of its messages waits too."""
        self._numbers.suspects.discard(row.seq)
        if row.lane is not None and row.lane not in inbox.quarantined_lanes(self.cursor):
            self._numbers.quarantined.discard(row.lane)

    def _lane(self, item: Incoming) -> bytes | None:
        """The stay a message belongs to: its visit; else the visit its account was seen with."""
        account = item.account_token
        if item.visit_token is not None:
            if account is not None and self._known_lane(account) is None:
                self._numbers.remember_alias(account, item.visit_token)
                self._aliases.append((account, item.visit_token))
            return item.visit_token
        return None if account is None else self._known_lane(account) or account

    def _known_lane(self, account: bytes) -> bytes | None:
        """The first visit an account was seen with, for ever: from memory, else from the table."""
        lane = self._numbers.alias(account)
        if lane is None:
            lane = stays.resolve(self.cursor, account)
            if lane is not None:
                self._numbers.remember_alias(account, lane)
        return lane

    @staticmethod
    def _receipt(
        item: Incoming,
        kind: str,
        row: int,
        state: str,
        *,
        ack: str = "",
        reason: str = "",
        of_row: int | None = None,
    ) -> Draft:
        values: dict[str, Any] = {
            "actor": "umbridge",
            "feed": item.feed,
            "state": state,
            "row": row,
            "control_id": item.head["control_id"],
            "message_type": item.head["type"],
            "sender": item.sender,
            "version": item.version,
            "digest": item.digest.hex(),
            "ack": ack,
            "reason": reason,
        }
        if of_row is not None:
            values["of_row"] = of_row
        return Draft(kind, values)

    def flush(self) -> None:
        """Write what was gathered. The pen calls it once, just before COMMIT."""
        if self._rows:
            inbox.insert(self.cursor, self._rows)
        if self._finished:
            inbox.finish(self.cursor, self._finished)
        if self._tally:
            tally.add(self.cursor, self._tally, self._heard)
        if self._found_by:
            search.add(self.cursor, self._found_by)
        if self._aliases:
            stays.add_aliases(self.cursor, self._aliases)
        if self._repeats:
            self.cursor.executemany(
                "INSERT INTO delivery_attempt(row, feed, at) VALUES (?,?,?)", self._repeats
            )
        if self._drafts:
            receipts = self._ledger.append(self._drafts)
            if receipts[0].seq != self._first_entry or len(receipts) != len(self._drafts):
                raise StoreError("the ledger numbered entries otherwise than the store expected")


class BatchClock:
    """One moment a transaction: every entry and every key of a batch belongs to the same month."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self.now = clock()

    def tick(self) -> None:
        self.now = self._clock()

    def __call__(self) -> datetime:
        return self.now
