"""A ledger in memory, to be changed there: each change is alone, as what hangs on it is made right again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import breaking
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from umbridge_audit.checkpoint import Checkpoint, sign
from umbridge_audit.entry import JsonValue, Leaf, Record, canonical, leaf_bytes
from umbridge_audit.examine import Level, Page
from umbridge_audit.keys import Keyring
from umbridge_audit.policy import Policy
from umbridge_audit.report import Report
from umbridge_audit.slots import SCHEMAS, check_open, fields_root, open_text
from umbridge_audit.store import open_readonly
from umbridge_audit.tree import leaf_hash, root_of
from umbridge_audit.verify import verify

SALT = "A" * 43 + "="


class Listed:
    """Evidence that can only be read record by record."""

    def __init__(self, records: Sequence[Record], notes: Sequence[tuple[int, str]]) -> None:
        self.rows, self.notes = records, notes

    def snapshot(self) -> AbstractContextManager[object]:
        return nullcontext()

    def records(self, start: int = 0, stop: int | None = None) -> Iterator[Record]:
        for record in self.rows:
            if (not start or record.seq >= start) and (stop is None or record.seq < stop):
                yield record

    def checkpoints(self) -> Iterator[tuple[int, str]]:
        return iter(self.notes)


class InPages(Listed):
    """The same, for who reads it in pages."""

    lines: Sequence[str] | None = None  # what witnesses signed; None: nobody is to ask

    def regular(self) -> int | None:
        return len(self.rows) if [row.seq for row in self.rows] == list(range(len(self.rows))) else None

    def page(self, start: int, stop: int) -> Page:
        rows = self.rows[start:stop]
        return (
            [(row.seq, row.leaf, row.open.encode(), row.closed) for row in rows],
            [(row.seq, c.encode(), ct) for row in rows for c, ct in row.parts.items()],
        )

    def cosignatures(self, size: int) -> list[str]:
        assert self.lines is not None, "no quorum, and still somebody asks for cosignatures"
        return list(self.lines)

    def again(self) -> Any:
        raise NotImplementedError("one process reads this")


@dataclass(frozen=True)
class Made:
    """A ledger in memory with the key that signs it."""

    records: list[Record]
    policy: Policy
    key: Ed25519PrivateKey
    keyring: Keyring

    def root(self, size: int) -> bytes:
        return root_of([leaf_hash(record.leaf) for record in self.records[:size]])

    def note(self, size: int, root: bytes | None = None) -> str:
        return sign(Checkpoint(self.policy.origin, size, self.root(size) if root is None else root), self.key)

    def notes(self, *sizes: int) -> list[str]:
        return [self.note(size) for size in sizes]

    def of(self, records: Sequence[Record], *, pin: bool = False) -> Made:
        """Another ledger under the same key; ``pin``: the policy has its first entry."""
        genesis = leaf_hash(records[0].leaf) if pin else self.policy.genesis
        return replace(self, records=list(records), policy=replace(self.policy, genesis=genesis))

    def said(
        self,
        stored: Sequence[str] | Sequence[tuple[int, str]] | None = None,
        anchors: Sequence[str] = (),
        level: Level = "keyless",
        **more: Any,
    ) -> Report:
        """What the verifier says of it, read either way; ``stored``, if not given, is one good note."""
        plain = self.notes(len(self.records)) if stored is None else stored
        numbered = [(n, note) if isinstance(note, str) else note for n, note in enumerate(plain)]
        keyring = self.keyring if level == "full" else None
        one, other = (
            verify(
                made(self.records, numbered),
                self.policy,
                level=level,
                anchor_notes=anchors,
                keyring=keyring,
                **more,
            )
            for made in (Listed, InPages)
        )
        assert replace(one, seconds=0.0) == replace(other, seconds=0.0)
        return one


def faults(report: Report) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.seq) for problem in report.problems]


def relinked(records: Sequence[Record], start: int = 1) -> list[Record]:
    """The same entries one after another from ``start`` on, each naming the one before it."""
    made = list(records[:start])
    for seq, record in enumerate(records[start:], start):
        value = json.loads(record.leaf) | {"seq": seq}
        if seq:
            value["prev"] = leaf_hash(made[-1].leaf).hex()
        made.append(replace(record, seq=seq, leaf=canonical(value).encode()))
    return made


def leaf_of(record: Record, **changed: object) -> Record:
    return replace(record, leaf=canonical(json.loads(record.leaf) | changed).encode())  # type: ignore[arg-type]


def open_entry(kind: str, **values: JsonValue) -> Record:
    """An entry of a kind that has open slots alone, in no place yet."""
    schema = SCHEMAS[kind]
    texts = schema.texts({"schema": schema.name, "actor": "zztest", **values})
    opened = open_text(schema, [SALT] * len(texts), texts)
    fields = fields_root(check_open(opened)[2], [])
    return Record(0, leaf_bytes(Leaf("genhosp/adt-1", fields, 1, (), bytes(32), 0)), opened, b"", {})


def key_entry(kid: str, alg: str = "XAES-256-GCM", commit: str = "00") -> Record:
    """An entry that introduces a key, in no place yet."""
    return open_entry("key.create", kid=kid, alg=alg, commit=commit)


def held(lab: Any) -> Made:
    """A laboratory's ledger as it is."""
    with open_readonly(lab.db) as source:
        records = list(source.records())
    key = Ed25519PrivateKey.from_private_bytes(breaking.seed(lab))
    return Made(records, lab.policy, key, Keyring.open(lab.keys))
