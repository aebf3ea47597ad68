"""Where each key of a TOML text stands: the line to name beside a mistake that is not one of syntax.

For text that ``tomllib`` has accepted already; what it would refuse gives places that mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.S)
_BARE = re.compile(r"[^,\]}#\n]+")
_KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_OPEN = re.compile(r"[ \t]*\[\[?[ \t]*")


def lines_of(text: str) -> Mapping[str, int]:
    """Line numbers, from 1, by path: ``score.x.item[2].points``. Lists count from 1."""
    return _Scanner(text).found


def nearest(lines: Mapping[str, int], path: str) -> int:
    """The line of a path, or of the closest thing around it; 1 where there is nothing."""
    while path and path not in lines:
        path = re.sub(r"(?:\.[^.\[\]]*|\[\d+\]|^[^.\[\]]*)$", "", path)
    return lines.get(path, 1)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found: dict[str, int] = {}
        self._line, self._counted = 1, 0
        table = ""
        repeats: dict[str, int] = {}
        while self._blank() < len(text):
            if text[self.at] != "[":
                self._pair(table)
                continue
            is_list = text.startswith("[[", self.at)
            opening = _OPEN.match(text, self.at)
            self.at = opening.end() if opening else self.at + 1
            table = self._key("")
            if is_list:
                repeats[table] = repeats.get(table, 0) + 1
                table = f"{table}[{repeats[table]}]"
            self._note(table)
            end = text.find("\n", self.at)
            self.at = len(text) if end < 0 else end

    def _blank(self) -> int:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def _note(self, path: str) -> None:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = max(self._counted, self.at)
        self.found.setdefault(path, self._line)

    def _key(self, above: str) -> str:
        parts = [above] if above else []
        while (match := _KEY.match(self.text, self.at)) is not None:
            parts.append(match[0].strip("\"'"))
            self.at = match.end()
            if (dot := _DOT.match(self.text, self.at)) is None:
                break
            self.at = dot.end()
        return ".".join(parts)

    def _pair(self, above: str) -> None:
        start = self.at
        path = self._key(above)
        self._note(path)
        self.at = self.text.find("=", self.at) + 1 or len(self.text)
        self._value(path)
        self.at = max(self.at, start + 1)

    def _value(self, path: str) -> None:
        self._blank()
        opened = self.text[self.at : self.at + 1]
        if opened not in ("[", "{"):
            match = _STRING.match(self.text, self.at) or _BARE.match(self.text, self.at)
            self.at = match.end() if match else self.at + 1
            return
        self.at += 1
        number = 0
        while self._blank() < len(self.text) and self.text[self.at] not in "]}":
            if self.text[self.at] == ",":
                self.at += 1
            elif opened == "{":
                self._pair(path)
            else:
                number += 1
                self._note(f"{path}[{number}]")
                self._value(f"{path}[{number}]")
        self.at += 1
