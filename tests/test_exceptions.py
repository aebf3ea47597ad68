"""Each exception that a stay can have stands in the operator's table, with what to do about it."""

from __future__ import annotations

import re
from pathlib import Path

from umbridge.review.standing import EARLY
from umbridge.stay.results.late import LATE_CRITICAL_RESULT
from umbridge.store.closing import READ_ANEW

ROOT = Path(__file__).parents[1]
#: How the code raises one: a flag of the course, an alarm of the clock, a member of the set that is shown, or
#: a constant of these modules that is called as it reads.
RAISED = re.compile(r'(?:flag|Alarm|found\.add|found\.append)\(\s*"([A-Z][A-Z0-9_]{5,})"')
NAMED = re.compile(r'(?:: |= |")([A-Z]+(?:_[A-Z]+)+)"')
OF_RESULTS_AND_ORDERS = (
    "register.py",
    "person.py",
    "result_list.py",
    "strange.py",
    "together.py",
    "unfound.py",
    "whereabouts.py",
)
NO_EXCEPTIONS = {"INPATIENT", "OBSERVATION"}


def raised() -> set[str]:
    found = {*EARLY, LATE_CRITICAL_RESULT, READ_ANEW}
    for path in sorted((ROOT / "umbridge/stay").rglob("*.py")):
        text = path.read_text()
        found.update(RAISED.findall(text))
        if path.name in OF_RESULTS_AND_ORDERS:
            found.update(NAMED.findall(text))
    return found - NO_EXCEPTIONS


def told() -> dict[str, str]:
    """Exception -> what to do, of the table in docs/operations.md."""
    page = (ROOT / "docs/operations.md").read_text()
    table = page.split("## Exceptions of a stay", 1)[1].split("\n## ", 1)[0]
    rows = [line.split(" | ", 1) for line in table.splitlines() if line.startswith("| `")]
    return {code: what for codes, what in rows for code in re.findall(r"`([A-Z0-9_]+)`", codes)}


def test_every_exception_has_a_line_that_says_what_to_do() -> None:
    found = raised()
    assert {"RESULT_UNREAD", "ORDER_AMBIGUOUS", "TWO_OPEN_STAYS", "ADT_LAG", "MERGE_RING"} <= found
    assert found - told().keys() == set()
    assert told().keys() - found == set()
    assert all(len(what) > 30 for what in told().values())
