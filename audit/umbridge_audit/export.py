"""Taking the ledger out: what a role may not see stays hidden and everything still verifies.

SPEC.md section 11. Written to a private file beside the target, whose name it gets only after the export's
own entry, with the digest of what is in it, is durable and under a signed checkpoint.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from umbridge_audit.bundle import FORMAT, SHOWN
from umbridge_audit.checkpoint import sync_directory
from umbridge_audit.disclose import NotPermitted, Sees, Shelf, Viewer, access_values, openings_within
from umbridge_audit.entry import Draft, JsonValue, Receipt, Record, canonical, parse_leaf
from umbridge_audit.redact import TELLING, AccessTable, Permission, Sight
from umbridge_audit.slots import check_open, split_closed
from umbridge_audit.tree import Frontier, leaf_hash


class Shelves(Shelf, Protocol):
    """What an export needs of a ledger: the writer itself, or a read-only view with keys."""

    def records(self, start: int = 0, stop: int | None = None) -> Iterator[Record]: ...

    def last_checkpoint(self) -> tuple[int, str] | None: ...

    def length(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: entries of the range, entries in all, and the export's own entry."""

    path: Path
    count: int
    size: int
    receipt: Receipt
    digest: str


def export(
    ledger: Shelves,
    permission: Permission,
    table: AccessTable,
    *,
    viewer: Viewer,
    purpose: str,
    reason: str,
    profile: str,
    out: Path,
    commit: Callable[[Draft], Receipt],
    checkpoint: Callable[[], object],
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Writes a bundle of all entries so far. Call it from ``produce`` of ``disclose(kind="export")``.

    A field is shown only where both the requester's ``permission`` and the ``profile`` ("role:<name>" or
    "integrity-only") show it. ``commit`` must be durable when it returns; ``checkpoint`` must then sign a
    size that covers that entry; the writer may go on writing meanwhile when ``ledger`` is a read-only view.
    Memory stays flat. Raises ValueError for an unknown profile, NotPermitted, FileExistsError rather than
    overwrite.
    """
    sees = permission.within(table.profile(profile))
    if profile == "safe-harbor":
        raise ValueError("profile: safe-harbor is no bundle, a leaf is not de-identified; see deidentify")
    if not permission.exports:
        raise NotPermitted("these roles may not export for this purpose")
    if out.exists():
        raise FileExistsError(f"{out}: exists already")
    beside = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            count = ledger.length()
            first = parse_leaf(ledger.record(0).leaf)
            manifest: dict[str, JsonValue] = {
                "format": FORMAT,
                "origin": f"umbridge.{first.chain}/{first.gen}",
                "profile": profile,
                "role": profile.removeprefix("role:") if profile.startswith("role:") else "",
                "purpose": purpose,
                "policy_hash": table.hash,
                "range": [0, count - 1],
                "count": count,
            }
            digest = sha256()
            frontier = Frontier()

            def write(line: str) -> None:
                raw = line.encode() + b"\n"
                digest.update(raw)
                file.write(raw)

            write(canonical(manifest))
            for record in ledger.records(0, count):
                write(entry_line(ledger, record, sees, ()))
                frontier.append(leaf_hash(record.leaf))
                if progress is not None and frontier.size % 256 == 0:
                    progress(frontier.size)
            values = access_values(viewer, purpose=purpose, reason=reason, policy_hash=table.hash) | {
                "outcome": "exported",
                "request": "export",
                "query": profile,
                "count": count,
                "revealed": permission.summary(),
                "bundle_digest": digest.hexdigest(),
                "entries_root": frontier.root().hex(),
            }
            receipt = commit(Draft("access.export", values))
            size = _tail(ledger, receipt, count, sees=sees, checkpoint=checkpoint, write=write)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(out)
        sync_directory(out.absolute().parent)
    finally:
        beside.unlink(missing_ok=True)
    return Exported(out, count, size, receipt, str(values["bundle_digest"]))


def _tail(
    ledger: Shelves,
    receipt: Receipt,
    count: int,
    *,
    sees: Sees,
    checkpoint: Callable[[], object],
    write: Callable[[str], None],
) -> int:
    """The entries after the range, the export's own among them, and the checkpoint over all."""
    checkpoint()
    newest = ledger.last_checkpoint()
    size = int(newest[1].split("\n", 2)[1]) if newest is not None else 0
    if newest is None or size <= receipt.seq:
        raise RuntimeError("no checkpoint covers the export's entry")
    for record in ledger.records(count, size):
        if record.seq == receipt.seq:
            write(entry_line(ledger, record, sees, SHOWN))
        else:
            write(canonical({"leaf": record.leaf.decode()}))
    write(canonical({"checkpoint": newest[1]}))
    return size


def entry_line(ledger: Shelf, record: Record, sees: Sees, always: tuple[str, ...]) -> str:
    """One record with its visible slots opened, the commitments of their neighbours, and the root of each
    compartment of which nothing may be seen."""
    schema, _, opened = check_open(record.open)
    roots = dict(zip(schema.compartments, split_closed(schema, record.closed), strict=True))
    needs = _Also(sees, always)
    found = openings_within(ledger, record, schema, needs)
    shown: list[JsonValue] = []
    hidden: list[JsonValue] = []
    seen = {c for name, c in schema.slots if needs.may(c, name) == "show"}
    for k, (name, c) in enumerate(schema.slots):
        # A reader needs slot 0 to make sense of any other, so it opens with the first of them.
        if needs.may(c, name) == "show" or (k == 0 and seen):
            salt, value = found[c][name] if c in found else schema_slot(ledger, record)
            shown.append([k, salt, name, value])
        elif c == "open":
            hidden.append([k, opened[k].hex()])
        elif c in seen:
            salt, value = found[c][name]
            hidden.append([k, schema.commitment(k, salt.encode(), canonical(value).encode()).hex()])
    hidden += [[c, root.hex()] for c, root in roots.items() if c not in seen]
    return canonical({"hidden": hidden, "leaf": record.leaf.decode(), "open": shown})


def schema_slot(ledger: Shelf, record: Record) -> tuple[str, JsonValue]:
    """Salt and value of slot 0."""
    return {name: (salt, value) for _, salt, name, value in ledger.openings(record, ("open",))["open"]}[
        "schema"
    ]


@dataclass(frozen=True, slots=True)
class _Also:
    """A sight with some fields added that the format itself needs, and those taken away that must not leave.

    A bundle and a receipt go to people nobody here knows. So what tells restricted determinations from others
    goes out to those alone who may see ``sens``: the exception for who reads the chart ends at the door.
    """

    sees: Sees
    always: tuple[str, ...]

    def may(self, compartment: str, field: str) -> Sight:
        if field in self.always:
            return "show"
        if field in TELLING.get(compartment, ()) and not self.sees.opens("sens"):
            return "hide"
        return self.sees.may(compartment, field)

    def opens(self, compartment: str) -> bool:
        return (bool(self.always) and compartment in ("open", "ops")) or self.sees.opens(compartment)
