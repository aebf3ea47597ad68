"""The orders of one stay by their numbers: which order a statement speaks of, whichever of them comes first.

An order is found by its placer number, else by its filler number, each with its namespace; a statement that
has both ties the two (HL7 v2 4.5.1.2, 4.5.1.3). A number without a namespace means the one order that has it.
The filler number names an order of its own where the placer number is another's: a child that inherits its
parent's, and a replacement after RU (table 0119, comments on PA and RO).

Of orders that are neither a status nor a treatment, as most laboratory orders, only the numbers and the code
are kept, so that a statement by number alone is not taken for one about an order that nobody has told of.
A stay with more of them than are kept raises no ORDER_NOT_FOUND.

The statements of one number lie on one shelf and are read again together when one is added: taking one in
costs the same however many orders a stay has.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile

from umbridge.stay.orders.effect import INHERITED
from umbridge.stay.orders.entities import alike, same
from umbridge.stay.orders.force import BESIDE, OrderLine, beside, line_of
from umbridge.stay.orders.grouped import Grouped
from umbridge.stay.orders.numbers import Numbers, own_shelf, shelf_of
from umbridge.stay.orders.one_order import alike_until, are_one, by_patient, is_meant, retold
from umbridge.stay.orders.order_statement import (
    DISCHARGE,
    NO_TREATMENT,
    REPLACEMENT,
    STATUS,
    UNREAD,
    OrderStatement,
    Plain,
)
from umbridge.stay.orders.ordinary import Ordinary
from umbridge.stay.orders.shelf import NUMBERS, READ, Shelf
from umbridge.stay.orders.strange import UNKNOWN, Registered, Strange, nameless, of_another
from umbridge.stay.orders.ties import UNSURE, Ties
from umbridge.stay.orders.treatment_spans import InForce, Turn
from umbridge.stay.reasons import OrderReason
from umbridge.stay.record import Record

#: The exception of the stay for a statement that is not used and may matter.
_EXCEPTIONS = {OrderReason.NOT_FOUND: UNKNOWN, OrderReason.AMBIGUOUS: "ORDER_AMBIGUOUS"}
UNREAD_ORDER = "ORDER_UNREAD"
_REASONS = {each.value: each for each in OrderReason}


class Orders:
    """The register. ``add`` and ``add_plain`` take in, ``settle`` says what that changes in the stay."""

    def __init__(self) -> None:
        self._shelves: dict[str, Shelf] = {}
        self._changed: set[str] = set()
        self._ordinary = Ordinary()
        self.grouped = Grouped()
        self._ties = Ties(self._ordinary)
        self._pairs: set[tuple[str, str]] = set()  # learnt from orders that are neither
        #: Shelf of its own number -> what another number may name, and where it lies.
        self._loose: dict[str, dict[OrderStatement, str]] = {}
        self._children: dict[str, set[str]] = {}  # a parent's shelf -> its children's
        self.facts: dict[str, InForce] = {}  # the orders of each treatment of which any was told
        self._raised: Counter[tuple[str, str]] = Counter()  # exception and patient
        self.strange = Strange()
        self._past: dict[int, Orders] = {}  # by the instant until which it was told

    def as_told(self, told_by: int | None, stands: Callable[[str], str]) -> Orders:
        """The orders by what was told until an instant, made once until more of that comes in.

        Which orders there are that are neither a status nor a treatment is not cut: it only tells orders of
        one number apart.
        """
        if told_by is None:
            return self
        past = self._past.get(told_by)
        if past is None:
            past = self._past[told_by] = Orders()
            past._ordinary, past._ties = self._ordinary, Ties(self._ordinary)
            for pair in self._pairs:
                past._ties.tie(*pair)
            for shelf in self._shelves.values():
                for said in shelf.said:
                    if said.sent <= told_by:
                        past.add(said)
            past.settle(stands)
        return past

    # -- taking in ---------------------------------------------------------------------------------------

    def add(self, said: OrderStatement) -> None:
        """Take in one statement. The same again, under whatever receipt number, changes nothing."""
        for each in self.grouped.take(said) if said.group else (said,):
            self._take(each)

    def _take(self, said: OrderStatement) -> None:
        if self._past:
            self._past = {told_by: its for told_by, its in self._past.items() if told_by < said.sent}
        if said.placer or said.filler:
            if said.filler:
                if said.placer:
                    self._tie(said.filler, said.placer)
                self._mark(shelf_of("F", said.filler))
            if said.placer and said.is_told_of and self._ties.know(said.placer):
                self._place_again(shelf_of("P", said.placer))
            place = self._placed(said)
            is_new = self._put(place, said)
            if is_new and not (said.placer and self._ties.is_known(said.placer)):
                self._loose.setdefault(own_shelf(said), {})[said] = place
        else:
            place = self._placed(said)
            self._put(place, said)
        for kind, parent in (("P", said.parent), ("F", said.parent_filler)):
            if parent:
                self._children.setdefault(shelf_of(kind, parent), set()).add(place)

    def add_plain(self, plain: Plain) -> None:
        """Take in that there is an order that is neither a status nor a treatment."""
        if plain.group:
            self.grouped.know(plain.group)
        for kind, number in self._ordinary.take(plain):
            place = shelf_of(kind, number)
            if kind == "P" and plain.code:
                self._place_again(place)
            near = {shelf_of("P", each) for each in self._ties.all_tied(number)} if kind == "F" else ()
            for each in (place, *near):
                if each in self._shelves:
                    self._past.clear()
                    self._mark(each)
        if plain.placer and plain.filler:
            self._pairs.add((plain.filler, plain.placer))
            if self._tie(plain.filler, plain.placer):
                self._past.clear()

    def forget(self) -> None:
        """Numbers of patients stand for others than before: read everything again."""
        self._past.clear()
        for place in self._shelves:
            self._mark(place)

    def _put(self, place: str, said: OrderStatement) -> bool:
        """Whether it lies there now; it does not where the same does, received earlier."""
        held = self._shelves.setdefault(place, Shelf()).said
        at = bisect_left(held, said[:2])
        while at < len(held) and held[at][:2] == said[:2]:
            if held[at][3:] == said[3:]:
                if held[at].seq <= said.seq:
                    return False
                self._loose.get(own_shelf(said), {}).pop(held.pop(at), None)
                self._mark(place)  # what was made of it is made again
                break
            at += 1
        shelf = self._shelves[place]
        if shelf.goes_on(said):
            self._changed.add(place)
        else:
            self._mark(place)
        insort(held, said)
        return True

    def _mark(self, place: str) -> None:
        if place in self._shelves:
            self._changed.add(place)
            shelf = self._shelves[place]
            shelf.groups = shelf.line = shelf.entries = None

    def _tie(self, filler: str, placer: str) -> bool:
        """The two numbers are one order's: what came by one of them alone may speak of the other's."""
        if not self._ties.tie(filler, placer):
            return False
        self._place_again(shelf_of("P", placer))
        return True

    def _place_again(self, place: str) -> None:
        """More is known of the placer numbers of a shelf: what they and their fillers mean is asked again."""
        for at in self._ties.near(place):
            self._mark(at)
            for child in self._children.get(at, ()):
                self._mark(child)
            for said, before in list(self._loose.get(at, {}).items()):
                place = self._placed(said)
                self._mark(before)
                if before == place:
                    continue
                self._shelves[before].said.remove(said)
                insort(self._shelves.setdefault(place, Shelf()).said, said)
                self._loose[at][said] = place
                self._mark(place)
                for kind, parent in (("P", said.parent), ("F", said.parent_filler)):
                    if parent:
                        self._children[shelf_of(kind, parent)].add(place)

    def shelf(self, said: OrderStatement) -> Shelf | None:
        """Where its order is, if it has one here."""
        return self._shelves.get(self._placed(said))

    def _placed(self, said: OrderStatement) -> str:
        """Where a statement lies: with the order's placer number, or with the one that is tied to its own."""
        if not said.placer and not said.filler:
            return f"C{said.what}{said.status}{said.code}"  # no number at all: the order of that code
        if said.placer:
            home = None if said.apart else self._ties.home(said.placer, said.filler)
            return shelf_of("P", home or said.placer)
        shelves = {shelf_of("P", placer) for placer in self._ties.tied(said.filler)}
        return shelves.pop() if len(shelves) == 1 else shelf_of("F", said.filler)

    # -- which order -------------------------------------------------------------------------------------

    def _groups(self, place: str) -> dict[str, list[OrderStatement]]:
        """A shelf's statements by the name of the order they speak of; "" where it may be several."""
        shelf = self._shelves.get(place)
        if shelf is None:
            return {}
        if shelf.groups is None:
            shelf.groups = {}
            numbers = self._numbers(place)
            for said in shelf.said:
                name = self._name(place, numbers, said.placer, said.filler, said.what)
                shelf.groups.setdefault(name, []).append(said)
            shelf.groups = {name: retold(its) for name, its in shelf.groups.items()}
        return shelf.groups

    def _numbers(self, place: str) -> Numbers:
        shelf = self._shelves.get(place)
        return Numbers(place, [] if shelf is None else shelf.said, self._ordinary.spaced(place))

    def _name(self, place: str, numbers: Numbers, placer: str, filler: str, what: str = "") -> str:
        if place[0] == "C":
            return place
        for each in numbers.apart:
            if alike(each, filler):
                return f"F{each}"
        if placer:
            home = self._ties.home(placer, filler)
            if home == UNSURE and f"P{placer}" in self._ordinary:
                home = None  # an ordinary order, though nobody ordered it here
            return "" if home == UNSURE else numbers.name(home or placer, what)
        placers = self._ties.tied(filler)
        if place[0] == "P":
            names = {numbers.name(each, what) for each in placers}
            return names.pop() if len(names) == 1 else ""
        return "" if placers else numbers.name(filler, what)

    def _above(self, said: OrderStatement) -> Iterator[tuple[str, list[OrderStatement]]]:
        """The parents of an order, by the numbers that one of its statements gives."""
        places = []
        if said.parent:
            parent = self._ties.home(said.parent, "") or said.parent
            places.append((shelf_of("P", parent), parent, ""))
        if said.parent_filler:
            tied = {shelf_of("P", placer) for placer in self._ties.tied(said.parent_filler)}
            place = tied.pop() if len(tied) == 1 else shelf_of("F", said.parent_filler)
            places.append((place, "", said.parent_filler))
        for place, placer, filler in places:
            name = self._name(place, self._numbers(place), placer, filler)
            yield name, self._groups(place).get(name, []) if name else []

    def _inherited(self, its: Iterable[OrderStatement], below: frozenset[str]) -> set[OrderStatement]:
        """What was said of the parents of an order, as far as it goes for their children."""
        found: set[OrderStatement] = set()
        for said in its:
            for name, parents in self._above(said):
                if name not in below:
                    found |= {each for each in parents if each.does in INHERITED}
                    found |= self._inherited(parents, below | {name})
            if (
                said.apart == REPLACEMENT
            ):  # by the placer number alone the replaced order's successor is meant
                alike = self._groups(shelf_of("P", said.placer)).values()
                found |= {
                    each for group in alike for each in group if not each.filler and each.does in INHERITED
                }
        return found

    # -- what is in force --------------------------------------------------------------------------------

    def settle(self, stands: Callable[[str], str]) -> tuple[list[Record], list[Record]]:
        """(gone, new) records of status orders since the last time. ``stands``: whose a number now is."""
        gone: list[Record] = []
        new: list[Record] = []
        for place in sorted(self._with_children()):
            shelf = self._shelves[place]
            records, runs = shelf.records, shelf.runs
            if shelf.line is not None and shelf.groups and shelf.more:
                shelf.go_on(*next(iter(shelf.groups.items())), shelf.line)
            else:
                self._raised.subtract(shelf.raised())
                self._read(place, shelf, stands)
                self._raised.update(shelf.raised())
            shelf.more = []
            alike = alike_until(runs, shelf.runs)
            for fact, start, end in runs[alike:]:
                self.facts[fact].remove(start, end)
            for fact, start, end in shelf.runs[alike:]:
                self.facts.setdefault(fact, InForce()).add(start, end)
            self.strange.stand(place, shelf.records)
            alike = alike_until(records, shelf.records)
            gone += records[alike:]
            new += shelf.records[alike:]
        self._changed = set()
        return gone, new

    def _with_children(self) -> set[str]:
        changed: set[str] = set()
        waiting = list(self._changed)
        while waiting:
            place = waiting.pop()
            if place in changed or place not in self._shelves:
                continue
            changed.add(place)
            at = self._ties.near(place)
            waiting += [child for each in at for child in self._children.get(each, ())]
        return changed

    def _read(self, place: str, shelf: Shelf, stands: Callable[[str], str]) -> None:
        records: list[Record] = []
        runs: dict[tuple[str, Turn, Turn | None], None] = {}
        shelf.odd, shelf.line = [], None
        lines: list[tuple[OrderLine, list[OrderStatement]]] = []
        for name, its in self._groups(place).items():
            used = self._used(place, name, its, shelf.odd)
            if not used:
                continue
            own = BESIDE * (1 + used[0].seq * BESIDE + used[0].part)
            inherited = self._inherited(used, frozenset({name}))
            above = [said._replace(what="", part=said.part + own) for said in inherited]
            groups = [mine for mine in by_patient(used, stands) if any(said.what for said in mine)]
            if len(groups) != 1 or len(groups[0]) != len(used):
                theirs = {said.origin for mine in groups for said in mine}
                shelf.odd += [of_another(said) for said in used if said.origin not in theirs]
            for mine in groups:
                for what in sorted({said.what for said in mine if said.what}):
                    line = line_of(what, mine, above)
                    lines.append((line, mine))
                    if what in (STATUS, DISCHARGE):
                        made = [beside(each, records) for each in line.records(name + what)]
                        records += [each for each in made if each not in records]
                    else:
                        runs.update(dict.fromkeys((what, *run) for run in line.turns(name)))
        shelf.odd += self.strange.take(place, lines)
        shelf.records, shelf.runs = records, list(runs)
        if len(lines) == 1 and not shelf.odd and self._is_plain_sailing(place, shelf.said):
            shelf.line = lines[0][0]

    def _is_plain_sailing(self, place: str, its: list[OrderStatement]) -> bool:
        """Whether all speak of one order by the same numbers, and no other order has to do with it."""
        first = its[0]
        if first.parent or first.parent_filler or first.apart or self._ordinary.codes_of(place, place, its):
            return False
        return all(said[NUMBERS] == first[NUMBERS] and said.patient == first.patient for said in its)

    def _used(
        self, place: str, name: str, its: list[OrderStatement], odd: list[tuple[OrderStatement, str, str]]
    ) -> list[OrderStatement]:
        """The statements that tell of a status or a treatment; of the others, why not."""
        kinds = {said.what for said in its if said.what}
        codes = self._ordinary.codes_of(place, name, its)
        if UNREAD in kinds and kinds - NO_TREATMENT != {UNREAD}:  # somebody has read one of its codes
            codes |= {said.code for said in its if said.what == UNREAD and said.is_new}
            its = [said._replace(what="") if said.what == UNREAD else said for said in its]
            kinds.discard(UNREAD)
        others = (self._beside(place, its) if "^" in name or not name else codes) - {""}
        is_one = ("^" in name or len(kinds) < 2) and not others
        is_one = is_one or (not others and are_one(its))
        used: list[OrderStatement] = []
        for said in its:
            if said.does not in READ:
                odd.append((said, said.does, UNREAD_ORDER if said.what or (kinds and name) else ""))
                continue
            reason = None
            is_own = not said.placer or shelf_of("P", said.placer) == place  # else its filler number found it
            is_doubtful = not said.what and ((said.is_bare and is_own) or "^" not in name)
            if is_doubtful and said.code in others:
                reason = OrderReason.UNMAPPED
            elif not name:
                may_matter = said.what or place[0] == "P" or self._is_mapped(said.filler)
                reason = OrderReason.AMBIGUOUS if may_matter else OrderReason.UNMAPPED
            elif not said.what and not kinds:
                reason = OrderReason.UNMAPPED if said.code or codes else nameless(said)
            elif is_doubtful and not (is_one and is_meant(said, its, kinds)):
                reason = OrderReason.AMBIGUOUS
            if reason is None:
                used.append(said)
            else:
                odd.append((said, reason.value, _EXCEPTIONS.get(reason, "")))
        return used

    def _beside(self, place: str, its: list[OrderStatement]) -> set[str]:
        """What orders are called that a number without a namespace may mean, and that have another one."""
        keys = {place, *(f"F{said.filler}" for said in its if said.is_bare and not said.placer)}
        mapped = {said.placer or said.filler for said in self._shelves[place].said if said.what}
        spaced = self._ordinary.spaced(place)
        keys |= {place[0] + each for each in spaced if not any(same(each, its) for its in mapped)}
        return self._ordinary.codes(keys)

    def _is_mapped(self, filler: str) -> bool:
        shelves = (self._shelves.get(shelf_of("P", placer)) for placer in self._ties.tied(filler))
        return any(said.what for shelf in shelves if shelf is not None for said in shelf.said)

    # -- what is not used --------------------------------------------------------------------------------

    def odd(self) -> Iterator[tuple[OrderStatement, str]]:
        """The statements that were kept and are not used, with the reason."""
        for shelf in self._shelves.values():
            for said, reason, _ in shelf.odd:
                yield said, reason
        yield from self.grouped.odd()

    def why(self, said: OrderStatement) -> OrderReason | None:
        """Why a statement that was taken in is not used, as things stand; also of one told again."""
        if said.is_of_group:
            return self.grouped.why(said)
        shelf = self._shelves[self._placed(said)]
        near = takewhile(lambda each: each[:2] == said[:2], shelf.said[bisect_left(shelf.said, said[:2]) :])
        its = {each.origin for each in near if each[3:] == said[3:]}
        return next((_REASONS[why] for each, why, _ in shelf.odd if each.origin in its), None)

    def exceptions(
        self, is_own: Callable[[str], bool], at: int, registered: Registered, left: int | None
    ) -> set[str]:
        """What may change the stay and could not be used, of patients that ``is_own`` accepts."""
        raised = {code for (code, patient), count in self._raised.items() if count and is_own(patient)}
        raised |= self.grouped.exceptions(is_own)
        raised -= {UNKNOWN} if self._ordinary.is_full else set()
        raised |= {UNREAD_ORDER for its in self.facts.values() if its.is_unsure(at, is_own)}
        may_matter = self.strange.may_matter(self.facts, is_own, at, registered, left)
        return raised | ({UNKNOWN} if may_matter else set())
