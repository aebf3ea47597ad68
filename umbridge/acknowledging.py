"""Exceptions of a stay that a person has looked at and closes, with the reason; the ledger first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from umbridge_audit.disclose import Viewer, who
from umbridge_audit.entry import Draft

from umbridge.door import Door
from umbridge.errors import UsageError
from umbridge.questions import Act, asked, text
from umbridge.stay.anew import mark_of
from umbridge.store.commands import Transaction
from umbridge.views import Seen, view, within

#: The exceptions that nothing but a person's look ends. All others are the state of the stay: they go with
#: their ground, and closed by hand they would hide the next one of their kind.
CLOSED_BY_HAND = ("READ_ANEW",)


@view
class Acknowledged:
    """What was closed, and the entry that says so."""

    exception: str = within("ops", "exceptions")
    detail: str = within("ops")
    state: str = within("open")
    entry: int = within("open", "seq")


@asked
class AcknowledgeStay(Act[Acknowledged]):
    """``stays acknowledge``."""

    name: ClassVar[str] = "stays.acknowledge"
    may: ClassVar[str] = "stays acknowledge"
    rows = (Acknowledged,)

    visit: str = text()
    exception: str = text()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseNoted:
    """The exception that a note stands for is closed, with its entry. Returns what the note said, and the
    entry's number; None where no such note stands."""

    name: str
    draft: Draft

    def apply(self, tx: Transaction) -> tuple[str, int] | None:
        said = tx.note(self.name)
        if said is None:
            return None
        tx.drop_note(self.name)
        return said, tx.entry(Draft(self.draft.kind, {**self.draft.values, "detail": said}))


class Acknowledging:
    """``stays acknowledge``."""

    def __init__(self, door: Door, lane: Callable[[str], bytes]) -> None:
        """``lane``: where a visit's number leads."""
        self._door = door
        self._lane = lane

    def close(self, viewer: Viewer, act: AcknowledgeStay) -> Iterator[Seen[Acknowledged]]:
        return self._door.perform(viewer, act, lambda: self._closed(viewer, act))

    def _closed(self, viewer: Viewer, act: AcknowledgeStay) -> Iterator[Acknowledged]:
        code = act.exception or CLOSED_BY_HAND[0]
        if not act.reason.strip():
            raise UsageError("--reason TEXT is needed: what you saw when you looked; it goes on the ledger")
        if code not in CLOSED_BY_HAND:
            hand = " ".join(CLOSED_BY_HAND)
            raise UsageError(f"--exception: closed by hand is {hand}; any other goes when its ground goes")
        values = who(viewer, act.reason) | {"state": "closed", "exception": code, "patient": act.visit}
        done = self._door.pen.call(
            CloseNoted(name=mark_of(self._lane(act.visit)), draft=Draft("exception.close", values))
        )
        if done is None:
            raise UsageError(f"that stay has no {code}; `umbridge stays list` shows what each has")
        detail, entry = done
        yield Acknowledged(exception=code, detail=detail, state="closed", entry=entry)
