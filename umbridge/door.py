"""Who asks, as whom and why: on the ledger before anything is answered, a refusal too.

Every question of PATH 3 comes in here. ``look`` is for what shows something, ``act`` for what changes
something. Refusals in floods are counted durably and written together, never dropped: an attacker must not
fill the disk.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Literal, NoReturn

from umbridge_audit import disclose as gate
from umbridge_audit.disclose import Need, Viewer, unmet
from umbridge_audit.entry import Draft, Receipt
from umbridge_audit.redact import REDACTED, AccessTable, Permission

from umbridge import glass
from umbridge.config import User
from umbridge.control import where_from
from umbridge.errors import NotPermittedError, UsageError
from umbridge.store import inbox, notes
from umbridge.store.batch import Batch
from umbridge.store.writer import Pen

USUAL_PURPOSES = ("HOPERAT", "HPAYMT", "HCOMPL", "TREAT", "PATRQT")
MAX_NUMBER = 2**53 - 1  # the ledger's own largest integer (audit/SPEC.md)
# What one turn of the loop that answers senders may fetch; opening is done in the asker's own thread.
PAGE = 100
PAGE_BYTES = 1_000_000
MAX_TEXT = 1000  # a reason is a sentence, and an access entry is not a place to store a file
FLOOD = 120  # refusals of one account within FLOOD_SECONDS that get an entry each; the rest are counted
FLOOD_SECONDS = 60.0
_NOTE = "flood:"


class Door:
    """One for each pen. Thread-safe: the pen is."""

    def __init__(self, pen: Pen, users: Mapping[str, User], table: AccessTable) -> None:
        self.pen = pen
        self.users = users
        self.table = table
        self._lock = Lock()
        self._refusals: dict[str, deque[float]] = {}
        self._floods: dict[str, tuple[float, int]] = {}  # account: when it began, the entry that says so
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

        def work(batch: Batch) -> int:
            return batch.entry(draft)

        return Receipt(self.pen.call(work), b"")

    def look(
        self,
        viewer: Viewer,
        args: dict[str, Any],
        kind: Literal["read", "search", "export"],
        query: str,
        *,
        patient: str | None = None,
        count: int | None = None,
        needs: Sequence[Need] = (),
    ) -> Permission:
        """Log the look (or its refusal), then say what may be seen. Raises NotPermittedError.

        ``needs``: fields that the question looks for; who may not see one of them may not ask.
        """
        self.settle_floods()
        purpose = text_of(args, "purpose") or self.usual_purpose(viewer)
        broken = self._break_glass(viewer, args, kind, query, patient, needs) if purpose == "BTG" else None
        try:
            _, permission = gate.disclose(
                self.commit,
                self.table,
                viewer,
                purpose=purpose,
                reason=text_of(args, "reason"),
                kind=kind,
                query=query,
                patient=patient,
                count=count,
                broken=broken,
                needs=needs,
                produce=lambda allowed: allowed,
            )
        except gate.NotPermitted as exc:
            raise NotPermittedError(str(exc)) from None
        return permission

    def _break_glass(
        self,
        viewer: Viewer,
        args: dict[str, Any],
        kind: str,
        query: str,
        patient: str | None,
        needs: Sequence[Need],
    ) -> Permission | None:
        """What broken glass shows, once its window is on the ledger; None lets the refusal take its way."""
        broken = self.table.broken
        if not self.table.acts.get("break the glass", frozenset()) & set(viewer.roles):
            return None
        if broken is None or unmet(broken, needs) is not None:
            return None
        reason, why = text_of(args, "reason"), ""
        if kind != "read" or not patient:
            why = "break-glass shows one patient, looked up by number"
        elif not glass.is_open(self.pen, viewer, patient):
            if len(reason.strip()) < glass.SHORTEST_REASON:
                why = "break-glass needs --reason in words"
            else:
                glass.open_window(self.pen, viewer, patient, reason)
        if why:
            self.refuse(viewer, query, reason, why, purpose="BTG", patient=patient, request=kind)
        return broken

    # -- whose it is -----------------------------------------------------------------------------------
    # Opened before the look, for its entry alone: the entry says whose record was looked at, and whose it is
    # decides whether the glass may be broken. Nothing of it is shown.

    def whose_message(self, record: Sequence[Any] | None) -> str | None:
        """The visit that a sealed row names."""
        if record is None:
            return None
        visit = inbox.open_leniently(self.pen.keyring, record).head.get("visit")
        return str(visit) if visit else None

    def whose_entry(self, seq: int) -> str | None:
        """The visit, or the patient looked at, that an entry names."""
        named = self.pen.call(lambda batch: self.pen.ledger.reveal(seq, ["ident"]).get("ident", {}))
        visit = named.get("visit") or named.get("patient")
        return str(visit) if visit else None

    def act(self, viewer: Viewer, what: str, args: dict[str, Any]) -> None:
        """Whether this viewer may do ``what`` (a name of the access table's ``acts``). No entry if so.

        The act writes its own. Raises NotPermittedError after the refusal is on the ledger.
        """
        if self.table.acts.get(what, frozenset()) & set(viewer.roles):
            return
        self.refuse(viewer, what, text_of(args, "reason"), f"no role of yours may do {what}")

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

    def usual_purpose(self, viewer: Viewer) -> str:
        """The purpose of a question that needs none on the command line: operations, where a role has it."""
        for purpose in USUAL_PURPOSES:
            if self.table.permission(viewer.roles, purpose).any:
                return purpose
        return USUAL_PURPOSES[0]

    # -- floods ----------------------------------------------------------------------------------------

    def _refused(self, draft: Draft) -> Receipt:
        """A refusal's own entry; in a flood a durable count, and the entry that says a flood began."""
        account, now = str(draft.values["account"]), time.monotonic()
        with self._lock:
            times = self._refusals.setdefault(account, deque())
            while times and now - times[0] > FLOOD_SECONDS:
                times.popleft()
            times.append(now)
            if len(times) > FLOOD:
                times.popleft()
                return Receipt(self.pen.call(lambda batch: self._count(batch, account, draft)), b"")
        return Receipt(self.pen.call(lambda batch: batch.entry(draft)), b"")

    def _count(self, batch: Batch, account: str, draft: Draft) -> int:
        name = _NOTE + account
        said = notes.get(batch.cursor, name)
        if said is None:
            entry = batch.entry(Draft(draft.kind, {**draft.values, "outcome": "denied: flood begins"}))
            self._floods[account] = (time.monotonic(), entry)
            held: dict[str, Any] = {"actor": draft.values["actor"], "entry": entry, "count": 0}
        else:
            held = json.loads(said)
            held["count"] += 1
            self._floods.setdefault(account, (time.monotonic(), held["entry"]))
        held["last"] = datetime.now(UTC).isoformat(timespec="seconds")
        notes.put(batch.cursor, name, json.dumps(held))
        return int(held["entry"])

    def settle_floods(self, *, everything: bool = False) -> None:
        """Write what was counted of floods whose minute is over; ``everything`` at a start and a stop."""
        now = time.monotonic()
        everything, self._fresh = everything or self._fresh, False
        if not everything and not any(now - began > FLOOD_SECONDS for began, _ in self._floods.values()):
            return

        def work(batch: Batch) -> None:
            for name, said in notes.under(batch.cursor, _NOTE).items():
                account = name.removeprefix(_NOTE)
                began, _ = self._floods.get(account, (0.0, 0))
                if not everything and now - began <= FLOOD_SECONDS:
                    continue
                held = json.loads(said)
                values = {
                    "actor": held["actor"],
                    "outcome": "denied: counted together",
                    "account": account,
                    "count": held["count"],
                    "query": f"refusals after entry {held['entry']}, the last at {held['last']}",
                    "policy_hash": self.table.hash,
                }
                batch.entry(Draft("access.denied", values))
                notes.drop(batch.cursor, name)
                self._floods.pop(account, None)

        with self._lock:
            self.pen.call(work)


def number_of(args: dict[str, Any], name: str) -> int:
    """A row's or entry's number. Raises UsageError: what the pen cannot hold must not reach the pen."""
    try:
        number = int(args[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UsageError(f"{name}: a number is expected") from None
    if not 0 <= number <= MAX_NUMBER:
        raise UsageError(f"{name}: expected a number from 0 to {MAX_NUMBER}")
    return number


def text_of(args: dict[str, Any], name: str) -> str:
    """A word or sentence of the asker's, "" where none was given. Raises UsageError: see ``number_of``."""
    value = args.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise UsageError(f"{name}: text of at most {MAX_TEXT} characters is expected")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name}: not UTF-8 text") from None
    return value


def given(args: dict[str, Any]) -> dict[str, Any]:
    """What was asked for beyond who asks and why."""
    return {name: args[name] for name in args if name not in ("purpose", "reason") and args[name] is not None}


def shown(allowed: Permission, compartment: str, name: str, value: Any) -> Any:
    """The value, a mask, or None where even its presence is not this role's business."""
    verdict = allowed.may(compartment, name)
    if verdict == "show":
        return value
    return REDACTED if verdict == "mask" and value not in (None, "", []) else None
