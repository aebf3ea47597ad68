"""A receipt: one entry, its path to a signed checkpoint, and what may be seen of it. Written, read, verified.

SPEC.md section 15; the outer form is https://c2sp.org/tlog-proof. Needs no key, no SQL and no other entry.
"""

from __future__ import annotations

import re
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field

from umbridge_audit.bundle import MAX_LINE, read_slots
from umbridge_audit.checkpoint import MAX_NOTE, take_apart
from umbridge_audit.cosign import cosigners
from umbridge_audit.entry import FormatError, JsonValue, parse, parse_leaf
from umbridge_audit.policy import Policy
from umbridge_audit.report import Report
from umbridge_audit.tree import included, leaf_hash

FIRST = "c2sp.org/tlog-proof@v1"
MAX_RECEIPT = 2 * MAX_LINE + MAX_NOTE  # base64 of the longest line, then path and checkpoint
MAX_PATH = 63  # a tree of 2^63 leaves
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})\Z")


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt taken apart; nothing of it is verified."""

    line: str
    index: int
    path: tuple[bytes, ...]
    note: str


@dataclass(slots=True)
class ReceiptReport(Report):
    """What one entry's receipt proves: where it stands, and the fields that were disclosed with it."""

    entry: int | None = None
    shown: dict[str, JsonValue] = field(default_factory=dict)

    def to_json(self) -> dict[str, JsonValue | float]:
        return Report.to_json(self) | {"entry": self.entry, "shown": self.shown}


def write_receipt(line: str, index: int, path: Sequence[bytes], note: str) -> str:
    """The text of a receipt. ``line`` is a bundle's line of the entry (SPEC.md section 11)."""
    extra = b64encode(line.encode()).decode()
    hashes = "".join(f"{b64encode(hashed).decode()}\n" for hashed in path)
    return f"{FIRST}\nextra {extra}\nindex {index}\n{hashes}\n{note}"


def read_receipt(text: str) -> Receipt:
    """Takes a receipt apart. One spelling only; raises FormatError."""
    if len(text) > MAX_RECEIPT:
        raise FormatError("receipt too long")
    head, gap, note = text.partition("\n\n")
    lines = head.split("\n")
    if not gap or len(lines) < 3 or lines[0] != FIRST or not lines[1].startswith("extra "):
        raise FormatError("receipt lines")
    found = _INDEX.match(lines[2])
    if found is None or len(lines) - 3 > MAX_PATH:
        raise FormatError("receipt index")
    path = tuple([exactly(line) for line in lines[3:]])
    if any(len(hashed) != 32 for hashed in path):
        raise FormatError("receipt path")
    try:
        line = exactly(lines[1].removeprefix("extra ")).decode()
    except UnicodeDecodeError:
        raise FormatError("receipt extra") from None
    return Receipt(line, int(found[1]), path, note)


def exactly(text: str) -> bytes:
    """Base64 in its one spelling. Raises FormatError."""
    try:
        raw = b64decode(text, validate=True)
    except ValueError:
        raise FormatError("base64") from None
    if b64encode(raw).decode() != text:
        raise FormatError("base64")
    return raw


def verify_receipt(text: str, policy: Policy) -> ReceiptReport:
    """Checks a receipt against a policy. Never raises for what it finds.

    Level "receipt": this entry stands at this place of the log whose checkpoint the policy's key signed, and
    the fields shown are what it says. Nothing is said of other entries, or of the log after the checkpoint.
    """
    started = time.monotonic()
    report = ReceiptReport("receipt")
    try:
        _check(read_receipt(text), policy, report)
    except FormatError:
        report.add("receipt", report.entry)
    except Exception:
        report.add("verifier_error", report.entry)
    report.settle(policy)
    report.seconds = time.monotonic() - started
    if report.problems or report.not_judged:
        report.shown = {}
    return report


def _check(receipt: Receipt, policy: Policy, report: ReceiptReport) -> None:
    at = report.entry = receipt.index
    value = parse(receipt.line)
    if not isinstance(value, dict) or set(value) != {"hidden", "leaf", "open"}:
        raise FormatError("receipt entry")
    text = value["leaf"]
    if not isinstance(text, str):
        raise FormatError("receipt leaf")
    raw = text.encode()
    try:
        leaf = parse_leaf(raw)
    except FormatError:
        return report.add("leaf_format", at)
    if leaf.chain != policy.chain or leaf.gen != policy.gen:
        return report.add("other_chain", at)
    if leaf.seq != at:
        return report.add("seq_row", at)
    hashed = leaf_hash(raw)
    if at == 0 and hashed != policy.genesis:
        return report.add("genesis", at)
    try:
        found = read_slots(value["open"], value["hidden"], leaf.fields, [part.c for part in leaf.parts])
    except FormatError:
        return report.add("fields_root", at)
    if found.unknown is not None:
        report.leave(found.unknown, at)
    try:
        checkpoint = policy.read_note(receipt.note, exact=False)
    except FormatError:
        return report.add("checkpoint_signature")
    if not included(hashed, at, checkpoint.size, receipt.path, checkpoint.root):
        return report.add("inclusion", at)
    _, lines = take_apart(receipt.note)
    try:
        if policy.met(cosigners(checkpoint, lines, policy)):
            report.witnessed = report.expected = checkpoint.size
    except FormatError:
        return report.add("cosignature")
    report.entries = 1
    report.head = checkpoint.root.hex()
    report.checkpoint = checkpoint.size
    report.shown = found.values
    return None
