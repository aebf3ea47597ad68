"""What tells of substance use, code by code and word by word, and what stands beside it and does not."""

from __future__ import annotations

import pytest

from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.settings.site import default_site
from umbridge.stay import part2

SITE = default_site()

# code, system: the first and last of each range, written as senders write them
TOLD = [
    *(
        (code, "I10")
        for code in ("F10", "F10.10", "F10231", "f11.20", " F12.9", "F15.9", "F17.210", "F19.99")
    ),
    *(
        (code, "ICD-10-CM")
        for code in ("O99.310", "O99.315", "O99.320", "O99325", "K70.30", "I42.6", "G31.2")
    ),
    *((code, "I10C") for code in ("Z79.891", "Z71.41", "Z71.52", "P96.1", "T40.1X1A", "T40.5X4A", "K85.20")),
    *((code, "2.16.840.1.113883.6.90") for code in ("F10.231", "O99.312")),
    *(
        (code, "I9")
        for code in ("291", "291.0", "2919", "292.89", "303.91", "30390", "304.00", "305.1", "305.93")
    ),
    *((code, "I9C") for code in ("648.30", "64834")),
    *((code, "ICD9") for code in ("303",)),
    *((code, "2.16.840.1.113883.6.103") for code in ("303.91",)),
    *((code, "SCT") for code in ("66590003", "7200002", "191816009", "5602001")),
    *((code, "SNM3") for code in ("15167005",)),
    *((code, "") for code in ("F10.231", "303.91", "66590003")),
    *((code, "99ZZ") for code in ("F10.231",)),
]
NOT_TOLD = [
    *(
        (code, "I10")
        for code in ("F09", "F20", "F1", "XF10", "J18.9", "Z72.0", "Z87.891", "O99.30", "O99.330")
    ),
    *((code, "I10") for code in ("Z79.890", "Z79.899", "K69", "K71.0", "K85.10", "K85.30", "G31.1", "G62.0")),
    *((code, "I10") for code in ("I42.5", "T40.2X1A", "T40.6X1A", "Z71.3", "Z71.6", "P96.0", "F10F10F10")),
    *(
        (code, "I9")
        for code in ("290.4", "293.0", "302.9", "306.0", "648.40", "305.931", "F10.231", "3", "29", "30")
    ),
    *((code, "SCT") for code in ("66590004", "56265001", "303", "F10.231")),
    *((code, "") for code in ("", "J18.9", "12345", "300")),
]


@pytest.mark.parametrize(("code", "system"), TOLD)
def test_a_code_within_a_range_tells(code: str, system: str) -> None:
    assert part2.is_code(code, system)


@pytest.mark.parametrize(("code", "system"), NOT_TOLD)
def test_a_code_beside_a_range_does_not(code: str, system: str) -> None:
    assert not part2.is_code(code, system)


SAID = (
    "Alcohol dependence with withdrawal, uncomplicated",
    "ETOH withdrawal",
    "alcohol use disorder",
    "Alcoholic cirrhosis",
    "chronic ALCOHOLISM",
    "delirium tremens",
    "Opioid abuse with intoxication,unspecified",
    "opioid-induced mood disorder",
    "Opiate addiction",
    "heroin overdose",
    "Cocaine dependence, in remission",
    "Dependence on cocaine",
    "Withdrawal from opioids",
    "intoxication due to alcohol",
    "Drug abuse counseling",
    "Polysubstance abuse",
    "Substance use disorder",
    "sedative, hypnotic or anxiolytic dependence",
    "for detox",
    "methadone maintenance",
    "pt with OUD",
    "Denies alcohol abuse",
    "overdose of heroin",
    "alcohol-induced pancreatitis",
    "Substance-induced psychosis",
    "delirium due to alcohol",
    "opioid treatment program",
    "Wernicke's encephalopathy",
)
NOT_SAID = (
    "",
    "Pneumonia, unspecified organism",
    "Propensity to adverse reactions to substance (disorder)",
    "Allergy to substance (disorder)",
    "Nonalcoholic steatohepatitis",
    "Non-alcoholic fatty liver disease",
    "Dependence on supplemental oxygen",
    "Ventilator dependence",
    "Insulin dependent diabetes",
    "Digoxin intoxication",
    "Withdrawal of life support",
    "drug-eluting stent",
    "Drug-induced lupus",
    "non-alcoholic cirrhosis",
    "Alcohol swab. Withdrawal of care",
    "Bipolar disorder, drug allergy",
    "drugs\nProgram",
    "Adverse effect of drug",
    "Isopropyl alcohol swab",
    "Cardiac rehabilitation",
    "Nicotine dependence, cigarettes",
    "sudden cardiac arrest",
    "audit",
    "cows milk",
)


@pytest.mark.parametrize("text", SAID)
def test_words_that_tell(text: str) -> None:
    assert part2.is_said(text)


@pytest.mark.parametrize("text", NOT_SAID)
def test_words_that_do_not(text: str) -> None:
    assert not part2.is_said(text)


def told(*segments: str) -> bool:
    head = "MSH|^~\\&|A|B|C|D|20260112140000||ADT^A08|1|P|2.5.1\rPID|1||ZZ1||ZZTEST^ALDER\r"
    message = er7.parse((head + "\r".join(segments) + "\r").encode())
    event = translate(message, SITE.zone, mrn_authority=SITE.mrn_authority)
    return part2.tells(message, event, SITE)


@pytest.mark.parametrize(
    "segment",
    [
        "DG1|1||F10.231^ZZ^I10|||A",
        "DG1|1||ZZ1^ZZ^L^F10.231^ZZ^I10|||A",  # the alternate triplet
        "DG1|1||ZZ1^ZZ^L^ZZ2^ZZ^L^^^^F10.231^ZZ^I10|||A",  # the second alternate
        "DG1|1||303.91^ZZ^I9C|||A",
        "DG1|1|I9|303.91|ZZ",  # DG1-2 names the system, before version 2.3
        "DG1|1||303.91",
        "DG1|1||66590003^ZZ^SCT|||A",
        "DG1|1||O99.311^ZZ^I10|||A",
        "DG1|1||Z79.891^ZZ^I10|||A",
        "DG1|1||J18.9^ZZ^I10|||A\rDG1|2||J18.9^ZZ^I10~F11.20^ZZ^I10",  # a repetition
        "DG1|1||ZZ1^Alcohol dependence^L|||A",
        "DG1|1||ZZ1^ZZ^L|Alcohol withdrawal||A",
        "PV2|||^Alcohol withdrawal",
        "PV2|||F10.231^ZZ^I10",
        "PRB|AD||191816009^ZZ^SCT",
        "OBX|1|CWE|ZZ^ZZ^L||66590003^ZZ^SCT||||||F",
        "OBX|1|TX|ZZ^ZZ^L||Opioid use disorder||||||F",
        "OBR|1|||ZZ^ZZ^L|||||||||||||||||||||||||||F19.20^ZZ^I10",
        "NTE|1||Heroin",
        "ZZZ|1|F11.10^ZZ^I10C",
    ],
)
def test_a_message_tells_wherever_it_says_so(segment: str) -> None:
    assert told(segment)


@pytest.mark.parametrize(
    "segment",
    [
        "DG1|1||J18.9^Pneumonia^I10|||A",
        "OBX|1|NM|777-3^Platelets^LN||303|10*3/uL|||||F",  # a number is no code
        "OBX|1|ST|ZZ^ZZ^L||F10||||||F",  # nor is what has no system, outside a diagnosis
        "OBR|1|66590003|F1012|ZZ^ZZ^L",
        "PV1|1|I|F10^303^2",
        "IN1|1|F10.231^ZZ^I10|303.91",
    ],
)
def test_a_message_that_says_no_such_thing_does_not(segment: str) -> None:
    assert not told(segment)
