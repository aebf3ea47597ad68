"""A TOML file read strictly: each mistake is refused with file, line, key and what was expected."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from umbridge.criteria.places import lines_of, nearest
from umbridge.errors import ContentError

ID = re.compile(r"[a-z][a-z0-9_]{0,47}")
_WORDS = {
    str: "text",
    int: "a whole number",
    list: "a list",
    dict: "a table",
    date: "a date",
    bool: "true or false",
}


class StrictFile:
    """One file. Methods raise ContentError for what is missing, of another type or not known here."""

    def __init__(self, name: str, body: bytes) -> None:
        self.name = name
        try:
            self.text = body.decode("utf-8")
            self.data: dict[str, Any] = tomllib.loads(self.text, parse_float=Decimal)
        except UnicodeDecodeError as exc:
            raise ContentError(f"{name}: byte {exc.start}: expected UTF-8") from exc
        except (tomllib.TOMLDecodeError, RecursionError) as exc:
            raise ContentError(f"{name}: not TOML: {exc}") from exc

    def fail(self, key: str, expected: str) -> ContentError:
        line = nearest(lines_of(self.text), key)
        return ContentError(f"{self.name}: line {line}: {key}: expected {expected}")

    def take(self, table: Mapping[str, Any], key: str, kind: type, where: str, default: Any = None) -> Any:
        if not isinstance(table, dict):
            raise self.fail(where, "a table")
        full = f"{where}.{key}" if where else key
        if key not in table:
            if default is None:
                raise self.fail(full, f"{_WORDS[kind]} (it is missing)")
            return default
        value = table[key]
        if type(value) is not kind or value == "":
            raise self.fail(full, _WORDS[kind])
        return value

    def only(self, table: Mapping[str, Any], allowed: Sequence[str] | frozenset[str], where: str) -> None:
        for key in table:
            if key not in allowed:
                raise self.fail(f"{where}.{key}" if where else key, f"one of {', '.join(sorted(allowed))}")

    def tables(self, key: str) -> dict[str, dict[str, Any]]:
        found: dict[str, Any] = self.take(self.data, key, dict, "", {})
        for name, table in found.items():
            if not ID.fullmatch(name):
                raise self.fail(f"{key}.{name}", "a name of lower-case letters, digits and _")
            if not isinstance(table, dict):
                raise self.fail(f"{key}.{name}", "a table")
        return found

    def named(self, key: str) -> str:
        value: str = self.take(self.data, key, str, "")
        if not ID.fullmatch(value):
            raise self.fail(key, "a name of lower-case letters, digits and _")
        return value

    def texts(self, table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        found = self.take(table, key, list, where)
        if not found or not all(isinstance(text, str) and text for text in found):
            raise self.fail(f"{where}.{key}" if where else key, "a list of texts, not empty")
        return tuple(found)
