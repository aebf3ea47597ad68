"""One review opened: what stay, worklist and ledger say of it, and no more than a role may see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from installation import Installation
from test_pages import RAW
from test_registry import REDACTED, Access, feed, queries_of

from umbridge.commands.pages import review_page
from umbridge.errors import NotPermittedError, UmbridgeError, UsageError
from umbridge.review.waves import NONE_APPLIES, NOT_MET

Row = dict[str, Any]
NURSE = ("ur_nurse",)


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    where = Installation(tmp_path_factory.mktemp("reviews") / "site")
    feed(where, stays=8)
    with ExitStack() as stack:
        yield queries_of(where, stack)


def show(queries: Access, review: str, roles: tuple[str, ...] = NURSE, purpose: str = "HPAYMT") -> Row:
    (row,) = queries.ask(roles, "reviews.show", review=review, purpose=purpose)
    return row


def spoken(queries: Access) -> dict[str, list[Row]]:
    """Every review that the ledger speaks of, with what it says: read the long way round."""
    found: dict[str, list[Row]] = {}
    for kind in ("determination", "review.changed"):
        for seq in queries.of_kind(kind):
            row = queries.entry(seq)
            found.setdefault(row["slots"]["review_id"], []).append(row)
    return {name: sorted(rows, key=lambda row: row["seq"]) for name, rows in found.items()}


def page(row: Row) -> str:
    lines = list(review_page(dict(row)))
    assert max(map(len, lines)) <= 80
    return " ".join(line.strip() for line in lines)


def test_each_review_is_as_the_ledger_left_it_with_all_that_was_said_of_it(queries: Access) -> None:
    states = set()
    for name, rows in spoken(queries).items():
        row = show(queries, name)
        changes = [each["slots"] for each in rows if each["kind"] == "review.changed"]
        answers = {each["slots"]["plugin"]: each["seq"] for each in rows if each["kind"] == "determination"}
        assert row["state"] == changes[-1]["state"]
        assert row["visit"] == changes[-1]["visit"]
        assert sorted(each["seq"] for each in row["answers"]) == sorted(answers.values())
        for each in row["answers"]:
            assert each["slots"] == queries.entry(each["seq"])["slots"]
        earlier = {each["seq"] for each in rows} - {*answers.values()}
        missed = earlier - {each["seq"] for each in row["history"]}
        alone = {  # a change without an answer of its review: a discharge closed it, a cancel left it void
            each["seq"] for each in rows if each["kind"] == "review.changed" and each["seq"] in missed
        }
        assert missed == alone
        assert [each["seq"] for each in row["history"]] == sorted(each["seq"] for each in row["history"])
        states.add(row["state"])
        assert not row["overdue"] or row["state"] == "open"  # what is closed is due no more
    assert {"open", "closed"} <= states


def test_an_open_review_says_why_and_a_closed_one_does_not(queries: Access) -> None:
    for line in queries.ask(NURSE, "reviews.list", purpose="HPAYMT"):
        row = show(queries, line["review_id"])
        assert row["state"] == "open"
        assert {each["slots"]["plugin"]: each["seq"] for each in row["answers"]} == line["entries"]
        assert (row["due"], row["requested"]) == (line["due"], line["requested"])
        named = {each["reason"] for each in row["open_for"]} - {NOT_MET, NONE_APPLIES}
        assert named == set(line["hold"])
        assert bool(row["open_for"]) is not row["closes"]
        for each in row["open_for"]:
            if each["reason"] == NOT_MET:
                assert line["outcomes"][each["plugin"]] not in ("MEETS", "NOT_APPLICABLE")


def test_a_page_is_read_from_its_moment_to_its_last_reason_and_holds_no_id_of_a_fact(queries: Access) -> None:
    for name, rows in spoken(queries).items():
        row = show(queries, name)
        text = page(row)
        assert f"asks: {row['requested']['status']}, {row['requested']['level']}" in text
        assert "judged as of: " in text
        word = "closes by itself" if row["state"] == "open" else "would close by its newest answers"
        assert f"{word}: {'yes' if row['closes'] else 'no'}" in text
        for each in row["answers"]:
            assert f"{each['slots']['plugin']}: {each['slots']['outcome']}" in text
        words = text
        for entry in rows:
            for key in ("plugin", "subset"):
                words = words.replace(str(entry["slots"].get(key)), "")
        assert not RAW.findall(re.sub(r"\b[A-Z]+\w* ORC\[\d+\]\S*", "", words))


def test_who_may_not_see_what_was_judged_sees_none_of_it(queries: Access) -> None:
    name = next(
        line["review_id"]
        for line in queries.ask(NURSE, "reviews.list", purpose="HPAYMT")
        if "PEND" in line["outcomes"].values()
    )
    seen = show(queries, name)
    texts = [str(each["slots"]["rationale"]) for each in seen["answers"] if each["slots"].get("rationale")]
    assert texts
    for role, purpose in (("administrator", "HOPERAT"), ("compliance_auditor", "HCOMPL"), ("him", "PATRQT")):
        row = show(queries, name, (role,), purpose)
        told = json.dumps(row)
        assert not [text for text in texts if text[:40] in told]
        assert row["requested"] in (None, REDACTED)
        assert row["closes"] in (None, REDACTED)
        assert row["open_for"] in (None, REDACTED)
        assert row["spans"] in (None, REDACTED)
        shown = page(row)
        assert ": ;" not in shown
        assert " : " not in shown
        assert f"judged as of: {REDACTED}," not in shown
        assert not [text for text in texts if text[:40] in shown]
        assert "closes by itself" not in shown
        if role == "administrator":
            assert seen["visit"] not in told
            assert "not shown to your role" in shown


def test_the_look_is_on_the_ledger_with_whose_record_it_was(queries: Access) -> None:
    name = next(iter(spoken(queries)))
    before = queries.writer.ledger.size
    row = show(queries, name)
    entry = queries.entry(before)
    assert entry["kind"] == "access.read"
    assert entry["slots"]["query"] == f"reviews show {name}"
    assert entry["slots"]["patient"] == row["visit"]


def test_nobody_without_a_role_is_shown_a_review(queries: Access) -> None:
    with pytest.raises(NotPermittedError):
        show(queries, next(iter(spoken(queries))), (), "HPAYMT")


@pytest.mark.parametrize(
    "name", ["", "ADMISSION", "ADMISSION-", "12", "ADMISSION-99999999999999999999", "é-1", "A-1\n"]
)
def test_what_is_no_id_is_a_usage_error(queries: Access, name: str) -> None:
    with pytest.raises(UsageError, match="expected a review's id"):
        show(queries, name)


@pytest.mark.parametrize("name", ["ADMISSION-999999", "ZZNONE-1", "ADMISSION-1.7", "ADMISSION-0"])
def test_a_review_that_there_is_not_is_said_so(queries: Access, name: str) -> None:
    with pytest.raises(UmbridgeError, match="there is no review"):
        show(queries, name)
