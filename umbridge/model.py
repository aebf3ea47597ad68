"""The frozen values everyone speaks: what a message says, what a stay is, what a screen answers.

All times are timezone-aware. All numbers that criteria compare are ``Decimal``: 100.4 degF is 38 Cel
exactly, and a threshold of 38 must not depend on binary rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from umbridge.values.carers import Practitioner
from umbridge.values.frozen import dataclass
from umbridge.values.interval import Interval
from umbridge.values.kinds import Level, Outcome, ReviewType, Status
from umbridge.values.row_state import RowState as RowState  # noqa: PLC0414 - the one place for all states
from umbridge.values.signed import NOBODY, ContentStatus
from umbridge.values.timings import Timing

# --- what one message says, nothing local resolved yet (what it repeats are tuples: faster to fill) -----


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded element: CE, CWE or CNE components 1 to 3. Empty strings where nothing was sent."""

    code: str = ""
    text: str = ""
    system: str = ""


class Observation(NamedTuple):
    """One OBX, read but not judged: unit conversion and meaning are the stay's business."""

    value_type: str  # OBX-2
    code: Coded  # OBX-3.1-3
    alternate: Coded  # OBX-3.4-6
    value: str  # OBX-5.1 of the first repetition, decoded; "" where nothing was sent, HL7's null as it is
    unit: str  # OBX-6.1, or the alternate unit OBX-6.4 where only that is sent
    reference_range: str  # OBX-7
    status: str  # OBX-11
    at: datetime  # OBX-14, OBR-7, SPM-17, else OBR-14, SPM-18, MSH-7: the last moment it can have been
    report: str  # OBR-3, else ORC-3, with its namespace: "number^namespace"
    source: str  # "UMB0003 OBX[4]-5": control id and address
    other_unit: str = ""  # OBX-6.4 where OBX-6.1 is sent too
    answers: tuple[Coded, ...] = ()  # OBX-5.1-3 and OBX-5.4-6, of types that are neither number nor text
    sub: str = ""  # OBX-4 as sent
    service: str = ""  # OBR-4: "identifier^system"
    told: tuple[datetime, datetime] | None = None  # OBX-14, OBR-7 or SPM-17: its first and last moment
    report_status: str = ""  # OBR-25
    also: tuple[str, ...] = ()  # repetitions of OBX-5 that say something else than the first
    placer: str = ""  # OBR-2, else ORC-2, with its namespace: the order that the report answers
    other_service: str = ""  # OBR-4.4-6 where OBR-4.1-3 is sent too: the same in another system
    is_rejected: bool = False  # SPM-21: the laboratory rejected its specimen


class Withdrawal(NamedTuple):
    """An OBR with OBR-25 X: no result of its report and service counts, sent with it or not."""

    report: str
    service: str
    source: str  # "UMB0003 OBR[1]-25"
    placer: str = ""
    other_service: str = ""
    told: tuple[datetime, datetime] | None = None  # OBR-7 as sent: its first and last moment


@dataclass(frozen=True, slots=True)
class Order:
    """One ORC with the OBR or RXO that follows it.

    Numbers are "number^namespace", or alone: a number is unique within the application that gave it.
    """

    control: str  # ORC-1 in upper case: NW CA DC HD RL XO ...; "" where it is empty or there is no ORC
    placer: str  # ORC-2, else OBR-2
    filler: str  # ORC-3, else OBR-3
    status: str  # ORC-5
    code: Coded  # OBR-4, RXO-1 or RXE-2
    at: datetime  # ORC-15, else ORC-9, else OBR-7, else MSH-7: when it takes effect; not before ``starts``
    practitioners: tuple[Practitioner, ...]  # ORC-12, else OBR-16
    source: str  # "UMB0003 ORC[1]"
    alternates: tuple[Coded, ...] = ()  # other codes for the same: OBR-4.4, and RXO-1 beside an RXE-2
    parent: str = ""  # ORC-8.1, else OBR-29.1: the placer number of the order that this is a child of
    parent_filler: str = ""  # ORC-8.2, else OBR-29.2
    told_at: datetime | None = None  # ORC-9 where it is before MSH-7, else MSH-7: when this was said
    changed_at: datetime | None = None  # ORC-15, else ORC-9, else MSH-7: ``at``, but never an old OBR-7
    timing: Timing | None = None  # None where no quantity or timing was sent
    is_detailed: bool = False  # whether an order detail segment was there
    routes: tuple[str, ...] = ()  # RXR-1.1 (and .4) of each RXR behind the detail: how a drug is given
    is_drug: bool = False  # whether the detail is an RXO or RXE
    entered_at: datetime | None = None  # ORC-9 as sent; None where it has no hour
    is_dated: bool = False  # whether ``at`` is ORC-15, with an hour
    rate: tuple[str, str, str] | None = None  # of a drug: RXE-23 or RXO-21, its units, and which field it is
    group: str = ""  # ORC-4: the placer's number of a group of orders
    modifier: Coded = Coded()  # ORC-25, which refines ORC-5
    starts: datetime | None = (
        None  # when it is to begin, as sent: TQ1-7 or TQ.4, OBR-36 …; ORC-15 where that is ahead
    )


class Procedure(NamedTuple):
    """One PR1: an operation or another procedure, done or planned."""

    code: str  # PR1-3.1, "^" and its system
    at: datetime  # PR1-5
    kind: str  # PR1-6 (table 0230): A anaesthesia, P treatment, I invasive, D diagnostic
    is_anaesthetic: bool  # whether somebody gave an anaesthetic: PR1-8, -9 or -10
    deleted: bool  # PR1-20 = D
    source: str


class Diagnosis(NamedTuple):
    """One DG1 as sent: which of its codes is ICD-10-CM is the stay's business."""

    rank: int  # DG1-1, the segment's number
    code: str  # DG1-3.1
    system: str  # DG1-3.3
    kind: str  # DG1-6: A admitting, W working, F final
    deleted: bool  # DG1-21 = D
    source: str
    others: tuple[Coded, ...] = ()  # DG1-3.4-6, and .10-12 from version 2.7: the same in other systems
    method: str = ""  # DG1-2, which named the system before version 2.3
    priority: int | None = None  # DG1-15: 1 is principal, 0 in no ranking
    action: str = ""  # DG1-21: with one, the message changes the list instead of replacing it


@dataclass(frozen=True, slots=True)
class Coverage:
    """One IN1."""

    rank: int  # IN1-1
    plan_id: str  # IN1-2.1
    plan_type: str  # IN1-15
    authorization: str = ""  # IN1-14.1, authorization number
    precertification: str = ""  # IN1-28, pre-admission certification
    begins: str = ""  # IN1-12, YYYYMMDD
    ends: str = ""  # IN1-13, YYYYMMDD: the last day
    priority: int | None = None  # IN1-22: 1 pays first


class Certification(NamedTuple):
    """One IN3: what the payer said of this stay. Read, never written: a screen is not a payer's word."""

    number: str  # IN3-2.1
    certified_by: str  # IN3-3.1
    required: str  # IN3-4, Y or N
    certified_at: datetime | None  # IN3-6
    begin: datetime | None  # IN3-9
    end: datetime | None  # IN3-10
    days_kind: str  # IN3-11.1, table 0149: AP approved, DE denied, PE pending
    days: int | None  # IN3-11.2
    non_concurrence: str  # IN3-12.1
    non_concurrence_at: datetime | None  # IN3-13
    reviewer: str  # IN3-14.1, the payer's physician reviewer
    appeal: str  # IN3-17.1
    case_manager: str  # IN3-21.1
    source: str


@dataclass(frozen=True, slots=True)
class Patient:
    """PID, cut down to what rules and identity need. Names, addresses and SSN are not taken."""

    identifiers: tuple[tuple[str, str, str], ...] = ()  # PID-3: (id, assigning authority, type)
    account: str = ""  # PID-18.1
    birth_date: str = ""  # PID-7, YYYYMMDD; "" unknown
    sex: str = ""  # PID-8
    account_authority: str = ""  # PID-18.4.1


@dataclass(frozen=True, slots=True)
class Visit:
    """PV1 (and what of PV2 the clock needs). ``None`` is not sent; ``""`` is HL7's delete (``\"\"``)."""

    number: str = ""  # PV1-19.1
    authority: str = ""  # PV1-19.4.1
    patient_class: str | None = None  # PV1-2
    patient_type: str | None = None  # PV1-18
    service: str | None = None  # PV1-10
    unit: str | None = None  # PV1-3.1
    room: str | None = None  # PV1-3.2
    bed: str | None = None  # PV1-3.3, or room where the site puts it in PL.2
    admitted_at: datetime | None = None  # PV1-44
    discharged_at: datetime | None = None  # PV1-45
    disposition: str | None = None  # PV1-36
    expected_discharge: datetime | None = None  # PV2-9
    practitioners: tuple[Practitioner, ...] = ()  # PV1-7, -8, -9, -17; of ADT messages
    expected_admission: datetime | None = None  # PV2-8
    expected_return: datetime | None = None  # PV2-47, from a leave
    days: tuple[str, ...] = ()  # "PV1-44", "PV1-45", "PV2-9": sent as a day without an hour
    deleted: tuple[str, ...] = ()  # "PV1-44", "PV1-45", "PV2-9": sent as HL7's delete
    admission_type: str | None = None  # PV1-4: N is a newborn


@dataclass(frozen=True, slots=True)
class Group:
    """One patient or visit of a message about several: a PID with the MRG and PV1 that follow it.

    ``prior_*`` are MRG's: the identifiers (MRG-1, MRG-4 where that is empty), account (MRG-3) and visit
    (MRG-5) that are merged, moved or renamed into those of the PID and PV1.
    """

    patient: Patient
    visit: Visit
    prior_identifiers: tuple[tuple[str, str, str], ...] = ()
    prior_account: str = ""
    prior_visit: str = ""
    prior_visit_authority: str = ""
    prior_account_authority: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """What one accepted message says, in the standard's terms. Made by ``hl7.translate``.

    ``effective_at`` is EVN-6, else the trigger's own field (A01, A04: PV1-44; A03: PV1-45), else EVN-2,
    else MSH-7 (HL7 v2 ch. 3). For orders and results it is MSH-7: their own times are on the parts.
    """

    message_type: str  # "ADT", "ORU", or one of the order messages: "ORM" "OMG" "OML" "OMP" "RDE"
    trigger: str  # "A01", "O01", "R01"
    control_id: str  # MSH-10
    processing_id: str  # MSH-11.1
    sent_at: datetime  # MSH-7
    effective_at: datetime
    patient: Patient = field(default_factory=Patient)
    visit: Visit = field(default_factory=Visit)
    prior_accounts: tuple[str, ...] = ()  # MRG-3
    orders: tuple[Order, ...] = ()
    observations: tuple[Observation, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    certifications: tuple[Certification, ...] = ()
    groups: tuple[Group, ...] = ()  # of merges, moves, changed ids and swaps; otherwise empty
    notes: tuple[str, ...] = ()  # codes of what could not be read, e.g. "OBX[3]-14 time_unreadable"
    part: int = 0  # which group of a message about several this is, from 1; 0 where it is the whole
    told_at: datetime | None = None  # of ADT: EVN-2, when it was entered; None where that is when it was sent
    occurred: tuple[datetime, datetime] | None = None  # of ADT: first and last moment that EVN-6 can mean
    withdrawals: tuple[Withdrawal, ...] = ()  # whole reports that no longer count
    facility: str = ""  # MSH-4.1
    procedures: tuple[Procedure, ...] = ()
    #: It says neither when it was sent, to the minute, nor when it was entered: receipt stands in.
    is_undated: bool = False
    several: tuple[Event, ...] = ()  # of results of several patients: each one's; the whole then says nothing
    is_beside: bool = False  # told of another stay: nothing of it counts, it may mean what counts
    numbers: tuple[str, ...] = ()  # of the orders and reports that it speaks of (hl7.numbered)


# --- what criteria see ------------------------------------------------------------------------------

FactValue = Decimal | Interval | bool | str  # number, bound, boolean, or code and ISO time as text


@dataclass(frozen=True, slots=True)
class Sample:
    """One usable value of a fact, in the fact's canonical unit; an Interval where a bound is all there is."""

    value: FactValue
    at: datetime
    source: str  # control id and address; "PID-7" or an order's address for facts that are not sent as OBX
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A fact as a review sees it: windowed by the fact dictionary, never imputed.

    ``low`` and ``high`` range over the whole window (for booleans and codes they equal ``latest``,
    except codes with an order of severity, where ``high`` is the worst). ``series`` holds the newest
    samples, oldest first, at most 4 (16 where repeats are the point, as for troponin). A fact that is
    unknown has no Reading at all.
    """

    fact: str
    latest: Sample
    low: Sample
    high: Sample
    series: tuple[Sample, ...] = ()

    @property
    def has_bounds(self) -> bool:
        """Whether any of its samples is an Interval."""
        samples = (self.latest, self.low, self.high, *self.series)
        return any(isinstance(sample.value, Interval) for sample in samples)


@dataclass(frozen=True, slots=True)
class Case:
    """One question to a criteria plugin: this review, of this stay, as of this moment.

    ``facts`` holds those the plugin declared, by id; one that is absent is *unknown*, never normal.
    """

    pseudonym: str  # differs per plugin: there is no name, MRN or visit number
    review: ReviewType
    requested_status: Status
    requested_level: Level
    as_of: datetime
    episode_day: int  # day 1 is the local date of the inpatient start (or of observation's)
    diagnoses: tuple[str, ...]  # ICD-10-CM codes, principal first
    payer_class: str  # one of site.PAYER_CLASSES; UNKNOWN where nobody has said
    observation_hours: Decimal | None  # hours of observation so far; None when it never began
    observation_ended: bool
    facts: Mapping[str, Reading] = field(default_factory=dict)
    unread: tuple[str, ...] = ()  # declared facts of which something was sent that nobody can read
    #: Exception of the stay -> declared facts that count and that something sent in vain may take back.
    in_question: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    corrected: Mapping[str, str] = field(default_factory=dict)  # for the host alone: fact -> what was known


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact that decided: shown beside the rationale, traceable to a message and field."""

    fact: str
    value: str
    unit: str
    at: str  # ISO 8601 with offset
    source: str  # "UMB0003 OBX[4]-5"


@dataclass(frozen=True, slots=True)
class ScreenResult:
    """A plugin's answer. ``supported`` is the highest level with a true rule (HOME: none above home)."""

    outcome: Outcome
    subset: str | None = None
    edition: str = ""
    digest: str = ""  # "sha256:..." of the content that decided
    supported: Level | None = None
    missing: tuple[str, ...] = ()  # PEND: exactly the fact ids that could change the outcome
    rationale: str = ""
    evidence: tuple[Evidence, ...] = ()
    advise_higher: str | None = None  # YES NO UNKNOWN
    advise_missing: tuple[str, ...] = ()
    basis: str | None = None
    discharge_ready: bool | None = None
    extended_stay_reason: str | None = None
    avoidable_day: str | None = None
    avoidable_attribution: str | None = None
    tags: tuple[str, ...] = ()
    scores: Mapping[str, int | str | tuple[str, ...]] = field(default_factory=dict)
    hold: tuple[str, ...] = ()  # why a person has to see this answer, though it may meet: codes
    content_status: ContentStatus = NOBODY  # of the subset that answered


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a plugin says of itself before it sees any patient."""

    name: str
    version: str
    edition: str
    digest: str  # "sha256:..." over the content files
    subsets: tuple[str, ...]
    facts: tuple[str, ...]  # the facts it needs; it is sent no others
    disclaimer: str = ""
    bounds: bool = False  # whether it knows that a number may be an Interval; else that one is unknown to it
    states: tuple[str, ...] = ()  # draft, reviewed or approved, of each of ``subsets``; () for all draft
