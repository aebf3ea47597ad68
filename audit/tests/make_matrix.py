"""Writes golden_matrix.txt: who sees which field for which purpose, and what profiles show (make vectors).

Read every changed line before it is committed: a line is a permission.
"""

from __future__ import annotations

from pathlib import Path

from umbridge_audit.redact import _FIELDS, GROUPS, PURPOSES, AccessTable, Permission

OF_MESSAGES = "(fields of messages)"  # what no row can name: shown where the whole compartment is

PAGE = Path(__file__).with_name("golden_matrix.txt")


def lines() -> list[str]:
    table = AccessTable.load()
    found = ["# role purpose compartment sight: fields; what is not listed is hidden"]
    for role in sorted(table.roles):
        for purpose in PURPOSES:
            permission = table.permission([role], purpose)
            if permission.roles:
                exports = "exports" if permission.exports else "no exports"
                found.append(f"{role} {purpose} {exports}")
                found += [f"{role} {purpose} {line}" for line in _cells(permission)]
    for name in ("integrity-only", *sorted(table.profiles)):
        found.append(f"profile {name}")
        found += [f"profile {name} {line}" for line in _cells(table.profile(name))]
    if table.broken is not None:
        found += [f"breakglass {line}" for line in _cells(table.broken)]
    found += [f"act {act}: {' '.join(sorted(roles))}" for act, roles in sorted(table.acts.items())]
    return found


def _cells(permission: Permission) -> list[str]:
    cells = []
    for group in GROUPS:
        every = _FIELDS[group] | {OF_MESSAGES}
        for sight in ("show", "mask"):
            fields = sorted(f for f in every if permission.may(group, f) == sight)
            if fields:
                left = sorted(every - set(fields))
                but = f" but {' '.join(left)}" if left else ""
                few = len(left) < len(fields) / 10  # what is left out is then what a reader looks for
                cells.append(f"{group} {sight}: {f'every field{but}' if few else ' '.join(fields)}")
    return cells


def text() -> str:
    return "\n".join(lines()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text())
