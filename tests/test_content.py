"""Criteria content: the guide's example works; whatever else is refused by file, key and expectation."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umbridge.clinical.usual import asked_beside
from umbridge.criteria.content import digest_of, load_content
from umbridge.criteria.content_file import ContentFile, Part
from umbridge.criteria.strict_file import StrictFile
from umbridge.errors import ContentError
from umbridge.model import Case, Reading, Sample
from umbridge.stay.dictionary import DERIVED
from umbridge.values.kinds import Level, ReviewType, Status

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "plugins" / "README.md").read_text()
EXAMPLE = next(block for block in re.findall(r"```toml\n(.*?)```", GUIDE, re.S) if "format = 1" in block)
FORMAT = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "content.md").read_text(), re.S)
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
    needed = frozenset(subset.rules.needed())
    assert library.facts() == tuple(sorted(needed | asked_beside(needed)))


def documented(folder: Path, changes: tuple[str, str] = ("", "")) -> Path:
    """The two files of docs/content.md, with one change."""
    for name, text in zip(("kidney.toml", "shared.toml"), FORMAT, strict=True):
        (folder / name).write_text(text.replace(*changes, 1) if changes[0] else text)
    return folder


def test_the_documented_files_load_and_judge(tmp_path: Path) -> None:
    library = load_content(documented(tmp_path), required=("admission.ACUTE",))
    subset = library.subsets["kidney"]
    assert subset.approval.state == "draft"
    assert "local" in subset.citations  # the part's, since a criterion of the part is used
    at = datetime(2026, 3, 2, tzinfo=UTC)
    values = {"creatinine": "4.2", "baseline_creatinine": "1.4", "past_stage": "2"}
    facts = {
        fact: Reading(fact, s, s, s, (s,))
        for fact, value in values.items()
        for s in (Sample(Decimal(value), at, "ZZ", subset.rules.facts[fact].unit),)
    }
    exam = subset.rules.examine(facts, at)
    assert exam.scores() == {"stage": 3, "stage_class": "severe", "worse": 1}
    assert exam.truth("admission.ACUTE") is True
    assert exam.truth("rising") is True
    assert {entry.fact for entry in exam.evidence("rising")} == set(values)


def test_a_fallback_takes_what_no_other_file_covers(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(EXAMPLE)
    other = EXAMPLE.replace('id = "example"', 'id = "other"')
    line = re.search(r"^icd10 = .*$", other, re.M)
    assert line is not None
    (tmp_path / "b.toml").write_text(other.replace(line[0], 'fallback = true\nicd10_not = ["O", "Z38"]'))
    library = load_content(tmp_path)
    found = [getattr(library.match((code,)), "id", None) for code in ("J18.9", "E87.5", "o80", "Z38.00", "")]
    assert found == ["example", "other", None, None, None]
    assert library.match(()) is None
    assert "principal diagnosis is known" in str(library.choose(case("")))


PAIR_FAULTS = [
    (
        "creatinine_ratio = { ratio",
        "creatinine = { ratio",
        "kidney",
        "computed.creatinine: expected a name that no",
    ),
    (
        '"creatinine", "base',
        '"past_stage", "base',
        "kidney",
        "computed.creatinine_ratio: expected facts that are",
    ),
    (
        '["creatinine", "base',
        '["creatinine", "potassium", "base',
        "kidney",
        "computed.creatinine_ratio: expected two",
    ),
    (
        'creatinine = "1",',
        'creatinine = "0",',
        "kidney",
        "computed.creatinine_change.sum.creatinine: expected a factor",
    ),
    ('creatinine = "1",', 'creatinine = "1/00",', "kidney", "sum.creatinine: expected a factor"),
    ("{ ratio = [", "{ sum = {}, ratio = [", "kidney", "computed.creatinine_ratio: expected either"),
    ('creatinine_ratio >= 3"', 'latest creatinine_ratio >= 3"', "kidney", "expected a computed fact"),
    ('creatinine_ratio >= 3"', 'creatinine_ratio >= -3"', "kidney", "expected a quotient above nought"),
    ("change >= 0.5 mg/dL", "change >= 0.5", "kidney", "criterion.rising.all[1]: expected the unit mg/dL"),
    ("since symptom_onset <= 72 h", "latest symptom_onset <= 72 h", "kidney", "expected 'since'"),
    ("since symptom_onset <= 72 h", "since symptom_onset <= 72", "kidney", "expected the unit h"),
    ("2 times temperature", "since temperature", "kidney", "expected 'since'"),
    ("2 times temperature", "5 times temperature", "kidney", "expected a test such as"),
    ('of = "stage"', 'of = "worse"', "kidney", "score.worse: expected no circle"),
    ('of = "stage"', 'of = "stages"', "kidney", "score.worse.of: expected the name of a score"),
    ('include = ["shared"]', 'include = ["other"]', "kidney", "include[1]: expected the name of a part"),
    ("icd10 = [", "fallback = true\nicd10 = [", "kidney", "icd10: expected a list, or fallback"),
    (
        'state = "draft"',
        'state = "draft"\nby = ["A"]',
        "kidney",
        "approval.state: expected reviewed or approved",
    ),
    ('state = "draft"', 'state = "approved"', "kidney", "approval.by: expected a list (it is missing)"),
    ('state = "draft"', 'state = "reviewed"', "kidney", "approval.by: expected a list (it is missing)"),
    ('state = "draft"', 'state = "maybe"', "kidney", "approval.state: expected draft, reviewed, approved"),
    (
        "age_from",
        "effective_to = 2025-01-01\nage_from",
        "kidney",
        "effective_to: expected a date on or after",
    ),
    (
        "potassium >= 6.5 mmol/L",
        "potassium >= 6.5",
        "shared",
        "criterion.potassium_high.when: expected the unit",
    ),
    (
        "[citation]\nlocal",
        '[citation]\nspare = "x 2026"\nlocal',
        "shared",
        "citation.spare: expected to be used",
    ),
    ('part = "shared"', 'part = "shared"\nid = "x"', "shared", "id: expected one of"),
]


@pytest.mark.parametrize(("old", "new", "file", "said"), PAIR_FAULTS)
def test_the_mistake_is_named_in_the_file_and_on_the_line_where_it_stands(
    tmp_path: Path, old: str, new: str, file: str, said: str
) -> None:
    assert any(old in text for text in FORMAT)
    with pytest.raises(ContentError) as caught:
        load_content(documented(tmp_path, (old, new)))
    found = re.match(r"(\w+)\.toml: line (\d+): ", str(caught.value))
    assert found is not None, str(caught.value)
    assert found[1] == file
    assert said in str(caught.value)
    text = next(text for text in FORMAT if old in text)
    changed = text[: text.index(old)].count("\n") + 1
    assert abs(int(found[2]) - changed) <= 3  # a table's own line stands for what is missing in it


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
    ('icd10 = ["J18", "J44.1"]', "icd10 = [1]", "icd10: expected a list"),
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
    ('arterial_ph = "spo2"', 'arterial_ph = "Always"', "score.points.optional.arterial_ph: expected a fact"),
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
    line = re.search(r"line (\d+)", str(caught.value))
    assert line is not None
    written = EXAMPLE.replace(old, new, 1).splitlines()
    assert int(line[1]) <= len(written)


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
        body = "\n".join(lines).encode("utf-8", "replace")
        ContentFile(StrictFile("x.toml", body), (), None).subset()
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
    with pytest.raises(ContentError, match=r"b.toml: line \d+: id: expected an id that no other"):
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


def read_part(path: Path) -> Part | None:
    body = path.read_bytes()
    file = StrictFile(path.name, body)
    return Part(file) if Part.is_one(file) else None


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parts[-4]}/{path.name}")
def test_shipped_content_declares_units_as_the_fact_dictionary_has_them(path: Path) -> None:
    import tomllib

    dictionary = tomllib.loads((ROOT / "umbridge" / "stay" / "dictionary.toml").read_text())
    parts = {part.id: part for part in map(read_part, path.parent.glob("*.toml")) if part is not None}
    if path.stem in parts:
        pytest.skip("a part: its facts are checked in the files that use it")
    subset = ContentFile(StrictFile(path.name, path.read_bytes()), (), None, parts).subset()
    for fact, spec in subset.rules.facts.items():
        if spec.is_made:
            continue
        if fact in DERIVED:  # made from others, never sent
            continue
        assert dictionary[fact]["kind"] == spec.kind, fact
        assert dictionary[fact].get("unit", "") == spec.unit, fact
        if spec.kind == "code":
            assert set(spec.codes) <= set(dictionary[fact]["codes"])
        worst = {"max": "high", "min": "low", "both": "both", "latest": "latest", "worst": "high"}
        assert worst[dictionary[fact]["worst"]] == spec.worst, fact
