"""What is in force when: one order's statements, in the order they were told, as spans of effective time.

Two times are kept apart. Which statement counts follows when it was told; from when it counts is its
effective time. An order that is to begin this evening and is cancelled at noon never begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from umbridge.stay.orders.effect import Effect
from umbridge.stay.orders.order_statement import DISCHARGE, STATUS, OrderStatement
from umbridge.stay.orders.treatment_spans import Turn
from umbridge.stay.record import ORDER, RANK, Record, RecordData

#: More than a message has parts: a statement about a parent has a part of its own for each of its children.
BESIDE = 1 << 20
#: What tells of an order rather than of its end.
SAYS_WHAT = frozenset({Effect.BEGINS, Effect.STANDS})
_IN_FORCE = frozenset({Effect.BEGINS, Effect.STANDS, Effect.RELEASES})
_AGAIN = BESIDE >> 2  # a statement that moves a beginning has a part of its own: no two records have one key


class Length(NamedTuple):
    """For how long an order runs by itself, as last told."""

    stop: int | None = None
    lasting: int | None = None  # from its beginning on
    gaps: str = ""
    is_unsure: bool = False

    def end(self, start: int) -> int | None:
        """The earlier of the two (HL7 v2 4.5.4.8), and not before the beginning."""
        if self.lasting is None:
            return self.stop if self.stop is None else max(self.stop, start)
        ends = start + self.lasting
        return ends if self.stop is None else max(min(self.stop, ends), start)

    def pauses(self) -> Iterator[tuple[int, int]]:
        """From when until when it does not run, in order."""
        for each in self.gaps.split(",") if self.gaps else ():
            since, _, until = each.partition("-")
            yield int(since), int(until)


_ENDLESS = Length()


class Run:
    """One stretch in force."""

    __slots__ = ("begun", "changes", "claims", "end", "ended", "is_lone", "length", "moves", "rates", "start")

    def __init__(self, begun: OrderStatement, start: int, length: Length = _ENDLESS) -> None:
        self.begun, self.start, self.length = begun, start, length
        #: From when, how fast, and where it was said.
        self.rates: list[tuple[int, str, str]] = []
        #: Of the beginning and of each change: that of the first received that says it is in force as such.
        self.claims = [begun.origin]
        self.end: int | None = None
        self.ended: OrderStatement | None = None
        self.is_lone = False  # the end of an order that nobody had told of
        self.changes: list[OrderStatement] = []
        #: Of a status order: what said afterwards when it takes effect. Whether it still may, the stay knows.
        self.moves: list[OrderStatement] = []

    @property
    def begins(self) -> int:
        """By the latest statement about that."""
        return self.moves[-1].at if self.moves else self.start


class OrderLine:
    """One order of one kind. ``step`` takes its statements in the order told."""

    __slots__ = ("_length", "_rate", "_shown", "_start", "_state", "_undo", "runs", "what")

    def __init__(self, what: str, shown: OrderStatement) -> None:
        self.what = what
        self.runs: list[Run] = []
        self._shown = shown  # the last that said what the order is; at first, the first that will
        self._length = _ENDLESS
        self._start: int | None = None  # when it is to begin, as last told
        self._rate = ("", "")  # how fast as last told, and where
        self._state = ""  # "" while nobody has told of it, "on", "held" or "off"
        self._undo: str | None = None  # the state before a request that can still be taken back

    @property
    def is_unknown(self) -> bool:
        """Whether nobody ever told of this order, but only that it had ended or could not be ended."""
        return all(run.is_lone for run in self.runs)

    def step(self, said: OrderStatement, *, does: str = "") -> None:
        """``does``: what it does to this order, where that is not what it does to its own."""
        effect = does or said.does
        is_timed = self._state == "on" and (said.is_dated or self._puts_off(said))
        if is_timed and effect in SAYS_WHAT and self._is_same(said):
            self._move(said)
        if effect in _IN_FORCE:
            self._time(said)
            if said.what == self.what:
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
            run.claims[-1] = min(run.claims[-1], said.origin)

    def _is_same(self, said: OrderStatement) -> bool:
        """Whether it says of the order nothing else than was known: not another status or level from then."""
        return not said.what or (said.status, said.level) == (self._shown.status, self._shown.level)

    def _puts_off(self, said: OrderStatement) -> bool:
        """Whether it says when the order is to begin, which lies ahead of it or did until now. A start that
        has passed says of what has begun only that it was not to begin before."""
        return said.start is not None and (said.start > said.told or said.told < self.runs[-1].begins)

    def _move(self, said: OrderStatement) -> None:
        """The order takes effect at another time than was said. Of a treatment only before it began: what
        runs is changed from then on, and was given until then."""
        run = self.runs[-1]
        if self.what in (STATUS, DISCHARGE):
            if said.sent >= (run.moves[-1] if run.moves else run.begun).sent:
                run.moves.append(said)
        elif said.told < run.start:
            run.start = said.at

    def _time(self, said: OrderStatement) -> None:
        """When it is to begin and for how long it runs, as last told, by whatever code."""
        if said.start is not None:
            self._start = said.start
        if said.is_timed:
            self._length = Length(said.stop, said.lasting, said.gaps, said.is_unsure)
            if self._state == "on":
                self.runs[-1].length = self._length

    def _say(self, said: OrderStatement) -> None:
        """What the order is, as last told."""
        if said.rate:
            self._rate = (said.rate, said.source)
            if self._state == "on":  # what ran until then was given as told before
                self.runs[-1].rates.append((max(said.changed, self.runs[-1].start), *self._rate))
        if self._state == "on" and (said.status, said.level) != (self._shown.status, self._shown.level):
            self.runs[-1].changes.append(said)
            self.runs[-1].claims.append(said.origin)
        self._shown = said

    def _seen(self, said: OrderStatement) -> OrderStatement:
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

    def _open(self, said: OrderStatement, start: int) -> None:
        if self._state != "on":
            if said.what and said.does == Effect.BEGINS and not said.is_timed:
                self._length = _ENDLESS  # it begins again, and nobody said that it will stop
            start = self._not_before(said, start)
            if said.what and said.does == Effect.BEGINS and not said.rate:
                self._rate = ("", "")
            last = self.runs[-1] if self.runs else None
            if last is not None and last.end is not None and start < last.end:
                if start <= last.begins:  # told last: it was so from then on, and went on
                    del self.runs[-1]
                else:
                    last.end = start
            self.runs.append(Run(self._seen(said), start, self._length))
            if self._rate[0]:
                self.runs[-1].rates.append((0, *self._rate))  # however its beginning moves
            self._state = "on"
        self._undo = None

    def _not_before(self, said: OrderStatement, start: int) -> int:
        """A release does not begin what is still to begin; what is ordered anew says anew when it is to."""
        if said.is_new:
            self._start = said.start
        return start if self._start is None else max(start, self._start)

    def _close(self, said: OrderStatement, state: str, *, is_request: bool = False) -> None:
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
        """Of a treatment: where each run began and where it ended, by a statement or by its own length."""
        for run in self.runs[since:]:
            begun, patient = run.begun, run.begun.patient
            end, ended, stop = run.end, run.ended, run.length.end(run.start)
            if stop is not None and (end is None or stop < end):
                end, ended = stop, begun
            start = _turn(begun, run.start, is_on=True, key=key, patient=patient)
            if run.rates or run.length.is_unsure:
                start = start._replace(rates=tuple(run.rates), is_unsure=run.length.is_unsure)
            for since_when, until in run.length.pauses():
                if until <= start.at or (end is not None and since_when >= end):
                    continue
                off = max(since_when, start.at)
                yield start, _turn(begun, off, is_on=False, key=key, patient=patient)
                start = start._replace(at=until)
            if end is None or ended is None:
                yield start, None
            elif start.at <= end:
                yield start, _turn(ended, end, is_on=False, key=key, patient=patient)

    def records(self, key: str, since: int = 0) -> Iterator[Record]:
        """Of a status order or a discharge order: what the course of the stay goes through.

        It has no stop time: nobody stops being an inpatient because an order's timing has run out.
        """
        for run in self.runs[since:]:
            last = (
                None if run.end is None or run.ended is None else _record(run.ended, run.end, run.begun, key)
            )
            first = _record(run.begun, run.start, run.begun, key, is_on=True, origin=run.claims[0])
            begins = first.moved(run.begins)
            if run.is_lone or last is None or begins.key < last.key:
                if not run.is_lone:
                    yield first
                for move in run.moves:
                    own = (move.seq, move.part + _AGAIN)
                    moved = _record(move, move.at, run.begun, key, is_on=True, origin=own)
                    moved.data["moves"] = True
                    yield moved
                for change, origin in zip(run.changes, run.claims[1:], strict=True):
                    again = _record(
                        change, max(change.changed, run.begins), change, key, is_on=True, origin=origin
                    )
                    if begins.key < again.key and (last is None or again.key < last.key):
                        yield again
                if last is not None:
                    yield last


def line_of(what: str, its: list[OrderStatement], above: list[OrderStatement]) -> OrderLine:
    """One order of one kind, from its statements in the order told and what was said of its parents."""
    told = {said.seq for said in its if said.what == what}
    line = OrderLine(what, next(said for said in its if said.what == what))
    for said in sorted([*its, *above], key=lambda each: each.when) if above else its:
        if not said.what or said.what == what:
            line.step(said)
        elif said.is_change and said.seq not in told and said.does in SAYS_WHAT:
            line.step(said, does=Effect.ENDS)
    return line


def _turn(said: OrderStatement, at: int, *, is_on: bool, key: str, patient: str) -> Turn:
    return Turn(at, said.sent, said.seq, said.part, is_on, key, said.source, patient)


def _record(
    said: OrderStatement,
    at: int,
    shown: OrderStatement,
    key: str,
    *,
    is_on: bool = False,
    origin: tuple[int, int] | None = None,
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
    seq, part = origin or said.origin
    return Record((at, RANK[ORDER], said.told, seq, part), ORDER, shown.patient, data)


def beside(record: Record, records: list[Record]) -> Record:
    """One statement may speak of both a status and a discharge order: no two records have one key."""
    if all(each.key != record.key or each == record for each in records):
        return record
    return record._replace(key=(*record.key[:4], record.key[4] + BESIDE // 2))
