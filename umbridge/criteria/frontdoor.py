"""What the front door hands out: loaded whole when the first of it is asked for."""

from umbridge.criteria.content import BARRIER, Library, Subset, load_content
from umbridge.criteria.examination import Examination
from umbridge.criteria.grounds import NO_MEASURED_FACT, SEEN_ONLY, on_measurement
from umbridge.criteria.levels import LevelContent, pend_for_age, pend_for_order
from umbridge.criteria.tree import Decision, IfMeasured, Node, Not, every, one
from umbridge.errors import ContentError
from umbridge.hookspecs import hookimpl
from umbridge.model import Case, Evidence, Manifest, Reading, Sample, ScreenResult
from umbridge.values.interval import Interval
from umbridge.values.kinds import Level, Outcome, ReviewType, Status
from umbridge.values.signed import ContentStatus

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
