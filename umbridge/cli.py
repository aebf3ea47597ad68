"""The command line: parse, call one function, print, exit code."""

from __future__ import annotations


def main() -> None:
    raise SystemExit(2)
