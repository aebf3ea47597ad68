"""Asking a witness for its cosignature: the log's side of https://c2sp.org/tlog-witness.

A witness that does not answer, or answers otherwise than the protocol says, is an error and never a success.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from umbridge_audit.checkpoint import Checkpoint
from umbridge_audit.cosign import cosigned_at
from umbridge_audit.entry import FormatError
from umbridge_audit.policy import Witness
from umbridge_audit.witness import write_request

_MAX_ANSWER = 1 << 20
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,15})\n\Z")


class SubmitError(Exception):
    """No cosignature was had: a code, never what the peer said."""


class ForkError(SubmitError):
    """The witness has signed a larger tree of this log, or another of this size. Stop and look."""


def submit(
    witness: Witness,
    checkpoint: Checkpoint,
    note: str,
    prove: Callable[[int], list[bytes]],
    *,
    old: int = 0,
    seconds: float = 10.0,
) -> str:
    """The witness's signature line over a checkpoint, verified.

    ``prove(old)`` gives the consistency proof from that size; ``old`` is a guess of what the witness signed
    last and is put right by its answer. Raises SubmitError, or ForkError where the log itself is at fault.
    """
    for _ in range(3):
        status, kind, body = _post(witness, write_request(old, prove(old), note), seconds)
        if status == 409 and kind == "text/x.tlog.size" and (found := _SIZE.match(body)):
            last = int(found[1])
            if last > checkpoint.size or last == old:
                raise ForkError("witness_is_ahead" if last > checkpoint.size else "witness_has_another_root")
            old = last
            continue
        if status == 422:
            raise ForkError("witness_refuses_the_proof")
        if status != 200:
            raise SubmitError(f"witness_status_{status}")
        try:
            for line in body.decode().splitlines():
                if cosigned_at(checkpoint, line, witness.key) is not None:
                    return line + "\n"
        except (UnicodeDecodeError, FormatError):
            raise SubmitError("witness_answer") from None
        raise SubmitError("witness_answer")
    raise SubmitError("witness_keeps_moving")


def _post(witness: Witness, body: bytes, seconds: float) -> tuple[int, str, bytes]:
    parts = urlsplit(witness.url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SubmitError("witness_has_no_url")
    peer: http.client.HTTPConnection
    if parts.scheme == "https":
        peer = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=seconds, context=ssl.create_default_context()
        )
    else:
        peer = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    try:
        peer.request("POST", parts.path.rstrip("/") + "/add-checkpoint", body)
        answer = peer.getresponse()
        raw = answer.read(_MAX_ANSWER + 1)
        if len(raw) > _MAX_ANSWER:
            raise SubmitError("witness_answer_too_long")
        return answer.status, answer.headers.get_content_type(), raw
    except (OSError, http.client.HTTPException, ValueError):
        raise SubmitError("witness_unreachable") from None
    finally:
        peer.close()
