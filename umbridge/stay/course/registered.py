"""Which of registration's fields says what the patient is: by what was told when, and beside what.

A site reads the status from PV1-18 or PV1-10 before PV1-2, for HL7 has no class for observation. A message
that leaves a field empty says nothing of it, so an older PV1-18 would outrank the PV1-2 of an admission for
ever. Here each such field is held against what ranks below it and was told later: a later word of another
status takes its force away. A06 and A07 are words of their own (HL7 v2 3.3.6, 3.3.7).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from umbridge.settings.site import SiteProfile
from umbridge.stay.course.status import BY_EVENT, EVENT, FIELD_OF, OUT
from umbridge.stay.record import Record
from umbridge.values.kinds import Status

#: What PV1 says of the status; the rest of it says where the patient is and who attends.
STATUS_FIELDS = ("class", "type", "service")
#: What begins a status or another one. Any other message repeats what registration knows.
SETS = frozenset({"A01", "A04", "A06", "A07"})
_BESIDE, _DOUBT = "beside ", "doubt "  # with the name of a field; among the fields of the stay
_UNSAID, _SET, _UNREAD = "unsaid", "status_set", "unread"
#: These say more than the class O does, which HL7 gives to whoever is not admitted.
_OUTPATIENTS = frozenset({Status.OBSERVATION, Status.RECURRING})


def is_older(fields: Mapping[str, str], record: Record) -> bool:
    """Whether a message that sets no status was told before the event that set it, and took effect later."""
    last = fields.get(_SET)
    return last is not None and record.trigger not in SETS and record.told < int(last.rpartition(" ")[2])


def say(fields: dict[str, str], site: SiteProfile, record: Record, but: tuple[str, ...]) -> None:
    """Take over what PV1 says, and settle which of the fields says what the patient is."""
    said = {name: value for name, value in record.data.get("fields", {}).items() if name not in but}
    before = {name: fields.get(name, "") for name in said}
    update(fields, said)
    is_heard = "class" not in but  # what was said too early or too late says nothing of the status
    if is_heard and (said or record.trigger in SETS):
        weigh(site, fields, before, record, said)
        set_by(fields, record)


def update(fields: dict[str, str], said: Mapping[str, str]) -> None:
    for name, value in said.items():
        if value:
            fields[name] = value
        else:
            fields.pop(name, None)


def weigh(
    site: SiteProfile,
    fields: dict[str, str],
    before: Mapping[str, str],
    record: Record,
    said: Collection[str],
) -> None:
    """Settle which fields count, after one message. ``fields`` has what it said, ``before`` what was so."""
    trigger, is_again = record.trigger, fields.get(_SET, "").startswith(_name(record))
    _settle_event(site, fields, trigger, said)
    below = BY_EVENT.get(fields.get(EVENT, ""))  # what the fields below say, and whether one was told now
    is_by_event, was_told = True, trigger in BY_EVENT
    for step in reversed(site.precedence):
        if step == "order":
            continue
        name, is_class = FIELD_OF[step], step == "PV1-2"
        status = site.status_codes[step].get(fields.get(name, ""))
        if status is None:
            _mark(fields, name, out=False, doubt=False)
            continue
        is_sent = name in said
        out, doubt = OUT + name in fields, _DOUBT + name in fields
        beside = fields.get(_BESIDE + name, "")
        is_clash = below is not None and _clash(status, below, by_event=is_by_event, is_sent=is_sent)
        is_event = trigger in BY_EVENT or (trigger == "A01" and below is Status.INPATIENT)
        is_event = is_event and not is_again
        is_news = beside != (below or "") and (bool(beside) or _sides_differ(status, below))
        if is_sent and before.get(name) != fields[name]:
            out, doubt = False, is_clash and trigger in BY_EVENT
            if is_class and trigger == "A06":  # some send it for an outpatient who becomes another one
                doubt = doubt and site.status_codes[step].get(before.get(name, "")) is Status.INPATIENT
            if is_class and trigger not in BY_EVENT:
                fields.pop(EVENT, None)
        elif not is_clash and (is_sent or was_told):
            out = doubt = False
        elif is_sent and is_event and was_told:
            out, doubt = not (is_class and is_by_event), True
        elif is_sent:
            doubt = doubt or out or is_news
        elif was_told and (is_event or is_news):
            out, doubt = True, False
        _mark(fields, name, out=out, doubt=doubt)
        if is_sent:
            fields[_BESIDE + name] = below or ""
            was_told = True
        if not out:
            below, is_by_event = status, False


def _settle_event(site: SiteProfile, fields: dict[str, str], trigger: str, said: Collection[str]) -> None:
    """What the event itself says, and whether one that sets a status came without a word that is read."""
    sent = [
        (step, fields[FIELD_OF[step]])
        for step in site.precedence
        if step not in ("order", "PV1-3") and FIELD_OF[step] in said and FIELD_OF[step] in fields
    ]
    has_word = any(site.status_codes[step].get(code) is not None for step, code in sent)
    if has_word:
        fields.pop(_UNSAID, None)
    elif trigger in SETS:
        if sent:
            fields[_UNSAID] = _UNREAD
        elif trigger == "A01":
            fields[_UNSAID] = trigger
    if trigger in BY_EVENT:
        fields[EVENT] = trigger
    elif trigger in SETS and has_word:
        fields.pop(EVENT, None)


def set_by(fields: dict[str, str], record: Record) -> None:
    """Note when the event that set the status was told first, of what is told of it again."""
    name = _name(record)
    if record.trigger in SETS and not fields.get(_SET, "").startswith(name):
        fields[_SET] = f"{name}{record.told}"


def _name(record: Record) -> str:
    """One event, by whichever message it is told."""
    return f"{record.trigger} {record.at} "


def comes_again(fields: dict[str, str], said: Collection[str]) -> None:
    """Who comes again is told anew: what is not sent was said of the stay that is over."""
    if any(name in said for name in STATUS_FIELDS):
        for name in STATUS_FIELDS:
            if name not in said:
                fields.pop(name, None)


def is_in_doubt(fields: Mapping[str, str]) -> bool:
    """Whether a field is still sent that what was told since contradicts."""
    return any(name.startswith(_DOUBT) for name in fields)


def is_unsaid(fields: Mapping[str, str], *, has_review: bool) -> bool:
    """Whether the last event that sets a status had no word of it that is read: an admission of somebody
    whose status opens no review, or any with a code that the profile does not have."""
    found = fields.get(_UNSAID)
    return found == _UNREAD or (found is not None and not has_review)


def _mark(fields: dict[str, str], name: str, *, out: bool, doubt: bool) -> None:
    for mark, is_so in ((OUT + name, out), (_DOUBT + name, doubt)):
        if is_so:
            fields[mark] = "Y"
        else:
            fields.pop(mark, None)


def _clash(status: Status, below: Status, *, by_event: bool, is_sent: bool) -> bool:
    """Whether a field says another status than what ranks below it, and not merely more."""
    if by_event:
        return _sides_differ(status, below)
    if below is Status.OUTPATIENT and (status in _OUTPATIENTS or (is_sent and status is Status.ED)):
        return False
    return status is not below


def _sides_differ(status: Status, other: Status | None) -> bool:
    return (status is Status.INPATIENT) != (other is Status.INPATIENT)
