"""Criteria content: the guide's example works; whatever else is refused by file, key and expectation."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umbridge.criteria.content import digest_of, load_content
from umbridge.criteria.contentfile import ContentFile
from umbridge.errors import ContentError
from umbridge.model import Case, Level, Reading, ReviewType, Sample, Status

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "plugins" / "README.md").read_text()
EXAMPLE = next(block for block in re.findall(r"```toml\n(.*?)```", GUIDE, re.S) if "format = 1" in block)
SHIPPED = sorted(ROOT.glob("plugins/*/umbridge_*/content/*.toml"))


def case(diagnosis: str = "J18.9", age: int | None = 40, day: str = "2026-03-02") -> Case:
    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    facts = {}
    if age is not None:
        sample = Sample(Decimal(age), at, "PID-7")
        facts["age"] = Reading("age", sample, sample, sample, (sample,))
    dx = (diagnosis,) if diagnosis else ()
    return Case(
        "p", ReviewType.ADMISSION, Status.INPATIENT, Level.ACUTE, at, 1, dx, "COMMERCIAL", None, False, facts
    )


def test_the_guides_example_loads_and_judges(tmp_path: Path) -> None:
    (tmp_path / "example.toml").write_text(EXAMPLE)
    library = load_content(tmp_path, required=("admission.ACUTE",))
    subset = library.choose(case())
    assert not isinstance(subset, str)
    at = datetime(2026, 3, 2, tzinfo=UTC)
    values = {"bun": ("30", "mg/dL"), "age": ("40", "")}
    samples = {fact: Sample(Decimal(v), at, "ZZ", unit) for fact, (v, unit) in values.items()}
    exam = subset.rules.examine({fact: Reading(fact, s, s, s) for fact, s in samples.items()})
    assert exam.decide("admission.ACUTE").value is True
    assert exam.scores() == {"points_min": 2, "points_max": 5, "points_class": "high"}
    assert library.facts() == tuple(sorted(subset.rules.needed()))


def test_a_subset_is_chosen_by_the_longest_prefix_the_date_and_the_age(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(EXAMPLE)
    other = EXAMPLE.replace('id = "example"', 'id = "other"').replace('"J18", "J44.1"', '"J18.1"')
    (tmp_path / "b.toml").write_text(other.replace("2026-01-01 ", "2026-01-01\neffective_to = 2026-12-31 "))
    library = load_content(tmp_path)
    assert [getattr(library.choose(case(code)), "id", None) for code in ("J18.9", "J18.1", "J189")] == [
        "example",
        "other",
        "example",
    ]
    assert isinstance(library.choose(case("I50.9")), str)
    assert isinstance(library.choose(case("")), str)
    assert isinstance(library.choose(case(age=17)), str)
    assert not isinstance(library.choose(case(age=18)), str)
    assert not isinstance(library.choose(case(age=None)), str)  # unknown does not exclude
    assert isinstance(library.choose(case(day="2025-12-31")), str)
    assert isinstance(library.choose(case("J18.1", day="2027-01-01")), str)
    assert library.subsets["other"].in_force(date(2026, 12, 31))


FAULTS = [
    ("format = 1", "format = 2", "format: expected 1"),
    ('id = "example"', 'id = "An Example"', "id: expected a name"),
    ("age_from = 18", 'age_from = "18"', "age_from: expected a whole number"),
    ("effective_from = 2026-01-01", "effective_from = 2026", "effective_from: expected a date"),
    ('icd10 = ["J18", "J44.1"]', "icd10 = []", "icd10: expected a list"),
    ("format = 1", "format = 1\ncolour = 3", "colour: expected one of"),
    ('worst = "low" }\ntemp', 'worst = "lowest" }\ntemp', "fact.sbp.worst: expected latest"),
    ('kind = "boolean"', 'kind = "bool"', "fact.new_confusion.kind: expected number or"),
    ('cite = ["lim2003", "ours"]', "", "criterion.many_points.cite: expected a list (it is missing)"),
    (
        'cite = ["lim2003", "ours"]',
        'cite = ["lim"]',
        "criterion.many_points.cite: expected the name of an entry",
    ),
    ("[citation]", '[citation]\nspare = "x"', "citation.spare: expected to be cited"),
    ("[fact]", '[fact]\nspare = { kind = "boolean" }', "fact.spare: expected to be read"),
    ("bun > 19 mg/dL", "bun > 19 mmol/L", "score.points.item[5].band[2].when: expected the unit mg/dL"),
    ("bun > 19 mg/dL", "bun > 19", "expected the unit mg/dL"),
    ("bun > 19 mg/dL", "bun > lots mg/dL", "expected a number"),
    ("bun > 19 mg/dL", "bnu > 19 mg/dL", "a fact or score of this file; bnu is neither"),
    (
        "lowest temperature < 35",
        "temperature < 35",
        "expected latest, lowest, highest or any before the fact",
    ),
    ("new_confusion is Y", "new_confusion is yes", "expected Y or N"),
    ("new_confusion is Y", "new_confusion > Y", "expected 'is' or 'is not'"),
    ("consciousness is not A", "consciousness is not Z", "expected A or C"),
    ("points >= 2", "points >= 2.5", "expected a score and a whole number"),
    (
        '"shock", "many_points"',
        '"shock", "many"',
        "rule.admission.ACUTE.one[2]: expected the name of a criterion",
    ),
    (
        '"shock", "many_points"',
        '"shock", "sbp < 90 mm[Hg]"',
        "rule.admission.ACUTE: expected names of criteria",
    ),
    ('one = ["shock", "many_points"]', "one = []", "rule.admission.ACUTE.one: expected a list, not empty"),
    ('one = ["shock"', 'at_least = 3, of = ["shock"', "rule.admission.ACUTE.at_least: expected 1 to 2"),
    (
        'one = ["shock"',
        'at_least = 1, one = ["shock"',
        "rule.admission.ACUTE: expected when, and at most one",
    ),
    ("points = 2 }", 'points = "2" }', "score.points.item[5].band[1].points: expected a whole number"),
    ('when = "points >= 2"', 'when = "many_points"', "criterion.many_points: expected no circle"),
    (
        '{ name = "low", to = 1 }',
        '{ name = "low" }',
        "score.points.class[2]: expected classes from the lowest",
    ),
    ('arterial_ph = "spo2"', 'arterial_ph = "spo3"', "score.points.optional.arterial_ph: expected a fact"),
    ('mark = "mapping"  ', 'mark = "guess"  ', "criterion.many_points.mark: expected published"),
    ("ACUTE =", "OBS =", "rule.admission.ACUTE: expected a table (it is missing)"),
    (
        'when = "age >= 65", points = 1',
        'when = "many_points", points = 1',
        "score.points: expected tests of facts only",
    ),
    (
        'when = "age >= 65", points = 1',
        'counts = "bun"',
        "score.points.item[2].counts: expected a fact that is whole",
    ),
    ("[citation]", "[citation", "not TOML"),
]


@pytest.mark.parametrize(("old", "new", "said"), FAULTS)
def test_each_mistake_names_the_file_the_key_and_what_was_expected(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in EXAMPLE
    (tmp_path / "example.toml").write_text(EXAMPLE.replace(old, new, 1))
    with pytest.raises(ContentError) as caught:
        load_content(tmp_path, required=("admission.ACUTE",))
    assert str(caught.value).startswith("example.toml: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_file_loads_or_is_refused_and_nothing_else(data: st.DataObject) -> None:
    lines = EXAMPLE.splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    match data.draw(st.sampled_from(["drop", "repeat", "value", "bytes"])):
        case "drop":
            lines.pop(place)
        case "repeat":
            lines.insert(place, lines[place])
        case "value":
            value = data.draw(
                st.sampled_from(["1", "[]", "{}", '""', "[1]", "1.5", "true", '[["a"]]', "[{}]"])
            )
            lines[place] = lines[place].split("=")[0] + "= " + value
        case _:
            lines[place] = data.draw(st.text(max_size=30))
    try:
        ContentFile("x.toml", "\n".join(lines).encode("utf-8", "replace"), (), None).subset()
    except ContentError as exc:
        assert str(exc).startswith("x.toml: ")


def test_the_folder_itself_can_be_wrong(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="at least one"):
        load_content(tmp_path)
    (tmp_path / "a.toml").write_bytes(b"\xff")
    with pytest.raises(ContentError, match=r"a.toml: byte 0: expected UTF-8"):
        load_content(tmp_path)
    (tmp_path / "a.toml").write_text(EXAMPLE)
    (tmp_path / "b.toml").write_text(EXAMPLE)
    with pytest.raises(ContentError, match=r"b.toml: id: expected an id that no other"):
        load_content(tmp_path)
    other = EXAMPLE.replace('id = "example"', 'id = "b"')
    (tmp_path / "b.toml").write_text(other)
    with pytest.raises(ContentError, match="icd10: expected J18 in one file only"):
        load_content(tmp_path)
    (tmp_path / "b.toml").write_text(other.replace("2026.1", "2027.1"))
    with pytest.raises(ContentError, match="edition: expected the same"):
        load_content(tmp_path)


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.binary(max_size=8).filter(lambda b: b"\r" not in b), max_size=3
    )
)
def test_the_digest_follows_names_and_bytes_and_not_line_ends_or_order(files: dict[str, bytes]) -> None:
    first = digest_of(files)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", first)
    assert digest_of(dict(reversed(files.items()))) == first
    assert digest_of({name: body.replace(b"\n", b"\r\n") for name, body in files.items()}) == first
    assert digest_of(files | {"d": b""}) != first
    for name, body in files.items():
        assert digest_of(files | {name: body + b"x"}) != first


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parts[-4]}/{path.name}")
def test_shipped_content_declares_units_as_the_fact_dictionary_has_them(path: Path) -> None:
    import tomllib

    dictionary = tomllib.loads((ROOT / "umbridge" / "stay" / "dictionary.toml").read_text())
    subset = ContentFile(path.name, path.read_bytes(), (), None).subset()
    for fact, spec in subset.rules.facts.items():
        if fact in ("age", "sex"):  # derived from PID, never sent
            continue
        assert dictionary[fact]["kind"] == spec.kind, fact
        assert dictionary[fact].get("unit", "") == spec.unit, fact
        if spec.kind == "code":
            assert set(spec.codes) <= set(dictionary[fact]["codes"])
        worst = {"max": "high", "min": "low", "both": "both", "latest": "latest", "worst": "high"}
        assert worst[dictionary[fact]["worst"]] == spec.worst, fact
