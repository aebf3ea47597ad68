"""What is remembered of recent lanes between two pieces of their work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from umbridge_audit.keys import Keyring

from umbridge.casework.docket import Snapshot
from umbridge.store import stays
from umbridge.store.stays import Said
from umbridge.store.writer import Pen


@dataclass(slots=True)
class Lane:
    """A lane in memory: its last worked row, what was said about it, and what plugins know it by."""

    seq: int = 0
    said: Said = field(default_factory=Said)
    pseudonyms: dict[str, str] = field(default_factory=dict)
    due: int | None = None  # when a review opens by the clock alone, as the store has it


class LaneMemory:
    """The lanes worked last, at most ``size`` of them. Lives on the pipeline's loop."""

    def __init__(self, pen: Pen, keyring: Keyring, plugins: Callable[[], Iterable[str]], size: int) -> None:
        self._pen = pen
        self._keyring = keyring
        self._plugins = plugins
        self._size = size
        self._lanes: OrderedDict[bytes, Lane] = OrderedDict()

    async def known(self, lane: bytes) -> tuple[Lane, Snapshot | None]:
        """What is known of a lane, and the stored fold where it had to be looked up."""
        known = self._lanes.get(lane)
        snapshot = None
        if known is None:
            saved = await self._pen.ask(lambda batch: stays.load(batch.cursor, self._keyring, lane))
            names = {plugin: self._pseudonym(plugin, lane) for plugin in self._plugins()}
            if saved is None:
                known = Lane(pseudonyms=names)
            else:
                known = Lane(saved.seq, saved.said, names, saved.due)
                snapshot = Snapshot(saved.head, saved.increments)
            self.keep(lane, known)
        self._lanes.move_to_end(lane)
        return known, snapshot

    async def joined(self, known: Lane, gone: tuple[bytes, ...]) -> Lane:
        """What was said about a lane and about those that are joined to it, as of one stay."""
        said = Said(dict(known.said.states), dict(known.said.latest), known.said.as_of)
        for one in gone:
            other = (await self.known(one))[0].said
            said.states = other.states | said.states
            for review, by_plugin in other.latest.items():
                said.latest[review] = by_plugin | said.latest.get(review, {})
            said.as_of = max(said.as_of, other.as_of)
        return Lane(known.seq, said, known.pseudonyms, known.due)

    def keep(self, lane: bytes, known: Lane) -> None:
        self._lanes[lane] = known
        while len(self._lanes) > self._size:
            self._lanes.popitem(last=False)

    def forget(self, lane: bytes) -> None:
        """Have it read from the store when it is next asked for."""
        self._lanes.pop(lane, None)

    def _pseudonym(self, plugin: str, lane: bytes) -> str:
        return self._keyring.token(f"pseudonym/{plugin}", lane.hex()).hex()
