"""Files: one or many messages in any wrapping, cut into each message's bytes as they stand."""

from __future__ import annotations

import re

from umbridge.hl7.er7 import BOM, HEADER

# Where a message may begin: the start of the data or of a line, after a byte-order mark or a block's VT.
_START = re.compile(rb"(?:\A|(?<=[\r\n\x0b]))[ \t]*(?:" + BOM + rb")?[ \t]*(?=MSH)")
# Where one ends before the next begins: an envelope's line, or the end of its block.
_END = re.compile(rb"[\r\n](?:FHS|BHS|BTS|FTS)(?=[!-/:-@\[-`{-~\r\n]|\Z)|\x1c")


def split(data: bytes) -> list[bytes]:
    """Each message's bytes, unchanged, in order; envelopes and block bytes are left out.

    Data without any MSH comes back as it is, one item: that it is not a message is for the reader to say.
    Nothing between two messages is dropped but FHS, BHS, BTS and FTS lines, block bytes and, before the
    first message, whatever stands there.
    """
    starts = [match for match in _START.finditer(data) if HEADER.match(data, match.end())]
    if not starts:
        return [data]
    messages = []
    for match, following in zip(starts, [*starts[1:], None], strict=True):
        stop = following.start() if following else len(data)
        end = _END.search(data, match.end(), stop)
        if end is not None:
            stop = end.start() + (end[0][:1] in b"\r\n")  # the segment's own terminator stays
        messages.append(data[match.start() if match.start() == 0 else match.end() : stop].rstrip(b"\x0b"))
    return messages
