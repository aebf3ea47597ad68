"""What a screen leaves behind: every value lands in the compartment it belongs to, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbridge_audit.slots import SCHEMAS

from umbridge import sample
from umbridge.hl7 import er7
from umbridge.hl7.translate import translate
from umbridge.model import Evidence, Level, Outcome, ScreenResult
from umbridge.review.plan import Review, reviews
from umbridge.review.record import changed_draft, determination_draft, is_met, optional_keys, screen_line
from umbridge.site import default_site
from umbridge.stay.fold import Stay, StayFold

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
)


def known() -> tuple[Stay, Review]:
    site = default_site()
    fold = StayFold(site)
    for seq, data in enumerate(sample.stay(0, BEGAN)):
        fold.apply(translate(er7.parse(data), site.zone, mrn_authority=site.mrn_authority), seq)
    stay = fold.stay(BEGAN + timedelta(hours=3))
    return stay, reviews(stay, frozenset())[0]


STAY, REVIEW = known()


def values(result: ScreenResult, **more: Any) -> dict[str, Any]:
    draft = determination_draft(
        row=7,
        control_id="ZC-06",
        message_digest="00",
        stay=STAY,
        review=REVIEW,
        plugin="interqual_like",
        version="0.1.0",
        result=result,
        latency_us=1200,
        isolation="process-only",
        failed=more.get("failed"),
        as_of=BEGAN,
    )
    assert draft.kind == "determination"
    assert set(draft.values) <= set(SLOTS)
    assert None not in draft.values.values()
    return dict(draft.values)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_result_that_meets_closes_a_review_and_silence_says_nothing(outcome: Outcome) -> None:
    expected = {Outcome.MEETS: True, Outcome.MEETS_ADVISE_HIGHER: True, Outcome.NOT_APPLICABLE: None}
    assert is_met(ScreenResult(outcome)) is expected.get(outcome, False)


def test_a_full_result_fills_the_contracts_keys() -> None:
    line = screen_line("ZZVN0000000", REVIEW, "interqual_like", FULL)
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
    line = screen_line("V", REVIEW, "p", empty)
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
    found, line = values(result), screen_line(STAY.visit, REVIEW, "interqual_like", result)
    for name in ("visit", "outcome", "supported", "episode_day"):
        assert found.get(name) == line[name]
    tells = found.get("sens_evidence", {}) if "PART2_SUD" in tags else found
    assert tells.get("missing", []) == line["missing"]
    assert found.get("sens_rationale" if "PART2_SUD" in tags else "rationale") == line["rationale"]
    assert ("rationale" in found) != ("sens_rationale" in found)


def test_a_changed_review_says_which_and_until_when() -> None:
    draft = changed_draft(7, REVIEW, STAY)
    slots = dict(SCHEMAS["review.changed"].slots)
    assert set(draft.values) <= set(slots)
    assert draft.values["review_id"] == REVIEW.id
    assert draft.values["due"] == REVIEW.due.isoformat()  # type: ignore[union-attr]
    assert (slots["visit"], slots["mrn"]) == ("ident", "ident")
    assert "due" not in changed_draft(7, replace(REVIEW, due=None), STAY).values
