"""Safe Harbor: counts of determinations by coded values and year; no entry, number, date or text leaves.

45 CFR 164.514(b)(2). A bundle cannot be that: a leaf names the month of its keys, and its place tells the
rest (164.514(b)(2)(i)(C) and (R)). So this is a file of its own, whose digest is on the ledger, and nothing
in it can be held against a single entry.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from umbridge_audit.disclose import Sees, Shelf, openings_within
from umbridge_audit.entry import JsonValue, Record, canonical
from umbridge_audit.redact import TELLING
from umbridge_audit.slots import check_open

FORMAT = "umbridge-deidentified/1"
# Codes of ours and of plugins: a letter first, no long run of digits. Anything else could be anything.
_CODE = re.compile(r"(?!.*[0-9]{5})[A-Za-z][A-Za-z0-9_.]{0,39}\Z")
_EDITION = re.compile(r"[0-9]{4}(\.[0-9]{1,2})?\Z")


def statement(
    ledger: Shelf,
    records: Iterator[Record],
    sees: Sees,
    policy_hash: str,
    progress: Callable[[int], None] | None = None,
) -> Iterator[str]:
    """The lines: a head, then each combination of values with how often it was determined.

    Nothing of ``redact.TELLING`` is in a row, whatever ``sees`` shows: a determination under 42 CFR part 2
    has none of it, so a row without would count them, and a file without such rows would tell how many are
    missing to whoever has a bundle as well.

    ``sees`` is what requester and profile both show. Call it from ``produce`` of ``disclose(kind="export")``.
    """
    rows: Counter[str] = Counter()
    for done, record in enumerate(records):
        if progress is not None and done % 256 == 0:
            progress(done)
        schema, values, _ = check_open(record.open)
        if schema.kind != "determination":
            continue
        found = openings_within(ledger, record, schema, sees)
        row: dict[str, JsonValue] = {"year": str(values["ts"])[:4]}
        for name, c in schema.slots:
            if sees.may(c, name) == "show" and name not in TELLING.get(c, ()):
                row[name] = _coded(found[c][name][1])
        rows[canonical(row)] += 1
    head: dict[str, JsonValue] = {"format": FORMAT, "policy_hash": policy_hash, "profile": "safe-harbor"}
    yield canonical(head | {"determinations": rows.total()})
    for text in sorted(rows):
        yield f'{{"count":{rows[text]},"row":{text}}}'


def _coded(value: JsonValue) -> JsonValue:
    """A value if it is a code, null otherwise: a plugin's field is not trusted to hold no name."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if _CODE.match(value) or _EDITION.match(value) else None
    if isinstance(value, list):
        return sorted({item for item in value if isinstance(item, str) and _CODE.match(item)})
    return None
