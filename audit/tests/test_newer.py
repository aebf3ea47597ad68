"""A verifier meets what a later version wrote: not judged and said so, while every changed byte is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from breaking import blob, digit, flip, leaf, opened, sql
from click.testing import CliRunner
from inmemory import Made, faults, held, open_entry, relinked
from umbridge_audit import newer, slots
from umbridge_audit.bundle import verify_bundle
from umbridge_audit.cli import main
from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft, FormatError, canonical, parse_leaf
from umbridge_audit.export import entry_line, export
from umbridge_audit.keys import Keyring
from umbridge_audit.newer import agrees, is_name
from umbridge_audit.proof import read_receipt, verify_receipt, write_receipt
from umbridge_audit.redact import AccessTable
from umbridge_audit.slots import BY_NAME, SCHEMAS, Schema, read_openings
from umbridge_audit.store import Broken, open_readonly
from umbridge_audit.store.receipts import take_receipt
from umbridge_audit.tree import root_of

LATER = Schema(
    "determination",
    "actor state",
    {"ops": "row plugin rules", "ident": "visit mrn", "clin": "outcome rationale closes", "sens": "tags"},
    9,
)
NEW = Schema("triage.opened", "actor", {"ops": "row"})
SAID = {
    "actor": "umbridge",
    "state": "FINAL",
    "row": 5,
    "plugin": "zztest",
    "rules": "2027.1",
    "mrn": "ZZTEST-MRN-4711",
    "outcome": "MEETS",
    "closes": True,
}


class All:
    """A viewer who sees everything but what is named."""

    def __init__(self, *hidden: str) -> None:
        self.hidden = hidden

    def may(self, compartment: str, field: str) -> str:
        return "hide" if compartment in self.hidden or field in self.hidden else "show"

    def opens(self, compartment: str) -> bool:
        return compartment not in self.hidden


@pytest.fixture
def future(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The table of a later version, until it is undone."""
    with monkeypatch.context() as patch:
        for schema in (LATER, NEW):
            patch.setitem(SCHEMAS, schema.kind, schema)
            patch.setitem(BY_NAME, schema.name, schema)
        yield patch


@pytest.fixture
def written(full_lab: Any, tmp_path: Path, future: pytest.MonkeyPatch, message: Any) -> Any:
    """The table's ledger (22 entries) gone on with by a later version: 22 and 24 are its own kinds."""
    lab = full_lab.copy(tmp_path / "later")
    lab.reopen()
    lab.write(Draft("determination", dict(SAID)))  # type: ignore[arg-type]
    lab.write(message(5))
    lab.write(Draft("triage.opened", {"actor": "umbridge", "row": 5}))
    lab.ledger.checkpoint()
    assert lab.verify("full").verdict == "PASS"
    future.undo()
    return lab


@pytest.mark.parametrize("level", ["keyless", "full"])
def test_a_later_kind_is_not_judged_and_the_verdict_says_so(written: Any, level: Any) -> None:
    report = written.verify(level)
    assert (report.verdict, report.exit_code, report.problems) == ("INCOMPLETE", 4, [])
    assert report.not_judged == {"determination/9": (1, 22), "triage.opened/1": (1, 24)}
    said = report.to_json()
    assert said["not_judged"] == {"determination/9": 1, "triage.opened/1": 1}
    assert said["first_bad_seq"] is None and said["entries"] == 25
    assert report.checkpoint == 25


def test_the_spine_needs_no_kinds(written: Any) -> None:
    report = written.verify("spine")
    assert report.verdict == "PASS" and "not_judged" not in report.to_json()


CHANGES: dict[str, tuple[Callable[[Any], object], int, str]] = {
    "a value in the open": (opened(22, b'"FINAL"', b'"FINAl"'), 22, "fields_root"),
    "the kind, to one that is known": (opened(24, b"triage.opened/1", b"clock.step/1"), 24, "fields_root"),
    "the number of the kind": (opened(22, b"determination/9", b"determination/8"), 22, "fields_root"),
    "a known entry, to a later kind": (opened(23, b"received/1", b"received/2"), 23, "fields_root"),
    "a name": (opened(22, b'"state"', b'"stale"'), 22, "fields_root"),
    "a space": (opened(22, b'"state",', b'"state", '), 22, "open_slots"),
    "an unordered slot": (opened(22, b"[[0,", b"[[1,"), 22, "open_slots"),
    "a kind that can be none": (opened(22, b"determination/9", b"determination/0"), 22, "open_slots"),
    "a compartment's root": (
        lambda lab: blob(lab, "ledger_entry", "closed", "seq = 22", flip(3)), 22, "fields_root",
    ),
    "a root cut off": (
        lambda lab: blob(lab, "ledger_entry", "closed", "seq = 22", lambda b: b[:-32]), 22, "closed_slots",
    ),
    "a ciphertext": (
        lambda lab: blob(lab, "ledger_part", "ct", "seq = 22 AND c = 'clin'", flip(9)), 22, "part_hash",
    ),
    "a ciphertext gone": (lambda lab: lab.sql("DELETE FROM ledger_part WHERE seq = 24"), 24, "part_missing"),
    "the leaf": (
        lambda lab: blob(lab, "ledger_entry", "leaf", "seq = 22", digit(40)), 22, "fields_root",
    ),
    "the kid": (leaf(22, b'"kid":"ops.2', b'"kid":"ops.1'), 22, "key_unknown"),
    "the row": (
        sql("DELETE FROM ledger_entry WHERE seq = 22", "DELETE FROM ledger_part WHERE seq = 22"),
        22, "seq_gap",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_no_change_hides_behind_a_kind_that_is_not_known(written: Any, name: str, tmp_path: Path) -> None:
    change, first, code = CHANGES[name]
    written.sql()
    change(written)
    report = written.verify()
    assert (report.verdict, report.exit_code, report.first_bad_seq) == ("FAIL", 1, first)
    assert code in {problem.code for problem in report.problems}


def test_every_byte_of_the_open_slots_counts(written: Any) -> None:
    written.sql()
    text = written.value("SELECT open FROM ledger_entry WHERE seq = 22")
    for at in range(0, len(text), 3):
        wrong = text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
        written.sql(("UPDATE ledger_entry SET open = ? WHERE seq = 22", (wrong,)))
        assert written.verify().verdict == "FAIL", at


def test_a_part_that_does_not_open_is_found_with_the_keys(written: Any) -> None:
    """Another ciphertext under a leaf and tree made anew for it: the part itself tells."""
    made = held(written)
    record = made.records[22]
    part = next(each for each in parse_leaf(record.leaf).parts if each.c == "clin")
    other = flip(9)(record.parts["clin"])
    raw = record.leaf.replace(part.h.encode(), newer.sha256(other).hexdigest().encode())
    records = [*made.records[:22], replace(record, leaf=raw, parts={**record.parts, "clin": other})]
    changed = made.of(relinked([*records, *made.records[23:]], 22))
    assert changed.said().verdict == "INCOMPLETE"
    assert faults(changed.said(level="full"))[0] == ("part_sealed", 22)


# --- what an entry that was not judged may have done ----------------------------------------------------


def later_key(made: Made, name: str) -> Made:
    """The ledger with each entry that introduces a key of another kind, by its name."""
    records = []
    for record in made.records:
        if '"key.create/1"' in record.open:
            schema = Schema(
                "key.import" if name == "key.import/1" else "key.create", "actor kid alg commit", {}, 7
            )
            values = {row[2]: row[3] for row in json.loads(record.open)}
            texts = schema.texts({k: v for k, v in values.items() if k not in ("schema", "ts")})
            texts[0], texts[1] = canonical(schema.name), canonical(values["ts"])
            column = slots.open_text(schema, ["A" * 43 + "="] * 6, texts)
            found = newer.read_any(json.loads(column))[1]
            value = json.loads(record.leaf) | {"fields": root_of(list(found.values())).hex()}
            record = replace(record, open=column, leaf=canonical(value).encode())  # noqa: PLW2901
        records.append(record)
    return made.of(relinked(records))


@pytest.mark.parametrize("name", ["key.create/7", "key.import/1"])
def test_keys_may_have_been_introduced_by_what_was_not_judged(full_lab: Any, name: str) -> None:
    report = later_key(held(full_lab), name).said()
    assert (report.verdict, faults(report)) == ("INCOMPLETE", [])
    assert sum(count for count, _ in report.not_judged.values()) == 6


def test_a_later_handover_is_not_missed_and_a_missing_one_is(full_lab: Any) -> None:
    from umbridge_audit.handover import Handover, Pinned

    owed = Handover(5, held(full_lab).policy.log, held(full_lab).policy.log, bytes(128))
    for at, name, wanted in (
        (5, "key.handover/2", []),
        (4, "key.handover/2", [("handover", 5)]),
        (5, "triage.opened/1", [("handover", 5)]),
    ):
        said: list[tuple[str, int]] = []
        pinned = Pinned([owed], 0)
        pinned.pass_by(at, name)
        pinned.finish(9, lambda code, seq, said=said: said.append((code, seq)))
        assert said == wanted


def test_a_first_entry_of_a_later_kind_is_the_policys_by_its_hash(full_lab: Any) -> None:
    made = held(full_lab)
    first = open_entry("audit.status", state="x")
    text = first.open.replace("audit.status/1", "genesis/2")
    # fields anew, for the new name
    found = newer.read_any(json.loads(text))[1]
    value = json.loads(made.records[0].leaf) | {"fields": root_of(list(found.values())).hex(), "parts": []}
    records = [replace(made.records[0], open=text, closed=b"", leaf=canonical(value).encode())]
    pinned = made.of(relinked([*records, *made.records[1:]]), pin=True)
    assert pinned.said().verdict == "INCOMPLETE"
    assert pinned.of(pinned.records).said().verdict == "INCOMPLETE"
    assert ("genesis", 0) in faults(made.of(relinked([*records, *made.records[1:]])).said())


# --- bundles and receipts -------------------------------------------------------------------------------


@pytest.fixture
def exported(full_lab: Any, tmp_path: Path, future: pytest.MonkeyPatch) -> tuple[Any, Path]:
    """A bundle that a later version made, of a ledger with a later kind in it."""
    lab = full_lab.copy(tmp_path / "later")
    lab.reopen()
    lab.write(Draft("determination", dict(SAID)))  # type: ignore[arg-type]
    lab.ledger.checkpoint()
    path, table = tmp_path / "bundle.jsonl", AccessTable.load()
    who = Viewer("zztest-os", "zztest-user", ("compliance_auditor",), "os-account")
    export(
        lab.ledger,
        table.permission(who.roles, "HCOMPL"),
        table,
        viewer=who,
        purpose="HCOMPL",
        reason="",
        profile="role:compliance_auditor",
        out=path,
        commit=lab.commit,
        checkpoint=lab.ledger.checkpoint,
    )
    assert verify_bundle(path, lab.policy).verdict == "PASS"
    future.undo()
    return lab, path


def change_line(path: Path, at: int, change: Callable[[dict[str, Any]], object]) -> None:
    lines = path.read_text().splitlines()
    value = json.loads(lines[at + 1])
    change(value)
    lines[at + 1] = canonical(value)
    path.write_text("\n".join(lines) + "\n")


def test_a_bundle_with_a_later_kind_is_not_judged_there(exported: tuple[Any, Path], tmp_path: Path) -> None:
    lab, path = exported
    report = verify_bundle(path, lab.policy)
    assert (report.verdict, report.problems) == ("INCOMPLETE", [])
    assert report.not_judged == {"determination/9": (1, 22)}
    (tmp_path / "p").write_text(lab.policy.text())
    ran = CliRunner().invoke(main, [str(path), "--policy", str(tmp_path / "p")])
    assert ran.exit_code == 4 and ran.stdout.startswith("INCOMPLETE  level bundle")
    assert "schema_unknown determination/9: 1 entries not judged, the first at entry 22" in ran.stderr
    ran = CliRunner().invoke(main, [str(path), "--policy", str(tmp_path / "p"), "--json"])
    assert ran.exit_code == 4 and json.loads(ran.stdout)["not_judged"] == {"determination/9": 1}


def shown_changed(value: dict[str, Any]) -> None:
    value["open"][-1][3] = "changed"


def posed(value: dict[str, Any]) -> None:
    value["open"][0][3] = "determination/8"


@pytest.mark.parametrize("change", [shown_changed, posed])
@pytest.mark.parametrize("at", [8, 22])
def test_no_changed_line_hides_behind_a_later_kind(exported: tuple[Any, Path], at: int, change: Any) -> None:
    lab, path = exported
    change_line(path, at, change)
    report = verify_bundle(path, lab.policy)
    assert (report.verdict, faults(report)) == ("FAIL", [("fields_root", at)])


@pytest.mark.parametrize(
    "hidden", [(), ("clin",), ("sens",), ("ident", "sens"), ("plugin", "clin"), ("ops", "sens")]
)
def test_what_a_line_shows_of_a_later_kind_is_held_against_its_leaf(
    full_lab: Any, tmp_path: Path, future: pytest.MonkeyPatch, hidden: tuple[str, ...]
) -> None:
    """However its slots are divided among its compartments: some division gives the leaf's root, or none."""
    lab = full_lab.copy(tmp_path / "later")
    lab.reopen()
    lab.write(Draft("determination", dict(SAID)))  # type: ignore[arg-type]
    lab.ledger.checkpoint()
    record = lab.ledger.record(22)
    line = json.loads(entry_line(lab.ledger, record, All(*hidden), ("schema", "ts")))
    future.undo()
    found = parse_leaf(record.leaf)

    def said(value: dict[str, Any]) -> bool | None:
        _, commitments, _ = newer.read_any(value["open"])
        roots = {}
        for at, digest in value["hidden"]:
            if isinstance(at, str):
                roots[at] = bytes.fromhex(digest)
            else:
                commitments[at] = bytes.fromhex(digest)
        return agrees(commitments, roots, [part.c for part in found.parts], found.fields)

    assert said(line) is True
    for place in range(len(line["open"])):
        if place:
            wrong = json.loads(json.dumps(line))
            wrong["open"][place][3] = "changed"
            assert said(wrong) is False
            gone = json.loads(json.dumps(line))
            del gone["open"][place]
            assert said(gone) is False
    wrong = json.loads(json.dumps(line))
    wrong["hidden"].append(["fin", "00" * 32])
    assert said(wrong) is False


def test_a_receipt_of_a_later_kind_shows_nothing(written: Any, future: pytest.MonkeyPatch) -> None:
    for schema in (LATER, NEW):
        future.setitem(BY_NAME, schema.name, schema)
    with open_readonly(written.db, Keyring.open(written.keys)) as source:
        text = take_receipt(source, 22, All("sens", "clin"))  # type: ignore[arg-type]
    assert verify_receipt(text, written.policy).shown["rules"] == "2027.1"
    future.undo()
    report = verify_receipt(text, written.policy)
    assert (report.verdict, report.shown, report.not_judged) == (
        "INCOMPLETE",
        {},
        {"determination/9": (1, 22)},
    )
    receipt = read_receipt(text)
    forged = write_receipt(receipt.line.replace("FINAL", "FINAl"), 22, receipt.path, receipt.note)
    assert verify_receipt(forged, written.policy).verdict == "FAIL"
    assert faults(verify_receipt(forged, written.policy)) == [("fields_root", 22)]


def test_too_many_divisions_are_left_and_never_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = {k: bytes([k]) * 32 for k in range(9)}
    fields = root_of(
        [
            hashes[0],
            hashes[1],
            root_of([hashes[k] for k in range(2, 5)]),
            root_of([hashes[k] for k in range(5, 9)]),
        ]
    )
    assert agrees(hashes, {}, ["ops", "clin"], fields) is True
    assert agrees(hashes, {}, ["ops", "clin"], bytes(32)) is False
    monkeypatch.setattr(newer, "MOST_DIVISIONS", 28)
    assert agrees(hashes, {}, ["ops", "clin"], fields) is True
    monkeypatch.setattr(newer, "MOST_DIVISIONS", 27)
    assert agrees(hashes, {}, ["ops", "clin"], fields) is None


# --- names, the writer, the other verifier ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("determination/3", True), ("a.b_c.d/9999", True), ("determination/0", False),
        ("determination/01", False),
        ("Determination/3", False), ("determination", False), ("determination/", False), ("/3", False),
        ("determination/3\n", False), ("determination/10000", False), ("a.b.c.d/1", False), ("a..b/1", False),
        (f"{'a' * 41}/1", False), ("d\u00e9/1", False), ("determination/3.0", False),
    ],
)  # fmt: skip
def test_only_a_name_can_be_a_later_kinds(name: str, good: bool) -> None:
    assert is_name(name) is good
    row = [0, "A" * 43 + "=", "schema", name]
    with pytest.raises(FormatError) as caught:
        read_openings([row])
    assert isinstance(caught.value, newer.UnknownSchemaError) is good


def test_a_known_kind_that_is_malformed_stays_a_failure(written: Any) -> None:
    written.sql()
    opened(23, b'"feed"', b'"feet"')(written)
    report = written.verify()
    assert report.verdict == "FAIL" and ("open_slots", 23) in faults(report)


def test_the_pen_shows_and_signs_nothing_of_what_it_cannot_read(
    written: Any, tmp_path: Path, future: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Broken, match="entry 22: determination/9 is of a later version; run that one"):
        written.ledger.reveal(22)
    for schema in (LATER, NEW):
        future.setitem(SCHEMAS, schema.kind, schema)
        future.setitem(BY_NAME, schema.name, schema)
    written.write(Draft("triage.opened", {"actor": "umbridge"}))
    twin = written.copy(tmp_path / "twin")
    future.undo()
    with pytest.raises(Broken, match=r"entry 25: triage\.opened/1 is of a later version; run that one"):
        twin.reopen()


def test_the_second_verifier_says_the_same(written: Any, oracle: ModuleType, spec_text: str) -> None:
    later: dict[str, int] = {}
    assert oracle.ledger(written.db, written.policy.text(), spec_text, later=later) == 25
    assert later == {"determination/9": 1, "triage.opened/1": 1}
    for name in ("a value in the open", "the number of the kind", "a compartment's root", "a ciphertext"):
        broken = written.copy(written.folder.parent / name.replace(" ", "-"))
        broken.sql()
        CHANGES[name][0](broken)
        with pytest.raises((ValueError, KeyError)):
            oracle.ledger(broken.db, broken.policy.text(), spec_text, later={})


def test_kinds_without_end_do_not_fill_the_report() -> None:
    from umbridge_audit.report import OTHERS, Report

    report = Report("keyless")
    for n in range(1200):
        report.leave(f"kind_{n}/1", n)
    assert len(report.not_judged) == 1001 and report.not_judged[OTHERS] == (200, 1000)
