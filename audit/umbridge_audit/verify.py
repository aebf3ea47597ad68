"""The verifier: records and checkpoints in, a verdict out. Needs no SQL and, up to ``keyless``, no key.

SPEC.md section 13. It never repairs, never stops at the first fault, and says which level it reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from umbridge_audit.checkpoint import Checkpoint, Policy, read_note
from umbridge_audit.entry import FormatError, JsonValue, Record, canonical, parse, parse_leaf
from umbridge_audit.slots import check_open, fields_root, split_closed
from umbridge_audit.tree import Frontier, leaf_hash

if TYPE_CHECKING:
    from umbridge_audit.keys import Keyring

Level = Literal["spine", "keyless", "full"]
EXIT = {"PASS": 0, "FAIL": 1, "PASS-UNWITNESSED": 3, "INCOMPLETE": 4}
_UNFINISHED = {"key_missing", "key_refused", "verifier_error"}
_CHUNK = 256
_MOST_PROBLEMS = 1000


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


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: a code of SPEC.md's vocabulary and the entry it was found at, if one can be named."""

    code: str
    seq: int | None = None


@dataclass(slots=True)
class Report:
    """What was checked, how far, and what was found."""

    level: str
    verdict: str = "INCOMPLETE"
    entries: int = 0
    head: str | None = None  # hex root over all entries
    checkpoint: int | None = None  # size of the newest good checkpoint
    unanchored: int = 0
    seconds: float = 0.0
    problems: list[Problem] = field(default_factory=list)

    @property
    def first_bad_seq(self) -> int | None:
        return min((p.seq for p in self.problems if p.seq is not None), default=None)

    @property
    def exit_code(self) -> int:
        return EXIT[self.verdict]

    def add(self, code: str, seq: int | None = None) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(Problem(code, seq))

    def settle(self, policy: Policy) -> None:
        """Draws the verdict from the problems found."""
        if any(p.code not in _UNFINISHED for p in self.problems):
            self.verdict = "FAIL"
        elif self.problems:
            self.verdict = "INCOMPLETE"
        else:
            self.verdict = "PASS" if policy.quorum == "none" else "PASS-UNWITNESSED"

    def to_json(self) -> dict[str, JsonValue | float]:
        return {
            "verdict": self.verdict,
            "level": self.level,
            "entries": self.entries,
            "first_bad_seq": self.first_bad_seq,
            "head": self.head,
            "checkpoint": self.checkpoint,
            "unanchored": self.unanchored,
            "seconds": round(self.seconds, 3),
        }


# --- one record on its own --------------------------------------------------------------------------


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
        if len(ct) != part.len or sha256(ct).hexdigest() != part.h:
            return fault("part_hash")
    if level == "spine":
        return Seen(record.seq, hashed, None, leaf.seq, leaf.prev, kids)
    try:
        schema, values, commitments = check_open(record.open)
    except FormatError:
        return fault("open_slots")
    try:
        closed = split_closed(schema, record.closed)
    except FormatError:
        return fault("closed_slots")
    if fields_root(commitments + closed) != leaf.fields:
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
    if level == "full":
        if keyring is None:
            return fault("key_missing")
        from umbridge_audit.keys import KeyRefusedError  # noqa: PLC0415  a keyless verifier loads no key code
        from umbridge_audit.seal import SealError, check_part, open_part  # noqa: PLC0415

        for part in leaf.parts:
            try:
                opened = open_part(schema, leaf, part, record.parts[part.c], keyring.cipher(part.kid))
                check_part(schema, opened, closed)
            except KeyRefusedError:
                return fault("key_refused")
            except SealError:
                return fault("part_sealed")
            except FormatError:
                return fault("part_content")
    return Seen(record.seq, hashed, None, leaf.seq, leaf.prev, kids, introduces, config)


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


# --- the whole ledger -------------------------------------------------------------------------------


def verify(
    source: Source,
    policy: Policy,
    *,
    level: Level = "keyless",
    keyring: Keyring | None = None,
    anchor_notes: Sequence[str] = (),
    jobs: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Checks a whole ledger against what the policy pins. Reads only; never raises for what it finds.

    ``anchor_notes`` come from outside the store (``checkpoint.read_anchor``) and must be read before the
    source's snapshot is taken. ``level="full"`` needs the keyring. ``progress`` is told the entries done so far.
    ``jobs`` > 1 checks records in that many processes. A ledger signed by another key than the policy's,
    an empty one, or one that cannot be read is a FAIL; an error of the verifier is INCOMPLETE.
    """
    started = time.monotonic()
    report = Report(level)
    try:
        with source.snapshot():
            _walk(source, policy, level, keyring, anchor_notes, jobs, progress, report)
    except SourceError as exc:
        report.add(exc.code, exc.seq)
    except Exception:  # noqa: BLE001  whatever it is, it is not a PASS
        report.add("verifier_error")
    report.settle(policy)
    report.seconds = time.monotonic() - started
    return report


def _walk(
    source: Source,
    policy: Policy,
    level: Level,
    keyring: Keyring | None,
    anchor_notes: Sequence[str],
    jobs: int,
    progress: Callable[[int], None] | None,
    report: Report,
) -> None:
    anchors = _anchors(anchor_notes, policy, report)
    stored = _Checkpoints(source.checkpoints(), policy, report)
    frontier = Frontier()
    introduced: dict[str, tuple[str, str]] = {}
    prev: bytes | None = None
    report.checkpoint = None
    for seen in _examined(source.records(), level, policy, keyring, jobs):
        at = frontier.size
        if seen.row != at:
            report.add("seq_gap", min(at, max(seen.row, 0)))
        if seen.code is not None:
            report.add(seen.code, at)
        if at == 0:
            if seen.hashed != policy.genesis:
                report.add("genesis", 0)
            if (
                level != "spine"
                and seen.code is None
                and (seen.config is None or genesis_prev(seen.config) != seen.prev)
            ):
                report.add("genesis_config", 0)
        elif seen.prev and seen.prev != prev:
            report.add("prev", at)
        if level != "spine":
            _keys(seen, introduced, keyring if level == "full" else None, report, at)
        prev = seen.hashed
        frontier.append(seen.hashed)
        stored.meet(frontier)
        if frontier.size in anchors and frontier.root() != anchors[frontier.size]:
            report.add("anchor_root", stored.good)
        report.entries = frontier.size
        if progress is not None and frontier.size % _CHUNK == 0:
            progress(frontier.size)
    stored.finish(frontier)
    if not frontier.size:
        report.add("empty", 0)
    if anchors and max(anchors) > frontier.size:
        report.add("truncated", frontier.size)
    elif anchors and max(anchors) > stored.last:
        report.add("checkpoint_missing", stored.last)
    report.head = frontier.root().hex()
    report.checkpoint = stored.good
    report.unanchored = frontier.size - stored.good
    if progress is not None:
        progress(frontier.size)


def _keys(
    seen: Seen,
    introduced: dict[str, tuple[str, str]],
    keyring: Keyring | None,
    report: Report,
    at: int,
) -> None:
    if any(kid not in introduced for kid in seen.kids) and seen.code is None:
        report.add("key_unknown", at)
    if seen.introduces is not None:
        kid, alg, commit = seen.introduces
        if introduced.setdefault(kid, (alg, commit)) != (alg, commit) or alg not in _ALGORITHMS:
            report.add("key_entry", at)
        if keyring is not None:
            from umbridge_audit.keys import KeyRefusedError  # noqa: PLC0415  a keyless verifier loads no key code

            try:
                held = keyring.commit(kid)
            except KeyRefusedError:
                report.add("key_refused", at)
                return
            if held is None:
                report.add("key_missing", at)
            elif held != commit:
                report.add("key_commit", at)


_ALGORITHMS = ("XAES-256-GCM", "HMAC-SHA-256")


def _anchors(notes: Sequence[str], policy: Policy, report: Report) -> dict[int, bytes]:
    anchors: dict[int, bytes] = {}
    for note in notes:
        try:
            checkpoint = read_note(note, policy.log, exact=False)
        except FormatError:
            report.add("anchor_format")
            continue
        if anchors.setdefault(checkpoint.size, checkpoint.root) != checkpoint.root:
            report.add("forked", None)
    return anchors


class _Checkpoints:
    """Meets the stored checkpoints, in order, with the growing tree."""

    def __init__(self, stored: Iterator[tuple[int, str]], policy: Policy, report: Report) -> None:
        self._stored = stored
        self._policy = policy
        self._report = report
        self._count = 0
        self.last = 0  # size of the newest stored checkpoint that could be read
        self.good = 0  # size of the newest one whose root was right
        self._sound = True
        self._next = self._read()

    def _read(self) -> Checkpoint | None:
        for n, note in self._stored:
            if n != self._count:
                self._report.add("checkpoint_gap", self.good)
                self._sound = False
            self._count = n + 1
            try:
                checkpoint = read_note(note, self._policy.log, exact=True)
            except FormatError:
                self._report.add("checkpoint_signature", self.good)
                self._sound = False
                continue
            if checkpoint.size <= self.last:
                self._report.add("checkpoint_order", self.good)
                self._sound = False
                continue
            self.last = checkpoint.size
            return checkpoint
        return None

    def meet(self, frontier: Frontier) -> None:
        """Compares the checkpoint of exactly this size, if there is one."""
        if self._next is None or self._next.size != frontier.size:
            return
        if self._next.root != frontier.root():
            self._report.add("checkpoint_root", self.good)
            self._sound = False
        elif self._sound:
            self.good = frontier.size
        self._next = self._read()

    def finish(self, frontier: Frontier) -> None:
        """What is left when the records are over lies beyond the end of the store."""
        while self._next is not None:
            self._report.add("truncated", frontier.size)
            self._next = self._read()
        if not self._count:
            self._report.add("checkpoint_missing", 0)


# --- several processes ------------------------------------------------------------------------------


def _examined(
    records: Iterator[Record], level: Level, policy: Policy, keyring: Keyring | None, jobs: int
) -> Iterator[Seen]:
    chain, gen = policy.chain, policy.gen
    if jobs <= 1:
        for record in records:
            yield examine(record, level, chain, gen, keyring)
        return
    directory = None if keyring is None else keyring.directory
    # spawn: the caller may be a daemon with threads, which a fork would copy half-way
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = []
        for chunk in _chunks(records):
            waiting.append(pool.submit(_examine_chunk, chunk, level, chain, gen, directory))
            if len(waiting) > 2 * jobs:
                yield from waiting.pop(0).result()
        for future in waiting:
            yield from future.result()


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    stream = iter(records)
    while chunk := list(islice(stream, _CHUNK)):
        yield chunk


def _examine_chunk(
    chunk: list[Record], level: Level, chain: str, gen: int, directory: Path | None
) -> list[Seen]:
    keyring = None
    if level == "full" and directory is not None:
        from umbridge_audit.keys import Keyring  # noqa: PLC0415  only the full level needs keys

        keyring = Keyring.open(directory)
    return [examine(record, level, chain, gen, keyring) for record in chunk]
