"""MSH-1 and MSH-2: the characters that a sender keeps his fields apart with, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as attribute

PUNCTUATION = frozenset(b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_CACHED = 256  # spellings kept read: senders have one or two; a hostile one must not fill the memory
_known: dict[bytes, Delimiters] = {}


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2. Empty where the sender did not name one; ``problem`` is a code, or empty."""

    field: bytes
    component: bytes
    repetition: bytes
    escape: bytes
    subcomponent: bytes
    truncation: bytes  # MSH-2 may have a fifth character from 2.7 on
    problem: str = ""
    broken: bool = False  # the problem leaves fields ambiguous: the message is to be refused
    letters: dict[bytes, bytes] = attribute(default_factory=dict, repr=False, compare=False)
    inner: bytes = attribute(default=b"", repr=False, compare=False)  # all that a field may hold of them
    key: bytes = attribute(
        default=b"", repr=False, compare=False
    )  # the same, told apart where one is missing


def _read(separator: bytes, characters: bytes) -> Delimiters:
    problem, broken = "", False
    if characters == b"^~\\\\&":
        characters = b"^~\\&"  # an escape character doubled by a string literal on its way
        problem = "escape_doubled"
    used: list[bytes] = []
    for value in characters[:5]:
        one = bytes((value,))
        if value not in PUNCTUATION or one == separator or one in used:
            problem, broken = "delimiters_ambiguous", True
            one = b""
        used.append(one)
    if len(characters) > 5 and not broken:
        problem = "delimiters_unexpected"
    component, repetition, escape, subcomponent, truncation = [*used, *[b""] * 5][:5]
    letters = {b"F": separator, b"S": component, b"T": subcomponent, b"R": repetition, b"E": escape}
    letters |= {b"P": truncation, b".br": b"\n"}
    letters = {letter: meant for letter, meant in letters.items() if meant}
    letters |= {b"H": b"", b"N": b""}  # highlighting on and off (2.7.2): how it is shown, not what it says
    inner = (component, repetition, escape, subcomponent)
    return Delimiters(
        separator,
        *inner,
        truncation,
        problem,
        broken,
        letters,
        b"".join(inner),
        b"\x00".join(inner),
    )


def delimiters_of(header: bytes) -> Delimiters:
    """Those of a header that begins with MSH and a readable separator."""
    separator = header[3:4]
    end = header.find(separator, 4)
    key = header[3 : end if end > 0 else len(header)]
    found = _known.get(key)
    if found is None:
        found = _read(separator, key[1:])
        if len(_known) < _CACHED and len(key) < 16:
            _known[key] = found
    return found
