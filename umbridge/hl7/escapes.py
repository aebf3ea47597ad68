"""Escape sequences resolved: what a sender wrote because a delimiter stood in his text (HL7 v2 ch. 2.7)."""

from __future__ import annotations

from umbridge.hl7.delimiters import Delimiters

# Layout commands of formatted text (2.7.6), by their first three characters; some have a number behind them.
# Each parts what stands on either side of it: "6\.in+4\3" is not 63.
_LAYOUT = {b".sp": b"\n", b".ce": b"\n", **dict.fromkeys((b".sk", b".in", b".ti", b".fi", b".nf"), b" ")}
_AT_ONCE = 8192  # pieces between escape characters; even, so that the last escape of them is closed


def resolved(raw: bytes, marks: Delimiters, transcribed: str = "") -> bytes:
    """The value with its escapes resolved; one that nobody knows, or nothing closes, stays as it was sent.

    Every second piece between escape characters is an escape. Each different one is looked up once, and only
    so many are taken at a time: a megabyte of them costs no more than its pieces, and the memory of a few
    thousand. ``transcribed`` is the codec of hexadecimal bytes where the text itself was re-coded to UTF-8.
    """
    escape, out = marks.escape, [b""]
    while True:
        whole, pieces = raw, raw.split(escape, _AT_ONCE)
        more = len(pieces) > _AT_ONCE
        if more:
            raw = pieces.pop()  # what stands behind the last of them
        closed = len(pieces) if more else len(pieces) - 1
        sent = pieces[1:closed:2]
        meant = {one: _meant(one, marks, transcribed) for one in set(sent)}
        if all(found == escape + one + escape for one, found in meant.items()):
            out.append(whole[: len(whole) - len(raw)] if more else whole)  # nothing here is an escape
        else:
            pieces[1:closed:2] = map(meant.__getitem__, sent)
            if not more and len(pieces) % 2 == 0:
                pieces[-1] = escape + pieces[-1]  # one that nothing closes
            out.append(b"".join(pieces))
        if not more:
            return b"".join(out)


def _meant(content: bytes, marks: Delimiters, transcribed: str) -> bytes:
    meant = marks.letters.get(content)
    if meant is not None:
        return meant
    if content[:1] == b"X" and len(content) > 1 and content[1:].isalnum():
        try:
            found = bytes.fromhex(content[1:].decode("ascii"))
        except ValueError:
            return marks.escape + content + marks.escape
        return found.decode(transcribed, "replace").encode() if transcribed else found
    layout = _LAYOUT.get(content[:3])
    if layout is not None and (len(content) == 3 or content[3:].strip(b" +-").isdigit()):
        return layout
    return marks.escape + content + marks.escape
