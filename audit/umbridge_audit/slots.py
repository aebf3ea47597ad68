"""What each kind of entry says: its slots, their compartments, and the commitments over them.

SPEC.md sections 5 and 12. The table is fixed: a changed list is a new schema ("determination/2").
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import sha256, shake_256
from json.encoder import encode_basestring
from struct import Struct
from types import MappingProxyType

from umbridge_audit.entry import IN_BODY, MAX_INT, FormatError, JsonValue, canonical, decode
from umbridge_audit.newer import UnknownSchemaError, is_name
from umbridge_audit.tree import root_of

COMPARTMENTS = ("ops", "ident", "clin", "fin", "sens")
_MESSAGE_OPS = "row control_id message_type sender version digest ack reason of_row"
_ACCESS_OPS = (
    "account roles auth purpose reason request query count revealed policy_hash source "
    "bundle_digest entries_root"
)
_MESSAGE = ("actor feed state", {"ops": _MESSAGE_OPS})
_ACCESS = ("actor outcome", {"ops": _ACCESS_OPS, "ident": "patient"})
_WHO = "account roles auth reason"
_PLUGIN = ("actor plugin reason", {"ops": "version digest detail"})

# kind, or kind/number from 2: (open slots after `schema ts`, slots of each compartment). Of a kind's lists
# the last is written; the others are those of entries of before, and are read and verified for ever.
_TABLE: dict[str, tuple[str, dict[str, str]]] = {
    "genesis": ("actor org chain facility software config", {}),
    "message.received": _MESSAGE,
    "message.refused": _MESSAGE,
    "message.ignored": _MESSAGE,
    "message.variant": _MESSAGE,
    "determination": (
        "actor state",
        {
            "ops": "row control_id message_digest plugin plugin_version subset edition content_digest review "
            "review_id isolation latency_us replay supersedes",
            "ident": "visit mrn",
            "clin": "outcome requested_status requested_level supported episode_day missing rationale "
            "evidence basis advise_higher advise_missing scores discharge_ready extended_stay_reason as_of",
            "fin": "payer_class avoidable_day avoidable_attribution",
            "sens": "tags sens_rationale sens_evidence",
        },
    ),
    "determination/2": (
        "actor state",
        {
            "ops": "row control_id message_digest plugin plugin_version subset edition content_digest "
            "content_status rules review review_id isolation latency_us replay supersedes",
            "ident": "visit mrn",
            "clin": "outcome requested_status requested_level supported episode_day missing rationale "
            "evidence basis advise_higher advise_missing scores discharge_ready extended_stay_reason as_of "
            "judged_at closes hold",
            "fin": "payer_class avoidable_day avoidable_attribution",
            "sens": "tags sens_rationale sens_evidence",
        },
    ),
    "review.changed": ("actor state", {"ops": "row review review_id due", "ident": "visit mrn"}),
    "review.changed/2": ("actor state", {"ops": "row review review_id due reason", "ident": "visit mrn"}),
    "access.read": _ACCESS,
    "access.search": _ACCESS,
    "access.export": _ACCESS,
    "access.denied": _ACCESS,
    "key.create": ("actor kid alg commit", {}),
    "key.rotate": ("actor kid alg commit kek", {}),
    "key.handover": ("actor before after signatures", {}),
    "policy.activate": ("actor policy_hash", {"ops": "users text"}),
    "plugin.load": _PLUGIN,
    "plugin.fail": _PLUGIN,
    "plugin.approve": ("actor plugin state digest", {"ops": f"{_WHO} version of_entry"}),
    "audit.status": ("actor state", {"ops": "version detail"}),
    "config.change": ("actor config_hash", {"ops": "detail"}),
    "clock.step": ("actor", {"ops": "detail"}),
    "quarantine": ("actor state", {"ops": "row reason by"}),
    "approval": ("actor state", {"ops": f"{_WHO} subject of_entry expires"}),
    "privilege.change": ("actor state", {"ops": f"{_WHO} subject before after"}),
    "breakglass.open": ("actor state", {"ops": f"{_WHO} purpose expires due", "ident": "patient"}),
    "breakglass.review": ("actor state", {"ops": f"{_WHO} of_entry"}),
    "disclosure": (
        "actor state",
        {
            "ops": f"{_WHO} basis exclusion on last_on times",
            "ident": "patient recipient address what statement",
        },
    ),
    "exception.close": ("actor state", {"ops": f"{_WHO} exception detail", "ident": "patient"}),
    "backup.create": ("actor state", {"ops": f"{_WHO} digest bytes entries kid"}),
}

NOTHING: Mapping[str, str] = MappingProxyType({})
_HOLE = "\x7f"  # in what a schema is written by, where salts and texts go: no name has it
_SALT = re.compile(r"[A-Za-z0-9+/]{43}=\Z")


class Schema:
    """One kind's slots, with everything that does not depend on an entry worked out once."""

    def __init__(self, kind: str, open_slots: str, closed: Mapping[str, str], edition: int = 1) -> None:
        self.kind = kind
        self.name = f"{kind}/{edition}"
        self.open = ("schema", "ts", *open_slots.split())
        slots = [(name, "open") for name in self.open]
        for c in COMPARTMENTS:
            slots += [(name, c) for name in closed.get(c, "").split()]
        self.slots = tuple(slots)
        self.names = tuple(name for name, _ in slots)
        self.size = len(slots)
        self.compartments = tuple(c for c in COMPARTMENTS if c in closed)
        self.number = {name: k for k, name in enumerate(self.names)}
        # c: numbers of its slots, which are consecutive
        self.of = {c: range(len(self.open)) for c in ("open",)} | {
            c: range(self.names.index(closed[c].split()[0]), self.names.index(closed[c].split()[-1]) + 1)
            for c in self.compartments
        }
        # compartment, its name with its length before it, its slots
        self.closed = tuple((c, bytes((len(c),)) + c.encode(), self.of[c]) for c in self.compartments)
        self.leads = tuple(f"[{k}," for k in range(self.size))  # before a value in a part's body
        self._ranges = tuple(slice(self.of[c].start, self.of[c].stop) for c in self.compartments)
        # c_k hashes head_k ‖ salt ‖ mid_k ‖ value ‖ "]"
        self.head = tuple(b"\x00umb/f/1" + k.to_bytes(2, "big") + b'["' for k in range(self.size))
        self.mid = tuple(f'","{name}",'.encode() for name in self.names)
        # The same for all slots at once: salts (without their last "=") and texts in turn go into it.
        # No JSON text has a bare line feed and no head has two, so two of them part the preimages again.
        self._preimages = self._parted(range(self.size))
        opening = ",".join(f'[{k},"{_HOLE}=","{name}",{_HOLE}]' for k, name in enumerate(self.open))
        self._opening = _with_holes(f"[{opening}]")
        self._cut = Struct("32s" * self.size)
        self._groups = {c: self._group(numbers) for c, numbers in self.of.items()}
        self.groups = tuple(len(self.of[c]) for c in ("open", *self.compartments))  # slots to one secret each

    def _parted(self, numbers: range) -> list[str]:
        """The preimages of some slots, with holes for their salts and texts."""
        return _with_holes(
            "\n\n".join(f'\0umb/f/1\0{chr(k)}["{_HOLE}=","{self.names[k]}",{_HOLE}]' for k in numbers)
        )

    def _group(self, numbers: range) -> tuple[list[str], Struct]:
        """The preimages of one group's slots, and how its salts are cut."""
        return self._parted(numbers), Struct("32s" * len(numbers))

    @cached_property
    def _plain(self) -> re.Pattern[str]:
        """An ``open`` column whose values are plain: one spelling each, so a match needs no second look.

        Made when a first entry is read: who only writes, or looks at a name, need not wait for all kinds.
        """
        return re.compile(
            r"\[\["
            + r"\],\[".join(
                rf'{k},"([A-Za-z0-9+/]{{43}})=","{re.escape(name)}",'
                + (f'("{re.escape(self.name)}")' if k == 0 else r'(null|"[ !#-\[\]-~]*"|0|[1-9][0-9]{0,14})')
                for k, name in enumerate(self.open)
            )
            + r"\]\]\Z"
        )

    def plain_open(self, text: str) -> list[bytes] | None:
        """c_k of an ``open`` column with plain values; else None."""
        found = self._plain.match(text)
        if found is None:
            return None
        return _hashes(self._groups["open"][0], found.groups())

    def derived(self, c: str, secret: bytes, texts: Sequence[str]) -> list[bytes]:
        """All c_k of a compartment from its secret and each slot's canonical JSON."""
        template, cut = self._groups[c]
        stream = shake_256(b"umb/salts/1" + secret).digest(cut.size)
        encoded = b2a_base64(b"\0".join(cut.unpack(stream)) + b"\0", newline=False).decode("ascii")
        both = [""] * (2 * len(texts))
        both[::2] = [encoded[i : i + 43] for i in range(0, 44 * len(texts), 44)]
        both[1::2] = texts
        return _hashes(template, both)

    def opening(self, salts_and_texts: Sequence[str]) -> str:
        """The store's ``open`` column, from the front of ``salted``'s list."""
        return _filled(self._opening, salts_and_texts[: 2 * len(self.open)])

    def salted(self, secrets: bytes, texts: Sequence[str]) -> list[str]:
        """Salt (base64 without its last "=") and text of each slot in turn, from 32 bytes a group."""
        streams = [
            shake_256(b"umb/salts/1" + secrets[32 * i : 32 * i + 32]).digest(32 * count)
            for i, count in enumerate(self.groups)
        ]
        # A zero byte after each 32 makes whole base64 groups of them: the 43 characters are the same.
        spaced = b"\0".join(self._cut.unpack(b"".join(streams))) + b"\0"
        encoded = b2a_base64(spaced, newline=False).decode("ascii")
        both = [""] * (2 * self.size)
        both[::2] = [encoded[i : i + 43] for i in range(0, 44 * self.size, 44)]
        both[1::2] = texts
        return both

    def commitments(self, salts_and_texts: Sequence[str]) -> list[bytes]:
        """All c_k, from ``salted``'s list."""
        return _hashes(self._preimages, salts_and_texts)

    def roots(self, commitments: Sequence[bytes]) -> list[bytes]:
        """The root over each compartment's slots, from all c_k."""
        return [root_of(commitments[numbers]) for numbers in self._ranges]

    def commitment(self, k: int, salt: bytes, value: bytes) -> bytes:
        """c_k for a base64 salt and a value's canonical JSON."""
        return sha256(self.head[k] + salt + self.mid[k] + value + b"]").digest()

    def texts(self, values: Mapping[str, JsonValue], spelt: Mapping[str, str] = NOTHING) -> list[str]:
        """The canonical JSON of each slot, in order. Raises FormatError for unknown names or bad values.

        ``spelt``: of some of these values the text, from a caller who knows it and answers for it.
        """
        texts = ["null"] * self.size
        number = self.number
        for name, value in values.items():
            k = number.get(name)
            if k is None:
                raise FormatError(f"{self.kind} has no slot of that name")
            kind = type(value)
            if spelt and name in spelt:
                texts[k] = spelt[name]
                continue
            if kind is str and value.isascii():  # type: ignore[union-attr]  # its type is known
                texts[k] = encode_basestring(value)  # type: ignore[arg-type]
            elif kind is int and 0 <= value <= MAX_INT:  # type: ignore[operator]
                texts[k] = int.__repr__(value)
            elif value is not None:
                texts[k] = canonical(value, IN_BODY)  # a column of open slots has one level less
        return texts


def _with_holes(text: str) -> list[str]:
    """A text cut at its holes, each a place in the list: filled and joined, it takes a third of what ``%``
    takes."""
    pieces = text.split(_HOLE)
    return [one for piece in pieces for one in (piece, "")][:-1]


def _filled(text: Sequence[str], holes: Sequence[str]) -> str:
    made = list(text)
    made[1::2] = holes
    return "".join(made)


def _hashes(preimages: Sequence[str], holes: Sequence[str]) -> list[bytes]:
    parted = _filled(preimages, holes).encode().split(b"\n\n")
    return [made.digest() for made in map(sha256, parted)]


def _schemas() -> Iterator[Schema]:
    for name, spec in _TABLE.items():
        kind, _, edition = name.partition("/")
        yield Schema(kind, *spec, edition=int(edition or "1"))


BY_NAME: dict[str, Schema] = {schema.name: schema for schema in _schemas()}  # whatever an entry may be
SCHEMAS: dict[str, Schema] = {schema.kind: schema for schema in BY_NAME.values()}  # what is written, by kind


def salts(secret: bytes, count: int) -> list[bytes]:
    """The base64 salts of one group of slots: one SHAKE256 call, 32 bytes for each slot."""
    stream = shake_256(b"umb/salts/1" + secret).digest(32 * count)
    return [b2a_base64(stream[i : i + 32], newline=False) for i in range(0, 32 * count, 32)]


def open_text(schema: Schema, salted: Sequence[str], texts: Sequence[str]) -> str:
    """The store's ``open`` column: canonical JSON of [[k,salt,name,value],…] over the open slots."""
    return (
        "["
        + ",".join(
            [
                f'[{k},"{salt}","{name}",{text}]'
                for k, (salt, name, text) in enumerate(zip(salted, schema.open, texts, strict=False))
            ]
        )
        + "]"
    )


def check_open(text: str) -> tuple[Schema, dict[str, JsonValue], list[bytes]]:
    """Reads an ``open`` column strictly: its schema, values by name, and commitments. Raises FormatError."""
    rows = decode(text)
    if not isinstance(rows, list) or not rows:
        raise FormatError("open slots")
    found = read_openings(rows)
    schema = found.schema
    if schema is None or len(rows) != len(schema.open) or list(found.commitments) != list(schema.of["open"]):
        raise FormatError("open slots are not those of the kind")
    # Every piece is canonical by now, so building the text again shows whether the whole was.
    if open_text(schema, found.salts, found.texts) != text:
        raise FormatError("open slots are not canonical")
    return schema, found.values, list(found.commitments.values())


class Openings:
    """Disclosed slots: names and numbers agree with the schema, commitments computed."""

    __slots__ = ("commitments", "salts", "schema", "texts", "unknown", "values")

    def __init__(self) -> None:
        self.schema: Schema | None = None
        self.unknown: str | None = None  # the name of a schema that is not in the table
        self.values: dict[str, JsonValue] = {}
        self.commitments: dict[int, bytes] = {}
        self.salts: list[str] = []
        self.texts: list[str] = []


def read_openings(rows: Sequence[JsonValue]) -> Openings:
    """Reads [[k,salt,name,value],…]: ascending, slot 0 first, the schema's names. Raises FormatError,
    UnknownSchemaError of a kind that is not in the table."""
    found = Openings()
    last = -1
    for row in rows:
        if not isinstance(row, list) or len(row) != 4:
            raise FormatError("opening")
        k, salt, name, value = row
        if type(k) is not int or type(salt) is not str or type(name) is not str or k <= last:
            raise FormatError("opening")
        if _SALT.match(salt) is None:
            raise FormatError("salt")
        if found.schema is None:
            if k != 0 or name != "schema" or not isinstance(value, str):
                raise FormatError("schema slot")
            if value not in BY_NAME:
                raise UnknownSchemaError(value) if is_name(value) else FormatError("schema slot")
            found.schema = BY_NAME[value]
        if k >= found.schema.size or found.schema.names[k] != name:
            raise FormatError("slot name")
        last = k
        found.values[name] = value
        text = canonical(value)
        found.salts.append(salt)
        found.texts.append(text)
        found.commitments[k] = found.schema.commitment(k, salt.encode(), text.encode())
    return found


def fields_root(opened: Sequence[bytes], closed: Sequence[bytes]) -> bytes:
    """``fields`` over the open slots' commitments, then the compartments' roots."""
    return root_of([*opened, *closed])


def split_closed(schema: Schema, closed: bytes) -> list[bytes]:
    """The compartments' roots. Raises FormatError unless there are exactly as many as compartments."""
    if len(closed) != 32 * len(schema.compartments):
        raise FormatError("closed roots")
    return [closed[i : i + 32] for i in range(0, len(closed), 32)]
