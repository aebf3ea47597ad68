"""What reading and translating costs on one core, beside a loop that shows how fast the core is just now.

``python bench/read.py`` prints a table. The machine's speed drifts, so each figure stands beside the one it
would be were the calibration loop (ten million additions) to take 0.45 s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, it finds the tree it is part of

from bench import lane
from bench.load import BEGAN
from umbridge.commands import sample
from umbridge.errors import NotHl7Error
from umbridge.hl7 import ack, batch, er7, mllp
from umbridge.hl7.moments import EPOCH
from umbridge.hl7.translate import identify, translate
from umbridge.model import RowState

ZONE = ZoneInfo("America/New_York")
HEADER = b"MSH|^~\\&|ZZEHR|UMBH|UMBRIDGE|UMBH|20260112140700-0500||%s|ZZ-1|P|2.5.1\r"
MEGABYTE = 1_000_000
READ_BYTES = 65536  # what the listener reads at a time
REPEATS = 7


def calibration() -> float:
    """Seconds for ten million additions: about 0.45 on the machine of README's figures when it is quiet.

    From the best of two hundred pieces, so that a neighbour's share of the core is not counted.
    """
    found = []
    for _ in range(200):
        began, total = time.perf_counter(), 0
        for number in range(50_000):
            total += number
        found.append(time.perf_counter() - began)
    return min(found) * 200


def adt(observations: int = 11) -> bytes:
    """A registration as hospitals send it: 2.5 kB, most of it about kin, guarantor and insurance."""
    address = b"1 ZZTEST STREET^APARTMENT 2^ZZTOWN^NY^10001^USA^H"
    segments = [
        HEADER % b"ADT^A01^ADT_A01",
        b"EVN|A01|20260112140700|||990009^ZZCLERK^TESTC|20260112140300",
        b"PID|1|OLD9|7799001^^^UMBH^MR~8899^^^ELSE^PI||ZZTEST^BENCH^Q^^^^L||19530914|M||2106-3|%s" % address,
        b"|C|555-0100^PRN^PH~555-0101^PRN^CP|555-0102^WPN^PH|ENG|M|NON|AC1^^^UMBH^AN|||||||||||N",
        b"PD1|||ZZTEST CLINIC^^12|990004^ZZDOCTOR^TESTD^^^DR^^^UMBH",
        b"NK1|1|ZZTEST^KIN^^^^^L|SPO^Spouse^HL70063|%s|555-0103^PRN^PH||EC^Emergency" % address,
        b"NK1|2|ZZTEST^NEXT^^^^^L|CHD^Child^HL70063|%s|555-0104^PRN^PH||NK^Next" % address,
        b"PV1|1|I|4W^310^1^UMBH|E||ED^12^1^UMBH|990001^ZZDOCTOR^TESTA^^^DR^^^UMBH|990002^ZZDOCTOR^TESTB|",
        b"990003^ZZDOCTOR^TESTC|MED||||1|||990001^ZZDOCTOR^TESTA^^^DR^^^UMBH|INP|VN779001^^^UMBH^VN",
        b"|||||||||||||||||||||||||20260112140300",
        b"PV2||SEM^Semi-private|^Pneumonia|||||20260112|20260116|4|||||||||||||N",
        b"AL1|1|DA|70618^Penicillin^RX|SV|Hives|20100101",
        b"AL1|2|FA|256349002^Peanut^SCT|MO|Rash|20120101",
        b"DG1|1||J18.9^Pneumonia, unspecified organism^I10|||A|||||||||1",
        b"DG1|2||I10^Essential (primary) hypertension^I10|||W|||||||||2",
        b"GT1|1|9001|ZZTEST^BENCH^Q||%s|555-0100|555-0102|19530914|M|P/F|SEL^Self" % address,
        b"IN1|1|MCRAB^Medicare A and B|MCR1^^^UMBH|Medicare|PO BOX 1^^ZZTOWN^NY^10001|||G1|||||20260101|",
        b"|A1^20260112|MCR|ZZTEST^BENCH^Q|SEL^Self^HL70063|19530914|%s" % address,
        b"IN2|1|999-99-9999|||||||||||||||||||||||||||||||||||||||||||||||||||||||||||ZZ9",
        b"IN3|1|CERT1|990003^ZZPAYER|Y||20260112||20260112|20260112|20260115|AP^3",
        b"ZPV|1|LOCAL^VALUE|ANOTHER|20260112|Y|N|Y|ZZTEST LOCAL TEXT",
    ]
    lines = b""
    for one in segments:
        is_start = one[3:4] == b"|" and one[:3].isalnum() and one[:1].isupper()
        lines += (b"\r" if is_start and lines and not lines.endswith(b"\r") else b"") + one
    for nth in range(1, observations + 1):
        value = (nth, nth % 10, nth % 10)
        lines += b"\rOBX|%d|NM|8867-4^Heart rate^LN||8%d|/min^^UCUM|60-100||||F|||20260112140%d" % value
    return lines + b"\r"


def read(frame: bytes) -> None:
    translate(er7.parse(frame), ZONE, mrn_authority="UMBH")


def taken(stream: bytes) -> None:
    """What a connection's bytes cost until its first frame is whole, or it is given up."""
    decoder = mllp.FrameDecoder(2 * MEGABYTE)
    for at in range(0, len(stream), READ_BYTES):
        if next(decoder.results(stream[at : at + READ_BYTES]), None) is not None:
            return


def answered(frame: bytes) -> None:
    """What a frame costs in ``hl7``: read, judged, identified, answered; translated where it is worked."""
    try:
        message = er7.parse(frame)
    except NotHl7Error:
        return
    refused = ack.refusal(message)
    disposition = ack.used(message)
    identify(message)
    code = ack.code_due(message, refused)
    ack.answer(message, code or "AA", "UMB1", EPOCH)
    if refused is None and disposition.state is RowState.PENDING:
        translate(message, ZONE)


def cost(work: Callable[[], object], rounds: int) -> float:
    """Seconds a round: the best of many short runs, which is what a core takes that nobody else is using."""
    found = []
    for _ in range(REPEATS * min(rounds, 50)):
        began = time.perf_counter()
        for _ in range(max(1, rounds // 50)):
            work()
        found.append((time.perf_counter() - began) / max(1, rounds // 50))
    return min(found)


def hostile(size: int = MEGABYTE) -> Iterator[tuple[str, bytes]]:
    """So many bytes each of what a reader may trip over, in one frame."""
    head = HEADER % b"ORU^R01^ORU_R01"
    full = size - len(head)

    def filled(piece: bytes) -> bytes:
        return head + (piece * (full // len(piece) + 1))[:full]

    yield "one field of a megabyte", filled(b"OBX|1|TX|1||" + b"x" * full)
    yield "segments of three characters", filled(b"ZZZ\r")
    yield "segments OBX", filled(b"OBX|1|NM|8867-4^^LN||88|/min|||||F\r")
    yield "segments ORC", head.replace(b"ORU^R01^ORU_R01", b"ORM^O01^ORM_O01") + b"ORC|NW\r" * (full // 7)
    yield (
        "segments PID",
        head.replace(b"ORU^R01^ORU_R01", b"ADT^A40^ADT_A39") + b"PID|1||1\rMRG|2\r" * (full // 15),
    )
    yield "segments DG1", filled(b"DG1|1||J18.9^^I10\r")
    yield "segments IN3", filled(b"IN3|1|2|||||||||AP^3\r")
    yield "repetitions", head + b"PID|1||" + b"1~" * (full // 2)
    yield "components", head + b"PID|1||" + b"1^" * (full // 2)
    yield "subcomponents", head + b"PID|1||" + b"1&" * (full // 2)
    yield "fields", head + b"PV1" + b"|" * full
    yield "escape characters", head + b"OBX|1|TX|1||" + b"\\" * full
    yield "escapes", head + b"OBX|1|TX|1||" + b"\\X0D\\" * (full // 5)
    yield "unclosed escapes", head + b"OBX|1|TX|1||" + b"\\F" * (full // 2)
    yield "line ends", head + b"\r" * full
    yield "line ends of two bytes", head + b"\r\n" * (full // 2)
    yield "lines of a blank", head + b" \r" * (full // 2)
    yield "lines of one separator", head + b"|\r" * (full // 2)
    yield "null bytes", head + b"\0" * full
    yield "every delimiter by turns", head + b"PID|" + b"|^~\\&" * (full // 5)
    yield "half headers", head + b"MSH|\r" * (full // 5)
    yield "headers with other separators", head + b"MSH:;~\\&\r" * (full // 9)
    yield "batch headers and trailers", head + b"BHS|^~\\&\rBTS|1\r" * (full // 15)
    yield "trailers", head + b"BTS|1\r" * (full // 6)
    yield (
        "times that are none",
        head.replace(b"ORU^R01^ORU_R01", b"ADT^A01") + b"IN3|1|" + b"|9" * (full // 2),
    )
    yield "results with a time that is none", filled(b"OBX|1|NM|8867-4^^LN||88|/min|||||F|||2026x\r")
    yield "a control id of a megabyte", head.replace(b"ZZ-1", b"Z" * full)
    yield "a type of a megabyte", head.replace(b"ORU^R01^ORU_R01", b"ORU^" + b"R" * full)
    yield "bytes that are no text", head + b"OBX|1|TX|1||" + b"\xff" * full
    yield "no header", b"x" * size
    yield "headers", head * (size // len(head))
    yield (
        "GB 18030",
        (HEADER % b"ORU^R01").rstrip(b"\r")
        + b"||||||GB 18030-2000\rOBX|1|TX|1||"
        + b"\x81\x7c" * (full // 2),
    )


def streams(size: int = MEGABYTE) -> Iterator[tuple[str, bytes]]:
    """So many bytes each of what a connection may be sent that is no frame."""
    yield "starts of blocks", b"\x0b" * size
    yield "ends of blocks", b"\x0b" + b"\x1c\r" * (size // 2)
    yield "empty blocks", b"\x0b\x1c\r" * (size // 3)
    yield "ends inside", b"\x0bMSH" + b"\x1c" * size
    yield "noise between blocks", b"\r\n\0" * (size // 3)
    yield "a block without an end", b"\x0b" + b"x" * size
    yield "no block", b"x" * size


def files(size: int = MEGABYTE) -> Iterator[tuple[str, bytes]]:
    """So many bytes each of what a file may hold around its messages."""
    head = HEADER % b"ADT^A01"
    yield "one message and line ends", head + b"\r\n" * (size // 2)
    yield "one message and nulls", head + b"\0" * size
    yield "one message and trailers", head + b"BTS|1\r" * (size // 6)
    yield "one message and ends of blocks", head + b"\x1c\r" * (size // 2)
    yield "half headers", b"MSH|\r" * (size // 5)
    yield "no header", b"x" * size


def over_hl7apy(frame: bytes) -> float:
    """How many times what we take hl7apy takes to parse, and no more."""
    from hl7apy.parser import parse_message  # noqa: PLC0415 - a peer is loaded only where it is measured

    text = frame.decode()
    return cost(lambda: parse_message(text, find_groups=False), 3) / cost(lambda: read(frame), 400)


def over_python_hl7(frame: bytes) -> float:
    """The same for python-hl7, which only splits."""
    import hl7  # noqa: PLC0415

    text = frame.decode()
    return cost(lambda: hl7.parse(text), 100) / cost(lambda: read(frame), 400)


def lane_costs(short: int = 10, long: int = 10_000) -> dict[int, float]:
    """Median seconds to fold the next message of a lane that has had so many."""
    found = lane.cost((short, long), lambda applied: None)
    return {length: found[f"fold_us_after_{length}"] / 1e6 for length in (short, long)}


def main() -> None:
    before = calibration()
    rows: list[tuple[str, float, str]] = []
    frame = adt()
    rows.append(
        (f"read and translate, ADT of {len(frame)} bytes", cost(lambda: read(frame), 400) * 1e6, "µs")
    )
    plain = adt(2)
    rows.append(
        (f"read and translate, ADT of {len(plain)} bytes", cost(lambda: read(plain), 400) * 1e6, "µs")
    )
    small = sample.stay(0, BEGAN)[1]
    rows.append(
        (f"read and translate, ORU of {len(small)} bytes", cost(lambda: read(small), 400) * 1e6, "µs")
    )
    rows += [("hl7apy: parse_message, the same ADT, over ours", over_hl7apy(frame), "×")]
    rows += [("python-hl7: parse, the same ADT, over ours", over_python_hl7(frame), "×")]
    for what, found, work in (
        ("a frame", hostile(), answered),
        ("a stream", streams(), taken),
        ("a file", files(), batch.split),
    ):
        for name, data in found:
            spent = cost(lambda data=data, work=work: work(data), 1)  # type: ignore[misc]
            rows.append((f"a megabyte of {what}: {name}", spent * 1e3 * MEGABYTE / len(data), "ms"))
    for length, seconds in lane_costs().items():
        rows.append((f"next message of a lane of {length}", seconds * 1e6, "µs"))
    after = calibration()
    loop = min(before, after)
    print(f"calibration loop {before:.2f} s before, {after:.2f} s after; quiet machine of README: 0.45 s")
    print(f"{'':<52}{'measured':>12}{'at 0.45 s':>12}")
    for name, value, unit in rows:
        print(f"{name:<52}{value:>9.1f} {unit}{value * 0.45 / loop:>9.1f} {unit}")


if __name__ == "__main__":
    main()
