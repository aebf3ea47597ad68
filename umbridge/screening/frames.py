"""Frames between daemon and plugin worker: a 4-byte big-endian length and so many bytes, 1 MiB at most.

A request is in the interpreter's own form, an answer is strict JSON: whatever a worker says is distrusted.
"""

from __future__ import annotations

import json
import marshal
from typing import Any, Literal, NoReturn, NotRequired, TypedDict, cast

FRAME_LIMIT = 1 << 20  # bytes; a result is a few kB, a case with every fact under 40 kB
_HOLDERS = frozenset({dict, list})  # what JSON is read into
DEPTH_LIMIT = 32  # lists and objects in one another
MOST_WHOLE = 1 << 53
_ENCODE = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


class Request(TypedDict):
    """What a worker is asked: for its greeting, or to screen cases as ``wire.case_out`` writes them.

    ``why``: with each answer the trees behind it.
    """

    do: Literal["greet", "screen"]
    cases: NotRequired[list[list[Any]]]
    why: NotRequired[bool]


class Question(Request):
    """A request on its way. The answer must bear the same ``id``, which nobody can guess."""

    id: str


class Greeting(TypedDict):
    """A worker's first words: ``manifest`` as ``wire.manifest_out`` writes it, or why there is none."""

    manifest: object
    why: str
    isolation: str


class Reply(TypedDict, total=False):
    """One case's result as ``wire.result_out`` writes it, or the code of what went wrong with it alone."""

    result: object
    why: object
    error: str


class Answer(TypedDict, total=False):
    """What came back: ``id`` and one of the others. Nothing of it is trusted before ``wire`` has read it."""

    id: object
    greeting: object
    results: object
    error: object


class WireError(Exception):
    """A frame or a value that the contract does not allow. Carries a code, never content."""


def _refuse(_: str) -> NoReturn:
    raise WireError("number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise WireError("duplicate_key")
    return found


def question(value: Question) -> bytes:
    """A request as one frame. Raises WireError when it is too large or holds other than plain values.

    In the interpreter's own ``marshal`` form, several times quicker than JSON: the worker is the same
    interpreter and trusts who asks it. Nothing is ever read from a worker that way.
    """
    try:
        body = marshal.dumps(cast(Any, value))
    except ValueError:
        raise WireError("not_plain") from None
    if len(body) > FRAME_LIMIT:
        raise WireError("too_large")
    return len(body).to_bytes(4, "big") + body


def asked(body: bytes) -> Question:
    """The request in a frame's body, in the worker. Its sender is the daemon's own process."""
    value: Question = marshal.loads(body)  # noqa: S302 - from the process that started this one
    return value


def frame(value: object) -> bytes:
    """An answer as one frame. Raises WireError when it is too large or is not plain JSON."""
    try:
        body = _ENCODE(value).encode()
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError):
        raise WireError("not_json") from None
    if len(body) > FRAME_LIMIT:
        raise WireError("too_large")
    return len(body).to_bytes(4, "big") + body


def _whole(text: str) -> int:
    if len(text) > 17 or not -MOST_WHOLE <= (value := int(text)) <= MOST_WHOLE:
        raise WireError("number")
    return value


def _depth(value: object) -> int:
    """How deeply lists and objects lie in one another; stops counting beyond the limit."""
    depth, level = 0, [value]
    while depth <= DEPTH_LIMIT and (level := [item for item in level if type(item) in _HOLDERS]):
        depth += 1
        level = [i for item in level for i in (item.values() if type(item) is dict else item)]  # type: ignore[attr-defined]
    return depth


_DECODE = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_refuse, parse_float=_refuse, parse_int=_whole
).decode


def unframe(body: bytes) -> Answer:
    """The object in an answer's body: strict JSON. Raises WireError.

    No NaN, no floats, no key twice, whole numbers within 2^53, lists and objects at most 32 deep.
    """
    try:
        value = _DECODE(body.decode())
    except (ValueError, RecursionError):
        raise WireError("not_json") from None
    if not isinstance(value, dict):
        raise WireError("not_an_object")
    if body.count(b"[") + body.count(b"{") > DEPTH_LIMIT and _depth(value) > DEPTH_LIMIT:
        raise WireError("depth")
    return cast(Answer, value)  # whatever keys it has: its reader looks
