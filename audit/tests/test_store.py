"""The writer: what it writes verifies, what it refuses changes nothing, and it comes back after a crash."""

# ruff: noqa: S608  table and column names are this file's own constants

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree
from umbridge_audit.entry import Draft
from umbridge_audit.examine import SourceError
from umbridge_audit.keys import KeyRefusedError, Keyring
from umbridge_audit.slots import SCHEMAS
from umbridge_audit.store import (
    Broken,
    Ledger,
    LedgerError,
    Rollback,
    made,
    open_readonly,
    tables,
    transaction,
)
from umbridge_audit.store.reread import read_back

Make = Callable[[int], Draft]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    ours = {"genesis", "key.create", "key.rotate", "key.handover"}  # not any values will do in these
    schema = SCHEMAS[draw(st.sampled_from(sorted(set(SCHEMAS) - ours)))]
    names = draw(st.lists(st.sampled_from(schema.names[2:]), unique=True))
    return Draft(schema.kind, {name: draw(json_values) for name in names})


def test_any_drafts_verify_and_come_back(lab: Any, oracle: ModuleType, spec_text: str) -> None:
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(drafts(), min_size=1, max_size=4))
    def run(batch: list[Draft]) -> None:
        receipts = lab.write(*batch)
        for draft, receipt in zip(batch, receipts, strict=True):
            shown = {k: v for group in lab.ledger.reveal(receipt.seq).values() for k, v in group.items()}
            for name, value in draft.values.items():
                assert shown[name] == value
            assert all(shown[n] is None for n in set(shown) - set(draft.values) - {"schema", "ts"})
        lab.ledger.checkpoint()

    run()
    report = lab.verify("full")
    assert (report.verdict, report.problems) == ("PASS", [])
    keys = {r.kid: lab.keyring._unwrap(r) for r in lab.keyring._records.values()}
    assert oracle.ledger(lab.db, lab.policy.text(), spec_text, keys) == report.entries == lab.ledger.size


def test_root_is_pymerkles(full_lab: Any) -> None:
    tree = InmemoryTree(algorithm="sha256")
    with open_readonly(full_lab.db) as source:
        for record in source.records():
            tree.append_entry(record.leaf)
    assert tree.get_root() == full_lab.ledger.root


@pytest.mark.parametrize("level", ["spine", "keyless", "full"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_negative_control(full_lab: Any, level: Any, jobs: int) -> None:
    report = full_lab.verify(level, jobs=jobs)
    assert (report.verdict, report.level, report.exit_code) == ("PASS", level, 0)
    assert list(report.to_json()) == [
        "verdict",
        "level",
        "entries",
        "first_bad_seq",
        "head",
        "checkpoint",
        "unanchored",
        "seconds",
    ]
    assert report.head == full_lab.ledger.root.hex() and report.unanchored == 0
    assert report.entries == report.checkpoint == full_lab.ledger.size


def test_a_message_comes_after_the_keys_it_needs(lab: Any, message: Make) -> None:
    before = lab.ledger.size
    (receipt,) = lab.write(message(1))
    kinds = [row["kind"] for row in lab.ledger.open_slots(before)]
    assert kinds == ["key.create", "message.received"] and receipt.seq == before + 1
    assert lab.write(message(2))[0].seq == receipt.seq + 1


def test_a_key_made_for_a_sealed_row_is_announced_too(lab: Any, message: Make) -> None:
    sealed = lab.keyring.seal("raw", b"MSH|", b"row 1", datetime.now(UTC))
    lab.write(message(1))
    kids = [row["kid"] for row in lab.ledger.open_slots(kinds=["key.create"])]
    assert sorted(str(kid).split(".")[0] for kid in kids) == ["ops", "raw", "token"]
    assert lab.keyring.unseal("raw", sealed, b"row 1") == b"MSH|"


def test_refused_drafts_change_nothing(lab: Any, message: Make) -> None:
    size, root = lab.ledger.size, lab.ledger.root
    good = message(1)
    for bad in (
        Draft("nonsense", {}),
        Draft("message.received", {"no_such_slot": 1}),
        Draft("message.received", {"ts": "2026"}),
        Draft("message.received", {"row": 2**53}),
        Draft("message.received", {"row": 1.5}),  # type: ignore[dict-item]
        Draft("message.received", {"sender": "\ud800"}),
        Draft("message.received", {"sender": {"é": 1}}),
    ):
        with pytest.raises(ValueError), transaction(lab.connection):
            lab.ledger.append([good, bad])
    assert (lab.ledger.size, lab.ledger.root) == (size, root)
    lab.write(good)
    lab.ledger.checkpoint()
    assert lab.verify("full").verdict == "PASS"


def test_append_needs_the_callers_transaction_and_checkpoint_its_own(lab: Any, message: Make) -> None:
    with pytest.raises(LedgerError):
        lab.ledger.append([message(1)])
    with transaction(lab.connection), pytest.raises(LedgerError):
        lab.ledger.checkpoint()
    assert lab.ledger.checkpoint() is False


def test_unanchored_counts_and_alone_is_no_failure(lab: Any, message: Make) -> None:
    lab.write(message(1), message(2))
    report = lab.verify()
    assert (report.verdict, report.unanchored) == ("PASS", lab.ledger.unanchored)
    assert report.unanchored == 3
    assert lab.ledger.checkpoint() and lab.ledger.unanchored == 0


def test_reopen_goes_on_where_it_stopped(lab: Any, message: Make) -> None:
    lab.write(message(1))
    head, size = lab.ledger.root, lab.ledger.size
    lab.reopen()
    assert (lab.ledger.root, lab.ledger.size, lab.ledger.unanchored) == (head, size, 2)
    lab.write(message(2))
    lab.ledger.checkpoint()
    lab.reopen()
    assert lab.verify("full").verdict == "PASS"


def test_a_rolled_back_transaction_is_not_there_after_reopening(lab: Any, message: Make) -> None:
    size = lab.ledger.size
    lab.connection.execute("BEGIN IMMEDIATE")
    lab.ledger.append([message(1)])
    lab.connection.rollback()
    lab.reopen()
    assert lab.ledger.size == size
    lab.write(message(1))  # the key of the lost transaction is announced again, or its first use would fail
    lab.ledger.checkpoint()
    assert lab.verify("full").verdict == "PASS"


def test_missing_anchor_line_is_added_and_a_torn_one_finished(lab: Any, message: Make) -> None:
    lab.write(message(1))
    lab.ledger.checkpoint()
    whole = lab.anchor.read_bytes()
    first = whole.index(b"\n") + 1
    for left in (whole[:first], whole[: first + 20], whole[:-1]):
        lab.anchor.write_bytes(left)
        lab.reopen()
        assert lab.anchor.read_bytes() == whole


def test_open_refuses_what_does_not_fit(lab: Any, message: Make, tmp_path: Path) -> None:
    lab.write(message(1))
    old = tmp_path / "old.db"
    with sqlite3.connect(lab.db) as db, sqlite3.connect(old) as to:
        db.backup(to)
    for n in range(2):
        lab.write(message(2 + n))
        lab.ledger.checkpoint()
    whole = lab.anchor.read_bytes()
    lab.anchor.write_bytes(whole.split(b"\n", 1)[0] + b"\n")
    with pytest.raises(Rollback):
        lab.reopen()
    lab.anchor.unlink()
    with pytest.raises(Rollback):
        lab.reopen()
    lab.anchor.write_bytes(whole.replace(b"genhosp", b"genhasp"))
    with pytest.raises(Rollback):
        lab.reopen()
    lab.anchor.write_bytes(whole)
    lab.reopen()
    lab.connection.close()
    shutil.copy(old, lab.db)
    with pytest.raises(Rollback):
        lab.reopen()
    assert lab.anchor.read_bytes() == whole


def test_verify_before_sign(lab: Any, message: Make) -> None:
    """Rows that changed between append and checkpoint are not signed."""
    lab.write(message(1))
    lab.sql("UPDATE ledger_part SET ct = zeroblob(length(ct))")
    signed = lab.value("SELECT count(*) FROM ledger_checkpoint")
    with pytest.raises(Broken):
        lab.ledger.checkpoint()
    assert lab.value("SELECT count(*) FROM ledger_checkpoint") == signed


def test_the_tables_as_sql_are_what_their_classes_say() -> None:
    assert tables.statements() == made.STATEMENTS


def test_the_tables_are_append_only(full_lab: Any) -> None:
    connection = full_lab.connect()
    for table, column in (("ledger_entry", "seq"), ("ledger_part", "c"), ("ledger_checkpoint", "n")):
        for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"), transaction(connection):
                connection.execute(statement)
    connection.close()


def test_create_refuses_a_second_ledger(lab: Any, tmp_path: Path) -> None:
    kwargs: dict[str, Any] = {"org": "genhosp", "chain": "adt-1", "facility": "G", "software": "s"}
    with pytest.raises(LedgerError):
        Ledger.create(lab.connection, lab.keyring, anchor=tmp_path / "other", **kwargs)
    with pytest.raises(LedgerError):
        Ledger.create(lab.connection, lab.keyring, anchor=lab.anchor, **kwargs)
    with pytest.raises(ValueError, match="org and chain"):
        Ledger.create(lab.connection, lab.keyring, anchor=tmp_path / "other", **kwargs | {"org": "Gen Hosp"})


def test_another_signing_key_is_refused(lab: Any) -> None:
    (lab.keys / "log.key").write_bytes(bytes(32))
    with pytest.raises(KeyRefusedError, match=r"log\.key"):
        lab.reopen()


def test_equal_values_leave_unequal_traces(lab: Any, message: Make) -> None:
    """Salts, nonces and keys' uses are fresh: nothing of an entry repeats in its twin (A48)."""
    a, b = lab.write(message(7), message(7))
    one, two = lab.ledger.record(a.seq), lab.ledger.record(b.seq)
    assert one.parts["ops"] != two.parts["ops"]
    cells = [record.closed[i : i + 32] for record in (one, two) for i in range(0, len(record.closed), 32)]
    assert len(set(cells)) == len(cells)
    salts = [row[1] for record in (one, two) for rows in lab.ledger.openings(record).values() for row in rows]
    assert len(set(salts)) == len(salts) and all(len(salt) == 44 for salt in salts)


def test_presence_and_short_lengths_do_not_show(lab: Any) -> None:
    """A49: an absent slot and a present one, a short value and a longer one, look alike."""
    a, b = lab.write(
        Draft("determination", {"actor": "x"}),
        Draft("determination", {"actor": "x", "mrn": "ZZTEST1", "tags": []}),
    )
    one, two = lab.ledger.record(a.seq), lab.ledger.record(b.seq)
    assert len(one.leaf) == len(two.leaf) and len(one.closed) == len(two.closed)
    assert {c: len(ct) for c, ct in one.parts.items()} == {c: len(ct) for c, ct in two.parts.items()}


def test_no_plaintext_in_the_file(full_lab: Any, canaries: tuple[str, ...]) -> None:
    raw = b"".join(p.read_bytes() for p in full_lab.db.parent.iterdir())
    assert raw and not any(canary.encode() in raw for canary in canaries)


def test_a_reader_without_keys_reveals_nothing(full_lab: Any) -> None:
    with open_readonly(full_lab.db) as source, pytest.raises(KeyRefusedError):
        source.reveal(source.length() - 1)
    with open_readonly(full_lab.db, Keyring.open(full_lab.keys)) as source:
        assert source.reveal(source.length() - 1, ["fin"])["fin"]["payer_class"] == "MEDICARE_FFS"
        with pytest.raises(LookupError):
            source.record(source.length())
        with pytest.raises(LookupError):
            source.record(-1)


def test_records_by_range(full_lab: Any) -> None:
    with open_readonly(full_lab.db) as source:
        n = source.length()
        whole = list(source.records())
        assert [r.seq for r in whole] == list(range(n))
        for start in range(n):
            assert list(source.records(start)) == whole[start:]
            for stop in range(n + 2):
                assert list(source.records(start, stop)) == whole[start:stop]


def test_a_transaction_begun_on_the_driver_counts_as_open(lab: Any, message: Make) -> None:
    raw = lab.connection
    raw.execute("BEGIN IMMEDIATE")
    written = lab.ledger.append([message(1)])[0]
    with pytest.raises(LedgerError, match="without an open transaction"):
        lab.ledger.checkpoint()
    raw.execute("COMMIT")
    assert lab.ledger.checkpoint()
    assert not raw.in_transaction
    assert (lab.ledger.size, lab.ledger.unanchored) == (written.seq + 1, 0)
    assert lab.verify("full").verdict == "PASS"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=json_values)
def test_values_have_the_spelling_of_the_librarys_encoder(value: Any) -> None:
    schema = SCHEMAS["config.change"]
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert schema.texts({"detail": value})[schema.number["detail"]] == text


TAMPERINGS = (
    "UPDATE ledger_entry SET leaf = CAST(replace(CAST(leaf AS TEXT), '2}}', '3}}') AS BLOB) WHERE seq = {0}",
    "UPDATE ledger_entry SET open = replace(open, 'umbridge', 'mallory') WHERE seq = {0}",
    "UPDATE ledger_entry SET open = replace(open, ',', ', ') WHERE seq = {0}",
    "UPDATE ledger_entry SET closed = zeroblob(length(closed)) WHERE seq = {0}",
    "UPDATE ledger_entry SET closed = CAST(closed || x'00' AS BLOB) WHERE seq = {0}",
    "UPDATE ledger_entry SET seq = seq + 9 WHERE seq = {0}",
    "DELETE FROM ledger_entry WHERE seq = {0}",
    "UPDATE ledger_part SET ct = CAST(ct || x'00' AS BLOB) WHERE seq = {0} AND c = 'ops'",
    "UPDATE ledger_part SET c = 'raw' WHERE seq = {0} AND c = 'ops'",
    "DELETE FROM ledger_part WHERE seq = {0} AND c = 'ops'",
    "INSERT INTO ledger_part VALUES ({0}, 'raw', x'00')",
    "INSERT INTO ledger_part VALUES ({0} + 9, 'ops', x'00')",
)


@pytest.mark.parametrize("sql", TAMPERINGS)
def test_rows_that_changed_since_they_were_appended_are_not_signed(
    lab: Any, message: Make, determination: Make, sql: str
) -> None:
    receipt = lab.write(message(1), determination(2), message(3))[1]
    ledger = lab.ledger
    short = read_back(ledger, ledger._checker, ledger._signed, ledger._signed_head)
    assert short is not None  # the short way is taken for rows as they were written
    assert (short[0].root(), short[1]) == (ledger.root, ledger._head)
    long = ledger._reread()
    assert (long[0].root(), long[1]) == (ledger.root, ledger._head)
    raw = lab.connection
    for table in ("ledger_entry", "ledger_part"):
        for verb in ("update", "delete"):
            raw.execute(f"DROP TRIGGER {table}_no_{verb}")
    raw.execute(sql.format(receipt.seq))
    raw.commit()
    assert read_back(ledger, ledger._checker, ledger._signed, ledger._signed_head) is None
    ledger.read_back(receipt.seq + 1)  # ahead of time it says nothing, and passes over nothing
    with pytest.raises((Broken, SourceError)):
        ledger.checkpoint()


def test_a_checkpoint_after_rows_were_read_back_ahead_is_the_same(
    lab: Any, message: Make, determination: Make
) -> None:
    ledger = lab.ledger
    for number in range(1, 300):  # past a kept subtree
        lab.write(message(number))
        if ledger.unread >= 7:
            ledger.read_back(7)
        assert ledger.unread < 14
    ahead = ledger._read_written()
    long = ledger._reread()
    assert ahead is not None
    assert (ahead[0].root(), ahead[1], ahead[0].whole) == (ledger.root, ledger._head, long[0].whole)
    assert ahead[0].whole
    assert ledger.checkpoint()
    assert ledger.unread == 0 == ledger.unanchored
    lab.write(determination(2))
    assert ledger.unread == ledger.unanchored > 0
    with transaction(lab.connection), pytest.raises(LedgerError):
        ledger.read_back(1)
