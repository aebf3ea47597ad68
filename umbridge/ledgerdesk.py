"""Questions about the ledger itself: its entries, bundles and receipts of them, a checkpoint on demand."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from umbridge_audit import disclose as door
from umbridge_audit import export as bundles
from umbridge_audit.deidentify import statement
from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft, JsonValue
from umbridge_audit.redact import Narrowed, Permission
from umbridge_audit.slots import SCHEMAS
from umbridge_audit.store import open_readonly
from umbridge_audit.store.receipts import head_of, take_receipt

from umbridge.config import Settings
from umbridge.control import go_on
from umbridge.door import MAX_TEXT, USUAL_PURPOSES, Door, number_of, shown, text_of
from umbridge.errors import StoreError, UmbridgeError, UsageError
from umbridge.store.engine import DATABASE

PAGE = 100
SAFE_HARBOR, LIMITED = "safe-harbor", "limited-data-set"


class LedgerDesk:
    """Answers for one account at a time; every look goes through the door."""

    def __init__(self, settings: Settings, door: Door) -> None:
        self._settings = settings
        self._pen = door.pen
        self._table = door.table
        self.door = door

    def ledger_list(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        kind = text_of(args, "kind")
        if kind and kind not in SCHEMAS:
            raise UsageError(f"--kind {kind!a}: no such kind of entry; known: {' '.join(SCHEMAS)}")
        allowed = self.door.look(viewer, args, "search", "ledger list")
        after, kinds = 0, (kind,) if kind else ()
        while after < self._pen.ledger.size:
            go_on()
            found: list[dict[str, JsonValue]] = self._pen.call(
                lambda batch, after=after: list(  # type: ignore[misc]
                    self._pen.ledger.open_slots(after, after + PAGE, kinds=kinds)
                )
            )
            for row in found:
                yield {name: shown(allowed, "open", name, value) for name, value in row.items()}
            after += PAGE

    def ledger_show(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        seq = self._entry_number(args)
        patient = self.door.whose_entry(seq)
        allowed = self.door.look(viewer, args, "read", f"ledger show {seq}", patient=patient, count=1)
        yield self._pen.call(lambda batch: door.view(self._pen.ledger, allowed, seq))

    def ledger_export(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The bundle, a line at a time. It is made whole first, in the store, and loses its name at once."""
        profile, reason = text_of(args, "profile"), text_of(args, "reason")
        purpose = text_of(args, "purpose") or self._export_purpose(viewer)
        narrowed = self._profile(profile)
        if profile == LIMITED:
            agreement = text_of(args, "dua")
            if not agreement:
                raise UsageError(
                    "--dua ID: a limited data set needs its data use agreement (45 CFR 164.514(e)(4))"
                )
            reason = f"data use agreement {agreement}: {reason}"[:MAX_TEXT]
        asked = args | {"purpose": purpose, "reason": reason}
        allowed = self.door.look(viewer, asked, "export", f"ledger export {profile}")
        if profile == SAFE_HARBOR:
            yield from self._deidentified(viewer, allowed.within(narrowed), asked)
            return
        out = self._settings.store / f"export-{secrets.token_hex(8)}.jsonl"
        try:
            with open_readonly(self._settings.store / DATABASE, self._pen.keyring) as reader:
                bundles.export(
                    reader,
                    allowed,
                    self._table,
                    viewer=viewer,
                    purpose=purpose,
                    reason=reason,
                    profile=profile,
                    out=out,
                    commit=self.door.commit,
                    checkpoint=self._pen.sign,
                    progress=lambda _: go_on(),
                )
            with out.open(encoding="utf-8", newline="") as stream:
                out.unlink()  # the open handle is enough, and nobody who stops half-way leaves a file
                for line in stream:
                    yield {"line": line}
        finally:
            out.unlink(missing_ok=True)

    def _deidentified(
        self, viewer: Viewer, sees: Narrowed, asked: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """The Safe Harbor file: its digest is on the ledger before its first line goes out."""
        with open_readonly(self._settings.store / DATABASE, self._pen.keyring) as reader:
            records, digest = reader.records(0, reader.length()), sha256()
            lines = [
                f"{line}\n" for line in statement(reader, records, sees, self._table.hash, lambda _: go_on())
            ]
        for line in lines:
            digest.update(line.encode())
        values = door.access_values(
            viewer, purpose=asked["purpose"], reason=asked["reason"], policy_hash=self._table.hash
        ) | {"outcome": "exported", "request": "export", "query": SAFE_HARBOR, "count": len(lines) - 1}
        self.door.commit(Draft("access.export", values | {"bundle_digest": digest.hexdigest()}))
        yield from ({"line": line} for line in lines)

    def ledger_proof(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """One entry's receipt, under a checkpoint that covers the look at it too."""
        seq, profile = self._entry_number(args), text_of(args, "profile") or "integrity-only"
        narrowed = self._profile(profile)
        if profile == SAFE_HARBOR:
            raise UsageError(
                "--profile safe-harbor: a receipt holds the entry itself, which is not de-identified"
            )
        purpose = text_of(args, "purpose") or self._export_purpose(viewer)
        asked = f"ledger proof {seq} {profile}"
        allowed = self.door.look(viewer, args | {"purpose": purpose}, "export", asked, count=1)
        self._pen.sign()
        with open_readonly(self._settings.store / DATABASE, self._pen.keyring) as reader:
            yield {"receipt": take_receipt(reader, seq, allowed.within(narrowed))}

    def ledger_checkpoint(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A checkpoint over everything so far, this question included. Origin, size, root: nothing else."""
        self.door.look(viewer, args, "search", "ledger checkpoint")
        self._pen.sign()
        with open_readonly(self._settings.store / DATABASE) as reader:
            newest = reader.last_checkpoint()
        if newest is None:
            raise StoreError("the ledger has no checkpoint; run ledger verify")
        size, root = head_of(newest[1])
        yield {"origin": newest[1].partition("\n")[0], "size": size, "root": root.hex(), "note": newest[1]}

    def _entry_number(self, args: dict[str, Any]) -> int:
        seq = number_of(args, "seq")
        if not 0 <= seq < self._pen.ledger.size:
            raise UmbridgeError(f"there is no entry {seq}; the ledger holds 0 to {self._pen.ledger.size - 1}")
        return seq

    def _profile(self, name: str) -> Permission:
        try:
            return self._table.profile(name)
        except ValueError as exc:
            raise UsageError(f"--profile {name!a}: expected {str(exc).removeprefix('profile: ')}") from None

    def _export_purpose(self, viewer: Viewer) -> str:
        for purpose in ("HCOMPL", *USUAL_PURPOSES):
            if self._table.permission(viewer.roles, purpose).exports:
                return purpose
        return "HCOMPL"
