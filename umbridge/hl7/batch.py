"""Files: one or many messages in any wrapping, cut into each message's bytes as they stand."""

from __future__ import annotations

import re

from umbridge.hl7.er7 import BOM, HEADER

_ENVELOPE = re.compile(rb"(?:FHS|BHS|BTS|FTS)(?=[!-/:-@\[-`{-~\r\n]|\Z)")
_NEAR = 64  # more white space than this before an MSH is not a start of line that anybody means
_LONG = 4096  # an envelope line longer than this is not one
_GAP = b"\r\n\x00\x0b \t"
_FS = 0x1C


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
    while True:
        while bare > start and data[bare - 1] in _GAP:
            bare -= 1
        if bare > start and data[bare - 1] == _FS:
            bare -= 1
        else:
            near = max(start, bare - _LONG)
            line = max(data.rfind(b"\r", near, bare), data.rfind(b"\n", near, bare)) + 1
            if not line or not _ENVELOPE.match(data, line):
                break
            bare = line
        end = bare
    while end > start and data[end - 1] == 0x0B:
        end -= 1
    return end
