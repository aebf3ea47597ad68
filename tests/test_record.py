"""What a screen leaves behind: every value lands in the compartment it belongs to, and nowhere else."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_audit.deidentify import statement
from umbridge_audit.disclose import Sees, view
from umbridge_audit.entry import Draft
from umbridge_audit.export import entry_line
from umbridge_audit.keys import Keyring
from umbridge_audit.redact import GROUPS, PURPOSES, TELLING, AccessTable, Permission, Sight
from umbridge_audit.slots import SCHEMAS
from umbridge_audit.store import Ledger, transaction

from umbridge.commands import sample
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Evidence, ScreenResult
from umbridge.review.plan import reviews
from umbridge.review.record import (
    changed_draft,
    determination_draft,
    is_met,
    optional_keys,
    screen_line,
    spelt,
)
from umbridge.review.review import Review
from umbridge.settings.site import default_site
from umbridge.stay.fold import Stay, StayFold
from umbridge.values.kinds import Level, Outcome
from umbridge.values.signed import NOBODY, ContentStatus

BEGAN = datetime(2026, 1, 12, 14, 0, tzinfo=UTC)
SLOTS = dict(SCHEMAS["determination"].slots)
FULL = ScreenResult(
    Outcome.PEND,
    subset="cap",
    edition="2026.1",
    digest="sha256:ab",
    supported=Level.OBS,
    missing=("bun", "sodium"),
    rationale="ZZRATIONALE",
    evidence=(Evidence("resp_rate", "32", "/min", "2026-01-12T09:15:00-05:00", "ZZ1 OBX[1]-5"),),
    advise_higher="UNKNOWN",
    advise_missing=("paco2",),
    basis="BENCHMARK",
    discharge_ready=False,
    extended_stay_reason="ZZREASON",
    avoidable_day="ZZDAY",
    avoidable_attribution="PAYER",
    tags=("ZZTAG",),
    scores={"curb65": 0, "psi_class": "IV"},
    hold=("ZZ_KEPT",),
)


def known() -> tuple[Stay, Review]:
    site = default_site()
    fold = StayFold(site)
    for seq, data in enumerate(sample.stay(0, BEGAN)):
        fold.apply(translate(er7.parse(data), site.zone, mrn_authority=site.mrn_authority), seq)
    stay = fold.stay(BEGAN + timedelta(hours=3))
    return stay, reviews(stay, frozenset())[0]


STAY, REVIEW = known()


def drafted(result: ScreenResult, *, stay: Stay = STAY, failed: str | None = None) -> Draft:
    return determination_draft(
        row=7,
        control_id="ZC-06",
        message_digest="00",
        stay=stay,
        review=REVIEW,
        plugin="interqual_like",
        version="0.1.0",
        result=result,
        latency_us=1200,
        isolation="process-only",
        failed=failed,
        as_of=BEGAN,
        closes=False,
    )


def values(result: ScreenResult, **more: Any) -> dict[str, Any]:
    draft = drafted(result, **more)
    assert draft.kind == "determination"
    assert set(draft.values) <= set(SLOTS)
    assert None not in draft.values.values()
    return dict(draft.values)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_result_that_meets_closes_a_review_and_silence_says_nothing(outcome: Outcome) -> None:
    expected = {Outcome.MEETS: True, Outcome.NOT_APPLICABLE: None}
    assert is_met(ScreenResult(outcome)) is expected.get(outcome, False)


def test_a_full_result_fills_the_contracts_keys() -> None:
    line = screen_line("ZZVN0000000", REVIEW, "interqual_like", FULL, closes=False)
    assert line["requested"] == {"status": "INPATIENT", "level": "ACUTE"}
    assert line["supported"] == "OBS"
    assert line["evidence"][0] == {
        "fact": "resp_rate",
        "value": "32",
        "unit": "/min",
        "at": "2026-01-12T09:15:00-05:00",
        "from": "ZZ1 OBX[1]-5",
    }
    assert line["discharge_ready"] is False  # false is an answer; only None is not there
    assert line["scores"] == {"curb65": 0, "psi_class": "IV"}
    assert json.loads(json.dumps(line)) == line


def test_an_empty_result_has_the_fixed_keys_and_no_other() -> None:
    empty = ScreenResult(Outcome.NOT_APPLICABLE)
    assert optional_keys(empty) == {}
    line = screen_line("V", REVIEW, "p", empty, closes=True)
    assert (line["closes"], line["hold"]) == (True, [])
    assert line["content_status"] == {"state": "draft", "by": [], "on": None}  # nobody has said more
    assert (line["subset"], line["supported"], line["missing"], line["avoidable_day"]) == (
        None,
        None,
        [],
        None,
    )


def test_every_value_of_a_result_is_on_the_ledger_in_its_compartment() -> None:
    found = values(FULL, failed="timeout")
    assert found["state"] == "failed"
    assert values(FULL)["state"] == "screened"
    groups = {name: SLOTS[name] for name in found}
    clinical = [
        *("outcome", "requested_status", "requested_level", "supported", "missing", "rationale", "evidence"),
        *("basis", "advise_higher", "advise_missing", "scores", "discharge_ready", "extended_stay_reason"),
    ]
    assert all(groups[name] == "clin" for name in (*clinical, "episode_day", "as_of"))
    assert {groups[name] for name in ("visit", "mrn")} == {"ident"}
    assert {groups[name] for name in ("payer_class", "avoidable_day", "avoidable_attribution")} == {"fin"}
    assert groups["tags"] == "sens"
    unsealed = json.dumps([v for name, v in found.items() if SLOTS[name] in ("open", "ops")])
    for word in ("ZZVN", STAY.mrn, "ZZRATIONALE", "ZZREASON", "ZZDAY", "resp_rate", "curb65", "PEND"):
        assert word not in unsealed


def test_substance_use_content_goes_to_the_restricted_compartment_alone() -> None:
    result = replace(FULL, tags=("PART2_SUD",))
    found = values(result)
    assert (found["sens_rationale"], found["tags"]) == ("ZZRATIONALE", ["PART2_SUD"])
    assert found["sens_evidence"]["evidence"][0]["fact"] == "resp_rate"
    assert (found["sens_evidence"]["subset"], found["sens_evidence"]["scores"]["curb65"]) == ("cap", 0)
    rest = json.dumps({name: v for name, v in found.items() if SLOTS[name] != "sens"})
    for word in ("PART2_SUD", "ZZRATIONALE", "resp_rate", "cap", "curb65", "bun", "BENCHMARK", "ZZREASON"):
        assert f'"{word}"' not in rest
    assert found["outcome"] == "PEND"  # the work that is left can be done


def test_a_result_that_names_a_restricted_fact_is_restricted_whatever_its_plugin_says() -> None:
    for result in (
        replace(FULL, missing=("ciwa_ar",)),
        replace(FULL, advise_missing=("ciwa_ar",)),
        replace(FULL, scores={"ciwa_ar": 12}),
        replace(FULL, evidence=(replace(FULL.evidence[0], fact="ciwa_ar"),)),
    ):
        found = values(result)
        rest = json.dumps({name: v for name, v in found.items() if SLOTS[name] != "sens"})
        assert "ciwa_ar" not in rest and "ZZRATIONALE" not in rest
    assert "sens_rationale" not in values(FULL)


@given(
    outcome=st.sampled_from(list(Outcome)),
    supported=st.none() | st.sampled_from(list(Level)),
    missing=st.lists(st.sampled_from(["bun", "sodium", "glucose"]), unique=True).map(tuple),
    text=st.text(max_size=20),
    tags=st.lists(st.sampled_from(["PART2_SUD", "ZZTAG"]), unique=True).map(tuple),
)
def test_the_ledger_and_the_printed_line_agree(
    outcome: Outcome, supported: Level | None, missing: tuple[str, ...], text: str, tags: tuple[str, ...]
) -> None:
    result = ScreenResult(outcome, supported=supported, missing=missing, rationale=text, tags=tags)
    found, line = values(result), screen_line(STAY.visit, REVIEW, "interqual_like", result, closes=True)
    for name in ("visit", "outcome", "supported", "episode_day"):
        assert found.get(name) == line[name]
    tells = found.get("sens_evidence", {}) if "PART2_SUD" in tags else found
    assert tells.get("missing", []) == line["missing"]
    assert found.get("sens_rationale" if "PART2_SUD" in tags else "rationale") == line["rationale"]
    assert ("rationale" in found) != ("sens_rationale" in found)


# --- restricted and unrestricted look alike --------------------------------------------------------------

TABLE = AccessTable.load()
#: Every role alone and any two together, for each purpose they have.
PERMISSIONS = {
    (roles, purpose): found
    for roles in (*((name,) for name in TABLE.roles), *combinations(TABLE.roles, 2))
    for purpose in PURPOSES
    if (found := TABLE.permission(roles, purpose)).roles
}
PROFILES = ("integrity-only", *sorted(TABLE.profiles), *(f"role:{name}" for name in TABLE.roles))


def sights(sees: Sees) -> tuple[object, ...]:
    """All that a view or a line goes by: what may be seen of each field, and what is opened at all."""
    fields = [sees.may(c, name) for c in GROUPS for name in sorted({*SLOTS, *OWN})]
    return (*fields, *(sees.opens(c) for c in GROUPS))


#: What an entry has of its own, whatever it says.
OWN = {"seq", "ts", "leaf_hash"}


def reads_the_chart(permission: Permission) -> bool:
    return all(permission.may("clin", name) == "show" for name, c in SLOTS.items() if c == "clin")


class Written:
    """A ledger and the way to write to it."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self._connection = connection
        self.shelf = Ledger.create(
            connection,
            Keyring.create(folder / "keys"),
            org="zz",
            chain="zz",
            facility="ZZ",
            software="test",
            anchor=folder / "anchor",
        )

    def write(self, *drafts: Draft) -> list[int]:
        with transaction(self._connection):
            return [receipt.seq for receipt in self.shelf.append(drafts)]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    folder = tmp_path_factory.mktemp("ledger")
    with closing(sqlite3.connect(folder / "zz.db")) as connection:
        yield Written(connection, folder)


RESULTS = st.builds(
    ScreenResult,
    outcome=st.sampled_from([each for each in Outcome if each is not Outcome.NOT_APPLICABLE]),
    subset=st.just("cap"),
    edition=st.just("2026.1"),
    digest=st.just("sha256:ab"),
    supported=st.none() | st.sampled_from(list(Level)),
    missing=st.sampled_from([(), ("bun", "sodium")]),
    rationale=st.just("ZZRATIONALE"),
    evidence=st.sampled_from([(), FULL.evidence]),
    advise_higher=st.sampled_from([None, "YES", "NO", "UNKNOWN"]),
    advise_missing=st.sampled_from([(), ("paco2",)]),
    basis=st.sampled_from([None, "BENCHMARK"]),
    discharge_ready=st.sampled_from([None, True, False]),
    extended_stay_reason=st.sampled_from([None, "ZZREASON"]),
    avoidable_day=st.sampled_from([None, "ZZDAY"]),
    scores=st.sampled_from([{}, {"curb65": 0}]),
    hold=st.sampled_from([(), ("AGE_ONLY",)]),
)


@cache
def alike() -> list[tuple[Any, Permission]]:
    """One of each kind of eyes, with a name for it: whoever sees alike is shown alike."""
    blind = {where: found for where, found in PERMISSIONS.items() if not found.opens("sens")}
    return list({sights(found): (where, found) for where, found in blind.items()}.values())


@cache
def alike_on_lines() -> list[tuple[Any, Sees]]:
    """The same of bundles: eyes and profile."""
    return list(
        {
            sights(sees): ((where, profile), sees)
            for where, found in PERMISSIONS.items()
            if not found.opens("sens")
            for profile in PROFILES
            for sees in (found.within(TABLE.profile(profile)),)
        }.values()
    )


@settings(max_examples=25, deadline=None)
@given(result=RESULTS)
def test_who_may_not_see_part_2_sees_the_same_of_every_stay(ledger: Written, result: ScreenResult) -> None:
    """42 CFR 2.12(a)(1), 2.13(c): not by a value, and not by a field that is empty, masked or gone."""
    pair = ledger.write(drafted(result), drafted(replace(result, tags=("PART2_SUD",))))
    shelf = ledger.shelf
    for where, permission in alike():
        seen = [view(shelf, permission, seq) for seq in pair]
        ours, theirs = (dict(each["slots"]) for each in seen)  # type: ignore[call-overload]
        assert {k: v for k, v in seen[0].items() if k not in {*OWN, "slots"}} == {
            k: v for k, v in seen[1].items() if k not in {*OWN, "slots"}
        }
        assert list(ours) == list(theirs), where
        different = {name for name in ours if ours[name] != theirs[name]}
        # who reads the chart finds a restricted determination's reasons gone (decision 0093), and no more
        allowed = set().union(*TELLING.values()) if reads_the_chart(permission) else set()
        assert different <= allowed, where
    for told, sees in alike_on_lines():
        lines = [json.loads(entry_line(shelf, shelf.record(seq), sees, ())) for seq in pair]
        shown = [{name: value for _, _, name, value in line["open"] if name not in OWN} for line in lines]
        assert shown[0] == shown[1], told
        hidden = [[place for place, _ in line["hidden"]] for line in lines]
        assert hidden[0] == hidden[1], told


class Everything:
    """Eyes that nothing is hidden from."""

    def may(self, compartment: str, field: str) -> Sight:
        return "show"

    def opens(self, compartment: str) -> bool:
        return True


def test_counts_do_not_say_how_many_are_restricted(ledger: Written) -> None:
    """Safe Harbor: all are in the file and none looks restricted. One that was left out could be counted, by
    whoever has a bundle of the same ledger, and one without a subset would be seen.
    """
    silent = ScreenResult(Outcome.NOT_APPLICABLE, rationale="No subset for the principal diagnosis.")
    made = [drafted(each) for each in (FULL, replace(FULL, tags=("PART2_SUD",)), silent)]
    first, _, last = ledger.write(*made)
    records = ledger.shelf.records(first, last + 1)
    counted = list(statement(ledger.shelf, records, TABLE.profile("safe-harbor"), "00"))
    assert json.loads(counted[0])["determinations"] == 3
    rows = {line["row"]["outcome"]: line for line in map(json.loads, counted[1:])}
    assert {outcome: line["count"] for outcome, line in rows.items()} == {"PEND": 2, "NOT_APPLICABLE": 1}
    assert not any(set().union(*TELLING.values()) & set(line["row"]) for line in rows.values())
    # also for eyes that are shown everything: the file goes to people nobody here knows
    whole = list(statement(ledger.shelf, ledger.shelf.records(first, last + 1), Everything(), "00"))
    for line in map(json.loads, whole[1:]):
        assert not set().union(*TELLING.values()) & set(line["row"])


def test_what_tells_is_what_a_restricted_determination_leaves_empty() -> None:
    """The access table's list and this module's are one list."""
    full = replace(FULL, tags=())
    left = set(values(full)) - set(values(replace(full, tags=("PART2_SUD",))))
    assert left == set().union(*TELLING.values())
    assert all(SLOTS[name] == c for c, names in TELLING.items() for name in names)


def test_a_principal_diagnosis_of_substance_use_restricts_whatever_the_plugin_says() -> None:
    """A vendor who forgets the tag names the subset, and with it the disease, to everybody."""
    for diagnoses, is_restricted in (
        (("F10.231", "J18.9"), True),
        (("J18.9", "F10.231"), False),
        ((), False),
    ):
        found = values(replace(FULL, tags=()), stay=replace(STAY, diagnoses=diagnoses))
        assert ("sens_rationale" in found, "subset" in found) == (is_restricted, not is_restricted)


def test_a_changed_review_says_which_and_until_when() -> None:
    draft = changed_draft(7, REVIEW, STAY, "FACT_CORRECTED")
    slots = dict(SCHEMAS["review.changed"].slots)
    assert set(draft.values) <= set(slots)
    assert draft.values["review_id"] == REVIEW.id
    assert draft.values["due"] == REVIEW.due.isoformat()  # type: ignore[union-attr]
    assert (draft.values["reason"], slots["reason"]) == ("FACT_CORRECTED", "ops")
    assert (slots["visit"], slots["mrn"]) == ("ident", "ident")
    assert "due" not in changed_draft(7, replace(REVIEW, due=None), STAY, "").values


WORD = st.text(st.sampled_from('aZ09 -:.[]"\\\x00\n\x7f/\u00b5\u2028'), max_size=6)


@settings(max_examples=200, deadline=None)
@given(
    evidence=st.lists(st.builds(Evidence, WORD, WORD, WORD, WORD, WORD), max_size=3).map(tuple),
    tags=st.sampled_from([(), ("PART2_SUD",)]),
    signed=st.sampled_from([NOBODY, ContentStatus("approved", ('ZZ "Q"', "ZZB"), "2026-01-01")]),
)
def test_what_is_spelt_apart_is_spelt_as_the_ledger_does(
    evidence: tuple[Evidence, ...], tags: tuple[str, ...], signed: ContentStatus
) -> None:
    result = replace(FULL, evidence=evidence, tags=tags, content_status=signed)
    draft = drafted(result)
    known, schema = spelt(draft, result), SCHEMAS["determination"]
    assert schema.texts(draft.values, known) == schema.texts(draft.values)
    assert set(known) <= {"evidence", "content_status"}
    assert not (tags and known)


def test_evidence_of_plain_words_is_spelt_apart() -> None:
    assert set(spelt(drafted(FULL), FULL)) == {"evidence", "content_status"}
    assert set(spelt(drafted(replace(FULL, evidence=())), replace(FULL, evidence=()))) == {"content_status"}
