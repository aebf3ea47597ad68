"""What passes between the daemon and a caseworker: one row to be worked, and what came of it.

A frame is a u32 length, a u32 length of a JSON head, the head, and the parts the head names by their sizes.
Both ends are ours and start from the same code, so nothing here is distrusted. The head is plain JSON all the
same: nothing that can run code may ever pass between processes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Task:
    """One row to be worked, with what the ledger has said about its lane so far."""

    seq: int
    lane: bytes
    feed: str
    frame: bytes
    after: int  # the lane's last worked row, 0 where there is none: a fold that stands elsewhere is not used
    as_of: datetime  # the newest message's time so far
    states: Mapping[str, str]  # review id -> state on the ledger
    latest: Mapping[str, Mapping[str, Mapping[str, Any]]]  # review id -> plugin -> its answer: met, wave
    pseudonyms: Mapping[str, str]  # plugin -> what it knows the patient by
    snapshot: Snapshot | None = None
    rows: tuple[SealedOut, ...] | None = None  # the whole lane, this row included: fold it anew
    renew: bool = False  # every increment is to be written again, not only this row's
    alone: bool = False  # not together with others: a process died with it, and it may be to blame
    parts: tuple[int, ...] = (0,)  # of the message, that the lane takes in; 0 is the whole, none: asked again
    silent: bool = False  # a deadline passed and nothing was said: only what opened by it is asked


@dataclass(frozen=True, slots=True)
class Need:
    """The caseworker cannot go on without more: the lane's ``snapshot``, or all its ``rows``."""

    what: str
    renew: bool = False


@dataclass(frozen=True, slots=True)
class Determined:
    """One plugin's screen, spelt for the ledger but for what only the pen knows."""

    review: str
    plugin: str
    met: bool | None
    wave: int
    texts: list[str]


@dataclass(frozen=True, slots=True)
class Changed:
    """A review that opened, closed or was voided."""

    review: str
    state: str
    texts: list[str]


@dataclass(frozen=True, slots=True)
class Done:
    """What a row came to. ``head`` and ``increments`` are the fold's, stored with the determinations."""

    as_of: datetime
    head: bytes
    increments: list[tuple[int, bytes]]
    determined: list[Determined] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    due: datetime | None = None  # when the next review opens though nothing is said


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


# -- a row on its way to a caseworker ---------------------------------------------------------------------


def task_out(task: Task) -> bytes:
    """A task as a frame."""
    parts = [task.lane, task.frame]
    head: dict[str, Any] = {
        "seq": task.seq,
        "feed": task.feed,
        "after": task.after,
        "as_of": task.as_of.isoformat(),
        "states": task.states,
        "latest": task.latest,
        "names": task.pseudonyms,
        "alone": task.alone,
        "parts": task.parts,
        "silent": task.silent,
    }
    if task.snapshot is not None:
        head["snapshot"] = len(task.snapshot.increments)
        parts += [task.snapshot.head, *task.snapshot.increments]
    if task.rows is not None:
        head["rows"] = [(row.seq, row.feed, row.part) for row in task.rows]
        head["renew"] = task.renew
        parts += [row.frame for row in task.rows]
    return frame(head, parts)


def task_in(body: bytes) -> Task:
    head, parts = unframe(body)
    lane, raw, *rest = parts
    snapshot = None
    if "snapshot" in head:
        count = head["snapshot"]
        snapshot = Snapshot(rest[0], tuple(rest[1 : 1 + count]))
        rest = rest[1 + count :]
    rows = None
    if "rows" in head:
        named = zip(head["rows"], rest, strict=True)
        rows = tuple(SealedOut(seq, feed, raw, part) for (seq, feed, part), raw in named)
    return Task(
        head["seq"],
        lane,
        head["feed"],
        raw,
        head["after"],
        datetime.fromisoformat(head["as_of"]),
        head["states"],
        head["latest"],
        head["names"],
        snapshot,
        rows,
        head.get("renew", False),
        head["alone"],
        tuple(head["parts"]),
        head["silent"],
    )


# -- what came of it, on its way back ---------------------------------------------------------------------

Answer = Done | Need | Failed | Health


def answer_out(answer: Answer) -> bytes:
    """An answer as a frame. The texts of a slot list are canonical JSON, which holds no bare line feed."""
    if isinstance(answer, Need):
        return frame({"need": answer.what, "renew": answer.renew})
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
        "determined": [(each.review, each.plugin, each.met, each.wave) for each in answer.determined],
        "changed": [(each.review, each.state) for each in answer.changed],
        "due": None if answer.due is None else answer.due.isoformat(),
    }
    return frame(head, parts)


def answer_in(body: bytes) -> Answer:
    head, parts = unframe(body)
    if "health" in head:
        return Health(head["health"])
    if "need" in head:
        return Need(head["need"], head["renew"])
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
            Determined(review, plugin, met, wave, said)
            for (review, plugin, met, wave), said in zip(head["determined"], texts[:count], strict=True)
        ],
        [
            Changed(review, state, said)
            for (review, state), said in zip(head["changed"], texts[count:], strict=True)
        ],
        None if head["due"] is None else datetime.fromisoformat(head["due"]),
    )
