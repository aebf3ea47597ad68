"""Frozen values, made as fast as open ones: a determination makes some hundreds of fields of them.

``dataclasses.dataclass`` fills each field by a call of ``object.__setattr__``, which takes some seven times
what a plain assignment takes. The one of this module gives such a class another ``__init__``: an object is of
a class with the same slots and no lock until it is filled, and nobody else has it yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")
_MANY = 3  # fields, from which on it takes less

if TYPE_CHECKING:  # to a type checker it is what it stands for
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - for others
else:

    def dataclass(**options: Any) -> Callable[[type[T]], type[T]]:
        """As ``dataclasses.dataclass``, and ``made_at_once`` where that can be."""

        def made(kind: type[T]) -> type[T]:
            kind = dataclasses.dataclass(**options)(kind)
            return made_at_once(kind) if can_be(kind) else kind

        return made


def can_be(kind: type[Any]) -> bool:
    """Whether it is a frozen dataclass with slots, of three fields or more, and its objects are no more."""
    own = dataclasses.fields(kind)
    is_plain = kind.__bases__ == (object,) and not hasattr(kind, "__post_init__")
    is_whole = vars(kind).get("__slots__") == tuple(each.name for each in own)
    is_frozen = "__setattr__" in vars(kind)
    return is_plain and is_whole and is_frozen and len(own) >= _MANY and all(each.init for each in own)


def made_at_once(closed: type[T]) -> type[T]:
    """The same class: what it takes, holds and refuses is as before."""
    own = dataclasses.fields(closed)  # type: ignore[arg-type]
    names = tuple(each.name for each in own)
    opened = type(closed.__name__, (), {"__slots__": names})
    change = vars(object)["__class__"].__set__  # what ``object.__setattr__`` would look up each time
    known = {"_change": change, "_opened": opened, "_closed": closed, "_made": object()}
    takes, lines = ["self"], list[str]()
    for each in sorted(
        own, key=lambda each: each.kw_only is True
    ):  # in the order in which the dataclass takes them
        if each.kw_only is True and "*" not in takes:
            takes.append("*")
        takes.append(each.name)
        if each.default_factory is not dataclasses.MISSING:
            known[f"_make_{each.name}"] = each.default_factory
            takes[-1] += "=_made"
            lines.append(f"if {each.name} is _made: {each.name} = _make_{each.name}()")
        elif each.default is not dataclasses.MISSING:
            known[f"_else_{each.name}"] = each.default
            takes[-1] += f"=_else_{each.name}"
    lines.append("_change(self, _opened)")
    lines += [f"self.{name} = {name}" for name in names]
    lines.append("self.__class__ = _closed")  # nothing in between can fail
    text = f"def __init__({', '.join(takes)}):\n " + "\n ".join(lines)
    exec(text, known)  # noqa: S102 - of the names of our own fields, as dataclass itself does it
    before, made = closed.__init__, known["__init__"]
    for name in ("__annotations__", "__module__", "__qualname__"):
        setattr(made, name, getattr(before, name))
    setattr(closed, "__init__", made)  # noqa: B010 - mypy takes no other __init__ for the same
    return closed
