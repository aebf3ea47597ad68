"""What is answered: which messages are refused and why, which code is due, and the answer's bytes.

The rules are HL7 v2 ch. 2.9 (original and enhanced mode) with the conditions of table 0357. An answer
carries nothing of the message but MSH-3 to 6, the control id, the processing id, the version, and the
trigger and character set where they are words of the standard.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from umbridge.errors import RefusedError
from umbridge.hl7 import patients
from umbridge.hl7.delimiters import Delimiters
from umbridge.hl7.er7 import Message
from umbridge.hl7.lines import MOST_SEGMENTS
from umbridge.hl7.reading import MOST
from umbridge.hl7.tables import CONDITIONS, EVENTS, PROCESSING_IDS, TYPES, VERSIONS
from umbridge.hl7.triggers import FAMILIES, GROUPED, IGNORED, USED
from umbridge.model import RowState

HEADERS_KEPT = 256  # feeds repeat themselves: what hangs on no single message is worked out once
MOST_KEPT_BYTES = 512  # of a header's fields
MAX_CONTROL_ID = 199  # MSH-10's length from 2.7 on; 20 before

_NULL = b'""'
_SAFE = b" 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SOUND: set[tuple[object, ...]] = set()  # type, processing id and version that nothing is wrong with
_AROUND: dict[tuple[object, ...], tuple[bytes, bytes, bytes]] = {}
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_NEVER, _SUCCESS, _ERROR = "NE", "SU", "ER"  # HL7 table 0155, whose fourth word is AL
# Versions whose ERR has the condition in field 1 only, and whose MSH-9 has no third component.
_OLD_MSH9 = frozenset({"2.0", "2.0D", "2.1", "2.2", "2.3"})
_OLD_ERR = _OLD_MSH9 | {"2.3.1", "2.3.2", "2.4"}


@dataclass(frozen=True, slots=True)
class Disposition:
    """What becomes of an accepted message at intake: PENDING; IGNORED or QUARANTINED with a reason code."""

    state: RowState
    reason: str = ""


PRODUCTION = "P"
#: Why a message means nothing here by its type or trigger alone: counts name it.
BY_KIND = ("trigger_not_used", "type_not_used")

_PENDING = Disposition(RowState.PENDING)
_ACKNOWLEDGMENT = Disposition(RowState.IGNORED, "acknowledgment")
_TRIGGER = Disposition(RowState.IGNORED, "trigger_not_used")
_TYPE = Disposition(RowState.IGNORED, "type_not_used")
_SEVERAL = Disposition(RowState.QUARANTINED, "several_patients")
_TOO_MANY = Disposition(RowState.QUARANTINED, "too_many_segments")
_CONTINUED = Disposition(RowState.QUARANTINED, "continued")


def is_acknowledgment(message: Message) -> bool:
    """Whether this is itself an answer: type ACK or MCF, or an MSA in anything but the types we work.

    An MSA in an ADT, ORM or ORU does not make it one: it would be lost without a word.
    """
    code = message.kind[0]
    return code in ("ACK", "MCF") or (code not in FAMILIES and bool(message.segments("MSA")))


def used(message: Message) -> Disposition:
    """What umbridge does with a message that is not refused.

    One that speaks of several patients and cannot be told apart (``patients``) waits for a person: one
    patient's facts must never be read as another's, and half a message must not pass for the whole. For the
    same reason one with more segments than anybody reads waits, and a fragment of one (HL7 v2 2.10.2).
    """
    code, trigger = message.kind
    if message.kind in USED:
        if _too_many(message):
            return _TOO_MANY
        if _is_fragment(message):
            return _CONTINUED
        return _SEVERAL if len(message.lines_of(b"PID")) > 1 and _several(message) else _PENDING
    if is_acknowledgment(message):
        return _ACKNOWLEDGMENT
    if code == "ADT" and trigger in IGNORED:
        return Disposition(RowState.IGNORED, IGNORED[trigger])
    return _TRIGGER if code in FAMILIES else _TYPE


def told(reason: str, message: Message) -> str:
    """A reason as counts have it: with the type and trigger where these are the reason."""
    return f"{reason} {'^'.join(filter(None, message.kind))}" if reason in BY_KIND else reason


def processing_of(message: Message) -> str:
    """MSH-11.1 (table 0103): P production, T training, D debugging; the first where nothing is sent.

    MSH-11.2 is a mode (table 0207), whose T means current and says nothing of training.
    """
    return message.get("MSH-11.1") or PRODUCTION


def disposition(message: Message, processing_ids: Collection[str], processing: str = "") -> Disposition:
    """What umbridge does with a message that is not refused where these processing ids are screened.

    The daemon, `screen` and `config check` ask here. ``processing``: ``processing_of``, where it is known.
    """
    found = used(message)
    if found.state is not RowState.PENDING:
        return found
    said = processing or processing_of(message)
    return found if said in processing_ids else Disposition(RowState.IGNORED, f"processing_id_{said}")


def _too_many(message: Message) -> bool:
    """Whether more came than ``translate`` reads."""
    if message.more:
        return True
    count = len(message.body)
    if count <= min(MOST.values()):
        return False
    return count > MOST_SEGMENTS or any(len(message.lines_of(name)) > most for name, most in MOST.items())


def _is_fragment(message: Message) -> bool:
    """Whether it continues another (MSH-14) or is continued by one (DSC-1)."""
    if message.header.field(14) not in (b"", _NULL):
        return True
    ends = message.lines_of(b"DSC")
    return bool(ends) and ends[-1][4:].split(message.delimiters.field, 1)[0] not in (b"", _NULL)


def _several(message: Message) -> bool:
    if message.kind[1] in GROUPED or not patients.is_several(message):
        return False
    return patients.apart(message) is None


def refusal(message: Message, also: Collection[str] = ()) -> RefusedError | None:
    """Why the message cannot be accepted, or None. An acknowledgment is never refused: it gets no answer.

    ``also``: events such as ``ADT^Z01`` that are no refusal though the standard does not have them.

    Conditions are those of HL7 table 0357: 100 segment sequence, 101 required field missing, 102 data
    type, 104 value too long; 200 to 203 type, event, processing id and version not supported. Several
    messages in one frame are refused as a whole: one answer must not stand for messages it does not name.
    """
    if is_acknowledgment(message):
        return None
    if message.delimiters.broken:
        return RefusedError("AE", 102, "MSH-2", "delimiters_ambiguous")
    if message.preceded:
        return RefusedError("AE", 100, "MSH", "msh_not_first")
    if message.extra_headers:
        return RefusedError("AE", 100, "MSH[2]", "several_messages")
    fields = message.header.fields
    have = len(fields)
    if have <= 9 or fields[9].strip() in (b"", _NULL) or not message.kind[0]:
        return RefusedError("AE", 101, "MSH-9", "message_type_missing")
    control_id = fields[10] if have > 10 else b""
    if control_id.strip() in (b"", _NULL):
        return RefusedError("AE", 101, "MSH-10", "control_id_missing")
    if len(control_id) > MAX_CONTROL_ID:
        return RefusedError("AE", 104, "MSH-10", "control_id_too_long")
    if _CONTROL.search(control_id):
        return RefusedError("AE", 102, "MSH-10", "control_id_unprintable")
    wording = message.wording
    known = (wording, message.kind, message.codec)
    if known in _SOUND:
        return None
    version = _first(message, 12)
    if version in ("", '""'):
        return RefusedError("AE", 101, "MSH-12", "version_missing")
    code, trigger = message.kind
    is_own = f"{code}^{trigger}" in also
    if code not in TYPES and not is_own:
        return RefusedError("AR", 200, "MSH-9.1", "message_type_unknown")
    if not _known(code, trigger) and not is_own:
        return RefusedError("AR", 201, "MSH-9.2", "event_unknown")
    processing_id = _first(message, 11)
    if processing_id and processing_id not in PROCESSING_IDS:
        return RefusedError("AR", 202, "MSH-11", "processing_id_unknown")
    if version not in VERSIONS:
        return RefusedError("AR", 203, "MSH-12", "version_unknown")
    if sum(map(len, wording)) <= MOST_KEPT_BYTES and not is_own:
        if len(_SOUND) >= HEADERS_KEPT:
            _SOUND.clear()
        _SOUND.add(known)
    return None


def _first(message: Message, number: int) -> str:
    parts = message.header.components(number)
    return message.value(parts[0]).strip() if parts else ""


def _known(code: str, trigger: str) -> bool:
    family = FAMILIES.get(code)
    if family is None:
        return not trigger or trigger in EVENTS
    return trigger in EVENTS and trigger[0] in family


def too_long() -> RefusedError:
    """The refusal for a block over the size limit whose header could be read (``mllp.Fault.head``)."""
    return RefusedError("AE", 104, "MSH", "oversize")


def code_due(message: Message, refused: RefusedError | None) -> str | None:
    """The acknowledgment code to send, or None where none is due. At most one answer a message.

    Both MSH-15 and MSH-16 empty is original mode, which always answers. Otherwise an empty one means NE,
    an accept acknowledgment goes before an application one, and a word outside HL7 table 0155 counts as
    AL: an answer too many is safer than a sender that waits.
    """
    if is_acknowledgment(message):
        return None
    accept, application = (_condition(message, each) for each in message.header.row(16)[15:17])
    if not accept and not application:
        return refused.ack if refused else "AA"
    wanted = _ERROR if refused else _SUCCESS
    suffix = refused.ack[1] if refused else "A"
    if _asks(accept, wanted):
        return "C" + suffix
    return "A" + suffix if _asks(application, wanted) else None


def _condition(message: Message, raw: bytes) -> str:
    word = message.text(raw).strip() if raw else ""
    return "" if word == '""' else word


def _asks(word: str, wanted: str) -> bool:
    if word in ("", _NEVER):
        return False
    return word == wanted or word not in (_SUCCESS, _ERROR)


def answer(
    message: Message,
    code: str,
    control_id: str,
    now: datetime,
    condition: int | None = None,
    location: str | None = None,
    text: str | None = None,
) -> bytes:
    """The acknowledgment's bytes, in the sender's delimiters and character set, ending in CR.

    ``control_id`` is our own MSH-10; ``condition`` a code of table 0357, which adds an ERR segment;
    ``location`` an address such as ``MSH-10``; ``text`` a code and a reference number for MSA-3 and ERR-8,
    never content. The names of applications and the control id go back as they came, but for control
    characters, which leave as escapes.
    """
    marks = _safe(message.delimiters)
    before, between, after = _around(message, marks)
    stamp = _stamp(now)
    if (sign := stamp[14:15]) in marks.inner or sign in (marks.field, marks.truncation):
        stamp = stamp[:14]  # the offset's sign would read as a delimiter, and no escape belongs in a time
    msa = [b"MSA", code.encode("ascii"), _echo(message, 10, marks)]
    if text:
        msa.append(_escaped(text, marks))
    header = before + stamp + between + _escaped(control_id, marks) + after
    segments = [header, marks.field.join(msa)]
    if condition is not None:
        segments.append(_error(marks, _first(message, 12), condition, location or "", text or ""))
    return b"\r".join(segments) + b"\r"


def _around(message: Message, marks: Delimiters) -> tuple[bytes, bytes, bytes]:
    """An answer's MSH but for its time and control id: before, between and after the two."""
    key = (message.wording, message.kind)
    lasting = message.codec == "ascii" and message.is_ascii  # the bytes alone say what is written back
    known = _AROUND.get(key) if lasting else None
    if known is not None:
        return known
    unknown = "MSH-18 charset_unknown" in message.notes
    trigger = message.kind[1] if message.kind[1] in EVENTS else ""
    kind = [b"ACK"]
    if trigger:
        kind.append(_escaped(trigger, marks))
        if _first(message, 12) not in _OLD_MSH9:
            kind.append(b"ACK")
    coding = marks.component + marks.repetition + marks.escape + marks.subcomponent + marks.truncation
    echo = {number: _echo(message, number, marks) for number in (3, 4, 5, 6, 11, 12, 18)}
    charset = b"" if unknown else echo[18]
    made = (
        marks.field.join([b"MSH", coding, echo[5], echo[6], echo[3], echo[4], b""]),
        marks.field.join([b"", b"", marks.component.join(kind), b""]),
        marks.field.join(
            [
                b"",
                echo[11] or b"P",
                echo[12] or b"2.5.1",
                *([b"", b"", b"", b"", b"", charset] if charset else []),
            ]
        ),
    )
    if lasting and sum(map(len, key[0])) <= MOST_KEPT_BYTES:
        if len(_AROUND) >= HEADERS_KEPT:
            _AROUND.clear()
        _AROUND[key] = made
    return made


def _echo(message: Message, number: int, marks: Delimiters) -> bytes:
    return _printable(message.wire(message.header.field(number)), marks)


def _marks(marks: Delimiters) -> tuple[bytes, ...]:
    return (
        marks.field,
        marks.component,
        marks.repetition,
        marks.escape,
        marks.subcomponent,
        marks.truncation,
    )


def _stamp(now: datetime) -> bytes:
    """HL7's TS with its offset; UTC, the usual case, without the cost of strftime."""
    if now.tzinfo is not UTC:
        return now.strftime("%Y%m%d%H%M%S%z").encode("ascii")
    return _second(now.year, now.month, now.day, now.hour, now.minute, now.second)


@lru_cache(maxsize=4)
def _second(*parts: int) -> bytes:
    return b"%04d%02d%02d%02d%02d%02d+0000" % parts


_LOCATION = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?(?:-(\d+)(?:\[(\d+)\])?(?:\.(\d+)(?:\.(\d+))?)?)?")


def _error(marks: Delimiters, version: str, condition: int, location: str, text: str) -> bytes:
    """ERR: fields 2 to 8 from 2.5 on, before that field 1 with segment, sequence, field and code."""
    match = _LOCATION.fullmatch(location)
    name, nth, *numbers = [part or "" for part in match.groups()] if match else [""] * 6
    said = [_escaped(part, marks) for part in (str(condition), CONDITIONS.get(condition, ""), "HL70357")]
    sequence = (nth or "1") if name else ""
    if version in _OLD_ERR:
        parts = [_escaped(part, marks) for part in (name, sequence, numbers[0])]
        code = marks.subcomponent.join(said) if marks.subcomponent else said[0]
        return marks.field.join([b"ERR", marks.component.join([*parts, code])])
    place = [name, sequence, numbers[0], (numbers[1] or "1") if numbers[0] else "", *numbers[2:]]
    while place and not place[-1]:
        place.pop()
    where = marks.component.join(_escaped(part, marks) for part in place)
    fields = [b"ERR", b"", where, marks.component.join(said), b"E"]
    if text:
        fields += [b"", b"", b"", _escaped(text, marks)]
    return marks.field.join(fields)


def _safe(marks: Delimiters) -> Delimiters:
    """Delimiters an answer can be written with: the sender's, or sane ones where his are not usable."""
    if not marks.broken:
        return marks
    free = [one for one in (b"^", b"~", b"\\", b"&", b"!") if one != marks.field]
    return Delimiters(marks.field, free[0], free[1], free[2], free[3], b"")


def _printable(value: bytes, marks: Delimiters) -> bytes:
    """Sent bytes fit to send back: control characters become ``\\Xhh\\``, or ``?`` without an escape."""
    if not _CONTROL.search(value):
        return value
    mark, other = marks.escape, _stand_in(marks)
    return _CONTROL.sub(lambda m: mark + b"X%02X" % m[0][0] + mark if mark else other, value)


def _stand_in(marks: Delimiters) -> bytes:
    """For what cannot be written: a question mark, or a letter where that is itself a delimiter."""
    return b"X" if b"?" in _marks(marks) else b"?"


def _escaped(value: str, marks: Delimiters) -> bytes:
    """Our own text for one component: delimiters and control characters as escapes, the rest as ASCII."""
    raw = value.encode("ascii", "replace")
    if not raw.translate(None, _SAFE):
        return raw
    letters = zip((marks.field, marks.component, marks.subcomponent, marks.repetition), b"FSTR", strict=True)
    mark = marks.escape
    special = {one: bytes((letter,)) for one, letter in letters if one}
    if mark:
        special[mark] = b"E"
    out = bytearray()
    for byte in raw:
        one = bytes((byte,))
        letter = special.get(one) or (b"X%02X" % byte if byte < 0x20 or byte == 0x7F else b"")
        if not letter:
            out += one
        else:
            out += mark + letter + mark if mark else _stand_in(marks)
    return bytes(out)
