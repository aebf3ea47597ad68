"""Modules under the name that the measured checkout has for them: before 2026-12 they had other ones."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def module(name: str, before: str) -> ModuleType:
    """``umbridge.NAME``, or ``umbridge.BEFORE`` in a checkout of before the folders."""
    try:
        return import_module(f"umbridge.{name}")
    except ModuleNotFoundError:
        return import_module(f"umbridge.{before}")
