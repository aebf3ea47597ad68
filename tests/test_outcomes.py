"""Every question and act in every role: the entry says what happened, and the exit code says the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from installation import Installation
from test_registry import Access, feed, queries_of
from umbridge_audit.redact import AccessTable

from umbridge.access import door
from umbridge.access.registry import REGISTRY
from umbridge.errors import NotPermittedError, UmbridgeError
from umbridge.settings.config import User

Row = dict[str, Any]
TABLE = AccessTable.load()
VISIT, MRN = "ZZVN0000000", "ZZ0000000"
# Each question, with each thing it can look for; {out} is a new file's name.
QUESTIONS: list[tuple[str, Row]] = [
    ("messages.list", {}),
    ("messages.list", {"mrn": MRN}),
    ("messages.list", {"mrn": "ZZNOBODY"}),
    ("messages.list", {"visit": VISIT}),
    ("messages.list", {"visit": "ZZNOBODY"}),
    ("messages.list", {"control_id": "ZZC"}),
    ("messages.list", {"state": "PENDING", "feed": "adt", "since": "2026", "limit": 3}),
    ("messages.unused", {}),
    ("messages.show", {"seq": 1}),
    ("messages.show", {"seq": 99_999}),
    ("stays.list", {}),
    ("stays.show", {"visit": VISIT}),
    ("stays.show", {"visit": "ZZNOBODY"}),
    ("reviews.list", {}),
    ("reviews.list", {"unit": "5W"}),
    ("reviews.list", {"payer": "COMMERCIAL"}),
    ("reviews.list", {"overdue": True, "limit": 2}),
    ("reviews.list", {"after": "/ZZ"}),
    ("ledger.list", {}),
    ("ledger.list", {"kind": "determination"}),
    ("ledger.show", {"seq": 0}),
    ("ledger.show", {"seq": 999_999}),
    ("reviews.show", {"review": "{review}"}),
    ("reviews.show", {"review": "ADMISSION-99999"}),
    ("ledger.why", {"seq": 0}),
    ("ledger.why", {"seq": "{determination}"}),
    ("ledger.why", {"seq": 999_999}),
    ("ledger.proof", {"seq": 999_999}),
    ("reviews.list", {"due": True}),
    ("ledger.export", {"profile": "integrity-only"}),
    ("ledger.export", {"profile": "role:it_ops"}),
    ("ledger.export", {"profile": "safe-harbor"}),
    ("ledger.export", {"profile": "limited-data-set", "dua": "ZZ1"}),
    ("ledger.proof", {"seq": 0}),
    ("ledger.checkpoint", {}),
    ("users.list", {}),
    ("keys.list", {}),
    ("breakglass.list", {}),
    ("report.access", {}),
    ("report.access", {"user": "zz-user"}),
    ("report.access", {"patient": VISIT}),
    ("report.disclosures", {"patient": VISIT}),
    ("report.disclosures", {"patient": VISIT, "all": True}),
    ("report.breach-scope", {"user": "zz-user"}),
]
ACTS: list[tuple[str, Row]] = [
    ("messages.replay", {"seqs": [99_999]}),
    ("messages.dismiss", {"seqs": [99_999]}),
    ("stays.acknowledge", {"visit": VISIT}),
    ("users.add", {"account": "zz-new", "user": "zz-new", "roles": "him"}),
    ("users.role", {"account": "zz-none", "roles": "him"}),
    ("users.disable", {"account": "zz-none"}),
    ("breakglass.review", {"seq": 0, "finding": "justified"}),
    (
        "disclosures.record",
        {"patient": VISIT, "recipient": "ZZ", "what": "ZZ", "statement": "ZZ", "basis": "judicial"},
    ),
    ("backup.create", {"out": "{out}"}),
    ("keys.rotate", {"what": "data"}),
    ("plugins.approve", {"plugin": "interqual_like"}),
]


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    where = Installation(tmp_path_factory.mktemp("outcomes") / "site")
    feed(where, stays=2)
    return where


@pytest.fixture
def queries(fed: Installation, tmp_path: Path) -> Iterator[Access]:
    """One for each test: every report would go through a ledger that all of them made longer."""
    where = Installation.at(Path(shutil.copytree(fed.directory, tmp_path / "site")))
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "FLOOD", 1_000_000)
        yield queries_of(where, stack)


def entries(queries: Access, start: int) -> list[Row]:
    """What was written from there on, read straight from the ledger."""
    found = []
    for row in queries.writer.ledger.open_slots(start):
        values = queries.writer.ledger.reveal(int(str(row["seq"])))
        found.append(
            {"kind": row["kind"], **values["open"], **values.get("ops", {}), **values.get("ident", {})}
        )
    return found


def exit_of(queries: Access, role: str, op: str, args: Row) -> tuple[int, list[Row]]:
    queries.users["zz"] = User(user="zz-user", roles=(role,) if role else ())
    try:
        return 0, list(queries.registry.answer("zz", op, args, "test"))
    except UmbridgeError as exc:
        return exc.exit_code, []


def filled(queries: Access, args: Row) -> Row:
    """With a review and a determination that there are, by their names in braces."""
    if not any(str(value).startswith("{") for value in args.values()):
        return args
    entry = next(row for row in queries.writer.ledger.open_slots(0) if row["kind"] == "determination")
    values = queries.writer.ledger.reveal(int(str(entry["seq"])))
    known = {"{determination}": int(str(entry["seq"])), "{review}": values["ops"]["review_id"]}
    return {name: known.get(str(value), value) for name, value in args.items()}


def asks() -> Iterator[tuple[str, str]]:
    for role in ("", *sorted(TABLE.roles)):
        yield role, ""
        for purpose in sorted(TABLE.roles[role].purposes) if role else ():
            yield role, purpose
        yield role, "BTG"


@pytest.mark.parametrize(("op", "args"), QUESTIONS, ids=json.dumps)
def test_a_question_is_answered_or_refused_as_its_entry_says(queries: Access, op: str, args: Row) -> None:
    seen = set()
    for role, purpose in asks():
        before = queries.writer.ledger.size
        asked = filled(queries, args) | {"purpose": purpose, "reason": "ZZ because of an emergency"}
        code, rows = exit_of(queries, role, op, asked)
        made = [one for one in entries(queries, before) if str(one["kind"]).startswith(("access", "breakg"))]
        outcomes = [(one["kind"] == "access.denied", one["outcome"]) for one in made if "outcome" in one]
        where = (role, purpose, code, made)
        seen.add(code)
        if code == 77:
            assert outcomes == [(True, "denied")], where
            (entry,) = made
            assert entry["revealed"] is None and not rows, where
            if purpose:
                assert entry["purpose"] == purpose, where
            for name in ("visit", "mrn", "patient"):
                if args.get(name):
                    assert entry["patient"] == args[name], where
        else:
            assert code in (0, 1), where  # 1: there is nothing of that name, and that too was a look
            assert outcomes and {denied for denied, _ in outcomes} == {False}, where
            assert {outcome for _, outcome in outcomes} <= {"allowed", "exported"}, where
            assert [one["count"] for one in made if one["kind"] == "access.read" and code == 1] in ([], [0])
    assert seen & {0, 1} and 77 in seen


@pytest.mark.parametrize(("op", "args"), ACTS, ids=json.dumps)
def test_an_act_is_done_or_refused_as_its_entry_says(
    queries: Access, tmp_path: Path, op: str, args: Row
) -> None:
    args = {name: str(tmp_path / "zz.backup") if value == "{out}" else value for name, value in args.items()}
    for role in ("", *sorted(TABLE.roles)):
        before = queries.writer.ledger.size
        code, rows = exit_of(queries, role, op, args | {"reason": "ZZ because"})
        made = [one for one in entries(queries, before) if one["kind"] not in ("key.create",)]
        denied = [one for one in made if one["kind"] == "access.denied"]
        assert bool(denied) == (code == 77), (role, code, made)
        if code == 77:
            assert made == denied and len(denied) == 1 and denied[0]["revealed"] is None and not rows
        if code == 0:
            assert made and rows, (role, made)


def test_every_question_and_act_there_is_was_put() -> None:
    assert {op for op, _ in (*QUESTIONS, *ACTS)} == set(REGISTRY)


@pytest.mark.parametrize(
    ("op", "args"),
    [(op, args) for op, args in QUESTIONS if args.get("visit") or args.get("mrn") or args.get("patient")],
    ids=json.dumps,
)
def test_who_may_not_know_patients_learns_not_even_whether_there_is_one(
    queries: Access, op: str, args: Row
) -> None:
    """The answer to a number that is somebody's and to one that is nobody's, but for the entry it names."""
    for role in ("billing", "it_ops", "administrator", "compliance_auditor", "plugin_vendor"):
        if op == "stays.show" and role == "billing":
            continue  # sees visit numbers
        said = []
        for number in (VISIT, "ZZNOBODY"):
            name = next(name for name in ("visit", "mrn", "patient") if name in args)
            before = queries.writer.ledger.size
            try:
                rows = queries.ask((role,), op, **{**args, name: number})
                said.append(json.dumps(rows))
            except UmbridgeError as exc:
                said.append(f"{exc.exit_code} {exc}".replace(str(before), "N"))
        assert said[0] == said[1] or role == "billing", (role, said)


def test_a_refusal_with_a_filter_counts_in_a_flood(queries: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "FLOOD", 3)
    queries.users["flood"] = User(user="flood", roles=("administrator",))
    before = queries.writer.ledger.size
    for _ in range(5):
        with pytest.raises(NotPermittedError):
            list(queries.registry.answer("flood", "messages.list", {"visit": VISIT}, "test"))
    assert [one["outcome"] for one in entries(queries, before)] == [*["denied"] * 3, "denied: flood begins"]
    queries.registry.door.settle_floods(everything=True)


def test_who_looked_is_found_by_what_the_entry_says_whatever_is_shown_of_it(queries: Access) -> None:
    """HIM does not see accounts: an empty report would say that nobody looked."""
    queries.users["zz"] = User(user="zz-user", roles=("ur_nurse",))
    list(queries.registry.answer("zz", "stays.list", {}, "test"))
    whole = queries.ask(("privacy_officer",), "report.access", user="zz")
    found = queries.ask(("him",), "report.access", user="zz")
    assert len(found) >= len(whole) > 1
    assert not any("account" in row for row in found)


def test_a_search_that_was_refused_is_in_no_breach(queries: Access) -> None:
    queries.users["probe"] = User(user="probe", roles=("administrator",))
    with pytest.raises(NotPermittedError):
        list(queries.registry.answer("probe", "messages.list", {"visit": VISIT}, "test"))
    assert queries.ask(("privacy_officer",), "report.breach-scope", user="probe")[1:] == []
    (look,) = queries.ask(("privacy_officer",), "report.access", user="probe")[1:]
    assert (look["kind"], look["outcome"], look["patient"]) == ("access.denied", "denied", VISIT)
