"""Cosignatures: what a witness adds to a checkpoint, and how a verifier counts them.

https://c2sp.org/tlog-cosignature, ``cosignature/v1``. SPEC.md section 16.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from umbridge_audit.checkpoint import COSIGNATURE, Checkpoint, VerifierKey, signature_line
from umbridge_audit.entry import FormatError
from umbridge_audit.policy import Policy

_LENGTH = 4 + 8 + 64  # key id, time, signature


def _message(checkpoint: Checkpoint, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{checkpoint.body()}".encode()


def cosign(checkpoint: Checkpoint, name: str, key: Ed25519PrivateKey, at: int) -> str:
    """The signature line, with its newline. ``at`` is POSIX seconds."""
    public = VerifierKey(name, key.public_key().public_bytes_raw(), COSIGNATURE)
    raw = public.key_id + at.to_bytes(8, "big") + key.sign(_message(checkpoint, at))
    return f"\u2014 {name} {b64encode(raw).decode()}\n"


def cosigned_at(checkpoint: Checkpoint, line: str, key: VerifierKey) -> int | None:
    """When this key cosigned; None for another key's line. Raises FormatError for a bad one of this key."""
    name, raw = signature_line(line.removesuffix("\n"))
    if name != key.name or raw[:4] != key.key_id:
        return None
    at = int.from_bytes(raw[4:12], "big")
    if len(raw) != _LENGTH or at >> 63 or not key.good(_message(checkpoint, at), raw[12:]):
        raise FormatError("cosignature")
    return at


def cosigners(checkpoint: Checkpoint, lines: Iterable[str], policy: Policy) -> dict[str, int]:
    """Which of the policy's witnesses cosigned, and when. Lines of unknown keys are ignored; FormatError for
    a line of a known key that is not good."""
    found: dict[str, int] = {}
    for line in lines:
        for name, witness in policy.witnesses.items():
            at = cosigned_at(checkpoint, line, witness.key)
            if at is not None:
                found[name] = max(at, found.get(name, 0))
    return found
