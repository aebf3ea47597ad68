"""The directory of numbers at rest: keyed tokens to lanes, patients to their stays and to what was said.

What a message changes here is in the transaction that stores it, so that an answered merge is a merge,
whatever happens next. What it means for the stays is done when their turn comes: ``lane_row`` and
``lane_refold`` say so until then.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from umbridge.model import RowState
from umbridge.stay.by_number import everyone
from umbridge.stay.identity import Named
from umbridge.stay.patient_index import Place, named_again
from umbridge.store import numbered, worklist
from umbridge.store.inbox import OF_LANE
from umbridge.store.numbered import OfPatient, StoredSpoken

CACHE = 100_000
STAY_FOUND = "stay_found"
WAITING, TAKEN, ASIDE = 0, 1, 2
ASK_AGAIN = -1  # a part that takes nothing in


class Refold(NamedTuple):
    """From row ``since`` on ``lane`` has to be folded again, with the rows of ``gone`` if it is not None."""

    lane: bytes
    since: int
    gone: bytes | None


class Known:
    """What was looked up lately. Bounded; the tables are not."""

    def __init__(self, *, waits: bool = False) -> None:
        self.waits = waits  # whether any row waits for its stay
        self.lanes: dict[bytes, bytes] = {}
        self.registered: set[tuple[bytes, bytes]] = set()
        self.patients: dict[bytes, OfPatient] = {}
        self.same: dict[bytes, tuple[bytes, ...]] = {}
        self.numbers = 0  # of those patients

    def trim(self) -> None:
        if self.numbers >= numbered.KEPT or len(self.patients) >= CACHE:
            self.patients.clear()
            self.numbers = 0
        if len(self.same) >= CACHE:
            self.same.clear()
        if len(self.lanes) >= CACHE:
            self.lanes.clear()
        if len(self.registered) >= CACHE:
            self.registered.clear()


class Learnt:
    """What one transaction looked up and wrote: known to the others once it is durable (``keep``)."""

    def __init__(self, known: Known) -> None:
        known.trim()
        self._known = known
        self._lanes: dict[bytes, bytes] = {}
        self._registered: set[tuple[bytes, bytes]] = set()
        self._patients: dict[bytes, OfPatient] = {}  # looked up here
        self.added: dict[bytes, OfPatient] = {}  # what is new of a patient
        self.rows: list[tuple[bytes, bytes, bytes, int, int]] = []  # of that, what is not written yet
        self._same: dict[bytes, tuple[bytes, ...]] = {}
        self.waits = known.waits
        self._anew = False  # what was known before holds no more

    def lane(self, number: bytes) -> bytes | None:
        lane = self._lanes.get(number)
        return self._known.lanes.get(number) if lane is None and not self._anew else lane

    def leads(self, number: bytes, lane: bytes) -> None:
        self._lanes[number] = lane

    def register(self, patient: bytes, lane: bytes) -> bool:
        """Whether nobody knew yet that this patient has that lane."""
        pair = patient, lane
        if pair in self._registered or (not self._anew and pair in self._known.registered):
            return False
        self._registered.add(pair)
        return True

    def of_patient(self, patient: bytes) -> OfPatient | None:
        found = self._patients.get(patient)
        return self._known.patients.get(patient) if found is None and not self._anew else found

    def looked_up(self, patient: bytes, found: OfPatient) -> OfPatient:
        self._patients[patient] = found
        return found

    def more(self, patient: bytes) -> OfPatient:
        """What is new of a patient, to be added to."""
        found = self.added.get(patient)
        if found is None:
            found = self.added[patient] = OfPatient()
        return found

    def same(self, patient: bytes) -> tuple[bytes, ...] | None:
        found = self._same.get(patient)
        return self._known.same.get(patient) if found is None and not self._anew else found

    def are_same(self, patient: bytes, found: tuple[bytes, ...]) -> None:
        self._same[patient] = found

    def forget(self) -> None:
        """Lanes were joined, or numbers of patients: look everything up again."""
        self._anew = True
        self._lanes.clear()
        self._registered.clear()
        self._patients.clear()
        self.added.clear()
        self._same.clear()

    def keep(self) -> None:
        """The transaction is durable."""
        if self._anew:
            self._known.lanes.clear()
            self._known.registered.clear()
            self._known.patients.clear()
            self._known.same.clear()
            self._known.numbers = 0
        self._known.waits = self.waits
        self._known.lanes.update(self._lanes)
        self._known.registered |= self._registered
        self._known.same.update(self._same)
        for patient, its in self._patients.items():
            self._known.numbers += its.count
            self._known.patients[patient] = its
        for patient, more in self.added.items():
            self._known.numbers += more.count
            self._known.patients[patient].take(more)


class StoredNumbers(StoredSpoken):
    """``stay.patient_index.Numbers`` over the tables. Lives for one transaction."""

    _learnt: Learnt

    def same(self, patient: bytes) -> tuple[bytes, ...]:
        found = self._learnt.same(patient)
        if found is None:
            found = everyone(patient, self.told, self.patients)
            self._learnt.are_same(patient, found)
        return found

    def lane(self, number: bytes) -> bytes | None:
        lane = self._learnt.lane(number)
        if lane is None:
            lane = resolve(self._cursor, number)
            if lane is not None:
                self._learnt.leads(number, lane)
        return lane

    def lead(self, number: bytes, lane: bytes, *, account: bool) -> None:
        self._cursor.execute(
            "INSERT INTO alias(token, lane, account) VALUES (?,?,?)"
            " ON CONFLICT(token) DO UPDATE SET lane = excluded.lane",
            (number, lane, account),
        )
        self._learnt.leads(number, lane)

    def is_account(self, lane: bytes) -> bool:
        found = self._cursor.execute("SELECT account FROM alias WHERE token = ?", (lane,)).fetchone()
        return found is not None and bool(found[0])

    def join(self, gone: bytes, into: bytes) -> None:
        execute = self._cursor.execute
        self.flush()
        execute("UPDATE alias SET lane = ? WHERE lane = ?", (into, gone))
        numbered.join(self._cursor, gone, into)
        execute("UPDATE OR IGNORE patient_lane SET lane = ? WHERE lane = ?", (into, gone))
        execute("DELETE FROM patient_lane WHERE lane = ?", (gone,))
        self._learnt.forget()

    def lanes(self, patient: bytes) -> list[bytes]:
        rows = self._cursor.execute("SELECT lane FROM patient_lane WHERE token = ?", (patient,))
        return [lane for (lane,) in rows]

    def register(self, patient: bytes, lane: bytes) -> bool:
        if not self._learnt.register(patient, lane):
            return False
        self._cursor.execute("INSERT OR IGNORE INTO patient_lane(token, lane) VALUES (?,?)", (patient, lane))
        return self._cursor.rowcount > 0

    def told(self, patient: bytes) -> list[Place]:
        return self._cursor.execute(
            "SELECT seq, part FROM patient_row WHERE token = ?", (patient,)
        ).fetchall()

    def update(self, patient: bytes) -> tuple[tuple[int, int], Place] | None:
        query = "SELECT effective, sent, seq, part FROM patient_row WHERE token = ? AND sent IS NOT NULL"
        found = self._cursor.execute(query, (patient,)).fetchone()
        return None if found is None else ((found[0], found[1]), (found[2], found[3]))

    def tell(self, patient: bytes, place: Place, at: tuple[int, int] | None) -> None:
        if at is not None:
            self._cursor.execute("DELETE FROM patient_row WHERE token = ? AND sent IS NOT NULL", (patient,))
        else:
            self._learnt.forget()  # of a merge: whose numbers are one person's
        self._cursor.execute(
            "INSERT OR IGNORE INTO patient_row(token, seq, part, effective, sent) VALUES (?,?,?,?,?)",
            (patient, *place, *(at or (None, None))),
        )

    def patients(self, place: Place) -> list[bytes]:
        rows = self._cursor.execute("SELECT token FROM patient_row WHERE seq = ? AND part = ?", place)
        return [token for (token,) in rows]


def register(
    cursor: sqlite3.Cursor,
    numbers: StoredNumbers,
    seq: int,
    parts: Sequence[tuple[Named[bytes], bytes | None]],
) -> tuple[list[Refold], list[tuple[bytes, Place]]]:
    """A row that was routed before, under the names that its numbers have now: see ``named_again``.

    Each part comes with its visit as the sender spelt it. What was said of a patient whose stay is only now
    known to be theirs is given to it, to be taken in with its next message; so is what names no visit.
    Returns the lanes that have to be folded again, and what had no lane and has one now.
    """
    taken = shares(cursor, seq)
    lane = cursor.execute("SELECT lane FROM inbox WHERE seq = ?", (seq,)).fetchone()[0]
    if not taken and len(parts) > 1:
        return [], []  # told apart only since it came: it is in its lane as one
    asked: list[Refold] = []
    placed: list[tuple[bytes, Place]] = []
    for named, spelt in parts:
        own = [one for one, its in taken.items() if named.part in its] if taken else [lane]
        lanes = list(dict.fromkeys(current(cursor, one) for one in own if one is not None))
        found = named_again(numbers, named, spelt, lanes, seq)
        given = [*found.placed, *((one, (seq, named.part)) for one in found.lanes if not lanes)]
        asked += place(cursor, given, seq)
        placed += given
        told = [*found.earlier, (seq, named.part)] if named.is_person else list(found.earlier)
        asked += [Refold(one, seq, None) for one in found.lanes if told and give_earlier(cursor, one, told)]
        asked += [Refold(found.lanes[0], seq, gone) for gone in found.joined]
    for each in asked:
        refold(cursor, each)
    return asked, placed


def place(cursor: sqlite3.Cursor, given: Iterable[tuple[bytes, Place]], since: int) -> list[Refold]:
    """What had found no stay goes to its lane, with the lane's row ``since`` or the next one after it."""
    took = {lane: None for lane, each in given if give_earlier(cursor, lane, (each,))}
    return [Refold(lane, since, None) for lane in took]


def stays_found(placed: Iterable[tuple[bytes, Place]]) -> list[tuple[str, str, int]]:
    """What lists say of rows that had no visit, and whose stay is known now: state, reason, row."""
    rows = dict.fromkeys(seq for _, (seq, _) in placed)
    return [(RowState.NOT_APPLICABLE.value, STAY_FOUND, seq) for seq in rows]


def resolve(cursor: sqlite3.Cursor, token: bytes) -> bytes | None:
    """The lane a visit's or an account's number leads to."""
    found = cursor.execute("SELECT lane FROM alias WHERE token = ?", (token,)).fetchone()
    return None if found is None else bytes(found[0])


def lanes_of(cursor: sqlite3.Cursor, patient: bytes, most: int) -> list[bytes]:
    """The lanes with a stay of a patient's number, those with the newest rows first."""
    query = (
        "SELECT patient_lane.lane FROM patient_lane JOIN stay_head ON stay_head.lane = patient_lane.lane"
        " WHERE token = ? ORDER BY seq DESC LIMIT ?"
    )
    return [bytes(lane) for (lane,) in cursor.execute(query, (patient, most))]


def forget(cursor: sqlite3.Cursor, seq: int) -> None:
    """A row that a person dismissed says nothing to stays that come later."""
    cursor.execute("DELETE FROM patient_row WHERE seq = ?", (seq,))
    numbered.forget(cursor, seq)


# -- which rows a lane takes in -----------------------------------------------------------------------------


def give(cursor: sqlite3.Cursor, lane: bytes, seq: int, parts: Iterable[int]) -> None:
    """A row, or parts of it, that the lane is to take in when its turn comes."""
    rows = [(lane, seq, part, WAITING) for part in parts]
    cursor.executemany("INSERT OR IGNORE INTO lane_row(lane, seq, part, done) VALUES (?,?,?,?)", rows)


def give_earlier(cursor: sqlite3.Cursor, lane: bytes, places: Sequence[Place]) -> bool:
    """Rows of before that the lane takes in with its next fold. Whether there was one it did not have."""
    before = cursor.connection.total_changes
    rows = [(lane, *place, TAKEN) for place in places]
    cursor.executemany("INSERT OR IGNORE INTO lane_row(lane, seq, part, done) VALUES (?,?,?,?)", rows)
    return cursor.connection.total_changes > before


def refold(cursor: sqlite3.Cursor, asked: Refold) -> None:
    cursor.execute("INSERT INTO lane_refold(lane, since, gone) VALUES (?,?,?)", asked)


def refolds(cursor: sqlite3.Cursor) -> list[Refold]:
    """Those that are still to be done."""
    return [Refold(*row) for row in cursor.execute("SELECT lane, since, gone FROM lane_refold ORDER BY id")]


def waiting(cursor: sqlite3.Cursor) -> dict[int, dict[bytes, tuple[int, ...]]]:
    """Row -> lane -> parts that are still to be taken in."""
    found: dict[int, dict[bytes, tuple[int, ...]]] = {}
    query = "SELECT seq, lane, part FROM lane_row WHERE done = 0 ORDER BY seq, lane, part"
    for seq, lane, part in cursor.execute(query):
        lanes = found.setdefault(seq, {})
        lanes[lane] = (*lanes.get(lane, ()), part)
    return found


def take(cursor: sqlite3.Cursor, lane: bytes, seq: int) -> bool:
    """A lane has taken its share of a row. Whether that finishes the row, with nothing set aside."""
    cursor.execute("UPDATE lane_row SET done = 1 WHERE lane = ? AND seq = ? AND done = 0", (lane, seq))
    query = "SELECT min(done), max(done) FROM lane_row WHERE seq = ?"
    return bool(cursor.execute(query, (seq,)).fetchone() == (TAKEN, TAKEN))


def set_aside(cursor: sqlite3.Cursor, seq: int, lane: bytes | None = None) -> bool:
    """A lane's share of a row, or all there is of it, waits for a person. Whether that is the first of it."""
    query = "SELECT count(*) FROM lane_row WHERE seq = ? AND done = 2"
    first = bool(cursor.execute(query, (seq,)).fetchone()[0] == 0)
    where, values = ("", ()) if lane is None else (" AND lane = ? AND done = 0", (lane,))
    cursor.execute(f"UPDATE lane_row SET done = 2 WHERE seq = ?{where}", (seq, *values))  # noqa: S608 - constants
    return first


def shares(cursor: sqlite3.Cursor, seq: int) -> dict[bytes, dict[int, int]]:
    """Lane -> part -> ``done`` of a row; empty for a row that its ``inbox.lane`` alone takes in."""
    found: dict[bytes, dict[int, int]] = {}
    for lane, part, done in cursor.execute("SELECT lane, part, done FROM lane_row WHERE seq = ?", (seq,)):
        found.setdefault(lane, {})[part] = done
    return found


def join(cursor: sqlite3.Cursor, gone: bytes, into: bytes) -> None:
    """The lane ``gone`` is no more: its rows are ``into``'s. Its stay is the caller's to fold again."""
    cursor.execute(f"UPDATE inbox SET lane = :into WHERE seq IN ({OF_LANE})", {"into": into, "lane": gone})  # noqa: S608 - constant
    cursor.execute("UPDATE OR IGNORE lane_row SET lane = ? WHERE lane = ?", (into, gone))
    cursor.execute("DELETE FROM lane_row WHERE lane = ?", (gone,))
    cursor.execute("DELETE FROM lane_due WHERE lane = ?", (gone,))
    cursor.execute("DELETE FROM stay_head WHERE lane = ?", (gone,))
    cursor.execute("DELETE FROM stay_increment WHERE lane = ?", (gone,))
    worklist.drop(cursor, gone)


def refolded(cursor: sqlite3.Cursor, lane: bytes, until: int) -> None:
    cursor.execute("DELETE FROM lane_refold WHERE lane = ? AND since <= ?", (lane, until))


def current(cursor: sqlite3.Cursor, lane: bytes) -> bytes:
    """Where a lane's messages go now: to itself, or to the one it is to be joined with."""
    while found := cursor.execute("SELECT lane FROM lane_refold WHERE gone = ?", (lane,)).fetchone():
        lane = found[0]
    return lane
