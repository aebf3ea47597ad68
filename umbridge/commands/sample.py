"""Invented stays as HL7 messages: what the demo shows, the bench sends and the tests kill the daemon with.

Nobody here exists: the family name is ZZTEST, numbers start with ZZ, and the local codes are those of the
example site profile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

ZONE = timedelta(hours=-5)
GIVEN = ("ALDER", "BIRCH", "CEDAR", "DOGWOOD", "ELDER", "FIR", "GINKGO", "HAZEL", "IVY", "JUNIPER")


@dataclass(frozen=True, slots=True)
class Story:
    """One kind of stay: diagnosis, who, what was measured, what was ordered."""

    name: str
    diagnosis: str
    text: str
    birth: str
    sex: str
    vitals: tuple[tuple[str, str, str], ...]  # (OBX-3, value, unit)
    labs: tuple[tuple[str, str, str], ...]
    findings: tuple[tuple[str, str], ...]  # (99UMB code, Y or N or a code)
    order: str  # status order code
    patient_class: str
    patient_type: str
    unit: str


PNEUMONIA = Story(
    name="pneumonia",
    diagnosis="J18.9",
    text="Pneumonia, unspecified organism",
    birth="19540311",
    sex="M",
    vitals=(
        ("9279-1^Respiratory rate^LN", "32", "/min"),
        ("8867-4^Heart rate^LN", "110", "/min"),
        ("8480-6^Systolic blood pressure^LN", "118", "mm[Hg]"),
        ("8462-4^Diastolic blood pressure^LN", "70", "mm[Hg]"),
        ("8310-5^Body temperature^LN", "101.5", "[degF]"),
        ("UMB-SPO2RA^Oxygen saturation on room air^99UMB", "91", "%"),
    ),
    labs=(
        ("3094-0^Urea nitrogen^LN", "28", "mg/dL"),
        ("2951-2^Sodium^LN", "136", "mmol/L"),
        ("2345-7^Glucose^LN", "140", "mg/dL"),
        ("4544-3^Hematocrit^LN", "38", "%"),
        ("2744-1^pH, arterial^LN", "7.40", ""),
        ("2703-7^PaO2^LN", "63", "mm[Hg]"),
        ("3150-0^Inhaled oxygen fraction^LN", "0.21", "1"),
        ("6690-2^Leukocytes^LN", "11.8", "10*3/uL"),
        ("777-3^Platelets^LN", "236", "10*3/uL"),
    ),
    findings=tuple(
        (code, "N")
        for code in (
            "UMB-CONF",
            "UMB-NHRES",
            "UMB-HXCA",
            "UMB-HXLIVER",
            "UMB-HXHF",
            "UMB-HXCVD",
            "UMB-HXRENAL",
            "UMB-EFFUS",
            "UMB-MULTILOB",
            "UMB-HYPOFLUID",
            "UMB-PRESSOR",
            "UMB-VENT",
        )
    ),
    order="ADTINPT^Admit to inpatient^99UMB",
    patient_class="I",
    patient_type="INP",
    unit="4W",
)
BLEED = Story(
    name="gastrointestinal bleed",
    diagnosis="K92.1",
    text="Melena",
    birth="19740522",
    sex="F",
    vitals=(
        ("8480-6^Systolic blood pressure^LN", "112", "mm[Hg]"),
        ("8867-4^Heart rate^LN", "96", "/min"),
    ),
    labs=(
        ("22664-7^Urea^LN", "9.2", "mmol/L"),
        ("718-7^Hemoglobin^LN", "115", "g/L"),
    ),
    findings=(
        ("UMB-MELENA", "Y"),
        ("UMB-SYNCOPE", "N"),
        ("UMB-HXLIVER", "N"),
        ("UMB-HXHF", "N"),
    ),
    order="ADTOBS^Place in observation^99UMB",
    patient_class="O",
    patient_type="OBS",
    unit="CDU",
)
INCOMPLETE = Story(
    name="pneumonia, results outstanding",
    diagnosis="J18.9",
    text="Pneumonia, unspecified organism",
    birth="19560809",
    sex="F",
    vitals=(
        ("9279-1^Respiratory rate^LN", "24", "/min"),
        ("8867-4^Heart rate^LN", "100", "/min"),
        ("8480-6^Systolic blood pressure^LN", "110", "mm[Hg]"),
        ("8462-4^Diastolic blood pressure^LN", "70", "mm[Hg]"),
        ("8310-5^Body temperature^LN", "38.0", "Cel"),
        ("UMB-SPO2RA^Oxygen saturation on room air^99UMB", "93", "%"),
    ),
    labs=(),
    findings=tuple(
        (code, "N")
        for code in (
            "UMB-CONF",
            "UMB-NHRES",
            "UMB-HXCA",
            "UMB-HXLIVER",
            "UMB-HXHF",
            "UMB-HXCVD",
            "UMB-HXRENAL",
        )
    ),
    order="ADTINPT^Admit to inpatient^99UMB",
    patient_class="I",
    patient_type="INP",
    unit="5W",
)
STORIES = (PNEUMONIA, BLEED, INCOMPLETE)


def stay(number: int, began: datetime, story: Story | None = None) -> list[bytes]:
    """The messages of one stay: registration, vitals, results, findings, status order, admission.

    ``number`` makes its identifiers unique; ``began`` is when care began. Segments end in CR.
    """
    told = story or STORIES[number % len(STORIES)]
    maker = _Maker(number, told, began.astimezone(UTC) + ZONE)
    return list(maker.messages())


class _Maker:
    def __init__(self, number: int, story: Story, began: datetime) -> None:
        self._number = number
        self._story = story
        self._began = began
        self._count = 0
        given = GIVEN[number % len(GIVEN)]
        self._given = given
        self._pid = (
            f"PID|1||ZZ{number:07d}^^^UMBH^MR~ZZX{number:07d}^^^ZZSTATE^SS||ZZTEST^{given}^Q^^^^L||{story.birth}"
            f"|{story.sex}||2106-3^White^HL70005|1 ZZ {given} STREET^APT 2^ZZTOWN^NY^00000^USA^H^^ZZCOUNTY"
            "||^PRN^PH^^1^555^5550100|^WPN^PH^^1^555^5550101|EN^English^HL70296|M^Married^HL70002"
            f"|ZZR^None^HL70006|ZZAC{number:07d}^^^UMBH^AN||||2186-5^Not Hispanic^HL70189||N"
        )

    def messages(self) -> Iterator[bytes]:
        story = self._story
        dg1 = (
            f"DG1|1||{story.diagnosis}^{story.text}^I10|{story.text}|{self._at(0)}|{{}}|||||||||1"
            "|990001^ZZDOCTOR^TESTA"
        )
        rest = self._around_the_visit()
        arrived = self._began
        yield self._message(
            "ADT^A04^ADT_A01",
            2,
            [
                f"EVN|A04|{self._at(2)}||||{self._at(0)}",
                self._pid,
                self._pv1("E", "ED^12^1^UMBH", "EDP", arrived),
                rest[0],
                dg1.format("W"),
                *rest[1:],
            ],
        )
        if story.vitals:
            yield self._results(10, "VITALS^Vital signs flowsheet^99UMB", story.vitals)
        if story.labs:
            yield self._results(45, "LAB^Laboratory panel^99UMB", story.labs)
        yield self._results(50, "ASSESS^Clinical assessment form^99UMB", story.findings)
        yield self._message(
            "ORM^O01^ORM_O01",
            70,
            [
                self._pid,
                self._pv1("E", "ED^12^1^UMBH", "EDP", arrived),
                f"ORC|NW|ZZP{self._number:07d}^ZZEHR|||||||{self._at(70)}|||990001^ZZDOCTOR^TESTA"
                f"|||{self._at(70)}",
                f"OBR|1|ZZP{self._number:07d}^ZZEHR||{story.order}",
                dg1.format("A"),
            ],
        )
        trigger = "A01" if story.patient_class == "I" else "A08"
        yield self._message(
            f"ADT^{trigger}^ADT_A01",
            95,
            [
                f"EVN|{trigger}|{self._at(95)}||||{self._at(70)}",
                self._pid,
                self._pv1(story.patient_class, f"{story.unit}^310^1^UMBH", story.patient_type, arrived),
                rest[0],
                dg1.format("A"),
                *rest[1:],
            ],
        )

    def _around_the_visit(self) -> list[str]:
        """What registration sends beside the visit: kin, allergies, guarantor, insurance, a Z segment."""
        home = f"1 ZZ {self._given} STREET^APT 2^ZZTOWN^NY^00000^USA"
        kin = f"ZZTEST^{self._given}KIN^^^^^L"
        return [
            f"PV2||SP^Semi-private^99ZZ|^{self._story.text}|||||||||||||||||||||||||||||||||||||N",
            "AL1|1|DA^Drug allergy^HL70127|70618^Penicillin^99ZZ|MO^Moderate^HL70128|Hives",
            "AL1|2|FA^Food allergy^HL70127|ZZPN^Peanut^99ZZ|SV^Severe^HL70128|Swelling",
            f"NK1|1|{kin}|SPO^Spouse^HL70063|{home}|^PRN^PH^^1^555^5550100||EC^Emergency contact^HL70131",
            f"GT1|1|ZZG{self._number:07d}|{kin}||{home}|^PRN^PH^^1^555^5550100|||||SEL^Self^HL70063",
            f"IN1|1|ZZPPO^ZZ Sample PPO|ZZPPO01^^^UMBH|ZZ Sample PPO|PO BOX 1^^ZZTOWN^NY^00000^USA|"
            f"|^WPN^PH^^1^555^5550199|ZZGRP1|ZZ Employer|||20260101|20261231||COM|ZZTEST^{self._given}"
            f"|SEL^Self^HL70063|{self._story.birth}|{home}|||1||||||||||||||ZZ{self._number:07d}",
            f"ZPV|1|{self._story.unit}|ZZ SITE EXTRA^local use^99ZZ|N|N",
        ]

    def _at(self, minutes: int) -> str:
        return (self._began + timedelta(minutes=minutes)).strftime("%Y%m%d%H%M%S")

    def _message(self, kind: str, minutes: int, segments: list[str]) -> bytes:
        self._count += 1
        header = (
            f"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|{self._at(minutes)}-0500||{kind}"
            f"|ZC{self._number:07d}.{self._count:02d}|P|2.5.1"
        )
        return "".join(f"{line}\r" for line in [header, *segments]).encode()

    def _pv1(self, patient_class: str, place: str, patient_type: str, arrived: datetime) -> str:
        doctor = "990001^ZZDOCTOR^TESTA^^^DR^^^UMBH"
        fields = [""] * 45
        fields[0:3] = ["PV1", "1", patient_class]
        fields[3], fields[4], fields[7], fields[10] = place, "E", doctor, "MED"
        fields[18], fields[19] = patient_type, f"ZZVN{self._number:07d}^^^UMBH^VN"
        fields[44] = arrived.strftime("%Y%m%d%H%M%S")
        return "|".join(fields)

    def _results(self, minutes: int, panel: str, values: tuple[tuple[str, ...], ...]) -> bytes:
        at = self._at(minutes)
        lines = [
            self._pid,
            self._pv1("E", "ED^12^1^UMBH", "EDP", self._began),
            f"OBR|1||ZZR{self._number:07d}-{minutes}^ZZEHR|{panel}|||{at}|||||||||||||||{at}|||F",
        ]
        for index, value in enumerate(values, start=1):
            if len(value) == 3:
                code, number, unit = value
                coded = f"{unit}^{unit}^UCUM" if unit else ""
                lines.append(f"OBX|{index}|NM|{code}||{number}|{coded}|||||F|||{at}")
            else:
                code, word = value
                said = {"Y": "Y^Yes^HL70136", "N": "N^No^HL70136"}.get(word, f"{word}^^99UMB")
                lines.append(f"OBX|{index}|CWE|{code}^^99UMB||{said}||||||F|||{at}")
        return self._message("ORU^R01^ORU_R01", minutes + 5, lines)
