"""The tree behind a determination of the ledger: shown where it comes out as written, and never otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from installation import Installation
from test_registry import REDACTED, Access, feed, queries_of

from umbridge.access.opened import Opened
from umbridge.access.plugins import choose, in_force
from umbridge.access.stays import StayQueries
from umbridge.access.why import LedgerWhy, _is_restricted
from umbridge.commands.pages import behind_page
from umbridge.errors import NotPermittedError, UmbridgeError, UnavailableError
from umbridge.lanes.again import COMPARED, SCHEMA, Again, Because, given_again, hindered
from umbridge.review.record import RULES
from umbridge.run.daemon import Parts
from umbridge.screening.host import Host
from umbridge.stay.fold import StayFold

Row = dict[str, Any]
NURSE = ("ur_nurse",)


@dataclass
class Ledger:
    """The determinations of a fed store, and how each is given again."""

    queries: Access
    host: Host
    stays: StayQueries
    opened: Opened

    def slots(self) -> dict[int, Row]:
        return {seq: self.opened.determination(seq) for seq in self.queries.of_kind("determination")}

    def again(self, slots: Row, *, until: int | None = None) -> Again:
        events, closed = self.stays.kept(self.opened, slots["visit"], until or slots["row"])
        fold = StayFold.refold(Parts(self.queries.where.settings).site, events)
        tried = (closed - {slots["review_id"]}, closed, frozenset[str]())
        return hindered(slots, self.host) or given_again(slots, fold, self.host, tried)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    where = Installation(tmp_path_factory.mktemp("why") / "site")
    feed(where, stays=4)
    with ExitStack() as stack:
        queries = queries_of(where, stack)
        host = Host(call_seconds=60.0, why=True)
        host.start_these(choose(where.settings, in_force(queries.writer)))
        stack.callback(host.stop)
        parts: Any = Parts(where.settings)
        opened = Opened(queries.writer, queries.table, None, None)  # type: ignore[arg-type]  # only what needs neither
        stays = StayQueries(
            queries.registry.door, parts.site, queries.registry.charset, queries.registry.worklist
        )
        yield Ledger(queries, host, stays, opened)


def facts(rows: Any) -> set[str]:
    return {f for row in rows for f in (*row["missing"], *facts(row["children"]))}


def test_every_determination_comes_out_as_written_whatever_came_after_it(ledger: Ledger) -> None:
    trees = outcomes = 0
    for slots in ledger.slots().values():
        again = ledger.again(slots)
        assert again.because is None, (slots["review_id"], slots["plugin"], again.says)
        assert set(slots["missing"] or ()) <= facts(again.why) | {"age", "principal_diagnosis"}
        trees += bool(again.why)
        outcomes += slots["outcome"] != "NOT_APPLICABLE"
    assert trees == outcomes > 5


def other(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return f"{value}9"
    if isinstance(value, list):
        return [*value, "zz"]
    return {"zz": "zz"}


def test_an_entry_that_differs_in_any_slot_is_shown_no_tree(ledger: Ledger) -> None:
    """A planted change of each slot that is compared, of an entry that has the most of them."""
    whole = max(ledger.slots().values(), key=lambda slots: sum(v is not None for v in slots.values()))
    tried = 0
    for name in COMPARED:
        changed = {**whole, name: other(whole.get(name))}
        if name in ("as_of", "judged_at"):
            changed[name] = whole[name].replace("-05:00", "-06:00")
        if name == "plugin":
            changed[name] = "zz"
        if name == "visit":
            continue  # it is how the stay is found
        again = ledger.again(changed)
        assert again.because is not None, name
        assert not again.why, name
        assert again.says
        assert not {"sens", "evidence", "rationale", "missing"} & {*re.findall("[a-z]+", again.says)}
        tried += 1
    assert tried == len(COMPARED) - 1


def test_an_earlier_look_is_not_given_with_what_came_later(ledger: Ledger) -> None:
    """The same entries with the whole stay: some come out otherwise, and none of these has a tree."""
    otherwise = 0
    for slots in ledger.slots().values():
        again = ledger.again(slots, until=1 << 40)
        if again.because is not None:
            assert again.because in (Because.READING, Because.REVIEW)
            assert not again.why
            otherwise += 1
    assert otherwise


def test_other_rules_other_content_and_a_failed_plugin_are_said(ledger: Ledger) -> None:
    slots = next(iter(ledger.slots().values()))
    for changed, because, words in (
        ({"rules": "2025.9"}, Because.RULES, f"rules 2025.9 judged, and this umbridge has {RULES}"),
        ({"rules": None}, Because.RULES, "before editions were named"),
        ({"content_digest": "sha256:" + "0" * 64}, Because.CONTENT, "is not installed"),
        ({"plugin": "zz_gone"}, Because.CONTENT, "zz_gone does not run here"),
        ({"state": "failed"}, Because.FAILED, "the plugin failed then"),
    ):
        found = hindered({**slots, **changed}, ledger.host)
        assert found is not None
        assert found.because is because
        assert words in found.says
    assert hindered(slots, ledger.host) is None


def test_all_that_an_answer_says_is_compared() -> None:
    assert {"outcome", "supported", "missing", "evidence", "rationale", "hold", "scores", "tags"} <= {
        *COMPARED
    }
    assert {"sens_rationale", "sens_evidence", "judged_at", "as_of", "content_digest", "rules"} <= {*COMPARED}
    assert {name for name, c in SCHEMA.slots if c in ("clin", "fin", "sens")} - {*COMPARED} == {"closes"}


# -- through the door --------------------------------------------------------------------------------------


def show(ledger: Ledger, seq: int, roles: tuple[str, ...] = NURSE, purpose: str = "HPAYMT") -> Row:
    (row,) = ledger.queries.ask(roles, "ledger.why", seq=seq, purpose=purpose)
    return row


def page(row: Row) -> str:
    behind = {name: row[name] for name in ("agrees", "because", "says", "why", "not_used")}
    return "\n".join(behind_page(dict(row["slots"]), behind))


def test_the_tree_is_shown_to_who_may_see_the_evidence_and_the_look_is_logged(ledger: Ledger) -> None:
    seq = next(seq for seq, slots in ledger.slots().items() if slots["outcome"] == "PEND")
    before = ledger.queries.writer.ledger.size
    row = show(ledger, seq)
    assert row["agrees"] is True
    assert row["why"]
    assert row["slots"] == ledger.queries.entry(seq)["slots"]
    assert ledger.queries.entry(before)["slots"]["query"] == f"ledger show {seq} --why"
    assert "it comes out as written" in page(row)
    assert "missing: " in page(row)
    for role, purpose in (("compliance_auditor", "HCOMPL"), ("him", "PATRQT"), ("administrator", "HOPERAT")):
        seen = show(ledger, seq, (role,), purpose)
        assert seen["why"] in (None, REDACTED)
        assert json.dumps(row["why"])[:60] not in json.dumps(seen)
        assert "UNKNOWN" not in page(seen)


def test_what_is_no_determination_and_what_is_not_there_is_said(ledger: Ledger) -> None:
    with pytest.raises(UmbridgeError, match="no determination"):
        show(ledger, 0)
    with pytest.raises(UmbridgeError, match="there is no entry"):
        show(ledger, 1 << 40)
    with pytest.raises(NotPermittedError):
        show(ledger, 0, ())


def test_one_is_given_again_at_a_time(ledger: Ledger) -> None:
    """Four who ask would else have every thread of the control socket start plugins."""
    turn: Any = ledger.queries.registry._answers[LedgerWhy].__self__._turn  # type: ignore[attr-defined]
    seq = next(iter(ledger.slots()))
    with turn, pytest.raises(UnavailableError, match="ask again"):
        show(ledger, seq)
    assert not turn.locked()


def test_a_tree_that_tells_of_substance_use_is_restricted_though_the_answer_is_not() -> None:
    node: Any = {"rule": "r", "truth": "FALSE", "readings": [], "missing": ["ciwa_ar"], "children": []}
    above: Any = {"rule": "r", "truth": "FALSE", "readings": [], "missing": [], "children": [node]}
    plain: Any = {**node, "missing": ["sodium"]}
    assert _is_restricted({}, Again(why=(above,)))
    assert not _is_restricted({}, Again(why=(plain,)))
    assert _is_restricted({"sens_rationale": "zz"}, Again(why=(plain,)))
    assert _is_restricted({"sens_evidence": {}}, Again(why=(plain,)))


def test_a_page_without_a_tree_says_why() -> None:
    behind: Any = {
        "agrees": False,
        "because": "rules_differ",
        "says": "rules 1 judged",
        "why": None,
        "not_used": None,
    }
    assert list(behind_page({}, behind)) == [
        "cannot be shown again: rules 1 judged. What the ledger cites is above."
    ]
    assert list(behind_page({}, {**behind, "agrees": None})) == [
        "the rules behind it are not shown to your role"
    ]
