"""Files: one or many messages in any wrapping, cut into each message's bytes as they stand."""

from __future__ import annotations

import re

from umbridge.hl7.er7 import HEADER
from umbridge.hl7.lines import BOM

_ENVELOPE = re.compile(rb"(?:FHS|BHS|BTS|FTS)(?=[!-/:-@\[-`{-~\r\n]|\Z)")
_NEAR = 64  # more white space than this before an MSH is not a start of line that anybody means
_LONG = 4096  # an envelope line longer than this is not one
_MOST = 64  # envelope lines in a row that are looked at: two end a batch and two begin the next
_GAP = b"\r\n\x00\x0b \t\x1c"
_FS = b"\x1c"


def split(data: bytes) -> list[bytes]:
    """Each message's bytes, unchanged, in order; envelopes and block bytes are left out.

    A message goes from its MSH, which is a line's start, to the next one's; FHS, BHS, BTS and FTS lines at
    its end are left out, while one with segments behind it stays, so that they do. So does an FS that text
    follows: such a message cannot be framed, and its sender should know. Data without any MSH comes back as
    it is, one item: that it is not a message is for the reader to say.
    """
    starts = [start for match in HEADER.finditer(data) if (start := _line_start(data, match.start())) >= 0]
    if not starts:
        return [data]
    ends = [*starts[1:], len(data)]
    return [data[start : _end(data, start, end)] for start, end in zip(starts, ends, strict=True)]


def _line_start(data: bytes, header: int) -> int:
    """Where the line of the MSH at ``header`` starts, with its byte-order mark or white space; else -1."""
    start = max(0, header - _NEAR)
    near = data[start:header]
    line = max(near.rfind(b"\r"), near.rfind(b"\n"), near.rfind(b"\x0b"))
    if line < 0 and start > 0:
        return -1
    before = near[line + 1 :]
    return start + line + 1 if before.strip(b" \t") in (b"", BOM) else -1


def _end(data: bytes, start: int, end: int) -> int:
    """Where the message ends: before the trailers, the block's end and the next block's VT; never sooner."""
    bare = end
    for _ in range(_MOST):
        kept = start + len(data[start:bare].rstrip(_GAP))
        ended = data.find(_FS, kept, bare)
        if ended >= 0:
            end = ended
        near = max(start, kept - _LONG)
        line = max(data.rfind(b"\r", near, kept), data.rfind(b"\n", near, kept)) + 1
        if not line or not _ENVELOPE.match(data, line):
            break
        end = bare = line
    return start + len(data[start:end].rstrip(b"\x0b"))
