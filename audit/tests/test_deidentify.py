"""Safe Harbor: eighteen kinds of identifiers planted everywhere, and none of them in what goes out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from umbridge_audit.deidentify import statement
from umbridge_audit.disclose import Viewer
from umbridge_audit.entry import Draft
from umbridge_audit.export import export
from umbridge_audit.redact import AccessTable, Permission

TABLE = AccessTable.load()
SAFE = TABLE.profile("safe-harbor")

# 45 CFR 164.514(b)(2)(i)(A) to (R), one planted example each
IDENTIFIERS = {
    "A": "ZZTEST ALDER",
    "B": "12 ZZ Lane, Umbridge 02138",
    "C": "2026-03-02",
    "D": "617-555-0100",
    "E": "617-555-0199",
    "F": "zz@example.invalid",
    "G": "900-12-3456",
    "H": "ZZTEST-MRN-4711",
    "I": "ZZPPO0123456",
    "J": "ZZAC0000000",
    "K": "ZZLIC88112",
    "L": "ZZVIN1HGCM82633A",
    "M": "ZZDEV-SN-99881",
    "N": "https://example.invalid/zz",
    "O": "192.0.2.17",
    "P": "fingerprint ZZ f3a9",
    "Q": "photo ZZ.jpg",
    "R": "ZZ-CHART-00042",
}


def planted(word: str) -> Draft:
    """A determination whose every field of text holds the identifier, as a careless plugin might leave it."""
    coded = {
        "outcome": "MEETS",
        "requested_status": "INPATIENT",
        "requested_level": "ACUTE",
        "supported": "ACUTE",
        "payer_class": "COMMERCIAL",
        "discharge_ready": False,
    }
    text = dict.fromkeys(
        (
            *(
                "actor",
                "state",
                "control_id",
                "message_digest",
                "plugin",
                "plugin_version",
                "subset",
                "edition",
            ),
            *("review", "review_id", "isolation", "visit", "mrn", "rationale", "basis", "advise_higher"),
            *("extended_stay_reason", "as_of", "avoidable_day", "sens_rationale"),
        ),
        word,
    )
    lists = {"missing": [word, "bun"], "evidence": [{"fact": word}], "tags": [word], "advise_missing": [word]}
    return Draft("determination", {**coded, **text, **lists, "row": 7, "scores": {"psi": 131}})


def lines(lab: Any, sees: Any = SAFE) -> list[str]:
    return list(statement(lab.ledger, lab.ledger.records(), sees, TABLE.hash))


def test_a52_no_identifier_of_the_eighteen_goes_out(lab: Any, message: Any) -> None:
    lab.write(*(planted(word) for word in IDENTIFIERS.values()), message(1))
    out = lines(lab)
    text = "\n".join(out)
    for letter, word in IDENTIFIERS.items():
        assert word not in text, letter
        assert not any(piece in text for piece in word.split() if len(piece) > 6), letter
    year = next(iter(lab.ledger.open_slots()))["ts"][:4]
    (row,) = (json.loads(line) for line in out[1:])
    assert row["count"] == len(IDENTIFIERS)
    assert row["row"]["outcome"] == "MEETS" and not {"missing", "subset"} & set(row["row"])
    assert (row["row"]["plugin"], row["row"]["year"]) == (None, year)
    for leak in ("leaf", "seq", "salt", "ts", "kid", "131", f"{year}-", "2026-"):
        assert leak not in text, leak


def test_the_order_and_the_number_of_a_row_say_nothing(lab: Any, determination: Any) -> None:
    lab.write(determination(1))
    first = lines(lab)
    lab.write(determination(2), determination(3))
    second = lines(lab)
    assert first[1].replace('"count":1', '"count":3') == second[1] and len(second) == 2
    assert json.loads(second[0])["determinations"] == 3


def test_whoever_may_see_little_takes_out_little(lab: Any, determination: Any) -> None:
    lab.write(determination(1))
    nobody = lines(lab, TABLE.permission(["it_ops"], "HOPERAT").within(SAFE))
    assert "MEETS" not in nobody[1] and "interqual_like" in nobody[1]
    assert "interqual_like" not in lines(lab, Permission())[1]


def test_it_is_never_a_bundle(lab: Any, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="no bundle"):
        export(
            lab.ledger,
            TABLE.permission(["privacy_officer"], "HCOMPL"),
            TABLE,
            viewer=Viewer("a", "u", ("privacy_officer",), "os"),
            purpose="HCOMPL",
            reason="",
            profile="safe-harbor",
            out=tmp_path / "out",
            commit=lab.commit,
            checkpoint=lab.ledger.checkpoint,
        )
    assert not (tmp_path / "out").exists()
