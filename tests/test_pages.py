"""A review as people see it: nothing cut, nothing by its id, never "closes" where it waits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from types import ModuleType
from typing import Any

import pytest
import umbridge_interqual_like as interqual
import umbridge_mcg_like as mcg
import umbridge_two_midnight as medicare
from hypothesis import given, settings
from hypothesis import strategies as st
from umbridge_kit.boundary_patients import AT, case
from umbridge_kit.drawing import patients

from umbridge import Case, Level, Outcome, ReviewType, ScreenResult, Status
from umbridge.clinical.titles import TITLES
from umbridge.commands.pages import REASONS, _history_lines, closing_lines, review_lines, slot
from umbridge.commands.why_tree import WIDTH, wrapped
from umbridge.criteria.examination import heeding
from umbridge.criteria.grounds import AGE_ONLY, NO_MEASURED_FACT
from umbridge.criteria.unreadhold import RESULT_UNREAD
from umbridge.review.record import ScreenLine, evidence_json, is_met, optional_keys
from umbridge.review.waves import ADVISED_HIGHER, NO_ORDER, Verdict, settled, why_open
from umbridge.screening.why_codec import behind, why_rows
from umbridge.stay.aside_words import minute

PLUGINS: tuple[ModuleType, ...] = (interqual, mcg, medicare)
RAW = re.compile(r"(?<![\w^.\[-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w^])")
#: Ids without an underscore that are no words.
SHORT = {fact for fact, title in TITLES.items() if "_" not in fact and fact not in title.lower()}
SUBSETS = {"two_midnight", *(subset for plugin in PLUGINS for subset in plugin.LIBRARY.subsets)}


def line_of(question: Case, result: ScreenResult, why: Any = ()) -> ScreenLine:
    found: Any = {
        "visit": "ZZ0001",
        "review": question.review.value,
        "episode_day": question.episode_day,
        "plugin": "zz",
        "subset": result.subset,
        "requested": {"status": question.requested_status.value, "level": question.requested_level.name},
        "outcome": result.outcome.value,
        "supported": None if result.supported is None else result.supported.name,
        "missing": list(result.missing),
        "rationale": result.rationale,
        "evidence": evidence_json(result),
        "judged_at": question.as_of.isoformat(),
        "closes": result.outcome is Outcome.MEETS and not result.hold,
        "hold": list(result.hold),
        "content_status": result.content_status.row(),
        **optional_keys(result),
        "why": why_rows(why),
    }
    return found  # type: ignore[no-any-return]


def page(question: Case, plugin: ModuleType) -> list[str]:
    with heeding() as cited:
        result: ScreenResult = plugin.umbridge_screen(question)
    said = why_open({"zz": Verdict(is_met(result), 1, result.hold)})
    return list(review_lines([line_of(question, result, behind(cited, result))], said, trees=True))


def without_sources(lines: list[str]) -> str:
    """A page in one line, without the addresses of values: those are the messages' own."""
    return re.sub(r"ZZ1 OBX\[\w+\]-5", "", " ".join(line.strip() for line in lines))


def check(lines: list[str]) -> None:
    assert max(map(len, lines)) <= WIDTH
    whole = without_sources(lines)
    for subset in SUBSETS:
        whole = whole.replace(f", by {subset} (", "")
    assert not RAW.findall(whole)
    assert not SHORT.intersection(re.findall(r"[a-z0-9]+", re.sub(r"\bclass|[A-Z]\w*", "", whole)))


def of_nothing() -> Iterator[tuple[ModuleType, Case]]:
    """Every subset asked of a patient of whom the age alone is known."""
    for plugin in (interqual, mcg):
        for subset, review in product(plugin.LIBRARY.subsets.values(), ReviewType):
            yield plugin, case(plugin.LIBRARY, subset, {}, review=review)
    of_cap = interqual.LIBRARY.subsets["cap"]
    for payer, review in product(("MEDICARE_FFS", "MEDICARE_ADVANTAGE", "UNKNOWN"), ReviewType):
        yield medicare, case(interqual.LIBRARY, of_cap, {}, review=review, payer_class=payer)


def test_no_page_of_an_unknown_patient_names_a_fact_by_its_id() -> None:
    pages = 0
    for plugin, question in of_nothing():
        check(page(question, plugin))
        pages += 1
    assert pages > 200


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_no_page_of_any_content_names_a_fact_by_its_id(data: st.DataObject) -> None:
    plugin = data.draw(st.sampled_from((interqual, mcg)))
    subset, values = data.draw(patients(plugin.LIBRARY))
    rng = data.draw(st.randoms(use_true_random=False))
    share = rng.choice([0.3, 0.8, 1])
    kept = {fact: value for fact, value in values.items() if rng.random() < share}
    status = rng.choice([Status.INPATIENT, Status.OBSERVATION])
    review, level = rng.choice(list(ReviewType)), rng.choice(list(Level))
    question = case(plugin.LIBRARY, subset, kept, level, review=review, requested_status=status)
    check(page(question, plugin))


def _line(plugin: str, **other: Any) -> Any:
    question = case(interqual.LIBRARY, interqual.LIBRARY.subsets["cap"], {})
    return line_of(question, ScreenResult(Outcome.MEETS)) | {"plugin": plugin} | other


def test_a_page_says_what_is_asked_as_of_when_and_why_it_stays_open() -> None:
    lines = [
        _line("aa", closes=False, hold=[AGE_ONLY]),
        _line("bb", closes=False, outcome="PEND", supported="HOME", missing=["sodium", "map"]),
    ]
    shown = list(review_lines(lines, [("bb", "NOT_MET"), ("aa", AGE_ONLY)]))
    assert shown[:7] == [
        "ZZ0001  ADMISSION  day 1",
        "  asks: INPATIENT, ACUTE",
        f"  judged as of: {minute(AT.isoformat())}",
        "  closes by itself: no",
        "    bb: PEND: undecided while facts are missing",
        "    aa: held, AGE_ONLY: its true criteria would be as true of everybody of this",
        "      age",
    ]
    assert "    missing: sodium, mean arterial pressure" in shown
    assert "    supports: none above home reached so far" in shown


def test_a_review_that_closes_gives_no_reason_against_it() -> None:
    shown = list(review_lines([_line("aa", closes=True)], []))
    assert shown[3:5] == ["  closes by itself: yes", "  aa: MEETS"]


def _cited(count: int) -> list[dict[str, str]]:
    plain = {"unit": "mmol/L", "at": "2026-02-02T14:00:00-05:00", "from": "ZZ1"}
    return [{"fact": "potassium", "value": str(number), **plain} for number in range(count)]


def test_an_answer_that_meets_says_the_values_that_it_goes_by() -> None:
    shown = list(review_lines([_line("aa", closes=True, evidence=_cited(1))], []))
    assert shown[-1] == "    by: potassium 0 mmol/L (2026-02-02 14:00 -05:00)"
    many = "\n".join(review_lines([_line("aa", closes=True, evidence=_cited(10))], []))
    assert many.endswith("; 2 more")
    other = list(review_lines([_line("aa", closes=False, outcome="REFER", evidence=_cited(1))], []))
    assert not any("by: " in text for text in other[4:])


def test_answers_given_again_are_one_line_between_two_changes() -> None:
    def entry(seq: int, kind: str, **slots: str) -> Any:
        return {"seq": seq, "ts": f"2026-02-02T14:{seq:02}:00-05:00", "kind": kind, "slots": slots}

    meets = {"plugin": "aa", "outcome": "MEETS"}
    history = [
        *(entry(seq, "determination", **meets) for seq in (3, 4)),
        entry(5, "determination", plugin="bb", outcome="REFER"),
        entry(6, "determination", **meets),
        entry(7, "review.changed", state="closed", reason=""),
        entry(8, "determination", **meets),
    ]
    assert list(_history_lines(history)) == [
        "    entries 3 to 6, until 2026-02-02 14:06 -05:00: aa: MEETS, 3 times",
        "    entry 5, 2026-02-02 14:05 -05:00: bb: REFER",
        "    entry 7, 2026-02-02 14:07 -05:00: review closed",
        "    entry 8, 2026-02-02 14:08 -05:00: aa: MEETS",
    ]


def test_a_determination_of_the_ledger_is_shown_by_titles_too() -> None:
    cited = {
        "fact": "gcs",
        "value": "15",
        "unit": "",
        "at": "2026-02-02T14:00:00-05:00",
        "from": "ZZ1, implied by gcs",
    }
    shown = ["Glasgow coma score 15, 2026-02-02 14:00 -05:00, ZZ1, implied by Glasgow coma score"]
    assert slot("rationale", "not known: map.") == "not known: mean arterial pressure."
    assert slot("missing", ["gcs", "map"]) == "Glasgow coma score, mean arterial pressure"
    assert slot("evidence", [cited]) == shown
    assert slot("sens_evidence", {"evidence": [cited], "hold": None}) == {"evidence": shown, "hold": None}
    assert slot("plugin", "interqual_like") == "interqual_like"
    assert slot("evidence", "[redacted]") == slot("missing", "[redacted]") == "[redacted]"


@given(st.integers(0, 60))
def test_no_line_ends_within_a_time(width: int) -> None:
    at = "2026-02-02 14:00 -05:00"
    lines = wrapped(f"{'x' * width} told by {at}: not used", 4)
    assert sum(at in line for line in lines) == 1


def test_a_closed_review_is_not_said_to_be_open() -> None:
    """By its newest answers it would not close: it stays closed, and the page says both."""
    shown = list(closing_lines(False, [("aa", "NOT_MET")], {"aa": "PEND"}, "closed"))
    assert shown == [
        "  would close by its newest answers: no",
        "    aa: PEND: undecided while facts are missing",
    ]
    assert list(closing_lines(False, [("", "NO_ANSWER")], {}, "open"))[1] == "    no plugin has answered yet"


HOST_REASONS = (ADVISED_HIGHER, NO_MEASURED_FACT, AGE_ONLY, NO_ORDER, RESULT_UNREAD)
HOLDS = (*HOST_REASONS, "ZZ_OF_A_VENDOR")


@given(
    st.dictionaries(
        st.sampled_from(["aa", "bb", "cc"]),
        st.builds(
            Verdict,
            st.sampled_from([True, False, None]),
            st.sampled_from([1, 2]),
            st.lists(st.sampled_from(HOLDS), max_size=2, unique=True).map(tuple),
        ),
    )
)
def test_there_is_a_reason_exactly_where_a_review_stays_open(said: dict[str, Verdict]) -> None:
    assert (not why_open(said)) is settled(said.values())


@pytest.mark.parametrize("reason", HOST_REASONS)
def test_every_reason_of_the_hosts_has_words(reason: str) -> None:
    assert reason in REASONS


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("2026-02-02T14:00:00-05:00", "2026-02-02 14:00 -05:00"),
        ("2026-02-02T14:00:07+00:00", "2026-02-02 14:00:07 +00:00"),
        ("2026-02-02T14:00:07.5+00:00", "2026-02-02T14:00:07.5+00:00"),
        ("", ""),
    ],
)
def test_a_time_is_shown_with_its_offset(at: str, shown: str) -> None:
    assert minute(at) == shown
