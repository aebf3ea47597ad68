"""What a verification that goes on from a kept checkpoint may ask of the entries before it.

No answer is evidence: a path leads to the kept root or it does not. SPEC.md section 17.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from umbridge_audit.entry import FormatError
from umbridge_audit.slots import BY_NAME, check_open
from umbridge_audit.store.rows import Broken, Rows
from umbridge_audit.store.subtrees import prove_inclusion

_INTRODUCING = [f'{each.name}"' for each in BY_NAME.values() if each.kind in ("key.create", "key.rotate")]
# An open column begins [[0,"<44 characters of salt>","schema","<kind>/<number>"; SQL counts from 1.
_KEY_ENTRIES = (
    "SELECT seq, CAST(open AS BLOB) FROM ledger_entry WHERE seq >= ? AND seq < ? AND ("  # noqa: S608  constants
    + " OR ".join(f"substr(open, 62, {len(name)}) = '{name}'" for name in _INTRODUCING)
    + ") ORDER BY seq DESC"
)
_BATCH = 4096


class StoredPast:
    """``since.Past`` for the ledger in SQLite."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def path(self, seq: int, size: int, root: bytes) -> Sequence[bytes]:
        """From kept subtrees, or from the leaves. Empty where neither gives the root."""
        try:
            return prove_inclusion(self._rows, seq, size, root)
        except Broken:
            return []

    def introductions(self, before: int) -> Iterator[tuple[int, str]]:
        """Backwards a few thousand rows at a time: a key is seldom older than the month."""
        for high in range(before, 0, -_BATCH):
            for seq, opened in self._rows._fetch(_KEY_ENTRIES, max(0, high - _BATCH), high):
                if not isinstance(seq, int) or not isinstance(opened, bytes):
                    continue
                try:
                    _, values, _ = check_open(opened.decode())
                except (FormatError, UnicodeDecodeError):
                    continue  # it introduces nothing; reading all of the ledger says what is wrong with it
                yield seq, str(values.get("kid"))
