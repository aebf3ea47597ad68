"""Orders' and reports' numbers at rest: keyed, patient by patient, each with the lane that told of it.

A number is 16 bytes: of itself, of its namespace, of its universal id, each a keyed hash cut short. All of a
patient's numbers stand side by side, so that what a patient is told of is on one page; they are read once and
then known, so that a number which is there costs no query and a new one is one row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from umbridge.stay.by_number import Place

ITSELF, GIVER = 8, 4  # bytes
NOBODY = bytes(GIVER)  # no namespace, no universal id
KEPT = 50_000  # numbers known in memory
_SPACE, _UNIVERSAL = slice(ITSELF, ITSELF + GIVER), slice(ITSELF + GIVER, None)


def giver_of(space: bytes, universal: bytes) -> bytes:
    """Who gave a number, as the tables have it behind it: from keyed hashes, none for what was not sent."""
    return (space[:GIVER] or NOBODY) + (universal[:GIVER] or NOBODY)


def can_be_one(one: bytes, other: bytes) -> bool:
    """As ``stay.entities.alike`` has it, of two numbers that are one but for who gave them."""
    mine, theirs = one[_UNIVERSAL], other[_UNIVERSAL]
    if NOBODY in (mine, theirs):
        mine, theirs = one[_SPACE], other[_SPACE]
    return mine == theirs or NOBODY in (mine, theirs)


class Told(NamedTuple):
    """That a lane told of a number."""

    number: bytes
    lane: bytes
    seq: int  # the row that told of it first


class OfPatient:
    """What is known of one patient: the numbers by what they are themselves, and what waits for one."""

    __slots__ = ("count", "numbers", "waiting")

    def __init__(self) -> None:
        self.numbers: dict[bytes, list[Told]] = {}
        self.waiting: dict[tuple[bytes, Place], None] | None = None  # of what is new: as before
        self.count = 0

    def add(self, number: bytes, lane: bytes, seq: int) -> None:
        self.numbers.setdefault(number[:ITSELF], []).append(Told(number, lane, seq))
        self.count += 1

    def take(self, more: OfPatient) -> None:
        """What a transaction added is durable."""
        for itself, its in more.numbers.items():
            self.numbers[itself] = [*self.numbers.get(itself, ()), *its]
        self.waiting = self.waiting if more.waiting is None else more.waiting
        self.count += more.count


class Learnt(Protocol):
    """What one transaction looks up and writes of patients' numbers."""

    rows: list[tuple[bytes, bytes, bytes, int, int]]
    added: dict[bytes, OfPatient]
    waits: bool

    def of_patient(self, patient: bytes) -> OfPatient | None: ...

    def looked_up(self, patient: bytes, found: OfPatient) -> OfPatient: ...

    def more(self, patient: bytes) -> OfPatient: ...

    def forget(self) -> None: ...


class StoredSpoken:
    """``stay.by_number.Numbered`` over the tables, but for ``same``."""

    def __init__(self, cursor: sqlite3.Cursor, learnt: Learnt) -> None:
        self._cursor = cursor
        self._learnt = learnt

    def find(self, patient: bytes, number: bytes) -> list[bytes]:
        return [each.lane for each in self._told(patient, number) if can_be_one(each.number, number)]

    def first(self, patient: bytes, number: bytes) -> list[tuple[bytes, int]]:
        its = self._told(patient, number)
        return [(each.lane, each.seq) for each in its if can_be_one(each.number, number)]

    def keep(self, patient: bytes, number: bytes, lane: bytes, place: Place) -> bool:
        told = self._told(patient, number)
        if told and any(each.number == number and each.lane == lane for each in told):
            return False
        self._learnt.rows.append((patient, number, lane, *place))
        self._learnt.more(patient).add(number, lane, place[0])
        return True

    def flush(self) -> None:
        """Write what was kept in memory: all of a transaction's numbers with one statement."""
        if self._learnt.rows:
            query = "INSERT INTO numbered(patient, number, lane, seq, part) VALUES (?,?,?,?,?)"
            self._cursor.executemany(query, self._learnt.rows)
            self._learnt.rows.clear()

    def hand_on(self, old: bytes, new: bytes, lane: bytes) -> None:
        self.flush()
        self._cursor.execute(
            "INSERT OR IGNORE INTO numbered(patient, number, lane, seq, part)"
            " SELECT ?, number, lane, seq, part FROM numbered WHERE patient = ? AND lane = ?",
            (new, old, lane),
        )
        if self._cursor.rowcount:
            self._learnt.forget()

    def wait(self, patient: bytes, number: bytes, place: Place) -> None:
        query = "INSERT OR IGNORE INTO unplaced(patient, number, seq, part) VALUES (?,?,?,?)"
        self._cursor.execute(query, (patient, number, *place))
        self._waits(patient)[number, place] = None
        self._learnt.waits = True

    def has_waiting(self) -> bool:
        return self._learnt.waits

    def waiting(self, patient: bytes, number: bytes | None) -> list[Place]:
        more = self._learnt.added.get(patient)
        its = self._of(patient).waiting if more is None or more.waiting is None else more.waiting
        if not its:
            return []
        found = (
            place
            for each, place in its
            if number is None or (each[:ITSELF] == number[:ITSELF] and can_be_one(each, number))
        )
        return list(dict.fromkeys(found))

    def settle(self, place: Place) -> list[tuple[bytes, bytes]]:
        query = "SELECT patient, number FROM unplaced WHERE seq = ? AND part = ?"
        found: list[tuple[bytes, bytes]] = self._cursor.execute(query, place).fetchall()
        self._cursor.execute("DELETE FROM unplaced WHERE seq = ? AND part = ?", place)
        for patient, number in found:
            self._waits(patient).pop((number, place), None)
        return found

    def _of(self, patient: bytes) -> OfPatient:
        known = self._learnt.of_patient(patient)
        if known is None:
            known = self._learnt.looked_up(patient, self._read(patient))
        return known

    def _told(self, patient: bytes, number: bytes) -> Sequence[Told]:
        """What is known of numbers that are this one but for who gave them."""
        itself = number[:ITSELF]
        known = self._of(patient).numbers.get(itself, ())
        more = self._learnt.added.get(patient)
        return known if more is None else [*known, *more.numbers.get(itself, ())]

    def _waits(self, patient: bytes) -> dict[tuple[bytes, Place], None]:
        """What waits, to be changed in this transaction."""
        more, known = self._learnt.more(patient), self._of(patient).waiting
        if more.waiting is None:
            more.waiting = dict(known or {})
        return more.waiting

    def _read(self, patient: bytes) -> OfPatient:
        self.flush()
        found = OfPatient()
        query = "SELECT number, lane, seq FROM numbered WHERE patient = ?"
        for number, lane, seq in self._cursor.execute(query, (patient,)):
            found.add(number, lane, seq)
        found.waiting = {}
        if not self._learnt.waits:
            return found
        query = "SELECT number, seq, part FROM unplaced WHERE patient = ?"
        for number, *place in self._cursor.execute(query, (patient,)):
            found.waiting[number, (place[0], place[1])] = None
        return found


def waits(cursor: sqlite3.Cursor) -> bool:
    """Whether any row waits for its stay."""
    return cursor.execute("SELECT 1 FROM unplaced LIMIT 1").fetchone() is not None


def join(cursor: sqlite3.Cursor, gone: bytes, into: bytes) -> None:
    """What led to a lane leads to another. To be asked before ``patient_lane`` says so."""
    of_lane = "patient IN (SELECT token FROM patient_lane WHERE lane = :gone) AND lane = :gone"
    words = {"gone": gone, "into": into}
    cursor.execute(f"UPDATE OR IGNORE numbered SET lane = :into WHERE {of_lane}", words)  # noqa: S608 - constant
    cursor.execute(f"DELETE FROM numbered WHERE {of_lane}", words)  # noqa: S608 - constant


def forget(cursor: sqlite3.Cursor, seq: int) -> None:
    """A row waits for no stay any more."""
    cursor.execute("DELETE FROM unplaced WHERE seq = ?", (seq,))
