"""What a sample of a feed means under a site profile: what is not used, how to settle it, which facts come.

For whoever writes the profile: `umbridge config check --feed`, `facts list`. Codes and units only: no value
and no patient's number is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from umbridge.dryrun.screen import read_files
from umbridge.errors import Hl7Error
from umbridge.hl7 import ack, dictionary, er7
from umbridge.model import Event, RowState
from umbridge.settings.site import SiteProfile
from umbridge.stay.dictionary import dictionary as fact_dictionary
from umbridge.stay.facts import Fact, feeds, read
from umbridge.stay.identity import event_of, has_own_number, parts, strange_numbers
from umbridge.stay.unused import Unused, segments_not_read, shapes_not_read, unused

#: What becomes of a message that is not worked, as the last line says it.
_KEPT = {RowState.REFUSED: "refused", RowState.QUARANTINED: "set_aside", RowState.IGNORED: "ignored"}
#: The way out of what is set aside; docs/operations.md has each with what happened.
_WAYS_OUT = {
    "continued": "have the sender switch fragmenting off and send the whole",
    "several_patients": "have the sender send one message a patient",
    "too_many_segments": "have the sender send several messages, one report (OBR) each",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not used, as often as the sample has it. ``message`` is the first one's MSH-10."""

    message: str
    unused: Unused
    count: int


@dataclass(slots=True)
class Sample:
    """Messages of a feed, read one by one. ``messages`` counts all, ``read`` those that would be worked.

    ``kept`` are those that would not: by what becomes of them, and why. What is refused or set aside is a
    finding, for somebody has to act; what means nothing here by its type or trigger is none.
    """

    site: SiteProfile
    ignored_events: frozenset[str] = frozenset()  # those of the feeds
    processing_ids: tuple[str, ...] = (ack.PRODUCTION,)  # those that the feeds screen
    messages: int = 0
    read: int = 0
    seen: Counter[str] = field(default_factory=Counter)  # usable values by fact
    not_read: Counter[str] = field(default_factory=Counter)  # segments that nothing is read from, by name
    advice: Counter[str] = field(default_factory=Counter)  # on the structure, by what it says
    kept: dict[str, Counter[str]] = field(default_factory=dict)
    _found: Counter[Unused] = field(default_factory=Counter)
    _first: dict[Unused, str] = field(default_factory=dict)
    _own_numbers: int = 0
    _of_patients: int = 0

    def take(self, data: bytes) -> Event | None:
        """Read one message; what it says, None where it would not be worked."""
        self.messages += 1
        try:
            message = er7.parse(data)
        except Hl7Error as exc:
            reason = getattr(exc, "reason", "unreadable")
            self._keep("", RowState.REFUSED, Unused("MSH", "", reason, says="no header that can be read"))
            return None
        refused, kind = ack.refusal(message, self.ignored_events), "^".join(message.kind)
        if refused is not None:
            one = Unused(refused.location, kind, refused.reason, says="it would be refused")
            if refused.reason in ("message_type_unknown", "event_unknown"):
                settle = f'ignored_events = ["{kind}"] of the feed in umbridge.toml, if it means nothing here'
                one = replace(one, settle=settle)
            self._keep(message.control_id, RowState.REFUSED, one)
            return None
        disposition = ack.disposition(message, self.processing_ids)
        if disposition.state is not RowState.PENDING:
            says, settle = f"it would be {disposition.state.value}", _WAYS_OUT.get(disposition.reason, "")
            reason = ack.told(disposition.reason, message)
            one = Unused("MSH-9", kind, reason, says=says, settle=settle)
            self._keep(message.control_id, disposition.state, one)
            return None
        self.read += 1
        event = event_of(message, self.site)
        for one in (*unused(event, self.site), *shapes_not_read(message)):
            self._add(message.control_id, one)
        for one in segments_not_read(message):
            if one.settle:
                self._add(message.control_id, one)
            else:
                self.not_read[one.field] += 1
        self.advice.update(dictionary.findings(message))
        for part in parts(event):
            self._of_patients += 1
            self._own_numbers += has_own_number(part, self.site)
            for number in strange_numbers(part, self.site):
                place, code, says, settle = number
                one = Unused(place, code, "number_of_another", says=says, settle=settle)
                self._add(message.control_id, one)
            for observation in part.observations:
                found = read(observation, self.site)
                if isinstance(found, Fact):
                    self.seen.update(feeds(found.fact))
            for order in part.orders:
                fact = self.site.treatment(order)
                if fact is not None:
                    self.seen[fact] += 1
        return event

    def _keep(self, message: str, state: RowState, one: Unused) -> None:
        self.kept.setdefault(_KEPT[state], Counter())[one.reason] += 1
        if state is not RowState.IGNORED:
            self._add(message, one)

    def _add(self, message: str, one: Unused) -> None:
        self._found[one] += 1
        self._first.setdefault(one, message)

    def findings(self) -> Iterator[Finding]:
        """The most frequent first; that nobody can be told apart before everything else."""
        if self._of_patients and not self._own_numbers:
            says = "no medical record number of the site's in any message: patients cannot be told apart"
            settle = '[site] mrn_authority = "…", mrn_types = ["…"]'
            nobody = Unused("PID-3", "", "no_own_number", says=says, settle=settle)
            yield Finding("", nobody, self._of_patients)
        for one, count in sorted(self._found.items(), key=lambda pair: (_weight(pair[0]), -pair[1], pair[0])):
            yield Finding(self._first[one], one, count)


def _weight(one: Unused) -> int:
    """What could change an answer goes first: a hospital has a hundred orders that mean nothing here."""
    return 2 if one.reason == "order_unmapped" else 1 if one.reason == "unmapped" or not one.settle else 0


def sample_of(
    site: SiteProfile,
    paths: Sequence[str],
    ignored_events: Iterable[str] = (),
    processing_ids: Iterable[str] = (ack.PRODUCTION,),
) -> Sample:
    """Files or folders of messages, read. Raises UsageError for a path that is not there."""
    sample = Sample(site, frozenset(ignored_events), tuple(processing_ids))
    for _, data in read_files(paths):
        sample.take(data)
    return sample


@dataclass(frozen=True, slots=True)
class FactLine:
    """One fact of the dictionary. ``seen``: usable values of it in the sample; None without one."""

    fact: str
    kind: str
    unit: str
    codes: tuple[str, ...]
    window_hours: int | None
    group: str
    seen: int | None


def fact_lines(site: SiteProfile, sample: Sample | None) -> Iterable[FactLine]:
    """Every fact that can be sent, with the codes that mean it at this site: LOINC, its own, orders."""
    own: dict[str, list[str]] = {}
    for system, codes in site.observations.items():
        for code, fact in codes.items():
            own.setdefault(fact, []).append(f"{code}^{system}")
    for code, fact in site.intensity_orders.items():
        own.setdefault(fact, []).append(f"order {code}")
    for fact, kind in fact_dictionary().items():
        yield FactLine(
            fact,
            kind.kind,
            kind.unit,
            (*(f"{code}^LN" for code in kind.loinc), *own.get(fact, ())),
            kind.window_hours,
            kind.group,
            None if sample is None else sample.seen[fact],
        )
