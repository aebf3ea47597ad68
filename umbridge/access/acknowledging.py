"""Exceptions of a stay that a person has looked at and closes, with the reason; the ledger first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from umbridge_audit.disclose import Viewer, who
from umbridge_audit.entry import Draft

from umbridge.access.door import Door
from umbridge.access.questions import Act, asked, text
from umbridge.access.views import Seen, view, within
from umbridge.errors import UsageError
from umbridge.settings.site import SiteProfile
from umbridge.stay.anew import reading_of
from umbridge.store.closing import READ_ANEW, CloseException

#: A stay as a person sees it: its newest message, and its exceptions. The look is on the ledger.
Look = Callable[[Viewer, str, str], tuple[bytes, int, Sequence[str]]]


@view
class Acknowledged:
    """What was closed, and the entry that says so."""

    exception: str = within("ops", "exceptions")
    detail: str | None = within("ops")
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


class Acknowledging:
    """``stays acknowledge``."""

    def __init__(self, door: Door, site: SiteProfile, look: Look) -> None:
        self._door = door
        self._site = site
        self._look = look

    def close(self, viewer: Viewer, act: AcknowledgeStay) -> Iterator[Seen[Acknowledged]]:
        return self._door.perform(viewer, act, lambda: self._closed(viewer, act))

    def _closed(self, viewer: Viewer, act: AcknowledgeStay) -> Iterator[Acknowledged]:
        code = act.exception or READ_ANEW
        if not act.reason.strip():
            raise UsageError("--reason TEXT is needed: what you saw when you looked; it goes on the ledger")
        lane, seq, exceptions = self._look(viewer, act.visit, act.reason)
        if code not in exceptions:
            raise UsageError(f"that stay has no {code}; it has {' '.join(exceptions) or 'no exception'}")
        values = who(viewer, act.reason) | {"state": "closed", "exception": code, "patient": act.visit}
        draft, reading = Draft("exception.close", values), reading_of(self._site)
        detail, entry = self._door.writer.call(
            CloseException(lane=lane, code=code, seq=seq, reading=reading, draft=draft)
        )
        yield Acknowledged(exception=code, detail=detail, state="closed", entry=entry)
