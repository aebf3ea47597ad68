"""One signing key after another: what both sign, and which key answers for a checkpoint of which size.

SPEC.md section 18. The keys come from the policy; what the log says of a handover is held against it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from umbridge_audit.checkpoint import Checkpoint, VerifierKey, read_note, take_apart
from umbridge_audit.entry import MAX_INT, FormatError, JsonValue
from umbridge_audit.newer import may_hold_keys

_LENGTH = 128  # two Ed25519 signatures


@dataclass(frozen=True, slots=True)
class Handover:
    """Entry ``at`` hands the log over: every checkpoint that covers it is signed by ``after``."""

    at: int
    before: VerifierKey
    after: VerifierKey
    signatures: bytes  # by ``before``, then by ``after``

    def good(self) -> bool:
        """Whether both keys signed it: the old one allows it, the new one is really held by somebody."""
        said = statement(self.at, self.before, self.after)
        return (
            len(self.signatures) == _LENGTH
            and self.before.name == self.after.name
            and self.before.public != self.after.public
            and self.before.good(said, self.signatures[:64])
            and self.after.good(said, self.signatures[64:])
        )

    def values(self) -> dict[str, JsonValue]:
        """The slots of the ``key.handover`` entry."""
        return {"before": str(self.before), "after": str(self.after), "signatures": self.signed}

    @property
    def signed(self) -> str:
        return b64encode(self.signatures).decode()


def statement(at: int, before: VerifierKey, after: VerifierKey) -> bytes:
    """What both keys sign. The first line keeps it apart from every note and every cosignature."""
    return f"umbridge/handover/1\n{before.name}\n{at}\n{before}\n{after}\n".encode()


def read_handover(at: int, before: object, after: object, signatures: object) -> Handover:
    """A handover from its parts, checked. Raises FormatError."""
    if not all(isinstance(text, str) for text in (before, after, signatures)) or not 0 < at <= MAX_INT:
        raise FormatError("handover")
    try:
        raw = b64decode(str(signatures), validate=True)
    except ValueError:
        raise FormatError("handover") from None
    found = Handover(at, VerifierKey.read(str(before)), VerifierKey.read(str(after)), raw)
    if found.signed != signatures or not found.good():
        raise FormatError("handover")
    return found


def from_entry(at: int, values: Mapping[str, JsonValue]) -> Handover:
    """The handover that a ``key.handover`` entry makes, checked by itself. Raises FormatError."""
    return read_handover(at, values.get("before"), values.get("after"), values.get("signatures"))


def check_chain(handovers: Sequence[Handover], last: VerifierKey) -> None:
    """Each takes over from the one before, at a later entry, and ``last`` is the key in force.

    Raises FormatError.
    """
    at, due = 0, [one.before for one in handovers[1:]] + [last]
    for one, then in zip(handovers, due, strict=False):
        if one.at <= at or one.after != then:
            raise FormatError("handover")
        at = one.at


class Pinned:
    """The handovers that a policy pins, met on the log in their order: no more and no fewer."""

    def __init__(self, handovers: Sequence[Handover], start: int) -> None:
        self._due = [one for one in handovers if one.at >= start]

    def meet(self, found: Handover, add: Callable[[str, int], None]) -> None:
        """A good handover of the log's: a key that only the log knows is a fault."""
        if self._due[:1] == [found]:
            del self._due[0]
        else:
            add("handover", found.at)

    def pass_by(self, at: int, schema: str) -> None:
        """An entry of a schema that this version cannot judge: it may be the handover that is due there."""
        if may_hold_keys(schema) and self._due and self._due[0].at == at:
            del self._due[0]

    def finish(self, size: int, add: Callable[[str, int], None]) -> None:
        """What the policy has inside the log and the log does not show is a fault too."""
        for owed in self._due:
            if owed.at < size:
                add("handover", owed.at)


def signer_of(size: int, handovers: Sequence[Handover], last: VerifierKey) -> VerifierKey:
    """The key that answers for a checkpoint of this size."""
    for one in handovers:
        if size <= one.at:
            return one.before
    return last


def read_signed(note: str, handovers: Sequence[Handover], last: VerifierKey, *, exact: bool) -> Checkpoint:
    """``read_note`` by the key that answers for the note's size. Raises FormatError."""
    if not handovers:
        return read_note(note, last, exact=exact)
    checkpoint, _ = take_apart(note)
    return read_note(note, signer_of(checkpoint.size, handovers, last), exact=exact)
