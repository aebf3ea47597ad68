"""Why an OBX gives no value and an ORC says nothing of its order: one exact reason each, with its sentence.

Both sets are closed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class _Worded(StrEnum):
    """A code and, as ``says``, the sentence for people."""

    says: str

    def __new__(cls, value: str, says: str) -> Self:
        made = str.__new__(cls, value)
        made._value_ = value
        made.says = says
        return made


class Reason(_Worded):
    """Of an OBX. There is no reason for "anything else", on purpose."""

    # the code and the status
    UNMAPPED = (
        "unmapped",
        "OBX-3 is the code of no fact: neither a LOINC code of one nor in the site profile.",
    )
    WITHDRAWN = "withdrawn", "OBX-11 is D or W, or OBR-25 is X: the result is taken back."
    STATUS_I = "status_I", "OBX-11 is I: the specimen is in the laboratory, there is no result yet."
    STATUS_N = "status_N", "OBX-11 is N: nobody asked for this result."
    STATUS_O = "status_O", "OBX-11 is O: the order only, no result."
    STATUS_R = "status_R", "OBX-11 is R: entered and not verified."
    STATUS_S = "status_S", "OBX-11 is S: a part of the results only."
    STATUS_U = "status_U", "OBX-11 is U: final now, without the value again."
    STATUS_X = "status_X", "OBX-11 is X: no result can be had."
    STATUS_NONE = "status_none", "OBX-11 is empty."
    STATUS_UNLISTED = "status_unlisted", "OBX-11 is a value of no table."
    # any kind of fact
    EMPTY = "empty", "OBX-5 is empty."
    COMMENT = "comment", "Text that is no value of this fact: a remark beside its results."
    REPEATED = (
        "repeated",
        "OBX-5 has repetitions that differ: whichever was picked would be picked by position.",
    )
    # numbers
    NOT_A_NUMBER = "not_a_number", "OBX-2 says that it is a number, and it is none."
    CODED_NOT_A_NUMBER = "coded_not_a_number", "A coded answer where the fact is a number."
    TYPE_NOT_A_NUMBER = "type_not_a_number", "OBX-2 is a type that has no numbers, such as ED or XAD."
    NUMBER_TOO_LONG = "number_too_long", "A number of more than 20 digits before or behind the point."
    COMMA_IN_NUMBER = (
        "comma_in_number",
        "A comma: it could part thousands or decimals, and neither is guessed.",
    )
    EXPONENT_IN_NUMBER = "exponent_in_number", "A number with an exponent, such as 1.2e3."
    UNIT_IN_NUMBER = "unit_in_number", "A number with its unit behind it: the unit belongs in OBX-6."
    FLAG_IN_NUMBER = "flag_in_number", "A number with a flag behind it, such as H or *: it belongs in OBX-8."
    RANGE = "range", "Two numbers as from and to, such as 3-5."
    RATIO = "ratio", "Two numbers with : or / between them, such as 1:8 or 120/80."
    GRADED = "graded", "A grade, such as 2+ or +++."
    COMPARATOR_UNKNOWN = "comparator_unknown", "A comparator that is not <, <=, >, >= or =."
    SEPARATOR_UNKNOWN = "separator_unknown", "An SN with a second number and no separator of table 2.A.69."
    NO_UPPER_LIMIT = "no_upper_limit", "OBX-7 has no upper limit, which this fact is a multiple of."
    UNIT_MISSING = "unit_missing", "A number without a unit: OBX-6 is empty, and the profile says of none."
    UNIT_UNKNOWN = "unit_unknown", "OBX-6 is a unit that neither the program nor the profile knows."
    UNIT_UNFIT = "unit_unfit", "OBX-6 is a known unit, but not one that this fact can be converted from."
    # yes or no, codes, times
    NOT_YES_OR_NO = "not_yes_or_no", "An answer that is neither yes nor no, nor listed in the profile as one."
    ANSWERED_UNKNOWN = (
        "answered_unknown",
        "The answer is that it is not known (table 0532: UNK, ASKU, NAV …).",
    )
    ANSWERS_DISAGREE = "answers_disagree", "The codes of one answer mean different things."
    CODE_UNKNOWN = (
        "code_unknown",
        "An answer that is none of the fact's codes, nor listed in the profile as one.",
    )
    NOT_A_TIME = "not_a_time", "What was sent is no time."
    TIME_WITHOUT_MINUTES = (
        "time_without_minutes",
        "A time that ends before its minutes: what is compared needs them.",
    )


#: OBX-11 (table 0085) where it gives no value.
BY_STATUS = {reason.value[7:]: reason for reason in Reason if reason.value.startswith("status_")}

#: What states nothing about a value, and so takes the place of none.
SILENT = frozenset({Reason.UNMAPPED, Reason.COMMENT})


class OrderReason(_Worded):
    """Of an ORC, with its detail where it has one."""

    CONTROL_MISSING = "order_control_missing", "ORC-1 is empty, or there is no ORC before the detail."
    CONTROL_UNKNOWN = "order_control_unknown", "ORC-1 is in no version of HL7 table 0119."
    STATUS_UNKNOWN = (
        "order_status_unknown",
        "ORC-5 is neither in HL7 table 0038 nor in the profile, and ORC-1 leaves it to ORC-5.",
    )
    SAYS_NOTHING = (
        "order_says_nothing",
        "A receipt, a question, a proposal or a refusal: whether the order is in force stays open.",
    )
    UNMAPPED = "order_unmapped", "The order's code is neither a status nor a treatment in the profile."
    NUMBER_MISSING = "order_number_missing", "Neither a number nor a code: no order can be meant."
    NOT_FOUND = "order_not_found", "By number alone, and no order of the stay has that number."
    AMBIGUOUS = "order_ambiguous", "By number alone, and several orders of the stay have that number."
