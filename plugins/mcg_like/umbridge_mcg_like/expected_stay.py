"""How long a stay is expected to last: a dated table that the site loads. It decides nothing.

No table comes with this plugin. A site puts CSV files, made from the length-of-stay table of Medicare's
inpatient payment rule (geometric mean by MS-DRG, one file a fiscal year), into ``tables`` beside this module
and has the new digest approved. ``python -m umbridge_mcg_like.expected_stay FILE...`` checks files first.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from umbridge import ContentError

COLUMNS = ("effective_from", "effective_to", "ms_drg", "guideline", "expected_days")
FOLDER = Path(__file__).with_name("tables")
LONGEST = Decimal(365)  # days: more is a slip of the keyboard


@dataclass(frozen=True, slots=True)
class Row:
    """One expectation, for discharges of these dates (both included), as the payment rule applies them."""

    effective_from: date
    effective_to: date
    ms_drg: str
    guideline: str
    days: Decimal
    source: str

    def covers(self, guideline: str, day: date) -> bool:
        return self.guideline == guideline and self.effective_from <= day <= self.effective_to


@dataclass(frozen=True, slots=True)
class Table:
    """``digest`` is over every file; empty where no file is loaded."""

    rows: tuple[Row, ...] = ()
    digest: str = ""

    def expected(self, guideline: str, day: date) -> Row | None:
        """The row for a discharge on this local date; for a patient who is still here, of today."""
        return next((row for row in self.rows if row.covers(guideline, day)), None)


def load(folder: Path, guidelines: Collection[str]) -> Table:
    """Every ``*.csv`` file of the folder; no folder is no table.

    Raises:
        ContentError: a file says something the format does not allow, or two rows overlap.
    """
    rows: list[Row] = []
    whole = hashlib.sha256()
    files = sorted(folder.glob("*.csv"))
    for path in files:
        body = path.read_bytes().replace(b"\r\n", b"\n")
        whole.update(f"{path.name}\n{len(body)}\n".encode() + body)
        for row in read(path.name, body, guidelines):
            for other in rows:
                if row.guideline == other.guideline and not (
                    row.effective_to < other.effective_from or other.effective_to < row.effective_from
                ):
                    raise ContentError(
                        f"{path.name}: {row.guideline}: expected one row for each day, "
                        f"{row.effective_from} to {row.effective_to} overlaps another"
                    )
            rows.append(row)
    return Table(tuple(rows), f"sha256:{whole.hexdigest()}" if files else "")


def read(name: str, body: bytes, guidelines: Collection[str]) -> list[Row]:
    """One file. The lines before the columns say where it is from: ``# source=...``, or that it is invented
    for tests: ``# illustrative=true``. Raises ContentError with the line and what was expected."""
    try:
        lines = body.decode("utf-8").splitlines()
    except UnicodeDecodeError as exc:
        raise ContentError(f"{name}: byte {exc.start}: expected UTF-8") from exc
    source, start = "", 0
    while start < len(lines) and (lines[start].startswith("#") or not lines[start].strip()):
        key, _, value = lines[start].lstrip("#").strip().partition("=")
        if key == "source":
            source = value.strip()
        elif key == "illustrative" and value.partition(";")[0].strip() == "true":
            source = source or "ILLUSTRATIVE, not real"
        start += 1
    if not source or len(source) > 120 or not source.isprintable():
        raise ContentError(f"{name}: expected a line '# source=' with up to 120 printable characters")
    found: list[Row] = []
    try:
        table = list(csv.reader(lines[start:]))
    except csv.Error as exc:
        raise ContentError(f"{name}: not readable as CSV") from exc
    for number, cells in enumerate(table, start + 1):
        if number == start + 1:
            if tuple(cells) != COLUMNS:
                raise ContentError(f"{name}: line {number}: expected {','.join(COLUMNS)}")
            continue
        found.append(_row(f"{name}: line {number}", cells, guidelines, source))
    if not found:
        raise ContentError(f"{name}: expected at least one row")
    return found


def _row(where: str, cells: Sequence[str], guidelines: Collection[str], source: str) -> Row:
    if len(cells) != len(COLUMNS):
        raise ContentError(f"{where}: expected {len(COLUMNS)} columns")
    begins, ends = _date(where, COLUMNS[0], cells[0]), _date(where, COLUMNS[1], cells[1])
    if ends < begins:
        raise ContentError(f"{where}: effective_to: expected a date on or after effective_from")
    if not re.fullmatch(r"[0-9]{3}", cells[2]):
        raise ContentError(f"{where}: ms_drg: expected three digits")
    if cells[3] not in guidelines:
        raise ContentError(f"{where}: guideline: expected one of {', '.join(sorted(guidelines))}")
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,2})?", cells[4]) or not 0 < Decimal(cells[4]) <= LONGEST:
        raise ContentError(f"{where}: expected_days: expected a number of days above 0, up to {LONGEST}")
    return Row(begins, ends, cells[2], cells[3], Decimal(cells[4]), source)


def _date(where: str, column: str, text: str) -> date:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ContentError(f"{where}: {column}: expected a date such as 2025-10-01")


def main(paths: Sequence[str]) -> int:
    """Check files before they are put in: one line each, and 1 when any is refused."""
    guidelines = [file.stem for file in sorted(Path(__file__).with_name("content").glob("*.toml"))]
    failed = 0
    for path in paths:
        try:
            rows = read(path, Path(path).read_bytes(), guidelines)
            print(f"{path}: {len(rows)} rows, source: {rows[0].source}")
        except (ContentError, OSError) as exc:
            failed = 1
            print(exc, file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
