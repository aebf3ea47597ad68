"""One event of a stay, the statements about it, and the place that each of them gets.

A statement is one record; an event is what it speaks of, and others with it.
"""

from __future__ import annotations

from typing import NamedTuple

from umbridge.stay.record import Key, Record

#: What a statement is in the fold: itself; gone, as a cancel took its event back; such a cancel, or one that
#: leaves nothing that opened the stay.
STANDS, GONE, BACK, SHELL = "", "gone", "back", "shell"


class Left(NamedTuple):
    """A discharge as its latest believable statement has it. ``claim`` is the earliest received one's."""

    at: int
    origin: tuple[int, int]
    is_contradicted: bool


class Placed(NamedTuple):
    """One statement in its place. ``record`` has the time at which its event took effect.

    ``late``: told after the patient had left. ``since``: when care began, by an opening's latest statement.
    ``by``: the cancel that took it back. ``never_came``: it was said of a stay whose opening was taken back.
    ``is_under``: it was told after an opening that stands, whenever it took effect.
    """

    key: Key
    record: Record
    role: str = STANDS
    late: bool = False
    since: int | None = None
    left: Left | None = None
    by: Key | None = None
    never_came: bool = False
    is_contradicted: bool = False
    is_under: bool = False


class Time(NamedTuple):
    """A time as stated. ``bare``: a day without an hour. ``deleted``: the stated one was taken away."""

    at: int
    bare: bool
    told: int
    deleted: bool = False


class Happening:
    """One event, whichever statements speak of it."""

    __slots__ = (
        *("kind", "group", "statements", "names", "at", "since", "is_pinned", "is_bare", "times", "left"),
        *("place", "chain", "reopened", "before", "is_gone", "is_contradicted"),
    )

    def __init__(self, kind: str, group: str = "") -> None:
        self.kind = kind
        self.group = group  # trigger and class: admissions of one kind
        self.statements: list[Statement] = []
        self.names: list[int] = []  # every time under which it was told: what EVN-6 of a cancel may name
        self.at = 0
        self.since: int | None = None  # PV1-44
        self.is_pinned = False  # whether it took effect at a time of its own, beside PV1-44
        self.is_bare = False
        self.times: list[Time] = []  # of a discharge
        self.left: Left | None = None
        self.place = 0
        self.chain: list[Happening] = []  # the openings it stands among
        self.reopened: Happening | None = None  # the discharge that this admission ended
        self.before: list[Happening] = []
        self.is_gone = False
        self.is_contradicted = False

    @property
    def when(self) -> int:
        return self.at if self.since is None else self.since

    @property
    def told(self) -> int:
        return self.statements[0].record.told if self.statements else 0


class Statement:
    """A record in the order of telling."""

    __slots__ = (
        *("by", "episode", "floor", "happening", "is_again", "opening", "order", "placed", "record"),
        *("restated", "role"),
    )

    def __init__(self, record: Record, floor: int, episode: Happening | None) -> None:
        self.record = record
        self.floor = floor  # nothing told after a stay was emptied takes effect before that
        self.episode = episode  # the opening told last before it
        self.happening: Happening | None = None
        self.opening: Happening | None = None  # one known by this statement's PV1-44 only
        self.order: Happening | None = None  # the beginning of a status order that it tells of
        self.is_again = False  # it opens nothing: its event was told before, and it names no time
        self.restated: Happening | None = None  # the discharge of which its PV1-45 is a later statement
        self.role = STANDS
        self.by: Statement | None = None
        self.placed: Placed | None = None


def is_same_kind(one: str, other: str) -> bool:
    """Admissions by one trigger, of one class where both say it: an A01 for the emergency department and one
    for the ward are two, each with its time."""
    (trigger, _, its), (same, _, class_) = one.partition(" "), other.partition(" ")
    return trigger == same and (not its or not class_ or its == class_)


def first_told(found: Happening) -> tuple[int, int, int]:
    return found.statements[0].record.key[2:]
