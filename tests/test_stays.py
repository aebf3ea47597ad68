"""The worklist: what waits for a person is there, once, with its due time; what is settled is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest
from installation import Inside, Installation
from test_registry import REDACTED, Access, feed, queries_of

from umbridge.errors import NotPermittedError, UsageError
from umbridge.store import stays

Row = dict[str, Any]
NURSE = ("ur_nurse",)


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    where = Installation(tmp_path_factory.mktemp("worklist") / "site")
    feed(where, stays=8)
    with ExitStack() as stack:
        yield queries_of(where, stack)


def worklist(queries: Access, **asked: Any) -> list[Row]:
    return queries.ask(NURSE, "reviews.list", purpose="HPAYMT", **asked)


def test_the_worklist_is_what_the_ledger_left_open(queries: Access) -> None:
    """Against another reading of the same: the last state each review has on the ledger."""
    last: dict[tuple[str, str], str] = {}
    for seq in reversed(queries.of_kind("review.changed")):
        slots = queries.entry(seq)["slots"]
        last.setdefault((slots["visit"], slots["review_id"]), slots["state"])
    still_open = {key for key, state in last.items() if state == "open"}
    rows = worklist(queries)
    assert [(row["visit"], row["review_id"]) for row in rows] == list(
        dict.fromkeys((row["visit"], row["review_id"]) for row in rows)
    )
    assert {(row["visit"], row["review_id"]) for row in rows} == still_open
    assert set(last.values()) > {"open"}  # some were closed, and none of those is listed


def test_each_line_says_what_the_screens_came_to_and_where_it_is_written(queries: Access) -> None:
    seen = set()
    for row in worklist(queries):
        holds: set[str] = set()
        assert row["outcomes"].keys() == row["entries"].keys()
        for plugin, entry in row["entries"].items():
            slots = queries.entry(entry)["slots"]
            assert (slots["plugin"], slots["review_id"], slots["visit"]) == (
                plugin,
                row["review_id"],
                row["visit"],
            )
            assert slots["outcome"] == row["outcomes"][plugin]
            seen.add(slots["outcome"])
            holds |= set(slots.get("hold") or ())
        assert set(row["hold"]) <= holds  # of the deciding plugins
    assert seen - {"MEETS", "NOT_APPLICABLE"}


def test_the_earliest_due_comes_first(queries: Access) -> None:
    due = [row["due"] for row in worklist(queries)]
    dated = [datetime.fromisoformat(one) for one in due if one is not None]
    assert dated
    assert dated == sorted(dated)
    assert due[len(dated) :] == [None] * (len(due) - len(dated))


@pytest.mark.parametrize(
    ("role", "purpose", "hidden"),
    [
        ("ur_nurse", "HPAYMT", []),
        ("physician_advisor", "TREAT", []),
        ("him", "PATRQT", ["payer_class", "coverage", "authorizations"]),
    ],
)
def test_what_a_role_never_sees_of_a_stay_is_named_and_not_left_empty(
    queries: Access, role: str, purpose: str, hidden: list[str]
) -> None:
    """A payer's word that is hidden must not look like a payer who said nothing."""
    (row,) = queries.ask((role,), "stays.show", visit="ZZVN0000000", purpose=purpose)
    assert [name for name in row["hidden"] if name in ("payer_class", "coverage", "authorizations")] == hidden
    assert all(row[name] is None for name in row["hidden"])
    assert row["visit"] == "ZZVN0000000"


def test_options_narrow_the_list_and_lose_nothing(queries: Access) -> None:
    rows = worklist(queries)
    overdue = worklist(queries, overdue=True)
    assert overdue == [row for row in rows if row["overdue"]]  # the sample is from the past
    assert overdue
    assert worklist(queries, due=True) == [row for row in rows if row["due"] is not None]
    for option, key in (("unit", "unit"), ("payer", "payer_class")):
        values = {row[key] for row in rows} - {None}
        assert values
        for value in values:
            assert worklist(queries, **{option: value}) == [row for row in rows if row[key] == value]
        assert worklist(queries, **{option: "ZZNONE"}) == []


def test_operations_sees_the_work_and_neither_whose_it_is_nor_what_was_judged(queries: Access) -> None:
    rows = queries.ask(("administrator",), "reviews.list", purpose="HOPERAT")
    assert len(rows) == len(worklist(queries))
    for row in rows:
        assert row["review_id"]
        for hidden in ("visit", "mrn", "unit", "payer_class", "outcomes", "requested", "opened_at"):
            assert row[hidden] in (None, REDACTED), hidden


@pytest.mark.parametrize("asked", [{"unit": "5W"}, {"payer": "COMMERCIAL"}])
def test_who_may_not_see_a_thing_may_not_look_for_it(queries: Access, asked: Row) -> None:
    with pytest.raises(NotPermittedError):
        queries.ask(("administrator",), "reviews.list", purpose="HOPERAT", **asked)


def test_the_unit_looked_for_is_not_on_the_ledger_in_the_clear(queries: Access) -> None:
    before = queries.writer.ledger.size
    worklist(queries, unit="ZZ5W", payer="COMMERCIAL")
    assert queries.entry(before)["slots"]["query"] == "reviews list --unit --payer COMMERCIAL"


def test_a_page_begins_after_the_line_that_ended_the_last_one(queries: Access) -> None:
    rows = worklist(queries)
    found: list[Row] = []
    while page := worklist(queries, limit=1, **after(found[-1]) if found else {}):
        assert len(page) == 1
        found += page
    assert len(found) > 1
    assert found == rows


def after(row: Row) -> dict[str, str]:
    return {"after": f"{row['due'] or ''}/{row['review_id']}"}


@pytest.mark.parametrize("text", ["ADMISSION-1", "soon/ADMISSION-1", "2026-03-02T15:00:00/A-1", "/"])
def test_a_place_that_is_none_is_said_to_be_none(queries: Access, text: str) -> None:
    size = queries.writer.ledger.size
    with pytest.raises(UsageError, match="DUE/REVIEW_ID"):
        worklist(queries, after=text)
    assert queries.writer.ledger.size == size  # nothing was asked


def test_no_stay_is_opened_for_the_worklist(queries: Access) -> None:
    """Whatever the stays are: the lines stand beside them."""
    rows = worklist(queries)
    kept = queries.writer.call(
        Inside(lambda batch: batch.cursor.execute("SELECT lane, sealed FROM stay_head").fetchall())
    )
    queries.writer.call(
        Inside(lambda batch: batch.cursor.execute("UPDATE stay_head SET sealed = zeroblob(99)") and None)
    )
    try:
        assert worklist(queries) == rows
    finally:
        for lane, sealed in kept:
            queries.writer.call(
                Inside(
                    lambda batch, lane=lane, sealed=sealed: (
                        batch.cursor.execute(  # type: ignore[misc]
                            "UPDATE stay_head SET sealed = ? WHERE lane = ?", (sealed, lane)
                        )
                        and None
                    )
                )
            )


def test_a_line_that_does_not_open_says_where_it_stands(queries: Access) -> None:
    rows = worklist(queries)
    bad = rows[0]["review_id"]
    kept = queries.writer.call(
        Inside(
            lambda batch: batch.cursor.execute(
                "SELECT sealed FROM open_review WHERE review_id = ?", (bad,)
            ).fetchone()
        )
    )
    change = "UPDATE open_review SET sealed = ? WHERE review_id = ?"
    queries.writer.call(Inside(lambda batch: batch.cursor.execute(change, (bytes(99), bad)) and None))
    try:
        found = worklist(queries)
        assert [row["review_id"] for row in found] == [row["review_id"] for row in rows]
        assert (found[0]["review"], found[0]["visit"]) == ("unreadable", None)
        assert datetime.fromisoformat(found[0]["due"]) == datetime.fromisoformat(rows[0]["due"])
        assert worklist(queries, **after(found[0])) == rows[1:]
    finally:
        queries.writer.call(Inside(lambda batch: batch.cursor.execute(change, (kept[0], bad)) and None))


def test_a_stay_that_was_joined_meanwhile_is_passed_over(
    queries: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge may take a lane away between the list of lanes and its turn."""
    gone = b"\0" * 32
    there = stays.lanes
    monkeypatch.setattr(stays, "lanes", lambda cursor: [gone, *there(cursor)])
    assert len(queries.ask(NURSE, "stays.list", purpose="HPAYMT")) == 8
