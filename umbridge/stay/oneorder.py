"""Statements under one number: whether they are about one order, and whose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from umbridge.stay.force import SAYS_WHAT
from umbridge.stay.record import same_patient
from umbridge.stay.said import Said


def alike_until(one: list[Any], other: list[Any]) -> int:
    """How far two lists begin alike."""
    if one is other:
        return len(one)
    pairs = zip(one, other, strict=False)
    return next((n for n, (mine, its) in enumerate(pairs) if mine != its), min(len(one), len(other)))


def are_one(its: list[Said]) -> bool:
    """Whether kinds under one number are parts of one order: told of in one message, or by a change of it."""
    rows = [
        {said.seq for said in its if said.what == what and said.does in SAYS_WHAT}
        for what in {said.what for said in its if said.what}
    ]
    return bool(set.intersection(*rows)) or any(said.is_change for said in its)


def by_patient(its: list[Said], stands: Callable[[str], str]) -> Iterator[list[Said]]:
    """The statements by whose order it is: another patient's under the same number is another order."""
    owners = {stands(said.patient) for said in its} - {""}
    if len(owners) < 2:
        yield its
        return
    for owner in sorted(owners):
        yield [said for said in its if same_patient(owner, stands(said.patient))]
