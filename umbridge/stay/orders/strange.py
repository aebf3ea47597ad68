"""What would end an order of its code under a number that no order has: whether it may mean one that stands.

A number names one order (HL7 v2 4.5.1.2, 4.5.1.3), and a cancel under another is another's. Nobody knows
whether that was ever placed, and a stay has seldom two of a kind: a person has to look.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping

from umbridge.stay.orders.effect import Effect
from umbridge.stay.orders.force import SAYS_WHAT, OrderLine
from umbridge.stay.orders.order_statement import NO_TREATMENT, UNREAD, OrderStatement
from umbridge.stay.orders.treatment_spans import InForce
from umbridge.stay.reasons import OrderReason
from umbridge.stay.record import Record

UNKNOWN = "ORDER_NOT_FOUND"
_GOES_ON = SAYS_WHAT | {Effect.RELEASES}
#: The status that a patient has by registration alone, and since when.
Registered = tuple[str, int] | None


def nameless(said: OrderStatement) -> OrderReason:
    """Of what says nothing but a number that no order has.

    Where it says that there is such an order, or that it goes on (a parent whose children follow, numbers, a
    status), nothing has ended that somebody would miss.
    """
    return OrderReason.UNNAMED if said.does in _GOES_ON else OrderReason.NOT_FOUND


def of_another(said: OrderStatement) -> tuple[OrderStatement, str, str]:
    """By the number of another patient's order: its own patient has none of that number."""
    if said.code:
        return said, OrderReason.UNMAPPED.value, ""
    why = nameless(said)
    return said, why.value, UNKNOWN if why is OrderReason.NOT_FOUND else ""


class Strange:
    """Such statements by the shelf that they lie on, and the status and discharge orders beside them."""

    def __init__(self) -> None:
        self._said: dict[str, list[OrderStatement]] = {}
        #: What it would end, a status, whose -> when each was sent and told, in order.
        self._kinds: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
        self._records: dict[str, list[Record]] = {}

    def take(
        self, place: str, lines: Iterable[tuple[OrderLine, list[OrderStatement]]]
    ) -> list[tuple[OrderStatement, str, str]]:
        """What the orders of a shelf have of them, anew, each with its reason."""
        found, strange = set[OrderStatement](), dict[OrderStatement, None]()
        for line, its in lines:
            is_known = line.what == UNREAD or not line.is_unknown or any(said.is_new for said in its)
            told = dict.fromkeys(said for said in its if said.what == line.what)
            (found.update if is_known else strange.update)(told)
        unknown = [said for said in strange if said not in found]
        self._put(place, unknown)
        return [(said, OrderReason.NOT_FOUND.value, "") for said in unknown]

    def _put(self, place: str, said: list[OrderStatement]) -> None:
        for each in self._said.pop(place, ()):
            held = self._kinds[each.what, each.status, each.patient]
            del held[bisect_left(held, (each.sent, each.told))]
        for each in said:
            insort(self._kinds.setdefault((each.what, each.status, each.patient), []), (each.sent, each.told))
        if said:
            self._said[place] = said

    def stand(self, place: str, records: list[Record]) -> None:
        """The beginnings and ends of the status and discharge orders of a shelf, anew."""
        if records:
            self._records[place] = records
        else:
            self._records.pop(place, None)

    def may_matter(
        self,
        facts: Mapping[str, InForce],
        is_own: Callable[[str], bool],
        at: int,
        registered: Registered,
        left: int | None,
    ) -> bool:
        """Whether one of them may mean an order that was told of before it and stands at an instant, or one
        that nobody told of, behind the status that the patient has by registration alone.

        What is told after the discharge closes the orders of who has left, and changes nothing.
        """
        for (what, its, patient), held in self._kinds.items():
            told = [each for each in held if left is None or each[1] <= left]
            if not told or not is_own(patient):
                continue
            if what not in NO_TREATMENT:
                turns = facts.get(what)
                if turns and turns.was_told(at, told[-1][0], is_own):
                    return True
                continue
            last = max(when for _, when in told)
            is_registered = registered is not None and registered[0] == its and registered[1] <= last
            if is_registered or self._stands(its, last, is_own):
                return True
        return False

    def __bool__(self) -> bool:
        return bool(self._said)

    def ends(
        self,
        then: Callable[[str], InForce | None],
        now: Callable[[str], InForce | None],
        is_own: Callable[[str], bool],
        at: int,
        left: int | None,
    ) -> Iterator[tuple[str, int, int]]:
        """Treatments given at an instant whose order one of them may have ended: which, and when that was
        sent and told. ``then``: the orders by what counts in a look; ``now``: by all that was told, for who
        ended the order under its own number has said how it was.
        """
        for (what, _, patient), held in self._kinds.items():
            if what in NO_TREATMENT or not is_own(patient):
                continue
            turns, since = then(what), now(what)
            if turns is None or since is None:
                continue
            for sent, told in held:
                if left is not None and told > left:
                    continue
                if turns.was_told(at, sent, is_own) and since.goes_on(at, sent, is_own):
                    yield what, sent, told

    def _stands(self, status: str, last: int, is_own: Callable[[str], bool]) -> bool:
        told: dict[str, int] = {}
        for record in (each for its in self._records.values() for each in its if is_own(each.patient)):
            data = record.data
            if (data["status"] or "") != status:
                continue
            if data["on"]:
                told.setdefault(data["placer"], record.told)
            else:
                told.pop(data["placer"], None)
        return any(each <= last for each in told.values())
