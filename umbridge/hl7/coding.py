"""What a message's bytes mean: its delimiters and its characters, shared by all its segments."""

from __future__ import annotations

from umbridge.hl7.charset import decode
from umbridge.hl7.delimiters import Delimiters
from umbridge.hl7.escapes import resolved


class Coding:
    """What a message's bytes mean: its delimiters and its characters.

    A message and its segments share one instead of holding each other: a frame, which may have 16 MiB, is
    given back the moment nobody reads it, and no collector has to look for it.
    """

    __slots__ = ("codec", "delimiters", "plain", "transcribed")

    def __init__(self, delimiters: Delimiters) -> None:
        self.delimiters = delimiters
        self.codec = "ascii"
        self.plain = False  # nothing but ASCII, and said to be something that has it
        self.transcribed = ""  # what the sender wrote, where we read UTF-8 in its place

    def value(self, raw: bytes) -> str:
        """One leaf's bytes as text, escapes resolved; an escape nobody knows stays as it was sent."""
        if raw.isalnum():
            return raw.decode()  # ASCII without a delimiter in it, as nearly all values are
        escape = self.delimiters.escape
        if escape and escape in raw:
            return decode(resolved(raw, self.delimiters, self.transcribed), self.codec)
        return raw.decode("ascii") if self.plain else decode(raw, self.codec)

    def text(self, raw: bytes) -> str:
        """Bytes as text, escapes left alone."""
        return raw.decode("ascii") if self.plain else decode(raw, self.codec)
