"""What is in force when: one order's statements, in the order they were told, as spans of effective time.

Two times are kept apart. Which statement counts follows when it was told; from when it counts is its
effective time. An order that is to begin this evening and is cancelled at noon never begins.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, NamedTuple

from umbridge.stay.effect import Effect
from umbridge.stay.record import ORDER, RANK, Record, RecordData
from umbridge.stay.said import DISCHARGE, STATUS, Said

#: More than a message has parts: a statement about a parent has a part of its own for each of its children.
BESIDE = 1 << 20
_FEW = 64  # runs that are looked at one by one
_ENDINGS = frozenset({Effect.HOLDS, Effect.ASKS, Effect.ASKS_HOLD, Effect.ENDS})
#: What a statement about a parent does to its children too (HL7 v2 4.5.1, use note c).
INHERITED = _ENDINGS | {Effect.TAKES_BACK, Effect.RELEASES}
#: What tells of an order rather than of its end.
SAYS_WHAT = frozenset({Effect.BEGINS, Effect.STANDS})
_IN_FORCE = frozenset({Effect.BEGINS, Effect.STANDS, Effect.RELEASES})
_AGAIN = BESIDE >> 2  # a statement that moves a beginning has a part of its own: no two records have one key


class Turn(NamedTuple):
    """At ``at`` an order began or ended, by the statement of that receipt number and part."""

    at: int
    sent: int
    seq: int
    part: int
    is_on: bool
    key: str
    source: str
    patient: str
    rates: tuple[tuple[int, str, str], ...] = ()  # of a beginning: from when, how fast, source; as told

    def rate(self, at: int) -> tuple[int, str, str] | None:
        """How fast at an instant, since when and by what; None where nobody said. The last told counts."""
        since, rate, source = next((each for each in reversed(self.rates) if each[0] <= at), (0, "", ""))
        return (max(since, self.at), rate, source) if rate not in ("", "?") else None


class Run:
    """One stretch in force."""

    __slots__ = ("begun", "changes", "claims", "end", "ended", "is_lone", "moves", "rates", "start", "stop")

    def __init__(self, begun: Said, start: int, stop: int | None = None) -> None:
        self.begun, self.start, self.stop = begun, start, stop
        #: From when, how fast, and where it was said.
        self.rates: list[tuple[int, str, str]] = []
        #: Of the beginning and of each change: that of the first received that says it is in force as such.
        self.claims = [begun.claim]
        self.end: int | None = None
        self.ended: Said | None = None
        self.is_lone = False  # the end of an order that nobody had told of
        self.changes: list[Said] = []
        #: Of a status order: what said afterwards when it takes effect. Whether it still may, the stay knows.
        self.moves: list[Said] = []

    @property
    def begins(self) -> int:
        """By the latest statement about that."""
        return self.moves[-1].at if self.moves else self.start


class OrderLine:
    """One order of one kind. ``step`` takes its statements in the order told."""

    __slots__ = ("_rate", "_shown", "_state", "_stop", "_undo", "runs", "what")

    def __init__(self, what: str, shown: Said) -> None:
        self.what = what
        self.runs: list[Run] = []
        self._shown = shown  # the last that said what the order is; at first, the first that will
        self._stop: int | None = None
        self._rate = ("", "")  # how fast as last told, and where
        self._state = ""  # "" while nobody has told of it, "on", "held" or "off"
        self._undo: str | None = None  # the state before a request that can still be taken back

    @property
    def is_unknown(self) -> bool:
        """Whether nobody ever told of this order, but only that it had ended or could not be ended."""
        return all(run.is_lone for run in self.runs)

    def step(self, said: Said, *, does: str = "") -> None:
        """``does``: what it does to this order, where that is not what it does to its own."""
        effect = does or said.does
        if said.is_dated and effect in SAYS_WHAT and self._state == "on" and self._is_same(said):
            self._move(said)
        if said.what == self.what and effect in _IN_FORCE:
            self._say(said)
        match effect:
            case Effect.BEGINS:
                self._open(said, said.at)
            case Effect.STANDS:
                if not self._state:
                    self._open(said, said.at)
            case Effect.RELEASES:
                if self._state in ("", "held"):
                    self._open(said, said.changed)
            case Effect.HOLDS | Effect.ASKS_HOLD:
                if self._state != "off" and (effect == Effect.HOLDS or self._state != "held"):
                    self._close(said, "held", is_request=effect == Effect.ASKS_HOLD)
            case Effect.ASKS:
                if self._state != "off":
                    self._close(said, "off", is_request=True)
            case Effect.ENDS:
                self._close(said, "off")
            case Effect.TAKES_BACK:
                self._take_back()
            case Effect.FULFILS if self.what in (STATUS, DISCHARGE):
                self._take_back()  # it was carried out: what was asked for meanwhile came too late
                if not self._state:
                    self._open(said, said.at)
            case Effect.FULFILS | Effect.REFUSES if self.what not in (STATUS, DISCHARGE):
                self._close(said, "off")
        if effect in _IN_FORCE and self._state == "on":
            run = self.runs[-1]
            run.claims[-1] = min(run.claims[-1], said.claim)

    def _is_same(self, said: Said) -> bool:
        """Whether it says of the order nothing else than was known: not another status or level from then."""
        return not said.what or (said.status, said.level) == (self._shown.status, self._shown.level)

    def _move(self, said: Said) -> None:
        """The order takes effect at another time than was said. Of a treatment only before it began: what
        runs is changed from then on, and was given until then."""
        run = self.runs[-1]
        if self.what in (STATUS, DISCHARGE):
            if said.sent >= (run.moves[-1] if run.moves else run.begun).sent:
                run.moves.append(said)
        elif said.told < run.start:
            run.start = said.at

    def _say(self, said: Said) -> None:
        """What the order is, and for how long, as last told."""
        if said.is_timed:
            self._stop = said.stop
        if said.rate:
            self._rate = (said.rate, said.source)
            if self._state == "on":  # what ran until then was given as told before
                self.runs[-1].rates.append((max(said.changed, self.runs[-1].start), *self._rate))
        if self._state == "on":
            self.runs[-1].stop = self._stop
            if (said.status, said.level) != (self._shown.status, self._shown.level):
                self.runs[-1].changes.append(said)
                self.runs[-1].claims.append(said.claim)
        self._shown = said

    def _seen(self, said: Said) -> Said:
        """A statement by number alone, with what the order is."""
        known = self._shown
        if said.what:
            return said
        return said._replace(
            what=known.what,
            status=known.status,
            level=known.level,
            visit=known.visit,
            account=known.account,
            facility=known.facility,
            by=said.by or known.by,
        )

    def _open(self, said: Said, start: int) -> None:
        if self._state != "on":
            if said.what and said.does == Effect.BEGINS and not said.is_timed:
                self._stop = None  # it begins again, and nobody said that it will stop
            if said.what and said.does == Effect.BEGINS and not said.rate:
                self._rate = ("", "")
            last = self.runs[-1] if self.runs else None
            if last is not None and last.end is not None and start < last.end:
                if start <= last.begins:  # told last: it was so from then on, and went on
                    del self.runs[-1]
                else:
                    last.end = start
            self.runs.append(Run(self._seen(said), start, self._stop))
            if self._rate[0]:
                self.runs[-1].rates.append((0, *self._rate))  # however its beginning moves
            self._state = "on"
        self._undo = None

    def _close(self, said: Said, state: str, *, is_request: bool = False) -> None:
        if self._state == "on":
            run = self.runs[-1]
            run.end, run.ended = max(said.changed, run.begins), said
        elif not self._state:
            lone = Run(self._seen(said), said.changed)
            lone.end, lone.ended, lone.is_lone = said.changed, said, True
            self.runs.append(lone)
        self._undo = self._state if is_request else None
        self._state = state

    def _take_back(self) -> None:
        if self._undo is None:
            return
        self._state, self._undo = self._undo, None
        if self._state == "on":
            self.runs[-1].end = self.runs[-1].ended = None
        elif not self._state:
            del self.runs[-1]

    # -- what comes of it --------------------------------------------------------------------------------

    def turns(self, key: str, since: int = 0) -> Iterator[tuple[Turn, Turn | None]]:
        """Of a treatment: where each run began and where it ended, by a statement or by its stop time."""
        for run in self.runs[since:]:
            end, ended = run.end, run.ended
            if run.stop is not None and (end is None or run.stop < end):
                end, ended = max(run.stop, run.start), run.begun
            start = _turn(run.begun, run.start, is_on=True, key=key, patient=run.begun.patient)
            if run.rates:
                start = start._replace(rates=tuple(run.rates))
            if end is None or ended is None:
                yield start, None
            else:
                yield start, _turn(ended, end, is_on=False, key=key, patient=run.begun.patient)

    def records(self, key: str, since: int = 0) -> Iterator[Record]:
        """Of a status order or a discharge order: what the course of the stay goes through.

        It has no stop time: nobody stops being an inpatient because an order's timing has run out.
        """
        for run in self.runs[since:]:
            last = (
                None if run.end is None or run.ended is None else _record(run.ended, run.end, run.begun, key)
            )
            first = _record(run.begun, run.start, run.begun, key, is_on=True, claim=run.claims[0])
            begins = first.moved(run.begins)
            if run.is_lone or last is None or begins.key < last.key:
                if not run.is_lone:
                    yield first
                for move in run.moves:
                    own = (move.seq, move.part + _AGAIN)
                    moved = _record(move, move.at, run.begun, key, is_on=True, claim=own)
                    moved.data["moves"] = True
                    yield moved
                for change, claim in zip(run.changes, run.claims[1:], strict=True):
                    again = _record(
                        change, max(change.changed, run.begins), change, key, is_on=True, claim=claim
                    )
                    if begins.key < again.key and (last is None or again.key < last.key):
                        yield again
                if last is not None:
                    yield last


def line_of(what: str, its: list[Said], above: list[Said]) -> OrderLine:
    """One order of one kind, from its statements in the order told and what was said of its parents."""
    told = {said.seq for said in its if said.what == what}
    line = OrderLine(what, next(said for said in its if said.what == what))
    for said in sorted([*its, *above], key=lambda each: each.when) if above else its:
        if not said.what or said.what == what:
            line.step(said)
        elif said.is_change and said.seq not in told and said.does in SAYS_WHAT:
            line.step(said, does=Effect.ENDS)
    return line


def _turn(said: Said, at: int, *, is_on: bool, key: str, patient: str) -> Turn:
    return Turn(at, said.sent, said.seq, said.part, is_on, key, said.source, patient)


def _record(
    said: Said, at: int, shown: Said, key: str, *, is_on: bool = False, claim: tuple[int, int] | None = None
) -> Record:
    data: RecordData = {}
    if shown.facility:
        data["facility"] = shown.facility
    if shown.visit:
        data["visit"] = shown.visit
    if shown.account:
        data["account"] = shown.account
    data["on"] = is_on
    data["placer"] = key
    data["status"] = shown.status or None
    data["level"] = shown.level
    data["source"] = shown.source
    if shown.by:
        data["by"] = json.loads(shown.by)
    seq, part = claim or said.claim
    return Record((at, RANK[ORDER], said.told, seq, part), ORDER, shown.patient, data)


def beside(record: Record, records: list[Record]) -> Record:
    """One statement may speak of both a status and a discharge order: no two records have one key."""
    if all(each.key != record.key or each == record for each in records):
        return record
    return record._replace(key=(*record.key[:4], record.key[4] + BESIDE // 2))


class InForce:
    """The orders of one treatment. Answers "is one in force" without going through all of them."""

    __slots__ = ("_by_end", "_by_start", "_open", "_turns")

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._open: list[Turn] = []  # runs without an end
        self._by_start: list[tuple[Turn, int]] = []  # runs with one, and when
        self._by_end: list[tuple[int, Turn]] = []

    def add(self, start: Turn, end: Turn | None) -> None:
        if end is None:
            insort(self._turns, start)
            insort(self._open, start)
            return
        if end.at > start.at:
            insort(self._turns, start)
            insort(self._by_start, (start, end.at))
            insort(self._by_end, (end.at, start))
        insort(self._turns, end)

    def remove(self, start: Turn, end: Turn | None) -> None:
        """Take back what ``add`` was given."""
        if end is None:
            _drop(self._turns, start)
            _drop(self._open, start)
            return
        if end.at > start.at:
            _drop(self._turns, start)
            _drop(self._by_start, (start, end.at))
            _drop(self._by_end, (end.at, start))
        _drop(self._turns, end)

    def in_force(self, at: int, is_own: Callable[[str], bool]) -> Turn | None:
        """The newest order in force at an instant, of patients that ``is_own`` accepts."""
        running = (self._open[n] for n in range(bisect_right(self._open, (at + 1,)) - 1, -1, -1))
        own = (
            next((turn for turn in each if is_own(turn.patient)), None)
            for each in (running, self._stopping(at))
        )
        return max((turn for turn in own if turn is not None), default=None)

    def _stopping(self, at: int) -> Iterable[Turn]:
        """The runs with an end that go on at an instant, newest first."""
        place = bisect_right(self._by_end, (at + 1,))
        if len(self._by_end) - place <= _FEW:
            return sorted((turn for _, turn in self._by_end[place:] if turn.at <= at), reverse=True)
        last = bisect_right(self._by_start, ((at + 1,),))  # so many go on that one of the newest does
        back = (self._by_start[n] for n in range(last - 1, -1, -1))
        return (turn for turn, end in back if end > at)

    def every(self, at: int, is_own: Callable[[str], bool]) -> list[Turn]:
        """All orders in force at an instant, oldest first."""
        running = self._open[: bisect_right(self._open, (at + 1,))]
        return sorted(turn for turn in (*running, *self._stopping(at)) if is_own(turn.patient))

    def was_told(self, at: int, sent: int, is_own: Callable[[str], bool]) -> bool:
        """Whether one in force at an instant had been told of at another."""
        running = islice(self._open, bisect_right(self._open, (at + 1,)))
        its = chain(running, self._stopping(at))
        return any(turn.sent <= sent and is_own(turn.patient) for turn in its)

    def goes_on(self, at: int, sent: int, is_own: Callable[[str], bool]) -> bool:
        """Whether one of those has not been ended since by a statement about itself; a stop time is none."""
        its = [turn for turn in self.every(at, is_own) if turn.sent <= sent]
        ended = {(t.key, t.patient) for t in self._turns if not t.is_on and t.at >= at and t.sent > sent}
        return any((turn.key, turn.patient) not in ended for turn in its)

    def ended(self, since: int, at: int, is_own: Callable[[str], bool]) -> tuple[int, Turn] | None:
        """The last of those that ended after ``since`` and by ``at``, and when. What never ran is none."""
        low, high = bisect_right(self._by_end, (since + 1,)), bisect_right(self._by_end, (at + 1,))
        return next((each for each in reversed(self._by_end[low:high]) if is_own(each[1].patient)), None)

    def begins(self, at: int, until: int, is_own: Callable[[str], bool]) -> Turn | None:
        """The first that is to begin after ``at`` and by ``until``, told of by ``at``."""
        low, high = bisect_right(self._turns, (at + 1,)), bisect_right(self._turns, (until + 1,))
        return next(
            (t for t in self._turns[low:high] if t.is_on and t.sent <= at and is_own(t.patient)), None
        )

    def newest(self, at: int, is_own: Callable[[str], bool]) -> Turn | None:
        """The newest turn up to an instant, on or off: what a treatment's OBX is older or newer than."""
        place = bisect_right(self._turns, (at + 1,))
        return next(
            (self._turns[n] for n in range(place - 1, -1, -1) if is_own(self._turns[n].patient)), None
        )

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns)

    def __bool__(self) -> bool:
        return bool(self._turns)


def _drop(held: list[Any], gone: object) -> None:
    del held[bisect_left(held, gone)]
