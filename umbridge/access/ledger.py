"""Questions about the ledger itself: its entries, bundles and receipts of them, a checkpoint on demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from umbridge_audit.disclose import Viewer, access_values
from umbridge_audit.entry import Draft
from umbridge_audit.slots import SCHEMAS
from umbridge_audit.store.receipts import head_of

from umbridge.access.door import Door
from umbridge.access.opened import Opened
from umbridge.access.questions import (
    MAX_TEXT,
    USUAL_PURPOSES,
    Access,
    OfEntry,
    Query,
    Whose,
    asked,
    number,
    text,
)
from umbridge.access.views import Exported, Seen, Slots, inside, view, within
from umbridge.errors import StoreError, UmbridgeError, UsageError

SAFE_HARBOR, LIMITED = "safe-harbor", "limited-data-set"
EXPORTING = ("HCOMPL", *USUAL_PURPOSES)


@view
class EntryLine:
    """One entry of a list: what is open of it."""

    seq: int = within("open")
    kind: str = within("open", "schema")
    slots: Slots = inside(Slots, flat=True)


@view
class EntryView:
    """One entry."""

    seq: int = within("open")
    kind: str = within("open", "schema")
    ts: str = within("open")
    leaf_hash: str = within("open")
    slots: Slots = inside(Slots)


@view
class BundleLine:
    """One line of a bundle or of the Safe Harbor file."""

    line: Exported = inside(Exported)


@view
class ReceiptView:
    """One entry's receipt."""

    receipt: Exported = inside(Exported)


@view
class CheckpointView:
    """What the log's key has signed. An auditor is sent it, so it is as open as anything."""

    origin: str = within("open")
    size: int = within("open")
    root: str = within("open")
    note: str = within("open")


@asked
class LedgerList(Query[EntryLine]):
    """``ledger list``."""

    name: ClassVar[str] = "ledger.list"
    rows = (EntryLine,)

    kind: str = text()


@asked
class LedgerShow(Query[EntryView]):
    """``ledger show``."""

    name: ClassVar[str] = "ledger.show"
    access: ClassVar[Access] = "read"
    rows = (EntryView,)

    seq: int = number()

    @property
    def words(self) -> str:
        return f"ledger show {self.seq}"

    @property
    def whose(self) -> Whose:
        return OfEntry(self.seq)


@asked
class LedgerExport(Query[BundleLine]):
    """``ledger export``."""

    name: ClassVar[str] = "ledger.export"
    access: ClassVar[Access] = "export"
    purposes = EXPORTING
    rows = (BundleLine,)

    profile: str = text()
    dua: str = text()

    @property
    def words(self) -> str:
        return f"ledger export {self.profile}"


@asked
class LedgerProof(Query[ReceiptView]):
    """``ledger proof``."""

    name: ClassVar[str] = "ledger.proof"
    access: ClassVar[Access] = "export"
    purposes = EXPORTING
    rows = (ReceiptView,)

    seq: int = number()
    profile: str = text()

    @property
    def words(self) -> str:
        return f"ledger proof {self.seq} {self.profile or 'integrity-only'}"

    @property
    def whose(self) -> Whose:
        return OfEntry(self.seq)


@asked
class LedgerCheckpoint(Query[CheckpointView]):
    """``ledger checkpoint``."""

    name: ClassVar[str] = "ledger.checkpoint"
    rows = (CheckpointView,)


class LedgerQueries:
    """Answers for one account at a time; every look goes through the door."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._writer = door.writer
        self._table = door.table

    def list(self, viewer: Viewer, query: LedgerList) -> Iterator[Seen[EntryLine]]:
        if query.kind and query.kind not in SCHEMAS:
            known = " ".join(SCHEMAS)
            raise UsageError(f"--kind {query.kind!a}: no such kind of entry; known: {known}")
        kinds = (query.kind,) if query.kind else ()

        def lines(opened: Opened) -> Iterator[EntryLine]:
            for seq, kind, slots in opened.open_slots(kinds):
                yield EntryLine(seq=seq, kind=kind, slots=slots)

        return self._door.disclose(viewer, query, lines)

    def show(self, viewer: Viewer, query: LedgerShow) -> Iterator[Seen[EntryView]]:
        size = self._writer.ledger.size

        def entry(opened: Opened) -> Iterator[EntryView]:
            _check_number(query.seq, size)
            one = opened.entry(query.seq)
            yield EntryView(seq=one.seq, kind=one.kind, ts=one.ts, leaf_hash=one.leaf_hash, slots=one.slots)

        return self._door.disclose(viewer, query, entry)

    def export(self, viewer: Viewer, query: LedgerExport) -> Iterator[Seen[BundleLine]]:
        """The bundle, a line at a time."""
        self._check_profile(query.profile)
        if query.profile == LIMITED:
            if not query.dua:
                raise UsageError(
                    "--dua ID: a limited data set needs its data use agreement (45 CFR 164.514(e)(4))"
                )
            query = replace(query, reason=f"data use agreement {query.dua}: {query.reason}"[:MAX_TEXT])
        query = replace(query, purpose=query.purpose or self._door.purpose(viewer, query))

        def digest(digest: str, count: int) -> None:
            values = access_values(
                viewer, purpose=query.purpose, reason=query.reason, policy_hash=self._table.hash
            )
            values |= {"outcome": "exported", "request": "export", "query": SAFE_HARBOR, "count": count}
            self._door.commit(Draft("access.export", values | {"bundle_digest": digest}))

        def lines(opened: Opened) -> Iterator[BundleLine]:
            if query.profile == SAFE_HARBOR:
                made = opened.safe_harbor(query.profile, digest)
            else:
                made = opened.bundle(query.profile, query.purpose, query.reason, self._door.commit)
            return (BundleLine(line=Exported(line)) for line in made)

        return self._door.disclose(viewer, query, lines)

    def proof(self, viewer: Viewer, query: LedgerProof) -> Iterator[Seen[ReceiptView]]:
        """One entry's receipt, under a checkpoint that covers the look at it too."""
        size = self._writer.ledger.size
        profile = query.profile or "integrity-only"
        self._check_profile(profile)
        if profile == SAFE_HARBOR:
            raise UsageError(
                "--profile safe-harbor: a receipt holds the entry itself, which is not de-identified"
            )

        def receipt(opened: Opened) -> Iterator[ReceiptView]:
            _check_number(query.seq, size)
            yield ReceiptView(receipt=Exported(opened.receipt(query.seq, profile)))

        return self._door.disclose(viewer, query, receipt)

    def checkpoint(self, viewer: Viewer, query: LedgerCheckpoint) -> Iterator[Seen[CheckpointView]]:
        """A checkpoint over everything so far, this question included. Origin, size, root: nothing else."""

        def newest(_: Opened) -> Iterator[CheckpointView]:
            self._writer.sign()
            with self._writer.reading() as reader:
                found = reader.ledger.last_checkpoint()
            if found is None:
                raise StoreError("the ledger has no checkpoint; run ledger verify")
            size, root = head_of(found[1])
            origin = found[1].partition("\n")[0]
            yield CheckpointView(origin=origin, size=size, root=root.hex(), note=found[1])

        return self._door.disclose(viewer, query, newest)

    def _check_profile(self, name: str) -> None:
        try:
            self._table.profile(name)
        except ValueError as exc:
            raise UsageError(f"--profile {name!a}: expected {str(exc).removeprefix('profile: ')}") from None


def _check_number(seq: int, size: int) -> None:
    """``size`` is the ledger's before the look at it: how long it is, only who may look is told."""
    if seq >= size:
        raise UmbridgeError(f"there is no entry {seq}; the ledger holds 0 to {size - 1}")
