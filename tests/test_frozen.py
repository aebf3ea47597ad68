"""A frozen value that is made at once is the value that its dataclass makes."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any

import pytest

import umbridge.lanes.work  # noqa: F401 - with it comes what a determination is made of
from umbridge.values import frozen


@dataclass(frozen=True, slots=True)
class Slow:
    one: int
    two: str = "two"
    three: list[int] = field(default_factory=list)
    four: int = field(default=4, kw_only=True)
    five: int = field(kw_only=True)


@frozen.dataclass(frozen=True, slots=True)
class Quick:
    one: int
    two: str = "two"
    three: list[int] = field(default_factory=list)
    four: int = field(default=4, kw_only=True)
    five: int = field(kw_only=True)


def decorated() -> list[type[Any]]:
    found = {
        each
        for module in list(sys.modules.values())
        if (getattr(module, "__name__", None) or "").startswith("umbridge")
        for each in vars(module).values()
        if isinstance(each, type) and "_opened" in getattr(vars(each).get("__init__"), "__globals__", ())
    }
    return sorted(found, key=lambda each: each.__qualname__)


def its(value: Any) -> list[Any]:
    return [getattr(value, each.name) for each in fields(value)]


def test_it_takes_what_the_dataclass_takes() -> None:
    for args, names in (
        ((1,), {"five": 5}),
        ((1, "b", [3]), {"five": 5, "four": 0}),
        ((), {"one": 1, "five": 5}),
    ):
        slow, quick = Slow(*args, **names), Quick(*args, **names)  # type: ignore[arg-type]
        assert its(slow) == its(quick)
        assert type(quick) is Quick
    assert Quick(1, five=5).three is not Quick(1, five=5).three
    quick_takes = inspect.signature(Quick).parameters
    assert [(p.name, p.kind) for p in quick_takes.values()] == [
        (p.name, p.kind) for p in inspect.signature(Slow).parameters.values()
    ]
    for args, names in (((), {}), ((1, 2, 3, 4), {"five": 5}), ((1,), {"six": 6, "five": 5}), ((1,), {})):
        with pytest.raises(TypeError):
            Quick(*args, **names)  # type: ignore[arg-type]


def test_what_a_determination_is_made_of_is_as_its_dataclass_makes_it() -> None:
    found = decorated()
    assert len(found) > 30
    for kind in found:
        values = {each.name: object() for each in fields(kind)}
        made = kind(**values)
        assert type(made) is kind
        assert all(getattr(made, name) is value for name, value in values.items()), kind
        twin = replace(made)
        assert twin is not made
        if kind.__eq__ is not object.__eq__:
            assert twin == made
        with pytest.raises(FrozenInstanceError):
            setattr(made, fields(kind)[0].name, None)
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            made.another = None
        with pytest.raises(FrozenInstanceError):
            delattr(made, fields(kind)[0].name)
        plain = kind(**dict.fromkeys(values, "text"))
        if all(each.compare for each in fields(kind)):
            assert pickle.loads(pickle.dumps(plain)) == plain  # noqa: S301 - of our own making
            assert copy.copy(plain) == copy.deepcopy(plain) == plain
        assert repr(plain).startswith(kind.__qualname__ + "(")


def test_a_class_that_does_more_is_left_as_it_is() -> None:
    @frozen.dataclass(frozen=True, slots=True)
    class Checked:
        one: int
        two: int
        three: int

        def __post_init__(self) -> None:
            assert self.one

    @frozen.dataclass(frozen=True)
    class Loose:
        one: int
        two: int
        three: int

    @frozen.dataclass(frozen=True, slots=True)
    class Heir(Slow):
        six: int = field(default=6, kw_only=True)

    @frozen.dataclass(slots=True)
    class Open:
        one: int
        two: int
        three: int

    assert not set(decorated()) & {Checked, Loose, Heir, Open}
    assert not any(map(frozen.can_be, (Checked, Loose, Heir, Open)))
    with pytest.raises(AssertionError):
        Checked(0, 2, 3)
    assert its(Heir(1, five=5)) == [1, "two", [], 4, 5, 6]
