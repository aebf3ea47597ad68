"""Parts of a site profile: windows, units, status orders, avoidable days, and the words it may use."""

from __future__ import annotations

from dataclasses import dataclass

from umbridge.values.kinds import Level, Status

#: Payer classes that rules and clocks know.
PAYER_CLASSES = (
    "MEDICARE_FFS",
    "MEDICARE_ADVANTAGE",
    "MEDICAID",
    "COMMERCIAL",
    "SELF_PAY",
    "TRICARE",
    "VA",
    "WORKERS_COMP",
    "AUTO_LIABILITY",
    "UNKNOWN",
)


#: What a patient's status may be read from, besides an order. PV1-18 and PV1-10 are user-defined fields.
STATUS_FIELDS = ("PV1-18", "PV1-2", "PV1-10", "PV1-3")


DISPOSITIONS = ("HOME", "TRANSFER_ACUTE", "SNF", "HOME_HEALTH", "AGAINST_ADVICE", "DIED", "HOSPICE", "OTHER")


ATTRIBUTIONS = ("provider", "hospital", "payer", "post_acute", "patient_family")


DISCHARGE = "DISCHARGE"


#: What a site's own value of ORC-5 can mean for its order.
ORDER_MEANINGS = ("in_force", "ended", "fulfilled", "nothing")


@dataclass(frozen=True, slots=True)
class Windows:
    """Spans that policy sets. Day 1 of ``continued_stay_first_day`` is the inpatient start's local date."""

    order_to_adt_hours: int
    future_skew_minutes: int
    continued_stay_first_day: int
    admission_review_hours: int
    moon_after_hours: int
    moon_due_hours: int
    imm_due_days: int
    second_midnight_alarm_hours: int  # before the second midnight of care of a patient who is no inpatient
    extended_stay_day: int  # from this day on a continued-stay review is one of an extended stay
    first_review_grace_hours: int  # a first review is judged so long after the first contact, or later


@dataclass(frozen=True, slots=True)
class Unit:
    """One value of PV1-3.1: the level of care it can give, not the level the patient needs."""

    level: Level
    is_ed: bool
    name: str


@dataclass(frozen=True, slots=True)
class StatusOrder:
    """What a status order's code asks for. ``status`` is None for a discharge order."""

    status: Status | None
    level: Level | None


@dataclass(frozen=True, slots=True)
class AvoidableDay:
    """The avoidable-day code a discharge barrier stands for, and who it is attributed to."""

    code: str
    attribution: str
