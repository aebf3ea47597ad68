"""What is remembered of recent lanes between two pieces of their work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from umbridge_audit.keys import Keyring

from umbridge.lanes.protocol import Snapshot
from umbridge.review.standing import LaneReviews
from umbridge.review.worklist import WorklistLine
from umbridge.store.stays import SavedStay


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane as its last committed work left it, and what plugins know its patient by."""

    seq: int = 0  # its last worked row, 0 where there is none
    said: LaneReviews = field(default_factory=LaneReviews)
    due: int | None = None  # when a review opens by the clock alone
    open: tuple[WorklistLine, ...] | None = None  # its lines of the worklist, None: as the store has them
    pseudonyms: Mapping[str, str] = field(default_factory=dict)


class LaneMemory:
    """The lanes worked last, at most ``size`` of them. Lives on the pipeline's loop.

    What is kept here is never ahead of the store: callers ``keep`` a lane after the commit.
    """

    def __init__(
        self,
        stored: Callable[[bytes], SavedStay | None],
        keyring: Keyring,
        plugins: Callable[[], Iterable[str]],
        size: int,
    ) -> None:
        self._stored = stored
        self._keyring = keyring
        self._plugins = plugins
        self._size = size
        self._lanes: OrderedDict[bytes, Lane] = OrderedDict()

    def known(self, lane: bytes) -> tuple[Lane, Snapshot | None]:
        """What is known of a lane, and the stored fold where it had to be looked up."""
        known = self._lanes.get(lane)
        snapshot = None
        if known is None:
            saved = self._stored(lane)
            known = Lane(pseudonyms={plugin: self._pseudonym(plugin, lane) for plugin in self._plugins()})
            if saved is not None:
                known = replace(known, seq=saved.seq, said=saved.said, due=saved.due)
                snapshot = Snapshot(saved.head, saved.increments)
            self.keep(lane, known)
        self._lanes.move_to_end(lane)
        return known, snapshot

    def said(self, lane: bytes, gone: Iterable[bytes]) -> LaneReviews:
        """What was said about a lane and about those that are joined to it, as of one stay."""
        said = self.known(lane)[0].said
        for one in gone:
            said = said.joined(self.known(one)[0].said)
        return said

    def keep(self, lane: bytes, known: Lane) -> None:
        self._lanes[lane] = known
        while len(self._lanes) > self._size:
            self._lanes.popitem(last=False)

    def forget(self, lane: bytes) -> None:
        """Have it read from the store when it is next asked for."""
        self._lanes.pop(lane, None)

    def _pseudonym(self, plugin: str, lane: bytes) -> str:
        return self._keyring.token(f"pseudonym/{plugin}", lane.hex()).hex()
