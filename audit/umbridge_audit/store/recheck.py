"""The rows since the last checkpoint, read back and hashed before they are signed: the short way.

It runs on the daemon's loop once a second, so it compares where ``examine`` parses. It names no fault: what
is not exactly as the pen writes it is left to ``examine``.
"""

from __future__ import annotations

from hashlib import sha256

from umbridge_audit.slots import COMPARTMENTS
from umbridge_audit.store.rows import Rows
from umbridge_audit.tree import Frontier, leaf_hash

_ENTRIES = "SELECT seq, leaf FROM ledger_entry WHERE seq >= ? ORDER BY seq LIMIT ?"
# Parts in the leaf's order, which is that of writing and not the alphabet's.
_PARTS = "SELECT seq, CAST(c AS BLOB), ct FROM ledger_part WHERE seq BETWEEN ? AND ? ORDER BY seq, rowid"
_LATER_PART = "SELECT 1 FROM ledger_part WHERE seq >= ? LIMIT 1"
_RANK: dict[object, int] = {c.encode(): i for i, c in enumerate(COMPARTMENTS, 1)}
_NO_PART: tuple[object, object, object] = (-1, b"", b"")
_BATCH = 512
_KID_TAIL = 16  # 2026-11.00112233
_NONCE = 32  # 24 bytes in base64


def recheck(rows: Rows, signed: Frontier, head: bytes, chain: str, gen: int) -> tuple[Frontier, bytes] | None:
    """Tree and head with every row after ``signed``; None when one is not as the pen writes it.

    Every leaf and ciphertext is read and hashed; each leaf must have its number, the hash before it and the
    hash and length of each part at their places. The rest of a leaf (fields, nonces, end of a key's id) is
    held by the root, which the caller compares with that of what was appended. Raises SourceError.
    """
    if not head:
        return None
    frontier = signed.copy()
    seq = frontier.size
    start = f'{{"chain":"{chain}","fields":"'.encode()
    middle = f'","gen":{gen},"parts":['.encode()
    middle_at = len(start) + 64
    part_at = middle_at + len(middle)
    while batch := rows._fetch(_ENTRIES, seq, _BATCH):
        parts = iter(rows._fetch(_PARTS, seq, seq + len(batch) - 1))
        part = next(parts, _NO_PART)
        for row, leaf in batch:
            if row != seq or type(leaf) is not bytes:
                return None
            if not leaf.startswith(start) or not leaf.startswith(middle, middle_at):
                return None
            at, last = part_at, 0
            while part[0] == seq:
                _, c, ct = part
                rank = _RANK.get(c, 0)
                if type(ct) is not bytes or type(c) is not bytes or rank <= last:
                    return None
                named = b'%b{"c":"%b","h":"%b","kid":"%b.' % (
                    b"," if last else b"",
                    c,
                    sha256(ct).hexdigest().encode(),
                    c,
                )
                if not leaf.startswith(named, at):
                    return None
                at += len(named) + _KID_TAIL
                sized = b'","len":%d,"n":"' % len(ct)
                if not leaf.startswith(sized, at):
                    return None
                at += len(sized) + _NONCE
                if not leaf.startswith(b'"}', at):
                    return None
                at += 2
                last = rank
                part = next(parts, _NO_PART)
            if leaf[at:] != b'],"prev":"%b","seq":%d,"v":2}' % (head.hex().encode(), seq):
                return None
            head = leaf_hash(leaf)
            frontier.append(head)
            seq += 1
        if part is not _NO_PART:
            return None
    return None if rows._fetch(_LATER_PART, seq) else (frontier, head)
