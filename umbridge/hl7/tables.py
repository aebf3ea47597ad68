"""The code tables of HL7 v2 that decide what is refused: types, events, versions, error conditions."""

from __future__ import annotations

# HL7 table 0104, from the first to 2.9.1, with the point releases that senders name and no table lists.
_VERSIONS = "2.0 2.0D 2.1 2.2 2.3 2.3.1 2.3.2 2.4 2.5 2.5.1 2.5.2 2.6 2.7 2.7.1 2.8 2.8.1 2.8.2 2.9 2.9.1"
VERSIONS = frozenset(_VERSIONS.split())

# Every message type of HL7 table 0076 and of the message structures of versions 2.1 to 2.8.2.
# A test holds types and events against hl7apy's dictionaries.
_TYPES = """
ACK ADR ADT ARD BAR BPS BRP BRT BTS CCF CCI CCM CCQ CCR CCU CQU CRM CSU DBC DBU DEL DEO DER DFT DOC DPR DRC
DRG DSR EAC EAN EAR EDR EHC EQQ ERP ESR ESU INR INU LSR LSU MCF MDM MFD MFK MFN MFQ MFR NMD NMQ NMR OMB OMD
OMG OMI OML OMN OMP OMQ OMS OPL OPR OPU ORA ORB ORD ORF ORG ORI ORL ORM ORN ORP ORR ORS ORU ORX OSM OSQ OSR
OSU OUL PEX PGL PIN PMU PPG PPP PPR PPT PPV PRR PTR QBP QCK QCN QRY QSB QSX QVR RAR RAS RCI RCL RDE RDO RDR
RDS RDY REF RER RGR RGV ROR RPA RPI RPL RPR RQA RQC RQI RQP RQQ RRA RRD RRE RRG RRI RRO RSP RTB SCN SDN SDR
SIU SLN SLR SMD SPQ SQM SQR SRM SRR SSR SSU STC STI SUR TBR TCR TCU UDM VQQ VXQ VXR VXU VXX"""
TYPES = frozenset(_TYPES.split())

_EVENTS = """
A01-55 A60-62 B01-08 C01-12 E01-04 E10 E12-13 E15 E20-22 E24 E30-31 I01-22 J01-02 K11 K13 K15 K21-25 K31-34
M01-18 N01-02 O01-59 P01-12 Q01-09 Q11 Q13 Q15-17 Q21-34 R01-09 R0R R21-26 R30-33 R40-42 S01-37 T01-12
U01-13 V01-04 W01-02 Z73-99 CNQ PC1 PC2 PC3 PC4 PC5 PC6 PC7 PC8 PC9 PCA PCB PCC PCD PCE PCF PCG PCH PCJ PCK
PCL RAR RDR RER RGR ROR"""


def _listed(part: str) -> list[str]:
    first, _, last = part.partition("-")
    return [f"{first[0]}{n:02d}" for n in range(int(first[1:]), int(last) + 1)] if last else [first]


# HL7 table 0003, all versions; O49 to O59 are 2.9's, R42 is IHE PCD-10's.
# Z73 to Z99 are the standard's own example queries; no other Z event is known.
EVENTS = frozenset(event for part in _EVENTS.split() for event in _listed(part))

PROCESSING_IDS = frozenset("PTD")  # HL7 table 0103

# HL7 table 0357
CONDITIONS = {
    0: "Message accepted",
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    104: "Value too long",
    198: "Non-conformant cardinality",
    199: "Other HL7 error",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    205: "Duplicate key identifier",
    206: "Application record locked",
    207: "Application error",
}

# What HL7 v2 calls its segments. hl7apy's tables have the codes only.
SEGMENT_NAMES = {
    "ABS": "Abstract",
    "ACC": "Accident",
    "AIG": "Appointment information, general resource",
    "AIL": "Appointment information, location resource",
    "AIP": "Appointment information, personnel resource",
    "AIS": "Appointment information, service",
    "AL1": "Patient allergy information",
    "ARV": "Access restriction",
    "AUT": "Authorization information",
    "BHS": "Batch header",
    "BLG": "Billing",
    "BTS": "Batch trailer",
    "CTD": "Contact data",
    "CTI": "Clinical trial identification",
    "DB1": "Disability",
    "DG1": "Diagnosis",
    "DRG": "Diagnosis related group",
    "DSC": "Continuation pointer",
    "ERR": "Error",
    "EVN": "Event type",
    "FHS": "File header",
    "FT1": "Financial transaction",
    "FTS": "File trailer",
    "GT1": "Guarantor",
    "IAM": "Patient adverse reaction information",
    "IN1": "Insurance",
    "IN2": "Insurance additional information",
    "IN3": "Insurance additional information, certification",
    "MRG": "Merge patient information",
    "MSA": "Message acknowledgment",
    "MSH": "Message header",
    "NK1": "Next of kin",
    "NPU": "Bed status update",
    "NTE": "Notes and comments",
    "OBR": "Observation request",
    "OBX": "Observation",
    "ODS": "Dietary orders, supplements and preferences",
    "ODT": "Diet tray instructions",
    "ORC": "Common order",
    "PD1": "Patient additional demographic",
    "PDA": "Patient death and autopsy",
    "PID": "Patient identification",
    "PR1": "Procedures",
    "PRD": "Provider data",
    "PRT": "Participation information",
    "PV1": "Patient visit",
    "PV2": "Patient visit, additional information",
    "QRD": "Original style query definition",
    "QRF": "Original style query filter",
    "RF1": "Referral information",
    "RGS": "Resource group",
    "ROL": "Role",
    "RQ1": "Requisition detail-1",
    "RQD": "Requisition detail",
    "RXA": "Pharmacy or treatment administration",
    "RXC": "Pharmacy or treatment component order",
    "RXD": "Pharmacy or treatment dispense",
    "RXE": "Pharmacy or treatment encoded order",
    "RXG": "Pharmacy or treatment give",
    "RXO": "Pharmacy or treatment order",
    "RXR": "Pharmacy or treatment route",
    "SAC": "Specimen container detail",
    "SCH": "Scheduling activity information",
    "SFT": "Software",
    "SPM": "Specimen",
    "TQ1": "Timing and quantity",
    "TQ2": "Timing and quantity relationship",
    "TXA": "Transcription document header",
    "UAC": "User authentication credential",
    "UB1": "UB82",
    "UB2": "UB92 data",
}
