"""Who asks, as whom and why: on the ledger before anything is answered, a refusal too.

Every question and act of PATH 3 comes in here. ``disclose`` decides, writes the entry, and only then has
the rows made, which leave redacted; what these eyes may see stays in here. ``perform`` is for what changes
something. Refusals in floods are counted durably and written together, never dropped: an attacker must not
fill the disk.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import NoReturn, TypeVar

from umbridge_audit import disclose as gate
from umbridge_audit.disclose import Viewer, unmet
from umbridge_audit.entry import Draft, Receipt
from umbridge_audit.redact import AccessTable, Permission

from umbridge.access import breakglass
from umbridge.access.control import where_from
from umbridge.access.opened import Opened, visit_of
from umbridge.access.questions import Act, OfEntry, OfMessage, Patient, Query
from umbridge.access.views import Seen, redact
from umbridge.errors import NotPermittedError
from umbridge.settings.config import User
from umbridge.store.authority import CountDenied, SettleFloods
from umbridge.store.commands import WriteEntry
from umbridge.store.writer import Writer

V = TypeVar("V")
FLOOD = 120  # refusals of one account within FLOOD_SECONDS that get an entry each; the rest are counted
FLOOD_SECONDS = 60.0


class Door:
    """One for each writer. Thread-safe: the writer is."""

    def __init__(self, writer: Writer, users: Mapping[str, User], table: AccessTable) -> None:
        self.writer = writer
        self.users = users
        self.table = table
        self._lock = Lock()
        self._refusals: dict[str, deque[float]] = {}
        self._floods: dict[str, float] = {}  # account: when its flood began
        self._fresh = True  # what was counted before a kill is not written yet

    def viewer(self, account: str, auth: str) -> Viewer:
        """The umbridge user behind an OS account. An unknown account has no role and is refused later."""
        user, source = self.users.get(account), where_from()
        if user is None:
            return Viewer(account=account, user=account, roles=(), auth=auth, source=source)
        return Viewer(account=account, user=user.user, roles=user.roles, auth=auth, source=source)

    def commit(self, draft: Draft) -> Receipt:
        """Durable before it returns: the promise that a look is logged before it is shown."""
        if draft.kind == "access.denied":
            return self._refused(draft)
        return Receipt(self.writer.call(WriteEntry(draft=draft)), b"")

    # -- questions -------------------------------------------------------------------------------------

    def disclose(
        self,
        viewer: Viewer,
        query: Query[V],
        produce: Callable[[Opened], Iterable[V]],
        *,
        count: int | None = None,
    ) -> Iterator[Seen[V]]:
        """The rows of a question, each as these eyes may see it, once the look is on the ledger.

        Nothing is asked before the first row is wanted. ``produce`` makes rows of the query's own views from
        what it may open; ``count`` is how many things the question touches, where that is known beforehand.
        Raises NotPermittedError after recording the refusal; then nothing has been opened.
        """
        permission = self._decided(viewer, query, count)
        for row in produce(Opened(self.writer, self.table, viewer, permission)):
            if type(row) not in query.rows:
                raise TypeError(f"{query.name} does not yield {type(row).__name__}")
            yield redact(row, permission)

    def _decided(self, viewer: Viewer, query: Query[V], count: int | None) -> Permission:
        self.settle_floods()
        purpose, whose = query.purpose or self.purpose(viewer, query), query.whose
        if isinstance(whose, Patient):
            patient = whose.number or None
        else:
            patient = visit_of(self.writer, whose)
            count = int(self._has_message(whose) if isinstance(whose, OfMessage) else self._has_entry(whose))
        broken = self._break_glass(viewer, query, patient) if purpose == "BTG" else None
        try:
            _, permission = gate.disclose(
                self.commit,
                self.table,
                viewer,
                purpose=purpose,
                reason=query.reason,
                kind=query.access,
                query=query.words,
                patient=patient,
                count=count,
                broken=broken,
                needs=query.needs,
                produce=lambda allowed: allowed,
            )
        except gate.NotPermitted as exc:
            raise NotPermittedError(str(exc)) from None
        return permission

    def _has_message(self, whose: OfMessage) -> bool:
        with self.writer.reading() as reader:
            return reader.has_row(whose.seq)

    def _has_entry(self, whose: OfEntry) -> bool:
        if whose.seq >= self.writer.ledger.size or not whose.kind:
            return whose.seq < self.writer.ledger.size
        with self.writer.reading() as reader:
            return any(reader.ledger.open_slots(whose.seq, whose.seq + 1, kinds=(whose.kind,)))

    def _break_glass(self, viewer: Viewer, query: Query[V], patient: str | None) -> Permission | None:
        """What broken glass shows, once its window is on the ledger; None lets the refusal take its way."""
        broken = self.table.broken
        if not self.table.acts.get("break the glass", frozenset()) & set(viewer.roles):
            return None
        if broken is None or unmet(broken, query.needs) is not None:
            return None
        why = ""
        if query.access != "read" or not patient:
            why = "break-glass shows one patient, looked up by number"
        elif not breakglass.is_open(self.writer, viewer, patient):
            if len(query.reason.strip()) < breakglass.SHORTEST_REASON:
                why = "break-glass needs --reason in words"
            else:
                breakglass.open_window(self.writer, viewer, patient, query.reason)
        if why:
            self.refuse(
                viewer, query.words, query.reason, why, purpose="BTG", patient=patient, request=query.access
            )
        return broken

    def purpose(self, viewer: Viewer, query: Query[V]) -> str:
        """The purpose of a question that names none: the first of the query's that a role of theirs has."""
        for purpose in query.purposes:
            permission = self.table.permission(viewer.roles, purpose)
            if permission.exports if query.access == "export" else permission.any:
                return purpose
        return query.purposes[0]

    # -- acts ------------------------------------------------------------------------------------------

    def perform(self, viewer: Viewer, act: Act[V], work: Callable[[], Iterable[V]]) -> Iterator[Seen[V]]:
        """Does what a role of this viewer's may do; the act writes its own entry, and so does its refusal.

        What it answers is shown as far as the viewer's roles see it for any purpose.
        """
        if not self.table.acts.get(act.may, frozenset()) & set(viewer.roles):
            self.refuse(viewer, act.may, act.reason, f"no role of yours may do {act.may}")
        roles = tuple(self.table.roles[name] for name in viewer.roles if name in self.table.roles)
        for row in work():
            if type(row) not in act.rows:
                raise TypeError(f"{act.name} does not yield {type(row).__name__}")
            yield redact(row, Permission(roles))

    def refuse(
        self,
        viewer: Viewer,
        what: str,
        reason: str,
        why: str,
        *,
        purpose: str = "HOPERAT",
        patient: str | None = None,
        request: str = "act",
    ) -> NoReturn:
        """Put a refusal on the ledger and raise it."""
        values = gate.access_values(viewer, purpose=purpose, reason=reason, policy_hash=self.table.hash)
        values |= {"outcome": "denied", "query": what, "request": request, "patient": patient}
        receipt = self.commit(Draft("access.denied", values))
        raise NotPermittedError(f"not permitted: {why}; recorded as entry {receipt.seq}")

    # -- floods ----------------------------------------------------------------------------------------

    def _refused(self, draft: Draft) -> Receipt:
        """A refusal's own entry; in a flood a durable count, and the entry that says a flood began."""
        account, now = str(draft.values["account"]), time.monotonic()
        with self._lock:
            times = self._refusals.setdefault(account, deque())
            while times and now - times[0] > FLOOD_SECONDS:
                times.popleft()
            times.append(now)
            flooding = len(times) > FLOOD
            if flooding:
                times.popleft()
                entry = self.writer.call(CountDenied(account=account, draft=draft))
                self._floods.setdefault(account, now)
                return Receipt(entry, b"")
        return Receipt(self.writer.call(WriteEntry(draft=draft)), b"")

    def settle_floods(self, *, everything: bool = False) -> None:
        """Write what was counted of floods whose minute is over; ``everything`` at a start and a stop."""
        now = time.monotonic()
        everything, self._fresh = everything or self._fresh, False
        if not everything and not any(now - began > FLOOD_SECONDS for began in self._floods.values()):
            return
        with self._lock:
            ongoing = (
                [] if everything else [a for a, began in self._floods.items() if now - began <= FLOOD_SECONDS]
            )
            command = SettleFloods(going_on=frozenset(ongoing), policy_hash=self.table.hash)
            for account in self.writer.call(command):
                self._floods.pop(account, None)
