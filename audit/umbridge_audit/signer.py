"""umbridge-signer: signs one ledger's checkpoints, in a process and under an account of its own.

Whoever has the daemon's account then has no key. The signer is given the leaves since the head it signed
last, hashes them itself, and signs nothing that is not a continuation. SPEC.md section 18.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import signal
import socket
import struct
import sys
import time
from base64 import b64encode
from collections import deque
from collections.abc import Collection
from pathlib import Path

import click

from umbridge_audit.checkpoint import VerifierKey, sync_directory
from umbridge_audit.entry import MAX_INT, FormatError, JsonValue, parse_leaf
from umbridge_audit.heads import HeadError, Heads
from umbridge_audit.kek import KeyRefusedError, write_private
from umbridge_audit.remote import MAX_LEAVES, bytes_of, read_frame, send_frame
from umbridge_audit.signing import (
    ELSEWHERE,
    KEY,
    NEXT,
    LocalHand,
    SignerRefusedError,
    frontier_of,
    head_of,
)
from umbridge_audit.tree import Frontier, leaf_hash

ORIGIN = "origin"  # the file that names the ledger this signer is for
SECONDS = 10.0  # a peer has so long for each question
STRANGERS_SECONDS = 0.5  # and somebody who may not ask
PER_SECOND = 50  # signatures; the daemon asks for one a second at most
WAITING = 8  # peers that may wait for their turn


class Conversation:
    """What one peer asked so far: a question in, an answer out. Total: what is no question is ``request``."""

    def __init__(self, hand: LocalHand, origin: str, signed: deque[float]) -> None:
        self._hand = hand
        self._origin = origin
        self._signed = signed  # when the last ones were signed, whoever asked
        self._old: Frontier | None = None
        self._new = Frontier()
        self._prev: bytes | None = None

    def answer(self, asked: dict[str, JsonValue]) -> dict[str, JsonValue]:
        try:
            match asked:
                case {"op": "hello", **rest} if not rest:
                    return self._hello()
                case {"op": "from", "origin": str(origin), "size": int(size), "peaks": list(peaks), **rest}:
                    if not rest and type(size) is int:
                        return self._from(origin, size, peaks)
                case {"op": "leaves", "leaves": list(leaves), **rest} if not rest:
                    return self._leaves(leaves)
                case {"op": "sign", "key": str(key), "size": int(size), "root": str(root), **rest}:
                    if not rest:
                        return self._sign(bytes_of(key, 32), size, bytes_of(root, 32))
                case {"op": "prepare", **rest} if not rest:
                    return {"waiting": _b64(self._hand.prepare())}
                case {"op": "hand_over", "origin": str(origin), "at": int(at), "to": str(to), **rest}:
                    if not rest and 0 < at <= MAX_INT and origin == self._origin:
                        return self._hand.hand_over(origin, at, bytes_of(to, 32)).values()
                case {"op": "adopt", "key": str(key), **rest} if not rest:
                    self._hand.adopt(bytes_of(key, 32))
                    return self._hello()
        except (FormatError, ValueError):
            return {"error": "request"}
        except SignerRefusedError:
            return {"error": "refused"}
        except (KeyRefusedError, OSError):
            return {"error": "state_not_kept"}
        return {"error": "request"}

    def _hello(self) -> dict[str, JsonValue]:
        now, waiting = self._hand.public()
        last = self._hand.last(self._origin)
        return {
            "origin": self._origin,
            "key": _b64(now),
            "waiting": None if waiting is None else _b64(waiting),
            "size": last.size,
            "root": _b64(last.root),
        }

    def _from(self, origin: str, size: int, peaks: list[JsonValue]) -> dict[str, JsonValue]:
        """The tree at the head signed last, so that nothing but that head need be remembered here."""
        if origin != self._origin:
            return {"error": "another_ledger"}
        old = frontier_of(size, [bytes_of(peak, 32) for peak in peaks])
        if head_of(origin, old) != self._hand.last(origin):
            return {"error": "not_the_last_head"}
        self._old, self._new, self._prev = old, old.copy(), None
        return {"size": size}

    def _leaves(self, leaves: list[JsonValue]) -> dict[str, JsonValue]:
        """Each is the next of this chain, its hash taken here."""
        if self._old is None or len(leaves) > MAX_LEAVES:
            return {"error": "request"}
        for text in leaves:
            raw = text.encode() if isinstance(text, str) else b""
            leaf = parse_leaf(raw)
            follows = leaf.seq == self._new.size and (self._prev is None or leaf.prev == self._prev)
            if not follows or f"umbridge.{leaf.chain}/{leaf.gen}" != self._origin:
                return {"error": "not_the_next_entry"}
            self._prev = leaf_hash(raw)
            self._new.append(self._prev)
        self._new.whole.clear()
        return {"size": self._new.size}

    def _sign(self, key: bytes, size: int, root: bytes) -> dict[str, JsonValue]:
        if self._old is None or (self._new.size, self._new.root()) != (size, root):
            return {"error": "another_root"}
        now = time.monotonic()
        while self._signed and now - self._signed[0] >= 1.0:
            self._signed.popleft()
        if len(self._signed) >= PER_SECOND:
            return {"error": "busy"}
        self._signed.append(now)
        note = self._hand.sign(self._origin, key, self._old, self._new, lambda _low, _high: iter(()))
        self._old = self._new.copy()
        return {"note": note}


class SignerServer:
    """The socket: one peer after the other, of the accounts that may ask, each with its time."""

    def __init__(self, hand: LocalHand, origin: str, path: Path, uids: Collection[int]) -> None:
        self._hand = hand
        self._origin = origin
        self._path = path
        self._uids = uids
        self._signed: deque[float] = deque()
        self.vkey = VerifierKey(origin, hand.public()[0])

    def serve(self) -> None:
        """Until the process ends. The caller holds the lock, so a socket that is there is left over."""
        self._path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            before = os.umask(0o117)
            try:
                door.bind(str(self._path))
            finally:
                os.umask(before)
            door.listen(WAITING)
            while True:
                peer, _ = door.accept()
                with peer:
                    self._talk(peer)

    def _talk(self, peer: socket.socket) -> None:
        """A peer that goes, is slow, or sends what is no frame has ended its own conversation, no more."""
        peer.settimeout(SECONDS)
        talk = Conversation(self._hand, self._origin, self._signed)
        try:
            if peer_uid(peer) not in self._uids:
                peer.settimeout(STRANGERS_SECONDS)
                read_frame(peer)  # so that the answer is not lost with what nobody read
                send_frame(peer, {"error": "not_permitted"})
                return
            while (asked := read_frame(peer)) is not None:
                send_frame(peer, talk.answer(asked))
        except (OSError, FormatError):
            return


def peer_uid(peer: socket.socket) -> int:
    """Who is at the other end, as the kernel says (SO_PEERCRED, Linux)."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", raw)[1])


def _b64(raw: bytes) -> str:
    return b64encode(raw).decode()


# --- the command --------------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Keep a ledger's signing key in an account of its own, and sign what continues it."""


@main.command()
@click.argument("keys", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
def take(keys: Path, folder: Path) -> None:
    """Move the signing key, with its memory, out of a stopped daemon's folder KEYS into FOLDER."""
    if not (keys / KEY).exists() and (keys / ELSEWHERE).exists() and (folder / KEY).exists():
        raise click.UsageError(f"{folder}: has the key already; nothing was changed")
    if (keys / NEXT).exists():
        raise click.UsageError(f"{keys / NEXT}: a key waits there; start the daemon once, then try again")
    try:
        vkey = VerifierKey(_origin(keys), LocalHand(keys).public()[0])
        heads = Heads(keys)
        memory = heads.path(vkey.name)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = folder / KEY
        if held.exists() and held.read_bytes() != (keys / KEY).read_bytes():
            raise click.UsageError(f"{held}: another key is there; nothing was changed")
        # Copied whole before anything is removed: killed anywhere, call it again.
        for source in (memory, keys / KEY):
            beside = folder / f".{source.name}.new"
            beside.unlink(missing_ok=True)
            write_private(beside, source.read_bytes())
            beside.replace(folder / source.name)
        (folder / ORIGIN).write_text(f"{vkey.name}\n")
        sync_directory(folder)
        (keys / ELSEWHERE).write_text(f"{vkey}\n")
        sync_directory(keys)
        (keys / KEY).unlink()
        memory.unlink()
        sync_directory(keys)
    except (KeyRefusedError, HeadError) as exc:
        raise click.UsageError(str(exc)) from None
    except OSError as exc:
        raise click.UsageError(f"{exc.filename}: {exc.strerror}") from None
    if os.geteuid() == 0 and folder.stat().st_uid == 0:
        click.echo(f"now give {folder} to the signer's account: chown -R ACCOUNT {folder}", err=True)
    click.echo(str(vkey))


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--socket", "path", required=True, type=click.Path(path_type=Path), help="Where to listen.")
@click.option("--allow", "accounts", multiple=True, help="An account that may ask, by name or number.")
def serve(folder: Path, path: Path, accounts: tuple[str, ...]) -> None:
    """Sign for the ledger whose key is in FOLDER. Without --allow only this process's own account may ask."""
    lock = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        queries = load(folder, path, accounts)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        click.echo(f"{queries.vkey} on {path}")
        sys.stdout.flush()
        queries.serve()
    except BlockingIOError:
        raise click.ClickException(f"{folder}: another signer runs on this state") from None
    except OSError as exc:
        raise click.ClickException(f"{path}: {exc.strerror}") from None
    except KeyboardInterrupt:
        return
    finally:
        os.close(lock)


def load(folder: Path, path: Path, accounts: Collection[str]) -> SignerServer:
    """The server of one signer's folder. Raises click.UsageError naming what is wrong."""
    uids = {_uid(account) for account in accounts} or {os.geteuid()}
    try:
        origin = (folder / ORIGIN).read_text().removesuffix("\n")
        hand = LocalHand(folder)
        if not hand.last(origin).size:
            raise click.UsageError(f"{folder}: the memory of what was signed is gone; restore it")
    except (KeyRefusedError, SignerRefusedError) as exc:
        raise click.UsageError(str(exc)) from None
    except OSError as exc:
        raise click.UsageError(f"{folder / ORIGIN}: {exc.strerror}") from None
    return SignerServer(hand, origin, path, uids)


def _uid(account: str) -> int:
    try:
        return int(account) if account.isdecimal() else pwd.getpwnam(account).pw_uid
    except KeyError:
        raise click.UsageError(f"--allow {account}: no such account") from None


def _origin(keys: Path) -> str:
    """The ledger that a folder of keys signs for, as the memory of its last head names it."""
    heads = list(keys.glob("*.head"))
    if len(heads) != 1:
        raise click.UsageError(f"{keys}: no memory of what was signed last; start the daemon once")
    try:
        return str(json.loads(heads[0].read_bytes())["origin"])
    except (ValueError, KeyError, TypeError):
        raise click.UsageError(f"{heads[0]}: not a head; restore it, never delete it") from None


if __name__ == "__main__":
    main()
