"""One OBX as a statement about a result: what it does, of which value, and when it was told.

A result is named by report, service, code and sub-id, a value of it by the time it was collected.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from umbridge.model import Event, FactValue, Observation, Withdrawal
from umbridge.settings.site import SiteProfile
from umbridge.stay.clock import instant
from umbridge.stay.dictionary import dictionary
from umbridge.stay.facts import Fact, Unusable, feeds, value_of
from umbridge.stay.reasons import Reason
from umbridge.stay.results.once_read import read_once
from umbridge.values.interval import Interval

# What a statement does, by OBX-11 (table 0085) and OBR-25 (table 0123): of one second, the first goes first.
PRELIMINARY, FINAL, CONFIRMED, CORRECTED, WITHDRAWN, UNOBTAINABLE, REPORT_WITHDRAWN = range(1, 8)
#: Something was told that states nothing: it cannot be read (a status of no table, text where a final value
#: belongs), or OBX-5 is empty. It changes no value; but the fact was asked, so silence is no answer to it.
UNREAD = 0
#: OBX-11 that corrects by itself, whatever OBR-25 says of the report.
CORRECTS = ("C", "A")
_KINDS = {
    "P": PRELIMINARY,
    **dict.fromkeys("FBV", FINAL),
    "U": CONFIRMED,
    **dict.fromkeys(CORRECTS, CORRECTED),
    **dict.fromkeys("DW", WITHDRAWN),
    "X": UNOBTAINABLE,
}
#: First and last moment of a time that nobody sent: it may have been any.
NEVER, EVER = -(1 << 62), 1 << 62
#: The value of a statement that is no longer kept: there was one, and it can be in no window.
LOST: FactValue = "lost"
#: What says that there is no value, or none yet. Everything else that is no value could not be read.
SAYS_NONE = frozenset(
    (
        *(Reason.WITHDRAWN, Reason.EMPTY, Reason.NULL, Reason.ANSWERED_UNKNOWN),
        *(Reason.STATUS_U, Reason.STATUS_X),
        *(Reason.STATUS_I, Reason.STATUS_N, Reason.STATUS_O, Reason.STATUS_R, Reason.STATUS_S),
    )
)
#: Before the number of a report that is known by its placer number alone: no filler's number is like it.
PLACER = "placer "
MARK = " preliminary"  # behind the source of a value that is not final
#: Behind that of a value which counts from MSH-7, as neither OBX-14 nor OBR-7 says when it was collected.
UNTIMED = " (collection time not sent)"

_KIND, _WHY = 6, 9  # where a written statement has its kind, and why it could not be read
Place = tuple[int, str, str, str, str, int, int, int, str]
Name = tuple[int, int, int]


def kind_of(status: str, report_status: str) -> int | None:
    """What an OBX does. None where it says nothing of a value: R, I, O, N, S and what no table has."""
    kind = _KINDS.get(status)
    if report_status == "X":
        return UNOBTAINABLE
    return CORRECTED if kind == FINAL and report_status == "C" else kind


class Result(NamedTuple):
    """One OBX: what it says, or what it stands for once all that was told is known.

    ``value`` is None where it is withdrawn, superseded, missing or unreadable; then ``original`` is why it
    could not be read, "" where there was nothing to be read. ``first`` and ``last`` are the
    first and last moment that its time as sent can mean, ``nth`` tells apart those of one message that are
    alike in all of this. ``former`` are the moments it counted from before a correction gave it another.
    """

    at: int
    report: str
    service: str
    code: str
    sub: str
    first: int
    last: int
    nth: int
    patient: str
    kind: int
    sent: int
    seq: int
    part: int
    value: FactValue | None
    original: str
    source: str
    former: tuple[int, ...] = ()
    placer: str = ""  # the placer number of a report that has a filler number too
    other: str = ""  # the service in another system

    @property
    def place(self) -> Place:
        return self[:9]

    @property
    def named(self) -> tuple[str, str, str, str]:
        """Which result: report, service, code and sub-id."""
        return self[1:5]

    @property
    def name(self) -> Name:
        """What tells the values of one result apart."""
        return self[5:8]

    @property
    def stamp(self) -> tuple[int, int, int, int]:
        """When it was told: what is of one second goes by what it does, then by receipt and place."""
        return self.sent, min(self.kind, CORRECTED), self.seq, self.part

    @property
    def order(self) -> tuple[int, ...]:
        """Its place among others that count: by its time, and of one time by when each was told."""
        return self.at, self.sent, min(self.kind, CORRECTED), self.seq, self.part

    def is_again(self, other: Result) -> bool:
        """Whether this is the same statement: of the same message, received twice."""
        return self[:11] == other[:11] and self[12:] == other[12:]

    @property
    def is_unread(self) -> bool:
        """Whether something was told that could not be read."""
        return self.value is None and self.original != ""

    @property
    def is_plain(self) -> bool:
        """Whether it states a value at a moment that was sent, and no more: most do."""
        is_read = self.value is not None or not self.original
        return self.kind <= FINAL and self.first == self.at == self.last and is_read

    def written(self, fact: str) -> list[Any]:
        """As an increment has it, without what the others of its report and message share."""
        value = self.value if self.value is None or isinstance(self.value, (bool, str)) else str(self.value)
        when = (self.first, self.last)
        told = 0 if when == (self.at, self.at) else None if when == (NEVER, EVER) else list(when)
        what = [self.kind, self.part, value, self.original, self.source]
        return [fact, self.at, self.code, self.sub, told, self.nth, *what]


def nothing(place: Place) -> Result:
    """A place at which nothing counts."""
    return Result(*place, 0, 0, 0, 0, None, "", "")


def again(known: list[Result], told: Result) -> bool:
    """Add a statement to those known. True where nothing changes: its message was received twice.

    Of a message that was received twice the first receipt counts, whichever came in first.
    """
    at = next((n for n, each in enumerate(known) if each.is_again(told)), None)
    if at is None:
        known.append(told)
    elif told.seq >= known[at].seq:
        return True
    else:
        known[at] = told
    return False


class Codes(NamedTuple):
    """Of the OBX of one message: which have a code that nobody mapped, and which have two codes."""

    unmapped: list[int]
    double: list[tuple[Observation, str, str]]  # with its fact, and the code that says so


def rows_of(
    event: Event, seq: int, patient: str, site: SiteProfile, codes: Codes | None = None
) -> dict[str, list[Any]]:
    """What one message states of facts, as its increment writes it: what it says nothing of is left out.

    ``codes`` is told what else its codes say.
    """
    sent = instant(event.sent_at)
    facts: list[list[Any]] = []
    counted: dict[tuple[Any, ...], int] = {}
    under: tuple[str, ...] | None = None
    at, before, has_text = 0, None, False
    for part, observation in enumerate(event.observations, (event.part << 24) + 1):
        kind = kind_of(observation.status, observation.report_status)
        found = read_once(observation, site)
        if codes is not None:
            if not found.fact:
                codes.unmapped.append(part)
            elif observation.alternate.code:
                codes.double.append((observation, found.fact, found.code))
        if not found.fact:
            continue
        original = ""
        if isinstance(found, Unusable):
            kind, original = unread_as(observation, found, kind, site)
            has_text = has_text or original == Reason.COMMENT
        if kind is None:
            continue
        told, moment = observation.told, observation.at
        if moment is not before:  # the results of a report share their time
            at, before = instant(moment), moment
        if told is not None:
            last = at if told[1] is moment else instant(told[1])
            first = last if told[0] is told[1] else instant(told[0])
        elif observation.report or observation.placer:
            first, last = NEVER, EVER
        else:
            first = last = at  # nothing else names a value that no report does
        value, source = None, observation.source
        if told is None and first == at:
            source += UNTIMED
        if isinstance(found, Fact):
            value, original = found.value, found.original
            source += MARK if found.preliminary else ""
        report, placer = named(observation)
        service, other = observation.service, observation.other_service
        key = (report, service, found.code, observation.sub, first, last, _numbered(kind))
        nth = counted[key] = counted.get(key, -1) + 1
        place = (at, report, service, found.code, observation.sub, first, last, nth, patient)
        result = Result(*place, kind, sent, seq, part, value, original, source, (), placer, other)
        if under != (report, service, placer, other):
            under = (report, service, placer, other)
            facts.append([patient, sent, seq, report, service, [], placer, other])
        facts[-1][5] += [result.written(fact) for fact in feeds(found.fact)]
    withdrawn = [
        [patient, sent, seq, *named(each), each.service, each.other_service, part, each.source, *_when(each)]
        for part, each in enumerate(event.withdrawals, event.part << 24)
    ]
    return {"facts": _without_remarks(facts) if has_text else facts, "withdrawn": withdrawn}


def unread_as(
    observation: Observation, found: Unusable, kind: int | None, site: SiteProfile
) -> tuple[int | None, str]:
    """What an OBX that gives no value does, and the reason for which it could not be read; "" if it could be.

    Text alone under a report is where its final value belongs (CANCELED-HEMOLYZED). Other text is a remark.
    """
    reason = found.reason
    if reason is Reason.EMPTY:  # says nothing (2.5.3); a correction says that what was told is wrong
        return (CORRECTED, reason) if observation.status in CORRECTS else (UNREAD, "")
    if reason in (Reason.STATUS_NONE, Reason.STATUS_UNLISTED):
        value = value_of(observation, dictionary()[found.fact], found.code, site)
        is_none = value is Reason.COMMENT or value in SAYS_NONE
        return (None, "") if is_none else (UNREAD, reason)
    if reason is not Reason.COMMENT:
        return kind, "" if kind is None or reason in SAYS_NONE else reason
    if kind is not None and kind > FINAL:
        return kind, reason  # a correction whose text is no value takes the value back
    return (UNREAD, reason) if kind == FINAL and any(named(observation)) else (None, "")


def _numbered(kind: int) -> bool | None:
    """Which are counted together to tell apart those of one message that are alike."""
    return None if kind == UNREAD else kind <= FINAL


def _without_remarks(facts: list[list[Any]]) -> list[list[Any]]:
    """The rows of one message without the text that stands beside a value of its report, service and fact."""
    valued = {
        (row[3], row[4], fact) for row in facts for fact, *_, value, _, _ in row[5] if value is not None
    }
    for row in facts:
        kept = []
        for *told, value, original, source in row[5]:
            is_remark = original == Reason.COMMENT and (row[3], row[4], told[0]) in valued
            if not is_remark or told[_KIND] != UNREAD:
                kept.append([*told, value, "" if is_remark else original, source])
        row[5] = kept
    return [row for row in facts if row[5]]


def named(told: Observation | Withdrawal) -> tuple[str, str]:
    """What a report is called, and beside a filler number its placer number."""
    placer = f"{PLACER}{told.placer}" if told.placer else ""
    return (told.report, placer) if told.report else (placer, "")


def stated(row: list[Any]) -> Iterator[tuple[str, Result]]:
    """The statements of one row of an increment's facts, each with its fact."""
    patient, sent, seq, report, service, results, placer, other = row
    for fact, at, code, sub, told, nth, kind, part, value, original, source in results:
        first, last = (at, at) if told == 0 else (NEVER, EVER) if told is None else told
        said = _number(value) if value is not None and dictionary()[fact].kind == "number" else value
        place = (at, report, service, code, sub, first, last, nth, patient)
        yield fact, Result(*place, kind, sent, seq, part, said, original, source, (), placer, other)


def first_told(row: list[Any]) -> int:
    """When a row of an increment's facts told of a value, or of one that nobody can read; else EVER."""
    told = (each for each in row[5] if each[_KIND] <= FINAL and (each[_KIND] or each[_WHY]))
    return int(row[1]) if any(told) else EVER


def _number(text: str) -> FactValue | None:
    return Interval.parse(text) if text[0] in "<>" else Decimal(text)


def _when(told: Withdrawal) -> tuple[int, ...]:
    return () if told.told is None else (instant(told.told[0]), instant(told.told[1]))


def withdrawal(row: list[Any]) -> Result:
    """A report that is withdrawn whole, as a statement about each of its results."""
    patient, sent, seq, report, placer, service, other, part, source, *when = row
    first, last = when or (NEVER, EVER)
    told = (first, last, 0, patient, REPORT_WITHDRAWN, sent, seq, part)
    return Result(sent, report, service, "", "", *told, None, "", source, (), placer, other)
