"""The rows since the last checkpoint, read back and checked before they are signed: the short way.

It runs on the daemon's loop once a second, so it sweeps where ``examine`` parses. It names no fault: a page
that is not exactly as the writer writes it is left to ``examine``.
"""

from __future__ import annotations

from umbridge_audit.fast_check import FastCheck
from umbridge_audit.store.rows import Rows
from umbridge_audit.tree import Frontier

_LATER = "SELECT 1 FROM {} WHERE seq >= ? LIMIT 1"
_PAGE = 512


def read_back(
    rows: Rows, fast_checker: FastCheck, since: Frontier, head: bytes, limit: int | None = None
) -> tuple[Frontier, bytes] | None:
    """Tree and head with every row after ``since``, or the first ``limit`` of them.

    None when one is not as the writer writes it. Every column of each row is read: leaf, open slots,
    compartments' roots and ciphertexts must give one another's hashes, at the sweeper's level. What was whole
    in ``since`` is whole in the answer. Raises SourceError.
    """
    frontier = since.copy()
    frontier.whole = list(since.whole)
    page = _PAGE if limit is None else min(limit, _PAGE)
    while True:
        start = frontier.size
        entries, parts = rows.page(start, start + page)
        if not entries:
            break
        checked = fast_checker.check(entries, parts, start, head or None)
        if checked is None:
            return None
        frontier.extend(checked.hashes)
        head = checked.hashes[-1]
        if limit is not None:
            return frontier, head
        if len(entries) < page:
            break
    if any(rows._fetch(_LATER.format(table), frontier.size) for table in ("ledger_entry", "ledger_part")):
        return None
    return frontier, head
