"""Who is shown what: logged before it is shown, nothing without a role, nothing that the role may not see."""

from __future__ import annotations

import base64
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from installation import Inside, Installation
from umbridge_audit.entry import Draft
from umbridge_audit.keys import Keyring
from umbridge_audit.redact import PURPOSES, AccessTable

from umbridge.access import control, opened
from umbridge.access.messages import MessageQueries
from umbridge.access.registry import Registry
from umbridge.access.views import redact
from umbridge.commands import proof, sample
from umbridge.errors import NotPermittedError, StoreError, UmbridgeError, UnavailableError, UsageError
from umbridge.hl7 import er7
from umbridge.intake import delivery
from umbridge.run.daemon import Parts
from umbridge.settings.config import User
from umbridge.settings.site import load_site
from umbridge.stay.dictionary import dictionary
from umbridge.store import inbox, stays
from umbridge.store.batch import Batch
from umbridge.store.commands import WriteEntries, WriteEntry
from umbridge.store.engine import DATABASE
from umbridge.store.opening import hold_writer
from umbridge.store.writer import Writer

REDACTED = "[redacted]"
BEGAN = datetime(2026, 1, 12, 14, 0, tzinfo=UTC)
# What the sample's first stay says of its patient, as it was sent; none of it may be seen without a role.
PERSON = ("ZZTEST", "ALDER", "ZZ0000000^", "ZZVN0000000", "ZZAC0000000", "19540311", "ZZPPO01")
CONTROL_ID = er7.parse(sample.stay(0, BEGAN)[0]).get("MSH-10")  # operations may see it
CLINICAL = ("J18.9", "Pneumonia", "9279-1", "UMB-SPO2RA", "101.5", "ADTINPT")
Row = dict[str, Any]


def feed(where: Installation, stays: int = 3) -> None:
    """Send the sample through a real daemon, wait until it is worked, stop it cleanly."""
    import asyncio

    daemon = where.start()
    try:
        frames = [(str(n), frame) for n in range(stays) for frame in sample.stay(n, BEGAN)]
        answers: list[str] = []
        asyncio.run(
            delivery.send_all("127.0.0.1", daemon.port, frames, done=lambda sent: answers.append(sent.ack))
        )
        assert set(answers) == {"AA"}
        daemon.worked()
        assert daemon.stop() == 0
    finally:
        daemon.kill()


@dataclass
class Access:
    """The door, and a way to come to it in any role. ``ask`` keeps what it cost the ledger."""

    registry: Registry
    writer: Writer
    users: dict[str, User]
    where: Installation
    table: AccessTable

    def ask(self, roles: tuple[str, ...], op: str, account: str = "zz", **args: Any) -> list[Row]:
        self.users["zz"] = User(user="zz-user", roles=roles)
        return list(self.registry.answer(account, op, args, "test"))

    def entry(self, seq: int) -> Row:
        """An entry as a role sees it that may see all of it but ``fin`` and ``sens``."""
        (row,) = self.ask(("ur_nurse",), "ledger.show", seq=seq, purpose="HPAYMT")
        return row

    def of_kind(self, kind: str) -> list[int]:
        return [r["seq"] for r in self.ask(("ur_nurse",), "ledger.list", kind=kind)]


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    where = Installation(tmp_path_factory.mktemp("registry") / "site")
    feed(where)
    return where


def queries_of(where: Installation, stack: ExitStack) -> Access:
    settings = where.settings
    parts = Parts(settings)
    writer = stack.enter_context(hold_writer(settings, parts.keyring))
    users: dict[str, User] = {}
    return Access(
        Registry(settings, writer, parts.site, users, parts.table), writer, users, where, parts.table
    )


@pytest.fixture(scope="module")
def queries(fed: Installation) -> Iterator[Access]:
    with ExitStack() as stack:
        yield queries_of(fed, stack)


LOOKS: list[tuple[str, dict[str, Any]]] = [
    ("messages.list", {}),
    ("messages.show", {"seq": 1}),
    ("stays.list", {}),
    ("stays.show", {"visit": "ZZVN0000000"}),
    ("reviews.list", {}),
    ("reviews.show", {"review": "ADMISSION-5"}),
    ("ledger.list", {}),
    ("ledger.show", {"seq": 0}),
    ("ledger.checkpoint", {}),
]
TAKEN_OUT: list[tuple[str, dict[str, Any]]] = [
    ("ledger.export", {"profile": "integrity-only"}),
    ("ledger.proof", {"seq": 0, "profile": "integrity-only"}),
]


# -- logged before shown -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "args"), LOOKS)
def test_a_look_is_on_the_ledger_before_its_first_row(queries: Access, op: str, args: Row) -> None:
    queries.users["zz"] = User(user="zz-user", roles=("ur_nurse",))
    before = queries.writer.ledger.size
    rows = queries.registry.answer("zz", op, {**args, "purpose": "HPAYMT", "reason": "ZZ because"}, "test")
    assert queries.writer.ledger.size == before  # nothing is asked before the first row is wanted
    next(rows)
    assert queries.writer.ledger.size == before + 1
    slots = queries.entry(before)["slots"]
    assert queries.entry(before)["kind"] in ("access.read", "access.search")
    assert (slots["actor"], slots["account"], slots["roles"]) == ("zz-user", "zz", ["ur_nurse"])
    assert (slots["purpose"], slots["reason"], slots["outcome"]) == ("HPAYMT", "ZZ because", "allowed")


@pytest.mark.parametrize(("op", "args"), [*LOOKS, *TAKEN_OUT])
@pytest.mark.parametrize(
    ("account", "roles", "purpose"),
    [
        ("nobody-knows-me", (), "HCOMPL"),
        ("zz", (), "HCOMPL"),
        ("zz", ("plugin_vendor",), "HOPERAT"),
        ("zz", ("ur_nurse",), "TREAT"),
        ("zz", ("ur_nurse", "administrator", "compliance_auditor"), "BTG"),
        ("zz", ("administrator",), "NONSENSE"),
    ],
)
def test_without_a_role_for_it_nothing_is_shown_and_the_refusal_is_kept(
    queries: Access, op: str, args: Row, account: str, roles: tuple[str, ...], purpose: str
) -> None:
    before = queries.writer.ledger.size
    with pytest.raises(NotPermittedError) as caught:
        queries.ask(roles, op, account=account, **args, purpose=purpose)
    assert caught.value.exit_code == 77
    assert queries.writer.ledger.size == before + 1
    kept = queries.entry(before)
    assert (kept["kind"], kept["slots"]["account"]) == ("access.denied", account)
    assert kept["slots"]["purpose"] == purpose


def test_when_the_entry_cannot_be_written_nothing_is_shown(fed: Installation, tmp_path: Path) -> None:
    with ExitStack() as stack:
        there = queries_of(copied(fed, tmp_path / "copy"), stack)
        there.users["zz"] = User(user="zz", roles=("ur_nurse", "compliance_auditor"))
        with pytest.raises(StoreError):  # the writer fails, as on a full disk
            there.writer.call(WriteEntry(draft=Draft("no.such.kind", {})))
        for op, args in [*LOOKS, *TAKEN_OUT]:
            shown: list[Row] = []
            with pytest.raises(StoreError):
                shown.extend(there.registry.answer("zz", op, {**args, "purpose": "HCOMPL"}, "test"))
            assert shown == []
    assert list((tmp_path / "copy" / "store").glob("export-*")) == []


# -- what a role sees -------------------------------------------------------------------------------------


def everything(queries: Access, roles: tuple[str, ...], purpose: str) -> str:
    """All that these roles can read of the messages, stays and entries of the first stay, as text."""
    seen: list[Row] = []
    seen += queries.ask(roles, "messages.list", purpose=purpose)
    for seq in range(1, 7):
        seen += queries.ask(roles, "messages.show", seq=seq, purpose=purpose)
    seen += queries.ask(roles, "stays.list", purpose=purpose)
    if queries.table.permission(roles, purpose).may("ident", "visit") == "show":
        seen += queries.ask(roles, "stays.show", visit="ZZVN0000000", purpose=purpose)
    seen += queries.ask(roles, "ledger.list", purpose=purpose)
    known = ("determination", "message.received", "review.changed")
    for seq in [r["seq"] for r in seen if r.get("kind") in known]:
        seen += queries.ask(roles, "ledger.show", seq=seq, purpose=purpose)
    return json.dumps(seen)


def test_a_nurse_sees_the_patient_and_the_judgement(queries: Access) -> None:
    text = everything(queries, ("ur_nurse",), "HPAYMT")
    for word in (*PERSON[:6], *CLINICAL, "CURB-65", "MEETS"):
        assert word in text, word
    assert "ZZPPO01" not in text  # the policy number is the payer's business: fin shows the payer class alone
    assert REDACTED not in text


@pytest.mark.parametrize(
    ("role", "purpose", "masked"),
    [("administrator", "HOPERAT", False), ("compliance_auditor", "HCOMPL", True)],
)
def test_operations_and_compliance_see_neither_the_person_nor_the_judgement(
    queries: Access, role: str, purpose: str, masked: bool
) -> None:
    text = re.sub(
        r'"due": "[^"]*"', "", everything(queries, (role,), purpose)
    )  # a review's clock is operations
    for word in (*PERSON, *CLINICAL, "CURB-65", "MEETS", "INPATIENT", "2026-01-12T"):
        assert word not in text, word
    assert (REDACTED in text) == masked
    assert CONTROL_ID in text
    assert "ADMISSION" in text


def test_both_roles_of_a_fresh_installation_together_see_no_more_than_each(queries: Access) -> None:
    for purpose in ("HOPERAT", "HCOMPL"):
        text = everything(queries, ("administrator", "compliance_auditor"), purpose)
        for word in (*PERSON, *CLINICAL, "CURB-65", "MEETS", "INPATIENT"):
            assert word not in text, word


def test_a_purpose_the_role_does_not_have_shows_nothing_of_another_role(queries: Access) -> None:
    """A nurse who is also compliance auditor looks as the one or as the other, never as both."""
    rows = queries.ask(("ur_nurse", "compliance_auditor"), "messages.list", purpose="HCOMPL")
    assert {row["visit"] for row in rows} == {REDACTED}
    rows = queries.ask(("ur_nurse", "compliance_auditor"), "messages.list", purpose="HPAYMT")
    assert rows[0]["visit"] == "ZZVN0000000"


def test_every_key_of_a_list_is_there_for_everybody(queries: Access) -> None:
    keys = ["seq", "feed", "control_id", "type", "received_at", "ack", "state", "reason", "visit"]
    for role, purpose in (("ur_nurse", "HPAYMT"), ("administrator", "HOPERAT"), ("him", "PATRQT")):
        rows = queries.ask((role,), "messages.list", purpose=purpose)
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        assert all(list(row) == keys for row in rows)


def test_the_visit_looked_for_is_sealed_in_the_access_entry(queries: Access) -> None:
    before = queries.writer.ledger.size
    queries.ask(("ur_nurse",), "stays.show", visit="ZZVN0000001", purpose="HPAYMT")
    assert queries.entry(before)["slots"]["patient"] == "ZZVN0000001"
    (row,) = queries.ask(("administrator",), "ledger.show", seq=before, purpose="HOPERAT")
    assert "ZZVN0000001" not in json.dumps(row)


@pytest.mark.parametrize("visit", ["NOPE", "", "ZZVN0000000 ", "' OR 1=1 --", "ZZVN%", "é"])
def test_a_stay_that_is_not_there_is_looked_for_on_the_record(queries: Access, visit: str) -> None:
    before = queries.writer.ledger.size
    with pytest.raises(UmbridgeError, match="no stay has that visit number") as caught:
        queries.ask(("ur_nurse",), "stays.show", visit=visit, purpose="HPAYMT")
    assert not visit.strip() or visit not in str(caught.value)
    assert queries.writer.ledger.size == before + 1


# -- what does not open, what is large, what was folded before ---------------------------------------------


def copied(fed: Installation, to: Path) -> Installation:
    """The fed installation once more, to be damaged."""
    shutil.copytree(fed.directory, to, ignore=shutil.ignore_patterns("control.sock"))
    return Installation.at(to)


def change(where: Installation, statement: str, *values: Any) -> None:
    with sqlite3.connect(where.settings.store / DATABASE) as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def stays_of(where: Installation) -> list[list[Row]]:
    """What the list and ``show`` say of every stay, each its own look."""
    with ExitStack() as stack:
        there = queries_of(where, stack)
        listed = there.ask(("ur_nurse",), "stays.list", purpose="HPAYMT")
        shown = [
            there.ask(("ur_nurse",), "stays.show", visit=f"ZZVN{n:07d}", purpose="HPAYMT")[0]
            for n in range(3)
        ]
        return [listed, shown]


def test_stays_stay_readable_when_the_site_profile_changes(
    fed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "PAGE", 2)  # so that a lane takes several turns
    before = stays_of(copied(fed, tmp_path / "before"))
    after = copied(fed, tmp_path / "after")
    after.edit("ZZ Example Hospital", "ZZ Other Hospital", "site.toml")
    head = "SELECT lane, seq, sealed FROM stay_head ORDER BY lane"
    with sqlite3.connect(after.settings.store / DATABASE) as connection:
        stored = connection.execute(head).fetchall()
    assert stays_of(after) == before
    with sqlite3.connect(after.settings.store / DATABASE) as connection:
        assert connection.execute(head).fetchall() == stored  # looking renews nothing
    after.edit('CDU = { level = "OBS"', 'CDU = { level = "ACUTE"', "site.toml")
    listed, shown = stays_of(after)
    assert [row["unit_level"] for row in shown] != [row["unit_level"] for row in before[1]]
    assert len(listed) == 3


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"not sealed at all", bytes(200)])
def test_a_message_that_does_not_open_is_listed_and_the_list_goes_on(
    fed: Installation, tmp_path: Path, sealed: bytes
) -> None:
    where = copied(fed, tmp_path / "copy")
    change(where, "UPDATE inbox SET sealed = ? WHERE seq = 2", sealed)
    where.edit("ZZ Example Hospital", "ZZ Other Hospital", "site.toml")
    with ExitStack() as stack:
        there = queries_of(where, stack)
        rows = there.ask(("ur_nurse",), "messages.list", purpose="HPAYMT")
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        lost = {key: rows[1][key] for key in ("control_id", "type", "visit", "reason", "state")}
        assert lost.pop("state") in ("DETERMINED", "NOT_APPLICABLE")
        assert lost == {"control_id": None, "type": None, "visit": None, "reason": "unreadable"}
        assert [row["seq"] for row in rows if row["reason"] == "unreadable"] == [2]
        (row,) = there.ask(("ur_nurse",), "messages.show", seq=2, purpose="HPAYMT")
        assert (row["segments"], row["findings"], row["reason"]) == ([], ["unreadable"], "unreadable")
        # a stay that has lost a message is not shown as if it were whole, and the other two are
        found = there.ask(("ur_nurse",), "stays.list", purpose="HPAYMT")
        assert sorted(row["visit"] or "" for row in found) == ["", "ZZVN0000001", "ZZVN0000002"]
        assert [row["exceptions"] for row in found if not row["visit"]] == [["unreadable"]]
        assert len({tuple(row) for row in found}) == 1
        with pytest.raises(StoreError, match="does not open"):
            there.ask(("ur_nurse",), "stays.show", visit="ZZVN0000000", purpose="HPAYMT")
        assert there.writer.failed is None


def test_a_stay_whose_head_does_not_open_is_listed_and_the_list_goes_on(
    fed: Installation, tmp_path: Path
) -> None:
    where = copied(fed, tmp_path / "copy")
    change(where, "UPDATE stay_head SET sealed = x'01' WHERE seq = (SELECT min(seq) FROM stay_head)")
    with ExitStack() as stack:
        found = queries_of(where, stack).ask(("ur_nurse",), "stays.list", purpose="HPAYMT")
    assert [row["exceptions"] == ["unreadable"] for row in found] == [True, False, False]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 30), size=st.integers(0, 20_000), after=st.integers(0, 20))
def test_a_turn_is_bounded_by_rows_and_bytes_and_always_gets_on(
    queries: Access, limit: int, size: int, after: int
) -> None:
    found = queries.writer.call(Inside(lambda batch: inbox.sealed_page(batch.cursor, after, limit, size)))
    last = queries.writer.call(Inside(lambda batch: inbox.last_seq(batch.cursor)))
    assert [row[0] for row in found] == list(range(after + 1, after + 1 + len(found)))
    assert bool(found) == (after < last)
    assert len(found) <= limit
    assert len(found) < 2 or sum(len(row[3]) for row in found) <= size
    if len(found) < min(limit, last - after):  # it stopped for the bytes: one row more would not fit
        more = queries.writer.call(Inside(lambda batch: inbox.sealed_page(batch.cursor, found[-1][0], 1, 0)))
        assert sum(len(row[3]) for row in (*found, *more)) > size


def test_a_lane_in_pages_is_the_lane_in_one_piece(queries: Access) -> None:
    writer, keyring = queries.writer, queries.writer.keyring
    for lane in writer.call(Inside(lambda batch: list(stays.lanes(batch.cursor)))):

        def page(batch: Batch, after: int, lane: bytes = lane) -> list[tuple[Sequence[Any], list[int]]]:
            return inbox.sealed_lane(batch.cursor, lane, after, 15, 2, 3000)

        def whole(batch: Batch, lane: bytes = lane) -> list[inbox.Row]:
            return list(inbox.lane_rows(batch.cursor, keyring, lane, 15))

        paged: list[inbox.Row] = []
        while found := writer.call(Inside(partial(page, after=paged[-1].seq if paged else 0))):
            paged += [inbox.open_row(keyring, record) for record, _ in found]
        assert paged == writer.call(Inside(whole))
        assert paged


def test_a_list_opens_frames_outside_the_pens_turn(queries: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    opened = inbox.open_row

    def watched(keyring: Keyring, record: Sequence[Any]) -> inbox.Row:
        threads.add(threading.get_ident())
        return opened(keyring, record)

    monkeypatch.setattr(inbox, "open_row", watched)
    queries.ask(("ur_nurse",), "messages.list", purpose="HPAYMT")
    assert threads == {threading.get_ident()}


def messages_of(queries: Access) -> MessageQueries:
    """The queries that say what is in a message."""
    settings = queries.where.settings

    def charset(name: str) -> str:
        return settings.feeds[name].charset if name in settings.feeds else "utf-8"

    return MessageQueries(queries.registry.door, load_site(settings.site), charset, lambda visit: b"")


def content(queries: Access, frame: bytes, feed: str = "adt", role: str = "ur_nurse") -> dict[str, Any]:
    """The values ``messages show`` gives for a frame, by field."""
    row = inbox.Row(1, feed, None, "DETERMINED", "AA", "", "", 0, {}, frame)
    found: Any = redact(messages_of(queries).view(row), queries.table.permission((role,), "HPAYMT")).values
    return {f["field"]: f["value"] for segment in found["segments"] for f in segment["fields"]}


def test_a_message_is_shown_in_its_feeds_charset(fed: Installation, tmp_path: Path) -> None:
    where = copied(fed, tmp_path / "copy")
    feed = next(iter(where.settings.feeds))
    where.edit("(?m)^port = ", 'charset = "iso8859-2"\nport = ')
    frame = "MSH|^~\\&|A|B|C|D|20260112140000||ADT^A08|1|P|2.5.1\rPID|1||ZZ1||ZZTEST^WOŁA\r".encode(
        "iso8859-2"
    )
    with ExitStack() as stack:
        there = queries_of(where, stack)
        assert content(there, frame, feed)["PID-5"] == "ZZTEST^WOŁA"
        assert "Ł" not in content(there, frame, "gone")["PID-5"]
        assert content(there, frame.decode("iso8859-2").encode(), "gone")["PID-5"] == "ZZTEST^WOŁA"


@pytest.mark.parametrize(
    ("line", "restricted"),
    [
        *((f"DG1|1||{code}^ZZ^I10|||A", True) for code in ("F10", "F10.231", "f19.20", "F11.10", " F15.9")),
        *((f"DG1|1||{code}^ZZ^I10|||A", False) for code in ("F09", "F20.0", "F1", "J18.9", "XF10", "Z72.0")),
        ("DG1|1||ZZ1^ZZ^L^F10.231^ZZ^I10|||A", True),
        ("DG1|1||303.91^ZZ^I9C|||A", True),
        ("DG1|1||66590003^ZZ^SCT|||A", True),
        ("DG1|1||O99.311^ZZ^I10|||A", True),
        ("DG1|1||Z79.891^ZZ^I10|||A", True),
        ("DG1|1||ZZ1^ZZ^L|Alcohol withdrawal||A", True),
        ("OBX|1|NM|{part2}||12|{{score}}|||||F", True),
        ("OBX|1|ZZ|{part2}||of no use|||||X", True),
        ("OBX|1|NM|ZZ^ZZ^L^{part2}||12|{{score}}|||||F", True),
        ("OBX|1|NM|9279-1^Respiratory rate^LN||32|/min|||||F", False),
        ("OBX|1|NM|NOBODY-KNOWS^ZZ^L||12||||||F", False),
    ],
)
def test_substance_use_content_is_not_shown_as_clinical(queries: Access, line: str, restricted: bool) -> None:
    """42 CFR part 2: every clinical segment of such a message, for it is said with all of them."""
    site = queries.where.settings.site
    codes = load_site(site).observations
    part2 = next(
        f"{code}^ZZ^{system}"
        for system, facts in codes.items()
        for code, fact in facts.items()
        if fact in dictionary() and dictionary()[fact].part2
    )
    said = line.format(part2=part2).replace("{{", "{").replace("}}", "}")
    frame = (
        "MSH|^~\\&|A|B|C|D|20260112140000||ORU^R01|1|P|2.5.1\rPID|1||ZZ1||ZZTEST^ALDER\r"
        f"PV2|||ZZ reason\rOBR|1|||ZZ panel\r{said}\rNTE|1||ZZ note\rZZZ|ZZ own\r"
    ).encode()
    found = content(queries, frame)
    assert found["PID-5"] == "ZZTEST^ALDER"
    clinical = [found[name] for name in ("PV2-3", "OBR-4", "NTE-3", "ZZZ-1", f"{line[:3]}-3")]
    assert [value is None for value in clinical] == [restricted] * 5


@pytest.mark.parametrize("role", sorted(AccessTable.load().roles))
def test_a_role_that_sees_no_clinical_value_cannot_tell_which_message_is_restricted(
    queries: Access, role: str
) -> None:
    """A mask on an ordinary message's fields and nothing on a restricted one's tells which is which."""
    shown = []
    for code in ("J18.9", "F10.231"):
        frame = (
            "MSH|^~\\&|A|B|C|D|20260112140000||ADT^A08|1|P|2.5.1\rPID|1||ZZ1||ZZTEST^ALDER\r"
            f"PV2|||ZZ reason\rDG1|1||{code}^ZZ^I10|ZZ||A\rNTE|1||ZZ note\r"
        ).encode()
        row = inbox.Row(1, "adt", None, "DETERMINED", "AA", "", "", 0, {}, frame)
        for purpose in PURPOSES:
            allowed = queries.table.permission((role,), purpose)
            if allowed.may("clin", "DG1-3") != "show":
                shown.append((code, json.dumps(redact(messages_of(queries).view(row), allowed).values)))
    by_code = [[text for code, text in shown if code == each] for each in ("J18.9", "F10.231")]
    assert by_code[0] == by_code[1]


# -- questions that are none ------------------------------------------------------------------------------

HUGE = [-1, 2**63, 10**30, "x", None, [], 1e400, True and "١٢x"]


@pytest.mark.parametrize("seq", HUGE)
@pytest.mark.parametrize("op", ["messages.show", "ledger.show"])
def test_a_number_the_store_cannot_hold_never_reaches_the_pen(queries: Access, op: str, seq: Any) -> None:
    before = queries.writer.ledger.size
    with pytest.raises(UmbridgeError) as caught:
        queries.ask(("ur_nurse",), op, seq=seq, purpose="HPAYMT")
    assert caught.value.exit_code in (1, 2)
    assert queries.writer.failed is None
    assert queries.writer.ledger.size == before


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    op=st.sampled_from([op for op, _ in LOOKS] + ["ledger.export", "no.such", ""]),
    args=st.dictionaries(
        st.sampled_from(["seq", "purpose", "reason", "visit", "kind", "profile"]),
        st.none()
        | st.text(st.characters(codec=None), max_size=8)
        | st.integers()
        | st.sampled_from(["HPAYMT", "role:it_ops", "\ud83d", "x" * 2000, "\0"])
        | st.lists(st.integers(), max_size=2),
        max_size=6,
    ),
)
def test_no_question_stops_the_pen(queries: Access, op: str, args: Row) -> None:
    try:
        queries.ask(("ur_nurse", "compliance_auditor"), op, **args)
    except UmbridgeError as exc:
        assert exc.exit_code in (1, 2, 77)
    assert queries.writer.failed is None


def test_a_kind_or_profile_nobody_knows_is_a_usage_error(queries: Access) -> None:
    with pytest.raises(UsageError, match="determination"):
        queries.ask(("administrator",), "ledger.list", kind="determinations")
    with pytest.raises(UsageError, match="integrity-only"):
        queries.ask(("administrator",), "ledger.export", profile="role:king")


# -- the bundle -------------------------------------------------------------------------------------------


def verified(bundle: Path, policy: Path) -> tuple[int, Row]:
    done = subprocess.run(
        [Path(sys.executable).with_name("umbridge-verify"), bundle, "--policy", policy, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def bundle(queries: Access, out: Path, profile: str) -> list[str]:
    roles = ("administrator", "compliance_auditor")
    proof.write_bundle((row["line"] for row in queries.ask(roles, "ledger.export", profile=profile)), out)
    return out.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("profile", ["role:it_ops", "role:compliance_auditor", "integrity-only"])
def test_an_export_verifies_and_holds_nothing_of_a_patient(
    queries: Access, tmp_path: Path, profile: str
) -> None:
    queries.ask(("ur_nurse",), "stays.show", visit="ZZVN0000000", purpose="HPAYMT")  # names a patient, sealed
    before = queries.writer.ledger.size
    lines = bundle(queries, tmp_path / "b.jsonl", profile)
    text = "\n".join(lines)
    # five capitals stand in so much base64 by chance once in some thousand runs: look beside it, and inside
    encoded = re.compile(r"[A-Za-z0-9+/]{32,}={0,2}")
    inside = [base64.b64decode(each[: len(each) // 4 * 4]) for each in encoded.findall(text)]
    short = encoded.sub("", text) + b"\n".join(inside).decode("latin-1")
    for word in (*PERSON, "ZZ0000000^", *CLINICAL, "CURB-65", "MEETS", "INPATIENT"):
        assert word not in short, word
        assert len(word) <= 5 or word not in text, word
    if profile == "integrity-only":
        for word in ("plugin:interqual_like", "message.received", CONTROL_ID, "zz-user"):
            assert word not in text, word
    else:
        assert CONTROL_ID in text
    assert queries.entry(before)["kind"] == "access.export"
    code, report = verified(tmp_path / "b.jsonl", queries.where.settings.policy)
    assert (code, report["verdict"]) == (0, "PASS")
    assert report["entries"] >= before
    assert list(queries.where.settings.store.glob("export-*")) == []


def test_an_export_for_a_role_that_may_not_take_one_out_is_refused(queries: Access) -> None:
    with pytest.raises(NotPermittedError):
        queries.ask(("ur_nurse",), "ledger.export", profile="role:ur_nurse", purpose="HPAYMT")
    assert queries.of_kind("access.denied")


def test_a_profile_never_shows_more_than_the_one_who_asks_may_see(queries: Access, tmp_path: Path) -> None:
    text = "\n".join(bundle(queries, tmp_path / "b.jsonl", "role:ur_nurse"))
    for word in (*PERSON, *CLINICAL, "CURB-65"):
        assert word not in text, word


def test_any_flipped_bit_of_a_bundle_is_caught(queries: Access, tmp_path: Path) -> None:
    from umbridge_audit.bundle import verify_bundle
    from umbridge_audit.policy import Policy

    bundle(queries, tmp_path / "b.jsonl", "role:it_ops")
    policy = Policy.read(queries.where.settings.policy.read_text())
    whole = (tmp_path / "b.jsonl").read_bytes()
    changed = tmp_path / "changed.jsonl"
    step = max(1, len(whole) // 60)
    for at in [*range(0, len(whole), step), len(whole) - 1]:
        data = bytearray(whole)
        data[at] ^= 1 << (at % 8)
        changed.write_bytes(data)
        assert verify_bundle(changed, policy).exit_code == 1, at
    for cut in (whole[:-1], whole[: len(whole) // 2], whole.split(b"\n", 1)[1], whole + b"\n", b""):
        changed.write_bytes(cut)
        assert verify_bundle(changed, policy).exit_code == 1
    changed.write_bytes(whole)
    assert verify_bundle(changed, policy).exit_code == 0


def test_a_bundle_has_no_name_while_it_is_read(queries: Access) -> None:
    queries.users["zz"] = User(user="zz-user", roles=("administrator", "compliance_auditor"))
    store = queries.where.settings.store
    rows = queries.registry.answer("zz", "ledger.export", {"profile": "role:it_ops"}, "test")
    first = next(rows)
    assert [path.name for path in store.iterdir() if "export" in path.name] == []
    assert json.loads(first["line"])["profile"] == "role:it_ops"
    assert len(list(rows)) > 10


def test_what_a_killed_export_left_is_removed_by_the_next_holder_of_the_pen(
    fed: Installation, tmp_path: Path
) -> None:
    where = copied(fed, tmp_path / "copy")
    store = where.settings.store
    for name in ("export-00.jsonl", ".export-00.jsonl.11.part"):
        (store / name).write_text("ZZ")
    with ExitStack() as stack:
        queries_of(where, stack)
        assert [path.name for path in store.iterdir() if "export" in path.name] == []


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("ledger.export", {"profile": "role:it_ops"}),
        ("ledger.list", {"kind": "access.denied"}),
        ("messages.list", {}),
        ("stays.list", {}),
    ],
)
def test_long_answers_end_when_nobody_waits_for_them(
    fed: Installation, tmp_path: Path, op: str, args: Row
) -> None:
    """The control socket's own flag, set from outside as ``close`` sets it, after the question has begun."""
    where = copied(fed, tmp_path / "copy")
    where.edit("ZZ Example Hospital", "ZZ Other Hospital", "site.toml")  # stays are folded again
    with ExitStack() as stack:
        there = queries_of(where, stack)
        values: Row = {"actor": "zz", "state": "QUARANTINED", "row": 1, "reason": "zz", "by": "zz"}
        there.writer.call(WriteEntries(drafts=(Draft("quarantine", values),) * 300))
        there.users["zz"] = User(user="zz", roles=("administrator", "compliance_auditor"))
        before = there.writer.ledger.size
        rows = there.registry.answer("zz", op, args, "test")
        asked = control._Asked(lambda: rows, lambda: None, "test")
        assert asked.end() is None
        with pytest.raises(UnavailableError):
            while asked._context.run(asked._take):
                pass
        assert there.writer.ledger.size == before + 1  # the look; a bundle was not finished
        store = where.settings.store
        assert [path.name for path in store.iterdir() if "export" in path.name] == []
        assert there.writer.failed is None


def test_one_stay_is_shown_with_its_places_and_its_payer_to_who_may_see_them(queries: Access) -> None:
    (shown,) = queries.ask(("ur_nurse",), "stays.show", visit="ZZVN0000000", purpose="HPAYMT")
    assert shown["locations"]
    for place in shown["locations"]:
        assert list(place) == ["unit", "room", "bed", "level", "start", "end"]
    assert shown["locations"][-1]["unit"] == shown["unit"]
    assert [span["status"] for span in shown["spans"]] == shown["status_spans"]
    assert (shown["payer_class"], shown["midnights_from"]) == ("COMMERCIAL", None)  # Medicare's midnights
    with pytest.raises(NotPermittedError):  # an answer would say whether there is such a visit
        queries.ask(("administrator",), "stays.show", visit="ZZVN0000000", purpose="HOPERAT")
    (hidden,) = queries.ask(("him",), "stays.show", visit="ZZVN0000000", purpose="HCOMPL")
    assert hidden["locations"] == shown["locations"]
    for key in ("spans", "lifecycle", "payer_class", "coverage", "authorizations", "midnights_from"):
        assert hidden[key] in (None, REDACTED), key
    listed = queries.ask(("ur_nurse",), "stays.list", purpose="HPAYMT")
    assert "locations" not in listed[0]  # of one stay, for who reviews it
