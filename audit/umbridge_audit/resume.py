"""Where a verification begins that goes on from a checkpoint which an auditor kept.

SPEC.md section 17. Nothing of the older part is believed but what leads to the kept root: the last leaf,
whose path is the whole tree's frontier, and the entries that introduced keys which are still in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from umbridge_audit.checkpoint import Checkpoint
from umbridge_audit.entry import FormatError
from umbridge_audit.examine import Level, Seen, Source, SourceError, examine
from umbridge_audit.policy import Policy
from umbridge_audit.tree import Frontier, included, leaf_hash


class Past(Protocol):
    """What a store can be asked about entries that are not read. Whatever it answers is checked."""

    def path(self, seq: int, size: int, root: bytes) -> Sequence[bytes]:
        """The inclusion path of an entry in the tree of ``size``; anything at all where there is none."""

    def introductions(self, before: int) -> Iterator[tuple[int, str]]:
        """(seq, kid) of key entries before an entry, newest first, as they say of themselves."""


@dataclass(frozen=True, slots=True)
class Since:
    """A kept checkpoint as it was kept, and the past of the store that is held against it."""

    note: str
    past: Past


class Start:
    """The kept checkpoint, proved to be a beginning of what the store holds."""

    def __init__(self, since: Since, policy: Policy, source: Source) -> None:
        """Raises SourceError: ``kept_format``, ``kept_ahead``, ``kept_root``, or what is wrong with a row."""
        self._past = since.past
        self._source = source
        try:
            self.kept: Checkpoint = policy.read_note(since.note, exact=False)
        except FormatError:
            raise SourceError("kept_format") from None
        self.size = size = self.kept.size
        if size < 1:
            raise SourceError("kept_format")
        self.last: bytes | None = None  # the hash that entry ``size`` must name
        for record in source.records(size - 1, size):
            if record.seq == size - 1:
                self.last = leaf_hash(record.leaf)
        if self.last is None:
            raise SourceError("kept_ahead", _length(source, size))
        path = self._path(size - 1)
        if not included(self.last, size - 1, size, path, self.kept.root):
            raise SourceError("kept_root", 0)
        self.frontier = Frontier.after(self.last, size, path)

    def _path(self, seq: int) -> Sequence[bytes]:
        return self._past.path(seq, self.size, self.kept.root)

    def introduced(self, kids: set[str], level: Level, policy: Policy) -> Iterator[Seen]:
        """Key entries before the kept checkpoint, proved to stand there, until each of these kids had one.

        A faulty one has its code, ``inclusion`` where its path does not lead to the kept root.
        """
        wanted = set(kids)
        if not wanted:
            return
        below: Level = "spine" if level == "spine" else "keyless"  # key entries have no parts
        for seq, said in self._past.introductions(self.size):
            if said not in wanted:
                continue
            for record in self._source.records(seq, seq + 1):
                seen = examine(record, below, policy.chain, policy.gen)
                if seen.code is None and not included(
                    seen.hashed, seq, self.size, self._path(seq), self.kept.root
                ):
                    seen = Seen(seq, seen.hashed, "inclusion")
                yield seen
                if seen.introduces is not None:
                    wanted.discard(seen.introduces[0])
            if not wanted:
                return


def _length(source: Source, size: int) -> int:
    """The number of the first entry that is missing below ``size``."""
    low, high = 0, size - 1
    while low < high:  # rows below the end are there, unless something worse is the case
        middle = (low + high) // 2
        if any(record.seq == middle for record in source.records(middle, middle + 1)):
            low = middle + 1
        else:
            high = middle
    return low
