"""1,889 messages of strangers: every segment read, every byte accounted for, an answer due to each."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import hl7
import pytest
from hl7apy.parser import parse_segment

from umbridge.errors import NotHl7Error, RefusedError
from umbridge.hl7 import ack, batch, dictionary
from umbridge.hl7.er7 import BOM, ENVELOPE, Message, parse
from umbridge.hl7.translate import identify, translate

ROOT = Path(__file__).parents[1] / "../shared/corpora"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="the shared corpora are not beside this repository")

ZONE = ZoneInfo("America/New_York")
NOW = datetime(2026, 1, 12, tzinfo=UTC)


@dataclass
class Sample:
    name: str
    listed: dict[str, str]  # its row of the manifest
    frame: bytes


def manifest() -> list[dict[str, str]]:
    head, *rows = (ROOT / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    return [dict(zip(head.split("\t"), row.split("\t"), strict=True)) for row in rows]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    found = []
    for row in manifest():
        data = (ROOT / "messages" / row["file"]).read_bytes()
        found += [Sample(row["file"], row, frame) for frame in batch.split(data)]
    return found


@pytest.fixture(scope="module")
def messages(samples: list[Sample]) -> list[tuple[Sample, Message]]:
    found = []
    for sample in samples:
        try:
            found.append((sample, parse(sample.frame)))
        except NotHl7Error as error:
            assert error.reason == "no_msh", sample.name
            assert "no-MSH" in sample.listed["notes"], sample.name
    return found


def lines_of(data: bytes) -> list[bytes]:
    """The file's lines by the plainest means there are, to compare with."""
    return [line for line in re.split(rb"[\r\n]+", data.removeprefix(BOM)) if line.strip()]


def test_every_file_is_there(samples: list[Sample]) -> None:
    files = {sample.name for sample in samples}
    assert len(files) == len(manifest()) == 1889
    assert len(samples) > 1889


def test_no_line_is_lost_between_the_files_and_the_messages(samples: list[Sample]) -> None:
    by_file: dict[str, list[bytes]] = defaultdict(list)
    for sample in samples:
        by_file[sample.name] += lines_of(sample.frame)
    for name, lines in by_file.items():
        whole = lines_of((ROOT / "messages" / name).read_bytes())
        if lines != whole:  # only what wraps messages may be missing
            assert segments_of(lines) == segments_of(whole), name


def segments_of(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line[:3] not in ENVELOPE]


def test_every_segment_and_every_byte(messages: list[tuple[Sample, Message]]) -> None:
    assert len(messages) == 1954
    for sample, message in messages:
        assert message.raw == sample.frame
        assert b"".join(message.lines).removeprefix(BOM) == b"".join(lines_of(sample.frame)), sample.name
        assert message.body == lines_of(sample.frame), sample.name
        for segment, line in zip(message.walk(), message.body, strict=True):
            assert segment.raw == line
            fields = segment.fields
            joined = [fields[0], *fields[2:]] if segment.name in ("MSH", "BHS", "FHS") else fields
            assert message.delimiters.field.join(joined) == line, sample.name


def test_everything_can_be_read_and_translated(messages: list[tuple[Sample, Message]]) -> None:
    notes: Counter[str] = Counter()
    for _, message in messages:
        event = translate(message, ZONE)
        identity = identify(message)
        assert (identity.visit, identity.control_id) == (event.visit.number, event.control_id)
        assert len(event.observations) == len(message.segments("OBX"))
        assert len(event.diagnoses) == len(message.segments("DG1"))
        notes.update(note.split(" ")[-1] for note in event.notes)
        dictionary.findings(message)
    assert sum(notes.values()) < 3000, notes  # real messages are mostly readable; more means a broken reader


def test_each_has_its_answer(messages: list[tuple[Sample, Message]]) -> None:
    table: dict[str, Counter[str]] = defaultdict(Counter)
    refused_for: Counter[str] = Counter()
    for sample, message in messages:
        refused: RefusedError | None = ack.refusal(message)
        disposition = ack.used(message)
        code = ack.code_due(message, refused)
        modes = [message.get("MSH-15").strip(), message.get("MSH-16").strip()]
        table[message.kind[0] or "-"][code or "none"] += 1
        refused_for[refused.reason if refused else disposition.reason or "worked"] += 1
        assert (code is None) == (modes in (["NE", "NE"], ["", "NE"], ["ER", ""])), sample.name
        more = (refused.condition, refused.location, "E-1") if refused else (None, None, None)
        bytes_ = ack.answer(message, code or "AA", "UMB-1", NOW, *more)
        reply = parse(bytes_)
        assert reply.segments("MSA")[0].field(2) == message.header.field(10), sample.name
        assert [reply.header.field(n) for n in (3, 4, 5, 6)] == [
            message.header.field(n) for n in (5, 6, 3, 4)
        ]
        assert not re.search(rb"[\x00-\x0c\x0e-\x1f]", bytes_)
    codes = ["CA", "AA", "AE", "AR", "none"]
    print("\ntype  " + "".join(f"{code:>6}" for code in codes))
    for kind, counts in sorted(table.items(), key=lambda one: -sum(one[1].values())):
        print(f"{kind:<6}" + "".join(f"{counts[code]:>6}" for code in codes))
    print(dict(refused_for))
    assert {code for counts in table.values() for code in counts} <= set(codes)
    assert (refused_for["control_id_missing"], refused_for["version_unknown"]) == (2, 2)
    assert set(refused_for) <= {
        "worked",
        "type_not_used",
        "trigger_not_used",
        "allergies_feed_no_rule",
        "several_patients",
        "control_id_missing",
        "version_unknown",
    }


def with_carriage_returns(message: Message) -> str | None:
    """The message for a parser that takes text, CR only and the usual delimiters; None for others."""
    if message.header.field(2) != b"^~\\&":
        return None
    try:
        return b"\r".join(message.body).decode()
    except UnicodeDecodeError:
        return None


def every(number: int) -> Callable[[int], bool]:
    return lambda at: at % number == 0


def test_python_hl7_reads_the_same_fields(messages: list[tuple[Sample, Message]]) -> None:
    compared = 0
    for at, (sample, message) in enumerate(messages):
        text = with_carriage_returns(message) if every(5)(at) and len(message.raw) < 20_000 else None
        if text is None:
            continue
        theirs = hl7.parse(text)
        if len(theirs) != len(message.body):
            continue  # its own known fault: several segments in one
        for segment, other in zip(message.walk(), theirs, strict=True):
            for number in range(1, len(segment.fields)):
                sent = segment.fields[number].decode()
                assert str(other[number]).rstrip() == sent.rstrip(), f"{sample.name} {segment.name}-{number}"
                if segment.name == "MSH" and number < 3:
                    continue
                compared += 1
                for nth in range(1, len(segment.repetitions(number)) + 1):
                    for part in range(1, len(segment.components(number, nth)) + 1):
                        ours = segment.subcomponents(number, nth, part)
                        raw = ours[0] if ours else b""
                        if re.search(rb"\\[^FSTRE]", raw.replace(b"\\E\\", b"")):
                            continue  # it drops the escapes that it does not know
                        one = other.extract_field(1, number, nth, part, 1)
                        assert one.rstrip() == message.value(raw).rstrip(), (
                            f"{sample.name} {segment.name}-{number}"
                        )
    assert compared > 20_000


def test_hl7apy_reads_the_same_fields(messages: list[tuple[Sample, Message]]) -> None:
    """Segment by segment, as its parser drops what it cannot place; a small sample, as it is slow."""
    compared = 0
    for at, (sample, message) in enumerate(messages):
        if not every(150)(at) or message.get("MSH-12") not in dictionary.SUPPORTED[:9]:
            continue  # from 2.7 on its withdrawn fields have no names
        if with_carriage_returns(message) is None:
            continue
        for name in ("PID", "PV1", "OBX", "ORC"):
            segment = message.first(name)
            if segment is None or b"\\" in segment.raw:
                continue  # it escapes escapes on the way out
            theirs = parse_segment(segment.raw.decode(), version=message.get("MSH-12"))
            for number in range(1, len(segment.fields)):
                if (
                    not segment.field(number)
                    or not dictionary.field_name(message.get("MSH-12"), name, number)[0]
                ):
                    continue
                there = "~".join(field.to_er7() for field in getattr(theirs, f"{name}_{number}".lower()))
                ours = segment.field(number).decode()
                # It reorders components past those that its version knows; the first three are certain.
                assert there.rstrip("^&").split("^")[:3] == ours.rstrip("^&").split("^")[:3], (
                    f"{sample.name} {name}-{number}"
                )
                compared += 1
    assert compared > 100
