"""The lines of a frame: all of them, or, of a long one, those that can be segments of its message."""

from __future__ import annotations

import re
from itertools import islice

BOM = b"\xef\xbb\xbf"
BLANK = b" \t\x00"
#: Real messages stay below a thousand. One with more is kept and answered, and waits for a person unread.
MOST_SEGMENTS = 10_000
MOST_LINES = 2 * MOST_SEGMENTS  # of a frame that begins no message, and segments of one: more stays unread
_BEGINS = re.compile(rb"(?:\A|\r)[ \t\x00]*(?:\xef\xbb\xbf)?[ \t\x00]*MSH([!-/:-@\[-`{-~])")


def lines_of(frame: bytes) -> tuple[list[bytes], bool, bool]:
    """(the lines that are not blank, whether there are more than are read, whether some were passed over).

    CR, LF and both end a line. Of a frame with more than MOST_SEGMENTS lines, what stands behind its MSH and
    cannot be a segment is passed over: senders fold documents into lines, and a result may stand beside one.
    """
    unified = frame.replace(b"\n", b"\r") if b"\n" in frame else frame
    folded = False
    is_long = len(unified) >= MOST_SEGMENTS and unified.count(b"\r") >= MOST_SEGMENTS
    if is_long and (begins := _BEGINS.search(unified)) is not None:
        pieces, more, folded = _unfolded(unified, begins)
    else:
        pieces = unified.split(b"\r", MOST_LINES)
        more = len(pieces) > MOST_LINES and pieces.pop().strip(BLANK + b"\r") != b""
    return [line for line in pieces if line and not line.isspace()], more, folded


def _unfolded(unified: bytes, begins: re.Match[bytes]) -> tuple[list[bytes], bool, bool]:
    """(the lines up to the MSH, the MSH and the segments behind it, whether there are more, whether other
    lines were passed over) of a long frame."""
    end = unified.find(b"\r", begins.start(1)) % (len(unified) + 1)  # -1: the MSH is the last line
    lines = unified[:end].split(b"\r")[-MOST_LINES:]
    segment = re.compile(rb"\r([A-Z][A-Z0-9]{2}(?:" + re.escape(begins[1]) + rb"[^\r]*)?)(?=\r|\Z)")
    found = [match[1] for match in islice(segment.finditer(unified, end), MOST_LINES + 1)]
    more = len(lines) + len(found) > MOST_LINES
    del found[max(0, MOST_LINES - len(lines)) :]
    # What is left over when the segments and the ends of all lines are taken away is other lines.
    rest = len(unified) - end - unified[end:].count(b"\r")
    return lines + found, more, not more and rest > sum(map(len, found))
