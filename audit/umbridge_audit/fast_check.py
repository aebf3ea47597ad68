"""A page of records, checked the quick way: all of it as the writer writes it, or left to ``examine``.

It builds the leaf that must stand there and compares, where ``examine`` parses. It names no fault: a page on
which anything is out of the ordinary is given back, and what ``examine`` says of it counts. The verifier and
the signer both read this way. SPEC.md section 13; no SQL, and no key below ``full``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from umbridge_audit.entry import MAX_LEAF, Record
from umbridge_audit.examine import Level, Paged, Seen, SourceError, examine
from umbridge_audit.handover import Handover
from umbridge_audit.policy import Policy
from umbridge_audit.slots import BY_NAME, COMPARTMENTS, Schema
from umbridge_audit.tree import root_of

if TYPE_CHECKING:
    from umbridge_audit.keys import Keyring
    from umbridge_audit.seal import Xaes

Rows = Sequence[tuple[object, ...]]
_PAGE = 512
_RANGE = 8192  # entries that a process is given at a time

_PLACE: dict[object, tuple[int, str]] = {c.encode(): (i, c) for i, c in enumerate(COMPARTMENTS)}
_HEX = b"0123456789abcdef"
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_KID_TAIL = re.compile(r"\.[0-9]{4}-[0-9]{2}\.[0-9a-f]{8}\Z")
_TAIL = 17  # .2026-11.00112233
_NAME_AT = 61  # where the schema's name begins in an ``open`` column: [[0,"<44>","schema","
_SLOW_KINDS = (
    "genesis",
    "key.create",
    "key.rotate",
    "key.handover",
)  # a handful in a million: examined one by one

_NONE: tuple[object, object, object] = (None, None, None)
_Part = tuple[str, str, str, bytes]  # compartment, kid, nonce, ciphertext


@dataclass(slots=True)
class FastChecked:
    """What a sound page says to its neighbours."""

    hashes: list[bytes] = field(default_factory=list)
    prev: bytes = b""  # what the first leaf names as the one before it
    uses: dict[str, int] = field(
        default_factory=dict
    )  # kid: first entry that uses it before it is introduced
    introduces: list[tuple[int, str, str, str]] = field(default_factory=list)  # seq, kid, alg, commit
    config: str | None = None  # of entry 0
    handovers: list[Handover] = field(default_factory=list)


class FastCheck:
    """Sweeps the pages of one chain at one level; remembers what does not change between pages."""

    def __init__(self, chain: str, gen: int, level: Level, keyring: Keyring | None = None) -> None:
        self._chain = chain
        self._gen = gen
        self._level: Level = level
        self._keyring = keyring
        self._ciphers: dict[str, Xaes] = {}
        self._kids: set[str] = set()  # those whose spelling has been checked
        self._places: dict[tuple[str, str], bytes] = {}  # the end of the AAD for a compartment and a key
        self._templates: dict[tuple[str, ...], str] = {}
        self._lead = f'{{"chain":"{chain}","fields":"'
        self._fields_at = len(self._lead)
        self._parts_at = self._fields_at + 64 + len(f'","gen":{gen},"parts":[')

    def _template(self, present: tuple[str, ...]) -> str:
        """A leaf with these parts, to be filled: fields; hash, kid and nonce of each; prev; seq."""
        parts = ",".join([f'{{"c":"{c}","h":"%s","kid":"%s","n":"%s"}}' for c in present])
        made = f'{self._lead}%s","gen":{self._gen},"parts":[{parts}],"prev":"%s","seq":%d,"v":2}}'
        self._templates[present] = made
        return made

    def check(self, entries: Rows, parts: Rows, seq: int, prev: bytes | None) -> FastChecked | None:
        """What the page says, when all of it is sound; None when ``examine`` must look.

        ``parts`` are those of the page's entries, by entry. ``prev`` is the leaf hash before the page, None
        when the caller will compare it (``Swept.prev``).
        """
        said = FastChecked()
        deep = self._level != "spine"
        fields_at, parts_at, templates = self._fields_at, self._parts_at, self._templates
        known: set[str] = set()
        hexes: list[str] = []  # spelled right, all at once at the end
        nonces: list[str] = []
        before = "" if prev is None else prev.hex()
        queue = iter(parts)
        part_of, c, ct = next(queue, _NONE)
        for row, raw, opened, closed in entries:
            if row != seq or type(raw) is not bytes or len(raw) > MAX_LEAF or not raw.isascii():
                return None
            leaf = raw.decode("ascii")
            mine: list[tuple[tuple[int, str], bytes]] = []
            while part_of == seq:
                place = _PLACE.get(c)
                if place is None or type(ct) is not bytes:
                    return None
                mine.append((place, ct))
                part_of, c, ct = next(queue, _NONE)
            if len(mine) > 1:
                mine.sort()
            fields = leaf[fields_at : fields_at + 64]
            values: list[object] = [fields]
            found: list[_Part] = []
            names: tuple[str, ...] = ()
            at = parts_at
            for (_, name), body in mine:
                at += 86 + len(name)  # {"c":"…","h":"<64>","kid":"
                kid = leaf[at : at + len(name) + _TAIL]
                if kid not in known:
                    if name in names or not self._good_kid(kid, name):
                        return None
                    known.add(kid)
                    said.uses[kid] = seq
                at += len(kid) + 7  # ","n":"
                nonce = leaf[at : at + 32]
                at += 35  # <32>"},
                nonces.append(nonce)
                names += (name,)
                values += (sha256(body).hexdigest(), kid, nonce)
                found.append((name, kid, nonce, body))
            if not before:
                end = -15 - len(str(seq))  # ","seq":…,"v":2}
                before = leaf[end - 64 : end]
                hexes.append(before)
                if len(before) != 64 or before.strip("0123456789abcdef"):
                    return None
                said.prev = bytes.fromhex(before)
            values += (before, seq)
            if (templates.get(names) or self._template(names)) % tuple(values) != leaf:
                return None
            hexes.append(fields)
            if deep and not self._slots(said, seq, raw, opened, closed, before, fields, found):
                return None
            hashed = sha256(b"\0" + raw)
            before = hashed.hexdigest()
            said.hashes.append(hashed.digest())
            seq += 1
        if part_of is not None or "".join(nonces).encode().translate(None, _BASE64):
            return None
        return None if "".join(hexes).encode().translate(None, _HEX) else said

    def examine(self, record: Record) -> Seen:
        """The long way, for a record of a page that could not be swept."""
        return examine(record, self._level, self._chain, self._gen, self._keyring)

    def _good_kid(self, kid: str, name: str) -> bool:
        if kid not in self._kids:
            if not kid.startswith(name) or _KID_TAIL.match(kid, len(name)) is None:
                return False
            self._kids.add(kid)
        return True

    def _slots(
        self,
        said: FastChecked,
        seq: int,
        leaf: bytes,
        opened: object,
        closed: object,
        prev: str,
        fields: str,
        found: list[_Part],
    ) -> bool:
        if type(opened) is not bytes or type(closed) is not bytes or not opened.isascii():
            return False
        text = opened.decode("ascii")
        schema = BY_NAME.get(text[_NAME_AT : text.find('"', _NAME_AT)])
        if schema is None:
            return False
        if schema.kind in _SLOW_KINDS:
            record = Record(seq, leaf, text, closed, {c: ct for c, _, _, ct in found})
            seen = examine(record, self._level, self._chain, self._gen, self._keyring)
            if seen.code is not None:
                return False
            if seen.introduces is not None:
                said.introduces.append((seq, *seen.introduces))
            said.config = seen.config or said.config
            if seen.handover is not None:
                said.handovers.append(seen.handover)
            return True
        plain = schema.plain_open(text)
        if plain is None or len(closed) != 32 * len(found):
            return False
        if tuple([c for c, _, _, _ in found]) != schema.compartments:
            return False
        roots = [closed[i : i + 32] for i in range(0, len(closed), 32)]
        if root_of(plain + roots).hex() != fields:
            return False
        return self._level != "full" or self._parts(schema, seq, bytes.fromhex(prev + fields), found, roots)

    def _parts(self, schema: Schema, seq: int, hashes: bytes, found: list[_Part], roots: list[bytes]) -> bool:
        from umbridge_audit.keys import KeyRefusedError  # noqa: PLC0415  a keyless verifier loads no key code
        from umbridge_audit.seal import SealError, aad_head, lv8, plain_part  # noqa: PLC0415

        if self._keyring is None:
            return False
        place = aad_head(self._chain, self._gen) + seq.to_bytes(8, "big") + hashes
        for (c, kid, nonce, ct), root in zip(found, roots, strict=True):
            try:
                cipher = self._ciphers.get(kid)
                if cipher is None:
                    cipher = self._ciphers[kid] = self._keyring.cipher(kid)
                last = self._places.get((c, kid))
                if last is None:
                    last = self._places[c, kid] = lv8(c) + lv8(kid)
                opened = plain_part(schema, c, cipher, nonce, ct, place + last)
            except (KeyRefusedError, SealError):
                return False
            if opened is None or root_of(schema.derived(c, *opened)) != root:
                return False
        return True


# --- page after page ----------------------------------------------------------------------------------


def pages(
    source: Paged, level: Level, policy: Policy, keyring: Keyring | None, jobs: int, stop: int, start: int = 0
) -> Iterator[FastChecked | list[Seen] | None]:
    """Every page of entries [start, stop), swept or examined; None once, and last, if rows are missing."""
    if jobs <= 1:
        yield from _range(source, FastCheck(policy.chain, policy.gen, level, keyring), start, stop)
        return
    directory = None if keyring is None else keyring.directory
    # spawn: the caller may be a daemon with threads, which a fork would copy half-way
    with ProcessPoolExecutor(
        jobs,
        mp_context=get_context("spawn"),
        initializer=_begin,
        initargs=(source.again(), policy.chain, policy.gen, level, directory),
    ) as pool:
        starts = iter(range(start, stop, _RANGE))
        waiting = [
            pool.submit(_work, low, min(low + _RANGE, stop))
            for low, _ in zip(starts, range(2 * jobs), strict=False)
        ]
        while waiting:
            for page in waiting.pop(0).result():
                if isinstance(page, SourceError):
                    raise page
                yield page
                if page is None:
                    pool.shutdown(cancel_futures=True)
                    return
            for low in islice(starts, 1):
                waiting.append(pool.submit(_work, low, min(low + _RANGE, stop)))


def _range(
    source: Paged, fast_checker: FastCheck, start: int, stop: int
) -> Iterator[FastChecked | list[Seen] | None]:
    prev: bytes | None = None
    for low in range(start, stop, _PAGE):
        high = min(low + _PAGE, stop)
        entries, parts = source.page(low, high)
        if len(entries) != high - low:
            yield None
            return
        checked = fast_checker.check(entries, parts, low, prev)
        if checked is not None:
            checked.prev = checked.prev or prev or b""
            prev = checked.hashes[-1]
            yield checked
        else:
            prev = None
            for record in source.records(low, high):
                yield [fast_checker.examine(record)]


_HERE: list[tuple[Paged, FastCheck]] = []  # what a worker process opened when it began


def _begin(
    again: Callable[[], AbstractContextManager[Paged]],
    chain: str,
    gen: int,
    level: Level,
    directory: Path | None,
) -> None:
    keyring = None
    if directory is not None:
        from umbridge_audit.keys import Keyring  # noqa: PLC0415  only the full level needs keys

        keyring = Keyring.open(directory)
    _HERE[:] = [(again().__enter__(), FastCheck(chain, gen, level, keyring))]


def _work(start: int, stop: int) -> list[FastChecked | list[Seen] | SourceError | None]:
    """The pages of a range; last, what ended it."""
    source, fast_checker = _HERE[0]
    found: list[FastChecked | list[Seen] | SourceError | None] = []
    try:
        with source.snapshot():
            found.extend(_range(source, fast_checker, start, stop))
    except SourceError as exc:
        found.append(exc)
    return found
