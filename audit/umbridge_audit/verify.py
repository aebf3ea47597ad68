"""The verifier: records and checkpoints in, a verdict out. Needs no SQL and, up to ``keyless``, no key.

SPEC.md section 13. It never repairs, never stops at the first fault, and says which level it reached. Pages
of records are swept the quick way, in several processes if asked; what is out of the ordinary is examined.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from umbridge_audit.against import ALGORITHMS, Anchors, Checkpoints, Notes
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
        self._notes = Notes(policy, self._expected)
        self._stored = Checkpoints(stored, self._notes, report, cosignatures)
        self._anchors = Anchors(anchors, self._notes, report)
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
        if self._introduced.setdefault(kid, (alg, commit)) != (alg, commit) or alg not in ALGORITHMS:
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
