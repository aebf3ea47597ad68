"""Which characters the bytes of a message mean: MSH-18 (HL7 table 0211) to a codec, never an exception."""

from __future__ import annotations

import codecs

# HL7 table 0211 to Python's codecs; below it names that are not in the table and are sent all the same.
_CODECS = {
    "": "",
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/10": "iso8859-10",
    "8859/11": "iso8859-11",
    "8859/13": "iso8859-13",
    "8859/14": "iso8859-14",
    "8859/15": "iso8859-15",
    "8859/16": "iso8859-16",
    "ISO IR6": "ascii",
    "ISO IR13": "shift_jis",
    "ISO IR14": "iso2022_jp_ext",
    "ISO IR87": "iso2022_jp_ext",
    "ISO IR159": "iso2022_jp_ext",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "US-ASCII": "ascii",
    "GB18030": "gb18030",
    "BIG5": "big5",
    "SHIFT_JIS": "shift_jis",
    "WINDOWS-1252": "cp1252",
    "WINDOWS-1251": "cp1251",
    "CP1252": "cp1252",
}
# In these a byte that looks like a delimiter can be half of a character, so fields can only be told
# apart after the text is decoded.
_OVERLAPPING = frozenset({"gb18030", "big5", "shift_jis", "iso2022_jp_ext"})


def codec_for(declared: list[str], default: str) -> tuple[str, bool]:
    """The codec for the repetitions of MSH-18, and whether all of them were known.

    The first repetition is the message's own set; a later Japanese one (ISO 2022 escapes, MSH-20) wins,
    as its codec holds the first. ``default`` is the feed's, for an empty MSH-18; an unknown name is UTF-8.
    """
    names = [name.strip().upper().replace("ISO8859", "8859").replace("8859-", "8859/") for name in declared]
    names = [name.removeprefix("ISO ") if name.startswith("ISO 8859") else name for name in names]
    known = all(name in _CODECS for name in names)
    for name in names[1:]:
        if _CODECS.get(name, "").startswith("iso2022"):
            return _CODECS[name], known
    first = _CODECS.get(names[0], "utf-8") if names else ""
    return first or usable(default), known


def usable(name: str) -> str:
    """``name`` if Python has that text codec, else UTF-8: a wrong default must not stop a feed."""
    try:
        info = codecs.lookup(name)
        "".encode(info.name)
    except (LookupError, ValueError, UnicodeError):
        return "utf-8"
    return info.name


def overlapping(codec: str) -> bool:
    """Whether delimiter bytes may be halves of characters in this codec."""
    return codec in _OVERLAPPING


def decode(value: bytes, codec: str) -> str:
    """Text for one value: the codec, else UTF-8, else Latin-1, which takes every byte."""
    if value.isascii() and not codec.startswith(("iso2022", "utf-16", "utf-32", "utf-7")):
        return value.decode("ascii")
    for name in (codec, "utf-8"):
        try:
            return value.decode(name)
        except (UnicodeError, LookupError):
            continue
    return value.decode("latin-1")
