"""Results as sent: what an OBR says for the OBX below it, and each OBX, read but not judged."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from umbridge.hl7 import collected
from umbridge.hl7.er7 import Message
from umbridge.hl7.fields import (
    NULL,
    entity_from,
    entity_of,
    further_of,
    is_coded,
    observed_value,
    repetitions_of,
)
from umbridge.hl7.moments import CLOCKS_AGREE, CLOCKS_DIFFER, EPOCH
from umbridge.hl7.reading import Reading
from umbridge.hl7.times import days_of
from umbridge.model import Coded, Observation, Withdrawal

_EMPTY = [b""] * 15  # what a short segment has behind its last field
_DAY = timedelta(days=1)

_STATUSES = frozenset("OISAPCRFXYZMN")  # table 0123, of all versions
_STATES = ("F", "P", "B", "V")  # OBX-11 of a value that is told, and not corrected or withdrawn
_Told = tuple[datetime, datetime]


def _on_clock(at: datetime, zone: tzinfo) -> datetime:
    """The same moment on the facility's clock, if that clock does not change within a day of it.

    Times of one clock are compared without looking up offsets. Of a clock that changes that would be wrong.
    """
    here = at.astimezone(zone)
    return here if (here - _DAY).utcoffset() == (here + _DAY).utcoffset() else at


class Report(NamedTuple):
    """What the OBX below an OBR have from it."""

    number: str
    placer: str
    service: str
    other: str
    status: str
    at: datetime
    told: _Told | None
    is_rejected: bool = False


class Results(Reading):
    """The part of a translation that is about results."""

    __slots__ = ("_separator", "_specimens", "_taken", "sent_at", "withdrawals")

    def __init__(self, message: Message, zone: tzinfo, received_at: datetime | None) -> None:
        super().__init__(message, zone, received_at)
        self._taken: dict[bytes, tuple[tuple[datetime, _Told], bool]] = {}  # a message repeats few times
        self._separator = message.delimiters.field
        self._specimens = collected.by_report(message)
        self.withdrawals: list[Withdrawal] = []
        self.sent_at = EPOCH  # until MSH-7 was read

    def report(self, obr: list[bytes], orc: list[bytes], nth: int) -> Report:
        """``orc``: the fields of the ORC above, whose numbers count where OBR has none (4.5.1.2)."""
        number, placer = self.number(obr[3], orc[3]), self.number(obr[2], orc[2])
        code, alternate, _ = self.words(obr[4])
        service, other = _service(code), _service(alternate)
        if not service:
            service, other = other, ""
        status = self.word(obr[25]).upper()
        if status and status not in _STATUSES:
            self.note(f"OBR[{nth}]-25 report_status_unknown")
        its = self._specimens.get(nth, [])
        found = self.taken(obr[7], "OBR", 7, nth) or (self.of_specimens(its) if its else None)
        at, told = found or (self.sent_at, None)
        if told is None or told[0] != told[1]:
            at = self.received(obr[14], nth, its, at, told)
        if status == "X":
            if number or placer:
                source = f"{self.message.control_id} OBR[{nth}]-25"
                self.withdrawals.append(Withdrawal(number, service, source, placer, other, told))
            else:
                self.note(f"OBR[{nth}]-25 report_unnamed")
        rejected = bool(its) and collected.is_rejected(its)
        return Report(number, placer, service, other, status, at, told, rejected)

    def number(self, raw: bytes, above: bytes) -> str:
        """OBR's and ORC's, which are one number: what one of them leaves out the other may have."""
        first = entity_of(self.message, raw) if raw else ""
        if not above:
            return first
        return entity_from(first, entity_of(self.message, above))

    def taken(self, raw: bytes, name: str, field: int, nth: int) -> tuple[datetime, _Told] | None:
        """When it was collected: the moment it counts from, and the first and last that were sent.

        A day, or an hour without minutes, counts from its last moment that is not after MSH-7. Nothing was
        collected after it was sent: a later time is MSH-7, and noted where clocks cannot be the reason.
        """
        if not raw:
            return None
        known = self._taken.get(raw)
        if known is None:
            at = self.time(raw, name, field, nth)
            if at is None:
                return None
            told, sent = (at, at), self.sent_at
            if len(self._taken) == 1:  # several times, as monitors send them: let comparing be cheap
                sent = self.sent_at = _on_clock(sent, self.zone)
            if not raw[10:12].isdigit() and not raw.strip()[10:12].isdigit():
                told = days_of(self.stamp(raw), self.zone) or told
                at = told[1]
            elif self.either and raw in self.either:
                its = self.either[raw]
                is_first = its.later - sent > CLOCKS_AGREE  # nothing was collected after it was sent
                told = (its.earlier, its.earlier if is_first else its.later)
                at = min(told[1], sent)
            known = self._taken[raw] = (
                ((at, told), False) if at <= sent else ((sent, told), told[0] - sent >= CLOCKS_DIFFER)
            )
        if known[1]:
            self.note(f"{name}[{nth}]-{field} time_after_message")
        return known[0]

    def of_specimens(self, its: collected.Rows) -> tuple[datetime, _Told] | None:
        """SPM-17, where OBR-7 does not say."""
        told, sent = collected.collected(self, its), self.sent_at
        if told is None:
            return None
        if told[0] - sent >= CLOCKS_DIFFER:
            self.note(f"SPM[{its[0][0]}]-17 time_after_message")
        return min(told[1], sent), told

    def received(
        self, raw: bytes, nth: int, its: collected.Rows, at: datetime, told: _Told | None
    ) -> datetime:
        """The moment from which a result counts of which no moment is known: when the specimen was there.

        OBR-14, else SPM-18: it was collected no later (7.4.1.14, 7.4.3.18).
        """
        came = self.time(raw, "OBR", 14, nth) if raw else None
        if came is not None:
            came = (days_of(self.stamp(raw), self.zone) or (came, came))[1]
        elif its:
            came = collected.received(self, its)
        if came is None or came >= at or (told is not None and came < told[0]):
            return at
        return came

    def observation(self, line: bytes, nth: int, report: Report, source: str) -> Observation:
        """One OBX as sent. Most messages are made of these, so no Segment is made of it."""
        row = line.split(self._separator)
        if len(row) < 15:
            row += _EMPTY
        raw, sub, at = row[5], row[4], row[14]
        key = (row[2], row[3], row[6], row[7], row[11])
        value_type, code, alternate, unit, limits, status, other = self._forms.get(key) or self.form(key)
        answers: tuple[Coded, ...] = ()
        also: tuple[str, ...] = ()
        if raw.isalnum():
            value = raw.decode()
        elif not raw:
            value = ""
        else:
            value, answers = self.observed(raw, value_type)
            if not value and NULL in raw:
                value = NULL.decode()  # deletes; an empty field says nothing (2.5.3)
            repeat = self.message.delimiters.repetition
            if repeat and repeat in raw:
                self.note(f"OBX[{nth}]-5 repeated")
                also = self.repeated(raw, value_type, value)
        number, placer, service, other_service, standing, taken, told, is_rejected = report
        if at:
            taken, told = self.taken(at, "OBX", 14, nth) or (taken, told)
        if self.either and told is not None and status in _STATES and standing not in ("C", "X"):
            told = self.fresh(told)
        if sub and not sub.isalnum():
            sub = self.message.value(sub).strip().encode()
        made = Observation(
            value_type,
            code,
            alternate,
            value,
            unit,
            limits,
            status,
            taken,
            number,
            source,
            other,
            answers,
            sub.decode(),
            service,
            told,
            standing,
            also,
            placer,
            other_service,
        )
        return made._replace(is_rejected=True) if is_rejected else made

    def fresh(self, told: _Told) -> _Told:
        """When a value was collected: in the second hour, where it was sent at once then.

        A correction or withdrawal is of a value that was told before: it may mean either.
        """
        is_two = told[0] != told[1] and told in [(its.earlier, its.later) for its in self.either.values()]
        if is_two and not self.is_sent_open and self.sent_at - told[1] <= CLOCKS_AGREE:
            return told[1], told[1]
        return told

    def observed(self, raw: bytes, value_type: str) -> tuple[str, tuple[Coded, ...]]:
        """OBX-5 as text and, of what may be coded, its codes."""
        if (value := self.plain(raw)) is not None:
            return value, ()
        if not is_coded(raw, value_type):
            return observed_value(self.message, raw, value_type), ()
        answer, other, first = self.words(raw)
        found = tuple([each for each in (answer, other) if each.code or each.text])
        if not found:
            found = tuple([Coded("", text) for text in further_of(self.message, raw)])
        return first or (found[0].code or found[0].text if found else ""), found

    def repeated(self, raw: bytes, value_type: str, first: str) -> tuple[str, ...]:
        """Repetitions that say something else than the first."""
        others = repetitions_of(self.message, raw)[1:]
        read = [self.observed(one, value_type)[0] for one in others if one]
        return tuple([one for one in read if one and one != first])


def _service(coded: Coded) -> str:
    return f"{coded.code}^{coded.system}" if coded.code else ""
