"""What the entries are held against: anchor lines, checkpoints and their signatures, cosignatures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from umbridge_audit.checkpoint import Checkpoint, take_apart
from umbridge_audit.cosign import cosigners
from umbridge_audit.entry import FormatError
from umbridge_audit.policy import Policy
from umbridge_audit.report import Report
from umbridge_audit.tree import Frontier

if TYPE_CHECKING:
    pass


_SIZES_KEPT = 4096


ALGORITHMS = ("XAES-256-GCM", "HMAC-SHA-256")


class Notes:
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


class Anchors:
    """Meets the checkpoints that somebody else kept, in order, with the growing tree."""

    def __init__(self, notes: Iterable[str], known: Notes, report: Report) -> None:
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


class Checkpoints:
    """Meets the stored checkpoints, in order, with the growing tree."""

    def __init__(
        self,
        stored: Iterator[tuple[int, str]],
        known: Notes,
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
