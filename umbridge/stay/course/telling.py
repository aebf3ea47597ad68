"""Which event each ADT statement speaks of, and when that event took effect.

Statements are taken in the order in which they were told. A discharge is one at a time and an admission one
of its kind: told again they are restated, and so are their times by PV1-44 and PV1-45 of other messages. A
cancel finds its target among what was told before it. What comes out is the place of each statement in the
fold: by when the event took effect, which a later statement may have changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from umbridge.settings.site import SiteProfile
from umbridge.stay.course.happening import (
    BACK,
    GONE,
    SHELL,
    STANDS,
    Happening,
    Placed,
    Statement,
    Time,
    first_told,
    is_same_kind,
)
from umbridge.stay.course.occurred import Times
from umbridge.stay.record import CANCELS, ORDER, RENAMES, Key, Record

#: What a statement may speak of: one discharge at a time, one admission of a kind, many of the others.
KINDS = {
    **{"A01": "admit", "A04": "admit", "A05": "preadmit", "A03": "discharge", "A02": "transfer"},
    **{"A09": "departure", "A10": "arrival", "A14": "pending admit", "A15": "pending transfer"},
    **{"A16": "pending discharge", "A21": "leave", "A22": "return", "A54": "attending"},
}
_PURGES = frozenset({"A23", "A29"})
_CLASS_CHANGES = frozenset({"A06", "A07"})
#: PV1-44 of these is when the patient should come.
_PLANNED = frozenset({"A05", "A14"})
#: An A38 after one of these is too late: the patient came.
_CAME = frozenset({"A03", "A06", "A07"})


class Telling(Times):
    """The statements of one stay and patient, in the order of telling."""

    def __init__(self, site: SiteProfile) -> None:
        super().__init__(site)
        self._told: dict[str, list[Happening]] = {}
        self._many: dict[tuple[str, int], Happening] = {}
        self._episode: Happening | None = None
        self._floor = -(1 << 62)
        self._ordered: dict[str, Happening] = {}  # orders in force, by what names each

    def take(self, record: Record) -> list[Statement]:
        """The next statement. Returns all whose place or effect is new or another than before."""
        if record.trigger in CANCELS and self._is_repeated(record):
            return []
        said = Statement(record, self._floor, self._episode)
        self._touched = [said]
        self._zone = self._site.at(record.data.get("facility", "")).zone
        self.statements.append(said)
        trigger = record.trigger
        if trigger in CANCELS:
            self._cancel(said, CANCELS[trigger])
        elif trigger in _PURGES:
            if len(self.statements) > 1:
                self._empty(self._place(said))
                self._told, self._many = {}, {}
        elif trigger == ORDER:
            self._order(said)
        elif trigger not in RENAMES:
            kind = KINDS.get(trigger)
            if kind == "discharge":
                self._discharge(said)
            elif kind in ("admit", "preadmit"):
                self._open(said, kind)
            elif kind is not None:
                self._one_of_many(said, kind)
            self._restate(said)
        touched = dict.fromkeys(self._touched)
        for each in list(touched):
            if each.order is not None:
                touched.update(dict.fromkeys(each.order.statements))
        return list(touched)

    # -- events ------------------------------------------------------------------------------------------

    def _new(self, said: Statement, kind: str, group: str = "") -> Happening:
        found = Happening(kind, group)
        found.at = found.place = said.record.at
        self._told.setdefault(kind, []).append(found)
        self._add(found, said)
        return found

    def _add(self, found: Happening, said: Statement) -> None:
        said.happening = found
        found.statements.append(said)
        found.names.append(said.record.at)

    def _order(self, said: Statement) -> None:
        """One beginning of a status order, and the later statements about when that was."""
        data, name = said.record.data, said.record.data["placer"]
        if not data["on"]:
            self._ordered.pop(name, None)
        elif data.get("moves") or name not in self._ordered:
            said.order = self._ordered.setdefault(name, Happening(ORDER))
            said.order.statements.append(said)

    def _one_of_many(self, said: Statement, kind: str) -> None:
        """Transfers, leaves and moves are many: each is one by its effective time."""
        found = self._many.get((kind, said.record.at))
        if found is None or found.is_gone:
            self._many[kind, said.record.at] = self._new(said, kind)
        else:
            self._add(found, said)

    def _open(self, said: Statement, kind: str) -> None:
        record = said.record
        group = f"{record.trigger} {record.data.get('fields', {}).get('class', '')}"
        if kind == "preadmit":
            planned = self._told.get(kind, [])
            if planned and not planned[-1].is_gone and planned[-1] is self._episode:
                return self._add(planned[-1], said)
            self._episode = said.episode = self._new(said, kind, group)
            return None
        if self._out is not None and max(record.at, said.floor) > self._out.place:
            found = self._new(said, kind, group)
            found.reopened, found.before = self._out, self._chain
            self._chain, self._out = [], None
        else:
            again = next((o for o in reversed(self._chain) if is_same_kind(o.group, group)), None)
            if again is not None:
                return self._again(again, said)
            found = self._new(said, kind, group)
        found.since = record.data.get("admitted")
        found.is_bare = "admitted" in record.data.get("bare", ())
        found.is_pinned = "stated" in record.data and found.since != found.at
        if found.since == found.at and self._chain and self._is_known(Time(found.at, found.is_bare, 0)):
            # Still that of the arrival: nobody is admitted before it was decided (42 CFR 412.3(a)).
            found.at, found.is_pinned = max(record.told, found.at), True
        found.chain, self._changed = self._chain, None
        self._chain.append(found)
        self._episode = said.episode = found
        self._settle_discharge()
        return None

    def _again(self, found: Happening, said: Statement) -> None:
        """An admission told again. Where it names a time, it is the admission's."""
        record = said.record
        self._add(found, said)
        said.is_again = "stated" not in record.data
        since = record.data.get("admitted")
        if since is not None:
            self._since(found, Time(since, "admitted" in record.data.get("bare", ()), record.told))
        if "stated" in record.data and record.at != since:
            if self._is_after_telling(found, record.at):
                found.is_contradicted = True
            else:
                found.at, found.is_pinned, found.is_contradicted = record.at, True, False
            self._touched += found.statements
            self._settle_discharge()

    def _discharge(self, said: Statement) -> None:
        record = said.record
        stated = record.data.get("discharged", record.at if "stated" in record.data else None)
        found = self._out
        if found is None and stated is not None:  # sent again after the patient was admitted again
            earlier = next((each for each in reversed(self._discharges) if each.at == stated), None)
            if earlier is not None and earlier.statements[0].floor == said.floor:
                self._add(earlier, said)
                self._touched += earlier.statements
                return
        if found is None:
            found = self._new(said, "discharge")
            found.chain = self._chain
            self._discharges.append(found)
            self._out = found
            self._touch_openings(found)
        else:
            self._add(found, said)
        if stated is not None or not found.times:
            bare = "discharged" in record.data.get("bare", ())
            self._leave(found, Time(record.at if stated is None else stated, bare, record.told))
        else:
            self._settle_discharge()

    def _restate(self, said: Statement) -> None:
        """PV1-44 and PV1-45 of other messages are later statements about the times of their events."""
        record, data = said.record, said.record.data
        out, since = data.get("discharged"), data.get("admitted")
        for name in data.get("deleted", ()):
            self._delete(name, said)
        if out is not None and self._out is not None and record.trigger not in ("A01", "A03", "A04", "A05"):
            said.restated = self._out
            self._leave(self._out, Time(out, "discharged" in data.get("bare", ()), record.told))
        if since is None or record.trigger in _PLANNED or said.happening in self._chain:
            return
        stated = Time(since, "admitted" in data.get("bare", ()), record.told)
        is_new = not self._chain
        if self._chain and record.trigger in _CLASS_CHANGES and not self._is_known(stated):
            is_new = since >= self._chain[-1].when  # before the arrival it corrects the arrival
        if is_new:
            # An admission of which only PV1-44 was seen, or, in an A06, the one that begins the new status.
            opened = Happening("", record.trigger if self._chain else "")
            opened.at, opened.since, opened.is_bare = record.at, since, stated.bare
            opened.is_pinned = since != record.at
            self._chain.append(opened)
        opened = self._chain[-1]
        if not opened.kind and (not opened.group or not opened.statements):
            opened.statements.append(said)
            said.opening = opened
        if record.trigger in _CLASS_CHANGES:
            self._changed = None if is_new else said
        if not is_new and not self._is_of_the_change(stated):
            self._since(opened, stated)
        self._settle_discharge()

    # -- cancels -----------------------------------------------------------------------------------------

    def _is_repeated(self, cancel: Record) -> bool:
        """Told already, in the same words at the same moment, and nothing that it could take back since."""
        kind = CANCELS[cancel.trigger]
        for each in reversed(self.statements):
            said = each.record
            if said.told != cancel.told or KINDS.get(said.trigger) == kind:
                return False
            if said[1:] == cancel[1:] and said.at == cancel.at:
                return True
        return False

    def _cancel(self, said: Statement, kind: str) -> None:
        said.role = BACK
        found = self._target(said, kind)
        swept = [] if found is None or kind not in ("admit", "preadmit") else list(self._of(found))
        if said.record.trigger == "A38" and found is not None and self._has_come(found, swept):
            said.role = STANDS
            return
        for each in swept:
            happening = each.happening
            if happening is not None and happening.kind == "discharge" and _has_come_before(happening, found):
                continue  # the admission is taken back, and not that the patient left
            if happening is not None and not happening.is_gone:
                self._gone(happening, said)
            elif each.role == STANDS and each.record.trigger not in (ORDER, *RENAMES):
                each.role, each.by = GONE, said
                self._touched.append(each)
        if found is not None:
            self._gone(found, said)
        self._touched += swept
        said.floor = max(self._placed_last(said), said.floor)
        if kind in ("admit", "preadmit") and not self._standing():
            said.role = SHELL
            if found is not None or said.record.trigger != "A38":
                self._empty(said.floor)
        elif found is None:
            said.role = STANDS

    def _target(self, said: Statement, kind: str) -> Happening | None:
        """EVN-6 names it; without that, the one told last that stands. What is gone cannot go again."""
        events = self._told.get(kind, [])
        named = said.record.data.get("target")
        if named is not None:
            first, last = named
            hits = [each for each in events if any(first <= at <= last for at in each.names)]
            if hits:
                return next((each for each in reversed(hits) if not each.is_gone), None)
        return next((each for each in reversed(events) if not each.is_gone), None)

    def _of(self, opened: Happening) -> Iterator[Statement]:
        """What was said of the stay as this opening began it."""
        first = opened.statements[0]
        for each in reversed(self.statements[:-1]):
            if each is first:
                return
            if each.episode is opened and each.happening is not opened:
                yield each

    def _has_come(self, planned: Happening, since: list[Statement]) -> bool:
        admitted = any(not each.is_gone and each.told >= planned.told for each in self._told.get("admit", ()))
        return admitted or any(each.record.trigger in _CAME and each.role == STANDS for each in since)

    def _standing(self) -> list[Happening]:
        opened = (*self._told.get("admit", ()), *self._told.get("preadmit", ()))
        return [each for each in opened if not each.is_gone]

    def _gone(self, found: Happening, said: Statement) -> None:
        found.is_gone = True
        for each in found.statements:
            each.role, each.by = GONE, said
        self._touched += found.statements
        if found.kind == "discharge":
            self._discharges.remove(found)
            self._touch_openings(found)
            if found.left is not None:
                self._touch_since(found.left.at)
            if found is self._out:
                self._out = None
        elif found.kind in ("admit", "preadmit"):
            found.chain[:] = [
                each
                for each in found.chain
                if each is not found and (each.kind or not each.group or each.statements[0].role != GONE)
            ]
            if found.reopened is not None and not self._chain and found.chain is self._chain:
                self._chain = found.before
                self._out = None if found.reopened.is_gone else found.reopened
            self._episode = max(self._standing(), key=first_told, default=None)
            self._settle_discharge()

    def _has_left_before(self, opened: Happening) -> bool:
        """Whether the patient left before this arrival and no earlier one is known, nor a discharge since:
        clocks that disagree, or an arrival that nobody sent."""
        left = opened.reopened
        if left is None or opened.before or left.is_gone:
            return False
        return all(each.chain is not opened.chain for each in self._discharges)

    def _touch_openings(self, left: Happening) -> None:
        """A discharge is new or gone: what is odd about the openings before and after it is asked again."""
        for each in self._told.get("admit", ()):
            if each.reopened is left or each.chain is left.chain:
                self._touched += each.statements

    def _placed_last(self, said: Statement) -> int:
        """A cancel follows what it takes back."""
        gone = [self._place(each) for each in self.statements if each.by is said]
        return max([said.record.told, *gone])

    def _empty(self, floor: int) -> None:
        self._floor = floor + 1
        self._chain, self._out, self._episode, self._changed = [], None, None, None

    # -- places ------------------------------------------------------------------------------------------

    def _place(self, said: Statement) -> int:
        if said.role in (BACK, SHELL):
            return said.floor
        found = said.happening
        if found is not None and found.kind == "discharge":
            return max(found.place, said.floor)
        if found is not None and found.kind == "admit" and not said.is_again:
            return max(found.at, said.floor)
        if said.opening is not None and said.opening.group:
            return max(said.opening.at, said.floor)
        return max(self._begun(said), said.floor)

    def _begun(self, said: Statement) -> int:
        """When it took effect; of an order, by what was said of that last while the patient was here."""
        at = said.record.at
        if said.order is None or self._is_moved_late(said):
            return at
        return next(
            each.record.at for each in reversed(said.order.statements) if not self._is_moved_late(each)
        )

    def _is_moved_late(self, said: Statement) -> bool:
        """Whether it moves an order after the discharge that ended the time in which the order began."""
        if said.order is None or not said.record.data.get("moves"):
            return False
        began = min(said.order.statements[0].record.at, said.record.at)
        return self._is_late(said, (began, *said.record.key[1:]))

    def placed(self, said: Statement) -> Placed:
        """The statement where it belongs, as all that was told so far has it."""
        record, found = said.record, said.happening
        place = self._place(said)
        key = (place, *record.key[1:])
        by = None if said.by is None else (said.by.floor, *said.by.record.key[1:])
        since, left, is_contradicted = None, None, False
        is_of_none = said.episode is not None and said.episode.is_gone  # said of a stay that never was
        if said.role in (BACK, SHELL):
            return Placed(key, record.moved(place), said.role, never_came=is_of_none)
        if said.order is not None:
            record = record.moved(self._begun(said))
        if found is not None and found.kind == "discharge":
            left = found.left
            record = record.moved(place if left is None else left.at)
            if is_of_none:  # what it repeats of PV1 was said under an admission that never was
                data = record.data.copy()
                data.pop("fields", None)
                record = record._replace(data=data)
        elif found is not None and found.kind == "admit":
            is_contradicted = found.is_contradicted or self._has_left_before(found)
            if said.is_again:
                record = record._replace(trigger="A08")
            else:
                since, record = found.since, record.moved(found.at)
        if said.restated is not None and not said.restated.is_gone:
            data = record.data.copy()
            data.pop("discharged", None)  # of the discharge, and not of a patient who is here
            record = record._replace(data=data)
        if said.opening is not None and said.role == STANDS:
            since, is_contradicted = said.opening.since, is_contradicted or said.opening.is_contradicted
            if said.opening.group:  # the class changed when the new status began
                record = record.moved(said.opening.at)
        is_gone_with_it = said.by is not None and CANCELS[said.by.record.trigger] in ("admit", "preadmit")
        never_came = is_gone_with_it or (said.by is not None and is_of_none)
        late = self._is_moved_late(said) or self._is_late(said, key)
        is_under = said.episode is not None and not said.episode.is_gone and record.trigger not in RENAMES
        return Placed(key, record, said.role, late, since, left, by, never_came, is_contradicted, is_under)

    def _is_late(self, said: Statement, key: Key) -> bool:
        """Whether it was told after the discharge that ended the time of which it speaks."""
        if not self._discharges or (said.happening is not None and said.happening.kind == "discharge"):
            return False
        ends = [(each.place, each.left.at) for each in self._discharges if each.left and each.place >= key[0]]
        return bool(ends) and said.record.told > min(ends)[1]


def _has_come_before(left: Happening, cancelled: Happening | None) -> bool:
    """Whether a patient who left had come by another opening than the one that is taken back."""
    return any(each.kind and each is not cancelled and not each.is_gone for each in left.chain)
