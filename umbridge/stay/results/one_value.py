"""One value of a result: which statement says what it is, which gave it its time, and whether it stands."""

from __future__ import annotations

from umbridge.model import FactValue
from umbridge.stay.results.statements import LOST, MARK, NEVER, PRELIMINARY, UNTIMED, Result


class Value:
    """One value of a result: what says what it is, and when it was collected."""

    __slots__ = (
        "content",
        "former",
        "is_final",
        "is_held",
        "is_replaced",
        "is_standing",
        "is_unplaced",
        "is_unsure",
        "refuted",
        "rival",
        "slot",
        "told",
    )

    def __init__(self, stated: Result) -> None:
        self.slot = self.content = stated
        self.told = stated.sent  # when it was first said
        self.former: tuple[int, ...] = ()
        self.is_final = stated.kind != PRELIMINARY
        self.is_held = False  # a correction was told, or what may mean it: nothing preliminary changes it
        self.refuted: frozenset[FactValue] = frozenset()  # what corrections have replaced, or may have
        self.rival: Value | None = None  # what a name that may be its own says otherwise
        self.is_standing = True
        self.is_replaced = False  # it was preliminary, and its final is another value
        self.is_unsure = False  # a correction may have meant this one or another
        self.is_unplaced = False  # it is a correction, and nobody knows of what

    @property
    def is_withdrawn(self) -> bool:
        """Whether it was taken back. It may be told anew."""
        return not self.is_standing and not self.is_replaced

    def refuted_by(self, correction: Result) -> frozenset[FactValue]:
        """What was said of it that a correction says, or may say, is wrong."""
        said, right = self.content.value, correction.value
        found = self.refuted if said is None else self.refuted | {said}
        return found if right is LOST else found - {right}

    def contradicts(self, said: FactValue | None) -> bool:
        """Whether this is, or may be, what a correction has replaced.

        Where nobody has seen that, the first other value is taken for it: said once more it is no other.
        """
        if said is not None and said != self.content.value and LOST in self.refuted:
            self.refuted = (self.refuted - {LOST}) | {said}
        return said in self.refuted

    @property
    def is_shown(self) -> bool:
        """Whether it is used: it stands, nothing about it is in doubt, and it says something."""
        said = self.content.value
        return self.is_standing and not self.is_unsure and said is not None and said is not LOST

    def shown(self) -> Result:
        slot, content = self.slot, self.content
        source = content.source.removesuffix(MARK)
        if slot.first == NEVER:
            source += UNTIMED
        if not self.is_final and content.source.endswith(MARK):
            source += MARK
        if slot is content and not self.former and source == content.source:
            return content
        return Result(*slot[:9], *content[9:15], source, self.former)
