"""What passes between the daemon and a lane worker: one row to be worked, and what came of it.

A frame is a u32 length, a u32 length of a JSON head, the head, and the parts the head names by their sizes.
Both ends are ours and start from the same code, so nothing here is distrusted. The head is plain JSON all the
same: nothing that can run code may ever pass between processes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, assert_never

from umbridge.review import standing, worklist
from umbridge.review.closing import Closing
from umbridge.review.standing import LaneReviews
from umbridge.review.waves import Verdict
from umbridge.review.worklist import WorklistLine
from umbridge.values.frozen import dataclass
from umbridge.values.kinds import Outcome, ReviewState

_ENCODE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
LENGTH = 4


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored fold: its head and its increments, oldest first."""

    head: bytes
    increments: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SealedOut:
    """One message of a lane, opened: its row, its feed, its bytes; ``part`` of it if it is about several."""

    seq: int
    feed: str
    frame: bytes
    part: int = 0
    received: str = ""  # when, as the inbox has it


@dataclass(frozen=True, slots=True)
class WholeLane:
    """Every message of the lane so far, the task's own included: the stay is folded anew."""

    rows: tuple[SealedOut, ...]
    renew: bool = False  # every increment is to be written again, not only this row's
    before: Snapshot | None = None  # with ``renew``: the stay as it is stored, under whichever rules


@dataclass(frozen=True, slots=True)
class TakeIn:
    """The message, or these parts of it, go into the stay; then its open reviews are screened."""

    parts: tuple[int, ...] = (0,)  # 0 is the whole message


@dataclass(frozen=True, slots=True)
class ScreenAgain:
    """A person asked: nothing goes into the stay, its open reviews are screened again."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A deadline came and no message did: screened is what opened by the clock, or is judged for good now."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Reread:
    """The rules of reading changed: nothing goes into the stay, only what waits for a person is screened."""


Purpose = TakeIn | ScreenAgain | Silence | Reread


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of a lane's work, with what the ledger has said about the lane so far.

    ``seq``, ``feed`` and ``frame`` are the message that determinations will name: for ``Silence`` the newest
    one that the lane has taken in.
    """

    seq: int
    lane: bytes
    feed: str
    frame: bytes
    after: int  # the lane's last worked row, 0 where there is none: a fold that stands elsewhere is not used
    said: LaneReviews
    pseudonyms: Mapping[str, str]  # plugin -> what it knows the patient by
    stored: Snapshot | WholeLane | None = None  # None: the lane worker is expected to hold the fold
    alone: bool = False  # not together with others: a process died with it, and it may be to blame
    purpose: Purpose = TakeIn()
    received: str = ""  # when, as the inbox has it


@dataclass(frozen=True, slots=True)
class NeedSnapshot:
    """The lane worker does not hold the lane's fold and cannot go on without the stored one."""


@dataclass(frozen=True, slots=True)
class NeedRows:
    """The stored fold cannot be used: the lane has to be folded anew from all its messages."""

    renew: bool = False


Need = NeedSnapshot | NeedRows


@dataclass(frozen=True, slots=True)
class Determined:
    """One plugin's screen, spelt for the ledger but for what only the writer knows."""

    review: str
    plugin: str
    verdict: Verdict
    outcome: Outcome
    texts: list[str]


@dataclass(frozen=True, slots=True)
class Changed:
    """A review that opened, closed or was voided."""

    review: str
    state: ReviewState
    texts: list[str]


@dataclass(frozen=True, slots=True)
class Stands:
    """What the newest answers about a review come to: by which it is closed, or why it is open again."""

    review: str
    closing: Closing | None
    reopened: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """What a row came to. ``head`` and ``increments`` are the fold's, stored with the determinations."""

    as_of: datetime
    head: bytes
    increments: list[tuple[int, bytes]]
    determined: list[Determined] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    stands: list[Stands] = field(default_factory=list)  # the reviews that were put to the plugins
    open: tuple[WorklistLine, ...] = ()  # the reviews that wait for a person now, without their answers
    due: datetime | None = None  # when the next review opens though nothing is said
    unused: Mapping[str, int] = field(default_factory=dict)  # "FIELD reason" -> how often in this row
    differs: tuple[str, ...] = ()  # in which parts the stay says something else than under other rules
    raised: tuple[str, ...] = ()  # exceptions of the stay that go by plugins' answers


@dataclass(frozen=True, slots=True)
class Failed:
    """A defect of ours met this row: the exception's type, nothing of its text."""

    code: str


@dataclass(frozen=True, slots=True)
class Health:
    """How the plugins are, by name; sent when it changes, asked for or not."""

    plugins: Mapping[str, str]


def frame(head: Mapping[str, Any], parts: Sequence[bytes] = ()) -> bytes:
    """One frame. Raises OverflowError above 4 GiB."""
    text = _ENCODE({**head, "sizes": [len(part) for part in parts]}).encode("utf-8", "surrogatepass")
    size = LENGTH + len(text) + sum(map(len, parts))
    return b"".join((size.to_bytes(LENGTH, "big"), len(text).to_bytes(LENGTH, "big"), text, *parts))


def unframe(body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Head and parts of a frame's body (what follows its first length)."""
    size = int.from_bytes(body[:LENGTH], "big")
    at = LENGTH + size
    head: dict[str, Any] = json.loads(body[LENGTH:at].decode("utf-8", "surrogatepass"))
    parts = []
    for length in head["sizes"]:
        parts.append(body[at : at + length])
        at += length
    return head, parts


class Frames:
    """Cuts a stream into frame bodies, however it comes in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are whole now."""
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        at = 0
        while len(buffer) - at >= LENGTH:
            end = at + LENGTH + int.from_bytes(buffer[at : at + LENGTH], "big")
            if end > len(buffer):
                break
            found.append(bytes(buffer[at + LENGTH : end]))
            at = end
        if at:
            del buffer[:at]
        return found


# -- a row on its way to a lane worker ---------------------------------------------------------------------


def task_out(task: Task) -> bytes:
    """A task as a frame."""
    parts = [task.lane, task.frame]
    head: dict[str, Any] = {
        "seq": task.seq,
        "feed": task.feed,
        "after": task.after,
        "said": standing.encoded(task.said),
        "names": task.pseudonyms,
        "alone": task.alone,
        "received": task.received,
    }
    match task.purpose:
        case TakeIn(taken):
            head["take"] = taken
        case ScreenAgain():
            head["again"] = True
        case Silence(at):
            head["silent"] = at.isoformat()
        case Reread():
            head["reread"] = True
        case other:
            assert_never(other)
    match task.stored:
        case Snapshot(kept, increments):
            head["snapshot"] = len(increments)
            parts += [kept, *increments]
        case WholeLane(rows, renew, before):
            head["rows"] = [(row.seq, row.feed, row.part, row.received) for row in rows]
            head["renew"] = renew
            parts += [row.frame for row in rows]
            if before is not None:
                head["before"] = len(before.increments)
                parts += [before.head, *before.increments]
        case None:
            pass
        case unknown:
            assert_never(unknown)
    return frame(head, parts)


def _purpose(head: dict[str, Any]) -> Purpose:
    if "take" in head:
        return TakeIn(tuple(head["take"]))
    if "reread" in head:
        return Reread()
    return ScreenAgain() if "again" in head else Silence(datetime.fromisoformat(head["silent"]))


def task_in(body: bytes) -> Task:
    head, parts = unframe(body)
    lane, raw, *rest = parts
    stored: Snapshot | WholeLane | None = None
    if "snapshot" in head:
        stored = Snapshot(rest[0], tuple(rest[1:]))
    elif "rows" in head:
        named = zip(head["rows"], rest, strict=False)
        rows = tuple(SealedOut(seq, feed, raw, part, at) for (seq, feed, part, at), raw in named)
        old = rest[len(rows) :]
        before = Snapshot(old[0], tuple(old[1:])) if "before" in head else None
        stored = WholeLane(rows, head["renew"], before)
    return Task(
        head["seq"],
        lane,
        head["feed"],
        raw,
        head["after"],
        standing.decoded(head["said"]),
        head["names"],
        stored,
        head["alone"],
        _purpose(head),
        head["received"],
    )


# -- what came of it, on its way back ---------------------------------------------------------------------

Answer = Done | Need | Failed | Health


def answer_out(answer: Answer) -> bytes:
    """An answer as a frame. The texts of a slot list are canonical JSON, which holds no bare line feed."""
    if isinstance(answer, NeedSnapshot):
        return frame({"need": "snapshot"})
    if isinstance(answer, NeedRows):
        return frame({"need": "rows", "renew": answer.renew})
    if isinstance(answer, Failed):
        return frame({"failed": answer.code})
    if isinstance(answer, Health):
        return frame({"health": answer.plugins})
    parts = [answer.head, *(made for _, made in answer.increments)]
    parts += ["\n".join(each.texts).encode() for each in answer.determined]
    parts += ["\n".join(each.texts).encode() for each in answer.changed]
    head = {
        "as_of": answer.as_of.isoformat(),
        "increments": [seq for seq, _ in answer.increments],
        "determined": [
            (each.review, each.plugin, (each.verdict.met, each.verdict.wave, each.verdict.hold), each.outcome)
            for each in answer.determined
        ],
        "changed": [(each.review, each.state) for each in answer.changed],
        "stands": [
            (each.review, each.closing and standing.closing_encoded(each.closing), each.reopened)
            for each in answer.stands
        ],
        "open": [worklist.encoded(line) for line in answer.open],
        "due": None if answer.due is None else answer.due.isoformat(),
        "unused": answer.unused,
        "differs": answer.differs,
        "raised": answer.raised,
    }
    return frame(head, parts)


def answer_in(body: bytes) -> Answer:
    head, parts = unframe(body)
    if "health" in head:
        return Health(head["health"])
    if "need" in head:
        return NeedSnapshot() if head["need"] == "snapshot" else NeedRows(head["renew"])
    if "failed" in head:
        return Failed(head["failed"])
    fold, *rest = parts
    seqs = head["increments"]
    increments = list(zip(seqs, rest, strict=False))
    texts = [part.decode().split("\n") for part in rest[len(seqs) :]]
    count = len(head["determined"])
    return Done(
        datetime.fromisoformat(head["as_of"]),
        fold,
        increments,
        [
            Determined(review, plugin, Verdict(met, wave, tuple(hold)), Outcome(outcome), said)
            for (review, plugin, (met, wave, hold), outcome), said in zip(
                head["determined"], texts[:count], strict=True
            )
        ],
        [
            Changed(review, ReviewState(state), said)
            for (review, state), said in zip(head["changed"], texts[count:], strict=True)
        ],
        [
            Stands(review, closing and standing.closing_decoded(closing), reopened)
            for review, closing, reopened in head["stands"]
        ],
        tuple(worklist.decoded(line) for line in head["open"]),
        None if head["due"] is None else datetime.fromisoformat(head["due"]),
        head["unused"],
        tuple(head["differs"]),
        tuple(head["raised"]),
    )
