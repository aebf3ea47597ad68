"""Numbers of orders and reports: which two are one, and which two can be, by who gave them.

A number is written NUMBER^NAMESPACE^UNIVERSAL ID, as far as it was sent. The universal id identifies who gave
it; a namespace is a local name for the same (HL7 v2 2.A.28, 2.A.33).
"""

from __future__ import annotations

from collections.abc import Iterable


def alike(one: str, other: str) -> bool:
    """Whether two numbers can be one: they differ in nothing about who gave them that both of them have."""
    if one == other:
        return bool(one)
    (mine, _, space), (theirs, _, others) = one.partition("^"), other.partition("^")
    return mine == theirs and are_one_authority(space, others) is not False


def same(one: str, other: str) -> bool:
    """Whether two numbers are one for sure: by who gave them."""
    if one == other:
        return True
    (mine, _, space), (theirs, _, others) = one.partition("^"), other.partition("^")
    return mine == theirs and are_one_authority(space, others) is True


def are_one_authority(one: str, other: str) -> bool | None:
    """Of two NAMESPACE^UNIVERSAL ID; None where they have nothing in common that could tell.

    Senders put an OID into the namespace too: it is compared with the other's universal id.
    """
    if not one or not other:
        return None
    (space, _, universal), (others, _, theirs) = one.partition("^"), other.partition("^")
    if universal and theirs:
        return universal == theirs
    if space and others:
        return space == others
    return True if (space or universal) == (others or theirs) else None


def spelt_once(numbers: Iterable[str]) -> dict[str, str]:
    """Each of these spellings of one number -> the one spelling that stands for all that are one with it.

    Those are one that share a universal id, or a namespace that goes with one universal id only. A spelling
    that may be another's and may be one of its own is left out: one without any authority, a namespace that
    goes with two universal ids, and where namespaces stand beside universal ids and nothing says which go
    together, the fewer of them. The answer is the same whatever order they came in.
    """
    parted = {each: _authority(each) for each in set(numbers)}
    spaces: dict[str, set[str]] = {}  # namespace -> the universal ids that it goes with
    named: set[str] = set()  # universal ids that go with a namespace
    for space, universal in parted.values():
        if space:
            spaces.setdefault(space, set()).update({universal} - {""})
            named |= {universal} if universal else set()
    for space in spaces.keys() & {universal for _, universal in parted.values()}:
        spaces[space].add(space)  # an OID in the place of a namespace
        named.add(space)
    lone_spaces = {space for space, its in spaces.items() if not its}
    lone_names = {universal for _, universal in parted.values() if universal} - named
    unsure_spaces = lone_spaces if len(lone_spaces) < len(lone_names) else set[str]()
    unsure_names = lone_names if lone_spaces and not unsure_spaces else set[str]()
    groups: dict[str, list[str]] = {}
    for number, (space, universal) in parted.items():
        if universal and universal not in unsure_names:
            groups.setdefault(universal, []).append(number)
        elif space and not universal and len(spaces[space]) < 2 and space not in unsure_spaces:
            groups.setdefault(next(iter(spaces[space]), f"{space}^"), []).append(number)
    return {each: max(its, key=_fullness) for its in groups.values() for each in its}


def _authority(number: str) -> tuple[str, str]:
    space, _, universal = number.partition("^")[2].partition("^")
    return space, universal


def _fullness(number: str) -> tuple[int, str]:
    return sum(map(bool, _authority(number))), number
