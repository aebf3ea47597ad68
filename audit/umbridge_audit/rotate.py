"""Keys renewed: on the ledger first, then in force, and nothing that was written changes.

SPEC.md sections 6 and 14. ``commit`` writes entries and a note of the key-encryption key's id in one durable
transaction; whoever starts next compares the note with the keys and finishes what was begun.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from umbridge_audit.entry import Draft
from umbridge_audit.handover import Handover
from umbridge_audit.keys import KeyRefusedError, Keyring, WrappedKey

if TYPE_CHECKING:
    from umbridge_audit.store import Ledger

Commit = Callable[[Sequence[Draft], str], object]


def rotate_kek(keyring: Keyring, commit: Commit, *, actor: str, passphrase: bytes | None) -> str:
    """Wraps every key under a fresh key-encryption key; returns its id.

    Killed before the entries: nothing happened but a file nobody uses. Killed after them: ``settle`` does the
    rest. Raises KeyRefusedError for a passphrase that is too short.
    """
    new = keyring.prepare(passphrase)
    commit([_rotated(record, actor, new) for record in keyring.records()], new)
    keyring.adopt()
    return new


def rotate_data(
    keyring: Keyring, commit: Commit, kinds: Sequence[str], *, actor: str, at: datetime
) -> list[str]:
    """New data keys for these kinds before their month is over; returns their kids.

    The ledger writes each key's ``key.create`` by itself; the ``key.rotate`` says who had it made.
    """
    made = [keyring.renew(kind, at) for kind in kinds]
    commit([_rotated(record, actor, record.kek_id) for record in made], keyring.provider.kek_id)
    return [record.kid for record in made]


def settle(keyring: Keyring, commit: Commit, noted: str | None) -> None:
    """Brings keys and ledger together at a start. ``noted`` is the key-encryption key's id last written.

    A rotation that was logged and not finished is finished; where that needs a passphrase that is not at
    hand, and where an older copy of the keys was put back, the key in force is put on the ledger.
    """
    waiting = keyring.next_id()
    if waiting is not None and waiting in (noted, keyring.provider.kek_id):
        with suppress(KeyRefusedError):
            keyring.adopt()
    held = keyring.provider.kek_id
    if noted is None:
        commit([], held)
    elif noted != held:
        commit([_rotated(record, "umbridge", held) for record in keyring.records()], held)


def _rotated(record: WrappedKey, actor: str, kek: str) -> Draft:
    values = {"actor": actor, "kid": record.kid, "alg": record.alg, "commit": record.commit, "kek": kek}
    return Draft("key.rotate", dict(values))


def rotate_signing(ledger: Ledger, commit: Callable[[bytes], Handover]) -> Handover:
    """Hands the log over to a fresh signing key; returns what both keys signed.

    ``commit`` makes the entry durable: it is given the public half of the key that waits, and has
    ``handover`` spell the entry at the number that it gets. The writer signs with the new key from that entry
    on. Killed before it is durable: nothing happened but a key nobody uses. Killed after it: whoever opens
    the ledger next puts the key in force. Raises SignerAwayError.
    """
    hand = ledger.signs
    new = hand.prepare()
    made = commit(new)
    hand.adopt(new)
    return made


def handover(ledger: Ledger, at: int, new: bytes, actor: str) -> tuple[Handover, Draft]:
    """What both keys sign so that entry ``at`` hands the log over to the key that waits, and that entry."""
    made = ledger.signs.hand_over(ledger.origin, at, new)
    return made, Draft("key.handover", {"actor": actor, **made.values()})
