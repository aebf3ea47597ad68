"""The verifier: records and checkpoints in, a verdict out. Needs no SQL and, up to ``keyless``, no key.

SPEC.md section 13. It never repairs, never stops at the first fault, and says which level it reached. Pages
of records are swept the quick way, in several processes if asked; what is out of the ordinary is examined.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from umbridge_audit.checkpoint import Checkpoint, take_apart
from umbridge_audit.cosign import cosigners
from umbridge_audit.entry import FormatError
from umbridge_audit.examine import Level, Paged, Seen, Source, SourceError, examine, genesis_prev
from umbridge_audit.fast_check import FastChecked, pages
from umbridge_audit.handover import Pinned
from umbridge_audit.newer import may_hold_keys
from umbridge_audit.policy import Policy
from umbridge_audit.report import Report
from umbridge_audit.resume import Since, Start
from umbridge_audit.tree import Frontier

if TYPE_CHECKING:
    from umbridge_audit.keys import Keyring

__all__ = ["Report", "verify"]


def verify(
    source: Source,
    policy: Policy,
    *,
    level: Level = "keyless",
    keyring: Keyring | None = None,
    anchor_notes: Iterable[str] = (),
    jobs: int = 1,
    progress: Callable[[int], None] | None = None,
    since: Since | None = None,
) -> Report:
    """Checks a ledger against what the policy pins. Reads only; never raises for what it finds.

    ``anchor_notes`` come from outside the store, oldest first (``checkpoint.read_anchor``), and must be of a
    moment before the source's snapshot is taken. ``level="full"`` needs the keyring. ``progress`` is told the
    entries done. ``jobs`` > 1 checks ranges of a store in that many processes. Memory stays flat. A ledger
    signed by another key than the policy's, an empty one, or one that cannot be read is a FAIL; an error of
    the verifier is INCOMPLETE. With ``since`` only what came after a kept checkpoint is read, and the verdict
    says so (SPEC.md section 17).
    """
    started = time.monotonic()
    report = Report(level, partly=since is not None)
    try:
        with source.snapshot():
            start = None if since is None else Start(since, policy, source)
            report.since = None if start is None else start.size
            hear = source.cosignatures if policy.quorum != "none" and isinstance(source, Paged) else None
            walk = _Walk(policy, report, level, keyring, source.checkpoints(), anchor_notes, start, hear)
            for page in _pages(source, level, policy, keyring, jobs, 0 if start is None else start.size):
                walk.take(page)
                if progress is not None:
                    progress(walk.frontier.size)
            walk.finish()
    except SourceError as exc:
        report.add(exc.code, exc.seq)
    except Exception:
        report.add("verifier_error")
    report.settle(policy)
    report.seconds = time.monotonic() - started
    return report


def _pages(
    source: Source, level: Level, policy: Policy, keyring: Keyring | None, jobs: int, start: int
) -> Iterator[FastChecked | list[Seen]]:
    """Every record from ``start`` on, swept where that can be done, else examined one by one."""
    if isinstance(source, Paged) and (stop := source.regular()) is not None:
        for page in pages(source, level, policy, keyring, jobs, stop, start):
            if page is None:
                break  # rows are missing or double from here on: ``records`` says where
            yield page
            start += len(page.hashes) if isinstance(page, FastChecked) else len(page)
        else:
            return
    for record in source.records(start):
        yield [examine(record, level, policy.chain, policy.gen, keyring)]


class _Walk:
    """Goes through the pages in order: chain, tree, keys, stored checkpoints, anchors."""

    def __init__(
        self,
        policy: Policy,
        report: Report,
        level: Level,
        keyring: Keyring | None,
        stored: Iterator[tuple[int, str]],
        anchors: Iterable[str],
        start: Start | None,
        cosignatures: Callable[[int], list[str]] | None,
    ) -> None:
        self._policy = policy
        self._report = report
        self._level = level
        self._keyring = keyring if level == "full" else None
        self._start = start
        self._expected = 0 if start is None else start.size
        self._notes = _Notes(policy, self._expected)
        self._stored = _Checkpoints(stored, self._notes, report, cosignatures)
        self._anchors = _Anchors(anchors, self._notes, report)
        self._introduced: dict[str, tuple[str, str]] = {}
        self._handed = Pinned(policy.handovers, self._expected)
        self._key_news = False  # whether an entry that was not judged may have introduced keys
        #: kids that must have come before the kept checkpoint, and their use
        self._before: dict[str, int] = {}
        self._prev: bytes | None = None if start is None else start.last
        self.frontier = Frontier() if start is None else start.frontier
        self._report.entries = self.frontier.size
        if start is not None:
            self._meet()

    def take(self, page: FastChecked | list[Seen]) -> None:
        if isinstance(page, FastChecked):
            self._take_swept(page)
        else:
            for seen in page:
                self._take_seen(seen)
        self.frontier.whole.clear()
        self._report.entries = self.frontier.size

    def _take_swept(self, page: FastChecked) -> None:
        first = self._expected
        if self._prev is None:
            self._genesis(page.hashes[0], page.config, page.prev)
        elif page.prev != self._prev:
            self._report.add("prev", first)
        if self._level != "spine":
            # A page's own entries use its own keys only after their introduction; so much it has seen to.
            for kid, at in page.uses.items():
                if kid not in self._introduced and not any(
                    kid == made and seq < at for seq, made, _, _ in page.introduces
                ):
                    self._unknown([kid], at)
            for seq, kid, alg, commit in page.introduces:
                self._introduce(seq, kid, alg, commit)
            for handover in page.handovers:
                self._handed.meet(handover, self._report.add)
        self._expected += len(page.hashes)
        self._prev = page.hashes[-1]
        done = 0
        while done < len(page.hashes):
            size = self.frontier.size
            wanted = [n for n in (self._stored.due, self._anchors.due) if n is not None and n > size]
            upto = min(len(page.hashes), done + min(wanted) - size) if wanted else len(page.hashes)
            self.frontier.extend(page.hashes[done:upto])
            done = upto
            self._meet()

    def _take_seen(self, seen: Seen) -> None:
        report, at = self._report, max(seen.row, 0)
        if seen.row != self._expected:
            report.add("seq_gap", max(0, min(self._expected, seen.row)))
        self._expected = seen.row + 1
        if seen.code is not None:
            report.add(seen.code, at)
        if seen.unknown is not None:
            report.leave(seen.unknown, at)
            self._key_news |= may_hold_keys(seen.unknown)
            self._handed.pass_by(at, seen.unknown)
        if self._prev is None:
            self._genesis(seen.hashed, seen.config, seen.prev, sound=seen.is_judged)
        elif seen.prev and seen.prev != self._prev:
            report.add("prev", at)
        if self._level != "spine":
            unknown = [kid for kid in seen.kids if kid not in self._introduced]
            if unknown and seen.code is None:
                self._unknown(unknown, at)
            if seen.introduces is not None:
                self._introduce(at, *seen.introduces)
            if seen.handover is not None:
                self._handed.meet(seen.handover, report.add)
        self._prev = seen.hashed
        self.frontier.append(seen.hashed)
        self._meet()

    def _genesis(self, hashed: bytes, config: str | None, prev: bytes, *, sound: bool = True) -> None:
        if hashed != self._policy.genesis:
            self._report.add("genesis", 0)
        if self._level != "spine" and sound and (config is None or genesis_prev(config) != prev):
            self._report.add("genesis_config", 0)

    def _unknown(self, kids: Iterable[str], at: int) -> None:
        if self._key_news:
            return  # an entry that was not judged may have introduced them
        if self._start is None:
            self._report.add("key_unknown", at)
        else:
            self._before = dict.fromkeys(kids, at) | self._before

    def _look_back(self, start: Start) -> None:
        """The keys in use that were introduced before the kept checkpoint."""
        for seen in start.introduced(set(self._before), self._level, self._policy):
            if seen.code is not None:
                self._report.add(seen.code, seen.row)
            elif seen.introduces is not None:
                self._introduce(seen.row, *seen.introduces)
                self._before.pop(seen.introduces[0], None)
        for at in self._before.values():
            self._report.add("key_unknown", at)

    def _introduce(self, at: int, kid: str, alg: str, commit: str) -> None:
        if self._introduced.setdefault(kid, (alg, commit)) != (alg, commit) or alg not in _ALGORITHMS:
            self._report.add("key_entry", at)
        if self._keyring is not None:
            from umbridge_audit.keys import KeyRefusedError  # noqa: PLC0415  a keyless verifier loads no key code

            try:
                held = self._keyring.commit(kid)
            except KeyRefusedError:
                self._report.add("key_refused", at)
                return
            if held is None:
                self._report.add("key_missing", at)
            elif held != commit:
                self._report.add("key_commit", at)

    def _meet(self) -> None:
        self._stored.meet(self.frontier)
        self._anchors.meet(self.frontier)

    def finish(self) -> None:
        report, size = self._report, self.frontier.size
        if self._start is not None:
            self._look_back(self._start)
        self._stored.finish(self.frontier)
        if self._level != "spine":
            self._handed.finish(size, report.add)
        if not size:
            report.add("empty", 0)
        newest = self._anchors.finish()
        if newest > size:
            report.add("anchor_ahead", size)
        elif newest > self._stored.last:
            report.add("checkpoint_missing", self._stored.last)
        report.head = self.frontier.root().hex()
        report.checkpoint = self._stored.good
        report.unanchored = size - self._stored.good


_SIZES_KEPT = 4096
_ALGORITHMS = ("XAES-256-GCM", "HMAC-SHA-256")


class _Notes:
    """Reads notes; remembers the last few, because the anchor's lines are the store's notes again."""

    def __init__(self, policy: Policy, since: int) -> None:
        self.policy = policy
        self.since = since
        self._known: dict[str, Checkpoint] = {}

    def read(self, note: str, *, exact: bool) -> Checkpoint:
        """Raises FormatError. What was read exactly reads the same otherwise, never the other way round."""
        if not exact and note in self._known:
            return self._known[note]
        checkpoint = self.policy.read_note(note, exact=exact)
        if exact:
            self._known[note] = checkpoint
            if len(self._known) > 4:
                del self._known[next(iter(self._known))]
        return checkpoint

    def older(self, note: str) -> int | None:
        """The size that a note gives, if that is from before the kept checkpoint: such a note is passed by.
        Raises FormatError."""
        if not self.since:
            return None
        size = take_apart(note)[0].size
        return size if size < self.since else None


class _Anchors:
    """Meets the checkpoints that somebody else kept, in order, with the growing tree."""

    def __init__(self, notes: Iterable[str], known: _Notes, report: Report) -> None:
        self._lines = iter(notes)
        self._known = known
        self._report = report
        self._newest = 0
        self._held = 0  # the newest one that agreed
        self._next: Checkpoint | None = None
        self._seen: dict[int, bytes] = {}  # the roots of the last sizes, so that a fork is called one
        self._advance()

    @property
    def due(self) -> int | None:
        return None if self._next is None else self._next.size

    def _advance(self) -> None:
        self._next = None
        while self._next is None:
            try:
                note = next(self._lines, None)
                if note is None:
                    return
                if self._known.older(note) is not None:
                    continue
                found = self._known.read(note, exact=False)
            except FormatError:
                self._report.add("anchor_format")
                continue
            if found.size > self._newest:
                self._next = found
                self._newest = found.size
            elif self._seen.get(found.size, found.root) != found.root:
                self._report.add("forked")
            elif found.size not in self._seen:
                self._report.add("anchor_order")
            self._seen[found.size] = found.root
            if len(self._seen) > _SIZES_KEPT:
                del self._seen[next(iter(self._seen))]

    def meet(self, frontier: Frontier) -> None:
        """Compares the anchored checkpoint of exactly this size, if there is one."""
        if self._next is None or self._next.size != frontier.size:
            return
        if self._next.root == frontier.root():
            self._held = frontier.size
        else:
            self._report.add_root("anchor_root", self._held)
        self._advance()

    def finish(self) -> int:
        """Reads to the end; the largest size anybody kept."""
        while self._next is not None:
            self._advance()
        return self._newest


class _Checkpoints:
    """Meets the stored checkpoints, in order, with the growing tree."""

    def __init__(
        self,
        stored: Iterator[tuple[int, str]],
        known: _Notes,
        report: Report,
        cosignatures: Callable[[int], list[str]] | None,
    ) -> None:
        self._stored = stored
        self._known = known
        self._policy = known.policy
        self._report = report
        self._cosignatures = cosignatures
        self._count = 0
        self.last = 0  # size of the newest stored checkpoint that could be read
        self.good = known.since  # size of the newest one whose root was right, or of the kept one
        self._sound = True
        self._next = self._read()

    @property
    def due(self) -> int | None:
        return None if self._next is None else self._next.size

    def _read(self) -> Checkpoint | None:
        for n, note in self._stored:
            if n != self._count:
                self._report.add("checkpoint_gap", self.good)
                self._sound = False
            self._count = n + 1
            try:
                older = self._known.older(note)
                checkpoint = None if older is not None else self._known.read(note, exact=True)
            except FormatError:
                self._report.add("checkpoint_signature", self.good)
                self._sound = False
                continue
            size = older if checkpoint is None else checkpoint.size
            if size is None or size <= self.last:
                self._report.add("checkpoint_order", self.good)
                self._sound = False
                continue
            self.last = size
            if checkpoint is not None:
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
            self._report.expected, self.good = self.good, frontier.size
            self._witnessed(self._next)
        self._next = self._read()

    def _witnessed(self, checkpoint: Checkpoint) -> None:
        if self._cosignatures is None:
            return
        try:
            if self._policy.met(cosigners(checkpoint, self._cosignatures(checkpoint.size), self._policy)):
                self._report.witnessed = checkpoint.size
        except FormatError:
            self._report.add("cosignature")

    def finish(self, frontier: Frontier) -> None:
        """What is left when the records are over lies beyond the end of the store."""
        if self._next is not None:
            self._report.add("truncated", frontier.size)
        while self._next is not None:
            self._next = self._read()
        if not self._count:
            self._report.add("checkpoint_missing", 0)
        if self.last < self._known.since:
            self._report.add("kept_ahead", self.last)
