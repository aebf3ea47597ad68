"""Why what was sent is not used: a code, and what it says. Closed sets, one reason a line.

No set has a reason for "anything else", on purpose, and no code is in two sets.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class _Worded(StrEnum):
    """A code and, as ``says``, the words for people."""

    says: str

    def __new__(cls, value: str, says: str) -> Self:
        made = str.__new__(cls, value)
        made._value_ = value
        made.says = says
        return made

    @property
    def settle(self) -> str:
        """What to do about it, where that is always the same."""
        return _SETTLES.get(self, "")


class Reason(_Worded):
    """Of an OBX: why it gives no value. docs/values.md."""

    # the code and the status
    UNMAPPED = "unmapped", "OBX-3 is the code of no fact, neither LOINC's nor the profile's"
    WITHDRAWN = "withdrawn", "OBX-11 is D or W, or OBR-25 is X: the result is taken back"
    STATUS_I = "status_I", "OBX-11 is I: the specimen is in the laboratory, there is no result yet"
    STATUS_N = "status_N", "OBX-11 is N: nobody asked for this result"
    STATUS_O = "status_O", "OBX-11 is O: the order only, no result"
    STATUS_R = "status_R", "OBX-11 is R: entered and not verified"
    STATUS_S = "status_S", "OBX-11 is S: a part of the results only"
    STATUS_U = "status_U", "OBX-11 is U: final now, without the value again"
    STATUS_X = "status_X", "OBX-11 is X: no result can be had"
    STATUS_NONE = "status_none", "OBX-11 is empty"
    STATUS_UNLISTED = "status_unlisted", "OBX-11 is a value of no table"
    # any kind of fact
    EMPTY = "empty", "OBX-5 is empty"
    NULL = "null", "OBX-5 is HL7's null, two quotation marks: the value is deleted"
    COMMENT = "comment", "text that is no value of this fact: a remark beside its results"
    REPEATED = "repeated", "OBX-5 has repetitions that differ: a pick would be a pick by position"
    SPECIMEN_REJECTED = "specimen_rejected", "SPM-21: the laboratory rejected the specimen"
    # numbers
    NOT_A_NUMBER = "not_a_number", "OBX-2 says that it is a number, and it is none"
    CODED_NOT_A_NUMBER = "coded_not_a_number", "a coded answer where the fact is a number"
    TYPE_NOT_A_NUMBER = "type_not_a_number", "OBX-2 is a type that has no numbers, such as ED or XAD"
    NUMBER_TOO_LONG = "number_too_long", "a number of more than 20 digits before or behind the point"
    COMMA_IN_NUMBER = "comma_in_number", "a comma: it may part thousands or decimals, and neither is guessed"
    EXPONENT_IN_NUMBER = "exponent_in_number", "a number with an exponent, such as 1.2e3"
    UNIT_IN_NUMBER = "unit_in_number", "a number with its unit behind it: the unit belongs in OBX-6"
    FLAG_IN_NUMBER = "flag_in_number", "a number with a flag behind it, such as H or *: it belongs in OBX-8"
    RANGE = "range", "two numbers as from and to, such as 3-5"
    RATIO = "ratio", "two numbers with : or / between them, such as 1:8 or 120/80"
    GRADED = "graded", "a grade, such as 2+ or +++"
    COMPARATOR_UNKNOWN = "comparator_unknown", "a comparator that is not <, <=, >, >= or ="
    SEPARATOR_UNKNOWN = "separator_unknown", "an SN with a second number and no separator of table 2.A.69"
    NO_UPPER_LIMIT = "no_upper_limit", "OBX-7 has no upper limit, which this fact is a multiple of"
    UNIT_MISSING = "unit_missing", "a number without a unit: OBX-6 is empty, and the profile says of none"
    UNIT_UNKNOWN = "unit_unknown", "OBX-6 is a unit that neither the program nor the profile knows"
    UNIT_UNFIT = "unit_unfit", "OBX-6 is a known unit, but not one that this fact can be converted from"
    IMPOSSIBLE = "impossible", "a number that no living patient has: a mistake of recording or of the unit"
    # yes or no, codes, times
    NOT_YES_OR_NO = "not_yes_or_no", "an answer that is neither yes nor no, nor listed in the profile as one"
    ANSWERED_UNKNOWN = "answered_unknown", "the answer is that it is not known (table 0532: UNK, ASKU, NAV …)"
    ANSWERS_DISAGREE = "answers_disagree", "the codes of one answer mean different things"
    CODE_UNKNOWN = "code_unknown", "an answer that is none of the fact's codes, nor one of the profile's"
    NOT_A_TIME = "not_a_time", "OBX-5 is no time"
    TIME_WITHOUT_MINUTES = "time_without_minutes", "a time that ends before its minutes, which are compared"


#: OBX-11 (table 0085) where it gives no value.
BY_STATUS = {reason.value[7:]: reason for reason in Reason if reason.value.startswith("status_")}

#: What states nothing about a value, and so takes the place of none.
SILENT = frozenset({Reason.UNMAPPED, Reason.COMMENT})


class OrderReason(_Worded):
    """Of an ORC, with its detail where it has one: why it says nothing of its order."""

    CONTROL_MISSING = "order_control_missing", "ORC-1 is empty, or there is no ORC before the detail"
    CONTROL_UNKNOWN = "order_control_unknown", "ORC-1 is in no version of HL7 table 0119"
    STATUS_UNKNOWN = "order_status_unknown", "ORC-5 decides, and is in neither table 0038 nor the profile"
    MODIFIER = "order_modifier_unread", "ORC-25 says that the order has ended; ORC-1 and ORC-5 do not"
    SAYS_NOTHING = "order_says_nothing", "a receipt, question, proposal or refusal: nothing is said of force"
    UNMAPPED = "order_unmapped", "the order's code is neither a status nor a treatment in the profile"
    NUMBER_MISSING = "order_number_missing", "neither a number nor a code: no order can be meant"
    NOT_FOUND = "order_not_found", "an end, hold or refusal under a number that no order of the stay has"
    UNNAMED = "order_unnamed", "by number alone, of an order of which nobody has said what it is"
    AMBIGUOUS = "order_ambiguous", "by number alone, and several orders of the stay have that number"


class DiagnosisReason(_Worded):
    """Of a DG1: why it gives no diagnosis."""

    MISSING = "diagnosis_missing", "DG1-3 has no code"
    NOT_ICD10 = "diagnosis_not_icd10", "no code of it is ICD-10-CM: DG1-3 or DG1-2 names other systems"
    SYSTEM_UNKNOWN = "diagnosis_system_unknown", "it names a system that neither HL7 nor [code_systems] has"
    UNLIKE = "diagnosis_unlike_icd10", "it names no system, and its code does not have the form of ICD-10-CM"


class PartReason(_Worded):
    """Of codes of the visit and the cover, of segments, of results without a time, and of withdrawals."""

    UNIT = "unit_of_place_unmapped", "a nursing unit that the profile does not have: its level is unknown"
    STATUS = "status_code_unmapped", "a code that the profile does not have: it gives no status"
    DISPOSITION = "disposition_unmapped", "a discharge disposition that the profile does not have"
    PAYER = "payer_unmapped", "a plan that the profile does not have: its payer class is UNKNOWN"
    SEGMENT = "segment_not_read", "a segment that nothing here is read from"
    MISSPELT = "segment_name_misspelt", "a segment whose name is not the first of its line, in capitals"
    RATE = "rate_unreadable", "a rate of fluids that is no number, or is not in a unit of mL/h"
    MODIFIER = "order_modifier_unmapped", "ORC-25 is a value that the profile does not have: it says nothing"
    PATTERN = "order_pattern_unknown", "how often, in a word of no table: it may be a single dose"
    CONDITION = "order_conditional", "as needed (PRN) or on a condition: whether it is given nobody says"
    CONJUNCTION = "order_conjunction_not_read", "how one timing follows another, not as S or A"
    WITHIN = "order_timing_not_read", "when within its days an order is carried out, or how soon"
    UNTIMED = "collection_time_missing", "no OBX-14, OBR-7 or SPM-17: OBR-14, else MSH-7 stands in"
    NOT_FOUND = "withdrawal_not_found", "a withdrawal, and nothing is known that it takes back"


class NoteReason(_Worded):
    """A word of the reader's (``umbridge/hl7``): what it found odd, and what stands in its place."""

    TIME_UNREADABLE = "time_unreadable", "what was sent is no time"
    TIME_COARSE = "time_coarse", "a time that is less exact than a day: its first moment counts"
    TIME_HOUR_24 = "time_hour_24", "hour 24: read as the next midnight"
    TIME_LEAP_SECOND = "time_leap_second", "second 60: read as second 59"
    TIME_OFFSET_UNREADABLE = "time_offset_unreadable", "an offset that does not exist: the site's own is read"
    TIME_TWICE = "time_twice", "an hour that the clock has twice, without its offset: receipt tells which"
    TIME_SKIPPED = "time_skipped", "an hour that the clock leaves out: receipt tells which hour it was"
    TIME_MISSING = "time_missing", "no time in MSH-7: the time of receipt stands in"
    TIME_INEXACT = "time_inexact", "MSH-7 has no minutes: the time of receipt stands in, within what it says"
    TIME_AFTER_MESSAGE = "time_after_message", "a time after its message: the message's own time stands in"
    DURATION = "duration_not_read", "how long an order runs, not as a length of time: until somebody ends it"
    DATE_UNREADABLE = "date_unreadable", "what was sent is no date"
    DATE_COARSE = "date_coarse", "a date that is less exact than a day: not used"
    REPORT_STATUS = "report_status_unknown", "OBR-25 is in no version of table 0123: OBX-11 decides"
    REPORT_UNNAMED = "report_unnamed", "a whole report is withdrawn, and the message does not say which"
    NUMBER_UNREADABLE = "number_unreadable", "no number where one belongs: the segment's place stands in"
    MISSING = "missing", "nothing where something belongs"
    NOT_USED = "not_used", "more of these than a stay has: the later ones are left out"
    WITHOUT_ORC = "without_ORC", "an order without its ORC"
    REPETITIONS = "repetitions_not_read", "repetitions that differ, where one belongs: the first is read"
    COMPONENTS = "components_not_read", "more behind a time than is read"
    PRECISION = "precision_not_read", "TS.2 says that a time is less exact than its digits: these are read"
    NOTHING_READ = "nothing_where_read", "something was sent, and nothing in the component that is read"
    MORE_SEGMENTS = "more_segments", "more segments than are read"
    MORE_GROUPS = "more_groups", "more patients than are read"
    MORE_NOTES = "more_notes", "more oddities than are listed"


#: What the reader says of parts of an order's timing, by its words.
PARTS = {str(reason): reason for reason in PartReason}
#: The reader's words.
NOTES = {str(reason): reason for reason in NoteReason}

_SETTLES: dict[_Worded, str] = {
    Reason.STATUS_NONE: "have the sender fill OBX-11",
    Reason.NO_UPPER_LIMIT: "have the sender fill OBX-7: the ratio to its upper limit is what counts",
    PartReason.UNTIMED: "have the sender fill OBR-7 or OBX-14: what is sent late counts as if it were new",
    PartReason.PATTERN: "have the sender write table 0335 (ONCE, Q6H, BID, C), or TQ1-8, TQ1-6 or TQ1-14",
    PartReason.CONDITION: "have what is given charted (a fact of its own), or ordered without the condition",
    PartReason.CONJUNCTION: "have the sender write S or A (table 0472)",
    PartReason.MISSPELT: "have the sender write segment names in capitals, with nothing before them (2.5.2)",
    NoteReason.TIME_UNREADABLE: "have the sender write YYYYMMDDHHMM[SS][+/-ZZZZ]",
    NoteReason.TIME_TWICE: "have the sender write the offset (+/-ZZZZ)",
    NoteReason.TIME_SKIPPED: "have the sender write the offset (+/-ZZZZ), and look at its clock",
    NoteReason.TIME_MISSING: "have the sender fill MSH-7",
    NoteReason.TIME_INEXACT: "have the sender write MSH-7 to the second",
    NoteReason.PRECISION: "have the sender write no more digits than it knows",
    NoteReason.TIME_AFTER_MESSAGE: "if the sender writes another zone: [site] or [facilities.NAME] timezone",
    NoteReason.REPORT_UNNAMED: "have the sender fill OBR-3 or OBR-2",
}
