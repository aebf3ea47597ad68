"""The keys, seen and renewed: each rotation is on the ledger before it is in force.

The public policy names the signing key, so a handover of that is written there too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from umbridge_audit import rotate
from umbridge_audit.checkpoint import sync_directory
from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft
from umbridge_audit.handover import Handover
from umbridge_audit.kek import clean
from umbridge_audit.keys import KINDS, TOKEN_ALG, KeyRefusedError
from umbridge_audit.policy import Policy
from umbridge_audit.signing import SignerAwayError, SignerRefusedError
from umbridge_audit.store import Ledger

from umbridge.access import approval
from umbridge.access.door import Door
from umbridge.access.questions import Act, Query, asked, secret, some_number, text
from umbridge.access.views import Seen, view, within
from umbridge.errors import UnavailableError, UsageError
from umbridge.store.commands import Transaction, WriteWithNote
from umbridge.store.writer import Writer

_NOTE = "kek"
NEVER = {
    "token": "the token key is for the life of the ledger: patients, visits and control ids are found by "
    "tokens made with it, and those that are stored cannot be made again",
    "backup": "each backup has a key of its own already",
}


def settle(writer: Writer, policy: Path) -> None:
    """At a start: a rotation that was logged is finished, and keys put back from elsewhere are noted."""
    publish(writer.ledger, policy)
    with writer.reading() as reader:
        noted = reader.note(_NOTE)
    rotate.settle(writer.keyring, _commit(writer), noted)


def _commit(writer: Writer) -> rotate.Commit:
    def commit(drafts: Sequence[Draft], kek: str) -> None:
        writer.call(WriteWithNote(drafts=tuple(drafts), name=_NOTE, value=kek))

    return commit


def publish(ledger: Ledger, path: Path) -> bool:
    """Has the public policy name the key that signs now; whether it does.

    Its other lines, comments too, stay. One that is not there was given away; one that is not this ledger's
    is left alone.
    """
    try:
        text = path.read_text(encoding="utf-8")
        policy = Policy.read(text)
        ours = Policy.read(ledger.policy_text())
        if (policy.log, list(policy.handovers)) == (ours.log, ledger.handovers):
            return True
        if not ours.continues(policy):
            return False
        lines = [line for line in text.splitlines() if line.split()[:1] != ["handover"]]
        at = next(n for n, line in enumerate(lines) if line.split()[:1] == ["log"])
        handed = [line for line in ours.text().splitlines() if line.startswith("handover ")]
        lines[at : at + 1] = [lines[at].replace(str(policy.log), str(ours.log)), *handed]
        beside = path.with_name(path.name + ".new")
        with beside.open("w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), path.stat().st_mode & 0o777)
            stream.write("\n".join(lines) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
        sync_directory(path.parent)
    except (OSError, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """The key that waits, by its public half, signs from this entry on. Returns what both keys signed."""

    key: bytes
    actor: str

    def apply(self, tx: Transaction) -> Handover:
        return tx.hand_over(self.key, self.actor)


@view
class KeyLine:
    """One key: which it is, never what it is."""

    kid: str = within("open", "kid")
    use: str = within("open", "kid")
    alg: str = within("open", "kid")
    wrapped_under: str | None = within("open", "kek")
    in_use: bool = within("open", "kid")


@view
class Rotated:
    """What was asked for or done."""

    subject: str = within("ops")
    state: str = within("open")
    entry: int = within("open", "seq")
    made: tuple[str, ...] = within("open", "kid")


@asked
class KeysList(Query[KeyLine]):
    """``keys list``."""

    name: ClassVar[str] = "keys.list"
    rows = (KeyLine,)


@asked
class RotateKeys(Act[Rotated]):
    """``keys rotate``."""

    name: ClassVar[str] = "keys.rotate"
    may: ClassVar[str] = "keys rotate"
    rows = (Rotated,)

    what: str = text()
    kinds: str = text()
    passphrase: str = secret()
    approve: int | None = some_number()


class KeyCare:
    """``keys list`` and ``keys rotate``."""

    def __init__(self, door: Door, policy: Path) -> None:
        self._door = door
        self._policy = policy
        self._ring = door.writer.keyring

    def list(self, viewer: Viewer, query: KeysList) -> Iterator[Seen[KeyLine]]:
        """Every key by its id; no key and nothing wrapped is ever shown."""
        return self._door.disclose(viewer, query, lambda _: self._keys())

    def _keys(self) -> Iterator[KeyLine]:
        provider, ledger = self._ring.provider, self._door.writer.ledger
        yield _row(provider.kek_id, "key-encryption", provider.kind, None, True)
        for one in ledger.handovers:
            yield _row(one.before.key_id.hex(), "signing", "Ed25519", None, False)
        yield _row(ledger.vkey.key_id.hex(), "signing", "Ed25519", None, True)
        for record in self._ring.records():
            use = "token" if record.alg == TOKEN_ALG else record.kid.partition(".")[0]
            current = use == "token" or self._ring.is_current(record.kid)
            yield _row(record.kid, use, record.alg, record.kek_id, current)

    def rotate(self, viewer: Viewer, act: RotateKeys) -> Iterator[Seen[Rotated]]:
        """Asks for a rotation, or allows one that was asked for, and then does it."""
        return self._door.perform(viewer, act, lambda: self._rotated(viewer, act))

    def _rotated(self, viewer: Viewer, act: RotateKeys) -> Iterator[Rotated]:
        passphrase = clean(act.passphrase.encode()) or None
        if act.approve is not None:
            seq = act.approve
            subject = approval.grant(self._door, viewer, seq, act.reason)
        else:
            subject = _subject(act)
            seq, waits = approval.ask(self._door, viewer, subject, act.reason)
            if waits:
                yield Rotated(subject=subject, state="waits", entry=seq, made=())
                return
        what, _, kinds = subject.removeprefix("rotate ").partition(" ")
        commit = _commit(self._door.writer)
        try:
            if what == "data":
                now = datetime.now(UTC)
                made = rotate.rotate_data(self._ring, commit, kinds.split(), actor=viewer.user, at=now)
            elif what == "signing":
                made = [self._hand_over(viewer.user)]
            else:
                if (kinds == "passphrase") != (passphrase is not None):
                    raise UsageError("this rotation was asked for otherwise: with or without --passphrase")
                made = [rotate.rotate_kek(self._ring, commit, actor=viewer.user, passphrase=passphrase)]
        except KeyRefusedError as exc:
            raise UsageError(str(exc)) from None
        except (SignerAwayError, SignerRefusedError) as exc:
            raise UnavailableError(f"the signer: {exc}; nothing was changed") from None
        yield Rotated(subject=subject, state="done", entry=seq, made=tuple(made))

    def _hand_over(self, actor: str) -> str:
        """A new signing key; its id. The policy on this machine names it; auditors are to be given that."""
        writer = self._door.writer

        def commit(key: bytes) -> Handover:
            return writer.call(HandOver(key=key, actor=actor))

        made = rotate.rotate_signing(writer.ledger, commit)
        publish(writer.ledger, self._policy)
        return made.after.key_id.hex()


def _subject(act: RotateKeys) -> str:
    what = act.what
    if what == "kek":
        return "rotate kek" + (" passphrase" if act.passphrase else "")
    if act.passphrase:
        raise UsageError("rotate: only the key-encryption key comes from a passphrase")
    if what in NEVER:
        raise UsageError(f"rotate: {NEVER[what]}")
    if what == "signing":
        return "rotate signing"
    kinds = act.kinds.split() or list(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if what != "data" or unknown:
        raise UsageError(f"rotate: expected kek, signing, or data with kinds out of: {' '.join(KINDS)}")
    return f"rotate data {' '.join(kinds)}"


def _row(kid: str, use: str, alg: str, kek: str | None, current: bool) -> KeyLine:
    return KeyLine(kid=kid, use=use, alg=alg, wrapped_under=kek, in_use=current)
