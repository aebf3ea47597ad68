"""Which code of a diagnosis is ICD-10-CM, and the list of those that stand, principal first.

ICD-9 codes share letters with ICD-10, and SNOMED or a site's own numbers often come first in DG1-3, so a code
counts by its system. Without one it counts by its form, unless DG1-2 says another (DG1-2 named the system
before HL7 v2.3).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from umbridge.model import Coded, Diagnosis
from umbridge.settings.site import SiteProfile
from umbridge.stay.reasons import DiagnosisReason

ICD10 = "I10"
_FORM = re.compile(r"[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4}|[0-9A-Z]{0,4})", re.ASCII)
_FINAL = "F"  # table 0052


class Unlisted(NamedTuple):
    """Why a DG1 gives no diagnosis. ``system``: what it names that nobody lists."""

    reason: DiagnosisReason
    system: str = ""


def icd10_of(diagnosis: Diagnosis, site: SiteProfile) -> str | Unlisted:
    """The ICD-10-CM code of a DG1, with or without its dot as it was sent, in capitals."""
    first = Coded(diagnosis.code, "", diagnosis.system or diagnosis.method)
    codes = [each for each in (first, *diagnosis.others) if each.code.strip()]
    if not codes:
        return Unlisted(DiagnosisReason.MISSING)
    for each in codes:
        if site.spellings.system(each.system) == ICD10:
            return each.code.strip().upper()
    bare = [each.code.strip().upper() for each in codes if not each.system]
    for code in bare:
        if _FORM.fullmatch(code):
            return code
    spellings = site.spellings
    for each in codes:
        if each.system and spellings.system(each.system) not in spellings.systems.values():
            return Unlisted(DiagnosisReason.SYSTEM_UNKNOWN, each.system)
    return Unlisted(DiagnosisReason.UNLIKE if bare else DiagnosisReason.NOT_ICD10)


def place_of(diagnosis: Diagnosis) -> tuple[int, ...]:
    """Where a diagnosis stands among others: smaller comes first.

    DG1-15 is the standard's priority (6.5.2.15: 1 is primary, 2 and on secondary, 0 in no ranking). Where it
    is not sent, a final diagnosis (DG1-6 F) goes before an admitting or working one, as the UHDDS define the
    principal diagnosis by what is established after study; then DG1-1 decides.
    """
    ranked = diagnosis.priority
    if ranked is None:
        return (1, 0, diagnosis.kind != _FINAL, diagnosis.rank)
    return (0 if ranked else 2, ranked, 0, diagnosis.rank)
