"""Who cared for the patient, and from when: a person involved in the care may not review it.

Each message that names somebody in a role says who holds it from then on. Who held it before stays on the
stay, with the time at which that ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from umbridge.values.carers import ATTENDING, CONSULTING, ORDERING, Practitioner

KEPT = 64  # so that no sender can make a snapshot grow without end

#: As JSON keeps a practitioner: number and authority.
Named = list[str]


class Held(NamedTuple):
    """A role and who holds it. ``until``: when somebody else was named; ``order``: which status order."""

    role: str
    number: str
    authority: str
    since: int
    until: int | None = None
    order: str = ""
    status: str = ""  # that it asks for


def by_role(practitioners: Iterable[Practitioner]) -> dict[str, list[Named]]:
    """By role, as a record keeps them; a role that was sent empty has nobody."""
    found: dict[str, list[Named]] = {}
    for each in practitioners:
        its = found.setdefault(each.role, [])
        if each.number:
            its.append([each.number, each.authority])
    return found


def told(held: Sequence[Held], said: dict[str, list[Named]], at: int) -> list[Held]:
    """After a message at ``at``. A field is told as a whole: who is not in it any more has ceased.

    But for consulting practitioners the role is one person's: another number beside one that holds is that
    person's too, and a number that is not sent is no other person.
    """
    rows = list(held)
    for role, its in sorted(said.items()):  # JSON, which a restored stay comes from, keeps no other order
        names = {(number, authority) for number, authority in its}
        holding = {row[1:3] for row in rows if row.role == role and row.until is None}
        goes_on = role != CONSULTING and bool(names & holding)
        if not goes_on:
            rows = [_ended(row, at) if row.role == role and row[1:3] not in names else row for row in rows]
        rows += [
            Held(role, number, authority, at)
            for number, authority in its
            if (number, authority) not in holding
        ]
    return _kept(rows)


def attending(held: Iterable[Held]) -> set[tuple[str, str]]:
    """The numbers of who attends now."""
    return {(row.number, row.authority) for row in held if row.role == ATTENDING and row.until is None}


def ordered(held: Sequence[Held], its: Iterable[Named], at: int, order: str, status: str) -> list[Held]:
    """After a status order in force from ``at``: who signed it, or signed its change."""
    known = {row[1:3] for row in held if (row.order, row.status, row.until) == (order, status, None)}
    rows = [Held(ORDERING, number, authority, at, None, order, status) for number, authority in its]
    return _kept([*held, *(row for row in rows if row[1:3] not in known)])


def order_ended(held: Sequence[Held], order: str, at: int) -> list[Held]:
    """After the end of a status order. Whoever wrote it has been involved all the same."""
    return [_ended(row, at) if row.order == order else row for row in held]


def _ended(row: Held, at: int) -> Held:
    return row if row.until is not None else row._replace(until=max(at, row.since))


def _kept(rows: list[Held]) -> list[Held]:
    """Who was named and replaced at one moment never held the role."""
    kept = [row for row in rows if row.until is None or row.until > row.since or row.order]
    while len(kept) > KEPT:
        del kept[next((n for n, row in enumerate(kept) if row.until is not None), 1)]
    return kept
