"""Kinds and states by the names of the field: status, level of care, review, outcome."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from umbridge.values.row_state import RowState as RowState  # noqa: PLC0414 - the one place for all states


class Status(StrEnum):
    """What the patient is, for payment and for rules; HL7 has no class for observation."""

    PREADMIT = "PREADMIT"
    ED = "ED"
    OUTPATIENT = "OUTPATIENT"
    OBSERVATION = "OBSERVATION"
    INPATIENT = "INPATIENT"
    RECURRING = "RECURRING"
    UNKNOWN = "UNKNOWN"


class Level(IntEnum):
    """Levels of care in order of intensity, so that ``max`` is the highest supported."""

    HOME = 0
    OBS = 1
    ACUTE = 2
    INTERMEDIATE = 3
    CRITICAL = 4


class Lifecycle(StrEnum):
    PLANNED = "planned"
    ACTIVE = "active"
    ON_LEAVE = "on_leave"
    DISCHARGED = "discharged"
    CANCELLED = "cancelled"


class ReviewType(StrEnum):
    PROSPECTIVE = "PROSPECTIVE"
    ADMISSION = "ADMISSION"
    OBSERVATION = "OBSERVATION"
    CONTINUED_STAY = "CONTINUED_STAY"
    DISCHARGE = "DISCHARGE"
    RETROSPECTIVE = "RETROSPECTIVE"


class ReviewState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    VOID = "void"


class Outcome(StrEnum):
    """The only things software may say. There is no adverse value, on purpose (42 CFR 482.30(d))."""

    MEETS = "MEETS"
    MEETS_ADVISE_HIGHER = "MEETS_ADVISE_HIGHER"
    REFER = "REFER"
    PEND = "PEND"
    NOT_APPLICABLE = "NOT_APPLICABLE"
