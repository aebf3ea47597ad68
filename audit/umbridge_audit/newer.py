"""Entries of a kind that this verifier does not know: what of them is checked all the same.

A later version may write kinds, or longer lists of slots, that an older verifier has never heard of. Their
leaves, links, tree, signatures and ciphertexts are checked like all others, and their slots against
``fields``. What the slots are called and mean is not judged, and the verdict says so. SPEC.md section 13.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import combinations, groupby, pairwise, product
from math import comb, prod

from umbridge_audit.entry import FormatError, JsonValue, canonical, decode
from umbridge_audit.tree import root_of

_NAME = re.compile(r"[a-z][a-z_]{0,39}(?:\.[a-z][a-z_]{0,39}){0,2}/[1-9][0-9]{0,3}\Z")
_SLOT = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_SALT = re.compile(r"[A-Za-z0-9+/]{43}=\Z")
#: How many ways of dividing slots among compartments are tried for one line before it is left unjudged.
MOST_DIVISIONS = 300_000


class UnknownSchemaError(FormatError):
    """Slot 0 names a list of slots that is not in the table; ``name`` is it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"schema {name} is not known to this version")
        self.name = name


def is_name(value: str) -> bool:
    """Whether this could be the name of a kind's list of slots."""
    return _NAME.match(value) is not None


def may_hold_keys(name: str) -> bool:
    """Whether entries of this kind can introduce or hand over keys: the name says so, in every version."""
    return name.startswith("key.")


def read_any(rows: Sequence[JsonValue]) -> tuple[dict[str, JsonValue], dict[int, bytes], str]:
    """Shown slots of an unknown kind: values by name, commitments by number, and the rows' only spelling.

    Raises FormatError for what no kind's slots can be.
    """
    values: dict[str, JsonValue] = {}
    commitments: dict[int, bytes] = {}
    texts: list[str] = []
    last = -1
    for row in rows:
        if not isinstance(row, list) or len(row) != 4:
            raise FormatError("opening")
        k, salt, name, value = row
        if (
            type(k) is not int
            or not last < k < 1 << 16
            or not isinstance(salt, str)
            or not isinstance(name, str)
        ):
            raise FormatError("opening")
        if _SALT.match(salt) is None or _SLOT.match(name) is None or name in values:
            raise FormatError("opening")
        if (k == 0) != (name == "schema") or (k == 1) != (name == "ts"):
            raise FormatError("slot name")
        last = k
        values[name] = value
        rest = f'"{salt}","{name}",{canonical(value)}]'
        texts.append(f"[{k},{rest}")
        commitments[k] = sha256(b"\0umb/f/1" + k.to_bytes(2, "big") + b"[" + rest.encode()).digest()
    return values, commitments, f"[{','.join(texts)}]"


def check_stored(text: str, closed: bytes, compartments: Sequence[str], fields: bytes) -> str | None:
    """A store's two columns of slots; the code of what is wrong with them. SPEC.md section 10."""
    try:
        rows = decode(text)
        if not isinstance(rows, list):
            return "open_slots"
        _, commitments, spelling = read_any(rows)
    except FormatError:
        return "open_slots"
    if spelling != text or len(rows) < 2 or list(commitments) != list(range(len(rows))):
        return "open_slots"
    if len(closed) != 32 * len(compartments):
        return "closed_slots"
    roots = [closed[i : i + 32] for i in range(0, len(closed), 32)]
    return None if root_of([*commitments.values(), *roots]) == fields else "fields_root"


def agrees(
    commitments: Mapping[int, bytes],
    roots: Mapping[str, bytes],
    compartments: Sequence[str],
    fields: bytes,
) -> bool | None:
    """Whether the slots of a line, divided in some way among ``compartments``, give ``fields``.

    How many slots each has is not known, so every division is tried. A division that gives the root is the
    entry's own: another would be a second preimage. None where there are too many.
    """
    if not set(roots) <= set(compartments):
        return False
    runs = [
        [k for _, k in run]
        for _, run in groupby(enumerate(sorted(commitments)), lambda pair: pair[1] - pair[0])
    ]
    blocks: list[list[str]] = [["open"]]  # of compartments that lie side by side and are not hidden whole
    for c in compartments:
        if c in roots:
            if blocks[-1]:
                blocks.append([])
        else:
            blocks[-1].append(c)
    blocks = [block for block in blocks if block]
    if len(runs) != len(blocks) or not runs or runs[0][0] != 0:
        return False
    if (
        prod(comb(len(run) - 1, len(block) - 1) for run, block in zip(runs, blocks, strict=True))
        > MOST_DIVISIONS
    ):
        return None
    known: dict[tuple[int, int], bytes] = {}

    def root(start: int, stop: int) -> bytes:
        if (start, stop) not in known:
            known[start, stop] = root_of([commitments[k] for k in range(start, stop)])
        return known[start, stop]

    for cuts in product(*(_cuts(run, len(block)) for run, block in zip(runs, blocks, strict=True))):
        whole: list[bytes] = []
        found = dict(roots)
        for block, spans in zip(blocks, cuts, strict=True):
            for c, (start, stop) in zip(block, spans, strict=True):
                if c == "open":
                    whole = [commitments[k] for k in range(start, stop)]
                else:
                    found[c] = root(start, stop)
        if root_of([*whole, *(found[c] for c in compartments)]) == fields:
            return True
    return False


def _cuts(run: Sequence[int], groups: int) -> Iterator[list[tuple[int, int]]]:
    """A run of consecutive numbers cut into so many spans, none empty, in every way."""
    first, end = run[0], run[-1] + 1
    for inner in combinations(range(first + 1, end), groups - 1):
        edges = [first, *inner, end]
        yield list(pairwise(edges))
