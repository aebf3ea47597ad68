"""The front door: everything a criteria plugin may import, and nothing more.

It opens when the first of it is asked for: a command that only asks the daemon runs without it.
"""

import umbridge.importguard  # noqa: F401, I001  (first: it guards the imports that follow)
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umbridge.criteria.frontdoor import *

__all__ = [
    "BARRIER",
    "NO_MEASURED_FACT",
    "SEEN_ONLY",
    "Case",
    "ContentError",
    "ContentStatus",
    "Decision",
    "Evidence",
    "Examination",
    "IfMeasured",
    "Interval",
    "Level",
    "LevelContent",
    "Library",
    "Manifest",
    "Node",
    "Not",
    "Outcome",
    "Reading",
    "ReviewType",
    "Sample",
    "ScreenResult",
    "Status",
    "Subset",
    "every",
    "hookimpl",
    "load_content",
    "on_measurement",
    "one",
    "pend_for_age",
    "pend_for_order",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:  # a module of ours that is not imported yet, or nothing at all
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from umbridge.criteria import frontdoor

    globals().update({each: getattr(frontdoor, each) for each in __all__})
    return globals()[name]
