"""The keys, seen and renewed: each rotation is on the ledger before it is in force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from umbridge_audit import rotate
from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft
from umbridge_audit.kek import clean
from umbridge_audit.keys import KINDS, TOKEN_ALG, KeyRefusedError

from umbridge import approval
from umbridge.door import Door, number_of, text_of
from umbridge.errors import UsageError
from umbridge.store import notes
from umbridge.store.batch import Batch
from umbridge.store.writer import Pen

_NOTE = "kek"


def settle(pen: Pen) -> None:
    """At a start: a rotation that was logged is finished, and keys put back from elsewhere are noted."""
    noted = pen.call(lambda batch: notes.get(batch.cursor, _NOTE))
    rotate.settle(pen.keyring, _commit(pen), noted)


def _commit(pen: Pen) -> rotate.Commit:
    def commit(drafts: Sequence[Draft], kek: str) -> None:
        def work(batch: Batch) -> None:
            for draft in drafts:
                batch.entry(draft)
            notes.put(batch.cursor, _NOTE, kek)

        pen.call(work)

    return commit


class KeyCare:
    """``keys list`` and ``keys rotate``."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._ring = door.pen.keyring

    def list(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Every key by its id; no key and nothing wrapped is ever shown."""
        self._door.look(viewer, args, "search", "keys list")
        provider, ledger = self._ring.provider, self._door.pen.ledger
        vkey = self._ring.vkey(ledger.origin)
        yield _row(provider.kek_id, "key-encryption", provider.kind, None, True)
        yield _row(vkey.key_id.hex(), "signing", "Ed25519", None, True)
        for record in self._ring.records():
            use = "token" if record.alg == TOKEN_ALG else record.kid.partition(".")[0]
            current = use == "token" or self._ring.is_current(record.kid)
            yield _row(record.kid, use, record.alg, record.kek_id, current)

    def rotate(self, viewer: Viewer, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Asks for a rotation, or allows one that was asked for, and then does it."""
        self._door.act(viewer, "keys rotate", args)
        reason = text_of(args, "reason")
        secret = clean(text_of(args, "passphrase").encode()) or None
        if args.get("approve") is not None:
            seq = number_of(args, "approve")
            subject = approval.grant(self._door, viewer, seq, reason)
        else:
            subject = _subject(args)
            seq, waits = approval.ask(self._door, viewer, subject, reason)
            if waits:
                yield {"subject": subject, "state": "waits", "entry": seq, "made": []}
                return
        what, _, kinds = subject.removeprefix("rotate ").partition(" ")
        commit = _commit(self._door.pen)
        try:
            if what == "data":
                now = datetime.now(UTC)
                made = rotate.rotate_data(self._ring, commit, kinds.split(), actor=viewer.user, at=now)
            else:
                if (kinds == "passphrase") != (secret is not None):
                    raise UsageError("this rotation was asked for otherwise: with or without --passphrase")
                made = [rotate.rotate_kek(self._ring, commit, actor=viewer.user, passphrase=secret)]
        except KeyRefusedError as exc:
            raise UsageError(str(exc)) from None
        yield {"subject": subject, "state": "done", "entry": seq, "made": made}


def _subject(args: dict[str, Any]) -> str:
    what = text_of(args, "what")
    if what == "kek":
        return "rotate kek" + (" passphrase" if args.get("passphrase") else "")
    kinds = text_of(args, "kinds").split() or list(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if what != "data" or unknown:
        raise UsageError(f"rotate: expected kek, or data with kinds out of: {' '.join(KINDS)}")
    return f"rotate data {' '.join(kinds)}"


def _row(kid: str, use: str, alg: str, kek: str | None, current: bool) -> dict[str, Any]:
    return {"kid": kid, "use": use, "alg": alg, "wrapped_under": kek, "in_use": current}
