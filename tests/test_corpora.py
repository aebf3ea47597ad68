"""1,889 messages of strangers: every segment read, every byte accounted for, an answer due to each."""

from __future__ import annotations

import ast
import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from zoneinfo import ZoneInfo

import hl7
import pytest
from hl7apy.parser import parse_message, parse_segment

from umbridge.errors import NotHl7Error, RefusedError
from umbridge.hl7 import ack, batch, dictionary
from umbridge.hl7.er7 import ENVELOPE, Message, parse
from umbridge.hl7.lines import BOM
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
        "continued",
        "control_id_missing",
        "version_unknown",
    }


# --- field by field beside two other readers ----------------------------------------------------------------

#: Where another reader and we differ, and the clause that decides it (HL7 v2.5.1, chapters 2 and 2A).
DECIDED = {
    ("python-hl7", "several segments in one"): "2.5.4: CR ends a segment; a sender's LF or CRLF is meant to",
    (
        "python-hl7",
        "no text",
    ): "2.15.9.18: MSH-18 names the set; what it does not say is decoded, not refused",
    ("python-hl7", "blanks at the end"): "2A.75 (ST): trailing blanks are optional; we keep what was sent",
    ("python-hl7", "escapes"): "2.7: it drops a sequence that it does not know; we leave it as it was sent",
    (
        "python-hl7",
        "delimiters of a batch header",
    ): "2.15.2.2: BHS-2 holds the delimiters and is not split by them",
    (
        "hl7apy",
        "refuses the message",
    ): "2.6.1: a recipient ignores what it does not expect, it does not refuse",
    ("hl7apy", "segments lost or moved"): "2.6.1: what is ignored is still there for whoever knows it",
    (
        "hl7apy",
        "refuses the segment",
    ): "2.6.1: a segment with more or other fields than expected is read all the same",
    (
        "hl7apy",
        "a field it has no name for",
    ): "2.6.1: fields beyond those of a version are there for whoever knows them",
    (
        "hl7apy",
        "escapes",
    ): "2.7: it escapes the escape character of a sequence that was sent; one pass is right",
    (
        "hl7apy",
        "parts it does not know",
    ): "2.6.1: components beyond a version's are ignored, not dropped or moved",
    ("hl7apy", "blanks at the end"): "2A.75 (ST): trailing blanks are optional; we keep what was sent",
}
FILE_KINDS = {"several segments in one", "no text", "refuses the message", "segments lost or moved"}
ALL = os.environ.get("UMBRIDGE_CORPORA") == "all"  # `make corpora`
#: The default run asks about every so many messages: hl7apy takes some 30 ms for a message.
PYTHON_HL7_EVERY, HL7APY_EVERY = (1, 1) if ALL else (10, 120)
TABLE = Path(__file__).parents[1] / "docs" / "readers.md"

Differences = Counter[tuple[str, str]]


def as_text(message: Message) -> str | None:
    """The message for a parser that takes text, with CR and the usual delimiters; None for others."""
    if message.header.field(2) != b"^~\\&":
        return None
    try:
        return b"\r".join(message.body).decode()
    except UnicodeDecodeError:
        return None


def python_hl7_differs(message: Message, text: str) -> tuple[int, Differences]:
    """Every subcomponent of every field: how many were compared, and where it reads another value."""
    compared, found = 0, Counter[tuple[str, str]]()
    for segment, other in zip(message.walk(), hl7.parse(text), strict=True):
        for number in range(1, len(segment.fields)):
            if segment.name == "MSH" and number < 3:
                continue
            for nth in range(1, len(segment.repetitions(number)) + 1):
                for part in range(1, len(segment.components(number, nth)) + 1):
                    for sub, raw in enumerate(segment.subcomponents(number, nth, part), start=1):
                        compared += 1
                        theirs, ours = other.extract_field(1, number, nth, part, sub), message.value(raw)
                        if theirs == ours:
                            continue
                        if segment.name in ("BHS", "FHS") and number < 3:
                            kind = "delimiters of a batch header"
                        elif b"\\" in raw:
                            kind = "escapes"
                        else:
                            kind = (
                                "blanks at the end"
                                if theirs.strip() == ours.strip()
                                else f"{segment.name}-{number}"
                            )
                        found["python-hl7", kind] += 1
    return compared, found


def hl7apy_differs(message: Message) -> tuple[int, Differences]:
    """Every field of every segment, each parsed by itself: its message parser drops what it cannot place."""
    compared, found, version = 0, Counter[tuple[str, str]](), message.get("MSH-12")
    for segment in list(message.walk())[1:]:
        try:
            theirs = parse_segment(segment.raw.decode(), version=version)
        except Exception:
            found["hl7apy", "refuses the segment"] += 1
            continue
        for number in range(1, len(segment.fields)):
            sent = segment.field(number).decode()
            if not sent:
                continue
            compared += 1
            try:
                there = "~".join(
                    each.to_er7() for each in getattr(theirs, f"{segment.name}_{number}".lower())
                )
            except Exception:
                found["hl7apy", "a field it has no name for"] += 1
                continue
            if there.rstrip("^&~") == sent.rstrip("^&~"):
                continue
            if "\\" in sent:
                kind = "escapes"
            else:
                kind = (
                    "blanks at the end"
                    if there.strip("^&~ ") == sent.strip("^&~ ")
                    else "parts it does not know"
                )
            found["hl7apy", kind] += 1
    return compared, found


@pytest.mark.timeout(3600)
def test_field_by_field_each_difference_is_listed(messages: list[tuple[Sample, Message]]) -> None:
    """Where they are right we agree; where we do not, the table says which clause decides.

    ``make corpora`` asks about every message and writes the table; the default run holds a sample to it.
    """
    compared, total = Counter[str](), Counter[tuple[str, str]]()
    wrong: dict[str, Differences] = {}
    for at, (sample, message) in enumerate(messages):
        text = as_text(message)
        if text is None or len(message.raw) > 100_000:
            continue
        for reader, wanted in (("python-hl7", PYTHON_HL7_EVERY), ("hl7apy", HL7APY_EVERY)):
            if at % wanted or (reader == "hl7apy" and message.get("MSH-12") not in dictionary.SUPPORTED):
                continue
            count, found = (
                python_hl7_differs(message, text) if reader == "python-hl7" else hl7apy_differs(message)
            )
            compared[reader] += count
            compared[f"{reader} messages"] += 1
            total += found
            if set(found) - set(DECIDED):
                wrong[sample.name] = found
    print(f"\ncompared: {dict(compared)}")
    for (reader, kind), count in total.items():
        print(f"{count:>7} x {reader}: {kind}")
    assert not wrong, "differences that no clause decides"
    if ALL:
        (TABLE.parent / "readers.part").write_text(repr((dict(compared), dict(total))), encoding="utf-8")
        return  # the table is written from this by the test after the next
    assert compared["python-hl7"] > 20_000 and compared["hl7apy"] > 500, compared
    listed = listed_differences()
    assert set(total) <= {key for key, count in listed.items() if count}, "not in docs/readers.md"
    assert all(count <= listed[key] for key, count in total.items())


def listed_differences() -> Differences:
    """docs/readers.md, read back."""
    rows = re.findall(
        r"(?m)^\| (\S+) \| (.+?) \| (\d+) [a-z]+ \| (.+?) \|$", TABLE.read_text(encoding="utf-8")
    )
    assert {(reader, kind): clause for reader, kind, _, clause in rows} == DECIDED, "make corpora writes it"
    return Counter({(reader, kind): int(count) for reader, kind, count, _ in rows})


def test_a_field_read_wrongly_is_a_difference(messages: list[tuple[Sample, Message]]) -> None:
    """The planted bug: a second component read as the first."""
    _, message = next(pair for pair in messages if pair[1].first("PID") and as_text(pair[1]))
    text = as_text(message)
    assert text is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Message, "value", lambda self, raw: raw.decode()[::-1])
        assert set(python_hl7_differs(message, text)[1]) - set(DECIDED), "the planted bug went unseen"


# --- the same files, three readers ----------------------------------------------------------------------


def _python_hl7(data: bytes) -> str:
    """What python-hl7 makes of a file as received: "" where it is faithful, else a kind of DECIDED."""
    try:
        theirs = hl7.parse(data.removeprefix(BOM).decode())
    except Exception:
        return "no text"
    return "" if len(theirs) == len(lines_of(data)) else "several segments in one"


def _hl7apy(data: bytes) -> str:
    """The same of hl7apy with terminators set to CR, which is its best case."""
    text = b"\r".join(lines_of(data))
    try:
        theirs = parse_message(text.decode(), find_groups=False).to_er7()
    except Exception:
        return "refuses the message"
    names = Counter(line[:3] for line in theirs.encode().split(b"\r") if line)
    return "" if names == Counter(line[:3] for line in lines_of(data)) else "segments lost or moved"


def _umbridge(data: bytes) -> str:
    try:
        for frame in batch.split(data):
            parse(frame)
    except NotHl7Error:
        return "no header"
    return ""


def write_table(tables: dict[str, dict[str, Counter[str]]], why: Differences) -> None:
    """docs/readers.md from this run, which asked about everything."""
    part = TABLE.parent / "readers.part"
    compared, fields = ast.literal_eval(part.read_text(encoding="utf-8"))
    part.unlink()
    lines = [
        "# Where readers differ",
        "",
        "Written by `make corpora` from 1,889 messages of other people; `tests/test_corpora.py` holds us to",
        "it. The messages are not part of this repository. Clauses: HL7 v2.5.1, chapters 2, 2A.",
        "",
        f"Field by field: {compared['python-hl7']:,} values of {compared['python-hl7 messages']:,} messages",
        f"beside python-hl7 {version('hl7')}; {compared['hl7apy']:,} fields of",
        f"{compared['hl7apy messages']:,} messages beside hl7apy {version('hl7apy')}.",
        "What is not in this table is read alike.",
        "",
        "| reader | what differs | how often | what decides |",
        "|---|---|---|---|",
    ]
    for (reader, kind), clause in DECIDED.items():
        count = fields.get((reader, kind), 0) or why[reader, kind]
        what = "files" if kind in FILE_KINDS else "fields"
        lines.append(f"| {reader} | {kind} | {count} {what} | {clause} |")
    for name, table in tables.items():
        lines += [
            "",
            f"Files read faithfully as received, by {name}; hl7apy with CR between segments, its best case.",
            "",
        ]
        lines += [f"| {name} | files | umbridge | python-hl7 | hl7apy |", "|---|---|---|---|---|"]
        for key, counts in sorted(table.items(), key=lambda one: (-one[1]["files"], one[0])):
            theirs = f"{counts['hl7apy']} of {counts['hl7apy asked']}"
            three = f"{counts['umbridge']} | {counts['python-hl7']} | {theirs}"
            lines.append(f"| {key.replace('|', '/') or '-'} | {counts['files']} | {three} |")
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.timeout(3600)
def test_the_same_files_beside_two_other_readers() -> None:
    """Files faithfully read, by type and version: all 1,889 by us and python-hl7, a sample by hl7apy."""
    tables: dict[str, dict[str, Counter[str]]] = {
        "type": defaultdict(Counter),
        "version": defaultdict(Counter),
    }
    why: Differences = Counter()
    for at, row in enumerate(manifest()):
        data = (ROOT / "messages" / row["file"]).read_bytes()
        ours = _umbridge(data)
        kept = [line for frame in batch.split(data) for line in lines_of(frame)]
        if segments_of(kept) != segments_of(lines_of(data)):
            ours = "lost"
        found = {"umbridge": ours, "python-hl7": _python_hl7(data)}
        if at % HL7APY_EVERY == 0:
            found["hl7apy"] = _hl7apy(data)
        why.update((reader, reason) for reader, reason in found.items() if reason)
        for name, key in (("type", row["type"]), ("version", row["version"])):
            counts = tables[name][key or "-"]
            counts["files"] += 1
            for reader, fault in found.items():
                counts[reader] += not fault
                counts[f"{reader} asked"] += 1
    for name, table in tables.items():
        print(f"\n{name:<10}{'files':>7}{'umbridge':>10}{'python-hl7':>12}{'hl7apy (of asked)':>20}")
        for key, counts in sorted(table.items(), key=lambda one: -one[1]["files"]):
            theirs = f"{counts['hl7apy']} of {counts['hl7apy asked']}"
            print(
                f"{key:<10}{counts['files']:>7}{counts['umbridge']:>10}{counts['python-hl7']:>12}{theirs:>20}"
            )
    for key, count in why.items():
        print(f"{count:>6} x {key[0]}: {key[1]}. HL7 v2.5.1 {DECIDED.get(key, '')}")
    asked = sum(counts["hl7apy asked"] for counts in tables["type"].values())
    print(f"hl7apy was asked about {asked} of {len(manifest())} files; make corpora asks about all")
    assert not why["umbridge", "lost"]
    headless = [
        row
        for row in manifest()
        if "no-MSH" in row["notes"]  # two of the seven do begin with one
        and not (ROOT / "messages" / row["file"]).read_bytes().startswith(b"MSH")
    ]
    assert why["umbridge", "no header"] == len(headless) == 5  # refused, bytes kept
    assert set(why) - {("umbridge", "no header")} <= set(DECIDED)
    if ALL:
        write_table(tables, why)
    assert (
        sum(counts["python-hl7"] for counts in tables["type"].values()) < 1300
    )  # the README's 63.5 per cent
