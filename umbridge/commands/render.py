"""A report's rows as a file: CSV that no spreadsheet runs, HTML that needs nothing beside itself."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from umbridge_audit.entry import JsonValue

Row: TypeAlias = "Mapping[str, JsonValue]"  # a name alone: a command that asks loads nothing of the ledger

# What a spreadsheet may take for a formula, OWASP ASVS 5.0 1.2.10; the quote before it makes text of it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_CSP = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:light dark;--line:#8886;--soft:#8881}
body{font:15px/1.5 system-ui,sans-serif;margin:2.5rem;width:fit-content;min-width:40rem}
h1{font-size:1.5rem;margin:0 0 .75rem}
dl{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:0 0 1.5rem}
dt{font-size:.75rem;opacity:.7}dd{margin:0;font-variant-numeric:tabular-nums}
.note{border-left:3px solid #c60;background:var(--soft);padding:.5rem .9rem;margin:0 0 1.5rem}
table{border-collapse:collapse;width:100%;font-size:.85rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid var(--line)}
td{overflow-wrap:break-word;max-width:20rem}
td.long{overflow-wrap:anywhere;min-width:9rem;font-size:.75rem}
th{position:sticky;top:0;background:Canvas;font-size:.75rem;white-space:nowrap}
tbody tr:nth-child(even){background:var(--soft)}
@media print{body{margin:0;max-width:none}th{position:static}tr{break-inside:avoid}}
"""


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Every key there is, in the order in which it first comes."""
    return list(dict.fromkeys(key for row in rows for key in row))


def csv_lines(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """RFC 4180, every field quoted. The unanchored window stands in a column of its own, on every line."""
    columns = columns_of(rows)
    window = f"{head['unanchored']} entries, {head['unanchored_window_seconds']} s"
    lines: list[list[JsonValue]] = [[*columns, "unanchored"]]
    lines += [[*(row.get(column) for column in columns), window] for row in rows]
    for cells in lines:
        yield ",".join('"' + _cell(cell).replace('"', '""') + '"' for cell in cells) + "\r\n"


def _cell(value: JsonValue) -> str:
    text = plain(value).replace("\0", "")
    return "'" + text if text.lstrip(" ").startswith(_FORMULA) else text


def html_page(head: Row, rows: Sequence[Row]) -> str:
    """One page: no script, no link, nothing fetched; every value escaped. What no row has, has no column."""
    columns = [name for name in columns_of(rows) if any(plain(row.get(name)) for row in rows)]
    facts = "".join(
        f"<div><dt>{_escape(key)}</dt><dd>{_escape(value)}</dd></div>"
        for key, value in head.items()
        if key != "report" and value is not None
    )
    heads = "".join(f"<th scope=col>{_escape(column.replace('_', ' '))}</th>" for column in columns)
    body = "\n".join("<tr>" + "".join(_td(row.get(column)) for column in columns) + "</tr>" for row in rows)
    title = f"umbridge report: {_escape(head['report'])}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1><dl>{facts}</dl>"
        f'<p class="note">{_escape(window_note(head))}</p>'
        + (
            f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
            if rows
            else "<p>Nothing.</p>"
        )
        + "</body></html>\n"
    )


def _td(value: JsonValue) -> str:
    """A word too long for a column (a digest) may be broken anywhere, others only between words."""
    is_long = any(len(word) > 32 for word in plain(value).split())
    return f"<td class=long>{_escape(value)}</td>" if is_long else f"<td>{_escape(value)}</td>"


def window_note(head: Row) -> str:
    """What every report must say of itself."""
    return (
        f"{head['unanchored']} of {head['entries']} entries were not under an anchored checkpoint when this "
        f"was made; one follows within {head['unanchored_window_seconds']} s."
    )


def plain(value: JsonValue) -> str:
    """One value as a line of text; control and direction characters are shown, not obeyed."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        text = "; ".join(plain(item) for item in value)
    elif isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    else:
        text = str(value)
    return "".join(c if c.isprintable() or c in "\t\r\n\0" else f"\\u{ord(c):04x}" for c in text)


def _escape(value: JsonValue) -> str:
    return html.escape("".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in plain(value)))


def split(rows: Iterable[Row]) -> tuple[Row, list[Row]]:
    """The report's head and the rest."""
    all_rows = list(rows)
    return all_rows[0], all_rows[1:]
