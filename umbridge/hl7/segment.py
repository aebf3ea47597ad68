"""One segment: its fields, their repetitions, components and subcomponents, by address."""

from __future__ import annotations

from collections.abc import Sequence

from umbridge.hl7.address import address_of
from umbridge.hl7.coding import Coding

_HEADERS = frozenset({"MSH", "FHS", "BHS"})  # their field 1 is the separator itself


_LONG = 512  # bytes of a field from which its parts are worth keeping


class Segment:
    """One line of a message. Field numbers count from one; a field that is not there is empty."""

    __slots__ = ("_fields", "_parts", "coding", "name", "nth", "raw")

    def __init__(self, coding: Coding, name: str, nth: int, raw: bytes) -> None:
        self.coding = coding
        self.name = name
        self.nth = nth  # among the segments of this name, from one
        self.raw = raw
        self._fields: list[bytes] | None = None
        self._parts: dict[tuple[int, ...], list[bytes]] | None = None

    @property
    def fields(self) -> list[bytes]:
        """All fields as sent; index 0 is the segment's name, and in headers index 1 the separator."""
        fields = self._fields
        if fields is None:
            separator = self.coding.delimiters.field
            fields = self._fields = self.raw.split(separator)
            if self.name in _HEADERS:
                fields.insert(1, separator)
        return fields

    def row(self, last: int) -> list[bytes]:
        """The fields as sent, with empty ones up to number ``last`` where fewer came. Do not change it."""
        fields = self._fields or self.fields
        missing = last + 1 - len(fields)
        return fields + [b""] * missing if missing > 0 else fields

    def field(self, number: int) -> bytes:
        """The whole field as sent, with its repetitions."""
        fields = self._fields or self.fields
        return fields[number] if 0 < number < len(fields) else b""

    def repetitions(self, number: int) -> list[bytes]:
        """The field's repetitions as sent; none for an empty field."""
        return self._split((number,), self.field(number), self.coding.delimiters.repetition)

    def components(self, number: int, repetition: int = 1) -> list[bytes]:
        """The components of one repetition as sent; none when it is empty."""
        whole = self.field(number)
        if not whole:
            return []
        marks = self.coding.delimiters
        if repetition > 1 or (marks.repetition and marks.repetition in whole):
            whole = _nth(self.repetitions(number), repetition)
        return self._split((number, repetition), whole, marks.component)

    def subcomponents(self, number: int, repetition: int = 1, component: int = 1) -> list[bytes]:
        """The subcomponents of one component as sent; none when it is empty."""
        whole = _nth(self.components(number, repetition), component)
        return self._split((number, repetition, component), whole, self.coding.delimiters.subcomponent)

    def get_raw(self, address: str) -> bytes:
        """The bytes at ``3[1].4.1``. Raises: ValueError for what is not an address of this segment."""
        name, _, number, repetition, component, subcomponent = address_of(address)
        if name and name != self.name:
            raise ValueError("an address of another segment")
        return _nth(self.subcomponents(number, repetition, component), subcomponent)

    def get(self, address: str) -> str:
        """The value at ``3[1].4.1``: decoded, unescaped, "" where nothing was sent, '""' for HL7's null."""
        return self.coding.value(self.get_raw(address))

    def text(self, number: int, repetition: int = 1) -> str:
        """One whole repetition as text: for narrative fields, whose senders do not escape ``&`` and ``^``."""
        return self.coding.value(_nth(self.repetitions(number), repetition))

    def _split(self, key: tuple[int, ...], whole: bytes, mark: bytes) -> list[bytes]:
        """Parts of a long field are kept, so that reading them one by one stays linear."""
        if len(whole) < _LONG:
            if not whole:
                return []
            if not mark or (key[0] < 3 and self.name in _HEADERS):
                return [whole]
            return whole.split(mark)
        if self._parts is None:
            self._parts = {}
        parts = self._parts.get(key)
        if parts is None:
            parts = self._parts[key] = whole.split(mark) if mark else [whole]
        return parts


def _nth(parts: Sequence[bytes], number: int) -> bytes:
    return parts[number - 1] if number <= len(parts) else b""
