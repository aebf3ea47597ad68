"""Bytes as no sender means them: one random change after another, the same for the same seed."""

from __future__ import annotations

import random

SPECIAL = (
    b"\x0b",
    b"\x1c",
    b"\x1c\r",
    b"\r",
    b"\n",
    b"\x00",
    b"|",
    b"^",
    b"~",
    b"\\",
    b"&",
    b"MSH",
    b'""',
    b"\xff",
)
SPECIAL += (
    b"\\X0D\\",
    b"\\F\\",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"9" * 400,
    b"||||||",
    b"\x80",
    b"\x1b[2J",
    b"'; DROP",
)


def mutant(rng: random.Random, data: bytes) -> bytes:
    """One to four changes: bytes flipped, dropped, doubled, moved, or something special put in."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        to = min(len(out), at + rng.choice((1, 1, 2, 5, 40)))
        what = rng.randrange(6)
        if what == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del out[at:to]
        elif what == 2:
            out[at:at] = out[at:to]
        elif what == 3:
            out[at:at] = rng.choice(SPECIAL)
        elif what == 4:
            out[at:to] = rng.choice(SPECIAL)
        else:
            del out[at:]
            out += data[rng.randrange(len(data) + 1) :]
    return bytes(out)
