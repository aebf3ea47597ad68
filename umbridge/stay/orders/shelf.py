"""The statements of one order number: a statement that is the next about its one order is taken by itself."""

from __future__ import annotations

from collections.abc import Iterator

from umbridge.stay.orders.effect import Effect
from umbridge.stay.orders.force import OrderLine
from umbridge.stay.orders.one_order import Entries
from umbridge.stay.orders.order_statement import DISCHARGE, NO_TREATMENT, STATUS, OrderStatement
from umbridge.stay.orders.treatment_spans import Turn
from umbridge.stay.record import Record

#: What says something of its order; anything else is the reason why it does not.
READ = frozenset(Effect)
#: Where a statement has its numbers.
NUMBERS = slice(OrderStatement._fields.index("placer"), OrderStatement._fields.index("apart") + 1)


class Shelf:
    """The statements of one number in any namespace, and what was made of them."""

    __slots__ = ("entries", "groups", "line", "more", "odd", "records", "runs", "said")

    def __init__(self) -> None:
        self.said: list[OrderStatement] = []
        self.line: OrderLine | None = None  # where it is one order and nothing else: it only has to go on
        self.more: list[OrderStatement] = []  # with these
        self.entries: Entries | None = None  # of that one order
        self.groups: dict[str, list[OrderStatement]] | None = None
        self.records: list[Record] = []
        self.runs: list[tuple[str, Turn, Turn | None]] = []
        self.odd: list[
            tuple[OrderStatement, str, str]
        ] = []  # what is not used, why, and the exception that it is

    def raised(self) -> Iterator[tuple[str, str]]:
        return ((code, said.patient) for said, _, code in self.odd if code)

    def goes_on(self, said: OrderStatement) -> bool:
        """Take a statement where it is the next about the one order here, by no other numbers than it has."""
        if self.line is None or not self.groups:
            return False
        last = self.more[-1] if self.more else next(iter(self.groups.values()))[-1]
        is_same = said[NUMBERS] == last[NUMBERS] and said.patient == last.patient
        if not (is_same and said.what in ("", self.line.what) and said.does in READ):
            return False
        if said.code and said.is_bare and self.line.what in NO_TREATMENT:
            return False  # it may be another application's
        if said.entered is None:
            read: OrderStatement | None = said
        else:
            if self.entries is None:
                self.entries = Entries(self.said)
            read = self.entries.read(said)
        if read is None or read < last:
            return False
        self.more.append(read)
        return True

    def go_on(self, name: str, its: list[OrderStatement], line: OrderLine) -> None:
        """Take the statements that came since one by one, and read only what they can have changed."""
        since = max(0, len(line.runs) - 1)
        is_status = line.what in (STATUS, DISCHARGE)
        old = len(list(line.records(name + line.what, since) if is_status else line.turns(name, since)))
        for said in self.more:
            line.step(said)
            its.append(said)
        if is_status:
            self.records = self.records[: len(self.records) - old] + list(
                line.records(name + line.what, since)
            )
        else:
            kept = self.runs[: len(self.runs) - old]
            self.runs = kept + [(line.what, *run) for run in line.turns(name, since)]
