"""Exceptions that a person closed after looking: out of a stay's list until its next message.

A code names a kind of ground and not the ground: the next message may be another of its kind. So what is
closed is closed for the stay as it was looked at, and as the rules of that day read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

from umbridge_audit.entry import Draft

from umbridge.errors import UsageError
from umbridge.review.standing import EARLY, differs_of
from umbridge.stay.anew import mark_of
from umbridge.store.commands import Transaction

CLOSED = "closed/"  # and a lane: the note of what was closed of its stay
READ_ANEW = "READ_ANEW"  # its ground is no message: a mark of its own, which goes with the closing


def closed_name(lane: bytes) -> str:
    """The note's name."""
    return f"{CLOSED}{lane.hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """Codes that were closed when the stay had taken in message ``seq``, read by the rules ``reading``."""

    seq: int
    reading: str
    codes: frozenset[str]

    @classmethod
    def read(cls, note: str | None) -> Self | None:
        if note is None:
            return None
        held = json.loads(note)
        return cls(seq=held["seq"], reading=held["reading"], codes=frozenset(held["codes"]))

    @property
    def note(self) -> str:
        return json.dumps({"seq": self.seq, "reading": self.reading, "codes": sorted(self.codes)})


def closed_of(note: str | None, seq: int | None, reading: str) -> frozenset[str]:
    """The codes that are closed of a stay as it is now."""
    held = Closed.read(note)
    return frozenset() if held is None or (held.seq, held.reading) != (seq, reading) else held.codes


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseException:
    """One exception of a stay is closed, with its entry. ``seq``: the stay's newest message at the look.

    Returns what differed, of a stay that was read anew or a review that differs, and the entry's number.
    """

    lane: bytes
    code: str
    seq: int
    reading: str
    draft: Draft

    def apply(self, tx: Transaction) -> tuple[str | None, int]:
        if tx.stay_seq(self.lane) != self.seq:
            raise UsageError("a message of that stay came meanwhile; look again: `umbridge stays show`")
        marks = {READ_ANEW: mark_of(self.lane), **dict.fromkeys(EARLY, differs_of(self.lane))}
        if self.code in marks:
            detail = tx.note(marks[self.code])
            if detail is None:
                raise UsageError(f"somebody has closed {self.code} meanwhile")
            tx.drop_note(marks[self.code])
        else:
            name, detail = closed_name(self.lane), None
            codes = closed_of(tx.note(name), self.seq, self.reading) | {self.code}
            tx.put_note(name, Closed(seq=self.seq, reading=self.reading, codes=codes).note)
        return detail, tx.entry(Draft(self.draft.kind, {**self.draft.values, "detail": detail}))
