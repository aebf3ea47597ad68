"""The named operations of a transaction that are a statement or two each, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from umbridge_audit.keys import Keyring

from umbridge.review.standing import LaneReviews
from umbridge.review.worklist import WorklistLine
from umbridge.store import inbox, meta, patient_index, refusals, stays, worklist
from umbridge.store.inbox import Row
from umbridge.store.refusals import Refusal


class Operations:
    """See ``commands.Transaction`` for what each one promises. Lives for one transaction."""

    def __init__(self, cursor: sqlite3.Cursor, keyring: Keyring, now: datetime) -> None:
        self.cursor = cursor
        self.keyring = keyring
        self.now = now

    # -- short facts the store keeps about itself

    def note(self, name: str) -> str | None:
        return meta.get(self.cursor, name)

    def notes_under(self, prefix: str) -> dict[str, str]:
        return meta.under(self.cursor, prefix)

    def put_note(self, name: str, value: str) -> None:
        meta.put(self.cursor, name, value)

    def drop_note(self, name: str) -> None:
        meta.drop(self.cursor, name)

    def count_refusal(self, refusal: Refusal) -> None:
        refusals.count(self.cursor, refusal)

    # -- rows

    def row(self, seq: int, *, leniently: bool = False) -> Row | None:
        record = inbox.sealed_row(self.cursor, seq)
        if record is None:
            return None
        return (inbox.open_leniently if leniently else inbox.open_row)(self.keyring, record)

    def strike(self, seq: int) -> None:
        inbox.strike(self.cursor, seq)

    # -- stays

    def save_stay(
        self, lane: bytes, seq: int, said: LaneReviews, head: bytes, increments: Sequence[tuple[int, bytes]]
    ) -> None:
        stays.save(self.cursor, self.keyring, lane, seq, said, head, list(increments), self.now)

    def stay_seq(self, lane: bytes) -> int | None:
        return stays.seq(self.cursor, lane)

    def save_open_reviews(
        self,
        lane: bytes,
        lines: Sequence[WorklistLine],
        before: Sequence[WorklistLine] | None = None,
    ) -> None:
        worklist.save(self.cursor, self.keyring, lane, lines, before, self.now)

    def list_unreadable(self, lane: bytes) -> None:
        worklist.save_unreadable(self.cursor, self.keyring, lane)

    def renew_stay(self, lane: bytes, increments: Sequence[tuple[int, bytes]]) -> None:
        stays.renew(self.cursor, self.keyring, lane, list(increments), self.now)

    def next_replay(self, seq: int) -> int:
        return stays.next_replay(self.cursor, seq)

    def record_determinations(self, rows: Sequence[tuple[int, str, str, int, int]]) -> None:
        stays.record_determinations(self.cursor, list(rows))

    def wait_until(self, lane: bytes, due: int | None) -> None:
        stays.wait_until(self.cursor, lane, due)

    def no_longer_due(self, lane: bytes, due: int) -> None:
        stays.no_longer_due(self.cursor, lane, due)

    def join_lanes(self, gone: bytes, into: bytes) -> None:
        patient_index.join(self.cursor, gone, into)

    def refolded(self, lane: bytes, until: int) -> None:
        patient_index.refolded(self.cursor, lane, until)
