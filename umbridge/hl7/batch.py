"""Files: one or many messages in any wrapping, cut into each message's bytes as they stand."""

from __future__ import annotations

import re

from umbridge.hl7.er7 import BOM, HEADER

_NEAR = 64  # more white space than this before an MSH is not a start of line that anybody means
# Where one ends before the next begins: an envelope's line, or the end of its block.
_END = re.compile(rb"[\r\n](?:FHS|BHS|BTS|FTS)(?=[!-/:-@\[-`{-~\r\n]|\Z)|\x1c")


def split(data: bytes) -> list[bytes]:
    """Each message's bytes, unchanged, in order; envelopes and block bytes are left out.

    Data without any MSH comes back as it is, one item: that it is not a message is for the reader to say.
    Nothing between two messages is dropped but FHS, BHS, BTS and FTS lines, block bytes and, before the
    first message, whatever stands there.
    """
    starts = [start for match in HEADER.finditer(data) if (start := _line_start(data, match.start())) >= 0]
    if not starts:
        return [data]
    messages = []
    for start, following in zip(starts, [*starts[1:], len(data)], strict=True):
        end = _END.search(data, start, following)
        stop = following if end is None else end.start() + (end[0][:1] in b"\r\n")
        messages.append(data[start:stop].rstrip(b"\x0b"))
    return messages


def _line_start(data: bytes, header: int) -> int:
    """Where the line of the MSH at ``header`` starts, with its byte-order mark or white space; else -1."""
    start = max(0, header - _NEAR)
    near = data[start:header]
    line = max(near.rfind(b"\r"), near.rfind(b"\n"), near.rfind(b"\x0b"))
    if line < 0 and start > 0:
        return -1
    before = near[line + 1 :]
    return start + line + 1 if before.strip(b" \t") in (b"", BOM) else -1
