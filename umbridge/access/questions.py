"""Questions and acts as frozen values: what is asked, what it looks for, whose record it is, what it yields.

Everything that decides whether a question may be put stands in its class, so that the door decides before it
writes, and one test can walk them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Generic, Literal, Self, TypeAlias, TypeVar, dataclass_transform

from umbridge_audit.disclose import Need
from umbridge_audit.entry import JsonValue

from umbridge.errors import UsageError

V = TypeVar("V")
C = TypeVar("C")
Args: TypeAlias = Mapping[str, JsonValue]
USUAL_PURPOSES = ("HOPERAT", "HPAYMT", "HCOMPL", "TREAT", "PATRQT")
MAX_NUMBER = 2**53 - 1  # the ledger's own largest integer (audit/SPEC.md)
MAX_TEXT = 1000  # a reason is a sentence, and an access entry is not a place to store a file
Access: TypeAlias = Literal["read", "search", "export"]
_ASKED = "asked"


# -- one argument ------------------------------------------------------------------------------------------


def number_of(args: Args, name: str) -> int:
    """A row's or entry's number. Raises UsageError: what the store cannot hold must not reach it."""
    value = args.get(name)
    try:
        number = int(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        number = None
    if number is None:
        raise UsageError(f"{name}: a number is expected")
    if not 0 <= number <= MAX_NUMBER:
        raise UsageError(f"{name}: expected a number from 0 to {MAX_NUMBER}")
    return number


def text_of(args: Args, name: str) -> str:
    """A word or sentence of the asker's, "" where none was given. Raises UsageError: see ``number_of``."""
    value = args.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise UsageError(f"{name}: text of at most {MAX_TEXT} characters is expected")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name}: not UTF-8 text") from None
    return value


def _flag_of(args: Args, name: str) -> bool:
    value = args.get(name)
    if value not in (None, True, False, "", 0, 1):
        raise UsageError(f"{name}: true or false is expected")
    return bool(value)


def _some_number_of(args: Args, name: str) -> int | None:
    return None if args.get(name) is None else number_of(args, name)


def _numbers_of(args: Args, name: str) -> tuple[int, ...]:
    value = args.get(name)
    if value is not None and not isinstance(value, list | tuple):
        raise UsageError(f"{name}: numbers are expected")
    return tuple(number_of({name: one}, name) for one in value or ())


@dataclass(frozen=True, slots=True)
class Argument:
    """How one argument is read, what who asks must be able to see, and how the entry tells it."""

    read: Callable[[Args, str], Any]
    looks_for: tuple[str, str] | None = None  # compartment and slot
    told: Literal["value", "name", ""] = ""  # in the words of the entry; a patient's number is sealed apart


def _argument(argument: Argument) -> Any:
    return field(metadata={_ASKED: argument})


def text(*, told: Literal["value", "name", ""] = "") -> Any:
    return _argument(Argument(text_of, None, told))


def secret() -> Any:
    """Text that is never printed, not even by accident."""
    return field(metadata={_ASKED: Argument(text_of)}, repr=False)


def number() -> Any:
    return _argument(Argument(number_of))


def some_number(*, told: Literal["value", "name", ""] = "") -> Any:
    """A number, or None where none was given."""
    return _argument(Argument(_some_number_of, None, told))


def numbers() -> Any:
    return _argument(Argument(_numbers_of))


def flag(*, told: Literal["name", ""] = "", of: tuple[str, str] | None = None) -> Any:
    """True or false. ``of``: compartment and slot of the field that the answer is narrowed by."""
    return _argument(Argument(_flag_of, of, told))


def looks_for(compartment: str, slot: str, *, told: Literal["value", "name"]) -> Any:
    """What the answer is narrowed by. An answer, even an empty one, tells whether there is such a one: so who
    may not see that field may not look for it."""
    return _argument(Argument(text_of, (compartment, slot), told))


@dataclass_transform(
    frozen_default=True,
    kw_only_default=True,
    field_specifiers=(text, secret, number, some_number, numbers, flag, looks_for),
)
def asked(declared: type[C]) -> type[C]:
    """Makes a question's or an act's class a frozen value. Raises TypeError for an argument not declared."""
    made = dataclass(frozen=True, slots=True, kw_only=True)(declared)
    bare = [each.name for each in fields(made) if _ASKED not in each.metadata]  # type: ignore[arg-type]
    if bare:
        raise TypeError(f"{declared.__name__}: not declared how it is asked: {' '.join(bare)}")
    return made


# -- whose record it is ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Patient:
    """Named in the question itself; "" where the question is about nobody in particular."""

    number: str = ""


@dataclass(frozen=True, slots=True)
class OfMessage:
    """Whoever a stored message is about."""

    seq: int


@dataclass(frozen=True, slots=True)
class OfEntry:
    """Whoever an entry of the ledger is about. ``kind``: an entry of another kind is none; "" for any."""

    seq: int
    kind: str = ""


Whose: TypeAlias = Patient | OfMessage | OfEntry


# -- questions and acts ------------------------------------------------------------------------------------


@asked
class _Asked:
    """What questions and acts have in common."""

    name: ClassVar[str] = ""
    rows: ClassVar[tuple[type[Any], ...]]

    reason: str = text()

    @classmethod
    def of(cls, args: Args) -> Self:
        """Read strictly. Raises UsageError: an argument that is not known could have been a filter."""
        known = {each.name: each.metadata[_ASKED] for each in fields(cls)}
        for name in args:
            if name not in known:
                raise UsageError(f"{cls.name}: unknown argument {name!a}")
        return cls(**{name: argument.read(args, name) for name, argument in known.items()})

    @classmethod
    def arguments(cls) -> dict[str, Argument]:
        """Each argument with how it is declared."""
        return {each.name: each.metadata[_ASKED] for each in fields(cls)}


@asked
class Query(_Asked, Generic[V]):
    """A question that shows rows of one view. Its class says all that decides whether it may be put."""

    access: ClassVar[Access] = "search"
    purposes: ClassVar[tuple[str, ...]] = USUAL_PURPOSES  # one is taken of these where none is given
    says_hidden: ClassVar[bool] = False  # whether its rows name what is hidden, which else looks empty
    stands_on: ClassVar[tuple[Need, ...]] = ()  # fields without which the answer as a whole would mislead

    purpose: str = text()

    @property
    def needs(self) -> tuple[Need, ...]:
        """What who asks must be able to see, or the question is refused."""
        found = list(self.stands_on)
        for name, argument in self.arguments().items():
            if argument.looks_for is not None and getattr(self, name):
                found.append(Need(*argument.looks_for, f"what --{name.replace('_', '-')} looks for"))
        return tuple(found)

    @property
    def words(self) -> str:
        """What was asked, as the entry says it."""
        said = [self.name.replace(".", " ")]
        for name, argument in self.arguments().items():
            value = getattr(self, name)
            if argument.told and value not in (None, "", False):
                option = f"--{name.replace('_', '-')}"
                said.append(f"{option} {value}" if argument.told == "value" else option)
        return " ".join(said)[:MAX_TEXT]

    @property
    def whose(self) -> Whose:
        """Whose record it is, as the entry says it."""
        return Patient()


@asked
class Act(_Asked, Generic[V]):
    """Something that changes something. It writes its own entry; what it answers is a view too."""

    may: ClassVar[str] = ""  # the name that the access table's ``acts`` have for it
