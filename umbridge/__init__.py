"""The front door: everything a criteria plugin may import, and nothing more."""

from umbridge.hookspecs import hookimpl
from umbridge.model import (
    Case,
    Evidence,
    Level,
    Manifest,
    Outcome,
    Reading,
    ReviewType,
    Sample,
    ScreenResult,
    Status,
)

__all__ = [
    "Case",
    "Evidence",
    "Level",
    "Manifest",
    "Outcome",
    "Reading",
    "ReviewType",
    "Sample",
    "ScreenResult",
    "Status",
    "hookimpl",
]
