"""The kit's checks on this plugin's content, and its scores against the papers written out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import umbridge_interqual_like as plugin
from hypothesis import given, settings

from umbridge import Subset
from umbridge.testing import CriteriaKit, Value, examined, patients

SUBSETS = list(plugin.LIBRARY.subsets.values())


class TestContent(CriteriaKit):
    plugin = plugin
    library = plugin.LIBRARY


def curb65(v: Mapping[str, Value]) -> int:
    """Lim 2003, written out."""
    return (
        (v["new_confusion"] is True)
        + (v["bun"] > 19)  # type: ignore[operator]
        + (v["resp_rate"] >= 30)  # type: ignore[operator]
        + (v["sbp"] < 90 or v["dbp"] <= 60)  # type: ignore[operator]
        + (v["age"] >= 65)  # type: ignore[operator]
    )


def psi(v: Mapping[str, Value]) -> tuple[int, str]:
    """Fine 1997, written out: step one, then the points."""
    n = {key: float(value) for key, value in v.items() if isinstance(value, Decimal)}
    hot = n["temperature"] < 35 or n["temperature"] >= 40
    ill = ("cancer", "liver_disease", "heart_failure", "cerebrovascular_disease", "renal_disease")
    signs = n["heart_rate"] >= 125 or n["resp_rate"] >= 30 or n["sbp"] < 90 or hot
    points = int(n["age"]) - (10 if v["sex"] == "F" else 0)
    points += 10 * bool(v["nursing_home_resident"]) + 30 * bool(v["cancer"]) + 20 * bool(v["liver_disease"])
    points += 10 * (bool(v["heart_failure"]) + bool(v["cerebrovascular_disease"]) + bool(v["renal_disease"]))
    points += 20 * bool(v["new_confusion"]) + 20 * (n["resp_rate"] >= 30) + 20 * (n["sbp"] < 90)
    points += (
        15 * hot + 10 * (n["heart_rate"] >= 125) + 30 * (n["arterial_ph"] < 7.35) + 20 * (n["bun"] >= 30)
    )
    points += 20 * (n["sodium"] < 130) + 10 * (n["glucose"] >= 250) + 10 * (n["hematocrit"] < 30)
    points += 10 * (n["pao2"] < 60 or n["spo2"] < 90) + 10 * bool(v["pleural_effusion"])
    if n["age"] <= 50 and not signs and not v["new_confusion"] and not any(v[key] for key in ill):
        return points, "I"
    return points, "II" if points <= 70 else "III" if points <= 90 else "IV" if points <= 130 else "V"


def blatchford(v: Mapping[str, Value]) -> int:
    """Blatchford 2000 in conventional units, written out."""
    n = {key: float(value) for key, value in v.items() if isinstance(value, Decimal)}
    bun, hgb, sbp = n["bun"], n["hemoglobin"], n["sbp"]
    points = 6 if bun >= 70 else 4 if bun >= 28 else 3 if bun >= 22.4 else 2 if bun >= 18.2 else 0
    if hgb < 10:
        points += 6
    elif v["sex"] == "F":
        points += 1 if hgb < 12 else 0
    else:
        points += 3 if hgb < 12 else 1 if hgb < 13 else 0
    points += 3 if sbp < 90 else 2 if sbp < 100 else 1 if sbp < 110 else 0
    points += (n["heart_rate"] >= 100) + bool(v["melena"]) + 2 * bool(v["syncope"])
    return points + 2 * bool(v["liver_disease"]) + 2 * bool(v["heart_failure"])


@given(patients(plugin.LIBRARY))
@settings(max_examples=250, deadline=None)
def test_scores_agree_with_the_papers_written_out_by_hand(patient: tuple[Subset, dict[str, Value]]) -> None:
    subset, values = patient
    found = examined(subset, values).scores()
    if subset.id == "cap":
        total, name = psi(values)
        assert found == {"curb65": curb65(values), "psi": total, "psi_class": name}
    elif subset.id == "upper_gi_bleed":
        assert found == {"glasgow_blatchford": blatchford(values)}
    else:
        assert found == {}


def test_the_disclaimer_says_whose_it_is_not() -> None:
    manifest = plugin.umbridge_manifest()
    assert manifest.name == plugin.NAME
    assert "Not affiliated" in manifest.disclaimer
    assert "no proprietary text" in manifest.disclaimer


def test_the_marks_are_named_nowhere_but_in_the_disclaimer() -> None:
    for subset in SUBSETS:
        words = [subset.title, *subset.citations.values()]
        words += [criterion.title + criterion.note for criterion in subset.rules.criteria.values()]
        assert not any(mark in text for text in words for mark in ("InterQual", "MCG", "Milliman"))
