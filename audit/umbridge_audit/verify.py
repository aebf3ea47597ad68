"""The verifier: records and checkpoints in, a verdict out. Needs no SQL and, up to ``keyless``, no key.

SPEC.md section 13. It never repairs, never stops at the first fault, and says which level it reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from umbridge_audit.checkpoint import Checkpoint, Policy, read_note
from umbridge_audit.entry import FormatError, JsonValue, Record
from umbridge_audit.examine import Level, Seen, Source, SourceError, examine, genesis_prev
from umbridge_audit.tree import Frontier

if TYPE_CHECKING:
    from umbridge_audit.keys import Keyring

EXIT = {"PASS": 0, "FAIL": 1, "PASS-UNWITNESSED": 3, "INCOMPLETE": 4}
_UNFINISHED = {"key_missing", "key_refused", "verifier_error"}
_CHUNK = 256
_MOST_PROBLEMS = 1000


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

    def add_root(self, code: str, good: int) -> None:
        """A root that differs: the fault is where a row was found bad, else somewhere from ``good`` on."""
        known = any(p.seq is not None and p.seq >= good for p in self.problems)
        self.add(code, None if known else good)

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
    source's snapshot is taken. ``level="full"`` needs the keyring. ``progress`` is told the entries done.
    ``jobs`` > 1 checks records in that many processes. A ledger signed by another key than the policy's,
    an empty one, or one that cannot be read is a FAIL; an error of the verifier is INCOMPLETE.
    """
    started = time.monotonic()
    report = Report(level)
    try:
        with source.snapshot():
            _walk(
                source,
                policy,
                report,
                level=level,
                keyring=keyring,
                anchor_notes=anchor_notes,
                jobs=jobs,
                progress=progress,
            )
    except SourceError as exc:
        report.add(exc.code, exc.seq)
    except Exception:
        report.add("verifier_error")
    report.settle(policy)
    report.seconds = time.monotonic() - started
    return report


def _walk(
    source: Source,
    policy: Policy,
    report: Report,
    *,
    level: Level,
    keyring: Keyring | None,
    anchor_notes: Sequence[str],
    jobs: int,
    progress: Callable[[int], None] | None,
) -> None:
    anchors = _anchors(anchor_notes, policy, report)
    stored = _Checkpoints(source.checkpoints(), policy, report)
    frontier = Frontier()
    introduced: dict[str, tuple[str, str]] = {}
    prev: bytes | None = None
    expected = 0
    held = 0  # the newest outside checkpoint that agreed
    for seen in _examined(source.records(), level, policy, keyring, jobs):
        at = max(seen.row, 0)
        if seen.row != expected:
            report.add("seq_gap", max(0, min(expected, seen.row)))
        expected = seen.row + 1
        if seen.code is not None:
            report.add(seen.code, at)
        if prev is None:
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
        if frontier.size in anchors:
            if frontier.root() == anchors[frontier.size]:
                held = frontier.size
            else:
                report.add_root("anchor_root", held)
        report.entries = frontier.size
        if progress is not None and frontier.size % _CHUNK == 0:
            progress(frontier.size)
    stored.finish(frontier)
    if not frontier.size:
        report.add("empty", 0)
    if anchors and max(anchors) > frontier.size:
        report.add("anchor_ahead", frontier.size)
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
            self._report.add_root("checkpoint_root", self.good)
            self._sound = False
        elif self._sound:
            self.good = frontier.size
        self._next = self._read()

    def finish(self, frontier: Frontier) -> None:
        """What is left when the records are over lies beyond the end of the store."""
        if self._next is not None:
            self._report.add("truncated", frontier.size)
        while self._next is not None:
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
