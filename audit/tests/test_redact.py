"""The table: what each role sees of each compartment for each purpose, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbridge_audit.redact import _FIELDS, GROUPS, PURPOSES, TELLING, AccessTable

TABLE = AccessTable.load()
ROLES = sorted(TABLE.roles)

OF_A_MESSAGE = "ZZ-1"  # a field of a message, which no row can name

# The golden matrix, for the purpose of the role's own work: open ops ident clin fin sens; Y all, M or R some,
GOLDEN = {
    ("ur_nurse", "HPAYMT"): "Y Y Y Y M -",
    ("case_manager", "HOPERAT"): "Y Y Y Y M -",
    ("physician_advisor", "TREAT"): "Y Y Y Y M -",
    ("billing", "HPAYMT"): "Y M M R Y -",
    ("him", "PATRQT"): "Y M Y M - -",
    ("compliance_auditor", "HCOMPL"): "Y M R R R R",
    ("privacy_officer", "HCOMPL"): "Y Y Y M M M",
    ("it_ops", "HOPERAT"): "Y M - - - -",
    ("administrator", "HOPERAT"): "Y M - - - -",
    ("plugin_vendor", "HOPERAT"): "- - - - - -",
    ("external_auditor", "HCOMPL"): "- - - - - -",
}


def letter(role: str, purpose: str, group: str) -> str:
    permission = TABLE.permission([role], purpose)
    sights = {permission.may(group, field) for field in (*_FIELDS[group], OF_A_MESSAGE)}
    if sights == {"show"}:
        return "Y"
    if sights == {"hide"}:
        return "-"
    return "R" if "mask" in sights else "M"


@pytest.mark.parametrize(("role", "purpose"), GOLDEN)
def test_golden_matrix(role: str, purpose: str) -> None:
    assert " ".join(letter(role, purpose, group) for group in GROUPS) == GOLDEN[(role, purpose)]


def test_every_role_has_a_golden_row_and_only_its_purposes() -> None:
    assert {role for role, _ in GOLDEN} == set(ROLES)
    allowed = {(r, p) for r in ROLES for p in PURPOSES if TABLE.permission([r], p).roles}
    assert {p for _, p in allowed} == {"TREAT", "HPAYMT", "HOPERAT", "HCOMPL", "PATRQT"}
    assert not any(TABLE.permission(ROLES, p).any for p in ("ETREAT", "BTG", "", "hpaymt", "nonsense"))


@given(st.lists(st.sampled_from(ROLES)), st.sampled_from(PURPOSES), st.sampled_from(GROUPS), st.data())
def test_roles_combine_by_union(roles: list[str], purpose: str, group: str, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(_FIELDS[group])))
    order = ["hide", "mask", "show"]
    each = [order.index(TABLE.permission([role], purpose).may(group, field)) for role in roles]
    permission = TABLE.permission(roles, purpose)
    assert permission.may(group, field) == order[max(each, default=0)]
    assert permission.opens(group) or permission.may(group, field) != "show"
    narrowed = permission.within(TABLE.profile("role:billing"))
    assert order.index(narrowed.may(group, field)) <= order.index(permission.may(group, field))
    assert (
        TABLE.permission(roles, purpose).within(TABLE.profile("integrity-only")).may(group, field) == "hide"
    )


@pytest.mark.parametrize("role", ["ur_nurse", "case_manager", "physician_advisor"])
def test_who_reviews_a_stay_sees_what_the_payer_said_of_it_and_nothing_else_of_money(role: str) -> None:
    """45 CFR 164.502(b), 164.514(d)(2): who pays, what was authorized and which days were avoidable are
    the work; the policy, its holder and the guarantor, which only messages have, are not."""
    for purpose in TABLE.roles[role].purposes:
        permission = TABLE.permission([role], purpose)
        shown = {field for field in _FIELDS["fin"] if permission.may("fin", field) == "show"}
        assert shown == {
            *("payer_class", "coverage", "authorizations", "avoidable_day", "avoidable_attribution")
        }
        assert {permission.may("fin", field) for field in ("IN1-36", "IN2-2", "GT1-3", "ACC-1", "code")} == {
            "hide"
        }
        assert not permission.opens("sens")


def test_unknown_roles_grant_nothing() -> None:
    assert not TABLE.permission(["root", "Administrator"], "HOPERAT").any
    for name in ("role:nobody", "billing", "", "role:"):
        with pytest.raises(ValueError, match="profile"):
            TABLE.profile(name)


def test_summary_is_what_may_be_shown() -> None:
    assert TABLE.permission(["administrator"], "HOPERAT").summary() == "open:* ops:*-content_status-subset"
    assert TABLE.permission(["administrator", "ur_nurse"], "HOPERAT").summary() == (
        "open:* ops:* ident:* clin:* "
        "fin:authorizations,avoidable_attribution,avoidable_day,coverage,payer_class"
    )
    assert TABLE.permission(["physician_advisor"], "HCOMPL").summary() == ""
    assert "clin:as_of,episode_day,outcome" in TABLE.permission(["billing"], "HPAYMT").summary()


GOOD_ROLE = """version = 1
[roles.a]
purposes = ["TREAT"]
exports = false
open = "-"
ops = "-"
ident = "-"
clin = "-"
fin = "-"
sens = "-"
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (GOOD_ROLE, ""),
        (GOOD_ROLE, "not toml"),
        ("version = 1", "version = 2"),
        ("[roles.a]", "[rules.a]"),
        ('purposes = ["TREAT"]', 'same_as = "b"'),
        ('"TREAT"', '"X"'),
        ("exports = false", "exports = 0"),
        ('sens = "-"', ""),
        ('sens = "-"', 'sens = "y"'),
        ('ops = "-"', 'ops = { M = ["mrn"] }'),
        ('ops = "-"', 'ops = { M = ["row"], R = [] }'),
        ('ops = "-"', "ops = { M = [1] }"),
        ('ops = "-"', 'ops = { X = ["mrn"] }'),
        ('ops = "-"', 'ops = { X = ["row"], M = [] }'),
        # what would tell restricted determinations from others, without sens and without the whole chart
        ('ops = "-"', 'ops = "Y"'),
        *(('ops = "-"', f'ops = {{ M = ["row", "{field}"] }}') for field in sorted(TELLING["ops"])),
        ('ops = "-"', 'ops = { X = ["row"] }'),
        *(('clin = "-"', f'clin = {{ R = ["outcome", "{field}"] }}') for field in sorted(TELLING["clin"])),
        ('clin = "-"', 'clin = { X = ["outcome"] }'),
    ],
)
def test_a_broken_table_is_refused(old: str, new: str) -> None:
    assert AccessTable(GOOD_ROLE.encode()).roles and old in GOOD_ROLE
    with pytest.raises(ValueError, match="access table"):
        AccessTable(GOOD_ROLE.replace(old, new).encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('ops = "-"', 'ops = { X = ["subset", "content_status"] }'),
        ('ops = "-"\nident = "-"\nclin = "-"', 'ops = "Y"\nident = "-"\nclin = "Y"'),
        ('fin = "-"\nsens = "-"', 'fin = "-"\nsens = { M = ["tags"] }'),
    ],
)
def test_such_a_table_is_not(old: str, new: str) -> None:
    assert old in GOOD_ROLE
    assert AccessTable(GOOD_ROLE.replace(old, new).encode()).roles


def test_the_table_is_hashed() -> None:
    assert AccessTable(GOOD_ROLE.encode()).hash != AccessTable((GOOD_ROLE + "#").encode()).hash != TABLE.hash


def _matrix() -> ModuleType:
    path = Path(__file__).with_name("make_matrix.py")
    spec = importlib.util.spec_from_file_location("umbridge_audit_tests_make_matrix", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_whole_matrix_is_the_one_that_was_reviewed() -> None:
    """Role x field x purpose, each profile and act; ``make vectors`` writes it, a person reads the diff."""
    matrix = _matrix()
    assert matrix.PAGE.read_text() == matrix.text()


def test_profiles_show_what_their_rule_allows() -> None:
    """45 CFR 164.514(b)(2), (e)(2) and 164.528(b)(2): identifiers, free text and dates by profile."""
    free_text = ("rationale", "evidence", "extended_stay_reason")
    for name in ("safe-harbor", "limited-data-set"):
        profile = TABLE.profile(name)
        assert not any(profile.may("ident", f) == "show" for f in _FIELDS["ident"]), name
        assert not any(profile.may("sens", f) == "show" for f in _FIELDS["sens"]), name
        assert not any(profile.may("clin", f) == "show" for f in free_text), name
        identifying = (
            "control_id",
            "row",
            "review_id",
            "message_digest",
            "account",
            "reason",
            "query",
            "sender",
        )
        assert not any(profile.may("ops", f) == "show" for f in identifying), name
        assert profile.may("open", "actor") == "hide"
    dated = [TABLE.profile(n).may("clin", "as_of") for n in ("safe-harbor", "limited-data-set")]
    assert dated == ["hide", "show"]
    assert TABLE.profile("safe-harbor").may("open", "ts") == "hide"
    accounting = TABLE.profile("accounting")
    assert all(accounting.may("ident", f) == "show" for f in ("recipient", "address", "what", "statement"))
    assert not accounting.opens("clin") and not accounting.opens("sens") and not accounting.opens("fin")
