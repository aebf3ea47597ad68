"""One record, checked by itself: everything that needs no neighbour. No SQL, and no key below ``full``.

SPEC.md section 13. The writer, the verifier and every reveal use this one function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from umbridge_audit.entry import FormatError, JsonValue, Leaf, Record, canonical, parse, parse_leaf
from umbridge_audit.handover import Handover, from_entry
from umbridge_audit.newer import UnknownSchemaError, check_stored
from umbridge_audit.slots import check_open, fields_root, split_closed
from umbridge_audit.tree import leaf_hash

if TYPE_CHECKING:
    from umbridge_audit.keys import Keyring

Level = Literal["spine", "keyless", "full"]


class SourceError(Exception):
    """The evidence itself cannot be read as it must be: a code, and the entry if one can be named."""

    def __init__(self, code: str, seq: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.seq = seq


class Source(Protocol):
    """Where records come from: a store, or a list in a test."""

    def snapshot(self) -> AbstractContextManager[object]:
        """Holds one consistent view for as long as it is open."""

    def records(self, start: int = 0, stop: int | None = None) -> Iterator[Record]:
        """Every row in ascending order of its number, whatever the numbers are. Raises SourceError."""

    def checkpoints(self) -> Iterator[tuple[int, str]]:
        """Every stored checkpoint as (n, note), ascending. Raises SourceError."""


# (seq, leaf, open, closed) and (seq, compartment, ciphertext), as a driver gives them, texts as bytes.
Page = tuple[Sequence[tuple[object, ...]], Sequence[tuple[object, ...]]]


@runtime_checkable
class Paged(Source, Protocol):
    """A source that can also give raw pages of a range, and be opened again in another process."""

    def regular(self) -> int | None:
        """One past the last entry's number when numbers begin at 0 and no part lies outside; else None."""

    def page(self, start: int, stop: int) -> Page:
        """All rows of entries [start, stop), in order, unchecked. Raises SourceError."""

    def cosignatures(self, size: int) -> list[str]:
        """The signature lines that witnesses gave for the checkpoint of this size."""

    def again(self) -> Callable[[], AbstractContextManager[Paged]]:
        """What another process calls to open the same source."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one record says once it has been checked by itself; ``code`` is its first fault, if any."""

    row: int
    hashed: bytes
    code: str | None = None
    seq: int | None = None
    prev: bytes = b""
    kids: tuple[str, ...] = ()
    introduces: tuple[str, str, str] | None = None  # kid, alg, commit of a key entry
    config: str | None = None  # of a genesis entry
    handover: Handover | None = None  # of the signing key, signed as it must be
    unknown: str | None = None  # its schema, where this version has no such list of slots: not judged

    @property
    def is_judged(self) -> bool:
        """Whether it is of a known kind, and sound."""
        return self.code is None and self.unknown is None


def examine(record: Record, level: Level, chain: str, gen: int, keyring: Keyring | None = None) -> Seen:
    """Everything that can be checked of one record without its neighbours."""
    hashed = leaf_hash(record.leaf)
    try:
        leaf = parse_leaf(record.leaf)
    except FormatError:
        return Seen(record.seq, hashed, "leaf_format")
    kids = tuple(part.kid for part in leaf.parts)

    def fault(code: str) -> Seen:
        return Seen(record.seq, hashed, code, leaf.seq, leaf.prev, kids)

    if leaf.chain != chain or leaf.gen != gen:
        return fault("other_chain")
    if leaf.seq != record.seq:
        return fault("seq_row")
    if len(record.parts) != len(leaf.parts):
        return fault("part_missing")
    for part in leaf.parts:
        ct = record.parts.get(part.c)
        if ct is None:
            return fault("part_missing")
        if sha256(ct).hexdigest() != part.h:
            return fault("part_hash")
    if level == "spine":
        return Seen(record.seq, hashed, None, leaf.seq, leaf.prev, kids)
    try:
        schema, values, commitments = check_open(record.open)
    except UnknownSchemaError as exc:
        code = check_stored(record.open, record.closed, [part.c for part in leaf.parts], leaf.fields)
        code = code or (_unread(record, leaf, keyring) if level == "full" else None)
        if code is not None:
            return fault(code)
        return Seen(record.seq, hashed, None, leaf.seq, leaf.prev, kids, unknown=exc.name)
    except FormatError:
        return fault("open_slots")
    try:
        closed = split_closed(schema, record.closed)
    except FormatError:
        return fault("closed_slots")
    if fields_root(commitments, closed) != leaf.fields:
        return fault("fields_root")
    if tuple(part.c for part in leaf.parts) != schema.compartments:
        return fault("part_set")
    introduces: tuple[str, str, str] | None = None
    config: str | None = None
    if schema.kind in ("key.create", "key.rotate"):
        introduces = (str(values["kid"]), str(values["alg"]), str(values["commit"]))
    if schema.kind == "genesis":
        config = _config(values, chain, gen)
        if config is None:
            return fault("genesis_config")
    handover: Handover | None = None
    if schema.kind == "key.handover":
        try:
            handover = from_entry(leaf.seq, values)
        except FormatError:
            return fault("handover")
    if level == "full":
        if keyring is None:
            return fault("key_missing")
        from umbridge_audit.keys import KeyRefusedError  # noqa: PLC0415  a keyless verifier loads no key code
        from umbridge_audit.seal import SealError, check_part, open_part  # noqa: PLC0415

        for part in leaf.parts:
            try:
                opened = open_part(schema, leaf, part, record.parts[part.c], keyring.cipher(part.kid))
                check_part(schema, part.c, opened, closed)
            except KeyRefusedError:
                return fault("key_refused")
            except SealError:
                return fault("part_sealed")
            except FormatError:
                return fault("part_content")
    return Seen(record.seq, hashed, None, leaf.seq, leaf.prev, kids, introduces, config, handover)


def _unread(record: Record, leaf: Leaf, keyring: Keyring | None) -> str | None:
    """Of a kind that is not known: whether each part decrypts and is padded as it must be."""
    if keyring is None:
        return "key_missing"
    from umbridge_audit.keys import KeyRefusedError  # noqa: PLC0415  a keyless verifier loads no key code
    from umbridge_audit.seal import SealError, open_body  # noqa: PLC0415

    try:
        for part in leaf.parts:
            open_body(leaf, part, record.parts[part.c], keyring.cipher(part.kid))
    except KeyRefusedError:
        return "key_refused"
    except SealError:
        return "part_sealed"
    except FormatError:
        return "part_content"
    return None


def _config(values: dict[str, JsonValue], chain: str, gen: int) -> str | None:
    """The genesis configuration, if it is canonical and says what the entry itself says."""
    text = values["config"]
    if not isinstance(text, str):
        return None
    try:
        config = parse(text)
    except FormatError:
        return None
    if not isinstance(config, dict):
        return None
    agrees = (
        config.get("chain") == chain == f"{values['org']}/{values['chain']}"
        and canonical(config.get("gen")) == str(gen)
        and config.get("facility") == values["facility"]
        and config.get("software") == values["software"]
    )
    return text if agrees else None


def genesis_prev(config: str) -> bytes:
    """What entry 0 has for ``prev``: SHA-256("umbridge/genesis/1" ‖ config)."""
    return sha256(b"umbridge/genesis/1" + config.encode()).digest()


def config_vkey(config: str) -> str | None:
    """The log's key as the genesis configuration names it."""
    value = parse(config)
    vkey = value.get("vkey") if isinstance(value, dict) else None
    return vkey if isinstance(vkey, str) else None
