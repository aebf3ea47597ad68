"""Accounts changed, glass broken, reports made: on the ledger first, and never one person alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from installation import Installation
from umbridge_audit.entry import Draft
from umbridge_audit.redact import AccessTable

from umbridge.access import accounting, breakglass
from umbridge.access.registry import Registry
from umbridge.errors import NotPermittedError, UsageError
from umbridge.settings import config
from umbridge.settings.config import User
from umbridge.settings.site import default_site
from umbridge.store.commands import WriteEntry
from umbridge.store.opening import hold_writer, open_keys

TABLE = AccessTable.load()
VISIT, OTHER = "ZZVN0000001", "ZZVN0000002"
PEOPLE = {
    "admin": ("administrator",),
    "doctor": ("physician_advisor",),
    "nurse": ("ur_nurse",),
    "privacy": ("privacy_officer",),
    "him": ("him",),
    "auditor": ("compliance_auditor",),
}


def restricted(visit: str) -> Draft:
    return Draft(
        "determination",
        {
            "actor": "plugin:zz",
            "state": "screened",
            "visit": visit,
            "mrn": "ZZ1",
            "sens_rationale": "ZZSECRET",
        },
    )


class Access:
    """Everybody who may ask, one writer, and two restricted determinations of two patients."""

    def __init__(self, where: Installation, stack: ExitStack) -> None:
        self.where = where
        settings = where.settings
        self.writer = stack.enter_context(hold_writer(settings, open_keys(settings)))
        self.users = {name: User(user=f"{name}-user", roles=roles) for name, roles in PEOPLE.items()}
        self.registry = Registry(settings, self.writer, default_site(), self.users, TABLE)
        self.mine = self.writer.call(WriteEntry(draft=restricted(VISIT)))
        self.other = self.writer.call(WriteEntry(draft=restricted(OTHER)))

    def ask(self, account: str, op: str, /, **args: Any) -> list[dict[str, Any]]:
        return list(self.registry.answer(account, op, args, "test"))

    def kinds(self) -> list[str]:
        return [str(row["kind"]) for row in self.writer.ledger.open_slots()]


@pytest.fixture
def queries(installation: Installation) -> Iterator[Access]:
    with ExitStack() as stack:
        yield Access(installation, stack)


# -- users -----------------------------------------------------------------------------------------------


def test_a_change_is_on_the_ledger_in_the_file_and_in_force(queries: Access) -> None:
    path = queries.where.settings.users
    head = path.read_text().splitlines()[0]
    (row,) = queries.ask("admin", "users.add", account="new", user="zz-new", roles="him", reason="ZZ hired")
    said = queries.writer.ledger.reveal(row["entry"])
    assert said["ops"]["subject"] == "new" and said["ops"]["before"] is None
    assert said["ops"]["after"] == {"user": "zz-new", "roles": ["him"]}
    queries.ask("admin", "users.role", account="new", roles="ur_nurse case_manager")
    assert queries.users["new"].roles == ("ur_nurse", "case_manager")
    queries.ask("admin", "users.disable", account="new")
    kept = config.load_users(path, frozenset(TABLE.roles))
    assert kept == queries.users and kept["new"] == User(user="zz-new", roles=())
    assert path.read_text().splitlines()[0] == head and not list(path.parent.glob("*.new"))
    with pytest.raises(NotPermittedError):
        queries.ask("new", "messages.list")
    for account, name in (("new", "zz-again"), ("zz-again", "zz-new")):  # never used again
        with pytest.raises(UsageError, match="never used again"):
            queries.ask("admin", "users.add", account=account, user=name, roles="him")
    assert queries.kinds().count("privilege.change") == 3


def test_nobody_lifts_themselves_and_somebody_stays_administrator(queries: Access) -> None:
    before = queries.where.settings.users.read_text()
    for op, args in (("users.role", {"roles": "ur_nurse"}), ("users.disable", {})):
        with pytest.raises(NotPermittedError, match="their own"):
            queries.ask("admin", op, account="admin", **args)
    for account in ("nurse", "privacy", "nobody"):
        with pytest.raises(NotPermittedError):
            queries.ask(account, "users.add", account="zz", user="zz", roles="administrator")
    for args in ({"account": "a b", "roles": "him"}, {"account": "zz", "roles": "king"}, {"account": "zz"}):
        with pytest.raises(UsageError):
            queries.ask("admin", "users.add", **{"user": "zz", **args})
    assert queries.where.settings.users.read_text() == before
    assert queries.kinds().count("access.denied") == 5 and "privilege.change" not in queries.kinds()


# -- broken glass ----------------------------------------------------------------------------------------


def test_broken_glass_shows_one_patient_after_it_is_on_the_ledger(queries: Access) -> None:
    with pytest.raises(NotPermittedError, match="--reason"):
        queries.ask("doctor", "ledger.show", seq=queries.mine, purpose="BTG")
    before = len(queries.kinds())
    (row,) = queries.ask("doctor", "ledger.show", seq=queries.mine, purpose="BTG", reason="ZZ in withdrawal")
    assert row["slots"]["sens_rationale"] == "ZZSECRET"
    assert queries.kinds()[before:] == ["breakglass.open", "access.read"]
    said = queries.writer.ledger.reveal(before)
    assert (said["ident"]["patient"], said["ops"]["reason"]) == (VISIT, "ZZ in withdrawal")
    queries.ask("doctor", "ledger.show", seq=queries.mine, purpose="BTG")  # within the hour, no second reason
    assert queries.kinds().count("breakglass.open") == 1
    with pytest.raises(NotPermittedError):  # another patient is another window
        queries.ask("doctor", "ledger.show", seq=queries.other, purpose="BTG")
    with queries.writer.reading() as reader:
        held = reader.notes_under("glass:")
    assert len(held) == 1 and VISIT not in json.dumps(held)
    with pytest.raises(NotPermittedError):
        queries.ask("doctor", "stays.list", purpose="BTG", reason="ZZ all of them please")
    assert breakglass.waiting(queries.writer) == {"to_review": 1, "overdue": 0}


def test_only_medical_people_break_glass_and_only_others_review(queries: Access) -> None:
    for account in ("admin", "nurse", "privacy", "auditor", "nobody"):
        with pytest.raises(NotPermittedError):
            queries.ask(account, "ledger.show", seq=queries.mine, purpose="BTG", reason="ZZ please let me")
    queries.users["both"] = User(user="both", roles=("physician_advisor", "privacy_officer"))
    queries.ask("both", "ledger.show", seq=queries.mine, purpose="BTG", reason="ZZ emergency here")
    (waiting,) = queries.ask("privacy", "breakglass.list")
    assert waiting["user"] == "both" and not waiting["overdue"] and VISIT not in json.dumps(waiting)
    with pytest.raises(NotPermittedError, match="nobody reviews"):
        queries.ask("both", "breakglass.review", seq=waiting["entry"], finding="justified")
    with pytest.raises(NotPermittedError):
        queries.ask("doctor", "breakglass.review", seq=waiting["entry"], finding="justified")
    with pytest.raises(UsageError):
        queries.ask("privacy", "breakglass.review", seq=waiting["entry"], finding="fine")
    queries.ask(
        "privacy", "breakglass.review", seq=waiting["entry"], finding="unjustified", reason="ZZ curious"
    )
    assert queries.ask("privacy", "breakglass.list") == []
    with pytest.raises(UsageError, match="waits"):
        queries.ask("privacy", "breakglass.review", seq=waiting["entry"], finding="justified")


def test_a_window_closes_and_a_late_review_shows(queries: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakglass, "MINUTES", 0)
    monkeypatch.setattr(breakglass, "REVIEW_HOURS", -1)
    queries.ask("doctor", "ledger.show", seq=queries.mine, purpose="BTG", reason="ZZ emergency here")
    with pytest.raises(NotPermittedError):
        queries.ask("doctor", "ledger.show", seq=queries.mine, purpose="BTG")
    assert breakglass.waiting(queries.writer) == {"to_review": 1, "overdue": 1}
    assert queries.ask("auditor", "breakglass.list")[0]["overdue"] is True


# -- reports ---------------------------------------------------------------------------------------------

TODAY = datetime.now(UTC).date().isoformat()
FOUR = {
    "patient": VISIT,
    "recipient": "ZZ Health Department",
    "what": "ZZ culture result",
    "statement": "ZZ law 7",
}


@pytest.mark.parametrize("basis", [*accounting.EXCLUDED, *accounting.ACCOUNTED])
def test_every_basis_is_accounted_or_left_out_for_a_reason(basis: str) -> None:
    """45 CFR 164.528(a)(1)(i) to (ix), and nothing else is left out."""
    why = accounting.exclusion(basis, TODAY)
    assert (why is None) == (basis in accounting.ACCOUNTED)
    if why:
        assert why.split(")")[0] in ("(i", "(ii", "(iii", "(iv", "(v", "(vi", "(vii", "(viii")
    assert accounting.exclusion(basis, "2003-04-13") is not None
    if basis in accounting.ACCOUNTED:
        assert accounting.exclusion(basis, "2003-04-13") == "(ix) before the compliance date"
        assert accounting.exclusion(basis, "2003-04-14") is None


def test_an_accounting_has_four_parts_six_years_and_says_what_it_leaves_out(queries: Access) -> None:
    for on, basis in (
        ("2026-03-02", "public-health"),
        ("2026-04-01", "public-health"),
        ("2026-05-01", "payment"),
    ):
        queries.ask("him", "disclosures.record", **FOUR, basis=basis, on=on)
    queries.ask("him", "disclosures.record", **FOUR, basis="judicial", on="2020-11-21")
    queries.ask("him", "disclosures.record", **{**FOUR, "patient": OTHER}, basis="judicial")
    asked: dict[str, Any] = {"patient": VISIT, "asked_on": "2026-11-22"}
    head, *rows = queries.ask("privacy", "report.disclosures", **asked)
    assert head["unanchored"] >= 0 and head["unanchored_window_seconds"] == 10.0
    (row,) = rows  # (b)(3): two to one recipient for one purpose are one line
    assert (row["date"], row["last_date"], row["times"]) == ("2026-03-02", "2026-04-01", 2)
    assert row["recipient"] == FOUR["recipient"] and row["what"] and row["statement"]
    everything = queries.ask("privacy", "report.disclosures", **asked, all=True)[1:]
    assert [r["exclusion"] for r in everything if r["basis"] == "payment"] == [accounting.EXCLUDED["payment"]]
    older = queries.ask("privacy", "report.disclosures", patient=VISIT, asked_on="2026-11-20")[1:]
    assert "2020-11-21" in {r["date"] for r in older}  # six years back, that day is still inside
    assert queries.ask("him", "report.disclosures", **asked, all=True)[1:] == everything  # whose task it is
    for account in ("admin", "nurse", "auditor"):
        with pytest.raises(NotPermittedError):
            queries.ask(account, "report.disclosures", **asked)
    with pytest.raises(NotPermittedError):
        queries.ask("nurse", "disclosures.record", **FOUR, basis="judicial")
    for lacking in ({"what": " "}, {"basis": "because"}, {"on": "yesterday"}):
        with pytest.raises(UsageError):
            queries.ask("him", "disclosures.record", **{**FOUR, "basis": "judicial", **lacking})


def test_the_access_report_shows_a_role_what_it_may_see(queries: Access) -> None:
    queries.ask("doctor", "ledger.show", seq=queries.mine, purpose="BTG", reason="ZZ emergency here")
    with pytest.raises(NotPermittedError):
        queries.ask("nobody", "messages.list")
    rows = queries.ask("privacy", "report.access")[1:]
    assert {"access.read", "access.denied", "breakglass.open"} <= {row["kind"] for row in rows}
    (look,) = (row for row in rows if row["kind"] == "access.read")
    assert (look["patient"], look["account"], look["purpose"]) == (VISIT, "doctor", "BTG")
    assert {r["account"] for r in queries.ask("privacy", "report.access", user="doctor")[1:]} == {"doctor"}
    mine = queries.ask("privacy", "report.access", patient=VISIT)[1:]
    assert {row["patient"] for row in mine} == {VISIT}
    assert VISIT not in json.dumps(queries.ask("auditor", "report.access"))
    with pytest.raises(NotPermittedError, match="patient"):
        queries.ask("auditor", "report.access", patient=VISIT)
    with pytest.raises(NotPermittedError):
        queries.ask("nurse", "report.access")
    assert queries.ask("privacy", "report.access", until="2001-01-01")[1:] == []


def test_a_breach_reaches_the_patients_that_were_shown(queries: Access) -> None:
    queries.ask("nurse", "ledger.show", seq=queries.mine, purpose="HPAYMT")
    queries.ask("nurse", "ledger.show", seq=queries.mine, purpose="HPAYMT")
    head, *rows = queries.ask("privacy", "report.breach-scope", user="nurse")
    assert [(row["patient"], row["looks"], row["how"]) for row in rows] == [(VISIT, 2, ["one by one"])]
    assert "ident:*" in rows[0]["shown"][0] and head["user"] == "nurse"
    assert queries.ask("privacy", "report.breach-scope", user="him")[1:] == []
    with pytest.raises(NotPermittedError):
        queries.ask("auditor", "report.breach-scope", user="nurse")
    with pytest.raises(UsageError):
        queries.ask("privacy", "report.breach-scope")


# -- nothing leaks ---------------------------------------------------------------------------------------


def test_a_canary_is_in_no_answer_of_a_role_without_its_compartment(queries: Access, tmp_path: Path) -> None:
    """Names and restricted words planted, then everything asked in every role; errors are searched too."""
    queries.ask("him", "disclosures.record", **FOUR, basis="public-health")
    queries.ask("doctor", "ledger.show", seq=queries.mine, purpose="BTG", reason="ZZ emergency here")
    top = queries.writer.ledger.size
    canaries = {"ident": [VISIT, OTHER, "ZZ Health", "ZZ culture"], "sens": ["ZZSECRET"]}
    for account, (role,) in PEOPLE.items():
        for purpose in sorted(TABLE.roles[role].purposes):
            said: list[str] = []
            asks: list[tuple[str, dict[str, Any]]] = [("ledger.show", {"seq": seq}) for seq in range(top)]
            asks += [(op, {}) for op in ("messages.list", "stays.list", "ledger.list", "keys.list")]
            asks += [(op, {}) for op in ("users.list", "breakglass.list", "report.access")]
            asks += [
                ("report.disclosures", {"patient": "ZZNONE"}),
                ("report.breach-scope", {"user": "nurse"}),
            ]
            asks += [("stays.show", {"visit": "ZZNONE"})]
            for op, args in asks:
                try:
                    said.append(json.dumps(queries.ask(account, op, **args, purpose=purpose)))
                except Exception as exc:
                    said.append(f"{exc!r} {exc.__cause__!r} {exc.__context__!r}")
            permission = TABLE.permission([role], purpose)
            for compartment, words in canaries.items():
                if not permission.opens(compartment):
                    assert not [w for w in words if any(w in text for text in said)], (account, purpose)
    control = "".join(
        json.dumps(queries.ask("nurse", "ledger.show", seq=s, purpose="HPAYMT")) for s in range(top)
    )
    assert VISIT in control and "ZZSECRET" not in control  # the search would find it
