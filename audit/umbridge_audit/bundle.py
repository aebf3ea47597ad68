"""Reading and verifying a bundle: a stranger's half, with no key, no SQL and no trust in the file.

SPEC.md section 11. Streams: memory does not grow with the bundle.
"""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from umbridge_audit.checkpoint import Checkpoint
from umbridge_audit.entry import FormatError, JsonValue, parse, parse_leaf
from umbridge_audit.examine import SourceError
from umbridge_audit.newer import UnknownSchemaError, agrees, read_any
from umbridge_audit.policy import Policy
from umbridge_audit.report import Report
from umbridge_audit.slots import COMPARTMENTS, Openings, read_openings
from umbridge_audit.tree import Frontier, leaf_hash, root_of

FORMAT = "umbridge-bundle/2"
MAX_LINE = 4 << 20
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_FIRST_PLACE = 1 << 16  # slots are numbered by a u16; compartments stand behind them
_PLACE = {c: _FIRST_PLACE + i for i, c in enumerate(COMPARTMENTS)}
MANIFEST = {"count", "format", "origin", "policy_hash", "profile", "purpose", "range", "role"}
SHOWN = ("schema", "bundle_digest", "count", "policy_hash")  # what the export's own entry must show


def verify_bundle(path: Path, policy: Policy, since: str | None = None) -> Report:
    """Checks a bundle against a policy. Never raises for what it finds; OSError when it cannot be read.

    Level "bundle": every byte of it is covered. It does not say that the ledger has not grown since.
    ``since`` is a checkpoint that was kept: the bundle must continue it (SPEC.md section 17).
    """
    started = time.monotonic()
    report = Report("bundle")
    try:
        kept = None if since is None else _kept(since, policy, report)
        _walk(_lines(path), policy, report, kept)
    except SourceError as exc:
        report.add(exc.code, exc.seq)
    except OSError:
        raise
    except Exception:
        report.add("verifier_error")
    report.settle(policy)
    report.seconds = time.monotonic() - started
    return report


def _pieces(path: Path) -> list[Path]:
    """The regular files of a bundle, in byte order of their names. Links and devices are refused."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return [path]
    if not stat.S_ISDIR(mode):
        raise SourceError("not_a_bundle")
    found = sorted((p for p in path.iterdir() if p.name.endswith(".jsonl")), key=lambda p: p.name.encode())
    if not found or not all(stat.S_ISREG(p.lstat().st_mode) for p in found):
        raise SourceError("not_a_bundle")
    return found


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines with their newline. A line over 4 MiB, or one without its end, is a fault."""
    for piece in _pieces(path):
        with piece.open("rb") as file:
            while line := file.readline(MAX_LINE + 1):
                if len(line) > MAX_LINE:
                    raise SourceError("line_too_long")
                if not line.endswith(b"\n"):
                    raise SourceError("cut_short")
                yield line


def _object(line: bytes, seq: int | None) -> dict[str, JsonValue]:
    try:
        value = parse(line[:-1].decode())
    except (FormatError, UnicodeDecodeError):
        raise SourceError("line_format", seq) from None
    if not isinstance(value, dict):
        raise SourceError("line_format", seq)
    return value


def _kept(note: str, policy: Policy, report: Report) -> Checkpoint:
    try:
        kept = policy.read_note(note, exact=False)
    except FormatError:
        raise SourceError("kept_format") from None
    if kept.size < 1:
        raise SourceError("kept_format")
    report.since = kept.size
    return kept


def _walk(lines: Iterator[bytes], policy: Policy, report: Report, kept: Checkpoint | None) -> None:
    digest = sha256()
    first = next(lines, b"")
    manifest = _object(first or b"x", None)
    digest.update(first)
    count = _manifest(manifest, policy)
    frontier = Frontier()
    prev: bytes | None = None
    export: Openings | None = None
    note: str | None = None
    for line in lines:
        at = frontier.size
        if note is not None:
            raise SourceError("after_checkpoint", at)
        value = _object(line, at)
        keys = set(value)
        if at < count:
            digest.update(line)
        elif keys == {"checkpoint"} and isinstance(value["checkpoint"], str):
            note = value["checkpoint"]
            continue
        if keys != {"hidden", "leaf", "open"} and not (keys == {"leaf"} and at >= count):
            raise SourceError("line_keys", at)
        prev, found = _entry(value, at, prev, policy)
        if found is not None and found.unknown is not None:
            report.leave(found.unknown, at)
        if found is not None and at >= count:
            if export is not None:
                raise SourceError("export_entry", at)
            export = found
        frontier.append(prev)
        report.entries = frontier.size
        if kept is not None and kept.size == frontier.size and kept.root != frontier.root():
            raise SourceError("kept_root", 0)
    if note is None or export is None:
        raise SourceError("cut_short", frontier.size)
    _export(export, manifest, digest.hexdigest())
    try:
        checkpoint = policy.read_note(note, exact=True)
    except FormatError:
        raise SourceError("checkpoint_signature") from None
    if (checkpoint.size, checkpoint.root) != (frontier.size, frontier.root()):
        raise SourceError("checkpoint_root")
    if kept is not None and kept.size > frontier.size:
        raise SourceError("kept_ahead", frontier.size)
    report.head = checkpoint.root.hex()
    report.checkpoint = checkpoint.size


def _manifest(manifest: dict[str, JsonValue], policy: Policy) -> int:
    count = manifest.get("count")
    texts = ("format", "origin", "policy_hash", "profile", "purpose", "role")
    if set(manifest) != MANIFEST or type(count) is not int or count < 1 or manifest["format"] != FORMAT:
        raise SourceError("manifest")
    if not all(isinstance(manifest[key], str) for key in texts) or manifest["range"] != [0, count - 1]:
        raise SourceError("manifest")
    if manifest["origin"] != policy.origin:
        raise SourceError("other_log", 0)
    return count


def _entry(
    value: dict[str, JsonValue], at: int, prev: bytes | None, policy: Policy
) -> tuple[bytes, Openings | None]:
    """One line's leaf hash, and its openings when it has any to show."""
    text = value["leaf"]
    if not isinstance(text, str):
        raise SourceError("line_format", at)
    raw = text.encode()
    try:
        leaf = parse_leaf(raw)
    except FormatError:
        raise SourceError("leaf_format", at) from None
    hashed = leaf_hash(raw)
    if leaf.chain != policy.chain or leaf.gen != policy.gen:
        raise SourceError("other_chain", at)
    if leaf.seq != at:
        raise SourceError("seq_gap", at)
    if (hashed != policy.genesis) if prev is None else (leaf.prev != prev):
        raise SourceError("genesis" if prev is None else "prev", at)
    if "open" not in value:
        return hashed, None
    try:
        found = read_slots(value["open"], value["hidden"], leaf.fields, [part.c for part in leaf.parts])
    except FormatError:
        raise SourceError("fields_root", at) from None
    return hashed, found


def _read(rows: list[JsonValue]) -> Openings:
    try:
        return read_openings(rows)
    except UnknownSchemaError as exc:
        found = Openings()
        found.unknown = exc.name
        found.values, found.commitments, _ = read_any(rows)
        return found


def read_slots(
    opened: JsonValue, hidden: JsonValue, fields: bytes, compartments: Sequence[str] = ()
) -> Openings:
    """Shown and hidden slots together: each slot or its whole compartment once, and the leaf's root.

    ``compartments``, those of the leaf's parts, are for kinds that are not known."""
    if not isinstance(opened, list) or not isinstance(hidden, list):
        raise FormatError("slots")
    found = _read(opened)
    commitments = dict(found.commitments)
    roots: dict[str, bytes] = {}
    last = -1
    for row in hidden:
        if not isinstance(row, list) or len(row) != 2:
            raise FormatError("hidden")
        at, digest = row
        if not isinstance(digest, str) or _HASH.match(digest) is None:
            raise FormatError("hidden")
        # Slots by their numbers, then compartments in their order: one spelling.
        place = at if type(at) is int else _PLACE.get(at, -1) if isinstance(at, str) else -1
        if place <= last or place in commitments or (type(at) is int and at >= _FIRST_PLACE):
            raise FormatError("hidden")
        last = place
        if isinstance(at, str):
            roots[at] = bytes.fromhex(digest)
        else:
            commitments[place] = bytes.fromhex(digest)
    schema = found.schema
    if found.unknown is not None:
        if agrees(commitments, roots, compartments, fields) is False:
            raise FormatError("fields")
        return found
    if schema is None:
        # Nothing is shown, so all that stands here is the leaf's two lowest rows of hashes.
        if sorted(commitments) != list(range(len(commitments))):
            raise FormatError("slot numbers")
        whole = [commitments[k] for k in range(len(commitments))] + list(roots.values())
    else:
        due = {k for c, numbers in schema.of.items() if c not in roots for k in numbers}
        if set(commitments) != due or not set(roots) <= set(schema.compartments):
            raise FormatError("slot numbers")
        whole = [commitments[k] for k in schema.of["open"]]
        for c in schema.compartments:
            whole.append(roots[c] if c in roots else root_of([commitments[k] for k in schema.of[c]]))
    if root_of(whole) != fields:
        raise FormatError("fields")
    return found


def _export(export: Openings, manifest: dict[str, JsonValue], digest: str) -> None:
    """Holds the bundle's own access.export entry against the bundle."""
    values = export.values
    name = export.unknown or ("" if export.schema is None else export.schema.name)
    if not name.startswith("access.export/") or not set(SHOWN) <= set(values):
        raise SourceError("export_entry")
    if values["bundle_digest"] != digest:
        raise SourceError("bundle_digest")
    if values["count"] != manifest["count"] or values["policy_hash"] != manifest["policy_hash"]:
        raise SourceError("manifest")
    for slot, key in (("purpose", "purpose"), ("query", "profile")):
        if slot in values and values[slot] != manifest[key]:
            raise SourceError("manifest")
