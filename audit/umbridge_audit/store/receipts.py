"""One entry's receipt out of the store: what these eyes may see of it, and its path to a checkpoint."""

from __future__ import annotations

from base64 import b64decode

from umbridge_audit.disclose import Sees
from umbridge_audit.export import entry_line
from umbridge_audit.proof import write_receipt
from umbridge_audit.store.rows import Broken, Reader
from umbridge_audit.store.subtrees import prove_inclusion


def take_receipt(reader: Reader, seq: int, sees: Sees) -> str:
    """The receipt of entry ``seq``. Call it only after the look is on the ledger.

    Raises LookupError for an entry that no checkpoint covers, Broken when the store does not give the
    checkpoint's root. The signature is not checked here: whoever is given the receipt does that.
    """
    with reader.snapshot():
        newest = reader.last_checkpoint()
        size, root = head_of(newest[1]) if newest is not None else (0, b"")
        if newest is None or not 0 <= seq < size:
            raise LookupError(f"no checkpoint covers entry {seq}")
        path = prove_inclusion(reader, seq, size, root)
        return write_receipt(
            entry_line(reader, reader.record(seq), sees, ()),
            seq,
            path,
            newest[1] + "".join(reader.cosignatures(size)),
        )


def head_of(note: str) -> tuple[int, bytes]:
    """Size and root that a stored note states. Raises Broken when it states none."""
    lines = note.split("\n", 3)
    try:
        return int(lines[1]), b64decode(lines[2], validate=True)
    except (ValueError, IndexError):
        raise Broken("the newest checkpoint cannot be read; run ledger verify") from None
