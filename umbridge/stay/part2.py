"""Which codes and words tell of substance use.

42 CFR 2.11: a diagnosis is "any reference to an individual's substance use disorder or to a condition that is
identified as having been caused by" it. A reference comes in any code system that a field can hold and in
plain words, so all of them are read. In doubt a message is restricted: a segment too many is asked for, one
too few is out. What is not read yet is said in decision 0093.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from umbridge.hl7.er7 import Message
from umbridge.model import Event
from umbridge.settings.site import SiteProfile
from umbridge.stay.facts import identify

# ICD-10-CM (NCHS, FY 2026 tabular list), prefixes without dots. Categories are taken whole: F17 too, although
# 2.11 leaves tobacco out. It was restricted before, and lifting a restriction is a site's decision.
ICD10 = (
    *(f"F1{digit}" for digit in range(10)),  # disorders due to psychoactive substance use
    *("O9931", "O9932"),  # alcohol, drug use complicating pregnancy, childbirth and the puerperium
    *("E244", "G312", "G621", "G721", "I426", "K292", "K70", "K852", "K860"),  # named as caused by alcohol
    *("O354", "O355", "P043", "P044", "P961", "Q860"),  # the mother's use, in her chart or the child's
    *("T401", "T405", "T407", "T408"),  # poisoning by heroin, cocaine, cannabis, LSD
    *("Z7141", "Z7142", "Z7151", "Z7152"),  # counseling for alcohol or drug abuse, of patient or family
    "Z79891",  # long term use of opiate analgesic: no disorder, but given for methadone treatment too
)
# ICD-9-CM (2015, the last): alcohol- and drug-induced disorders, alcohol and drug dependence, abuse without
# dependence, drug dependence in pregnancy.
ICD9 = re.compile(r"(?:29[12]|30[345])(?:\.?\d{1,2})?|648\.?3\d?", re.ASCII)
# SNOMED CT concepts that problem lists use. The words beside a code are read as well, so that a concept which
# is not here is recognized by its name.
SNOMED = {
    "66590003": "alcohol dependence",
    "7200002": "alcoholism",
    "15167005": "alcohol abuse",
    "284591009": "persistent alcohol abuse",
    "191802004": "acute alcoholic intoxication in alcoholism",
    "713583005": "mild alcohol dependence",
    "714829008": "moderate alcohol dependence",
    "713862009": "severe alcohol dependence",
    "85561006": "uncomplicated alcohol withdrawal",
    "8635005": "alcohol withdrawal delirium",
    "25702006": "alcohol intoxication",
    "191816009": "drug dependence",
    "26416006": "drug abuse",
    "361055000": "misuses drugs",
    "66214007": "substance abuse",
    "2403008": "psychoactive substance dependence",
    "75544000": "opioid dependence",
    "5602001": "opioid abuse",
    "231477003": "heroin dependence",
    "231478008": "methadone dependence",
    "31956009": "cocaine dependence",
    "78267003": "cocaine abuse",
    "85005007": "cannabis dependence",
    "37344009": "cannabis abuse",
    "21647008": "amphetamine dependence",
    "84758004": "amphetamine abuse",
    "38247002": "hallucinogen dependence",
    "268640002": "hypnotic or anxiolytic dependence",
    "56876005": "drug rehabilitation and detoxification",
    "60112009": "alcohol rehabilitation",
    "385989002": "substance use counseling",
}
# How senders call the systems, without what is neither letter nor digit: table 0396, older names, OIDs, URIs.
_SYSTEMS = (
    ("icd10", re.compile(r"I10|ICD10|HTTPHL7ORGFHIRSIDICD10|21684011138836(?:90|3|4)$")),
    ("icd9", re.compile(r"I9|ICD9|HTTPHL7ORGFHIRSIDICD9|21684011138836(?:103|104|2|42)$")),
    ("snomed", re.compile(r"SCT|SNM|SNOMED|HTTPSNOMEDINFOSCT|2168401113883696$")),
)
#: Fields that hold a diagnosis: there a code is read whatever its system is called, and without one.
DIAGNOSES = frozenset({("DG1", 3), ("PRB", 3), ("PV2", 3), ("IAM", 3)})
#: About the person, the visit's place and the cover. Whatever else there is may hold a diagnosis.
NOT_CLINICAL = frozenset(
    (
        *("MSH", "SFT", "UAC", "EVN", "PID", "PD1", "NK1", "MRG", "ARV", "PV1"),
        *("IN1", "IN2", "IN3", "GT1", "ACC", "ROL", "PRT", "CTD"),
    )
)
_TRIPLETS = (
    0,
    3,
    9,
)  # code, text, system: the first, the alternate, and from version 2.7 the second alternate

# Words: a substance and what is made of it, with nothing but these between them. Read word by word, so that a
# field of 16 MiB costs its length and no more.
_SUBSTANCES = frozenset(
    form
    for name in (
        *("alcohol", "alcoholic", "ethanol", "etoh", "opioid", "opiate", "opium", "heroin", "fentanyl"),
        *("methadone", "morphine", "cocaine", "crack", "amphetamine", "methamphetamine", "stimulant"),
        *("cannabis", "cannabinoid", "marijuana", "hallucinogen", "inhalant", "sedative", "hypnotic"),
        *("anxiolytic", "benzodiazepine", "barbiturate", "narcotic", "substance", "drug", "psychoactive"),
    )
    for form in (name, f"{name}s")
)
_USES = frozenset(
    (
        *("disorder", "disorders", "abuse", "abuser", "abusing", "misuse", "misusing", "dependence"),
        *("dependency", "dependent", "addict", "addicts", "addicted", "addiction", "habituation"),
        *("withdrawal", "withdrawing", "intoxication", "intoxicated", "detox", "detoxification", "rehab"),
        *("rehabilitation", "delirium", "maintenance", "counseling", "counselling", "overdose", "program"),
    )
)
_BETWEEN = frozenset(
    (
        *("and", "or", "of", "on", "from", "to", "by", "with", "due", "for", "the", "other", "use", "using"),
        *("related", "syndrome", "state", "treatment", "induced", "caused"),
    )
)
_ALONE = frozenset(
    (
        *("alcoholic", "alcoholics", "alcoholism", "heroin", "detox", "detoxification", "tremens", "ciwa"),
        *("suboxone", "buprenorphine", "polysubstance", "polydrug", "wernicke", "korsakoff", "korsakov"),
    )
)
_AFTER = frozenset(("disorder", "disorders", "program"))  # "bipolar disorder, drug allergy" is something else
_INDUCED = _SUBSTANCES - {"drug", "drugs"}  # a drug-induced lupus is no use of drugs
_WORD = re.compile(r"[a-z]+|[^a-z ,/'-]+")
_LETTERS = re.compile(r"\b(?:SUD|OUD|AUD|MOUD|IVDU|IVDA|COWS)\b")  # only where they are written large


@lru_cache(maxsize=4096)
def is_code(code: str, system: str = "") -> bool:
    """Whether a code tells of substance use. Without a system that is known, in any of those that are."""
    plain = "".join(code.split()).upper()
    known = _system(system)
    return (
        (known in ("", "icd10") and _is_icd10(plain.replace(".", "")))
        or (known in ("", "icd9") and ICD9.fullmatch(plain) is not None)
        or (known in ("", "snomed") and plain in SNOMED)
    )


def is_said(text: str) -> bool:
    """Whether words tell of substance use. "Denies" does so too: the question was put to this patient."""
    substance = use = last = ""  # the first two while nothing has come between
    for found in _WORD.finditer(text.lower()):
        word, before, last = found[0], last, found[0]
        if before == "non" and word in _SUBSTANCES:  # "non-alcoholic"
            continue
        if word in _ALONE or (word == "induced" and substance in _INDUCED):
            return True
        if word in _SUBSTANCES:
            substance = word
        elif word in _USES:
            use = word if substance or word not in _AFTER else ""
        elif word not in _BETWEEN:
            substance = use = ""
        if substance and use:
            return True
    return _LETTERS.search(text) is not None


def tells(message: Message, event: Event, site: SiteProfile) -> bool:
    """Whether a message tells of substance use: then all it says of care is restricted.

    ``event`` is the message translated, whose observations the dictionary may mark.
    """
    found = (
        identify(observation, site) for each in (event, *event.several) for observation in each.observations
    )
    return any(fact is not None and fact[0].part2 for fact in found) or any(
        is_said(text) or any(_is_told(code, system, at in DIAGNOSES) for code, system in coded)
        for at, text, coded in _fields(message)
    )


def _is_told(code: str, system: str, is_diagnosis: bool) -> bool:
    return bool(code) and (is_diagnosis or bool(_system(system))) and is_code(code, system)


def _is_icd10(code: str) -> bool:
    return len(code) <= 8 and code.startswith(ICD10)


def _system(name: str) -> str:
    plain = re.sub(r"[^A-Z0-9]", "", name.upper())
    return next((system for system, pattern in _SYSTEMS if pattern.match(plain)), "")


def _fields(message: Message) -> Iterator[tuple[tuple[str, int], str, list[tuple[str, str]]]]:
    """Every field that may hold a diagnosis: where it stands, its text, its codes with their systems."""
    for segment in message.walk():
        if segment.name in NOT_CLINICAL:
            continue
        method = message.value(segment.field(2)) if segment.name == "DG1" else ""  # before version 2.3
        for number in range(1, len(segment.fields)):
            coded, texts = [], []
            for nth in range(1, len(segment.repetitions(number)) + 1):
                parts = [message.value(part).strip() for part in segment.components(number, nth)]
                texts += parts
                for first in _TRIPLETS:
                    code, _, system = [*parts[first : first + 3], "", "", ""][:3]
                    coded.append((code, system or method))
            yield (segment.name, number), "\n".join(texts), coded
