"""Write the frames of this folder: real bytes, one oddity each, and what becomes of it beside them.

``python tests/vectors/hl7/make.py`` writes every file again; a test checks that it would change nothing.
A line of ``expected.tsv``: file, answer (``-`` none, ``closed`` where no header can be read), table 0357
condition, state, reason. All patients are invented.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
PID = b"PID|1||7799001^^^UMBH^MR||ZZTEST^VECTOR^^^^^L||19530914|M\r"
PV1 = b"PV1|1|E|ED^12^1^UMBH||||||||||||||||VN779901^^^UMBH^VN\r"


def adt(
    kind: bytes = b"ADT^A04^ADT_A01",
    control_id: bytes = b"ZZ-1",
    processing_id: bytes = b"P",
    version: bytes = b"2.5.1",
    accept: bytes = b"",
    application: bytes = b"",
    charset: bytes = b"",
) -> bytes:
    tail = b"|||" + accept + b"|" + application + b"||" + charset
    msh = b"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260112140700-0500||"
    return msh + b"|".join([kind, control_id, processing_id, version]) + tail.rstrip(b"|") + b"\r" + PID + PV1


GOOD = adt()
VECTORS: dict[str, tuple[bytes, str]] = {
    "good": (GOOD, "AA - PENDING -"),
    "line_feeds": (GOOD.replace(b"\r", b"\n"), "AA - PENDING -"),
    "crlf_no_last_end": (GOOD.replace(b"\r", b"\r\n").rstrip(), "AA - PENDING -"),
    "byte_order_mark": (b"\xef\xbb\xbf" + GOOD, "AA - PENDING -"),
    "envelope": (b"FHS|^~\\&|ZZ\rBHS|^~\\&|ZZ\r" + GOOD + b"BTS|1\rFTS|1\r", "AA - PENDING -"),
    "z_segment": (GOOD + b"ZPI|1|local\r", "AA - PENDING -"),
    "other_delimiters": (GOOD.translate(bytes.maketrans(b"|^~\\&", b":;!%$")), "AA - PENDING -"),
    "truncation_delimiter": (adt(version=b"2.8").replace(b"^~\\&", b"^~\\&#", 1), "AA - PENDING -"),
    "latin1_undeclared": (GOOD.replace(b"VECTOR", b"V\xc9CTOR"), "AA - PENDING -"),
    "gb18030": (
        adt(charset=b"GB 18030-2000").replace(b"VECTOR", b"\x81\x7c"),
        "AA - PENDING -",
    ),
    "empty_msh6": (GOOD.replace(b"UMBRIDGE|UMBH", b"UMBRIDGE|^^"), "AA - PENDING -"),
    "control_id_markup": (adt(control_id=b"<script>=cmd()../../x"), "AA - PENDING -"),
    "control_id_escape": (adt(control_id=b"a\\X0D\\b"), "AA - PENDING -"),
    "control_id_199": (adt(control_id=b"9" * 199), "AA - PENDING -"),
    "version_internationalised": (adt(version=b"2.5^DEU"), "AA - PENDING -"),
    "version_2_9_1": (adt(version=b"2.9.1"), "AA - PENDING -"),
    "processing_mode": (adt(processing_id=b"P^T"), "AA - PENDING -"),
    "processing_id_empty": (adt(processing_id=b""), "AA - PENDING -"),
    "type_only_oru": (adt(kind=b"ORU", version=b"2.2"), "AA - PENDING -"),
    "accept_al": (adt(accept=b"AL", application=b"NE"), "CA - PENDING -"),
    "accept_er": (adt(accept=b"ER", application=b"NE"), "- - PENDING -"),
    "accept_ne_application_al": (adt(accept=b"NE", application=b"AL"), "AA - PENDING -"),
    "never_never": (adt(accept=b"NE", application=b"NE"), "- - PENDING -"),
    "trigger_not_used": (adt(kind=b"ORU^W01^ORU_W01"), "AA - IGNORED trigger_not_used"),
    "bed_status": (adt(kind=b"ADT^A20^ADT_A20"), "AA - IGNORED bed_status"),
    "merge": (adt(kind=b"ADT^A40^ADT_A39") + b"MRG|7799002^^^UMBH^MR\r", "AA - PENDING -"),
    "several_patients": (
        GOOD + b"PID|2||7799002^^^UMBH^MR||ZZTEST^OTHER\r",
        "AA - QUARANTINED several_patients",
    ),
    "same_patient_twice": (GOOD + PID, "AA - PENDING -"),
    "type_not_used": (adt(kind=b"SIU^S12^SIU_S12"), "AA - IGNORED type_not_used"),
    "acknowledgment": (adt(kind=b"ACK^A04^ACK") + b"MSA|AA|ZZ-0\r", "- - IGNORED acknowledgment"),
    "order_response": (adt(kind=b"ORR^O02^ORR_O02") + b"MSA|AA|ZZ-0\r", "- - IGNORED acknowledgment"),
    "msa_in_adt": (GOOD + b"MSA|AA|ZZ-0\r", "AA - PENDING -"),
    "msh_not_first": (b"EVN|A04|20260112140700\r" + GOOD, "AE 100 REFUSED msh_not_first"),
    "two_messages": (GOOD + adt(control_id=b"ZZ-2"), "AE 100 REFUSED several_messages"),
    "type_missing": (adt(kind=b""), "AE 101 REFUSED message_type_missing"),
    "control_id_missing": (adt(control_id=b""), "AE 101 REFUSED control_id_missing"),
    "control_id_null": (adt(control_id=b'""'), "AE 101 REFUSED control_id_missing"),
    "control_id_200": (adt(control_id=b"9" * 200), "AE 104 REFUSED control_id_too_long"),
    "control_id_nul": (adt(control_id=b"a\x00b"), "AE 102 REFUSED control_id_unprintable"),
    "version_missing": (adt(version=b""), "AE 101 REFUSED version_missing"),
    "delimiters_repeated": (GOOD.replace(b"^~\\&", b"^^\\&", 1), "AE 102 REFUSED delimiters_ambiguous"),
    "delimiters_digits": (GOOD.replace(b"^~\\&", b"^123", 1), "AE 102 REFUSED delimiters_ambiguous"),
    "header_alone": (b"MSH|^~\\&", "AE 101 REFUSED message_type_missing"),
    "type_unknown": (adt(kind=b"XYZ^A04"), "AR 200 REFUSED message_type_unknown"),
    "event_unknown": (adt(kind=b"ADT^A99"), "AR 201 REFUSED event_unknown"),
    "event_of_other_type": (adt(kind=b"ADT^O01"), "AR 201 REFUSED event_unknown"),
    "event_missing": (adt(kind=b"ADT"), "AR 201 REFUSED event_unknown"),
    "processing_id_unknown": (adt(processing_id=b"X"), "AR 202 REFUSED processing_id_unknown"),
    "version_9_9": (adt(version=b"9.9"), "AR 203 REFUSED version_unknown"),
    "version_unknown_accept_al": (adt(version=b"9.9", accept=b"AL"), "CR 203 REFUSED version_unknown"),
    "control_id_missing_accept_er": (
        adt(control_id=b"", accept=b"ER", application=b"NE"),
        "CE 101 REFUSED control_id_missing",
    ),
    "version_unknown_accept_su": (
        adt(version=b"9.9", accept=b"SU", application=b"ER"),
        "AR 203 REFUSED version_unknown",
    ),
    "empty": (b"", "closed - - empty"),
    "one_carriage_return": (b"\r", "closed - - empty"),
    "msh_word": (b"MSH", "closed - - msh1_unreadable"),
    "msh_and_separator": (b"MSH|", "closed - - msh2_unreadable"),
    "separator_twice": (GOOD.replace(b"MSH|^~\\&|", b"MSH||^~\\&|"), "closed - - msh2_unreadable"),
    "no_header": (PID + PV1, "closed - - no_msh"),
    "utf16": (GOOD.decode().encode("utf-16-le"), "closed - - utf16"),
}


def files() -> dict[str, bytes]:
    """Every file of this folder that is made here, by name."""
    made = {f"{name}.hl7": frame for name, (frame, _) in VECTORS.items()}
    lines = ["\t".join([f"{name}.hl7", *expected.split(" ")]) for name, (_, expected) in VECTORS.items()]
    made["expected.tsv"] = ("\n".join(lines) + "\n").encode()
    return made


if __name__ == "__main__":
    for name, content in files().items():
        (HERE / name).write_bytes(content)
